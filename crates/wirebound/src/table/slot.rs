//! One slot: a sequence lock over plain words, whose version carries the generation of its owner.
//!
//! A reader takes no lock and writes nothing; what it saw counts only if the version stood still meanwhile and names
//! the owner that it came for. The touch word alone is written by readers, by compare-and-swap, and carries the
//! generation too, so a late touch misses the next owner.

use super::facts::{Facts, GENERATION_SHIFT, Terms};
use super::live::Standing;
use crate::Timestamp;
use crate::sync::{AtomicU64, Ordering, fence, yield_now};

const WRITING: u64 = 1;
const LOCKED: u64 = 2;
const LIVE: u64 = 4;
const STEP: u64 = 8;
const GENERATION: u64 = !((1 << GENERATION_SHIFT) - 1);
const SEQUENCE: u64 = !GENERATION & !(WRITING | LOCKED | LIVE);

/// A slot that has had this many owners is not given out again: its generation would come round.
pub(super) const LAST_GENERATION: u64 = GENERATION >> GENERATION_SHIFT;

/// Spins before the processor is given away; a writer holds a slot for a few nanoseconds unless it was preempted.
const SPINS: u32 = if cfg!(loom) { 0 } else { 64 };

/// Words of one session. `repr(align)` keeps a check to one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot {
    version: AtomicU64,
    touch: AtomicU64,
    lead: AtomicU64,
    rest: AtomicU64,
    absolute: AtomicU64,
    identity: AtomicU64,
    digest: [AtomicU64; 2],
}

/// The generation of a live slot: what a handle was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(u32);

impl Owner {
    #[inline]
    fn version(self) -> u64 {
        (u64::from(self.0) << GENERATION_SHIFT) | LIVE
    }

    fn of(version: u64) -> Self {
        Self(u32::try_from(version >> GENERATION_SHIFT).unwrap_or_default())
    }
}

/// A slot with the word that rarely matters kept beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) slot: &'a Slot,
    /// Beside the slots of the chunk, when each raised role ends.
    pub(super) raised_until: &'a [AtomicU64],
    pub(super) offset: usize,
}

impl<'a> Cell<'a> {
    /// What is to be judged, if the slot still belongs to `owner`.
    #[inline]
    pub(super) fn terms(self, owner: Owner) -> Option<Terms> {
        self.consistent(GENERATION | LIVE, owner.version(), Self::term_words)
            .map(|(_, terms)| terms)
    }

    /// What the slot holds, if it still belongs to `owner`.
    #[inline]
    pub(super) fn read(self, owner: Owner) -> Option<Facts> {
        self.consistent(GENERATION | LIVE, owner.version(), Self::words)
            .map(|(_, facts)| facts)
    }

    /// What the slot holds and for whom, if for anybody.
    #[inline]
    pub(super) fn read_any(self) -> Option<(Owner, Facts)> {
        self.consistent(LIVE, LIVE, Self::words)
            .map(|(version, facts)| (Owner::of(version), facts))
    }

    /// Whose slot it is, if it is the one of this name.
    pub(super) fn owner(self, name: (u64, u64)) -> Option<Owner> {
        let words = |cell: Self| Facts {
            lead: cell.slot.lead.load(Ordering::Relaxed),
            terms: Terms {
                rest: cell.slot.rest.load(Ordering::Relaxed),
                ..Terms::default()
            },
            ..Facts::default()
        };
        let (version, facts) = self.consistent(LIVE, LIVE, words)?;
        facts.names(name).then(|| Owner::of(version))
    }

    /// One try at the common case: nobody writes, nothing is raised, all is well. `None` says nothing.
    #[inline]
    pub(super) fn quick(self, owner: Owner, now: Timestamp) -> Option<Standing> {
        let before = self.slot.version.load(Ordering::Acquire);
        if (before ^ owner.version()) & (GENERATION | LIVE | WRITING) != 0 {
            return None;
        }
        let terms = self.flat_words();
        self.stood_still(before).then_some(())?;
        terms.quick(now)
    }

    /// The same for whoever bears this name and digest.
    #[inline]
    pub(super) fn quick_named(
        self,
        name: (u64, u64),
        digest: [u64; 2],
        now: Timestamp,
    ) -> Option<Standing> {
        let before = self.slot.version.load(Ordering::Acquire);
        if before & (LIVE | WRITING) != LIVE {
            return None;
        }
        let facts = Facts {
            terms: self.flat_words(),
            ..self.name_words()
        };
        let stood_still = self.stood_still(before);
        if !stood_still || !facts.names(name) || !facts.matches(digest) {
            return None;
        }
        facts.terms.quick(now)
    }

    /// Whether no writer came since the version was `before`. Everything that it covers is loaded by now.
    #[inline]
    fn stood_still(self, before: u64) -> bool {
        // Orders the loads above before the one below; pairs with the fence after WRITING is set.
        fence(Ordering::Acquire);
        let after = self.slot.version.load(Ordering::Relaxed);
        (before ^ after) & !LOCKED == 0
    }

    /// Loads while no writer comes between, as long as the version is `wanted` under `mask`.
    fn consistent<T>(self, mask: u64, wanted: u64, load: impl Fn(Self) -> T) -> Option<(u64, T)> {
        let mut spins = 0;
        loop {
            let before = self.slot.version.load(Ordering::Acquire);
            if (before ^ wanted) & mask != 0 {
                return None;
            }
            if before & WRITING == 0 {
                let loaded = load(self);
                if self.stood_still(before) {
                    return Some((before, loaded));
                }
            }
            pause(&mut spins);
        }
    }

    fn words(self) -> Facts {
        Facts {
            terms: self.term_words(),
            ..self.name_words()
        }
    }

    #[inline]
    fn name_words(self) -> Facts {
        let [low, high] = &self.slot.digest;
        Facts {
            lead: self.slot.lead.load(Ordering::Relaxed),
            digest: [low.load(Ordering::Relaxed), high.load(Ordering::Relaxed)],
            terms: Terms::default(),
        }
    }

    fn term_words(self) -> Terms {
        let mut terms = self.flat_words();
        if terms.is_raised() {
            terms.raised_until = self
                .raised_until
                .get(self.offset)
                .map_or(0, |word| word.load(Ordering::Relaxed));
        }
        terms
    }

    /// Without the word that stands apart.
    #[inline]
    fn flat_words(self) -> Terms {
        Terms {
            rest: self.slot.rest.load(Ordering::Relaxed),
            absolute: self.slot.absolute.load(Ordering::Relaxed),
            identity: self.slot.identity.load(Ordering::Relaxed),
            raised_until: 0,
            touch: self.slot.touch.load(Ordering::Relaxed),
        }
    }

    /// Puts a new touch word where the one that was judged still stands. Says whether it did.
    #[inline]
    pub(super) fn touch(self, judged: &Terms, touch: u64) -> bool {
        self.slot
            .touch
            .compare_exchange(judged.touch, touch, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Brings the slot's line near; the value means nothing.
    #[inline]
    pub(super) fn hint(self) -> u64 {
        self.slot.version.load(Ordering::Relaxed)
    }

    /// The slot's one writer, if the slot still belongs to `owner`.
    pub(super) fn lock(self, owner: Owner) -> Option<Writer<'a>> {
        let mut spins = 0;
        loop {
            let version = self.slot.version.load(Ordering::Relaxed);
            if (version ^ owner.version()) & (GENERATION | LIVE) != 0 {
                return None;
            }
            let taken = version & LOCKED == 0
                && self
                    .slot
                    .version
                    .compare_exchange(
                        version,
                        version | LOCKED,
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    )
                    .is_ok();
            if taken {
                return Some(Writer {
                    cell: self,
                    version,
                });
            }
            pause(&mut spins);
        }
    }

    /// Moves a new owner in. Only for a slot that nobody owns, under the table's lock.
    pub(super) fn occupy(self, facts: impl FnOnce(u64) -> Facts) -> Owner {
        let version = self.slot.version.load(Ordering::Relaxed);
        let facts = facts(version >> GENERATION_SHIFT);
        self.begin(version);
        self.put(&facts);
        self.slot.touch.store(facts.terms.touch, Ordering::Relaxed);
        self.slot
            .version
            .store(stepped(version) | LIVE, Ordering::Release);
        Owner::of(version)
    }

    fn begin(self, version: u64) {
        self.slot
            .version
            .store(version | WRITING, Ordering::Relaxed);
        // No word below is seen before WRITING is.
        fence(Ordering::Release);
    }

    fn put(self, facts: &Facts) {
        let set = |to: &AtomicU64, word| to.store(word, Ordering::Relaxed);
        set(&self.slot.lead, facts.lead);
        set(&self.slot.rest, facts.terms.rest);
        set(&self.slot.absolute, facts.terms.absolute);
        set(&self.slot.identity, facts.terms.identity);
        for (to, word) in self.slot.digest.iter().zip(facts.digest) {
            set(to, word);
        }
        if let Some(until) = self.raised_until.get(self.offset) {
            set(until, facts.terms.raised_until);
        }
    }
}

/// Holds the slot against other writers; readers go on until it writes. Lets go when dropped.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    cell: Cell<'a>,
    /// As it stood before the lock was taken.
    version: u64,
}

impl Writer<'_> {
    /// What stands there; only a touch may change meanwhile.
    pub(super) fn facts(&self) -> Facts {
        self.cell.words()
    }

    pub(super) fn write(&mut self, facts: &Facts) {
        self.cell.begin(self.version | LOCKED);
        self.cell.put(facts);
        self.version = stepped(self.version);
        self.cell
            .slot
            .version
            .store(self.version | LOCKED, Ordering::Release);
    }

    /// Sets `last_active`; a mark that a check left stays.
    pub(super) fn set_last_active(&self, at: Timestamp) {
        let touch = &self.cell.slot.touch;
        let mut seen = touch.load(Ordering::Relaxed);
        while let Err(other) = touch.compare_exchange(
            seen,
            Terms::moved(seen, at),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            seen = other;
        }
    }

    /// Ends the ownership and wipes the words. Returns whether the slot may be given out again.
    pub(super) fn vacate(mut self) -> bool {
        let generation = (self.version >> GENERATION_SHIFT)
            .saturating_add(1)
            .min(LAST_GENERATION);
        let empty = (stepped(self.version) & SEQUENCE) | (generation << GENERATION_SHIFT);
        self.cell.begin(empty | LOCKED);
        self.cell.put(&Facts::default());
        // A swap, so that it is ordered after every touch that came before it; any later one misses.
        self.cell
            .slot
            .touch
            .swap(generation << GENERATION_SHIFT, Ordering::Relaxed);
        self.version = empty;
        generation < LAST_GENERATION
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.cell
            .slot
            .version
            .store(self.version, Ordering::Release);
    }
}

fn stepped(version: u64) -> u64 {
    (version & !SEQUENCE) | (version.wrapping_add(STEP) & SEQUENCE)
}

#[cold]
fn pause(spins: &mut u32) {
    if *spins < SPINS {
        *spins = spins.saturating_add(1);
        core::hint::spin_loop();
    } else {
        yield_now();
    }
}
