//! Published keys (RFC 7517): what verifiers fetch, written without a secret and read with suspicion.
//!
//! A set is bounded before it is parsed. Keys that we do not speak are passed over; a private member, wherever it stands,
//! or one name for two keys means that the publisher cannot be trusted with keys, and the whole set is refused.

use core::fmt;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::json::{self, Any};
use crate::keys::{KeyError, KeySet, Kid, Public, VerifyingKey};
use crate::names;

/// Longest set that is read, in bytes.
pub const JWKS_MAX_BYTES: usize = 64 * 1024;

/// Most keys in a set that is read.
pub const JWKS_MAX_KEYS: usize = 32;

/// Members that only a private or a secret key has (RFC 7518 6.2.2, 6.3.2 and 6.4.1, RFC 8037 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A JSON Web Key Set as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwks(String);

impl Jwks {
    /// The set of these keys. A key of HS256 is left out: to show it would be to give it away.
    #[must_use]
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a VerifyingKey>) -> Self {
        let keys: Vec<Value> = keys.into_iter().filter_map(written).collect();
        Self(json!({ "keys": keys }).to_string())
    }

    /// The JSON, as it goes out.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Reads a set that somebody publishes.
    ///
    /// Keys of other kinds, curves, algorithms or uses and keys without a name are passed over (RFC 7517 5).
    ///
    /// # Errors
    ///
    /// When it is too large, no set of keys, holds a private key or a point that is none, or names two keys alike.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, JwksError> {
        if bytes.len() > JWKS_MAX_BYTES {
            return Err(JwksError::Oversized);
        }
        let Set { keys } = json::object(bytes).ok_or(JwksError::Malformed)?;
        if keys.len() > JWKS_MAX_KEYS {
            return Err(JwksError::Oversized);
        }
        let mut read = KeySet::new();
        let mut names = BTreeSet::new();
        for json::Members(key) in &keys {
            if PRIVATE.iter().any(|member| key.contains_key(*member)) {
                return Err(JwksError::Private);
            }
            let kid = text(key, "kid")?;
            if kid.is_some_and(|kid| !names.insert(kid)) {
                return Err(JwksError::Duplicate);
            }
            if let Some(key) = understood(key, kid)? {
                read.insert(key).map_err(|_| JwksError::Duplicate)?;
            }
        }
        Ok(read)
    }
}

/// Other members of the set are passed over (RFC 7517 5).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Any>,
}

fn written(key: &VerifyingKey) -> Option<Value> {
    let kid = key.kid().as_str();
    let alg = key.algorithm().name();
    match key.public() {
        Public::Ed25519 { x } => Some(json!({
            "kty": "OKP", "crv": "Ed25519", "alg": alg, "use": "sig", "kid": kid, "x": names::write(x),
        })),
        Public::P256 { x, y } => Some(json!({
            "kty": "EC", "crv": "P-256", "alg": alg, "use": "sig", "kid": kid,
            "x": names::write(x), "y": names::write(y),
        })),
        Public::None => None,
    }
}

/// A member that is text, if it is there.
fn text<'a>(key: &'a BTreeMap<String, Value>, member: &str) -> Result<Option<&'a str>, JwksError> {
    match key.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(JwksError::Malformed),
    }
}

/// A coordinate: 32 bytes, in its one spelling.
fn coordinate(key: &BTreeMap<String, Value>, member: &str) -> Result<[u8; 32], JwksError> {
    text(key, member)?
        .and_then(names::read)
        .ok_or(JwksError::NotAKey)
}

/// The key, if it is one of those that we speak.
fn understood(
    key: &BTreeMap<String, Value>,
    kid: Option<&str>,
) -> Result<Option<VerifyingKey>, JwksError> {
    let kty = text(key, "kty")?.ok_or(JwksError::Malformed)?;
    let algorithm = match (kty, text(key, "crv")?) {
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        ("EC", Some("P-256")) => Algorithm::Es256,
        _ => return Ok(None),
    };
    if text(key, "alg")?.is_some_and(|alg| alg != algorithm.name())
        || text(key, "use")?.is_some_and(|purpose| purpose != "sig")
        || !may_verify(key)?
    {
        return Ok(None);
    }
    let Some(kid) = kid else {
        return Ok(None);
    };
    let kid = Kid::parse(kid).ok_or(JwksError::Malformed)?;
    let x = coordinate(key, "x")?;
    let read = match algorithm {
        Algorithm::EdDsa => VerifyingKey::ed25519(Some(kid), &x),
        Algorithm::Es256 => VerifyingKey::p256(Some(kid), &x, &coordinate(key, "y")?),
        Algorithm::Hs256 => Err(KeyError::Algorithm),
    };
    read.map(Some).map_err(|_| JwksError::NotAKey)
}

/// Whether `key_ops`, if it is there, has `verify` in it.
fn may_verify(key: &BTreeMap<String, Value>) -> Result<bool, JwksError> {
    match key.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => {
            if !operations.iter().all(Value::is_string) {
                return Err(JwksError::Malformed);
            }
            Ok(operations.iter().any(|operation| operation == "verify"))
        }
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
        ) => Err(JwksError::Malformed),
    }
}

/// Why a set of keys is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwksError {
    /// Longer than [`JWKS_MAX_BYTES`], or more than [`JWKS_MAX_KEYS`] keys.
    Oversized,
    /// No set of keys, or a member of another type than its own, or one that stands there twice.
    Malformed,
    /// A private or secret key is in it.
    Private,
    /// Two keys have one name.
    Duplicate,
    /// A key of ours has coordinates that are no point, or one that protects nothing.
    NotAKey,
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oversized => "the set of keys is too large",
            Self::Malformed => "this is no set of keys",
            Self::Private => {
                "the set publishes a private key; whoever publishes it must replace that key now"
            }
            Self::Duplicate => "two keys of the set have one name",
            Self::NotAKey => "a key of the set is no point of its curve",
        })
    }
}

impl core::error::Error for JwksError {}
