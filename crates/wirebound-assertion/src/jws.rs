//! JSON Web Signatures in the one form that we speak: compact, with `alg`, `kid` and perhaps `typ`, and nothing else.
//!
//! The length is looked at before anything is taken apart. A header that says more than we know (`crit`, `b64`, `jwk`,
//! `jku`, `x5u`, `x5c`, `zip`) is refused, not skipped. Nothing of the payload is read before the signature held.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::check::Invalid;
use crate::json;
use crate::keys::{KeySet, Kid, SigningKey};

/// Longest token that is looked at, in bytes.
pub const JWS_MAX_BYTES: usize = 8 * 1024;

/// A payload whose signature held. What it says is still to be judged.
#[derive(Debug)]
#[non_exhaustive]
pub struct Signed {
    /// The key that signed it.
    pub kid: Kid,
    /// The type that the header names.
    pub typ: Option<String>,
    /// What was signed.
    pub payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(
        borrow,
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::present"
    )]
    typ: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
}

/// Checks the signature of a compact JWS under the key that its header names.
///
/// # Errors
///
/// [`Invalid::Oversized`], [`Invalid::Malformed`], [`Invalid::UnknownKey`], [`Invalid::Algorithm`] when the header names
/// another algorithm than the key's, [`Invalid::Signature`].
pub fn check(token: &str, keys: &KeySet) -> Result<Signed, Invalid> {
    if token.len() > JWS_MAX_BYTES {
        return Err(Invalid::Oversized);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
    // A third dot falls to base64url, which has none.
    let (header, payload) = signed.split_once('.').ok_or(Invalid::Malformed)?;
    let header = decode(header)?;
    let payload = decode(payload)?;
    let signature = decode(signature)?;
    let header: Header<'_> = json::object(&header).ok_or(Invalid::Malformed)?;
    let key = keys.key(&header.kid).ok_or(Invalid::UnknownKey)?;
    if header.alg != key.algorithm().name() {
        return Err(Invalid::Algorithm);
    }
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(Invalid::Signature);
    }
    Ok(Signed {
        kid: key.kid().clone(),
        typ: header.typ.map(Cow::into_owned),
        payload,
    })
}

/// Signs a payload. Nothing but the key's own failure can go wrong, and then there is no token.
#[must_use]
pub fn sign(key: &SigningKey, typ: &str, payload: &[u8]) -> Option<String> {
    let header = Header {
        alg: Cow::Borrowed(key.algorithm().name()),
        typ: Some(Cow::Borrowed(typ)),
        kid: Cow::Borrowed(key.kid().as_str()),
    };
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).ok()?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.signature(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}

/// Base64url without padding, without other characters, and without stray bits at the end.
fn decode(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid::Malformed)
}
