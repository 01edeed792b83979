//! Believing an assertion, and making one: the same rules on both sides.
//!
//! The order is fixed: length, form of the JWS, key, algorithm, signature, type, form of the claims, issuer, audience, length
//! of life, times, confirmation. What fails first is what is said, and no byte of the token is in what is said.

use core::fmt;

use wirebound::{Lifetime, Timestamp};

use crate::claims::{Claims, Confirmation};
use crate::jws;
use crate::keys::{KeySet, SigningKey};

/// The `typ` of our tokens. No other kind of token has it, so none can pass for one (RFC 8725 3.11).
pub const ASSERTION_TYPE: &str = "wirebound-assertion+jwt";

/// The longest life of a token: `exp` less `iat`.
pub const LONGEST_LIFE: Lifetime = Lifetime::from_mins(15);

/// By how much clocks may differ, if nobody says otherwise.
pub const LEEWAY: Lifetime = Lifetime::from_secs(5);

/// The most that anybody may say.
pub const LEEWAY_MAX: Lifetime = Lifetime::from_secs(60);

/// Longest token that is issued, in bytes. Browsers keep cookies of up to 4,096 bytes with their names; this leaves 64 for
/// the name.
pub const TOKEN_MAX_BYTES: usize = 4096 - 64;

/// What a verifier asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// Who must have said it.
    pub issuer: String,
    /// To whom it must have been said: the verifier's own name.
    pub audience: String,
    /// By how much clocks may differ; more than [`LEEWAY_MAX`] counts as that.
    pub leeway: Lifetime,
    /// The longest life that is taken; more than [`LONGEST_LIFE`] counts as that.
    pub longest: Lifetime,
}

impl Expected {
    /// Asks for this issuer and this audience, with [`LEEWAY`] and [`LONGEST_LIFE`].
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            leeway: LEEWAY,
            longest: LONGEST_LIFE,
        }
    }
}

/// Checks an assertion that is bound to no key.
///
/// # Errors
///
/// Why it is not believed. [`Invalid::Unconfirmed`] when it is bound to a key: see [`check_bound`].
pub fn check(
    token: &str,
    keys: &KeySet,
    expected: &Expected,
    now: Timestamp,
) -> Result<Claims, Invalid> {
    let claims = believed(token, keys, expected, now)?;
    match claims.confirmation {
        None => Ok(claims),
        Some(_) => Err(Invalid::Unconfirmed),
    }
}

/// Checks an assertion that is bound to the key that was shown with it.
///
/// # Errors
///
/// Why it is not believed. [`Invalid::Unconfirmed`] when it is bound to another key; [`Invalid::Unbound`] when it is bound
/// to none, because whoever asks for a bound token must not be content with one that anybody may have taken along.
pub fn check_bound(
    token: &str,
    keys: &KeySet,
    expected: &Expected,
    now: Timestamp,
    shown: &Confirmation,
) -> Result<Claims, Invalid> {
    let claims = believed(token, keys, expected, now)?;
    match &claims.confirmation {
        Some(asked) if asked == shown => Ok(claims),
        Some(_) => Err(Invalid::Unconfirmed),
        None => Err(Invalid::Unbound),
    }
}

/// Checks that one of these keys made this assertion, and nothing else: not by whom nor to whom it was said, nor whether its
/// time has come or is over. Enough to call it back; nobody is let in by it.
///
/// # Errors
///
/// Why it is none of theirs.
pub fn check_origin(token: &str, keys: &KeySet) -> Result<Claims, Invalid> {
    let signed = jws::check(token, keys)?;
    if signed.typ.as_deref() != Some(ASSERTION_TYPE) {
        return Err(Invalid::Type);
    }
    Claims::read(&signed.payload).ok_or(Invalid::Claims)
}

fn believed(
    token: &str,
    keys: &KeySet,
    expected: &Expected,
    now: Timestamp,
) -> Result<Claims, Invalid> {
    let claims = check_origin(token, keys)?;
    if claims.issuer != expected.issuer {
        return Err(Invalid::Issuer);
    }
    if claims.audience != expected.audience {
        return Err(Invalid::Audience);
    }
    if claims.lasts() > expected.longest.min(LONGEST_LIFE).as_secs() {
        return Err(Invalid::TooLong);
    }
    let leeway = expected.leeway.min(LEEWAY_MAX);
    // "on or after which the JWT MUST NOT be accepted" (RFC 7519 4.1.4): at the very moment it is over.
    if now >= claims.expires.begins().after(leeway) {
        return Err(Invalid::Expired);
    }
    // `iat` is not after `nbf`: one comparison for both.
    if claims.not_before.begins() > now.after(leeway) {
        return Err(Invalid::NotYet);
    }
    Ok(claims)
}

/// Makes the token that says this.
///
/// # Errors
///
/// When no verifier would believe it, or the key fails. No token is made that [`check`] would not take.
pub fn sign(key: &SigningKey, claims: &Claims) -> Result<String, Unsigned> {
    if !claims.is_well_formed() {
        return Err(Unsigned::Claims);
    }
    if claims.lasts() > LONGEST_LIFE.as_secs() {
        return Err(Unsigned::TooLong);
    }
    let payload = claims.write().ok_or(Unsigned::Claims)?;
    let token = jws::sign(key, ASSERTION_TYPE, &payload).ok_or(Unsigned::Key)?;
    if token.len() > TOKEN_MAX_BYTES {
        return Err(Unsigned::Oversized { bytes: token.len() });
    }
    Ok(token)
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new reason must be met by everybody who tells of it"
)]
pub enum Invalid {
    /// Longer than [`jws::JWS_MAX_BYTES`]; not looked at.
    Oversized,
    /// Not a compact JWS of ours: parts, base64url, or the header.
    Malformed,
    /// No key of this name.
    UnknownKey,
    /// The header names another algorithm than the key's.
    Algorithm,
    /// The key did not make this signature.
    Signature,
    /// A token of another kind.
    Type,
    /// A claim is missing, unknown, repeated, or not of its type or form.
    Claims,
    /// Said by somebody else.
    Issuer,
    /// Said to somebody else.
    Audience,
    /// It was made to last too long.
    TooLong,
    /// Its time is over.
    Expired,
    /// Its time has not come, or it was said in the future.
    NotYet,
    /// It is bound to a key that was not shown.
    Unconfirmed,
    /// It is bound to no key, where a bound one was asked for.
    Unbound,
}

impl Invalid {
    /// Each there is.
    pub const ALL: [Self; 14] = [
        Self::Oversized,
        Self::Malformed,
        Self::UnknownKey,
        Self::Algorithm,
        Self::Signature,
        Self::Type,
        Self::Claims,
        Self::Issuer,
        Self::Audience,
        Self::TooLong,
        Self::Expired,
        Self::NotYet,
        Self::Unconfirmed,
        Self::Unbound,
    ];

    /// Its name in events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Type => "type",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::TooLong => "too_long",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Unconfirmed => "unconfirmed",
            Self::Unbound => "unbound",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oversized => "the token is too long to be looked at",
            Self::Malformed => "this is no token of ours",
            Self::UnknownKey => "the token names a key that is not known",
            Self::Algorithm => "the token names another algorithm than its key's",
            Self::Signature => "the signature is not the key's",
            Self::Type => "this is a token of another kind",
            Self::Claims => "a claim is missing, unknown, repeated or malformed",
            Self::Issuer => "the token is from somebody else",
            Self::Audience => "the token is for somebody else",
            Self::TooLong => "the token was made to last too long",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Unconfirmed => "the token is bound to a key that was not shown",
            Self::Unbound => "the token is bound to no key",
        })
    }
}

impl core::error::Error for Invalid {}

/// Why a token was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsigned {
    /// A claim has a form that no verifier takes.
    Claims,
    /// It would last longer than [`LONGEST_LIFE`].
    TooLong,
    /// It would be longer than [`TOKEN_MAX_BYTES`].
    Oversized {
        /// How long it would be.
        bytes: usize,
    },
    /// The key failed.
    Key,
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claims => f.write_str(
                "no verifier would take these claims; look at issuer, audience, role and times",
            ),
            Self::TooLong => write!(
                f,
                "a token lasts at most {} seconds",
                LONGEST_LIFE.as_secs()
            ),
            Self::Oversized { bytes } => write!(
                f,
                "the token would have {bytes} bytes, a cookie takes {TOKEN_MAX_BYTES}; shorten issuer, audience or subject"
            ),
            Self::Key => f.write_str("the signing key failed"),
        }
    }
}

impl core::error::Error for Unsigned {}
