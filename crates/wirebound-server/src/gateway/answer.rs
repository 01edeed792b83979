//! Answers of the gateway's own where the app has none: 400, 502, 504.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use wirebound_tower::body::{self, Body};
use wirebound_tower::refusal::Asker;

use crate::pages;

/// What a client is told when the app cannot answer. Nothing in it comes from an error.
pub(super) fn own(status: StatusCode, asker: Asker) -> Response<Body> {
    let (code, title, hint) = words(status);
    let (kind, text) = match asker {
        Asker::Person => (
            "text/html; charset=utf-8",
            pages::page(status.as_u16(), code, title, hint, None),
        ),
        Asker::Program => {
            let document = serde_json::json!({
                "type": format!("urn:wirebound:problem:{code}"),
                "title": title,
                "status": status.as_u16(),
                "code": code,
            });
            ("application/problem+json", document.to_string())
        }
    };
    let mut response = Response::new(body::full(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if asker == Asker::Person
        && let Ok(policy) = HeaderValue::from_str(&pages::page_csp())
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
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
