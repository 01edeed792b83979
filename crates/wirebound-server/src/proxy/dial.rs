//! Connections to the upstream, with or without TLS, each of which knows whether an answer has come over it, and can be
//! broken off.
//!
//! An app closes a kept connection when it likes, and a request may be written into it at that very moment. What never left
//! is sent again by the pool. What left and met a closed connection cannot be told from what was begun: only a request that
//! changes nothing (RFC 9110 section 9.2.1) is sent again, once, and only where the connection had served before.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What is known of a connection, and a hold on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<State>);

#[derive(Debug, Default)]
struct State {
    answered: AtomicBool,
    broken: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Served {
    /// That of the connection that a request was sent over; nothing if it was sent over none.
    pub(super) fn of(connection: &CaptureConnection) -> Option<Self> {
        let mut extras = http::Extensions::new();
        connection
            .connection_metadata()
            .as_ref()?
            .get_extras(&mut extras);
        extras.remove()
    }

    /// An answer has come over it.
    pub(super) fn mark(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    /// Whether one had come before.
    pub(super) fn before(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// Closes it now, also while the app does not take what is being written: whoever drops a request would else wait
    /// for that, with the client's upload in hand.
    fn break_off(&self) {
        self.0.broken.store(true, Ordering::Release);
        for waker in self.waiting().drain(..) {
            waker.wake();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once it was broken off.
    fn check(&self) -> io::Result<()> {
        if self.0.broken.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// A write has to wait: woken also when it is broken off.
    fn waits<T>(&self, cx: &Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_pending() {
            let mut waiting = self.waiting();
            waiting.retain(|waker| !waker.will_wake(cx.waker()));
            waiting.push(cx.waker().clone());
            drop(waiting);
            // Broken off between the check and here.
            self.check()?;
        }
        poll
    }
}

/// A request that waits for its answer. Dropped before, it breaks its connection off.
#[derive(Debug)]
pub(super) struct Waiting(Option<CaptureConnection>);

impl Waiting {
    pub(super) const fn on(connection: CaptureConnection) -> Self {
        Self(Some(connection))
    }

    /// The connection.
    pub(super) fn connection(&self) -> Option<&CaptureConnection> {
        self.0.as_ref()
    }

    /// The answer has come.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(connection) = self.0.take() else {
            return;
        };
        // First, or the pool could hand it to whoever asks next.
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
        if let Some(served) = Served::of(&connection) {
            served.break_off();
        }
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
        self.served.check()?;
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.served.waits(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.served.check()?;
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.served.waits(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.served.check()?;
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.served.waits(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.served.check()?;
        let poll = Pin::new(&mut self.io).poll_shutdown(cx);
        self.served.waits(cx, poll)
    }
}
