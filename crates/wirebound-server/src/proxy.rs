//! Forwarding a judged request to the upstream, and its answer back.
//!
//! Nothing here knows sessions. The caller has judged the request; what it found out comes in as [`Told`]
//! and [`Cut`], and what came of it goes out as an [`Answered`] or an [`Unanswered`].
//!
//! Why this glue is our own: `axum-reverse-proxy`, `hyper-reverse-proxy`, `reverse-proxy-service` and
//! `pingora` were looked at. The first three forward what they get and treat identity fields, trailers,
//! 1xx, `Alt-Svc` and pooled connections that authenticate as somebody else's matter; pingora does more,
//! but brings its own server and TLS, where the wire's lineage lives. Who the upstream believes the client
//! to be is decided by the order of a dozen lines in this file, so they are here to be read. The transport
//! itself (HTTP/1.1, the pool, upgrades) is hyper's.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, ORIGIN, REFERER, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::vouch::{self, Vouched};

pub mod body;
pub mod cut;
pub mod strip;

pub use body::{BoxError, Broken, Download, Upload};
pub use cut::{CloseCode, Cut, Cutter, Reconnect};
pub use strip::Removed;

/// Where requests go: `http://host[:port]`, nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    authority: Authority,
}

/// Why an address cannot be an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUpstream {
    /// No URL at all.
    #[error("`{0}` is not a URL; write it as http://127.0.0.1:3000")]
    Syntax(String),
    /// Another scheme than `http`.
    #[error(
        "`{0}` is not an http:// URL; the gateway speaks plain HTTP/1.1 to an upstream beside it"
    )]
    Scheme(String),
    /// User information, a path or a query.
    #[error("`{0}` has more than a host and a port; write it as http://127.0.0.1:3000")]
    Excess(String),
}

impl Upstream {
    /// Reads an upstream's address.
    ///
    /// # Errors
    ///
    /// When it is not `http://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, BadUpstream> {
        let uri: Uri = text
            .parse()
            .map_err(|_| BadUpstream::Syntax(text.to_owned()))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(BadUpstream::Syntax(text.to_owned()));
        };
        if scheme != Scheme::HTTP {
            return Err(BadUpstream::Scheme(text.to_owned()));
        }
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        if !bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(BadUpstream::Excess(text.to_owned()));
        }
        Ok(Self { authority })
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

/// Bounds of the upstream's side.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// How long a connection to the upstream may take to open. 5 s.
    pub connect: Duration,
    /// How long the upstream may take to its response head once nothing more of the request's body comes (at
    /// most twice as long, counted from the last piece). 60 s, as most servers have it.
    pub head: Duration,
    /// How long an idle upstream connection is kept: 4 s, below the 5 s after which the quickest common app
    /// server (Node) closes, so that a request rarely meets a connection that is just going.
    pub idle: Duration,
    /// Idle upstream connections kept at most. 64.
    pub idle_connections: usize,
    /// Fields in a response head. 100.
    pub fields: usize,
    /// Bytes of a response head. 64 KiB; also the read buffer's bound per upstream connection.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(60),
            idle: Duration::from_secs(4),
            idle_connections: 64,
            fields: 100,
            head_bytes: 64 * 1024,
        }
    }
}

/// Who the upstream is told the client is. The default is nobody, and that is said too: every field is
/// always set, empty when there is nothing to say, so that a client's own can never stand in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The subject, percent-encoded ([`encode_subject`]).
    pub subject: String,
    /// The role in force.
    pub role: String,
    /// The session's public id.
    pub session: String,
    /// The strength of the proof.
    pub strength: String,
    /// Further fields by configuration (`Remote-User`); what they carry is the percent-encoded subject.
    pub aliases: Vec<HeaderName>,
}

impl Told {
    /// An anonymous client.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// A client with a session.
    #[must_use]
    pub fn known(subject: &[u8], role: &str, session: &str, strength: &str) -> Self {
        Self {
            subject: encode_subject(subject),
            role: role.to_owned(),
            session: session.to_owned(),
            strength: strength.to_owned(),
            aliases: Vec::new(),
        }
    }
}

/// A subject as it stands in a field: everything but unreserved characters is percent-encoded (RFC 3986 2.3).
#[must_use]
pub fn encode_subject(subject: &[u8]) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    percent_encoding::percent_encode(subject, KEPT).to_string()
}

/// The client's side of one exchange.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Caller {
    /// The peer's address.
    pub address: IpAddr,
    /// The authority that [`crate::hygiene::check`] gave.
    pub authority: String,
    /// `https` or `http`.
    pub scheme: Scheme,
}

/// One judged request's companions on its way.
#[derive(Debug)]
#[non_exhaustive]
pub struct Leg {
    /// The client's side.
    pub client: Caller,
    /// What the upstream is told.
    pub told: Told,
    /// Ends the answer when the session ends.
    pub cut: Cut,
    /// Set on listed vouching paths only ([`vouch::Vouching::covers`]).
    pub nonce: Option<vouch::Nonce>,
}

impl Leg {
    /// A request of nobody.
    #[must_use]
    pub fn new(address: IpAddr, authority: impl Into<String>, scheme: Scheme) -> Self {
        Self {
            client: Caller {
                address,
                authority: authority.into(),
                scheme,
            },
            told: Told::nobody(),
            cut: Cut::never(),
            nonce: None,
        }
    }

    /// Tells the upstream who it is.
    #[must_use]
    pub fn told(mut self, told: Told) -> Self {
        self.told = told;
        self
    }

    /// Ends the answer with the session.
    #[must_use]
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    /// Lets the upstream vouch in answer to this request.
    #[must_use]
    pub fn vouching(mut self, nonce: vouch::Nonce) -> Self {
        self.nonce = Some(nonce);
        self
    }
}

/// An upstream's answer, cleaned.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answered {
    /// What the client gets, but for the caller's own fields.
    pub response: Response<Download>,
    /// What the upstream vouched for. A fault is a 502 and an event: the answer must not go out then.
    pub vouched: Result<Vouched, vouch::Fault>,
    /// What was taken out of the head.
    pub removed: Removed,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// No connection to the upstream. Nothing was sent.
    #[error("no connection to the upstream {upstream}; is the app running?")]
    Unreachable {
        /// Host and port.
        upstream: String,
        /// What the transport said.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The upstream closed or broke off before its head was complete. The request may have taken effect.
    #[error("the upstream closed the connection without an answer")]
    Lost(#[source] hyper_util::client::legacy::Error),
    /// The client's body broke off or was malformed; the request at the upstream was cancelled.
    #[error("the client's body broke off")]
    Upload(#[source] hyper_util::client::legacy::Error),
    /// No head in time.
    #[error("the upstream gave no answer within {0:?}")]
    Slow(Duration),
    /// The session ended while the upstream was thinking; the request there was cancelled.
    #[error("the session ended before the upstream answered")]
    Cut(CloseCode),
    /// NTLM or Negotiate: it would sign in a *connection*, and ours carry many clients.
    #[error(
        "the upstream asks for {0}, which signs in a connection instead of a request: through a pool that \
         mixes up users; switch the upstream to another authentication, or let it take Wirebound-Subject"
    )]
    ConnectionAuthentication(&'static str),
    /// A switch of protocols that nobody asked for.
    #[error("the upstream switched protocols without being asked")]
    Switched,
    /// A WebSocket that the upstream did not properly accept.
    #[error("the upstream did not accept the WebSocket properly: {0}")]
    Handshake(&'static str),
    /// The request cannot be written.
    #[error("the request cannot be sent on: {0}")]
    Unsendable(&'static str),
}

impl Unanswered {
    /// The status for the client: 502, 504, 401 where the session ended (the rest of the answer is the caller's); 400 for the client's own fault.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Cut(_) => StatusCode::UNAUTHORIZED,
            Self::Unsendable(_) | Self::Upload(_) => StatusCode::BAD_REQUEST,
            Self::Unreachable { .. }
            | Self::Lost(_)
            | Self::ConnectionAuthentication(_)
            | Self::Switched
            | Self::Handshake(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Speaks HTTP/1.1 to one upstream over a pool of kept connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forwarder {
    client: Client<HttpConnector, Upload>,
    upstream: Upstream,
    limits: Limits,
}

impl Forwarder {
    /// A forwarder with an empty pool.
    #[must_use]
    pub fn new(upstream: Upstream, limits: Limits) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .pool_max_idle_per_host(limits.idle_connections)
            .http1_max_headers(limits.fields)
            .http1_max_buf_size(limits.head_bytes.max(8192))
            // A request is repeated only when it was taken back unwritten from a kept connection that had died.
            .retry_canceled_requests(true)
            .set_host(false)
            .build(connector);
        Self {
            client,
            upstream,
            limits,
        }
    }

    /// The upstream it speaks to.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Sends a judged request on and gives the answer's head with its body still streaming.
    ///
    /// # Errors
    ///
    /// See [`Unanswered`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or later the body, cancels the request at the upstream by closing its connection.
    pub async fn forward<B>(&self, request: Request<B>, leg: Leg) -> Result<Answered, Unanswered>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        prepare(&mut parts, &leg, &self.upstream)?;
        frame(&mut parts.headers, &body);
        let progress = body::Progress::default();
        let request = Request::from_parts(parts, body::upload(body, progress.clone()));
        let response = self.send(request, &leg.cut, &progress).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unanswered::Switched);
        }
        Ok(clean(response, leg))
    }

    /// Sends a prepared request: the head's timeout, the session's end, and no connection that authenticates.
    pub(crate) async fn send(
        &self,
        mut request: Request<Upload>,
        cut: &Cut,
        progress: &body::Progress,
    ) -> Result<Response<Incoming>, Unanswered> {
        let connection = capture_connection(&mut request);
        let answer = tokio::select! {
            biased;
            code = cut.clone().closed() => return Err(Unanswered::Cut(code)),
            answer = self.client.request(request) => answer,
            () = progress.stalled(self.limits.head) => return Err(Unanswered::Slow(self.limits.head)),
        };
        let response = answer.map_err(|error| self.unanswered(error))?;
        if let Some(scheme) = connection_authentication(response.headers()) {
            // Never back into the pool: whoever came next would be whoever signed in on it.
            if let Some(connected) = connection.connection_metadata().as_ref() {
                connected.poison();
            }
            return Err(Unanswered::ConnectionAuthentication(scheme));
        }
        Ok(response)
    }

    fn unanswered(&self, error: hyper_util::client::legacy::Error) -> Unanswered {
        let from_client = std::error::Error::source(&error)
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .is_some_and(hyper::Error::is_user);
        if error.is_connect() {
            let upstream = self.upstream.authority().to_owned();
            Unanswered::Unreachable {
                upstream,
                source: error,
            }
        } else if from_client {
            Unanswered::Upload(error)
        } else {
            Unanswered::Lost(error)
        }
    }
}

fn clean(response: Response<Incoming>, leg: Leg) -> Answered {
    let (mut parts, body) = response.into_parts();
    let vouched = vouch::read(parts.status, &parts.headers, leg.nonce.as_ref());
    let removed = strip::response(&mut parts.headers);
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    let body = Download::new(body, leg.cut);
    Answered {
        response: Response::from_parts(parts, body),
        vouched,
        removed,
    }
}

/// Turns a client's head into the upstream's: what is not to pass goes first, then ours is set.
pub(crate) fn prepare(parts: &mut Parts, leg: &Leg, upstream: &Upstream) -> Result<(), Unanswered> {
    let headers = &mut parts.headers;
    strip::hop_by_hop(headers);
    strip::claims(headers, &leg.told.aliases, parts.method.is_safe());
    strip::own_cookies(headers);
    // The client was told 100 when its body was first asked for; the upstream need not be asked again.
    headers.remove(EXPECT);

    let set = |headers: &mut HeaderMap, name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).map_err(|_| Unanswered::Unsendable(name))?;
        headers.insert(HeaderName::from_static(name), value);
        Ok::<_, Unanswered>(())
    };
    set(headers, "wirebound-subject", &leg.told.subject)?;
    set(headers, "wirebound-role", &leg.told.role)?;
    set(headers, "wirebound-session", &leg.told.session)?;
    set(headers, "wirebound-strength", &leg.told.strength)?;
    set(
        headers,
        "x-forwarded-for",
        &leg.client.address.to_canonical().to_string(),
    )?;
    set(headers, "x-forwarded-proto", leg.client.scheme.as_str())?;
    set(headers, "x-forwarded-host", &leg.client.authority)?;
    set(headers, "host", &leg.client.authority)?;
    if let Some(nonce) = &leg.nonce {
        set(headers, "wirebound-request", nonce.as_str())?;
    }
    for alias in &leg.told.aliases {
        let value = HeaderValue::from_str(&leg.told.subject)
            .map_err(|_| Unanswered::Unsendable("alias"))?;
        headers.insert(alias.clone(), value);
    }
    same_scheme(headers, &leg.client);
    debug_assert!(headers.contains_key(HOST), "set above");

    let path = parts
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(upstream.authority.clone())
        .path_and_query(path)
        .build()
        .map_err(|_| Unanswered::Unsendable("request target"))?;
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok(())
}

/// Rewrites `Origin` and `Referer` of our own authority to the scheme that the upstream is spoken to with.
///
/// Django, for one, compares them with what it believes its own address to be. Other origins stay as they are:
/// the caller has made its own cross-site check already, and the app may want to make another.
fn same_scheme(headers: &mut HeaderMap, client: &Caller) {
    if client.scheme == Scheme::HTTP {
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
            let text = format!("http://{}{rest}", client.authority);
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Says how a body without a length is framed. hyper would send a GET's body of unknown length as none at
/// all, which is safe but loses it.
fn frame(headers: &mut HeaderMap, body: &impl Body) {
    if !body.is_end_stream() && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn connection_authentication(headers: &HeaderMap) -> Option<&'static str> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .find_map(|challenge| {
            let scheme = challenge
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
        })
}

#[cfg(test)]
mod tests;
