//! Answers of the gateway's own where the app has none: 400, 502, 504.

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use wirebound_tower::body::{self, Body};
use wirebound_tower::pages::{Html, Sheet};
use wirebound_tower::refusal::{Asker, problem};

use crate::pages;

/// What a client is told when the app cannot answer. Nothing in it comes from an error.
pub(super) fn own(status: StatusCode, asker: Asker) -> Response<Body> {
    let (code, title, hint) = words(status);
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
        StatusCode::BAD_REQUEST => (
            "malformed",
            "This request cannot be read in one way only.",
            "",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "This upload is too large.", ""),
        StatusCode::GATEWAY_TIMEOUT => (
            "upstream_slow",
            "The app takes too long to answer.",
            "Please try again in a moment.",
        ),
        StatusCode::UNAUTHORIZED => ("unauthenticated", "Please sign in.", ""),
        StatusCode::SERVICE_UNAVAILABLE => (
            "store_unavailable",
            "We cannot check this right now.",
            "You are still signed in; please try again.",
        ),
        _ => (
            "upstream_unavailable",
            "The app does not answer.",
            "Please try again in a moment.",
        ),
    }
}
