//! The feed's messages: what a service that checks tokens by itself is told, as text, with a MAC over each claim.
//!
//! No I/O: the server writes with [`Teller`], whoever follows reads with [`Hearer`]. A message has one spelling, and what
//! is spelled otherwise is not heard. The MAC's key comes from the API key that both ends know, so that what somebody else
//! says (a cache, a wrong server, the stream of another key) is not heard. Who reads the *request* has the API key and with
//! it the MACs' key: TLS must end at the gateway. A replay is told by places and times, which are the follower's to compare.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Entry, Place, Revoked, SubjectTag, TokenId};
use crate::ids::SessionId;
use crate::keys::Digest;
use crate::time::Timestamp;

/// Version of the messages.
const FORMAT: u64 = 1;
/// Bytes that the data of no message exceeds.
pub const FEED_DATA_MAX_BYTES: usize = 512;
/// What MACs are made with.
const CONTEXT: &str = "wirebound v1 feed";
/// Where the digest of an API key comes from.
const API_KEY_CONTEXT: &str = "wirebound v1 api key";

/// The longest data has six members.
const MEMBERS_MAX: usize = 6;
const MAC_BYTES: usize = blake3::OUT_LEN;

/// The key of the MACs of one API key's feed.
///
/// # Security
///
/// Whoever holds it can call tokens back and keep quiet about it at those who follow with the same API key. It does not
/// print, and its bytes are wiped.
#[derive(Clone)]
pub struct FeedKey(Zeroizing<[u8; 32]>);

impl FeedKey {
    /// From what is kept at rest of the API key: for the server.
    #[must_use]
    pub fn of_digest(digest: &Digest) -> Self {
        Self::derive(digest.as_bytes())
    }

    /// From the text of the API key (`wbk_` and so on): for whoever follows. Nothing if it is not the text of one.
    #[must_use]
    pub fn of_api_key(text: &str) -> Option<Self> {
        let (id, rest) = text.strip_prefix("wbk_")?.split_once('_')?;
        let (secret, sum) = rest.split_at_checked(43)?;
        let whole = id.len() == 12 && sum.len() == 6;
        let plain = [id, secret, sum]
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        (whole && plain).then(|| {
            let mut hasher = blake3::Hasher::new_derive_key(API_KEY_CONTEXT);
            hasher.update(id.as_bytes());
            hasher.update(secret.as_bytes());
            Self::derive(hasher.finalize().as_bytes())
        })
    }

    fn derive(digest: &[u8; 32]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(CONTEXT, digest)))
    }
}

impl fmt::Debug for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FeedKey(..)")
    }
}

/// What the feed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever follows must meet each")]
pub enum Message {
    /// All that is called back follows, up to [`Message::Complete`]. Until then nothing is known for sure.
    Snapshot {
        /// The place that the snapshot is at least as new as.
        place: Place,
        /// The server's time.
        now: Timestamp,
    },
    /// Something is called back.
    Revoked {
        /// The place after it; none within a snapshot.
        place: Option<Place>,
        /// What, and until when.
        entry: Entry,
    },
    /// The snapshot is whole, and what comes now comes after this place.
    Complete {
        /// Where following goes on.
        place: Place,
        /// How many entries the snapshot had.
        entries: u64,
        /// The server's time.
        now: Timestamp,
    },
    /// Up to this place everything was said.
    Beat {
        /// The place.
        place: Place,
        /// The server's time.
        now: Timestamp,
    },
}

impl Message {
    /// The name of its event.
    #[must_use]
    pub const fn event(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Revoked { .. } => "revoked",
            Self::Complete { .. } => "complete",
            Self::Beat { .. } => "beat",
        }
    }

    /// The members of its data in their order, but for the MAC.
    fn members(&self) -> Vec<(&'static str, Value)> {
        let mut members = Vec::with_capacity(MEMBERS_MAX);
        members.push(("v", Value::Number(FORMAT)));
        match *self {
            Self::Snapshot { place, now } | Self::Beat { place, now } => {
                members.push(("place", Value::Text(place.to_string())));
                members.push(("now", Value::Number(now.as_millis())));
            }
            Self::Complete {
                place,
                entries,
                now,
            } => {
                members.push(("place", Value::Text(place.to_string())));
                members.push(("entries", Value::Number(entries)));
                members.push(("now", Value::Number(now.as_millis())));
            }
            Self::Revoked { entry, .. } => {
                members.push(("kind", Value::Text(entry.what.kind().to_owned())));
                match entry.what {
                    Revoked::Session(id) => members.push(("session", Value::Text(id.to_string()))),
                    Revoked::Token(id) => members.push(("token", Value::Text(id.to_string()))),
                    Revoked::Subject { tag, generation } => {
                        members.push(("subject", Value::Text(tag.to_string())));
                        members.push(("generation", Value::Number(generation)));
                    }
                    Revoked::Before(at) => {
                        members.push(("before", Value::Number(at.as_millis())));
                    }
                }
                members.push(("until", Value::Number(entry.until.as_millis())));
            }
        }
        members
    }

    /// The place that its MAC is bound to.
    const fn place(&self) -> Option<Place> {
        match self {
            Self::Snapshot { place, .. }
            | Self::Complete { place, .. }
            | Self::Beat { place, .. } => Some(*place),
            Self::Revoked { place, .. } => *place,
        }
    }
}

/// Why a message was not heard. Nothing of it counts then, and the connection that it came over is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is counted by its name")]
pub enum NotHeard {
    /// No event of the feed.
    Unknown,
    /// Not the one spelling that there is of such a message, or more bytes than any has.
    Malformed,
    /// Another version.
    Version,
    /// The MAC is not ours, or belongs to another message.
    Mac,
    /// It cannot stand here: an entry with a place within a snapshot, or without one outside, a beat before the end of a
    /// snapshot, an end without a beginning, or one that counts other entries than there were.
    Misplaced,
}

impl NotHeard {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Mac => "mac",
            Self::Misplaced => "misplaced",
        }
    }
}

impl fmt::Display for NotHeard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not an event of the feed",
            Self::Malformed => "not written as the feed writes",
            Self::Version => "another version of the feed",
            Self::Mac => "not said by who knows the key",
            Self::Misplaced => "said at a place where it cannot stand",
        })
    }
}

impl core::error::Error for NotHeard {}

/// Writes one connection's messages: for the server.
#[derive(Debug)]
pub struct Teller(Line);

impl Teller {
    /// For a connection that was opened with the API key that this is of.
    #[must_use]
    pub const fn new(key: FeedKey) -> Self {
        Self(Line::new(key))
    }

    /// Appends a message as an event of a `text/event-stream`, blank line and all.
    ///
    /// # Errors
    ///
    /// When it cannot stand here; nothing is appended then.
    pub fn tell(&mut self, message: &Message, out: &mut String) -> Result<(), NotHeard> {
        let members = message.members();
        let mac = self.0.mac(message, &members)?;
        let mac = URL_SAFE_NO_PAD.encode(mac.as_bytes());
        out.push_str("event: ");
        out.push_str(message.event());
        if let Message::Revoked {
            place: Some(place), ..
        } = message
        {
            out.push_str("\nid: ");
            out.push_str(&place.to_string());
        }
        out.push_str("\ndata: {");
        for (name, value) in &members {
            out.push('"');
            out.push_str(name);
            out.push_str("\":");
            match value {
                Value::Number(number) => out.push_str(&number.to_string()),
                Value::Text(text) => {
                    out.push('"');
                    out.push_str(text);
                    out.push('"');
                }
            }
            out.push(',');
        }
        out.push_str("\"mac\":\"");
        out.push_str(&mac);
        out.push_str("\"}\n\n");
        Ok(())
    }
}

/// Reads one connection's messages: for whoever follows.
#[derive(Debug)]
pub struct Hearer(Line);

impl Hearer {
    /// For a connection that was opened with the API key that this is of.
    #[must_use]
    pub const fn new(key: FeedKey) -> Self {
        Self(Line::new(key))
    }

    /// Reads an event: its name, its id if it has one of its own, and its data.
    ///
    /// # Errors
    ///
    /// When it is no message, or cannot stand here. The connection is worth nothing after that.
    pub fn hear(&mut self, event: &str, id: Option<&str>, data: &str) -> Result<Message, NotHeard> {
        let (message, claimed) = read(event, id, data)?;
        let members = message.members();
        let mac = self.0.mac(&message, &members)?;
        // In constant time.
        if mac == blake3::Hash::from_bytes(claimed) {
            Ok(message)
        } else {
            Err(NotHeard::Mac)
        }
    }
}

/// One connection: its key, and the snapshot that it is in.
struct Line {
    key: FeedKey,
    snapshot: Option<Snapshot>,
}

/// A snapshot that is being sent. Its end vouches for the MACs of all its entries, in order: the count alone would let one
/// be taken out and another put in twice.
struct Snapshot {
    place: Place,
    entries: u64,
    macs: blake3::Hasher,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("key", &self.key)
            .field("in_snapshot", &self.snapshot.is_some())
            .finish()
    }
}

impl Line {
    const fn new(key: FeedKey) -> Self {
        Self {
            key,
            snapshot: None,
        }
    }

    /// The MAC of the message that comes next.
    fn mac(
        &mut self,
        message: &Message,
        members: &[(&'static str, Value)],
    ) -> Result<blake3::Hash, NotHeard> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key.0);
        hasher.update(message.event().as_bytes());
        hasher.update(&[0]);
        if let Some(place) = message.place() {
            hasher.update(place.to_string().as_bytes());
        }
        hasher.update(&[0]);
        for (index, (name, value)) in members.iter().enumerate() {
            if index > 0 {
                hasher.update(b"&");
            }
            hasher.update(name.as_bytes());
            hasher.update(b"=");
            match value {
                Value::Number(number) => hasher.update(number.to_string().as_bytes()),
                Value::Text(text) => hasher.update(text.as_bytes()),
            };
        }
        match (message, &mut self.snapshot) {
            (Message::Snapshot { place, .. }, none @ None) => {
                *none = Some(Snapshot {
                    place: *place,
                    entries: 0,
                    macs: blake3::Hasher::new(),
                });
            }
            (Message::Revoked { place: None, .. }, Some(snapshot)) => {
                let mac = hasher.finalize();
                snapshot.macs.update(mac.as_bytes());
                snapshot.entries = snapshot.entries.saturating_add(1);
                return Ok(mac);
            }
            (Message::Complete { place, entries, .. }, whole @ Some(_)) => {
                let snapshot = whole.take().filter(|snapshot| {
                    snapshot.entries == *entries
                        && snapshot.place.run == place.run
                        && snapshot.place.number <= place.number
                });
                let snapshot = snapshot.ok_or(NotHeard::Misplaced)?;
                hasher.update(&[0]);
                hasher.update(snapshot.macs.finalize().as_bytes());
            }
            (Message::Revoked { place: Some(_), .. } | Message::Beat { .. }, None) => {}
            (Message::Revoked { place: None, .. } | Message::Complete { .. }, None)
            | (
                Message::Revoked { place: Some(_), .. }
                | Message::Beat { .. }
                | Message::Snapshot { .. },
                Some(_),
            ) => return Err(NotHeard::Misplaced),
        }
        Ok(hasher.finalize())
    }
}

enum Value {
    Number(u64),
    Text(String),
}

/// Reads an event up to its MAC, which is still to be compared.
fn read(event: &str, id: Option<&str>, data: &str) -> Result<(Message, [u8; MAC_BYTES]), NotHeard> {
    if !matches!(event, "snapshot" | "revoked" | "complete" | "beat") {
        return Err(NotHeard::Unknown);
    }
    if data.len() > FEED_DATA_MAX_BYTES {
        return Err(NotHeard::Malformed);
    }
    let rest = data
        .strip_prefix(r#"{"v":"#)
        .ok_or(NotHeard::Malformed)
        .and_then(|rest| rest.split_once(',').ok_or(NotHeard::Malformed))
        .and_then(|(version, rest)| match number(version) {
            Some(FORMAT) => Ok(rest),
            Some(_) => Err(NotHeard::Version),
            None => Err(NotHeard::Malformed),
        })?;
    message(event, id, &mut Members(rest)).ok_or(NotHeard::Malformed)
}

fn message(
    event: &str,
    id: Option<&str>,
    members: &mut Members<'_>,
) -> Option<(Message, [u8; MAC_BYTES])> {
    let message = match event {
        "snapshot" => Message::Snapshot {
            place: Place::parse(members.text("place")?)?,
            now: members.time("now")?,
        },
        "complete" => Message::Complete {
            place: Place::parse(members.text("place")?)?,
            entries: members.number("entries")?,
            now: members.time("now")?,
        },
        "beat" => Message::Beat {
            place: Place::parse(members.text("place")?)?,
            now: members.time("now")?,
        },
        "revoked" => {
            let what = match members.text("kind")? {
                "session" => Revoked::Session(SessionId::parse(members.text("session")?)?),
                "token" => Revoked::Token(TokenId::parse(members.text("token")?)?),
                "subject" => Revoked::Subject {
                    tag: SubjectTag::parse(members.text("subject")?)?,
                    generation: members.number("generation")?,
                },
                "before" => Revoked::Before(members.time("before")?),
                _ => return None,
            };
            let until = members.time("until")?;
            let place = match id {
                Some(id) => Some(Place::parse(id)?),
                None => None,
            };
            let entry = Entry { what, until };
            return Some((Message::Revoked { place, entry }, members.mac()?));
        }
        _ => return None,
    };
    // Only an entry has an id: whoever comes back with it has heard all before it.
    id.is_none().then_some(())?;
    Some((message, members.mac()?))
}

/// What is left of the members of a flat object in their one order.
struct Members<'d>(&'d str);

impl<'d> Members<'d> {
    /// The raw text of the next member, which must have this name.
    fn raw(&mut self, name: &str, end: char) -> Option<&'d str> {
        let rest = self.0.strip_prefix('"')?.strip_prefix(name)?;
        let (value, rest) = rest.strip_prefix("\":")?.split_once(end)?;
        self.0 = rest;
        Some(value)
    }

    fn text(&mut self, name: &str) -> Option<&'d str> {
        quoted(self.raw(name, ',')?)
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        number(self.raw(name, ',')?)
    }

    fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.number(name).map(Timestamp::from_millis)
    }

    /// The last member, with nothing after it.
    fn mac(&mut self) -> Option<[u8; MAC_BYTES]> {
        let text = quoted(self.raw("mac", '}')?)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        self.0.is_empty().then_some(())?;
        bytes.try_into().ok()
    }
}

/// The text between quotes; none of ours has anything in it that would need an escape.
fn quoted(raw: &str) -> Option<&str> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.bytes().all(plain).then_some(text)
}

/// A number in the one spelling that it has.
fn number(raw: &str) -> Option<u64> {
    let digits = raw.bytes().all(|byte| byte.is_ascii_digit());
    let leading = raw.len() > 1 && raw.starts_with('0');
    (digits && !leading).then(|| raw.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
