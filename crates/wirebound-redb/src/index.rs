//! What every key's row is, in memory: the store's only way from a name to a row.
//!
//! Rows lie on disk in the order in which they were written, so that a commit appends instead of touching
//! as many pages as it has keys. The price is this index: about 150 bytes a key, rebuilt at each opening.

use core::num::NonZeroU64;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use wirebound::Timestamp;
use wirebound::store::{Expect, Key, Space, Version};

/// Numbers a row; they only grow while the store is open.
pub(crate) type RowNumber = NonZeroU64;

/// Where a key stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) due: Timestamp,
    /// Its row, unless the value has not been written yet.
    pub(crate) row: Option<RowNumber>,
}

/// A value as a commit left it.
#[derive(Clone)]
pub(crate) struct Fresh {
    pub(crate) version: Version,
    pub(crate) due: Timestamp,
    pub(crate) value: Arc<[u8]>,
}

/// What a batch made of its keys: a value, or nothing.
pub(crate) type Staged = HashMap<Key, Option<Fresh>>;

/// A change that is visible and not yet on disk.
#[derive(Clone)]
pub(crate) struct Unsynced {
    pub(crate) fresh: Option<Fresh>,
    /// The row that the disk still holds for this key.
    pub(crate) row_on_disk: Option<RowNumber>,
}

pub(crate) struct Index {
    places: HashMap<Key, Place>,
    order: [BTreeSet<(Timestamp, Key)>; Space::ALL.len()],
    pub(crate) unsynced: HashMap<Key, Unsynced>,
}

fn slot(space: Space) -> usize {
    usize::from(space.number()).saturating_sub(1)
}

impl Index {
    pub(crate) fn place(&self, key: &Key) -> Option<&Place> {
        self.places.get(key)
    }

    pub(crate) fn count(&self, space: Space) -> usize {
        self.order.get(slot(space)).map_or(0, BTreeSet::len)
    }

    pub(crate) fn due(
        &self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Vec<(Timestamp, Key)> {
        use core::ops::Bound;
        let Some(order) = self.order.get(slot(space)) else {
            return Vec::new();
        };
        let from = after.map_or(Bound::Unbounded, |(due, key)| {
            // A cursor of another space means the same moment and name in this one.
            Bound::Excluded((due, Key::new(space, key.name())))
        });
        order
            .range((from, Bound::Unbounded))
            .take_while(|(due, _)| *due <= until)
            .take(limit)
            .cloned()
            .collect()
    }

    /// Whether a key is as expected, with what a batch already made of it.
    pub(crate) fn holds(&self, staged: &Staged, key: &Key, expect: Expect) -> bool {
        let version = match staged.get(key) {
            Some(fresh) => fresh.as_ref().map(|fresh| fresh.version),
            None => self.places.get(key).map(|place| place.version),
        };
        match expect {
            Expect::Absent => version.is_none(),
            Expect::At(expected) => version == Some(expected),
        }
    }

    /// The row that the disk holds for a key.
    pub(crate) fn row_on_disk(&self, key: &Key) -> Option<RowNumber> {
        match self.unsynced.get(key) {
            Some(unsynced) => unsynced.row_on_disk,
            None => self.places.get(key).and_then(|place| place.row),
        }
    }

    /// Makes a key visible as it is now.
    pub(crate) fn set(&mut self, key: Key, place: Option<Place>) {
        let slot = slot(key.space());
        let old = match place {
            Some(place) => self.places.insert(key.clone(), place),
            None => self.places.remove(&key),
        };
        let Some(order) = self.order.get_mut(slot) else {
            return;
        };
        if let Some(old) = old {
            if place.is_some_and(|place| place.due == old.due) {
                return;
            }
            order.remove(&(old.due, key.clone()));
        }
        if let Some(place) = place {
            order.insert((place.due, key));
        }
    }
}

/// An index that is being built, one row after the other.
#[derive(Default)]
pub(crate) struct Building {
    places: HashMap<Key, Place>,
    // Sorted once at the end: cheaper than a tree that is in order all the time.
    order: [Vec<(Timestamp, Key)>; Space::ALL.len()],
}

impl Building {
    /// Adds a row. Gives the key back if another row holds it already.
    pub(crate) fn add(&mut self, key: Key, place: Place) -> Result<(), Key> {
        if let Some(order) = self.order.get_mut(slot(key.space())) {
            order.push((place.due, key.clone()));
        }
        match self.places.entry(key) {
            Entry::Occupied(there) => Err(there.key().clone()),
            Entry::Vacant(free) => {
                free.insert(place);
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self) -> Index {
        Index {
            places: self.places,
            order: self.order.map(BTreeSet::from_iter),
            unsynced: HashMap::new(),
        }
    }
}
