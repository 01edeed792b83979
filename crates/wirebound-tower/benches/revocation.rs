//! Time to check an assertion, first and again on one wire, and to know whether it was called back, at 0, 100 thousand and
//! 10 million entries; beside a plain hash set of the same entries and a round trip to a real Redis on loopback, in one run.
//!
//! Counts the time that a thread is on a processor, but for the round trip, where waiting is the point. Redis must be
//! installed (`cargo xtask setup`).
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a benchmark: it may stop, and prints what it measured"
)]

use std::collections::HashSet;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};
use wirebound::revocation::{Entry, Issued, Revocations, Revoked, Standing};
use wirebound::{Entropy, EntropyError, Lifetime, SessionId, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Ring, Schedule, Seconds, SigningKey, SubjectTag, TokenId, sign,
};
use wirebound_tower::assertion::{Assertions, Keys, REMEMBERED};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const AUTHORITY: &str = "app.test";
/// What was not called back has numbers from here on.
const OTHERS: u64 = 1 << 40;

#[derive(Debug)]
struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError::new())
    }
}

/// Time that this thread was on a processor.
fn on_processor() -> Duration {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn measured<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut one: impl FnMut(u64) -> T,
) {
    group.bench_function(name, |b| {
        b.iter_custom(|iters| {
            let start = on_processor();
            for number in 0..iters {
                black_box(one(number));
            }
            on_processor().saturating_sub(start)
        });
    });
}

/// Distinct, spread, and the same in each run.
fn spread(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn session(number: u64) -> SessionId {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&spread(number).to_le_bytes());
    bytes[8..].copy_from_slice(&spread(!number).to_le_bytes()[..2]);
    SessionId::from_bytes(bytes)
}

fn issued(number: u64) -> Issued {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&spread(number ^ 0xaaaa).to_le_bytes());
    Issued {
        session: session(number),
        token: TokenId::from_bytes(token),
        subject: SubjectTag::from_bytes(token),
        generation: NOW.as_millis(),
        at: NOW,
    }
}

/// What this process holds in memory, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn revoked(entries: u64) -> (Revocations, u64) {
    let before = resident();
    let revocations = Revocations::new(1);
    let entry = |number| Entry {
        what: Revoked::Session(session(number)),
        until: Timestamp::NEVER,
    };
    (0..entries).for_each(|number| revocations.take_up(entry(number)));
    if let Some(mut gathered) = revocations.crowded() {
        (0..entries).for_each(|number| gathered.add(&entry(number)));
        revocations.settle(gathered);
    }
    (revocations, resident().saturating_sub(before))
}

fn assertions() -> Assertions {
    let key = SigningKey::generate(Algorithm::EdDsa, &System).unwrap();
    let schedule = Schedule::new(Lifetime::from_days(30), Lifetime::from_hours(1), REMEMBERED);
    Assertions {
        keys: Keys::new(Ring::new(key, NOW), schedule.unwrap(), NOW),
        issuer: None,
        audience: None,
        lifetime: Lifetime::from_mins(5),
        cookie: true,
    }
}

fn token(assertions: &Assertions) -> String {
    let issued = issued(u64::MAX);
    let at = Seconds::of(NOW);
    let claims = Claims {
        issuer: format!("https://{AUTHORITY}"),
        audience: format!("wirebound:{AUTHORITY}"),
        subject: wirebound::Subject::new(b"alice").unwrap(),
        issued: at,
        not_before: at,
        expires: at.plus(300),
        id: issued.token,
        session: issued.session,
        role: "user".to_owned(),
        strength: wirebound::Strength::Ticket,
        generation: issued.generation,
        tag: issued.subject,
        confirmation: None,
    };
    let signed = assertions
        .keys
        .look(|ring| sign(ring.signing(NOW), &claims));
    signed.unwrap()
}

/// A real Redis on a free port of loopback, killed when dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--port")
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server: {error}; run `cargo xtask setup`"));
        Self { child, port }
    }

    fn connect(&self) -> TcpStream {
        for _ in 0..200 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                stream.set_nodelay(true).unwrap();
                return stream;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("redis-server does not answer");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The memory of a table: a power of two of places, a byte beside each, seven of eight of them usable.
fn table_bytes(plain: &HashSet<SessionId>) -> u64 {
    let places = (plain.capacity() * 8 / 7).next_power_of_two();
    (places * (size_of::<SessionId>() + 1)) as u64
}

fn exists(stream: &mut TcpStream, id: &SessionId) -> bool {
    let name = id.to_string();
    let ask = format!("*2\r\n$6\r\nEXISTS\r\n${}\r\n{name}\r\n", name.len());
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = [0; 16];
    let read = stream.read(&mut answer).unwrap();
    assert_eq!(&answer[..1], b":", "{:?}", &answer[..read]);
    answer[1] == b'1'
}

fn assertion_checks(c: &mut Criterion) {
    let assertions = assertions();
    let token = token(&assertions);
    let read = || assertions.read(token.as_bytes(), AUTHORITY, NOW).unwrap();
    let known = read();
    let mut group = c.benchmark_group("assertion");
    group.sampling_mode(SamplingMode::Flat);
    measured(&mut group, "first check", |_| read());
    measured(&mut group, "again on one wire", |_| {
        assertions.is_known(black_box(&known), token.as_bytes(), AUTHORITY, NOW)
    });
    group.finish();
}

fn revocation_checks(c: &mut Criterion) {
    let mut group = c.benchmark_group("revocation");
    group.sampling_mode(SamplingMode::Flat);
    measured(&mut group, "making up what is asked for", |number| {
        issued(OTHERS + number)
    });
    for entries in [0, 100_000, 10_000_000] {
        let (revocations, bytes) = revoked(entries);
        // Nothing that was called back is ever called good.
        let good = |number: u64| revocations.standing(&issued(number)) == Standing::Good;
        assert!(!(0..entries.min(10_000)).any(good));
        let in_vain = (OTHERS..OTHERS + 1_000_000).filter(|n| !good(*n)).count();
        if let Some(each) = bytes.checked_div(entries) {
            println!(
                "{entries} entries: filter {} B, {:.1} bits an entry; {bytes} B of memory, {each} B an entry; {in_vain} of \
                 1,000,000 others are asked about in vain",
                revocations.filter_bytes(),
                revocations.filter_bytes() as f64 * 8.0 / entries as f64,
            );
        }
        measured(&mut group, &format!("{entries} entries"), |number| {
            revocations.standing(&issued(OTHERS + number))
        });
        let plain: HashSet<SessionId> = (0..entries).map(session).collect();
        if let Some(each) = table_bytes(&plain).checked_div(entries) {
            println!("{entries} entries in a plain hash set: {each} B an entry");
        }
        measured(
            &mut group,
            &format!("{entries} in a plain hash set"),
            |number| plain.contains(&session(OTHERS + number)),
        );
    }
    let redis = Redis::start();
    let mut stream = redis.connect();
    assert!(!exists(&mut stream, &session(1)));
    group.bench_function("EXISTS of Redis on loopback", |b| {
        b.iter_custom(|iters| {
            let start = Instant::now();
            for number in 0..iters {
                black_box(exists(&mut stream, &session(number)));
            }
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, assertion_checks, revocation_checks);
criterion_main!(benches);
