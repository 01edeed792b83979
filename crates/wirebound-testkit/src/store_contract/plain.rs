//! One caller: versions, expectations, all or nothing.

use wirebound::Timestamp;
use wirebound::store::{Commit, Space};

use super::{Asked, Place, at, check_absent, check_at, key, make, put, remove};

/// `None` is a fact, and counts start at nothing.
pub fn a_new_store_is_empty(place: &dyn Place) {
    let store = Asked::at(place);
    assert_eq!(store.load(&key("a")), None);
    for space in Space::ALL {
        assert_eq!(store.count(space), 0);
        assert_eq!(store.all(space), []);
    }
}

/// The engine foretells versions; the store computes the same.
pub fn a_key_starts_at_version_1_and_each_put_adds_one(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    assert_eq!(store.commit(vec![make(&key, b"1", at(10))]), Commit::Done);
    for version in 1..20_u64 {
        assert_eq!(store.version(&key), version);
        let value = (version + 1).to_string();
        let change = put(&key, version, value.as_bytes(), at(version));
        assert_eq!(store.commit(vec![change]), Commit::Done);
        let stored = store.load(&key).unwrap();
        assert_eq!(stored.version.as_u64(), version + 1);
        assert_eq!(stored.value, value.as_bytes());
        assert_eq!(stored.due, at(version));
    }
}

/// There is no upsert: a second creation changes nothing (a collision of ids must not hand over a session).
pub fn a_put_over_something_that_was_not_expected_is_stale(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    store.commit(vec![make(&key, b"first", at(1))]);
    assert_eq!(
        store.commit(vec![make(&key, b"second", at(2))]),
        Commit::Stale
    );
    let stored = store.load(&key).unwrap();
    assert_eq!(
        (stored.value.as_slice(), stored.due),
        (&b"first"[..], at(1))
    );
}

/// Older, newer, and of a key that is not there.
pub fn a_put_at_another_version_is_stale(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    for version in [0, 1, 2] {
        assert_eq!(
            store.commit(vec![put(&key, version, b"x", at(1))]),
            Commit::Stale
        );
        assert_eq!(store.load(&key), None);
    }
    store.commit(vec![make(&key, b"1", at(1))]);
    store.commit(vec![put(&key, 1, b"2", at(1))]);
    for version in [0, 1, 3, u64::MAX] {
        assert_eq!(
            store.commit(vec![put(&key, version, b"x", at(9))]),
            Commit::Stale
        );
    }
    let stored = store.load(&key).unwrap();
    assert_eq!((stored.version.as_u64(), stored.due), (2, at(1)));
    assert_eq!(stored.value, b"2");
}

/// A removal names what it removes.
pub fn a_removal_at_another_version_is_stale(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    assert_eq!(store.commit(vec![remove(&key, 1)]), Commit::Stale);
    store.commit(vec![make(&key, b"1", at(1))]);
    store.commit(vec![put(&key, 1, b"2", at(1))]);
    for version in [0, 1, 3] {
        assert_eq!(store.commit(vec![remove(&key, version)]), Commit::Stale);
        assert_eq!(store.version(&key), 2);
    }
}

/// After a removal the key is as if it never was.
pub fn a_removed_key_is_gone_and_starts_again_at_1(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    for _ in 0..3 {
        assert_eq!(store.commit(vec![make(&key, b"1", at(1))]), Commit::Done);
        assert_eq!(store.commit(vec![put(&key, 1, b"2", at(1))]), Commit::Done);
        assert_eq!(store.version(&key), 2);
        assert_eq!(store.commit(vec![remove(&key, 2)]), Commit::Done);
        assert_eq!(store.load(&key), None);
        assert_eq!(store.all(Space::Session), []);
        assert_eq!(store.commit(vec![remove(&key, 2)]), Commit::Stale);
    }
}

/// The attack: a request that was judged before the logout writes its session back after it.
pub fn a_late_write_after_removal_is_stale(place: &dyn Place) {
    let store = Asked::at(place);
    let (session, tombstone) = (key("s"), wirebound::store::Key::new(Space::Tombstone, b"s"));
    store.commit(vec![make(&session, b"1", at(1))]);
    store.commit(vec![put(&session, 1, b"2", at(1))]);
    let judged = store.version(&session);
    let logout = vec![remove(&session, judged), make(&tombstone, b"t", at(9))];
    assert_eq!(store.commit(logout), Commit::Done);
    let late = vec![put(&session, judged, b"back again", at(1))];
    assert_eq!(store.commit(late.clone()), Commit::Stale);
    assert_eq!(store.commit_soon(late), Commit::Stale);
    assert_eq!(store.load(&session), None);
    assert_eq!(store.count(Space::Session), 0);
    assert_eq!(store.version(&tombstone), 1);
}

/// Wherever in the commit the failing expectation stands, and of whatever kind it is.
pub fn a_stale_commit_changes_nothing_at_all(place: &dyn Place) {
    let store = Asked::at(place);
    let (there, doomed, fresh) = (key("there"), key("doomed"), key("fresh"));
    store.commit(vec![
        make(&there, b"there", at(1)),
        make(&doomed, b"doomed", at(2)),
    ]);
    let before = store.everything();
    let (other, none) = (key("other"), key("none"));
    store.commit(vec![make(&other, b"other", at(3))]);
    let with_other = store.everything();
    assert_ne!(before, with_other);
    let failing = [
        make(&other, b"x", at(1)),
        put(&other, 7, b"x", at(1)),
        put(&none, 1, b"x", at(1)),
        remove(&other, 2),
        remove(&none, 1),
        check_absent(&other),
        check_at(&other, 2),
        check_at(&none, 1),
    ];
    for fails in failing {
        for position in 0..4 {
            let mut changes = vec![
                put(&there, 1, b"changed", at(7)),
                remove(&doomed, 1),
                make(&fresh, b"fresh", at(8)),
            ];
            changes.insert(position, fails.clone());
            assert_eq!(
                store.commit(changes.clone()),
                Commit::Stale,
                "{fails:?} at {position}"
            );
            assert_eq!(store.commit_soon(changes), Commit::Stale);
            assert_eq!(store.everything(), with_other);
        }
    }
}

/// A new session and the end of the others are one commit.
pub fn a_commit_makes_all_of_its_changes(place: &dyn Place) {
    let store = Asked::at(place);
    let (old, new, subject) = (
        key("old"),
        key("new"),
        wirebound::store::Key::new(Space::Identity, b"root"),
    );
    store.commit(vec![make(&old, b"o", at(5)), make(&subject, b"i", at(6))]);
    let changes = vec![
        remove(&old, 1),
        make(&new, b"n", at(7)),
        put(&subject, 1, b"j", Timestamp::NEVER),
        check_absent(&key("else")),
    ];
    assert_eq!(store.commit(changes), Commit::Done);
    assert_eq!(store.load(&old), None);
    assert_eq!(store.load(&new).unwrap().value, b"n");
    assert_eq!(store.load(&subject).unwrap().value, b"j");
    assert_eq!(store.all(Space::Session), [(at(7), new)]);
    assert_eq!(store.all(Space::Identity), [(Timestamp::NEVER, subject)]);
}

/// A check alone is a commit too.
pub fn a_check_decides_and_changes_nothing(place: &dyn Place) {
    let store = Asked::at(place);
    let (a, b) = (key("a"), key("b"));
    store.commit(vec![make(&a, b"a", at(1))]);
    let before = store.everything();
    assert_eq!(
        store.commit(vec![check_at(&a, 1), check_absent(&b)]),
        Commit::Done
    );
    assert_eq!(store.commit(vec![check_at(&a, 2)]), Commit::Stale);
    assert_eq!(store.commit(vec![check_absent(&a)]), Commit::Stale);
    assert_eq!(store.commit(vec![check_at(&b, 1)]), Commit::Stale);
    assert_eq!(store.everything(), before);
}

/// Nothing was expected, so nothing failed.
pub fn an_empty_commit_is_done(place: &dyn Place) {
    let store = Asked::at(place);
    assert_eq!(store.commit(vec![]), Commit::Done);
    assert_eq!(store.commit_soon(vec![]), Commit::Done);
    assert_eq!(store.everything(), []);
}

/// `Soon` gives up durability for a second, and nothing else.
pub fn a_soon_commit_is_visible_at_once_and_as_conditional(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    assert_eq!(
        store.commit_soon(vec![make(&key, b"1", at(4))]),
        Commit::Done
    );
    assert_eq!(store.load(&key).unwrap().value, b"1");
    assert_eq!(store.all(Space::Session), [(at(4), key.clone())]);
    assert_eq!(store.count(Space::Session), 1);
    assert_eq!(
        store.commit_soon(vec![make(&key, b"x", at(9))]),
        Commit::Stale
    );
    assert_eq!(
        store.commit_soon(vec![put(&key, 1, b"2", at(5))]),
        Commit::Done
    );
    assert_eq!(
        store.commit_soon(vec![put(&key, 1, b"x", at(9))]),
        Commit::Stale
    );
    assert_eq!(store.load(&key).unwrap().value, b"2");
    assert_eq!(store.commit_soon(vec![remove(&key, 2)]), Commit::Done);
    assert_eq!(store.load(&key), None);
    assert_eq!(store.all(Space::Session), []);
}

/// Whatever was answered first is what the next one meets, whichever way each was asked for.
pub fn soon_and_durable_build_on_each_other(place: &dyn Place) {
    let store = Asked::at(place);
    let (a, b) = (key("a"), key("b"));
    assert_eq!(store.commit_soon(vec![make(&a, b"1", at(1))]), Commit::Done);
    assert_eq!(store.commit(vec![put(&a, 1, b"2", at(2))]), Commit::Done);
    assert_eq!(
        store.commit_soon(vec![put(&a, 2, b"3", at(3))]),
        Commit::Done
    );
    assert_eq!(store.commit(vec![make(&b, b"1", at(1))]), Commit::Done);
    assert_eq!(store.load(&a).unwrap().value, b"3");
    assert_eq!(store.commit_soon(vec![remove(&a, 3)]), Commit::Done);
    assert_eq!(store.commit(vec![make(&a, b"new", at(4))]), Commit::Done);
    assert_eq!(store.commit_soon(vec![remove(&b, 1)]), Commit::Done);
    assert_eq!(store.commit(vec![check_absent(&b)]), Commit::Done);
    assert_eq!(store.version(&a), 1);
    assert_eq!(store.all(Space::Session), [(at(4), a)]);
}
