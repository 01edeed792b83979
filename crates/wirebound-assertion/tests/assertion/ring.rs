//! The ring: one key signs at every moment, everybody could fetch it before, and it is believed until its last token is over.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wirebound::{Lifetime, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Expected, Invalid, Jwks, KEYS_MAX, KeyError, LEEWAY, LONGEST_LIFE, Listed,
    NotRetired, Ring, RingError, Schedule, ScheduleError, Seconds, SigningKey, State, check, sign,
};

use crate::common::{AUDIENCE, ISSUER, NOW, claims, key};

const DAY: Lifetime = Lifetime::from_days(1);
const HOUR: Lifetime = Lifetime::from_hours(1);
const SECOND: Lifetime = Lifetime::from_secs(1);
const PERIOD: Lifetime = Lifetime::from_days(30);
const TAIL: Lifetime = Lifetime::from_millis(905_000);

/// A source of keys that never gives one twice. HS256 keys are quickly made.
struct Maker {
    algorithm: Algorithm,
    made: u64,
}

impl Maker {
    const fn of(algorithm: Algorithm) -> Self {
        Self { algorithm, made: 0 }
    }

    fn make(&mut self) -> Result<SigningKey, KeyError> {
        self.made += 1;
        Ok(key(self.algorithm, self.made))
    }
}

fn ring(algorithm: Algorithm) -> (Ring, Maker) {
    let mut maker = Maker::of(algorithm);
    (Ring::new(maker.make().unwrap(), NOW), maker)
}

fn step(ring: &mut Ring, maker: &mut Maker, now: Timestamp) -> bool {
    ring.step(&Schedule::default(), now, || maker.make())
        .unwrap()
}

fn no_key() -> Result<SigningKey, KeyError> {
    Err(KeyError::Entropy)
}

fn states(ring: &Ring, now: Timestamp) -> Vec<State> {
    ring.list(now).iter().map(|listed| listed.state).collect()
}

fn signer(ring: &Ring, now: Timestamp) -> String {
    ring.signing(now).kid().to_string()
}

/// A token of the longest life, made at this moment.
fn token(ring: &Ring, now: Timestamp) -> String {
    let issued = Seconds::of(now);
    let said = Claims {
        issued,
        not_before: issued,
        expires: issued.plus(LONGEST_LIFE.as_secs()),
        ..claims()
    };
    sign(ring.signing(now), &said).unwrap()
}

fn judged(ring: &Ring, token: &str, now: Timestamp) -> Result<(), Invalid> {
    let expected = Expected::new(ISSUER, AUDIENCE);
    check(token, &ring.key_set(now), &expected, now).map(drop)
}

#[test]
fn a_key_is_published_signs_retires_and_is_gone() {
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    let first = signer(&ring, NOW);
    assert_eq!(states(&ring, NOW), [State::Signing]);

    // An hour before its time is up the next one is published.
    let published = NOW.after(PERIOD).before(HOUR);
    assert_eq!(ring.due(&Schedule::default(), NOW), published);
    let before = published.before(SECOND);
    assert!(!step(&mut ring, &mut maker, before));
    assert!(step(&mut ring, &mut maker, published));
    assert!(!step(&mut ring, &mut maker, published));
    assert_eq!(states(&ring, published), [State::Signing, State::Published]);
    assert_eq!(
        Jwks::parse(ring.jwks(published).as_json().as_bytes())
            .unwrap()
            .len(),
        2
    );

    // It signs when its lead is over, without anybody doing anything.
    let over = NOW.after(PERIOD);
    assert_eq!(ring.due(&Schedule::default(), published), over);
    let last = over.before(Lifetime::from_millis(1));
    assert_eq!(signer(&ring, last), first);
    let last_token = token(&ring, last);
    assert_ne!(signer(&ring, over), first);
    assert_eq!(states(&ring, over), [State::Retiring, State::Signing]);

    // What the first key signed last is believed to its very end, and the key no longer than that.
    let end = over.after(TAIL);
    assert_eq!(ring.due(&Schedule::default(), over), end);
    let almost = end.before(Lifetime::from_millis(1));
    assert_eq!(judged(&ring, &last_token, almost.before(SECOND)), Ok(()));
    assert_eq!(states(&ring, almost), [State::Retiring, State::Signing]);
    assert_eq!(judged(&ring, &last_token, end), Err(Invalid::UnknownKey));
    assert_eq!(states(&ring, end), [State::Signing]);
    assert_eq!(
        Jwks::parse(ring.jwks(end).as_json().as_bytes())
            .unwrap()
            .len(),
        1
    );
    assert!(step(&mut ring, &mut maker, end));
    assert_eq!(maker.made, 2);
}

#[test]
fn nothing_is_published_of_a_ring_of_hs256() {
    let (ring, _) = ring(Algorithm::Hs256);
    assert_eq!(ring.jwks(NOW).as_json(), r#"{"keys":[]}"#);
    assert_eq!(ring.key_set(NOW).len(), 1);
    assert_eq!(judged(&ring, &token(&ring, NOW), NOW), Ok(()));
}

#[test]
fn a_schedule_under_which_tokens_would_fail_is_refused() {
    let minutes = Lifetime::from_mins;
    for (period, lead, tail, expected) in [
        (PERIOD, HOUR, TAIL, Ok(())),
        (minutes(15), minutes(15), minutes(15), Ok(())),
        (PERIOD, Lifetime::ZERO, TAIL, Err(ScheduleError::Lead)),
        (PERIOD, HOUR, minutes(14), Err(ScheduleError::Tail)),
        (minutes(59), HOUR, TAIL, Err(ScheduleError::Period)),
        (minutes(15), SECOND, minutes(16), Err(ScheduleError::Period)),
    ] {
        assert_eq!(Schedule::new(period, lead, tail).map(drop), expected);
    }
    let schedule = Schedule::default();
    assert_eq!(Schedule::new(PERIOD, HOUR, TAIL), Ok(schedule));
    assert_eq!(schedule.max_age(), Lifetime::from_mins(30));
    assert_eq!(
        TAIL,
        Lifetime::from_millis(LONGEST_LIFE.as_millis() + LEEWAY.as_millis())
    );
}

#[test]
fn a_process_that_slept_through_several_periods_goes_on_as_if_it_had_not() {
    // Asleep before the next key was published.
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    let first = signer(&ring, NOW);
    let late = NOW.after(PERIOD.times(5));
    assert_eq!(ring.due(&Schedule::default(), late), late);
    assert_eq!(signer(&ring, late), first);
    assert_eq!(judged(&ring, &token(&ring, late), late), Ok(()));
    assert!(step(&mut ring, &mut maker, late));
    // Late as it is, nobody signs with a key that nobody has fetched.
    assert_eq!(states(&ring, late), [State::Signing, State::Published]);
    assert_eq!(signer(&ring, late.after(HOUR).before(SECOND)), first);
    let second = signer(&ring, late.after(HOUR));
    assert_ne!(second, first);

    // Asleep after it was published: on waking it signs, the first is gone, and its own time is up.
    let later = late.after(PERIOD.times(5));
    assert_eq!(signer(&ring, later), second);
    assert_eq!(states(&ring, later), [State::Signing]);
    assert!(step(&mut ring, &mut maker, later));
    assert_eq!(states(&ring, later), [State::Signing, State::Published]);
    assert_eq!(maker.made, 3);
}

#[test]
fn a_clock_that_was_years_ahead_leaves_no_key_for_years() {
    let ahead = NOW.after(DAY.times(36_500));
    for stayed in [Lifetime::ZERO, HOUR, DAY] {
        let (mut ring, mut maker) = ring(Algorithm::EdDsa);
        assert!(step(&mut ring, &mut maker, ahead));
        let _changed: bool = step(&mut ring, &mut maker, ahead.after(stayed));
        // The clock is put right.
        let back = NOW.after(DAY);
        assert_eq!(ring.due(&Schedule::default(), back), back);
        let signing = signer(&ring, back);
        let good = token(&ring, back);
        assert!(step(&mut ring, &mut maker, back));
        assert_eq!(signer(&ring, back), signing);
        assert_eq!(judged(&ring, &good, back), Ok(()));
        for listed in ring.list(back) {
            assert!(listed.since <= back.after(HOUR), "{listed:?}");
        }
        // And the keys go on changing.
        let mut now = back;
        let mut signers = std::collections::BTreeSet::from([signing]);
        for _ in 0..200 {
            now = now.after(DAY);
            let _changed: bool = step(&mut ring, &mut maker, now);
            signers.insert(signer(&ring, now));
        }
        assert!((7..=9).contains(&signers.len()), "{}", signers.len());
    }
}

#[test]
fn a_clock_that_went_back_a_little_changes_nothing_that_matters() {
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    let published = NOW.after(PERIOD).before(HOUR);
    assert!(step(&mut ring, &mut maker, published));
    let next = signer(&ring, NOW.after(PERIOD));
    // Ten seconds after the change-over it is ten seconds before it again.
    let after = NOW.after(PERIOD).after(SECOND.times(10));
    let before = NOW.after(PERIOD).before(SECOND.times(10));
    let made_after = token(&ring, after);
    assert!(!step(&mut ring, &mut maker, before));
    assert_eq!(
        judged(&ring, &made_after, before.after(SECOND.times(15))),
        Ok(())
    );
    assert_ne!(signer(&ring, before), next);
    assert_eq!(judged(&ring, &token(&ring, before), after), Ok(()));
}

#[test]
fn a_key_that_is_changed_by_hand_signs_after_its_lead_as_well() {
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    let schedule = Schedule::default();
    let first = signer(&ring, NOW);
    let at = NOW.after(DAY);
    assert!(ring.rotate_now(&schedule, at, || maker.make()).unwrap());
    assert_eq!(states(&ring, at), [State::Signing, State::Published]);
    assert_eq!(signer(&ring, at.after(HOUR).before(SECOND)), first);
    assert_ne!(signer(&ring, at.after(HOUR)), first);
    // Once more changes nothing: the next is on its way.
    assert!(
        !ring
            .rotate_now(&schedule, at.after(SECOND), || maker.make())
            .unwrap()
    );
    assert_eq!(maker.made, 2);
    // The new key has its full period.
    let published = at.after(HOUR).after(PERIOD).before(HOUR);
    assert!(!step(
        &mut ring,
        &mut maker,
        at.after(HOUR).after(TAIL).before(SECOND)
    ));
    assert!(step(&mut ring, &mut maker, at.after(HOUR).after(TAIL)));
    assert!(!step(&mut ring, &mut maker, published.before(SECOND)));
    assert!(step(&mut ring, &mut maker, published));
}

#[test]
fn a_ring_is_bounded_however_often_it_is_turned_by_hand() {
    let minute = Lifetime::from_mins(1);
    let schedule = Schedule::new(DAY, minute, HOUR).unwrap();
    let (mut ring, mut maker) = ring(Algorithm::Hs256);
    let mut now = NOW;
    let mut full = 0;
    for _ in 0..600 {
        now = now.after(SECOND.times(20));
        let _changed: bool = ring.rotate_now(&schedule, now, || maker.make()).unwrap();
        full = full.max(ring.list(now).len());
        assert_eq!(judged(&ring, &token(&ring, now), now), Ok(()));
    }
    assert_eq!(full, KEYS_MAX);
    assert!(Ring::from_bytes(&ring.to_bytes()).is_ok());
}

#[test]
fn a_key_that_leaked_is_gone_at_once_and_another_signs() {
    let schedule = Schedule::default();
    for on_its_way in [false, true] {
        let (mut ring, mut maker) = ring(Algorithm::EdDsa);
        let at = NOW.after(DAY);
        if on_its_way {
            assert!(ring.rotate_now(&schedule, at, || maker.make()).unwrap());
        }
        let leaked = signer(&ring, at);
        let stolen = token(&ring, at);
        // The control: until then the thief is believed.
        assert_eq!(judged(&ring, &stolen, at), Ok(()));
        let made = maker.made;
        ring.retire_now(&leaked, &schedule, at, || maker.make())
            .unwrap();
        assert_eq!(judged(&ring, &stolen, at), Err(Invalid::UnknownKey));
        assert!(!ring.jwks(at).as_json().contains(&leaked));
        assert_eq!(states(&ring, at), [State::Signing]);
        assert_eq!(judged(&ring, &token(&ring, at), at), Ok(()));
        // One that was on its way is taken instead of another.
        assert_eq!(maker.made, if on_its_way { made } else { made + 1 });
        assert_eq!(ring.list(at)[0].since, at);
    }
}

#[test]
fn a_leaked_key_that_does_not_sign_goes_and_the_others_stay() {
    let schedule = Schedule::default();
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    let first = signer(&ring, NOW);
    let last_of_first = token(&ring, NOW);
    assert!(ring.rotate_now(&schedule, NOW, || maker.make()).unwrap());
    // On its way.
    let next = signer(&ring, NOW.after(HOUR));
    ring.retire_now(&next, &schedule, NOW, no_key).unwrap();
    assert_eq!(states(&ring, NOW), [State::Signing]);
    assert_eq!(signer(&ring, NOW.after(DAY)), first);
    assert_eq!(ring.list(NOW)[0].stops, None);
    // Retiring.
    assert!(ring.rotate_now(&schedule, NOW, || maker.make()).unwrap());
    let over = NOW.after(HOUR);
    assert_eq!(states(&ring, over), [State::Retiring, State::Signing]);
    let second = signer(&ring, over);
    let of_second = token(&ring, over);
    ring.retire_now(&first, &schedule, over, no_key).unwrap();
    assert_eq!(signer(&ring, over), second);
    assert_eq!(
        judged(&ring, &last_of_first, over),
        Err(Invalid::UnknownKey)
    );
    assert_eq!(judged(&ring, &of_second, over), Ok(()));
    // Unknown, and gone already.
    for kid in ["", "nobody", &first] {
        assert_eq!(
            ring.retire_now(kid, &schedule, over, no_key),
            Err(NotRetired::Unknown)
        );
    }
}

#[test]
fn a_key_that_waits_behind_another_that_leaked_does_not_sign_before_its_time() {
    // Three unstopped keys at once: so close a schedule, and a clock that went back.
    let schedule = Schedule::new(HOUR, HOUR, HOUR).unwrap();
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    let mut step = |ring: &mut Ring, now| ring.step(&schedule, now, || maker.make()).unwrap();
    assert!(step(&mut ring, NOW));
    assert!(step(&mut ring, NOW.after(HOUR)));
    let two_hours = NOW.after(HOUR.times(2));
    let (first, second, third) = (
        signer(&ring, NOW),
        signer(&ring, NOW.after(HOUR)),
        signer(&ring, two_hours),
    );
    let back = NOW.after(Lifetime::from_mins(30));
    assert_eq!(
        states(&ring, back),
        [State::Signing, State::Published, State::Published]
    );
    ring.retire_now(&second, &schedule, back, no_key).unwrap();
    assert_eq!(states(&ring, back), [State::Signing, State::Published]);
    assert_eq!(signer(&ring, two_hours.before(SECOND)), first);
    assert_eq!(signer(&ring, two_hours), third);
    let last = token(&ring, two_hours.before(SECOND));
    let almost = two_hours.after(LONGEST_LIFE).before(SECOND);
    assert_eq!(judged(&ring, &last, almost), Ok(()));
    assert!(Ring::from_bytes(&ring.to_bytes()).is_ok());
}

#[test]
fn a_ring_that_gets_no_key_stays_as_it_was() {
    let schedule = Schedule::default();
    let (mut ring, _) = ring(Algorithm::EdDsa);
    let before = ring.to_bytes();
    let late = NOW.after(PERIOD.times(2));
    assert_eq!(ring.step(&schedule, late, no_key), Err(KeyError::Entropy));
    assert_eq!(
        ring.rotate_now(&schedule, NOW, no_key),
        Err(KeyError::Entropy)
    );
    let kid = signer(&ring, NOW);
    assert_eq!(
        ring.retire_now(&kid, &schedule, NOW, no_key),
        Err(NotRetired::Make(KeyError::Entropy))
    );
    // A maker that gives the same key again has none either.
    let same = || Ok::<_, KeyError>(key(Algorithm::EdDsa, 1));
    assert_eq!(ring.step(&schedule, late, same), Ok(false));
    assert_eq!(
        ring.retire_now(&kid, &schedule, NOW, same),
        Err(NotRetired::SameKey)
    );
    assert_eq!(ring.to_bytes(), before);
}

#[test]
fn a_ring_moves_on_to_another_algorithm_by_its_schedule() {
    let (ring, _) = ring(Algorithm::EdDsa);
    // Reopened, with another algorithm chosen.
    let mut ring = Ring::from_bytes(&ring.to_bytes()).unwrap();
    let mut maker = Maker::of(Algorithm::Es256);
    assert!(!step(&mut ring, &mut maker, NOW));
    let algorithms = |ring: &Ring, now| -> Vec<Algorithm> {
        ring.list(now)
            .iter()
            .map(|listed| listed.algorithm)
            .collect()
    };
    assert_eq!(algorithms(&ring, NOW), [Algorithm::EdDsa]);
    assert!(step(&mut ring, &mut maker, NOW.after(PERIOD).before(HOUR)));
    let last = NOW.after(PERIOD).before(SECOND);
    let old = token(&ring, last);
    let over = NOW.after(PERIOD);
    let new = token(&ring, over);
    assert_eq!(ring.signing(last).algorithm(), Algorithm::EdDsa);
    assert_eq!(ring.signing(over).algorithm(), Algorithm::Es256);
    assert_eq!(
        algorithms(&ring, over),
        [Algorithm::EdDsa, Algorithm::Es256]
    );
    assert_eq!(judged(&ring, &old, over), Ok(()));
    assert_eq!(judged(&ring, &new, over), Ok(()));
    assert_eq!(algorithms(&ring, over.after(TAIL)), [Algorithm::Es256]);
}

/// Services fetch no key of HS256, so each token that it signed for them was refused, for as long as its period lasted.
#[test]
fn a_key_that_nobody_else_can_check_gives_way_at_once_and_is_believed_to_its_last_token() {
    let schedule = Schedule::default();
    let at = NOW.after(DAY);
    for on_its_way in [None, Some(Algorithm::Hs256), Some(Algorithm::EdDsa)] {
        let (mut ring, _) = ring(Algorithm::Hs256);
        let mut maker = Maker {
            algorithm: on_its_way.unwrap_or(Algorithm::EdDsa),
            made: 9,
        };
        if on_its_way.is_some() {
            assert!(ring.rotate_now(&schedule, at, || maker.make()).unwrap());
        }
        let last = token(&ring, at);
        maker.algorithm = Algorithm::EdDsa;
        let mut take_over = |ring: &mut Ring| {
            ring.sign_for_others(&schedule, at, || maker.make())
                .unwrap()
        };
        assert!(take_over(&mut ring), "{on_its_way:?}");
        assert!(!take_over(&mut ring), "once is enough");
        // One that services can fetch is taken instead of another.
        let made = if on_its_way == Some(Algorithm::Hs256) {
            11
        } else {
            10
        };
        assert_eq!(maker.made, made, "{on_its_way:?}");
        let mut ring = Ring::from_bytes(&ring.to_bytes()).unwrap();
        assert_eq!(ring.signing(at).algorithm(), Algorithm::EdDsa);
        assert_eq!(states(&ring, at), [State::Retiring, State::Signing]);
        assert!(ring.jwks(at).as_json().contains(&signer(&ring, at)));
        assert_eq!(judged(&ring, &token(&ring, at), at), Ok(()));
        let end = at.after(TAIL);
        assert_eq!(judged(&ring, &last, end.before(SECOND)), Ok(()));
        assert_eq!(judged(&ring, &last, end), Err(Invalid::UnknownKey));
        // And it has its full period.
        step(&mut ring, &mut maker, end);
        let next = at.after(PERIOD).before(HOUR);
        assert_eq!(ring.due(&schedule, end), next);
    }
}

#[test]
fn a_key_that_nobody_else_can_check_is_called_off_and_the_one_that_signs_goes_on() {
    let schedule = Schedule::default();
    let (mut ring, _) = ring(Algorithm::EdDsa);
    let mut maker = Maker {
        algorithm: Algorithm::Hs256,
        made: 9,
    };
    let signs = signer(&ring, NOW);
    assert!(ring.rotate_now(&schedule, NOW, || maker.make()).unwrap());
    assert_eq!(states(&ring, NOW), [State::Signing, State::Published]);
    assert!(ring.sign_for_others(&schedule, NOW, no_key).unwrap());
    assert_eq!(states(&ring, NOW), [State::Signing]);
    assert_eq!(signer(&ring, NOW.after(DAY)), signs);
    assert!(!ring.sign_for_others(&schedule, NOW, no_key).unwrap());
}

#[test]
fn a_ring_of_hs256_that_is_new_or_full_gives_way_as_well() {
    let schedule = Schedule::new(DAY, Lifetime::from_mins(1), HOUR).unwrap();
    let (new, mut maker) = ring(Algorithm::Hs256);
    let (mut full, mut now) = (new.clone(), NOW);
    while full.list(now).len() < KEYS_MAX {
        now = now.after(SECOND.times(20));
        let _changed: bool = full.rotate_now(&schedule, now, || maker.make()).unwrap();
    }
    maker.algorithm = Algorithm::EdDsa;
    // The last of them signs.
    let now = now.after(Lifetime::from_mins(1));
    for (mut ring, at) in [(new, NOW), (full, now)] {
        let before = ring.to_bytes();
        assert!(ring.sign_for_others(&schedule, at, no_key).is_err());
        assert_eq!(ring.to_bytes(), before);
        let changed = ring.sign_for_others(&schedule, at, || maker.make());
        assert!(changed.unwrap());
        let ring = Ring::from_bytes(&ring.to_bytes()).unwrap();
        let soon = at.after(Lifetime::from_millis(1));
        assert_eq!(ring.signing(soon).algorithm(), Algorithm::EdDsa);
        assert!(ring.list(soon).len() <= KEYS_MAX);
    }
}

#[test]
fn kept_bytes_that_are_no_ring_are_refused() {
    let (mut ring, mut maker) = ring(Algorithm::EdDsa);
    assert!(step(&mut ring, &mut maker, NOW.after(PERIOD)));
    let kept = ring.to_bytes().to_vec();
    assert_eq!(Ring::from_bytes(&kept).unwrap().to_bytes().to_vec(), kept);
    for length in 0..kept.len() {
        let cut = Ring::from_bytes(&kept[..length]);
        assert_eq!(cut.unwrap_err(), RingError::Length, "{length}");
    }
    // version, count, then twice: four times of 8, length, key of 34.
    let slot = 32 + 1 + 34;
    assert_eq!(kept.len(), 2 + 2 * slot);
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = kept.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let first = kept[2..2 + slot].to_vec();
    let last = kept[2 + slot..].to_vec();
    let early = [0; 8];
    for (bytes, error) in [
        (vec![], RingError::Length),
        (vec![1, 0], RingError::Length),
        ([kept.clone(), vec![0]].concat(), RingError::Length),
        (changed(0, &[0]), RingError::Version { found: 0 }),
        (changed(0, &[2]), RingError::Version { found: 2 }),
        (changed(1, &[1]), RingError::Length),
        (changed(1, &[3]), RingError::Length),
        (changed(1, &[255]), RingError::Length),
        (
            changed(2 + 33, &[9]),
            RingError::Key(KeyError::Version { found: 9 }),
        ),
        (changed(2 + 34, &[9]), RingError::Key(KeyError::Algorithm)),
        (changed(2 + 32, &[33]), RingError::Key(KeyError::Length)),
        // Published after it signed, stopped before it began, believed no longer than it signed.
        (changed(2, &[0xff; 8]), RingError::Order),
        (changed(2 + 16, &early), RingError::Order),
        (changed(2 + 24, &early), RingError::Order),
        (changed(2 + 16, &[0xff; 16]), RingError::Order),
        // The last one stops; the other way round; the same one twice.
        (changed(2 + slot + 16, &[0x7f; 16]), RingError::Order),
        (
            [vec![1, 2], last.clone(), first.clone()].concat(),
            RingError::Order,
        ),
        (
            [
                vec![1, 2],
                first.clone(),
                [&last[..33], &first[33..]].concat(),
            ]
            .concat(),
            RingError::Order,
        ),
        ([vec![1, 1], first].concat(), RingError::Order),
    ] {
        assert_eq!(Ring::from_bytes(&bytes).unwrap_err(), error);
    }
    assert!(Ring::from_bytes(&[vec![1, 1], last].concat()).is_ok());
}

/// What somebody does with a ring.
#[derive(Clone, Debug)]
enum Act {
    /// Time passes, nobody looks.
    Sleep(u64),
    /// The caller comes when it is due, so many times.
    Steps(u8),
    /// The caller comes now.
    Step,
    RotateNow,
    /// The key at this place of the list leaked.
    RetireNow(prop::sample::Index),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let minutes = 60_000_u64;
    let sleep = prop_oneof![0..3 * minutes, 0..90 * minutes, 0..100 * 24 * 60 * minutes,];
    let act = prop_oneof![
        4 => sleep.prop_map(Act::Sleep),
        3 => (1_u8..6).prop_map(Act::Steps),
        2 => Just(Act::Step),
        2 => Just(Act::RotateNow),
        1 => any::<prop::sample::Index>().prop_map(Act::RetireNow),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..60)
}

/// Holds at every moment, whatever the clock did.
fn one_signs(ring: &Ring, now: Timestamp) -> Listed {
    let list = ring.list(now);
    let mut signing = list.iter().filter(|key| key.state == State::Signing);
    let one = signing.next().expect("no key signs").clone();
    assert!(signing.next().is_none(), "two keys sign");
    assert_eq!(&one.kid, ring.signing(now).kid());
    assert!((1..=KEYS_MAX).contains(&list.len()));
    let believed = ring.key_set(now);
    assert_eq!(believed.len(), list.len());
    let published = Jwks::parse(ring.jwks(now).as_json().as_bytes()).unwrap();
    assert_eq!(published.len(), list.len());
    for key in &list {
        assert!(published.key(key.kid.as_str()).is_some());
    }
    one
}

/// What was seen of the keys while time went on.
#[derive(Default)]
struct Seen {
    /// Since when it was in the published set, as seen from outside.
    published: BTreeMap<String, Timestamp>,
    /// When it was last seen to sign, and until when its tokens of then are good.
    signed: BTreeMap<String, Timestamp>,
    /// Taken out by hand; nothing holds of it any more.
    leaked: Vec<String>,
    /// May sign without lead: the very first, and those before which one leaked.
    hurried: Vec<String>,
}

impl Seen {
    fn look(&mut self, ring: &Ring, schedule: &Schedule, lead: Lifetime, now: Timestamp) {
        let one = one_signs(ring, now);
        let list = ring.list(now);
        for key in &list {
            self.published.entry(key.kid.to_string()).or_insert(now);
        }
        let kid = one.kid.to_string();
        let since = self.published[&kid];
        assert!(
            self.hurried.contains(&kid) || now.since(since) >= lead,
            "{kid} signs after {:?}",
            now.since(since)
        );
        // A token of every earlier moment is believed as long as it lasts.
        let believed = ring.key_set(now);
        for (kid, last) in &self.signed {
            let good = now < last.after(TAIL);
            let gone = self.leaked.contains(kid);
            if good && !gone {
                assert!(believed.key(kid).is_some(), "{kid} is gone too early");
            }
            if gone {
                assert!(believed.key(kid).is_none(), "{kid} leaked and is believed");
            }
        }
        for key in &list {
            if let (State::Retiring, Some(stops)) = (key.state, key.stops) {
                assert!(now < stops.after(TAIL), "{} is believed too long", key.kid);
                assert!(stops <= now);
            }
        }
        self.signed.insert(kid, now);
        assert!(ring.due(schedule, now) >= now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn one_key_signs_known_before_and_believed_until_its_last_token_is_over(acts in acts()) {
        let schedule = Schedule::new(PERIOD, HOUR, TAIL).unwrap();
        let (mut ring, mut maker) = ring(Algorithm::EdDsa);
        let mut now = NOW;
        let mut seen = Seen {
            hurried: vec![signer(&ring, now)],
            ..Seen::default()
        };
        seen.look(&ring, &schedule, HOUR, now);
        for act in acts {
            match act {
                Act::Sleep(millis) => now = now.after(Lifetime::from_millis(millis)),
                Act::Steps(times) => {
                    for _ in 0..times {
                        now = ring.due(&schedule, now);
                        // Just before, nothing has happened; then it does.
                        ring.step(&schedule, now, || maker.make()).unwrap();
                        seen.look(&ring, &schedule, HOUR, now);
                        now = now.after(Lifetime::from_millis(1));
                    }
                }
                Act::Step => {
                    ring.step(&schedule, now, || maker.make()).unwrap();
                    let again = ring.step(&schedule, now, || maker.make()).unwrap();
                    prop_assert!(!again, "a second step has nothing to do");
                }
                Act::RotateNow => {
                    ring.rotate_now(&schedule, now, || maker.make()).unwrap();
                }
                Act::RetireNow(which) => {
                    let list = ring.list(now);
                    let leaked = &list[which.index(list.len())];
                    ring.retire_now(leaked.kid.as_str(), &schedule, now, || maker.make()).unwrap();
                    seen.leaked.push(leaked.kid.to_string());
                    if leaked.state == State::Signing {
                        seen.hurried.push(signer(&ring, now));
                    }
                }
                Act::Restart => {
                    let kept = ring.to_bytes();
                    ring = Ring::from_bytes(&kept).unwrap();
                    prop_assert_eq!(ring.to_bytes(), kept);
                }
            }
            seen.look(&ring, &schedule, HOUR, now);
        }
    }

    #[test]
    fn nothing_changes_before_it_is_due(acts in acts()) {
        let schedule = Schedule::default();
        let (mut ring, mut maker) = ring(Algorithm::EdDsa);
        let mut now = NOW;
        for act in acts {
            match act {
                Act::Sleep(millis) => now = now.after(Lifetime::from_millis(millis)),
                Act::RotateNow => {
                    ring.rotate_now(&schedule, now, || maker.make()).unwrap();
                }
                Act::Steps(_) | Act::Step | Act::RetireNow(_) | Act::Restart => {
                    ring.step(&schedule, now, || maker.make()).unwrap();
                }
            }
            let due = ring.due(&schedule, now);
            if due > now {
                let before = due.before(Lifetime::from_millis(1)).max(now);
                prop_assert!(!ring.clone().step(&schedule, before, || maker.make()).unwrap());
                prop_assert_eq!(signer(&ring, before), signer(&ring, now));
                prop_assert_eq!(states(&ring, before), states(&ring, now));
            }
            // And then it does: a change, or another key that signs.
            let mut then = ring.clone();
            let changed = then.step(&schedule, due, || maker.make()).unwrap();
            let another = signer(&ring, due) != signer(&ring, now);
            prop_assert!(changed || another, "nothing happens at {due:?}, seen from {now:?}");
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_clock_that_jumps_about_leaves_a_ring_that_works(
        jumps in prop::collection::vec((any::<bool>(), 0_u64..40 * 365 * 86_400_000, acts()), 1..6),
    ) {
        let schedule = Schedule::default();
        let (mut ring, mut maker) = ring(Algorithm::EdDsa);
        let mut now = NOW;
        for (ahead, far, acts) in jumps {
            let far = Lifetime::from_millis(far);
            now = if ahead { now.after(far) } else { now.before(far) };
            for act in acts.into_iter().take(12) {
                match act {
                    Act::Sleep(millis) => now = now.after(Lifetime::from_millis(millis)),
                    Act::Steps(_) | Act::Step => {
                        ring.step(&schedule, now, || maker.make()).unwrap();
                    }
                    Act::RotateNow => {
                        ring.rotate_now(&schedule, now, || maker.make()).unwrap();
                    }
                    Act::RetireNow(which) => {
                        let list = ring.list(now);
                        let kid = list[which.index(list.len())].kid.to_string();
                        ring.retire_now(&kid, &schedule, now, || maker.make()).unwrap();
                    }
                    Act::Restart => ring = Ring::from_bytes(&ring.to_bytes()).unwrap(),
                }
                one_signs(&ring, now);
                let good = token(&ring, now);
                prop_assert_eq!(judged(&ring, &good, now), Ok(()));
            }
        }
        // From now on the clock is right. Once looked at, every token lasts, and a period later another key signs.
        ring.step(&schedule, now, || maker.make()).unwrap();
        let signing = signer(&ring, now);
        let mut tokens = Vec::new();
        let end = now.after(PERIOD).after(HOUR.times(2));
        while now < end {
            tokens.push((token(&ring, now), now));
            now = ring.due(&schedule, now).min(now.after(HOUR)).max(now.after(SECOND));
            ring.step(&schedule, now, || maker.make()).unwrap();
            one_signs(&ring, now);
            tokens.retain(|(_, made)| now < made.after(LONGEST_LIFE));
            for (token, _) in &tokens {
                prop_assert_eq!(judged(&ring, token, now), Ok(()));
            }
        }
        prop_assert_ne!(signer(&ring, now), signing);
    }
}
