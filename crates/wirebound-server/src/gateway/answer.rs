//! Answers of the gateway's own where the app has none: 413, 502, 503 while it stops, 504. What is refused is answered by the
//! one function for that.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use wirebound_tower::body::{self, Body};
use wirebound_tower::pages::{Html, Sheet};
use wirebound_tower::refusal::{Asker, problem};

use crate::pages;

/// What a client is told when the app cannot answer. Nothing in it comes from an error.
pub(super) fn own(status: StatusCode, asker: Asker) -> Response<Body> {
    say(status, asker, words(status))
}

/// The gateway stops: come back to the next one.
pub(super) fn going_away(asker: Asker) -> Response<Body> {
    let words = (
        "going_away",
        "The server is being restarted.",
        "Please try again in a moment.",
    );
    let mut response = say(StatusCode::SERVICE_UNAVAILABLE, asker, words);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The role fell while the request was on its way, or what proved it does not stand any more.
pub(super) fn judged_again(asker: Asker) -> Response<Body> {
    let words = (
        "forbidden",
        "What you may do changed while this was on its way.",
        "Please try again.",
    );
    say(StatusCode::FORBIDDEN, asker, words)
}

fn say(
    status: StatusCode,
    asker: Asker,
    (code, title, hint): (&'static str, &'static str, &'static str),
) -> Response<Body> {
    let mut response = match asker {
        Asker::Person => person(status, code, title, hint),
        Asker::Program => problem(status, code, title, None),
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.map(body::full)
}

fn person(status: StatusCode, code: &str, title: &str, hint: &str) -> Response<Bytes> {
    pages::look().page(&Sheet {
        status,
        code,
        title,
        text: hint,
        content: Html::new(),
        script: None,
    })
}

fn words(status: StatusCode) -> (&'static str, &'static str, &'static str) {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "This upload is too large.", ""),
        StatusCode::GATEWAY_TIMEOUT => (
            "upstream_slow",
            "The app takes too long to answer.",
            "Please try again in a moment.",
        ),
        _ => (
            "upstream_unavailable",
            "The app does not answer.",
            "Please try again in a moment.",
        ),
    }
}
