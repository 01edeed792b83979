//! Slots by number, in chunks that never move and are never given back: growing stops nobody.
//!
//! Eight chunks to each doubling, so that at most an eighth stands empty.

use std::sync::{Arc, OnceLock};

use super::slot::{Cell, Slot};
use crate::sync::AtomicU64;

/// Slots in the first eight chunks together.
const BASE: u64 = if cfg!(loom) { 8 } else { 1024 };
const BASE_LOG: u32 = BASE.ilog2();
const CHUNKS: usize = 192;

/// Slot numbers stay below this: it fits an index entry and the chunks.
pub(super) const MOST_SLOTS: u32 = (1 << 30) - 2048;

/// Some slots that live and die together.
#[derive(Debug)]
pub(super) struct Chunk {
    slots: Box<[Slot]>,
    raised_until: Box<[AtomicU64]>,
}

impl Chunk {
    fn new(length: usize) -> Self {
        Self {
            slots: (0..length).map(|_| Slot::default()).collect(),
            raised_until: (0..length).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    #[inline]
    pub(super) fn cell(&self, offset: u32) -> Option<Cell<'_>> {
        let offset = usize::try_from(offset).ok()?;
        Some(Cell {
            slot: self.slots.get(offset)?,
            raised_until: &self.raised_until,
            offset,
        })
    }
}

/// All slots that there are.
#[derive(Debug)]
pub(super) struct Chunks([OnceLock<Arc<Chunk>>; CHUNKS]);

impl Chunks {
    pub(super) const fn new() -> Self {
        Self([const { OnceLock::new() }; CHUNKS])
    }

    /// The chunk of a slot and where in it the slot stands, if it was ever used.
    #[inline]
    pub(super) fn find(&self, number: u32) -> Option<(&Arc<Chunk>, u32)> {
        let (chunk, offset, _) = position(number)?;
        Some((self.0.get(chunk)?.get()?, offset))
    }

    #[inline]
    pub(super) fn cell(&self, number: u32) -> Option<Cell<'_>> {
        let (chunk, offset) = self.find(number)?;
        chunk.cell(offset)
    }

    /// The same; makes the chunk if it is not there yet.
    pub(super) fn make(&self, number: u32) -> Option<(&Arc<Chunk>, u32)> {
        let (chunk, offset, length) = position(number)?;
        let chunk = self
            .0
            .get(chunk)?
            .get_or_init(|| Arc::new(Chunk::new(length)));
        Some((chunk, offset))
    }
}

/// Chunk, offset in it, length of it.
#[inline]
fn position(number: u32) -> Option<(usize, u32, usize)> {
    let shifted = u64::from(number).checked_add(BASE)?;
    let log = shifted.ilog2();
    let step_log = log.checked_sub(3)?;
    let eighth = (shifted >> step_log) & 7;
    let chunk = (u64::from(log.checked_sub(BASE_LOG)?) << 3) | eighth;
    let offset = shifted & (1_u64 << step_log).checked_sub(1)?;
    Some((
        usize::try_from(chunk).ok()?,
        u32::try_from(offset).ok()?,
        1_usize << step_log,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_chunks_one_after_another() {
        let mut expected = (0, 0);
        for number in 0..100_000 {
            let (chunk, offset, length) = position(number).unwrap();
            assert_eq!((chunk, offset), expected, "{number}");
            expected = if u32::try_from(length).unwrap() == offset + 1 {
                (chunk + 1, 0)
            } else {
                (chunk, offset + 1)
            };
        }
        let (last, _, _) = position(MOST_SLOTS).unwrap();
        assert!(last < CHUNKS);
    }
}
