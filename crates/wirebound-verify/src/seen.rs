//! Tokens whose signature was good a moment ago, so that the same token is not verified again with each request.
//!
//! Found by their whole text, never by a hash alone, and only under the very set of keys that they were verified with. Nothing
//! else is remembered: times are looked at again, and whether it was called back is asked each time. Only what was good gets
//! in, so a stranger pushes nobody out.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use wirebound::{Lifetime, Timestamp};
use wirebound_assertion::{Claims, Expected, KeySet, LEEWAY_MAX};

/// Locks, so that checks on several processors do not wait for each other. A power of two.
const PARTS: usize = 16;
/// Tokens of one part in one generation; there are two. With the longest text that is 16 MiB in all.
const TOKENS: usize = 128;
/// Longest token that is remembered.
const TEXT_MAX_BYTES: usize = 4096;

/// What was good.
#[derive(Debug)]
pub(crate) struct Seen {
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    young: HashMap<Box<str>, Good>,
    /// Pushed out all at once, when the young are many.
    old: HashMap<Box<str>, Good>,
}

#[derive(Clone, Debug)]
struct Good {
    claims: Arc<Claims>,
    keys: Arc<KeySet>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            parts: Default::default(),
        }
    }

    fn part(&self, token: &str) -> Option<&Mutex<Part>> {
        let [byte, ..] = self.hasher.hash_one(token).to_le_bytes();
        self.parts.get(usize::from(byte).checked_rem(PARTS)?)
    }

    /// What this token says, if it was good under these keys and its times are good at this one.
    pub(crate) fn find(
        &self,
        token: &str,
        keys: &Arc<KeySet>,
        expected: &Expected,
        now: Timestamp,
    ) -> Option<Arc<Claims>> {
        if token.len() > TEXT_MAX_BYTES {
            return None;
        }
        let mut part = self
            .part(token)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let good = match part.young.get(token) {
            Some(good) => good.clone(),
            None => {
                let (text, good) = part.old.remove_entry(token)?;
                part.put(text, good.clone());
                good
            }
        };
        drop(part);
        let same = Arc::ptr_eq(&good.keys, keys) && timely(&good.claims, expected.leeway, now);
        same.then_some(good.claims)
    }

    /// This token was good.
    pub(crate) fn keep(&self, token: &str, keys: &Arc<KeySet>, claims: &Arc<Claims>) {
        if token.len() > TEXT_MAX_BYTES {
            return;
        }
        let Some(part) = self.part(token) else {
            return;
        };
        let good = Good {
            claims: Arc::clone(claims),
            keys: Arc::clone(keys),
        };
        part.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(token.into(), good);
    }
}

impl Part {
    fn put(&mut self, text: Box<str>, good: Good) {
        if self.young.len() >= TOKENS {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(text, good);
    }
}

/// Whether a token that was verified is within its times. Where it is not, it is verified again, and the verdict is that
/// of the rules themselves: this may be stricter than they are, and never laxer.
fn timely(claims: &Claims, leeway: Lifetime, now: Timestamp) -> bool {
    let leeway = leeway.min(LEEWAY_MAX);
    now < claims.expires.begins().after(leeway) && claims.not_before.begins() <= now.after(leeway)
}

#[cfg(test)]
mod tests {
    use wirebound::{Entropy, EntropyError, SessionId, Strength, Subject};
    use wirebound_assertion::{Algorithm, Seconds, SigningKey, SubjectTag, TokenId, check, sign};

    use super::*;

    #[derive(Debug)]
    struct Drawn;

    impl Entropy for Drawn {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError::new())
        }
    }

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn expected() -> Expected {
        Expected::new("https://gate.example", "orders")
    }

    fn claims() -> Arc<Claims> {
        let issued = Seconds::of(START);
        Arc::new(Claims {
            issuer: expected().issuer,
            audience: expected().audience,
            subject: Subject::new(b"alice").unwrap(),
            issued,
            not_before: issued.plus(10),
            expires: issued.plus(20),
            id: TokenId::from_bytes([1; 16]),
            session: SessionId::from_bytes([2; 10]),
            role: "user".to_owned(),
            strength: Strength::Wire,
            generation: 0,
            tag: SubjectTag::from_bytes([3; 16]),
            confirmation: None,
        })
    }

    #[test]
    fn it_is_found_by_its_whole_text_under_the_same_keys() {
        let (seen, keys, claims) = (Seen::new(), Arc::new(KeySet::new()), claims());
        let now = START.after(Lifetime::from_secs(15));
        seen.keep("token", &keys, &claims);
        let find = |token, keys| seen.find(token, keys, &expected(), now).is_some();
        assert!(find("token", &keys));
        assert!(!find("tokeN", &keys));
        assert!(!find("token", &Arc::new(KeySet::new())), "fetched anew");
    }

    #[test]
    fn its_times_are_those_of_the_rules_to_the_millisecond() {
        let key = SigningKey::generate(Algorithm::EdDsa, &Drawn).unwrap();
        let keys = Arc::new(KeySet::of([key.verifying().clone()]).unwrap());
        let (seen, claims) = (Seen::new(), claims());
        let token = sign(&key, &claims).unwrap();
        seen.keep(&token, &keys, &claims);
        let mut expected = expected();
        for leeway in [0, 5_000, 60_000, 90_000] {
            expected.leeway = Lifetime::from_millis(leeway);
            let mut taken = 0;
            for edge in [10_000, 20_000] {
                for off in [-90_000, -60_000, -5_000, 0, 5_000, 60_000, 90_000] {
                    for by in [-1, 0, 1] {
                        let millis = 1_800_000_000_000_i64 + edge + off + by;
                        let now = Timestamp::from_millis(u64::try_from(millis).unwrap());
                        let found = seen.find(&token, &keys, &expected, now).is_some();
                        let good = check(&token, &keys, &expected, now).is_ok();
                        assert_eq!(found, good, "leeway {leeway}, {millis}");
                        taken += u32::from(found);
                    }
                }
            }
            assert!(taken > 0, "some are good");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let (seen, keys, claims) = (Seen::new(), Arc::new(KeySet::new()), claims());
        let now = START.after(Lifetime::from_secs(15));
        let find = |token: &str| seen.find(token, &keys, &expected(), now).is_some();
        seen.keep("used", &keys, &claims);
        for number in 0..20_000 {
            seen.keep(&format!("token {number}"), &keys, &claims);
            assert!(find("used"), "after {number}");
        }
        let held: usize = seen
            .parts
            .iter()
            .map(|part| {
                let part = part.lock().unwrap();
                part.young.len() + part.old.len()
            })
            .sum();
        assert!(held <= PARTS * TOKENS * 2, "{held}");
        assert!(!find("token 0"));
        let long = "x".repeat(TEXT_MAX_BYTES + 1);
        seen.keep(&long, &keys, &claims);
        assert!(!find(&long));
    }
}
