//! A copied cookie is not enough: replay, lineage, hand-over, echo, shared families.

use crate::strict;
use futures_executor::block_on;
use wirebound::engine::{Client, Sign};
use wirebound::{
    By, Ending, Lifetime, Need, NotOurs, Policy, Refusal, Role, Root, Secret, Stock, Strength,
    Verified,
};

use crate::world::{Answer, Ask, Line, World, sign_in, subject};
use crate::{with, world};

fn secs(n: u64) -> Lifetime {
    Lifetime::from_secs(n)
}

#[test]
fn the_wire_of_the_sign_in_is_attached_before_the_answer_leaves() {
    let mut w = world();
    let line = w.full();
    let signed_in = w.sign_in(&line, "alice", Role::USER);
    let answer = w.get(&line, signed_in.cookie.expose());
    assert!(matches!(answer, Answer::Hot(_)), "{answer:?}");
    assert_eq!(answer.verified().unwrap().strength(), Strength::Wire);
}

#[test]
fn replay_from_another_wire_while_the_owner_is_connected_is_contested_and_she_stays() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let answer = w.insist(&cookie, None);
    assert_eq!(answer.refusal(), Some(Refusal::Contested));
    assert_eq!(w.log.count("contested"), 1);
    assert_eq!(w.log.count("echo_challenged"), 4);
    assert!(matches!(w.get(&owner, &cookie), Answer::Hot(_)));
}

#[test]
fn replay_while_the_owner_is_away_proves_nothing_and_ends_nothing() {
    let mut w = world();
    drop(w.settle("alice", Role::USER));
    let cookie = w.browser.cookie.clone();
    assert_eq!(w.insist(&cookie, None).refusal(), Some(Refusal::NotProven));
    let back = w.resumed(w.browser.family.unwrap());
    assert!(w.get(&back, &cookie).is_in(), "lineage resumes");
    assert_eq!(
        back.wire
            .attached_by(w.get(&back, &cookie).verified().unwrap().session()),
        Some((By::Lineage, Stock::Trunk))
    );
}

#[test]
fn a_half_open_wire_does_not_lock_its_owner_out_as_contested() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    owner
        .plug
        .dead
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let cookie = w.browser.cookie.clone();
    assert_eq!(w.insist(&cookie, None).refusal(), Some(Refusal::NotProven));
    assert!(owner.plug.is_closed());
}

#[test]
fn a_request_that_cannot_follow_a_redirect_is_evidence_of_nothing() {
    let mut w = world();
    let _owner = w.settle("alice", Role::USER);
    let line = w.full();
    let ask = Ask {
        follow: false,
        ..Ask::new(&w.browser.cookie)
    };
    assert_eq!(w.ask(&line, &ask).refusal(), Some(Refusal::NotProven));
    assert_eq!(
        w.log.count("contested") + w.log.count("not_proven") + w.log.count("theft"),
        0
    );
}

#[test]
fn lineage_crosses_connections_that_carried_no_request() {
    let mut w = world();
    drop(w.settle("alice", Role::USER));
    let family = w.browser.family.unwrap();
    for _ in 0..20 {
        drop(w.resumed(family));
    }
    assert!(w.get(&w.resumed(family), &w.browser.cookie).is_in());
}

#[test]
fn a_session_keeps_its_eight_newest_families_only() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let oldest = w.browser.family.unwrap();
    let id = w.get(&owner, &cookie).verified().unwrap().session();
    for _ in 0..8 {
        echo_in(&mut w, &owner, &cookie);
    }
    let summary = block_on(w.engine.session(id, w.now)).unwrap().unwrap();
    assert_eq!(summary.families, 8);
    let old = w.resumed(oldest);
    assert!(!w.get(&old, &cookie).is_in(), "the oldest is out");
}

/// A strange wire of the same jar is joined by an echo.
fn echo_in(w: &mut World, owner: &Line, cookie: &str) -> Line {
    let (stranger, root) = w.granted();
    let Answer::Challenge(text) = w.get(&stranger, cookie) else {
        panic!("a stranger is challenged");
    };
    let verified = w.get(owner, cookie).verified().unwrap().clone();
    let tokens = w.engine.open_echoes([text.as_bytes()].into_iter(), w.now);
    let joined = block_on(w.engine.bring_back(&owner.wire, &verified, &tokens, w.now));
    assert_eq!(joined.unwrap(), 1);
    w.resumed(root)
}

#[test]
fn an_echo_joins_only_when_an_attached_wire_brings_it_back() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let joined = echo_in(&mut w, &owner, &cookie);
    let answer = w.get(&joined, &cookie);
    assert_eq!(answer.verified().unwrap().strength(), Strength::Wire);
}

#[test]
fn a_thief_who_only_reads_the_jar_never_joins() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    w.thief.cookie = w.browser.cookie.clone();
    let (thief, root) = w.granted();
    let cookie = w.thief.cookie.clone();
    let verified = w.get(&owner, &cookie).verified().unwrap().clone();
    let mut echoes = Vec::new();
    loop {
        match w.ask(
            &thief,
            &Ask {
                echoes: &echoes,
                ..Ask::new(&cookie)
            },
        ) {
            Answer::Challenge(text) => echoes.push(text),
            other => {
                assert_eq!(other.refusal(), Some(Refusal::Contested));
                break;
            }
        }
    }
    // His own wire brings his own nonces back: it is not attached, so nobody joins.
    let tokens = w
        .engine
        .open_echoes(echoes.iter().map(String::as_bytes), w.now);
    assert_eq!(tokens.len(), 4);
    let joined = block_on(w.engine.bring_back(&thief.wire, &verified, &tokens, w.now));
    assert_eq!(joined.unwrap(), 0);
    assert!(!w.get(&w.resumed(root), &cookie).is_in());
}

#[test]
fn an_echo_of_another_session_or_past_its_time_joins_nobody() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let (stranger, _) = w.granted();
    let Answer::Challenge(text) = w.get(&stranger, &cookie) else {
        panic!()
    };
    let mallory = w.full();
    let other = w.sign_in(&mallory, "mallory", Role::USER);
    let tokens = w.engine.open_echoes([text.as_bytes()].into_iter(), w.now);
    let joined = block_on(
        w.engine
            .bring_back(&mallory.wire, &other.verified, &tokens, w.now),
    );
    assert_eq!(joined.unwrap(), 0, "another session's");
    let open = |w: &World| {
        w.engine
            .open_echoes([text.as_bytes()].into_iter(), w.now)
            .len()
    };
    w.step(Lifetime::from_millis(59_999));
    assert_eq!(open(&w), 1);
    w.step(Lifetime::from_millis(1));
    assert_eq!(open(&w), 0, "a minute old");
    drop(owner);
}

#[test]
fn a_strangers_tries_do_not_use_up_the_owners() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    for _ in 0..50 {
        assert!(w.insist(&cookie, None).refusal().is_some());
    }
    drop(echo_in(&mut w, &owner, &cookie));
}

#[test]
fn a_second_stranger_waits_while_the_first_is_being_asked() {
    let mut w = world();
    let _owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let (first, second) = (w.full(), w.full());
    let ask = Ask {
        held: false,
        ..Ask::new(&cookie)
    };
    assert!(matches!(w.ask(&first, &ask), Answer::Challenge(_)));
    assert!(matches!(w.ask(&second, &ask), Answer::Hold));
    assert!(
        matches!(w.get(&second, &cookie), Answer::Challenge(_)),
        "held once is enough"
    );
    w.step(Lifetime::from_millis(400));
    let third = w.full();
    assert!(
        matches!(w.ask(&third, &ask), Answer::Challenge(_)),
        "nobody is held for ever"
    );
}

/// Signed in on a wire without tickets, which is gone; the nonce is in the jar.
fn signed_in(w: &mut World) -> (String, Secret) {
    let line = w.full();
    let signed_in = w.sign_in(&line, "alice", Role::USER);
    (
        signed_in.cookie.expose().to_owned(),
        signed_in.hand_over.unwrap(),
    )
}

#[test]
fn a_wire_with_tickets_spends_the_hand_over_nonce_and_its_family_may_show_it_again() {
    let mut w = world();
    let (cookie, nonce) = signed_in(&mut w);
    let (line, root) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    let Answer::Proved(accepted) = w.ask(&line, &show) else {
        panic!("proved")
    };
    assert!(accepted.nonce_spent);
    assert!(
        w.ask(&w.resumed(root), &show).is_in(),
        "a further showing means nothing"
    );
    assert_eq!(w.log.count("theft"), 0);
}

#[test]
fn the_client_of_a_ticketless_wire_is_sent_on_at_most_four_times_and_its_wire_never_attached() {
    let mut w = world();
    let (cookie, nonce) = signed_in(&mut w);
    let connected = w.engine.connected();
    for hop in 0..4 {
        let line = w.full();
        // Requests in parallel on one wire are one hop, whatever their routes ask for.
        for (first, need) in [(true, Need::role(Role::ADMIN)), (false, Need::NOTHING)] {
            let ask = Ask {
                nonce: Some(&nonce),
                need,
                ..Ask::new(&cookie)
            };
            let answer = w.ask(&line, &ask);
            let sent_on = matches!(answer, Answer::HandOn(grants) if grants == first);
            assert!(sent_on, "hop {hop}: {answer:?}");
        }
        // A WebSocket is no way around it.
        let socket = Ask {
            nonce: Some(&nonce),
            follow: false,
            ..Ask::new(&cookie)
        };
        let refusal = w.ask(&line, &socket).refusal();
        assert_eq!(refusal, Some(Refusal::NotProven), "hop {hop}");
        assert_eq!(w.engine.connected(), connected, "nothing hangs on it");
    }
    assert!(
        w.insist(&cookie, Some(&nonce)).refusal().is_some(),
        "the fifth"
    );
    let (line, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&line, &show).is_in(), "one with tickets still may");
}

#[test]
fn a_hand_over_nonce_is_void_after_thirty_seconds() {
    let mut w = world();
    let (cookie, nonce) = signed_in(&mut w);
    w.step(Lifetime::from_millis(30_001));
    let (line, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(matches!(w.ask(&line, &show), Answer::Challenge(_)));
}

#[test]
fn a_nonce_spent_elsewhere_is_theft_once_the_echo_failed_and_both_are_out() {
    let mut w = world();
    let (cookie, nonce) = signed_in(&mut w);
    let (thief, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&thief, &show).is_in(), "he was faster");
    w.step(secs(5));
    let owner = w.full();
    assert!(
        matches!(w.ask(&owner, &show), Answer::Challenge(_)),
        "the echo is tried first"
    );
    let refusal = w.insist(&cookie, Some(&nonce)).refusal();
    assert_eq!(refusal, Some(Refusal::PhantomSession(Ending::Theft)));
    assert_eq!(w.log.count("theft"), 1);
    assert!(!w.get(&thief, &cookie).is_in(), "both are out");
    assert!(thief.plug.is_closed());
}

#[test]
fn a_nonce_spent_elsewhere_says_nothing_after_its_thirty_seconds() {
    let mut w = world();
    let (cookie, nonce) = signed_in(&mut w);
    let (line, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&line, &show).is_in());
    w.step(Lifetime::from_millis(30_001));
    assert_eq!(
        w.insist(&cookie, Some(&nonce)).refusal(),
        Some(Refusal::Contested)
    );
    assert_eq!(w.log.count("theft"), 0);
    assert!(w.get(&line, &cookie).is_in());
}

#[test]
fn whoever_comes_back_by_lineage_is_given_no_nonce_that_a_copy_could_show_first() {
    let mut w = world();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let due = |w: &World, line: &Line, verified: &Verified| {
        w.engine.hand_over_due(&line.wire, verified, w.now)
    };
    let line = w.settle("alice", Role::USER);
    let verified = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
    drop(w.elevate(&line, &verified, Role::ADMIN).unwrap());
    assert_eq!(
        due(&w, &line, &verified),
        None,
        "her family is the session's"
    );
    let again = w
        .try_sign_in(&line, "alice", Role::USER, Some(&verified))
        .unwrap();
    assert!(again.hand_over.is_none());
    assert_eq!(due(&w, &line, &again.verified), None);
    drop(line);
    let back = w.resumed(w.browser.family.unwrap());
    assert!(w.get(&back, again.cookie.expose()).is_in());
    // Who has no tickets yet could not come back else.
    let bare = w.full();
    let first = w.sign_in(&bare, "alice", Role::USER);
    assert!(first.hand_over.is_some());
    let mut later = sign_in("alice", Role::USER);
    later.carries_hand_over = false;
    let later = block_on(w.engine.sign_in(&bare.wire, later, None, w.now)).unwrap();
    assert!(due(&w, &bare, &later.verified).is_some());
}

/// Follows every challenge over connections of this family, with the nonce in the jar.
fn insist_by_lineage(w: &World, root: Root, cookie: &str, nonce: &Secret) -> Answer {
    let mut echoes = Vec::new();
    loop {
        let ask = Ask {
            echoes: &echoes,
            nonce: Some(nonce),
            ..Ask::new(cookie)
        };
        match w.ask(&w.resumed(root), &ask) {
            Answer::Challenge(text) => echoes.push(text),
            other => return other,
        }
    }
}

/// Settled, and her old family is to be renewed: the jar, the nonce, and the family.
fn renewing(w: &mut World) -> (String, Secret, Root) {
    let line = w.settle("alice", Role::USER);
    let verified = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
    let offer = w.engine.offer_hand_over(&line.wire, &verified, true, w.now);
    let offer = block_on(offer).unwrap().unwrap();
    let (ticket, _) = offer.ticket.unwrap();
    let family = w.browser.family.unwrap();
    (ticket.expose().to_owned(), offer.nonce, family)
}

#[test]
fn a_nonce_spent_elsewhere_is_theft_on_the_owners_lineage_too() {
    let mut w = world();
    let (cookie, nonce, family) = renewing(&mut w);
    let (thief, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&thief, &show).is_in(), "he was faster");
    assert!(
        matches!(w.ask(&w.resumed(family), &show), Answer::Challenge(_)),
        "the echo is tried first"
    );
    let refusal = insist_by_lineage(&w, family, &cookie, &nonce).refusal();
    assert_eq!(refusal, Some(Refusal::PhantomSession(Ending::Theft)));
    assert_eq!(w.log.count("theft"), 1);
    assert!(!w.get(&thief, &cookie).is_in(), "both are out");
    assert!(thief.plug.is_closed());
}

#[test]
fn a_thief_who_spent_the_nonce_does_not_clear_himself_by_echoes_of_his_own() {
    let mut w = world();
    let (cookie, nonce, family) = renewing(&mut w);
    let (thief, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&thief, &show).is_in(), "he was faster");
    let (second, root) = w.granted();
    let verified = w.get(&thief, &cookie).verified().unwrap().clone();
    for line in [second, w.resumed(root)] {
        let Answer::Challenge(echo) = w.ask(&line, &show) else {
            break;
        };
        let tokens = w.engine.open_echoes([echo.as_bytes()].into_iter(), w.now);
        block_on(w.engine.bring_back(&thief.wire, &verified, &tokens, w.now)).unwrap();
    }
    assert!(
        w.get(&w.resumed(root), &cookie).is_in(),
        "his second one joined"
    );
    let refusal = insist_by_lineage(&w, family, &cookie, &nonce).refusal();
    assert_eq!(refusal, Some(Refusal::PhantomSession(Ending::Theft)));
    assert!(
        !w.get(&w.resumed(root), &cookie).is_in(),
        "all of them are out"
    );
}

#[test]
fn a_browser_whose_two_families_meet_over_one_nonce_is_nobodys_thief() {
    let mut w = world();
    let (cookie, nonce, family) = renewing(&mut w);
    let (new, _) = w.granted();
    let show = Ask {
        nonce: Some(&nonce),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&new, &show).is_in());
    // Another connection of hers, from before; its request left before the answer took the nonce out of the jar.
    let Answer::Challenge(echo) = w.ask(&w.resumed(family), &show) else {
        panic!("challenged")
    };
    let cleared = Ask {
        echoes: core::slice::from_ref(&echo),
        ..Ask::new(&cookie)
    };
    assert!(
        w.ask(&w.resumed(family), &cleared).is_in(),
        "the jar is up to date"
    );
    // Or the new connection brings the echo home while the nonce is in the jar still.
    let verified = w.get(&new, &cookie).verified().unwrap().clone();
    let tokens = w.engine.open_echoes([echo.as_bytes()].into_iter(), w.now);
    block_on(w.engine.bring_back(&new.wire, &verified, &tokens, w.now)).unwrap();
    assert!(
        w.ask(&w.resumed(family), &show).is_in(),
        "they share one jar"
    );
    assert_eq!(w.log.count("theft"), 0);
}

#[test]
fn a_nonce_with_a_wrong_secret_opens_nothing() {
    let mut w = world();
    let (cookie, nonce) = signed_in(&mut w);
    let (selector, _) = cookie.rsplit_once('.').unwrap();
    let forged = format!("{selector}.{}", Secret::from_bytes([7; 32]).expose_text());
    let (line, _) = w.granted();
    let answer = w.ask(
        &line,
        &Ask {
            nonce: Some(&nonce),
            ..Ask::new(&forged)
        },
    );
    assert_eq!(answer.refusal(), Some(Refusal::Unauthenticated));
    assert!(
        matches!(answer, Answer::Refused(_, false)),
        "strangers learn nothing"
    );
}

#[test]
fn the_public_id_with_a_wrong_secret_is_refused_on_the_owners_own_wire() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let (selector, _) = cookie.rsplit_once('.').unwrap();
    let forged = format!("{selector}.{}", Secret::from_bytes([7; 32]).expose_text());
    assert_eq!(
        w.get(&owner, &forged).refusal(),
        Some(Refusal::Unauthenticated)
    );
    assert!(w.get(&owner, &cookie).is_in(), "and changes nothing");
}

#[test]
fn a_selector_that_nobody_made_never_reaches_the_store() {
    let w = world();
    let made_up = format!("w1.{}.{}", "A".repeat(22), "A".repeat(43));
    assert_eq!(
        w.engine.read(made_up.as_bytes()).unwrap_err(),
        NotOurs::MadeUp
    );
}

#[test]
fn at_another_host_a_session_is_unknown_also_on_its_own_wire() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let fresh = w.resumed(w.browser.family.unwrap());
    for line in [&owner, &fresh] {
        let presented = w.engine.read(w.browser.cookie.as_bytes()).unwrap();
        let elsewhere = wirebound::Authority::of("other.test");
        let hot = w
            .engine
            .authorize_at(&line.wire, &presented, &elsewhere, w.now);
        assert!(matches!(hot, wirebound::engine::Authorized::Ask));
    }
    let ask = Ask {
        host: "other.test",
        ..Ask::new(&w.browser.cookie)
    };
    assert_eq!(
        w.ask(&fresh, &ask).refusal(),
        Some(Refusal::Unauthenticated)
    );
}

#[test]
fn a_forwarding_header_takes_the_whole_family_and_all_its_wires() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let family = w.browser.family.unwrap();
    let sibling = w.resumed(family);
    assert!(w.get(&sibling, &cookie).is_in());
    assert!(w.engine.mark_shared(&owner.wire, Sign::ForwardingHeader));
    block_on(w.engine.keep_mark(&owner.wire, w.now)).unwrap();
    for line in [&owner, &sibling, &w.resumed(family)] {
        assert!(!w.get(line, &cookie).is_in(), "{line:?}");
    }
    assert_eq!(w.log.count("family_shared"), 1);
    drop((owner, sibling));
    w.restart();
    let after = w.resumed(family);
    assert!(
        !w.get(&after, &cookie).is_in(),
        "the mark survives a restart"
    );
    assert!(w.engine.authorize_wire(&after.wire, w.now).is_err());
}

#[test]
fn two_subjects_in_turn_on_one_family_make_it_shared_and_a_restart_does_not_forget() {
    let mut w = world();
    let alice = w.settle("alice", Role::USER);
    let family = w.browser.family.unwrap();
    let a = w.browser.cookie.clone();
    let b = w
        .sign_in(&alice, "bob", Role::USER)
        .cookie
        .expose()
        .to_owned();
    let third = w.get(&alice, &a);
    assert!(!third.is_in(), "A, B, A: {third:?}");
    assert!(!w.get(&alice, &b).is_in());
    drop(alice);
    w.restart();
    assert!(!w.get(&w.resumed(family), &a).is_in());
}

#[test]
fn signing_out_in_as_another_and_back_keeps_an_honest_family() {
    let mut w = world();
    let mut line = w.settle("alice", Role::USER);
    let family = w.browser.family.unwrap();
    for name in ["bob", "alice", "bob", "alice"] {
        let verified = w.get(&line, &w.browser.cookie).verified().unwrap().clone();
        let next = w
            .try_sign_in(&line, name, Role::USER, Some(&verified))
            .unwrap();
        w.browser.cookie = next.cookie.expose().to_owned();
        assert!(w.get(&line, &w.browser.cookie).is_in(), "{name}");
        line = w.resumed(family);
        assert!(w.get(&line, &w.browser.cookie).is_in(), "{name}");
    }
    assert_eq!(w.log.count("family_shared"), 0);
}

#[test]
fn one_switch_of_the_user_agent_proves_nothing_until_it_signed_in_and_two_in_turn_are_two_clients()
{
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let family = w.browser.family.unwrap();
    assert_eq!(w.engine.client(&line.wire, "phone"), Client::Same);
    assert_eq!(w.engine.client(&line.wire, "phone"), Client::Same);
    // On the same wire, and on another of the family.
    assert_eq!(w.engine.client(&line.wire, "desktop"), Client::Other);
    let other = w.resumed(family);
    assert_eq!(w.engine.client(&other.wire, "desktop"), Client::Other);
    for line in [&line, &other] {
        let switched = Ask {
            other_client: true,
            ..Ask::new(&cookie)
        };
        assert!(!w.ask(line, &switched).is_in(), "{line:?}");
    }
    assert_eq!(w.log.count("family_shared"), 0, "one switch is no sign");
    // It signs in anew: no restart is needed.
    w.sign_in(&other, "alice", Role::USER);
    assert_eq!(w.engine.client(&other.wire, "desktop"), Client::Same);
    assert_eq!(w.engine.client(&line.wire, "phone"), Client::Other);
    assert_eq!(w.engine.client(&line.wire, "desktop"), Client::InTurn);
}

#[test]
fn a_mark_cuts_the_streams_over_its_wires_though_the_session_has_others() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let session = w.get(&owner, &cookie).verified().unwrap().session();
    // A second family of the same session: it was joined by echo.
    let elsewhere = echo_in(&mut w, &owner, &cookie);
    assert!(w.get(&elsewhere, &cookie).is_in());
    let watch = w.engine.watch(session).unwrap();
    assert_eq!(watch.now(), None);
    assert!(w.engine.mark_shared(&owner.wire, Sign::ForwardingHeader));
    assert_eq!(watch.now(), Some(wirebound::Cut::RoleChanged));
    assert!(w.get(&elsewhere, &cookie).is_in(), "the other family stays");
}

#[test]
fn a_flood_of_connections_with_a_sign_is_told_once_a_minute() {
    let mut w = world();
    for minute in 1..=2 {
        for _ in 0..100 {
            let line = w.full();
            assert!(w.engine.mark_shared(&line.wire, Sign::OldHttp));
            assert!(line.wire.is_shared());
        }
        assert_eq!(w.log.count("family_shared"), minute);
        w.step(Lifetime::from_mins(1));
    }
}

#[test]
fn a_copy_on_the_owners_own_wire_is_refused_once_somebody_else_signed_in_on_another() {
    let mut w = world();
    let first = w.settle("alice", Role::USER);
    let alice = w.browser.cookie.clone();
    let second = w.resumed(w.browser.family.unwrap());
    w.sign_in(&second, "bob", Role::USER);
    // The first wire never changed hands by itself.
    assert!(!w.get(&first, &alice).is_in(), "alice, bob, alice");
    assert_eq!(w.log.count("family_shared"), 1);
}

#[test]
fn a_mark_that_is_met_is_renewed_since_a_proxy_never_stops_resuming() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let family = w.browser.family.unwrap();
    w.engine.mark_shared(&owner.wire, Sign::OldHttp);
    block_on(w.engine.keep_mark(&owner.wire, w.now)).unwrap();
    drop(owner);
    for day in 0..13 {
        let line = w.resumed(family);
        assert!(!w.get(&line, &w.browser.cookie).is_in(), "day {day}");
        drop(line);
        w.step(Lifetime::from_days(1));
        block_on(w.engine.sweep(w.now)).unwrap();
        w.restart();
    }
}

#[test]
fn one_contest_is_told_in_a_minute_and_the_rest_are_counted() {
    let mut w = with(Policy {
        echo_tries: 0,
        ..strict()
    });
    let _owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    for _ in 0..10 {
        w.insist(&cookie, None);
    }
    assert_eq!(w.log.count("contested"), 1);
    w.step(Lifetime::from_mins(1));
    w.insist(&cookie, None);
    assert_eq!(w.log.count("contested"), 2);
    let told = w.log.all().into_iter().rev().find_map(|event| match event {
        wirebound::Event::Contested { unreported, .. } => Some(unreported),
        _ => None,
    });
    assert_eq!(told, Some(9));
}
