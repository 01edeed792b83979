//! Keys: how they are made, kept, named, published and read, and that they never print.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wirebound::{Entropy, EntropyError, Secret};
use wirebound_assertion::{
    Algorithm, JWKS_MAX_BYTES, Jwks, JwksError, KeyError, KeySet, Kid, SigningKey, VerifyingKey,
    sign,
};

use crate::common::{NOW, Seeded, claims, expected, key, set, unb64};

/// Gives one byte over and over for the first so many calls, then something better.
#[derive(Debug)]
struct Poor {
    byte: u8,
    calls: usize,
    made: AtomicUsize,
    then: Seeded,
}

impl Poor {
    const fn new(byte: u8, calls: usize) -> Self {
        Self {
            byte,
            calls,
            made: AtomicUsize::new(0),
            then: Seeded::new(1),
        }
    }
}

impl Entropy for Poor {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.made.fetch_add(1, Ordering::Relaxed) < self.calls {
            bytes.fill(self.byte);
            return Ok(());
        }
        self.then.fill(bytes)
    }
}

#[derive(Debug)]
struct Failing;

impl Entropy for Failing {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError::new())
    }
}

#[test]
fn no_key_is_made_without_randomness() {
    for algorithm in Algorithm::ALL {
        let made = SigningKey::generate(algorithm, &Failing);
        assert_eq!(made.unwrap_err(), KeyError::Entropy, "{algorithm}");
        assert!(SigningKey::generate(algorithm, &Seeded::new(1)).is_ok());
    }
}

#[test]
fn a_number_that_is_no_p256_key_is_drawn_again_and_not_bent_into_shape() {
    for byte in [0x00, 0xff] {
        let again = SigningKey::generate(Algorithm::Es256, &Poor::new(byte, 2)).unwrap();
        assert_eq!(again.kid(), key(Algorithm::Es256, 1).kid());
        let never = SigningKey::generate(Algorithm::Es256, &Poor::new(byte, usize::MAX));
        assert_eq!(never.unwrap_err(), KeyError::Entropy);
    }
}

#[test]
fn a_key_that_was_kept_signs_and_checks_as_before() {
    for algorithm in Algorithm::ALL {
        let before = key(algorithm, 1);
        let kept = before.to_bytes();
        let after = SigningKey::from_bytes(&kept).unwrap();
        assert_eq!(after.kid(), before.kid());
        assert_eq!(after.algorithm(), algorithm);
        assert_eq!(after.to_bytes(), kept);
        for (signer, checker) in [(&before, &after), (&after, &before)] {
            let token = sign(signer, &claims()).unwrap();
            let read = wirebound_assertion::check(&token, &set(&[checker]), &expected(), NOW);
            assert_eq!(read, Ok(claims()), "{algorithm}");
        }
    }
}

#[test]
fn kept_bytes_that_are_no_key_are_refused() {
    for algorithm in Algorithm::ALL {
        let kept = key(algorithm, 1).to_bytes().to_vec();
        let changed = |at: usize, to: u8| {
            let mut bytes = kept.clone();
            bytes[at] = to;
            bytes
        };
        for length in 0..kept.len() {
            let cut = SigningKey::from_bytes(&kept[..length]);
            assert_eq!(cut.unwrap_err(), KeyError::Length, "{algorithm} {length}");
        }
        let long = [kept.clone(), vec![0]].concat();
        for (bytes, error) in [
            (long, KeyError::Length),
            (changed(0, 0), KeyError::Version { found: 0 }),
            (changed(0, 2), KeyError::Version { found: 2 }),
            (changed(1, 0), KeyError::Algorithm),
            (changed(1, 4), KeyError::Algorithm),
        ] {
            let read = SigningKey::from_bytes(&bytes);
            assert_eq!(read.unwrap_err(), error, "{algorithm}");
        }
    }
    let zero = [[1, 2].as_slice(), &[0; 32]].concat();
    assert_eq!(
        SigningKey::from_bytes(&zero).unwrap_err(),
        KeyError::NotAKey
    );
}

#[test]
fn the_name_of_a_key_is_its_thumbprint() {
    // RFC 8037 A.3.
    let x = unb64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let named = VerifyingKey::ed25519(None, &x.try_into().unwrap()).unwrap();
    assert_eq!(
        named.kid().as_str(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    // Computed elsewhere, from the key of RFC 7515 A.3 and the text that RFC 7638 3.2 asks for.
    let x = unb64("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
    let y = unb64("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let named = VerifyingKey::p256(None, &x.try_into().unwrap(), &y.try_into().unwrap()).unwrap();
    assert_eq!(
        named.kid().as_str(),
        "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
    );
    assert_eq!(key(Algorithm::Hs256, 1).kid().as_str().len(), 22);
    assert_ne!(
        key(Algorithm::Hs256, 1).kid(),
        key(Algorithm::Hs256, 2).kid()
    );
}

#[test]
fn no_key_prints_its_secret() {
    for algorithm in Algorithm::ALL {
        let signing = key(algorithm, 1);
        let kept = signing.to_bytes();
        let secret = &kept[2..34];
        let ring = wirebound_assertion::Ring::new(key(algorithm, 1), NOW);
        let shown = format!(
            "{signing:?} {:?} {:?} {ring:?} {ring:#?} {:?} {:?}",
            signing.verifying(),
            set(&[&signing]),
            ring.list(NOW),
            ring.jwks(NOW),
        );
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [
            crate::common::b64(secret),
            hex,
            format!("{secret:?}"),
            format!("{secret:x?}"),
            Secret::from_bytes(secret.try_into().unwrap()).expose_text(),
        ] {
            assert!(!shown.contains(&spelling), "{algorithm}");
            // The control: whoever prints the bytes prints one of these.
            let careless = format!("{spelling} {secret:?}");
            assert!(careless.contains(&spelling));
        }
        assert!(shown.contains(signing.kid().as_str()));
    }
}

#[test]
fn points_that_protect_nothing_are_no_keys() {
    // Under the neutral point one signature is good for every message: R = [S]B, whatever was signed.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut of_nothing = vec![0; 64];
    of_nothing[0] = 1;
    let beneath = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ED25519,
        neutral.as_slice(),
    );
    assert!(
        beneath.verify(b"anything", &of_nothing).is_ok(),
        "the library takes it: the check above it is needed"
    );
    let refused = VerifyingKey::ed25519(None, &neutral);
    assert_eq!(refused.unwrap_err(), KeyError::NotAKey);

    let eight: [&str; 2] = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut small: Vec<[u8; 32]> = eight
        .iter()
        .map(|hex| {
            std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        })
        .collect();
    small.push([0; 32]);
    small.push(neutral);
    for low in 0xec..=0xff {
        // 2^255 - 20 is the point of order two; from 2^255 - 19 on it is another spelling of a small number.
        let mut odd = [0xff; 32];
        odd[0] = low;
        odd[31] = 0x7f;
        small.push(odd);
    }
    for point in small {
        for sign in [0, 0x80] {
            let mut point = point;
            point[31] |= sign;
            let refused = VerifyingKey::ed25519(None, &point);
            assert_eq!(refused.unwrap_err(), KeyError::NotAKey, "{point:x?}");
        }
    }
    let mut largest = [0xff; 32];
    (largest[0], largest[31]) = (0xeb, 0x7f);
    assert!(VerifyingKey::ed25519(None, &largest).is_ok());
}

#[test]
fn a_point_beside_the_curve_is_no_key() {
    let good = crate::common::public(&key(Algorithm::Es256, 1));
    let of = |point: &[u8]| {
        let (x, y) = point[1..].split_at(32);
        VerifyingKey::p256(None, x.try_into().unwrap(), y.try_into().unwrap())
    };
    assert!(of(&good).is_ok());
    for (at, flip) in [(64, 1), (1, 0x80), (33, 0x80), (32, 1)] {
        let mut beside = good.clone();
        beside[at] ^= flip;
        let refused = of(&beside);
        assert_eq!(refused.unwrap_err(), KeyError::NotAKey, "byte {at}");
    }
    for nothing in [[0; 65], [0xff; 65]] {
        assert_eq!(of(&nothing).unwrap_err(), KeyError::NotAKey);
    }
}

#[test]
fn a_set_holds_one_key_of_a_name() {
    let one = key(Algorithm::EdDsa, 1);
    let twice = KeySet::of([one.verifying().clone(), one.verifying().clone()]);
    assert_eq!(twice.unwrap_err(), KeyError::Duplicate);
    assert_eq!(set(&[&one]).len(), 1);
    for bad in ["", " ", "a b", "\u{e4}", "a\n", &"k".repeat(129)] {
        assert_eq!(Kid::parse(bad), None);
    }
}

#[test]
fn what_is_published_is_read_and_never_holds_a_secret() {
    let keys = Algorithm::ALL.map(|algorithm| key(algorithm, 1));
    let published = Jwks::of(keys.iter().map(SigningKey::verifying));
    let json: Value = serde_json::from_str(published.as_json()).unwrap();
    assert_eq!(json["keys"].as_array().unwrap().len(), 2);
    for key in json["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "sig");
        for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
            assert_eq!(key.get(private), None);
        }
    }
    for signing in &keys {
        let kept = signing.to_bytes();
        assert!(
            !published
                .as_json()
                .contains(&crate::common::b64(&kept[2..34]))
        );
    }
    let read = Jwks::parse(published.as_json().as_bytes()).unwrap();
    assert_eq!(read.len(), 2);
    for signing in &keys {
        let token = sign(signing, &claims()).unwrap();
        let checked = wirebound_assertion::check(&token, &read, &expected(), NOW);
        assert_eq!(checked.is_ok(), signing.algorithm().is_asymmetric());
    }
}

/// The two published keys as JSON.
fn jwks() -> Value {
    let keys = [key(Algorithm::EdDsa, 1), key(Algorithm::Es256, 2)];
    let published = Jwks::of(keys.iter().map(SigningKey::verifying));
    serde_json::from_str(published.as_json()).unwrap()
}

fn parse(set: &Value) -> Result<usize, JwksError> {
    Jwks::parse(set.to_string().as_bytes()).map(|keys| keys.len())
}

#[test]
fn keys_that_we_do_not_speak_are_passed_over() {
    assert_eq!(parse(&jwks()), Ok(2));
    for (at, member, value, left) in [
        (0, "kty", json!("RSA"), 1),
        (0, "kty", json!("AKP"), 1),
        (0, "crv", json!("Ed448"), 1),
        (0, "crv", json!("X25519"), 1),
        (0, "crv", Value::Null, 1),
        (1, "crv", json!("P-384"), 1),
        (1, "crv", json!("secp256k1"), 1),
        (0, "alg", json!("ES256"), 1),
        (0, "alg", json!("HS256"), 1),
        (0, "alg", json!("none"), 1),
        (1, "alg", json!("ES384"), 1),
        (0, "use", json!("enc"), 1),
        (0, "key_ops", json!(["sign"]), 1),
        (0, "key_ops", json!([]), 1),
        (0, "key_ops", json!(["verify"]), 2),
        (0, "kid", Value::Null, 1),
        (0, "alg", Value::Null, 2),
        (0, "use", Value::Null, 2),
        (0, "extra", json!({"a": [1]}), 2),
        (0, "x5u", json!("https://evil.example"), 2),
    ] {
        let mut set = jwks();
        let key = set["keys"][at].as_object_mut().unwrap();
        // Nothing stands for a member that is absent.
        if value.is_null() {
            key.remove(member);
        } else {
            key.insert(member.to_owned(), value.clone());
        }
        assert_eq!(parse(&set), Ok(left), "{member} {value}");
    }
    let mut set = jwks();
    set["next"] = json!("whatever");
    assert_eq!(parse(&set), Ok(2));
    assert_eq!(parse(&json!({"keys": []})), Ok(0));
}

#[test]
fn a_set_that_cannot_be_trusted_is_refused_as_a_whole() {
    for (at, member, value, error) in [
        (0, "d", json!("AAAA"), JwksError::Private),
        (1, "d", json!("AAAA"), JwksError::Private),
        (0, "k", json!("AAAA"), JwksError::Private),
        (0, "p", json!(1), JwksError::Private),
        (0, "oth", json!([]), JwksError::Private),
        (0, "kid", json!(1), JwksError::Malformed),
        (0, "kid", json!(""), JwksError::Malformed),
        (0, "kid", json!("a b"), JwksError::Malformed),
        (0, "kty", json!(["OKP"]), JwksError::Malformed),
        (0, "alg", json!(null), JwksError::Malformed),
        (0, "alg", json!(["EdDSA"]), JwksError::Malformed),
        (0, "use", json!(["sig"]), JwksError::Malformed),
        (0, "key_ops", json!("verify"), JwksError::Malformed),
        (0, "key_ops", json!([1]), JwksError::Malformed),
        (0, "x", json!("AAAA"), JwksError::NotAKey),
        (0, "x", json!("A".repeat(43)), JwksError::NotAKey),
        (0, "x", json!("A".repeat(44)), JwksError::NotAKey),
        (
            0,
            "x",
            json!(format!("{}=", "A".repeat(43))),
            JwksError::NotAKey,
        ),
        (1, "x", json!("A".repeat(43)), JwksError::NotAKey),
        (1, "y", json!("A".repeat(43)), JwksError::NotAKey),
        (1, "y", json!(7), JwksError::Malformed),
    ] {
        let mut set = jwks();
        set["keys"][at][member] = value.clone();
        assert_eq!(parse(&set), Err(error), "{member} {value}");
    }
    // A key that we would pass over taints the set as well.
    let with = |third: Value| {
        let mut set = jwks();
        set["keys"].as_array_mut().unwrap().push(third);
        parse(&set)
    };
    let name = jwks()["keys"][0]["kid"].clone();
    assert_eq!(
        with(json!({"kty": "RSA", "kid": "r", "n": "AQ", "e": "AQAB"})),
        Ok(2)
    );
    for (third, error) in [
        (
            json!({"kty": "RSA", "kid": "r", "n": "AQ", "e": "AQAB", "d": "AQ"}),
            JwksError::Private,
        ),
        (
            json!({"kty": "oct", "kid": "o", "k": "AQ"}),
            JwksError::Private,
        ),
        (
            json!({"kty": "RSA", "kid": name, "n": "AQ", "e": "AQAB"}),
            JwksError::Duplicate,
        ),
        (jwks()["keys"][1].clone(), JwksError::Duplicate),
        (json!({"kid": "no kty"}), JwksError::Malformed),
    ] {
        assert_eq!(with(third.clone()), Err(error), "{third}");
    }
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[[]]}"#,
        r#"{"keys":[]"#,
        r#"{"keys":[]} x"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"[[]]"#,
        r#"{"keys":[{"kty":"OKP","kty":"RSA"}]}"#,
        "\u{feff}{\"keys\":[]}",
    ] {
        let read = Jwks::parse(text.as_bytes());
        assert_eq!(read.unwrap_err(), JwksError::Malformed, "{text}");
    }
    assert_eq!(
        Jwks::parse(b"{\"keys\":[],\"x\":\"\xff\"}").unwrap_err(),
        JwksError::Malformed
    );
}

#[test]
fn a_set_is_bounded_before_it_is_read() {
    let many = |count: usize| json!({"keys": vec![json!({"kty": "RSA"}); count]});
    assert_eq!(parse(&many(32)), Ok(0));
    assert_eq!(parse(&many(33)), Err(JwksError::Oversized));
    let padded = |length: usize| format!("{{\"keys\":[]{}}}", " ".repeat(length - 11));
    assert!(Jwks::parse(padded(JWKS_MAX_BYTES).as_bytes()).is_ok());
    let long = padded(JWKS_MAX_BYTES + 1);
    assert_eq!(
        Jwks::parse(long.as_bytes()).unwrap_err(),
        JwksError::Oversized
    );
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let elsewhere = format!(r#"{{"keys":[],"x":{deep}}}"#);
    assert!(Jwks::parse(elsewhere.as_bytes()).unwrap().is_empty());
    for deep in [
        format!(r#"{{"keys":{deep}}}"#),
        format!(r#"{{"keys":[{{"kty":"RSA","n":{deep}}}]}}"#),
    ] {
        assert_eq!(
            Jwks::parse(deep.as_bytes()).unwrap_err(),
            JwksError::Malformed
        );
    }
}
