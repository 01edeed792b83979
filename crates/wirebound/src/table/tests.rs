//! The table alone: named cases.

use super::*;
use crate::Role;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn live(n: u64) -> Live {
    let [a, b, c, d, e, f, g, h] = n.to_le_bytes();
    Live {
        id: SessionId::from_bytes([a, b, c, d, e, f, g, h, 7, 9]),
        place: n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16,
        digest: [a; 16],
        role: Role::USER,
        raised: None,
        ceiling: Role::ADMIN,
        blocked: false,
        identity_until: at(1_000_000),
        absolute: at(900_000),
        idle: Lifetime::from_millis(60_000),
        last_active: at(100_000),
    }
}

fn put(table: &Table, live: &Live) -> Handle {
    table
        .insert(live)
        .handle()
        .unwrap_or_else(|| panic!("the table is full"))
}

#[test]
fn what_goes_in_comes_out() {
    let table = Table::new();
    let mut session = live(3);
    session.raised = Some((Role::ranked(200), at(500_000)));
    session.digest = core::array::from_fn(|i| u8::try_from(i).unwrap());
    let handle = put(&table, &session);
    assert_eq!(handle.snapshot(), Some(session));
    assert_eq!(handle.id(), session.id);
    assert_eq!(handle.place(), session.place);
    assert!(handle.matches(&session.digest));
    assert!(!handle.matches(&[0; 16]));
    assert_eq!(
        table.find(session.place, session.id).unwrap().snapshot(),
        Some(session)
    );
    assert_eq!(table.len(), 1);
}

#[test]
fn every_bit_of_the_name_counts() {
    let table = Table::new();
    let session = live(3);
    put(&table, &session);
    for bit in 0..48 {
        assert!(
            table.find(session.place ^ (1 << bit), session.id).is_none(),
            "{bit}"
        );
    }
    for at in 0..10 {
        let mut bytes = *session.id.as_bytes();
        bytes[at] ^= 1;
        let other = SessionId::from_bytes(bytes);
        assert!(table.find(session.place, other).is_none(), "{at}");
    }
}

#[test]
fn an_insert_replaces_nothing() {
    let table = Table::new();
    put(&table, &live(1));
    let mut second = live(1);
    second.role = Role::ADMIN;
    let Inserted::Present(handle) = table.insert(&second) else {
        panic!("it was there already");
    };
    assert_eq!(handle.snapshot().unwrap().role, Role::USER);
    assert_eq!(table.len(), 1);
}

#[test]
fn each_clock_ends_a_session_exactly_at_its_moment() {
    let moment = 200_000;
    for over in [Over::IdentityExpired, Over::Absolute, Over::Idle] {
        let mut session = live(1);
        session.idle = Lifetime::from_hours(1);
        match over {
            Over::IdentityExpired => session.identity_until = at(moment),
            Over::Absolute => session.absolute = at(moment),
            Over::Gone | Over::Blocked | Over::Idle => {
                session.idle = Lifetime::from_millis(100_000);
            }
        }
        // A use refreshes: another table is asked one millisecond before.
        assert!(put(&Table::new(), &session).check(at(moment - 1)).is_ok());
        let handle = put(&Table::new(), &session);
        assert_eq!(handle.check(at(moment)), Err(over));
        assert_eq!(
            handle.check(at(moment - 1)),
            Err(over),
            "the clock went back"
        );
        assert!(handle.update(|l| l.last_active = at(moment)));
        assert_eq!(
            handle.check(at(moment)),
            Err(over),
            "an update revives nothing"
        );
    }
}

#[test]
fn a_use_keeps_a_session_awake_and_a_stranger_does_not() {
    let table = Table::new();
    let session = live(1);
    let handle = put(&table, &session);
    assert!(
        table
            .check_by_id(session.place, session.id, &[9; 16], at(150_000))
            .is_none()
    );
    assert_eq!(handle.last_active(), Some(at(100_000)));
    assert!(
        table
            .check_by_id(session.place, session.id, &session.digest, at(150_000))
            .unwrap()
            .is_ok()
    );
    assert_eq!(handle.last_active(), Some(at(150_000)));
    assert!(handle.check(at(150_999)).is_ok());
    assert_eq!(
        handle.last_active(),
        Some(at(150_000)),
        "the tick did not change"
    );
    assert!(handle.check(at(120_000)).is_ok());
    assert_eq!(
        handle.last_active(),
        Some(at(150_000)),
        "the clock went back"
    );
    assert!(handle.check(at(209_999)).is_ok());
    assert_eq!(handle.check(at(269_999)), Err(Over::Idle));
}

#[test]
fn an_idle_time_shorter_than_the_tick_does_not_end_who_is_active() {
    let mut session = live(1);
    session.idle = Lifetime::from_millis(400);
    let handle = put(&Table::new(), &session);
    for step in 0..100 {
        assert!(handle.check(at(100_000 + step * 300)).is_ok(), "{step}");
    }
}

#[test]
fn the_role_in_force_ends_on_time_and_stays_ended() {
    let table = Table::new();
    let mut session = live(1);
    session.raised = Some((Role::ADMIN, at(120_000)));
    session.ceiling = Role::ranked(100);
    let handle = put(&table, &session);
    assert_eq!(handle.check(at(119_999)).unwrap().role, Role::ranked(100));
    assert_eq!(handle.check(at(120_000)).unwrap().role, Role::USER);
    assert_eq!(
        handle.check(at(119_999)).unwrap().role,
        Role::USER,
        "the clock went back"
    );
    assert_eq!(handle.snapshot().unwrap().raised, None);
    assert!(handle.update(|l| l.ceiling = Role::GUEST));
    assert_eq!(handle.check(at(120_000)).unwrap().role, Role::GUEST);
}

#[test]
fn blocking_holds_at_once_and_can_be_lifted() {
    let handle = put(&Table::new(), &live(1));
    assert!(handle.update(|l| l.blocked = true));
    assert_eq!(handle.check(at(100_000)), Err(Over::Blocked));
    assert!(handle.update(|l| l.blocked = false));
    assert!(handle.check(at(100_000)).is_ok());
}

#[test]
fn a_recycled_slot_does_not_answer_for_its_former_owner() {
    let table = Table::new();
    let old = put(&table, &live(1));
    assert!(table.remove(live(1).place, live(1).id));
    assert!(!table.remove(live(1).place, live(1).id));
    let new = put(&table, &live(2));
    assert_eq!(old.check(at(100_000)), Err(Over::Gone));
    assert!(!old.matches(&live(2).digest));
    assert!(!old.update(|l| l.role = Role::ADMIN));
    assert_eq!((old.snapshot(), old.last_active()), (None, None));
    assert_eq!(new.snapshot(), Some(live(2)));
    assert!(table.find(live(1).place, live(1).id).is_none());
}

#[test]
fn a_slot_is_retired_before_its_generation_comes_round() {
    let table = Table::new();
    let first = put(&table, &live(1));
    assert!(table.remove(live(1).place, live(1).id));
    for _ in 0..(1 << 18) {
        put(&table, &live(2));
        assert!(table.remove(live(2).place, live(2).id));
        assert_eq!(first.check(at(100_000)), Err(Over::Gone));
    }
    assert_eq!(table.used.load(Ordering::Relaxed), 2);
}

#[test]
fn the_same_place_holds_different_sessions() {
    let table = Table::new();
    // Both homes of one place hold sixteen entries until the index doubles, which does not part them.
    for n in 0..12 {
        let mut session = live(n);
        session.place = 5;
        put(&table, &session);
    }
    for n in 0..12 {
        assert_eq!(table.find(5, live(n).id).unwrap().id(), live(n).id);
    }
    assert!(table.find(5, live(99).id).is_none());
}

#[test]
fn places_that_are_all_the_same_fill_the_table_and_not_the_memory() {
    let table = Table::new();
    let held = (0..1_000)
        .filter(|n| {
            let mut session = live(*n);
            session.place = 5;
            !matches!(table.insert(&session), Inserted::Full)
        })
        .count();
    assert!((8..=16).contains(&held), "{held}");
    assert_eq!(table.len(), u64::try_from(held).unwrap());
    assert!(matches!(table.insert(&live(2_000)), Inserted::New(_)));
}

#[test]
fn growing_loses_nobody() {
    let table = Table::new();
    for n in 0..50_000 {
        put(&table, &live(n));
    }
    assert_eq!(table.len(), 50_000);
    for n in 0..50_000 {
        let session = live(n);
        assert_eq!(
            table.find(session.place, session.id).unwrap().snapshot(),
            Some(session)
        );
        assert_eq!(
            table.remove(session.place, session.id),
            n % 2 == 0 || n % 2 == 1
        );
    }
    assert!(table.is_empty());
}

#[test]
fn a_walk_sees_each_session_once_and_may_remove() {
    let table = Table::new();
    for n in 0..5_000 {
        put(&table, &live(n));
    }
    let mut cursor = Cursor::default();
    let mut seen = 0;
    loop {
        let more = table.walk(&mut cursor, 100, at(160_000), |session| {
            seen += 1;
            assert_eq!(session.over, Some(Over::Idle));
            let n = u64::from_le_bytes(session.id.as_bytes()[..8].try_into().unwrap());
            assert!(table.remove(live(n).place, session.id));
        });
        if more == Walk::Done {
            break;
        }
    }
    assert_eq!((seen, table.len()), (5_000, 0));
}

#[test]
fn moments_too_far_ahead_are_cut_and_never_lengthened() {
    let mut session = live(1);
    session.absolute = at(u64::MAX - 1);
    session.identity_until = Timestamp::NEVER;
    session.idle = Lifetime::from_millis(u64::MAX);
    let kept = put(&Table::new(), &session).snapshot().unwrap();
    assert!(kept.absolute < session.absolute && kept.absolute > at(1 << 43));
    assert_eq!(kept.identity_until, Timestamp::NEVER);
    assert!(kept.idle < session.idle && kept.idle > Lifetime::from_days(365 * 34));
}

#[test]
fn a_panic_in_an_update_leaves_the_session_usable() {
    let handle = put(&Table::new(), &live(1));
    let copy = handle.clone();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        copy.update(|_| panic!("in the middle of a change"));
    }));
    assert!(broken.is_err());
    assert!(handle.update(|l| l.role = Role::GUEST));
    assert_eq!(handle.check(at(100_000)).unwrap().role, Role::GUEST);
}
