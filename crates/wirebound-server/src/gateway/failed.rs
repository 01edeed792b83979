//! Why the app's answer does not go out, and what the client is told instead.

use http::{Response, StatusCode};
use wirebound::{Ending, Refusal};
use wirebound_tower::body::{self, Body};
use wirebound_tower::refusal::respond;
use wirebound_tower::tls::Protocol;

use super::answer;
use super::app::Passage;
use super::cargo::NotKept;
use crate::proxy::{CloseCode, Unanswered};

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
    /// The gateway stops, and the app has not answered by the time that it was given.
    GoingAway,
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
    pub(super) fn answer(self, passage: &Passage) -> Response<Body> {
        let asker = passage.asker;
        let status = match self {
            Self::Unanswered(Unanswered::Cut(code)) => return cut(code, passage),
            Self::Over => return cut(CloseCode::Ended(Ending::Revoked), passage),
            Self::GoingAway => return answer::going_away(asker),
            Self::Unanswered(fault @ Unanswered::ConnectionAuthentication(scheme)) => {
                tracing::error!(target: "wirebound::event", event = "connection_authentication", scheme, %fault);
                StatusCode::BAD_GATEWAY
            }
            Self::Unanswered(unanswered) => {
                tracing::warn!(error = %unanswered, cause = causes(&unanswered), "the app gave no answer");
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
        };
        answer::own(status, asker)
    }
}

/// What is in flight when its session ends is answered, never reset: a browser would send it again, a POST as well.
fn cut(code: CloseCode, passage: &Passage) -> Response<Body> {
    let connection = &passage.access.wired().connection;
    if connection.protocol == Protocol::Http1 {
        // Whatever is left of an upload is not worth keeping the connection for.
        connection.close_after_response();
    }
    let refusal = match code {
        CloseCode::Ended(ending @ (Ending::ExpiredIdle | Ending::ExpiredAbsolute)) => {
            Refusal::SessionExpired(ending)
        }
        CloseCode::Ended(ending) => Refusal::PhantomSession(ending),
        CloseCode::RoleChanged
        | CloseCode::GoingAway
        | CloseCode::Silent
        | CloseCode::UpstreamLost => return answer::judged_again(passage.asker),
    };
    // Whoever asked was proved a moment ago, and may know.
    let answers = passage.access.gate().answers();
    respond(refusal, passage.asker, true, answers).map(body::full)
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
