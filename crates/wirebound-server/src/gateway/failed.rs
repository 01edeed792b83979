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
            Self::Unanswered(unanswered) => {
                if !matches!(unanswered, Unanswered::Cut(_)) {
                    tracing::warn!(error = %unanswered, cause = causes(&unanswered), "the app gave no answer");
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

/// What lies behind an error, from the outside in; nothing of a request is in it.
fn causes(error: &dyn core::error::Error) -> Option<String> {
    let mut next = error.source();
    let mut all = Vec::new();
    while let Some(error) = next {
        all.push(error.to_string());
        next = error.source();
    }
    (!all.is_empty()).then(|| all.join(": "))
}
