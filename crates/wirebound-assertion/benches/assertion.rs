//! Time to make and to check an assertion under each algorithm, beside what the library alone needs for the same token.
//!
//! The library's own check reads two claims and believes the rest; ours reads every claim strictly. Counts the time that a
//! thread is on a processor.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a benchmark: it may stop"
)]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::Deserialize;
use wirebound::{Entropy, EntropyError, SessionId, Strength, Subject, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Expected, Jwks, KeySet, Seconds, SigningKey, SubjectTag, TokenId, check,
    sign,
};

/// The library asks the system for the time: far ahead.
const NOW: Timestamp = Timestamp::from_millis(4_000_000_000_000);
const ISSUER: &str = "https://gate.example";
const AUDIENCE: &str = "https://orders.example";

#[derive(Debug)]
struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError::new())
    }
}

/// What a service reads that has no rules of its own.
#[derive(Deserialize)]
struct Read {
    sub: String,
    exp: u64,
}

/// Time that this thread was on a processor: what a busy machine gives to others does not count.
fn on_processor() -> Duration {
    // Brings the kernel's count up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn measured<T>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut one: impl FnMut() -> T) {
    group.bench_function(name, |b| {
        b.iter_custom(|iters| {
            let start = on_processor();
            for _ in 0..iters {
                black_box(one());
            }
            on_processor().saturating_sub(start)
        });
    });
}

/// The same key as the library wants it.
fn decoding(key: &SigningKey) -> DecodingKey {
    let jwks = Jwks::of([key.verifying()]);
    let jwks: serde_json::Value = serde_json::from_str(jwks.as_json()).unwrap();
    let member = |name: &str| jwks["keys"][0][name].as_str().unwrap();
    match key.algorithm() {
        Algorithm::EdDsa => DecodingKey::from_ed_der(&URL_SAFE_NO_PAD.decode(member("x")).unwrap()),
        Algorithm::Es256 => DecodingKey::from_ec_components(member("x"), member("y")).unwrap(),
        Algorithm::Hs256 => DecodingKey::from_secret(&key.to_bytes()[2..34]),
    }
}

fn assertions(c: &mut Criterion) {
    let issued = Seconds::of(NOW);
    let claims = Claims {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: Subject::new(b"alice@example.org").unwrap(),
        issued,
        not_before: issued,
        expires: issued.plus(300),
        id: TokenId::from_bytes([1; 16]),
        session: SessionId::from_bytes([2; 10]),
        role: "user".to_owned(),
        strength: Strength::Wire,
        generation: 7,
        tag: SubjectTag::from_bytes([3; 16]),
        confirmation: None,
    };
    let expected = Expected::new(ISSUER, AUDIENCE);
    let mut group = c.benchmark_group("assertion");
    // Samples of equal length: short ones would be lost in the kernel's tick.
    group.sampling_mode(SamplingMode::Flat);
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm, &System).unwrap();
        let keys = KeySet::of([key.verifying().clone()]).unwrap();
        let token = sign(&key, &claims).unwrap();
        assert_eq!(check(&token, &keys, &expected, NOW).as_ref(), Ok(&claims));

        let alone = decoding(&key);
        let mut validation = Validation::new(match algorithm {
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        });
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        let library = |token: &str| decode::<Read>(token, &alone, &validation);
        let read = library(&token).unwrap().claims;
        assert_eq!(
            (read.sub.as_str(), read.exp),
            ("alice%40example.org", claims.expires.as_u64())
        );

        measured(&mut group, &format!("{algorithm} sign"), || {
            sign(black_box(&key), black_box(&claims)).unwrap()
        });
        measured(&mut group, &format!("{algorithm} check"), || {
            check(black_box(&token), &keys, &expected, NOW).unwrap()
        });
        measured(
            &mut group,
            &format!("{algorithm} decode, library alone"),
            || library(black_box(&token)).unwrap(),
        );
    }
    group.finish();
}

criterion_group!(benches, assertions);
criterion_main!(benches);
