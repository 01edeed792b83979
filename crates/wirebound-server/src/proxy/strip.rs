//! What never passes the gateway: hop-by-hop fields, names that claim an identity, our own cookies.
//!
//! The order matters. Hop-by-hop fields go first: a client that writes `Connection: wirebound-subject`
//! must not be able to have the identity removed that is set afterwards. Then every spelling of an identity
//! field goes (servers that turn fields into environment variables read `-`, `_` and `.` alike), and only
//! then are ours set, elsewhere.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
    Entry, HOST, HeaderName, HeaderValue, SET_COOKIE, TRAILER,
};

/// What an upstream sent and a client did not get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// `Wirebound-*` and `Secure-Session-*` fields, in the head or the trailers.
    pub reserved: u32,
    /// `Set-Cookie` lines that named one of our own cookies.
    pub cookies: u32,
    /// `Alt-Svc`, which would lead browsers around the gateway.
    pub alt_svc: u32,
}

impl Removed {
    /// Whether anything was removed that an operator should hear of.
    #[must_use]
    pub const fn any(self) -> bool {
        self.reserved > 0 || self.cookies > 0 || self.alt_svc > 0
    }
}

/// Removes what belongs to one connection only (RFC 9110 7.6.1), and the fields that `Connection` lists.
///
/// `Host`, `Cookie` and `Set-Cookie` cannot be listed away: a client that lists them is lying.
pub fn hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| ![HOST, COOKIE, SET_COOKIE].contains(name))
        .collect();
    for name in listed {
        headers.remove(name);
    }
    remove_where(headers, |name| {
        matches!(
            name,
            "connection"
                | "te"
                | "transfer-encoding"
                | "upgrade"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "keep-alive"
                | "proxy-connection"
                | "http2-settings"
                | "proxy-authentication-info"
        )
    });
}

/// Removes every field whose name meets `goes`. Most heads hold none: they are looked through once, and nothing is made.
fn remove_where(headers: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| goes(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes every field of a request that claims an identity, an origin or another method.
///
/// `aliases` are further names that this gateway sets by configuration.
pub fn claims(headers: &mut HeaderMap, aliases: &[HeaderName], safe_method: bool) {
    remove_where(headers, |name| {
        let folded = fold(name);
        is_claim(&folded)
            || (safe_method && OVERRIDES.contains(&folded.as_ref()))
            || aliases.iter().any(|alias| fold(alias.as_str()) == folded)
    });
}

/// Lower case, with every byte that some server reads as `-` read as `-`: for CGI some turn whatever is no letter and no digit
/// into `_`. Most names are so already.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Cow::Borrowed(name);
    }
    name.trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect::<String>()
        .into()
}

/// Whether a folded name claims who the client is or where it comes from.
#[must_use]
pub fn is_claim(folded: &str) -> bool {
    // The letters that the names below begin with.
    if !folded.starts_with(['a', 'c', 'f', 'm', 'o', 'p', 'r', 's', 't', 'w', 'x']) {
        return false;
    }
    CLAIM_PREFIXES
        .iter()
        .any(|prefix| folded.starts_with(prefix))
        || CLAIMS.contains(&folded)
}

const CLAIM_PREFIXES: &[&str] = &[
    "wirebound-",
    "x-wirebound-",
    "x-forwarded-",
    "x-auth-request-",
    "x-auth-user",
    "x-auth-name",
    "x-auth-email",
    "x-auth-group",
    "x-auth-role",
    "x-authenticated-",
    "x-authentik-",
    "x-webauth-",
    "x-remote-",
    "x-original-",
    "x-ssl-client-",
    "ssl-client-",
    "x-client-cert",
    "x-arr-clientcert",
    // What other gateways say of a person: an app that moved from one of them still believes it.
    "x-amzn-oidc-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "cf-access-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-vouch-",
    "x-consumer-",
    "x-shib-",
    "shib-",
    "mellon-",
    "oidc-",
    "tailscale-user-",
    "wl-proxy-",
];

const CLAIMS: &[&str] = &[
    "wirebound",
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-groups",
    "remote-addr",
    "x-user",
    "x-userinfo",
    "x-username",
    "x-proxy-user",
    "auth-user",
    "proxy-client-ip",
    "x-envoy-external-address",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-host",
    "x-rewrite-url",
    "client-cert",
    "client-cert-chain",
    // A CGI upstream would take it for its own proxy setting.
    "proxy",
];

/// On a safe method these turn a request that was judged harmless into another one.
const OVERRIDES: &[&str] = &[
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Removes from `Trailer` the names of trailers that do not pass.
pub fn announced(headers: &mut HeaderMap) {
    if !headers.contains_key(TRAILER) {
        return;
    }
    let mut names = HeaderMap::new();
    for line in headers.get_all(TRAILER) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                names.insert(name, HeaderValue::from_static(""));
            }
        }
    }
    let _removed = trailers(&mut names);
    headers.remove(TRAILER);
    let kept: Vec<&str> = names.keys().map(HeaderName::as_str).collect();
    if let Ok(kept) = HeaderValue::from_str(&kept.join(", "))
        && !kept.is_empty()
    {
        headers.insert(TRAILER, kept);
    }
}

/// Removes from an upstream's response head what it may not say, and counts it.
pub fn response(headers: &mut HeaderMap) -> Removed {
    hop_by_hop(headers);
    announced(headers);
    let mut removed = reserved(headers);
    removed.alt_svc = removed.alt_svc.saturating_add(drop_all(headers, &ALT_SVC));
    if let Entry::Occupied(lines) = headers.entry(SET_COOKIE) {
        let (_, lines) = lines.remove_entry_mult();
        let lines: Vec<HeaderValue> = lines.collect();
        for line in lines {
            if names_ours(set_cookie_name(line.as_bytes())) {
                removed.cookies = removed.cookies.saturating_add(1);
            } else {
                headers.append(SET_COOKIE, line);
            }
        }
    }
    removed
}

/// Removes reserved names from trailers, and everything that may not stand there (RFC 9110 6.5.1).
pub fn trailers(headers: &mut HeaderMap) -> Removed {
    hop_by_hop(headers);
    let mut removed = reserved(headers);
    removed.cookies = drop_all(headers, &SET_COOKIE);
    removed.alt_svc = drop_all(headers, &ALT_SVC);
    for name in [
        AUTHORIZATION,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        COOKIE,
        HOST,
        TRAILER,
    ] {
        headers.remove(name);
    }
    claims(headers, &[], false);
    removed
}

fn reserved(headers: &mut HeaderMap) -> Removed {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let folded = fold(name.as_str());
            folded == "wirebound"
                || folded.starts_with("wirebound-")
                || folded.starts_with("secure-session-")
        })
        .cloned()
        .collect();
    let count = names
        .iter()
        .map(|name| drop_all(headers, name))
        .fold(0, u32::saturating_add);
    Removed {
        reserved: count,
        ..Removed::default()
    }
}

fn drop_all(headers: &mut HeaderMap, name: &HeaderName) -> u32 {
    let lines = headers.get_all(name).iter().count();
    headers.remove(name);
    u32::try_from(lines).unwrap_or(u32::MAX)
}

fn set_cookie_name(line: &[u8]) -> &[u8] {
    let pair = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    match (halves.next(), halves.next()) {
        // A nameless cookie is sent back as its value alone: `=__Host-wirebound=x` reads as ours.
        (Some(name), Some(value)) if name.trim_ascii().is_empty() => {
            value.split(|byte| *byte == b'=').next().unwrap_or_default()
        }
        (Some(name), _) => name,
        (None, _) => pair,
    }
}

/// Whether a cookie name is one of ours: `__Host-wirebound` and what begins with it, with or without a prefix.
#[must_use]
pub fn names_ours(name: &[u8]) -> bool {
    // Some browsers and servers drop white space or unknown bytes in front; prefixes are matched without case.
    let lower = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    let name: Cow<'_, [u8]> = if name.iter().all(lower) {
        name.into()
    } else {
        let graphic = name.iter().filter(|byte| byte.is_ascii_graphic());
        graphic.map(u8::to_ascii_lowercase).collect()
    };
    let mut rest = &*name;
    for prefix in [&b"__host-http-"[..], b"__http-", b"__host-", b"__secure-"] {
        if let Some(short) = rest.strip_prefix(prefix) {
            rest = short;
            break;
        }
    }
    rest.starts_with(b"wirebound")
}

/// Removes our own cookies from a request's Cookie fields, and joins what is left into one field.
///
/// HTTP/2 may split the field into crumbs (RFC 9113 8.2.3); an HTTP/1.1 upstream gets one.
pub fn own_cookies(headers: &mut HeaderMap) {
    let mut kept: Vec<u8> = Vec::new();
    let mut any = false;
    for line in headers.get_all(COOKIE) {
        any = true;
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii();
            if pair.is_empty() || names_ours(set_cookie_name(pair)) {
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair);
        }
    }
    if !any {
        return;
    }
    headers.remove(COOKIE);
    if kept.is_empty() {
        return;
    }
    if let Ok(mut value) = HeaderValue::from_bytes(&kept) {
        value.set_sensitive(true);
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn underscore_and_dot_aliases_are_removed() {
        for name in [
            "Wirebound-Subject",
            "wirebound_subject",
            "WIREBOUND.SUBJECT",
            "X_Forwarded_For",
            "x-forwarded.proto",
            "Forwarded",
            "X-Real_IP",
            "Remote_User",
            "remote.user",
            "X-Auth-Request-User",
            "X_Auth_Request_Email",
            "X-Auth_User",
            "X-Remote-User",
            "Proxy",
        ] {
            let mut headers = map(&[(name, "root"), ("accept", "*/*")]);
            claims(&mut headers, &[], false);
            assert_eq!(headers.len(), 1, "{name}");
        }
        let mut headers = map(&[("x_my_user", "root")]);
        claims(&mut headers, &["x-my-user".parse().unwrap()], false);
        assert!(headers.is_empty());
    }

    #[test]
    fn connection_listed_fields_go_but_not_cookie_or_host() {
        let mut headers = map(&[
            ("connection", "close, X-Custom"),
            ("connection", "Cookie,host , keep-alive"),
            ("x-custom", "1"),
            ("cookie", "a=b"),
            ("host", "a"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
        ]);
        hop_by_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["cookie", "host"]);
    }

    #[test]
    fn method_overrides_go_on_safe_methods_only() {
        let fields = [("x-http-method-override", "DELETE")];
        let mut safe = map(&fields);
        claims(&mut safe, &[], true);
        assert!(safe.is_empty());
        let mut unsafe_method = map(&fields);
        claims(&mut unsafe_method, &[], false);
        assert_eq!(unsafe_method.len(), 1);
    }

    #[test]
    fn an_upstream_cannot_set_our_cookie_or_our_fields() {
        let mut headers = map(&[
            ("set-cookie", "__Host-wirebound=w1.a.b; Path=/"),
            ("set-cookie", " __host-WIREBOUND-h =x"),
            ("set-cookie", "=__Host-wirebound=x"),
            ("set-cookie", "wirebound-j0=x"),
            ("set-cookie", "__Secure-wirebound=x"),
            ("set-cookie", "sessionid=1; HttpOnly"),
            ("set-cookie", "theme=dark"),
            ("wirebound-login", "root"),
            ("wirebound_role", "admin"),
            ("secure-session-registration", "(ES256)"),
            ("alt-svc", "h3=\":443\""),
            ("content-type", "text/plain"),
        ]);
        let removed = response(&mut headers);
        assert_eq!(
            removed,
            Removed {
                reserved: 3,
                cookies: 5,
                alt_svc: 1
            }
        );
        let left: Vec<_> = headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        assert_eq!(left, ["sessionid=1; HttpOnly", "theme=dark"]);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn our_cookies_never_reach_the_upstream_and_crumbs_are_joined() {
        let mut headers = map(&[
            ("cookie", "a=1; __Host-wirebound=w1.x.y"),
            ("cookie", "__Host-wirebound-j3=n;b=2"),
            ("cookie", "WIREBOUND=1; __Host-Http-wirebound=1; c"),
        ]);
        own_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
        assert_eq!(headers[COOKIE], "a=1; b=2; c");
        let mut only = map(&[("cookie", "__Host-wirebound=w1.x.y")]);
        own_cookies(&mut only);
        assert!(only.is_empty());
    }

    #[test]
    fn every_name_of_the_lists_is_a_claim() {
        for name in CLAIM_PREFIXES.iter().chain(CLAIMS) {
            assert!(is_claim(&fold(name)), "{name}");
        }
        let spelled = [
            "OIDC_CLAIM_email",
            "Mellon-User",
            "Wirebound~Subject",
            "wirebound!role",
        ];
        for name in spelled {
            assert!(is_claim(&fold(name)), "{name}");
        }
    }

    #[test]
    fn a_trailer_that_does_not_pass_is_not_announced() {
        let mut headers = map(&[
            ("trailer", "X-Sum, Wirebound-Login"),
            ("trailer", "set-cookie,wirebound_role, content-length"),
        ]);
        announced(&mut headers);
        assert_eq!(headers[TRAILER], "x-sum");
        let mut headers = map(&[("trailer", "Wirebound-Login")]);
        response(&mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        /// No spelling of an identity name survives: any case, any of the bytes read as `-`, any suffix.
        #[test]
        fn no_spelling_survives(
            stem in prop::sample::select(vec![
                "wirebound-subject", "wirebound-role", "wirebound-session", "wirebound-strength",
                "wirebound-request", "wirebound-assertion", "x-forwarded-for", "x-forwarded-proto",
                "x-forwarded-host", "forwarded", "x-real-ip", "remote-user", "x-auth-request-user",
            ]),
            upper in any::<u32>(),
            dashes in any::<u32>(),
        ) {
            let spelt: String = stem.chars().enumerate().map(|(i, c)| {
                let bit = |word: u32| word.rotate_right(u32::try_from(i).unwrap()) & 1 == 1;
                match c {
                    '-' if bit(dashes) => '_',
                    '-' if bit(upper) => '.',
                    c if bit(upper) => c.to_ascii_uppercase(),
                    c => c,
                }
            }).collect();
            let mut headers = map(&[(spelt.as_str(), "root"), ("accept", "*/*")]);
            hop_by_hop(&mut headers);
            claims(&mut headers, &[], false);
            prop_assert_eq!(headers.len(), 1);
            let mut answer = map(&[(spelt.as_str(), "root")]);
            trailers(&mut answer);
            prop_assert!(answer.is_empty());
        }
    }
}
