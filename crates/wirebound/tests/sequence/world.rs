//! The world around a machine: who holds which ticket, what is under way, and what may happen next.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};
use wirebound::sequence::Position;

use crate::machine::{Asked, Judged, Machine, Shown, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Owner,
    Thief,
}

/// What is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flight {
    /// To the server, since.
    Request(Position, Asked, u16),
    /// Judged, and the head of its answer has not left.
    Working(Shown),
    /// To the client, since.
    Answer(Position, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    /// Half an hour without anybody: beyond every window and lapse.
    Sleep,
    Send,
    /// She does something for which the app changes its own cookie.
    Do,
    /// She signs in.
    SignIn,
    Arrive(Position, Asked),
    Leave(Position, Asked),
    Deliver(Position),
    Lose(Position),
    /// The browser writes its jar to the disk.
    Save,
    /// It crashes: the jar is what was saved, its connections are gone.
    Crash,
    /// The store takes a copy of the record...
    Backup,
    /// ...and falls back to it.
    FallBack,
    /// The thief copies the jar.
    Copy,
    /// The thief shows this ticket. What the answer sets is his at once.
    Steal(Position),
    /// The same, by something for which the app changes its own cookie.
    StealAndDo(Position),
}

/// A ticket that was acknowledged: by whom, when, and which lapse was open then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Acknowledged {
    position: Position,
    party: Party,
    at: u16,
    in_lapse: Option<Position>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<M> {
    pub machine: M,
    pub now: u16,
    pub seen: u16,
    pub jar: Position,
    saved: Position,
    /// Since when the jar on the disk is not the one in use.
    unsaved: Option<u16>,
    flights: Vec<Flight>,
    backup: Option<(M, u16)>,
    fell_back: bool,
    pub loot: BTreeSet<Position>,
    sends: u8,
    deeds: u8,
    sign_ins: u8,
    steals: u8,
    crashes: u8,
    losses: u8,
    slept: bool,
    // What is known from outside, for the properties.
    log: Vec<Acknowledged>,
    given: Vec<(Position, Party)>,
    excused: Option<Position>,
    /// Who was accepted or refused, though the other had superseded this ticket more than a window ago.
    pub late: Option<Party>,
    /// Somebody was set a ticket that the other was given first.
    pub fed: bool,
    /// How often the one who acknowledges was another than before.
    pub turns: u8,
    pub forks: Vec<String>,
    pub refused: bool,
    pub theft: Option<Party>,
}

/// The bounds of a run. Times in ticks.
#[derive(Clone, Debug)]
pub struct World<M> {
    pub machine: M,
    /// When the run begins; the session began at 0.
    pub start: u16,
    pub ticks: u16,
    pub sends: u8,
    /// How many of the requests may do something (the thief's beside), and how many may sign in.
    pub deeds: u8,
    pub sign_ins: u8,
    pub parallel: usize,
    pub steals: u8,
    pub crashes: u8,
    pub losses: u8,
    pub falls_back: bool,
    pub sleeps: bool,
    /// How long a request may take to be judged, a head to leave, an answer to arrive.
    pub request: u16,
    pub work: u16,
    pub answer: u16,
    /// The owner's client looks like one and like another, by turns.
    pub two_faced: bool,
    /// Where the thief is.
    pub thief: (u8, &'static str),
    pub turns: u8,
}

pub const HOME: (u8, &str) = (1, "home");
pub const ELSEWHERE: (u8, &str) = (2, "elsewhere");
/// A window and a lapse, in ticks.
const WINDOW: u16 = 2;
const LAPSE: u16 = 4;
/// The disk is behind the jar for at most so long.
const UNSAVED: u16 = 2;
const HALF_AN_HOUR: u16 = 120;

impl<M: Machine> World<M> {
    /// Nobody but the owner, whose answers come in time. The first advance is due.
    pub fn honest(machine: M) -> Self {
        Self {
            machine,
            start: 4,
            ticks: 10,
            sends: 5,
            deeds: 0,
            sign_ins: 0,
            parallel: 2,
            steals: 0,
            crashes: 0,
            losses: u8::MAX,
            falls_back: false,
            sleeps: true,
            request: 1,
            work: 1,
            answer: 1,
            two_faced: false,
            thief: HOME,
            turns: u8::MAX,
        }
    }

    /// An owner whose trips take no time (answers can be lost), and a thief.
    pub fn robbed(machine: M, thief: (u8, &'static str)) -> Self {
        Self {
            sends: 3,
            parallel: 1,
            steals: 3,
            losses: 1,
            sleeps: false,
            request: 0,
            work: 0,
            answer: 0,
            thief,
            ..Self::honest(machine)
        }
    }

    pub fn begin(&self) -> State<M> {
        let first = Position::default();
        State {
            machine: self.machine.clone(),
            now: self.start,
            seen: 0,
            jar: first,
            saved: first,
            unsaved: None,
            flights: Vec::new(),
            backup: None,
            fell_back: false,
            loot: BTreeSet::new(),
            sends: 0,
            deeds: 0,
            sign_ins: 0,
            steals: 0,
            crashes: 0,
            losses: 0,
            slept: false,
            log: vec![Acknowledged {
                position: first,
                party: Party::Owner,
                at: 0,
                in_lapse: None,
            }],
            given: vec![(first, Party::Owner)],
            excused: None,
            late: None,
            fed: false,
            turns: 0,
            forks: Vec::new(),
            refused: false,
            theft: None,
        }
    }

    /// Runs a schedule. Each step must be possible.
    pub fn run(&self, schedule: &[Action]) -> State<M> {
        let mut state = self.begin();
        for (at, action) in schedule.iter().enumerate() {
            let mut possible = Vec::new();
            self.actions(&state, &mut possible);
            assert!(
                possible.contains(action),
                "step {at}, {action:?}, is not possible: {possible:?} in {state:?}"
            );
            state = self.next_state(&state, *action).unwrap();
        }
        state
    }

    /// Explores all of it; what is named here must hold in each state. How many there were.
    pub fn holds(self, properties: &[&str]) -> usize {
        let checker = self.checker().threads(2).spawn_bfs().join();
        for (name, path) in checker.discoveries() {
            let holds = !properties.contains(&name);
            assert!(holds, "{name}: {:?}", path.into_actions());
        }
        let states = checker.unique_state_count();
        println!("{states} states: {properties:?}");
        states
    }

    /// Explores until this is broken, which must be found: the schedule that breaks it.
    pub fn breaks(self, property: &'static str) -> Vec<Action> {
        let found = HasDiscoveries::AnyOf(BTreeSet::from([property]));
        let checker = self.checker().finish_when(found).spawn_bfs().join();
        let states = checker.unique_state_count();
        let path = checker.discovery(property);
        let schedule = path
            .unwrap_or_else(|| panic!("nothing breaks {property:?} in {states} states"))
            .into_actions();
        println!("{property:?} is broken by {schedule:?} ({states} states)");
        schedule
    }

    fn judge(
        &self,
        state: &mut State<M>,
        party: Party,
        position: Position,
        asked: Asked,
    ) -> Option<Shown> {
        let (line, side) = match party {
            Party::Owner if self.two_faced && state.sends.is_multiple_of(2) => ELSEWHERE,
            Party::Owner => HOME,
            Party::Thief => self.thief,
        };
        let shown = Shown {
            position,
            asked,
            line,
            side,
            now: state.now,
            seen: state.seen,
        };
        let judged = state.machine.judge(&shown);
        state.witness(&shown, party, &judged);
        match judged.verdict {
            Verdict::Accepted => {
                state.seen = state.now;
                Some(shown)
            }
            Verdict::Refused => {
                state.refused = true;
                None
            }
            Verdict::Theft => {
                state.theft = Some(party);
                None
            }
        }
    }

    fn send(&self, state: &mut State<M>, asked: Asked) {
        state.sends += 1;
        let (jar, now) = (state.jar, state.now);
        if self.request > 0 || self.work > 0 {
            state.put(Flight::Request(jar, asked, now));
            return;
        }
        // At once, and nothing in between: fewer states.
        if let Some(shown) = self.judge(state, Party::Owner, jar, asked)
            && let Some(set) = Self::head(state, Party::Owner, shown)
        {
            state.put(Flight::Answer(set, now));
        }
    }

    fn steal(&self, state: &mut State<M>, position: Position, asked: Asked) {
        state.steals += 1;
        if let Some(shown) = self.judge(state, Party::Thief, position, asked)
            && let Some(set) = Self::head(state, Party::Thief, shown)
        {
            state.loot.insert(set);
        }
    }

    fn head(state: &mut State<M>, party: Party, shown: Shown) -> Option<Position> {
        let shown = Shown {
            now: state.now,
            ..shown
        };
        let set = state.machine.head(&shown)?;
        match state.given.iter().find(|(position, _)| *position == set) {
            Some((_, first)) => state.fed |= *first != party,
            None => state.given.push((set, party)),
        }
        Some(set)
    }
}

impl<M: Machine> State<M> {
    /// Judges the judge, from a log that forgets nothing.
    fn witness(&mut self, shown: &Shown, party: Party, judged: &Judged) {
        let place = self
            .log
            .iter()
            .position(|step| step.position == shown.position);
        let after = place.map_or(0, |at| at + 1);
        let first = self.log[after..].iter().find(|step| {
            step.position.n > shown.position.n
                || (step.position.n == shown.position.n && step.position != shown.position)
        });
        let in_lapse = Some(shown.position);
        let again = self.log.iter().rfind(|step| step.in_lapse == in_lapse);
        let superseded = again.or(first);
        if let Some(step) = superseded
            && step.party != party
            && shown.now - step.at > WINDOW
        {
            let own = step.in_lapse.is_none() || step.in_lapse == in_lapse;
            let lapse = place.is_some() && own && shown.seen - step.at < LAPSE;
            if lapse || self.excused == Some(shown.position) {
                self.excused = Some(shown.position);
            } else if judged.verdict != Verdict::Theft {
                self.late = Some(party);
            }
        } else if superseded.is_some_and(|step| shown.now - step.at > WINDOW) {
            // Their own: a crash.
            self.excused = Some(shown.position);
        }
        if judged.acknowledged {
            self.turns += u8::from(self.log.last().is_some_and(|last| last.party != party));
            self.log.push(Acknowledged {
                position: shown.position,
                party,
                at: shown.now,
                in_lapse: self.excused,
            });
            self.excused = None;
        }
        self.forks.extend(judged.fork.clone());
    }

    fn take(&mut self, which: impl Fn(&Flight) -> bool) -> Flight {
        let at = self.flights.iter().position(which).unwrap();
        self.flights.remove(at)
    }

    fn put(&mut self, flight: Flight) {
        self.flights.push(flight);
        // The order says nothing: fewer states.
        self.flights.sort_unstable();
    }
}

pub const NO_THEFT: &str = "no theft is declared";
pub const NOT_LATE: &str = "what the other superseded more than a window ago is theft";
pub const NOT_FED: &str = "nobody is set the other's ticket";
pub const FEW_TURNS: &str = "the session does not change hands for ever";

impl<M: Machine> Model for World<M> {
    type State = State<M>;
    type Action = Action;

    fn init_states(&self) -> Vec<Self::State> {
        vec![self.begin()]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        if state.theft.is_some() {
            return;
        }
        let mut pressing = state
            .unsaved
            .is_some_and(|since| state.now - since >= UNSAVED);
        for flight in &state.flights {
            match *flight {
                Flight::Request(position, asked, since) => {
                    actions.push(Action::Arrive(position, asked));
                    pressing |= state.now - since >= self.request;
                }
                Flight::Working(shown) => {
                    actions.push(Action::Leave(shown.position, shown.asked));
                    pressing |= state.now - shown.now >= self.work;
                }
                Flight::Answer(position, since) => {
                    actions.push(Action::Deliver(position));
                    if state.losses < self.losses {
                        actions.push(Action::Lose(position));
                    }
                    pressing |= state.now - since >= self.answer;
                }
            }
        }
        actions.dedup();
        let ends = self.start + self.ticks + if state.slept { HALF_AN_HOUR } else { 0 };
        if !pressing && state.now < ends {
            actions.push(Action::Tick);
        }
        if self.sleeps && !state.slept && state.flights.is_empty() && state.unsaved.is_none() {
            actions.push(Action::Sleep);
        }
        if state.sends < self.sends && state.flights.len() < self.parallel {
            actions.push(Action::Send);
            if state.deeds < self.deeds {
                actions.push(Action::Do);
            }
            if state.sign_ins < self.sign_ins {
                actions.push(Action::SignIn);
            }
        }
        if self.crashes > 0 {
            if state.unsaved.is_some() {
                actions.push(Action::Save);
            }
            if state.crashes < self.crashes && state.jar != state.saved {
                actions.push(Action::Crash);
            }
        }
        if self.falls_back && !state.fell_back {
            match &state.backup {
                None => actions.push(Action::Backup),
                // A store that fails over takes longer than what is under way.
                Some(_) if state.flights.is_empty() => actions.push(Action::FallBack),
                Some(_) => {}
            }
        }
        if self.steals > 0 && state.loot.is_empty() && state.now == self.start {
            actions.push(Action::Copy);
        }
        if state.steals < self.steals {
            actions.extend(state.loot.iter().copied().map(Action::Steal));
            if state.deeds < self.deeds {
                actions.extend(state.loot.iter().copied().map(Action::StealAndDo));
            }
        }
    }

    fn next_state(&self, before: &Self::State, action: Self::Action) -> Option<Self::State> {
        let mut state = before.clone();
        let now = state.now;
        match action {
            Action::Tick => state.now += 1,
            Action::Sleep => {
                state.now += HALF_AN_HOUR;
                state.slept = true;
            }
            Action::Send => self.send(&mut state, Asked::Page),
            Action::Do => {
                state.deeds += 1;
                self.send(&mut state, Asked::Deed);
            }
            Action::SignIn => {
                state.sign_ins += 1;
                self.send(&mut state, Asked::SignIn);
            }
            Action::Arrive(position, asked) => {
                state.take(
                    |it| matches!(it, Flight::Request(p, a, _) if (*p, *a) == (position, asked)),
                );
                if let Some(shown) = self.judge(&mut state, Party::Owner, position, asked) {
                    state.put(Flight::Working(shown));
                }
            }
            Action::Leave(position, asked) => {
                let taken = state.take(|it| {
                    matches!(it, Flight::Working(s) if (s.position, s.asked) == (position, asked))
                });
                if let Flight::Working(shown) = taken
                    && let Some(set) = Self::head(&mut state, Party::Owner, shown)
                {
                    state.put(Flight::Answer(set, now));
                }
            }
            Action::Deliver(position) => {
                state.take(|it| matches!(it, Flight::Answer(p, _) if *p == position));
                state.jar = position;
                if self.crashes > 0 {
                    state.unsaved =
                        (state.jar != state.saved).then(|| state.unsaved.unwrap_or(now));
                }
            }
            Action::Lose(position) => {
                state.losses = state.losses.saturating_add(u8::from(self.losses < u8::MAX));
                state.take(|it| matches!(it, Flight::Answer(p, _) if *p == position));
            }
            Action::Save => {
                state.saved = state.jar;
                state.unsaved = None;
            }
            Action::Crash => {
                state.crashes += 1;
                state.jar = state.saved;
                state.unsaved = None;
                // Its connections are gone, and what it had sent with them.
                state.flights.clear();
            }
            Action::Backup => state.backup = Some((state.machine.clone(), state.seen)),
            Action::FallBack => {
                let (machine, seen) = state.backup.take()?;
                (state.machine, state.seen) = (machine, seen);
                state.fell_back = true;
            }
            Action::Copy => {
                state.loot.insert(state.jar);
            }
            Action::Steal(position) => self.steal(&mut state, position, Asked::Page),
            Action::StealAndDo(position) => {
                state.deeds += 1;
                self.steal(&mut state, position, Asked::Deed);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_THEFT, |_, state: &State<M>| state.theft.is_none()),
            Property::always(NOT_LATE, |_, state: &State<M>| state.late.is_none()),
            Property::always(NOT_FED, |_, state: &State<M>| !state.fed),
            Property::always(FEW_TURNS, |world: &Self, state: &State<M>| {
                state.turns <= world.turns
            }),
        ]
    }
}
