//! A TLS listener: accepts within bounds, makes the handshake, serves HTTP/1.1 and HTTP/2.
//!
//! Body timeouts, routing and everything about sessions belong to the service that the caller gives for
//! each connection. A service that is dropped belongs to a connection that is over.

mod connection;
mod counted;
mod drive;
mod limits;
mod strict;
mod table;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use wirebound::Timestamp;

use crate::tls::{Accepted, Tls};

pub use connection::{Busy, Connection};
pub use limits::Limits;

use connection::{Facts, Order};
use counted::Counted;
use table::{Row, Table};
use wire::{Tcp, Wire};

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// Waited after an accept that failed for want of something (file descriptors, memory).
const BREATHER: Duration = Duration::from_millis(50);

/// A listening socket with TLS and bounds.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tls: Arc<Tls>,
    limits: Limits,
    table: Arc<Table>,
}

impl Listener {
    /// Puts TLS and bounds on a bound socket.
    #[must_use]
    pub fn new(tcp: TcpListener, tls: Arc<Tls>, limits: Limits) -> Self {
        let shared = Shared {
            tls,
            limits,
            table: Arc::default(),
        };
        Self {
            tcp,
            shared: Arc::new(shared),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the socket cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Counts connections while it serves.
    #[must_use]
    pub fn census(&self) -> Census {
        Census(Arc::clone(&self.shared.table))
    }

    /// Serves until `shutdown` is ready, then waits for what is in flight, at most
    /// [`Limits::shutdown_wait`], and cuts the rest.
    ///
    /// `each` makes the service of one connection; it is called once for every handshake that has completed.
    /// The service is cloned for every request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops accepting; connections go on to their own ends.
    pub async fn serve<F, S, B>(self, each: F, shutdown: impl Future<Output = ()>)
    where
        F: Fn(Arc<Connection>) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let Self { tcp, shared } = self;
        let each = Arc::new(each);
        // Every connection's task holds a sender: when the last is dropped, all have ended.
        let (running, mut all_ended) = mpsc::channel::<()>(1);
        let mut shutdown = core::pin::pin!(shutdown);
        loop {
            let arrived = tokio::select! {
                biased;
                () = shutdown.as_mut() => break,
                arrived = tcp.accept() => arrived,
            };
            match arrived {
                Ok((stream, peer)) => {
                    let peer = plain(peer);
                    let Some(row) = shared.table.arrive(peer.ip(), &shared.limits) else {
                        tracing::debug!(%peer, "refused a connection: max_per_address reached");
                        continue;
                    };
                    let (shared, each, running) =
                        (Arc::clone(&shared), Arc::clone(&each), running.clone());
                    tokio::spawn(async move {
                        attend(&shared, stream, peer, row, &*each).await;
                        drop(running);
                    });
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections: raise the limit of open files, or lower max_connections");
                    sleep(BREATHER).await;
                }
            }
        }
        drop((tcp, running));
        shared.table.order_all(Order::CloseAfterResponse);
        if timeout(shared.limits.shutdown_wait, all_ended.recv())
            .await
            .is_err()
        {
            shared.table.order_all(Order::Reset);
            drop(timeout(shared.limits.hang_up_wait, all_ended.recv()).await);
        }
    }
}

/// Counts a listener's connections.
#[derive(Clone, Debug)]
pub struct Census(Arc<Table>);

impl Census {
    /// Connections whose handshake has completed and that have not been told to make room.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections()
    }
}

/// An IPv4 client on a dual-stack socket has its IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ std::net::IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        std::net::IpAddr::V6(_) => address,
    }
}

/// An error of one connection that was gone before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// One socket, from the accept to its close.
async fn attend<F, S, B>(shared: &Shared, stream: TcpStream, peer: SocketAddr, row: Row, each: &F)
where
    F: Fn(Arc<Connection>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let limits = &shared.limits;
    let Ok(local) = stream.local_addr().map(plain) else {
        return;
    };
    if let Err(error) = prepare(&stream, limits) {
        tracing::debug!(%peer, %error, "socket options refused");
        return;
    }
    let tcp = Arc::new(stream);
    let Some(accepted) = handshake(shared, &tcp, peer, &row).await else {
        return;
    };
    let facts = Facts {
        number: accepted.number,
        peer,
        local,
        sni: accepted.sni,
        protocol: accepted.protocol,
        family: accepted.family,
        opened: shared.tls.clock().now().unwrap_or(Timestamp::ZERO),
    };
    let connection = Connection::new(facts, Arc::downgrade(&tcp), limits.keep_alive);
    if !row.establish(&connection, limits) {
        tracing::warn!(%peer, "refused a connection: max_connections reached and none is idle");
        return;
    }
    let (wire, gone) = Wire::new(accepted.stream, Arc::clone(&connection));
    let service = Counted {
        inner: each(Arc::clone(&connection)),
        connection: Arc::clone(&connection),
    };
    let http = drive::http(wire, service, limits);
    drive::drive(http, gone, &connection, tcp, limits).await;
}

fn prepare(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    limits.keep_alive.apply(stream)
}

async fn handshake(
    shared: &Shared,
    tcp: &Arc<TcpStream>,
    peer: SocketAddr,
    row: &Row,
) -> Option<Accepted<Tcp>> {
    let accept = Box::pin(shared.tls.accept(Tcp(Arc::clone(tcp)), peer.ip()));
    let outcome = tokio::select! {
        biased;
        () = row.give_way.notified() => return None,
        outcome = timeout(shared.limits.handshake_timeout, accept) => outcome,
    };
    match outcome {
        Ok(Ok(accepted)) => Some(accepted),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "handshake timed out");
            None
        }
    }
}
