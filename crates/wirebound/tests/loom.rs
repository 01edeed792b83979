//! Models of the live table, and of the wires that hang on it, under every order of threads and memory that loom can
//! bring about.
//!
//! The reader is always the thread that is spawned: loom runs the first thread to its end, then looks for another order
//! wherever a later load meets an earlier store. The other way round it remembers only the last access to a word, which
//! is then the writer's own, and tries one order alone. `check` fails a model that did.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p wirebound --release --test loom`. Without that flag this file is empty.
#![cfg(loom)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a model that fails has to stop, and says how many orders it tried"
)]

#[path = "loom/attachments.rs"]
mod attachments;

use std::sync::Arc;

use loom::thread;
use wirebound::table::{Inserted, Live, Over, Table};
use wirebound::{Lifetime, Role, SessionId, Timestamp};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Session `n`: its role and its last use tell whose facts a check answered from.
fn live(n: u8) -> Live {
    Live {
        id: SessionId::from_bytes([n; 10]),
        place: u64::from(n),
        digest: [n; 16],
        role: Role::ranked(n),
        raised: None,
        ceiling: Role::ADMIN,
        blocked: false,
        identity_until: at(1_000_000),
        absolute: at(1_000_000),
        idle: Lifetime::from_millis(10_000),
        last_active: at(100_000),
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    check_to(2, model);
}

fn check_to(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let orders = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    // More: LOOM_MAX_PREEMPTIONS=3, for an hour that nobody needs.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let orders = orders.load(std::sync::atomic::Ordering::Relaxed);
    println!("{orders} orders");
    assert!(orders > 10, "only {orders} orders were tried");
}

/// A slot changes hands while its former owner's handle is asked.
#[test]
fn a_recycled_slot_never_answers_for_its_former_owner() {
    check(|| {
        let table = Table::new();
        let old = table.insert(&live(1)).handle().unwrap();
        let asker = thread::spawn(move || {
            match old.check(at(100_000)) {
                Ok(standing) => assert_eq!(standing.role, Role::ranked(1)),
                Err(over) => assert_eq!(over, Over::Gone),
            }
            old
        });
        assert!(table.remove(live(1).place, live(1).id));
        let new = table.insert(&live(2)).handle().unwrap();
        let old = asker.join().unwrap();
        assert_eq!(old.check(at(100_000)), Err(Over::Gone));
        assert_eq!(new.check(at(100_000)).unwrap().role, Role::ranked(2));
    });
}

/// The former owner's handle is asked for the next owner's secret.
#[test]
fn a_recycled_slot_never_takes_the_next_secret_for_the_former_owner() {
    check_to(1, || {
        let table = Table::new();
        let old = table.insert(&live(1)).handle().unwrap();
        let asker = thread::spawn(move || assert!(!old.matches(&[2; 16])));
        assert!(table.remove(live(1).place, live(1).id));
        table.insert(&live(2)).handle().unwrap();
        asker.join().unwrap();
    });
}

/// Puts a session where another was: the same entry of the index, the same slot.
fn replace(table: &Table) {
    assert!(table.remove(live(1).place, live(1).id));
    let mut next = live(2);
    next.place = live(1).place;
    table.insert(&next).handle().unwrap();
}

/// A lookup races with the recycling of the slot that the index names.
#[test]
fn a_lookup_never_finds_another_session() {
    check(|| {
        let table = Arc::new(Table::new());
        table.insert(&live(1)).handle().unwrap();
        let asker = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.find(live(1).place, live(1).id))
        };
        replace(&table);
        if let Some(found) = asker.join().unwrap() {
            assert_eq!(found.check(at(100_000)), Err(Over::Gone));
        }
    });
}

/// A check by id races with it: the next owner's role is never answered.
#[test]
fn a_check_by_id_never_answers_for_another_session() {
    check_to(1, || {
        let table = Arc::new(Table::new());
        table.insert(&live(1)).handle().unwrap();
        let asker = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let at_its_time = at(100_000);
                match table.check_by_id(live(1).place, live(1).id, &[1; 16], at_its_time) {
                    Some(Ok(standing)) => assert_eq!(standing.role, Role::ranked(1)),
                    Some(Err(over)) => panic!("{over:?}"),
                    None => (),
                }
            })
        };
        replace(&table);
        asker.join().unwrap();
    });
}

/// The index doubles under a reader: whoever was there before is found, whoever comes may be missed.
#[test]
fn growing_hides_nobody() {
    check(|| {
        let table = Arc::new(Table::new());
        table.insert(&live(1)).handle().unwrap();
        let asker = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let found = table.find(live(1).place, live(1).id).unwrap();
                assert_eq!(found.id(), live(1).id);
                if let Some(late) = table.find(live(2).place, live(2).id) {
                    assert_eq!(late.snapshot().unwrap(), live(2));
                }
            })
        };
        assert!(matches!(table.insert(&live(2)), Inserted::New(_)));
        asker.join().unwrap();
        for n in 1..=2 {
            assert!(table.find(live(n).place, live(n).id).is_some());
        }
    });
}

/// Role, ceiling, digest and end change together: nobody sees one of them with another's former value.
#[test]
fn a_check_sees_all_of_an_update_or_nothing() {
    check(|| {
        let table = Table::new();
        let handle = table.insert(&live(1)).handle().unwrap();
        let asker = {
            let handle = handle.clone();
            thread::spawn(move || {
                let seen = handle.snapshot().unwrap();
                let new = seen.digest == [50; 16];
                assert_eq!(seen.ceiling == Role::ranked(50), new);
                assert_eq!(seen.raised == Some((Role::ranked(50), at(200_000))), new);
                assert_eq!(seen.raised.is_some(), new);
                assert_eq!(seen.absolute == at(500_000), new);
            })
        };
        assert!(handle.update(|l| {
            l.ceiling = Role::ranked(50);
            l.digest = [50; 16];
            l.raised = Some((Role::ranked(50), at(200_000)));
            l.absolute = at(500_000);
        }));
        asker.join().unwrap();
        assert_eq!(handle.check(at(100_000)).unwrap().role, Role::ranked(50));
    });
}

/// The same for the role that a check answers: the base role and the ceiling change places, their least does not.
#[test]
fn a_check_never_mixes_role_and_ceiling() {
    check(|| {
        let table = Table::new();
        let mut session = live(1);
        session.ceiling = Role::ranked(200);
        let handle = table.insert(&session).handle().unwrap();
        let asker = {
            let handle = handle.clone();
            thread::spawn(move || {
                let role = handle.check(at(100_000)).unwrap().role;
                assert_eq!(role, Role::ranked(1));
            })
        };
        assert!(handle.update(|l| (l.role, l.ceiling) = (l.ceiling, l.role)));
        asker.join().unwrap();
    });
}

/// Two writers of one slot: neither change is lost.
#[test]
fn two_updates_both_hold() {
    check(|| {
        let table = Table::new();
        let handle = table.insert(&live(1)).handle().unwrap();
        let other = {
            let handle = handle.clone();
            thread::spawn(move || assert!(handle.update(|l| l.blocked = true)))
        };
        assert!(handle.update(|l| l.ceiling = Role::GUEST));
        other.join().unwrap();
        let seen = handle.snapshot().unwrap();
        assert!(seen.blocked && seen.ceiling == Role::GUEST);
    });
}

/// A check that refreshes `last_active` is overtaken by the end of the session and the next owner of its slot.
#[test]
fn a_late_touch_misses_the_next_owner() {
    check(|| {
        let table = Arc::new(Table::new());
        let old = table.insert(&live(1)).handle().unwrap();
        let late = thread::spawn(move || {
            let _ = old.check(at(105_000));
        });
        assert!(table.remove(live(1).place, live(1).id));
        let new = table.insert(&live(2)).handle().unwrap();
        assert_eq!(new.last_active(), Some(at(100_000)));
        late.join().unwrap();
        assert_eq!(new.last_active(), Some(at(100_000)));
        assert_eq!(new.check(at(110_000)), Err(Over::Idle));
    });
}

/// Two checks at the border of the idle time: whoever was answered "idle" was right for good.
#[test]
fn nothing_revives_what_was_found_idle() {
    check(|| {
        let table = Table::new();
        let handle = table.insert(&live(1)).handle().unwrap();
        let early = {
            let handle = handle.clone();
            thread::spawn(move || handle.check(at(109_999)).is_ok())
        };
        let late = handle.check(at(110_000));
        let early = early.join().unwrap();
        let after = handle.check(at(110_001));
        if late.is_ok() {
            assert!(early && after.is_ok());
        } else {
            assert_eq!((late, after), (Err(Over::Idle), Err(Over::Idle)));
        }
    });
}

/// An elevation that one check saw spent is spent for every later one, and an update beside it is not lost.
#[test]
fn a_spent_elevation_takes_nothing_with_it() {
    check(|| {
        let table = Table::new();
        let mut session = live(1);
        session.raised = Some((Role::ADMIN, at(101_000)));
        let handle = table.insert(&session).handle().unwrap();
        let writer = {
            let handle = handle.clone();
            thread::spawn(move || {
                assert!(handle.update(|l| l.raised = Some((Role::ranked(9), at(105_000)))));
            })
        };
        let role = handle.check(at(101_000)).unwrap().role;
        assert!(role == Role::ranked(1) || role == Role::ranked(9));
        writer.join().unwrap();
        assert_eq!(handle.check(at(101_000)).unwrap().role, Role::ranked(9));
    });
}
