//! Promises (b), (c) and (d): what becomes of a thief, and of which nothing can be promised.
//!
//! (b) Once either party has acknowledged a successor, the other's first request beyond one window is theft. Except a
//! *lapse*: the other shows what was current until less than 60 s before the session was last seen, and no lapse was
//! open when it was superseded. That is served and given a branch of its own; when the branch is shown, the same holds of
//! it, and what it superseded never lapses. So nobody lives on lapses in turn.
//!
//! (c) A thief who stops before the owner acknowledges cannot be told from a lost answer.
//!
//! (d) Where holders differ, nobody is set a ticket that the other was given, and at the edge the session changes hands at
//! most [`TURNS`] times. What a thief then has is what
//! he copied, and (b) ends that. Where holders are the same (`portable`, same place, same headers) a thief who keeps pace
//! rides.
//!
//! A witness judges each request from a log that forgets nothing ([`crate::world`]), not from the record.

use wirebound::sequence::Position;

use crate::machine::Product;
use crate::world::{Action, ELSEWHERE, FEW_TURNS, HOME, NOT_FED, NOT_LATE, Party, State, World};

/// The owner had it; the thief shows her offer before she does; she shows her branch; he shows what he copied, as a lapse.
const TURNS: u8 = 3;

fn position(n: u64, branch: u32) -> Position {
    Position { n, branch }
}

fn ticks(count: usize) -> Vec<Action> {
    vec![Action::Tick; count]
}

/// The last ticket that the thief was given.
fn last(state: &State<Product>) -> Position {
    *state.loot.last().unwrap()
}

#[test]
fn nobody_from_elsewhere_rides_along_at_the_edge() {
    World {
        turns: TURNS,
        ..World::robbed(Product::edge(), ELSEWHERE)
    }
    .holds(&[NOT_LATE, NOT_FED, FEW_TURNS]);
    // No less.
    World {
        turns: TURNS - 1,
        ..World::robbed(Product::edge(), ELSEWHERE)
    }
    .breaks(FEW_TURNS);
}

#[test]
fn nobody_from_elsewhere_rides_along_by_deeds_for_which_the_app_changes_its_cookie() {
    for machine in [Product::edge(), Product::portable()] {
        World {
            deeds: 2,
            ticks: 5,
            ..World::robbed(machine, ELSEWHERE)
        }
        .holds(&[NOT_LATE, NOT_FED]);
    }
}

#[test]
fn nobody_from_elsewhere_rides_along_while_the_owner_is_away() {
    World {
        turns: TURNS,
        ticks: 7,
        sends: 2,
        sleeps: true,
        ..World::robbed(Product::edge(), ELSEWHERE)
    }
    .holds(&[NOT_LATE, NOT_FED, FEW_TURNS]);
}

#[test]
fn in_portable_too_the_first_request_beyond_a_window_is_theft() {
    World::robbed(Product::portable(), HOME).holds(&[NOT_LATE]);
    World {
        ticks: 8,
        ..World::robbed(Product::portable(), ELSEWHERE)
    }
    .holds(&[NOT_LATE]);
}

#[test]
fn an_owner_who_comes_back_ends_what_a_thief_moved_on() {
    let world = World {
        sleeps: true,
        ..World::robbed(Product::edge(), ELSEWHERE)
    };
    let next = position(1, 600);
    let schedule = [
        vec![
            Action::Copy,
            Action::Steal(position(0, 0)),
            Action::Steal(next),
        ],
        ticks(4),
        vec![Action::Steal(next), Action::Sleep],
    ]
    .concat();
    assert_eq!(world.run(&schedule).theft, None);
    let end = world.run(&[schedule, vec![Action::Send]].concat());
    assert_eq!(end.theft, Some(Party::Owner));
}

#[test]
fn a_thief_who_was_quiet_within_a_lapse_is_found_when_he_comes_back() {
    let world = World {
        sleeps: true,
        ..World::robbed(Product::edge(), ELSEWHERE)
    };
    let (his, hers) = (position(1, 600), position(2, 18_000));
    let night = vec![
        Action::Copy,
        Action::Steal(position(0, 0)),
        Action::Steal(his),
        Action::Sleep,
        // To the record she is a browser that crashed.
        Action::Send,
        Action::Deliver(hers),
        Action::Send,
    ];
    let morning = world.run(&night);
    assert_eq!((morning.theft, morning.jar), (None, hers));
    let back = [night, ticks(3), vec![Action::Steal(his)]].concat();
    assert_eq!(world.run(&back).theft, Some(Party::Thief));
}

/// Expected, and not to be helped: to the byte the record is the same.
#[test]
fn a_thief_who_stops_before_the_owner_acknowledges_is_a_lost_answer() {
    let world = World {
        sleeps: true,
        losses: 1,
        ..World::robbed(Product::portable(), HOME)
    };
    let (first, second) = (position(1, 600), position(1, 18_600));
    let rest = vec![
        Action::Sleep,
        Action::Send,
        Action::Deliver(second),
        Action::Send,
    ];
    let stolen = [
        vec![Action::Copy, Action::Steal(position(0, 0))],
        rest.clone(),
    ]
    .concat();
    let lost = [vec![Action::Send, Action::Lose(first)], rest].concat();
    let (stolen, lost) = (world.run(&stolen), world.run(&lost));
    assert_eq!(stolen.theft, None);
    assert_eq!(stolen.machine.sequence, lost.machine.sequence);
    assert!(stolen.forks.is_empty() && lost.forks.is_empty());
}

/// All that can be said of him: where he was, if that was elsewhere.
#[test]
fn a_fork_names_the_thief_who_stopped_where_place_or_client_differ() {
    let same_headers = (HOME.0, "elsewhere");
    for (machine, thief) in [
        (Product::edge(), ELSEWHERE),
        (Product::portable(), ELSEWHERE),
        (Product::portable(), same_headers),
    ] {
        let world = World {
            sleeps: true,
            ..World::robbed(machine, thief)
        };
        // Half an hour later each branch is another, whoever it is for.
        let end = world.run(&[
            Action::Copy,
            Action::Steal(position(0, 0)),
            Action::Sleep,
            Action::Send,
            Action::Deliver(position(1, 18_600)),
            Action::Send,
        ]);
        assert_eq!(end.theft, None);
        assert_eq!(end.forks, ["elsewhere"], "{thief:?}");
    }
}

/// Shows what both have, round after round; who is a step behind is set what the other has.
fn keeping_pace(world: &World<Product>, rounds: usize) -> (State<Product>, Vec<Action>) {
    let mut schedule = vec![Action::Copy];
    let mut state = world.run(&schedule);
    let step = |state: &mut State<Product>, schedule: &mut Vec<Action>, action| {
        schedule.push(action);
        *state = world.run(schedule);
    };
    for _ in 0..rounds {
        // She is offered a successor, and shows it.
        step(&mut state, &mut schedule, Action::Send);
        let mut possible = Vec::new();
        stateright::Model::actions(world, &state, &mut possible);
        let arrives = possible
            .into_iter()
            .find(|it| matches!(it, Action::Deliver(_)));
        step(&mut state, &mut schedule, arrives.unwrap());
        step(&mut state, &mut schedule, Action::Send);
        // He is one behind, for a moment.
        step(&mut state, &mut schedule, Action::Tick);
        let his = last(&state);
        step(&mut state, &mut schedule, Action::Steal(his));
        for tick in ticks(4) {
            step(&mut state, &mut schedule, tick);
        }
    }
    (state, schedule)
}

fn long(machine: Product, thief: (u8, &'static str)) -> World<Product> {
    World {
        ticks: 200,
        sends: u8::MAX,
        steals: u8::MAX,
        ..World::robbed(machine, thief)
    }
}

/// Expected: the same bytes from the same place under the same headers. SECURITY.md says so.
#[test]
fn a_thief_who_keeps_pace_from_the_same_place_rides_in_portable() {
    let (end, schedule) = keeping_pace(&long(Product::portable(), HOME), 20);
    assert_eq!(end.theft, None);
    assert_eq!(last(&end), end.jar);
    assert!(end.fed && end.jar.n == 20, "{schedule:?}");
    World::robbed(Product::portable(), HOME).breaks(NOT_FED);
}

#[test]
fn the_same_thief_from_elsewhere_is_set_nothing() {
    for machine in [Product::edge(), Product::portable()] {
        let world = long(machine, ELSEWHERE);
        let (round, schedule) = keeping_pace(&world, 1);
        assert_eq!(last(&round), position(0, 0));
        let old = vec![Action::Send, Action::Steal(position(0, 0))];
        let end = world.run(&[schedule, old].concat());
        assert_eq!(end.theft, Some(Party::Thief));
    }
}

/// He shows the *current* ticket, is given a branch and acknowledges it: from then on it is his, and she, who shares no jar
/// with him, is set nothing by it. So one of the two is a window too late.
#[test]
fn a_thief_with_other_headers_who_comes_in_time_does_not_ride_in_portable_either() {
    World::robbed(Product::portable(), ELSEWHERE).holds(&[NOT_FED]);
}
