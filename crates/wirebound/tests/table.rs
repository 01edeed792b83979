//! The live table beside a plain model, and under threads that recycle its slots.
#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that fails has to stop"
)]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;
use wirebound::table::{Cursor, Handle, Inserted, Live, Over, Table, Walk};
use wirebound::{Lifetime, Role, SessionId, Timestamp};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn id(n: u64) -> SessionId {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&n.to_be_bytes());
    SessionId::from_bytes(bytes)
}

/// Digest and role follow from the number: whoever answers with others answers for somebody else.
fn live(n: u64, now: u64) -> Live {
    let [.., low] = mixed(n).to_be_bytes();
    Live {
        id: id(n),
        place: mixed(n),
        digest: u128::from(mixed(n)).to_le_bytes(),
        role: Role::ranked(low),
        raised: None,
        ceiling: Role::ADMIN,
        blocked: false,
        identity_until: at(now + 500_000),
        absolute: at(now + 300_000),
        idle: Lifetime::from_millis(20_000),
        last_active: at(now),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(u64),
    Check(usize),
    ById(u64, bool),
    Find(u64),
    Pass(u64),
    GoBack(u64),
    Block(usize, bool),
    Raise(usize, u8, u64),
    Ceiling(usize, u8),
    Extend(usize, u64),
    Walk,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..40_u64;
    let h = 0..200_usize;
    let step = prop_oneof![
        6 => n.clone().prop_map(Step::Insert),
        3 => n.clone().prop_map(Step::Remove),
        8 => h.clone().prop_map(Step::Check),
        5 => (n.clone(), any::<bool>()).prop_map(|(n, good)| Step::ById(n, good)),
        2 => n.prop_map(Step::Find),
        4 => (0..15_000_u64).prop_map(Step::Pass),
        1 => (0..5_000_u64).prop_map(Step::GoBack),
        1 => (h.clone(), any::<bool>()).prop_map(|(h, to)| Step::Block(h, to)),
        2 => (h.clone(), any::<u8>(), 0..40_000_u64).prop_map(|(h, r, t)| Step::Raise(h, r, t)),
        1 => (h.clone(), any::<u8>()).prop_map(|(h, r)| Step::Ceiling(h, r)),
        1 => (h, 0..100_000_u64).prop_map(|(h, t)| Step::Extend(h, t)),
        1 => Just(Step::Walk),
    ];
    prop::collection::vec(step, 1..400)
}

/// A session as somebody would write it who has one thread and no need for speed.
#[derive(Debug)]
struct Plain {
    live: Live,
    over: Option<Over>,
}

impl Plain {
    fn check(&mut self, now: u64) -> Result<Role, Over> {
        if self.live.blocked {
            return Err(Over::Blocked);
        }
        if let Some(over) = self.over {
            return Err(over);
        }
        let idle_at = self.live.last_active.as_millis() + self.live.idle.as_millis();
        let ends = [
            (self.live.identity_until.as_millis(), Over::IdentityExpired),
            (self.live.absolute.as_millis(), Over::Absolute),
            (idle_at, Over::Idle),
        ];
        if let Some((_, over)) = ends.into_iter().find(|(end, _)| now >= *end) {
            self.over = Some(over);
            return Err(over);
        }
        if now >= self.live.last_active.as_millis() + 1_000 {
            self.live.last_active = at(now);
        }
        if self
            .live
            .raised
            .is_some_and(|(_, until)| now >= until.as_millis())
        {
            self.live.raised = None;
        }
        let role = self.live.raised.map_or(self.live.role, |(role, _)| role);
        Ok(role.min(self.live.ceiling))
    }
}

/// The table beside the plain one: every step is done to both and the answers compared.
#[derive(Default)]
struct Pair {
    table: Table,
    plain: HashMap<u64, Plain>,
    /// Every handle ever given, with the session it was given for and whether that one was removed.
    handles: Vec<(Handle, u64, bool)>,
    now: u64,
}

impl Pair {
    fn run(&mut self, step: &Step) {
        match *step {
            Step::Insert(n) => self.insert(n),
            Step::Remove(n) => {
                let removed = self.table.remove(mixed(n), id(n));
                assert_eq!(removed, self.plain.remove(&n).is_some());
                for (_, of, gone) in &mut self.handles {
                    *gone |= *of == n;
                }
            }
            Step::Check(h) => self.each(h, |handle, plain, now| {
                let expected = plain.map_or(Err(Over::Gone), |plain| plain.check(now));
                assert_eq!(handle.check(at(now)).map(|s| s.role), expected);
            }),
            Step::ById(n, good) => {
                let mut digest = live(n, 0).digest;
                digest[15] ^= u8::from(!good);
                let answer = self
                    .table
                    .check_by_id(mixed(n), id(n), &digest, at(self.now));
                let expected = self
                    .plain
                    .get_mut(&n)
                    .filter(|_| good)
                    .map(|plain| plain.check(self.now));
                assert_eq!(answer.map(|a| a.map(|s| s.role)), expected);
            }
            Step::Find(n) => {
                self.table.prefetch(mixed(n));
                let found = self.table.find(mixed(n), id(n));
                let found = found.and_then(|handle| handle.snapshot());
                assert_eq!(found, self.plain.get(&n).map(|plain| plain.live));
            }
            Step::Pass(by) => self.now += by,
            Step::GoBack(by) => self.now = self.now.saturating_sub(by).max(1_000_000),
            Step::Block(h, to) => self.update(h, |l| l.blocked = to),
            Step::Raise(h, role, by) => {
                let until = at(self.now + by);
                self.update(h, |l| l.raised = Some((Role::ranked(role), until)));
            }
            Step::Ceiling(h, role) => self.update(h, |l| l.ceiling = Role::ranked(role)),
            Step::Extend(h, by) => {
                let until = at(self.now + by);
                self.update(h, |l| l.identity_until = until);
            }
            Step::Walk => self.walk(),
        }
        assert_eq!(self.table.len(), u64::try_from(self.plain.len()).unwrap());
    }

    fn insert(&mut self, n: u64) {
        let live = live(n, self.now);
        let handle = match self.table.insert(&live) {
            Inserted::New(handle) => {
                assert!(!self.plain.contains_key(&n));
                handle
            }
            Inserted::Present(handle) => {
                assert!(self.plain.contains_key(&n));
                handle
            }
            Inserted::Full => unreachable!("a table of forty sessions"),
        };
        self.plain.entry(n).or_insert(Plain { live, over: None });
        self.handles.push((handle, n, false));
    }

    fn each(&mut self, h: usize, with: impl FnOnce(&Handle, Option<&mut Plain>, u64)) {
        let count = self.handles.len().max(1);
        if let Some((handle, n, gone)) = self.handles.get(h % count) {
            let plain = if *gone { None } else { self.plain.get_mut(n) };
            with(handle, plain, self.now);
        }
    }

    fn update(&mut self, h: usize, change: impl Fn(&mut Live)) {
        self.each(h, |handle, plain, _| {
            assert_eq!(handle.update(&change), plain.is_some());
            if let Some(plain) = plain {
                change(&mut plain.live);
                assert_eq!(handle.snapshot(), Some(plain.live));
            }
        });
    }

    fn walk(&self) {
        let (mut cursor, mut seen) = (Cursor::default(), HashSet::new());
        while let Walk::More = self
            .table
            .walk(&mut cursor, 7, at(self.now), |s| assert!(seen.insert(s.id)))
        {}
        assert_eq!(seen, self.plain.keys().map(|n| id(*n)).collect());
    }
}

proptest! {
    #[test]
    fn the_table_says_what_a_plain_map_says(steps in steps()) {
        let mut pair = Pair { now: 1_000_000, ..Pair::default() };
        for step in steps {
            pair.run(&step);
        }
    }
}

const CHECKS: u64 = 3_000_000;

/// Few slots, many owners: sessions come and go under two threads that check old and new handles and look up by id.
#[test]
fn no_slot_ever_answers_for_another_owner() {
    let table = Table::new();
    let (checks, believed, gone) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let newest = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for lane in 0..2 {
            let (table, newest, stop) = (&table, &newest, &stop);
            scope.spawn(move || recycle(table, newest, stop, lane));
        }
        let checkers: Vec<_> = (0..2)
            .map(|seed| {
                let (table, newest) = (&table, &newest);
                let (checks, believed, gone) = (&checks, &believed, &gone);
                scope.spawn(move || {
                    let mut held: Vec<Handle> = Vec::new();
                    let mut turn = seed;
                    while checks.fetch_add(1, Ordering::Relaxed) < CHECKS {
                        turn += 1;
                        let n = newest
                            .load(Ordering::Relaxed)
                            .saturating_sub(mixed(turn) % 64);
                        if turn % 16 == 0
                            && let Some(handle) = table.find(mixed(n), id(n))
                        {
                            assert_eq!(handle.id(), id(n));
                            held.push(handle);
                        }
                        if held.len() > 256 {
                            held.drain(..128);
                        }
                        let at_slot = usize::try_from(mixed(turn)).unwrap() % held.len().max(1);
                        let answer = held.get(at_slot).map(ask);
                        let by_id =
                            table.check_by_id(mixed(n), id(n), &live(n, 0).digest, at(turn));
                        if let Some(Ok(standing)) = by_id {
                            assert_eq!(standing.role, live(n, 0).role);
                        }
                        match answer {
                            Some(true) => believed.fetch_add(1, Ordering::Relaxed),
                            Some(false) => gone.fetch_add(1, Ordering::Relaxed),
                            None => 0,
                        };
                    }
                })
            })
            .collect();
        for checker in checkers {
            let ended = checker.join();
            stop.store(true, Ordering::Relaxed);
            ended.unwrap();
        }
    });
    assert!(believed.load(Ordering::Relaxed) > 1_000, "{believed:?}");
    assert!(gone.load(Ordering::Relaxed) > 1_000, "{gone:?}");
}

/// Keeps 32 sessions of its own alive, always ending the oldest, changing each one once.
fn recycle(table: &Table, newest: &AtomicU64, stop: &AtomicBool, lane: u64) {
    let mut mine = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let n = newest.fetch_add(1, Ordering::Relaxed);
        let mut session = live(n, 0);
        session.absolute = Timestamp::NEVER;
        session.identity_until = Timestamp::NEVER;
        session.idle = Lifetime::from_days(1_000);
        let handle = table.insert(&session).handle().unwrap();
        // Role and ceiling change places: a mixture of before and after would be a third role.
        assert!(handle.update(|l| (l.role, l.ceiling) = (l.ceiling, l.role)));
        mine.push_back(n);
        if mine.len() > 32 - usize::try_from(lane).unwrap() {
            let oldest = mine.pop_front().unwrap();
            assert!(table.remove(mixed(oldest), id(oldest)));
        }
    }
}

/// Asks a handle everything; what it says has to be its own session's. Says whether it was believed.
fn ask(handle: &Handle) -> bool {
    let n = u64::from_be_bytes(handle.id().as_bytes()[2..].try_into().unwrap());
    let own = live(n, 0);
    if let Some(seen) = handle.snapshot() {
        assert_eq!((seen.id, seen.digest), (own.id, own.digest));
        let pair = [seen.role, seen.ceiling];
        assert!(pair == [own.role, own.ceiling] || pair == [own.ceiling, own.role]);
    }
    match handle.check(at(5_000)) {
        Ok(standing) => {
            assert_eq!(standing.role, own.role);
            true
        }
        Err(over) => {
            assert_eq!(over, Over::Gone);
            assert_eq!(handle.snapshot(), None, "gone is gone");
            false
        }
    }
}
