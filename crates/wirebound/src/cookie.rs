//! The cookie's text, `w1.<selector>.<ticket>`, read strictly and written once; and `s1.<selector>.<sealed>`, a guest
//! of whom the store knows nothing.
//!
//! A cookie that parses is only [`Presented`]: its selector is one that this node made, and nothing else is known.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use zeroize::Zeroizing;

use crate::codec::{Reader, Writer};
use crate::ids::{Authority, SessionId, Subject};
use crate::keys::{Digest, Keys, SELECTOR_BYTES};
use crate::secret::{SECRET_CHARS, Secret};
use crate::sequence::Position;
use crate::time::{Entropy, EntropyError, Lifetime, Timestamp};

/// Version of the cookie's form.
const PREFIX: &[u8] = b"w1.";
/// Version of the sealed form.
const SEALED_PREFIX: &[u8] = b"s1.";
/// Format of what is sealed.
const SEALED_FORMAT: u8 = 1;
/// Longest sealed cookie: browsers keep 4,096 bytes of name, value and attributes.
const SEALED_CHARS: usize = 3584;
/// Characters of a selector in base64url without padding.
const SELECTOR_CHARS: usize = 22;
/// Where the ticket stands that takes a sealed cookie's place; the sealed cookie itself stands at the beginning. Every
/// answer that sets it sets the same, so answers in parallel do not undo one another.
pub(crate) const AFTER_SEALED: Position = Position { n: 1, branch: 0 };
/// Characters of a whole cookie.
pub(crate) const COOKIE_CHARS: usize = PREFIX.len() + SELECTOR_CHARS + 1 + SECRET_CHARS;

/// A cookie that was parsed, and whose selector this node made. Believed by nobody.
pub struct Presented {
    pub(crate) id: SessionId,
    pub(crate) place: u64,
    pub(crate) epoch: u32,
    pub(crate) digest: Digest,
    /// The ticket. Of a sealed cookie, the one that takes its place.
    pub(crate) ticket: Secret,
    /// What a sealed cookie holds. It opened under the authority that was asked for, so it is this session's.
    pub(crate) sealed: Option<Box<Sealed>>,
}

impl Presented {
    /// The session it names.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.id
    }

    /// Where it stands in its session's sequence; nothing if it is no ticket of that session. Costs one deciphering.
    pub(crate) fn position(&self, keys: &Keys) -> Option<Position> {
        if self.is_sealed() {
            // It opened, so it is what its session began with.
            return Some(Position::default());
        }
        keys.open_ticket(self.epoch, &self.id, &self.ticket)
    }

    /// Whether it is a guest's sealed cookie.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }
}

/// What a sealed cookie holds: all of a guest.
pub(crate) struct Sealed {
    pub(crate) made: Timestamp,
    pub(crate) subject: Subject,
    pub(crate) persistent: bool,
    pub(crate) idle: Lifetime,
    pub(crate) absolute: Timestamp,
    pub(crate) vault: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({})", self.id)
    }
}

/// A cookie that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotOurs {
    /// Of neither form: `w1.<selector>.<ticket>` or `s1.<selector>.<sealed>`.
    Malformed,
    /// The form is right, but nobody here made this selector.
    MadeUp,
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "not a cookie of the form w1.<selector>.<ticket> or s1.<selector>.<sealed>"
            }
            Self::MadeUp => "a selector that was not made here",
        })
    }
}

impl core::error::Error for NotOurs {}

/// Reads a cookie. No store is asked; a made-up selector costs two short hashes.
pub(crate) fn read(keys: &Keys, text: &[u8]) -> Result<Presented, NotOurs> {
    let (selector, secret) = split(text).ok_or(NotOurs::Malformed)?;
    let genuine = keys.read_selector(&selector).ok_or(NotOurs::MadeUp)?;
    let digest = keys.digest(genuine.epoch, &secret).ok_or(NotOurs::MadeUp)?;
    Ok(Presented {
        id: genuine.id,
        place: genuine.place,
        epoch: genuine.epoch,
        digest,
        ticket: secret,
        sealed: None,
    })
}

/// Reads a cookie of either form. A sealed one opens for the authority that it was made for and for no other.
pub(crate) fn read_at(
    keys: &Keys,
    text: &[u8],
    authority: &Authority,
) -> Result<Presented, NotOurs> {
    match text.strip_prefix(SEALED_PREFIX) {
        Some(rest) => read_sealed(keys, text, rest, authority),
        None => read(keys, text),
    }
}

fn read_sealed(
    keys: &Keys,
    text: &[u8],
    rest: &[u8],
    authority: &Authority,
) -> Result<Presented, NotOurs> {
    // The length first, then the selector: nothing is opened that nobody here can have made.
    if text.len() > SEALED_CHARS {
        return Err(NotOurs::Malformed);
    }
    let (selector, body) = split_sealed(rest).ok_or(NotOurs::Malformed)?;
    let genuine = keys.read_selector(&selector).ok_or(NotOurs::MadeUp)?;
    let sealed = URL_SAFE_NO_PAD
        .decode(body)
        .map_err(|_| NotOurs::Malformed)?;
    let plain = keys
        .open(&context(&selector, authority), &sealed)
        .map(Zeroizing::new)
        .ok_or(NotOurs::MadeUp)?;
    let ticket = keys
        .ticket(genuine.epoch, &genuine.id, AFTER_SEALED)
        .ok_or(NotOurs::MadeUp)?;
    let sealed = unpack(&plain).ok_or(NotOurs::MadeUp)?;
    let digest = keys
        .digest_of(genuine.epoch, SEALED_PREFIX, text)
        .ok_or(NotOurs::MadeUp)?;
    Ok(Presented {
        id: genuine.id,
        place: genuine.place,
        epoch: genuine.epoch,
        digest,
        ticket,
        sealed: Some(Box::new(sealed)),
    })
}

fn split_sealed(rest: &[u8]) -> Option<([u8; SELECTOR_BYTES], &[u8])> {
    let (selector, rest) = rest.split_at_checked(SELECTOR_CHARS)?;
    let body = rest.strip_prefix(b".")?;
    let mut bytes = [0; SELECTOR_BYTES];
    let written = URL_SAFE_NO_PAD.decode_slice(selector, &mut bytes).ok()?;
    (written == SELECTOR_BYTES).then_some((bytes, body))
}

fn context(selector: &[u8; SELECTOR_BYTES], authority: &Authority) -> Vec<u8> {
    [b"guest".as_slice(), selector, authority.as_str().as_bytes()].concat()
}

fn unpack(plain: &[u8]) -> Option<Sealed> {
    let mut from = Reader::new(plain);
    (from.byte()? == SEALED_FORMAT).then_some(())?;
    let sealed = Sealed {
        made: from.time()?,
        subject: Subject::new(from.bytes()?).ok()?,
        persistent: from.flag()?,
        idle: Lifetime::from_millis(from.number()?),
        absolute: from.time()?,
        vault: Zeroizing::new(from.bytes()?.to_vec()),
    };
    from.finish()?;
    Some(sealed)
}

/// What is to be sealed.
pub(crate) struct ToSeal<'a> {
    pub(crate) id: &'a SessionId,
    pub(crate) authority: &'a Authority,
    pub(crate) made: Timestamp,
    pub(crate) subject: &'a Subject,
    pub(crate) persistent: bool,
    pub(crate) idle: Lifetime,
    pub(crate) absolute: Timestamp,
    pub(crate) vault: &'a [u8],
}

fn split(text: &[u8]) -> Option<([u8; SELECTOR_BYTES], Secret)> {
    // The length first: nothing is decoded that cannot be a cookie.
    if text.len() != COOKIE_CHARS {
        return None;
    }
    let rest = text.strip_prefix(PREFIX)?;
    let (selector, rest) = rest.split_at_checked(SELECTOR_CHARS)?;
    let secret = Secret::parse(rest.strip_prefix(b".")?)?;
    let mut bytes = [0; SELECTOR_BYTES];
    let written = URL_SAFE_NO_PAD.decode_slice(selector, &mut bytes).ok()?;
    (written == SELECTOR_BYTES).then_some((bytes, secret))
}

/// A cookie's value to set: a secret as well, so it does not print.
pub struct CookieValue(String);

impl CookieValue {
    pub(crate) fn write(keys: &Keys, id: &SessionId, epoch: u32, secret: &Secret) -> Option<Self> {
        let selector = keys.selector(id, epoch)?;
        let mut text = String::with_capacity(COOKIE_CHARS);
        text.push_str("w1.");
        URL_SAFE_NO_PAD.encode_string(selector, &mut text);
        text.push('.');
        text.push_str(&secret.expose_text());
        Some(Self(text))
    }

    /// The cookie of a session's ticket at a position.
    pub(crate) fn at(keys: &Keys, id: &SessionId, epoch: u32, position: Position) -> Option<Self> {
        Self::write(keys, id, epoch, &keys.ticket(epoch, id, position)?)
    }

    /// Seals a guest. `None`: its text would be longer than browsers keep.
    pub(crate) fn seal(
        keys: &Keys,
        guest: &ToSeal<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Option<Self>, EntropyError> {
        // Far too long already: the codec would cut it.
        if guest.vault.len() > SEALED_CHARS {
            return Ok(None);
        }
        let Some(selector) = keys.selector(guest.id, keys.epoch()) else {
            return Ok(None);
        };
        let mut out = Writer::with_version(SEALED_FORMAT);
        out.time(guest.made);
        out.bytes(guest.subject.as_bytes());
        out.flag(guest.persistent);
        out.number(guest.idle.as_millis());
        out.time(guest.absolute);
        out.bytes(guest.vault);
        let plain = Zeroizing::new(out.finish());
        let sealed = keys.seal(&context(&selector, guest.authority), &plain, entropy)?;
        let mut text = String::with_capacity(SEALED_CHARS);
        text.push_str("s1.");
        URL_SAFE_NO_PAD.encode_string(selector, &mut text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
        Ok((text.len() <= SEALED_CHARS).then_some(Self(text)))
    }

    /// The text. Mark the header that carries it sensitive.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieValue(..)")
    }
}

impl Drop for CookieValue {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::NodeSecret;

    fn keys() -> Keys {
        Keys::new(&NodeSecret::new(1, Secret::from_bytes([1; 32])), None)
    }

    fn cookie() -> String {
        let secret = Secret::from_bytes([9; 32]);
        let id = SessionId::from_bytes([4; 10]);
        CookieValue::write(&keys(), &id, 1, &secret)
            .unwrap()
            .expose()
            .to_owned()
    }

    #[test]
    fn a_cookie_reads_back_and_any_other_spelling_of_it_does_not() {
        let keys = keys();
        let text = cookie();
        assert_eq!(text.len(), COOKIE_CHARS);
        assert_eq!(
            read(&keys, text.as_bytes()).unwrap().session(),
            SessionId::from_bytes([4; 10])
        );
        for bad in [
            text.to_uppercase(),
            format!("{text} "),
            format!(" {text}"),
            format!("\"{text}\""),
            text.replace("w1", "w2"),
            text.replacen('.', ":", 1),
            text.get(..text.len() - 1).unwrap().to_owned(),
            String::new(),
        ] {
            assert_eq!(
                read(&keys, bad.as_bytes()).unwrap_err(),
                NotOurs::Malformed,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_made_up_selector_is_known_without_a_store() {
        let keys = keys();
        let mut text = cookie().into_bytes();
        text[5] = if text[5] == b'A' { b'B' } else { b'A' };
        assert_eq!(read(&keys, &text).unwrap_err(), NotOurs::MadeUp);
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_sends_is_refused_not_panicked_on(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&keys(), &text).is_err());
        }
    }
}
