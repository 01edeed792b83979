//! The controls of the trial and of the theft: with nothing in front of the app, they must see the thief.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use std::time::Duration;

use wirebound_testkit::theft;
use wirebound_testkit::trial::{self, Before, Browser, Http, Plan, Scenario};

#[tokio::test]
async fn the_trial_sees_a_thief_where_nothing_stops_him() {
    let plan = Plan {
        before: Before::Bare,
        browser: Browser::Chromium,
        http: Http::One,
        delay: Duration::from_millis(40),
        rounds: 1,
        scenarios: vec![Scenario::Fetch, Scenario::Socket, Scenario::PostBurst],
        thief: true,
    };
    let report = trial::run(&plan).await.unwrap();
    assert_eq!(report.counts.sign_ins, 9, "{:#}", report.json());
    assert!(report.thief_served() > 0, "{:#}", report.json());
    assert_eq!(
        report.thief.served, report.counts.thief_served,
        "both sides see the same"
    );
    assert_eq!(
        (report.refused(), report.strange()),
        (0, 0),
        "{:#}",
        report.json()
    );
    // Three phases, the two cold ones twice: five times one POST, five times six.
    assert_eq!(
        (report.counts.posts.len(), report.counts.doubled()),
        (35, 0)
    );
    assert_eq!(report.counts.sockets, 5);
    assert!(
        report.connections > 30,
        "HTTP/1.1 uses more than one: {}",
        report.connections
    );
    assert_eq!(report.faults().len(), 1, "{:?}", report.faults());
}

#[tokio::test]
async fn every_thief_of_the_theft_is_served_where_nothing_stops_him() {
    let outcome = theft::copy_the_jar(&Before::Bare, Http::Two).await.unwrap();
    // Three times, two copies, four thieves, three tries.
    assert_eq!(
        (outcome.tries, outcome.served.len()),
        (72, 72),
        "{outcome:#?}"
    );
    assert_eq!(outcome.served_by_app, 72);
    assert_eq!(outcome.victim_lost, Vec::<String>::new());
}
