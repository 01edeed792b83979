//! Request hygiene: what is refused with 400 before any of it reaches the app.
//!
//! Two programs that read one request differently are how rules are walked around: a second `Host`,
//! `//admin`, `/public/..;/admin`, `%2e%2e`, a session id in a path parameter. What more than one reading
//! is known for does not get past this file. It decides nothing about sessions, and it looks only at the head.
//!
//! What hyper mends while it parses HTTP/1.1 never gets this far: `wirebound_tower::listen` refuses it. On HTTP/2 the `http`
//! crate cuts a fragment off `:path` before anybody can see it. That opens nothing: what rules are judged on and what the
//! upstream gets is the same parsed target.

pub mod readings;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Uri, Version};
use percent_encoding::percent_decode_str;

use crate::proxy::strip;

/// Why a request is malformed. Every one is answered with 400 and a closed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// `TRACE` or `TRACK`: the answer would show what the upstream got, vaulted cookies and all.
    #[error("the method would echo the request")]
    Echo,
    /// Neither a `Host` field nor `:authority`.
    #[error("the request names no host")]
    NoHost,
    /// More than one `Host` field.
    #[error("the request names its host twice")]
    TwoHosts,
    /// The request target (or `:authority`) and `Host` name different authorities.
    #[error("the request target and the host field differ")]
    HostsDiffer,
    /// A host with user information, white space or bytes that no authority has.
    #[error("the host is not an authority")]
    HostSyntax,
    /// `*` or an authority where a path belongs.
    #[error("the request target has no path")]
    NoPath,
    /// A `#` in the request target.
    #[error("the request target holds a fragment")]
    Fragment,
    /// A byte outside ASCII in the request target.
    #[error("the request target holds a byte outside ASCII")]
    NotAscii,
    /// `Transfer_Encoding` and the like: a server that reads `_` as `-` would see another framing than ours.
    #[error("a field name that some servers read as the body's framing")]
    FramingAlias,
    /// `Content-Length` beside `Transfer-Encoding`.
    #[error("the body has both a length and a transfer coding")]
    LengthAndCoding,
    /// Two `Content-Length` fields, or a list in one.
    #[error("the body has two lengths")]
    TwoLengths,
    /// A control character in a field or in the target.
    #[error("a control character stands in the head")]
    Control,
    /// A path that some servers read as another path.
    #[error("the path has more than one reading: {0}")]
    Path(PathFault),
    /// The name of an armoured cookie as a path parameter or in the query.
    #[error("an armoured cookie is named in the request target")]
    ArmouredName,
}

/// What makes a path ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// `%2f` or `%5c`, also encoded twice.
    #[error("an encoded slash")]
    EncodedSlash,
    /// `%2e`, also encoded twice.
    #[error("an encoded dot")]
    EncodedDot,
    /// `%00` and other encoded control characters.
    #[error("an encoded control character")]
    EncodedControl,
    /// `%25` followed by two hexadecimal digits.
    #[error("an escape that was escaped again")]
    EncodedTwice,
    /// `%` without two hexadecimal digits.
    #[error("a broken escape")]
    BrokenEscape,
    /// `//`.
    #[error("an empty segment")]
    EmptySegment,
    /// `.` or `..` as a segment.
    #[error("a dot segment")]
    DotSegment,
    /// `\`.
    #[error("a backslash")]
    Backslash,
    /// `;`, raw or encoded.
    #[error("a path parameter")]
    Parameter,
    /// A byte that is not ASCII.
    #[error("a byte outside ASCII")]
    NotAscii,
    /// `%c0%ae` and other UTF-8 that says in more bytes what fewer can.
    #[error("an overlong encoding")]
    Overlong,
}

/// Whether rules look at the path of this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is no third way to read a path"
)]
pub enum Paths {
    /// Some rule applies: a path with two readings is refused.
    Ruled,
    /// No rule looks at paths: any path that parses is the upstream's business.
    Free,
}

/// Checks the head of a request and gives the authority it is for, as the client wrote it (with its port).
///
/// `armoured` says whether a name, in whatever spelling, stands for an armoured cookie.
///
/// # Errors
///
/// The first fault found. The text of the fault is for the log; the client is told 400 and nothing else.
pub fn check(
    parts: &Parts,
    paths: Paths,
    armoured: &dyn Fn(&str) -> bool,
) -> Result<String, Malformed> {
    if ["TRACE", "TRACK"].contains(&parts.method.as_str()) {
        return Err(Malformed::Echo);
    }
    no_controls(&parts.headers)?;
    no_framing_alias(&parts.headers)?;
    one_length(&parts.headers)?;
    let authority = authority(parts)?;
    target(&parts.uri, paths, armoured)?;
    Ok(authority)
}

fn authority(parts: &Parts) -> Result<String, Malformed> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let field = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Malformed::TwoHosts),
        (Some(one), None) => Some(one.to_str().map_err(|_| Malformed::HostSyntax)?),
        (None, None) => None,
    };
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = match (named, field) {
        (Some(named), Some(field)) if named.eq_ignore_ascii_case(field) => named,
        (Some(_), Some(_)) => return Err(Malformed::HostsDiffer),
        // RFC 9113 8.3.1: HTTP/2 may leave Host out; RFC 9112 3.2: HTTP/1.1 may not, absolute-form or not.
        (Some(named), None) if parts.version >= Version::HTTP_2 => named,
        (None, Some(field)) => field,
        (_, None) => return Err(Malformed::NoHost),
    };
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_')
    };
    if authority.is_empty() || authority.starts_with(':') || !authority.bytes().all(plain) {
        return Err(Malformed::HostSyntax);
    }
    Ok(authority.to_owned())
}

fn one_length(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok(());
    };
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(Malformed::LengthAndCoding);
    }
    if lengths.next().is_some() || !first.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err(Malformed::TwoLengths);
    }
    Ok(())
}

fn no_framing_alias(headers: &HeaderMap) -> Result<(), Malformed> {
    let alias = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| {
            name.bytes()
                .any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
        })
        .map(strip::fold)
        .any(|folded| folded == CONTENT_LENGTH.as_str() || folded == TRANSFER_ENCODING.as_str());
    if alias {
        return Err(Malformed::FramingAlias);
    }
    Ok(())
}

/// hyper lets a tab and bytes above 0x7f through in values; the rest of the controls it refuses itself.
fn no_controls(headers: &HeaderMap) -> Result<(), Malformed> {
    // Without a way out in the middle, so that many bytes are looked at at once.
    let bad = |bad: bool, byte: &u8| bad | (byte.is_ascii_control() & (*byte != b'\t'));
    if headers
        .values()
        .any(|value| value.as_bytes().iter().fold(false, bad))
    {
        return Err(Malformed::Control);
    }
    Ok(())
}

fn target(uri: &Uri, paths: Paths, armoured: &dyn Fn(&str) -> bool) -> Result<(), Malformed> {
    let path = uri.path();
    if !path.starts_with('/') {
        return Err(Malformed::NoPath);
    }
    let query = uri.query().unwrap_or_default();
    for text in [path, query] {
        if text.contains('#') {
            return Err(Malformed::Fragment);
        }
        if text
            .bytes()
            .any(|byte| byte.is_ascii_control() || byte == b' ')
        {
            return Err(Malformed::Control);
        }
        if !text.is_ascii() {
            return Err(Malformed::NotAscii);
        }
    }
    if paths == Paths::Ruled {
        one_reading(path).map_err(Malformed::Path)?;
    }
    if parameter_names(path)
        .chain(query_names(query))
        .any(|name| armoured(&name))
    {
        return Err(Malformed::ArmouredName);
    }
    Ok(())
}

/// Refuses a path that some server is known to read as a different one.
///
/// # Errors
///
/// The first ambiguity found.
pub fn one_reading(path: &str) -> Result<(), PathFault> {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => return Err(PathFault::Backslash),
            b';' => return Err(PathFault::Parameter),
            b'%' => escape(&mut bytes)?,
            byte if !byte.is_ascii() => return Err(PathFault::NotAscii),
            _ => {}
        }
    }
    // Without an escape there is nothing more to read.
    if path.contains('%') {
        decoded(&percent_decode_str(path).collect::<Vec<u8>>())?;
    }
    if path.contains("//") {
        return Err(PathFault::EmptySegment);
    }
    if path
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(PathFault::DotSegment);
    }
    Ok(())
}

fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<(), PathFault> {
    let hex = |digit: Option<u8>| {
        digit
            .and_then(|d| char::from(d).to_digit(16))
            .ok_or(PathFault::BrokenEscape)
    };
    let high = hex(bytes.next())?;
    let low = hex(bytes.next())?;
    match high.saturating_mul(16).saturating_add(low) {
        0x2f | 0x5c => Err(PathFault::EncodedSlash),
        0x2e => Err(PathFault::EncodedDot),
        0x3b => Err(PathFault::Parameter),
        value if value < 0x20 || value == 0x7f => Err(PathFault::EncodedControl),
        _ => Ok(()),
    }
}

/// What only shows once escapes are read: another escape, whichever of its characters were escaped, or a character in more
/// bytes than it needs (RFC 3629 3: never valid, read by some all the same). A lone byte of those values is a letter of
/// Latin-1.
fn decoded(path: &[u8]) -> Result<(), PathFault> {
    let escapes = path
        .windows(3)
        .any(|three| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()));
    if escapes {
        return Err(PathFault::EncodedTwice);
    }
    let overlong = path.windows(2).any(|pair| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]
        )
    });
    if overlong {
        return Err(PathFault::Overlong);
    }
    Ok(())
}

/// The names of path parameters: what stands between `;` (or `%3b`) and `=` in any segment.
fn parameter_names(path: &str) -> impl Iterator<Item = String> {
    if !path.contains([';', '%']) {
        return Vec::new().into_iter();
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let names: Vec<String> = decoded
        .split('/')
        .flat_map(|segment| segment.split(';').skip(1))
        .map(|pair| pair.split('=').next().unwrap_or_default().to_owned())
        .collect();
    names.into_iter()
}

/// The names in a query, as any framework splits it: at `&` and `;`, with `+` for a space.
fn query_names(query: &str) -> impl Iterator<Item = String> {
    query
        .split(['&', ';'])
        .map(|pair| pair.split('=').next().unwrap_or_default().replace('+', " "))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(version: Version, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn judged(version: Version, uri: &str, fields: &[(&str, &str)]) -> Result<String, Malformed> {
        let armoured = |name: &str| name.eq_ignore_ascii_case("jsessionid") || name == "PHPSESSID";
        check(&parts(version, uri, fields), Paths::Ruled, &armoured)
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        let ok = Ok("app.example:8443".to_owned());
        let host = ("host", "app.example:8443");
        type Row<'a> = (
            Version,
            &'a str,
            &'a [(&'a str, &'a str)],
            Result<String, Malformed>,
        );
        let table: &[Row<'_>] = &[
            (h1, "/", &[host], ok.clone()),
            (h2, "https://app.example:8443/", &[], ok.clone()),
            (
                h2,
                "https://app.example:8443/",
                &[("host", "APP.example:8443")],
                ok.clone(),
            ),
            (h1, "http://app.example:8443/", &[host], ok),
            (h1, "/", &[], Err(Malformed::NoHost)),
            (h1, "http://app.example/", &[], Err(Malformed::NoHost)),
            (
                h1,
                "/",
                &[host, ("host", "evil.example")],
                Err(Malformed::TwoHosts),
            ),
            (h1, "/", &[host, host], Err(Malformed::TwoHosts)),
            (
                h1,
                "http://evil.example/",
                &[host],
                Err(Malformed::HostsDiffer),
            ),
            (
                h2,
                "https://evil.example/",
                &[host],
                Err(Malformed::HostsDiffer),
            ),
            (h1, "/", &[("host", "")], Err(Malformed::HostSyntax)),
            (h1, "/", &[("host", "a@b")], Err(Malformed::HostSyntax)),
            (h1, "/", &[("host", "a b")], Err(Malformed::HostSyntax)),
            (h1, "/", &[("host", "a,b")], Err(Malformed::HostSyntax)),
            (h1, "/", &[("host", "a/b")], Err(Malformed::HostSyntax)),
            (h1, "/", &[("host", ":80")], Err(Malformed::HostSyntax)),
        ];
        for (version, uri, fields, expect) in table {
            assert_eq!(&judged(*version, uri, fields), expect, "{uri} {fields:?}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        let host = ("host", "a");
        for fields in [
            &[
                host,
                ("content-length", "3"),
                ("transfer-encoding", "chunked"),
            ][..],
            &[host, ("content-length", "3"), ("content-length", "3")],
            &[host, ("content-length", "3, 3")],
            &[host, ("content-length", "+3")],
        ] {
            assert!(judged(Version::HTTP_11, "/", fields).is_err(), "{fields:?}");
        }
        assert!(judged(Version::HTTP_11, "/", &[host, ("content-length", "3")]).is_ok());
    }

    #[test]
    fn a_field_that_is_read_as_framing_elsewhere_is_refused() {
        for name in [
            "transfer_encoding",
            "Transfer.Encoding",
            "content_length",
            "CONTENT_LENGTH",
        ] {
            let fields = [("host", "a"), (name, "chunked")];
            let judged = judged(Version::HTTP_11, "/", &fields);
            assert_eq!(judged, Err(Malformed::FramingAlias), "{name}");
        }
        let fields = [("host", "a"), ("x_content_length", "1")];
        assert!(judged(Version::HTTP_11, "/", &fields).is_ok());
    }

    #[test]
    fn public_path_bypass_spellings_are_refused() {
        use PathFault as F;
        for (path, fault) in [
            ("/public/../admin", F::DotSegment),
            ("/./admin", F::DotSegment),
            ("/public/..", F::DotSegment),
            ("//admin", F::EmptySegment),
            ("/public//admin", F::EmptySegment),
            ("/public/%2e%2e/admin", F::EncodedDot),
            ("/public/%2E./admin", F::EncodedDot),
            ("/public%2fadmin", F::EncodedSlash),
            ("/public%5Cadmin", F::EncodedSlash),
            ("/public/..%252fadmin", F::EncodedTwice),
            ("/public/..%25%32%66admin", F::EncodedTwice),
            ("/%25%36%31dmin", F::EncodedTwice),
            ("/%2561dmin", F::EncodedTwice),
            ("/x%00y", F::EncodedControl),
            ("/x%0d%0ay", F::EncodedControl),
            ("/x%7f", F::EncodedControl),
            ("/public\\..\\admin", F::Backslash),
            ("/public/..;/admin", F::Parameter),
            ("/admin;a=b", F::Parameter),
            ("/admin%3Ba=b", F::Parameter),
            ("/admin%", F::BrokenEscape),
            ("/admin%g1", F::BrokenEscape),
            ("/admin%2", F::BrokenEscape),
            ("/\u{ff0f}admin", F::NotAscii),
            ("/public/%c0%ae%c0%ae/admin", F::Overlong),
            ("/public%C0%AFadmin", F::Overlong),
            ("/public%e0%80%afadmin", F::Overlong),
            ("/public%f0%80%80%afadmin", F::Overlong),
            ("/x%C0%80y", F::Overlong),
        ] {
            assert_eq!(one_reading(path), Err(fault), "{path}");
        }
        for path in [
            "/",
            "/a/b",
            "/a.b/c..d",
            "/100%25",
            "/100%25zz",
            "/%C3%A9",
            "/caf%E9",
            "/%C0",
            "/a%20b",
            "/...",
            "/a/",
        ] {
            assert_eq!(one_reading(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_are_free_where_no_rule_looks_at_them() {
        let parts = parts(Version::HTTP_11, "/a//b/%2e", &[("host", "a")]);
        assert!(check(&parts, Paths::Free, &|_| false).is_ok());
    }

    #[test]
    fn armoured_names_in_the_target_are_refused() {
        let free = |uri: &str| {
            let parts = parts(Version::HTTP_11, uri, &[("host", "a")]);
            let armoured = |name: &str| name.eq_ignore_ascii_case("jsessionid");
            check(&parts, Paths::Free, &armoured)
        };
        for uri in [
            "/a;jsessionid=1",
            "/a;x=y;JSESSIONID=1/b",
            "/a%3bjsessionid=1",
            "/a;jsessionid",
            "/a?jsessionid=1",
            "/a?b=c&JSESSIONID=1",
            "/a?b=c;jsessionid=1",
        ] {
            assert_eq!(free(uri), Err(Malformed::ArmouredName), "{uri}");
        }
        assert!(free("/jsessionid/a;b=jsessionid?c=jsessionid").is_ok());
    }

    #[test]
    fn a_request_that_would_be_echoed_is_refused() {
        let mut parts = parts(Version::HTTP_11, "/", &[("host", "a")]);
        for method in ["TRACE", "TRACK"] {
            parts.method = method.parse().unwrap();
            assert_eq!(check(&parts, Paths::Free, &|_| false), Err(Malformed::Echo));
        }
    }

    #[test]
    fn a_target_without_a_path_is_refused() {
        assert_eq!(
            judged(Version::HTTP_11, "*", &[("host", "a")]),
            Err(Malformed::NoPath)
        );
    }
}
