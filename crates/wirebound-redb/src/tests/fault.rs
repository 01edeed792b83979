//! The disk is full, or fails, at every step: an error is said, nothing is lost, nothing happens later.

use std::io::ErrorKind;
use std::sync::Arc;

use wirebound::store::{Commit, Durability, Key, Space, Store, StoreErrorKind};
use wirebound_testkit::store_contract::{Asked, at, make, put, remove, wait};

use super::tape::{Fault, Recorder};

fn key(name: usize) -> Key {
    Key::new(Space::Session, format!("{name}").as_bytes())
}

fn prepared() -> (Recorder, Asked) {
    let recorder = Recorder::with_empty_store();
    let store = Asked(Arc::new(recorder.store()));
    for name in 0..20 {
        store.commit(vec![make(&key(name), &[5; 700], at(1))]);
    }
    (recorder, store)
}

fn changes() -> Vec<wirebound::store::Change> {
    vec![
        put(&key(3), 1, &[6; 30_000], at(2)),
        remove(&key(4), 1),
        make(&key(50), &[7; 600_000], at(2)),
    ]
}

#[test]
fn a_full_disk_is_said_and_costs_nothing_that_was_there() {
    let mut failures = 0;
    for after in 0.. {
        let (recorder, store) = prepared();
        let before = store.everything();
        store.commit_soon(vec![make(&key(60), b"soon", at(3))]);
        let with_soon = store.everything();
        recorder.fail(Some(Fault {
            after,
            kind: ErrorKind::StorageFull,
            of_syncs: false,
        }));
        let answer = wait(store.0.commit(changes(), Durability::Durable));
        if recorder.failed() == 0 {
            assert_eq!(answer.unwrap(), Commit::Done);
            break;
        }
        failures += 1;
        assert_eq!(
            answer.unwrap_err().kind(),
            StoreErrorKind::Full,
            "at {after}"
        );
        // As long as the disk stays full: every answer is an error or the truth.
        if let Ok(found) = wait(store.0.load(&key(3))) {
            assert_eq!(found.unwrap().version.as_u64(), 1);
        }
        let again = wait(store.0.commit(changes(), Durability::Durable));
        assert_eq!(again.unwrap_err().kind(), StoreErrorKind::Full);
        // Room is made.
        recorder.fail(None);
        assert_eq!(store.commit(vec![]), Commit::Done);
        assert_eq!(store.everything(), with_soon, "at {after}");
        assert_eq!(store.commit(changes()), Commit::Done);
        let now = store.everything();
        assert_ne!(now, before);
        drop(store);
        assert_eq!(Asked(Arc::new(recorder.store())).everything(), now);
    }
    assert!(failures > 5, "the disk was full in {failures} places");
}

#[test]
fn after_a_failed_sync_nothing_is_claimed_until_a_restart() {
    let mut failures = 0;
    for after in 0.. {
        let (recorder, store) = prepared();
        let before = store.everything();
        recorder.fail(Some(Fault {
            after,
            kind: ErrorKind::Other,
            of_syncs: true,
        }));
        let answer = wait(store.0.commit(changes(), Durability::Durable));
        if recorder.failed() == 0 {
            assert_eq!(answer.unwrap(), Commit::Done);
            break;
        }
        failures += 1;
        let _kind_of_the_first_error = answer.unwrap_err();
        recorder.fail(None);
        let unavailable = |error: wirebound::store::StoreError| {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            assert!(format!("{error:?}").contains("restart"), "{error:?}");
        };
        unavailable(wait(store.0.load(&key(3))).unwrap_err());
        unavailable(wait(store.0.count(Space::Session)).unwrap_err());
        unavailable(wait(store.0.due(Space::Session, at(9), None, 1)).unwrap_err());
        unavailable(wait(store.0.commit(vec![], Durability::Durable)).unwrap_err());
        drop(store);
        let store = Asked(Arc::new(recorder.store()));
        let found = store.everything();
        if found != before {
            assert_eq!(store.version(&key(3)), 2);
            assert_eq!(store.version(&key(4)), 0);
            assert_eq!(store.version(&key(50)), 1);
        }
    }
    assert!(failures >= 2, "two-phase commit syncs twice at least");
}

/// After a full disk the database is opened again. If the disk fails to sync that, a second try may find in the
/// page cache what the disk never took, and what is built on it is gone with the power.
#[test]
fn a_sync_that_fails_while_the_store_picks_itself_up_is_not_tried_again() {
    let mut failures = 0;
    for after in 0.. {
        let (recorder, store) = prepared();
        let before = store.everything();
        recorder.fail(Some(Fault {
            after: 0,
            kind: ErrorKind::StorageFull,
            of_syncs: false,
        }));
        wait(store.0.commit(changes(), Durability::Durable)).unwrap_err();
        // There is room again, and nothing is ever synced.
        recorder.fail(Some(Fault {
            after,
            kind: ErrorKind::Other,
            of_syncs: true,
        }));
        let answer = wait(store.0.commit(vec![], Durability::Durable));
        if recorder.failed() == 0 {
            assert_eq!(answer.unwrap(), Commit::Done);
            break;
        }
        failures += 1;
        recorder.fail(None);
        for answer in [answer, wait(store.0.commit(vec![], Durability::Durable))] {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "at {after}");
            assert!(format!("{error:?}").contains("restart"), "{error:?}");
        }
        drop(store);
        let store = Asked(Arc::new(recorder.store()));
        assert_eq!(store.everything(), before);
    }
    assert!(failures >= 2, "opening syncs more than once");
}

#[test]
fn an_error_reaches_everybody_who_shared_the_transaction() {
    let (recorder, store) = prepared();
    let before = store.everything();
    recorder.fail(Some(Fault {
        after: 0,
        kind: ErrorKind::StorageFull,
        of_syncs: false,
    }));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (100..132)
            .map(|name| {
                let store = store.clone();
                scope.spawn(move || {
                    wait(
                        store
                            .0
                            .commit(vec![make(&key(name), b"v", at(1))], Durability::Durable),
                    )
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(answers.iter().all(Result::is_err));
    recorder.fail(None);
    assert_eq!(store.commit(vec![]), Commit::Done);
    assert_eq!(store.everything(), before);
}

#[test]
fn soon_is_kept_over_a_failure_and_written_later() {
    let (recorder, store) = prepared();
    recorder.fail(Some(Fault {
        after: 0,
        kind: ErrorKind::StorageFull,
        of_syncs: false,
    }));
    store.commit_soon(vec![make(&key(60), b"soon", at(3))]);
    let refused = wait(store.0.commit(changes(), Durability::Durable));
    assert!(refused.is_err());
    recorder.fail(None);
    assert_eq!(store.commit(vec![]), Commit::Done);
    assert_eq!(store.load(&key(60)).unwrap().value, b"soon");
    drop(store);
    let store = recorder.store();
    assert!(wait(store.load(&key(60))).unwrap().is_some());
}

#[test]
fn soon_is_on_disk_soon_though_nobody_asks_for_anything_else() {
    let (recorder, store) = prepared();
    store.commit_soon(vec![make(&key(60), b"soon", at(3))]);
    let on_disk = || {
        // Power is cut now, and nothing is left of what was not synced.
        let mut kept = None;
        recorder.images(recorder.position(), |_, how, image| {
            if how == "none of it" {
                kept = Some(image);
            }
        });
        let after = Recorder::on(kept.unwrap()).store();
        wait(after.load(&key(60))).unwrap().is_some()
    };
    // About a second; a busy machine is given ten times as long.
    let patience = std::time::Duration::from_millis(50);
    assert!((0..200).any(|_| {
        std::thread::sleep(patience);
        on_disk()
    }));
}
