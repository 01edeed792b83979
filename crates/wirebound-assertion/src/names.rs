//! Names that revocation goes by: of one token, and of a subject without saying who it is.
//!
//! Neither is a secret, and neither proves anything. Both have one spelling: 22 characters of base64url.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes in a [`TokenId`] and in a [`SubjectTag`].
pub const NAME_BYTES: usize = 16;

/// The name of one token (`jti`): 16 random bytes. What is revoked is this, never a hash of the token's text, because
/// one ECDSA token can be written in two ways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; NAME_BYTES]);

/// The name of a subject towards those who follow revocations (`stg`): a keyed hash, 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectTag([u8; NAME_BYTES]);

impl TokenId {
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

    /// Reads the 22 characters that `Display` writes, and no other spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        read(text).map(Self)
    }
}

impl SubjectTag {
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

    /// Reads the 22 characters that `Display` writes, and no other spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        read(text).map(Self)
    }
}

/// Exactly `N` bytes, written in base64url without padding and without stray bits in the last character.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (written == N).then_some(bytes)
}

/// Bytes in the spelling that [`read`] takes.
pub(crate) fn write(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl fmt::Display for SubjectTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write(&self.0))
    }
}

impl fmt::Debug for SubjectTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectTag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let id = TokenId::from_bytes([0xff; 16]);
        let text = id.to_string();
        assert_eq!(text, "_____________________w");
        assert_eq!(TokenId::parse(&text), Some(id));
        assert_eq!(
            SubjectTag::parse(&text),
            Some(SubjectTag::from_bytes([0xff; 16]))
        );
        for bad in [
            "",
            "_____________________w==",
            // Four bits of the last character are spare: this would be the same bytes.
            "_____________________x",
            "/////////////////////w",
            "____________________w",
            "______________________w",
            " ____________________w",
        ] {
            assert_eq!(TokenId::parse(bad), None, "{bad:?}");
        }
    }
}
