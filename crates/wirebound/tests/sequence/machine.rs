//! What the model asks of a machine that judges tickets; the product's own, and that one bent out of shape.

use std::fmt::Debug;
use std::hash::Hash;

use wirebound::sequence::{Again, Apart, Holder, Moment, Position, Rules, Sequence, Standing};
use wirebound::{Lifetime, Timestamp};

/// Half a window.
pub const TICK: u64 = 15;

pub fn at(tick: u16) -> Timestamp {
    Timestamp::from_millis(u64::from(tick) * TICK * 1000)
}

/// What a request asks for, as far as its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// A page.
    Page,
    /// Something was done, and the app changed its own cookie: the ticket is replaced.
    Deed,
    /// Somebody signed in: it is replaced by one apart from every one before.
    SignIn,
}

/// A request as the machine meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shown {
    pub position: Position,
    pub asked: Asked,
    pub line: u8,
    pub side: &'static str,
    pub now: u16,
    /// When the session was last seen before this request.
    pub seen: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Accepted,
    Refused,
    Theft,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Judged {
    pub verdict: Verdict,
    pub acknowledged: bool,
    /// The other side of a fork.
    pub fork: Option<String>,
}

impl Judged {
    pub fn plain(verdict: Verdict) -> Self {
        Self {
            verdict,
            acknowledged: false,
            fork: None,
        }
    }
}

pub trait Machine: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// A request arrived. What this changes is stored before the answer.
    fn judge(&mut self, shown: &Shown) -> Judged;
    /// The head of its answer leaves: the ticket that it sets.
    fn head(&mut self, shown: &Shown) -> Option<Position>;
}

/// How the product's machine is bent, to see whether the checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Twist {
    None,
    /// A superseded ticket is theft at once.
    AnyPredecessorIsTheft,
    /// Whoever shows a predecessor inside its window is set the current ticket.
    HealsEverybody,
    /// No window at all, and none for lapses.
    NoWindow,
    /// A browser that crashed is a thief.
    NoLapse,
    /// Each answer that replaces a ticket sets one of its own, and whose the others were is forgotten.
    EachItsOwn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ruled(Rules);

/// Rules never change within a run, so they are no part of a state.
impl Hash for Ruled {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    pub sequence: Sequence,
    rules: Ruled,
    twist: Twist,
}

pub fn line(line: u8) -> Holder {
    Holder::Line([line; 16])
}

impl Product {
    pub fn new(rules: Rules) -> Self {
        Self {
            sequence: Sequence::begin(line(1), at(0)),
            rules: Ruled(rules),
            twist: Twist::None,
        }
    }

    pub fn portable() -> Self {
        Self::new(Rules {
            again: Again::Client,
            apart: Apart::Headers,
            ..Rules::default()
        })
    }

    pub fn edge() -> Self {
        Self::new(Rules::default())
    }

    pub fn twisted(mut self, twist: Twist) -> Self {
        if matches!(twist, Twist::NoLapse | Twist::NoWindow) {
            self.rules.0.lapse = Lifetime::ZERO;
        }
        self.twist = twist;
        self
    }

    fn moment(&self, shown: &Shown) -> Moment {
        Moment {
            now: at(shown.now),
            window: match self.twist {
                Twist::NoWindow => Lifetime::ZERO,
                _ => self.rules.0.window,
            },
            seen: at(shown.seen),
        }
    }
}

impl Machine for Product {
    fn judge(&mut self, shown: &Shown) -> Judged {
        let (moment, rules) = (self.moment(shown), self.rules.0);
        let standing = self.sequence.standing(shown.position, &moment, &rules);
        let bent = self.twist == Twist::AnyPredecessorIsTheft
            && matches!(standing, Standing::Recent | Standing::Lapsed);
        if bent || !standing.is_good() {
            return Judged::plain(Verdict::Theft);
        }
        let holder = line(shown.line);
        let successor = matches!(standing, Standing::Next | Standing::Ahead);
        if !successor && self.sequence.is_not_taken(holder, moment.now, &rules) {
            return Judged::plain(Verdict::Refused);
        }
        let taken = self
            .sequence
            .show(shown.position, holder, shown.side, &moment, &rules);
        Judged {
            verdict: Verdict::Accepted,
            acknowledged: taken.acknowledged,
            fork: taken.fork.map(|fork| fork.other),
        }
    }

    fn head(&mut self, shown: &Shown) -> Option<Position> {
        let (moment, rules) = (self.moment(shown), self.rules.0);
        let holder = match self.twist {
            // The trunk is always known.
            Twist::HealsEverybody => Holder::Trunk,
            _ => line(shown.line),
        };
        let (sequence, position, side) = (&mut self.sequence, shown.position, shown.side);
        let given = match shown.asked {
            Asked::Page => sequence.offer(position, holder, side, true, &moment, &rules),
            _ if self.twist == Twist::EachItsOwn => {
                return sequence.offer_new(line(u8::MAX), side, moment.now);
            }
            Asked::Deed => sequence.replace(position, holder, side, &moment, &rules),
            Asked::SignIn => sequence.replace_new(position, holder, side, &moment, &rules),
        };
        given.position()
    }
}
