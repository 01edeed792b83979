//! Extractors for axum handlers behind the gate.

use std::sync::Arc;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use wirebound::{Refusal, Verified, VerifiedKey};

use super::Access;
use crate::refusal::{Answers, Asker, respond};

/// A proved request: rejects with 401 if nobody is signed in.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "taken apart in a handler's arguments"
)]
pub struct Session(pub Verified);

/// A request of a machine with a good API key: rejects with 401 without one. What it may do is in its scopes.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "taken apart in a handler's arguments"
)]
pub struct Machine(pub Arc<VerifiedKey>);

impl<S: Sync> FromRequestParts<S> for Machine {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let access = Access::from_request_parts(parts, state).await?;
        let asker = Asker::of(&parts.method, &parts.headers);
        access
            .shared_key()
            .map(Self)
            .ok_or_else(|| answer(access.refuse(Refusal::KeyMissing, asker, false)))
    }
}

impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!(
                "a handler asked for `Access` outside the gate: put the gate's layer around it"
            );
            let asker = Asker::of(&parts.method, &parts.headers);
            let answers = Answers::default();
            answer(respond(Refusal::StoreUnavailable, asker, false, &answers))
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let access = Access::from_request_parts(parts, state).await?;
        match access.verified() {
            Some(verified) => Ok(Self(verified.clone())),
            None => {
                let asker = Asker::of(&parts.method, &parts.headers);
                Err(answer(access.refuse_nobody(asker)))
            }
        }
    }
}

fn answer(response: http::Response<Bytes>) -> Response {
    let (head, body) = response.into_parts();
    (head.status, head.headers, body).into_response()
}
