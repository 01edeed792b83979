//! A connection and its wire: what every request of a served connection carries along.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use wirebound::{Authority, Connected, Engine, Lifetime, Lineage, Transport, Wire};

use crate::listen::Connection;
use crate::transport::Liveness;

/// A connection with its wire. Dropped with the last request or WebSocket of the connection, and with it every
/// attachment.
#[derive(Debug)]
#[non_exhaustive]
pub struct Wired {
    /// The wire.
    pub wire: Wire,
    /// The connection.
    pub connection: Arc<Connection>,
    /// The server name it asked for, as authorities are compared.
    pub(crate) host: Option<Authority>,
    /// The assertion that was shown last and found good.
    pub(crate) asserted: ArcSwapOption<crate::assertion::Known>,
}

impl Wired {
    /// Registers a connection that was just made.
    #[must_use]
    pub fn new(engine: &Engine, connection: Arc<Connection>) -> Self {
        let family = connection.family;
        let wire = engine.wire(Connected {
            transport: Arc::new(OnConnection(Arc::clone(&connection))),
            address: Some(connection.peer.ip().to_canonical()),
            lineage: Some(Lineage {
                root: family.root,
                also: family.also,
                resumed: family.resumed,
                ticketed: family.has_tickets(),
                birth: family.birth,
            }),
            opened: connection.opened,
        });
        let host = connection.sni.as_deref().map(Authority::of);
        Self {
            wire,
            connection,
            host,
            asserted: ArcSwapOption::empty(),
        }
    }
}

/// What the engine may do to a connection.
struct OnConnection(Arc<Connection>);

impl fmt::Debug for OnConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnConnection({})", self.0.number)
    }
}

impl Transport for OnConnection {
    fn close(&self) {
        self.0.hang_up();
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async {
            match self.0.liveness().await {
                // Nothing can be told: it counts as there, or a stranger could come in where nobody can look.
                Liveness::Answers | Liveness::Unknown => true,
                Liveness::Silent | Liveness::Closed => false,
            }
        })
    }

    fn trip(&self) -> Option<Lifetime> {
        let millis = self.0.trip()?.as_millis();
        Some(Lifetime::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }
}
