//! What these tests share: keys from a seed, a set of claims, and a forger who can sign anything.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wirebound::{Entropy, EntropyError, SessionId, Strength, Subject, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Expected, KeySet, Seconds, SigningKey, SubjectTag, TokenId,
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(crate) const ISSUER: &str = "https://gate.example";
pub(crate) const AUDIENCE: &str = "https://orders.example";
/// The header of a good token has this type.
pub(crate) const TYPE: &str = "wirebound-assertion+jwt";

/// Repeatable "randomness": hashes of a counter that begins at a seed.
#[derive(Debug)]
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed << 32))
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(32) {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            chunk.copy_from_slice(&digest(&SHA256, &count.to_be_bytes()).as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

pub(crate) fn key(algorithm: Algorithm, seed: u64) -> SigningKey {
    SigningKey::generate(algorithm, &Seeded::new(seed)).unwrap()
}

pub(crate) fn set(keys: &[&SigningKey]) -> KeySet {
    KeySet::of(keys.iter().map(|key| key.verifying().clone())).unwrap()
}

pub(crate) fn expected() -> Expected {
    Expected::new(ISSUER, AUDIENCE)
}

/// Claims that hold at [`NOW`] and for five minutes.
pub(crate) fn claims() -> Claims {
    let issued = Seconds::of(NOW);
    Claims {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: Subject::new("j\u{fc}rgen & co".as_bytes()).unwrap(),
        issued,
        not_before: issued,
        expires: issued.plus(300),
        id: TokenId::from_bytes([1; 16]),
        session: SessionId::from_bytes([2; 10]),
        role: "user".to_owned(),
        strength: Strength::Wire,
        generation: 7,
        tag: SubjectTag::from_bytes([3; 16]),
        confirmation: None,
    }
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The payload of a token, as text.
pub(crate) fn payload(token: &str) -> String {
    String::from_utf8(unb64(token.split('.').nth(1).unwrap())).unwrap()
}

/// The header that we would write.
pub(crate) fn header(key: &SigningKey) -> String {
    format!(
        r#"{{"alg":"{}","typ":"{TYPE}","kid":"{}"}}"#,
        key.algorithm(),
        key.kid()
    )
}

/// The genuine signature of anything: what a careless issuer, or one who holds the key, could make.
pub(crate) fn signature(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let kept = key.to_bytes();
    let secret = &kept[2..34];
    match key.algorithm() {
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_seed_unchecked(secret).unwrap();
            pair.sign(message).as_ref().to_vec()
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                secret,
                &public(key),
            );
            let signed = pair.unwrap().sign(&SystemRandom::new(), message);
            signed.unwrap().as_ref().to_vec()
        }
        Algorithm::Hs256 => mac(secret, message),
    }
}

pub(crate) fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

/// The public half as raw bytes, read back from what is published.
pub(crate) fn public(key: &SigningKey) -> Vec<u8> {
    let jwks = wirebound_assertion::Jwks::of([key.verifying()]);
    let jwks: serde_json::Value = serde_json::from_str(jwks.as_json()).unwrap();
    let member = |name: &str| unb64(jwks["keys"][0][name].as_str().unwrap());
    match key.algorithm() {
        Algorithm::EdDsa => member("x"),
        Algorithm::Es256 => [vec![4], member("x"), member("y")].concat(),
        Algorithm::Hs256 => panic!("nothing of an HS256 key is public"),
    }
}

/// A token of any header and any payload, genuinely signed.
pub(crate) fn signed(key: &SigningKey, header: &str, payload: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", b64(header), b64(payload));
    let signature = b64(signature(key, message.as_bytes()));
    format!("{message}.{signature}")
}
