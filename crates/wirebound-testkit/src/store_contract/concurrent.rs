//! Many callers at once, each on a thread of its own.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wirebound::store::{Commit, Key, Space};

use super::{Asked, Place, at, check_absent, key, make, put, remove};

const MANY: u64 = 64;

/// Runs something on as many threads, all starting together, and tells how many answered `Done`.
fn together(many: u64, act: impl Fn(u64) -> Commit + Sync) -> usize {
    let start = Barrier::new(usize::try_from(many).unwrap());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..many)
            .map(|number| {
                let (start, act) = (&start, &act);
                scope.spawn(move || {
                    start.wait();
                    act(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|commit| *commit == Commit::Done)
            .count()
    })
}

/// The compare-and-swap that everything rests on.
pub fn of_64_writers_of_one_version_exactly_one_wins_each_round(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("contested");
    store.commit(vec![make(&key, b"", at(1))]);
    for round in 1..=20 {
        let winner = AtomicU64::new(u64::MAX);
        let won = together(MANY, |number| {
            let commit = store.commit(vec![put(&key, round, &number.to_be_bytes(), at(1))]);
            if commit == Commit::Done {
                winner.store(number, Ordering::SeqCst);
            }
            commit
        });
        assert_eq!(won, 1, "round {round}");
        let stored = store.load(&key).unwrap();
        assert_eq!(stored.version.as_u64(), round + 1);
        assert_eq!(stored.value, winner.into_inner().to_be_bytes());
    }
}

/// Sign-ins of one single admin: each removes whoever is in and puts itself there.
pub fn of_64_creators_of_one_key_exactly_one_wins(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("admin");
    for round in 0..20 {
        let won = together(MANY, |number| {
            let mine = self::key(&format!("mine{number}"));
            let commit = vec![make(&mine, b"", at(1)), make(&key, b"", at(1))];
            if number % 2 == 0 {
                store.commit(commit)
            } else {
                store.commit_soon(commit)
            }
        });
        assert_eq!(won, 1, "round {round}");
        let there = store.all(Space::Session);
        assert_eq!(there.len(), 2, "the losers left nothing");
        assert_eq!(
            store.commit(there.iter().map(|(_, key)| remove(key, 1)).collect()),
            Commit::Done
        );
    }
}

/// Write skew: each is right alone, and both together are not.
pub fn two_commits_that_check_each_others_key_do_not_both_pass(place: &dyn Place) {
    let store = Asked::at(place);
    for round in 0..100 {
        let keys = [key(&format!("l{round}")), key(&format!("r{round}"))];
        let won = together(2, |number| {
            let (mine, others) = if number == 0 {
                (&keys[0], &keys[1])
            } else {
                (&keys[1], &keys[0])
            };
            store.commit(vec![check_absent(others), make(mine, b"", at(1))])
        });
        assert_eq!(won, 1, "round {round}");
    }
}

/// Whoever is told of it by whatever way finds it there.
pub fn what_is_done_is_seen_on_every_handle_at_once(place: &dyn Place) {
    let store = Asked::at(place);
    let key = key("told");
    store.commit(vec![make(&key, b"", at(0))]);
    let told = AtomicU64::new(1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let handle = store.clone();
            let (told, over, key) = (&told, &over, &key);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let heard = told.load(Ordering::SeqCst);
                    let stored = handle.load(key).unwrap();
                    assert!(stored.version.as_u64() >= heard, "an old value was read");
                    let listed = handle.all(Space::Session);
                    assert!(listed[0].0 >= at(heard - 1), "an old order was read");
                }
            });
        }
        for version in 1..300 {
            let change = vec![put(&key, version, b"", at(version))];
            let commit = if version % 3 == 0 {
                store.commit_soon(change)
            } else {
                store.commit(change)
            };
            assert_eq!(commit, Commit::Done);
            told.store(version + 1, Ordering::SeqCst);
        }
        over.store(true, Ordering::SeqCst);
    });
}

/// Two keys change together, always; whoever reads one and then the other never finds the other behind.
pub fn no_reader_sees_half_a_commit(place: &dyn Place) {
    let store = Asked::at(place);
    let (a, b) = (key("a"), Key::new(Space::Identity, b"b"));
    store.commit(vec![make(&a, b"", at(1)), make(&b, b"", at(1))]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (first, second) in [(&a, &b), (&b, &a)] {
            let (handle, over) = (store.clone(), &over);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let before = handle.version(first);
                    let after = handle.version(second);
                    assert!(after >= before, "{second:?} is behind {first:?}");
                }
            });
        }
        for version in 1..300 {
            let changes = vec![put(&a, version, b"", at(1)), put(&b, version, b"", at(1))];
            assert_eq!(store.commit(changes), Commit::Done);
        }
        over.store(true, Ordering::SeqCst);
    });
}

/// Eight callers move units between four accounts; the sum stays.
pub fn nothing_is_lost_or_doubled_when_many_move_values_about(place: &dyn Place) {
    const ACCOUNTS: u64 = 4;
    let store = Asked::at(place);
    let account = |number: u64| key(&format!("account{}", number % ACCOUNTS));
    let amount = |value: &[u8]| u64::from_be_bytes(value.try_into().unwrap());
    for number in 0..ACCOUNTS {
        store.commit(vec![make(&account(number), &100_u64.to_be_bytes(), at(1))]);
    }
    let moved = AtomicU64::new(0);
    together(8, |caller| {
        for step in 0..40 {
            let (from, to) = (
                account(caller + step),
                account(caller + step * 3 + step % 2 + 1),
            );
            if from == to {
                continue;
            }
            let (source, target) = (store.load(&from).unwrap(), store.load(&to).unwrap());
            let Some(left) = amount(&source.value).checked_sub(1) else {
                continue;
            };
            let more = amount(&target.value) + 1;
            let changes = vec![
                put(&from, source.version.as_u64(), &left.to_be_bytes(), at(1)),
                put(&to, target.version.as_u64(), &more.to_be_bytes(), at(1)),
            ];
            if store.commit(changes) == Commit::Done {
                moved.fetch_add(1, Ordering::SeqCst);
            }
        }
        Commit::Done
    });
    let there: Vec<_> = (0..ACCOUNTS)
        .map(|number| store.load(&account(number)).unwrap())
        .collect();
    let sum: u64 = there.iter().map(|stored| amount(&stored.value)).sum();
    assert_eq!(sum, 100 * ACCOUNTS);
    let puts: u64 = there.iter().map(|stored| stored.version.as_u64() - 1).sum();
    assert_eq!(puts, 2 * moved.into_inner());
    assert!(puts > 0, "somebody always wins");
}
