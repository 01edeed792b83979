//! What was called back before its time: sessions, single tokens, subjects, and everything issued before a moment.
//!
//! A signed token is good for as long as it says, whoever asks; calling it back means that everybody who checks it knows
//! that it was. What is known is small, since an entry leaves when the last token that it blocks has run out. It is asked
//! after the signature: names that get here were drawn by us, not chosen by a stranger, and a token is known by its `jti`,
//! never by a hash of its text (one signature has many spellings).

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{SESSION_ID_BYTES, SessionId};
use crate::store::{Key, Space};
use crate::time::Timestamp;

pub mod feed;
mod known;
mod log;

pub use known::{Gathered, Revocations, Standing};
pub use log::{Followed, Heard, Place};

/// Bytes of a token's id, and of a subject's tag.
const NAME_BYTES: usize = 16;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; NAME_BYTES]);

        impl $name {
            /// From its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; NAME_BYTES]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; NAME_BYTES] {
                &self.0
            }

            /// Reads the 22 characters that `Display` writes, and no other spelling of them.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                // The engine of base64 refuses padding and bits that are left over.
                let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

name! {
    /// A token's id, its `jti` (RFC 7519 section 4.1.7): 128 random bits. Safe to log; proves nothing.
    TokenId
}

name! {
    /// A keyed hash of a subject, by which its tokens are called back without naming it to those who check them.
    SubjectTag
}

/// What was called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever checks tokens must meet each"
)]
pub enum Revoked {
    /// Everything issued for this session.
    Session(SessionId),
    /// One token.
    Token(TokenId),
    /// What was issued for this subject below a generation.
    Subject {
        /// Whose.
        tag: SubjectTag,
        /// The first generation that is good again.
        generation: u64,
    },
    /// Everything issued before a moment, for whomever.
    Before(Timestamp),
}

impl Revoked {
    /// Its kind, as the feed names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Token(_) => "token",
            Self::Subject { .. } => "subject",
            Self::Before(_) => "before",
        }
    }

    /// Where it lies in the store: all that counts is in the name, so that a start reads names alone.
    pub(crate) fn key(&self) -> Key {
        let name = match self {
            Self::Session(id) => [&[1], id.as_bytes().as_slice()].concat(),
            Self::Token(id) => [&[2], id.as_bytes().as_slice()].concat(),
            Self::Subject { tag, generation } => {
                [&[3], tag.as_bytes().as_slice(), &generation.to_le_bytes()].concat()
            }
            Self::Before(at) => [&[4], at.as_millis().to_le_bytes().as_slice()].concat(),
        };
        Key::new(Space::Revoked, &name)
    }

    pub(crate) fn of_key(key: &Key) -> Option<Self> {
        let (kind, name) = key.name().split_first()?;
        match kind {
            1 => <[u8; SESSION_ID_BYTES]>::try_from(name)
                .ok()
                .map(|id| Self::Session(SessionId::from_bytes(id))),
            2 => name.try_into().ok().map(|id| Self::Token(TokenId(id))),
            3 => {
                let (tag, generation) = name.split_first_chunk()?;
                Some(Self::Subject {
                    tag: SubjectTag(*tag),
                    generation: u64::from_le_bytes(generation.try_into().ok()?),
                })
            }
            4 => {
                let millis = u64::from_le_bytes(name.try_into().ok()?);
                Some(Self::Before(Timestamp::from_millis(millis)))
            }
            _ => None,
        }
    }
}

/// One thing that was called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "plain facts, sent to others")]
pub struct Entry {
    /// What.
    pub what: Revoked,
    /// Until when there may be a token that it blocks.
    pub until: Timestamp,
}

/// What a token says of itself that it may be called back by. Read from a token whose signature was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain facts of a token")]
pub struct Issued {
    /// For which session (`sid`).
    pub session: SessionId,
    /// Which token (`jti`).
    pub token: TokenId,
    /// For whom.
    pub subject: SubjectTag,
    /// In which generation of the subject (`gen`): the milliseconds at which it was issued, or more where the subject's own
    /// count was ahead of the clock.
    pub generation: u64,
    /// When (`iat`), in whole seconds.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_called_back_is_read_from_the_name_it_lies_under() {
        for what in [
            Revoked::Session(SessionId::from_bytes([1; 10])),
            Revoked::Token(TokenId::from_bytes([2; 16])),
            Revoked::Subject {
                tag: SubjectTag::from_bytes([3; 16]),
                generation: 77,
            },
            Revoked::Before(Timestamp::from_millis(99)),
        ] {
            let key = what.key();
            assert_eq!(Revoked::of_key(&key), Some(what));
            let name = key.name();
            for wrong in [&name[..name.len() - 1], &[name, &[0]].concat(), &[]] {
                let key = Key::new(Space::Revoked, wrong);
                assert_eq!(Revoked::of_key(&key), None, "{wrong:?}");
            }
        }
        let other = Key::new(Space::Revoked, &[9; 11]);
        assert_eq!(Revoked::of_key(&other), None);
    }

    #[test]
    fn a_name_has_one_spelling() {
        let id = TokenId::from_bytes([0xff; 16]);
        let text = id.to_string();
        assert_eq!(text.len(), 22);
        assert_eq!(TokenId::parse(&text), Some(id));
        // The last character carries two bits; the four below them must be nothing.
        let loose = text.strip_suffix('w').unwrap().to_owned() + "x";
        for wrong in [
            loose,
            format!("{text}=="),
            text.replace('_', "/"),
            "AA".to_owned(),
        ] {
            assert_eq!(TokenId::parse(&wrong), None, "{wrong}");
        }
    }
}
