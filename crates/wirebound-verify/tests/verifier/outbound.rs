//! Where a verifier goes: to its gateway, over TLS that it trusts, and nowhere else.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use wirebound::Clock;
use wirebound_verify::{Invalid, Refused, Trouble, Trust, Verifier};

use super::rig::{AUDIENCE, FEED, Gateway, KEY, KEYS, Said, Trap, is_ready, published, until};

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn no_address_in_a_token_is_ever_spoken_to() {
    let gateway = Gateway::start().await;
    let (verifier, _feed) = gateway.ready(gateway.builder()).await;
    let trap = Trap::set().await;
    let url = format!("http://{}/keys", trap.address);
    let kid = gateway.key.kid().as_str();
    let good = gateway.token();
    let (_, rest) = good.split_once('.').unwrap();
    let typ = "wirebound-assertion+jwt";
    for header in [
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","jku":"{url}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","x5u":"{url}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{url}"}}"#),
        format!(
            r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","jwk":{{"kty":"OKP","x5u":"{url}"}}}}"#
        ),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"../../{kid}"}}"#),
    ] {
        let token = format!("{}.{rest}", encoded(&header));
        let refused = verifier.check(&token).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Refused::Unauthenticated(Invalid::Malformed | Invalid::UnknownKey)
            ),
            "{header}: {refused:?}"
        );
    }
    let mut elsewhere = gateway.claims();
    elsewhere.issuer = format!("http://{}", trap.address);
    let token = gateway.sign(&elsewhere);
    let issuer = Refused::Unauthenticated(Invalid::Issuer);
    assert_eq!(verifier.check(&token).await, Err(issuer));
    assert_eq!(trap.came().await, 0);
    assert_eq!(trap.came().await, 1, "the control: who comes is counted");
    assert!(gateway.asked(KEYS) <= 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let gateway = Gateway::start().await;
    let trap = Trap::set().await;
    for path in [KEYS, FEED] {
        let said = Said::new("text/plain", "").status(302);
        gateway.say(
            path,
            said.with("location", format!("http://{}/", trap.address)),
        );
    }
    let verifier = gateway.builder().start().unwrap();
    until("both say so", || {
        let knowledge = verifier.freshness();
        let both = [knowledge.keys_trouble, knowledge.feed_trouble];
        both == [Some(Trouble::Status(302)); 2]
    })
    .await;
    assert_eq!(trap.came().await, 0);
}

#[tokio::test]
async fn only_a_gateway_that_somebody_trusted_vouches_for_is_believed() {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let gateway = Gateway::start_with(Some(Arc::new(tls))).await;
    let builder = |pem: String| {
        Verifier::builder(gateway.issuer.clone(), AUDIENCE)
            .feed_key(KEY)
            .clock(Arc::clone(&gateway.clock) as Arc<dyn Clock>)
            .trust(Trust::Pem(pem.into_bytes()))
            .start()
            .unwrap()
    };
    let strange = builder(other.pem());
    until("nobody is there", || {
        strange.freshness().feed_trouble == Some(Trouble::Unreachable)
            && strange.freshness().keys_trouble == Some(Trouble::Unreachable)
    })
    .await;
    assert_eq!(gateway.asked(FEED) + gateway.asked(KEYS), 0);
    drop(strange);

    let verifier = builder(ours.pem());
    let mut feed = gateway.feed().await;
    feed.snapshot(0, &[], gateway.clock.at()).await;
    is_ready(&verifier).await;
    assert!(verifier.check(&gateway.token()).await.is_ok());
}

#[tokio::test]
async fn nothing_that_prints_holds_an_api_key() {
    let gateway = Gateway::start().await;
    gateway.say(KEYS, published(&[&gateway.key]));
    let (verifier, _feed) = gateway.ready(gateway.builder().introspect_key(KEY)).await;
    let (_, secret) = KEY.rsplit_once('_').unwrap();
    for shown in [
        format!("{verifier:?}"),
        format!("{:#?}", verifier.freshness()),
        format!("{:?}", gateway.builder().introspect_key(KEY)),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
