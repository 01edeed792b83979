//! Rolling tickets from outside: what survives a browser restart, what a copy of one is worth, and how it is found out.
//!
//! Each test is a story in `balanced` or `portable`. What the sequence does by itself is in `sequence`; here it meets wires,
//! lineage, the store and the clock.

use core::pin::Pin;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_executor::block_on;
use wirebound::engine::{Leaving, Ticketed};
use wirebound::sequence::{Advance, Again, Rules};
use wirebound::store::MemoryStore;
use wirebound::{
    BoundToIp, By, Connected, Control, Ending, Event, Lifetime, Lineage, Need, OnTheft, Policy,
    Preset, Refusal, Role, Secret, Stock, Strength, Transport,
};

use crate::with;
use crate::world::{Answer, Ask, Line, World, client};

fn balanced() -> Policy {
    Policy {
        preset: Preset::Balanced,
        ..Policy::default()
    }
}

fn portable() -> Policy {
    Policy {
        preset: Preset::Portable,
        tickets: Rules {
            again: Again::Client,
            ..Rules::default()
        },
        ..Policy::default()
    }
}

fn secs(n: u64) -> Lifetime {
    Lifetime::from_secs(n)
}

/// A document: accepted, and what its answer sets goes into the jar.
fn document(w: &World, line: &Line, jar: &mut String, who: &str) -> Answer {
    let answer = w.ask(
        line,
        &Ask {
            client: client(who),
            ..Ask::new(jar)
        },
    );
    if let Some(ticket) = set_by(w, line, &answer, jar, who) {
        *jar = ticket;
    }
    answer
}

/// What the answer to an accepted request sets.
fn set_by(w: &World, line: &Line, answer: &Answer, cookie: &str, who: &str) -> Option<String> {
    let verified = answer.verified()?.clone();
    let presented = w.engine.read(cookie.as_bytes()).unwrap();
    let leaving = Leaving {
        presented: &presented,
        client: &client(who),
        get: true,
        came: w.now,
    };
    let given = block_on(w.engine.ticket(&line.wire, &verified, &leaving, w.now)).unwrap();
    given.map(|(cookie, _): Ticketed| cookie.expose().to_owned())
}

/// A request for which the app changes its own cookie: accepted, and what its answer sets.
fn deed(w: &World, line: &Line, cookie: &str, who: &str) -> Option<String> {
    let ask = Ask {
        client: client(who),
        ..Ask::new(cookie)
    };
    let answer = w.ask(line, &ask);
    let verified = answer.verified().unwrap_or_else(|| panic!("{answer:?}"));
    w.renew(line, verified, cookie, &client(who))
}

/// A stranger follows every challenge to its end; the wire that it ends on.
fn insist(w: &mut World, cookie: &str) -> (Line, Answer) {
    let mut echoes = Vec::new();
    loop {
        let line = w.full();
        let ask = Ask {
            echoes: &echoes,
            ..Ask::new(cookie)
        };
        match w.ask(&line, &ask) {
            Answer::Challenge(text) => echoes.push(text),
            other => return (line, other),
        }
    }
}

/// The hand-over that a wire owes: from here on the client comes by this family.
fn hand_over(w: &mut World, line: Line, cookie: &mut String) -> (Line, wirebound::Root) {
    let verified = w.get(&line, cookie).verified().unwrap().clone();
    let offer = block_on(w.engine.offer_hand_over(&line.wire, &verified, true, w.now))
        .unwrap()
        .unwrap();
    drop(line);
    if let Some((ticket, _)) = offer.ticket {
        *cookie = ticket.expose().to_owned();
    }
    let (next, root) = w.granted();
    let ask = Ask {
        nonce: Some(&offer.nonce),
        ..Ask::new(cookie)
    };
    let answer = w.ask(&next, &ask);
    assert!(answer.is_in(), "{answer:?}");
    (next, root)
}

fn thefts(w: &World) -> Vec<Event> {
    named(w, "theft")
}

fn named(w: &World, name: &str) -> Vec<Event> {
    let mut all = w.log.all();
    all.retain(|event| event.name() == name);
    all
}

/// Alice, settled, and the jar as it stands after her first page.
fn alice(policy: Policy) -> (World, Line, String) {
    let mut w = with(policy);
    let line = w.settle("alice", Role::USER);
    let jar = w.browser.cookie.clone();
    (w, line, jar)
}

#[test]
fn on_an_attached_wire_the_ticket_moves_on_with_documents_once_a_minute() {
    let (mut w, line, mut jar) = alice(balanced());
    let first = jar.clone();
    document(&w, &line, &mut jar, "browser");
    assert_eq!(jar, first, "not yet");
    w.step(secs(60));
    document(&w, &line, &mut jar, "browser");
    assert_ne!(jar, first);
    let second = jar.clone();
    w.step(secs(59));
    assert!(document(&w, &line, &mut jar, "browser").is_in());
    assert_eq!(jar, second, "it was acknowledged a second ago");
    // Whoever copied the first a minute ago has an old one; the owner's other tab is healed.
    let mut tab = first;
    w.step(secs(60));
    assert!(document(&w, &line, &mut tab, "browser").is_in());
    assert_eq!(tab, second, "set again");
}

#[test]
fn a_browser_that_restarted_comes_back_as_a_graft_and_no_admin() {
    let (mut w, line, mut jar) = alice(balanced());
    block_on(
        w.engine
            .set_ceiling(&crate::world::subject("alice"), Role::ADMIN, w.now),
    )
    .unwrap();
    drop(line);
    w.step(secs(600));
    let (line, answer) = insist(&mut w, &jar);
    let verified = answer.verified().unwrap().clone();
    assert_eq!(verified.strength(), Strength::Ticket);
    assert_eq!(
        line.wire.attached_by(verified.session()),
        Some((By::Ticket, Stock::Graft))
    );
    let admin = Ask {
        need: Need::role(Role::ADMIN),
        ..Ask::new(&jar)
    };
    assert_eq!(
        w.ask(&line, &admin).refusal(),
        Some(Refusal::StepUpRequired)
    );
    assert!(w.elevate(&line, &verified, Role::ADMIN).is_err());
    // Its hand-over and what is resumed from there is a graft still: nothing raises it.
    let (line, root) = hand_over(&mut w, line, &mut jar);
    drop(line);
    let back = w.resumed(root);
    let answer = document(&w, &back, &mut jar, "browser");
    assert_eq!(answer.verified().unwrap().strength(), Strength::Ticket);
    assert_eq!(
        back.wire.attached_by(verified.session()),
        Some((By::Lineage, Stock::Graft))
    );
    assert_eq!(thefts(&w), []);
}

#[test]
fn the_apps_sign_in_answered_on_a_graft_lifts_nothing() {
    let (mut w, line, _) = alice(balanced());
    let named = crate::world::subject("alice");
    block_on(w.engine.set_ceiling(&named, Role::ADMIN, w.now)).unwrap();
    let cookie = w.browser.cookie.clone();
    let verified = w.get(&line, &cookie).verified().unwrap().clone();
    let raised = w.elevate(&line, &verified, Role::ADMIN).unwrap();
    let jar = raised.cookie.expose().to_owned();
    assert_eq!(w.get(&line, &jar).role(), Some(Role::ADMIN), "control");
    drop(line);
    let (graft, answer) = insist(&mut w, &jar);
    let verified = answer.verified().unwrap().clone();
    assert_eq!(verified.role(), Role::USER);
    let presented = w.engine.read(jar.as_bytes()).unwrap();
    let caller = client("browser");
    let leaving = w.leaving(&presented, &caller);
    let confirmed = w.engine.confirm(&graft.wire, &verified, &leaving, w.now);
    let (newer, _) = block_on(confirmed).unwrap().unwrap();
    for cookie in [&jar, newer.expose(), &jar] {
        let answer = w.get(&graft, cookie);
        let verified = answer.verified().unwrap();
        assert_eq!(verified.role(), Role::USER, "{answer:?}");
        assert_eq!(verified.strength(), Strength::Ticket);
    }
    assert!(matches!(w.get(&graft, newer.expose()), Answer::Hot(_)));
}

#[test]
fn strength_is_not_laundered_by_asking_twice_on_the_same_wire() {
    let (mut w, line, jar) = alice(balanced());
    drop(line);
    let (line, answer) = insist(&mut w, &jar);
    assert!(answer.is_in());
    let wire = Need {
        role: None,
        strength: Some(Strength::Wire),
    };
    for _ in 0..3 {
        let ask = Ask {
            need: wire,
            ..Ask::new(&jar)
        };
        assert_eq!(
            w.ask(&line, &ask).refusal(),
            Some(Refusal::InsufficientStrength)
        );
        let hot = w.get(&line, &jar);
        assert!(matches!(hot, Answer::Hot(_)));
        assert_eq!(hot.verified().unwrap().strength(), Strength::Ticket);
    }
}

#[test]
fn strict_takes_no_ticket_after_a_restart_and_an_old_one_ends_nothing() {
    let (mut w, line, mut jar) = alice(crate::strict());
    let old = jar.clone();
    w.step(secs(60));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    let family = w.browser.family.unwrap();
    w.step(secs(61));
    document(&w, &line, &mut jar, "browser");
    drop(line);
    w.step(secs(120));
    assert_eq!(insist(&mut w, &jar).1.refusal(), Some(Refusal::NotProven));
    w.step(secs(120));
    assert_eq!(
        insist(&mut w, &old).1.refusal(),
        Some(Refusal::OutOfSequence)
    );
    assert!(w.get(&w.resumed(family), &jar).is_in(), "the owner goes on");
    assert_eq!(thefts(&w), []);
}

#[test]
fn a_copy_used_while_the_owner_is_away_is_cut_off_at_her_return_whoever_is_connected() {
    for thief_stays in [true, false] {
        let (mut w, line, mut jar) = alice(balanced());
        let family = w.browser.family.unwrap();
        drop(line);
        w.step(secs(600));
        let mut copy = jar.clone();
        let (thief, answer) = insist(&mut w, &copy);
        assert!(answer.is_in());
        // He goes on, moves the sequence, is handed over, and keeps his TLS tickets.
        let (thief, his) = hand_over(&mut w, thief, &mut copy);
        w.step(secs(60));
        document(&w, &thief, &mut copy, "browser");
        assert!(document(&w, &thief, &mut copy, "browser").is_in());
        let thief = Some(thief).filter(|_| thief_stays);
        w.step(secs(600));
        let back = w.resumed(family);
        let answer = document(&w, &back, &mut jar, "browser");
        assert_eq!(answer.verified().unwrap().strength(), Strength::Wire);
        if let Some(thief) = &thief {
            assert!(thief.plug.is_closed());
            assert!(!w.get(thief, &copy).is_in());
        }
        assert!(!w.get(&w.resumed(his), &copy).is_in(), "his family is out");
        assert!(!insist(&mut w, &copy).1.is_in(), "his ticket is out");
        assert!(
            document(&w, &back, &mut jar, "browser").is_in(),
            "she goes on"
        );
        let [Event::Theft { ended: false, .. }, ..] = thefts(&w)[..] else {
            panic!("{:?}", thefts(&w));
        };
        // Away again: neither his family nor any ticket of his opens anything, and trying is theft.
        drop((back, thief));
        w.step(secs(600));
        assert!(!w.get(&w.resumed(his), &copy).is_in());
    }
}

#[test]
fn a_thief_who_moved_on_once_and_fell_silent_looks_like_a_crash_and_is_found_out_when_he_comes_back()
 {
    let (mut w, line, mut jar) = alice(balanced());
    drop(line);
    w.step(secs(600));
    let mut copy = jar.clone();
    let (thief, answer) = insist(&mut w, &copy);
    assert!(answer.is_in());
    document(&w, &thief, &mut copy, "browser");
    document(&w, &thief, &mut copy, "browser");
    drop(thief);
    w.step(secs(120));
    // She restarted her browser, and her ticket is one behind. The session was last seen just after that: it may have been
    // her own browser, which crashed before it saved its jar.
    let (hers, answer) = insist(&mut w, &jar);
    assert!(answer.is_in(), "a lapse");
    document(&w, &hers, &mut jar, "browser");
    assert!(document(&w, &hers, &mut jar, "browser").is_in());
    assert_eq!(thefts(&w), []);
    w.step(secs(61));
    assert!(document(&w, &hers, &mut jar, "browser").is_in());
    drop(hers);
    w.step(secs(60));
    let (_, answer) = insist(&mut w, &copy);
    assert_eq!(answer.refusal(), Some(Refusal::OutOfSequence));
    assert_eq!(thefts(&w).len(), 1);
    assert!(!insist(&mut w, &jar).1.is_in(), "both are out");
}

#[test]
fn with_lineage_gone_on_both_sides_both_are_out_and_the_event_shows_where_they_parted() {
    let (mut w, line, jar) = alice(balanced());
    drop(line);
    w.step(secs(600));
    let mut copy = jar.clone();
    w.place = [198, 51, 100, 7].into();
    let (thief, answer) = insist(&mut w, &copy);
    let session = answer.verified().unwrap().session();
    document(&w, &thief, &mut copy, "browser");
    document(&w, &thief, &mut copy, "browser");
    let moved_on = w.now;
    w.step(secs(61));
    assert!(document(&w, &thief, &mut copy, "browser").is_in());
    drop(thief);
    w.step(secs(120));
    w.place = [192, 0, 2, 1].into();
    let (_, answer) = insist(&mut w, &jar);
    assert_eq!(answer.refusal(), Some(Refusal::OutOfSequence));
    let [
        Event::Theft {
            newcomer,
            holder,
            parted_at,
            moved_on: at,
            ended: true,
            ..
        },
    ] = &thefts(&w)[..]
    else {
        panic!("{:?}", thefts(&w));
    };
    assert_eq!(newcomer.address.unwrap().to_string(), "192.0.2.1");
    assert_eq!(holder.address.unwrap().to_string(), "198.51.100.7");
    assert_eq!((*parted_at, *at), (0, Some(moved_on)));
    assert_eq!(
        insist(&mut w, &copy).1.refusal(),
        Some(Refusal::PhantomSession(Ending::Theft)),
        "he is out as well"
    );
    assert!(w.engine.watch(session).is_none());
}

#[test]
fn a_stranger_who_meets_a_live_graft_is_theft_and_both_are_out() {
    let (mut w, line, mut jar) = alice(balanced());
    drop(line);
    let copy = jar.clone();
    let (hers, answer) = insist(&mut w, &jar);
    assert!(answer.is_in());
    let (_hers, _) = hand_over(&mut w, hers, &mut jar);
    assert_eq!(
        insist(&mut w, &copy).1.refusal(),
        Some(Refusal::PhantomSession(Ending::Theft))
    );
    assert_eq!(thefts(&w).len(), 1);
    assert!(!insist(&mut w, &jar).1.is_in());
}

#[test]
fn a_copy_that_only_posts_and_leaves_is_out_at_the_owners_return_too() {
    let (mut w, line, mut jar) = alice(balanced());
    let family = w.browser.family.unwrap();
    drop(line);
    let copy = jar.clone();
    // He is offered nothing and acknowledges nothing.
    let (thief, answer) = insist(&mut w, &copy);
    assert!(answer.is_in());
    drop(thief);
    w.step(secs(600));
    let back = w.resumed(family);
    assert!(document(&w, &back, &mut jar, "browser").is_in());
    assert_eq!(thefts(&w).len(), 1);
    drop(back);
    w.step(secs(600));
    assert!(!insist(&mut w, &copy).1.is_in());
}

#[test]
fn a_graft_that_is_handed_over_is_not_taken_for_a_second_one() {
    let (mut w, line, jar) = alice(balanced());
    drop(line);
    let (hers, answer) = insist(&mut w, &jar);
    let verified = answer.verified().unwrap().clone();
    let offer = block_on(w.engine.offer_hand_over(&hers.wire, &verified, true, w.now))
        .unwrap()
        .unwrap();
    // Her first wire still answers another tab's request; the jar has the echoes of the challenges still.
    let (next, _) = w.granted();
    let ask = Ask {
        nonce: Some(&offer.nonce),
        follow: false,
        ..Ask::new(&jar)
    };
    let answer = w.ask(&next, &ask);
    assert!(answer.is_in(), "{answer:?}");
    let mut echoes = Vec::new();
    for _ in 0..4 {
        let stranger = w.full();
        let ask = Ask {
            echoes: &echoes,
            ..Ask::new(&jar)
        };
        let Answer::Challenge(text) = w.ask(&stranger, &ask) else {
            panic!()
        };
        echoes.push(text);
    }
    let verified = w.get(&hers, &jar).verified().unwrap().clone();
    let offer = block_on(w.engine.offer_hand_over(&hers.wire, &verified, true, w.now))
        .unwrap()
        .unwrap();
    let (next, _) = w.granted();
    let ask = Ask {
        nonce: Some(&offer.nonce),
        echoes: &echoes,
        ..Ask::new(&jar)
    };
    let answer = w.ask(&next, &ask);
    assert!(answer.is_in(), "{answer:?}");
    assert_eq!(thefts(&w), []);
}

#[test]
fn an_elevation_is_taken_by_its_own_ticket_and_passed_over_by_another() {
    let policy = Policy {
        above_user: Strength::Ticket,
        ..portable()
    };
    let (w, line, jar) = alice(policy);
    let editor = Role::ranked(200);
    block_on(
        w.engine
            .set_ceiling(&crate::world::subject("alice"), editor, w.now),
    )
    .unwrap();
    let first = w.get(&line, &jar);
    let verified = first.verified().unwrap().clone();
    let raised = w.elevate(&line, &verified, editor).unwrap();
    // Whoever has a copy of the ticket of before is given a branch of his own, and shows it first.
    let thief = |cookie: &str| {
        w.ask(
            &line,
            &Ask {
                client: client("thief"),
                ..Ask::new(cookie)
            },
        )
    };
    let branch = set_by(&w, &line, &thief(&jar), &jar, "thief").unwrap();
    assert_eq!(thief(&branch).role(), Some(Role::USER));
    assert_eq!(
        w.get(&line, raised.cookie.expose()).role(),
        Some(Role::USER)
    );
}

#[test]
fn whom_only_a_shadow_lets_in_moves_nothing() {
    let policy = Policy {
        shadow: vec![Control::Contest],
        ..balanced()
    };
    let (mut w, line, mut jar) = alice(policy);
    w.step(secs(60));
    let answer = w.get(&line, &jar);
    let next = set_by(&w, &line, &answer, &jar, "browser").unwrap();
    let (_, answer) = insist(&mut w, &next);
    assert_eq!(answer.verified().unwrap().strength(), Strength::Bearer);
    let resumed = w.resumed(w.browser.family.unwrap());
    assert!(document(&w, &resumed, &mut jar, "browser").is_in());
    assert_eq!(thefts(&w), []);
}

#[test]
fn whom_only_a_shadow_lets_in_is_set_nothing_by_what_he_does() {
    for preset in [Preset::Strict, Preset::Balanced] {
        let (w, line, jar) = alice(Policy {
            preset,
            shadow: [Control::Proof, Control::Contest].into_iter().collect(),
            ..Policy::default()
        });
        // Also over her own connection, by a client that calls itself otherwise.
        for (line, other_client) in [(&w.plain(), false), (&line, true)] {
            let ask = Ask {
                other_client,
                follow: false,
                ..Ask::new(&jar)
            };
            let answer = w.ask(line, &ask);
            let verified = answer.verified().unwrap().clone();
            assert_eq!(verified.strength(), Strength::Bearer);
            let client = client("browser");
            assert_eq!(w.renew(line, &verified, &jar, &client), None);
        }
    }
}

#[test]
fn a_half_open_graft_does_not_make_its_owner_a_thief() {
    let (mut w, line, jar) = alice(balanced());
    drop(line);
    let (hers, answer) = insist(&mut w, &jar);
    assert!(answer.is_in());
    hers.plug
        .dead
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let (_, answer) = insist(&mut w, &jar);
    assert!(answer.is_in(), "{answer:?}");
    assert_eq!(thefts(&w), []);
}

#[test]
fn two_grafts_never_live_side_by_side_not_even_by_lineage() {
    let (mut w, line, mut jar) = alice(balanced());
    drop(line);
    // She restarted; her graft has TLS tickets now. Then she goes away, and a copy is used.
    let (hers, answer) = insist(&mut w, &jar);
    assert!(answer.is_in());
    let (hers, family) = hand_over(&mut w, hers, &mut jar);
    drop(hers);
    w.step(secs(300));
    let copy = jar.clone();
    let (thief, answer) = insist(&mut w, &copy);
    assert!(answer.is_in());
    let back = w.resumed(family);
    let answer = w.get(&back, &jar);
    assert_eq!(
        answer.refusal(),
        Some(Refusal::PhantomSession(Ending::Theft)),
        "two parties at once"
    );
    assert!(thief.plug.is_closed());
}

#[test]
fn a_graft_whose_place_another_took_is_found_out_by_its_own_lineage_too() {
    let (mut w, line, mut jar) = alice(balanced());
    drop(line);
    let (hers, _) = insist(&mut w, &jar);
    let (hers, family) = hand_over(&mut w, hers, &mut jar);
    drop(hers);
    w.step(secs(300));
    let mut copy = jar.clone();
    let (thief, _) = insist(&mut w, &copy);
    document(&w, &thief, &mut copy, "browser");
    document(&w, &thief, &mut copy, "browser");
    w.step(secs(61));
    document(&w, &thief, &mut copy, "browser");
    drop(thief);
    w.step(secs(120));
    let answer = w.get(&w.resumed(family), &jar);
    assert_eq!(answer.refusal(), Some(Refusal::OutOfSequence));
    assert_eq!(thefts(&w).len(), 1);
}

#[test]
fn a_crash_right_after_an_advance_is_a_lapse_and_not_a_theft() {
    let (mut w, line, mut jar) = alice(balanced());
    let saved = jar.clone();
    w.step(secs(60));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    assert_ne!(jar, saved);
    drop(line);
    // Hours later it would be too old to be a proof; half an hour later it is not.
    w.step(secs(1800));
    let (line, answer) = insist(&mut w, &saved);
    assert!(answer.is_in(), "{answer:?}");
    // The whole page asks with the same old ticket, over one wire and over a second one that was challenged meanwhile.
    let mut again = saved.clone();
    assert!(document(&w, &line, &mut again, "browser").is_in());
    assert_ne!(again, saved, "a branch");
    assert_ne!(again, jar);
    w.step(secs(1));
    assert!(document(&w, &line, &mut again, "browser").is_in());
    assert_eq!(thefts(&w), []);
    // What the crash forgot is a second party now, if anybody has it.
    drop(line);
    w.step(secs(200));
    let (_, answer) = insist(&mut w, &jar);
    // Her browser lost it, or saved it after all: it never comes back beside the branch. It is no second lapse.
    assert_eq!(answer.refusal(), Some(Refusal::OutOfSequence));
}

#[test]
fn a_browser_that_crashed_and_is_back_within_the_window_gets_a_branch_and_goes_on_for_good() {
    let (mut w, line, mut jar) = alice(balanced());
    let saved = jar.clone();
    w.step(secs(60));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    drop(line);
    w.step(secs(5));
    let mut jar = saved.clone();
    let (line, answer) = insist(&mut w, &jar);
    assert!(answer.is_in(), "{answer:?}");
    document(&w, &line, &mut jar, "browser");
    assert_ne!(jar, saved);
    let (line, family) = hand_over(&mut w, line, &mut jar);
    for _ in 0..5 {
        w.step(secs(61));
        assert!(document(&w, &line, &mut jar, "browser").is_in());
    }
    drop(line);
    w.step(secs(300));
    let back = w.resumed(family);
    assert!(document(&w, &back, &mut jar, "browser").is_in());
    assert_eq!(thefts(&w), []);
}

#[test]
fn a_lapse_whose_answer_was_lost_is_a_lapse_still() {
    let (mut w, line, mut jar) = alice(portable());
    let saved = jar.clone();
    w.step(secs(60));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    w.step(secs(1200));
    for _ in 0..3 {
        // Each time its answer is lost; each time it was itself seen just before.
        let answer = w.get(&line, &saved);
        assert!(answer.is_in(), "{answer:?}");
        w.step(secs(300));
    }
    assert_eq!(thefts(&w), []);
}

#[test]
fn a_lost_answer_harms_nobody() {
    let (mut w, line, jar) = alice(portable());
    for round in 0..6 {
        w.step(secs(120));
        let answer = w.get(&line, &jar);
        assert!(answer.is_in(), "{round}");
        // The answer sets a ticket, and never arrives.
        assert!(set_by(&w, &line, &answer, &jar, "browser").is_some());
    }
    assert_eq!(thefts(&w), []);
}

#[test]
fn a_client_that_keeps_no_cookies_is_told_so_in_the_end_and_nothing_ends() {
    let (mut w, line, jar) = alice(portable());
    let mut refused = None;
    for minute in 0..20 {
        w.step(secs(60));
        let answer = w.get(&line, &jar);
        if let Some(refusal) = answer.refusal() {
            refused = Some((minute, refusal));
            break;
        }
        set_by(&w, &line, &answer, &jar, "browser");
    }
    assert_eq!(refused, Some((15, Refusal::TicketNotTaken)));
    // Another client of the same jar, say: nothing ended.
    let other = Ask {
        client: client("other"),
        ..Ask::new(&jar)
    };
    assert!(w.ask(&line, &other).is_in());
    assert_eq!(thefts(&w), []);
}

#[test]
fn a_thiefs_untaken_offers_do_not_use_up_the_owners() {
    let (mut w, line, mut jar) = alice(portable());
    let copy = jar.clone();
    for _ in 0..20 {
        w.step(secs(91));
        let ask = Ask {
            client: client("thief"),
            ..Ask::new(&copy)
        };
        let answer = w.ask(&line, &ask);
        set_by(&w, &line, &answer, &copy, "thief");
    }
    let ask = Ask {
        client: client("thief"),
        ..Ask::new(&copy)
    };
    assert_eq!(w.ask(&line, &ask).refusal(), Some(Refusal::TicketNotTaken));
    assert!(document(&w, &line, &mut jar, "browser").is_in());
    assert_ne!(jar, copy);
    assert!(document(&w, &line, &mut jar, "browser").is_in());
}

#[test]
fn in_portable_a_copy_elsewhere_is_found_out_by_whoever_comes_second_past_the_window() {
    let (mut w, line, mut jar) = alice(portable());
    let copy = jar.clone();
    w.step(secs(60));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    let thief = Ask {
        client: client("thief"),
        ..Ask::new(&copy)
    };
    w.step(secs(29));
    let answer = w.ask(&line, &thief);
    assert!(answer.is_in(), "within the window, served");
    assert_eq!(
        set_by(&w, &line, &answer, &copy, "thief"),
        None,
        "but nothing is set for him"
    );
    w.step(secs(62));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    assert_eq!(w.ask(&line, &thief).refusal(), Some(Refusal::OutOfSequence));
    let answer = w.get(&line, &jar);
    assert_eq!(
        answer.refusal(),
        Some(Refusal::PhantomSession(Ending::Theft))
    );
}

// Behind a proxy everybody comes from one address, over whichever connection the proxy has open.
#[test]
fn behind_a_proxy_a_fork_and_a_theft_name_the_two_clients() {
    let (mut w, line, mut jar) = alice(portable());
    let mut copy = jar.clone();
    w.step(secs(120));
    assert!(document(&w, &line, &mut copy, "thief").is_in());
    assert!(document(&w, &line, &mut jar, "browser").is_in());
    assert!(document(&w, &line, &mut jar, "browser").is_in());
    let [Event::Fork { taken, other, .. }] = &named(&w, "fork")[..] else {
        panic!("{:?}", w.log.all());
    };
    assert_eq!(
        (taken.client.as_str(), other.as_str()),
        ("browser", "192.0.2.1 thief")
    );
    w.step(secs(31));
    let thief = Ask {
        client: client("thief"),
        ..Ask::new(&copy)
    };
    assert!(!w.ask(&line, &thief).is_in());
    let [
        Event::Theft {
            newcomer, holder, ..
        },
    ] = &thefts(&w)[..]
    else {
        panic!("{:?}", w.log.all());
    };
    assert_eq!(
        (newcomer.client.as_str(), holder.client.as_str()),
        ("thief", "browser")
    );
}

// On `edge` a ticket is set again as there, but the headers prove no more than behind a proxy.
#[test]
fn in_portable_the_same_headers_at_another_address_are_a_fork_on_either_listener() {
    for again in [Again::Family, Again::Client] {
        let tickets = Rules {
            again,
            ..Rules::default()
        };
        let (mut w, line, mut jar) = alice(Policy {
            tickets,
            ..portable()
        });
        let mut copy = jar.clone();
        w.step(secs(120));
        w.place = [198, 51, 100, 7].into();
        assert!(document(&w, &w.plain(), &mut copy, "browser").is_in());
        w.step(secs(90));
        document(&w, &line, &mut jar, "browser");
        document(&w, &line, &mut jar, "browser");
        assert_eq!(named(&w, "fork").len(), 1, "{again:?}");
    }
}

#[test]
fn a_copy_that_was_used_once_while_its_owner_was_away_leaves_a_fork() {
    let (mut w, line, mut jar) = alice(portable());
    let copy = jar.clone();
    w.step(secs(120));
    w.place = [198, 51, 100, 7].into();
    let elsewhere = w.full();
    let ask = Ask {
        client: client("thief"),
        ..Ask::new(&copy)
    };
    let answer = w.ask(&elsewhere, &ask);
    assert!(set_by(&w, &elsewhere, &answer, &copy, "thief").is_some());
    w.step(secs(600));
    document(&w, &line, &mut jar, "browser");
    document(&w, &line, &mut jar, "browser");
    let forks = named(&w, "fork");
    let [
        Event::Fork {
            parted_at: 0,
            taken,
            other,
            ..
        },
    ] = &forks[..]
    else {
        panic!("{forks:?}");
    };
    assert_eq!(taken.address.unwrap().to_string(), "192.0.2.1");
    assert!(other.starts_with("198.51.100.7"), "{other}");
    assert_eq!(thefts(&w), [], "it cannot be told from a lost answer");
}

#[test]
fn a_forged_ticket_signs_nobody_out_whatever_it_looks_like() {
    for policy in [balanced(), portable(), crate::strict()] {
        let (mut w, line, jar) = alice(policy);
        let (head, _) = jar.rsplit_once('.').unwrap();
        for byte in 0..=255 {
            let forged = format!("{head}.{}", Secret::from_bytes([byte; 32]).expose_text());
            let stranger = w.full();
            let answer = w.get(&stranger, &forged);
            assert_eq!(answer.refusal(), Some(Refusal::Unauthenticated));
        }
        w.step(secs(61));
        assert!(w.get(&line, &jar).is_in());
        assert_eq!(thefts(&w), []);
    }
}

#[test]
fn a_ticket_that_went_unrenewed_for_an_hour_is_no_proof_but_lineage_is() {
    let (mut w, line, jar) = alice(balanced());
    let family = w.browser.family.unwrap();
    drop(line);
    w.step(secs(3600));
    w.step(secs(1));
    let (_, answer) = insist(&mut w, &jar);
    assert_eq!(answer.refusal(), Some(Refusal::SecretExpired));
    assert!(w.get(&w.resumed(family), &jar).is_in());
}

#[test]
fn idle_and_absolute_limits_hold_however_often_a_ticket_is_renewed() {
    let policy = Policy {
        absolute: Lifetime::from_hours(2),
        ..portable()
    };
    let (mut w, line, mut jar) = alice(policy);
    let mut minutes = 0;
    while document(&w, &line, &mut jar, "browser").is_in() {
        w.step(secs(60));
        minutes += 1;
        assert!(minutes <= 121);
    }
    assert_eq!(minutes, 120);
    assert_eq!(
        w.get(&line, &jar).refusal(),
        Some(Refusal::SessionExpired(Ending::ExpiredAbsolute))
    );
}

// Two forms posted at once were each set a ticket of their own. A page asked with the first one before the second arrived left
// a sibling in the jar, and whoever read for half a minute was a thief.
#[test]
fn two_deeds_at_once_for_which_the_app_changes_its_cookie_accuse_nobody() {
    let bearer = Policy {
        preset: Preset::Bearer,
        ..Policy::default()
    };
    for policy in [balanced(), portable(), bearer] {
        let preset = policy.preset;
        let (mut w, line, first) = alice(policy);
        let set = [0; 2].map(|_| deed(&w, &line, &first, "browser").unwrap());
        let [mut jar, last] = set;
        assert_ne!(jar, first);
        assert!(document(&w, &line, &mut jar, "browser").is_in());
        jar = last;
        drop(line);
        w.step(secs(31));
        let (line, answer) = insist(&mut w, &jar);
        assert!(answer.is_in(), "{preset:?}: {answer:?}");
        assert!(document(&w, &line, &mut jar, "browser").is_in());
        assert_eq!(thefts(&w), []);
    }
}

#[test]
fn a_deed_under_way_when_its_wire_is_cut_off_is_set_nothing() {
    let (mut w, line, jar) = alice(balanced());
    let family = w.browser.family.unwrap();
    drop(line);
    let (thief, answer) = insist(&mut w, &jar);
    let verified = answer.verified().unwrap().clone();
    let client = client("browser");
    assert!(w.renew(&thief, &verified, &jar, &client).is_some());
    // The owner is back, and he is answered.
    let back = w.resumed(family);
    let hers = w.get(&back, &jar).verified().unwrap().clone();
    assert_eq!(w.renew(&thief, &verified, &jar, &client), None);
    // Also with what is current.
    let mut jar = jar;
    document(&w, &back, &mut jar, "browser");
    assert_eq!(w.renew(&thief, &verified, &jar, &client), None);
    assert!(w.renew(&back, &hers, &jar, &client).is_some());
    w.engine
        .mark_shared(&back.wire, wirebound::engine::Sign::ForwardingHeader);
    assert_eq!(w.renew(&back, &hers, &jar, &client), None);
}

#[test]
fn deeds_from_elsewhere_are_set_nothing_by_what_the_owner_superseded() {
    let (mut w, line, first) = alice(portable());
    let mut jar = deed(&w, &line, &first, "browser").unwrap();
    assert!(document(&w, &line, &mut jar, "browser").is_in());
    w.step(secs(20));
    assert_eq!(deed(&w, &w.plain(), &first, "thief"), None);
    // The owner's own late one is.
    assert_eq!(deed(&w, &line, &first, "browser"), Some(jar.clone()));
    w.step(secs(11));
    assert!(document(&w, &line, &mut jar, "browser").is_in());
}

// The answer of a page under way may arrive after that of the sign-in.
#[test]
fn a_late_answer_of_before_a_guest_signed_in_accuses_nobody() {
    for preset in [Preset::Portable, Preset::Balanced] {
        let mut w = with(Policy {
            preset,
            ..portable()
        });
        let guest = wirebound::engine::Guest {
            subject: crate::world::subject("a:1"),
            authority: wirebound::Authority::of(crate::world::HOST),
            persistent: false,
            idle: None,
            absolute: None,
            vault: Vec::new(),
        };
        let sealed = w.engine.seal_guest(&guest, w.now).unwrap().unwrap();
        let line = w.full();
        let arrived = w.get(&line, sealed.expose());
        assert!(arrived.is_in(), "{arrived:?}");
        let host = wirebound::Authority::of(crate::world::HOST);
        let presented = w.engine.read_at(sealed.expose().as_bytes(), &host);
        let presented = presented.unwrap();
        let (late, _) = w.engine.successor(&presented, w.now).unwrap();
        let mut jar = deed(&w, &line, sealed.expose(), "browser").unwrap();
        assert_ne!(jar, late.expose());
        assert!(document(&w, &line, &mut jar, "browser").is_in());
        jar = late.expose().to_owned();
        drop(line);
        w.step(secs(40));
        let (line, answer) = insist(&mut w, &jar);
        assert!(answer.is_in(), "{preset:?}: {answer:?}");
        document(&w, &line, &mut jar, "browser");
        assert!(document(&w, &line, &mut jar, "browser").is_in());
        w.step(secs(60));
        assert!(document(&w, &line, &mut jar, "browser").is_in());
        assert_eq!(thefts(&w), []);
    }
}

#[test]
fn many_at_once_are_offered_one_successor() {
    let (mut w, line, jar) = alice(portable());
    w.step(secs(60));
    let mut given = BTreeSet::new();
    for _ in 0..64 {
        let answer = w.get(&line, &jar);
        given.extend(set_by(&w, &line, &answer, &jar, "browser"));
    }
    assert_eq!(given.len(), 1);
}

#[test]
fn a_restart_forgets_no_acknowledgement_and_what_an_old_ticket_means() {
    let (mut w, line, mut jar) = alice(portable());
    let old = jar.clone();
    for _ in 0..3 {
        w.step(secs(61));
        document(&w, &line, &mut jar, "browser");
    }
    document(&w, &line, &mut jar, "browser");
    drop(line);
    w.step(secs(60));
    w.restart();
    let line = w.full();
    assert_eq!(w.get(&line, &old).refusal(), Some(Refusal::OutOfSequence));
    assert_eq!(thefts(&w).len(), 1);
}

#[test]
fn a_store_that_lost_its_last_writes_accuses_nobody() {
    let store = Arc::new(MemoryStore::new());
    let mut w = World::new(portable(), Arc::clone(&store) as _);
    let line = w.settle("alice", Role::USER);
    let mut jar = w.browser.cookie.clone();
    let verified = w.get(&line, &jar).verified().unwrap().clone();
    let key = wirebound::store::Key::new(
        wirebound::store::Space::Session,
        verified.session().as_bytes(),
    );
    // What an earlier process of the same secret knew: another world with the same beginning, further on.
    for _ in 0..5 {
        w.step(secs(61));
        document(&w, &line, &mut jar, "browser");
    }
    document(&w, &line, &mut jar, "browser");
    let mut behind = World::new(portable(), Arc::new(MemoryStore::new()));
    let line = behind.settle("alice", Role::USER);
    behind.now = w.now;
    assert!(key.name().len() > 2);
    let answer = document(&behind, &line, &mut jar, "browser");
    assert!(answer.is_in(), "{answer:?}");
    assert_eq!(behind.log.count("record_behind"), 1);
    assert_eq!(thefts(&behind), []);
}

#[test]
fn an_operator_chooses_what_an_old_ticket_does() {
    for (on_theft, ends) in [
        (OnTheft::End, true),
        (OnTheft::Refuse, false),
        (OnTheft::Alert, false),
    ] {
        let policy = Policy {
            on_theft,
            ..portable()
        };
        let (mut w, line, mut jar) = alice(policy);
        let old = jar.clone();
        for _ in 0..3 {
            w.step(secs(61));
            document(&w, &line, &mut jar, "browser");
        }
        document(&w, &line, &mut jar, "browser");
        w.step(secs(61));
        assert!(document(&w, &line, &mut jar, "browser").is_in());
        for _ in 0..50 {
            // Old tickets lie about in logs and backups: one event a minute.
            assert!(!w.get(&line, &old).is_in());
        }
        assert_eq!(w.get(&line, &jar).is_in(), !ends, "{on_theft:?}");
        assert_eq!(thefts(&w).len(), 1, "{on_theft:?}");
    }
}

#[test]
fn a_theft_in_shadow_is_told_and_serves_as_a_bearer() {
    let policy = Policy {
        shadow: vec![Control::Theft],
        ..portable()
    };
    let (mut w, line, mut jar) = alice(policy);
    let old = jar.clone();
    for _ in 0..3 {
        w.step(secs(61));
        document(&w, &line, &mut jar, "browser");
    }
    document(&w, &line, &mut jar, "browser");
    w.step(secs(61));
    document(&w, &line, &mut jar, "browser");
    let answer = w.get(&line, &old);
    assert_eq!(answer.verified().unwrap().strength(), Strength::Bearer);
    assert_eq!(
        set_by(&w, &line, &answer, &old, "browser"),
        None,
        "nothing is set for it"
    );
    assert_eq!((w.log.count("shadowed"), thefts(&w).len()), (1, 1));
    assert!(
        document(&w, &line, &mut jar, "browser").is_in(),
        "nothing ended"
    );
}

#[test]
fn an_answer_that_took_long_sets_no_ticket() {
    let (mut w, line, jar) = alice(portable());
    w.step(secs(60));
    let answer = w.get(&line, &jar);
    let verified = answer.verified().unwrap().clone();
    let presented = w.engine.read(jar.as_bytes()).unwrap();
    let leaving = Leaving {
        presented: &presented,
        client: &client("browser"),
        get: true,
        came: w.now,
    };
    w.step(secs(16));
    let late = block_on(w.engine.ticket(&line.wire, &verified, &leaving, w.now)).unwrap();
    assert!(late.is_none());
}

#[test]
fn under_get_only_gets_move_the_ticket_and_posts_use_it() {
    let policy = Policy {
        tickets: Rules {
            advance: Advance::Get,
            ..portable().tickets
        },
        ..portable()
    };
    let (w, line, jar) = alice(policy);
    let answer = w.get(&line, &jar);
    let verified = answer.verified().unwrap().clone();
    let presented = w.engine.read(jar.as_bytes()).unwrap();
    let given = |get| {
        let leaving = Leaving {
            presented: &presented,
            client: &client("browser"),
            get,
            came: w.now,
        };
        block_on(w.engine.ticket(&line.wire, &verified, &leaving, w.now)).unwrap()
    };
    assert!(given(false).is_none());
    assert!(given(true).is_some());
}

#[test]
fn bearer_takes_the_string_wherever_it_comes_from_and_never_moves_it() {
    let policy = Policy {
        preset: Preset::Bearer,
        ..Policy::default()
    };
    let (mut w, line, mut jar) = alice(policy);
    let first = jar.clone();
    w.step(secs(600));
    let answer = document(&w, &line, &mut jar, "browser");
    assert_eq!(answer.verified().unwrap().strength(), Strength::Bearer);
    assert!(document(&w, &w.plain(), &mut jar, "anybody").is_in());
    assert_eq!(jar, first);
}

#[test]
fn where_wires_prove_nothing_none_stays_attached_and_an_ending_reaches_what_is_being_sent() {
    let (w, line, jar) = alice(portable());
    let answer = w.get(&line, &jar);
    let Answer::Proved(accepted) = answer else {
        panic!("{answer:?}")
    };
    let session = accepted.verified.session();
    let watch = w.engine.watch(session).unwrap();
    let second = w.get(&line, &jar);
    assert!(
        !matches!(second, Answer::Hot(_)),
        "the wire says nothing by itself"
    );
    assert_eq!(line.wire.attached_by(session), None);
    drop(second);
    block_on(w.engine.end(session, Ending::Revoked, w.now)).unwrap();
    assert!(matches!(
        watch.now(),
        Some(wirebound::Cut::Ended(Ending::Revoked))
    ));
    assert!(
        !line.plug.is_closed(),
        "other people's requests go on over it"
    );
    drop(accepted);
    assert_eq!(w.engine.connected(), 0);
}

#[test]
fn an_older_session_whose_owner_is_away_ends_at_a_sign_in_that_names_it() {
    let (mut w, line, jar) = alice(balanced());
    let session = w.get(&line, &jar).verified().unwrap().session();
    let other = w.full();
    block_on(w.engine.replace_older(&other.wire, session, w.now)).unwrap();
    assert!(
        w.get(&line, &jar).is_in(),
        "its owner is connected: both stand"
    );
    assert_eq!(w.log.count("older_session_stands"), 1);
    drop(line);
    block_on(w.engine.replace_older(&other.wire, session, w.now)).unwrap();
    assert_eq!(w.log.count("older_session_ended"), 1);
    let (_, answer) = insist(&mut w, &jar);
    assert_eq!(
        answer.refusal(),
        Some(Refusal::PhantomSession(Ending::Replaced))
    );
}

#[test]
fn a_sign_in_from_an_address_that_an_older_session_is_not_held_to_ends_nothing() {
    for (preset, shadowed, stands) in [
        (balanced(), false, true),
        (portable(), false, true),
        (portable(), true, false),
    ] {
        let policy = Policy {
            bound_to_ip: BoundToIp::Prefix,
            shadow: if shadowed {
                vec![Control::Address]
            } else {
                Vec::new()
            },
            ..preset
        };
        let (mut w, line, jar) = alice(policy);
        let session = w.get(&line, &jar).verified().unwrap().session();
        drop(line);
        w.place = [198, 51, 100, 1].into();
        let thief = w.full();
        w.sign_in(&thief, "mallory", Role::USER);
        block_on(w.engine.replace_older(&thief.wire, session, w.now)).unwrap();
        assert_eq!(w.log.count("older_session_stands"), usize::from(stands));
        assert_eq!(w.log.count("session_ended"), usize::from(!stands));
    }
}

#[test]
fn an_older_session_stands_while_a_request_of_it_is_being_answered_where_wires_prove_nothing() {
    let (w, line, jar) = alice(portable());
    let being_answered = w.get(&line, &jar);
    let session = being_answered.verified().unwrap().session();
    let other = w.plain();
    block_on(w.engine.replace_older(&other.wire, session, w.now)).unwrap();
    assert_eq!(w.log.count("older_session_stands"), 1);
    drop(being_answered);
    block_on(w.engine.replace_older(&other.wire, session, w.now)).unwrap();
    assert_eq!(w.log.count("older_session_ended"), 1);
}

#[test]
fn the_ticket_of_before_an_elevation_keeps_the_old_role_also_on_the_owners_wire() {
    let (w, line, jar) = alice(balanced());
    block_on(
        w.engine
            .set_ceiling(&crate::world::subject("alice"), Role::ranked(200), w.now),
    )
    .unwrap();
    let verified = w.get(&line, &jar).verified().unwrap().clone();
    let raised = w.elevate(&line, &verified, Role::ranked(200)).unwrap();
    let new = raised.cookie.expose().to_owned();
    assert_eq!(w.get(&line, &jar).role(), Some(Role::USER), "not shown yet");
    assert_eq!(w.get(&line, &new).role(), Some(Role::ranked(200)));
    for _ in 0..2 {
        assert_eq!(
            w.get(&line, &jar).role(),
            Some(Role::USER),
            "the old one, for a window"
        );
        assert_eq!(w.get(&line, &new).role(), Some(Role::ranked(200)));
    }
}

/// A peer that is found dead, and during the question of which something else happens.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl core::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Transport for Meanwhile {
    fn close(&self) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let happens = self.0.lock().unwrap().take();
        Box::pin(async move {
            if let Some(happens) = happens {
                // Elsewhere, as it would be: nobody who waits here drives it.
                std::thread::spawn(happens).join().unwrap();
            }
            false
        })
    }

    fn trip(&self) -> Option<Lifetime> {
        None
    }
}

#[test]
fn an_owner_who_comes_back_while_her_old_wire_is_asked_is_held_against_a_stranger() {
    let (mut w, line, jar) = alice(balanced());
    let family = w.browser.family.unwrap();
    drop(line);
    let connect = |w: &World, transport: Arc<dyn Transport>| {
        w.engine.wire(Connected {
            transport,
            address: None,
            lineage: Some(Lineage {
                root: family,
                also: None,
                resumed: true,
                ticketed: true,
                birth: w.now,
            }),
            opened: w.now,
        })
    };
    // Her laptop lost its network; its wire looks alive.
    let meanwhile = Arc::new(Meanwhile(Mutex::new(None)));
    let half_open = Line {
        wire: connect(&w, Arc::clone(&meanwhile) as _),
        plug: Arc::default(),
    };
    assert!(w.get(&half_open, &jar).is_in());
    // She is back on another network at the very moment at which a stranger makes the old wire be asked.
    let (engine, now, cookie) = (Arc::clone(&w.engine), w.now, jar.clone());
    let back = Arc::new(Mutex::new(None));
    let (wire, kept) = (
        connect(&w, Arc::new(crate::world::Plug::default())),
        Arc::clone(&back),
    );
    *meanwhile.0.lock().unwrap() = Some(Box::new(move || {
        let presented = engine.read(cookie.as_bytes()).unwrap();
        let authority = wirebound::Authority::of(crate::world::HOST);
        let offer = crate::world::plain(&presented, &authority);
        let outcome = block_on(engine.prove(&wire, &offer, now)).unwrap();
        assert!(matches!(outcome, wirebound::engine::Outcome::Accepted(_)));
        *kept.lock().unwrap() = Some(wire);
    }));
    let (_, answer) = insist(&mut w, &jar);
    assert!(back.lock().unwrap().is_some(), "she came meanwhile");
    assert_eq!(answer.refusal(), Some(Refusal::Contested));
    assert_eq!(thefts(&w), []);
}
