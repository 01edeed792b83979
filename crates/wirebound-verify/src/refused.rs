//! Why a token is not taken, and how that is said over HTTP.

use core::fmt;

use wirebound_assertion::Invalid;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a service must meet each; a new one is a new answer"
)]
pub enum Refused {
    /// It proves nothing.
    Unauthenticated(Invalid),
    /// It was called back: the session, the subject or this one token.
    PhantomSession,
    /// It was real, and its time is over.
    SessionExpired,
    /// Nobody can say. Whoever shows it is not signed out by that, and may come again.
    StoreUnavailable(Unsure),
}

/// Why nobody can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "each is counted by its name")]
pub enum Unsure {
    /// The clock cannot tell the time.
    Clock,
    /// There are no keys, or they are older than they may be.
    Keys,
    /// What is called back is not known as a whole: before the first snapshot, or since something was lost.
    NotKnown,
    /// It was known, too long ago.
    Stale,
    /// The gateway would have to be asked, which cannot be done without waiting.
    MustAsk,
    /// The gateway was asked and did not answer, or with something else than an answer.
    NoAnswer,
}

impl Unsure {
    /// Each there is.
    pub const ALL: [Self; 6] = [
        Self::Clock,
        Self::Keys,
        Self::NotKnown,
        Self::Stale,
        Self::MustAsk,
        Self::NoAnswer,
    ];

    /// Its name in events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Keys => "keys",
            Self::NotKnown => "not_known",
            Self::Stale => "stale",
            Self::MustAsk => "must_ask",
            Self::NoAnswer => "no_answer",
        }
    }
}

impl Refused {
    /// Its name, of the gateway's own taxonomy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::PhantomSession => "phantom_session",
            Self::SessionExpired => "session_expired",
            Self::StoreUnavailable(_) => "store_unavailable",
        }
    }

    /// What it is in particular, for logs and metrics. A stranger is not told.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Unauthenticated(invalid) => invalid.name(),
            Self::PhantomSession => "called_back",
            Self::SessionExpired => "expired",
            Self::StoreUnavailable(unsure) => unsure.name(),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Unauthenticated(_) | Self::PhantomSession => 401,
            Self::SessionExpired => 440,
            Self::StoreUnavailable(_) => 503,
        }
    }

    /// The `WWW-Authenticate` field that goes with a 401 (RFC 6750 section 3). It says the same of every such token.
    #[must_use]
    pub const fn www_authenticate(self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated(_) | Self::PhantomSession => {
                Some(r#"Bearer realm="wirebound", error="invalid_token""#)
            }
            Self::SessionExpired | Self::StoreUnavailable(_) => None,
        }
    }

    /// The `Retry-After` field that goes with a 503, in seconds.
    #[must_use]
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::StoreUnavailable(_) => Some(2),
            Self::Unauthenticated(_) | Self::PhantomSession | Self::SessionExpired => None,
        }
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            // Told after the signature: it was ours.
            Invalid::Expired => Self::SessionExpired,
            Invalid::Oversized
            | Invalid::Malformed
            | Invalid::UnknownKey
            | Invalid::Algorithm
            | Invalid::Signature
            | Invalid::Type
            | Invalid::Claims
            | Invalid::Issuer
            | Invalid::Audience
            | Invalid::TooLong
            | Invalid::NotYet
            | Invalid::Unconfirmed
            | Invalid::Unbound => Self::Unauthenticated(invalid),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthenticated(invalid) => invalid.fmt(f),
            Self::PhantomSession => f.write_str("the token was called back"),
            Self::SessionExpired => f.write_str("the token has expired"),
            Self::StoreUnavailable(unsure) => unsure.fmt(f),
        }
    }
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clock => "the clock cannot tell the time",
            Self::Keys => "there are no keys of the gateway's, or they are too old",
            Self::NotKnown => "what is called back is not known as a whole yet",
            Self::Stale => "the feed has said nothing for too long",
            Self::MustAsk => "the gateway would have to be asked",
            Self::NoAnswer => "the gateway was asked and did not answer",
        })
    }
}

impl core::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    fn each() -> impl Iterator<Item = Refused> {
        let unsure = Unsure::ALL.into_iter().map(Refused::StoreUnavailable);
        Invalid::ALL
            .into_iter()
            .map(Refused::from)
            .chain(unsure)
            .chain([Refused::PhantomSession])
    }

    #[test]
    fn what_has_run_out_is_440_what_proves_nothing_401_and_what_nobody_knows_503() {
        for refused in each() {
            let (status, challenge, retry) = match refused.name() {
                "unauthenticated" | "phantom_session" => (401, true, false),
                "session_expired" => (440, false, false),
                "store_unavailable" => (503, false, true),
                other => panic!("{other}"),
            };
            assert_eq!(refused.status(), status, "{refused:?}");
            assert_eq!(refused.www_authenticate().is_some(), challenge);
            assert_eq!(refused.retry_after().is_some(), retry);
        }
        assert_eq!(Refused::from(Invalid::Expired), Refused::SessionExpired);
    }

    #[test]
    fn a_stranger_cannot_tell_a_token_that_was_called_back_from_one_that_never_was() {
        let made_up = Refused::Unauthenticated(Invalid::Signature);
        let called_back = Refused::PhantomSession;
        assert_eq!(made_up.status(), called_back.status());
        assert_eq!(made_up.www_authenticate(), called_back.www_authenticate());
    }
}
