//! WebSockets through the gateway: the handshake with a client, the one with the upstream, and their order.
//!
//! A client comes by HTTP/1.1 `Upgrade` (RFC 6455 4.1) or by HTTP/2 extended CONNECT (RFC 8441); the upstream
//! is always spoken to by HTTP/1.1. The client is answered only after the upstream's 101 with the right
//! accept key: whoever tunnels before that has made a smuggler's pipe. No other upgrade passes, `h2c` least
//! of all. Whether the request may be made at all (session, `Origin`) was judged before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::ext::Protocol;
use sha1::{Digest as _, Sha1};

use crate::proxy::body::Progress;
use crate::proxy::{Download, Forwarder, Leg, Removed, Unanswered, prepare, strip};

pub mod frames;
pub mod tunnel;

pub use tunnel::{Ended, Patience, Spoke, Tunnel};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every request is one of these")]
pub enum Asked {
    /// An ordinary exchange; an `Upgrade` to anything else is dropped on the way.
    Exchange,
    /// A WebSocket on HTTP/1.1, with the client's key.
    Upgrade(String),
    /// A WebSocket on HTTP/2.
    Connect,
    /// A WebSocket handshake that is not right, or a CONNECT for something else: 400.
    Malformed(&'static str),
}

/// Sees what a request asks for.
#[must_use]
pub fn asked(parts: &Parts) -> Asked {
    let version_13 = only(&parts.headers, SEC_WEBSOCKET_VERSION) == Some(b"13");
    if parts.method == Method::CONNECT {
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        return match protocol {
            Some(protocol) if protocol.eq_ignore_ascii_case("websocket") && version_13 => {
                Asked::Connect
            }
            Some(_) => Asked::Malformed("an extended CONNECT for something else than a WebSocket"),
            None => Asked::Malformed("CONNECT"),
        };
    }
    let websocket =
        lists(&parts.headers, UPGRADE, "websocket") && lists(&parts.headers, CONNECTION, "upgrade");
    if !websocket || parts.version != Version::HTTP_11 {
        return Asked::Exchange;
    }
    let bodiless = !parts.headers.contains_key(TRANSFER_ENCODING)
        && only(&parts.headers, CONTENT_LENGTH).is_none_or(|length| length == b"0");
    if parts.method != Method::GET || !bodiless || !version_13 {
        return Asked::Malformed("a WebSocket handshake that is no bare GET of version 13");
    }
    let key = only(&parts.headers, SEC_WEBSOCKET_KEY).and_then(|key| std::str::from_utf8(key).ok());
    match key {
        Some(key) if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => {
            Asked::Upgrade(key.to_owned())
        }
        _ => Asked::Malformed("a WebSocket key that is not 16 bytes in base64"),
    }
}

/// What came of a handshake.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// For the client: 101 or 200 with a tunnel, or the upstream's own refusal without one.
    pub response: Response<Download>,
    /// What was taken out of the upstream's head.
    pub removed: Removed,
    /// Spawn its `run` before the response is returned.
    pub tunnel: Option<Tunnel>,
}

/// Opens a WebSocket to the upstream for a client whose handshake was judged.
///
/// `random` makes the key of our own handshake with the upstream.
///
/// # Errors
///
/// [`Unanswered::Handshake`] where the upstream's acceptance is not right, and everything that forwarding meets.
pub async fn open<B>(
    forwarder: &Forwarder,
    mut request: Request<B>,
    random: [u8; 16],
    leg: Leg,
    patience: Patience,
) -> Result<Opened, Unanswered> {
    let client = hyper::upgrade::on(&mut request);
    let (mut parts, _body) = request.into_parts();
    let asked = asked(&parts);
    if matches!(asked, Asked::Exchange | Asked::Malformed(_)) {
        return Err(Unanswered::Unsendable("no WebSocket handshake"));
    }
    let key = STANDARD.encode(random);
    prepare(&mut parts, &leg, forwarder.upstream())?;
    ask(&mut parts, &key)?;
    let offered = parts.headers.clone();

    let body = Empty::<Bytes>::new()
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = forwarder
        .send(
            Request::from_parts(parts, body),
            &leg.cut,
            &Progress::default(),
        )
        .await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return refused(response, &asked, leg);
    }
    accepted(response.headers(), &offered, &key)?;
    let tunnel = Tunnel {
        client,
        upstream: hyper::upgrade::on(&mut response),
        cut: leg.cut,
        patience,
        spoke: Box::new(|| {}),
    };
    let (mut head, _body) = response.into_parts();
    let removed = strip::response(&mut head.headers);
    for name in [SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    let mut answer = Response::new(Download::empty());
    *answer.headers_mut() = head.headers;
    if let Asked::Upgrade(key) = &asked {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        upgrade(answer.headers_mut());
        set(answer.headers_mut(), SEC_WEBSOCKET_ACCEPT, &accept(key))?;
    }
    Ok(Opened {
        response: answer,
        removed,
        tunnel: Some(tunnel),
    })
}

/// The upstream answered with an ordinary response, which is the client's answer.
fn refused(
    response: Response<hyper::body::Incoming>,
    asked: &Asked,
    leg: Leg,
) -> Result<Opened, Unanswered> {
    // On HTTP/2 any 2xx would open the tunnel (RFC 8441 5), to an upstream that never agreed to one.
    if *asked == Asked::Connect && response.status().is_success() {
        return Err(Unanswered::Handshake(
            "it answered the handshake with an ordinary page",
        ));
    }
    let (mut parts, body) = response.into_parts();
    let removed = strip::response(&mut parts.headers);
    parts.extensions.clear();
    let response = Response::from_parts(parts, Download::new(body, leg.cut));
    Ok(Opened {
        response,
        removed,
        tunnel: None,
    })
}

fn ask(parts: &mut Parts, key: &str) -> Result<(), Unanswered> {
    parts.method = Method::GET;
    let headers = &mut parts.headers;
    headers.remove(CONTENT_LENGTH);
    upgrade(headers);
    set(headers, SEC_WEBSOCKET_KEY, key)?;
    set(headers, SEC_WEBSOCKET_VERSION, "13")
}

fn upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Unanswered> {
    let value =
        HeaderValue::from_str(value).map_err(|_| Unanswered::Unsendable("WebSocket key"))?;
    headers.insert(name, value);
    Ok(())
}

/// RFC 6455 4.1, what a client must check in a server's handshake.
fn accepted(answer: &HeaderMap, offered: &HeaderMap, key: &str) -> Result<(), Unanswered> {
    if !lists(answer, UPGRADE, "websocket") || !lists(answer, CONNECTION, "upgrade") {
        return Err(Unanswered::Handshake("it switched to another protocol"));
    }
    if only(answer, SEC_WEBSOCKET_ACCEPT) != Some(accept(key).as_bytes()) {
        return Err(Unanswered::Handshake("its accept key is wrong"));
    }
    let chosen = answer.get_all(SEC_WEBSOCKET_PROTOCOL).iter().count();
    let known = |chosen: &[u8]| {
        std::str::from_utf8(chosen).is_ok_and(|name| lists(offered, SEC_WEBSOCKET_PROTOCOL, name))
    };
    if chosen > 0 && !only(answer, SEC_WEBSOCKET_PROTOCOL).is_some_and(known) {
        return Err(Unanswered::Handshake(
            "it chose a subprotocol that was not offered",
        ));
    }
    if answer.contains_key(SEC_WEBSOCKET_EXTENSIONS)
        && !offered.contains_key(SEC_WEBSOCKET_EXTENSIONS)
    {
        return Err(Unanswered::Handshake(
            "it chose an extension that was not offered",
        ));
    }
    Ok(())
}

/// RFC 6455 4.2.2.
fn accept(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    STANDARD.encode(digest)
}

/// The value of a field that stands exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line.as_bytes()),
        _ => None,
    }
}

fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests;
