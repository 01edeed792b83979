//! Time of one authorisation: by handle, by id, from the cookie's text; each beside a map in the same run.
//!
//! Counts the time that a thread is on a processor. A thread that sleeps on a lock is not: that flatters the maps.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a benchmark: it may stop, and it has to ask for the time"
)]

mod common;

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{NOW, Named, digest, mixed, place, secret};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};
use wirebound::SessionId;
use wirebound::table::{Handle, Table};

/// A fixed random order over `count` sessions, long enough that no cache learns it.
fn order(count: usize) -> Vec<u32> {
    (0..1_u64 << 20)
        .map(|n| u32::try_from(mixed(n ^ 0x5555) % count as u64).unwrap())
        .collect()
}

/// Times `one` over the order: with `chain`, the next session is known only when the last answer is.
fn run(iters: u64, order: &[u32], chain: bool, mut one: impl FnMut(usize) -> u64) -> Duration {
    let zero = black_box(0_u64);
    let (mut at, mut sum) = (0_usize, 0_u64);
    let start = on_processor();
    for _ in 0..iters {
        let answer = one(order[at & (order.len() - 1)] as usize);
        sum = sum.wrapping_add(answer);
        at = at.wrapping_add(1);
        if chain {
            at = at.wrapping_add((answer & zero) as usize);
        }
    }
    black_box(sum);
    on_processor().saturating_sub(start)
}

/// Time that this thread was on a processor: what a busy machine gives to others does not count.
fn on_processor() -> Duration {
    // Brings the kernel's count up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn by_handle(handle: &Handle) -> u64 {
    u64::from(handle.check(NOW).unwrap().role.rank())
}

fn by_id(table: &Table, n: &Named) -> u64 {
    let standing = table.check_by_id(n.place, n.id, &n.digest, NOW);
    u64::from(standing.unwrap().unwrap().role.rank())
}

/// Samples of equal length: short ones would be lost in the kernel's tick.
fn flat<'a>(c: &'a mut Criterion, name: String) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

fn handles(c: &mut Criterion) {
    for count in [64, 10_000, 1_000_000] {
        let (_table, handles) = common::table(count as u64);
        let order = order(count);
        let mut group = flat(c, format!("handle/{count}"));
        for (name, chain) in [("independent", false), ("dependent", true)] {
            group.bench_function(name, |b| {
                b.iter_custom(|i| run(i, &order, chain, |n| by_handle(&handles[n])));
            });
        }
    }
}

fn ids(c: &mut Criterion) {
    for count in [1_000_usize, 1_000_000] {
        let (table, _) = common::table(count as u64);
        let (dash, locked) = (common::dash(count as u64), common::locked(count as u64));
        let order = order(count);
        // Names come in sequence, as from a socket; the sessions that they name are all over the table.
        let all = common::named(count as u64);
        let named: Vec<Named> = order.iter().map(|n| all[*n as usize]).collect();
        let straight: Vec<u32> = (0..1 << 20).collect();
        let mut group = flat(c, format!("id/{count}"));
        for (kind, chain) in [("independent", false), ("dependent", true)] {
            group.bench_function(format!("table/{kind}"), |b| {
                b.iter_custom(|i| run(i, &straight, chain, |n| by_id(&table, &named[n])));
            });
            group.bench_function(format!("dashmap/{kind}"), |b| {
                let one = |n: usize| {
                    let entry = dash.get(&named[n].id).unwrap();
                    u64::from(entry.check(&named[n].digest, NOW).unwrap().rank())
                };
                b.iter_custom(|i| run(i, &straight, chain, one));
            });
            group.bench_function(format!("rwlock/{kind}"), |b| {
                let one = |n: usize| {
                    let map = locked.read().unwrap();
                    let entry = map.get(&named[n].id).unwrap();
                    u64::from(entry.check(&named[n].digest, NOW).unwrap().rank())
                };
                b.iter_custom(|i| run(i, &straight, chain, one));
            });
            // The floor: one random read of a word among as many cache lines.
            let lines: Vec<[u64; 8]> = (0..count as u64).map(|n| [n; 8]).collect();
            group.bench_function(format!("one random read/{kind}"), |b| {
                b.iter_custom(|i| run(i, &order, chain, |n| lines[n][0]));
            });
        }
    }
}

/// One thread and two, one operation in a hundred a write. Wall time of one thread for one operation.
fn writes(c: &mut Criterion) {
    for count in [1_000_usize, 1_000_000] {
        let (table, handles) = common::table(count as u64);
        let (dash, locked) = (common::dash(count as u64), common::locked(count as u64));
        let (named, order) = (common::named(count as u64), order(count));
        let mut group = flat(c, format!("writes 1%/{count}"));
        let both = |threads: u64, iters: u64, one: &(dyn Fn(usize, bool) -> u64 + Sync)| {
            let took: Duration = std::thread::scope(|scope| {
                let lane = |lane: u64| {
                    let order = &order;
                    scope.spawn(move || {
                        let mut turn = lane * 50;
                        run(iters, order, false, |n| {
                            turn += 1;
                            one((n + lane as usize * 500) % count, turn.is_multiple_of(100))
                        })
                    })
                };
                let lanes: Vec<_> = (0..threads).map(lane).collect();
                lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
            });
            took / u32::try_from(threads).unwrap()
        };
        for threads in [1, 2] {
            group.bench_function(format!("table by id/{threads} threads"), |b| {
                let one = |n: usize, write| {
                    if write {
                        u64::from(handles[n].update(|l| l.last_active = NOW))
                    } else {
                        by_id(&table, &named[n])
                    }
                };
                b.iter_custom(|i| both(threads, i, &one));
            });
            group.bench_function(format!("table by handle/{threads} threads"), |b| {
                let one = |n: usize, write| {
                    if write {
                        u64::from(handles[n].update(|l| l.last_active = NOW))
                    } else {
                        by_handle(&handles[n])
                    }
                };
                b.iter_custom(|i| both(threads, i, &one));
            });
            group.bench_function(format!("dashmap/{threads} threads"), |b| {
                let one = |n: usize, write| {
                    if write {
                        dash.get_mut(&named[n].id).unwrap().absolute = common::live(0).absolute;
                        return 1;
                    }
                    let entry = dash.get(&named[n].id).unwrap();
                    u64::from(entry.check(&named[n].digest, NOW).unwrap().rank())
                };
                b.iter_custom(|i| both(threads, i, &one));
            });
            group.bench_function(format!("rwlock/{threads} threads"), |b| {
                let until = common::live(0).absolute;
                let one = |n: usize, write| {
                    if write {
                        let mut map = locked.write().unwrap();
                        map.get_mut(&named[n].id).unwrap().absolute = until;
                        return 1;
                    }
                    let map = locked.read().unwrap();
                    let entry = map.get(&named[n].id).unwrap();
                    u64::from(entry.check(&named[n].digest, NOW).unwrap().rank())
                };
                b.iter_custom(|i| both(threads, i, &one));
            });
        }
    }
}

/// `w1.<selector>.<secret>`: 10 bytes of id and 6 of MAC, 32 bytes of secret.
fn cookie(n: u64) -> String {
    let id = common::id(n);
    let mut selector = [0; 16];
    selector[..10].copy_from_slice(id.as_bytes());
    selector[10..].copy_from_slice(&place(id).to_le_bytes()[..6]);
    let selector = URL_SAFE_NO_PAD.encode(selector);
    format!("w1.{selector}.{}", URL_SAFE_NO_PAD.encode(secret(n)))
}

/// Cookie text to role. The MAC is checked before the table is asked, or left to be checked after a miss.
fn verify(table: &Table, cookie: &str, mac: bool) -> Option<u64> {
    let text = cookie.as_bytes();
    let rest = text.strip_prefix(b"w1.")?;
    let (selector_text, rest) = rest.split_at_checked(22)?;
    let secret_text = rest.strip_prefix(b".")?;
    let mut selector = [0; 16];
    let mut secret = [0; 32];
    URL_SAFE_NO_PAD
        .decode_slice(selector_text, &mut selector)
        .ok()?;
    let id = SessionId::from_bytes(*selector.first_chunk()?);
    let [.., a, b, c, d, e, f] = selector;
    let shown = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    table.prefetch(shown);
    if mac && place(id) != shown {
        return None;
    }
    URL_SAFE_NO_PAD
        .decode_slice(secret_text, &mut secret)
        .ok()?;
    let standing = table.check_by_id(shown, id, &digest(&secret), NOW)?.ok()?;
    Some(u64::from(standing.role.rank()))
}

fn cookies(c: &mut Criterion) {
    for count in [1_000_usize, 1_000_000] {
        let (table, _) = common::table(count as u64);
        // The cookies come in sequence, as from a socket; the sessions that they name are all over the table.
        let order = order(count);
        let texts: Vec<String> = order
            .iter()
            .take(1 << 18)
            .map(|n| cookie(u64::from(*n)))
            .collect();
        let straight: Vec<u32> = (0..1_u32 << 18).collect();
        let mut group = flat(c, format!("cookie/{count}"));
        for (name, mac) in [("digest", false), ("MAC and digest", true)] {
            group.bench_function(name, |b| {
                let one = |n: usize| verify(&table, &texts[n], mac).unwrap();
                b.iter_custom(|i| run(i, &straight, true, one));
            });
        }
        group.bench_function("digest alone", |b| {
            b.iter_custom(|i| {
                run(i, &straight, true, |n| {
                    u64::from(digest(&texts[n].as_bytes()[..32])[0])
                })
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    targets = handles, ids, writes, cookies
}
criterion_main!(benches);
