//! From a place to a slot number: two-choice buckets that double without stopping a reader.
//!
//! An entry is a hint. Whoever finds one asks the slot whose it is, so a stale entry costs a look and never an answer.
//! A place is a keyed hash already and is not hashed again; only ids that the server made have one.

use std::sync::OnceLock;

use crate::sync::{AtomicU64, Ordering};

const WIDTH: usize = if cfg!(loom) { 1 } else { 8 };
/// Buckets at the start.
const BASE: u64 = if cfg!(loom) { 1 } else { 8 };
const BASE_LOG: u32 = BASE.ilog2();
const SEGMENTS: usize = 28;
const NUMBER_BITS: u32 = 30;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;
const TAG: u64 = u64::MAX >> NUMBER_BITS;

/// One cache line of entries: 34 bits of the place, 30 of the slot number plus one; zero is free.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; WIDTH]);

impl Bucket {
    fn used(&self) -> usize {
        let taken = |entry: &&AtomicU64| entry.load(Ordering::Relaxed) != 0;
        self.0.iter().filter(taken).count()
    }

    fn free(&self) -> Option<&AtomicU64> {
        self.0
            .iter()
            .find(|entry| entry.load(Ordering::Relaxed) == 0)
    }
}

/// Buckets in segments: the first, then one as large as all before it at each doubling.
#[derive(Debug)]
pub(super) struct Index {
    segments: [OnceLock<Box<[Bucket]>>; SEGMENTS],
    /// Number of buckets less one.
    mask: AtomicU64,
}

impl Index {
    pub(super) fn new() -> Self {
        let segments = [const { OnceLock::<Box<[Bucket]>>::new() }; SEGMENTS];
        if let Some(first) = segments.first() {
            first.get_or_init(|| buckets(BASE));
        }
        Self {
            segments,
            mask: AtomicU64::new(BASE.saturating_sub(1)),
        }
    }

    /// Hands every number that may stand at `place` to `look` until it answers.
    #[inline]
    pub(super) fn search<T>(
        &self,
        place: u64,
        mut look: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let tag = place & TAG;
        let mut mask = self.mask.load(Ordering::Acquire);
        loop {
            for home in homes(tag) {
                let Some(bucket) = self.bucket(home & mask) else {
                    continue;
                };
                for entry in &bucket.0 {
                    let word = entry.load(Ordering::Acquire);
                    if word >> NUMBER_BITS == tag
                        && let Some(number) = number(word)
                        && let Some(found) = look(number)
                    {
                        return Some(found);
                    }
                }
            }
            // Entries move only after the new mask is out: an old mask and a miss mean look again.
            let now = self.mask.load(Ordering::Acquire);
            if now == mask {
                return None;
            }
            mask = now;
        }
    }

    /// Brings the first bucket near and names a slot that may be meant, without judging it.
    #[inline]
    pub(super) fn hint(&self, place: u64) -> Option<u32> {
        let tag = place & TAG;
        let [home, _] = homes(tag);
        let bucket = self.bucket(home & self.mask.load(Ordering::Relaxed))?;
        bucket
            .0
            .iter()
            .map(|entry| entry.load(Ordering::Acquire))
            .find(|word| word >> NUMBER_BITS == tag)
            .and_then(number)
    }

    /// Enters a number beside `used` others. False if there is no room any more. Under the table's lock.
    ///
    /// Doubling helps against chance, not against places that are all the same: it stops where nearly all would be empty.
    pub(super) fn insert(&self, place: u64, number: u32, used: u64) -> bool {
        let tag = place & TAG;
        let word = (tag << NUMBER_BITS) | u64::from(number).saturating_add(1);
        loop {
            let mask = self.mask.load(Ordering::Relaxed);
            if let Some(entry) = self.emptier(tag, mask).and_then(Bucket::free) {
                entry.store(word, Ordering::Release);
                return true;
            }
            if mask >> 2 > used || !self.grow() {
                return false;
            }
        }
    }

    /// The first home while it is at most half full, so that most lookups end there; then the emptier of the two,
    /// which keeps both from filling up long before the index is full.
    fn emptier(&self, tag: u64, mask: u64) -> Option<&Bucket> {
        let [first, second] = homes(tag).map(|home| self.bucket(home & mask));
        let used = first?.used();
        if used <= WIDTH / 2 || used <= second?.used() {
            first
        } else {
            second
        }
    }

    /// Strikes a number out. Under the table's lock.
    pub(super) fn remove(&self, place: u64, number: u32) {
        let tag = place & TAG;
        let word = (tag << NUMBER_BITS) | u64::from(number).saturating_add(1);
        let mask = self.mask.load(Ordering::Relaxed);
        for entry in homes(tag)
            .into_iter()
            .filter_map(|home| self.bucket(home & mask))
            .flat_map(|bucket| &bucket.0)
        {
            if entry.load(Ordering::Relaxed) == word {
                entry.store(0, Ordering::Release);
            }
        }
    }

    /// Doubles once three quarters of the entries would be in use. Under the table's lock.
    pub(super) fn make_room(&self, used: u64) {
        let buckets = self.mask.load(Ordering::Relaxed).saturating_add(1);
        let entries = buckets.saturating_mul(u64::try_from(WIDTH).unwrap_or(1));
        if used >= entries.saturating_sub(entries >> 2) {
            self.grow();
        }
    }

    /// Twice the buckets: what belongs into the new half is copied, the new mask goes out, then the old copies go.
    fn grow(&self) -> bool {
        let old = self.mask.load(Ordering::Relaxed);
        let count = old.saturating_add(1);
        let Some(segment) = segment_of(count).and_then(|(at, _)| self.segments.get(at)) else {
            return false;
        };
        segment.get_or_init(|| buckets(count));
        let new = old | count;
        for at in 0..count {
            for (from, to) in self.pairs(at, count) {
                let word = from.load(Ordering::Relaxed);
                if leaves(word, at, old, new) {
                    to.store(word, Ordering::Release);
                }
            }
        }
        self.mask.store(new, Ordering::Release);
        for at in 0..count {
            for (from, _) in self.pairs(at, count) {
                if leaves(from.load(Ordering::Relaxed), at, old, new) {
                    from.store(0, Ordering::Release);
                }
            }
        }
        true
    }

    /// The entries of an old bucket beside those of the new one that it is split with.
    fn pairs(&self, at: u64, count: u64) -> impl Iterator<Item = (&AtomicU64, &AtomicU64)> {
        self.bucket(at)
            .zip(self.bucket(at | count))
            .into_iter()
            .flat_map(|(from, to)| from.0.iter().zip(&to.0))
    }

    #[inline]
    fn bucket(&self, at: u64) -> Option<&Bucket> {
        let (segment, offset) = segment_of(at)?;
        self.segments.get(segment)?.get()?.get(offset)
    }
}

/// Whether an entry of old bucket `at` belongs into the new half. The home by which it stands there decides.
fn leaves(word: u64, at: u64, old: u64, new: u64) -> bool {
    word != 0
        && homes(word >> NUMBER_BITS)
            .into_iter()
            .find(|home| home & old == at)
            .is_some_and(|home| home & new != at)
}

#[inline]
fn homes(tag: u64) -> [u64; 2] {
    [tag, tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> NUMBER_BITS]
}

#[inline]
fn number(word: u64) -> Option<u32> {
    u32::try_from(word & NUMBER).ok()?.checked_sub(1)
}

fn buckets(count: u64) -> Box<[Bucket]> {
    (0..count).map(|_| Bucket::default()).collect()
}

#[inline]
fn segment_of(at: u64) -> Option<(usize, usize)> {
    if at < BASE {
        return Some((0, usize::try_from(at).ok()?));
    }
    let log = at.ilog2();
    let segment = usize::try_from(log.checked_sub(BASE_LOG)?)
        .ok()?
        .checked_add(1)?;
    Some((segment, usize::try_from(at ^ (1 << log)).ok()?))
}
