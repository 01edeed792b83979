//! What counts while the feed is silent, at its very bound, by a clock that the test sets.

use std::time::Duration;

use wirebound::{Lifetime, Timestamp};
use wirebound_verify::{Freshness, Refused, Unsure, Verifier, WhenStale};

use super::rig::{ASK, Feed, Gateway, KEY, SESSION, START, Said, until};

const LEASE: u64 = 10_000;
const STALE: Refused = Refused::StoreUnavailable(Unsure::Stale);

fn freshness(verifier: &Verifier, token: &str) -> Result<Freshness, Refused> {
    verifier.try_check(token).map(|checked| checked.freshness)
}

const fn ms(millis: u64) -> Lifetime {
    Lifetime::from_millis(millis)
}

async fn started(when_stale: WhenStale) -> (Gateway, Verifier, Feed) {
    let gateway = Gateway::start().await;
    let builder = gateway
        .builder()
        .introspect_key(KEY)
        .lease(Duration::from_millis(LEASE))
        .policy(when_stale);
    let (verifier, feed) = gateway.ready(builder).await;
    (gateway, verifier, feed)
}

#[tokio::test]
async fn refuse_refuses_one_millisecond_after_the_lease() {
    let (gateway, verifier, mut feed) = started(WhenStale::Refuse).await;
    let token = gateway.token();
    gateway.clock.set(START + LEASE);
    let age = ms(LEASE);
    assert_eq!(freshness(&verifier, &token), Ok(Freshness::Fed { age }));
    gateway.clock.set(START + LEASE + 1);
    assert_eq!(freshness(&verifier, &token), Err(STALE));
    assert_eq!(verifier.check(&token).await, Err(STALE));
    feed.beat(0, gateway.clock.at()).await;
    until("fresh again", || freshness(&verifier, &token).is_ok()).await;
    assert_eq!(gateway.asked(ASK), 0, "it is not the policy to ask");
}

#[tokio::test]
async fn accept_accepts_for_its_bound_and_not_a_millisecond_more() {
    let (gateway, verifier, mut feed) =
        started(WhenStale::AcceptFor(Duration::from_secs(30))).await;
    let token = gateway.token();
    gateway.clock.set(START + LEASE + 1);
    let age = ms(LEASE + 1);
    assert_eq!(freshness(&verifier, &token), Ok(Freshness::Lapsed { age }));
    gateway.clock.set(START + LEASE + 30_000);
    let age = ms(LEASE + 30_000);
    assert_eq!(freshness(&verifier, &token), Ok(Freshness::Lapsed { age }));
    gateway.clock.set(START + LEASE + 30_001);
    assert_eq!(freshness(&verifier, &token), Err(STALE));
    // What is known to be called back is refused for that, however old it is.
    feed.revoke(1, SESSION).await;
    until("it is called back", || {
        freshness(&verifier, &token) == Err(Refused::PhantomSession)
    })
    .await;
}

#[tokio::test]
async fn ask_asks_one_millisecond_after_the_lease_and_about_nothing_before() {
    let (gateway, verifier, mut feed) = started(WhenStale::Ask).await;
    let token = gateway.token();
    gateway.clock.set(START + LEASE);
    assert!(verifier.check(&token).await.is_ok());
    assert_eq!(gateway.asked(ASK), 0);
    gateway.clock.set(START + LEASE + 1);
    let checked = verifier.check(&token).await.unwrap();
    assert_eq!(checked.freshness, Freshness::Asked);
    let (head, body) = gateway.question(ASK);
    assert_eq!(body, format!("token={token}"));
    assert_eq!(head["authorization"], format!("Bearer {KEY}"));
    assert_eq!(head["content-type"], "application/x-www-form-urlencoded");
    let cannot = Refused::StoreUnavailable(Unsure::MustAsk);
    assert_eq!(freshness(&verifier, &token), Err(cannot));

    gateway.say(ASK, Said::new("application/json", r#"{"active":false}"#));
    assert_eq!(verifier.check(&token).await, Err(Refused::PhantomSession));
    assert_eq!(gateway.asked(ASK), 2);

    feed.beat(0, gateway.clock.at()).await;
    until("fresh again", || freshness(&verifier, &token).is_ok()).await;
    assert!(verifier.check(&token).await.is_ok());
    assert_eq!(gateway.asked(ASK), 2, "nobody asks who knows");
}

#[tokio::test]
async fn ask_asks_before_the_first_snapshot() {
    let gateway = Gateway::start().await;
    let builder = gateway.builder().introspect_key(KEY).policy(WhenStale::Ask);
    let verifier = builder.start().unwrap();
    until("the keys are there", || verifier.freshness().keys).await;
    let checked = verifier.check(&gateway.token()).await.unwrap();
    assert_eq!(checked.freshness, Freshness::Asked);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let (gateway, verifier, _feed) = started(WhenStale::Ask).await;
    let token = gateway.token();
    gateway.clock.set(START + LEASE + 1);
    assert!(verifier.check(&token).await.is_ok(), "the control");
    let no_answer = Err(Refused::StoreUnavailable(Unsure::NoAnswer));
    let yes = r#"{"active":true}"#;
    let json = |body: &'static str| Said::new("application/json", body);
    let mut mute = json(yes);
    mute.mute = true;
    for said in [
        json(yes).status(401),
        json(yes).status(500),
        json(yes)
            .status(302)
            .with("location", "/.well-known/jwks.json"),
        Said::new("text/html", yes),
        json("{}"),
        json(r#"{"active":"true"}"#),
        json(r#"{"active":true,"jti":"AAAAAAAAAAAAAAAAAAAAAA"}"#),
        Said::new("application/json", format!("{yes}{}", " ".repeat(20_000))),
        mute,
    ] {
        gateway.say(ASK, said.clone());
        let status = said.status;
        assert_eq!(verifier.check(&token).await, no_answer, "{status}");
    }
}

#[tokio::test]
async fn a_stranger_makes_no_questions() {
    let (gateway, verifier, _feed) = started(WhenStale::Ask).await;
    gateway.clock.set(START + LEASE + 1);
    let good = gateway.token();
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    for token in [
        String::new(),
        "a.b.c".to_owned(),
        format!("{rest}."),
        format!("{rest}.{flipped}"),
    ] {
        assert!(verifier.check(&token).await.is_err());
    }
    assert_eq!(gateway.asked(ASK), 0);
    assert!(verifier.check(&good).await.is_ok());
    assert_eq!(gateway.asked(ASK), 1, "the control");
}

#[tokio::test]
async fn more_questions_than_may_be_are_not_asked() {
    let (gateway, verifier, _feed) = started(WhenStale::Ask).await;
    let token = gateway.token();
    gateway.clock.set(START + LEASE + 1);
    let mut mute = Said::new("application/json", "");
    mute.mute = true;
    gateway.say(ASK, mute);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let (verifier, token) = (verifier.clone(), token.clone());
        all.spawn(async move { verifier.check(&token).await });
    }
    let answers = all.join_all().await;
    let no_answer = Err(Refused::StoreUnavailable(Unsure::NoAnswer));
    assert!(answers.into_iter().all(|answer| answer == no_answer));
    assert_eq!(gateway.asked(ASK), 64);
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_nothing_good_again() {
    let (gateway, verifier, mut feed) = started(WhenStale::Refuse).await;
    let token = gateway.token();
    // An hour back, and the feed goes on as if nothing were.
    gateway.clock.set(START - 3_600_000);
    assert_eq!(
        freshness(&verifier, &token),
        Err(Refused::Unauthenticated(wirebound_verify::Invalid::NotYet))
    );
    gateway.clock.set(START + 5_000);
    feed.beat(0, gateway.clock.at()).await;
    until("the beat is heard", || {
        verifier.freshness().age < Some(ms(5_000))
    })
    .await;
    // The feed's word is of later than our clock says: as fresh as can be, and no fresher by waiting.
    gateway.clock.set(START);
    assert!(freshness(&verifier, &token).is_ok());
}

#[tokio::test]
async fn a_clock_that_cannot_say_takes_nothing() {
    let (gateway, verifier, _feed) = started(WhenStale::AcceptFor(Duration::from_secs(30))).await;
    let token = gateway.token();
    assert!(verifier.check(&token).await.is_ok());
    gateway.clock.set(Timestamp::ZERO.as_millis());
    let clock = Refused::StoreUnavailable(Unsure::Clock);
    assert_eq!(verifier.check(&token).await, Err(clock));
    assert_eq!(verifier.freshness().age, None);
}
