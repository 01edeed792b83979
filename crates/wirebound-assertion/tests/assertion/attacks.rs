//! Forgers: each attack that is told of JSON Web Tokens, beside a control in which it gets through.

use proptest::prelude::*;
use wirebound::Secret;
use wirebound_assertion::{
    Algorithm, Claims, Invalid, KeySet, SigningKey, TokenId, VerifyingKey, check, jws, sign,
};

use crate::common::{
    NOW, TYPE, b64, claims, expected, header, key, mac, payload, public, set, signature, signed,
    unb64,
};

/// Who is attacked: a verifier that has one key of each algorithm.
struct Mark {
    keys: [SigningKey; 3],
    set: KeySet,
}

impl Mark {
    fn new() -> Self {
        let keys = Algorithm::ALL.map(|algorithm| key(algorithm, 1));
        let set = set(&keys.each_ref());
        Self { keys, set }
    }

    fn judges(&self, token: &str) -> Result<Claims, Invalid> {
        check(token, &self.set, &expected(), NOW)
    }

    /// A good token of each key.
    fn tokens(&self) -> impl Iterator<Item = (&SigningKey, String)> {
        self.keys
            .iter()
            .map(|key| (key, sign(key, &claims()).unwrap()))
    }
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_good_token_is_taken() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        assert_eq!(mark.judges(&token), Ok(claims()), "{key:?}");
        // As anybody could write it by hand: the forger of this file signs genuinely.
        let by_hand = signed(key, &header(key), payload(&token));
        assert_eq!(mark.judges(&by_hand), Ok(claims()), "{key:?}");
    }
}

#[test]
fn no_spelling_of_none_is_an_algorithm() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        let [_, payload, signature] = parts(&token);
        for none in [
            "none",
            "None",
            "NONE",
            "nOnE",
            "noNe",
            "none ",
            " none",
            "n\\u006fne",
            "",
            "null",
            "0",
        ] {
            let header = format!(r#"{{"alg":"{none}","typ":"{TYPE}","kid":"{}"}}"#, key.kid());
            let header = b64(header);
            for signature in ["", signature, "AA", "."] {
                let forged = format!("{header}.{payload}.{signature}");
                let refused = mark.judges(&forged).unwrap_err();
                assert!(
                    matches!(refused, Invalid::Algorithm | Invalid::Malformed),
                    "{none}: {refused:?}"
                );
            }
            // Genuinely signed: what is wrong is the name alone.
            let message = format!("{header}.{payload}");
            let genuine = b64(crate::common::signature(key, message.as_bytes()));
            let refused = mark.judges(&format!("{message}.{genuine}"));
            assert_eq!(refused, Err(Invalid::Algorithm), "{none}");
        }
    }
}

#[test]
fn an_algorithm_is_named_in_one_way_by_one_key() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        let own = key.algorithm().name();
        for alg in [
            "EdDSA", "ES256", "HS256", "Ed25519", "Ed448", "ES256K", "ES384", "ES512", "RS256",
            "RS512", "PS256", "HS384", "HS512", "eddsa", "es256", "hs256", "EDDSA", "Es256",
            "HS256 ", "A128KW", "dir",
        ] {
            let header = header(key).replace(own, alg);
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            if alg == own {
                assert_eq!(judged, Ok(claims()));
            } else {
                assert_eq!(judged, Err(Invalid::Algorithm), "{alg} for {own}");
            }
        }
        for alg in ["7", "null", "true", "[]", "{}", &format!("[\"{own}\"]")] {
            let header = header(key).replace(&format!("\"{own}\""), alg);
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            assert_eq!(judged, Err(Invalid::Malformed), "{alg}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret_of_hs256() {
    let mark = Mark::new();
    let [ed, ec, _] = &mark.keys;
    let ed_jwk = wirebound_assertion::Jwks::of([ed.verifying()]);
    let point = public(ec);
    for (key, secret) in [
        (ed, public(ed)),
        (ed, b64(public(ed)).into_bytes()),
        (ed, ed_jwk.as_json().as_bytes().to_vec()),
        (ec, point.clone()),
        (ec, point[1..33].to_vec()),
        (ec, b64(&point).into_bytes()),
    ] {
        let header = format!(r#"{{"alg":"HS256","typ":"{TYPE}","kid":"{}"}}"#, key.kid());
        let good = sign(key, &claims()).unwrap();
        let message = format!("{}.{}", b64(header), parts(&good)[1]);
        let forged = format!("{message}.{}", b64(mac(&secret, message.as_bytes())));
        assert_eq!(mark.judges(&forged), Err(Invalid::Algorithm));
        // The control: a verifier that lets the token choose takes the public key for the secret, and believes it.
        if let Ok(secret) = secret.try_into() {
            let fooled = VerifyingKey::hs256(key.kid().clone(), &Secret::from_bytes(secret));
            let fooled = KeySet::of([fooled]).unwrap();
            assert_eq!(check(&forged, &fooled, &expected(), NOW), Ok(claims()));
        }
    }
}

#[test]
fn a_token_is_checked_under_the_key_that_it_names_and_under_no_other() {
    let mark = Mark::new();
    let stranger = key(Algorithm::EdDsa, 2);
    let forged = sign(&stranger, &claims()).unwrap();
    assert_eq!(mark.judges(&forged), Err(Invalid::UnknownKey));
    // Under the name of a key that is known.
    let named = header(&mark.keys[0]);
    let forged = signed(&stranger, &named, payload(&forged));
    assert_eq!(mark.judges(&forged), Err(Invalid::Signature));
    // The control: whoever knows the stranger believes it.
    let fooled = set(&[&stranger]);
    let genuine = sign(&stranger, &claims()).unwrap();
    assert_eq!(check(&genuine, &fooled, &expected(), NOW), Ok(claims()));
    // A good token that names another key that is known as well.
    let second = key(Algorithm::EdDsa, 3);
    let both = set(&[&mark.keys[0], &second]);
    let misnamed = signed(&mark.keys[0], &header(&second), payload(&genuine));
    assert_eq!(
        check(&misnamed, &both, &expected(), NOW),
        Err(Invalid::Signature)
    );
}

#[test]
fn the_name_of_a_key_leads_nowhere() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        let own = format!("\"{}\"", key.kid());
        for kid in [
            r#""""#,
            r#""../../../../../../dev/null""#,
            r#""/dev/null""#,
            r#""file:///dev/null""#,
            r#""https://evil.example/key""#,
            r#""x' UNION SELECT 'key';--""#,
            r#""|/usr/bin/id""#,
            r#""\u0000""#,
            r#""*""#,
            &format!("\"{} \"", key.kid()),
            &format!("\"{}\\u0000\"", key.kid()),
            &format!("\"{}\"", key.kid().as_str().to_ascii_uppercase()),
            &format!("\"{}\"", &key.kid().as_str()[1..]),
        ] {
            let header = header(key).replace(&own, kid);
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            assert_eq!(judged, Err(Invalid::UnknownKey), "{kid}");
        }
        for kid in ["null", "0", "true", "[]", "{}", &format!("[{own}]")] {
            let header = header(key).replace(&own, kid);
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            assert_eq!(judged, Err(Invalid::Malformed), "{kid}");
        }
        let nameless = header(key).replace(&format!(",\"kid\":{own}"), "");
        assert_ne!(nameless, header(key));
        let judged = mark.judges(&signed(key, &nameless, payload(&token)));
        assert_eq!(judged, Err(Invalid::Malformed));
    }
}

#[test]
fn a_header_that_says_more_is_refused_even_if_it_is_genuinely_signed() {
    let mark = Mark::new();
    let forger = key(Algorithm::EdDsa, 9);
    let x = b64(public(&forger));
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    for (key, token) in mark.tokens() {
        let own = header(key);
        let more = |member: &str| own.replacen('{', &format!("{{{member},"), 1);
        for member in [
            format!(r#""jwk":{jwk}"#),
            r#""jku":"https://evil.example/jwks.json""#.to_owned(),
            r#""x5u":"https://evil.example/cert""#.to_owned(),
            r#""x5c":["MIIB"]"#.to_owned(),
            r#""x5t":"AAAA""#.to_owned(),
            r#""x5t#S256":"AAAA""#.to_owned(),
            r#""crit":["exp"]"#.to_owned(),
            r#""crit":[]"#.to_owned(),
            r#""crit":["b64"],"b64":true"#.to_owned(),
            r#""b64":true"#.to_owned(),
            r#""b64":false"#.to_owned(),
            r#""zip":"DEF""#.to_owned(),
            r#""cty":"JWT""#.to_owned(),
            r#""enc":"A256GCM""#.to_owned(),
            r#""p2c":2147483647"#.to_owned(),
            r#""iss":"https://gate.example""#.to_owned(),
            r#""ALG":"none""#.to_owned(),
            r#""":"""#.to_owned(),
            // Twice, and twice in another spelling.
            format!(r#""alg":"{}""#, key.algorithm()),
            format!(r#""\u0061lg":"{}""#, key.algorithm()),
            r#""alg":"none""#.to_owned(),
            format!(r#""kid":"{}""#, key.kid()),
            r#""kid":"other""#.to_owned(),
            format!(r#""typ":"{TYPE}""#),
        ] {
            let judged = mark.judges(&signed(key, &more(&member), payload(&token)));
            assert_eq!(judged, Err(Invalid::Malformed), "{member}");
        }
        // The control: the same hand adds white space, which says nothing.
        let spaced = own.replacen('{', "{ \r\n\t", 1);
        assert_eq!(
            mark.judges(&signed(key, &spaced, payload(&token))),
            Ok(claims())
        );
    }
    // The forger signs, and brings the key along.
    let header = format!(
        r#"{{"alg":"EdDSA","typ":"{TYPE}","kid":"{}","jwk":{jwk}}}"#,
        mark.keys[0].kid()
    );
    let token = sign(&mark.keys[0], &claims()).unwrap();
    let forged = signed(&forger, &header, payload(&token));
    assert_eq!(mark.judges(&forged), Err(Invalid::Malformed));
}

#[test]
fn an_unencoded_payload_is_refused() {
    let mark = Mark::new();
    let (key, token) = mark.tokens().next().unwrap();
    let header = header(key).replacen('{', r#"{"crit":["b64"],"b64":false,"#, 1);
    let plain = payload(&token).replace('.', "");
    let message = format!("{}.{plain}", b64(header));
    let forged = format!("{message}.{}", b64(signature(key, message.as_bytes())));
    assert_eq!(mark.judges(&forged), Err(Invalid::Malformed));
}

#[test]
fn a_header_is_an_object_and_nothing_else() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        let (alg, kid) = (key.algorithm(), key.kid());
        let good = header(key);
        for header in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            // What a derived reader would take for the object.
            format!(r#"["{alg}","{TYPE}","{kid}"]"#),
            format!("[{good}]"),
            format!("{good}{good}"),
            format!("{good},"),
            format!("\u{feff}{good}"),
            format!("{good:?}"),
            good.replace('"', "'"),
            good.trim_end_matches('}').to_owned(),
            format!("{}{}", "[".repeat(2000), "]".repeat(2000)),
            format!(r#"{{"alg":{}{}}}"#, "[".repeat(2000), "]".repeat(2000)),
        ] {
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            assert_eq!(judged, Err(Invalid::Malformed), "{header}");
        }
        let mut not_text = good.into_bytes();
        let last = not_text.len() - 3;
        not_text[last] = 0xff;
        let message = format!("{}.{}", b64(not_text), parts(&token)[1]);
        let forged = format!("{message}.{}", b64(signature(key, message.as_bytes())));
        assert_eq!(mark.judges(&forged), Err(Invalid::Malformed));
    }
}

#[test]
fn a_token_of_another_kind_is_refused_even_if_it_is_genuinely_signed() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        for typ in [
            "JWT",
            "jwt",
            "at+jwt",
            "dpop+jwt",
            "dbsc+jwt",
            "secevent+jwt",
            "logout+jwt",
            "wirebound-assertion",
            "application/wirebound-assertion+jwt",
            "Wirebound-Assertion+JWT",
            "wirebound-assertion+jwt ",
            "",
        ] {
            let header = header(key).replace(TYPE, typ);
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            assert_eq!(judged, Err(Invalid::Type), "{typ:?}");
        }
        let untyped = header(key).replace(&format!("\"typ\":\"{TYPE}\","), "");
        let judged = mark.judges(&signed(key, &untyped, payload(&token)));
        assert_eq!(judged, Err(Invalid::Type));
        for typ in ["null", "7", "[]", "{}"] {
            let header = header(key).replace(&format!("\"{TYPE}\""), typ);
            let judged = mark.judges(&signed(key, &header, payload(&token)));
            assert_eq!(judged, Err(Invalid::Malformed), "{typ}");
        }
    }
}

#[test]
fn no_signature_that_is_empty_zero_cut_or_another_token_s_is_good() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        let (message, good) = token.rsplit_once('.').unwrap();
        let good = unb64(good);
        let other = Claims {
            id: TokenId::from_bytes([9; 16]),
            ..claims()
        };
        let other = sign(key, &other).unwrap();
        assert!(mark.judges(&other).is_ok());
        let swapped = [good[32.min(good.len() - 1)..].to_vec(), good[..32].to_vec()].concat();
        for signature in [
            vec![],
            vec![0],
            vec![0; 32],
            vec![0; 64],
            vec![0xff; good.len()],
            good[..good.len() - 1].to_vec(),
            good[1..].to_vec(),
            [good.as_slice(), &[0]].concat(),
            [&[0], good.as_slice()].concat(),
            [good.as_slice(), &good].concat(),
            swapped,
            unb64(parts(&other)[2]),
        ] {
            let forged = format!("{message}.{}", b64(&signature));
            assert_eq!(
                mark.judges(&forged),
                Err(Invalid::Signature),
                "{signature:x?}"
            );
        }
        // The signature moved over the payload, and the payload under another header.
        let [header, payload, signature] = parts(&token);
        let [_, other_payload, _] = parts(&other);
        let moved = format!("{header}.{other_payload}.{signature}");
        assert_eq!(mark.judges(&moved), Err(Invalid::Signature));
        for other_key in &mark.keys {
            if other_key.kid() != key.kid() {
                let header = b64(crate::common::header(other_key));
                let moved = format!("{header}.{payload}.{signature}");
                assert_eq!(mark.judges(&moved), Err(Invalid::Signature));
            }
        }
    }
}

/// n less the number that these 32 bytes are, where n is the order of P-256.
fn negated(s: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];
    let mut borrow = 0;
    let mut difference: Vec<u8> = ORDER
        .iter()
        .zip(s)
        .rev()
        .map(|(n, s)| {
            let one = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(one < 0);
            u8::try_from(one.rem_euclid(256)).unwrap()
        })
        .collect();
    difference.reverse();
    difference
}

#[test]
fn an_ecdsa_signature_in_der_is_refused_and_its_mirror_image_is_the_same_token() {
    let mark = Mark::new();
    let key = &mark.keys[1];
    let token = sign(key, &claims()).unwrap();
    let (message, good) = token.rsplit_once('.').unwrap();
    let good = unb64(good);
    let integer = |number: &[u8]| {
        let number: Vec<u8> = number
            .iter()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect();
        let sign = if number[0] < 0x80 { vec![] } else { vec![0] };
        let number = [sign, number].concat();
        [vec![2, u8::try_from(number.len()).unwrap()], number].concat()
    };
    let both = [integer(&good[..32]), integer(&good[32..])].concat();
    let der = [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat();
    // The control: it is a signature, in the other encoding.
    let other_encoding = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
        public(key),
    );
    assert!(other_encoding.verify(message.as_bytes(), &der).is_ok());
    let forged = format!("{message}.{}", b64(der));
    assert_eq!(mark.judges(&forged), Err(Invalid::Signature));

    // (r, n - s) is a signature by the standard, so one token has two texts. Whoever revokes does it by name.
    let mirrored = [&good[..32], &negated(&good[32..])].concat();
    assert_ne!(mirrored, good);
    let mirrored = format!("{message}.{}", b64(mirrored));
    assert_ne!(mirrored, token);
    assert_eq!(
        mark.judges(&mirrored).map(|claims| claims.id),
        Ok(claims().id)
    );
}

#[test]
fn a_token_has_one_spelling_of_its_bytes() {
    let mark = Mark::new();
    for (key, token) in mark.tokens() {
        let [header, payload, signature] = parts(&token);
        let standard = |part: &str| part.replace('-', "+").replace('_', "/");
        for spelling in [
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}=.{signature}"),
            format!("{header}.{payload}.{signature}="),
            format!("{header}.{payload}.{signature}=="),
            format!(" {token}"),
            format!("{token} "),
            format!("{token}\n"),
            format!("\t{token}"),
            format!("{header}. {payload}.{signature}"),
            format!("{header}.{payload}\r\n.{signature}"),
            format!("Bearer {token}"),
            format!("\"{token}\""),
            format!("{token}\0"),
            format!("{token}%3D"),
        ] {
            assert_eq!(
                mark.judges(&spelling),
                Err(Invalid::Malformed),
                "{spelling:?}"
            );
        }
        // The other alphabet; signed anew, because what is signed is the text.
        let wide = payload_of_wide_characters();
        let genuine = signed(key, &crate::common::header(key), &wide);
        assert!(jws::check(&genuine, &mark.set).is_ok());
        let other_alphabet = standard(parts(&genuine)[1]);
        assert_ne!(other_alphabet, parts(&genuine)[1]);
        let message = format!("{header}.{other_alphabet}");
        let forged = format!(
            "{message}.{}",
            b64(crate::common::signature(key, message.as_bytes()))
        );
        assert_eq!(mark.judges(&forged), Err(Invalid::Malformed));
        // Bits to spare at the end of each part, signed anew as well.
        for length in 1..=2 {
            let part = b64(&b"{}"[..length]);
            let next = char::from(*part.as_bytes().last().unwrap() + 1);
            let spare = format!("{}{next}", &part[..part.len() - 1]);
            let message = format!("{header}.{spare}");
            let forged = format!(
                "{message}.{}",
                b64(crate::common::signature(key, message.as_bytes()))
            );
            assert_eq!(
                jws::check(&forged, &mark.set).unwrap_err(),
                Invalid::Malformed
            );
        }
    }
}

/// Bytes whose base64 has characters in which the alphabets differ.
fn payload_of_wide_characters() -> Vec<u8> {
    vec![0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff]
}

#[test]
fn a_token_has_three_parts() {
    let mark = Mark::new();
    for (_, token) in mark.tokens() {
        let [header, payload, signature] = parts(&token);
        for other in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            header.to_owned(),
            format!("{header}.{payload}"),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{header}.{payload}."),
            format!(".{token}"),
            format!("{token}."),
            format!("{token}.{signature}"),
            format!("{token}.."),
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            format!("{payload}.{header}.{signature}"),
            format!(
                r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#
            ),
            format!(
                r#"{{"payload":"{payload}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#
            ),
        ] {
            let refused = mark.judges(&other).unwrap_err();
            let detached = other == format!("{header}..{signature}");
            let unsigned = other == format!("{header}.{payload}.");
            let expected = if detached || unsigned {
                Invalid::Signature
            } else {
                Invalid::Malformed
            };
            assert_eq!(refused, expected, "{other}");
        }
    }
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let mark = Mark::new();
    let key = &mark.keys[2];
    let of_length = |length: usize| {
        (0..=length)
            .rev()
            .map(|padding| signed(key, &header(key), format!("{{}}{}", " ".repeat(padding))))
            .find(|token| token.len() <= length)
            .unwrap()
    };
    let long = of_length(jws::JWS_MAX_BYTES);
    assert!(long.len() >= jws::JWS_MAX_BYTES - 3);
    assert!(jws::check(&long, &mark.set).is_ok());
    let longer = signed(key, &header(key), format!("{{}}{}", " ".repeat(8000)));
    assert!(longer.len() > jws::JWS_MAX_BYTES);
    assert_eq!(
        jws::check(&longer, &mark.set).unwrap_err(),
        Invalid::Oversized
    );
    for length in [jws::JWS_MAX_BYTES + 1, 100_000_000] {
        let nonsense = ".".repeat(length);
        assert_eq!(mark.judges(&nonsense), Err(Invalid::Oversized));
    }
    let nonsense = ".".repeat(jws::JWS_MAX_BYTES);
    assert_eq!(mark.judges(&nonsense), Err(Invalid::Malformed));
}

#[test]
fn what_is_said_of_a_bad_token_holds_no_byte_of_it() {
    let canary = "c4n4ry";
    let mark = Mark::new();
    let key = &mark.keys[0];
    let token = sign(key, &claims()).unwrap();
    let good = payload(&token);
    let forged = [
        format!("{canary}.{canary}.{canary}"),
        canary.to_owned(),
        signed(key, &format!(r#"{{"{canary}":1}}"#), &good),
        signed(key, &header(key).replace("EdDSA", canary), &good),
        signed(key, &header(key).replace(TYPE, canary), &good),
        signed(key, &header(key).replace(key.kid().as_str(), canary), &good),
        signed(key, &header(key), format!(r#"{{"{canary}":"{canary}"}}"#)),
        signed(
            key,
            &header(key),
            good.replace("https://gate.example", canary),
        ),
        signed(
            key,
            &header(key),
            good.replace("https://orders.example", canary),
        ),
        signed(
            &self::key(Algorithm::EdDsa, 5),
            &header(key),
            good.replace("user", canary),
        ),
        canary.repeat(2000),
    ];
    for token in forged {
        let refused = mark.judges(&token).unwrap_err();
        let said = format!("{refused} {refused:?} {}", refused.name());
        assert!(!said.contains(canary), "{said}");
        assert!(refused.to_string().is_ascii());
    }
    let names: std::collections::BTreeSet<_> = Invalid::ALL.iter().map(|why| why.name()).collect();
    assert_eq!(names.len(), Invalid::ALL.len());
}

#[test]
fn the_signature_is_checked_before_anything_of_the_payload_is_believed() {
    let mark = Mark::new();
    let forger = key(Algorithm::EdDsa, 9);
    let own = header(&mark.keys[0]);
    let good = payload(&sign(&mark.keys[0], &claims()).unwrap());
    for bad in [
        "{".to_owned(),
        good.replace("https://gate.example", "x"),
        good.replace("https://orders.example", "x"),
        good.replace("1800000300", "1800000001"),
        good.replace("\"nbf\":1800000000", "\"nbf\":1800000200"),
    ] {
        // Signed genuinely each says what is wrong with it; the control of the line after.
        let genuine = mark.judges(&signed(&mark.keys[0], &own, &bad));
        assert_ne!(genuine.map(drop), Err(Invalid::Signature), "{bad}");
        let forged = mark.judges(&signed(&forger, &own, &bad));
        assert_eq!(forged, Err(Invalid::Signature), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_token_survives_the_change_of_one_character(
        which in 0_usize..3,
        at in any::<prop::sample::Index>(),
        to in prop_oneof![
            3 => prop::sample::select(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.".map(char::from).to_vec()
            ),
            1 => any::<char>(),
        ],
        how in 0_u8..3,
    ) {
        let mark = Mark::new();
        let token = sign(&mark.keys[which], &claims()).unwrap();
        let at = at.index(token.len());
        let (before, rest) = token.split_at(at);
        let changed = match how {
            0 => format!("{before}{to}{}", &rest[1..]),
            1 => format!("{before}{to}{rest}"),
            _ => format!("{before}{}", &rest[1..]),
        };
        prop_assume!(changed != token);
        prop_assert!(mark.judges(&changed).is_err(), "{}", changed);
        prop_assert_eq!(mark.judges(&token), Ok(claims()));
    }

    #[test]
    fn nothing_that_is_sent_makes_it_stop(token in "[A-Za-z0-9_.=\\- \u{e4}]{0,200}") {
        let mark = Mark::new();
        prop_assert!(mark.judges(&token).is_err());
    }

    #[test]
    fn no_payload_that_is_signed_makes_it_stop(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mark = Mark::new();
        let key = &mark.keys[2];
        prop_assert_eq!(mark.judges(&signed(key, &header(key), &bytes)), Err(Invalid::Claims));
        let message = format!("{}.{}", b64(&bytes), b64("{}"));
        let forged = format!("{message}.{}", b64(signature(key, message.as_bytes())));
        prop_assert!(mark.judges(&forged).is_err());
    }
}
