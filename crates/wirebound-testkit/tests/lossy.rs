//! Tickets over bad networks: some hundreds of sessions of the simulation whose long run is in `docs/tickets.md`.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use wirebound::Lifetime;
use wirebound::sequence::Advance;
use wirebound_testkit::lossy::{
    self, Case, Kind, Listener, Network, Outcome, Owner, Place, Plan, Posts,
};

const PLAN: Plan = Plan {
    sessions: 250,
    thefts: 20,
    seed: 7,
};

#[test]
fn no_honest_session_is_accused_in_the_default_mode_on_any_network() {
    let mut requests = 0;
    for (listener, network) in lossy::lines() {
        if !Network::ASSUMED.contains(&network) {
            continue;
        }
        let rules = listener.rules(Advance::default());
        for posts in [Posts::Keep, Posts::Change] {
            let row = lossy::honest(listener, network, rules, posts, None, PLAN);
            assert_eq!((row.accused, row.not_taken), (0, 0), "{row:?}");
            requests += row.requests;
        }
    }
    assert!(
        requests > 24 * PLAN.sessions * 100,
        "{requests}: the sessions were there"
    );
}

#[test]
fn with_a_window_shorter_than_a_stall_honest_sessions_are_accused() {
    // Not none at all: an answer later than half of it carries nothing.
    let short = Lifetime::from_millis(300);
    for listener in [Listener::Behind, Listener::Edge] {
        for (advance, least) in [(Advance::Interval, 20), (Advance::Every, 2)] {
            let mut rules = listener.rules(advance);
            rules.window = short;
            rules.lapse = Lifetime::ZERO;
            let row = lossy::honest(
                listener,
                Network::Lossy,
                rules,
                Posts::Keep,
                Some(short),
                PLAN,
            );
            assert!(row.accused > PLAN.sessions / least, "{row:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_sessions_and_another_seed_gives_others() {
    let run = |seed| {
        let rules = Listener::Behind.rules(Advance::default());
        let plan = Plan {
            seed,
            sessions: 50,
            ..PLAN
        };
        let row = lossy::honest(
            Listener::Behind,
            Network::Crash,
            rules,
            Posts::Keep,
            None,
            plan,
        );
        (row.requests, row.durable, row.soon)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// How many were found, rode to the end, and never got in.
fn outcomes(place: Place, owner: Owner, kind: Kind) -> [usize; 3] {
    let case = Case { place, owner, kind };
    let row = lossy::thefts(case, Advance::default(), PLAN);
    [Outcome::Found, Outcome::Rode, Outcome::NeverIn].map(|outcome| {
        let those = row.thefts.iter().filter(|theft| theft.outcome == outcome);
        those.count()
    })
}

#[test]
fn a_thief_who_goes_on_is_found_when_the_owner_is_back() {
    for place in [Place::Elsewhere, Place::Same, Place::Edge] {
        let active = outcomes(place, Owner::Away, Kind::Active);
        assert_eq!(active, [20, 0, 0], "{place:?}");
    }
    let restarted = outcomes(Place::Edge, Owner::Restarted, Kind::Active);
    assert_eq!(restarted, [20, 0, 0]);
}

#[test]
fn whoever_shows_his_copy_for_ever_is_found_by_an_owner_who_is_there() {
    let deaf = outcomes(Place::Elsewhere, Owner::There, Kind::Deaf);
    assert_eq!(deaf, [20, 0, 0]);
}

#[test]
fn from_elsewhere_nobody_rides_beside_the_owner_and_with_her_headers_some_do() {
    for kind in Kind::ALL {
        let [_, rode, _] = outcomes(Place::Elsewhere, Owner::There, kind);
        assert_eq!(rode, 0, "{kind:?}");
        // While a wire of hers is connected he is not heard at all.
        let edge = outcomes(Place::Edge, Owner::There, kind);
        assert_eq!(edge, [0, 0, 20], "{kind:?}");
    }
    // The control, and what SECURITY.md grants: behind a proxy nothing else parts the two.
    let [_, rode, _] = outcomes(Place::Same, Owner::There, Kind::Polite);
    assert!(rode > 0);
}
