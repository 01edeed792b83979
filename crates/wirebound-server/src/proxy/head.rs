//! A request's head on its way to the upstream. Who the upstream believes the client to be is decided by the
//! order of the lines in [`prepare`]: connection, claims, our cookies go first; then ours is set.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, ORIGIN, REFERER,
    TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Uri, Version};
use http_body::Body;
use wirebound_tower::machine::remove_keys;

use super::leg::{Caller, Leg};
use super::{Unanswered, Upstream, strip};

/// Turns a client's head into the upstream's: what is not to pass goes first, then ours is set.
pub(crate) fn prepare(parts: &mut Parts, leg: &Leg, upstream: &Upstream) -> Result<(), Unanswered> {
    let headers = &mut parts.headers;
    strip::hop_by_hop(headers);
    strip::claims(headers, &leg.told.aliases, parts.method.is_safe());
    strip::own_cookies(headers);
    remove_keys(headers);
    strip::announced(headers);
    if authenticates_its_connection(headers) {
        return Err(Unanswered::Unsendable(
            "NTLM and Negotiate sign in a connection, and those to the app carry many clients",
        ));
    }
    // The client was told 100 when its body was first asked for; the upstream need not be asked again.
    headers.remove(EXPECT);

    // At once, or the map would be built anew in the middle.
    headers.reserve(OURS);
    let (told, client) = (&leg.told, &leg.client);
    let address = client.address.to_canonical().to_string();
    let ours: [(&'static str, &str); OURS] = [
        ("wirebound-subject", told.subject.as_str()),
        ("wirebound-role", &told.role),
        ("wirebound-session", &told.session),
        ("wirebound-strength", &told.strength),
        ("x-forwarded-for", &address),
        ("x-forwarded-proto", client.scheme.as_str()),
        ("x-forwarded-host", &client.authority),
        ("host", &client.authority),
        (
            "wirebound-request",
            leg.nonce.as_ref().map_or("", |nonce| nonce.as_str()),
        ),
    ];
    // One piece of memory, of which each value is a part: a head that is kept to be sent again copies none.
    let mut texts = Bytes::from(ours.map(|(_, text)| text).concat());
    for (name, text) in ours {
        let value = HeaderValue::from_maybe_shared(texts.split_to(text.len()))
            .map_err(|_| Unanswered::Unsendable(name))?;
        if name != "wirebound-request" || leg.nonce.is_some() {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    for alias in leg.told.aliases.iter() {
        let value = HeaderValue::from_str(&leg.told.subject)
            .map_err(|_| Unanswered::Unsendable("alias"))?;
        headers.insert(alias.clone(), value);
    }
    if let Some(assertion) = &told.assertion {
        headers.insert("wirebound-assertion", assertion.clone());
    }
    if let Some(key) = &told.key {
        for (name, text) in [
            ("wirebound-key", &key.id),
            ("wirebound-key-owner", &key.owner),
            ("wirebound-key-scopes", &key.scopes),
        ] {
            let value = HeaderValue::from_str(text).map_err(|_| Unanswered::Unsendable(name))?;
            headers.insert(name, value);
        }
    }
    if !leg.keeps_origin {
        same_scheme(headers, &leg.client, &upstream.scheme);
    }
    debug_assert!(headers.contains_key(HOST), "set above");

    let path = parts
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::builder()
        .scheme(upstream.scheme.clone())
        .authority(upstream.authority.clone())
        .path_and_query(path)
        .build()
        .map_err(|_| Unanswered::Unsendable("request target"))?;
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok(())
}

/// Fields that may be set at most, but for aliases.
const OURS: usize = 9;

/// Rewrites `Origin` and `Referer` of our own authority to the scheme that the upstream is spoken to with.
///
/// Django, for one, compares them with what it believes its own address to be. Other origins stay as they are:
/// the caller has made its own cross-site check already, and the app may want to make another.
fn same_scheme(headers: &mut HeaderMap, client: &Caller, upstream: &Scheme) {
    let says = [ORIGIN, REFERER]
        .iter()
        .any(|name| headers.contains_key(name));
    if client.scheme == *upstream || !says {
        return;
    }
    let own = format!("{}://{}", client.scheme, client.authority);
    for name in [ORIGIN, REFERER] {
        let Some(text) = headers.get(&name).and_then(|value| value.to_str().ok()) else {
            continue;
        };
        let Some(head) = text.get(..own.len()) else {
            continue;
        };
        let rest = text.get(own.len()..).unwrap_or_default();
        if head.eq_ignore_ascii_case(&own) && (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        {
            let text = format!("{upstream}://{}{rest}", client.authority);
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Says how a body without a length is framed. hyper would send a GET's body of unknown length as none at
/// all, which is safe but loses it.
pub(super) fn frame(headers: &mut HeaderMap, body: &impl Body) {
    if !body.is_end_stream() && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

pub(super) fn connection_authentication(headers: &HeaderMap) -> Option<&'static str> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .find_map(signs_in_connections)
}

/// Whether a client signs in the connection that its request goes over. It needs no challenge for that (RFC 4559 section 4.2),
/// and whoever came next over the same connection of the pool would be that client.
fn authenticates_its_connection(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(AUTHORIZATION);
    lines
        .iter()
        .any(|line| signs_in_connections(line.as_bytes()).is_some())
}

fn signs_in_connections(credentials: &[u8]) -> Option<&'static str> {
    let scheme = credentials
        .trim_ascii()
        .split(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"ntlm") {
        Some("NTLM")
    } else if scheme.eq_ignore_ascii_case(b"negotiate") {
        Some("Negotiate")
    } else {
        None
    }
}
