//! Power is cut at every write and every sync; what was answered must be there, whole, and nothing else.

use std::sync::Arc;

use futures_executor::block_on;
use wirebound::Timestamp;
use wirebound::store::{Change, Commit, Durability, Key, Space, Store, Stored};
use wirebound_testkit::store_contract::model::Model;
use wirebound_testkit::store_contract::{Asked, at, check_absent, make, put, remove};

use super::tape::Recorder;

type Everything = Vec<(Timestamp, Key, Stored)>;

/// A workload as it happened: the state after each commit, and when how many were answered for good.
struct History {
    states: Vec<Everything>,
    model: Model,
    /// From this position on, at least as many commits as are named must be there.
    answered: Vec<(usize, usize)>,
    /// From this position on, up to as many commits as are named may be there.
    asked: Vec<(usize, usize)>,
}

impl History {
    fn new() -> Self {
        Self {
            states: vec![Vec::new()],
            model: Model::default(),
            answered: vec![(0, 0)],
            asked: vec![(0, 0)],
        }
    }

    /// Makes commits of which the first has a transaction of its own, and all others share the next one:
    /// they come while the disk stands still in the first one's transaction.
    ///
    /// What a `Soon` was answered promises nothing. It is on disk when a durable commit was answered that came
    /// after it, and then only as far as that one: how the writer groups what waits is its own affair. Who
    /// counts a `Soon` at the end of the list as answered for good fails whenever it falls into a group of its
    /// own, which no transaction carries yet.
    fn commits(
        &mut self,
        recorder: &Recorder,
        store: &dyn Store,
        commits: Vec<(Vec<Change>, Durability)>,
    ) {
        let before = self.states.len();
        for (changes, _) in &commits {
            assert_eq!(self.model.commit(changes), Commit::Done, "{changes:?}");
            self.states.push(self.model.everything());
        }
        self.asked
            .push((recorder.position(), self.states.len() - 1));
        let (mut futures, durabilities): (Vec<_>, Vec<_>) = commits
            .into_iter()
            .map(|(changes, durability)| (store.commit(changes, durability), durability))
            .unzip();
        let mut context = core::task::Context::from_waker(core::task::Waker::noop());
        let still = recorder.still();
        let mut polled = Vec::new();
        // Polled once each in this order, so that this is their order in the queue.
        for future in &mut futures {
            polled.push(future.as_mut().poll(&mut context));
            if polled.len() == 1 && durabilities.len() > 1 {
                assert_eq!(durabilities[0], Durability::Durable, "it steps on the disk");
                still.until_a_step_waits();
            }
        }
        drop(still);
        for (at, (future, polled)) in futures.into_iter().zip(polled).enumerate() {
            let answer = match polled {
                core::task::Poll::Ready(answer) => answer,
                core::task::Poll::Pending => block_on(future),
            };
            assert_eq!(answer.unwrap(), Commit::Done);
            if durabilities[at] == Durability::Durable {
                self.answered.push((recorder.position(), before + at));
            }
        }
    }

    fn one(&mut self, recorder: &Recorder, store: &dyn Store, changes: Vec<Change>) {
        self.commits(recorder, store, vec![(changes, Durability::Durable)]);
    }

    fn bounds(&self, position: usize) -> (usize, usize) {
        let upto = |list: &[(usize, usize)]| {
            list.iter()
                .filter(|(from, _)| *from <= position)
                .map(|(_, commits)| *commits)
                .max()
                .unwrap()
        };
        (upto(&self.answered), upto(&self.asked))
    }

    /// What is found must be the state after a number of whole commits, and of enough of them.
    fn agrees(&self, found: &Everything, position: usize, how: &str) {
        let (least, most) = self.bounds(position);
        assert!(
            self.states[least..=most].contains(found),
            "power cut at step {position}, keeping {how}: between {least} and {most} commits \
             should be there, found is the state after {:?}: {found:?}",
            (0..self.states.len())
                .filter(|commits| self.states[*commits] == *found)
                .collect::<Vec<_>>()
        );
    }
}

fn session(name: usize) -> Key {
    Key::new(Space::Session, format!("session {name:04}").as_bytes())
}

fn identity(name: usize) -> Key {
    Key::new(Space::Identity, format!("subject {name:04}").as_bytes())
}

fn vault(name: usize) -> Key {
    Key::new(Space::Vault, format!("session {name:04}").as_bytes())
}

fn sign_in(name: usize) -> Vec<Change> {
    vec![
        make(
            &session(name),
            &[1; 400],
            at(1_000 + u64::try_from(name).unwrap()),
        ),
        make(&identity(name), &[2; 200], Timestamp::NEVER),
        make(&vault(name), &vec![3; 100 + name * 37 % 900], at(9)),
    ]
}

fn sign_out(name: usize) -> Vec<Change> {
    vec![
        remove(&session(name), 1),
        remove(&vault(name), 1),
        put(&identity(name), 1, &[4; 210], at(5)),
        make(
            &Key::new(Space::Tombstone, session(name).name()),
            b"logout",
            at(77),
        ),
    ]
}

/// Sign-ins, sign-outs, many at once, `Soon` among them, a file that grows, and reopenings.
fn workload(recorder: &Recorder) -> History {
    use Durability::{Durable, Soon};
    let mut history = History::new();
    let mut store = recorder.store();
    for name in 0..6 {
        history.one(recorder, &store, sign_in(name));
    }
    history.one(recorder, &store, sign_out(2));
    let many = (6..30).map(|name| (sign_in(name), Durable)).collect();
    history.commits(recorder, &store, many);
    let both = (0..2)
        .chain(6..12)
        .map(|name| (sign_out(name), Durable))
        .chain((30..34).map(|name| (sign_in(name), Soon)))
        .chain([(sign_in(34), Durable)])
        .chain((35..37).map(|name| (sign_in(name), Soon)))
        .collect();
    history.commits(recorder, &store, both);
    // Not one transaction carries these before the next durable commit.
    for name in 37..39 {
        history.commits(recorder, &store, vec![(sign_in(name), Soon)]);
    }
    let seen = put(&session(3), 1, &[9; 400], at(2_000));
    history.commits(recorder, &store, vec![(vec![seen], Soon)]);
    history.one(recorder, &store, sign_in(40));
    drop(store);
    store = recorder.store();
    // Pages that are free now are written again.
    history.one(recorder, &store, (12..20).flat_map(sign_out).collect());
    history.one(
        recorder,
        &store,
        vec![check_absent(&session(99)), remove(&session(40), 1)],
    );
    let large = make(&Key::new(Space::Node, b"large"), &[7; 65_536], at(3));
    history.one(recorder, &store, vec![large]);
    history.commits(
        recorder,
        &store,
        (50..60).map(|name| (sign_in(name), Durable)).collect(),
    );
    history.one(
        recorder,
        &store,
        vec![remove(&Key::new(Space::Node, b"large"), 1)],
    );
    drop(store);
    history
}

fn found_on(recorder: &Recorder) -> (Asked, Everything) {
    let store = Asked(Arc::new(recorder.store()));
    let everything = store.everything();
    (store, everything)
}

#[test]
fn power_cut_at_any_step_leaves_whole_commits_and_all_that_was_answered() {
    let recorder = Recorder::with_empty_store();
    let history = workload(&recorder);
    let (mut cuts, mut states) = (0, std::collections::BTreeSet::new());
    recorder.images(0, |position, how, image| {
        let after = Recorder::on(image);
        let (store, found) = found_on(&after);
        history.agrees(&found, position, how);
        states.insert(found.len());
        cuts += 1;
        // It goes on from there, and remembers that too.
        let key = Key::new(Space::Family, b"after");
        assert_eq!(store.commit(vec![make(&key, b"", at(1))]), Commit::Done);
        drop(store);
        let (store, _) = found_on(&after);
        assert_eq!(store.version(&key), 1);
    });
    println!("{} steps, {cuts} images", recorder.position());
    assert!(
        cuts > 500 && states.len() > 10,
        "the workload was cut in {cuts} ways"
    );
}

#[test]
fn power_cut_again_while_the_store_recovers_loses_nothing_more() {
    let recorder = Recorder::with_empty_store();
    let history = workload(&recorder);
    let mut cuts = 0;
    let mut number = 0;
    recorder.images(0, |position, how, image| {
        number += 1;
        if number % 37 != 0 {
            return;
        }
        let recovering = Recorder::on(image);
        let (store, first) = found_on(&recovering);
        drop(store);
        let mut again = 0;
        recovering.images(0, |second, then, image| {
            again += 1;
            if again % 3 != 0 {
                return;
            }
            let (_store, found) = found_on(&Recorder::on(image));
            assert_eq!(
                found, first,
                "cut at {position} keeping {how}, and at {second} of the recovery keeping {then}"
            );
            cuts += 1;
        });
        history.agrees(&first, position, how);
    });
    println!("{cuts} images of recoveries");
    assert!(cuts > 500);
}

/// A kill leaves what was not synced in the page cache, where the next process finds it and answers by it.
#[test]
fn power_cut_after_a_kill_takes_nothing_back_that_the_next_process_showed() {
    let recorder = Recorder::with_empty_store();
    let history = workload(&recorder);
    let mut cuts = 0;
    recorder.moments(|position, synced, unsynced| {
        if unsynced.is_empty() || position % 5 != 0 {
            return;
        }
        let next = Recorder::after_a_kill(synced.to_vec(), unsynced);
        let (store, shown) = found_on(&next);
        let opened = next.position();
        history.agrees(&shown, position, "all of it after a kill");
        drop(store);
        let mut number = 0;
        next.images(opened, |second, then, image| {
            number += 1;
            if number % 5 != 0 {
                return;
            }
            let (_store, found) = found_on(&Recorder::on(image));
            assert_eq!(
                found, shown,
                "killed at {position}, and power cut at {second} keeping {then}"
            );
            cuts += 1;
        });
    });
    println!("{cuts} images after kills");
    assert!(cuts > 200);
}

/// The test of the test: a disk that lies about syncs must be found out.
#[test]
fn a_disk_that_loses_what_it_synced_is_noticed_by_these_tests() {
    let recorder = Recorder::with_empty_store();
    let history = workload(&recorder);
    let (least, _) = history.bounds(recorder.position());
    let before = Recorder::with_empty_store();
    let (_store, found) = found_on(&before);
    assert!(!history.states[least..].contains(&found));
}
