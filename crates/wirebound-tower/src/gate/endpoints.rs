//! The gate's own endpoints, under `/.wirebound/`: what is bound to what, and the way out.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use wirebound::engine::Scope;
use wirebound::{Refusal, Timestamp};

use super::depart::Departure;
use super::{Access, Gate};
use crate::body::{self, Body};
use crate::refusal::{Asker, respond};
use crate::tls::Protocol;

/// Where the gate's own endpoints are.
const OWN: &str = "/.wirebound/";

pub(super) fn is_own(path: &str) -> bool {
    path.starts_with(OWN)
}

impl Gate {
    pub(super) async fn own(
        &self,
        access: &Access,
        departure: &Departure,
        parts: &Parts,
    ) -> Response<Body> {
        let asker = departure.asker();
        let answered = match (parts.uri.path(), &parts.method) {
            ("/.wirebound/me", &Method::GET) => self.me(access).await,
            ("/.wirebound/logout", &Method::POST) => self.log_out(access, asker).await,
            ("/.wirebound/logout", _) => Ok(status(StatusCode::METHOD_NOT_ALLOWED)),
            _ => Ok(status(StatusCode::NOT_FOUND)),
        };
        answered.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot decide: answered 503");
            respond(Refusal::StoreUnavailable, asker, false, self.answers()).map(body::full)
        })
    }

    /// Signs out. A POST from our own pages only: the cross-site check has been made.
    async fn log_out(
        &self,
        access: &Access,
        asker: Asker,
    ) -> Result<Response<Body>, wirebound::store::StoreError> {
        if let Some(verified) = access.verified() {
            self.sign_out_now(access, verified, Scope::Session).await?;
        }
        let mut response = match asker {
            Asker::Person => {
                let mut response = status(StatusCode::SEE_OTHER);
                response
                    .headers_mut()
                    .insert(LOCATION, HeaderValue::from_static("/"));
                response
            }
            Asker::Program => status(StatusCode::NO_CONTENT),
        };
        if access.verified().is_some() {
            self.names().clear_session(response.headers_mut());
        }
        Ok(response)
    }

    /// What is bound to what, for the one who asks: never a secret.
    async fn me(&self, access: &Access) -> Result<Response<Body>, wirebound::store::StoreError> {
        let wired = access.wired();
        let connection = &wired.connection;
        let session = match access.verified() {
            Some(verified) => {
                self.engine()
                    .session(verified.session(), access.now())
                    .await?
            }
            None => None,
        };
        let attached_by = access
            .verified()
            .and_then(|verified| wired.wire.attached_by(verified.session()));
        let wire = json!({
            "id": wired.wire.id().as_u64(),
            "http": match connection.protocol { Protocol::Http1 => "1.1", Protocol::Http2 => "2" },
            "resumed": connection.family.resumed,
            "attached_by": attached_by.map(|(by, _)| by.name()),
            "stock": attached_by.map(|(_, stock)| stock.name()),
            "family": connection.family.root.to_string(),
            "shared": wired.wire.is_shared(),
            "opened": time(connection.opened),
        });
        let lineage = json!({ "roots": session.as_ref().map_or(0, |session| session.families) });
        let wires = session.as_ref().map_or(0, |session| session.wires);
        let session = session.map(|session| {
            json!({
                "id": session.id.to_string(),
                "subject": session.subject.to_string(),
                "role": session.role.to_string(),
                "strength": access.verified().map(|verified| verified.strength().name()),
                "created": time(session.created),
                "idle_until": time(session.idle_until),
                "absolute_until": time(session.absolute_until),
            })
        });
        let document = json!({ "session": session, "wire": wire, "lineage": lineage, "wires": wires, "now": time(access.now()) });
        let mut response = Response::new(body::full(document.to_string()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

const fn time(at: Timestamp) -> u64 {
    at.as_millis()
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
