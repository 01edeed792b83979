//! Is the peer still there? Asked of the kernel at the moment it matters, never remembered for long.
//!
//! A live wire speaks against a newcomer, so a wire that only looks alive locks its owner out: a laptop
//! that lost its network sends no FIN. A TCP keep-alive is forced, and the kernel is asked (the
//! `sock_diag` netlink of Linux, which gives `TCP_INFO` without unsafe code) whether anything has
//! been acknowledged since. The peer's *kernel* answers: a stopped program behind a living machine
//! counts as alive, and so does a TCP balancer in between. Elsewhere than on Linux nothing can be told.
//!
//! On loopback a peer that vanishes without a trace does not exist: its kernel is ours and answers for as
//! long as its socket is open. The tests therefore cut a veth pair between two network namespaces.

mod diag;

use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// How long the peer is given to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// An answer stands this long; no connection is probed more often.
pub const ASK_EVERY: Duration = Duration::from_secs(10);

/// How often the kernel is looked at while an answer is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What can be said of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks must say what each answer means"
)]
pub enum Liveness {
    /// Its kernel acknowledged something after the question was put.
    Answers,
    /// It did not, for [`ANSWER_WITHIN`]: a half-open wire. Hang it up.
    Silent,
    /// The connection is over.
    Closed,
    /// Nothing can be told. Do not take it for dead.
    Unknown,
}

/// Keep-alive as it is set on every accepted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "all four must be chosen together"
)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Probes without an answer before the kernel gives the connection up.
    pub retries: u32,
    /// How long sent data may stay unacknowledged before it does (`TCP_USER_TIMEOUT`, RFC 5482).
    pub user_timeout: Duration,
}

impl KeepAlive {
    pub(crate) fn apply(&self, tcp: &TcpStream) -> std::io::Result<()> {
        let socket = SockRef::from(tcp);
        socket.set_tcp_keepalive(&self.times(self.idle))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        Ok(())
    }

    fn times(&self, idle: Duration) -> TcpKeepalive {
        TcpKeepalive::new()
            .with_time(idle)
            .with_interval(self.interval)
            .with_retries(self.retries)
    }
}

/// Asks after one connection's peer.
#[derive(Debug)]
pub(crate) struct Probe {
    tcp: Weak<TcpStream>,
    peer: SocketAddr,
    local: SocketAddr,
    keep_alive: KeepAlive,
    last: Mutex<Option<(Instant, Liveness)>>,
}

impl Probe {
    pub(crate) fn new(
        tcp: Weak<TcpStream>,
        peer: SocketAddr,
        local: SocketAddr,
        keep_alive: KeepAlive,
    ) -> Self {
        Self {
            tcp,
            peer,
            local,
            keep_alive,
            last: Mutex::new(None),
        }
    }

    /// Asks, or repeats an answer that still stands. Two who ask at once share one question.
    pub(crate) async fn ask(&self) -> Liveness {
        let mut last = self.last.lock().await;
        if self.tcp.strong_count() == 0 {
            return Liveness::Closed;
        }
        if let Some((at, answer)) = *last
            && at.elapsed() < ASK_EVERY
        {
            return answer;
        }
        let answer = self.question().await;
        *last = Some((Instant::now(), answer));
        answer
    }

    /// How long an answer of the peer takes: what TCP itself waits for one. Nothing if the kernel cannot say.
    pub(crate) fn trip(&self) -> Option<Duration> {
        diag::look(self.local, self.peer).ok()??.trip
    }

    async fn question(&self) -> Liveness {
        let asked = Instant::now();
        if !self.force_keep_alive() {
            return Liveness::Closed;
        }
        let answer = loop {
            match diag::look(self.local, self.peer) {
                Err(_) => break Liveness::Unknown,
                Ok(None) => break Liveness::Closed,
                // Heard after the question, by more than the kernel's own tick.
                Ok(Some(heard)) if heard.silence < asked.elapsed() => break Liveness::Answers,
                Ok(Some(_)) => {}
            }
            if asked.elapsed() >= ANSWER_WITHIN {
                break Liveness::Silent;
            }
            sleep(LOOK_EVERY).await;
        };
        if let Some(tcp) = self.tcp.upgrade() {
            let times = self.keep_alive.times(self.keep_alive.idle);
            // A socket that refuses is closed, which the next look finds out.
            drop(SockRef::from(&*tcp).set_tcp_keepalive(&times));
        }
        answer
    }

    /// One second is the shortest that can be set: the kernel sends a probe as soon as it has heard
    /// nothing for that long, which may be at once. Data in flight is retransmitted instead.
    fn force_keep_alive(&self) -> bool {
        let Some(tcp) = self.tcp.upgrade() else {
            return false;
        };
        let times = TcpKeepalive::new()
            .with_time(Duration::from_secs(1))
            .with_interval(Duration::from_secs(1))
            .with_retries(self.keep_alive.retries);
        SockRef::from(&*tcp).set_tcp_keepalive(&times).is_ok()
    }
}
