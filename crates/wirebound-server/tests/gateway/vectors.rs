//! The requests of llhttp's own tests through the real gateway to a real Node server, which counts what arrives.

use base64::Engine as _;
use serde_json::Value;

use crate::process::Gateway;
use crate::raw::{each, say};
use crate::recorder::Recorder;

/// Requests that llhttp refuses, or takes only when it is told to be lenient, and of which this many may arrive all the same.
const EXCEPTIONS: &[(&str, usize, &str)] = &[
    (
        "No restart when keep-alive is off (1.0)",
        1,
        "the first request is whole; the second is never read",
    ),
    (
        "Resetting flags when keep-alive is off (1.0, lenient)",
        1,
        "as before: nothing is read behind the end that the first request announces",
    ),
    (
        "CRLF between requests, explicit `close` (lenient)",
        1,
        "as before",
    ),
    (
        "Second request header value (lenient)",
        1,
        "the first request is whole; the second is refused",
    ),
    (
        "Multiple tokens with folding and LWS",
        0,
        "a WebSocket handshake without a key is refused",
    ),
    (
        "Setting a flag and pausing",
        1,
        "the pause is llhttp's way to hand over: `ws` is no protocol that is passed on, the request is an ordinary one",
    ),
    ("Emitting part of body and pausing", 1, "as before"),
    (
        "Upgrade POST request",
        1,
        "an upgrade to HTTP/2.0 is not passed on: the request is an ordinary one",
    ),
    (
        "HTTP protocol and ANNOUNCE method",
        1,
        "any token is a method; the app decides which it knows",
    ),
    ("Invalid method", 1, "as before"),
];

struct Vector {
    title: String,
    bytes: Vec<u8>,
    /// Whether llhttp takes it as it is.
    in_order: bool,
}

fn vectors() -> Vec<Vector> {
    let file = include_str!("../vectors/llhttp/requests.json");
    let all: Value = serde_json::from_str(file).unwrap();
    let tests = all["tests"].as_array().unwrap().iter();
    tests
        .map(|test| {
            let raw = test["raw_b64"].as_str().unwrap();
            Vector {
                title: test["title"].as_str().unwrap().to_owned(),
                bytes: base64::prelude::BASE64_STANDARD.decode(raw).unwrap(),
                in_order: test["llhttp_error"].is_null() && test["lenient"] == false,
            }
        })
        .collect()
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(place) = rest.windows(from.len()).position(|part| part == from) {
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(to);
        rest = &rest[place + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The same request for this gateway: its host, a number to know it by, and an end.
fn addressed(bytes: &[u8], authority: &str, number: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for host in [
        "example.com",
        "www.example.com",
        "localhost:5000",
        "localhost",
        "a",
        "foo",
        "github.com",
        "example.org",
        "0.0.0.0=5000",
        "0.0.0.0:5000",
    ] {
        bytes = replace(&bytes, format!("\r\nHost: {host}\r\n").as_bytes(), b"\r\n");
    }
    for version in ["1.0", "1.1"] {
        let line = format!(" HTTP/{version}\r\n");
        let more = format!("{line}Host: {authority}\r\nX-Case: {number}\r\n");
        bytes = replace(&bytes, line.as_bytes(), more.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes
}

#[tokio::test]
async fn what_a_strict_parser_refuses_never_reaches_the_upstream() {
    let node = Recorder::start().await;
    let config =
        "[limits]\nheader_timeout = \"1s\"\nbody_idle = \"1s\"\nconnection_idle = \"1s\"\n";
    let gateway = Gateway::before(&node.url, config).await;
    let authority = gateway.authority();
    let vectors = vectors();
    assert_eq!(vectors.len(), 166);

    // As they are: for other hosts or for none.
    let as_they_are = vectors.iter().map(|vector| vector.bytes.clone()).collect();
    each(as_they_are, |bytes| {
        let gateway = &gateway;
        async move { say(gateway, &bytes).await }
    })
    .await;
    let seen = node.seen().await;
    assert!(seen.is_empty(), "{seen:#?}");

    let numbered = vectors.iter().enumerate();
    let addressed = numbered
        .map(|(number, vector)| addressed(&vector.bytes, &authority, number))
        .collect();
    let said = each(addressed, |bytes| {
        let gateway = &gateway;
        async move { say(gateway, &bytes).await }
    })
    .await;
    let seen = node.seen().await;
    let mut wrong = Vec::new();
    let (mut in_order, mut through) = (0, 0);
    for ((number, vector), said) in vectors.iter().enumerate().zip(&said) {
        let number = number.to_string();
        let arrived = seen
            .iter()
            .filter(|seen| seen.field("x-case") == Some(&number));
        let arrived = arrived.count();
        if vector.in_order {
            in_order += 1;
            through += usize::from(arrived > 0);
            continue;
        }
        let exception = EXCEPTIONS.iter().find(|(title, ..)| *title == vector.title);
        let allowed = exception.map_or(0, |(_, allowed, _)| *allowed);
        if arrived > allowed {
            wrong.push(format!("{}: {arrived} arrived, {said:?}", vector.title));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Node does not know ANNOUNCE, MKCOLA and QUERY in HTTP, and says so to the gateway.
    let unread = node.unread();
    let methods = ["HPE_INVALID_METHOD", "HPE_INVALID_CONSTANT"];
    let of_methods = |error: &Value| methods.contains(&error["error"].as_str().unwrap());
    assert!(
        unread.len() <= 3 && unread.iter().all(of_methods),
        "{unread:?}"
    );
    // Not everything may be refused: a gateway that is down would pass this test otherwise.
    assert!(through >= 40, "{through}");
    eprintln!(
        "of {in_order} requests in order {through} arrived; of the others none that should not"
    );
}
