//! Why the app's answer does not go out, and what the client is told instead.

use http::{Response, StatusCode};
use wirebound_tower::body::Body;
use wirebound_tower::refusal::Asker;

use super::answer;
use super::cargo::NotKept;
use crate::proxy::Unanswered;

/// Why the app's answer does not go out.
#[derive(Debug)]
pub(super) enum Failed {
    Unanswered(Unanswered),
    Vouching(crate::vouch::Fault),
    NotKept(NotKept),
    Subject,
    Randomness,
    /// The session ended while the request was on its way.
    Over,
}

impl From<Unanswered> for Failed {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unanswered(unanswered)
    }
}

impl From<NotKept> for Failed {
    fn from(not_kept: NotKept) -> Self {
        Self::NotKept(not_kept)
    }
}

impl Failed {
    pub(super) fn answer(self, asker: Asker) -> Response<Body> {
        let status = match self {
            Self::Unanswered(fault @ Unanswered::ConnectionAuthentication(scheme)) => {
                tracing::error!(target: "wirebound::event", event = "connection_authentication", scheme, %fault);
                StatusCode::BAD_GATEWAY
            }
            Self::Unanswered(unanswered) => {
                if !matches!(unanswered, Unanswered::Cut(_)) {
                    tracing::warn!(error = %unanswered, cause = core::error::Error::source(&unanswered).map(tracing::field::display), "the app gave no answer");
                }
                unanswered.status()
            }
            Self::Vouching(fault) => {
                tracing::error!(target: "wirebound::event", event = "vouching_refused", %fault);
                StatusCode::BAD_GATEWAY
            }
            Self::NotKept(NotKept::TooMuch(fault)) => {
                tracing::error!(target: "wirebound::event", event = "vault_full", %fault);
                StatusCode::BAD_GATEWAY
            }
            Self::NotKept(NotKept::Store(error)) => {
                tracing::error!(%error, "the vault cannot be used: answered 503");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Subject => StatusCode::BAD_GATEWAY,
            Self::Randomness => StatusCode::SERVICE_UNAVAILABLE,
            Self::Over => StatusCode::UNAUTHORIZED,
        };
        answer::own(status, asker)
    }
}
