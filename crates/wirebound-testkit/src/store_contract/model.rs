//! Random commits, against a map that anybody can check by eye.

use core::fmt;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wirebound::Timestamp;
use wirebound::store::{Change, Commit, Durability, Expect, Key, Space, Stored, Version};

use super::{Asked, Place, at, remove, wait};

/// What a store should hold.
#[derive(Clone, Debug, Default)]
pub struct Model(BTreeMap<Key, Stored>);

impl Model {
    /// What the contract says of this commit.
    pub fn commit(&mut self, changes: &[Change]) -> Commit {
        let holds = |change: &Change| {
            let there = self.0.get(change.key()).map(|stored| stored.version);
            match change.expectation() {
                Expect::Absent => there.is_none(),
                Expect::At(version) => there == Some(version),
            }
        };
        if !changes.iter().all(holds) {
            return Commit::Stale;
        }
        for change in changes {
            match change {
                Change::Put {
                    key, value, due, ..
                } => {
                    let version = self
                        .0
                        .get(key)
                        .map_or(Version::FIRST, |stored| stored.version.next());
                    let stored = Stored {
                        version,
                        due: *due,
                        value: value.clone(),
                    };
                    self.0.insert(key.clone(), stored);
                }
                Change::Remove { key, .. } => {
                    self.0.remove(key);
                }
                Change::Check { .. } => {}
            }
        }
        Commit::Done
    }

    /// The version of a key.
    #[must_use]
    pub fn version(&self, key: &Key) -> Option<Version> {
        self.0.get(key).map(|stored| stored.version)
    }

    /// Everything, in the order in which [`Asked::everything`] tells it.
    #[must_use]
    pub fn everything(&self) -> Vec<(Timestamp, Key, Stored)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|(key, stored)| (stored.due, key.clone(), stored.clone()))
            .collect();
        all.sort_by(|(due, key, _), (other_due, other, _)| {
            (key.space(), due, key).cmp(&(other.space(), other_due, other))
        });
        all
    }
}

/// One change of a random commit. What it expects is right or wrong by how far it is off.
#[derive(Clone)]
pub struct Wish {
    space: Space,
    name: u8,
    kind: u8,
    off: u64,
    due: u64,
    value: Vec<u8>,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}/{} kind {} off {} due {} ({} bytes)",
            self.space,
            self.name,
            self.kind,
            self.off,
            self.due,
            self.value.len()
        )
    }
}

impl Wish {
    /// The change, for a store that holds what the model holds.
    #[must_use]
    pub fn change(&self, model: &Model) -> Change {
        let key = Key::new(self.space, &[self.name]);
        let version = model.version(&key);
        let right = version.map_or(Expect::Absent, Expect::At);
        let expect = match self.off {
            0 => right,
            off => Expect::At(Version::from_u64(
                version
                    .map_or(0, Version::as_u64)
                    .wrapping_add(off)
                    .wrapping_sub(2),
            )),
        };
        match (self.kind, expect) {
            (0..=4, _) => Change::Put {
                key,
                expect,
                value: self.value.clone(),
                due: at(self.due),
            },
            (5..=7, Expect::At(version)) => remove(&key, version.as_u64()),
            _ => Change::Check { key, expect },
        }
    }
}

/// Random changes over few keys, so that they meet.
pub fn wish() -> impl Strategy<Value = Wish> {
    (
        prop::sample::select(&Space::ALL[..3]),
        0..4_u8,
        0..10_u8,
        prop_oneof![12 => Just(0_u64), 1 => 1..4_u64],
        prop_oneof![0..4_u64, Just(u64::MAX)],
        prop_oneof![
            9 => prop::collection::vec(any::<u8>(), 0..40),
            1 => (0..9000_usize).prop_map(|length| vec![0xa5; length]),
        ],
    )
        .prop_map(|(space, name, kind, off, due, value)| Wish {
            space,
            name,
            kind,
            off,
            due,
            value,
        })
}

/// Random commits: their wishes, and whether they are durable.
pub fn commits(most: usize) -> impl Strategy<Value = Vec<(Vec<Wish>, bool)>> {
    let commit = (prop::collection::vec(wish(), 0..5), any::<bool>());
    prop::collection::vec(commit, 1..most)
}

/// Makes a commit in both, and compares the answers.
pub fn step(store: &Asked, model: &mut Model, wishes: &[Wish], durable: bool) {
    let mut changes: Vec<Change> = Vec::new();
    for wish in wishes {
        let change = wish.change(model);
        // The changes of one commit name different keys.
        if changes.iter().all(|other| other.key() != change.key()) {
            changes.push(change);
        }
    }
    let durability = if durable {
        Durability::Durable
    } else {
        Durability::Soon
    };
    let expected = model.commit(&changes);
    let answered = wait(store.0.commit(changes.clone(), durability)).unwrap();
    assert_eq!(answered, expected, "{changes:?}");
}

/// Runs a property over random commits, always the same ones.
pub fn for_any_commits(cases: u32, most: usize, check: impl Fn(Vec<(Vec<Wish>, bool)>)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let algorithm = config.rng_algorithm;
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(algorithm),
    );
    runner
        .run(&commits(most), |commits| {
            check(commits);
            Ok(())
        })
        .unwrap();
}

/// After each commit the store holds what the model holds, whichever way one looks.
pub fn any_commits_leave_what_a_plain_map_would_hold(place: &dyn Place) {
    let store = Asked::at(place);
    for_any_commits(48, 40, |commits| {
        let mut model = Model::default();
        for (wishes, durable) in commits {
            step(&store, &mut model, &wishes, durable);
            assert_eq!(store.everything(), model.everything());
        }
        let clear = model
            .everything()
            .iter()
            .map(|(_, key, stored)| remove(key, stored.version.as_u64()))
            .collect();
        assert_eq!(store.commit(clear), Commit::Done);
    });
}
