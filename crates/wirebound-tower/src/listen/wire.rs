//! The byte streams below HTTP: a TCP stream that can be looked at from elsewhere, and TLS over it that takes note of
//! arriving bytes and lets only what has one reading pass.
//!
//! The TCP stream is shared, not duplicated: after HTTP has dropped its half the socket is still open, so
//! that what the peer goes on sending can be read away before it is closed.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::strict::Strict;
use crate::tls::Protocol;

/// A TCP stream of which the driver keeps a second handle.
#[derive(Debug)]
pub(super) struct Tcp(pub(super) Arc<TcpStream>);

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.read_what_is_there(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Tcp {
    /// Reads once. A read that did not fill its buffer has emptied the socket: the next one waits for the kernel to say
    /// that there is more, in place of asking it for nothing (one call less for each request).
    ///
    /// That is what tokio does for a stream that it owns. Here it is said by ending the closure with `WouldBlock`: tokio
    /// then forgets the readiness that it saw *before* the read, so that what arrives meanwhile is not forgotten with it.
    fn read_what_is_there(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut emptied = None;
        let read = self.0.try_io(Interest::READABLE, || {
            let count = (&*SockRef::from(&*self.0)).read(into)?;
            if count > 0 && count < into.len() {
                emptied = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        emptied.map_or(read, Ok)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}

/// What HTTP reads and writes. After an upgrade it is whoever took the upgrade that holds it.
pub(super) struct Wire {
    tls: TlsStream<Tcp>,
    connection: Arc<Connection>,
    /// On HTTP/1.1.
    strict: Option<Box<Strict>>,
    /// Dropped with the wire, which tells the driver.
    _gone: oneshot::Sender<()>,
}

impl Wire {
    pub(super) fn new(
        tls: TlsStream<Tcp>,
        connection: Arc<Connection>,
    ) -> (Self, oneshot::Receiver<()>) {
        let (sender, gone) = oneshot::channel();
        let strict = (connection.protocol == Protocol::Http1).then(|| Box::new(Strict::new()));
        let wire = Self {
            tls,
            connection,
            strict,
            _gone: sender,
        };
        (wire, gone)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(match &mut this.strict {
            Some(strict) => strict.poll_read(&mut this.tls, this.connection.turns(), cx, buf),
            None => Pin::new(&mut this.tls).poll_read(cx, buf),
        })?;
        if buf.filled().len() > before {
            this.connection.pulse().read_some();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
