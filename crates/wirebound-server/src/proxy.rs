//! Forwarding a judged request to the upstream, and its answer back.
//!
//! Nothing here knows sessions. The caller has judged the request; what it found out comes in as [`Told`]
//! and [`Cut`], and what came of it goes out as an [`Answered`] or an [`Unanswered`].
//!
//! Why this glue is our own: `axum-reverse-proxy` 2.4 is alive and streams well, but it appends to a client's
//! `X-Forwarded-For` and keeps a client's `X-Forwarded-Proto`, knows WebSockets of HTTP/1.1 only, and leaves
//! `Alt-Svc`, trailers and connections that authenticate to its user; `hyper-reverse-proxy` stayed on hyper
//! 0.14; `pingora-proxy` does more, but with its own server and TLS, where the wire's lineage lives. Whom the
//! upstream believes the client to be is decided by the order of a dozen lines (`proxy/head.rs`), so they are here to
//! be read. The transport itself (HTTP/1.1, the pool, upgrades) is hyper's.
//!
//! An upstream that answers with NTLM or Negotiate is refused with 502: it signs in a connection, and a pooled
//! connection carries many clients. Tying it to the client's wire is not built.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::vouch::{self, Vouched};

pub mod body;
pub mod cut;
mod dial;
mod head;
pub mod leg;
pub mod strip;
pub mod upstream;

pub use body::{BoxError, Broken, Download, Upload};
pub use cut::{CloseCode, Cut, Cutter, Reconnect};
pub(crate) use head::prepare;
pub use leg::{Caller, Leg, Told, ToldKey, encode_subject};
pub use strip::Removed;
pub use upstream::{BadUpstream, Limits, Upstream};

use dial::{Dial, Served, Waiting};
use head::{connection_authentication, frame};

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
    client: Client<Dial, Upload>,
    upstream: Upstream,
    limits: Limits,
}

impl Forwarder {
    /// A forwarder with an empty pool.
    #[must_use]
    pub fn new(upstream: Upstream, limits: Limits) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .pool_max_idle_per_host(limits.idle_connections)
            .http1_max_headers(limits.fields)
            .http1_max_buf_size(limits.head_bytes.max(8192))
            // Any request that was taken back unwritten from a kept connection that had died (see `dial` for the rest).
            .retry_canceled_requests(true)
            .set_host(false)
            .build(Dial::new(&limits, upstream.tls()));
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
        let again = again(&parts, &body);
        let request = Request::from_parts(parts, body::upload(body, progress.clone()));
        let response = match (self.try_send(request, &leg.cut, &progress).await, again) {
            (
                Err(Unsent {
                    fault: Unanswered::Lost(error),
                    kept: true,
                }),
                Some(again),
            ) => {
                tracing::debug!(%error, "a kept connection was just closed by the app: sent again over another");
                self.send(again, &leg.cut, &progress).await?
            }
            (sent, _) => sent.map_err(|unsent| unsent.fault)?,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unanswered::Switched);
        }
        Ok(clean(response, leg))
    }

    /// Sends a prepared request: the head's timeout, the session's end, and no connection that authenticates.
    pub(crate) async fn send(
        &self,
        request: Request<Upload>,
        cut: &Cut,
        progress: &body::Progress,
    ) -> Result<Response<Incoming>, Unanswered> {
        let sent = self.try_send(request, cut, progress).await;
        sent.map_err(|unsent| unsent.fault)
    }

    async fn try_send(
        &self,
        mut request: Request<Upload>,
        cut: &Cut,
        progress: &body::Progress,
    ) -> Result<Response<Incoming>, Unsent> {
        let waiting = Waiting::on(capture_connection(&mut request));
        let answer = tokio::select! {
            biased;
            code = cut.clone().closed() => return Err(Unanswered::Cut(code).into()),
            answer = self.client.request(request) => answer,
            () = progress.stalled(self.limits.head) => {
                return Err(Unanswered::Slow(self.limits.head).into());
            }
        };
        let served = waiting.connection().and_then(Served::of);
        let response = answer.map_err(|error| Unsent {
            fault: self.unanswered(error),
            kept: served.as_ref().is_some_and(Served::before),
        })?;
        if let Some(scheme) = connection_authentication(response.headers()) {
            // Never back into the pool: whoever came next would be whoever signed in on it. Not being marked as answered
            // takes it out.
            return Err(Unanswered::ConnectionAuthentication(scheme).into());
        }
        if let Some(served) = served {
            served.mark();
        }
        waiting.answered();
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

/// What became of a request that got no answer.
struct Unsent {
    fault: Unanswered,
    /// It went over a connection that had served before.
    kept: bool,
}

impl From<Unanswered> for Unsent {
    fn from(fault: Unanswered) -> Self {
        Self { fault, kept: false }
    }
}

/// The same request once more, if it changes nothing and carries no body.
fn again(parts: &http::request::Parts, body: &impl Body) -> Option<Request<Upload>> {
    let repeats = matches!(parts.method, Method::GET | Method::HEAD) && body.is_end_stream();
    repeats.then(|| {
        let mut request = Request::new(body::nothing());
        request.method_mut().clone_from(&parts.method);
        request.uri_mut().clone_from(&parts.uri);
        *request.version_mut() = parts.version;
        request.headers_mut().clone_from(&parts.headers);
        request
    })
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

#[cfg(test)]
mod tests;
