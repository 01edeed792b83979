//! Odd names, odd sizes, callers that go away.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Waker};

use wirebound::store::{Commit, Durability, Key, Space};

use super::{Asked, Place, at, key, make, put, remove, wait};

/// From nothing to 64 KiB, every byte there is; names up to 255 bytes.
pub fn names_and_values_of_every_size_come_back_as_they_were(place: &dyn Place) {
    let store = Asked::at(place);
    let bytes = |length: usize| -> Vec<u8> { (0..=255).cycle().take(length).collect() };
    let mut expected = Vec::new();
    for name in [1, 2, 16, 21, 22, 23, 31, 32, 254, 255] {
        for value in [0, 1, 255, 256, 1024, 4096, 65_535, 65_536] {
            let mut name = bytes(name);
            // Names of a length differ by the size of the value.
            name[0] = u8::try_from(value % 251).unwrap();
            let key = Key::new(Space::Vault, &name);
            if store.load(&key).is_some() {
                continue;
            }
            assert_eq!(
                store.commit(vec![make(&key, &bytes(value), at(1))]),
                Commit::Done
            );
            expected.push((key, bytes(value)));
        }
    }
    assert!(expected.len() > 60);
    for (key, value) in &expected {
        assert_eq!(&store.load(key).unwrap().value, value, "{key:?}");
    }
    let (key, _) = &expected[expected.len() - 1];
    store.commit(vec![put(key, 1, b"", at(1))]);
    assert_eq!(store.load(key).unwrap().value, b"");
    store.commit(vec![put(key, 2, &bytes(65_536), at(1))]);
    assert_eq!(store.load(key).unwrap().value, bytes(65_536));
}

/// No terminator, no padding, no case.
pub fn names_that_begin_alike_are_different_keys(place: &dyn Place) {
    let store = Asked::at(place);
    let names: [&[u8]; 7] = [b"a", b"a\0", b"a\0\0", b"aa", b"A", b"a\xff", b"\0a"];
    for (number, name) in names.iter().enumerate() {
        let key = Key::new(Space::Session, name);
        assert_eq!(store.load(&key), None);
        store.commit(vec![make(&key, number.to_string().as_bytes(), at(1))]);
    }
    for (number, name) in names.iter().enumerate() {
        let key = Key::new(Space::Session, name);
        assert_eq!(
            store.load(&key).unwrap().value,
            number.to_string().as_bytes()
        );
    }
    assert_eq!(store.count(Space::Session), 7);
}

/// One name in every space is as many keys.
pub fn spaces_are_kept_apart(place: &dyn Place) {
    let store = Asked::at(place);
    for space in Space::ALL {
        let key = Key::new(space, b"name");
        assert_eq!(store.load(&key), None);
        assert_eq!(
            store.commit(vec![make(&key, &[space.number()], at(1))]),
            Commit::Done
        );
    }
    for space in Space::ALL {
        let key = Key::new(space, b"name");
        assert_eq!(store.all(space), [(at(1), key.clone())]);
        assert_eq!(store.load(&key).unwrap().value, [space.number()]);
    }
    store.commit(vec![remove(&Key::new(Space::Session, b"name"), 1)]);
    for space in Space::ALL {
        let left = u64::from(space != Space::Session);
        assert_eq!(store.count(space), left);
    }
}

/// Whoever hung up finds all of it or nothing, and the store goes on.
pub fn a_dropped_commit_happened_whole_or_not_at_all(place: &dyn Place) {
    let store = Asked::at(place);
    let mut context = Context::from_waker(Waker::noop());
    for round in 0..50 {
        let (a, b) = (key(&format!("a{round}")), key(&format!("b{round}")));
        let changes = vec![make(&a, b"a", at(1)), make(&b, b"b", at(1))];
        {
            let mut commit = pin!(store.0.commit(changes, Durability::Durable));
            if round % 5 != 0 {
                let _polled_once = commit.as_mut().poll(&mut context);
            }
        }
        // What comes later meets a settled state: commits are judged in order.
        assert_eq!(store.commit(vec![]), Commit::Done);
        let other = make(&key(&format!("c{round}")), b"c", at(1));
        assert_eq!(store.commit(vec![other]), Commit::Done);
        assert_eq!(store.load(&a).is_some(), store.load(&b).is_some());
    }
    store.everything();
}

/// Asking is not doing.
pub fn a_dropped_load_changes_nothing(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("a");
    store.commit(vec![make(&key, b"a", at(1))]);
    drop(store.0.load(&key));
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut load = pin!(store.0.load(&key));
        let _polled_once = load.as_mut().poll(&mut context);
    }
    assert_eq!(store.version(&key), 1);
    assert!(wait(store.0.load(&key)).is_ok());
}

/// An eviction may end many sessions at once.
pub fn many_changes_in_one_commit_are_one_commit(place: &dyn Place) {
    let store = Asked::at(place);
    let keys: Vec<Key> = (0..2_000).map(|number| key(&number.to_string())).collect();
    let makes = keys.iter().map(|key| make(key, &[7; 400], at(1))).collect();
    assert_eq!(store.commit(makes), Commit::Done);
    assert_eq!(store.count(Space::Session), 2_000);
    let mut removes: Vec<_> = keys.iter().map(|key| remove(key, 1)).collect();
    removes.push(remove(&key("nobody"), 1));
    assert_eq!(store.commit(removes.clone()), Commit::Stale);
    assert_eq!(store.count(Space::Session), 2_000);
    removes.pop();
    assert_eq!(store.commit(removes), Commit::Done);
    assert_eq!(store.count(Space::Session), 0);
}
