//! A million sessions: bytes each, and what a sweep over all of them does to who authorises meanwhile.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark: it may stop, prints what it measured and has to ask for the time"
)]

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use common::{NOW, mixed};
use wirebound::table::{Cursor, Walk};

const SESSIONS: u64 = 1_000_000;
const SAMPLES: u64 = 300_000;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

fn weigh<T>(name: &str, make: impl FnOnce() -> T) -> T {
    let before = resident();
    let made = make();
    let each = (resident() - before) as f64 / SESSIONS as f64;
    println!("{name}: {each:.1} bytes a session, resident");
    made
}

/// Times `one` for each of many random sessions, while `beside` goes round in another thread.
fn percentiles(name: &str, one: impl Fn(usize) -> u64, beside: Option<&(dyn Fn() + Sync)>) {
    let stop = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let mut times: Vec<u64> = thread::scope(|scope| {
        if let Some(beside) = beside {
            let (stop, rounds) = (&stop, &rounds);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    beside();
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let times = (0..SAMPLES)
            .map(|turn| {
                let n = (mixed(turn) % SESSIONS) as usize;
                let start = Instant::now();
                black_box(one(n));
                u64::try_from(start.elapsed().as_nanos()).unwrap()
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        times
    });
    times.sort_unstable();
    let at = |per_mille: u64| times[(SAMPLES * per_mille / 1000) as usize];
    println!(
        "{name}: p50 {} p99 {} p99.9 {} max {} ns, {} sweeps beside it",
        at(500),
        at(990),
        at(999),
        times[times.len() - 1],
        rounds.load(Ordering::Relaxed)
    );
}

fn main() {
    let named = common::named(SESSIONS);
    let mut handles = Vec::with_capacity(SESSIONS as usize);
    // Touches the pages, so that the handles are weighed by themselves below.
    let table = weigh("table", || {
        let table = wirebound::table::Table::new();
        for n in 0..SESSIONS {
            black_box(table.insert(&common::live(n)));
        }
        table
    });
    weigh("handles", || {
        handles.extend(named.iter().map(|n| table.find(n.place, n.id).unwrap()));
    });
    let dash = weigh("dashmap", || common::dash(SESSIONS));
    let locked = weigh("rwlock hashmap", || common::locked(SESSIONS));
    println!("one handle: {} bytes", size_of_val(&handles[0]));

    let by_id = |n: usize| {
        let at = &named[n];
        let standing = table.check_by_id(at.place, at.id, &at.digest, NOW);
        u64::from(standing.unwrap().unwrap().role.rank())
    };
    let sweep = || {
        let (mut cursor, mut over) = (Cursor::default(), 0_u64);
        while let Walk::More = table.walk(&mut cursor, 1024, NOW, |seen| {
            over += u64::from(seen.over.is_some());
        }) {}
        black_box(over);
    };
    let start = Instant::now();
    sweep();
    println!(
        "one sweep of the table: {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    // Another core that works, but not on the table: what is left of the difference is the sweep's.
    let spin = || {
        for _ in 0..1_000_000 {
            core::hint::spin_loop();
        }
    };
    for round in 1..=1 {
        percentiles(&format!("{round} table, alone"), by_id, None);
        percentiles(
            &format!("{round} table, a busy core beside it"),
            by_id,
            Some(&spin),
        );
        percentiles(
            &format!("{round} table, a sweep beside it"),
            by_id,
            Some(&sweep),
        );
        percentiles(
            &format!("{round} table by handle, alone"),
            |n| u64::from(handles[n].check(NOW).unwrap().role.rank()),
            None,
        );
        percentiles(
            &format!("{round} table by handle, a sweep beside it"),
            |n| u64::from(handles[n].check(NOW).unwrap().role.rank()),
            Some(&sweep),
        );
        let by_lock = |n: usize| {
            let map = locked.read().unwrap();
            let entry = map.get(&named[n].id).unwrap();
            u64::from(entry.check(&named[n].digest, NOW).unwrap().rank())
        };
        percentiles(&format!("{round} rwlock hashmap, alone"), by_lock, None);
        let by_dash = |n: usize| {
            let entry = dash.get(&named[n].id).unwrap();
            u64::from(entry.check(&named[n].digest, NOW).unwrap().rank())
        };
        percentiles(&format!("{round} dashmap, alone"), by_dash, None);
    }
}
