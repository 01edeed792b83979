//! The signing keys change while others sign and check: no good token is refused, and no key is believed after its time.
//! Time is simulated; the threads are real.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs,
    reason = "a test says by panicking what is wrong"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use wirebound::{Entropy, EntropyError, Lifetime, SessionId, Strength, Subject, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Expected, Invalid, Jwks, KeyError, KeySet, Ring, Schedule, Seconds,
    SigningKey, SubjectTag, TokenId, check, sign,
};
use wirebound_tower::assertion::{Keys, REMEMBERED};

const BEGUN: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const LIFE: u64 = 900;

#[derive(Debug)]
struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError::new())
    }
}

fn schedule() -> Schedule {
    Schedule::new(Lifetime::from_days(1), Lifetime::from_hours(1), REMEMBERED).unwrap()
}

fn key() -> Result<SigningKey, KeyError> {
    SigningKey::generate(Algorithm::EdDsa, &System)
}

fn claims(now: Timestamp) -> Claims {
    let issued = Seconds::of(now);
    Claims {
        issuer: "https://gate.test".to_owned(),
        audience: "https://app.test".to_owned(),
        subject: Subject::new(b"alice").unwrap(),
        issued,
        not_before: issued,
        expires: issued.plus(LIFE),
        id: TokenId::from_bytes([1; 16]),
        session: SessionId::from_bytes([2; 10]),
        role: "user".to_owned(),
        strength: Strength::Wire,
        generation: 1,
        tag: SubjectTag::from_bytes([3; 16]),
        confirmation: None,
    }
}

fn expected() -> Expected {
    Expected::new("https://gate.test", "https://app.test")
}

/// A service that fetches the keys and keeps them for as long as it may.
struct Service {
    set: KeySet,
    until: Timestamp,
}

impl Service {
    fn fetched(keys: &Keys, now: Timestamp) -> Self {
        Self {
            set: Jwks::parse(keys.shown(now).jwks.as_bytes()).unwrap(),
            until: now.after(keys.schedule().max_age()),
        }
    }

    fn set(&mut self, keys: &Keys, now: Timestamp) -> &KeySet {
        if now >= self.until {
            *self = Self::fetched(keys, now);
        }
        &self.set
    }
}

#[test]
fn keys_rotate_under_load_and_no_good_token_is_refused_nor_a_gone_key_believed() {
    let schedule = schedule();
    let keys = Keys::new(Ring::new(key().unwrap(), BEGUN), schedule, BEGUN);
    let clock = AtomicU64::new(BEGUN.as_millis());
    let stop = AtomicBool::new(false);
    let now = || Timestamp::from_millis(clock.load(Ordering::Acquire));
    let (signed, checked) = (AtomicU64::new(0), AtomicU64::new(0));
    // Every key that ever signed, with when it was first seen to sign no more.
    let spent: Mutex<Vec<(Arc<SigningKey>, Timestamp)>> = Mutex::default();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (keys, spent, now, stop) = (&keys, &spent, &now, &stop);
            let (signed, checked) = (&signed, &checked);
            scope.spawn(move || {
                let mut service = Service::fetched(keys, now());
                let mut waiting: Vec<(String, Timestamp)> = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    let at = now();
                    if worker < 2 {
                        let token = keys
                            .look(|ring| sign(ring.signing(at), &claims(at)))
                            .unwrap();
                        signed.fetch_add(1, Ordering::Relaxed);
                        waiting.push((token, at));
                    }
                    // Each is checked again and again up to its last moment, here and elsewhere.
                    waiting.retain(|(token, made)| {
                        let at = now();
                        if at >= made.after(Lifetime::from_secs(LIFE)) {
                            return false;
                        }
                        let own = keys.shown(at);
                        // Time may have gone on since: a token that has run out meanwhile says so.
                        let good = |result: Result<Claims, Invalid>| {
                            result.is_ok() || now() >= made.after(Lifetime::from_secs(LIFE))
                        };
                        assert!(good(check(token, &own.set, &expected(), at)), "here");
                        let set = service.set(keys, at);
                        assert!(good(check(token, set, &expected(), at)), "at a service");
                        checked.fetch_add(2, Ordering::Relaxed);
                        true
                    });
                    if waiting.len() > 16 {
                        waiting.remove(0);
                    }
                    // A key that stopped long ago makes a token now: nobody believes it.
                    let gone = spent.lock().unwrap().clone();
                    for (key, stopped) in gone {
                        let at = now();
                        let tail = stopped.after(REMEMBERED);
                        let forged = sign(&key, &claims(at)).unwrap();
                        let own = keys.shown(at);
                        if at > tail.after(Lifetime::from_secs(1)) {
                            let here = check(&forged, &own.set, &expected(), at);
                            assert_eq!(here.unwrap_err(), Invalid::UnknownKey);
                        }
                        if at > tail.after(schedule.max_age()) {
                            let there = check(&forged, service.set(keys, at), &expected(), at);
                            assert_eq!(there.unwrap_err(), Invalid::UnknownKey);
                        }
                    }
                }
            });
        }
        let step = Lifetime::from_secs(20);
        let mut rotated = 0;
        let mut signing = keys.look(|ring| Arc::clone(ring.signing(BEGUN)));
        // Six periods, and some of them begin late.
        for tick in 0..(6 * 24 * 180) {
            let at = now().after(step);
            clock.store(at.as_millis(), Ordering::Release);
            if tick % 7 == 0 {
                let mut ring = keys.look(Ring::clone);
                if ring.step(&schedule, at, key).unwrap() {
                    keys.replace(ring, at);
                }
            }
            let newest = keys.look(|ring| Arc::clone(ring.signing(at)));
            if newest.kid() != signing.kid() {
                rotated += 1;
                let mut spent = spent.lock().unwrap();
                spent.push((core::mem::replace(&mut signing, newest), at));
                if spent.len() > 2 {
                    spent.remove(0);
                }
            }
            // Beside the load, not before it.
            if tick % 16 == 0 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Release);
        assert!(rotated >= 5, "{rotated}");
    });
    let counts = [signed, checked].map(AtomicU64::into_inner);
    println!("signed, checked: {counts:?}");
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}

#[test]
fn a_leaked_key_that_is_taken_out_is_believed_no_more_at_once() {
    let schedule = schedule();
    let keys = Keys::new(Ring::new(key().unwrap(), BEGUN), schedule, BEGUN);
    let leaked = keys.look(|ring| Arc::clone(ring.signing(BEGUN)));
    let token = sign(&leaked, &claims(BEGUN)).unwrap();
    let shown = keys.shown(BEGUN);
    assert!(
        check(&token, &shown.set, &expected(), BEGUN).is_ok(),
        "control"
    );
    let mut ring = keys.look(Ring::clone);
    ring.retire_now(leaked.kid().as_str(), &schedule, BEGUN, key)
        .unwrap();
    keys.replace(ring, BEGUN);
    let shown = keys.shown(BEGUN);
    let refused = check(&token, &shown.set, &expected(), BEGUN).unwrap_err();
    assert_eq!(refused, Invalid::UnknownKey);
    let next = keys
        .look(|ring| sign(ring.signing(BEGUN), &claims(BEGUN)))
        .unwrap();
    assert!(check(&next, &shown.set, &expected(), BEGUN).is_ok());
}
