//! The live table: what this process knows of the sessions it has seen since it started.
//!
//! A cache of the store. A miss is never a verdict, the caller then asks the store; a hit never answers for another
//! session: every access compares the generation of the slot. Readers take no lock, also while the table grows.

mod chunks;
mod facts;
mod handle;
mod index;
mod live;
mod slot;
#[cfg(test)]
mod tests;

pub use handle::Handle;
pub use live::{Live, Over, Standing};

use core::fmt;
use std::sync::Arc;

use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::{Lifetime, SessionId, Timestamp};
use chunks::{Chunk, Chunks, MOST_SLOTS};
use facts::{Facts, digest_words, name};
use index::Index;
use slot::{Cell, Owner};

/// Sessions that are live in this process, by id.
pub struct Table {
    chunks: Chunks,
    index: Index,
    live: AtomicU64,
    /// Slots below this number have been used.
    used: AtomicU32,
    /// Vacant slots below `used`. Holding it makes the one writer of index, `live` and `used`.
    vacant: Mutex<Vec<u32>>,
}

/// What became of a session that was put in.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an outcome must be met by every caller"
)]
pub enum Inserted {
    /// It is in the table now.
    New(Handle),
    /// It was there already, and nothing of it was replaced.
    Present(Handle),
    /// There is no room for it; nothing was put in.
    Full,
}

impl Inserted {
    /// The session's handle, new or not.
    #[must_use]
    pub fn handle(self) -> Option<Handle> {
        match self {
            Self::New(handle) | Self::Present(handle) => Some(handle),
            Self::Full => None,
        }
    }
}

/// Where a walk over the table stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u32);

/// Whether a walk has more before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Walk {
    /// Call again with the same cursor.
    More,
    /// All slots were seen.
    Done,
}

/// What a walk sees of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The session.
    pub id: SessionId,
    /// When it was last used, within a second.
    pub last_active: Timestamp,
    /// How long it may be left alone.
    pub idle: Lifetime,
    /// When it is over, whatever is done with it.
    pub absolute: Timestamp,
    /// When its identity expires.
    pub identity_until: Timestamp,
    /// What a check at the moment of the walk would have refused it for.
    pub over: Option<Over>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            chunks: Chunks::new(),
            index: Index::new(),
            live: AtomicU64::new(0),
            used: AtomicU32::new(0),
            vacant: Mutex::new(Vec::new()),
        }
    }

    /// Puts a session in, unless one of that id is there.
    ///
    /// Waits for other inserts and removals, never for readers.
    pub fn insert(&self, live: &Live) -> Inserted {
        let mut vacant = self.writers();
        if let Some(present) = self.find(live.place, live.id) {
            return Inserted::Present(present);
        }
        let Some((number, chunk, offset)) = self.take(&mut vacant) else {
            return Inserted::Full;
        };
        let Some(cell) = chunk.cell(offset) else {
            return Inserted::Full;
        };
        self.index.make_room(self.len());
        let owner = cell.occupy(|generation| Facts::of(live, generation));
        if !self.index.insert(live.place, number, self.len()) {
            self.release(cell, owner, number, &mut vacant);
            return Inserted::Full;
        }
        self.live.fetch_add(1, Ordering::Relaxed);
        Inserted::New(Handle::new(chunk, offset, owner, live.id, live.place))
    }

    /// The session of this id. `None` says only that it is not here.
    #[must_use]
    pub fn find(&self, place: u64, id: SessionId) -> Option<Handle> {
        let name = name(place, id);
        self.index.search(place, |number| {
            let (chunk, offset) = self.chunks.find(number)?;
            let owner = chunk.cell(offset)?.owner(name)?;
            Some(Handle::new(chunk, offset, owner, id, place))
        })
    }

    /// Find, compare the digest in constant time and check, in one look at the slot.
    ///
    /// `None` if the session is not here or the digest is another: the store decides then. A digest that does not
    /// match touches nothing.
    #[must_use]
    #[inline]
    pub fn check_by_id(
        &self,
        place: u64,
        id: SessionId,
        digest: &[u8; 16],
        now: Timestamp,
    ) -> Option<Result<Standing, Over>> {
        let name = name(place, id);
        let digest = digest_words(digest);
        self.index.search(place, |number| {
            let cell = self.chunks.cell(number)?;
            match cell.quick_named(name, digest, now) {
                Some(standing) => Some(Ok(standing)),
                None => check_closely(cell, name, digest, now),
            }
        })
    }

    /// Brings near what a lookup at `place` will read. Call it as soon as the place is known, before the secret is
    /// hashed.
    #[inline]
    pub fn prefetch(&self, place: u64) {
        if let Some(cell) = self
            .index
            .hint(place)
            .and_then(|number| self.chunks.cell(number))
        {
            core::hint::black_box(cell.hint());
        }
    }

    /// Takes a session out. From then on no handle and no id answers for it. Says whether it was there.
    pub fn remove(&self, place: u64, id: SessionId) -> bool {
        let mut vacant = self.writers();
        let name = name(place, id);
        let found = self.index.search(place, |number| {
            let cell = self.chunks.cell(number)?;
            Some((number, cell, cell.owner(name)?))
        });
        let Some((number, cell, owner)) = found else {
            return false;
        };
        self.release(cell, owner, number, &mut vacant);
        self.index.remove(place, number);
        self.live.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// How many sessions are live.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows the next `batch` slots' sessions, as they are at `now`, to `f`.
    ///
    /// Holds no lock and changes nothing; `f` may insert and remove. A session that stays in the table from the first
    /// batch to the last is seen exactly once; one that comes or goes meanwhile may be missed.
    pub fn walk(
        &self,
        cursor: &mut Cursor,
        batch: usize,
        now: Timestamp,
        mut f: impl FnMut(&Seen),
    ) -> Walk {
        let used = self.used.load(Ordering::Acquire);
        let until = cursor
            .0
            .saturating_add(u32::try_from(batch).unwrap_or(u32::MAX))
            .min(used);
        for number in cursor.0..until {
            let seen = self.chunks.cell(number).and_then(Cell::read_any);
            if let Some((_, facts)) = seen {
                f(&Seen::of(&facts, now));
            }
        }
        cursor.0 = cursor.0.max(until);
        if until < used { Walk::More } else { Walk::Done }
    }

    fn take(&self, vacant: &mut Vec<u32>) -> Option<(u32, &Arc<Chunk>, u32)> {
        if let Some(number) = vacant.pop() {
            let (chunk, offset) = self.chunks.find(number)?;
            return Some((number, chunk, offset));
        }
        let number = self.used.load(Ordering::Relaxed);
        if number >= MOST_SLOTS {
            return None;
        }
        let (chunk, offset) = self.chunks.make(number)?;
        self.used.store(number.saturating_add(1), Ordering::Release);
        Some((number, chunk, offset))
    }

    fn release(&self, cell: Cell<'_>, owner: Owner, number: u32, vacant: &mut Vec<u32>) {
        if cell.lock(owner).is_some_and(slot::Writer::vacate) {
            vacant.push(number);
        }
    }

    fn writers(&self) -> MutexGuard<'_, Vec<u32>> {
        // A writer that panicked left at worst a slot that is not given out again.
        self.vacant
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cold]
fn check_closely(
    cell: Cell<'_>,
    name: (u64, u64),
    digest: [u64; 2],
    now: Timestamp,
) -> Option<Result<Standing, Over>> {
    loop {
        let (owner, facts) = cell.read_any()?;
        if !facts.names(name) || !facts.matches(digest) {
            return None;
        }
        if let Some(answer) = handle::settle(cell, owner, &facts.terms, now) {
            return Some(answer);
        }
    }
}

impl Seen {
    fn of(facts: &Facts, now: Timestamp) -> Self {
        let live = facts.live(0);
        Self {
            id: live.id,
            last_active: live.last_active,
            idle: live.idle,
            absolute: live.absolute,
            identity_until: live.identity_until,
            over: facts.terms.judge(now).err(),
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("live", &self.len())
            .finish_non_exhaustive()
    }
}
