//! What is kept of an API key: what it is called, whose it is, what it may do, until when. Never its secret.

use core::fmt;
use std::sync::Arc;

use super::ApiKeyId;
use crate::codec::{Reader, Writer};
use crate::ids::Subject;
use crate::keys::Digest;
use crate::store::{Key, Space};
use crate::time::{Lifetime, Timestamp};

/// Format of the records of API keys.
const FORMAT: u8 = 1;

/// For how long a key that is dead stays listed, so that whoever looks what stopped working finds it.
const LISTED: Lifetime = Lifetime::from_days(30);

/// Longest label in characters.
pub const KEY_LABEL_MAX_CHARS: usize = 64;

/// Most scopes of a key.
pub const KEY_SCOPES_MAX: usize = 16;

/// Longest scope in characters.
pub const KEY_SCOPE_MAX_CHARS: usize = 64;

/// What an operator calls a key: 1 to 64 printable characters, on one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyLabel(Arc<str>);

impl KeyLabel {
    /// Takes the text as it is; nothing is trimmed or folded.
    ///
    /// # Errors
    ///
    /// When it is empty or too long, or has a character that does not print, or that makes a line read otherwise than it
    /// is written.
    pub fn new(text: &str) -> Result<Self, NotALabel> {
        let length = text.chars().count();
        let fits = (1..=KEY_LABEL_MAX_CHARS).contains(&length);
        if fits && text.chars().all(is_printable) {
            Ok(Self(text.into()))
        } else {
            Err(NotALabel)
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Of white space only the space. No marks without a width and none that turn the direction: a list of keys must not show
/// one as another.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && (character == ' ' || !character.is_whitespace())
        && !matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotALabel;

impl fmt::Display for NotALabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a label has 1 to {KEY_LABEL_MAX_CHARS} printable characters"
        )
    }
}

impl core::error::Error for NotALabel {}

/// What a key may do, in the words of whoever asks: 1 to 16 scopes of 1 to 64 characters of `[a-z0-9._:-]`, in order, each
/// of them once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyScopes(Arc<[Box<str>]>);

impl KeyScopes {
    /// Takes scopes in any order; one that is named twice counts once.
    ///
    /// # Errors
    ///
    /// When there is none, or too many, or one has other characters or a wrong length.
    pub fn new<S: AsRef<str>>(scopes: impl IntoIterator<Item = S>) -> Result<Self, NotScopes> {
        let mut sorted = std::collections::BTreeSet::new();
        for scope in scopes {
            let scope = scope.as_ref();
            // Here and not at the end: what is held meanwhile is bounded too.
            if !is_scope(scope) || (sorted.len() >= KEY_SCOPES_MAX && !sorted.contains(scope)) {
                return Err(NotScopes);
            }
            sorted.insert(Box::from(scope));
        }
        if sorted.is_empty() {
            return Err(NotScopes);
        }
        Ok(Self(sorted.into_iter().collect()))
    }

    /// Whether this scope is among them, letter by letter. No scope stands for others.
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.iter().any(|one| one == scope)
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

fn is_scope(text: &str) -> bool {
    let fits = (1..=KEY_SCOPE_MAX_CHARS).contains(&text.len());
    fits && text
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'-'))
}

impl fmt::Display for KeyScopes {
    /// With a space between two, as OAuth writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, scope) in self.iter().enumerate() {
            if number > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

/// Texts that cannot be the scopes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotScopes;

impl fmt::Display for NotScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a key has 1 to {KEY_SCOPES_MAX} scopes of 1 to {KEY_SCOPE_MAX_CHARS} characters of a-z, 0-9 and ._:-"
        )
    }
}

impl core::error::Error for NotScopes {}

/// By whom, or by what, a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum RevokedBy {
    /// An operator, who had no need of it any more.
    Operator,
    /// An operator, because it was seen where it does not belong.
    Leak,
    /// Whoever showed the key itself.
    Holder,
    /// Its owner was removed.
    OwnerRemoved,
}

impl RevokedBy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Leak, Self::Holder, Self::OwnerRemoved];

    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Leak => "leak",
            Self::Holder => "holder",
            Self::OwnerRemoved => "owner_removed",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Operator => 1,
            Self::Leak => 2,
            Self::Holder => 3,
            Self::OwnerRemoved => 4,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.number() == number)
    }
}

/// An API key as it stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct KeyRecord {
    pub(crate) id: ApiKeyId,
    pub(crate) label: KeyLabel,
    pub(crate) owner: Subject,
    pub(crate) scopes: KeyScopes,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    /// Of the secret in force.
    pub(crate) current: Digest,
    /// Of the secret before it, and until when it is good.
    pub(crate) previous: Option<(Digest, Timestamp)>,
    pub(crate) rotated: Option<Timestamp>,
    /// Final: nothing takes it back.
    pub(crate) revoked: Option<(Timestamp, RevokedBy)>,
    pub(crate) last_used: Option<Timestamp>,
}

impl KeyRecord {
    pub(crate) fn key(id: &ApiKeyId) -> Key {
        Key::new(Space::Key, id.as_bytes())
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// When a sweep removes it.
    pub(crate) fn due(&self) -> Timestamp {
        let dead = self.revoked.map(|(at, _)| at).or(self.expires);
        dead.map_or(Timestamp::NEVER, |at| at.after(LISTED))
    }

    /// Since when it is dead for good.
    pub(crate) fn dead_since(&self, now: Timestamp) -> Option<Timestamp> {
        let revoked = self.revoked.map(|(at, _)| at);
        revoked.or_else(|| self.expires.filter(|expires| now >= *expires))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_version(FORMAT);
        out.array(self.id.as_bytes());
        out.bytes(self.label.as_str().as_bytes());
        out.bytes(self.owner.as_bytes());
        out.list(&self.scopes.0, |out, scope| out.bytes(scope.as_bytes()));
        out.time(self.created);
        out.option(self.expires.as_ref(), |out, at| out.time(*at));
        out.array(self.current.as_bytes());
        out.option(self.previous.as_ref(), |out, (digest, until)| {
            out.array(digest.as_bytes());
            out.time(*until);
        });
        out.option(self.rotated.as_ref(), |out, at| out.time(*at));
        out.option(self.revoked.as_ref(), |out, (at, by)| {
            out.time(*at);
            out.byte(by.number());
        });
        out.option(self.last_used.as_ref(), |out, at| out.time(*at));
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        if from.byte()? != FORMAT {
            return None;
        }
        let id: [u8; super::ID_CHARS] = from.array()?;
        let record = Self {
            id: ApiKeyId::from_bytes(&id)?,
            label: KeyLabel::new(from.text()?).ok()?,
            owner: Subject::new(from.bytes()?).ok()?,
            scopes: read_scopes(&from.list(Reader::text)?)?,
            created: from.time()?,
            expires: from.option(Reader::time)?,
            current: Digest::from_bytes(from.array()?),
            previous: from
                .option(|from| Some((Digest::from_bytes(from.array()?), from.time()?)))?,
            rotated: from.option(Reader::time)?,
            revoked: from
                .option(|from| Some((from.time()?, RevokedBy::from_number(from.byte()?)?)))?,
            last_used: from.option(Reader::time)?,
        };
        from.finish()?;
        Some(record)
    }
}

/// Scopes as a record lists them: in order, each once, else it was not written here.
fn read_scopes(listed: &[&str]) -> Option<KeyScopes> {
    let scopes = KeyScopes::new(listed).ok()?;
    scopes.iter().eq(listed.iter().copied()).then_some(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record() -> KeyRecord {
        KeyRecord {
            id: ApiKeyId::parse("0123456789Ab").unwrap(),
            label: KeyLabel::new("nightly build").unwrap(),
            owner: Subject::new(b"ci").unwrap(),
            scopes: KeyScopes::new(["deploy", "feed:read"]).unwrap(),
            created: at(1),
            expires: Some(at(2)),
            current: Digest::from_bytes([3; 32]),
            previous: Some((Digest::from_bytes([4; 32]), at(5))),
            rotated: Some(at(6)),
            revoked: Some((at(7), RevokedBy::Leak)),
            last_used: Some(at(8)),
        }
    }

    #[test]
    fn records_round_trip_and_nothing_else_reads() {
        let bytes = record().encode();
        assert_eq!(KeyRecord::decode(&bytes).unwrap().encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(KeyRecord::decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        assert!(KeyRecord::decode(&[&bytes[..], &[0]].concat()).is_none());
        let mut newer = bytes;
        newer[0] += 1;
        assert!(KeyRecord::decode(&newer).is_none());
        let bare = KeyRecord {
            expires: None,
            previous: None,
            rotated: None,
            revoked: None,
            last_used: None,
            ..record()
        };
        let bytes = bare.encode();
        assert_eq!(KeyRecord::decode(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn scopes_out_of_order_or_twice_were_not_written_here() {
        let scopes = |listed: &[&str]| read_scopes(listed).is_some();
        assert!(scopes(&["a", "b"]));
        for bad in [&["b", "a"][..], &["a", "a"], &["A"], &[""], &[]] {
            assert!(!scopes(bad), "{bad:?}");
        }
    }

    #[test]
    fn scopes_are_sorted_and_each_is_there_once() {
        let scopes = KeyScopes::new(["write", "read", "write"]).unwrap();
        assert_eq!(scopes.to_string(), "read write");
        assert!(scopes.has("read"));
        assert!(!scopes.has("rea"), "no prefix");
        assert!(!scopes.has("*"));
        let many = |count: usize| KeyScopes::new((0..count).map(|n| format!("s{n}")));
        assert!(many(KEY_SCOPES_MAX).is_ok());
        assert_eq!(many(KEY_SCOPES_MAX + 1), Err(NotScopes));
        assert_eq!(many(0), Err(NotScopes));
        assert!(KeyScopes::new(["x".repeat(64)]).is_ok());
        for bad in ["", "Read", "a b", "a/b", "a*", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(KeyScopes::new([bad]), Err(NotScopes), "{bad:?}");
        }
    }

    #[test]
    fn a_label_is_one_line_that_reads_as_it_is_written() {
        for good in ["x", "deploy (blue)", "\u{fc}ber", &"\u{e9}".repeat(64)] {
            assert_eq!(KeyLabel::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a\nb",
            "a\tb",
            "\u{7f}",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{2028}b",
            "\u{a0}",
            &"x".repeat(65),
        ] {
            assert_eq!(KeyLabel::new(bad), Err(NotALabel), "{bad:?}");
        }
    }

    #[test]
    fn a_dead_key_is_due_thirty_days_after_it_died_and_a_live_one_never() {
        let day = Lifetime::from_days(30);
        assert_eq!(record().due(), at(7).after(day), "the revocation counts");
        let expiring = KeyRecord {
            revoked: None,
            ..record()
        };
        assert_eq!(expiring.due(), at(2).after(day));
        assert_eq!(expiring.dead_since(at(1)), None);
        assert_eq!(expiring.dead_since(at(2)), Some(at(2)));
        let lasting = KeyRecord {
            expires: None,
            ..expiring
        };
        assert_eq!(lasting.due(), Timestamp::NEVER);
        assert_eq!(lasting.dead_since(Timestamp::NEVER), None);
    }
}
