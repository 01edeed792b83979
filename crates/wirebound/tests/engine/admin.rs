//! One admin session in force per subject, whoever races, whatever the clock does.

use crate::strict;
use std::sync::{Arc, Barrier};

use futures_executor::block_on;
use wirebound::engine::NotSignedIn;
use wirebound::{Ending, Event, Lifetime, MaxSessions, OnLimit, Policy, Refusal, Role, SessionId};

use crate::world::{Answer, Line, World, sign_in, subject};
use crate::{with, world};

fn admins_may(w: &World, name: &str) {
    block_on(w.engine.set_ceiling(&subject(name), Role::ADMIN, w.now)).unwrap();
}

fn in_force(w: &World, name: &str) -> Vec<SessionId> {
    let sessions = block_on(w.engine.sessions_of(&subject(name), w.now)).unwrap();
    let admins = sessions
        .iter()
        .filter(|session| session.role == Role::ADMIN);
    admins.map(|session| session.id).collect()
}

#[test]
fn of_sixty_four_admin_sign_ins_at_once_exactly_one_survives() {
    const RACERS: usize = 64;
    for _round in 0..20 {
        let mut w = with(Policy {
            freeze_after: 0,
            ..strict()
        });
        admins_may(&w, "root");
        let lines: Vec<Line> = (0..RACERS).map(|_| w.full()).collect();
        let start = Barrier::new(RACERS);
        let (engine, now) = (Arc::clone(&w.engine), w.now);
        let cookies: Vec<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = lines
                .iter()
                .map(|line| {
                    let (engine, start) = (&engine, &start);
                    scope.spawn(move || {
                        start.wait();
                        let request = sign_in("root", Role::ADMIN);
                        let done = block_on(engine.sign_in(&line.wire, request, None, now));
                        done.unwrap().cookie.expose().to_owned()
                    })
                })
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        assert_eq!(in_force(&w, "root").len(), 1);
        let mut survivors = 0;
        for (line, cookie) in lines.iter().zip(&cookies) {
            let answer = w.get(line, cookie);
            if answer.is_in() {
                assert_eq!(answer.role(), Some(Role::ADMIN));
                assert!(!line.plug.is_closed());
                survivors += 1;
            } else {
                assert_eq!(
                    answer.refusal(),
                    Some(Refusal::PhantomSession(Ending::Evicted))
                );
                assert!(line.plug.is_closed(), "really closed");
            }
        }
        assert_eq!(survivors, 1);
        assert_eq!(block_on(w.engine.workload()).unwrap(), 1);
    }
}

/// An admin sign-in from elsewhere, used once.
fn takes_over(w: &mut World) -> (Line, String, Role) {
    let line = w.full();
    let signed_in = w.sign_in(&line, "root", Role::ADMIN);
    let cookie = signed_in.cookie.expose().to_owned();
    w.step(Lifetime::from_secs(2));
    assert!(w.get(&line, &cookie).is_in());
    (line, cookie, signed_in.verified.role())
}

#[test]
fn three_evictions_within_ten_minutes_freeze_the_admin_role_until_it_is_unfrozen() {
    let mut w = world();
    admins_may(&w, "root");
    let mut held = Vec::new();
    for n in 0..3 {
        let (line, cookie, role) = takes_over(&mut w);
        assert_eq!(role, Role::ADMIN, "{n}");
        held.push((line, cookie));
    }
    let (line, cookie, role) = takes_over(&mut w);
    assert_eq!(
        role,
        Role::USER,
        "the third eviction freezes the newcomer too"
    );
    assert!(in_force(&w, "root").is_empty());
    assert_eq!(w.log.count("admin_contended"), 1);
    for (line, cookie) in &held {
        assert!(!w.get(line, cookie).is_in());
    }
    assert_eq!(takes_over(&mut w).2, Role::USER, "still frozen");
    w.restart();
    assert_eq!(takes_over(&mut w).2, Role::USER, "after a restart as well");
    block_on(w.engine.unfreeze(&subject("root"), w.now)).unwrap();
    assert_eq!(takes_over(&mut w).2, Role::ADMIN);
    drop((line, cookie));
}

#[test]
fn evictions_further_apart_than_ten_minutes_freeze_nothing() {
    let mut w = world();
    admins_may(&w, "root");
    let mut held = Vec::new();
    for _ in 0..8 {
        let (line, cookie, role) = takes_over(&mut w);
        assert_eq!(role, Role::ADMIN);
        held.push((line, cookie));
        w.step(Lifetime::from_mins(6));
    }
}

#[test]
fn ones_own_browser_and_unused_sessions_do_not_count_towards_the_freeze() {
    let mut w = world();
    admins_may(&w, "root");
    let line = w.full();
    for _ in 0..6 {
        // The same wire again and again, each session used.
        let cookie = w
            .sign_in(&line, "root", Role::ADMIN)
            .cookie
            .expose()
            .to_owned();
        w.step(Lifetime::from_secs(2));
        assert_eq!(w.get(&line, &cookie).role(), Some(Role::ADMIN));
    }
    for _ in 0..6 {
        let other = w.full();
        assert_eq!(
            w.sign_in(&other, "root", Role::ADMIN).verified.role(),
            Role::ADMIN
        );
    }
    assert_eq!(w.log.count("admin_contended"), 0);
}

#[test]
fn an_eviction_counts_towards_the_freeze_however_soon_it_comes_where_both_came_with_tls_tickets() {
    let mut w = world();
    admins_may(&w, "root");
    let families = [w.root(), w.root()];
    let roles: Vec<Role> = (0..4)
        .map(|turn| {
            let line = w.resumed(families[turn % 2]);
            w.sign_in(&line, "root", Role::ADMIN).verified.role()
        })
        .collect();
    assert_eq!(roles, [Role::ADMIN, Role::ADMIN, Role::ADMIN, Role::USER]);
    assert_eq!(w.log.count("admin_contended"), 1);
}

#[test]
fn an_elevation_to_admin_disconnects_the_other_admin() {
    let mut w = world();
    admins_may(&w, "root");
    let (first, first_cookie, _) = takes_over(&mut w);
    let line = w.full();
    let user = w.sign_in(&line, "root", Role::USER);
    let raised = w.elevate(&line, &user.verified, Role::ADMIN).unwrap();
    assert!(first.plug.is_closed());
    assert!(!w.get(&first, &first_cookie).is_in());
    assert_eq!(
        w.get(&line, raised.cookie.expose()).role(),
        Some(Role::ADMIN)
    );
    assert_eq!(in_force(&w, "root").len(), 1);
}

#[test]
fn ordinary_sessions_of_the_subject_stay_when_an_admin_comes() {
    let mut w = world();
    admins_may(&w, "root");
    let phone = w.full();
    let user = w
        .sign_in(&phone, "root", Role::USER)
        .cookie
        .expose()
        .to_owned();
    let (desk, admin, _) = takes_over(&mut w);
    assert_eq!(w.get(&phone, &user).role(), Some(Role::USER));
    assert_eq!(w.get(&desk, &admin).role(), Some(Role::ADMIN));
}

#[test]
fn a_user_sign_in_at_its_limit_does_not_evict_the_admin() {
    let limit = MaxSessions {
        role: Role::USER,
        count: 1,
        on_limit: OnLimit::EvictOldest,
    };
    let mut w = with(Policy {
        max_sessions: vec![limit],
        ..strict()
    });
    admins_may(&w, "root");
    let (desk, admin, _) = takes_over(&mut w);
    let (one, two) = (w.full(), w.full());
    let first = w
        .sign_in(&one, "root", Role::USER)
        .cookie
        .expose()
        .to_owned();
    let second = w
        .sign_in(&two, "root", Role::USER)
        .cookie
        .expose()
        .to_owned();
    assert_eq!(w.get(&desk, &admin).role(), Some(Role::ADMIN));
    assert_eq!(
        w.get(&one, &first).refusal(),
        Some(Refusal::PhantomSession(Ending::Evicted))
    );
    assert!(w.get(&two, &second).is_in());
}

#[test]
fn deny_refuses_the_newcomer_but_not_because_of_sessions_that_are_long_over() {
    let limit = MaxSessions {
        role: Role::USER,
        count: 1,
        on_limit: OnLimit::Deny,
    };
    let mut w = with(Policy {
        max_sessions: vec![limit],
        ..strict()
    });
    let line = w.full();
    let first = w
        .sign_in(&line, "alice", Role::USER)
        .cookie
        .expose()
        .to_owned();
    let other = w.full();
    let denied = w.try_sign_in(&other, "alice", Role::USER, None);
    assert!(matches!(denied, Err(NotSignedIn::Limit)), "{denied:?}");
    assert!(w.get(&line, &first).is_in(), "who was there stays");
    w.step(Lifetime::from_hours(9));
    w.sign_in(&other, "alice", Role::USER);
    assert_eq!(block_on(w.engine.workload()).unwrap(), 1);
}

#[test]
fn a_lapsed_admin_does_not_come_back_with_the_clock_beside_the_new_one() {
    let mut w = world();
    admins_may(&w, "root");
    let (old, old_cookie, _) = takes_over(&mut w);
    w.step(Lifetime::from_hours(2));
    assert_eq!(w.get(&old, &old_cookie).role(), Some(Role::USER), "lapsed");
    let (new, new_cookie, _) = takes_over(&mut w);
    w.now = w.now.before(Lifetime::from_mins(30));
    assert_eq!(w.get(&old, &old_cookie).role(), Some(Role::USER));
    assert_eq!(w.get(&new, &new_cookie).role(), Some(Role::ADMIN));
    assert_eq!(in_force(&w, "root").len(), 1);
}

#[test]
fn the_list_of_an_identity_never_loses_a_session() {
    let mut w = with(Policy {
        freeze_after: 0,
        ..strict()
    });
    admins_may(&w, "root");
    let lines: Vec<Line> = (0..150).map(|_| w.full()).collect();
    for line in &lines {
        w.sign_in(line, "root", Role::USER);
    }
    // Each lapses into an ordinary session before the next: none evicts another.
    let line = w.full();
    for _ in 0..160 {
        w.sign_in(&line, "root", Role::ADMIN);
        w.step(Lifetime::from_millis(2 * 3_600_000));
        block_on(w.engine.tidy(w.now)).unwrap();
    }
    let live = block_on(w.engine.workload()).unwrap();
    let listed = block_on(w.engine.identity(&subject("root")))
        .unwrap()
        .unwrap();
    assert_eq!(listed.sessions.len() as u64, live, "each session is listed");
    assert!(live <= 240, "{live}");
    block_on(w.engine.remove(&subject("root"), w.now)).unwrap();
    assert_eq!(block_on(w.engine.workload()).unwrap(), 0);
}

#[test]
fn a_freeze_by_elevation_is_told_and_raises_nobody() {
    let mut w = world();
    admins_may(&w, "root");
    let mut held = Vec::new();
    for _ in 0..3 {
        let (line, _, _) = takes_over(&mut w);
        held.push(line);
    }
    let line = w.full();
    let user = w.sign_in(&line, "root", Role::USER);
    let raised = w.elevate(&line, &user.verified, Role::ADMIN).unwrap();
    assert_eq!(raised.role, Role::USER);
    assert_eq!(
        w.get(&line, raised.cookie.expose()).role(),
        Some(Role::USER)
    );
    let told = |event: &Event| matches!(event, Event::AdminContended { .. });
    assert_eq!(w.log.all().iter().filter(|event| told(event)).count(), 1);
    assert!(!matches!(
        w.get(&line, raised.cookie.expose()),
        Answer::Unsure(_)
    ));
}
