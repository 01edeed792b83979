//! Models of attachments: a wire, its bond and the live table say the same of a session, whoever comes between.

use core::pin::Pin;
use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use wirebound::modelled::{Core, World};
use wirebound::table::Live;
use wirebound::{Connected, Cut, Ending, Lifetime, Transport, Wire};

use super::{at, check, live};

#[derive(Debug)]
struct Unplugged;

impl Transport for Unplugged {
    fn close(&self) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(core::future::ready(true))
    }

    fn trip(&self) -> Option<Lifetime> {
        None
    }
}

fn wire(world: &World) -> (Wire, Core) {
    world.wire(Connected {
        transport: Arc::new(Unplugged),
        address: None,
        lineage: None,
        opened: at(0),
    })
}

fn accepts(world: &World, core: &Core, session: &Live) -> bool {
    world.recognises(core, session, at(100_000))
}

/// Session 1 at work on a wire.
fn working() -> (Arc<World>, Wire, Core) {
    let world = Arc::new(World::default());
    let (wire, core) = wire(&world);
    world.join(&core, live(1));
    (world, wire, core)
}

/// Wire, bond and table say the same.
fn agree(world: &World, core: &Core, session: &Live, attached: bool) {
    assert_eq!(world.hangs(core, session.id), attached);
    assert_eq!(world.wires(session.id), usize::from(attached));
    assert_eq!(world.is_live(session), attached);
}

/// A request on the wire that must not be accepted once `over` was set.
fn ask_beside(world: &Arc<World>, core: &Core, over: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (world, core, over) = (Arc::clone(world), core.clone(), Arc::clone(over));
    thread::spawn(move || {
        let over = over.load(Ordering::Acquire);
        assert!(!(accepts(&world, &core, &live(1)) && over));
    })
}

/// Another wire comes to session 1 and goes again.
fn visit(world: &Arc<World>) -> thread::JoinHandle<()> {
    let (wire, core) = wire(world);
    let world = Arc::clone(world);
    thread::spawn(move || {
        world.join(&core, live(1));
        drop(wire);
    })
}

/// A wire joins a session while it ends, both under its subject's lock, as in the engine; requests take no lock.
#[test]
fn nobody_is_accepted_after_the_end_returned() {
    check(|| {
        let (world, _first, first) = working();
        let (_second, second) = wire(&world);
        let kept = Arc::new(Mutex::new(true));
        let ended = Arc::new(AtomicBool::new(false));
        let joiner = {
            let (world, second) = (Arc::clone(&world), second.clone());
            let (kept, ended) = (Arc::clone(&kept), Arc::clone(&ended));
            thread::spawn(move || {
                let lock = kept.lock().unwrap();
                if *lock {
                    world.join(&second, live(1));
                }
                drop(lock);
                let over = ended.load(Ordering::Acquire);
                assert!(!(accepts(&world, &second, &live(1)) && over));
            })
        };
        let mut lock = kept.lock().unwrap();
        *lock = false;
        world.end(live(1).id, Ending::Revoked);
        ended.store(true, Ordering::Release);
        drop(lock);
        assert!(!accepts(&world, &first, &live(1)) && !accepts(&world, &second, &live(1)));
        joiner.join().unwrap();
        assert!(!accepts(&world, &second, &live(1)));
        agree(&world, &second, &live(1), false);
    });
}

/// The end that takes no lock (the store turned out not to have the session): whoever is attached after it is known to
/// the bond, so that the next end reaches it, and nothing is left on a wire otherwise.
#[test]
fn an_end_without_the_lock_leaves_nothing_half_attached() {
    check(|| {
        let (world, _first, first) = working();
        let (_second, second) = wire(&world);
        let joiner = {
            let (world, second) = (Arc::clone(&world), second.clone());
            thread::spawn(move || world.join(&second, live(1)))
        };
        let ended = Arc::new(AtomicBool::new(false));
        let asker = ask_beside(&world, &first, &ended);
        world.end(live(1).id, Ending::Removed);
        ended.store(true, Ordering::Release);
        asker.join().unwrap();
        joiner.join().unwrap();
        assert!(!world.hangs(&first, live(1).id));
        let attached = accepts(&world, &second, &live(1));
        agree(&world, &second, &live(1), attached);
        world.end(live(1).id, Ending::Removed);
        agree(&world, &second, &live(1), false);
    });
}

/// The last wire leaves while another joins.
#[test]
fn a_session_stays_with_whoever_joins_as_the_last_leaves() {
    check(|| {
        let (world, first, _) = working();
        let (second, core) = wire(&world);
        let joiner = {
            let (world, core) = (Arc::clone(&world), core.clone());
            thread::spawn(move || {
                world.join(&core, live(1));
                assert!(world.recognises(&core, &live(1), at(105_000)));
            })
        };
        let visitor = visit(&world);
        drop(first);
        visitor.join().unwrap();
        joiner.join().unwrap();
        assert!(accepts(&world, &core, &live(1)));
        agree(&world, &core, &live(1), true);
        drop(second);
        agree(&world, &core, &live(1), false);
        assert_eq!(world.unwritten(), [(live(1).id, at(105_000))]);
    });
}

/// The last wire's leave comes late: the session was ended, and the next has its place and its slot.
#[test]
fn a_late_leave_takes_no_other_session_with_it() {
    check(|| {
        let (world, first, core) = working();
        let (_second, second) = wire(&world);
        let mut next = live(2);
        next.place = live(1).place;
        let late = thread::spawn(move || drop(first));
        let ended = Arc::new(AtomicBool::new(false));
        let asker = ask_beside(&world, &core, &ended);
        world.end(live(1).id, Ending::Logout);
        ended.store(true, Ordering::Release);
        world.join(&second, next);
        late.join().unwrap();
        asker.join().unwrap();
        assert!(accepts(&world, &second, &next));
        agree(&world, &second, &next, true);
        assert!(!world.is_live(&live(1)));
        let unwritten = world.unwritten();
        assert!(unwritten.iter().all(|(id, _)| *id != live(1).id));
    });
}

/// A wire is let go while it is attached to the same session again: both or neither.
#[test]
fn a_late_leave_takes_no_new_attachment_by_half() {
    check(|| {
        let (world, wire, core) = working();
        let late = {
            let (world, core) = (Arc::clone(&world), core.clone());
            thread::spawn(move || world.let_go(&core))
        };
        let visitor = visit(&world);
        world.join(&core, live(1));
        visitor.join().unwrap();
        late.join().unwrap();
        let attached = world.hangs(&core, live(1).id);
        agree(&world, &core, &live(1), attached);
        assert!(!accepts(&world, &core, &live(1)));
        drop(wire);
        agree(&world, &core, &live(1), false);
    });
}

/// A sibling is moved to the next session while it is let go and its connection is dropped: nothing hangs on it for good, and a session
/// that lost its only wire so is written down like any other.
#[test]
fn nothing_is_held_for_a_wire_that_is_gone() {
    check(|| {
        let (world, wire, core) = working();
        let dropped = thread::spawn(move || drop(wire));
        let marked = {
            let (world, core) = (Arc::clone(&world), core.clone());
            thread::spawn(move || world.let_go(&core))
        };
        world.join(&core, live(2));
        marked.join().unwrap();
        dropped.join().unwrap();
        for n in 1..=2 {
            agree(&world, &core, &live(n), false);
        }
        let mut unwritten = world.unwritten();
        unwritten.sort();
        assert_eq!(unwritten, [1, 2].map(|n| (live(n).id, at(100_000))));
    });
}

/// A watch that is made while the session ends hears of it. One that waited in vain is a deadlock to loom: the run is
/// aborted (what unwinds asks loom again) after this model's name.
#[test]
fn a_watch_made_as_the_session_ends_hears_of_it() {
    check(|| {
        let (world, _wire, _) = working();
        let watcher = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                if let Some(watch) = world.watch(live(1).id) {
                    let cut = loom::future::block_on(watch.cut());
                    assert_eq!(cut, Cut::Ended(Ending::Theft));
                }
            })
        };
        world.end(live(1).id, Ending::Theft);
        watcher.join().unwrap();
        assert!(world.watch(live(1).id).is_none());
    });
}

/// The same where the last wire goes: whoever would stream on must ask again.
#[test]
fn a_watch_made_as_the_last_wire_leaves_hears_of_it() {
    check(|| {
        let (world, wire, _) = working();
        let watcher = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                if let Some(watch) = world.watch(live(1).id) {
                    let cut = loom::future::block_on(watch.cut());
                    assert_eq!(cut, Cut::RoleChanged);
                }
            })
        };
        drop(wire);
        watcher.join().unwrap();
    });
}

/// The mark of a shared family beside the hot path and beside a proof that began before it.
#[test]
fn nothing_is_accepted_after_the_mark_returned() {
    check(|| {
        let (world, _wire, core) = working();
        let marked = Arc::new(AtomicBool::new(false));
        let prover = {
            let (world, core) = (Arc::clone(&world), core.clone());
            thread::spawn(move || world.join(&core, live(1)))
        };
        let asker = ask_beside(&world, &core, &marked);
        world.let_go(&core);
        marked.store(true, Ordering::Release);
        asker.join().unwrap();
        prover.join().unwrap();
        assert!(!accepts(&world, &core, &live(1)));
    });
}

/// What was attached after the mark is accepted by nobody, also not by a request that began before it.
#[test]
fn what_is_attached_after_the_mark_is_never_met_without_it() {
    check(|| {
        let world = Arc::new(World::default());
        let (_wire, core) = wire(&world);
        let asker = {
            let (world, core) = (Arc::clone(&world), core.clone());
            thread::spawn(move || assert!(!accepts(&world, &core, &live(1))))
        };
        world.let_go(&core);
        world.join(&core, live(1));
        asker.join().unwrap();
    });
}

/// The last use is written down while the session comes back, is used and goes again.
#[test]
fn the_newest_use_is_written_down_or_still_to_be() {
    check(|| {
        let (world, first, _) = working();
        drop(first);
        let (second, core) = wire(&world);
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let found = world.unwritten();
                for (session, last_active) in &found {
                    world.written(*session, *last_active);
                }
                found
            })
        };
        let mut again = live(1);
        again.last_active = at(105_000);
        world.join(&core, again);
        drop(second);
        let mut all = writer.join().unwrap();
        all.extend(world.unwritten());
        assert!(all.contains(&(live(1).id, at(105_000))), "{all:?}");
    });
}
