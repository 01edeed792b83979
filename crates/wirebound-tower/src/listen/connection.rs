//! One served connection, as the rest of the program sees it: facts that do not change, and levers.
//!
//! It holds no socket open: dropping or keeping it changes nothing about the connection's life.

use core::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wirebound::{Lifetime, Timestamp};

use crate::listen::Limits;
use crate::listen::strict::Turns;
use crate::tls::{Family, Protocol};
use crate::transport::{KeepAlive, Liveness, Probe};

/// A connection whose handshake has completed.
#[non_exhaustive]
pub struct Connection {
    /// Its number: unique on its listener since the start, carried by its tickets.
    pub number: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// The name it asked for, in lower case.
    pub sni: Option<Arc<str>>,
    /// HTTP/1.1 or HTTP/2.
    pub protocol: Protocol,
    /// Where it comes from.
    pub family: Family,
    /// When its handshake had completed; the beginning of time if the clock could not say.
    pub opened: Timestamp,
    pulse: Pulse,
    orders: Orders,
    turns: Turns,
    probe: Probe,
}

/// What a [`Connection`] is made of.
pub(super) struct Facts {
    pub(super) number: u64,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) sni: Option<Arc<str>>,
    pub(super) protocol: Protocol,
    pub(super) family: Family,
    pub(super) opened: Timestamp,
}

impl Connection {
    pub(super) fn new(facts: Facts, tcp: Weak<TcpStream>, keep_alive: KeepAlive) -> Arc<Self> {
        Arc::new(Self {
            number: facts.number,
            peer: facts.peer,
            local: facts.local,
            sni: facts.sni,
            protocol: facts.protocol,
            family: facts.family,
            opened: facts.opened,
            pulse: Pulse::new(),
            orders: Orders::new(),
            turns: Turns::default(),
            probe: Probe::new(tcp, facts.peer, facts.local, keep_alive),
        })
    }

    /// For tests of what is built on this: a connection that nobody serves. Its levers are remembered
    /// and do nothing; its peer is gone.
    #[must_use]
    pub fn unserved(
        peer: SocketAddr,
        local: SocketAddr,
        sni: Option<&str>,
        protocol: Protocol,
        family: Family,
        opened: Timestamp,
    ) -> Arc<Self> {
        let facts = Facts {
            number: 0,
            peer,
            local,
            sni: sni.map(|name| name.to_ascii_lowercase().into()),
            protocol,
            family,
            opened,
        };
        Self::new(facts, Weak::new(), Limits::default().keep_alive)
    }

    /// No further request is taken; what is in flight is answered, then the connection closes.
    /// HTTP/1.1: `Connection: close`; HTTP/2: GOAWAY, sent before the response that is being made.
    pub fn close_after_response(&self) {
        self.orders.raise(Order::CloseAfterResponse);
    }

    /// As [`Connection::close_after_response`], but whatever still streams after `Limits::hang_up_wait` is cut. A request
    /// that has no answer yet is waited for, `Limits::answer_wait` at most: browsers repeat what was cut unanswered.
    pub fn hang_up(&self) {
        self.orders.raise(Order::HangUp);
    }

    /// Cuts now, with a TCP reset. Browsers repeat any request whose response had not begun: not for
    /// endings, only for a peer that abuses the connection or has vanished.
    pub fn reset(&self) {
        self.orders.raise(Order::Reset);
    }

    /// Whether one of the three has been called, or a shutdown is under way.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.orders.current() > Order::Serve
    }

    /// Waits until it is told to hang up: what streams on it has a moment to say goodbye.
    pub async fn hung_up(&self) {
        let mut hanging = self.orders.hanging.subscribe();
        // The sender lives in self; an error cannot come, and would mean the same.
        drop(hanging.wait_for(|hanging| *hanging).await);
    }

    /// Whether it is still served.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !*self.orders.ended.borrow()
    }

    /// Waits until it is not served any more. A WebSocket keeps it open.
    pub async fn closed(&self) {
        let mut ended = self.orders.ended.subscribe();
        // The sender lives in self; an error cannot come, and would mean the same.
        drop(ended.wait_for(|ended| *ended).await);
    }

    /// For so long an idle connection is not closed for being idle, and to make room only where no other is idle. A longer
    /// exemption stands beside a shorter one. After its end it may take one more idle timeout until it is noticed.
    pub fn exempt_from_idle(&self, lasts: Duration) {
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let until = self.pulse.elapsed().saturating_add(lasts);
        self.pulse.exempt_until.fetch_max(until, Ordering::Relaxed);
    }

    /// Requests whose response has not been written, and everything that [`Connection::hold`] holds.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pulse.in_flight.load(Ordering::Acquire)
    }

    /// When a request last began or ended; when it was opened, if there was none.
    #[must_use]
    pub fn last_active(&self) -> Timestamp {
        let after = self.pulse.last_active.load(Ordering::Relaxed);
        self.opened.after(Lifetime::from_millis(after))
    }

    /// Counts as a request in flight until dropped. Hold one for as long as a WebSocket lives: its
    /// request counts as answered once the handshake is.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Busy {
        Busy::new(Arc::clone(self))
    }

    /// How long an answer of the peer takes, by the kernel's measure. Nothing if it cannot say.
    #[must_use]
    pub fn trip(&self) -> Option<Duration> {
        self.probe.trip()
    }

    /// Asks the peer's kernel whether it is still there: within 2 s, and at most once in 10 s; in
    /// between the last answer stands. Hang up on [`Liveness::Silent`].
    pub async fn liveness(&self) -> Liveness {
        if !self.is_open() {
            return Liveness::Closed;
        }
        self.probe.ask().await
    }

    /// Counts as a request without an answer until dropped.
    pub(super) fn owe_an_answer(self: &Arc<Self>) -> Unanswered {
        self.pulse.unanswered.fetch_add(1, Ordering::AcqRel);
        Unanswered(Arc::clone(self))
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub(super) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Which of its requests have been answered; kept on HTTP/1.1 only.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .field("peer", &self.peer)
            .field("sni", &self.sni)
            .field("protocol", &self.protocol)
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}

/// Keeps a connection from being idle.
#[derive(Debug)]
pub struct Busy(Arc<Connection>);

impl Busy {
    fn new(connection: Arc<Connection>) -> Self {
        connection.pulse.begin();
        Self(connection)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.pulse.end();
    }
}

/// A request whose answer's head has not left.
#[derive(Debug)]
pub(super) struct Unanswered(Arc<Connection>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.pulse.unanswered.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is going on, for the timeouts. Times are in milliseconds since the start.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    in_flight: AtomicUsize,
    unanswered: AtomicUsize,
    last_active: AtomicU64,
    /// When the first byte of a head arrived, plus one; nought if none is awaited.
    head_since: AtomicU64,
    /// Until when it may be idle; nought if it is like others.
    exempt_until: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            in_flight: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            last_active: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            exempt_until: AtomicU64::new(0),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.head_since.store(0, Ordering::Relaxed);
        self.last_active.store(self.elapsed(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.last_active.store(self.elapsed(), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Bytes have been read. With no request in flight they are the beginning of a head.
    pub(super) fn read_some(&self) {
        if self.in_flight.load(Ordering::Acquire) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            let since = self.elapsed().saturating_add(1);
            self.head_since.store(since, Ordering::Relaxed);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_quiet() && self.exempt_until.load(Ordering::Relaxed) <= self.elapsed()
    }

    /// Whether some request has no answer's head yet.
    pub(super) fn owes_an_answer(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) > 0
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    pub(super) fn last_active(&self) -> Instant {
        self.at(self.last_active.load(Ordering::Relaxed))
    }

    pub(super) fn head_since(&self) -> Option<Instant> {
        let since = self.head_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.at(since))
    }

    fn at(&self, millis: u64) -> Instant {
        self.start
            .checked_add(Duration::from_millis(millis))
            .unwrap_or(self.start)
    }
}

/// What the connection's driver has been told. Only ever raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Serve,
    CloseAfterResponse,
    HangUp,
    Reset,
}

impl Order {
    const fn from_u8(level: u8) -> Self {
        match level {
            0 => Self::Serve,
            1 => Self::CloseAfterResponse,
            2 => Self::HangUp,
            _ => Self::Reset,
        }
    }

    const fn level(self) -> u8 {
        match self {
            Self::Serve => 0,
            Self::CloseAfterResponse => 1,
            Self::HangUp => 2,
            Self::Reset => 3,
        }
    }
}

#[derive(Debug)]
pub(super) struct Orders {
    level: AtomicU8,
    raised: Notify,
    /// Whether it was told to hang up, or worse.
    hanging: watch::Sender<bool>,
    /// Whether the driver has begun the graceful end; a response waits for it, so that GOAWAY goes first.
    pub(super) closing: watch::Sender<bool>,
    pub(super) ended: watch::Sender<bool>,
}

impl Orders {
    fn new() -> Self {
        Self {
            level: AtomicU8::new(0),
            raised: Notify::new(),
            hanging: watch::Sender::new(false),
            closing: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        }
    }

    pub(super) fn raise(&self, order: Order) {
        let before = self.level.fetch_max(order.level(), Ordering::AcqRel);
        if before < order.level() {
            self.raised.notify_one();
        }
        if order >= Order::HangUp {
            self.hanging.send_replace(true);
        }
    }

    pub(super) fn current(&self) -> Order {
        Order::from_u8(self.level.load(Ordering::Acquire))
    }

    /// Waits for an order above `known`. Only the driver waits.
    pub(super) async fn above(&self, known: Order) -> Order {
        loop {
            let current = self.current();
            if current > known {
                return current;
            }
            self.raised.notified().await;
        }
    }
}
