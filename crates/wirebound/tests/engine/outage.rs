//! The store fails at every call in turn: the answer is never "accept", nothing is lost, nothing comes back.

use crate::strict;
use futures_executor::block_on;
use wirebound::engine::Scope;
use wirebound::store::Store;
use wirebound::{Cut, Ending, Lifetime, Policy, Refusal, Role};

use crate::store::{Fault, Faulty};
use crate::world::{Answer, World, subject};

fn over(store: &std::sync::Arc<Faulty>) -> World {
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::clone(store) as _;
    World::new(
        Policy {
            freeze_after: 0,
            ..strict()
        },
        store,
    )
}

/// Runs `act` once for each store call that it makes, with that call failing in each of the two ways.
fn at_every_call(mut act: impl FnMut(&mut World, &Faulty, &mut dyn FnMut(&Faulty)) -> bool) {
    for fault in [Fault::Before, Fault::After] {
        let mut met = 0;
        for skip in 0.. {
            let store = Faulty::new();
            let mut w = over(&store);
            let mut arm = |store: &Faulty| store.fail_after(skip, fault);
            let failed = act(&mut w, &store, &mut arm);
            if !failed {
                break;
            }
            met += 1;
            assert!(skip < 100, "it ends");
        }
        assert!(met > 0, "there was something to fail");
    }
}

#[test]
fn a_store_that_fails_while_a_wire_is_proved_accepts_nobody_and_loses_nothing() {
    at_every_call(|w, store, arm| {
        drop(w.settle("alice", Role::USER));
        let line = w.resumed(w.browser.family.unwrap());
        arm(store);
        let answer = w.get(&line, &w.browser.cookie);
        let met = store.heal();
        assert_eq!(met, matches!(answer, Answer::Unsure(_)), "{answer:?}");
        assert!(
            w.get(&line, &w.browser.cookie).is_in(),
            "and now it can say"
        );
        met
    });
}

#[test]
fn a_store_that_fails_while_a_stranger_knocks_lets_nobody_in() {
    at_every_call(|w, store, arm| {
        let owner = w.settle("alice", Role::USER);
        let line = w.resumed(w.browser.family.unwrap());
        drop(line);
        let cookie = w.browser.cookie.clone();
        let stranger = w.resumed(wirebound::Root::from_bytes([9; 16]));
        arm(store);
        let answer = w.get(&stranger, &cookie);
        let met = store.heal();
        assert!(!answer.is_in());
        assert!(w.get(&owner, &cookie).is_in());
        met
    });
}

#[test]
fn a_logout_whose_commit_is_in_doubt_is_an_error_and_never_an_accept_afterwards() {
    at_every_call(|w, store, arm| {
        let line = w.settle("alice", Role::USER);
        let cookie = w.browser.cookie.clone();
        let verified = w.get(&line, &cookie).verified().unwrap().clone();
        let watch = w.engine.watch(verified.session()).unwrap();
        arm(store);
        let ended = block_on(w.engine.logout(&verified, Scope::Session, w.now));
        let met = store.heal();
        assert_eq!(
            met,
            ended.is_err(),
            "an error exactly if it is not known to be durable"
        );
        let lives = block_on(w.engine.session(verified.session(), w.now))
            .unwrap()
            .is_some();
        assert_eq!(
            lives,
            w.get(&line, &cookie).is_in(),
            "memory says what the store says"
        );
        if !lives {
            assert!(watch.now().is_some(), "streams hear of it");
            assert!(!w.get(&line, &cookie).is_in());
        }
        block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
        assert_eq!(
            w.get(&line, &cookie).refusal(),
            Some(Refusal::PhantomSession(Ending::Logout))
        );
        assert!(w.engine.watch(verified.session()).is_none());
        met
    });
}

#[test]
fn ending_all_sessions_may_fail_half_way_and_be_asked_again() {
    at_every_call(|w, store, arm| {
        let lines: Vec<_> = (0..3).map(|_| w.full()).collect();
        let signed: Vec<_> = lines
            .iter()
            .map(|line| w.sign_in(line, "alice", Role::USER))
            .collect();
        arm(store);
        let ended = block_on(w.engine.logout(&signed[0].verified, Scope::All, w.now));
        let met = store.heal();
        assert_eq!(met, ended.is_err());
        for (line, signed_in) in lines.iter().zip(&signed) {
            let id = signed_in.verified.session();
            let lives = block_on(w.engine.session(id, w.now)).unwrap().is_some();
            assert_eq!(lives, w.get(line, signed_in.cookie.expose()).is_in());
        }
        block_on(w.engine.logout(&signed[0].verified, Scope::All, w.now)).unwrap();
        for (line, signed_in) in lines.iter().zip(&signed) {
            assert!(!w.get(line, signed_in.cookie.expose()).is_in());
        }
        met
    });
}

#[test]
fn a_sign_in_that_fails_signs_nobody_in_and_leaves_at_most_one_admin() {
    at_every_call(|w, store, arm| {
        block_on(w.engine.set_ceiling(&subject("root"), Role::ADMIN, w.now)).unwrap();
        let old = w.full();
        let first = w
            .sign_in(&old, "root", Role::ADMIN)
            .cookie
            .expose()
            .to_owned();
        let new = w.full();
        arm(store);
        let second = w.try_sign_in(&new, "root", Role::ADMIN, None);
        let met = store.heal();
        assert_eq!(met, second.is_err());
        let sessions = block_on(w.engine.sessions_of(&subject("root"), w.now)).unwrap();
        let admins = sessions.iter().filter(|s| s.role == Role::ADMIN).count();
        assert_eq!(admins, 1, "one in the store");
        let lives = sessions
            .iter()
            .any(|s| Some(s.id) == w.get(&old, &first).verified().map(|v| v.session()));
        assert_eq!(
            w.get(&old, &first).is_in(),
            lives,
            "evicted in the store is evicted here"
        );
        if let Ok(signed_in) = second {
            assert!(w.get(&new, signed_in.cookie.expose()).is_in());
            assert!(!w.get(&old, &first).is_in());
        }
        met
    });
}

#[test]
fn an_elevation_that_fails_raises_nobody() {
    at_every_call(|w, store, arm| {
        block_on(w.engine.set_ceiling(&subject("root"), Role::ADMIN, w.now)).unwrap();
        let line = w.full();
        let signed_in = w.sign_in(&line, "root", Role::USER);
        let cookie = signed_in.cookie.expose().to_owned();
        arm(store);
        let raised = w.elevate(&line, &signed_in.verified, Role::ADMIN);
        let met = store.heal();
        assert_eq!(met, raised.is_err());
        assert_eq!(
            w.get(&line, &cookie).role(),
            Some(Role::USER),
            "the old secret, the old role"
        );
        met
    });
}

#[test]
fn a_block_that_fails_half_way_never_lets_the_blocked_in() {
    at_every_call(|w, store, arm| {
        let lines: Vec<_> = (0..2).map(|_| w.full()).collect();
        let signed: Vec<_> = lines
            .iter()
            .map(|line| w.sign_in(line, "alice", Role::USER))
            .collect();
        arm(store);
        let blocked = block_on(w.engine.set_blocked(&subject("alice"), true, w.now));
        let met = store.heal();
        assert_eq!(met, blocked.is_err());
        let is_blocked = block_on(w.engine.identity(&subject("alice")))
            .unwrap()
            .unwrap()
            .blocked;
        for (line, signed_in) in lines.iter().zip(&signed) {
            assert_eq!(w.get(line, signed_in.cookie.expose()).is_in(), !is_blocked);
        }
        if is_blocked {
            // Unblocked again, those of before stay over, ended or not.
            block_on(w.engine.set_blocked(&subject("alice"), false, w.now)).unwrap();
            for (line, signed_in) in lines.iter().zip(&signed) {
                assert!(!w.get(line, signed_in.cookie.expose()).is_in());
            }
        }
        met
    });
}

/// Streams were told "the role fell, come back" by the change of the identity, a disk's moment before the ending that says
/// "never".
#[test]
fn what_streams_to_the_blocked_is_told_that_it_is_over_before_the_ending_is_on_disk() {
    let store = Faulty::new();
    let mut w = over(&store);
    let lines: Vec<_> = (0..2).map(|_| w.full()).collect();
    let signed: Vec<_> = lines
        .iter()
        .map(|line| w.sign_in(line, "alice", Role::USER))
        .collect();
    let watches: Vec<_> = signed
        .iter()
        .map(|signed_in| w.engine.watch(signed_in.verified.session()).unwrap())
        .collect();
    assert!(watches.iter().all(|watch| watch.now().is_none()), "control");
    // Behind the change of the identity nothing is written any more.
    store.fail_after(2, Fault::Before);
    assert!(block_on(w.engine.set_blocked(&subject("alice"), true, w.now)).is_err());
    assert!(store.heal());
    let identity = block_on(w.engine.identity(&subject("alice"))).unwrap();
    let identity = identity.unwrap();
    assert!(identity.blocked && identity.sessions.len() == 2);
    for watch in &watches {
        assert_eq!(watch.now(), Some(Cut::Ended(Ending::Removed)));
    }
    for (line, signed_in) in lines.iter().zip(&signed) {
        assert!(!w.get(line, signed_in.cookie.expose()).is_in());
    }
}

#[test]
fn a_removal_that_fails_half_way_brings_nobody_back_at_the_next_sign_in() {
    at_every_call(|w, store, arm| {
        let line = w.full();
        let cookie = w
            .sign_in(&line, "alice", Role::USER)
            .cookie
            .expose()
            .to_owned();
        arm(store);
        let removed = block_on(w.engine.remove(&subject("alice"), w.now));
        let met = store.heal();
        assert_eq!(met, removed.is_err());
        let gone = block_on(w.engine.identity(&subject("alice")))
            .unwrap()
            .unwrap()
            .removed;
        let again = w.full();
        w.sign_in(&again, "alice", Role::USER);
        if gone {
            assert!(!w.get(&line, &cookie).is_in());
        }
        met
    });
}

#[test]
fn a_sweep_and_a_tidy_that_fail_are_done_next_time() {
    at_every_call(|w, store, arm| {
        let line = w.settle("alice", Role::USER);
        let raw = w.plain();
        block_on(
            w.engine
                .login(&raw.wire, subject("chat"), Role::USER, w.now),
        )
        .unwrap();
        w.step(Lifetime::from_hours(1));
        assert!(w.get(&line, &w.browser.cookie).is_in());
        drop((line, raw));
        arm(store);
        let tidied = block_on(w.engine.tidy(w.now));
        let swept = block_on(w.engine.sweep(w.now));
        let met = store.heal();
        assert_eq!(met, tidied.is_err() || swept.is_err());
        block_on(w.engine.tidy(w.now)).unwrap();
        assert_eq!(
            block_on(w.engine.workload()).unwrap(),
            1,
            "the raw one is over"
        );
        w.step(Lifetime::from_millis(7 * 3_600_000 + 3_000_000));
        w.restart();
        let back = w.resumed(w.browser.family.unwrap());
        assert!(
            w.get(&back, &w.browser.cookie).is_in(),
            "its last use was written down"
        );
        met
    });
}

#[test]
fn an_attached_wire_goes_on_while_the_store_is_down_and_a_new_one_does_not() {
    let store = Faulty::new();
    let mut w = over(&store);
    let line = w.settle("alice", Role::USER);
    let other = w.resumed(w.browser.family.unwrap());
    store.fail_after(0, Fault::Before);
    assert!(matches!(w.get(&line, &w.browser.cookie), Answer::Hot(_)));
    assert!(matches!(
        w.get(&other, &w.browser.cookie),
        Answer::Unsure(_)
    ));
}
