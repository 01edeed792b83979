//! The gate's own endpoints, under `/.wirebound/`: what is bound to what, who is signed in where, what there is to find,
//! and the way out.
//!
//! Whatever changes something is a POST or DELETE from our own pages or from a program, with or without a session.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use wirebound::engine::Scope;
use wirebound::store::StoreError;
use wirebound::{Refusal, SessionId, Timestamp};

use super::depart::Departure;
use super::sessions::{End, document, see_other};
use super::{Access, Gate};
use crate::body::{self, Body};
use crate::csrf;
use crate::form;
use crate::pages::Sheet;
use crate::refusal::Asker;
use crate::tls::Protocol;

/// Where the gate's own endpoints are.
const OWN: &str = "/.wirebound/";

/// A form that names one session is no longer than this.
const MOST_FORM: usize = 4096;

/// Where the keys that check assertions are published, as others look for them (RFC 8615).
const WELL_KNOWN_KEYS: &str = "/.well-known/jwks.json";

/// Whether what is asked for is here, and not the app's.
pub(super) fn is_own(gate: &Gate, path: &str) -> bool {
    path.starts_with(OWN) || is_published(gate, path)
}

fn is_published(gate: &Gate, path: &str) -> bool {
    path == WELL_KNOWN_KEYS && gate.assertions().is_some()
}

/// Whether what is asked for is for machines: they have no session, whatever the operator asks of everybody else.
pub(super) fn is_for_machines(gate: &Gate, path: &str) -> bool {
    is_published(gate, path)
        || matches!(
            path,
            "/.wirebound/introspect" | "/.wirebound/revoke" | "/.wirebound/feed"
        )
}

/// What is asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'a> {
    Me,
    Tree,
    Sessions,
    LogOut,
    /// The session is named in a form.
    EndNamed,
    EndOne(&'a str),
    EndOthers,
    EndAll,
    Keys,
    Introspect,
    Revoke,
    Feed,
    /// There is something here, for these methods.
    OtherMethod(&'static str),
    Nothing,
}

impl<'a> Asked<'a> {
    fn of(method: &Method, path: &'a str) -> Self {
        let one = path.strip_prefix("/.wirebound/sessions/");
        match (path, method) {
            ("/.wirebound/me", &Method::GET) => Self::Me,
            ("/.wirebound/tree", &Method::GET) => Self::Tree,
            ("/.wirebound/sessions", &Method::GET) => Self::Sessions,
            ("/.wirebound/logout", &Method::POST) => Self::LogOut,
            ("/.wirebound/sessions/end", &Method::POST) => Self::EndNamed,
            ("/.wirebound/sessions/end-others", &Method::POST) => Self::EndOthers,
            ("/.wirebound/sessions/end-all", &Method::POST) => Self::EndAll,
            (WELL_KNOWN_KEYS, &Method::GET | &Method::HEAD) => Self::Keys,
            ("/.wirebound/introspect", &Method::POST) => Self::Introspect,
            ("/.wirebound/revoke", &Method::POST) => Self::Revoke,
            ("/.wirebound/feed", &Method::GET) => Self::Feed,
            (
                "/.wirebound/me"
                | "/.wirebound/tree"
                | "/.wirebound/sessions"
                | "/.wirebound/feed"
                | WELL_KNOWN_KEYS,
                _,
            ) => Self::OtherMethod("GET"),
            (
                "/.wirebound/logout"
                | "/.wirebound/sessions/end"
                | "/.wirebound/sessions/end-others"
                | "/.wirebound/sessions/end-all"
                | "/.wirebound/introspect"
                | "/.wirebound/revoke",
                _,
            ) => Self::OtherMethod("POST"),
            (_, &Method::DELETE) => one.map_or(Self::Nothing, Self::EndOne),
            _ if one.is_some_and(|one| SessionId::parse(one).is_some()) => {
                Self::OtherMethod("DELETE")
            }
            _ => Self::Nothing,
        }
    }

    const fn changes(self) -> bool {
        matches!(
            self,
            Self::LogOut | Self::EndNamed | Self::EndOne(_) | Self::EndOthers | Self::EndAll
        )
    }
}

impl Gate {
    pub(super) async fn own<B: http_body::Body>(
        &self,
        access: &Access,
        departure: &Departure,
        parts: &Parts,
        body: B,
    ) -> Response<Body> {
        let asker = departure.asker();
        let asked = Asked::of(&parts.method, parts.uri.path());
        if asked.changes() && !csrf::is_our_own(&parts.headers, access.authority()) {
            super::service::tell_surprise(access.wired(), parts, false);
            let refused = access.refuse(Refusal::CsrfSurprise, asker, false);
            return refused.map(body::full);
        }
        let answered = match asked {
            Asked::Me => self.me(access).await,
            Asked::Tree => Ok(self.tree(access, asker)),
            Asked::Sessions => self.list_sessions(access, asker).await,
            Asked::LogOut => self.log_out(access, asker).await,
            Asked::EndNamed => {
                let named = named_session(parts, body).await;
                self.end_sessions(access, asker, named).await
            }
            Asked::EndOne(id) => {
                let named = SessionId::parse(id).map(End::One);
                self.end_sessions(access, asker, named).await
            }
            Asked::EndOthers => self.end_sessions(access, asker, Some(End::Others)).await,
            Asked::EndAll => self.end_sessions(access, asker, Some(End::All)).await,
            Asked::Keys => Ok(self.jwks(access, &parts.headers)),
            Asked::Introspect => self.introspect(access, parts, body).await,
            Asked::Revoke => self.revoke(access, parts, body).await,
            Asked::Feed => return self.feed(access, parts),
            Asked::OtherMethod(allowed) => {
                let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(ALLOW, allowed);
                Ok(response)
            }
            Asked::Nothing => Ok(status(StatusCode::NOT_FOUND)),
        };
        let answered = answered.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot decide: answered 503");
            access.refuse(Refusal::StoreUnavailable, asker, false)
        });
        answered.map(body::full)
    }

    /// Signs out. A POST from our own pages only: that has been checked.
    async fn log_out(&self, access: &Access, asker: Asker) -> Result<Response<Bytes>, StoreError> {
        let ended = match access.verified() {
            Some(verified) => self.sign_out_now(access, verified, Scope::Session).await?,
            None => 0,
        };
        let mut response = match asker {
            Asker::Person => see_other(self.answers().login.as_deref().unwrap_or("/")),
            Asker::Program => status(StatusCode::NO_CONTENT),
        };
        if ended > 0 {
            self.names().clear_session(response.headers_mut());
        }
        Ok(response)
    }

    /// What the operator listed, cut to what the asker may use.
    fn tree(&self, access: &Access, asker: Asker) -> Response<Bytes> {
        let tree = &self.answers().tree;
        match asker {
            Asker::Person => self.answers().look.page(&Sheet {
                status: StatusCode::OK,
                code: "",
                title: "Pages",
                text: "",
                content: tree.to_html(access.verified()),
                script: None,
            }),
            Asker::Program => document(&tree.to_json(access.verified())),
        }
    }

    /// What is bound to what, for the one who asks: never a secret.
    async fn me(&self, access: &Access) -> Result<Response<Bytes>, StoreError> {
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
        let times = self.engine().ticket_times(&wired.wire);
        // In the units they were measured in: nt, et and dt of the window.
        let ticket = json!({
            "window_ms": times.window.as_millis(),
            "nt_ms": times.trip.map(wirebound::Lifetime::as_millis),
            "et_ns": nanos(times.seal),
            "dt_ns": nanos(times.open),
        });
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
        let whole = json!({ "session": session, "wire": wire, "lineage": lineage, "ticket": ticket, "wires": wires, "now": time(access.now()) });
        Ok(document(&whole))
    }
}

/// The one session that a form names; `None` if it names none, or cannot be read.
async fn named_session<B: http_body::Body>(parts: &Parts, body: B) -> Option<End> {
    let fields = form::read(&parts.headers, body, MOST_FORM).await.ok()?;
    let mut named = fields.iter().filter(|(name, _)| name == "session");
    let (_, value) = named.next()?;
    match named.next() {
        Some(_) => None,
        None => SessionId::parse(value).map(End::One),
    }
}

const fn time(at: Timestamp) -> u64 {
    at.as_millis()
}

fn nanos(time: core::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
