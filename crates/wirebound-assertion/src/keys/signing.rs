//! The key that signs: how it is made, kept and read back.
//!
//! Nothing here prints a secret, and what holds one on the heap is wiped.

use core::fmt;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use wirebound::{Entropy, SECRET_BYTES, Secret};
use zeroize::Zeroizing;

use super::{KeyError, Kid, VerifyingKey};
use crate::algorithm::Algorithm;
use crate::names;

/// A kept signing key: version (1), algorithm (1), secret (32), and of HS256 alone the name (16).
pub(super) const KEY_FORMAT: u8 = 1;

const KID_BYTES: usize = 16;

/// A source that gives a number too large for P-256 eight times in a row (chance 2^-256) is none.
const DRAWS_MAX: usize = 8;

/// PKCS #8 around an Ed25519 seed, up to the seed (RFC 8410 7).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// PKCS #8 around a P-256 key, up to the private number (RFC 5915 3), and between that and the point.
const P256_PKCS8: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02,
    0x01, 0x01, 0x04, 0x20,
];
const P256_PKCS8_POINT: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];

/// A key that signs. It prints its name and its algorithm, nothing else.
///
/// # Security
///
/// Whoever holds it makes assertions that every verifier believes. Keep what [`SigningKey::to_bytes`] gives under a seal.
pub struct SigningKey {
    secret: Secret,
    /// Of HS256 alone; the names of other keys are made from the key.
    drawn: Option<[u8; KID_BYTES]>,
    signs: EncodingKey,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// Makes a fresh key. The name of an asymmetric one is its RFC 7638 thumbprint, that of an HS256 key is random.
    ///
    /// # Errors
    ///
    /// [`KeyError::Entropy`] when the source of randomness fails; there is no fallback.
    pub fn generate(algorithm: Algorithm, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        let drawn = match algorithm {
            Algorithm::EdDsa | Algorithm::Es256 => None,
            Algorithm::Hs256 => {
                let mut kid = [0; KID_BYTES];
                entropy.fill(&mut kid)?;
                Some(kid)
            }
        };
        for _ in 0..DRAWS_MAX {
            // A number that is none of the curve's is drawn again, never bent into shape (FIPS 186-5 A.2.2).
            match Self::of(algorithm, Secret::draw(entropy)?, drawn) {
                Err(KeyError::NotAKey) => {}
                made => return made,
            }
        }
        Err(KeyError::Entropy)
    }

    fn of(
        algorithm: Algorithm,
        secret: Secret,
        drawn: Option<[u8; KID_BYTES]>,
    ) -> Result<Self, KeyError> {
        let (signs, verifying) = match (algorithm, drawn) {
            (Algorithm::EdDsa, None) => {
                let pair = Ed25519KeyPair::from_seed_unchecked(secret.expose())
                    .map_err(|_| KeyError::NotAKey)?;
                let public: &[u8; 32] = pair
                    .public_key()
                    .as_ref()
                    .try_into()
                    .map_err(|_| KeyError::NotAKey)?;
                let wrapped = joined([&ED25519_PKCS8, secret.expose(), &[], &[]]);
                (
                    EncodingKey::from_ed_der(&wrapped),
                    VerifyingKey::ed25519(None, public)?,
                )
            }
            (Algorithm::Es256, None) => {
                let point = PrivateKey::from_private_key(&ECDH_P256, secret.expose())
                    .ok()
                    .and_then(|private| private.compute_public_key().ok())
                    .ok_or(KeyError::NotAKey)?;
                let point = point.as_ref();
                let (_, both) = point.split_at_checked(1).ok_or(KeyError::NotAKey)?;
                let ([x, y], []) = both.as_chunks() else {
                    return Err(KeyError::NotAKey);
                };
                let wrapped = joined([&P256_PKCS8, secret.expose(), &P256_PKCS8_POINT, point]);
                (
                    EncodingKey::from_ec_der(&wrapped),
                    VerifyingKey::p256(None, x, y)?,
                )
            }
            (Algorithm::Hs256, Some(kid)) => {
                let kid = Kid(names::write(&kid).into());
                (
                    EncodingKey::from_secret(secret.expose()),
                    VerifyingKey::hs256(kid, &secret),
                )
            }
            (Algorithm::EdDsa | Algorithm::Es256, Some(_)) | (Algorithm::Hs256, None) => {
                return Err(KeyError::Length);
            }
        };
        Ok(Self {
            secret,
            drawn,
            signs,
            verifying,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn kid(&self) -> &Kid {
        self.verifying.kid()
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// The key that checks what this one signs.
    #[must_use]
    pub const fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The key, to be kept. Seal it before it goes anywhere.
    ///
    /// # Security
    ///
    /// These bytes are the key itself.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let algorithm = match self.algorithm() {
            Algorithm::EdDsa => 1,
            Algorithm::Es256 => 2,
            Algorithm::Hs256 => 3,
        };
        let drawn = self.drawn.as_ref().map_or([].as_slice(), |kid| kid);
        joined([&[KEY_FORMAT, algorithm], self.secret.expose(), drawn, &[]])
    }

    /// Reads what [`SigningKey::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are of another version or algorithm, cut short, too long, or no key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let ([version, algorithm], rest) = bytes.split_first_chunk().ok_or(KeyError::Length)?;
        if *version != KEY_FORMAT {
            return Err(KeyError::Version { found: *version });
        }
        let algorithm = match algorithm {
            1 => Algorithm::EdDsa,
            2 => Algorithm::Es256,
            3 => Algorithm::Hs256,
            _ => return Err(KeyError::Algorithm),
        };
        let (secret, rest) = rest
            .split_first_chunk::<SECRET_BYTES>()
            .ok_or(KeyError::Length)?;
        let drawn = match rest {
            [] => None,
            kid => Some(kid.try_into().map_err(|_| KeyError::Length)?),
        };
        Self::of(algorithm, Secret::from_bytes(*secret), drawn)
    }

    /// Signs bytes, whatever they are.
    pub(crate) fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.algorithm().beneath(), &self.signs);
        signer.ok()?.try_sign(message).ok()
    }
}

/// Puts pieces of a secret together at their exact size at once: growing would leave copies behind in freed memory.
fn joined(pieces: [&[u8]; 4]) -> Zeroizing<Vec<u8>> {
    let size = pieces.iter().map(|piece| piece.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.kid(), self.algorithm())
    }
}
