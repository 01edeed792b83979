//! From a refusal to a response: the one function, and the table it reads.
//!
//! Inside, reasons are fine; outside they are coarse. A stranger learns nothing: what is told beyond the status goes to
//! whoever has shown a current secret. Every answer is `no-store`, also the 404 (RFC 9110 section 15.5.5 would let
//! a cache keep it).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use wirebound::{Ending, Refusal};

use crate::pages::{Html, Look, Sheet};
use crate::tree::Tree;

/// Where the code stands for programs, where the reader may know it.
pub const REASON: HeaderName = HeaderName::from_static("wirebound-reason");

/// What kind of request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Asker {
    /// A browser's navigation: a person reads the answer.
    Person,
    /// Anything else: a program does.
    Program,
}

impl Asker {
    /// Tells a navigation by what the browser says of it, or where it says nothing by what it would like to read.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let navigates = match says("sec-fetch-mode") {
            Some(mode) => mode == "navigate",
            None => *method == Method::GET && wants_page(headers),
        };
        if navigates {
            Self::Person
        } else {
            Self::Program
        }
    }
}

/// Whether a client would like to read a page.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(http::header::ACCEPT);
    accept
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// What a client is told: nothing in it comes from the request or from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The status.
    pub status: StatusCode,
    /// The machine-readable code.
    pub code: &'static str,
    /// One sentence.
    pub title: &'static str,
    /// What more the holder of a current secret is told.
    pub detail: Option<&'static str>,
    /// The way on begins with leaving the session: a sign-in from within it would not make it stronger.
    pub leave: bool,
    /// What a machine is told where an API key is asked for, or one was shown, in `WWW-Authenticate` (RFC 6750 section 3).
    pub challenge: Option<&'static str>,
}

/// The table. `told`: the client has shown a current secret.
#[must_use]
pub fn table(refusal: Refusal, asker: Asker, told: bool) -> Told {
    let plain = |status, code, title| Told {
        status,
        code,
        title,
        detail: None,
        leave: false,
        challenge: None,
    };
    let unauthenticated = plain(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "Please sign in.",
    );
    match refusal {
        Refusal::Malformed => plain(
            StatusCode::BAD_REQUEST,
            "malformed",
            "This request cannot be read in one way only.",
        ),
        Refusal::Unauthenticated | Refusal::Blocked => unauthenticated,
        Refusal::NotProven if told => Told {
            code: "not_proven",
            ..unauthenticated
        },
        Refusal::PhantomSession(ending) if told => Told {
            code: "phantom_session",
            detail: Some(ending.name()),
            title: farewell(ending),
            ..unauthenticated
        },
        Refusal::NotProven | Refusal::PhantomSession(_) => unauthenticated,
        Refusal::SessionExpired(ending) => Told {
            detail: told.then_some(ending.name()),
            ..plain(
                expired(),
                "session_expired",
                "Your session has run out. Please sign in again.",
            )
        },
        // A person sees a page that is not there; a program gets 401, since a sync client would delete its copy at 404.
        Refusal::Contested | Refusal::OutOfSequence => match asker {
            Asker::Person => plain(
                StatusCode::NOT_FOUND,
                "not_found",
                "There is nothing here for you.",
            ),
            Asker::Program => unauthenticated,
        },
        Refusal::TicketNotTaken if told => Told {
            code: "ticket_not_taken",
            detail: Some("the cookies that were set are not kept"),
            ..unauthenticated
        },
        Refusal::TicketNotTaken => unauthenticated,
        Refusal::SecretExpired => Told {
            detail: told.then_some("secret"),
            ..plain(
                expired(),
                "session_expired",
                "You were away for too long. Please sign in again.",
            )
        },
        // Nothing was shown, so nothing is said of it (RFC 6750 section 3.1).
        Refusal::KeyMissing => Told {
            title: "This is for machines, with an API key.",
            challenge: Some("Bearer"),
            ..unauthenticated
        },
        // A machine is told what RFC 6750 has words for, and nothing of why its key is none.
        Refusal::KeyRefused => Told {
            title: "This needs a good API key.",
            challenge: Some("Bearer error=\"invalid_token\""),
            ..unauthenticated
        },
        Refusal::InsufficientScope => Told {
            challenge: Some("Bearer error=\"insufficient_scope\""),
            ..plain(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "This API key may not do this.",
            )
        },
        Refusal::CsrfSurprise => plain(
            StatusCode::FORBIDDEN,
            "csrf_surprise",
            "This request came from another site. Open the page itself and try again.",
        ),
        Refusal::InsufficientRole => plain(
            StatusCode::FORBIDDEN,
            "insufficient_role",
            "You may not do this.",
        ),
        Refusal::InsufficientStrength => Told {
            leave: true,
            ..plain(
                StatusCode::FORBIDDEN,
                "insufficient_strength",
                "Please sign in again to do this.",
            )
        },
        Refusal::SharedWire => plain(
            StatusCode::FORBIDDEN,
            "insufficient_strength",
            "You cannot be signed in here: something between you and this site mixes the connections of several people. \
             Its operator can tell what to change.",
        ),
        Refusal::StepUpRequired => plain(
            StatusCode::FORBIDDEN,
            "step_up_required",
            "Please confirm who you are to do this.",
        ),
        Refusal::Misdirected => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "This connection is for another host.",
        ),
        Refusal::StoreUnavailable => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "We cannot check this right now. You are still signed in; please try again.",
        ),
        // Whatever reason comes later: no.
        Refusal::Forbidden | _ => plain(StatusCode::FORBIDDEN, "forbidden", "Nobody may do this."),
    }
}

/// 440, which browsers and proxies have no name for, but which says what happened.
fn expired() -> StatusCode {
    StatusCode::from_u16(440).unwrap_or(StatusCode::UNAUTHORIZED)
}

/// What the holder of a session that was ended is told. An eviction above all: its owner must notice.
const fn farewell(ending: Ending) -> &'static str {
    match ending {
        Ending::Evicted => {
            "You were signed out because somebody signed in to this account elsewhere. Was it you?"
        }
        Ending::Theft => {
            "Your session was ended because two parties were seen using it. Please sign in again, and tell your operator."
        }
        Ending::Revoked => "This session was ended from elsewhere.",
        Ending::Removed => "This account is closed.",
        Ending::Logout | Ending::Replaced | Ending::ExpiredIdle | Ending::ExpiredAbsolute => {
            "This session is over. Please sign in."
        }
    }
}

/// How answers of our own look.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Answers {
    /// Draws the pages for people.
    pub look: Look,
    /// Where to sign in, if the operator said so.
    pub login: Option<String>,
    /// What the operator listed for people to find.
    pub tree: Tree,
    /// Whether a person whose ticket is out of sequence, or contested, is answered 401 instead of 404.
    pub out_of_sequence_is_401: bool,
    /// Which statuses whoever asks understands.
    pub statuses: Statuses,
}

/// Which statuses whoever asks understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Statuses {
    /// All, 440 among them.
    #[default]
    All,
    /// A proxy that asks for leave knows 2xx, 401 and 403; from anything else it makes a fault of its own. Codes stay what
    /// they are.
    Few,
}

impl Statuses {
    fn of(self, status: StatusCode) -> StatusCode {
        if self == Self::All {
            return status;
        }
        match status.as_u16() {
            401 | 403 | 503 => status,
            404 | 440 => StatusCode::UNAUTHORIZED,
            // Refused, and to sign in is not the way on.
            _ => StatusCode::FORBIDDEN,
        }
    }
}

/// The one function that turns a refusal into a response: an RFC 9457 problem document, or a page for a person.
#[must_use]
pub fn respond(refusal: Refusal, asker: Asker, told: bool, answers: &Answers) -> Response<Bytes> {
    let mut what = table(refusal, asker, told);
    let hidden = matches!(refusal, Refusal::Contested | Refusal::OutOfSequence);
    if hidden && answers.out_of_sequence_is_401 {
        what = table(Refusal::Unauthenticated, asker, false);
    }
    what.status = answers.statuses.of(what.status);
    let mut response = tell(&what, asker, answers);
    if let Some(challenge) = what.challenge {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    let headers = response.headers_mut();
    // Codes that say more than the status are for those who may know them.
    let everybody = !matches!(
        refusal,
        Refusal::Contested
            | Refusal::OutOfSequence
            | Refusal::NotProven
            | Refusal::TicketNotTaken
            | Refusal::PhantomSession(_)
    );
    if (told && !hidden) || everybody {
        headers.insert(REASON, HeaderValue::from_static(what.code));
    }
    if refusal == Refusal::StoreUnavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

/// What is told as a page or a problem document, kept by no cache.
#[must_use]
pub fn tell(what: &Told, asker: Asker, answers: &Answers) -> Response<Bytes> {
    let mut response = match asker {
        Asker::Person => page(what, answers),
        Asker::Program => problem(what.status, what.code, what.title, what.detail),
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn page(what: &Told, answers: &Answers) -> Response<Bytes> {
    let mut content = Html::new();
    if what.leave {
        content = content.sign_in_again();
    } else if leads_on(what) {
        if let Some(login) = &answers.login {
            content = content.sign_in_link(login);
        }
        // Whoever is refused is nobody yet, so what is listed is what everybody may see.
        content = content.with(&answers.tree.for_strangers());
    }
    answers.look.page(&Sheet {
        status: what.status,
        code: what.code,
        title: what.title,
        text: what.detail.unwrap_or_default(),
        content,
        script: None,
    })
}

/// Whether signing in, or another page, is the way on.
fn leads_on(what: &Told) -> bool {
    (what.status == StatusCode::UNAUTHORIZED && what.challenge.is_none())
        || what.status == StatusCode::NOT_FOUND
        || what.status == expired()
        || ["insufficient_strength", "step_up_required"].contains(&what.code)
}

/// An RFC 9457 problem document; `code` is also the end of its `type`.
#[must_use]
pub fn problem(
    status: StatusCode,
    code: &str,
    title: &str,
    detail: Option<&str>,
) -> Response<Bytes> {
    let mut document = serde_json::json!({
        "type": format!("urn:wirebound:problem:{code}"),
        "title": title,
        "status": status.as_u16(),
        "code": code,
    });
    if let (Some(detail), Some(map)) = (detail, document.as_object_mut()) {
        map.insert("detail".to_owned(), detail.into());
    }
    let mut response = Response::new(Bytes::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One refusal in every respect, as a row: what is told to whom, how it is counted, how an operator hears of it.
    fn row(refusal: Refusal) -> String {
        let seen = |asker, told, statuses| {
            let answers = Answers {
                statuses,
                ..Answers::default()
            };
            let response = respond(refusal, asker, told, &answers);
            let headers = response.headers();
            assert_eq!(headers[CACHE_CONTROL], "no-store", "{refusal}");
            let what = table(refusal, asker, told);
            if asker == Asker::Program {
                assert_eq!(
                    headers[CONTENT_TYPE], "application/problem+json",
                    "{refusal}"
                );
                let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
                assert_eq!(document["code"], what.code, "{refusal}");
                assert_eq!(
                    document["type"],
                    format!("urn:wirebound:problem:{}", what.code)
                );
                assert_eq!(document["status"], response.status().as_u16(), "{refusal}");
                assert_eq!(document["title"], what.title, "{refusal}");
            }
            let challenge = headers.get(WWW_AUTHENTICATE);
            assert_eq!(
                challenge.map(HeaderValue::as_bytes),
                what.challenge.map(str::as_bytes),
                "{refusal}"
            );
            let reason = headers
                .get(REASON)
                .map_or("-", |reason| reason.to_str().unwrap());
            format!("{} `{reason}`", response.status().as_u16()).replace("`-`", "-")
        };
        let program = |told| seen(Asker::Program, told, Statuses::All);
        format!(
            "| `{refusal}` | {} | {} | {} | {} | `{}` |",
            seen(Asker::Person, false, Statuses::All),
            program(false),
            program(true),
            seen(Asker::Program, true, Statuses::Few),
            refusal.event(),
        )
    }

    #[test]
    fn every_refusal_is_in_the_table_of_the_documents_as_it_is_answered() {
        let document = include_str!("../../../docs/refusals.md");
        let rows: Vec<&str> = document
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let expected: Vec<String> = Refusal::ALL.map(row).into();
        assert_eq!(rows, expected, "as it should be:\n{}", expected.join("\n"));
    }

    #[test]
    fn whoever_understands_few_statuses_gets_no_other() {
        for refusal in Refusal::ALL {
            for (asker, told) in [
                (Asker::Person, true),
                (Asker::Program, true),
                (Asker::Program, false),
            ] {
                let answers = Answers {
                    statuses: Statuses::Few,
                    ..Answers::default()
                };
                let response = respond(refusal, asker, told, &answers);
                assert!(
                    [401, 403, 503].contains(&response.status().as_u16()),
                    "{refusal}"
                );
                let code = |response: &Response<Bytes>| response.headers().get(REASON).cloned();
                let direct = respond(refusal, asker, told, &Answers::default());
                assert_eq!(code(&response), code(&direct), "{refusal}");
            }
        }
    }

    #[test]
    fn a_stranger_learns_no_ending_and_the_evicted_is_told_why() {
        for ending in Ending::ALL {
            let refusal = Refusal::PhantomSession(ending);
            let stranger = respond(refusal, Asker::Program, false, &Answers::default());
            let body = String::from_utf8(stranger.into_body().to_vec()).unwrap();
            assert!(
                !body.contains(ending.name()) && !body.contains("phantom"),
                "{body}"
            );
        }
        let holder = respond(
            Refusal::PhantomSession(Ending::Evicted),
            Asker::Person,
            true,
            &Answers::default(),
        );
        assert!(
            String::from_utf8(holder.into_body().to_vec())
                .unwrap()
                .contains("signed in to this account elsewhere")
        );
    }
}
