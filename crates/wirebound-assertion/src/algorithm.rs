//! The signature algorithms that there are: three, each with keys of its own.
//!
//! "Each key MUST be used with exactly one algorithm" (RFC 8725 3.1): nothing here chooses an algorithm by what a token says.

use core::fmt;

/// A signature algorithm. It belongs to a key, for the key's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new algorithm must be met by every place that makes or reads a key"
)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037). No other curve goes under this name here.
    #[default]
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 3.4).
    Es256,
    /// HMAC with SHA-256 (RFC 7518 3.2): whoever can check can sign, so it is for tokens that come back to their maker.
    Hs256,
}

impl Algorithm {
    /// Each there is.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Hs256];

    /// Its name in headers, keys and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }

    /// Reads what [`Algorithm::name`] says, and no other spelling.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Whether its keys have a half that may be shown.
    #[must_use]
    pub const fn is_asymmetric(self) -> bool {
        match self {
            Self::EdDsa | Self::Es256 => true,
            Self::Hs256 => false,
        }
    }

    pub(crate) const fn beneath(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
