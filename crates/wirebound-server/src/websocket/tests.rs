//! What counts as a handshake, and what an upstream must answer.

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn parts(method: Method, version: Version, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder()
        .method(method)
        .version(version)
        .uri("/ws");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn head(fields: &[(&str, &str)]) -> HeaderMap {
    parts(Method::GET, Version::HTTP_11, fields).headers
}

#[test]
fn the_accept_key_is_that_of_the_rfc() {
    assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn only_a_right_websocket_handshake_is_one() {
    let good = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let h1 = Version::HTTP_11;
    assert_eq!(
        asked(&parts(Method::GET, h1, &good)),
        Asked::Upgrade(KEY.to_owned())
    );
    assert_eq!(
        asked(&parts(Method::GET, Version::HTTP_10, &good)),
        Asked::Exchange
    );
    assert_eq!(
        asked(&parts(
            Method::GET,
            h1,
            &[("connection", "upgrade"), ("upgrade", "h2c")]
        )),
        Asked::Exchange
    );
    assert_eq!(asked(&parts(Method::GET, h1, &good[1..])), Asked::Exchange);
    for (method, extra) in [
        (Method::POST, ("accept", "*/*")),
        (Method::GET, ("content-length", "5")),
        (Method::GET, ("transfer-encoding", "chunked")),
        (Method::GET, ("sec-websocket-key", KEY)),
        (Method::GET, ("sec-websocket-version", "8")),
    ] {
        let fields = [&good[..], &[extra]].concat();
        assert!(
            matches!(asked(&parts(method, h1, &fields)), Asked::Malformed(_)),
            "{extra:?}"
        );
    }
    assert!(matches!(
        asked(&parts(Method::CONNECT, h1, &[])),
        Asked::Malformed(_)
    ));
    let mut connect = parts(
        Method::CONNECT,
        Version::HTTP_2,
        &[("sec-websocket-version", "13")],
    );
    connect
        .extensions
        .insert(Protocol::from_static("connect-udp"));
    assert!(matches!(asked(&connect), Asked::Malformed(_)));
    connect
        .extensions
        .insert(Protocol::from_static("websocket"));
    assert_eq!(asked(&connect), Asked::Connect);
}

#[test]
fn an_upstream_must_really_accept() {
    let base = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];
    let judged = |fields: &[(&str, &str)], offered: &[(&str, &str)]| {
        accepted(&head(fields), &head(offered), KEY).is_ok()
    };
    assert!(judged(&base, &[]));
    assert!(!judged(&base[..2], &[]));
    assert!(!judged(&base[1..], &[]));
    assert!(!judged(&[base[0], ("upgrade", "h2c"), base[2]], &[]));
    assert!(!judged(
        &[base[0], base[1], ("sec-websocket-accept", "AAAA")],
        &[]
    ));
    assert!(!judged(&[base[0], base[1], base[2], base[2]], &[]));
    let chosen = [&base[..], &[("sec-websocket-protocol", "chat")]].concat();
    assert!(!judged(&chosen, &[]));
    assert!(judged(&chosen, &[("sec-websocket-protocol", "news, chat")]));
    let extended = [
        &base[..],
        &[("sec-websocket-extensions", "permessage-deflate")],
    ]
    .concat();
    assert!(!judged(&extended, &[]));
    assert!(judged(
        &extended,
        &[("sec-websocket-extensions", "permessage-deflate")]
    ));
}
