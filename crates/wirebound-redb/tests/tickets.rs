//! Tickets over stores: however many use one at once it has one successor, and a killed process forgets nothing that it
//! acknowledged.
//!
//! A program of its own (`harness = false`): it starts itself again as the process that is to be killed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test stops at whatever is not as it should be"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;

use futures_executor::block_on;
use wirebound::engine::{Leaving, Outcome};
use wirebound::sequence::{Again, Rules};
use wirebound::store::{MemoryStore, Store};
use wirebound::{Authority, Lifetime, Policy, Preset, Refusal, Role, Timestamp};
use wirebound_redb::{Options, RedbStore};
use wirebound_testkit::world::{HOST, Line, World, client, plain};

const CALLERS: usize = 64;
const VICTIM: &str = "victim";
const MINUTE: Lifetime = Lifetime::from_secs(61);

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(VICTIM) {
        victim(Path::new(&arguments.next().unwrap()));
    }
    one_ticket_used_64_times_at_once_has_one_successor("memory", Arc::new(MemoryStore::new()), 200);
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path(), Options::default()).unwrap();
    one_ticket_used_64_times_at_once_has_one_successor("redb", Arc::new(store), 100);
    a_killed_process_forgets_no_acknowledgement_and_an_old_ticket_is_refused_after_it();
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

/// One request: the ticket that its answer sets, if it was let in and sets one.
fn request(world: &World, line: &Line, cookie: &str, now: Timestamp) -> (bool, Option<String>) {
    let presented = world.engine.read(cookie.as_bytes()).unwrap();
    let authority = Authority::of(HOST);
    let offer = plain(&presented, &authority);
    let outcome = block_on(world.engine.prove(&line.wire, &offer, now)).unwrap();
    let Outcome::Accepted(accepted) = outcome else {
        return (false, None);
    };
    let leaving = Leaving {
        presented: &presented,
        client: &client("browser"),
        get: true,
        came: now,
    };
    let ticket = world
        .engine
        .ticket(&line.wire, &accepted.verified, &leaving, now);
    let ticket = block_on(ticket).unwrap();
    (true, ticket.map(|(cookie, _)| cookie.expose().to_owned()))
}

/// All at once, each over a wire of its own.
fn at_once(world: &World, lines: &[Line], cookie: &str) -> (usize, BTreeSet<String>) {
    let start = Barrier::new(lines.len());
    let answers: Vec<(bool, Option<String>)> = thread::scope(|scope| {
        let callers: Vec<_> = lines
            .iter()
            .map(|line| {
                scope.spawn(|| {
                    start.wait();
                    request(world, line, cookie, world.now)
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    let accepted = answers.iter().filter(|(accepted, _)| *accepted).count();
    let set = answers.into_iter().filter_map(|(_, ticket)| ticket);
    (accepted, set.collect())
}

fn one_ticket_used_64_times_at_once_has_one_successor(
    name: &str,
    store: Arc<dyn Store>,
    rounds: usize,
) {
    let mut world = World::new(portable(), store);
    drop(world.settle("alice", Role::USER));
    let mut cookie = world.browser.cookie.clone();
    let lines: Vec<Line> = (0..CALLERS).map(|_| world.full()).collect();
    for round in 0..rounds {
        world.step(MINUTE);
        let (accepted, set) = at_once(&world, &lines, &cookie);
        assert_eq!(
            (accepted, set.len()),
            (CALLERS, 1),
            "{name}, {round}: {set:?}"
        );
        let next = set.into_iter().next().unwrap();
        // All of them show it, and so acknowledge it, at once; nothing moves on twice by that.
        let (accepted, set) = at_once(&world, &lines, &next);
        assert_eq!(
            (accepted, set.len()),
            (CALLERS, 0),
            "{name}, {round}: {set:?}"
        );
        cookie = next;
    }
    assert_eq!(world.log.count("theft"), 0, "{name}");
    assert_eq!(
        world.log.count("record_behind"),
        0,
        "{name}: one step at a time"
    );
    println!("{name}: {rounds} rounds of {CALLERS}, one successor each");
}

/// Moves its session on for as long as it lives, and says each ticket once it was acknowledged.
fn victim(folder: &Path) -> ! {
    let store = RedbStore::open(folder, Options::default()).unwrap();
    let mut world = World::new(portable(), Arc::new(store));
    drop(world.settle("alice", Role::USER));
    let mut cookie = world.browser.cookie.clone();
    let line = world.full();
    loop {
        world.step(MINUTE);
        let (accepted, next) = request(&world, &line, &cookie, world.now);
        assert!(accepted, "its own ticket");
        cookie = next.unwrap();
        let (accepted, _) = request(&world, &line, &cookie, world.now);
        assert!(accepted, "its successor");
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {cookie}", world.now.as_millis()).unwrap();
        out.flush().unwrap();
    }
}

fn a_killed_process_forgets_no_acknowledgement_and_an_old_ticket_is_refused_after_it() {
    for round in 0..5_usize {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(VICTIM)
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            // A line that the kill cut short was not said.
            if let Some((at, cookie)) = line.strip_suffix('\n').and_then(|it| it.split_once(' ')) {
                let at: u64 = at.parse().unwrap();
                said.push((Timestamp::from_millis(at), cookie.to_owned()));
            }
            line.clear();
            if said.len() == 20_usize.saturating_add(round.saturating_mul(7)) {
                process.kill().unwrap();
            }
        }
        let status = process.wait().unwrap();
        assert!(!status.success(), "it was killed: {status}");
        let store = RedbStore::open(folder.path(), Options::default()).unwrap();
        let mut world = World::new(portable(), Arc::new(store));
        let Some((at, last)) = said.last().cloned() else {
            panic!("it said nothing")
        };
        world.now = at.after(Lifetime::from_secs(10));
        let line = world.full();
        let (accepted, _) = request(&world, &line, &last, world.now);
        assert!(accepted, "what was acknowledged still is");
        // The session was seen more than a minute after these were superseded, so they are no crash's.
        let old = &said[said.len().saturating_sub(4)].1;
        world.step(MINUTE);
        let answer = world.get(&line, old);
        assert_eq!(answer.refusal(), Some(Refusal::OutOfSequence));
        assert_eq!(world.log.count("theft"), 1);
    }
    println!("5 processes killed: no acknowledgement lost, old tickets refused");
}
