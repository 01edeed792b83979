//! Time to make and to check a ticket, beside JSON web tokens with the same claims in the same run.
//!
//! Both checks begin with text and end with "good at this time". A ticket needs its session's sequence, which here is at
//! hand; a token needs nothing, and cannot be called back. Counts the time that a thread is on a processor.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a benchmark: it may stop"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use wirebound::sequence::{Holder, Moment, Position, Rules, Sequence};
use wirebound::{Keys, NodeSecret, Secret, SessionId, Timestamp};

/// An Ed25519 private key (32 times 7) in PKCS #8, up to the key itself.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Its public key.
const PUBLIC: [u8; 32] = [
    0xea, 0x4a, 0x6c, 0x63, 0xe2, 0x9c, 0x52, 0x0a, 0xbe, 0xf5, 0x50, 0x7b, 0x13, 0x2e, 0xc5, 0xf9,
    0x95, 0x47, 0x76, 0xae, 0xbe, 0xbe, 0x7b, 0x92, 0x42, 0x1e, 0xea, 0x69, 0x14, 0x46, 0xd2, 0x2c,
];
const SESSION: SessionId = SessionId::from_bytes([3; 10]);
const EPOCH: u32 = 1;
const BEGUN: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const NOW: Timestamp = Timestamp::from_millis(1_790_000_030_000);

#[derive(Serialize, Deserialize)]
struct Claims {
    sid: String,
    n: u64,
    iat: u64,
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

fn tickets(c: &mut Criterion) {
    let keys = Keys::new(&NodeSecret::new(EPOCH, Secret::from_bytes([7; 32])), None);
    let rules = Rules::default();
    let sequence = Sequence::begin(Holder::Trunk, BEGUN);
    let moment = Moment {
        now: NOW,
        window: rules.window,
        seen: BEGUN,
    };
    let at = Position::default();
    let ticket = keys.ticket(EPOCH, &SESSION, at).unwrap();
    let text = ticket.expose_text();
    let check = |text: &str| {
        let shown = Secret::parse(text.as_bytes())?;
        let position = keys.open_ticket(EPOCH, &SESSION, &shown)?;
        let kept_up = moment.now.since(sequence.since().max(moment.seen)) <= rules.expiry;
        let good = sequence.standing(position, &moment, &rules).is_good();
        (kept_up && good).then_some(position)
    };
    assert_eq!(check(&text), Some(at));

    let claims = Claims {
        sid: "0303030303030303".to_owned(),
        n: 0,
        iat: 1_790_000_000,
        // The library asks the system for the time: far ahead.
        exp: 4_000_000_000,
    };
    let mut private = PKCS8.to_vec();
    private.extend([7; 32]);
    let kinds = [
        (
            "HS256",
            Algorithm::HS256,
            EncodingKey::from_secret(&[7; 32]),
            DecodingKey::from_secret(&[7; 32]),
        ),
        (
            "EdDSA",
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(&private),
            DecodingKey::from_ed_der(&PUBLIC),
        ),
    ];

    let mut group = c.benchmark_group("tickets");
    // Samples of equal length: short ones would be lost in the kernel's tick.
    group.sampling_mode(SamplingMode::Flat);
    measured(&mut group, "seal", || {
        keys.ticket(EPOCH, &SESSION, black_box(at))
    });
    measured(&mut group, "open", || {
        keys.open_ticket(EPOCH, &SESSION, black_box(&ticket))
    });
    measured(&mut group, "check", || check(black_box(&text)));
    for (name, algorithm, private, public) in kinds {
        let token = encode(&Header::new(algorithm), &claims, &private).unwrap();
        let validation = Validation::new(algorithm);
        let read = |token: &str| decode::<Claims>(token, &public, &validation);
        let back = read(&token).unwrap().claims;
        assert_eq!(
            (back.sid, back.n, back.iat),
            (claims.sid.clone(), 0, claims.iat)
        );
        measured(&mut group, &format!("{name} sign"), || {
            encode(&Header::new(algorithm), black_box(&claims), &private)
        });
        measured(&mut group, &format!("{name} check"), || {
            read(black_box(&token)).unwrap()
        });
    }
    group.finish();
}

criterion_group!(benches, tickets);
criterion_main!(benches);
