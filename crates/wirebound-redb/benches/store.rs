//! Durable sign-ins, one at a time and with 64 and 100 sharing a sync; loads; reopening after `kill -9`.
//!
//! `cargo bench -p wirebound-redb` works in a folder of the current disk that it makes and removes.
//! `WIREBOUND_BENCH_RECORDS` says how many records the reopened store holds: 100000 if unset, 1000000 for
//! the figures in `docs/benchmarks-store.md`. Not on criterion: callers that share a sync, and a process
//! that is killed, are no closure to be called in a loop.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures time and stops at whatever goes wrong"
)]

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::future::join_all;
use wirebound::Timestamp;
use wirebound::store::{Change, Commit, Durability, Expect, Key, Space, Store};
use wirebound_redb::{Options, RedbStore};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(500);
const VICTIM: &str = "WIREBOUND_BENCH_VICTIM";

/// Names without order, as session ids are.
fn name(number: u64) -> [u8; 16] {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut half = || {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        mixed.to_be_bytes()
    };
    let mut name = [0; 16];
    name[..8].copy_from_slice(&half());
    name[8..].copy_from_slice(&half());
    name
}

/// A session of 400 bytes, an identity of 200, a vault of 1 KiB.
fn sign_in(number: u64) -> Vec<Change> {
    let put = |space, length: usize, due| Change::Put {
        key: Key::new(space, &name(number)),
        expect: Expect::Absent,
        value: number.to_be_bytes().repeat(length / 8),
        due,
    };
    let due = Timestamp::from_millis(1_700_000_000_000 + number * 7);
    vec![
        put(Space::Session, 400, due),
        put(Space::Identity, 200, Timestamp::NEVER),
        put(Space::Vault, 1024, due),
    ]
}

/// Sign-ins a second with as many callers, each waiting for its own answer.
fn sign_ins(store: &RedbStore, callers: usize, next: &Cell<u64>) -> f64 {
    let begin = Instant::now();
    let before = next.get();
    block_on(join_all((0..callers).map(|_| async {
        while begin.elapsed() < ROUND {
            let number = next.get();
            next.set(number + 1);
            let answer = store.commit(sign_in(number), Durability::Durable).await;
            assert_eq!(answer.unwrap(), Commit::Done);
        }
    })));
    rate(next.get() - before, begin)
}

/// Loads a second, of sessions at random.
fn loads(store: &RedbStore, there: u64) -> f64 {
    let begin = Instant::now();
    let mut done = 0;
    while begin.elapsed() < ROUND {
        for _ in 0..100 {
            let key = Key::new(Space::Session, &name(done * 7_919 % there));
            assert!(block_on(store.load(&key)).unwrap().is_some());
            done += 1;
        }
    }
    rate(done, begin)
}

fn rate(done: u64, begin: Instant) -> f64 {
    f64::from(u32::try_from(done).unwrap()) / begin.elapsed().as_secs_f64()
}

fn report(what: &str, mut rates: Vec<f64>) {
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
    println!("{what:<42} {least:>9.0} / {median:>9.0} / {most:>9.0} a second (min/median/max)");
}

/// Fills the store and goes on signing in until it is killed.
fn victim(folder: &Path, records: u64) {
    let store = RedbStore::open(folder, Options::default()).unwrap();
    let commit = |number| store.commit(sign_in(number), Durability::Durable);
    for batch in 0..records / 3 / 500 {
        block_on(join_all((batch * 500..(batch + 1) * 500).map(commit)));
    }
    println!("filled");
    for number in records / 3.. {
        block_on(commit(number)).unwrap();
    }
}

fn reopening(folder: &Path, records: u64) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .env(VICTIM, folder)
        .env("WIREBOUND_BENCH_RECORDS", records.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "filled");
    std::thread::sleep(Duration::from_millis(200));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let size = std::fs::metadata(folder.join("store.redb")).unwrap().len();
    let copy = folder.with_extension("copy");
    for round in 0..3 {
        // Each opening meets the file as the kill left it.
        std::fs::create_dir_all(&copy).unwrap();
        std::fs::copy(folder.join("store.redb"), copy.join("store.redb")).unwrap();
        let begin = Instant::now();
        let store = RedbStore::open(&copy, Options::default()).unwrap();
        let key = Key::new(Space::Session, &name(7));
        assert!(block_on(store.load(&key)).unwrap().is_some());
        let first = begin.elapsed();
        let there: u64 = Space::ALL
            .iter()
            .map(|space| block_on(store.count(*space)).unwrap())
            .sum();
        drop(store);
        let begin = Instant::now();
        let store = RedbStore::open(&copy, Options::default()).unwrap();
        assert!(block_on(store.load(&key)).unwrap().is_some());
        let orderly = begin.elapsed();
        println!(
            "reopening {there} records ({} MB), round {round}: first answer {first:.2?} after kill -9, {orderly:.2?} after an orderly end",
            size >> 20
        );
        drop(store);
    }
    println!("memory at the most: {}", memory());
}

fn memory() -> String {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("unknown here")
        .to_owned()
}

fn main() {
    let records = std::env::var("WIREBOUND_BENCH_RECORDS")
        .map_or(100_000, |records| records.parse().unwrap());
    if let Some(folder) = std::env::var_os(VICTIM) {
        victim(Path::new(&folder), records);
        return;
    }
    let here = tempfile::tempdir_in(".").unwrap();
    let next = Cell::new(0);
    let store = RedbStore::open(here.path().join("rates"), Options::default()).unwrap();
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (at, callers) in [1, 64, 100].into_iter().enumerate() {
            rates[at].push(sign_ins(&store, callers, &next));
        }
        rates[3].push(loads(&store, next.get()));
    }
    let there = next.get();
    drop(store);
    let [alone, of_64, of_100, read] = rates;
    report("durable sign-ins, one caller", alone);
    report("durable sign-ins, 64 callers", of_64);
    report("durable sign-ins, 100 callers", of_100);
    report("loads at random, one caller", read);
    println!("{there} sign-ins of three records were made");
    reopening(&here.path().join("killed"), records);
}
