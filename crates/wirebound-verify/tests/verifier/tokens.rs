//! What a token must be, whatever the feed says.

use std::time::Duration;

use wirebound_assertion::{Algorithm, sign};
use wirebound_verify::{Confirmation, Invalid, Refused};

use super::rig::{Gateway, START, key};

#[tokio::test]
async fn a_bound_token_is_taken_only_with_what_it_is_bound_to() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    let plain = gateway.token();
    let mut claims = gateway.claims();
    claims.confirmation = Some(Confirmation::Key([1; 32]));
    let bound = gateway.sign(&claims);
    let unconfirmed = Err(Refused::Unauthenticated(Invalid::Unconfirmed));
    assert_eq!(verifier.check(&bound).await, unconfirmed);
    for wrong in [
        Confirmation::Key([2; 32]),
        Confirmation::Certificate([1; 32]),
    ] {
        assert_eq!(verifier.check_bound(&bound, &wrong).await, unconfirmed);
        assert_eq!(verifier.try_check_bound(&bound, &wrong), unconfirmed);
    }
    let shown = Confirmation::Key([1; 32]);
    let checked = verifier.check_bound(&bound, &shown).await.unwrap();
    assert_eq!(*checked.claims, claims);
    assert!(verifier.try_check_bound(&bound, &shown).is_ok());
    let unbound = Err(Refused::Unauthenticated(Invalid::Unbound));
    assert_eq!(verifier.check_bound(&plain, &shown).await, unbound);
}

#[tokio::test]
async fn what_has_run_out_is_told_from_what_was_never_good() {
    let gateway = Gateway::start().await;
    let builder = gateway.builder().lease(Duration::from_mins(15));
    let (verifier, _feed) = gateway.ready(builder).await;
    let token = gateway.token();
    gateway.clock.set(START + 604_999);
    assert!(verifier.check(&token).await.is_ok(), "within the leeway");
    gateway.clock.set(START + 605_000);
    assert_eq!(verifier.check(&token).await, Err(Refused::SessionExpired));
    // What somebody else signed is not told that its time is over.
    let mut forged = gateway.claims();
    forged.audience = "https://other.example".to_owned();
    let audience = Refused::Unauthenticated(Invalid::Audience);
    assert_eq!(verifier.check(&gateway.sign(&forged)).await, Err(audience));
    let strange = sign(&key(Algorithm::EdDsa), &gateway.claims()).unwrap();
    let unknown = Refused::Unauthenticated(Invalid::UnknownKey);
    assert_eq!(verifier.check(&strange).await, Err(unknown));
}
