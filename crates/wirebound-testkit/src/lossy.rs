//! Tickets over bad networks, and under thieves: the product's own sequence, simulated under a seed.
//!
//! No clock, no socket and no randomness but the seed's: the same seed gives the same tables. Every position is judged,
//! shown and offered by [`wirebound::sequence`] itself; what is simulated is the rest of the world.

mod dice;
mod edge;
mod gate;
mod honest;
mod network;
mod queue;
mod table;
mod theft;
mod thief;

use std::thread;

use wirebound::Lifetime;
use wirebound::sequence::{Advance, Rules};

use dice::Dice;
pub use gate::Listener;
pub use honest::{Honest, LOADS, REQUESTS};
pub use network::Network;
pub use theft::{Case, Outcome, Owner, Place, Theft};
pub use thief::Kind;

/// What an app does with its own cookie in answer to a POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posts {
    /// Nothing.
    Keep,
    /// It changes it, each time, and the ticket is replaced.
    Change,
}

/// All modes, the default first.
pub const MODES: [(Advance, Posts); 4] = [
    (Advance::Interval, Posts::Keep),
    (Advance::Interval, Posts::Change),
    (Advance::Get, Posts::Keep),
    (Advance::Every, Posts::Keep),
];

/// What is to be simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Honest sessions in each row.
    pub sessions: u64,
    /// Thefts in each row.
    pub thefts: u64,
    /// The same seed gives the same report.
    pub seed: u64,
}

/// Honest sessions of one kind, counted.
#[derive(Clone, Copy, Debug)]
pub struct Calm {
    /// Where.
    pub listener: Listener,
    /// Over what.
    pub network: Network,
    /// In which mode.
    pub advance: Advance,
    /// What the app does in answer to a POST.
    pub posts: Posts,
    /// Sessions.
    pub sessions: u64,
    /// Sessions ended as stolen.
    pub accused: u64,
    /// Sessions with a request refused as `ticket_not_taken`.
    pub not_taken: u64,
    /// Requests.
    pub requests: u64,
    /// Writes that an answer waited for.
    pub durable: u64,
    /// Writes that could come later.
    pub soon: u64,
}

/// Thefts of one kind.
#[derive(Clone, Debug)]
pub struct Stolen {
    /// Who from whom.
    pub case: Case,
    /// Each of them.
    pub thefts: Vec<Theft>,
}

/// Everything that was simulated.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it was asked for.
    pub plan: Plan,
    /// Honest sessions.
    pub calm: Vec<Calm>,
    /// Thefts, in the default mode.
    pub stolen: Vec<Stolen>,
}

/// Rows of a report.
pub fn rows() -> usize {
    lines().count() * MODES.len() + Case::all().len()
}

/// Where, and over which network.
pub fn lines() -> impl Iterator<Item = (Listener, Network)> {
    [Listener::Behind, Listener::Edge]
        .into_iter()
        .flat_map(|listener| Network::ALL.map(|network| (listener, network)))
        .filter(|(listener, network)| network.is_on(*listener))
}

/// Simulates it. `done` is called after each row.
pub fn run(plan: Plan, mut done: impl FnMut()) -> Report {
    let mut calm = Vec::new();
    for (listener, network) in lines() {
        for (advance, posts) in MODES {
            let rules = listener.rules(advance);
            calm.push(honest(listener, network, rules, posts, None, plan));
            done();
        }
    }
    let mut stolen = Vec::new();
    for case in Case::all() {
        stolen.push(thefts(case, Advance::Interval, plan));
        done();
    }
    Report { plan, calm, stolen }
}

/// Honest sessions of one kind. `window` replaces what the rules would give, for a control.
pub fn honest(
    listener: Listener,
    network: Network,
    rules: Rules,
    posts: Posts,
    window: Option<Lifetime>,
    plan: Plan,
) -> Calm {
    // Each mode meets the same sessions.
    let row = network as u64 * 2 + listener as u64;
    let sessions = each(plan.sessions, |session| {
        let dice = Dice::new(plan.seed, row, session);
        honest::run(listener, network, rules, posts, window, dice)
    });
    let sum = |of: fn(&Honest) -> u64| sessions.iter().map(of).sum();
    Calm {
        listener,
        network,
        advance: rules.advance,
        posts,
        sessions: plan.sessions,
        accused: sum(|session| u64::from(session.accused)),
        not_taken: sum(|session| u64::from(session.not_taken)),
        requests: sum(|session| session.requests),
        durable: sum(|session| session.durable),
        soon: sum(|session| session.soon),
    }
}

/// Thefts of one kind.
pub fn thefts(case: Case, advance: Advance, plan: Plan) -> Stolen {
    let row = 100 + (case.place as u64 * 10 + case.owner as u64) * 10 + case.kind as u64;
    let thefts = each(plan.thefts, |theft| {
        theft::run(case, advance, Dice::new(plan.seed, row, theft))
    });
    Stolen { case, thefts }
}

/// Runs so many sessions on all processors; in their order, so that threads change nothing.
fn each<T: Send>(count: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let part = count.div_ceil(threads).max(1);
    let one = &one;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let to = count.min((thread + 1) * part);
                scope.spawn(move || (thread * part..to).map(one).collect::<Vec<_>>())
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}
