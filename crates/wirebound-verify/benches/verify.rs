//! Time to check a token through the verifier: one that it has not seen, and one that came a moment ago.
//!
//! Nothing is called back here; what a large set costs is measured where the set is, in the engine. Counts the time that a
//! thread is on a processor.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::exhaustive_structs,
    reason = "a benchmark: it may stop"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wirebound_assertion::{Algorithm, TokenId, sign};

#[path = "../tests/verifier/rig.rs"]
mod rig;

/// More than a verifier remembers, so that each is new again when its turn comes.
const TOKENS: u64 = 8192;

/// Time that this thread was on a processor: what a busy machine gives to others does not count.
fn on_processor() -> Duration {
    // Brings the kernel's count up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn check(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("verify");
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let (gateway, verifier, _feed) = runtime.block_on(async {
            let mut gateway = rig::Gateway::start().await;
            gateway.key = rig::key(algorithm);
            gateway.say(rig::KEYS, rig::published(&[&gateway.key]));
            let builder = gateway.builder().lease(Duration::from_mins(15));
            let (verifier, feed) = gateway.ready(builder).await;
            (gateway, verifier, feed)
        });
        let tokens: Vec<String> = (0..TOKENS)
            .map(|number| {
                let mut claims = gateway.claims();
                let mut id = [0; 16];
                id[..8].copy_from_slice(&number.to_le_bytes());
                claims.id = TokenId::from_bytes(id);
                sign(&gateway.key, &claims).unwrap()
            })
            .collect();
        for (name, few) in [("first", false), ("repeated", true)] {
            let tokens = if few { &tokens[..1] } else { &tokens[..] };
            let mut next = tokens.iter().cycle();
            group.bench_function(format!("{name} {algorithm}"), |b| {
                b.iter_custom(|iters| {
                    let start = on_processor();
                    for _ in 0..iters {
                        let token = next.next().unwrap();
                        black_box(verifier.try_check(black_box(token)).unwrap());
                    }
                    on_processor().saturating_sub(start)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
