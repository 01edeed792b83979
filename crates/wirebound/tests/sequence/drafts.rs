//! Drafts that look right, each with the schedule that the checker finds: what peers fell to, and earlier thoughts of ours.
//!
//! `reordered_answers_taken_for_theft` stands with the honest.

use wirebound::sequence::Position;

use crate::machine::{Judged, Machine, Product, Shown, Twist, Verdict};
use crate::world::{Action, ELSEWHERE, HOME, NOT_FED, NOT_LATE, World};

const WINDOW: u16 = 2;
const INTERVAL: u16 = 4;

/// Rotation with a grace in which the old ticket still works, and is answered with a new one of its own each time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Forking {
    /// Each ticket, whether it was shown, and when it was superseded.
    tickets: Vec<(Position, bool, Option<u16>)>,
}

impl Machine for Forking {
    fn judge(&mut self, shown: &Shown) -> Judged {
        let Some((_, used, superseded)) = self
            .tickets
            .iter_mut()
            .find(|(position, ..)| *position == shown.position)
        else {
            return Judged::plain(Verdict::Refused);
        };
        if superseded.is_some_and(|at| shown.now - at > WINDOW) {
            return Judged::plain(Verdict::Theft);
        }
        let acknowledged = !std::mem::replace(used, true);
        Judged {
            acknowledged,
            ..Judged::plain(Verdict::Accepted)
        }
    }

    fn head(&mut self, shown: &Shown) -> Option<Position> {
        let next = Position {
            n: shown.position.n + 1,
            branch: u32::try_from(self.tickets.len()).unwrap(),
        };
        let (.., superseded) = self
            .tickets
            .iter_mut()
            .find(|(position, ..)| *position == shown.position)?;
        superseded.get_or_insert(shown.now);
        self.tickets.push((next, false, None));
        Some(next)
    }
}

#[test]
fn a_second_chain_forked_in_the_grace() {
    let draft = Forking {
        tickets: vec![(Position::default(), true, None)],
    };
    let schedule = World::robbed(draft, ELSEWHERE).breaks(NOT_LATE);
    assert!(schedule.iter().any(|it| matches!(it, Action::Steal(_))));
    World {
        ticks: 8,
        ..World::robbed(Product::edge(), ELSEWHERE)
    }
    .holds(&[NOT_LATE]);
}

/// A ticket that is a mere code: the server compares it with those it remembers, and any other is noise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Numberless {
    current: Position,
    since: u16,
    before: Option<Position>,
    next: Option<Position>,
}

impl Machine for Numberless {
    fn judge(&mut self, shown: &Shown) -> Judged {
        let recent = self.before == Some(shown.position) && shown.now - self.since <= WINDOW;
        if shown.position == self.current || recent {
            return Judged::plain(Verdict::Accepted);
        }
        if self.next != Some(shown.position) {
            // Noise must sign nobody out.
            return Judged::plain(Verdict::Refused);
        }
        self.before = Some(self.current);
        (self.current, self.since, self.next) = (shown.position, shown.now, None);
        Judged {
            acknowledged: true,
            ..Judged::plain(Verdict::Accepted)
        }
    }

    fn head(&mut self, shown: &Shown) -> Option<Position> {
        let due = shown.now - self.since >= INTERVAL;
        if !due || shown.position != self.current {
            return None;
        }
        self.next = Some(Position {
            n: self.current.n + 1,
            branch: 0,
        });
        self.next
    }
}

#[test]
fn a_ticket_without_a_number() {
    let draft = Numberless {
        current: Position::default(),
        since: 0,
        before: None,
        next: None,
    };
    let world = World::robbed(draft, HOME);
    world.clone().breaks(NOT_LATE);
    // The thief moves on, and it is the owner who is turned away. Nobody ever learns of it.
    let [zero, one] = [0, 1].map(|n| Position { n, branch: 0 });
    let end = world.run(&[
        Action::Copy,
        Action::Steal(zero),
        Action::Steal(one),
        Action::Tick,
        Action::Tick,
        Action::Tick,
        Action::Tick,
        Action::Steal(one),
        Action::Tick,
        Action::Send,
    ]);
    assert!(end.refused && end.theft.is_none());
}

/// Whatever heals a jar that fell back by one feeds a thief who is one step behind.
#[test]
fn one_behind_for_ever() {
    let draft = Product::edge().twisted(Twist::HealsEverybody);
    let schedule = World::robbed(draft, ELSEWHERE).breaks(NOT_FED);
    assert!(schedule.iter().any(|it| matches!(it, Action::Steal(_))));
    World {
        ticks: 8,
        ..World::robbed(Product::edge(), ELSEWHERE)
    }
    .holds(&[NOT_FED]);
}
