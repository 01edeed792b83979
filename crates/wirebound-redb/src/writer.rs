//! The one thread that changes the store: it decides, writes, and only then answers.
//!
//! All commits that wait share one sync. Each is judged against what the ones before it left, so the order
//! in the queue is the order of the store. Nothing becomes visible or is answered before it is on disk,
//! but for [`Durability::Soon`], which the next transaction carries.

use core::time::Duration;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use wirebound::store::{Change, Commit, Durability, StoreError, StoreErrorKind};

use crate::disk::{Disk, Snapshot, Write};
use crate::index::{Fresh, Index, Place, RowNumber, Staged, Unsynced};
use crate::medium::Medium;
use crate::queue::{Queue, Request, Wake};

/// After this long at most, a change that was asked for as `Soon` is written.
const SOON: Duration = Duration::from_secs(1);
/// How long the writer waits for callers that it has just answered to come back.
const GATHER: Duration = Duration::from_micros(60);

const SYNC_FAILED: &str =
    "the disk failed to sync: what it holds is known only after a restart. Look at the disk first";
const DAMAGED: &str =
    "the database file was changed or damaged while it was open. Restart to have it checked";

/// What readers see.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) snapshot: Snapshot,
    pub(crate) health: Health,
}

/// Whether the store can say anything at all.
pub(crate) enum Health {
    Well,
    /// A write failed, and the database has not been opened again yet.
    Unsettled,
    /// Nobody can say what the disk holds: only a restart finds out.
    Lost(&'static str),
}

/// What the writer and the readers have in common.
pub(crate) struct Shared {
    state: RwLock<State>,
    pub(crate) queue: Queue,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: RwLock::new(state),
            queue: Queue::default(),
        }
    }

    /// The state, if it can be believed.
    pub(crate) fn state(&self) -> Result<RwLockReadGuard<'_, State>, StoreError> {
        let state = self.read();
        match state.health {
            Health::Well => Ok(state),
            Health::Unsettled => Err(StoreError::because(
                StoreErrorKind::Unavailable,
                "a write failed, and the database could not be opened again yet",
            )),
            Health::Lost(why) => Err(StoreError::because(StoreErrorKind::Unavailable, why)),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Only the writer thread writes, and when it panics the health says so.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) medium: Box<dyn Medium>,
    pub(crate) cache: usize,
    pub(crate) disk: Option<Disk>,
    pub(crate) next_row: RowNumber,
    /// A transaction of unknown outcome.
    pub(crate) doubtful: Vec<Planned>,
    /// Since when a change waits for a transaction to carry it.
    pub(crate) waiting_since: Option<Instant>,
}

/// A write with what it needs to own.
pub(crate) struct Planned {
    key: wirebound::store::Key,
    old: Option<RowNumber>,
    new: Option<(RowNumber, Fresh)>,
}

impl Planned {
    fn write(&self) -> Write<'_> {
        Write {
            key: &self.key,
            old: self.old,
            new: self.new.as_ref().map(|(number, fresh)| (*number, fresh)),
        }
    }
}

/// However the thread ends: nobody is left waiting, and nobody is told what it no longer knows.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.write();
        if matches!(state.health, Health::Well | Health::Unsettled) {
            state.health = Health::Lost("the store was closed");
        }
        drop(state);
        self.0.queue.abandon();
    }
}

impl Writer {
    pub(crate) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        let mut last = 0_usize;
        loop {
            if last > 8 {
                self.shared.queue.gather(last, GATHER);
            }
            match self.shared.queue.take(self.patience()) {
                Wake::Batch(requests) => {
                    last = requests.len();
                    self.batch(requests);
                }
                Wake::Quiet => last = 0,
                Wake::Closed => {
                    // Those who asked for `Soon` were answered; a failure now is what they accepted.
                    let _lost = self.sync(Staged::new());
                    return;
                }
            }
            if self.patience().is_some_and(|left| left.is_zero()) {
                self.waiting_since = Some(now());
                if self.settle().is_ok() {
                    let _tried_again_later = self.sync(Staged::new());
                }
            }
        }
    }

    /// How long nothing has to be done.
    fn patience(&self) -> Option<Duration> {
        self.waiting_since
            .map(|since| SOON.saturating_sub(now().saturating_duration_since(since)))
    }

    fn batch(&mut self, requests: Vec<Request>) {
        if let Err(error) = self.settle() {
            answer_all(requests, &error);
            return;
        }
        let mut staged = Staged::new();
        let mut must_sync = false;
        let mut answers = Vec::with_capacity(requests.len());
        let mut failed = Vec::new();
        {
            let shared = Arc::clone(&self.shared);
            let state = shared.read();
            for request in requests {
                let commit = judge(&state.index, &mut staged, request.changes);
                must_sync |= commit == Commit::Done && request.durability == Durability::Durable;
                answers.push((request.answer, commit));
            }
        }
        let written = if must_sync {
            self.sync(staged)
        } else {
            self.keep(staged);
            Ok(())
        };
        for (answer, commit) in answers {
            match &written {
                // Whoever dropped the other end does not want to know.
                Ok(()) => drop(answer.send(Ok(commit))),
                Err(_) => failed.push(answer),
            }
        }
        if let Err(error) = written {
            for answer in failed {
                drop(answer.send(Err(again(&error))));
            }
        }
    }

    /// Makes changes visible without writing them.
    fn keep(&mut self, staged: Staged) {
        if staged.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        for (key, fresh) in staged {
            let row_on_disk = state.index.row_on_disk(&key);
            let place = fresh.as_ref().map(|fresh| Place {
                version: fresh.version,
                due: fresh.due,
                row: None,
            });
            state.index.set(key.clone(), place);
            if fresh.is_none() && row_on_disk.is_none() {
                state.index.unsynced.remove(&key);
            } else {
                state
                    .index
                    .unsynced
                    .insert(key, Unsynced { fresh, row_on_disk });
            }
        }
        self.waiting_since.get_or_insert_with(now);
    }

    /// Writes these changes and all that wait for a transaction, durably, and makes them visible.
    fn sync(&mut self, staged: Staged) -> Result<(), StoreError> {
        let planned = self.plan(staged);
        if planned.is_empty() {
            self.waiting_since = None;
            return Ok(());
        }
        let Some(disk) = &self.disk else {
            return Err(StoreError::new(StoreErrorKind::Unavailable));
        };
        let writes: Vec<Write<'_>> = planned.iter().map(Planned::write).collect();
        match disk.write(&writes) {
            Ok(snapshot) => {
                drop(writes);
                self.publish(planned, snapshot);
                Ok(())
            }
            Err(error) => {
                drop(writes);
                self.doubt(planned, &error);
                Err(error)
            }
        }
    }

    fn plan(&mut self, mut staged: Staged) -> Vec<Planned> {
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        for (key, unsynced) in &state.index.unsynced {
            if !staged.contains_key(key) {
                staged.insert(key.clone(), unsynced.fresh.clone());
            }
        }
        let mut planned = Vec::with_capacity(staged.len());
        for (key, fresh) in staged {
            let old = state.index.row_on_disk(&key);
            let waits = state.index.unsynced.contains_key(&key);
            if old.is_none() && fresh.is_none() && !waits {
                // Made and removed within one batch.
                continue;
            }
            let new = fresh.map(|fresh| {
                let number = self.next_row;
                // A number is used once, also if its transaction fails: see `Disk::holds`.
                self.next_row = number.saturating_add(1);
                (number, fresh)
            });
            planned.push(Planned { key, old, new });
        }
        // Writes that the outcome can be told by come first.
        planned.sort_by_key(|one| {
            (
                one.new.is_none() && one.old.is_none(),
                one.new.as_ref().map(|(number, _)| *number),
            )
        });
        planned
    }

    fn publish(&mut self, planned: Vec<Planned>, snapshot: Snapshot) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        for Planned { key, new, .. } in planned {
            let place = new.map(|(number, fresh)| Place {
                version: fresh.version,
                due: fresh.due,
                row: Some(number),
            });
            state.index.set(key, place);
        }
        // Every transaction carries all that waited.
        state.index.unsynced.clear();
        state.snapshot = snapshot;
        state.health = Health::Well;
        self.waiting_since = None;
    }

    /// A transaction failed. The state is settled before anybody hears of it, if it can be.
    fn doubt(&mut self, planned: Vec<Planned>, error: &StoreError) {
        if self.disk.take().is_none_or(Disk::close) {
            self.lose(SYNC_FAILED);
        } else if error.is_corrupt() {
            self.lose(DAMAGED);
        } else {
            self.doubtful = planned;
            self.shared.write().health = Health::Unsettled;
            self.waiting_since.get_or_insert_with(now);
            let _later = self.settle();
        }
    }

    fn lose(&self, why: &'static str) -> StoreError {
        self.shared.write().health = Health::Lost(why);
        StoreError::because(StoreErrorKind::Unavailable, why)
    }

    /// Opens the database again if a write failed, and finds out whether it happened after all.
    fn settle(&mut self) -> Result<(), StoreError> {
        if self.disk.is_some() {
            return Ok(());
        }
        if let Health::Lost(why) = self.shared.read().health {
            return Err(StoreError::because(StoreErrorKind::Unavailable, why));
        }
        let disk = match Disk::reopen(&*self.medium, self.cache) {
            Ok(disk) => disk,
            Err(failed) if failed.sync_failed => return Err(self.lose(SYNC_FAILED)),
            Err(failed) => return Err(failed.error),
        };
        let planned = core::mem::take(&mut self.doubtful);
        let writes: Vec<Write<'_>> = planned.iter().map(Planned::write).collect();
        let looked = disk.holds(&writes);
        drop(writes);
        match looked {
            Ok((snapshot, true)) => self.publish(planned, snapshot),
            Ok((snapshot, false)) => {
                let mut state = self.shared.write();
                state.snapshot = snapshot;
                state.health = Health::Well;
            }
            Err(error) => {
                self.doubtful = planned;
                if disk.close() {
                    return Err(self.lose(SYNC_FAILED));
                }
                return Err(error);
            }
        }
        self.disk = Some(disk);
        Ok(())
    }
}

/// Makes a commit's changes on top of those before it, or none.
fn judge(index: &Index, staged: &mut Staged, changes: Vec<Change>) -> Commit {
    let hold = changes
        .iter()
        .all(|change| index.holds(staged, change.key(), change.expectation()));
    if !hold {
        return Commit::Stale;
    }
    for change in changes {
        match change {
            Change::Put {
                key,
                expect,
                value,
                due,
            } => {
                let fresh = Fresh {
                    version: expect.makes(),
                    due,
                    value: value.into(),
                };
                staged.insert(key, Some(fresh));
            }
            Change::Remove { key, .. } => {
                staged.insert(key, None);
            }
            Change::Check { .. } => {}
        }
    }
    Commit::Done
}

fn answer_all(requests: Vec<Request>, error: &StoreError) {
    for request in requests {
        drop(request.answer.send(Err(again(error))));
    }
}

/// The same error for one more caller.
fn again(error: &StoreError) -> StoreError {
    match core::error::Error::source(error) {
        Some(cause) => StoreError::because(error.kind(), cause.to_string()),
        None => StoreError::new(error.kind()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a write may wait for company is the store's own affair; nothing is judged by it"
)]
fn now() -> Instant {
    Instant::now()
}
