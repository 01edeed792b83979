//! One theft: an owner, a thief with a copy of her jar, and what comes of it.
//!
//! The network is clean: nothing but the thief disturbs the sequence.

use wirebound::sequence::{Advance, Holder, Position};

use super::dice::Dice;
use super::edge::Edge;
use super::gate::{Answer, From, Gate, Leaves, Listener};
use super::honest::{Asked, about, page};
use super::queue::Queue;
use super::thief::{Kind, Thief};

/// Where the thief is, as far as the server can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind a proxy, with other headers than the owner's.
    Elsewhere,
    /// Behind a proxy, with the owner's headers.
    Same,
    /// At the edge: wherever he is, his TLS stack is another.
    Edge,
}

/// What the owner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Loads pages all the time; the copy is taken at a random moment.
    There,
    /// Goes away for one to six hours; the copy is taken then. She comes back for an hour.
    Away,
    /// The same, and her browser was restarted in between: no lineage.
    Restarted,
}

/// Who steals how from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where he is.
    pub place: Place,
    /// What she does.
    pub owner: Owner,
    /// What he does.
    pub kind: Kind,
}

impl Case {
    /// All that differ.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for place in [Place::Elsewhere, Place::Same, Place::Edge] {
            for owner in [Owner::There, Owner::Away, Owner::Restarted] {
                // A restart matters to lineage only.
                if place != Place::Edge && owner == Owner::Restarted {
                    continue;
                }
                all.extend(Kind::ALL.map(|kind| Self { place, owner, kind }));
            }
        }
        all
    }

    /// As a table says it: where, and what she does.
    pub const fn names(self) -> (&'static str, &'static str) {
        let place = match self.place {
            Place::Elsewhere => "behind, other headers",
            Place::Same => "behind, her headers",
            Place::Edge => "edge",
        };
        let owner = match self.owner {
            Owner::There => "there",
            Owner::Away => "away and back",
            Owner::Restarted => "away, browser restarted",
        };
        (place, owner)
    }
}

/// How a theft ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As theft: both are out, or the thief is cut off from a session that its owner keeps.
    Found,
    /// He was refused each time, and left the session as it was.
    NeverIn,
    /// He went before it could be told.
    Stopped,
    /// He was served to the end.
    Rode,
}

/// What came of a theft.
#[derive(Clone, Copy, Debug)]
pub struct Theft {
    /// How it ended.
    pub outcome: Outcome,
    /// Milliseconds until it was found: since the copy if the owner was there, since her return if she was not.
    pub after: u64,
    /// Requests that he was served while she was away.
    pub alone: u64,
    /// Requests that he was served while she was there.
    pub beside: u64,
    /// The owner was refused, and it was not called theft.
    pub owner_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    shown: Position,
    asked: Asked,
    from: From,
    thief: bool,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Load,
    Send(Asked),
    Arrive(Request),
    Leave(Request, u64),
    Set(Position),
    Copy,
    Poll,
    Answered(Option<Position>),
    Refused,
}

const HOUR: u64 = 3_600_000;
/// She is there for so long before anything happens.
const FIRST: u64 = 600_000;
/// And for so long beside him.
const LONG: u64 = 7_700_000;
const WAY: u64 = 20;
const OWNER: From = From {
    holder: Holder::Line([1; 16]),
    side: "hers",
};
const THIEF: From = From {
    holder: Holder::Line([2; 16]),
    side: "his",
};

/// Runs a theft.
pub(super) fn run(case: Case, advance: Advance, mut dice: Dice) -> Theft {
    Scene::new(case, advance, &mut dice).run(&mut dice)
}

struct Scene {
    case: Case,
    gate: Gate,
    edge: Option<Edge>,
    jar: Position,
    thief: Option<Thief>,
    queue: Queue<Event>,
    /// When she goes and when she is back; both at the end if she stays.
    leaves: u64,
    back: u64,
    copied: u64,
    end: u64,
    last_served: u64,
    theft: Theft,
}

impl Scene {
    fn new(case: Case, advance: Advance, dice: &mut Dice) -> Self {
        let listener = match case.place {
            Place::Edge => Listener::Edge,
            Place::Elsewhere | Place::Same => Listener::Behind,
        };
        let rules = listener.rules(advance);
        let window = listener.window(&rules, dice.between(50, 300));
        let (leaves, back, copied, end) = if case.owner == Owner::There {
            let copied = dice.between(10_000, FIRST);
            let end = copied + LONG;
            (end, end, copied, end)
        } else {
            let back = FIRST + dice.between(HOUR, 6 * HOUR);
            (
                FIRST,
                back,
                FIRST + dice.between(1_000, HOUR / 2),
                back + HOUR,
            )
        };
        let mut scene = Self {
            case,
            gate: Gate::new(rules, window, Holder::Trunk),
            edge: (case.place == Place::Edge).then(Edge::default),
            jar: Position::default(),
            thief: None,
            queue: Queue::new(),
            leaves,
            back,
            copied,
            end,
            last_served: 0,
            theft: Theft {
                outcome: Outcome::Stopped,
                after: 0,
                alone: 0,
                beside: 0,
                owner_refused: false,
            },
        };
        scene.gate = Gate::new(rules, window, scene.owner(0).holder);
        scene.queue.push(300, Event::Load);
        scene.queue.push(copied, Event::Copy);
        scene
    }

    /// As whom she asks.
    fn owner(&self, now: u64) -> From {
        let trunk =
            self.edge.is_some() && !(self.case.owner == Owner::Restarted && now >= self.back);
        From {
            holder: if trunk { Holder::Trunk } else { OWNER.holder },
            side: OWNER.side,
        }
    }

    /// As whom he asks.
    fn stranger(&self) -> From {
        match self.case.place {
            Place::Same => OWNER,
            Place::Elsewhere | Place::Edge => THIEF,
        }
    }

    fn run(mut self, dice: &mut Dice) -> Theft {
        while let Some((now, event)) = self.queue.pop() {
            if now > self.end || self.step(event, now, dice).is_some() {
                break;
            }
        }
        let served = self.theft.alone + self.theft.beside;
        if self.theft.outcome != Outcome::Found && served == 0 {
            self.theft.outcome = Outcome::NeverIn;
        } else if self.theft.outcome != Outcome::Found && self.end - self.last_served < FIRST {
            self.theft.outcome = Outcome::Rode;
        }
        self.theft
    }

    /// One event; something if the session is over, for him or for both.
    fn step(&mut self, event: Event, now: u64, dice: &mut Dice) -> Option<()> {
        match event {
            Event::Load => {
                for (after, asked) in page(dice) {
                    self.queue.push(now + after, Event::Send(asked));
                }
                let mut next = now + about(dice, &[5_000, 10_000, 40_000, 120_000]);
                if now < self.leaves && next >= self.leaves {
                    next = next.max(self.back);
                }
                self.queue.push(next, Event::Load);
            }
            Event::Send(asked) => {
                let request = Request {
                    shown: self.jar,
                    asked,
                    from: self.owner(now),
                    thief: false,
                };
                let there = now + dice.between(20, 100);
                self.queue.push(there, Event::Arrive(request));
            }
            Event::Arrive(request) => return self.arrive(request, now, dice),
            Event::Leave(request, arrived) => {
                let leaves = if request.asked == Asked::Post {
                    Leaves::Post
                } else {
                    Leaves::Get
                };
                let set = self
                    .gate
                    .leave(request.shown, request.from, leaves, arrived, now);
                if request.thief {
                    self.queue.push(now + WAY, Event::Answered(set));
                } else if let Some(ticket) = set {
                    let there = now + dice.between(20, 100);
                    self.queue.push(there, Event::Set(ticket));
                }
            }
            Event::Set(ticket) => self.jar = ticket,
            Event::Copy => {
                self.thief = Some(Thief::new(self.case.kind, self.jar, &self.gate.rules));
                self.queue.push(now + 1_000, Event::Poll);
            }
            Event::Poll => {
                let thief = self.thief.as_ref()?;
                let request = Request {
                    shown: thief.holds,
                    asked: Asked::Fetch,
                    from: self.stranger(),
                    thief: true,
                };
                self.queue.push(now + WAY, Event::Arrive(request));
            }
            Event::Answered(set) => {
                let next = self.thief.as_mut().and_then(|thief| thief.served(set, now));
                self.again(next);
            }
            Event::Refused => {
                let next = self.thief.as_ref().and_then(|thief| thief.refused(now));
                self.again(next);
            }
        }
        None
    }

    fn again(&mut self, next: Option<u64>) {
        if let Some(next) = next {
            self.queue.push(next, Event::Poll);
        }
    }

    fn arrive(&mut self, request: Request, now: u64, dice: &mut Dice) -> Option<()> {
        let answer = match &mut self.edge {
            Some(edge) => edge.judge(&mut self.gate, request.shown, request.from, now),
            None => self.gate.judge(request.shown, request.from, now),
        };
        match answer {
            Answer::Served if request.thief => {
                self.last_served = now;
                if (self.leaves..self.back).contains(&now) {
                    self.theft.alone += 1;
                } else {
                    self.theft.beside += 1;
                }
                self.queue.push(now, Event::Leave(request, now));
            }
            Answer::Served if request.asked != Asked::Image => {
                let leaves = now + dice.between(2, 40);
                self.queue.push(leaves, Event::Leave(request, now));
            }
            Answer::Served => {}
            Answer::Contested if request.thief => self.queue.push(now + WAY, Event::Refused),
            // What is not taken stays so: he goes.
            Answer::NotTaken if request.thief => {}
            Answer::NotTaken | Answer::Contested => {
                // She signs in anew, which ends the session that her cookie names.
                self.theft.owner_refused = true;
                return Some(());
            }
            Answer::Theft | Answer::Settled => {
                let since = if self.case.owner == Owner::There {
                    self.copied
                } else {
                    self.back
                };
                self.theft.after = now.saturating_sub(since);
                self.theft.outcome = Outcome::Found;
                return Some(());
            }
        }
        None
    }
}
