//! The key that checks. What is no key, or one that protects nothing, does not become one.

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use wirebound::Secret;

use super::{KeyError, Kid};
use crate::algorithm::Algorithm;
use crate::names;

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
    Kid(names::write(hash.as_ref()).into())
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
