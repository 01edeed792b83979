//! The keys: one that signs, one that checks, and a set of those that check, each found by its name.
//!
//! A key has one algorithm from its first moment. It is found by `kid` alone: no other key is tried, and nothing that a
//! token carries (`jwk`, `jku`, `x5c`) is ever a key.

use core::borrow::Borrow;
use core::fmt;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, EncodingKey};
use wirebound::{Entropy, EntropyError, SECRET_BYTES, Secret};
use zeroize::Zeroizing;

use crate::algorithm::Algorithm;
use crate::names;

/// Longest name of a key in bytes.
pub const KID_MAX_BYTES: usize = 128;

/// A kept signing key: version (1), algorithm (1), secret (32), and of HS256 alone the name (16).
const KEY_FORMAT: u8 = 1;

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
                let kid = Kid(URL_SAFE_NO_PAD.encode(kid).into());
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
        &self.verifying.kid
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm
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

/// A key that checks. It prints its name and its algorithm, nothing else, because that of HS256 can sign as well.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Kid,
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
    public: Public,
}

/// What of a key may be shown.
#[derive(Clone)]
pub(crate) enum Public {
    Ed25519 { x: [u8; 32] },
    P256 { x: [u8; 32], y: [u8; 32] },
    None,
}

impl VerifyingKey {
    /// A key of EdDSA from the 32 bytes of an Ed25519 public key. Without a name it is called by its thumbprint.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAKey`] when it is one of the points of small order, under which anybody can sign, or another
    /// spelling of a point. (32 bytes that are no point at all check no signature.)
    pub fn ed25519(kid: Option<Kid>, x: &[u8; 32]) -> Result<Self, KeyError> {
        if is_small_or_odd(x) {
            return Err(KeyError::NotAKey);
        }
        let kid = kid.unwrap_or_else(|| {
            let x = names::write(x);
            thumbprint(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
        });
        Ok(Self {
            kid,
            algorithm: Algorithm::EdDsa,
            key: Arc::new(DecodingKey::from_ed_der(x)),
            public: Public::Ed25519 { x: *x },
        })
    }

    /// A key of ES256 from the coordinates of a P-256 point. Without a name it is called by its thumbprint.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAKey`] when that is no point of the curve.
    pub fn p256(kid: Option<Kid>, x: &[u8; 32], y: &[u8; 32]) -> Result<Self, KeyError> {
        let point = [&[4], x.as_slice(), y].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyError::NotAKey)?;
        let kid = kid.unwrap_or_else(|| {
            let (x, y) = (names::write(x), names::write(y));
            thumbprint(&format!(
                r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#
            ))
        });
        Ok(Self {
            kid,
            algorithm: Algorithm::Es256,
            key: Arc::new(DecodingKey::from_ec_der(&point)),
            public: Public::P256 { x: *x, y: *y },
        })
    }

    /// A key of HS256. Its 32 bytes are as many as the hash has, which RFC 7518 3.2 asks for at least.
    #[must_use]
    pub fn hs256(kid: Kid, secret: &Secret) -> Self {
        Self {
            kid,
            algorithm: Algorithm::Hs256,
            key: Arc::new(DecodingKey::from_secret(secret.expose())),
            public: Public::None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) const fn public(&self) -> &Public {
        &self.public
    }

    /// Whether these bytes are this key's signature of the message, under this key's algorithm.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        // Our own provider by name: the library's default is a global that any code in the process may set.
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.beneath(), &self.key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

/// The name that RFC 7638 gives: the hash of the key's required members in their one order.
fn thumbprint(members: &str) -> Kid {
    let hash = digest::digest(&digest::SHA256, members.as_bytes());
    Kid(URL_SAFE_NO_PAD.encode(hash).into())
}

/// Whether an Ed25519 public key has small order or is written with a coordinate of 2^255 - 19 or more.
///
/// Under a point of small order one signature is good for many messages, so it is nobody's key.
fn is_small_or_odd(x: &[u8; 32]) -> bool {
    /// Coordinates of the points of order 1, 2, 4 and 8, little-endian, without the sign.
    const SMALL: [[u8; 32]; 5] = [
        [0; 32],
        first_then(1, 0, 0),
        first_then(0xec, 0xff, 0x7f),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    /// 2^255 - 19.
    const PRIME: [u8; 32] = first_then(0xed, 0xff, 0x7f);

    let mut y = *x;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    SMALL.contains(&y) || y.iter().rev().ge(PRIME.iter().rev())
}

/// 32 bytes: one, thirty of another, a last one.
const fn first_then(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [head, .., tail] = &mut bytes;
    *head = first;
    *tail = last;
    bytes
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({}, {})", self.kid, self.algorithm)
    }
}

/// The keys that a verifier believes, by their names.
#[derive(Clone, Debug, Default)]
pub struct KeySet(BTreeMap<Kid, VerifyingKey>);

impl KeySet {
    /// A set of no keys: nothing checks under it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Duplicate`] when another has its name; the set is then as it was.
    pub fn insert(&mut self, key: VerifyingKey) -> Result<(), KeyError> {
        match self.0.entry(key.kid.clone()) {
            Entry::Vacant(place) => {
                place.insert(key);
                Ok(())
            }
            Entry::Occupied(_) => Err(KeyError::Duplicate),
        }
    }

    /// The set of these keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::Duplicate`] when two have one name.
    pub fn of(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        let mut set = Self::new();
        keys.into_iter().try_for_each(|key| set.insert(key))?;
        Ok(set)
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }

    /// All of them, in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
                "the signing key is of version {found}, this program knows {KEY_FORMAT}; upgrade it"
            ),
            Self::Algorithm => f.write_str("the key is of an algorithm that is not known"),
            Self::Length => f.write_str("the key is damaged: it is cut short or too long"),
            Self::NotAKey => f.write_str("these bytes are no key of their algorithm"),
            Self::Duplicate => f.write_str("two keys have one name"),
        }
    }
}

impl core::error::Error for KeyError {}
