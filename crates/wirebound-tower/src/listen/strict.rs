//! Between TLS and HTTP/1.1: no head reaches hyper that has two readings.
//!
//! hyper mends what it can: it takes a bare line feed for an end of line, cuts fragments off, drops a `Content-Length`
//! beside `Transfer-Encoding`, and forgets what it mended. By then nobody can refuse the request any more. So the bytes are
//! followed here as they pass, and at the first fault hyper is handed a NUL in the fault's place, which it answers with 400
//! in whatever part of a head it stands, after all that it still owed, and closes. A body at fault ends in an error instead:
//! its request is cancelled, never completed.
//!
//! HTTP/2 needs none of it: its frames say where everything ends.

mod follower;

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, ReadBuf};

use follower::{Fault, Follower, Found};

/// hyper looks for the end of a head before it looks at the head.
const POISON: &[u8] = b"\0\r\n\r\n";
/// The most that is read ahead behind an upgrade that has no answer yet.
const AHEAD: usize = 4096;

/// Which requests of a connection have been answered: whether an upgrade came about is known to the service only.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Turn>);

#[derive(Debug, Default)]
struct Turn {
    answered: u64,
    /// The number of the request that was answered with another protocol.
    switched: Option<u64>,
    waiting: Option<Waker>,
}

impl Turns {
    /// The next request has its answer. HTTP/1.1 answers in order.
    pub(super) fn answered(&self, switched: bool) {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turn.answered = turn.answered.saturating_add(1);
        if switched {
            turn.switched = Some(turn.answered);
        }
        if let Some(waiting) = turn.waiting.take() {
            waiting.wake();
        }
    }

    /// Whether request `number` switched protocols, once it is answered.
    fn poll(&self, number: u64, cx: &Context<'_>) -> Poll<bool> {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.answered >= number {
            return Poll::Ready(turn.switched == Some(number));
        }
        turn.waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// How reading goes on.
#[derive(Debug)]
enum Going {
    On,
    /// An upgrade waits for its answer; what was read behind it.
    Waiting(Vec<u8>),
    /// What is still to be read of what was read ahead.
    Ahead(Vec<u8>),
    /// A head was at fault: the rest of the poison, then the end.
    Poisoned(&'static [u8]),
    /// A body was at fault.
    Broken,
}

/// The strict reader of one HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Strict {
    follower: Follower,
    going: Going,
}

impl Strict {
    pub(super) fn new() -> Self {
        Self {
            follower: Follower::new(),
            going: Going::On,
        }
    }

    /// Reads on from `io`. Whatever it yields is in order.
    pub(super) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        turns: &Turns,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.going {
                Going::On => {
                    let before = buf.filled().len();
                    ready!(Pin::new(io).poll_read(cx, buf))?;
                    return Poll::Ready(self.look(buf, before));
                }
                Going::Waiting(ahead) => match turns.poll(self.follower.heads(), cx) {
                    Poll::Ready(switched) => {
                        let ahead = core::mem::take(ahead);
                        self.follower.answered(switched);
                        self.going = Going::Ahead(ahead);
                    }
                    Poll::Pending => return poll_ahead(ahead, io, cx),
                },
                Going::Ahead(ahead) if ahead.is_empty() => self.going = Going::On,
                Going::Ahead(ahead) => {
                    let before = buf.filled().len();
                    let many = ahead.len().min(buf.remaining());
                    let rest = ahead.split_off(many);
                    buf.put_slice(ahead);
                    *ahead = rest;
                    return Poll::Ready(self.look(buf, before));
                }
                Going::Poisoned(rest) => {
                    let many = rest.len().min(buf.remaining());
                    let (now, later) = rest.split_at_checked(many).unwrap_or_default();
                    buf.put_slice(now);
                    *rest = later;
                    return Poll::Ready(Ok(()));
                }
                Going::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    /// Looks at what stands in `buf` from `before`, and takes back what must not pass.
    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let arrived = buf.filled().get(before..).unwrap_or_default();
        match self.follower.follow(arrived) {
            Found::Order => Ok(()),
            Found::Upgrade(place) => {
                let mut ahead = arrived.get(place..).unwrap_or_default().to_vec();
                if let Going::Ahead(later) = &mut self.going {
                    ahead.append(later);
                }
                self.going = Going::Waiting(ahead);
                buf.set_filled(before.saturating_add(place));
                Ok(())
            }
            Found::Head(place, fault) => {
                tell(fault);
                buf.set_filled(before.saturating_add(place));
                let many = POISON.len().min(buf.remaining());
                let (now, later) = POISON.split_at_checked(many).unwrap_or_default();
                buf.put_slice(now);
                self.going = Going::Poisoned(later);
                Ok(())
            }
            Found::Body(place, fault) => {
                tell(fault);
                buf.set_filled(before.saturating_add(place));
                self.going = Going::Broken;
                // Nothing at all would be read as the end of the stream.
                if place == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(())
            }
        }
    }
}

/// Reads behind an upgrade without an answer, so that a client that leaves is noticed. Ready at the end of the stream only.
fn poll_ahead<IO: AsyncRead + Unpin>(
    ahead: &mut Vec<u8>,
    io: &mut IO,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if !ahead.is_empty() {
        return Poll::Pending;
    }
    let mut space = [0; AHEAD];
    let mut read = ReadBuf::new(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut read))?;
    ahead.extend_from_slice(read.filled());
    if ahead.is_empty() {
        return Poll::Ready(Ok(()));
    }
    Poll::Pending
}

fn tell(fault: Fault) {
    tracing::info!(target: "wirebound::event", event = "malformed", fault = fault.text());
}

#[cfg(test)]
mod tests;
