//! Sessions for their owners: see mine, end one, end the others, end all.
//!
//! Whose they are is decided by what this very request proved, never by what it names: an id that is not among the
//! asker's own is answered as one that does not exist. Where connections are bound, whoever came by a ticket may be one who
//! copied it: he sees and ends the session that he came by, and no other.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use wirebound::engine::{Scope, SessionSummary};
use wirebound::store::StoreError;
use wirebound::{Ending, Refusal, SessionId, Strength, Subject, Timestamp, Verified};

use super::depart::to_its_end;
use super::{Access, Gate};
use crate::pages::{Html, Sheet};
use crate::refusal::{Asker, Told, tell};

/// Said to those whom nobody named.
const NAMELESS: &str =
    "Nobody has said who you are, so what you have open on other devices cannot be known here.";

/// Said to those whom a copy of their cookie would have brought here too.
const BY_COOKIE: &str = "You are known here by your cookie alone, as after a restart of the browser, and a copy of it would be too. \
     To see and end what is open elsewhere, sign in again.";

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
        let mut sessions = self.engine().sessions_of(verified.subject(), now).await?;
        let by_cookie = self.is_by_cookie(verified);
        sessions.retain(|session| !by_cookie || session.id == verified.session());
        let why = self.why_alone(verified);
        let listed = to_html(&sessions, verified, now);
        Ok(match asker {
            Asker::Person => self.answers().look.page(&Sheet {
                status: StatusCode::OK,
                code: "",
                title: "Where you are signed in",
                text: why.unwrap_or_default(),
                content: if by_cookie {
                    listed.sign_in_again()
                } else {
                    listed.with(&ways_out(sessions.len()))
                },
                script: None,
            }),
            Asker::Program => document(&to_json(&sessions, verified, why, now)),
        })
    }

    /// Whether the asker is known by what a copy of his cookie would prove as well, where there is more to prove by.
    fn is_by_cookie(&self, verified: &Verified) -> bool {
        let binds = self.engine().policy().preset.binds_wires();
        binds && verified.strength() < Strength::Wire && !is_nameless(verified.subject())
    }

    /// Why the asker hears of no session but his own.
    fn why_alone(&self, verified: &Verified) -> Option<&'static str> {
        if is_nameless(verified.subject()) {
            Some(NAMELESS)
        } else {
            self.is_by_cookie(verified).then_some(BY_COOKIE)
        }
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
        if end.is_some_and(|end| end != End::One(own)) && self.is_by_cookie(verified) {
            return Ok(access.refuse(Refusal::InsufficientStrength, asker, true));
        }
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
                note(&mut text, self.why_alone(verified));
                document(&text)
            }
        };
        if is_over && ended > 0 {
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

fn note(document: &mut Value, why_alone: Option<&str>) {
    if let Some(map) = document.as_object_mut() {
        map.insert("over_devices".to_owned(), why_alone.is_none().into());
        if let Some(why) = why_alone {
            map.insert("why".to_owned(), why.into());
        }
    }
}

fn to_json(
    sessions: &[SessionSummary],
    verified: &Verified,
    why_alone: Option<&str>,
    now: Timestamp,
) -> Value {
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
    note(&mut document, why_alone);
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
    html
}

/// The buttons that end more than one.
fn ways_out(sessions: usize) -> Html {
    let mut html = Html::new();
    if sessions > 1 {
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
