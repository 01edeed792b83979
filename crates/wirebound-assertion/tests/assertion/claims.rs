//! Claims: each of exactly its JSON type, none missing, none unknown, none twice; and what is issued is what is read.

use std::collections::BTreeMap;

use wirebound::{Strength, Subject};
use wirebound_assertion::{
    Algorithm, Claims, Confirmation, Expected, GENERATION_MAX, Invalid, Seconds, TOKEN_MAX_BYTES,
    Unsigned, check, check_bound, sign,
};

use crate::common::{
    AUDIENCE, ISSUER, NOW, b64, claims, expected, header, key, payload, set, signed,
};

/// The members of a good payload, each as the JSON that stands for it.
const GOOD: [(&str, &str); 12] = [
    ("iss", r#""https://gate.example""#),
    ("aud", r#""https://orders.example""#),
    ("sub", r#""j%C3%BCrgen%20%26%20co""#),
    ("iat", "1800000000"),
    ("nbf", "1800000000"),
    ("exp", "1800000300"),
    ("jti", r#""AQEBAQEBAQEBAQEBAQEBAQ""#),
    ("sid", r#""02020202020202020202""#),
    ("role", r#""user""#),
    ("strength", r#""wire""#),
    ("gen", "7"),
    ("stg", r#""AwMDAwMDAwMDAwMDAwMDAw""#),
];

/// A payload of these members, in this order.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<String> = members
        .into_iter()
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// What is made of a payload that is genuinely signed.
fn judged(payload: impl AsRef<[u8]>) -> Result<Claims, Invalid> {
    let key = key(Algorithm::EdDsa, 1);
    check(
        &signed(&key, &header(&key), payload),
        &set(&[&key]),
        &expected(),
        NOW,
    )
}

#[test]
fn what_is_written_is_as_documented() {
    let token = sign(&key(Algorithm::EdDsa, 1), &claims()).unwrap();
    assert_eq!(payload(&token), object(GOOD));
    assert_eq!(judged(object(GOOD)), Ok(claims()));
}

#[test]
fn every_claim_has_exactly_its_type() {
    let values = [
        "null",
        "true",
        "false",
        "0",
        "7",
        "-1",
        "-0",
        "1.5",
        "7.0",
        "7e0",
        "1e400",
        "1800000100",
        "1800000000.0",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740992",
        "253402300800",
        r#""""#,
        r#""999""#,
        r#""1800000100""#,
        r#""user""#,
        r#""a b""#,
        r#""\u0000""#,
        r#""\ud800""#,
        "[]",
        "[7]",
        r#"["user"]"#,
        r#"["https://orders.example"]"#,
        "{}",
        r#"{"a":7}"#,
        r#"{"jkt":"AAAA"}"#,
    ];
    // What is not refused as a claim, and what becomes of it then. Everything else is.
    let accepted: BTreeMap<(&str, &str), Result<(), Invalid>> = BTreeMap::from([
        (("iss", r#""999""#), Err(Invalid::Issuer)),
        (("iss", r#""1800000100""#), Err(Invalid::Issuer)),
        (("iss", r#""user""#), Err(Invalid::Issuer)),
        (("aud", r#""999""#), Err(Invalid::Audience)),
        (("aud", r#""1800000100""#), Err(Invalid::Audience)),
        (("aud", r#""user""#), Err(Invalid::Audience)),
        (("sub", r#""999""#), Ok(())),
        (("sub", r#""1800000100""#), Ok(())),
        (("sub", r#""user""#), Ok(())),
        (("role", r#""999""#), Ok(())),
        (("role", r#""1800000100""#), Ok(())),
        (("role", r#""user""#), Ok(())),
        (("gen", "0"), Ok(())),
        (("gen", "7"), Ok(())),
        (("gen", "1800000100"), Ok(())),
        (("gen", "253402300800"), Ok(())),
        (("iat", "0"), Err(Invalid::TooLong)),
        (("iat", "7"), Err(Invalid::TooLong)),
        (("nbf", "1800000100"), Err(Invalid::NotYet)),
        (("exp", "1800000100"), Ok(())),
    ]);
    let mut met = 0;
    for (name, _) in GOOD {
        for value in values {
            let changed =
                GOOD.map(|(member, good)| (member, if member == name { value } else { good }));
            let expected = accepted.get(&(name, value)).copied();
            met += usize::from(expected.is_some());
            assert_eq!(
                judged(object(changed)).map(drop),
                expected.unwrap_or(Err(Invalid::Claims)),
                "{name}: {value}"
            );
        }
        let missing = GOOD.into_iter().filter(|(member, _)| *member != name);
        assert_eq!(judged(object(missing)), Err(Invalid::Claims), "no {name}");
        let twice = GOOD
            .into_iter()
            .chain(GOOD.into_iter().filter(|(member, _)| *member == name));
        assert_eq!(judged(object(twice)), Err(Invalid::Claims), "{name} twice");
    }
    assert_eq!(met, accepted.len(), "a cell of the table was not met");
}

#[test]
fn a_claim_that_is_spelled_with_escapes_is_still_there_only_once() {
    let escaped = r#""\u0065xp""#.trim_matches('"');
    let renamed = GOOD.map(|(name, value)| (if name == "exp" { escaped } else { name }, value));
    assert_eq!(judged(object(renamed)), Ok(claims()));
    let twice = GOOD.into_iter().chain([(escaped, "1800000200")]);
    assert_eq!(judged(object(twice)), Err(Invalid::Claims));
}

#[test]
fn a_claim_that_nobody_knows_is_refused() {
    for unknown in ["scope", "admin", "EXP", "exp ", "Role", "", "crit", "cnf2"] {
        let more = GOOD.into_iter().chain([(unknown, "true")]);
        assert_eq!(judged(object(more)), Err(Invalid::Claims), "{unknown:?}");
    }
}

#[test]
fn a_payload_is_an_object_and_nothing_else() {
    let values: Vec<&str> = GOOD.iter().map(|(_, value)| *value).collect();
    let good = object(GOOD);
    for other in [
        String::new(),
        "null".to_owned(),
        "7".to_owned(),
        format!("{good:?}"),
        format!("[{good}]"),
        // What a derived reader would take for the object.
        format!("[{}]", values.join(",")),
        format!("[{},null]", values.join(",")),
        format!("{good}{good}"),
        format!("{good} x"),
        format!("\u{feff}{good}"),
        good.replacen('{', "{,", 1),
        good.replace('}', ",}"),
        good.replace('"', "'"),
        format!("/**/{good}"),
        good.trim_end_matches('}').to_owned(),
        format!("{}{}", "[".repeat(2500), "]".repeat(2500)),
        format!(r#"{{"iss":{}{}}}"#, "[".repeat(2500), "]".repeat(2500)),
        format!(
            r#"{{"cnf":{}1{}}}"#,
            r#"{"a":"#.repeat(600),
            "}".repeat(600)
        ),
    ] {
        assert_eq!(judged(&other), Err(Invalid::Claims), "{other:.80}");
    }
    assert_eq!(judged(format!(" \r\n\t{good}\n")), Ok(claims()));
    let with_byte = |byte: u8| {
        let mut bytes = good.clone().into_bytes();
        let at = bytes.windows(4).position(|four| four == b"user").unwrap();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(judged(with_byte(b'w')).unwrap().role, "wser");
    for byte in [0xff, 0xc3, 0x00, 0x1f, b'\n'] {
        assert_eq!(judged(with_byte(byte)), Err(Invalid::Claims), "{byte:#x}");
    }
}

#[test]
fn a_subject_of_any_bytes_arrives_as_it_was() {
    let key = key(Algorithm::EdDsa, 1);
    for subject in [
        b"a".to_vec(),
        vec![0],
        vec![0xff; 255],
        b"https://x.example/?q=%41&\"\\".to_vec(),
    ] {
        let said = Claims {
            subject: Subject::new(&subject).unwrap(),
            ..claims()
        };
        let token = sign(&key, &said).unwrap();
        assert_eq!(check(&token, &set(&[&key]), &expected(), NOW), Ok(said));
    }
    for other_spelling in ["a%62c", "%c3%bc", "a+b%2", "\\u00fc"] {
        let value = format!("\"{other_spelling}\"");
        let changed =
            GOOD.map(|(name, good)| (name, if name == "sub" { value.as_str() } else { good }));
        assert_eq!(judged(object(changed)), Err(Invalid::Claims), "{value}");
    }
}

#[test]
fn every_strength_and_both_confirmations_arrive() {
    let key = key(Algorithm::EdDsa, 1);
    for strength in [
        Strength::Bearer,
        Strength::Ticket,
        Strength::Wire,
        Strength::Device,
    ] {
        let said = Claims {
            strength,
            ..claims()
        };
        let token = sign(&key, &said).unwrap();
        assert_eq!(check(&token, &set(&[&key]), &expected(), NOW), Ok(said));
    }
    for shown in [
        Confirmation::Key([4; 32]),
        Confirmation::Certificate([4; 32]),
    ] {
        let said = Claims {
            confirmation: Some(shown),
            ..claims()
        };
        let token = sign(&key, &said).unwrap();
        let keys = set(&[&key]);
        let bound = |shown| check_bound(&token, &keys, &expected(), NOW, &shown);
        assert_eq!(bound(shown), Ok(said));
        // The control of the two that follow is the line above: the same token, with its key.
        assert_eq!(
            check(&token, &keys, &expected(), NOW),
            Err(Invalid::Unconfirmed)
        );
        for other in [
            Confirmation::Key([5; 32]),
            Confirmation::Certificate([5; 32]),
            // The same hash of another kind.
            match shown {
                Confirmation::Key(hash) => Confirmation::Certificate(hash),
                Confirmation::Certificate(hash) => Confirmation::Key(hash),
            },
        ] {
            assert_eq!(bound(other), Err(Invalid::Unconfirmed), "{other:?}");
        }
    }
    let unbound = sign(&key, &claims()).unwrap();
    let shown = Confirmation::Key([4; 32]);
    assert_eq!(
        check_bound(&unbound, &set(&[&key]), &expected(), NOW, &shown),
        Err(Invalid::Unbound)
    );
}

#[test]
fn a_confirmation_is_exactly_one_hash() {
    let hash = b64([4; 32]);
    let cnf = |value: &str| judged(object(GOOD.into_iter().chain([("cnf", value)])));
    for member in ["jkt", "x5t#S256"] {
        let good = format!(r#"{{"{member}":"{hash}"}}"#);
        assert_eq!(cnf(&good), Err(Invalid::Unconfirmed));
        for bad in [
            format!(r#"{{"{member}":"{hash}","{member}":"{hash}"}}"#),
            format!(r#"{{"{member}":"{hash}","kid":"x"}}"#),
            format!(r#"{{"{member}":"{hash}="}}"#),
            format!(r#"{{"{member}":"{}"}}"#, &hash[1..]),
            format!(r#"{{"{member}":"{}F"}}"#, &hash[..42]),
            format!(r#"{{"{member}":["{hash}"]}}"#),
            format!(r#"{{"{member}":null}}"#),
            format!(r#"{{"{member}":7}}"#),
            format!(r#"["{hash}"]"#),
            format!(r#"["{member}","{hash}"]"#),
            format!(r#""{hash}""#),
        ] {
            assert_eq!(cnf(&bad), Err(Invalid::Claims), "{bad}");
        }
    }
    for bad in [
        format!(r#"{{"jkt":"{hash}","x5t#S256":"{hash}"}}"#),
        format!(r#"{{"jwk":{{"kty":"oct","k":"{hash}"}}}}"#),
        format!(r#"{{"x5t":"{hash}"}}"#),
        "{}".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "7".to_owned(),
        "[]".to_owned(),
    ] {
        assert_eq!(cnf(&bad), Err(Invalid::Claims), "{bad}");
    }
}

#[test]
fn nothing_is_issued_that_nobody_would_take() {
    let key = key(Algorithm::EdDsa, 1);
    let keys = set(&[&key]);
    let at = |seconds| Seconds::of(NOW).plus(seconds);
    let long = |length| "x".repeat(length);
    let cases = [
        (
            Claims {
                issuer: String::new(),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                issuer: long(1025),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                issuer: "a b".to_owned(),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                audience: String::new(),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                audience: "\u{e4}".to_owned(),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                audience: long(1025),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                role: String::new(),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                role: "a\n".to_owned(),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                role: long(65),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                generation: GENERATION_MAX + 1,
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                expires: at(0),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                issued: at(1),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                not_before: at(300),
                ..claims()
            },
            Unsigned::Claims,
        ),
        (
            Claims {
                expires: at(901),
                ..claims()
            },
            Unsigned::TooLong,
        ),
    ];
    for (said, why) in cases {
        assert_eq!(sign(&key, &said), Err(why), "{said:?}");
    }
    for (issuer, audience, role, generation, life) in [
        (long(1024), long(1024), long(64), GENERATION_MAX, 900),
        ("x".to_owned(), "y".to_owned(), "z".to_owned(), 0, 1),
    ] {
        let said = Claims {
            issuer: issuer.clone(),
            audience: audience.clone(),
            role,
            generation,
            expires: at(life),
            ..claims()
        };
        let token = sign(&key, &said).unwrap();
        let asked = Expected::new(issuer, audience);
        assert_eq!(check(&token, &keys, &asked, NOW), Ok(said));
    }
    // Each of these characters takes two in JSON.
    let said = Claims {
        issuer: "\\".repeat(1024),
        audience: "\\".repeat(1024),
        ..claims()
    };
    let Err(Unsigned::Oversized { bytes }) = sign(&key, &said) else {
        panic!("a token that no cookie holds was issued");
    };
    assert!(bytes > TOKEN_MAX_BYTES);
}

#[test]
fn the_largest_token_fits_into_a_cookie() {
    let key = key(Algorithm::Es256, 1);
    let token = |length: usize| {
        sign(
            &key,
            &Claims {
                issuer: "\\".repeat(length / 2),
                audience: "a".repeat(1024),
                ..claims()
            },
        )
    };
    let largest = (0..=1024)
        .filter_map(|length| token(length * 2).ok())
        .map(|token| token.len())
        .max()
        .unwrap();
    assert!(
        (TOKEN_MAX_BYTES - 3..=TOKEN_MAX_BYTES).contains(&largest),
        "{largest}"
    );
    assert!("__Host-wirebound-assertion".len() + "=".len() + largest <= 4096);
    assert_eq!((ISSUER.len(), AUDIENCE.len()), (20, 22));
}
