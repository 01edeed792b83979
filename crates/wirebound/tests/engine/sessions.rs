//! What must hold of sessions on the wire, clock by clock and ending by ending.

use crate::strict;
use futures_executor::block_on;
use wirebound::engine::{NotSignedIn, Scope};
use wirebound::{
    BoundToIp, Cut, Ending, Lifetime, Need, Policy, Preset, Refusal, Role, Strength, Timestamp,
    Verified,
};

use crate::world::{Answer, Ask, Line, World, sign_in, subject};
use crate::{with, world};

const EXPIRED_IDLE: Option<Refusal> = Some(Refusal::SessionExpired(Ending::ExpiredIdle));
const EXPIRED_ABSOLUTE: Option<Refusal> = Some(Refusal::SessionExpired(Ending::ExpiredAbsolute));
const LOGGED_OUT: Option<Refusal> = Some(Refusal::PhantomSession(Ending::Logout));

fn verified(w: &World, line: &Line) -> Verified {
    w.get(line, &w.browser.cookie).verified().unwrap().clone()
}

#[test]
fn idle_ends_a_session_to_the_millisecond_on_the_wire_and_off_it() {
    let idle = strict().idle;
    for attached in [true, false] {
        let mut w = world();
        let mut line = w.settle("alice", Role::USER);
        let family = w.browser.family.unwrap();
        for _ in 0..3 {
            w.step(Lifetime::from_millis(idle.as_millis() - 1));
            if !attached {
                line = w.resumed(family);
            }
            assert!(
                w.get(&line, &w.browser.cookie).is_in(),
                "a millisecond before"
            );
        }
        w.step(idle);
        if !attached {
            line = w.resumed(family);
        }
        assert_eq!(w.get(&line, &w.browser.cookie).refusal(), EXPIRED_IDLE);
        assert_eq!(
            block_on(w.engine.workload()).unwrap(),
            0,
            "ended where it was touched"
        );
        assert_eq!(
            w.get(&line, &w.browser.cookie).refusal(),
            EXPIRED_IDLE,
            "and stays so"
        );
    }
}

#[test]
fn nothing_extends_the_absolute_limit() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let end = w.now.after(strict().absolute);
    while w.now.after(Lifetime::from_hours(7)) < end {
        w.step(Lifetime::from_hours(7));
        assert!(w.get(&line, &w.browser.cookie).is_in());
    }
    w.now = end.before(Lifetime::from_millis(1));
    assert!(w.get(&line, &w.browser.cookie).is_in());
    w.now = end;
    assert_eq!(w.get(&line, &w.browser.cookie).refusal(), EXPIRED_ABSOLUTE);
    let other = w.resumed(w.browser.family.unwrap());
    assert_eq!(w.get(&other, &w.browser.cookie).refusal(), EXPIRED_ABSOLUTE);
}

#[test]
fn a_short_idle_time_counts_uses_that_were_not_written_down_yet() {
    let mut w = world();
    let line = w.full();
    let mut request = sign_in("alice", Role::USER);
    request.idle = Some(Lifetime::from_mins(10));
    let signed_in = block_on(w.engine.sign_in(&line.wire, request, None, w.now)).unwrap();
    let cookie = signed_in.cookie.expose().to_owned();
    let (settled, family) = w.granted();
    let ask = Ask {
        nonce: signed_in.hand_over.as_ref(),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&settled, &ask).is_in());
    for _ in 0..2 {
        w.step(Lifetime::from_mins(7));
        assert!(matches!(w.get(&settled, &cookie), Answer::Hot(_)));
    }
    drop((line, settled));
    w.step(Lifetime::from_mins(1));
    assert!(
        w.get(&w.resumed(family), &cookie).is_in(),
        "used a minute ago"
    );
}

#[test]
fn a_ceiling_falls_at_once_on_every_path_and_streams_hear_of_it() {
    let mut w = world();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::ADMIN);
    let session = verified(&w, &line).session();
    let watch = w.engine.watch(session).unwrap();
    assert_eq!(w.get(&line, &w.browser.cookie).role(), Some(Role::ADMIN));
    block_on(w.engine.set_ceiling(&subject("alice"), Role::GUEST, w.now)).unwrap();
    assert_eq!(watch.now(), Some(Cut::RoleChanged));
    assert_eq!(
        w.get(&line, &w.browser.cookie).role(),
        Some(Role::GUEST),
        "hot"
    );
    let other = w.resumed(w.browser.family.unwrap());
    assert_eq!(
        w.get(&other, &w.browser.cookie).role(),
        Some(Role::GUEST),
        "by the store"
    );
    w.restart();
    let other = w.resumed(w.browser.family.unwrap());
    assert_eq!(
        w.get(&other, &w.browser.cookie).role(),
        Some(Role::GUEST),
        "after a restart"
    );
}

#[test]
fn blocked_is_blocked_on_every_path() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let before = verified(&w, &line);
    let raw = w.plain();
    block_on(
        w.engine
            .login(&raw.wire, subject("alice"), Role::USER, w.now),
    )
    .unwrap();
    assert_eq!(
        block_on(w.engine.set_blocked(&subject("alice"), true, w.now)).unwrap(),
        2
    );
    assert!(!w.get(&line, &w.browser.cookie).is_in());
    assert!(
        !w.get(&w.resumed(w.browser.family.unwrap()), &w.browser.cookie)
            .is_in()
    );
    assert!(w.engine.authorize_wire(&raw.wire, w.now).is_err());
    assert!(line.plug.is_closed() && raw.plug.is_closed());
    let again = w.try_sign_in(&line, "alice", Role::USER, None);
    assert!(matches!(again, Err(NotSignedIn::Blocked)));
    let login = block_on(
        w.engine
            .login(&raw.wire, subject("alice"), Role::USER, w.now),
    );
    assert!(matches!(login, Err(NotSignedIn::Blocked)));
    assert!(w.elevate(&line, &before, Role::USER).is_err());
    w.step(Lifetime::from_days(30));
    block_on(w.engine.sweep(w.now)).unwrap();
    assert!(
        matches!(
            w.try_sign_in(&line, "alice", Role::USER, None),
            Err(NotSignedIn::Blocked)
        ),
        "a block does not expire"
    );
    block_on(w.engine.set_blocked(&subject("alice"), false, w.now)).unwrap();
    w.sign_in(&line, "alice", Role::USER);
}

#[test]
fn remove_ends_everything_and_the_generation_only_grows() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let generation = |w: &World| {
        block_on(w.engine.identity(&subject("alice")))
            .unwrap()
            .unwrap()
            .generation
    };
    let before = generation(&w);
    assert_eq!(
        block_on(w.engine.remove(&subject("alice"), w.now)).unwrap(),
        1
    );
    assert_eq!(
        w.get(&line, &w.browser.cookie).refusal(),
        Some(Refusal::PhantomSession(Ending::Removed))
    );
    assert!(line.plug.is_closed());
    let removed = generation(&w);
    assert!(removed > before, "the tombstone keeps it");
    w.now = w.now.before(Lifetime::from_days(1));
    w.sign_in(&line, "alice", Role::USER);
    assert!(generation(&w) > removed, "also when the clock goes back");
}

#[test]
fn an_elevation_is_offered_acknowledged_and_lapses() {
    let mut w = world();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::USER);
    let other = w.resumed(w.browser.family.unwrap());
    let old = w.browser.cookie.clone();
    assert!(w.get(&other, &old).is_in());
    let admin = Ask {
        need: Need::role(Role::ADMIN),
        ..Ask::new(&old)
    };
    assert_eq!(
        w.ask(&line, &admin).refusal(),
        Some(Refusal::StepUpRequired)
    );
    let raised = w.elevate(&line, &verified(&w, &line), Role::ADMIN).unwrap();
    for l in [&line, &other] {
        assert_eq!(
            w.get(l, &old).role(),
            Some(Role::USER),
            "not acknowledged: the old role"
        );
    }
    assert_eq!(
        w.get(&other, raised.cookie.expose()).role(),
        Some(Role::ADMIN)
    );
    w.now = raised.until.before(Lifetime::from_millis(1));
    assert_eq!(
        w.get(&line, raised.cookie.expose()).role(),
        Some(Role::ADMIN)
    );
    w.now = raised.until;
    assert_eq!(
        w.get(&line, raised.cookie.expose()).role(),
        Some(Role::USER),
        "two hours"
    );
    assert_eq!(w.get(&line, &old).role(), Some(Role::USER));
}

#[test]
fn an_elevation_above_the_ceiling_or_on_a_wire_that_was_taken_away_is_ignored() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let before = verified(&w, &line);
    assert!(
        w.elevate(&line, &before, Role::ADMIN).is_err(),
        "above the ceiling"
    );
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    w.engine
        .mark_shared(&line.wire, wirebound::engine::Sign::ForwardingHeader);
    assert!(
        w.elevate(&line, &before, Role::ADMIN).is_err(),
        "it proves nothing any more"
    );
    let stranger = w.full();
    assert!(
        w.elevate(&stranger, &before, Role::ADMIN).is_err(),
        "another wire's verdict"
    );
    assert_eq!(w.log.count("elevation_ignored"), 3);
}

#[test]
fn logout_is_final_and_leaves_only_a_tombstone() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let was = verified(&w, &line);
    let watch = w.engine.watch(was.session()).unwrap();
    assert_eq!(
        block_on(w.engine.logout(&was, Scope::Session, w.now)).unwrap(),
        1
    );
    assert_eq!(watch.now(), Some(Cut::Ended(Ending::Logout)));
    let other = w.resumed(w.browser.family.unwrap());
    for l in [&line, &other] {
        assert_eq!(w.get(l, &w.browser.cookie).refusal(), LOGGED_OUT);
    }
    assert_eq!(
        block_on(w.engine.logout(&was, Scope::Session, w.now)).unwrap(),
        0
    );
    w.restart();
    let other = w.resumed(w.browser.family.unwrap());
    assert_eq!(
        w.get(&other, &w.browser.cookie).refusal(),
        LOGGED_OUT,
        "a restart forgets no ending"
    );
    w.step(Lifetime::from_days(14));
    let swept = block_on(w.engine.sweep(w.now)).unwrap();
    assert!(swept.remains >= 1);
    assert_eq!(
        w.get(&other, &w.browser.cookie).refusal(),
        Some(Refusal::Unauthenticated)
    );
}

#[test]
fn a_late_drop_of_an_old_wire_does_not_touch_the_session_that_came_after() {
    let mut w = world();
    let old = w.settle("alice", Role::USER);
    let family = w.browser.family.unwrap();
    let new = w.resumed(family);
    let was = verified(&w, &old);
    let next = w
        .try_sign_in(&new, "alice", Role::USER, Some(&was))
        .unwrap();
    let cookie = next.cookie.expose().to_owned();
    drop(old);
    assert!(matches!(w.get(&new, &cookie), Answer::Hot(_)));
    assert_eq!(w.engine.connected(), 1);
}

#[test]
fn a_sign_in_over_a_named_session_moves_its_siblings_and_ends_it_as_replaced() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let old = w.browser.cookie.clone();
    let sibling = w.resumed(w.browser.family.unwrap());
    let stranger_kin = w.full();
    assert!(w.get(&sibling, &old).is_in());
    let was = verified(&w, &line);
    let next = w.try_sign_in(&line, "bob", Role::USER, Some(&was)).unwrap();
    let cookie = next.cookie.expose().to_owned();
    for l in [&line, &sibling] {
        assert_eq!(
            w.get(l, &cookie).verified().unwrap().subject(),
            &subject("bob")
        );
        assert_eq!(
            w.get(l, &old).refusal(),
            Some(Refusal::PhantomSession(Ending::Replaced))
        );
        assert!(!l.plug.is_closed());
    }
    assert!(!w.get(&stranger_kin, &cookie).is_in());
}

#[test]
fn several_sessions_on_one_wire_are_never_mixed_up_and_the_wire_alone_says_nothing() {
    let mut w = world();
    let line = w.full();
    let a = w.sign_in(&line, "alice", Role::USER);
    let b = w.sign_in(&line, "bob", Role::GUEST);
    assert_eq!(
        w.get(&line, b.cookie.expose())
            .verified()
            .unwrap()
            .subject(),
        &subject("bob")
    );
    assert!(
        w.engine.authorize_wire(&line.wire, w.now).is_err(),
        "which?"
    );
    block_on(w.engine.end(b.verified.session(), Ending::Revoked, w.now)).unwrap();
    assert!(!line.plug.is_closed(), "it carries another live session");
    assert_eq!(
        w.get(&line, a.cookie.expose())
            .verified()
            .unwrap()
            .subject(),
        &subject("alice")
    );
    drop(line);
    assert_eq!(w.engine.connected(), 0);
}

#[test]
fn a_raw_session_is_over_with_its_socket_and_may_begin_again_after_it_expired() {
    let mut w = world();
    let line = w.plain();
    let login = |w: &World, line: &Line| {
        block_on(
            w.engine
                .login(&line.wire, subject("alice"), Role::USER, w.now),
        )
        .unwrap()
    };
    let first = login(&w, &line);
    assert_eq!(first.strength(), Strength::Wire);
    w.step(Lifetime::from_millis(599_999));
    assert!(w.engine.authorize_wire(&line.wire, w.now).is_ok());
    w.step(Lifetime::from_mins(10));
    let over = w.engine.authorize_wire(&line.wire, w.now);
    assert_eq!(over, Err(Refusal::SessionExpired(Ending::ExpiredIdle)));
    let again = login(&w, &line);
    assert_eq!(
        w.engine
            .authorize_wire(&line.wire, w.now)
            .unwrap()
            .session(),
        again.session()
    );
    let bob = block_on(
        w.engine
            .login(&line.wire, subject("bob"), Role::USER, w.now),
    )
    .unwrap();
    assert_eq!(w.engine.authorize_wire(&line.wire, w.now), Ok(bob));
    assert_eq!(block_on(w.engine.workload()).unwrap(), 1);
    drop(line);
    block_on(w.engine.tidy(w.now)).unwrap();
    assert_eq!(block_on(w.engine.workload()).unwrap(), 0);
    let fresh = w.plain();
    assert_eq!(
        w.engine.authorize_wire(&fresh.wire, w.now),
        Err(Refusal::Unauthenticated)
    );
}

#[test]
fn at_the_limit_of_wires_the_oldest_idle_one_is_closed() {
    let mut w = with(Policy {
        max_wires: 2,
        ..strict()
    });
    let busy = w.settle("alice", Role::USER);
    busy.plug
        .in_flight
        .store(1, std::sync::atomic::Ordering::Relaxed);
    let family = w.browser.family.unwrap();
    let (idle, newest) = (w.resumed(family), w.resumed(family));
    assert!(w.get(&idle, &w.browser.cookie).is_in());
    assert!(w.get(&newest, &w.browser.cookie).is_in());
    assert!(idle.plug.is_closed() && !busy.plug.is_closed());
    assert!(matches!(w.get(&busy, &w.browser.cookie), Answer::Hot(_)));
    assert!(matches!(w.get(&newest, &w.browser.cookie), Answer::Hot(_)));
}

#[test]
fn a_session_that_is_held_to_its_address_is_proved_from_there_only_and_nothing_ends() {
    for (bound_to_ip, near, far) in [
        (BoundToIp::Off, true, true),
        (BoundToIp::Log, true, true),
        (BoundToIp::Prefix, true, false),
        (BoundToIp::Exact, false, false),
    ] {
        let mut w = with(Policy {
            bound_to_ip,
            ..strict()
        });
        let home = w.settle("alice", Role::USER);
        let (family, cookie) = (w.browser.family.unwrap(), w.browser.cookie.clone());
        for (place, allowed) in [([192, 0, 2, 77], near), ([198, 51, 100, 1], far)] {
            w.place = place.into();
            let line = w.resumed(family);
            let answer = w.get(&line, &cookie);
            assert_eq!(answer.is_in(), allowed, "{bound_to_ip:?} {place:?}");
            if !allowed {
                assert_eq!(answer.refusal(), Some(Refusal::NotProven));
                // Without a challenge: the jar may be the owner's own, the place is not.
                let stranger = w.full();
                assert_eq!(
                    w.get(&stranger, &cookie).refusal(),
                    Some(Refusal::NotProven)
                );
            }
            w.step(Lifetime::from_mins(2));
        }
        assert!(
            matches!(w.get(&home, &cookie), Answer::Hot(_)),
            "{bound_to_ip:?}"
        );
        w.place = [192, 0, 2, 1].into();
        let back = w.resumed(family);
        assert!(w.get(&back, &cookie).is_in(), "{bound_to_ip:?}");
        let told = match bound_to_ip {
            BoundToIp::Off | BoundToIp::Exact => 0,
            BoundToIp::Log => 3,
            BoundToIp::Prefix => 2,
        };
        assert_eq!(w.log.count("address_changed"), told, "{bound_to_ip:?}");
        assert_eq!(w.log.count("session_ended"), 0, "{bound_to_ip:?}");
    }
}

#[test]
fn another_address_is_told_once_also_where_no_connection_is_attached() {
    for preset in [Preset::Portable, Preset::Bearer] {
        for bound_to_ip in [BoundToIp::Log, BoundToIp::Prefix, BoundToIp::Off] {
            let mut w = with(Policy {
                preset,
                bound_to_ip,
                ..Policy::default()
            });
            let home = w.settle("alice", Role::USER);
            let cookie = w.browser.cookie.clone();
            assert!(w.get(&home, &cookie).is_in());
            w.place = [192, 0, 2, 77].into();
            let away = w.full();
            let watched = usize::from(bound_to_ip != BoundToIp::Off);
            for told in [watched, watched] {
                assert!(w.get(&away, &cookie).is_in(), "{bound_to_ip:?}");
                assert_eq!(w.log.count("address_changed"), told, "{bound_to_ip:?}");
                w.step(Lifetime::from_mins(2));
            }
            w.get(&home, &cookie);
            assert_eq!(w.log.count("address_changed"), 2 * watched);
        }
    }
}

#[test]
fn a_cookie_of_an_ended_session_raises_its_own_event_once_a_minute() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let who = verified(&w, &line);
    block_on(w.engine.logout(&who, Scope::Session, w.now)).unwrap();
    for _ in 0..5 {
        let stranger = w.full();
        assert!(!w.get(&stranger, &cookie).is_in());
    }
    assert_eq!(w.log.count("phantom_session"), 1);
    w.step(Lifetime::from_mins(1));
    let stranger = w.full();
    assert!(!w.get(&stranger, &cookie).is_in());
    let told = w.log.all().into_iter().rev().find_map(|event| match event {
        wirebound::Event::PhantomSession {
            ending, unreported, ..
        } => Some((ending, unreported)),
        _ => None,
    });
    assert_eq!(told, Some((Ending::Logout, 4)));
}

#[test]
fn ending_others_and_all_ends_just_those() {
    let mut w = world();
    let lines: Vec<Line> = (0..3).map(|_| w.full()).collect();
    let signed: Vec<_> = lines
        .iter()
        .map(|l| w.sign_in(l, "alice", Role::USER))
        .collect();
    assert_eq!(block_on(w.engine.workload()).unwrap(), 3);
    let own = &signed[1].verified;
    assert_eq!(
        block_on(w.engine.logout(own, Scope::Others, w.now)).unwrap(),
        2
    );
    for (n, (l, s)) in lines.iter().zip(&signed).enumerate() {
        assert_eq!(w.get(l, s.cookie.expose()).is_in(), n == 1);
        assert_eq!(l.plug.is_closed(), n != 1);
    }
    assert_eq!(
        block_on(w.engine.logout(own, Scope::All, w.now)).unwrap(),
        1
    );
    assert_eq!(block_on(w.engine.workload()).unwrap(), 0);
}

#[test]
fn a_sweep_takes_what_is_due_in_batches_and_spares_what_was_used_meanwhile() {
    let mut w = world();
    let line = w.settle("used", Role::USER);
    for n in 0..600 {
        let other = w.full();
        w.sign_in(&other, &format!("idle-{n}"), Role::USER);
    }
    w.step(Lifetime::from_hours(7));
    assert!(matches!(w.get(&line, &w.browser.cookie), Answer::Hot(_)));
    w.step(Lifetime::from_hours(1));
    let swept = block_on(w.engine.sweep(w.now)).unwrap();
    assert_eq!((swept.sessions, swept.identities), (600, 0));
    assert_eq!(block_on(w.engine.workload()).unwrap(), 1);
    assert!(w.get(&line, &w.browser.cookie).is_in());
    w.step(Lifetime::from_days(15));
    let swept = block_on(w.engine.sweep(w.now)).unwrap();
    assert_eq!(
        (swept.sessions, swept.identities, swept.remains),
        (1, 601, 600)
    );
    assert_eq!(w.engine.connected(), 0);
}

#[test]
fn a_restart_keeps_sessions_families_and_the_nonce_that_was_on_its_way() {
    let mut w = world();
    let first = w.full();
    let signed_in = w.sign_in(&first, "alice", Role::USER);
    let cookie = signed_in.cookie.expose().to_owned();
    drop(first);
    w.restart();
    let (line, family) = w.granted();
    let ask = Ask {
        nonce: signed_in.hand_over.as_ref(),
        ..Ask::new(&cookie)
    };
    assert!(w.ask(&line, &ask).is_in(), "the nonce is in the store");
    drop(line);
    w.restart();
    assert!(w.get(&w.resumed(family), &cookie).is_in());
    assert_eq!(block_on(w.engine.workload()).unwrap(), 1);
}

#[test]
fn a_clock_that_goes_back_revives_nobody() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let start = w.now;
    w.step(strict().idle);
    assert_eq!(w.get(&line, &w.browser.cookie).refusal(), EXPIRED_IDLE);
    w.now = start;
    assert_eq!(w.get(&line, &w.browser.cookie).refusal(), EXPIRED_IDLE);
    let raw = w.plain();
    block_on(w.engine.login(&raw.wire, subject("raw"), Role::USER, w.now)).unwrap();
    w.step(Lifetime::from_mins(10));
    assert!(w.engine.authorize_wire(&raw.wire, w.now).is_err());
    w.now = start;
    assert!(w.engine.authorize_wire(&raw.wire, w.now).is_err());
    w.now = Timestamp::ZERO;
    let early = w.full();
    let cookie = w
        .sign_in(&early, "dawn", Role::USER)
        .cookie
        .expose()
        .to_owned();
    assert!(
        w.get(&early, &cookie).is_in(),
        "at the beginning of time nothing wraps"
    );
}

#[test]
fn a_stream_whose_last_wire_is_taken_away_is_judged_again() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let watch = w.engine.watch(verified(&w, &line).session()).unwrap();
    w.engine
        .mark_shared(&line.wire, wirebound::engine::Sign::ForwardingHeader);
    assert_eq!(watch.now(), Some(Cut::RoleChanged));
}

#[test]
fn a_rotation_of_the_node_secret_keeps_sessions_for_one_epoch_and_what_an_operator_set_for_good() {
    let mut w = world();
    block_on(w.engine.set_blocked(&subject("mallory"), true, w.now)).unwrap();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    drop(w.settle("alice", Role::USER));
    let (cookie, family) = (w.browser.cookie.clone(), w.browser.family.unwrap());
    w.restart_in(2, Some(1));
    let line = w.resumed(family);
    assert!(w.get(&line, &cookie).is_in());
    let raised = w.elevate(&line, &verified(&w, &line), Role::ADMIN).unwrap();
    assert_eq!(
        w.get(&line, raised.cookie.expose()).role(),
        Some(Role::ADMIN)
    );
    assert_eq!(block_on(w.engine.renew_identities(w.now)).unwrap(), 2);
    w.restart_in(3, Some(2));
    assert!(
        w.engine.read(cookie.as_bytes()).is_err(),
        "its epoch is gone"
    );
    let line = w.full();
    let denied = w.try_sign_in(&line, "mallory", Role::USER, None);
    assert!(matches!(denied, Err(NotSignedIn::Blocked)));
    assert_eq!(
        w.sign_in(&line, "alice", Role::ADMIN).verified.role(),
        Role::ADMIN
    );
}

#[test]
fn an_offer_of_an_earlier_elevation_does_not_acknowledge_a_later_one() {
    let mut w = world();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::USER);
    let was = verified(&w, &line);
    let editor = w.elevate(&line, &was, Role::ranked(128)).unwrap();
    let admin = w.elevate(&line, &was, Role::ADMIN).unwrap();
    assert_eq!(
        w.get(&line, editor.cookie.expose()).role(),
        Some(Role::USER),
        "genuine, at the old role"
    );
    assert_eq!(
        w.get(&line, admin.cookie.expose()).role(),
        Some(Role::ADMIN)
    );
}

#[test]
fn a_clock_that_goes_back_signs_nobody_out_and_brings_nothing_ended_back() {
    let mut w = world();
    let owner = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let family = w.browser.family.unwrap();
    let gone = w.full();
    let ended = w.sign_in(&gone, "bob", Role::USER);
    let bob = ended.cookie.expose().to_owned();
    block_on(w.engine.logout(&ended.verified, Scope::Session, w.now)).unwrap();
    w.now = w.now.before(Lifetime::from_days(30));
    assert!(w.get(&owner, &cookie).is_in(), "on the attached wire");
    assert!(w.get(&w.resumed(family), &cookie).is_in(), "and by lineage");
    assert!(!w.get(&gone, &bob).is_in(), "what ended stays ended");
    // Put right again: nothing was lengthened meanwhile.
    let absolute = strict().absolute;
    w.now = w.now.after(Lifetime::from_days(30)).after(absolute);
    assert!(
        !w.get(&w.resumed(family), &cookie).is_in(),
        "the absolute limit stands"
    );
}

#[test]
fn a_walk_over_everybodys_sessions_meets_each_live_one_and_passes_over_what_does_not_read() {
    use std::collections::BTreeSet;
    use wirebound::SessionId;
    use wirebound::store::{Change, Durability, Expect, Key, Space};
    let mut w = world();
    let lines: Vec<Line> = (0..7)
        .map(|number| {
            let line = w.settle(&format!("user-{number}"), Role::USER);
            w.step(Lifetime::from_mins(1));
            line
        })
        .collect();
    let walk = |w: &World, most| {
        let (mut met, mut unreadable, mut after) = (Vec::<SessionId>::new(), 0, None);
        loop {
            let page = block_on(w.engine.sessions(after, most, w.now)).unwrap();
            assert!(page.sessions.len() <= most);
            met.extend(page.sessions.iter().map(|session| session.id));
            unreadable += page.unreadable;
            after = page.next;
            if after.is_none() {
                return (met, unreadable);
            }
        }
    };
    let all: BTreeSet<SessionId> = walk(&w, 100).0.into_iter().collect();
    assert_eq!(all.len(), 7);
    for most in 1..9 {
        let (met, unreadable) = walk(&w, most);
        assert_eq!((met.len(), unreadable), (7, 0), "{most} at a time");
        assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), all);
    }
    // Somebody wrote a row that no key of ours vouches for: first in the order, and last.
    for (name, due) in [([0; 10], Timestamp::ZERO), ([255; 10], Timestamp::NEVER)] {
        let put = Change::Put {
            key: Key::new(Space::Session, &name),
            expect: Expect::Absent,
            value: vec![1; 90],
            due,
        };
        block_on(w.store.commit(vec![put], Durability::Durable)).unwrap();
    }
    for most in 1..9 {
        let (met, unreadable) = walk(&w, most);
        assert_eq!((met.len(), unreadable), (7, 2), "{most} at a time");
    }
    // What is over is not listed, swept or not.
    drop(lines);
    w.step(strict().idle);
    assert_eq!(walk(&w, 3), (Vec::new(), 2));
}
