//! The bytes of an open WebSocket, both ways, until somebody ends it.
//!
//! When the session ends, the client gets a Close frame with our code between two frames, and both sides are
//! closed. If a frame is half through at that moment, its rest is let through first, for a quarter of a second
//! and 64 KiB at most: without that the client could not read the code. After that it is closed without one. A client
//! that does not read at all is reported as stuck, so that its connection can be reset with what waits in it.
//!
//! A client that has vanished is found by its connection (TCP keep-alive; PING on HTTP/2), an upstream that has by the
//! keep-alive of its own; nothing is put between the frames for it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split,
};
use tokio::time::timeout;

use super::frames::{Frames, close};
use crate::proxy::{CloseCode, Cut, Cutter};

/// How long things may take in a WebSocket.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Patience {
    /// Without a byte in either direction for this long (at most twice this long) it is closed. 10 min.
    pub idle: Duration,
    /// How long one side may go on after the other has closed. 2 s.
    pub linger: Duration,
    /// How long the frame that is half through may take when the session has ended. 250 ms.
    pub finish: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            linger: Duration::from_secs(2),
            finish: Duration::from_millis(250),
        }
    }
}

/// Bytes of a frame that is half through which may still pass after the session ended.
const FINISH_BYTES: usize = 64 * 1024;
const BUFFER: usize = 16 * 1024;

/// How a WebSocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The session ended, and the client was told.
    Cut(CloseCode),
    /// The session ended, but the client takes nothing: what waits for it in the kernel must not reach it later, so its
    /// connection is to be reset.
    Stuck(CloseCode),
    /// The client closed.
    Client,
    /// The upstream closed.
    Upstream,
    /// Nothing was said for too long.
    Idle,
    /// The connection never became a WebSocket: it broke before the switch.
    Never,
}

/// Called whenever the client has said something.
pub type Spoke = Box<dyn Fn() + Send + Sync>;

/// An accepted WebSocket whose bytes are to be carried: spawn [`Tunnel::run`].
#[must_use = "a tunnel that is not run closes the WebSocket"]
pub struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) upstream: OnUpgrade,
    pub(super) cut: Cut,
    pub(super) patience: Patience,
    pub(super) spoke: Spoke,
}

impl core::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tunnel")
            .field("cut", &self.cut)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Has `spoke` called whenever the client has said something: a message, not a Ping or a Pong.
    pub fn heard(mut self, spoke: Spoke) -> Self {
        self.spoke = spoke;
        self
    }

    /// Carries bytes until one side closes, the session ends or `stopping` is done; closes both sides.
    pub async fn run_until(self, stopping: impl Future<Output = CloseCode>) -> Ended {
        let either = Cutter::new();
        let (session, cut) = (self.cut.clone(), either.cut());
        let tunnel = Self { cut, ..self };
        let signal = async {
            tokio::select! {
                biased;
                code = session.closed() => code,
                code = stopping => code,
            }
        };
        let mut carried = std::pin::pin!(tunnel.run());
        tokio::select! {
            biased;
            code = signal => {
                either.fire(code);
                carried.await
            }
            ended = &mut carried => ended,
        }
    }

    /// Carries bytes until one side closes or the session ends; closes both sides.
    pub async fn run(self) -> Ended {
        let both = async { tokio::try_join!(self.client, self.upstream) };
        let Ok(Ok((client, upstream))) =
            timeout(self.patience.linger.saturating_mul(5), both).await
        else {
            return Ended::Never;
        };
        let (client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        splice(client, upstream, self.cut, self.patience, &*self.spoke).await
    }
}

/// Carries bytes between any two streams; the test's way in.
pub(super) async fn splice<C, U>(
    client: C,
    upstream: U,
    cut: Cut,
    patience: Patience,
    spoke: &(dyn Fn() + Send + Sync),
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(upstream);
    let said = AtomicU64::new(0);
    let mut down = Pipe::new(from_upstream, to_client, &said, &|| {});
    let mut up = Pipe::new(from_client, to_upstream, &said, spoke);
    let mut ended = tokio::select! {
        biased;
        code = cut.clone().closed() => Ended::Cut(code),
        () = silence(&said, patience.idle) => Ended::Idle,
        _end = down.relay() => Ended::Upstream,
        _end = up.relay() => Ended::Client,
    };
    match ended {
        Ended::Cut(code) => {
            // The upstream hears nothing more from a client whose session is over.
            let goodbye = patience.finish.saturating_mul(2);
            match timeout(goodbye, down.say_close(code, patience.finish)).await {
                Ok(_told) => drop(timeout(patience.linger, drain(&mut up.from)).await),
                Err(_) => ended = Ended::Stuck(code),
            }
        }
        Ended::Idle => {
            let _closed = timeout(
                patience.finish,
                down.say_close(CloseCode::Silent, patience.finish),
            )
            .await;
        }
        Ended::Upstream => {
            let _closed = timeout(
                patience.finish,
                down.say_close(CloseCode::UpstreamLost, Duration::ZERO),
            )
            .await;
            let _rest = timeout(patience.linger, up.relay()).await;
        }
        Ended::Client => {
            let _shut = timeout(patience.finish, up.to.shutdown()).await;
            // The session may end while the upstream still talks.
            tokio::select! {
                biased;
                _code = cut.closed() => {}
                _rest = timeout(patience.linger, down.relay()) => {}
            }
        }
        Ended::Stuck(_) | Ended::Never => {}
    }
    let _shut = timeout(patience.finish, async {
        tokio::join!(down.to.shutdown(), up.to.shutdown())
    })
    .await;
    ended
}

async fn silence(said: &AtomicU64, idle: Duration) {
    loop {
        let before = said.load(Ordering::Relaxed);
        tokio::time::sleep(idle).await;
        if said.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// Reads on until the other side closes, so that it gets our Close frame and not a reset.
async fn drain(from: &mut (impl AsyncRead + Unpin)) {
    let mut waste = [0_u8; 1024];
    while matches!(from.read(&mut waste).await, Ok(1..)) {}
}

/// One direction. All of its state is here, so that it can be left at any await and ended in good order.
struct Pipe<'a, R, W> {
    from: ReadHalf<R>,
    to: WriteHalf<W>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    frames: Option<Frames>,
    said: &'a AtomicU64,
    spoke: &'a (dyn Fn() + Send + Sync),
}

impl<'a, R: AsyncRead, W: AsyncWrite> Pipe<'a, R, W> {
    fn new(
        from: ReadHalf<R>,
        to: WriteHalf<W>,
        said: &'a AtomicU64,
        spoke: &'a (dyn Fn() + Send + Sync),
    ) -> Self {
        Self {
            from,
            to,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            frames: Some(Frames::default()),
            said,
            spoke,
        }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Carries bytes until this side's sender closes.
    async fn relay(&mut self) -> io::Result<()> {
        loop {
            if self.pending().is_empty() {
                self.to.flush().await?;
                if !self.fill().await? {
                    return Ok(());
                }
            }
            self.put(self.pending().len()).await?;
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        (self.start, self.end) = (0, 0);
        self.end = self.from.read(&mut self.buffer).await?;
        self.said.fetch_add(1, Ordering::Relaxed);
        Ok(self.end > 0)
    }

    /// Writes some of what is pending, `most` at most, and follows the frames in what was really written.
    async fn put(&mut self, most: usize) -> io::Result<()> {
        let end = self.end.min(self.start.saturating_add(most));
        let bytes = self.buffer.get(self.start..end).unwrap_or_default();
        let written = self.to.write(bytes).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let done = bytes.get(..written).unwrap_or_default();
        if self
            .frames
            .as_mut()
            .is_some_and(|frames| frames.take_all(done).is_err())
        {
            // No more boundaries are known; only our Close frame needed them.
            self.frames = None;
        }
        if self.frames.as_mut().is_some_and(Frames::spoken) {
            (self.spoke)();
        }
        self.start = self.start.saturating_add(written);
        Ok(())
    }

    /// Ends this direction with a Close frame, unless the sender has sent one or no boundary can be reached.
    async fn say_close(&mut self, code: CloseCode, finish: Duration) -> io::Result<()> {
        let between = self.frames.as_ref().is_some_and(Frames::between);
        if !between {
            let _late = timeout(finish, self.finish_frame()).await;
        }
        if self
            .frames
            .as_ref()
            .is_some_and(|frames| frames.between() && !frames.closing())
        {
            self.to
                .write_all(&close(code.code(), &code.reason()))
                .await?;
        }
        self.to.flush().await?;
        self.to.shutdown().await
    }

    async fn finish_frame(&mut self) -> io::Result<()> {
        let mut left = FINISH_BYTES;
        while left > 0 && self.frames.as_ref().is_some_and(|frames| !frames.between()) {
            if self.pending().is_empty() && !self.fill().await? {
                return Ok(());
            }
            let Some(rest) = self
                .frames
                .as_ref()
                .map(|frames| frames.rest(self.pending()))
            else {
                return Ok(());
            };
            self.put(rest.min(left)).await?;
            left = left.saturating_sub(rest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
