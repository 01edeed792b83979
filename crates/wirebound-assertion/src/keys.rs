//! The keys: one that signs, one that checks, and a set of those that check, each found by its name.
//!
//! A key has one algorithm from its first moment. It is found by `kid` alone: no other key is tried, and nothing that a
//! token carries (`jwk`, `jku`, `x5c`) is ever a key.

use core::borrow::Borrow;
use core::fmt;
use std::sync::Arc;

use wirebound::EntropyError;

mod set;
mod signing;
mod verifying;

pub use set::KeySet;
pub use signing::SigningKey;
pub(crate) use verifying::Public;
pub use verifying::VerifyingKey;

/// Longest name of a key in bytes.
pub const KID_MAX_BYTES: usize = 128;

/// The name of a key (`kid`). Public; proves nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid(Arc<str>);

impl Kid {
    /// Takes 1 to [`KID_MAX_BYTES`] printable ASCII characters without spaces.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_word(text, KID_MAX_BYTES).then(|| Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether it is of printable ASCII without spaces, and neither empty nor longer than so many bytes.
pub(crate) fn is_word(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Borrow<str> for Kid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kid({self})")
    }
}

/// A key that cannot be made, read or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The source of randomness failed.
    Entropy,
    /// Written by a version that this one does not know.
    Version {
        /// The version byte.
        found: u8,
    },
    /// Of an algorithm that is not known.
    Algorithm,
    /// Cut short, or too long.
    Length,
    /// These bytes are no key of the algorithm, or one that protects nothing.
    NotAKey,
    /// Two keys have one name.
    Duplicate,
}

impl From<EntropyError> for KeyError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entropy => f.write_str("the source of randomness failed"),
            Self::Version { found } => write!(
                f,
                "the signing key is of version {found}, this program knows {}; upgrade it",
                signing::KEY_FORMAT
            ),
            Self::Algorithm => f.write_str("the key is of an algorithm that is not known"),
            Self::Length => f.write_str("the key is damaged: it is cut short or too long"),
            Self::NotAKey => f.write_str("these bytes are no key of their algorithm"),
            Self::Duplicate => f.write_str("two keys have one name"),
        }
    }
}

impl core::error::Error for KeyError {}
