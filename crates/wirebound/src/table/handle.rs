//! A way to one session that needs no lookup: what an attachment holds.
//!
//! A handle outlives its session and then answers `Gone`, whoever owns the slot by then.

use core::fmt;
use std::sync::Arc;

use super::chunks::Chunk;
use super::facts::{Facts, Terms, digest_words};
use super::live::{Live, Over, Standing};
use super::slot::{Cell, Owner};
use crate::{SessionId, Timestamp};

/// Where one session stands in the table, and which owner of that slot is meant.
#[derive(Clone)]
pub struct Handle {
    chunk: Arc<Chunk>,
    offset: u32,
    owner: Owner,
    id: SessionId,
    place: [u8; 6],
}

impl Handle {
    pub(super) fn new(
        chunk: &Arc<Chunk>,
        offset: u32,
        owner: Owner,
        id: SessionId,
        place: u64,
    ) -> Self {
        let [a, b, c, d, e, f, ..] = place.to_le_bytes();
        Self {
            chunk: Arc::clone(chunk),
            offset,
            owner,
            id,
            place: [a, b, c, d, e, f],
        }
    }

    /// Whether the session may still be believed at `now`, and what it may do.
    ///
    /// Takes no lock and allocates nothing. Writes `last_active` at most once a second; everything else is only read.
    ///
    /// # Errors
    ///
    /// When it may not. What time ended stays ended, also if the clock goes back.
    #[inline]
    pub fn check(&self, now: Timestamp) -> Result<Standing, Over> {
        let cell = self.cell().ok_or(Over::Gone)?;
        match cell.quick(self.owner, now) {
            Some(standing) => Ok(standing),
            None => self.check_closely(now),
        }
    }

    #[cold]
    fn check_closely(&self, now: Timestamp) -> Result<Standing, Over> {
        let cell = self.cell().ok_or(Over::Gone)?;
        loop {
            let terms = cell.terms(self.owner).ok_or(Over::Gone)?;
            if let Some(answer) = settle(cell, self.owner, &terms, now) {
                return answer;
            }
        }
    }

    /// Whether this is the short digest of the session's current secret. Constant time; false if the session is gone.
    #[must_use]
    #[inline]
    pub fn matches(&self, digest: &[u8; 16]) -> bool {
        self.facts()
            .is_some_and(|facts| facts.matches(digest_words(digest)))
    }

    /// Changes the session in place; readers see all of it or nothing. False if it is gone, then nothing was called.
    ///
    /// Id and place stay what they are. A session that time has ended stays ended. `change` runs while the slot is
    /// held against other writers: it must not touch the table.
    pub fn update(&self, change: impl FnOnce(&mut Live)) -> bool {
        let Some(mut writer) = self.cell().and_then(|cell| cell.lock(self.owner)) else {
            return false;
        };
        let before = writer.facts().live(self.place());
        let mut after = before;
        change(&mut after);
        (after.id, after.place) = (before.id, before.place);
        writer.write(&Facts::of(&after, 0));
        if after.last_active != before.last_active {
            writer.set_last_active(after.last_active);
        }
        true
    }

    /// When it was last used, within a second; nothing if it is gone.
    #[must_use]
    pub fn last_active(&self) -> Option<Timestamp> {
        self.facts().map(|facts| facts.terms.last_active())
    }

    /// The session's id, also after it is gone.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Where the index has it.
    #[must_use]
    pub const fn place(&self) -> u64 {
        let [a, b, c, d, e, f] = self.place;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// All that is known of it at one moment; nothing if it is gone.
    #[must_use]
    pub fn snapshot(&self) -> Option<Live> {
        self.facts().map(|facts| facts.live(self.place()))
    }

    #[inline]
    fn facts(&self) -> Option<Facts> {
        self.cell()?.read(self.owner)
    }

    #[inline]
    fn cell(&self) -> Option<Cell<'_>> {
        self.chunk.cell(self.offset)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.id)
    }
}

/// Judges what was seen and leaves behind what the judgement changes. Nothing if another's change came first: look again.
pub(super) fn settle(
    cell: Cell<'_>,
    owner: Owner,
    terms: &Terms,
    now: Timestamp,
) -> Option<Result<Standing, Over>> {
    match terms.judge(now) {
        Ok(standing) => {
            if let Some(touch) = terms.refreshed(now) {
                // Lost to a mark, to a newer touch or to the end of the session: this answer stands all the same.
                cell.touch(terms, touch);
            }
            if terms.is_spent(now) {
                lower(cell, owner, terms);
            }
            Some(Ok(standing))
        }
        Err(over) => match terms.ended(over) {
            Some(touch) => cell.touch(terms, touch).then_some(Err(over)),
            None => Some(Err(over)),
        },
    }
}

/// Takes a spent elevation away, so that a clock that goes back does not bring it back.
#[cold]
fn lower(cell: Cell<'_>, owner: Owner, spent: &Terms) {
    if let Some(mut writer) = cell.lock(owner) {
        let facts = writer.facts();
        if facts.terms.is_raised() && facts.terms.raised_until == spent.raised_until {
            writer.write(&facts.lowered());
        }
    }
}
