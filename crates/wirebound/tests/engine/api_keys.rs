//! API keys: who is taken, until when to the millisecond, and that no failure, race or restart takes anybody longer.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};

use futures_executor::block_on;
use wirebound::engine::{KeySummary, NewKey, NewlyMade, NotMade, NotRotated};
use wirebound::store::{Change, Durability, Expect, Key, MemoryStore, Space, Store};
use wirebound::{
    ApiKeyId, Event, KeyLabel, KeyRefusal, KeyScopes, Lifetime, RevokedBy, Role, Side, Timestamp,
    VerifiedKey,
};

use crate::store::{At, Behind, Fault, Faulty, Paused};
use crate::world::{World, subject};
use crate::{strict, world};

const MILLI: Lifetime = Lifetime::from_millis(1);
const HOUR: Lifetime = Lifetime::from_hours(1);

fn over(store: Arc<dyn Store>) -> World {
    World::new(strict(), store)
}

fn wanted(owner: &str) -> NewKey {
    NewKey {
        label: KeyLabel::new("nightly build").unwrap(),
        owner: subject(owner),
        scopes: KeyScopes::new(["deploy", "feed"]).unwrap(),
        expires: None,
    }
}

fn make(w: &World, owner: &str) -> (ApiKeyId, String) {
    shown(&block_on(w.engine.create_key(wanted(owner), w.now)).unwrap())
}

fn shown(made: &NewlyMade) -> (ApiKeyId, String) {
    assert_eq!(made.key.id(), made.summary.id);
    (made.key.id(), made.key.expose().to_owned())
}

fn rotate(w: &World, id: ApiKeyId, overlap: Lifetime) -> String {
    shown(&block_on(w.engine.rotate_key(id, overlap, w.now)).unwrap()).1
}

fn check(w: &World, text: &str) -> Result<VerifiedKey, KeyRefusal> {
    w.engine.check_key(text.as_bytes(), w.now)
}

fn refusal(w: &World, text: &str) -> Option<KeyRefusal> {
    check(w, text).err()
}

fn recalled(w: &mut World) {
    w.restart();
    block_on(w.engine.recall_keys(w.now)).unwrap();
}

fn summary(w: &World, id: ApiKeyId) -> KeySummary {
    let all = w.engine.api_keys(w.now);
    all.into_iter().find(|key| key.id == id).unwrap()
}

/// A text in the right form, of a made-up secret.
fn forged(id: &str, secret: &str) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let summed = format!("wbk_{id}_{secret}");
    let mut rest = crc32fast::hash(summed.as_bytes());
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.insert(0, DIGITS[rest as usize % 62]);
        rest /= 62;
    }
    summed + core::str::from_utf8(&digits).unwrap()
}

#[test]
fn a_key_is_taken_and_says_whose_it_is_and_what_it_may_do() {
    let w = world();
    let (id, text) = make(&w, "ci");
    let verified = check(&w, &text).unwrap();
    assert_eq!(verified.id(), id);
    assert_eq!(verified.owner(), &subject("ci"));
    assert_eq!(verified.label().as_str(), "nightly build");
    assert!(verified.scopes().has("deploy"));
    assert!(!verified.scopes().has("admin"));
    let listed = summary(&w, id);
    assert_eq!(listed.refused, None);
    assert_eq!(listed.last_used, Some(w.now));
    assert_eq!(listed.created, w.now);
    assert_eq!(w.engine.api_key(id, w.now), Some(listed));
}

#[test]
fn a_wrong_secret_of_a_real_id_is_refused_like_an_id_that_nobody_has() {
    let w = world();
    let (id, text) = make(&w, "ci");
    let (_, other) = make(&w, "ci");
    let control = forged(&id.to_string(), &text[17..60]);
    assert_eq!(control, text, "forged with the right secret it is the key");
    let swapped = forged(&id.to_string(), &other[17..60]);
    assert_eq!(refusal(&w, &swapped), Some(KeyRefusal::Unknown));
    let made_up = forged("0123456789Ab", &text[17..60]);
    assert_eq!(refusal(&w, &made_up), Some(KeyRefusal::Unknown));
    assert_eq!(refusal(&w, &text[1..]), Some(KeyRefusal::Malformed));
    // A dead key says so to whoever holds its secret, and to nobody else.
    block_on(w.engine.revoke_key(id, RevokedBy::Operator, w.now)).unwrap();
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::Revoked));
    assert_eq!(refusal(&w, &swapped), Some(KeyRefusal::Unknown));
}

#[test]
fn a_check_asks_no_store() {
    let store = Faulty::new();
    let w = over(Arc::clone(&store) as Arc<dyn Store>);
    let (id, text) = make(&w, "ci");
    let newer = rotate(&w, id, HOUR);
    let before = store.calls.load(Ordering::Relaxed);
    store.fail_after(0, Fault::Before);
    for text in [&text, &newer] {
        assert!(check(&w, text).is_ok(), "while the store is down");
    }
    let unknown = forged("0123456789Ab", &text[17..60]);
    assert_eq!(refusal(&w, &unknown), Some(KeyRefusal::Unknown));
    assert_eq!(store.calls.load(Ordering::Relaxed), before);
    assert!(
        block_on(w.engine.revoke_key(id, RevokedBy::Leak, w.now)).is_err(),
        "the control: what asks it is counted and fails"
    );
    assert_ne!(store.calls.load(Ordering::Relaxed), before);
}

#[test]
fn a_key_expires_to_the_millisecond() {
    let mut w = world();
    let expires = w.now.after(HOUR);
    let new = NewKey {
        expires: Some(expires),
        ..wanted("ci")
    };
    let (id, text) = shown(&block_on(w.engine.create_key(new.clone(), w.now)).unwrap());
    w.now = expires.before(MILLI);
    assert!(check(&w, &text).is_ok());
    assert_eq!(summary(&w, id).refused, None);
    w.step(MILLI);
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::Expired));
    assert_eq!(summary(&w, id).refused, Some(KeyRefusal::Expired));
    let rotated = block_on(w.engine.rotate_key(id, HOUR, w.now));
    assert!(matches!(rotated, Err(NotRotated::Expired)));
    let late = block_on(w.engine.create_key(new, w.now));
    assert!(matches!(late, Err(NotMade::Expired)));
}

#[test]
fn both_secrets_are_good_until_the_deadline_and_then_only_the_new_one() {
    let mut w = world();
    let (id, old) = make(&w, "ci");
    let new = rotate(&w, id, HOUR);
    let deadline = w.now.after(HOUR);
    assert_eq!(summary(&w, id).overlap_until, Some(deadline));
    for restarts in [false, true] {
        if restarts {
            recalled(&mut w);
        }
        w.now = deadline.before(MILLI);
        assert!(check(&w, &old).is_ok(), "the last millisecond");
        assert!(check(&w, &new).is_ok());
        w.now = deadline;
        assert_eq!(refusal(&w, &old), Some(KeyRefusal::Superseded));
        assert!(check(&w, &new).is_ok());
    }
    assert_eq!(summary(&w, id).overlap_until, None);
}

#[test]
fn after_a_leak_the_old_secret_is_dead_at_once_and_stays_so_when_the_clock_goes_back() {
    let mut w = world();
    let (id, old) = make(&w, "ci");
    assert!(check(&w, &old).is_ok());
    let new = rotate(&w, id, Lifetime::ZERO);
    assert_eq!(refusal(&w, &old), Some(KeyRefusal::Superseded));
    w.now = w.now.before(HOUR);
    assert_eq!(refusal(&w, &old), Some(KeyRefusal::Superseded));
    recalled(&mut w);
    assert_eq!(refusal(&w, &old), Some(KeyRefusal::Superseded));
    assert!(check(&w, &new).is_ok());
}

#[test]
fn what_is_over_of_a_key_stays_over_when_the_clock_goes_back() {
    let mut w = world();
    let (id, old) = make(&w, "ci");
    let new = rotate(&w, id, HOUR);
    let expiring = NewKey {
        expires: Some(w.now.after(HOUR)),
        ..wanted("ci")
    };
    let (_, expired) = shown(&block_on(w.engine.create_key(expiring, w.now)).unwrap());
    let begun = w.now;
    w.now = begun.after(HOUR);
    // As the gateway does each minute: what one says the next one confirms.
    for _ in 0..2 {
        w.step(Lifetime::from_mins(1));
        block_on(w.engine.tidy_revocations(w.now)).unwrap();
    }
    w.now = begun;
    assert_eq!(refusal(&w, &old), Some(KeyRefusal::Superseded));
    assert_eq!(refusal(&w, &expired), Some(KeyRefusal::Expired));
    assert!(check(&w, &new).is_ok());
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_ends_no_key() {
    let mut w = world();
    let (id, old) = make(&w, "ci");
    rotate(&w, id, HOUR);
    let right = w.now;
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    w.step(Lifetime::from_days(1));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    assert_eq!(refusal(&w, &old), Some(KeyRefusal::Superseded));
    w.now = right.after(Lifetime::from_mins(2));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    assert!(check(&w, &old).is_ok());
}

#[test]
fn a_second_rotation_within_an_overlap_kills_the_oldest_secret_at_once() {
    let w = world();
    let (id, first) = make(&w, "ci");
    let second = rotate(&w, id, HOUR);
    assert!(check(&w, &first).is_ok());
    let third = rotate(&w, id, HOUR);
    assert_eq!(refusal(&w, &first), Some(KeyRefusal::Unknown));
    assert!(check(&w, &second).is_ok());
    assert!(check(&w, &third).is_ok());
}

#[test]
fn an_overlap_is_never_longer_than_the_keys_own_time() {
    let mut w = world();
    let expires = w.now.after(HOUR);
    let new = NewKey {
        expires: Some(expires),
        ..wanted("ci")
    };
    let (id, old) = shown(&block_on(w.engine.create_key(new, w.now)).unwrap());
    let made = block_on(w.engine.rotate_key(id, HOUR.times(24), w.now)).unwrap();
    assert_eq!(made.summary.overlap_until, Some(expires));
    w.now = expires.before(MILLI);
    assert!(check(&w, &old).is_ok());
    w.now = expires;
    for text in [old.as_str(), made.key.expose()] {
        assert!(check(&w, text).is_err());
    }
}

#[test]
fn a_revocation_is_at_once_and_final() {
    let mut w = world();
    let (id, old) = make(&w, "ci");
    let new = rotate(&w, id, HOUR);
    let revoke = |w: &World, id| block_on(w.engine.revoke_key(id, RevokedBy::Leak, w.now)).unwrap();
    assert!(check(&w, &new).is_ok());
    assert!(revoke(&w, id));
    assert!(!revoke(&w, id), "once is enough");
    assert!(!revoke(&w, ApiKeyId::parse("0123456789Ab").unwrap()));
    for back in [Lifetime::ZERO, HOUR] {
        w.now = w.now.before(back);
        for text in [&old, &new] {
            assert_eq!(refusal(&w, text), Some(KeyRefusal::Revoked));
        }
        let rotated = block_on(w.engine.rotate_key(id, HOUR, w.now));
        assert!(matches!(rotated, Err(NotRotated::Revoked)));
        recalled(&mut w);
    }
    let revoked = summary(&w, id).revoked.unwrap();
    assert_eq!(revoked, (w.now.after(HOUR), RevokedBy::Leak));
}

#[test]
fn a_dead_key_is_listed_for_thirty_days_and_then_swept() {
    let mut w = world();
    let (revoked, _) = make(&w, "ci");
    let new = NewKey {
        expires: Some(w.now.after(HOUR)),
        ..wanted("ci")
    };
    block_on(w.engine.create_key(new, w.now)).unwrap();
    let (_, alive) = make(&w, "ci");
    block_on(
        w.engine
            .revoke_key(revoked, RevokedBy::Operator, w.now.after(HOUR)),
    )
    .unwrap();
    let rows = |w: &World| block_on(w.store.count(Space::Key)).unwrap();
    w.step(HOUR);
    w.step(Lifetime::from_days(30));
    w.now = w.now.before(MILLI);
    block_on(w.engine.sweep(w.now)).unwrap();
    assert_eq!((w.engine.api_keys(w.now).len(), rows(&w)), (3, 3));
    w.step(MILLI);
    assert_eq!(block_on(w.engine.sweep(w.now)).unwrap().remains, 2);
    assert_eq!((w.engine.api_keys(w.now).len(), rows(&w)), (1, 1));
    assert!(check(&w, &alive).is_ok());
}

#[test]
fn a_blocked_owners_keys_are_refused_until_they_are_let_in_again() {
    let mut w = world();
    let (_, text) = make(&w, "mallory");
    let (_, other) = make(&w, "alice");
    let block = |w: &World, blocked| {
        block_on(w.engine.set_blocked(&subject("mallory"), blocked, w.now)).unwrap();
    };
    assert!(check(&w, &text).is_ok());
    block(&w, true);
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::OwnerGone));
    let more = block_on(w.engine.create_key(wanted("mallory"), w.now));
    assert!(matches!(more, Err(NotMade::OwnerBlocked)));
    recalled(&mut w);
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::OwnerGone));
    assert!(check(&w, &other).is_ok(), "nobody else's");
    block(&w, false);
    assert!(check(&w, &text).is_ok());
    block(&w, true);
    w.restart();
    block(&w, false);
    block_on(w.engine.recall_keys(w.now)).unwrap();
    assert!(check(&w, &text).is_ok(), "let in before the keys were read");
}

#[test]
fn a_key_that_somebody_found_can_be_revoked_although_its_owner_is_blocked() {
    let mut w = world();
    let (id, old) = make(&w, "mallory");
    let text = rotate(&w, id, HOUR);
    w.step(HOUR);
    block_on(w.engine.set_blocked(&subject("mallory"), true, w.now)).unwrap();
    let revoke = |w: &World, text: &str| {
        block_on(w.engine.revoke_shown_key(text.as_bytes(), w.now)).unwrap()
    };
    let made_up = forged(&id.to_string(), &old[17..59].repeat(2)[..43]);
    for none in ["", "wbk_", &made_up, &old] {
        assert!(!revoke(&w, none), "{none}");
    }
    assert!(summary(&w, id).revoked.is_none(), "the control");
    assert!(revoke(&w, &text));
    assert!(!revoke(&w, &text), "once");
    block_on(w.engine.set_blocked(&subject("mallory"), false, w.now)).unwrap();
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::Revoked));
}

#[test]
fn whoever_asks_about_a_key_has_not_used_it() {
    let w = world();
    let (id, text) = make(&w, "ci");
    let asked = w.engine.inspect_key(text.as_bytes(), w.now).unwrap();
    assert_eq!(summary(&w, id).last_used, None);
    assert_eq!(Ok(asked), check(&w, &text), "nothing else differs");
    assert_eq!(summary(&w, id).last_used, Some(w.now), "the control");
}

#[test]
fn a_removed_owners_keys_stay_dead_when_the_owner_comes_back() {
    let mut w = world();
    let line = w.full();
    w.sign_in(&line, "alice", Role::USER);
    let (id, text) = make(&w, "alice");
    let (_, other) = make(&w, "bob");
    assert!(check(&w, &text).is_ok());
    w.restart();
    // The keys were not read yet: a removal does not do without them.
    block_on(w.engine.remove(&subject("alice"), w.now)).unwrap();
    let dead = |w: &World| {
        assert_eq!(refusal(w, &text), Some(KeyRefusal::OwnerGone));
        let by = summary(w, id).revoked.map(|(_, by)| by);
        assert_eq!(by, Some(RevokedBy::OwnerRemoved));
        assert!(check(w, &other).is_ok(), "nobody else's");
    };
    dead(&w);
    let more = block_on(w.engine.create_key(wanted("alice"), w.now));
    assert!(matches!(more, Err(NotMade::OwnerRemoved)));
    let line = w.full();
    w.sign_in(&line, "alice", Role::USER);
    dead(&w);
    recalled(&mut w);
    dead(&w);
    block_on(w.engine.set_blocked(&subject("alice"), false, w.now)).unwrap();
    dead(&w);
    let (_, newer) = make(&w, "alice");
    assert!(check(&w, &newer).is_ok(), "a new one is hers again");
    let told = |event: &Event| matches!(event, Event::KeyRevoked { key, by: RevokedBy::OwnerRemoved, .. } if *key == id);
    assert_eq!(w.log.all().iter().filter(|event| told(event)).count(), 1);
}

#[test]
fn a_key_that_a_removal_did_not_know_of_is_dead_from_the_next_start_on() {
    let mut w = world();
    let elsewhere = Arc::clone(&w.engine);
    block_on(elsewhere.recall_keys(w.now)).unwrap();
    w.restart();
    let (_, text) = make(&w, "alice");
    block_on(elsewhere.remove(&subject("alice"), w.now)).unwrap();
    assert!(check(&w, &text).is_ok(), "this process was not told");
    recalled(&mut w);
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::OwnerGone));
    let line = w.full();
    w.sign_in(&line, "alice", Role::USER);
    recalled(&mut w);
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::OwnerGone), "for good");
}

#[test]
fn an_identity_that_merely_ran_out_takes_no_key_with_it() {
    let mut w = world();
    let line = w.full();
    w.sign_in(&line, "alice", Role::USER);
    let (_, text) = make(&w, "alice");
    w.step(strict().identity.times(2));
    block_on(w.engine.sweep(w.now)).unwrap();
    let gone = block_on(w.engine.identity(&subject("alice"))).unwrap();
    assert_eq!(gone, None, "it ran out");
    assert!(check(&w, &text).is_ok());
    recalled(&mut w);
    assert!(check(&w, &text).is_ok());
}

#[test]
fn until_the_keys_were_read_nobody_can_say() {
    let store = Faulty::new();
    let mut w = over(Arc::clone(&store) as Arc<dyn Store>);
    let (_, text) = make(&w, "ci");
    w.restart();
    assert_eq!(refusal(&w, &text), Some(KeyRefusal::Unsure));
    let unknown = forged("0123456789Ab", &text[17..60]);
    assert_eq!(refusal(&w, &unknown), Some(KeyRefusal::Unsure));
    assert_eq!(refusal(&w, "wbk_"), Some(KeyRefusal::Malformed));
    let mut failed = 0;
    while {
        store.fail_after(failed, Fault::Before);
        let recalled = block_on(w.engine.recall_keys(w.now)).is_ok();
        assert_eq!(recalled, !store.heal());
        !recalled
    } {
        failed += 1;
        assert_eq!(refusal(&w, &text), Some(KeyRefusal::Unsure));
    }
    assert!(failed > 0, "there was something to fail");
    assert!(check(&w, &text).is_ok());
    assert_eq!(refusal(&w, &unknown), Some(KeyRefusal::Unknown));
}

#[test]
fn a_last_use_is_written_down_by_the_tidying() {
    let mut w = world();
    let (id, text) = make(&w, "ci");
    let (idle, _) = make(&w, "ci");
    w.step(HOUR);
    let used = w.now;
    assert!(check(&w, &text).is_ok());
    assert_eq!(summary(&w, id).last_used, Some(used), "known at once");
    rotate(&w, id, HOUR);
    assert_eq!(summary(&w, id).last_used, Some(used), "and kept");
    w.restart();
    block_on(w.engine.recall_keys(w.now)).unwrap();
    assert_eq!(summary(&w, id).last_used, None, "the control: it was lost");
    assert!(check(&w, &text).is_ok());
    assert_eq!(block_on(w.engine.tidy(w.now)).unwrap(), 1);
    assert_eq!(block_on(w.engine.tidy(w.now)).unwrap(), 0, "once");
    recalled(&mut w);
    assert_eq!(summary(&w, id).last_used, Some(used));
    assert_eq!(summary(&w, idle).last_used, None);
    w.now = w.now.before(HOUR);
    assert!(check(&w, &text).is_ok());
    assert_eq!(summary(&w, id).last_used, Some(used), "it only grows");
}

#[test]
fn of_sixty_four_rotations_at_once_exactly_one_new_secret_is_good_in_the_end() {
    const RACERS: usize = 64;
    for _round in 0..10 {
        let mut w = world();
        let (id, first) = make(&w, "ci");
        let start = Barrier::new(RACERS);
        let (engine, now) = (Arc::clone(&w.engine), w.now);
        let made: Vec<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    let (engine, start) = (&engine, &start);
                    scope.spawn(move || {
                        start.wait();
                        let rotated = block_on(engine.rotate_key(id, Lifetime::ZERO, now));
                        shown(&rotated.unwrap()).1
                    })
                })
                .collect();
            let made = racers.into_iter().map(|racer| racer.join().unwrap());
            made.collect()
        });
        for restarts in [false, true] {
            if restarts {
                recalled(&mut w);
            }
            let answers: Vec<_> = made.iter().map(|text| refusal(&w, text)).collect();
            let count = |of| answers.iter().filter(|answer| **answer == of).count();
            assert_eq!(count(None), 1, "one survives");
            assert_eq!(count(Some(KeyRefusal::Superseded)), 1, "the one before");
            assert_eq!(count(Some(KeyRefusal::Unknown)), RACERS - 2);
            assert_eq!(refusal(&w, &first), Some(KeyRefusal::Unknown));
        }
        assert_eq!(w.log.count("key_rotated"), RACERS);
    }
}

#[test]
fn whatever_races_with_a_revocation_it_stands() {
    for _round in 0..20 {
        let mut w = world();
        let (id, first) = make(&w, "ci");
        let start = Barrier::new(8);
        let (engine, now) = (Arc::clone(&w.engine), w.now);
        let made: Vec<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|racer| {
                    let (engine, start) = (&engine, &start);
                    let first = first.as_bytes();
                    scope.spawn(move || {
                        start.wait();
                        if racer == 3 {
                            let revoked = engine.revoke_key(id, RevokedBy::Leak, now);
                            assert!(block_on(revoked).unwrap());
                            assert!(engine.check_key(first, now).is_err(), "at once");
                            return None;
                        }
                        drop(engine.check_key(first, now));
                        block_on(engine.tidy(now)).unwrap();
                        let rotated = block_on(engine.rotate_key(id, HOUR, now)).ok()?;
                        Some(shown(&rotated).1)
                    })
                })
                .collect();
            let made = racers.into_iter().filter_map(|racer| racer.join().unwrap());
            made.collect()
        });
        for restarts in [false, true] {
            if restarts {
                recalled(&mut w);
            }
            assert!(check(&w, &first).is_err());
            assert!(made.iter().all(|text| check(&w, text).is_err()));
            assert_eq!(summary(&w, id).refused, Some(KeyRefusal::Revoked));
        }
    }
}

/// Runs `change` once for each store call that it makes, with that call failing in each of the two ways. While nobody can say,
/// nobody is taken; after it was settled memory says what a fresh start says.
fn in_doubt(change: impl Fn(&World, ApiKeyId) -> bool) {
    for fault in [Fault::Before, Fault::After] {
        let (mut met, mut doubted) = (0, 0);
        for skip in 0.. {
            let store = Faulty::new();
            let mut w = over(Arc::clone(&store) as Arc<dyn Store>);
            let (id, text) = make(&w, "ci");
            assert!(check(&w, &text).is_ok());
            store.fail_after(skip, fault);
            let done = change(&w, id);
            if !store.heal() {
                assert!(done, "nothing failed");
                assert!(check(&w, &text).is_err(), "the control: it is dead");
                break;
            }
            assert!(!done, "a failure is told");
            met += 1;
            assert!(skip < 100, "it ends");
            let now = w.now;
            let before = check(&w, &text);
            // A load that fails changes nothing, so nothing is in doubt.
            doubted += usize::from(before == Err(KeyRefusal::Unsure));
            let rows = block_on(
                w.store
                    .load(&Key::new(Space::Key, id.to_string().as_bytes())),
            );
            let made = rows.unwrap().unwrap();
            let owner = block_on(w.engine.identity(&subject("ci"))).unwrap();
            let untouched = made.version == wirebound::store::Version::FIRST && owner.is_none();
            assert!(before.is_err() || untouched, "{before:?}");
            block_on(w.engine.settle_keys(now)).unwrap();
            let settled = check(&w, &text);
            assert_ne!(settled, Err(KeyRefusal::Unsure), "now it can say");
            recalled(&mut w);
            assert_eq!(settled, check(&w, &text), "what the store says");
            assert!(change(&w, id) || settled.is_err(), "and asked again");
            assert!(check(&w, &text).is_err());
        }
        assert!(met > 0, "there was something to fail");
        assert!(doubted > 0, "a commit among it");
    }
}

#[test]
fn a_revocation_of_which_nobody_knows_whether_it_happened_lets_nobody_in() {
    in_doubt(|w, id| block_on(w.engine.revoke_key(id, RevokedBy::Leak, w.now)).is_ok());
}

#[test]
fn a_rotation_of_which_nobody_knows_whether_it_happened_lets_nobody_in() {
    in_doubt(|w, id| block_on(w.engine.rotate_key(id, Lifetime::ZERO, w.now)).is_ok());
}

#[test]
fn a_block_of_which_nobody_knows_whether_it_happened_lets_nobody_in() {
    in_doubt(|w, _| block_on(w.engine.set_blocked(&subject("ci"), true, w.now)).is_ok());
}

#[test]
fn a_removal_of_which_nobody_knows_whether_it_happened_lets_nobody_in() {
    in_doubt(|w, _| block_on(w.engine.remove(&subject("ci"), w.now)).is_ok());
}

#[test]
fn a_making_of_which_nobody_knows_whether_it_happened_is_listed_once_it_is_known() {
    for fault in [Fault::Before, Fault::After] {
        let mut met = 0;
        for skip in 0.. {
            let store = Faulty::new();
            let mut w = over(Arc::clone(&store) as Arc<dyn Store>);
            store.fail_after(skip, fault);
            let made = block_on(w.engine.create_key(wanted("ci"), w.now));
            if !store.heal() {
                assert!(made.is_ok());
                break;
            }
            assert!(matches!(made, Err(NotMade::Store(_))));
            met += 1;
            block_on(w.engine.tidy(w.now)).unwrap();
            let rows = block_on(w.store.count(Space::Key)).unwrap();
            let listed = w.engine.api_keys(w.now).len();
            assert_eq!(listed as u64, rows, "memory says what the store says");
            recalled(&mut w);
            assert_eq!(w.engine.api_keys(w.now).len() as u64, rows);
            let (_, text) = make(&w, "ci");
            assert!(check(&w, &text).is_ok());
        }
        assert!(met > 0, "there was something to fail");
    }
}

#[test]
fn whoever_hangs_up_on_a_revocation_leaves_doubt_and_no_accept() {
    for at in [At::Commit, At::Committed] {
        let store = Paused::new();
        let mut w = over(Arc::clone(&store) as Arc<dyn Store>);
        let (id, text) = make(&w, "ci");
        store.pause(at);
        {
            let mut cut = pin!(w.engine.revoke_key(id, RevokedBy::Leak, w.now));
            assert!(
                cut.as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
        assert_eq!(refusal(&w, &text), Some(KeyRefusal::Unsure));
        assert_eq!(summary(&w, id).refused, Some(KeyRefusal::Unsure));
        store.release();
        assert_eq!(block_on(w.engine.settle_keys(w.now)).unwrap(), 1);
        let settled = refusal(&w, &text);
        assert_eq!(settled.is_some(), at == At::Committed, "{settled:?}");
        recalled(&mut w);
        assert_eq!(refusal(&w, &text), settled);
    }
}

#[test]
fn a_commit_that_is_still_on_its_way_is_met_before_its_key_is_believed_again() {
    type Late = fn(&World, ApiKeyId) -> Box<dyn Future<Output = ()> + '_>;
    let late: [Late; 2] = [
        |w, id| {
            Box::new(async move {
                drop(w.engine.revoke_key(id, RevokedBy::Leak, w.now).await);
            })
        },
        |w, _| {
            Box::new(async move {
                drop(w.engine.set_blocked(&subject("ci"), true, w.now).await);
            })
        },
    ];
    for late in late {
        let store = Behind::new();
        let mut w = over(Arc::clone(&store) as Arc<dyn Store>);
        let (id, text) = make(&w, "ci");
        store.fall_behind();
        {
            let mut cut = Box::into_pin(late(&w, id));
            assert!(
                cut.as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
        assert_eq!(refusal(&w, &text), Some(KeyRefusal::Unsure));
        // It is done just before the next commit: that is the one that settles, and not a later one.
        block_on(w.engine.settle_keys(w.now)).unwrap();
        let settled = refusal(&w, &text);
        assert!(settled.is_some(), "it came first, and is seen");
        recalled(&mut w);
        assert_eq!(refusal(&w, &text), settled);
    }
}

#[test]
fn there_are_ten_thousand_keys_at_most_and_the_one_dead_for_longest_makes_room() {
    const MOST: usize = 10_000;
    let mut w = world();
    let mut ids = Vec::new();
    for _ in 0..MOST {
        ids.push(make(&w, "ci"));
    }
    let full = block_on(w.engine.create_key(wanted("ci"), w.now));
    assert!(matches!(full, Err(NotMade::Full)), "{full:?}");
    for (id, _) in &ids[7..9] {
        block_on(w.engine.revoke_key(*id, RevokedBy::Operator, w.now)).unwrap();
        w.step(MILLI);
    }
    let (_, text) = make(&w, "ci");
    assert!(check(&w, &text).is_ok());
    assert_eq!(refusal(&w, &ids[7].1), Some(KeyRefusal::Unknown), "gone");
    assert_eq!(refusal(&w, &ids[8].1), Some(KeyRefusal::Revoked));
    assert_eq!(w.engine.api_keys(w.now).len(), MOST);
    recalled(&mut w);
    assert_eq!(w.engine.api_keys(w.now).len(), MOST);
    assert!(check(&w, &text).is_ok());
    assert!(check(&w, &ids[0].1).is_ok(), "no live one went");
}

#[test]
fn two_makers_at_once_do_not_share_the_last_room() {
    let store = Paused::new();
    let w = over(Arc::clone(&store) as Arc<dyn Store>);
    for _ in 0..9_999 {
        make(&w, "ci");
    }
    store.pause(At::Commit);
    let mut context = Context::from_waker(Waker::noop());
    let mut slow = pin!(w.engine.create_key(wanted("alice"), w.now));
    assert!(slow.as_mut().poll(&mut context).is_pending());
    let mut fast = pin!(w.engine.create_key(wanted("bob"), w.now));
    assert!(fast.as_mut().poll(&mut context).is_pending(), "it waits");
    store.release();
    assert!(block_on(slow).is_ok());
    assert!(matches!(block_on(fast), Err(NotMade::Full)));
    assert_eq!(block_on(w.store.count(Space::Key)).unwrap(), 10_000);
}

#[test]
fn keys_outlive_the_epochs_of_the_node_secret_if_they_are_renewed() {
    for renews in [true, false] {
        let mut w = world();
        let (id, text) = make(&w, "ci");
        let (_, other) = make(&w, "alice");
        w.restart_in(2, Some(1));
        if renews {
            assert_eq!(block_on(w.engine.renew_keys()).unwrap(), 2);
        }
        let found = block_on(w.engine.recall_keys(w.now)).unwrap();
        assert_eq!((found.keys, found.unreadable), (2, 0));
        assert!(check(&w, &text).is_ok(), "its digest is not the epoch's");
        w.restart_in(3, Some(2));
        let found = block_on(w.engine.recall_keys(w.now)).unwrap();
        if renews {
            assert_eq!((found.keys, found.unreadable), (2, 0));
            assert!(check(&w, &text).is_ok());
            assert!(check(&w, &other).is_ok());
            assert_eq!(summary(&w, id).owner, subject("ci"));
        } else {
            assert_eq!((found.keys, found.unreadable), (0, 2), "the control");
            assert_eq!(refusal(&w, &text), Some(KeyRefusal::Unknown));
        }
    }
}

#[test]
fn a_record_that_no_key_reads_stops_no_other() {
    let mut w = world();
    let (spoilt, spoilt_text) = make(&w, "ci");
    let (_, text) = make(&w, "ci");
    let (_, third) = make(&w, "ci");
    let key = Key::new(Space::Key, spoilt.to_string().as_bytes());
    let stored = block_on(w.store.load(&key)).unwrap().unwrap();
    let put = Change::Put {
        key,
        expect: Expect::At(stored.version),
        value: b"written by somebody else".to_vec(),
        due: w.now,
    };
    block_on(w.store.commit(vec![put], Durability::Durable)).unwrap();
    for text in [&spoilt_text, &text, &third] {
        assert!(check(&w, text).is_ok(), "in memory it is what it was");
    }
    assert_eq!(block_on(w.engine.tidy(w.now)).unwrap(), 2);
    assert_eq!(block_on(w.engine.sweep(w.now)).unwrap().unreadable, 1);
    recalled(&mut w);
    assert!(check(&w, &text).is_ok());
    assert_eq!(refusal(&w, &spoilt_text), Some(KeyRefusal::Unknown));
    assert!(block_on(w.engine.revoke_key(spoilt, RevokedBy::Leak, w.now)).is_err());
    block_on(w.engine.remove(&subject("ci"), w.now)).unwrap();
    assert_eq!(refusal(&w, &third), Some(KeyRefusal::OwnerGone));
}

#[test]
fn a_key_whose_record_was_put_back_as_it_was_before_its_revocation_is_not_believed() {
    let mut w = world();
    let (id, text) = make(&w, "ci");
    let key = Key::new(Space::Key, id.to_string().as_bytes());
    let before = block_on(w.store.load(&key)).unwrap().unwrap();
    block_on(w.engine.revoke_key(id, RevokedBy::Leak, w.now)).unwrap();
    let put = Change::Put {
        key,
        expect: Expect::At(before.version.next()),
        value: before.value,
        due: before.due,
    };
    block_on(w.store.commit(vec![put], Durability::Durable)).unwrap();
    w.restart();
    let found = block_on(w.engine.recall_keys(w.now)).unwrap();
    assert_eq!((found.keys, found.unreadable), (0, 1));
    assert!(check(&w, &text).is_err());
}

#[test]
fn what_happens_to_keys_is_told_and_refusals_once_a_minute_for_each_key_and_reason() {
    let mut w = world();
    let (id, old) = make(&w, "ci");
    let new = rotate(&w, id, Lifetime::ZERO);
    let made_up = forged("0123456789Ab", &old[17..60]);
    let tell = |w: &World, text: &str| {
        let refused = refusal(w, text).unwrap();
        let side = Side {
            wire: None,
            address: Some([192, 0, 2, 7].into()),
            client: "curl/8".to_owned(),
        };
        w.engine
            .tell_key_refused(text.as_bytes(), refused, side, w.now);
    };
    for _ in 0..100 {
        tell(&w, &old);
        tell(&w, &made_up);
        tell(&w, "wbk_");
    }
    assert_eq!(w.log.count("key_refused"), 3);
    w.step(Lifetime::from_mins(1));
    tell(&w, &old);
    block_on(w.engine.revoke_key(id, RevokedBy::Holder, w.now)).unwrap();
    tell(&w, &new);
    let refused: Vec<_> = w
        .log
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::KeyRefused {
                key,
                refusal,
                side,
                unreported,
            } => {
                assert_eq!(side.client, "curl/8");
                Some((key, refusal, unreported))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        refused,
        [
            (Some(id), KeyRefusal::Superseded, 0),
            (None, KeyRefusal::Unknown, 0),
            (None, KeyRefusal::Malformed, 0),
            (Some(id), KeyRefusal::Superseded, 99),
            (Some(id), KeyRefusal::Revoked, 0),
        ]
    );
    let names = ["key_made", "key_rotated", "key_revoked"];
    assert_eq!(names.map(|name| w.log.count(name)), [1, 1, 1]);
}

#[test]
fn no_stored_value_no_debug_and_no_event_holds_a_key_or_a_part_of_one() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let w = over(Arc::clone(&store));
    let made = block_on(w.engine.create_key(wanted("ci"), w.now)).unwrap();
    let rotated = block_on(w.engine.rotate_key(made.key.id(), HOUR, w.now)).unwrap();
    let texts = [
        made.key.expose().to_owned(),
        rotated.key.expose().to_owned(),
    ];
    let verified = texts.each_ref().map(|text| check(&w, text).unwrap());
    block_on(w.engine.tidy(w.now)).unwrap();
    let refused = check(&w, &texts[0].replace('_', "-"));
    w.engine.tell_key_refused(
        texts[0].as_bytes(),
        KeyRefusal::Malformed,
        Side::default(),
        w.now,
    );
    block_on(w.engine.revoke_key(made.key.id(), RevokedBy::Leak, w.now)).unwrap();
    let mut haystacks = vec![
        format!(
            "{made:?}{rotated:?}{verified:?}{refused:?}{:?}{:?}",
            w.engine,
            w.engine.api_keys(w.now)
        )
        .into_bytes(),
    ];
    for event in w.log.all() {
        haystacks.push(format!("{event:?}").into_bytes());
    }
    let mut values = 0;
    for space in Space::ALL {
        for (_, key) in block_on(store.due(space, Timestamp::NEVER, None, 100)).unwrap() {
            haystacks.push(key.name().to_vec());
            haystacks.push(block_on(store.load(&key)).unwrap().unwrap().value);
            values += 1;
        }
    }
    assert_eq!(values, 1, "the key is stored");
    let holds = |haystack: &[u8], part: &[u8]| haystack.windows(part.len()).any(|at| at == part);
    for text in &texts {
        // Of secret and checksum every eight characters in a row; the checksum alone would give away a bit of it.
        for part in text.as_bytes()[17..]
            .windows(8)
            .chain([&text.as_bytes()[60..]])
        {
            for haystack in &haystacks {
                assert!(!holds(haystack, part), "{}", String::from_utf8_lossy(part));
            }
        }
    }
    let id = made.key.id().to_string();
    assert!(
        haystacks.iter().all(|haystack| !haystack.is_empty())
            && haystacks
                .iter()
                .filter(|all| holds(all, id.as_bytes()))
                .count()
                > 3,
        "the search finds what is there"
    );
}
