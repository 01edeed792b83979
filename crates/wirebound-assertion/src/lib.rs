//! Signed assertions: short-lived JSON Web Tokens about a session, and the ring of keys that signs them.
//!
//! For who cannot ask the engine: a service behind the gateway, another node. An assertion says whose session it is, in
//! which role and by which proof, to one audience, for at most fifteen minutes. It cannot be called back by itself;
//! its `jti`, `sid`, `gen` and `stg` are what revocation matches.
//!
//! Signatures come from a maintained JOSE library. The rules above them are ours, and are those of RFC 7515, 7517, 7519,
//! 7638, 8037 and 8725 without the latitude: one algorithm a key, one spelling a token, no member that we do not know. There
//! is no HTTP here, no clock and no store; time and randomness are passed in. (One exception: ECDSA draws its nonce inside
//! the library of cryptography, from the system.)
//!
//! ```
//! use wirebound::{Entropy, EntropyError, SessionId, Strength, Subject, Timestamp};
//! use wirebound_assertion::{
//!     Algorithm, Claims, Expected, Invalid, Jwks, Ring, Schedule, Seconds, SigningKey, SubjectTag, TokenId, check, sign,
//! };
//!
//! #[derive(Debug)]
//! struct System;
//!
//! impl Entropy for System {
//!     fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
//!         aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError::new())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The issuer has a ring of keys, and publishes their public halves.
//! let now = Timestamp::from_millis(1_800_000_000_000);
//! let key = SigningKey::generate(Algorithm::default(), &System)?;
//! let ring = Ring::new(key, now);
//! let published = ring.jwks(now);
//!
//! let issued = Seconds::of(now);
//! let claims = Claims {
//!     issuer: "https://gate.example".to_owned(),
//!     audience: "https://orders.example".to_owned(),
//!     subject: Subject::new(b"alice")?,
//!     issued,
//!     not_before: issued,
//!     expires: issued.plus(300),
//!     id: TokenId::from_bytes([1; 16]),
//!     session: SessionId::from_bytes([2; 10]),
//!     role: "user".to_owned(),
//!     strength: Strength::Wire,
//!     generation: 7,
//!     tag: SubjectTag::from_bytes([3; 16]),
//!     confirmation: None,
//! };
//! let token = sign(ring.signing(now), &claims)?;
//!
//! // A verifier has fetched the keys, and knows who it is.
//! let keys = Jwks::parse(published.as_json().as_bytes())?;
//! let mine = Expected::new("https://gate.example", "https://orders.example");
//! assert_eq!(check(&token, &keys, &mine, now)?, claims);
//!
//! // Another service does not take it, and nobody takes it later.
//! let other = Expected::new("https://gate.example", "https://admin.example");
//! assert_eq!(check(&token, &keys, &other, now), Err(Invalid::Audience));
//! let later = Timestamp::from_millis(1_800_000_305_000);
//! assert_eq!(check(&token, &keys, &mine, later), Err(Invalid::Expired));
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod check;
mod claims;
mod json;
mod jwks;
pub mod jws;
mod keys;
mod names;
mod ring;
mod subject;

pub use algorithm::Algorithm;
pub use check::{
    ASSERTION_TYPE, Expected, Invalid, LEEWAY, LEEWAY_MAX, LONGEST_LIFE, TOKEN_MAX_BYTES, Unsigned,
    check, check_bound, check_origin, sign,
};
pub use claims::{Claims, Confirmation, GENERATION_MAX, PARTY_MAX_BYTES, ROLE_MAX_BYTES, Seconds};
pub use jwks::{JWKS_MAX_BYTES, JWKS_MAX_KEYS, Jwks, JwksError};
pub use keys::{KID_MAX_BYTES, KeyError, KeySet, Kid, SigningKey, VerifyingKey};
pub use names::{SubjectTag, TokenId};
pub use ring::{KEYS_MAX, Listed, NotRetired, Ring, RingError, Schedule, ScheduleError, State};
pub use subject::{decode_subject, encode_subject};
