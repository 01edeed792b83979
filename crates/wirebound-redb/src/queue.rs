//! The way from callers to the writer: bounded, first come first served, one answer each.
//!
//! A caller that finds no room waits; it is not turned away and nothing is dropped.

use core::pin::pin;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use futures_channel::oneshot;
use wirebound::store::{Change, Commit, Durability, StoreError};

/// Commits that may wait at one time.
pub(crate) const MOST_COMMITS: usize = 4096;
/// Bytes of values that may wait at one time: 32 MiB. One commit alone may be larger.
pub(crate) const MOST_BYTES: usize = 32 << 20;

/// A commit on its way.
pub(crate) struct Request {
    pub(crate) changes: Vec<Change>,
    pub(crate) durability: Durability,
    pub(crate) answer: oneshot::Sender<Result<Commit, StoreError>>,
}

impl Request {
    fn size(&self) -> usize {
        self.changes
            .iter()
            .map(|change| match change {
                Change::Put { value, .. } => value.len().saturating_add(512),
                Change::Remove { .. } | Change::Check { .. } => 512,
            })
            .fold(512, usize::saturating_add)
    }
}

/// What the writer is woken for.
pub(crate) enum Wake {
    /// These commits, in order.
    Batch(Vec<Request>),
    /// Nothing came for as long as it was ready to wait.
    Quiet,
    /// No more will come, and none is left.
    Closed,
}

#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    room: Event,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn has_room_for(&self, size: usize) -> bool {
        self.requests.is_empty()
            || (self.requests.len() < MOST_COMMITS && self.bytes.saturating_add(size) <= MOST_BYTES)
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request at the end, when there is room. Gives it back if nobody will take it any more.
    pub(crate) async fn push(&self, request: Request) -> Result<(), Request> {
        let size = request.size();
        loop {
            let listener = {
                let mut waiting = self.waiting();
                if waiting.closed {
                    return Err(request);
                }
                if waiting.has_room_for(size) {
                    waiting.bytes = waiting.bytes.saturating_add(size);
                    waiting.requests.push_back(request);
                    drop(waiting);
                    self.arrived.notify_one();
                    return Ok(());
                }
                // Listening begins under the lock: room made after it is heard of.
                self.room.listen()
            };
            pin!(listener).await;
        }
    }

    /// Everything that waits; if nothing does, waits for it, at most for `patience` if there is one.
    pub(crate) fn take(&self, patience: Option<Duration>) -> Wake {
        let idle = |waiting: &mut Waiting| waiting.requests.is_empty() && !waiting.closed;
        let mut waiting = match patience {
            Some(patience) => {
                self.arrived
                    .wait_timeout_while(self.waiting(), patience, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self
                .arrived
                .wait_while(self.waiting(), idle)
                .unwrap_or_else(PoisonError::into_inner),
        };
        let requests = core::mem::take(&mut waiting.requests);
        waiting.bytes = 0;
        let closed = waiting.closed;
        drop(waiting);
        if !requests.is_empty() {
            self.room.notify(usize::MAX);
            return Wake::Batch(requests.into());
        }
        if closed { Wake::Closed } else { Wake::Quiet }
    }

    /// Waits until `many` requests are there, but not longer than `patience`.
    pub(crate) fn gather(&self, many: usize, patience: Duration) {
        let _waiting = self
            .arrived
            .wait_timeout_while(self.waiting(), patience, |waiting| {
                waiting.requests.len() < many && !waiting.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Takes no more. What waits is still handed out.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_all();
        self.room.notify(usize::MAX);
    }

    /// Takes no more, and whoever waits gets no answer: the writer is gone.
    pub(crate) fn abandon(&self) {
        self.close();
        let requests = core::mem::take(&mut self.waiting().requests);
        drop(requests);
    }
}

impl core::fmt::Debug for Queue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
