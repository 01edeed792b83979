//! What is being sent when something happens to its session: nothing is missed between the judgement and the watch, time is
//! heard as well, and half-open wires are asked side by side.

use crate::strict;
use core::future::Future;
use core::pin::Pin;
use core::task::Poll;
use std::sync::{Arc, Mutex};

use futures_executor::block_on;
use wirebound::engine::Scope;
use wirebound::{Connected, Cut, Ending, Lifetime, Lineage, Refusal, Role, Transport, Verified};

use crate::world::{Line, World, subject};
use crate::{with, world};

fn verified(w: &World, line: &Line) -> Verified {
    w.get(line, &w.browser.cookie).verified().unwrap().clone()
}

fn admin() -> (World, Line) {
    let mut w = world();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::ADMIN);
    (w, line)
}

#[test]
fn a_role_that_falls_between_the_judgement_and_the_watch_is_not_missed() {
    let (w, line) = admin();
    let judged = verified(&w, &line);
    block_on(w.engine.set_ceiling(&subject("alice"), Role::USER, w.now)).unwrap();
    let watch = w.engine.watch_judged(&line.wire, &judged, w.now).unwrap();
    assert_eq!(watch.now(), Some(Cut::RoleChanged));

    let judged = verified(&w, &line);
    assert_eq!(judged.role(), Role::USER);
    let watch = w.engine.watch_judged(&line.wire, &judged, w.now).unwrap();
    assert_eq!(watch.now(), None, "judged with what is in force");
}

#[test]
fn a_wire_that_is_let_go_between_the_judgement_and_the_watch_is_not_missed() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let other = w.resumed(w.browser.family.unwrap());
    let judged = verified(&w, &other);
    let early = w.engine.watch_judged(&other.wire, &judged, w.now).unwrap();
    // Only this wire, so that the session itself still has one.
    let sign = wirebound::engine::Sign::TwoClients;
    let alone = w.full();
    w.engine.mark_shared(&alone.wire, sign);
    assert_eq!(early.now(), None, "another family is not hers");
    w.engine.mark_shared(&other.wire, sign);
    assert_eq!(early.now(), Some(Cut::RoleChanged));
    let late = w.engine.watch_judged(&other.wire, &judged, w.now);
    assert!(late.is_none_or(|late| late.now() == Some(Cut::RoleChanged)));
    drop(line);
}

#[test]
fn an_elevation_that_lapses_is_heard_at_its_time_and_not_at_the_next_request() {
    let mut w = world();
    block_on(w.engine.set_ceiling(&subject("alice"), Role::ADMIN, w.now)).unwrap();
    let line = w.settle("alice", Role::USER);
    let mut whole = w.engine.watch(verified(&w, &line).session()).unwrap();
    let before = whole.due(w.now).unwrap();
    let raised = w.elevate(&line, &verified(&w, &line), Role::ADMIN).unwrap();
    let stirred = whole.listen();
    w.browser.cookie = raised.cookie.expose().to_owned();
    let judged = verified(&w, &line);
    assert_eq!(judged.role(), Role::ADMIN);
    block_on(stirred.stirred());
    whole.rise(w.now);
    let watch = w.engine.watch_judged(&line.wire, &judged, w.now).unwrap();
    for watch in [&watch, &whole] {
        let due = watch.due(w.now).unwrap();
        assert_eq!(due, raised.until);
        assert!(due < before, "sooner than the idle time");
        assert_eq!(watch.at(due.before(Lifetime::from_millis(1))), None);
        assert_eq!(watch.at(due), Some(Cut::RoleChanged));
    }
}

#[test]
fn a_session_is_ended_at_its_time_though_nobody_asks() {
    let idle = strict().idle;
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let judged = verified(&w, &line);
    let session = judged.session();
    let watch = w.engine.watch_judged(&line.wire, &judged, w.now).unwrap();
    let due = watch.due(w.now).unwrap();
    assert_eq!(due, w.now.after(idle));
    let early = due.before(Lifetime::from_millis(1));
    assert!(!block_on(w.engine.look_after(session, early)).unwrap());
    assert_eq!(watch.now(), None);
    // What the client sends within a request moves it on.
    w.step(Lifetime::from_hours(1));
    assert!(w.engine.touch(&line.wire, session, w.now));
    let due = watch.due(w.now).unwrap();
    assert_eq!(due, w.now.after(idle));
    w.now = due;
    assert!(!w.engine.touch(&line.wire, session, w.now), "too late");
    assert!(block_on(w.engine.look_after(session, w.now)).unwrap());
    assert_eq!(watch.now(), Some(Cut::Ended(Ending::ExpiredIdle)));
    assert_eq!(block_on(w.engine.workload()).unwrap(), 0, "durably");
    assert!(block_on(w.engine.look_after(session, w.now)).unwrap());
}

#[test]
fn no_stream_outlives_the_absolute_time() {
    let mut w = world();
    let line = w.settle("alice", Role::USER);
    let session = verified(&w, &line).session();
    let watch = w.engine.watch(session).unwrap();
    let end = w.now.after(strict().absolute);
    while w.now.after(Lifetime::from_hours(7)) < end {
        w.step(Lifetime::from_hours(7));
        assert!(w.engine.touch(&line.wire, session, w.now));
    }
    assert_eq!(watch.due(w.now), Some(end));
    assert!(block_on(w.engine.look_after(session, end)).unwrap());
    assert_eq!(watch.now(), Some(Cut::Ended(Ending::ExpiredAbsolute)));
}

/// How many wires were asked, and how many at once.
#[derive(Debug, Default)]
struct Asked {
    open: usize,
    most: usize,
    all: usize,
}

/// A peer that takes its time to be found dead.
#[derive(Debug)]
struct HalfOpen(Arc<Mutex<Asked>>);

impl Transport for HalfOpen {
    fn close(&self) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let mut polled = false;
        Box::pin(core::future::poll_fn(move |cx| {
            let mut asked = self.0.lock().unwrap();
            if core::mem::replace(&mut polled, true) {
                asked.open -= 1;
                return Poll::Ready(false);
            }
            asked.open += 1;
            asked.all += 1;
            asked.most = asked.most.max(asked.open);
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn trip(&self) -> Option<Lifetime> {
        None
    }
}

#[test]
fn many_half_open_wires_are_asked_side_by_side() {
    let mut w = with(strict());
    let first = w.settle("alice", Role::USER);
    let cookie = w.browser.cookie.clone();
    let asked = Arc::new(Mutex::new(Asked::default()));
    let mut lines = Vec::new();
    for _ in 0..20 {
        let wire = w.engine.wire(Connected {
            transport: Arc::new(HalfOpen(Arc::clone(&asked))),
            address: None,
            lineage: Some(Lineage {
                root: w.browser.family.unwrap(),
                also: None,
                resumed: true,
                ticketed: true,
                birth: w.now,
            }),
            opened: w.now,
        });
        let line = Line {
            wire,
            plug: Arc::default(),
        };
        assert!(w.get(&line, &cookie).is_in());
        lines.push(line);
    }
    drop(first);
    let answer = w.insist(&cookie, None);
    assert_eq!(
        answer.refusal(),
        Some(Refusal::NotProven),
        "nobody alive is held against the stranger"
    );
    let asked = asked.lock().unwrap();
    assert_eq!((asked.all, asked.most), (20, 20));
}

#[test]
fn a_sign_out_of_others_is_heard_as_revoked() {
    let mut w = world();
    let first = w.settle("alice", Role::USER);
    let there = verified(&w, &first);
    let watch = w.engine.watch(there.session()).unwrap();
    let here = w.settle("alice", Role::USER);
    let own = verified(&w, &here);
    block_on(w.engine.logout(&own, Scope::Others, w.now)).unwrap();
    assert_eq!(watch.now(), Some(Cut::Ended(Ending::Revoked)));
}
