//! Times and places: the edges of a token's life, and to whom it was said. The clock is passed in.

use wirebound::{Lifetime, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Expected, Invalid, KeySet, LEEWAY, LEEWAY_MAX, LONGEST_LIFE, Seconds, check,
    sign,
};

use crate::common::{AUDIENCE, ISSUER, NOW, claims, expected, header, key, payload, set, signed};

fn token(said: &Claims) -> (String, KeySet) {
    let key = key(Algorithm::EdDsa, 1);
    (sign(&key, said).unwrap(), set(&[&key]))
}

fn ms(millis: u64) -> Lifetime {
    Lifetime::from_millis(millis)
}

#[test]
fn a_token_is_over_at_the_very_moment_that_its_leeway_ends() {
    let (token, keys) = token(&claims());
    let end = claims().expires.begins();
    for (leeway, counted) in [
        (Lifetime::ZERO, Lifetime::ZERO),
        (LEEWAY, LEEWAY),
        (LEEWAY_MAX, LEEWAY_MAX),
        // Nobody may be more generous than this.
        (Lifetime::from_days(1), LEEWAY_MAX),
        (Lifetime::from_millis(u64::MAX), LEEWAY_MAX),
    ] {
        let mut asked = expected();
        asked.leeway = leeway;
        let at = |now: Timestamp| check(&token, &keys, &asked, now).map(drop);
        let over = end.after(counted);
        assert_eq!(at(over.before(ms(1))), Ok(()));
        assert_eq!(at(over), Err(Invalid::Expired));
        assert_eq!(at(over.after(ms(1))), Err(Invalid::Expired));
        assert_eq!(at(Timestamp::NEVER), Err(Invalid::Expired));
    }
}

#[test]
fn a_token_from_the_future_is_not_taken_before_its_leeway() {
    let said = Seconds::of(NOW).plus(100);
    let from_the_future = Claims {
        issued: said,
        not_before: said,
        ..claims()
    };
    let later = Claims {
        not_before: said,
        ..claims()
    };
    for claims in [from_the_future, later] {
        let (token, keys) = token(&claims);
        let begin = said.begins();
        for (leeway, counted) in [
            (Lifetime::ZERO, Lifetime::ZERO),
            (LEEWAY, LEEWAY),
            (Lifetime::from_days(1), LEEWAY_MAX),
        ] {
            let mut asked = expected();
            asked.leeway = leeway;
            let at = |now: Timestamp| check(&token, &keys, &asked, now).map(drop);
            let from = begin.before(counted);
            assert_eq!(at(from), Ok(()));
            assert_eq!(at(from.before(ms(1))), Err(Invalid::NotYet));
            assert_eq!(at(Timestamp::ZERO), Err(Invalid::NotYet));
        }
    }
}

#[test]
fn a_token_that_was_made_to_last_too_long_is_refused_while_it_is_young() {
    let key = key(Algorithm::EdDsa, 1);
    let keys = set(&[&key]);
    let good = payload(&sign(&key, &claims()).unwrap());
    let lasting = |seconds: u64| {
        let exp = format!("\"exp\":{}", claims().issued.plus(seconds).as_u64());
        let payload = good.replace("\"exp\":1800000300", &exp);
        signed(&key, &header(&key), payload)
    };
    let mut asked = expected();
    for (longest, most) in [
        (LONGEST_LIFE, 900),
        (Lifetime::from_mins(5), 300),
        (Lifetime::from_secs(1), 1),
        (Lifetime::from_days(1), 900),
    ] {
        asked.longest = longest;
        let judged = |seconds| check(&lasting(seconds), &keys, &asked, NOW).map(drop);
        assert_eq!(judged(most), Ok(()));
        assert_eq!(judged(most + 1), Err(Invalid::TooLong));
        assert_eq!(judged(1_000_000_000), Err(Invalid::TooLong));
    }
}

#[test]
fn a_token_is_taken_by_its_audience_from_its_issuer_and_by_nobody_else() {
    let names = ["https://a.example", "https://b.example"];
    let mut taken = 0;
    for issuer in names {
        for audience in names {
            let (token, keys) = token(&Claims {
                issuer: issuer.to_owned(),
                audience: audience.to_owned(),
                ..claims()
            });
            for from in names {
                for to in names {
                    let judged = check(&token, &keys, &Expected::new(from, to), NOW).map(drop);
                    let expected = if from != issuer {
                        Err(Invalid::Issuer)
                    } else if to != audience {
                        Err(Invalid::Audience)
                    } else {
                        taken += 1;
                        Ok(())
                    };
                    assert_eq!(judged, expected, "{issuer} to {audience}: {from} to {to}");
                }
            }
        }
    }
    assert_eq!(taken, 4);
}

#[test]
fn names_are_compared_byte_by_byte() {
    let (token, keys) = token(&claims());
    for (issuer, audience) in [
        ("https://gate.example/", AUDIENCE),
        ("https://GATE.example", AUDIENCE),
        ("https://gate.exampl", AUDIENCE),
        ("", AUDIENCE),
        (ISSUER, "https://orders.example/"),
        (ISSUER, "https://orders.example:443"),
        (ISSUER, "https://orders"),
        (ISSUER, ""),
        (AUDIENCE, ISSUER),
    ] {
        let judged = check(&token, &keys, &Expected::new(issuer, audience), NOW);
        assert!(judged.is_err(), "{issuer} {audience}");
    }
    assert!(check(&token, &keys, &expected(), NOW).is_ok());
}
