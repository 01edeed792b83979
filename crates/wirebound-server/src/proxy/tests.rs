//! The head on its way to the upstream, as pure data.

use http::header::{HeaderName, ORIGIN, REFERER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Request, Version};

use super::*;

fn leg() -> Leg {
    Leg::new(
        "::ffff:192.0.2.7".parse().unwrap(),
        "app.example:8443",
        Scheme::HTTPS,
    )
}

fn prepared(fields: &[(&str, &str)], leg: &Leg) -> Parts {
    let mut request = Request::builder()
        .uri("https://app.example:8443/a?b=c")
        .version(Version::HTTP_2);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    prepare(
        &mut parts,
        leg,
        &Upstream::parse("http://127.0.0.1:3000").unwrap(),
    )
    .unwrap();
    parts
}

#[test]
fn an_anonymous_client_is_said_to_be_nobody_whatever_it_says() {
    let parts = prepared(
        &[
            ("wirebound-subject", "root"),
            ("wirebound_subject", "root"),
            ("wirebound-role", "admin"),
            ("wirebound-request", "nonce"),
            ("wirebound-assertion", "jwt"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-user", "root"),
            ("forwarded", "for=10.0.0.1"),
            ("connection", "wirebound-subject, x-forwarded-for"),
        ],
        &leg(),
    );
    let mut left: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [
            ("host", "app.example:8443"),
            ("wirebound-role", ""),
            ("wirebound-session", ""),
            ("wirebound-strength", ""),
            ("wirebound-subject", ""),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "app.example:8443"),
            ("x-forwarded-proto", "https"),
        ]
    );
    assert_eq!(parts.uri, "http://127.0.0.1:3000/a?b=c");
    assert_eq!(parts.version, Version::HTTP_11);
}

#[test]
fn a_known_client_is_named_by_us_alone() {
    let mut told = Told::known("al ice\u{e9};".as_bytes(), "user", "s1", "wire");
    told.aliases = [HeaderName::from_static("x-my-user")].into();
    let leg = leg().told(told).vouching(vouch::Nonce::new([1; 16]));
    let parts = prepared(
        &[
            ("x_my_user", "root"),
            ("X-My-User", "root"),
            ("wirebound-subject", "root"),
        ],
        &leg,
    );
    assert_eq!(parts.headers["wirebound-subject"], "al%20ice%C3%A9%3B");
    assert_eq!(parts.headers["x-my-user"], "al%20ice%C3%A9%3B");
    assert_eq!(parts.headers.get_all("x-my-user").iter().count(), 1);
    assert!(!parts.headers.contains_key("x_my_user"));
    assert_eq!(parts.headers["wirebound-role"], "user");
    assert_eq!(parts.headers["wirebound-request"], "01".repeat(16));
}

#[test]
fn origin_and_referer_of_our_own_authority_get_the_upstreams_scheme() {
    for (given, expect) in [
        ("https://app.example:8443", "http://app.example:8443"),
        ("https://APP.example:8443", "http://app.example:8443"),
        (
            "https://app.example:8443/login?a=b",
            "http://app.example:8443/login?a=b",
        ),
        ("https://app.example", "https://app.example"),
        ("https://app.example:84430", "https://app.example:84430"),
        (
            "https://app.example:8443.evil.example",
            "https://app.example:8443.evil.example",
        ),
        (
            "https://evil.example/https://app.example:8443",
            "https://evil.example/https://app.example:8443",
        ),
        ("null", "null"),
    ] {
        let parts = prepared(&[("origin", given), ("referer", given)], &leg());
        assert_eq!(parts.headers[ORIGIN], expect);
        assert_eq!(parts.headers[REFERER], expect);
        // An app that believes `X-Forwarded-Proto` compares them with the client's own.
        let kept = leg().keeping_origin(true);
        let parts = prepared(&[("origin", given), ("referer", given)], &kept);
        assert_eq!(parts.headers[ORIGIN], given);
        assert_eq!(parts.headers[REFERER], given);
    }
}

#[test]
fn h2c_and_expect_do_not_pass() {
    let parts = prepared(
        &[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("expect", "100-continue"),
        ],
        &leg(),
    );
    for name in ["connection", "upgrade", "http2-settings", "expect"] {
        assert!(!parts.headers.contains_key(name), "{name}");
    }
}

#[test]
fn upstreams_are_plain_addresses() {
    assert_eq!(
        Upstream::parse("http://127.0.0.1:3000/")
            .unwrap()
            .authority(),
        "127.0.0.1:3000"
    );
    assert!(Upstream::parse("https://a:8443").unwrap().is_tls());
    for bad in [
        "",
        "127.0.0.1:3000",
        "http://a/b",
        "http://u@a",
        "http://a?b",
        "ftp://a",
    ] {
        assert!(Upstream::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn connection_authentication_is_seen_in_any_challenge() {
    for (line, expect) in [
        ("NTLM", Some("NTLM")),
        ("negotiate", Some("Negotiate")),
        ("Basic realm=\"x\", Negotiate abc=", Some("Negotiate")),
        ("Basic realm=\"NTLM\"", None),
        ("Bearer", None),
    ] {
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, line.parse().unwrap())]);
        assert_eq!(connection_authentication(&headers), expect, "{line}");
    }
}
