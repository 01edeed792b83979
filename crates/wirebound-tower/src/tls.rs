//! TLS 1.3 with lineage: the handshake, and what a completed one says about a connection.
//!
//! Tickets go to the proven only: a resumed connection gets two, a full handshake none, except the one
//! that takes a grant. Having tickets proves nothing. Nothing is reported before the handshake has
//! completed: a captured ClientHello can be sent again by anybody, its Finished cannot. No session,
//! no cookie and no verdict is known here.

mod family;
mod grants;
mod keys;
mod view;

use core::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use rustls::server::{Acceptor, ResolvesServerCert};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use wirebound::{Clock, Entropy, ROOT_BYTES, Root, Timestamp};

pub use family::Family;
pub use grants::{GRANT_LIFETIME, GRANTS_MAX, GRANTS_OF_ONE_PLACE, Grants, RENEWALS_MAX, Renewals};
pub use keys::{KEYS_MAX, ROTATION, TICKET_LIFETIME, TicketKeys, TicketKeysError};

use family::Carried;
use view::View;

/// How many tickets a connection gets that gets any: what Chromium keeps per host.
const TICKETS: usize = 2;

/// The protocol that ALPN settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a further protocol must be met by everyone who serves one"
)]
pub enum Protocol {
    /// HTTP/1.1: offered, or no ALPN at all.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Everything a [`Tls`] leans on.
#[expect(
    clippy::exhaustive_structs,
    reason = "all of it must be chosen by the caller; there are no defaults"
)]
pub struct TlsParts {
    /// Names the listener. A ticket opens only on a listener of the same name, so that one of a public
    /// listener does not resume on another; nodes that serve the same hosts use the same name.
    pub listener: String,
    /// The certificates. Reloading them is the resolver's matter.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// What seals the tickets.
    pub keys: Arc<TicketKeys>,
    /// Grants opened by the sessions of this listener.
    pub grants: Arc<Grants>,
    /// Families that are due for a full handshake.
    pub renewals: Arc<Renewals>,
    /// Ages of tickets and grants are judged by it.
    pub clock: Arc<dyn Clock>,
    /// Roots and nonces are drawn from it.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for TlsParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsParts")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// Accepts TLS connections for one listener.
///
/// TLS 1.3 only, `h2` before `http/1.1`, no early data (RFC 8446 section 8: it can be replayed).
pub struct Tls {
    base: ServerConfig,
    listener: Arc<str>,
    keys: Arc<TicketKeys>,
    grants: Arc<Grants>,
    renewals: Arc<Renewals>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    number: AtomicU64,
}

impl Tls {
    /// Builds the acceptor with the provider's default cipher suites and groups.
    ///
    /// # Errors
    ///
    /// When the cryptography provider cannot do TLS 1.3.
    pub fn new(parts: TlsParts) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut base = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(parts.certificates);
        base.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        base.max_early_data_size = 0;
        base.send_tls13_tickets = TICKETS;
        base.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self {
            base,
            listener: parts.listener.into(),
            keys: parts.keys,
            grants: parts.grants,
            renewals: parts.renewals,
            clock: parts.clock,
            entropy: parts.entropy,
            number: AtomicU64::new(1),
        })
    }

    /// The clock that ages are judged by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Makes one handshake on `io`. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// When the peer fails the handshake, or no root can be drawn.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection; a renewal that it had claimed is free again.
    pub async fn accept<IO>(&self, io: IO, peer: IpAddr) -> io::Result<Accepted<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let sni: Option<Arc<str>> = start
            .client_hello()
            .server_name()
            .map(|name| name.to_ascii_lowercase().into());
        let fresh = self.draw_root()?;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        // Without a time nothing can be aged: the view then neither opens nor seals.
        let birth = self.clock.now().unwrap_or(Timestamp::ZERO);
        let view = Arc::new(View::new(self, number, peer, sni.clone(), fresh, birth));

        let mut config = self.base.clone();
        config.ticketer = Arc::<View>::clone(&view);
        let stream = start
            .into_stream_with(Arc::new(config), |tls| view.greeted(tls))
            .await?;

        let (_, tls) = stream.get_ref();
        let received = tls.received_resumption_data().and_then(Carried::read);
        let protocol = match tls.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let family = view.completed(received);
        Ok(Accepted {
            stream,
            sni,
            protocol,
            family,
            number,
        })
    }

    fn draw_root(&self) -> io::Result<Root> {
        let mut bytes = [0; ROOT_BYTES];
        self.entropy.fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Root::from_bytes(bytes))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// A connection whose handshake has completed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted<IO> {
    /// The stream, ready for HTTP.
    pub stream: TlsStream<IO>,
    /// The name the client asked for, in lower case; `None` if it asked for none.
    pub sni: Option<Arc<str>>,
    /// What ALPN settled on.
    pub protocol: Protocol,
    /// Where the connection comes from.
    pub family: Family,
    /// The number that this connection's tickets carry; for logs, proves nothing.
    pub number: u64,
}
