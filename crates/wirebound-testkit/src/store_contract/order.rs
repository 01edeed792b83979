//! What is due, in order, and how many there are.

use wirebound::Timestamp;
use wirebound::store::{Commit, Key, Space};

use super::{Asked, Place, at, key, make, put, remove};

fn filled(place: &dyn Place, entries: &[(&str, u64)]) -> Asked {
    let store = Asked::at(place);
    for (name, due) in entries {
        assert_eq!(
            store.commit(vec![make(&key(name), b"v", at(*due))]),
            Commit::Done
        );
    }
    store
}

fn entries(named: &[(&str, u64)]) -> Vec<(Timestamp, Key)> {
    named
        .iter()
        .map(|(name, due)| (at(*due), key(name)))
        .collect()
}

/// Also where numbers grow a digit, and where bytes are not text.
pub fn due_is_ordered_by_moment_then_name(place: &dyn Place) {
    let store = filled(
        place,
        &[("z", 5), ("b", 300), ("a", 300), ("aa", 300), ("y", 70_000)],
    );
    let high = Key::new(Space::Session, &[0xff]);
    let low = Key::new(Space::Session, &[0]);
    store.commit(vec![make(&high, b"", at(300)), make(&low, b"", at(300))]);
    let mut expected = entries(&[("z", 5)]);
    expected.push((at(300), low));
    expected.extend(entries(&[("a", 300), ("aa", 300), ("b", 300)]));
    expected.push((at(300), high));
    expected.extend(entries(&[("y", 70_000)]));
    assert_eq!(store.all(Space::Session), expected);
}

/// At or before.
pub fn due_includes_its_limit_moment_and_nothing_later(place: &dyn Place) {
    let store = filled(place, &[("a", 0), ("b", 10), ("c", 11)]);
    let until = |millis| store.due(Space::Session, at(millis), None, 9);
    assert_eq!(until(0), entries(&[("a", 0)]));
    assert_eq!(until(9), entries(&[("a", 0)]));
    assert_eq!(until(10), entries(&[("a", 0), ("b", 10)]));
    assert_eq!(until(11).len(), 3);
}

/// A sweep goes page by page and meets each key once.
pub fn due_gives_at_most_as_many_as_asked_and_goes_on_after_the_cursor(place: &dyn Place) {
    let named: Vec<(String, u64)> = (0..50_u64)
        .map(|number| (format!("k{number:02}"), number / 7))
        .collect();
    let named: Vec<(&str, u64)> = named
        .iter()
        .map(|(name, due)| (name.as_str(), *due))
        .collect();
    let store = filled(place, &named);
    assert_eq!(store.due(Space::Session, Timestamp::NEVER, None, 0), []);
    for limit in [1, 3, 7, 50, 51] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.due(Space::Session, at(5), after.clone(), limit);
            assert!(page.len() <= limit);
            let Some(last) = page.last().cloned() else {
                break;
            };
            after = Some(last);
            found.extend(page);
        }
        assert_eq!(found, entries(&named[..42]), "in pages of {limit}");
    }
}

/// A sweep removes what it found and goes on from there.
pub fn a_cursor_whose_key_is_gone_still_holds_its_place(place: &dyn Place) {
    let store = filled(place, &[("a", 1), ("b", 1), ("c", 1), ("d", 2)]);
    store.commit(vec![remove(&key("b"), 1)]);
    assert_eq!(
        store.due(Space::Session, at(9), Some((at(1), key("b"))), 9),
        entries(&[("c", 1), ("d", 2)])
    );
    assert_eq!(
        store.due(Space::Session, at(9), Some((at(1), key("zzz"))), 9),
        entries(&[("d", 2)])
    );
    assert_eq!(
        store.due(Space::Session, at(9), Some((Timestamp::NEVER, key("a"))), 9),
        []
    );
}

/// A key stands in the order once, where its last put placed it.
pub fn a_put_moves_its_key_in_the_order_and_a_removal_takes_it_out(place: &dyn Place) {
    let store = filled(place, &[("a", 1), ("b", 2)]);
    store.commit(vec![put(&key("a"), 1, b"w", at(3))]);
    assert_eq!(store.all(Space::Session), entries(&[("b", 2), ("a", 3)]));
    store.commit(vec![put(&key("a"), 2, b"x", at(3))]);
    assert_eq!(store.all(Space::Session), entries(&[("b", 2), ("a", 3)]));
    store.commit(vec![put(&key("a"), 3, b"y", at(0))]);
    assert_eq!(store.all(Space::Session), entries(&[("a", 0), ("b", 2)]));
    store.commit(vec![remove(&key("a"), 4)]);
    assert_eq!(store.all(Space::Session), entries(&[("b", 2)]));
}

/// What an operator set does not expire, and is found nevertheless.
pub fn never_walks_the_whole_space(place: &dyn Place) {
    let store = filled(place, &[("a", u64::MAX), ("b", 0), ("c", u64::MAX - 1)]);
    assert_eq!(
        store.all(Space::Session),
        entries(&[("b", 0), ("c", u64::MAX - 1), ("a", u64::MAX)])
    );
    assert_eq!(
        store.due(Space::Session, at(u64::MAX - 1), None, 9).len(),
        2
    );
}

/// Whatever is done, in whichever space.
pub fn counts_follow_every_change(place: &dyn Place) {
    let store = Asked::at(place);
    for (number, space) in Space::ALL.into_iter().enumerate() {
        for name in 0..=number {
            let key = Key::new(space, name.to_string().as_bytes());
            store.commit(vec![make(&key, b"", at(1))]);
            store.commit(vec![put(&key, 1, b"", at(2))]);
            store.commit(vec![make(&key, b"", at(3))]);
        }
    }
    for (number, space) in Space::ALL.into_iter().enumerate() {
        let there = u64::try_from(number).unwrap() + 1;
        assert_eq!(store.count(space), there);
        store.commit(vec![remove(&Key::new(space, b"0"), 1)]);
        assert_eq!(store.count(space), there);
        store.commit_soon(vec![remove(&Key::new(space, b"0"), 2)]);
        assert_eq!(store.count(space), there - 1);
    }
}
