//! The store's contract as tests: each sentence of [`wirebound::store`] that can be tested is one here.
//!
//! A store's crate names a [`Place`] and calls one macro, which makes a named test of each clause:
//!
//! ```
//! # use std::sync::Arc;
//! # use wirebound::store::{MemoryStore, Store};
//! use wirebound_testkit::store_contract::Place;
//!
//! struct Memory;
//!
//! impl Place for Memory {
//!     fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(MemoryStore::new())
//!     }
//! }
//!
//! wirebound_testkit::store_contract!(Memory);
//! ```
//!
//! A store that outlives its process calls [`durable_store_contract!`](crate::durable_store_contract) as
//! well. What survives a loss of power is not tested here: that needs the store's own medium.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    reason = "these are tests: what is not as it should be stops them"
)]

use std::sync::Arc;

use wirebound::Timestamp;
use wirebound::store::{Change, Commit, Durability, Expect, Key, Space, Store, Stored, Version};

pub mod concurrent;
pub mod durable;
pub mod edges;
pub mod model;
pub mod order;
pub mod plain;

/// Where a store lives while it is tested.
///
/// Each test has a place of its own, empty at first. Opening a durable place again, after the store was
/// dropped, finds what was left in it.
pub trait Place: Sync {
    /// Opens the store.
    fn open(&self) -> Arc<dyn Store>;
}

/// Drives a future to its end, without a runtime: no store may need one.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_executor::block_on(future)
}

/// What the clauses say to a store, in few words and waiting for the answer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name for a store, no more")]
pub struct Asked(pub Arc<dyn Store>);

impl Asked {
    /// Opens a place.
    pub fn at(place: &dyn Place) -> Self {
        Self(place.open())
    }

    /// A durable commit.
    pub fn commit(&self, changes: Vec<Change>) -> Commit {
        wait(self.0.commit(changes, Durability::Durable)).unwrap()
    }

    /// A commit that may be lost within a second.
    pub fn commit_soon(&self, changes: Vec<Change>) -> Commit {
        wait(self.0.commit(changes, Durability::Soon)).unwrap()
    }

    /// What is there.
    pub fn load(&self, key: &Key) -> Option<Stored> {
        wait(self.0.load(key)).unwrap()
    }

    /// The version that is there, as a number; 0 if nothing is.
    pub fn version(&self, key: &Key) -> u64 {
        self.load(key).map_or(0, |stored| stored.version.as_u64())
    }

    /// How many keys a space holds.
    pub fn count(&self, space: Space) -> u64 {
        wait(self.0.count(space)).unwrap()
    }

    /// What is due.
    pub fn due(
        &self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Vec<(Timestamp, Key)> {
        wait(self.0.due(space, until, after, limit)).unwrap()
    }

    /// A whole space, in order of (due, name).
    pub fn all(&self, space: Space) -> Vec<(Timestamp, Key)> {
        self.due(space, Timestamp::NEVER, None, usize::MAX)
    }

    /// Everything there is, as far as the trait shows it.
    pub fn everything(&self) -> Vec<(Timestamp, Key, Stored)> {
        Space::ALL
            .iter()
            .flat_map(|space| {
                let found = self.all(*space);
                assert_eq!(
                    u64::try_from(found.len()).unwrap(),
                    self.count(*space),
                    "the count of {space:?} is what the walk finds"
                );
                found
            })
            .map(|(due, key)| {
                let stored = self.load(&key).expect("what the walk finds is there");
                assert_eq!(stored.due, due, "the index and the value agree on {key:?}");
                (due, key, stored)
            })
            .collect()
    }
}

/// A session's key.
#[must_use]
pub fn key(name: &str) -> Key {
    Key::new(Space::Session, name.as_bytes())
}

/// A moment.
#[must_use]
pub const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Puts a value where nothing is.
#[must_use]
pub fn make(key: &Key, value: &[u8], due: Timestamp) -> Change {
    Change::Put {
        key: key.clone(),
        expect: Expect::Absent,
        value: value.to_vec(),
        due,
    }
}

/// Puts a value where a version is.
#[must_use]
pub fn put(key: &Key, version: u64, value: &[u8], due: Timestamp) -> Change {
    Change::Put {
        key: key.clone(),
        expect: Expect::At(Version::from_u64(version)),
        value: value.to_vec(),
        due,
    }
}

/// Removes a version.
#[must_use]
pub fn remove(key: &Key, version: u64) -> Change {
    Change::Remove {
        key: key.clone(),
        version: Version::from_u64(version),
    }
}

/// Asks that nothing is there.
#[must_use]
pub fn check_absent(key: &Key) -> Change {
    Change::Check {
        key: key.clone(),
        expect: Expect::Absent,
    }
}

/// Asks that a version is there.
#[must_use]
pub fn check_at(key: &Key, version: u64) -> Change {
    Change::Check {
        key: key.clone(),
        expect: Expect::At(Version::from_u64(version)),
    }
}

/// Makes one test of each clause named, over a place that is made anew for each.
#[doc(hidden)]
#[macro_export]
macro_rules! store_clauses {
    ($place:expr, $($module:ident: $($clause:ident)*;)*) => {
        $($(
            #[test]
            fn $clause() {
                $crate::store_contract::$module::$clause(&$place);
            }
        )*)*
    };
}

/// Makes a test of each clause of the store contract. Takes an expression that makes a [`Place`].
#[macro_export]
macro_rules! store_contract {
    ($place:expr) => {
        $crate::store_clauses! { $place,
            plain:
                a_new_store_is_empty
                a_key_starts_at_version_1_and_each_put_adds_one
                a_put_over_something_that_was_not_expected_is_stale
                a_put_at_another_version_is_stale
                a_removal_at_another_version_is_stale
                a_removed_key_is_gone_and_starts_again_at_1
                a_late_write_after_removal_is_stale
                a_stale_commit_changes_nothing_at_all
                a_commit_makes_all_of_its_changes
                a_check_decides_and_changes_nothing
                an_empty_commit_is_done
                a_soon_commit_is_visible_at_once_and_as_conditional
                soon_and_durable_build_on_each_other;
            order:
                due_is_ordered_by_moment_then_name
                due_includes_its_limit_moment_and_nothing_later
                due_gives_at_most_as_many_as_asked_and_goes_on_after_the_cursor
                a_cursor_whose_key_is_gone_still_holds_its_place
                a_put_moves_its_key_in_the_order_and_a_removal_takes_it_out
                never_walks_the_whole_space
                counts_follow_every_change;
            edges:
                names_and_values_of_every_size_come_back_as_they_were
                names_that_begin_alike_are_different_keys
                spaces_are_kept_apart
                a_dropped_commit_happened_whole_or_not_at_all
                a_dropped_load_changes_nothing
                many_changes_in_one_commit_are_one_commit;
            concurrent:
                of_64_writers_of_one_version_exactly_one_wins_each_round
                of_64_creators_of_one_key_exactly_one_wins
                two_commits_that_check_each_others_key_do_not_both_pass
                what_is_done_is_seen_on_every_handle_at_once
                no_reader_sees_half_a_commit
                nothing_is_lost_or_doubled_when_many_move_values_about;
            model:
                any_commits_leave_what_a_plain_map_would_hold;
        }
    };
}

/// Makes a test of each clause that is for stores which outlive their process.
#[macro_export]
macro_rules! durable_store_contract {
    ($place:expr) => {
        $crate::store_clauses! { $place,
            durable:
                what_was_done_is_there_after_reopening
                what_was_removed_stays_removed_after_reopening
                versions_go_on_after_reopening
                a_soon_commit_survives_an_orderly_close
                any_commits_with_reopenings_between_leave_what_a_plain_map_would_hold;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use wirebound::store::MemoryStore;

    struct Memory;

    impl Place for Memory {
        fn open(&self) -> Arc<dyn Store> {
            Arc::new(MemoryStore::new())
        }
    }

    crate::store_contract!(Memory);
}
