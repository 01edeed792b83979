//! What is still there when the place is opened again.

use core::cell::RefCell;

use wirebound::store::{Commit, Space};

use super::model::{Model, for_any_commits, step};
use super::{Asked, Place, at, key, make, put, remove};

/// Values, versions, order and counts.
pub fn what_was_done_is_there_after_reopening(place: &dyn Place) {
    let store = Asked::at(place);
    for number in 0..200_u64 {
        let key = key(&format!("k{number}"));
        store.commit(vec![make(&key, &[1; 300], at(number % 7))]);
        if number % 3 == 0 {
            store.commit(vec![put(&key, 1, &number.to_be_bytes(), at(number))]);
        }
    }
    let before = store.everything();
    drop(store);
    for _ in 0..2 {
        assert_eq!(Asked::at(place).everything(), before);
    }
}

/// An ended session does not come back with the process.
pub fn what_was_removed_stays_removed_after_reopening(place: &dyn Place) {
    let store = Asked::at(place);
    let (kept, gone, soon) = (key("kept"), key("gone"), key("soon"));
    for key in [&kept, &gone, &soon] {
        store.commit(vec![make(key, b"v", at(1))]);
    }
    assert_eq!(store.commit(vec![remove(&gone, 1)]), Commit::Done);
    assert_eq!(store.commit_soon(vec![remove(&soon, 1)]), Commit::Done);
    drop(store);
    let store = Asked::at(place);
    assert_eq!(store.load(&gone), None);
    assert_eq!(store.load(&soon), None);
    assert_eq!(store.all(Space::Session), [(at(1), kept)]);
    assert_eq!(
        store.commit(vec![put(&gone, 1, b"late", at(1))]),
        Commit::Stale
    );
}

/// A restart is no way around a version.
pub fn versions_go_on_after_reopening(place: &dyn Place) {
    let key = key("a");
    assert_eq!(
        Asked::at(place).commit(vec![make(&key, b"", at(1))]),
        Commit::Done
    );
    for version in 1..6 {
        let store = Asked::at(place);
        assert_eq!(store.version(&key), version);
        let late = put(&key, version - 1, b"late", at(1));
        assert_eq!(store.commit(vec![late]), Commit::Stale);
        assert_eq!(store.commit(vec![make(&key, b"", at(1))]), Commit::Stale);
        let next = put(&key, version, b"next", at(1));
        assert_eq!(store.commit(vec![next]), Commit::Done);
    }
}

/// `Soon` may be lost when the process dies, not when it ends.
pub fn a_soon_commit_survives_an_orderly_close(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    store.commit_soon(vec![make(&key, b"v", at(3))]);
    drop(store);
    let store = Asked::at(place);
    assert_eq!(store.load(&key).unwrap().value, b"v");
    assert_eq!(store.all(Space::Session), [(at(3), key)]);
}

/// The model again, with the place closed and opened every few commits.
pub fn any_commits_with_reopenings_between_leave_what_a_plain_map_would_hold(place: &dyn Place) {
    let kept = RefCell::new((Some(Asked::at(place)), Model::default()));
    for_any_commits(6, 40, |commits| {
        let mut kept = kept.borrow_mut();
        for (number, (wishes, durable)) in commits.into_iter().enumerate() {
            let (store, model) = &mut *kept;
            if number % 8 == 7 {
                drop(store.take());
            }
            let store = store.get_or_insert_with(|| Asked::at(place));
            step(store, model, &wishes, durable);
            assert_eq!(store.everything(), model.everything());
        }
    });
}
