//! Connections to the upstream, with or without TLS, each of which knows whether an answer has come over it.
//!
//! An app closes a kept connection when it likes, and a request may be written into it at that very moment. What never left
//! is sent again by the pool. What left and met a closed connection cannot be told from what was begun: only a request that
//! changes nothing (RFC 9110 section 9.2.1) is sent again, once, and only where the connection had served before.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connected, Connection, HttpConnector,
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::Limits;

/// Opens connections to the upstream.
#[derive(Debug, Clone)]
pub(super) struct Dial(HttpsConnector<HttpConnector>);

impl Dial {
    /// `tls` says whom an upstream at `https://` must be vouched for by.
    pub(super) fn new(limits: &Limits, tls: Arc<ClientConfig>) -> Self {
        // A machine that has vanished is found within about two minutes, also behind a WebSocket that says nothing.
        const KEEP_ALIVE: Duration = Duration::from_mins(1);
        const INTERVAL: Duration = Duration::from_secs(15);
        const RETRIES: u32 = 4;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.connect));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEP_ALIVE));
        connector.set_keepalive_interval(Some(INTERVAL));
        connector.set_keepalive_retries(Some(RETRIES));
        // The other scheme is that of the connector around it.
        connector.enforce_http(false);
        Self(HttpsConnector::from((connector, tls)))
    }
}

impl Service<Uri> for Dial {
    type Response = Line;
    type Error = <HttpsConnector<HttpConnector> as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Line, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let opening = self.0.call(to);
        Box::pin(async move {
            Ok(Line {
                io: opening.await?,
                served: Served::default(),
            })
        })
    }
}

/// Whether an answer has come over a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<AtomicBool>);

impl Served {
    /// The mark of the connection that a request was sent over; nothing if it was sent over none.
    pub(super) fn of(connection: &CaptureConnection) -> Option<Self> {
        let mut extras = http::Extensions::new();
        connection
            .connection_metadata()
            .as_ref()?
            .get_extras(&mut extras);
        extras.remove()
    }

    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn before(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection to the upstream.
#[derive(Debug)]
pub(super) struct Line {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    served: Served,
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.served.clone())
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
