//! Why the app's answer does not go out, and what the client is told instead.

use http::{Response, StatusCode};
use wirebound::store::StoreError;
use wirebound::{Ending, Refusal};
use wirebound_tower::body::{self, Body};
use wirebound_tower::gate::Access;
use wirebound_tower::refusal::{Asker, respond};
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
    /// The store cannot say, and this could not be done.
    Store(&'static str, StoreError),
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
    /// What was to be done, where only the store can fail.
    pub(super) fn store(what: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |error| Self::Store(what, error)
    }

    pub(super) fn answer(self, passage: &Passage) -> Response<Body> {
        let asker = passage.asker;
        let status = match self {
            Self::Unanswered(Unanswered::Cut(code)) => return cut(code, passage),
            Self::Over => return cut(CloseCode::Ended(Ending::Revoked), passage),
            Self::GoingAway => return answer::going_away(asker),
            Self::Unanswered(fault @ (Unanswered::Unsendable(_) | Unanswered::Upload(_))) => {
                return malformed(&passage.access, &fault, asker);
            }
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
                return cannot_say(passage);
            }
            Self::Store(what, error) => {
                tracing::error!(%error, "{what}: answered 503");
                return cannot_say(passage);
            }
            Self::Subject => StatusCode::BAD_GATEWAY,
            Self::Randomness => return cannot_say(passage),
        };
        answer::own(status, asker)
    }
}

/// A request with two readings is refused, and what was wrong with it is told as often as that it was.
pub(super) fn malformed(
    access: &Access,
    fault: &dyn core::fmt::Display,
    asker: Asker,
) -> Response<Body> {
    if access.tell_refused(Refusal::Malformed) {
        tracing::info!(target: "wirebound::event", event = "malformed", %fault);
    }
    let answers = access.gate().answers();
    respond(Refusal::Malformed, asker, false, answers).map(body::full)
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
    let refused = passage.access.refuse(refusal, passage.asker, true);
    refused.map(body::full)
}

fn cannot_say(passage: &Passage) -> Response<Body> {
    let refused = passage
        .access
        .refuse(Refusal::StoreUnavailable, passage.asker, false);
    refused.map(body::full)
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
