//! A store that keeps everything in memory: for tests and examples, and as the plainest reading of the contract.

use core::future::ready;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Answer, Change, Commit, Durability, Expect, Key, Space, Store, Stored};
use crate::time::Timestamp;

/// Everything in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    values: HashMap<Key, Stored>,
    order: BTreeSet<(Space, Timestamp, Key)>,
    counts: BTreeMap<Space, u64>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Nothing below panics while it holds the lock; a poisoned lock still guards whole contents.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn holds(&self, change: &Change) -> bool {
        match (change.expectation(), self.values.get(change.key())) {
            (Expect::Absent, None) => true,
            (Expect::At(version), Some(stored)) => stored.version == version,
            (Expect::Absent, Some(_)) | (Expect::At(_), None) => false,
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put {
                key,
                expect,
                value,
                due,
            } => {
                self.forget(&key);
                self.order.insert((key.space(), due, key.clone()));
                let count = self.counts.entry(key.space()).or_default();
                *count = count.saturating_add(1);
                self.values.insert(
                    key,
                    Stored {
                        version: expect.makes(),
                        due,
                        value,
                    },
                );
            }
            Change::Remove { key, .. } => self.forget(&key),
            Change::Check { .. } => {}
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(old) = self.values.remove(key) {
            self.order.remove(&(key.space(), old.due, key.clone()));
            let count = self.counts.entry(key.space()).or_default();
            *count = count.saturating_sub(1);
        }
    }
}

impl Store for MemoryStore {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        Box::pin(ready(Ok(self.contents().values.get(key).cloned())))
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, _durability: Durability) -> Answer<'a, Commit> {
        let mut contents = self.contents();
        if !changes.iter().all(|change| contents.holds(change)) {
            return Box::pin(ready(Ok(Commit::Stale)));
        }
        for change in changes {
            contents.apply(change);
        }
        Box::pin(ready(Ok(Commit::Done)))
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        use core::ops::Bound;
        let from = match after {
            Some((due, key)) => Bound::Excluded((space, due, key)),
            None => Bound::Included((space, Timestamp::ZERO, Key::new(space, b""))),
        };
        let found = self
            .contents()
            .order
            .range((from, Bound::Unbounded))
            .take_while(|(of, due, _)| *of == space && *due <= until)
            .take(limit)
            .map(|(_, due, key)| (*due, key.clone()))
            .collect();
        Box::pin(ready(Ok(found)))
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        Box::pin(ready(Ok(self
            .contents()
            .counts
            .get(&space)
            .copied()
            .unwrap_or(0))))
    }
}
