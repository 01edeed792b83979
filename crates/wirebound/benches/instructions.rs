//! Instructions of one authorisation, counted by valgrind: the same on a busy machine as on an idle one.
//!
//! Runs itself under `callgrind` twice for each case; the difference of the counts, divided, is one operation.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark: it may stop and prints what it counted"
)]

mod common;

use std::hint::black_box;
use std::process::Command;

use common::NOW;

const CASES: [&str; 7] = [
    "nothing",
    "handle",
    "id",
    "id, another digest",
    "update",
    "digest",
    "dashmap",
];
const SESSIONS: u64 = 64;
const MORE: u64 = 10_000;

fn case(name: &str, times: u64) {
    let (table, handles) = common::table(SESSIONS);
    let (dash, named) = (common::dash(SESSIONS), common::named(SESSIONS));
    let (handle, at) = (&handles[7], &named[7]);
    match name {
        "handle" => repeat(times, || black_box(handle).check(NOW)),
        "id" => repeat(times, || {
            let at = black_box(at);
            table.check_by_id(at.place, at.id, &at.digest, NOW)
        }),
        "id, another digest" => repeat(times, || {
            let at = black_box(at);
            table.check_by_id(at.place, at.id, &[0; 16], NOW)
        }),
        "update" => repeat(times, || black_box(handle).update(|l| l.blocked = false)),
        "digest" => repeat(times, || common::digest(black_box(&[3; 32]))),
        "nothing" => repeat(times, || black_box(handle).id()),
        _ => repeat(times, || {
            let at = black_box(at);
            let entry = dash.get(&at.id).unwrap();
            entry.check(&at.digest, NOW)
        }),
    }
}

fn repeat<T>(times: u64, one: impl Fn() -> T) {
    for _ in 0..times {
        black_box(one());
    }
}

fn counted(name: &str, times: u64) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--case", name, &times.to_string()])
        .output()
        .unwrap_or_else(|error| {
            panic!("valgrind does not start ({error}): install the package `valgrind`")
        });
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = text.lines().find_map(|l| l.split("Collected :").nth(1));
    let count = line.and_then(|l| l.trim().parse().ok());
    count.unwrap_or_else(|| panic!("valgrind counted nothing:\n{text}"))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--case") {
        return case(&args[at + 1], args[at + 2].parse().unwrap());
    }
    for name in CASES {
        let each = (counted(name, 1_000 + MORE) - counted(name, 1_000)) as f64 / MORE as f64;
        println!("{name}: {each:.1} instructions");
    }
}
