//! Promise (a): without a thief no theft is declared.
//!
//! It is assumed that an answer arrives less than a window after its head left; that a request is judged less than a
//! window after it was sent, and its head leaves at most half a window after that; that one jar looks like one client at
//! a time; that a browser saves its jar within 30 s, and what it had under way when it crashed has arrived or never will;
//! and that nothing is under way when a store falls back. For the assumptions that could be
//! doubted there is a test without them.

use wirebound::Lifetime;
use wirebound::sequence::{Advance, Again, Apart, Position, Rules};

use crate::machine::{Product, Twist};
use crate::world::{Action, NO_THEFT, World};

fn owner(machine: Product) -> World<Product> {
    World {
        sends: 4,
        ticks: 9,
        ..World::honest(machine)
    }
}

fn with(change: impl FnOnce(&mut Rules)) -> Product {
    let mut rules = Rules {
        again: Again::Client,
        apart: Apart::Headers,
        ..Rules::default()
    };
    change(&mut rules);
    Product::new(rules)
}

#[test]
fn without_a_thief_nobody_is_accused() {
    owner(Product::portable()).holds(&[NO_THEFT]);
}

#[test]
fn three_requests_at_once_accuse_nobody() {
    World {
        parallel: 3,
        ticks: 8,
        request: 0,
        ..owner(Product::portable())
    }
    .holds(&[NO_THEFT]);
}

#[test]
fn a_browser_that_crashes_and_falls_back_to_its_saved_jar_is_not_accused() {
    World {
        crashes: 1,
        ..owner(Product::portable())
    }
    .holds(&[NO_THEFT]);
}

/// Before the branch of its first lapse was on the disk: it comes back with the very same jar.
#[test]
fn a_browser_that_crashes_again_with_the_same_jar_is_not_accused() {
    let [one, two] = [(1, 600), (2, 18_150)].map(|(n, branch)| Position { n, branch });
    let crash = |set| {
        vec![
            Action::Send,
            Action::Deliver(set),
            Action::Send,
            Action::Tick,
            Action::Crash,
        ]
    };
    let world = World {
        crashes: 2,
        request: 0,
        work: 0,
        sends: 5,
        ..owner(Product::edge())
    };
    let schedule = [
        crash(one),
        vec![Action::Sleep],
        crash(two),
        vec![Action::Tick; 4],
    ]
    .concat();
    assert_eq!(world.run(&schedule).jar, Position::default());
    let end = world.run(&[schedule, vec![Action::Send]].concat());
    assert_eq!(end.theft, None);
}

#[test]
fn tabs_that_are_restored_after_a_crash_are_not_accused_of_each_other() {
    World {
        crashes: 1,
        ticks: 7,
        sends: 5,
        work: 0,
        answer: 0,
        ..owner(Product::edge())
    }
    .holds(&[NO_THEFT]);
}

#[test]
fn a_store_that_falls_back_to_an_earlier_record_accuses_nobody() {
    World {
        falls_back: true,
        request: 0,
        work: 0,
        ..owner(Product::portable())
    }
    .holds(&[NO_THEFT]);
}

#[test]
fn an_interval_of_one_window_accuses_nobody() {
    let short = with(|rules| rules.interval = Lifetime::from_secs(30));
    World {
        start: 2,
        ticks: 12,
        sends: 5,
        sleeps: false,
        request: 0,
        work: 0,
        ..owner(short)
    }
    .holds(&[NO_THEFT]);
}

#[test]
fn an_advance_at_each_request_accuses_nobody_while_answers_are_in_time() {
    for advance in [Advance::Get, Advance::Every] {
        World {
            start: 0,
            request: 0,
            work: 0,
            ..owner(with(|rules| rules.advance = advance))
        }
        .holds(&[NO_THEFT]);
    }
}

#[test]
fn an_app_that_changes_its_cookie_at_each_deed_accuses_nobody() {
    for machine in [Product::portable(), Product::edge()] {
        World {
            deeds: 3,
            ticks: 6,
            request: 0,
            work: 0,
            ..owner(machine)
        }
        .holds(&[NO_THEFT]);
    }
    World {
        deeds: 2,
        ticks: 5,
        sends: 3,
        sleeps: false,
        ..owner(Product::portable())
    }
    .holds(&[NO_THEFT]);
}

#[test]
fn deeds_before_a_browser_crashes_accuse_nobody() {
    World {
        deeds: 2,
        crashes: 1,
        ticks: 6,
        request: 0,
        work: 0,
        ..owner(Product::portable())
    }
    .holds(&[NO_THEFT]);
}

/// The answer before a sign-in may overtake that of the sign-in, or come late: the jar then has a sibling of what is current.
#[test]
fn a_sign_in_among_pages_and_deeds_accuses_nobody() {
    World {
        deeds: 1,
        sign_ins: 2,
        ticks: 5,
        request: 0,
        work: 0,
        ..owner(Product::portable())
    }
    .holds(&[NO_THEFT]);
}

// What would accuse the honest.

#[test]
fn deeds_that_are_each_set_a_ticket_of_their_own_are_taken_for_theft() {
    let draft = Product::portable().twisted(Twist::EachItsOwn);
    let schedule = World {
        deeds: 2,
        request: 0,
        work: 0,
        ..owner(draft)
    }
    .breaks(NO_THEFT);
    assert!(!schedule.iter().any(|it| matches!(it, Action::Lose(_))));
}

#[test]
fn answers_that_come_later_than_a_window_can_accuse_the_honest() {
    World {
        ticks: 13,
        answer: 8,
        request: 0,
        work: 0,
        ..owner(Product::portable())
    }
    .breaks(NO_THEFT);
}

/// A phone in a tunnel: what it had sent arrives when it comes out, and its browser has gone on over another connection.
#[test]
fn requests_that_come_later_than_a_window_can_accuse_the_honest() {
    World {
        ticks: 13,
        request: 8,
        work: 0,
        answer: 0,
        ..owner(Product::portable())
    }
    .breaks(NO_THEFT);
}

#[test]
fn a_jar_that_looks_like_two_clients_at_once_can_be_accused() {
    World {
        two_faced: true,
        request: 0,
        ..owner(Product::edge())
    }
    .breaks(NO_THEFT);
}

/// RFC 6819's rotation, as many first write it: what was superseded is theft.
#[test]
fn reordered_answers_taken_for_theft() {
    let draft = Product::portable().twisted(Twist::AnyPredecessorIsTheft);
    let schedule = owner(draft).breaks(NO_THEFT);
    // Nobody crashed, and every trip was in time.
    assert!(!schedule.contains(&Action::Crash));
    let draft = Product::portable().twisted(Twist::NoWindow);
    owner(draft).breaks(NO_THEFT);
}

#[test]
fn without_the_rule_of_lapses_a_crash_is_taken_for_theft() {
    let world = |machine| World {
        crashes: 1,
        request: 0,
        work: 0,
        ..owner(machine)
    };
    let draft = Product::portable().twisted(Twist::NoLapse);
    let schedule = world(draft).breaks(NO_THEFT);
    assert!(schedule.contains(&Action::Crash));
    world(Product::portable()).holds(&[NO_THEFT]);
}
