//! The gateway's keys: new ones, withdrawn ones, and names that nobody has.

use wirebound_assertion::{Algorithm, sign};
use wirebound_verify::{Invalid, Refused, Trouble, Unsure};

use super::rig::{Gateway, KEYS, Said, key, published, until};

const UNKNOWN: Refused = Refused::Unauthenticated(Invalid::UnknownKey);

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_seen() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    assert_eq!(gateway.asked(KEYS), 1);
    let new = key(Algorithm::Es256);
    gateway.say(KEYS, published(&[&gateway.key, &new]));
    let token = sign(&new, &gateway.claims()).unwrap();
    // Who cannot wait is refused, and it is fetched for the next one.
    assert_eq!(verifier.try_check(&token), Err(UNKNOWN));
    until("the key is there", || verifier.try_check(&token).is_ok()).await;
    assert_eq!(gateway.asked(KEYS), 2);
    assert!(
        verifier.check(&gateway.token()).await.is_ok(),
        "the old one stays"
    );
}

#[tokio::test]
async fn who_can_wait_waits_for_a_new_key() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    let new = key(Algorithm::EdDsa);
    gateway.say(KEYS, published(&[&gateway.key, &new]));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let token = sign(&new, &gateway.claims()).unwrap();
        let verifier = verifier.clone();
        all.spawn(async move { verifier.check(&token).await });
    }
    assert!(all.join_all().await.iter().all(Result::is_ok));
    assert_eq!(gateway.asked(KEYS), 2);
}

#[tokio::test]
async fn a_storm_of_keys_that_nobody_has_makes_one_request() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let token = sign(&key(Algorithm::EdDsa), &gateway.claims()).unwrap();
        let verifier = verifier.clone();
        all.spawn(async move { verifier.check(&token).await });
    }
    let answers = all.join_all().await;
    assert_eq!(answers.len(), 200);
    assert!(answers.into_iter().all(|answer| answer == Err(UNKNOWN)));
    assert_eq!(
        gateway.asked(KEYS),
        2,
        "one at the start, one for all of these"
    );
    assert!(verifier.check(&gateway.token()).await.is_ok());
}

#[tokio::test]
async fn a_key_that_was_withdrawn_is_believed_no_longer_once_they_are_fetched_again() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    let new = key(Algorithm::EdDsa);
    gateway.say(KEYS, published(&[&new]));
    assert!(
        verifier.check(&gateway.token()).await.is_ok(),
        "not fetched yet"
    );
    let token = sign(&new, &gateway.claims()).unwrap();
    assert!(verifier.check(&token).await.is_ok());
    assert_eq!(verifier.check(&gateway.token()).await, Err(UNKNOWN));
}

#[tokio::test]
async fn keys_that_did_not_change_are_not_sent_again() {
    let gateway = Gateway::start().await;
    let tagged = published(&[&gateway.key]).with("etag", "\"one\"");
    gateway.say(KEYS, tagged);
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    gateway.say(KEYS, Said::new("text/plain", "").status(304));
    let strange = sign(&key(Algorithm::EdDsa), &gateway.claims()).unwrap();
    assert_eq!(verifier.check(&strange).await, Err(UNKNOWN));
    let (head, _) = gateway.question(KEYS);
    assert_eq!(head["if-none-match"], "\"one\"");
    assert_eq!(verifier.freshness().keys_trouble, None);
    assert!(verifier.check(&gateway.token()).await.is_ok());
}

#[tokio::test]
async fn keys_that_nobody_asked_about_are_not_unchanged() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    // They came without a tag: there is nothing that this could be an answer to.
    gateway.say(KEYS, Said::new("text/plain", "").status(304));
    let strange = sign(&key(Algorithm::EdDsa), &gateway.claims()).unwrap();
    assert_eq!(verifier.check(&strange).await, Err(UNKNOWN));
    let trouble = verifier.freshness().keys_trouble;
    assert_eq!(trouble, Some(Trouble::Status(304)));
}

#[tokio::test]
async fn without_keys_nobody_can_say() {
    let gateway = Gateway::start().await;
    let jwks = published(&[&gateway.key]).body;
    let kind = "application/jwk-set+json";
    let private = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AA","d":"AA"}]}"#;
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(70_000));
    for (said, trouble) in [
        (
            Said::new(kind, jwks.clone()).status(500),
            Trouble::Status(500),
        ),
        (Said::new("text/html", jwks.clone()), Trouble::ContentType),
        (Said::new(kind, "no keys"), Trouble::Malformed),
        (Said::new(kind, private), Trouble::Malformed),
        (Said::new(kind, large), Trouble::Oversized),
        // Nothing was asked that could be unchanged.
        (Said::new(kind, "").status(304), Trouble::Status(304)),
    ] {
        gateway.say(KEYS, said);
        let verifier = gateway.builder().start().unwrap();
        let mut feed = gateway.feed().await;
        feed.snapshot(0, &[], gateway.clock.at()).await;
        until(trouble.name(), || {
            verifier.freshness().keys_trouble == Some(trouble)
        })
        .await;
        let none = Refused::StoreUnavailable(Unsure::Keys);
        assert_eq!(verifier.check(&gateway.token()).await, Err(none));
        // It goes on trying.
        gateway.say(KEYS, published(&[&gateway.key]));
        super::rig::is_ready(&verifier).await;
        assert!(verifier.check(&gateway.token()).await.is_ok());
    }
}
