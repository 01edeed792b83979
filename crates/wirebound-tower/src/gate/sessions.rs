//! Sessions for their owners: see mine, end one, end the others, end all.
//!
//! Whose they are is decided by what this very request proved, never by what it names: an id that is not among the
//! asker's own is answered as one that does not exist.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use wirebound::engine::{Scope, SessionSummary};
use wirebound::store::StoreError;
use wirebound::{Ending, SessionId, Subject, Timestamp, Verified};

use super::depart::to_its_end;
use super::{Access, Gate};
use crate::pages::{Html, Sheet};
use crate::refusal::{Asker, Told, tell};

/// Said to those whom nobody named.
const NAMELESS: &str =
    "Nobody has said who you are, so what you have open on other devices cannot be known here.";

/// What is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    One(SessionId),
    Others,
    All,
}

impl Gate {
    /// The asker's sessions.
    pub(super) async fn list_sessions(
        &self,
        access: &Access,
        asker: Asker,
    ) -> Result<Response<Bytes>, StoreError> {
        let Some(verified) = access.verified() else {
            return Ok(access.refuse_nobody(asker));
        };
        let now = access.now();
        let sessions = self.engine().sessions_of(verified.subject(), now).await?;
        Ok(match asker {
            Asker::Person => self.answers().look.page(&Sheet {
                status: StatusCode::OK,
                code: "",
                title: "Where you are signed in",
                text: if is_nameless(verified.subject()) {
                    NAMELESS
                } else {
                    ""
                },
                content: to_html(&sessions, verified, now),
                script: None,
            }),
            Asker::Program => document(&to_json(&sessions, verified, now)),
        })
    }

    /// Ends sessions of the asker. That it comes from our own pages has been checked.
    pub(super) async fn end_sessions(
        &self,
        access: &Access,
        asker: Asker,
        end: Option<End>,
    ) -> Result<Response<Bytes>, StoreError> {
        let Some(verified) = access.verified() else {
            return Ok(access.refuse_nobody(asker));
        };
        let own = verified.session();
        let ended = match end {
            Some(End::One(id)) if id == own => {
                self.sign_out_now(access, verified, Scope::Session).await?
            }
            Some(End::One(id)) => self.end_other(access, verified, id).await?,
            Some(End::Others) => self.sign_out_now(access, verified, Scope::Others).await?,
            Some(End::All) => self.sign_out_now(access, verified, Scope::All).await?,
            None => 0,
        };
        if ended == 0 && matches!(end, Some(End::One(_)) | None) {
            return Ok(tell(&NO_SUCH_SESSION, asker, self.answers()));
        }
        let is_over = matches!(end, Some(End::All)) || end == Some(End::One(own));
        let mut response = match asker {
            Asker::Person => see_other(if is_over { "/" } else { "/.wirebound/sessions" }),
            Asker::Program => {
                let mut text = json!({ "ended": ended });
                note(&mut text, verified.subject());
                document(&text)
            }
        };
        if is_over {
            self.names().clear_session(response.headers_mut());
        }
        Ok(response)
    }

    /// Another session of the same subject; how many ended.
    async fn end_other(
        &self,
        access: &Access,
        verified: &Verified,
        id: SessionId,
    ) -> Result<usize, StoreError> {
        let now = self.now().unwrap_or_else(|| access.now());
        let engine = std::sync::Arc::clone(self.engine());
        let subject = verified.subject().clone();
        to_its_end(async move {
            let mine = engine.sessions_of(&subject, now).await?;
            if !mine.iter().any(|session| session.id == id) {
                return Ok(0);
            }
            engine.end(id, Ending::Revoked, now).await.map(usize::from)
        })
        .await?
    }
}

const NO_SUCH_SESSION: Told = Told {
    status: StatusCode::NOT_FOUND,
    code: "no_such_session",
    title: "You have no such session.",
    detail: None,
    leave: false,
    challenge: None,
};

/// A subject that the gateway made up: what hangs on a name, as lists over devices do, is off.
fn is_nameless(subject: &Subject) -> bool {
    subject.as_bytes().starts_with(b"a:")
}

fn note(document: &mut Value, subject: &Subject) {
    if let Some(map) = document.as_object_mut() {
        map.insert("over_devices".to_owned(), (!is_nameless(subject)).into());
        if is_nameless(subject) {
            map.insert("why".to_owned(), NAMELESS.into());
        }
    }
}

fn to_json(sessions: &[SessionSummary], verified: &Verified, now: Timestamp) -> Value {
    let one = |session: &SessionSummary| {
        let current = session.id == verified.session();
        json!({
            "id": session.id.to_string(),
            "current": current,
            "role": session.role.to_string(),
            "strength": current.then(|| verified.strength().name()),
            "created": session.created.as_millis(),
            "last_active": session.last_active.as_millis(),
            "idle_until": session.idle_until.as_millis(),
            "absolute_until": session.absolute_until.as_millis(),
            "connections": session.wires,
            "last_side": session.last_side,
        })
    };
    let sessions: Vec<Value> = sessions.iter().map(one).collect();
    let mut document = json!({ "sessions": sessions, "now": now.as_millis() });
    note(&mut document, verified.subject());
    document
}

fn to_html(sessions: &[SessionSummary], verified: &Verified, now: Timestamp) -> Html {
    let mut html = Html::new();
    for session in sessions {
        let current = session.id == verified.session();
        html = html
            .tag("<section>\n<h2>")
            .text(if current { "Here" } else { "Elsewhere" })
            .tag("</h2>\n<p>")
            .text(&session.last_side)
            .tag("</p>\n<p>Signed in ")
            .text(&ago(session.created, now))
            .tag(", last seen ")
            .text(&ago(session.last_active, now))
            .tag(", role ")
            .text(&session.role.to_string())
            .tag(".</p>\n<form method=\"post\" action=\"/.wirebound/sessions/end\"><input type=\"hidden\" name=\"session\" value=\"")
            .text(&session.id.to_string())
            .tag("\"><button>Sign out</button></form>\n</section>\n");
    }
    if sessions.len() > 1 {
        html = html
            .tag("<form method=\"post\" action=\"/.wirebound/sessions/end-others\"><button>Sign out everywhere else</button></form>\n");
    }
    html.tag("<form method=\"post\" action=\"/.wirebound/sessions/end-all\"><button>Sign out everywhere</button></form>\n")
}

/// How long ago, as people say it.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    let (count, unit) = match seconds {
        0..60 => return String::from("just now"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

pub(super) fn document(value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn see_other(to: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    // What an operator wrote and cannot stand in a header leads to the front page.
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(LOCATION, to);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (seconds, expected) in [
            (0, "just now"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
        ] {
            let then = Timestamp::from_millis(1_000_000_000 - seconds * 1000);
            assert_eq!(ago(then, now), expected);
        }
    }
}
