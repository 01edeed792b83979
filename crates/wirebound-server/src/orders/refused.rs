//! Why an order was not carried out, and what to do about it.

use core::fmt;

use wirebound::engine::{NotMade, NotRotated};
use wirebound::store::StoreError;
use wirebound::{ApiKeyId, SessionId, Timestamp};
use wirebound_assertion::{KEYS_MAX, Kid};

use crate::certificates::facts::date_text;
use crate::failure::Failure;

/// Why an order was not carried out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// No live session has this id.
    NoSession(SessionId),
    /// No API key has this id.
    NoKey(ApiKeyId),
    /// No API key was made.
    NotMade(NotMade),
    /// The key was not given a new secret.
    NotRotated(NotRotated),
    /// No assertions are issued here.
    NothingIssued,
    /// They are to be issued, and no key was made for it yet.
    NoRing,
    /// No signing key has this name.
    NoSigningKey(Kid),
    /// The next signing key is on its way already, and signs from this moment on.
    NextIsPublished(Timestamp),
    /// There are as many signing keys as there may be.
    RingIsFull,
    /// The signing keys cannot be read or made.
    Keys(Failure),
    /// What was issued before a moment to come is not issued yet.
    Future,
    /// The token has run out by itself.
    Over,
    /// The store cannot say, so nothing is promised.
    Unsure(StoreError),
}

impl Refused {
    /// The name of the reason, in the problem document.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSession(_) => "no_such_session",
            Self::NoKey(_) => "no_such_key",
            Self::NotMade(_) => "key_not_made",
            Self::NotRotated(_) => "key_not_rotated",
            Self::NothingIssued => "nothing_issued",
            Self::NoRing => "no_signing_keys",
            Self::NoSigningKey(_) => "no_such_signing_key",
            Self::NextIsPublished(_) => "next_key_is_published",
            Self::RingIsFull => "ring_is_full",
            Self::Keys(_) => "signing_keys_unavailable",
            Self::Future => "moment_to_come",
            Self::Over => "token_has_run_out",
            Self::Unsure(_) => "store_unavailable",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::NoSession(_) => "wirebound sessions ls lists those that live",
            Self::NoKey(_) => "wirebound keys ls lists them",
            Self::NotMade(NotMade::Full) => "wirebound keys ls, then wirebound keys revoke ID",
            Self::NotMade(NotMade::Expired) => {
                "name a later moment with --expires, or leave it out"
            }
            Self::NotMade(NotMade::OwnerBlocked) => {
                "wirebound identities unblock OWNER, or name another owner"
            }
            Self::NotMade(NotMade::OwnerRemoved) => {
                "name another owner, or wait until this one has signed in again"
            }
            Self::NotRotated(_) => "wirebound keys create makes another",
            Self::NothingIssued => {
                "`upstream = true` under [assertion] turns them on; the configuration is named with --config"
            }
            Self::NoRing => {
                "start the gateway once with this configuration: it makes the first key"
            }
            Self::NoSigningKey(_) => "wirebound keys signing ls lists them",
            Self::NextIsPublished(_) => {
                "wait until it signs; a key that leaked is taken out with wirebound keys signing retire KID"
            }
            Self::RingIsFull => "wirebound keys signing ls says when the oldest is gone",
            Self::Keys(failure) => failure.hint.as_deref().unwrap_or("wirebound doctor"),
            Self::Future => "name a moment that is over, or now",
            Self::Over => "nothing is to be done: nobody believes it any more",
            Self::NotMade(_) | Self::Unsure(_) => "wirebound doctor",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSession(id) => write!(f, "no live session has the id {id}"),
            Self::NoKey(id) => write!(f, "no API key has the id {id}"),
            Self::NotMade(NotMade::Full) => {
                f.write_str("there are as many API keys as there may be")
            }
            Self::NotMade(error) => error.fmt(f),
            Self::NotRotated(NotRotated::Revoked) => f.write_str("the key was revoked"),
            Self::NotRotated(NotRotated::Expired) => f.write_str("the key has expired"),
            Self::NotRotated(error) => error.fmt(f),
            Self::NothingIssued => f.write_str("no assertions are issued here"),
            Self::NoRing => f.write_str("no signing key was made yet"),
            Self::NoSigningKey(kid) => write!(f, "no signing key has the name {kid}"),
            Self::NextIsPublished(since) => write!(
                f,
                "the next signing key is published already, and signs from {} on",
                date_text(*since)
            ),
            Self::RingIsFull => write!(
                f,
                "there are {KEYS_MAX} signing keys, and no room for another"
            ),
            Self::Keys(failure) => failure.fmt(f),
            Self::Future => f.write_str("that moment is still to come"),
            Self::Over => f.write_str("that token has run out by then"),
            Self::Unsure(error) => {
                write!(f, "{error}")?;
                core::error::Error::source(error).map_or(Ok(()), |cause| write!(f, " ({cause})"))
            }
        }
    }
}

impl core::error::Error for Refused {}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unsure(error)
    }
}

impl From<NotMade> for Refused {
    fn from(error: NotMade) -> Self {
        match error {
            NotMade::Store(error) => Self::Unsure(error),
            error @ (NotMade::Full
            | NotMade::Expired
            | NotMade::OwnerBlocked
            | NotMade::OwnerRemoved
            | _) => Self::NotMade(error),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let hint = refused.hint().to_owned();
        Self::failed(refused.to_string()).with_hint(hint)
    }
}
