//! The one type that holds a bearer secret.
//!
//! It does not print, compare, hash, clone into a string or serialise; `expose` is the one reader, so
//! a search for that word lists every use. The bytes are wiped when it is dropped.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize;

use crate::time::{Entropy, EntropyError};

/// Bytes in a bearer secret: 256 bits.
pub const SECRET_BYTES: usize = 32;

/// Characters of a secret in base64url without padding.
pub const SECRET_CHARS: usize = 43;

/// A bearer secret of 32 bytes: a cookie's secret, a hand-over nonce, an echo nonce.
///
/// # Security
///
/// Whoever holds these bytes holds a credential. The store never sees them, only a keyed digest.
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// Draws a fresh secret.
    ///
    /// # Errors
    ///
    /// When the source of randomness fails; there is no fallback.
    pub fn draw(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; SECRET_BYTES];
        entropy.fill(&mut bytes)?;
        let secret = Self(bytes);
        bytes.zeroize();
        Ok(secret)
    }

    /// Takes bytes that came from elsewhere (a parsed cookie, a key file).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads 43 characters of base64url, nothing else: no padding, no white space, no other alphabet,
    /// no stray bits in the last character.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != SECRET_CHARS {
            return None;
        }
        let mut bytes = [0; SECRET_BYTES];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (written == SECRET_BYTES).then_some(Self(bytes))
    }

    /// The bytes themselves. The only way to read a secret.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The text that goes into a cookie. It is a secret as well: mark the header that carries it sensitive.
    #[must_use]
    pub fn expose_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// A second copy, for the two places that need the same secret (a cookie and a retry of it).
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::from_bytes([0x41; 32]);
        let shown = format!("{secret:?}");
        assert_eq!(shown, "Secret(..)");
        assert!(!shown.contains(&secret.expose_text()));
    }

    #[test]
    fn text_round_trips_and_nothing_else_parses() {
        let secret = Secret::from_bytes([7; 32]);
        let text = secret.expose_text();
        assert_eq!(text.len(), SECRET_CHARS);
        assert_eq!(
            Secret::parse(text.as_bytes()).unwrap().expose(),
            secret.expose()
        );
        for bad in [
            String::new(),
            format!("{text}="),
            text.get(1..).unwrap().to_owned(),
            format!(" {}", text.get(1..).unwrap()),
            format!("{}+", text.get(1..).unwrap()),
            // The last of 43 characters carries four bits; a fifth one set is another spelling of the same secret.
            format!("{}d", text.get(..42).unwrap()),
        ] {
            assert!(Secret::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
