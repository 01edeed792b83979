//! Published vectors: Wycheproof, RFC 7515, RFC 7520, RFC 8037 and RFC 7797.
//!
//! Every case runs. Where our answer is not the file's, the case stands in one of the tables here with its reason, or it is
//! of an algorithm that we do not speak; those are refused and counted, so that no case can vanish.

use std::collections::BTreeMap;

use serde_json::Value;
use wirebound::Secret;
use wirebound_assertion::{Algorithm, Invalid, Jwks, KeySet, Kid, VerifyingKey, jws};

use crate::common::unb64;

const JWS: &str = include_str!("../vectors/wycheproof/json_web_signature_test.json");
const ECDSA: &str = include_str!("../vectors/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json");
const ED25519: &str = include_str!("../vectors/wycheproof/ed25519_test.json");
const HMAC: &str = include_str!("../vectors/wycheproof/hmac_sha256_test.json");
const RFC7515: &str = include_str!("../vectors/rfc7515/rfc7515_appendix_a.json");

/// Cases of Wycheproof's JSON Web Signatures where we answer otherwise than the file.
const WYCHEPROOF_EXCEPTIONS: [(u64, &str); 4] = [
    (
        367,
        "said to have bad padding, but is byte for byte the valid token of case 357",
    ),
    (
        370,
        "said to have bad padding, but is byte for byte the valid token of case 357",
    ),
    (
        372,
        "said to be valid with a `?` in its header: RFC 7515 2 has no such character in base64url",
    ),
    (
        373,
        "said to be valid with a `?` in its payload: RFC 7515 2 has no such character in base64url",
    ),
];

/// Tokens of the RFCs that are valid there and refused here.
const RFC_EXCEPTIONS: [(&str, &str); 4] = [
    (
        "RFC7515-A.1",
        "names no key, and its secret of 64 bytes could not be one of ours: they have 32",
    ),
    ("RFC7515-A.3", "names no key"),
    ("curve25519/jws compact", "names no key"),
    (
        "rfc7797/hmac-sha2_b64_false compact",
        "its payload is not encoded (`b64`), which we do not speak",
    ),
];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().unwrap()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

fn bytes(value: &Value, member: &str) -> Vec<u8> {
    let digits = text(value, member);
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The set of the one key that a JWK is, or of none where we do not take it.
fn key_set(jwk: &Value) -> KeySet {
    let keys = if jwk["kty"] == "oct" {
        let secret = Secret::parse(text(jwk, "k").as_bytes());
        let kid = jwk["kid"].as_str().and_then(Kid::parse);
        secret
            .zip(kid)
            .map(|(secret, kid)| VerifyingKey::hs256(kid, &secret))
            .into_iter()
            .collect()
    } else {
        let mut jwk = jwk.clone();
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            jwk.as_object_mut().unwrap().remove(private);
        }
        let set = serde_json::json!({ "keys": [jwk] }).to_string();
        let keys = Jwks::parse(set.as_bytes()).unwrap();
        keys.keys().cloned().collect::<Vec<_>>()
    };
    KeySet::of(keys).unwrap()
}

fn counted<T: Ord>(outcomes: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    outcomes
        .into_iter()
        .fold(BTreeMap::new(), |mut counts, outcome| {
            *counts.entry(outcome).or_default() += 1;
            counts
        })
}

#[test]
fn the_json_web_signatures_of_wycheproof_are_judged_as_they_should_be() {
    let mut outcomes = Vec::new();
    for group in list(&parsed(JWS), "testGroups") {
        let jwk = group.get("public").unwrap_or_else(|| &group["private"]);
        let keys = key_set(jwk);
        let spoken = ["HS256", "ES256"].contains(&jwk["alg"].as_str().unwrap_or_default());
        assert!(spoken || keys.is_empty(), "{jwk}");
        for case in list(group, "tests") {
            let id = case["tcId"].as_u64().unwrap();
            let token = case["jws"].as_str().unwrap();
            let valid = case["result"] == "valid";
            let taken = jws::check(token, &keys).is_ok();
            let excepted = WYCHEPROOF_EXCEPTIONS.iter().any(|(named, _)| *named == id);
            if spoken {
                assert_eq!(taken, valid != excepted, "case {id}: {}", case["comment"]);
            } else {
                assert!(!taken && !excepted, "case {id}");
            }
            outcomes.push((spoken, valid, taken));
        }
    }
    let expected = [
        ((true, true, true), 10),
        // Of the exceptions two are taken and two are not.
        ((true, false, true), 2),
        ((true, true, false), 2),
        ((true, false, false), 65),
        ((false, true, false), 34),
        ((false, false, false), 288),
    ];
    assert_eq!(counted(outcomes), BTreeMap::from(expected));
}

#[test]
fn the_ecdsa_signatures_of_wycheproof_are_judged_as_the_file_says() {
    let mut outcomes = Vec::new();
    for group in list(&parsed(ECDSA), "testGroups") {
        let point = bytes(&group["publicKey"], "uncompressed");
        let (x, y) = point[1..].split_at(32);
        let key = VerifyingKey::p256(None, x.try_into().unwrap(), y.try_into().unwrap()).unwrap();
        for case in list(group, "tests") {
            let valid = case["result"] == "valid";
            let good = key.verifies(&bytes(case, "msg"), &bytes(case, "sig"));
            assert_eq!(good, valid, "case {}", case["tcId"]);
            outcomes.push(good);
        }
    }
    assert_eq!(
        counted(outcomes),
        BTreeMap::from([(true, 173), (false, 89)])
    );
}

#[test]
fn the_ed25519_signatures_of_wycheproof_are_judged_as_the_file_says() {
    let mut outcomes = Vec::new();
    for group in list(&parsed(ED25519), "testGroups") {
        let public = bytes(&group["publicKey"], "pk").try_into();
        let key = VerifyingKey::ed25519(None, &public.unwrap()).unwrap();
        for case in list(group, "tests") {
            let valid = case["result"] == "valid";
            let good = key.verifies(&bytes(case, "msg"), &bytes(case, "sig"));
            assert_eq!(good, valid, "case {}", case["tcId"]);
            outcomes.push(good);
        }
    }
    assert_eq!(counted(outcomes), BTreeMap::from([(true, 88), (false, 63)]));
}

#[test]
fn the_macs_of_wycheproof_are_judged_as_the_file_says_where_key_and_tag_have_32_bytes() {
    let mut outcomes = Vec::new();
    for group in list(&parsed(HMAC), "testGroups") {
        for case in list(group, "tests") {
            let valid = case["result"] == "valid";
            let Ok(secret) = bytes(case, "key").try_into() else {
                outcomes.push("no key of ours");
                continue;
            };
            let kid = Kid::parse("hmac").unwrap();
            let key = VerifyingKey::hs256(kid, &Secret::from_bytes(secret));
            let good = key.verifies(&bytes(case, "msg"), &bytes(case, "tag"));
            if group["tagSize"] == 256 {
                assert_eq!(good, valid, "case {}", case["tcId"]);
                outcomes.push(if good { "taken" } else { "refused" });
            } else {
                assert!(!good, "case {}: a tag that was cut", case["tcId"]);
                outcomes.push("refused: a tag that was cut");
            }
        }
    }
    let expected = [
        ("taken", 27),
        ("refused", 54),
        ("refused: a tag that was cut", 81),
        ("no key of ours", 12),
    ];
    assert_eq!(counted(outcomes), BTreeMap::from(expected));
}

/// Every token of the RFCs with its name, its key and whether it is valid there.
fn tokens_of_rfcs() -> Vec<(String, String, Value, bool)> {
    let mut tokens = Vec::new();
    for case in parsed(RFC7515).as_array().unwrap() {
        let token = case.get("jws").or_else(|| case.get("json")).unwrap();
        tokens.push((
            text(case, "id").to_owned(),
            token.as_str().unwrap().to_owned(),
            case.get("key").cloned().unwrap_or(Value::Null),
            case["result"] == "valid",
        ));
    }
    macro_rules! cookbook {
        ($($name:literal),+ $(,)?) => {[$((
            $name,
            parsed(include_str!(concat!("../vectors/jose-cookbook/", $name, ".json"))),
        )),+]};
    }
    let files = cookbook![
        "curve25519/ecdh-es",
        "curve25519/jws",
        "jws/4_1.rsa_v15_signature",
        "jws/4_2.rsa-pss_signature",
        "jws/4_3.ecdsa_signature",
        "jws/4_4.hmac-sha2_integrity_protection",
        "jws/4_5.signature_with_detached_content",
        "jws/4_6.protecting_specific_header_fields",
        "jws/4_7.protecting_content_only",
        "jws/4_8.multiple_signatures",
        "rfc7797/4.2.hmac-sha2_b64_false",
        "rfc7797/hmac-sha2_b64_false",
    ];
    for (name, file) in files {
        let key = &file["input"]["key"];
        // Where several sign, one is enough to try it with: the form is refused.
        let of_many = key.as_array().and_then(|keys| keys.last());
        let key = of_many.unwrap_or(key).clone();
        for (form, token) in file["output"].as_object().unwrap() {
            let compact = token.as_str().map(str::to_owned);
            let token = compact.unwrap_or_else(|| token.to_string());
            tokens.push((format!("{name} {form}"), token, key.clone(), true));
        }
    }
    tokens
}

#[test]
fn the_tokens_of_the_rfcs_are_judged_as_they_should_be() {
    let mut outcomes = Vec::new();
    for (name, token, jwk, valid) in tokens_of_rfcs() {
        let keys = if jwk.is_null() {
            KeySet::new()
        } else {
            key_set(&jwk)
        };
        let taken = jws::check(&token, &keys).is_ok();
        let excepted = RFC_EXCEPTIONS.iter().any(|(named, _)| *named == name);
        let outcome = if excepted {
            assert!(valid && !taken, "{name}");
            "refused: excepted"
        } else if !valid {
            assert!(!taken, "{name}");
            "refused: invalid"
        } else if token.starts_with('{') {
            assert_eq!(jws::check(&token, &keys).unwrap_err(), Invalid::Malformed);
            "refused: JSON form"
        } else if token.matches('.').count() == 4 {
            assert_eq!(jws::check(&token, &keys).unwrap_err(), Invalid::Malformed);
            "refused: encrypted"
        } else if token.contains("..") {
            assert_eq!(jws::check(&token, &keys).unwrap_err(), Invalid::Signature);
            "refused: detached"
        } else if ["RSA", "EC"].contains(&text(&jwk, "kty")) {
            assert!(!taken && keys.is_empty(), "{name}");
            "refused: not spoken"
        } else {
            assert!(taken, "{name}");
            "taken"
        };
        outcomes.push(outcome);
    }
    let expected = [
        ("taken", 1),
        ("refused: excepted", RFC_EXCEPTIONS.len()),
        ("refused: invalid", 4),
        ("refused: JSON form", 23),
        ("refused: detached", 1),
        ("refused: encrypted", 1),
        ("refused: not spoken", 5),
    ];
    assert_eq!(counted(outcomes), BTreeMap::from(expected));
}

#[test]
fn the_signatures_of_tokens_that_name_no_key_are_good_all_the_same() {
    for (name, algorithm) in [
        ("RFC7515-A.3", Algorithm::Es256),
        ("curve25519/jws compact", Algorithm::EdDsa),
    ] {
        let tokens = tokens_of_rfcs();
        let (_, token, mut jwk, _) = tokens.into_iter().find(|case| case.0 == name).unwrap();
        jwk["kid"] = "named".into();
        let keys = key_set(&jwk);
        let key = keys.key("named").unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(key.verifies(signed.as_bytes(), &unb64(signature)), "{name}");
        assert!(!key.verifies(b"another", &unb64(signature)), "{name}");
    }
}
