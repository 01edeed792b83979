//! A TCP line laid in front of a server, which a test can slow, cut and freeze.
//!
//! It passes bytes and understands none of them. The delay of a handshake exists here and nowhere
//! else: no product code waits for a test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::wait;

/// What is done to the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Pass,
    Freeze,
    Fin,
    Rst,
}

/// How all connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides get an orderly end of the stream.
    Fin,
    /// Both sides get a reset.
    Rst,
}

#[derive(Debug, Default)]
struct Connections {
    opened: u64,
    live: BTreeMap<u64, watch::Sender<Order>>,
    /// Source ports of the line towards the server: they tell in the server's log whose a
    /// connection was.
    ports: BTreeSet<u16>,
}

/// A listener on a free loopback port; each connection is passed on to one server.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    server: watch::Sender<SocketAddr>,
    delay: watch::Sender<Duration>,
    connections: Arc<Mutex<Connections>>,
    task: tokio::task::JoinHandle<()>,
}

impl Line {
    /// Lays a line to `server`; `delay` passes on each connection before its first byte does.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn lay(server: SocketAddr, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (server, to) = watch::channel(server);
        let (delay, wait) = watch::channel(delay);
        let connections = Arc::new(Mutex::new(Connections::default()));
        let shared = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, delay) = (*to.borrow(), *wait.borrow());
                tokio::spawn(carry(near, server, delay, Arc::clone(&shared)));
            }
        });
        Ok(Self {
            address,
            server,
            delay,
            connections,
            task,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to another server (a gateway that came back on another port).
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// Changes the delay of new connections.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Connections accepted since the line was laid.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.connections.lock().unwrap().opened
    }

    /// Connections that stand now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.connections.lock().unwrap().live.len()
    }

    /// Whether a connection of this line came to the server from `port`.
    #[must_use]
    pub fn owns(&self, port: u16) -> bool {
        self.connections.lock().unwrap().ports.contains(&port)
    }

    /// Ends every connection that stands.
    pub fn end_all(&self, ending: Ending) {
        let order = match ending {
            Ending::Fin => Order::Fin,
            Ending::Rst => Order::Rst,
        };
        self.order(order);
    }

    /// Waits until no connection stands.
    ///
    /// # Errors
    /// When some still do after `bound`.
    pub async fn empty(&self, bound: Duration) -> Result<()> {
        wait::until("the line to be empty", bound, || async {
            Ok((self.live() == 0).then_some(()))
        })
        .await
    }

    /// Stops passing bytes on every connection that stands, and closes none: what a client sees of a
    /// path that went dead.
    pub fn freeze_all(&self) {
        self.order(Order::Freeze);
    }

    fn order(&self, order: Order) {
        for connection in self.connections.lock().unwrap().live.values() {
            connection.send_replace(order);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
        self.order(Order::Rst);
    }
}

async fn carry(
    near: TcpStream,
    server: SocketAddr,
    delay: Duration,
    connections: Arc<Mutex<Connections>>,
) {
    let (order, mut orders) = watch::channel(Order::Pass);
    let id = {
        let mut all = connections.lock().unwrap();
        all.opened += 1;
        let id = all.opened;
        all.live.insert(id, order);
        id
    };
    // A refused or broken connection is the client's to see; the line has nobody to tell.
    let _ended = pass(near, server, delay, &mut orders, &connections).await;
    connections.lock().unwrap().live.remove(&id);
}

/// Source ports that any line of this process ever used. The system gives a port out again soon after it was closed; were
/// it given to another line, that one's connections would be taken for ours in the server's log.
static CLAIMED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Connects to the server from a port that no other line has used.
async fn reach(server: SocketAddr, connections: &Mutex<Connections>) -> std::io::Result<TcpStream> {
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let port = socket.local_addr()?.port();
        let fresh = CLAIMED.lock().unwrap().insert(port);
        let ours = connections.lock().unwrap().ports.contains(&port);
        if fresh || ours {
            connections.lock().unwrap().ports.insert(port);
            return socket.connect(server).await;
        }
    }
}

async fn pass(
    mut near: TcpStream,
    server: SocketAddr,
    delay: Duration,
    orders: &mut watch::Receiver<Order>,
    connections: &Mutex<Connections>,
) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    if !delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            ended = orders.wait_for(|o| matches!(o, Order::Fin | Order::Rst)) => {
                if ended.is_ok_and(|o| *o == Order::Rst) {
                    near.set_zero_linger()?;
                }
                return Ok(());
            }
        }
    }
    let mut far = reach(server, connections).await?;
    far.set_nodelay(true)?;
    let order = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let (up_orders, down_orders) = (orders.clone(), orders.clone());
        let both = async {
            let (up, down) = tokio::join!(
                copy(near_in, far_out, up_orders),
                copy(far_in, near_out, down_orders)
            );
            up.and(down)
        };
        tokio::select! {
            done = both => { done?; Order::Fin }
            ended = async {
                orders.wait_for(|o| matches!(o, Order::Fin | Order::Rst)).await.map_or(Order::Rst, |o| *o)
            } => ended,
        }
    };
    match order {
        Order::Rst => {
            near.set_zero_linger()?;
            far.set_zero_linger()?;
        }
        // Where bytes are left unread, closing would reset: say the end first.
        Order::Pass | Order::Freeze | Order::Fin => {
            let (first, second) = tokio::join!(near.shutdown(), far.shutdown());
            first.and(second)?;
        }
    }
    Ok(())
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut orders: watch::Receiver<Order>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        if *orders.borrow() == Order::Freeze {
            // The bytes stay where they are until the line is ended.
            let _ended = orders.wait_for(|o| *o != Order::Freeze).await;
            return Ok(());
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}

#[cfg(test)]
mod tests;
