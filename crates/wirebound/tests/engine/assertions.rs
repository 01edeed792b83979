//! What was issued for a session, and how it is called back: nobody who was turned away comes back by what he still holds.

use core::pin::pin;
use core::task::{Context, Waker};
use std::sync::Arc;

use futures_executor::block_on;
use wirebound::engine::{Claimed, Issue, NewKey, Scope};
use wirebound::revocation::{Followed, Revoked, Standing};
use wirebound::sequence::{Again, Rules};
use wirebound::store::Space;
use wirebound::{
    Authority, Ending, KeyLabel, KeyRefusal, KeyScopes, Lifetime, Need, Policy, Preset, Refusal,
    Role, Strength, Timestamp, Verified,
};

use crate::store::{At, Behind, Fault, Faulty, Meddled, Paused};
use crate::world::{Ask, HOST, Line, World, client, subject};
use crate::{strict, with};

const REMEMBERED: Lifetime = Lifetime::from_mins(16);
const LIFE: Lifetime = Lifetime::from_mins(15);
/// By how much clocks may differ.
const LEEWAY: Lifetime = Lifetime::from_secs(5);
const GONE: fn(Ending) -> Refusal = Refusal::PhantomSession;

fn issuing(preset: Preset) -> Policy {
    Policy {
        preset,
        assertions: Some(REMEMBERED),
        tickets: Rules {
            again: if preset.binds_wires() {
                Again::Family
            } else {
                Again::Client
            },
            ..Rules::default()
        },
        ..Policy::default()
    }
}

fn portable() -> World {
    with(issuing(Preset::Portable))
}

/// Somebody signs in and asks once; whose it is, by the ticket.
fn member(w: &mut World, name: &str) -> Verified {
    let line = w.full();
    let signed_in = w.sign_in(&line, name, Role::USER);
    w.browser.cookie = signed_in.cookie.expose().to_owned();
    let ask = Ask {
        client: client(name),
        ..Ask::new(&w.browser.cookie)
    };
    w.ask(&line, &ask).verified().unwrap().clone()
}

fn issue(w: &World, verified: &Verified) -> Issue {
    block_on(w.engine.issue(verified, w.now)).unwrap().unwrap()
}

/// What a token with a good signature claims that was made of this.
fn claimed(issue: &Issue, now: Timestamp) -> Claimed {
    Claimed {
        issued: issue.issued,
        subject: issue.subject.clone(),
        role: issue.role,
        expires: now.after(LIFE).min(issue.not_after),
        taken_until: now.after(LIFE).min(issue.not_after).after(LEEWAY),
        authority: Authority::of(HOST),
    }
}

fn admit(w: &World, line: &Line, claimed: &Claimed, need: Need) -> Result<Verified, Refusal> {
    let host = Authority::of(HOST);
    let admitted = block_on(w.engine.admit(&line.wire, claimed, &host, need, w.now));
    admitted.unwrap().map(|(verified, _visit)| verified)
}

fn user() -> Need {
    Need::role(Role::USER)
}

#[test]
fn what_was_issued_lets_in_without_asking_the_store_and_as_no_more_than_a_string() {
    let store = Faulty::new();
    let mut w = World::new(issuing(Preset::Portable), Arc::clone(&store) as _);
    let verified = member(&mut w, "alice");
    let claimed = claimed(&issue(&w, &verified), w.now);
    let line = w.full();
    // Whatever it is asked now, it fails.
    store.fail_after(0, Fault::Before);
    let by_claim = admit(&w, &line, &claimed, user()).unwrap();
    assert!(!store.heal(), "and it was not asked");
    assert_eq!(by_claim.session(), verified.session());
    assert_eq!(by_claim.strength(), Strength::Bearer);
    let ticket = Need {
        role: None,
        strength: Some(Strength::Ticket),
    };
    assert_eq!(
        admit(&w, &line, &claimed, ticket),
        Err(Refusal::InsufficientStrength)
    );
}

#[test]
fn a_copied_assertion_is_worth_nothing_where_connections_are_bound() {
    for preset in [Preset::Strict, Preset::Balanced] {
        let mut w = with(issuing(preset));
        let line = w.settle("alice", Role::USER);
        let verified = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
        let claimed = claimed(&issue(&w, &verified), w.now);
        for wire in [&line, &w.full()] {
            assert_eq!(admit(&w, wire, &claimed, user()), Err(Refusal::NotProven));
        }
    }
}

#[test]
fn an_assertion_of_an_admin_is_one_of_a_user_here() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let mut claimed = claimed(&issue(&w, &verified), w.now);
    claimed.role = Role::ADMIN;
    let line = w.full();
    assert_eq!(
        admit(&w, &line, &claimed, user()).unwrap().role(),
        Role::USER
    );
    let admin = Need::role(Role::ADMIN);
    assert_eq!(
        admit(&w, &line, &claimed, admin),
        Err(Refusal::StepUpRequired)
    );
}

#[test]
fn an_assertion_of_another_host_or_past_its_time_lets_nobody_in() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let claimed = claimed(&issue(&w, &verified), w.now);
    let line = w.full();
    let elsewhere = Claimed {
        authority: Authority::of("other.test"),
        ..claimed.clone()
    };
    assert_eq!(
        admit(&w, &line, &elsewhere, user()),
        Err(Refusal::Unauthenticated)
    );
    w.step(Lifetime::from_millis(LIFE.as_millis() + LEEWAY.as_millis()));
    assert_eq!(
        admit(&w, &line, &claimed, user()),
        Err(Refusal::SessionExpired(Ending::ExpiredAbsolute))
    );
}

/// Each way in which what was issued is called back, and how its holder is answered.
#[test]
fn whatever_ends_a_session_calls_back_what_was_issued_for_it_at_once_and_over_a_restart() {
    type Act = fn(&World, &Verified);
    let ways: [(&str, Act, Ending); 7] = [
        (
            "logout",
            |w, v| {
                block_on(w.engine.logout(v, Scope::Session, w.now)).unwrap();
            },
            Ending::Logout,
        ),
        (
            "all",
            |w, v| {
                block_on(w.engine.logout(v, Scope::All, w.now)).unwrap();
            },
            Ending::Logout,
        ),
        (
            "ended by an operator",
            |w, v| {
                block_on(w.engine.end(v.session(), Ending::Revoked, w.now)).unwrap();
            },
            Ending::Revoked,
        ),
        (
            "blocked",
            |w, v| {
                block_on(w.engine.set_blocked(v.subject(), true, w.now)).unwrap();
            },
            Ending::Removed,
        ),
        (
            "removed",
            |w, v| {
                block_on(w.engine.remove(v.subject(), w.now)).unwrap();
            },
            Ending::Removed,
        ),
        (
            "the subject was called back",
            |w, v| {
                block_on(w.engine.revoke_subject(v.subject(), w.now)).unwrap();
            },
            Ending::Revoked,
        ),
        (
            "everything was",
            |w, _| {
                block_on(w.engine.revoke_issued_before(None, w.now)).unwrap();
            },
            Ending::Revoked,
        ),
    ];
    for (what, act, ending) in ways {
        let mut w = portable();
        let verified = member(&mut w, "alice");
        let other = member(&mut w, "bob");
        let (held, bobs) = (
            claimed(&issue(&w, &verified), w.now),
            claimed(&issue(&w, &other), w.now),
        );
        let line = w.full();
        assert!(admit(&w, &line, &held, user()).is_ok(), "{what}: control");
        act(&w, &verified);
        assert_eq!(admit(&w, &line, &held, user()), Err(GONE(ending)), "{what}");
        let bob_stays = what != "everything was";
        assert_eq!(admit(&w, &line, &bobs, user()).is_ok(), bob_stays, "{what}");
        w.restart();
        block_on(w.engine.recall_revocations(w.now)).unwrap();
        let line = w.full();
        assert_eq!(
            admit(&w, &line, &held, user()),
            Err(GONE(ending)),
            "{what}, after a restart"
        );
        assert_eq!(admit(&w, &line, &bobs, user()).is_ok(), bob_stays, "{what}");
    }
}

#[test]
fn what_was_called_back_is_forgotten_when_nothing_that_it_blocks_is_left() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
    let rows = |w: &World| block_on(w.store.count(Space::Revoked)).unwrap();
    assert_eq!((rows(&w), w.engine.revocations().len()), (1, 1));
    w.step(Lifetime::from_millis(REMEMBERED.as_millis() - 1));
    let tidy_twice = |w: &World| {
        // Time counts as passed once the tidy after it has seen it.
        for _ in 0..2 {
            block_on(w.engine.tidy_revocations(w.now)).unwrap();
        }
    };
    tidy_twice(&w);
    assert_eq!((rows(&w), w.engine.revocations().len()), (1, 1));
    w.step(Lifetime::from_millis(1));
    tidy_twice(&w);
    assert_eq!((rows(&w), w.engine.revocations().len()), (0, 0));
    let line = w.full();
    assert!(admit(&w, &line, &held, user()).is_err(), "it has run out");
}

#[test]
fn one_token_is_called_back_and_its_session_goes_on() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let (one, other) = (issue(&w, &verified), issue(&w, &verified));
    assert_ne!(one.issued.token, other.issued.token);
    let until = w.now.after(REMEMBERED);
    assert!(block_on(w.engine.revoke_token(one.issued.token, until)).unwrap());
    assert!(!block_on(w.engine.revoke_token(one.issued.token, until)).unwrap());
    let line = w.full();
    let gone = admit(&w, &line, &claimed(&one, w.now), user());
    assert_eq!(gone, Err(GONE(Ending::Revoked)));
    assert!(admit(&w, &line, &claimed(&other, w.now), user()).is_ok());
}

#[test]
fn what_is_issued_after_a_call_is_good_within_the_same_millisecond() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let line = w.full();
    let before = claimed(&issue(&w, &verified), w.now);
    block_on(w.engine.revoke_issued_before(None, w.now)).unwrap();
    let after = claimed(&issue(&w, &verified), w.now);
    assert!(admit(&w, &line, &before, user()).is_err());
    assert!(admit(&w, &line, &after, user()).is_ok());
    // A clock that goes back changes nothing of it.
    w.now = w.now.before(Lifetime::from_mins(5));
    block_on(w.engine.revoke_issued_before(None, w.now)).unwrap();
    assert!(admit(&w, &line, &after, user()).is_err());
}

#[test]
fn a_role_that_falls_calls_back_what_was_issued_with_it_and_the_session_goes_on() {
    let mut w = with(issuing(Preset::Strict));
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::ADMIN);
    let as_admin = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
    let told = issue(&w, &as_admin);
    assert_eq!(told.role, Role::ADMIN);
    assert_eq!(told.strength, Strength::Wire);
    assert!(
        told.not_after <= w.now.after(strict().admin_role),
        "no longer than the role"
    );
    assert!(!block_on(w.engine.is_revoked(&told.issued, w.now)).unwrap());
    block_on(w.engine.set_ceiling(&subject("alice"), Role::USER, w.now)).unwrap();
    assert!(block_on(w.engine.is_revoked(&told.issued, w.now)).unwrap());
    let as_user = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
    let told = issue(&w, &as_user);
    assert_eq!(told.role, Role::USER);
    assert!(!block_on(w.engine.is_revoked(&told.issued, w.now)).unwrap());
    // To raise it calls nothing back.
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    assert!(!block_on(w.engine.is_revoked(&told.issued, w.now)).unwrap());
}

#[test]
fn a_role_is_never_asserted_above_that_of_the_request() {
    let mut w = with(issuing(Preset::Strict));
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::USER);
    let before = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
    drop(w.elevate(&line, &before, Role::ADMIN).unwrap());
    assert_eq!(issue(&w, &before).role, Role::USER);
}

#[test]
fn a_guest_is_issued_nothing() {
    let mut w = portable();
    let guest = wirebound::engine::Guest {
        subject: subject("a:0123456789abcdef0123456789abcdef"),
        authority: Authority::of(HOST),
        persistent: false,
        idle: None,
        absolute: None,
        vault: b"x".to_vec(),
    };
    let cookie = w.engine.seal_guest(&guest, w.now).unwrap().unwrap();
    let line = w.full();
    let verified = w.get(&line, cookie.expose()).verified().unwrap().clone();
    assert!(
        block_on(w.engine.issue(&verified, w.now))
            .unwrap()
            .is_none()
    );
    block_on(w.engine.end(verified.session(), Ending::Revoked, w.now)).unwrap();
    assert_eq!(block_on(w.store.count(Space::Revoked)).unwrap(), 0);
}

/// The store fails at each call that a block makes, before or after it took effect: whoever is told that it is done can
/// rely on it, and whatever is told, no token is good afterwards that the store says is called back.
#[test]
fn a_block_whose_outcome_is_unknown_leaves_no_token_that_the_store_has_called_back() {
    for fault in [Fault::Before, Fault::After] {
        for skip in 0.. {
            let store = Faulty::new();
            let mut w = World::new(issuing(Preset::Portable), Arc::clone(&store) as _);
            let verified = member(&mut w, "alice");
            let held = claimed(&issue(&w, &verified), w.now);
            store.fail_after(skip, fault);
            let done = block_on(w.engine.set_blocked(&subject("alice"), true, w.now));
            let met = store.heal();
            let line = w.full();
            let kept = block_on(w.engine.identity(&subject("alice")))
                .unwrap()
                .unwrap();
            let let_in = admit(&w, &line, &held, user()).is_ok();
            assert!(!(done.is_ok() && let_in), "{fault:?} {skip}");
            assert!(
                !(kept.blocked && let_in),
                "{fault:?} {skip}: the store says blocked"
            );
            block_on(w.engine.tidy_revocations(w.now)).unwrap();
            let after = admit(&w, &line, &held, user()).is_ok();
            assert!(!(after && kept.blocked), "{fault:?} {skip}: tidied");
            if !met {
                break;
            }
            assert!(skip < 100, "it ends");
        }
    }
}

/// Block and issue at once, many times: whatever was issued, nothing of it is good once the block is answered.
#[test]
fn nothing_issued_beside_a_block_outlives_it() {
    for _ in 0..200 {
        let mut w = portable();
        let verified = member(&mut w, "alice");
        let (engine, now) = (Arc::clone(&w.engine), w.now);
        let issued = std::thread::scope(|scope| {
            let issuing = scope.spawn(|| {
                let mut all = Vec::new();
                for later in 0..20 {
                    let now = now.after(Lifetime::from_millis(later));
                    all.extend(block_on(engine.issue(&verified, now)).unwrap());
                }
                all
            });
            block_on(w.engine.set_blocked(&subject("alice"), true, now)).unwrap();
            issuing.join().unwrap()
        });
        for issue in issued {
            assert!(block_on(w.engine.is_revoked(&issue.issued, now)).unwrap());
        }
    }
}

#[test]
fn those_who_follow_hear_of_each_call_once_and_in_order() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let revocations = w.engine.revocations();
    let Followed::Anew(begin) = revocations.since(None) else {
        panic!("nobody has a place");
    };
    block_on(
        w.engine
            .revoke_token(issue(&w, &verified).issued.token, w.now.after(LIFE)),
    )
    .unwrap();
    block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
    let Followed::Since(entries, place) = revocations.since(Some(begin)) else {
        panic!("it is remembered");
    };
    let kinds: Vec<_> = entries.iter().map(|entry| entry.what.kind()).collect();
    assert_eq!(kinds, ["token", "session"]);
    assert_eq!(place.number, 2);
    // Whoever begins now finds both in the store.
    let page = block_on(w.engine.revoked(None, w.now)).unwrap();
    let mut all: Vec<_> = page.entries.iter().map(|entry| entry.what).collect();
    all.sort();
    let mut told: Vec<Revoked> = entries.iter().map(|entry| entry.what).collect();
    told.sort();
    assert_eq!(all, told);
    assert!(page.next.is_none());
}

#[test]
fn a_visit_by_claim_and_one_by_ticket_live_side_by_side() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    let line = w.full();
    let host = Authority::of(HOST);
    let by_claim = block_on(w.engine.admit(&line.wire, &held, &host, user(), w.now));
    let (who, visit) = by_claim.unwrap().unwrap();
    let watch = w.engine.watch_judged(&line.wire, &who, w.now).unwrap();
    assert_eq!(watch.now(), None);
    // The session's own ticket on the same wire meanwhile, under a place of the former epoch too.
    let ask = Ask {
        client: client("alice"),
        ..Ask::new(&w.browser.cookie)
    };
    let by_ticket = w.ask(&line, &ask);
    assert_eq!(by_ticket.verified().unwrap().strength(), Strength::Ticket);
    drop(by_ticket);
    assert_eq!(w.engine.connected(), 1, "the claim's visit goes on");
    block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
    assert!(
        watch.now().is_some(),
        "what streams to it hears of the ending"
    );
    drop(visit);
    assert_eq!(w.engine.connected(), 0);
}

#[test]
fn a_token_of_before_a_new_node_secret_is_called_back_by_its_subject_too() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    w.restart_in(2, Some(1));
    block_on(w.engine.recall_revocations(w.now)).unwrap();
    let line = w.full();
    assert!(admit(&w, &line, &held, user()).is_ok(), "control");
    block_on(w.engine.set_ceiling(&subject("alice"), Role::GUEST, w.now)).unwrap();
    assert!(admit(&w, &line, &held, user()).is_err());
    assert_eq!(
        w.engine.connected(),
        0,
        "no slot of the table is left behind"
    );
}

/// Pocket-ID CVE-2026-43983, authentik CVE-2025-64521: a path that forgets to look whether the account still stands.
#[test]
fn a_disabled_user_comes_back_by_no_path() {
    let needs = [user(), Need::role(Role::GUEST)];
    for act in ["blocked", "removed"] {
        let mut w = with(issuing(Preset::Balanced));
        let key = NewKey {
            label: KeyLabel::new("ci").unwrap(),
            owner: subject("alice"),
            scopes: KeyScopes::new(["x"]).unwrap(),
            expires: None,
        };
        block_on(w.engine.recall_keys(w.now)).unwrap();
        let key = block_on(w.engine.create_key(key, w.now)).unwrap().key;
        let line = w.settle("alice", Role::USER);
        let (cookie, family) = (w.browser.cookie.clone(), w.browser.family.unwrap());
        let verified = w.get(&line, &cookie).verified().unwrap().clone();
        let told = issue(&w, &verified);
        assert!(
            w.engine.check_key(key.expose().as_bytes(), w.now).is_ok(),
            "control"
        );
        match act {
            "blocked" => {
                block_on(w.engine.set_blocked(&subject("alice"), true, w.now)).unwrap();
            }
            _ => {
                block_on(w.engine.remove(&subject("alice"), w.now)).unwrap();
            }
        }
        for restarted in [false, true] {
            if restarted {
                w.restart();
                block_on(w.engine.recall_revocations(w.now)).unwrap();
                block_on(w.engine.recall_keys(w.now)).unwrap();
            } else {
                assert!(!w.get(&line, &cookie).is_in(), "{act}: on the live wire");
            }
            for need in needs {
                let ask = Ask {
                    need,
                    ..Ask::new(&cookie)
                };
                for line in [w.resumed(family), w.full()] {
                    assert!(!w.ask(&line, &ask).is_in(), "{act}: lineage, ticket");
                }
            }
            assert!(
                block_on(w.engine.is_revoked(&told.issued, w.now)).unwrap(),
                "{act}: assertion"
            );
            assert!(
                block_on(w.engine.issue(&verified, w.now))
                    .unwrap()
                    .is_none(),
                "{act}: a new one"
            );
            let refused = w
                .engine
                .check_key(key.expose().as_bytes(), w.now)
                .unwrap_err();
            assert!(
                matches!(refused, KeyRefusal::OwnerGone | KeyRefusal::Revoked),
                "{act}: {refused}"
            );
        }
    }
}

/// As a browser's wire that goes on being used: its visit lasts.
fn visit(w: &World, line: &Line, claimed: &Claimed) -> (Verified, wirebound::Visit) {
    let host = Authority::of(HOST);
    let admitted = block_on(
        w.engine
            .admit(&line.wire, claimed, &host, Need::NOTHING, w.now),
    );
    admitted.unwrap().unwrap()
}

#[test]
fn what_is_issued_to_whoever_came_by_an_assertion_is_good_for_no_longer_than_that_one() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    let line = w.full();
    let (by_claim, _visit) = visit(&w, &line, &held);
    w.step(Lifetime::from_mins(14));
    let next = block_on(w.engine.issue(&by_claim, w.now)).unwrap();
    assert!(
        next.is_none_or(|next| next.not_after <= held.expires),
        "a copy would renew itself for as long as the session lives"
    );
    // Clocks differ: it is taken for some seconds more, and what is made of it then is none.
    w.step(Lifetime::from_secs(64));
    let line = w.full();
    let (late, _visit) = visit(&w, &line, &held);
    assert_eq!(late.claimed_until(), Some(held.expires));
    let next = block_on(w.engine.issue(&late, w.now)).unwrap();
    assert!(next.is_none_or(|next| next.not_after <= held.expires));
}

#[test]
fn an_assertion_is_never_exchanged_for_a_secret_of_its_session() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    let line = w.full();
    let (by_claim, _visit) = visit(&w, &line, &held);
    let cookie = w.browser.cookie.clone();
    let renewed = w.renew(&line, &by_claim, &cookie, &client("thief"));
    assert_eq!(renewed, None, "a ticket for a string");
}

#[test]
fn an_assertion_does_not_outlive_its_sessions_idle_time_nor_bring_it_back() {
    let mut w = with(Policy {
        idle: Lifetime::from_mins(2),
        ..issuing(Preset::Portable)
    });
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    w.step(Lifetime::from_mins(3));
    assert!(
        block_on(w.engine.session(verified.session(), w.now))
            .unwrap()
            .is_none(),
        "control: it is over"
    );
    let line = w.full();
    let let_in = admit(&w, &line, &held, user()).is_ok();
    let back = block_on(w.engine.session(verified.session(), w.now))
        .unwrap()
        .is_some();
    assert_eq!((let_in, back), (false, false), "let in, alive again");
}

#[test]
fn what_streams_to_an_assertion_is_over_when_that_is_although_its_session_goes_on() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    let (own, line) = (w.full(), w.full());
    let ask = Ask {
        client: client("alice"),
        ..Ask::new(&w.browser.cookie)
    };
    for owner_is_there in [false, true] {
        let owners = owner_is_there.then(|| w.ask(&own, &ask));
        let (who, _visit) = visit(&w, &line, &held);
        let watch = w.engine.watch_judged(&line.wire, &who, w.now).unwrap();
        let due = watch.due(w.now).unwrap();
        assert!(due <= held.expires, "owner there: {owner_is_there}");
        // What the gate does at that moment.
        let over = block_on(w.engine.look_after(verified.session(), due)).unwrap();
        assert!(
            over || watch.at(due).is_some(),
            "owner there: {owner_is_there}: nobody cuts it"
        );
        drop(owners);
    }
}

#[test]
fn a_token_whose_calling_back_failed_half_way_is_called_back_here_and_told_at_the_next_try() {
    for fault in [Fault::Before, Fault::After] {
        for skip in 0.. {
            let store = Faulty::new();
            let mut w = World::new(issuing(Preset::Portable), Arc::clone(&store) as _);
            let verified = member(&mut w, "alice");
            let held = issue(&w, &verified);
            let Followed::Anew(begin) = w.engine.revocations().since(None) else {
                panic!("nobody has a place");
            };
            let until = w.now.after(REMEMBERED);
            store.fail_after(skip, fault);
            let first = block_on(w.engine.revoke_token(held.issued.token, until));
            let met = store.heal();
            let kept = !block_on(w.engine.revoked(None, w.now))
                .unwrap()
                .entries
                .is_empty();
            let known = block_on(w.engine.is_revoked(&held.issued, w.now)).unwrap();
            assert!(
                !kept || known,
                "{fault:?} {skip}: the store says that it is called back"
            );
            if first.is_err() {
                block_on(w.engine.revoke_token(held.issued.token, until)).unwrap();
            }
            assert!(block_on(w.engine.is_revoked(&held.issued, w.now)).unwrap());
            let Followed::Since(told, _) = w.engine.revocations().since(Some(begin)) else {
                panic!("it is remembered");
            };
            let what = Revoked::Token(held.issued.token);
            assert!(
                told.iter().any(|entry| entry.what == what),
                "{fault:?} {skip}: nobody who follows was told"
            );
            if !met {
                break;
            }
        }
    }
}

#[test]
fn a_token_whose_calling_back_happened_and_failed_is_told_to_those_who_follow_at_the_next_try() {
    let store = Faulty::new();
    let mut w = World::new(issuing(Preset::Portable), Arc::clone(&store) as _);
    let verified = member(&mut w, "alice");
    let held = issue(&w, &verified);
    let Followed::Anew(begin) = w.engine.revocations().since(None) else {
        panic!("nobody has a place");
    };
    let until = w.now.after(REMEMBERED);
    // It looks, then commits.
    store.fail_after(1, Fault::After);
    block_on(w.engine.revoke_token(held.issued.token, until)).unwrap_err();
    store.heal();
    block_on(w.engine.revoke_token(held.issued.token, until)).unwrap();
    let Followed::Since(told, _) = w.engine.revocations().since(Some(begin)) else {
        panic!("it is remembered");
    };
    assert_eq!(told.len(), 1, "nobody who follows was told");
}

#[test]
fn a_ceiling_that_fell_half_way_calls_back_what_was_issued_above_it_at_the_next_try() {
    for fault in [Fault::Before, Fault::After] {
        for skip in 0.. {
            let store = Faulty::new();
            let mut w = World::new(issuing(Preset::Strict), Arc::clone(&store) as _);
            block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
            let line = w.settle("alice", Role::ADMIN);
            let as_admin = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
            let told = issue(&w, &as_admin);
            assert_eq!(told.role, Role::ADMIN);
            store.fail_after(skip, fault);
            let lower =
                |w: &World| block_on(w.engine.set_ceiling(&subject("alice"), Role::USER, w.now));
            let first = lower(&w);
            let met = store.heal();
            if first.is_err() {
                lower(&w).unwrap();
            }
            assert!(
                block_on(w.engine.is_revoked(&told.issued, w.now)).unwrap(),
                "{fault:?} {skip}: an admin's token is good, and the operator was told that it is done"
            );
            if !met {
                break;
            }
        }
    }
}

#[test]
fn calling_everything_back_in_the_last_millisecond_of_a_second_locks_nobody_out() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    w.step(Lifetime::from_millis(999));
    block_on(w.engine.revoke_issued_before(None, w.now)).unwrap();
    let line = w.full();
    let after = claimed(&issue(&w, &verified), w.now);
    assert!(admit(&w, &line, &after, user()).is_ok(), "at .999");
}

#[test]
fn calling_everything_back_after_the_clock_went_back_locks_nobody_out() {
    let mut w = portable();
    w.step(Lifetime::from_mins(10));
    let verified = member(&mut w, "alice");
    let line = w.full();
    issue(&w, &verified);
    w.now = w.now.before(Lifetime::from_mins(5));
    block_on(w.engine.revoke_issued_before(None, w.now)).unwrap();
    w.step(Lifetime::from_mins(1));
    let after = claimed(&issue(&w, &verified), w.now);
    assert!(admit(&w, &line, &after, user()).is_ok());
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_brings_nothing_back_that_was_called_back() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
    let line = w.full();
    assert!(admit(&w, &line, &held, user()).is_err(), "control");
    let right = w.now;
    w.step(Lifetime::from_hours(1));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    w.now = right.after(Lifetime::from_mins(1));
    assert!(admit(&w, &line, &held, user()).is_err());
}

#[test]
fn what_was_issued_by_a_clock_that_was_ahead_stays_called_back_until_it_has_run_out() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let right = w.now;
    w.step(Lifetime::from_hours(1));
    let held = claimed(&issue(&w, &verified), w.now);
    w.now = right;
    block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
    w.step(Lifetime::from_mins(20));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    // Its time has come.
    w.now = held.issued.at.after(Lifetime::from_secs(1));
    let line = w.full();
    assert!(admit(&w, &line, &held, user()).is_err());
}

/// As the gateway does all the time.
fn tidied_each_minute(w: &mut World, minutes: u64) {
    for _ in 0..minutes {
        w.step(Lifetime::from_mins(1));
        block_on(w.engine.tidy_revocations(w.now)).unwrap();
    }
}

#[test]
fn a_clock_that_goes_back_brings_nothing_back_that_was_called_back_and_forgotten() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let begun = w.now;
    let held = claimed(&issue(&w, &verified), w.now);
    block_on(
        w.engine
            .revoke_token(held.issued.token, w.now.after(REMEMBERED)),
    )
    .unwrap();
    tidied_each_minute(&mut w, 20);
    assert!(
        w.engine.revocations().is_empty(),
        "control: it is forgotten"
    );
    let line = w.full();
    w.now = begun.after(Lifetime::from_mins(1));
    assert!(admit(&w, &line, &held, user()).is_err(), "at once");
    tidied_each_minute(&mut w, 1);
    assert!(admit(&w, &line, &held, user()).is_err(), "and tidied");
    let next = claimed(&issue(&w, &verified), w.now);
    assert!(
        admit(&w, &line, &next, user()).is_ok(),
        "nobody is locked out"
    );
    tidied_each_minute(&mut w, 3);
    assert!(admit(&w, &line, &next, user()).is_ok());
    w.restart();
    block_on(w.engine.recall_revocations(w.now)).unwrap();
    let line = w.full();
    assert!(admit(&w, &line, &held, user()).is_err(), "started again");
}

#[test]
fn a_clock_that_was_ahead_and_is_right_again_leaves_nothing_to_be_remembered_for_long() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let right = w.now;
    w.step(Lifetime::from_mins(50));
    let ahead = claimed(&issue(&w, &verified), w.now);
    w.now = right;
    tidied_each_minute(&mut w, 1);
    let other = member(&mut w, "bob");
    block_on(w.engine.logout(&other, Scope::Session, w.now)).unwrap();
    let entries = block_on(w.engine.revoked(None, w.now)).unwrap().entries;
    let ending = entries
        .iter()
        .find(|entry| entry.what == Revoked::Session(other.session()))
        .unwrap();
    assert!(
        ending.until <= w.now.after(REMEMBERED),
        "as long as the clock was ahead"
    );
    // Its time has come.
    w.now = ahead.issued.at.after(Lifetime::from_secs(1));
    let line = w.full();
    assert!(admit(&w, &line, &ahead, user()).is_err());
}

#[test]
fn a_token_that_is_called_back_again_for_longer_stays_so_over_a_restart() {
    let mut w = portable();
    let verified = member(&mut w, "alice");
    let held = issue(&w, &verified);
    let token = held.issued.token;
    let short = w.now.after(Lifetime::from_mins(1));
    assert!(block_on(w.engine.revoke_token(token, short)).unwrap());
    let long = w.now.after(REMEMBERED);
    assert!(!block_on(w.engine.revoke_token(token, long)).unwrap());
    tidied_each_minute(&mut w, 5);
    assert!(block_on(w.engine.is_revoked(&held.issued, w.now)).unwrap());
    w.restart();
    block_on(w.engine.recall_revocations(w.now)).unwrap();
    assert!(block_on(w.engine.is_revoked(&held.issued, w.now)).unwrap());
}

/// What whoever begins to follow now gets to know: first what is on its way, then what is in the store.
fn snapshot(w: &World) -> Vec<Revoked> {
    let mut entries = w.engine.revocations().ahead();
    entries.extend(block_on(w.engine.revoked(None, w.now)).unwrap().entries);
    entries.into_iter().map(|entry| entry.what).collect()
}

#[test]
fn whoever_begins_to_follow_while_a_token_is_being_called_back_hears_of_it() {
    let store = Paused::new();
    let mut w = World::new(issuing(Preset::Portable), Arc::clone(&store) as _);
    let verified = member(&mut w, "alice");
    let token = issue(&w, &verified).issued.token;
    let until = w.now.after(REMEMBERED);
    store.pause(At::Commit);
    {
        let mut calling = pin!(w.engine.revoke_token(token, until));
        let mut context = Context::from_waker(Waker::noop());
        assert!(calling.as_mut().poll(&mut context).is_pending());
        // It has its place already: nobody who begins after that hears of it otherwise.
        assert!(snapshot(&w).contains(&Revoked::Token(token)));
        store.release();
        assert!(block_on(calling).unwrap());
    }
    assert!(snapshot(&w).contains(&Revoked::Token(token)));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    assert!(w.engine.revocations().ahead().is_empty(), "it is written");
    assert!(snapshot(&w).contains(&Revoked::Token(token)));
}

#[test]
fn whoever_begins_to_follow_after_a_call_that_failed_hears_what_is_in_force_here() {
    let store = Faulty::new();
    let mut w = World::new(issuing(Preset::Strict), Arc::clone(&store) as _);
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::ADMIN);
    let as_admin = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
    let held = issue(&w, &as_admin);
    for skip in 0.. {
        store.fail_after(skip, Fault::Before);
        let lowered = block_on(w.engine.set_ceiling(&subject("alice"), Role::USER, w.now));
        let met = store.heal();
        let refused = block_on(w.engine.is_revoked(&held.issued, w.now)).unwrap();
        let told = snapshot(&w)
            .iter()
            .any(|what| matches!(what, Revoked::Subject { .. }));
        assert_eq!(refused, told, "{skip}: {lowered:?}");
        if !met {
            break;
        }
    }
}

#[test]
fn an_ending_that_is_still_on_its_way_is_met_before_its_tokens_are_believed_again() {
    for asks in [false, true] {
        let store = Behind::new();
        let mut w = World::new(issuing(Preset::Strict), Arc::clone(&store) as _);
        let line = w.settle("alice", Role::USER);
        let cookie = w.browser.cookie.clone();
        let verified = w.get(&line, &cookie).verified().unwrap().clone();
        let held = issue(&w, &verified);
        store.fall_behind();
        {
            let mut cut = pin!(w.engine.logout(&verified, Scope::Session, w.now));
            let mut context = Context::from_waker(Waker::noop());
            assert!(cut.as_mut().poll(&mut context).is_pending());
        }
        if asks {
            let answer = w.get(&line, &cookie);
            assert!(answer.verified().is_none(), "it came first, and is seen");
        }
        block_on(w.engine.settle_revocations(w.now)).unwrap();
        let told = w.engine.revocations().standing(&held.issued);
        assert_eq!(told, Standing::Revoked, "asks: {asks}");
    }
}

#[test]
fn a_session_that_was_doubted_and_is_over_can_still_be_ended() {
    let store = Faulty::new();
    let policy = Policy {
        idle: Lifetime::from_mins(2),
        ..issuing(Preset::Portable)
    };
    let mut w = World::new(policy, Arc::clone(&store) as _);
    let verified = member(&mut w, "alice");
    let mut doubted = false;
    for skip in 0..10 {
        store.fail_after(skip, Fault::Before);
        let failed = block_on(w.engine.set_ceiling(&subject("alice"), Role::USER, w.now)).is_err();
        store.heal();
        doubted |= failed && w.engine.revocations().is_doubted(&verified.session());
        if doubted {
            break;
        }
    }
    assert!(doubted, "control");
    w.step(Lifetime::from_mins(3));
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    block_on(w.engine.end(verified.session(), Ending::Revoked, w.now)).unwrap();
    assert_eq!(block_on(w.engine.workload()).unwrap(), 0);
}

#[test]
fn a_logout_in_the_middle_of_a_look_at_the_store_is_not_overlooked() {
    let store = Arc::new(Meddled::default());
    let mut w = World::new(issuing(Preset::Portable), Arc::clone(&store) as _);
    let verified = member(&mut w, "alice");
    let held = claimed(&issue(&w, &verified), w.now);
    w.engine.revocations().doubt(verified.session());
    let (engine, now, who) = (Arc::clone(&w.engine), w.now, verified);
    // Between the look for the session's entry and the one for the token's.
    store.before_load(
        Space::Revoked,
        1,
        Box::new(move || {
            let done = std::thread::spawn(move || {
                block_on(engine.logout(&who, Scope::Session, now)).unwrap()
            });
            assert_eq!(done.join().unwrap(), 1, "it is answered");
        }),
    );
    let line = w.full();
    assert_eq!(
        admit(&w, &line, &held, user()),
        Err(GONE(Ending::Logout)),
        "the sign-out was answered before"
    );
}

#[test]
fn one_record_that_does_not_read_back_keeps_nothing_else_from_being_tidied() {
    use wirebound::store::{Change, Durability, Expect, Key};
    let mut w = portable();
    let (alice, bob) = (member(&mut w, "alice"), member(&mut w, "bob"));
    block_on(w.engine.logout(&bob, Scope::Session, w.now)).unwrap();
    w.engine.revocations().doubt(alice.session());
    let key = Key::new(Space::Session, alice.session().as_bytes());
    let version = block_on(w.store.load(&key)).unwrap().unwrap().version;
    let damage = Change::Put {
        key,
        expect: Expect::At(version),
        value: vec![0; 99],
        due: Timestamp::NEVER,
    };
    block_on(w.store.commit(vec![damage], Durability::Durable)).unwrap();
    w.step(REMEMBERED);
    block_on(w.engine.tidy_revocations(w.now)).unwrap();
    let tidied = block_on(w.engine.tidy_revocations(w.now));
    let rows = block_on(w.store.count(Space::Revoked)).unwrap();
    assert_eq!((tidied.is_ok(), rows), (true, 0), "{tidied:?}");
}

/// A sign-out beside a request, many times: whoever was let in is told of the ending, or is not let in.
#[test]
fn whoever_is_let_in_beside_a_sign_out_hears_of_it() {
    let mut let_in = 0;
    for round in 0..3_000_u32 {
        let mut w = portable();
        let verified = member(&mut w, "alice");
        let held = claimed(&issue(&w, &verified), w.now);
        let line = w.full();
        let start = std::sync::Barrier::new(2);
        let watch = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                start.wait();
                for _ in 0..round % 64 {
                    core::hint::spin_loop();
                }
                let host = Authority::of(HOST);
                let admitted = w.engine.admit(&line.wire, &held, &host, user(), w.now);
                let (who, visit) = block_on(admitted).unwrap().ok()?;
                Some((w.engine.watch_judged(&line.wire, &who, w.now), visit))
            });
            start.wait();
            block_on(w.engine.logout(&verified, Scope::Session, w.now)).unwrap();
            asking.join().unwrap()
        });
        let Some((watch, _visit)) = watch else {
            continue;
        };
        let_in += 1;
        // No watch: it ended just now, and the gate answers so.
        let heard = watch.is_none_or(|watch| watch.now().is_some());
        assert!(heard, "round {round}: let in, signed out, and never told");
    }
    assert!(let_in > 0, "control: some came first");
}
