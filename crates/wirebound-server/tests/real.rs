//! The gateway with real parts: a real Chromium and Firefox, a real Django, real thieves on the same machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says by panicking what is wrong"
)]

use std::path::Path;

use wirebound_testkit::chromium::Http;
use wirebound_testkit::gateway::Event;
use wirebound_testkit::theft::{copy_the_jar, take_the_nonce_first};
use wirebound_testkit::trial::{self, Before};
use wirebound_testkit::unchanged;

fn gateway() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_wirebound"))
}

async fn django(http: Http, protocol: &str) {
    let walk = unchanged::behind(gateway(), http).await.unwrap();
    assert!(
        walk.betrayed.is_empty(),
        "the browser was shown Django's own cookie: {:?}",
        walk.betrayed
    );
    assert!(
        walk.jar.named(unchanged::COOKIE).is_none(),
        "{:?}",
        walk.jar
    );
    assert!(
        walk.jar.named("__Host-wirebound").is_some(),
        "{:?}",
        walk.jar
    );
    assert!(
        walk.jar_after.named("__Host-wirebound").is_none(),
        "signed out: {:?}",
        walk.jar_after
    );
    assert!(
        walk.protocols.iter().all(|spoken| spoken == protocol),
        "{:?}",
        walk.protocols
    );
}

#[tokio::test]
async fn an_unchanged_django_behind_the_gateway_over_http_2() {
    django(Http::Two, "h2").await;
}

#[tokio::test]
async fn an_unchanged_django_behind_the_gateway_over_http_1() {
    django(Http::One, "http/1.1").await;
}

/// A Django that believes `X-Forwarded-Proto` compares `Origin` with `https`: which scheme it is shown is one key.
#[tokio::test]
async fn a_django_that_knows_of_tls_takes_the_clients_origin_and_no_other() {
    let knows = "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')";
    let told = Some("[upstream]\norigin = \"client\"\n");
    let walk = unchanged::behind_with(gateway(), Http::Two, knows, told).await;
    assert!(walk.unwrap().betrayed.is_empty());
    let refused = unchanged::behind_with(gateway(), Http::Two, knows, None).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("after the sign-in") && refused.contains("403"),
        "{refused}"
    );
}

async fn theft(http: Http) {
    let outcome = copy_the_jar(&Before::gateway(gateway()), http)
        .await
        .unwrap();
    assert_eq!(
        outcome.served,
        Vec::<String>::new(),
        "{} tries",
        outcome.tries
    );
    assert_eq!(outcome.served_by_app, 0);
    assert_eq!(outcome.victim_lost, Vec::<String>::new());
    assert!(outcome.tries >= 72, "{}", outcome.tries);
    let both =
        |event: &&Event| !event.text("newcomer").is_empty() && !event.text("holder").is_empty();
    let named = outcome
        .events
        .iter()
        .filter(|event| event.name == "contested")
        .filter(both)
        .count();
    assert!(named > 0, "no event names both sides");
    assert!(
        !outcome
            .events
            .iter()
            .any(|event| event.name == "session.ended"),
        "nobody was signed out"
    );
}

#[tokio::test]
async fn a_copied_cookie_jar_is_worth_nothing_over_http_2() {
    theft(Http::Two).await;
}

#[tokio::test]
async fn a_copied_cookie_jar_is_worth_nothing_over_http_1() {
    theft(Http::One).await;
}

async fn nonce(http: Http) {
    let outcome = take_the_nonce_first(&Before::gateway(gateway()), http)
        .await
        .unwrap();
    assert!(
        !outcome.thief_after,
        "the thief is out: {:#?}",
        outcome.events
    );
    assert!(
        !outcome.victim_after,
        "and so is the victim: {:#?}",
        outcome.events
    );
    assert!(
        outcome.events.iter().any(|event| event.name == "theft"),
        "{:#?}",
        outcome.events
    );
}

#[tokio::test]
async fn a_thief_who_is_first_with_the_hand_over_nonce_ends_the_session_for_both_over_http_2() {
    nonce(Http::Two).await;
}

#[tokio::test]
async fn a_thief_who_is_first_with_the_hand_over_nonce_ends_the_session_for_both_over_http_1() {
    nonce(Http::One).await;
}

#[tokio::test]
async fn no_legitimate_request_is_refused_in_the_short_form_of_the_trial() {
    for report in trial::short_form(gateway()).await.unwrap() {
        assert!(report.faults().is_empty());
    }
}
