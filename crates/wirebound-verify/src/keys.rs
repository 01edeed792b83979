//! The gateway's keys: fetched from its one address, again before they are old, and once more for a key that nobody knows.
//!
//! A stranger can name any key he likes, so names that are not known make at most one request in ten seconds, however
//! many come. Keys that could not be fetched again in time are no keys: a key that leaked leaves the set, and must not
//! live on where nobody looks.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::{Notify, watch};
use wirebound::{Lifetime, Timestamp};
use wirebound_assertion::{JWKS_MAX_BYTES, Jwks, KeySet};

use crate::backoff::{Backoff, jittered};
use crate::reach::{Reach, Trouble, is_ok, is_type};
use crate::system::Counter;

const PATH: &str = "/.well-known/jwks.json";
/// Between two fetches for keys that are not known.
const HUNT: Lifetime = Lifetime::from_secs(10);
/// How long one who shows such a key is kept waiting.
const HUNTED: Duration = Duration::from_secs(3);
/// How long keys are good for if the gateway does not say, at least, and at most.
const LIFE: Duration = Duration::from_mins(5);
const LIFE_LEAST: Duration = Duration::from_secs(30);
const LIFE_MOST: Duration = Duration::from_hours(24);

/// The gateway's keys as they were fetched last.
#[derive(Debug)]
pub(crate) struct Keys {
    held: ArcSwapOption<Held>,
    /// From when on, by the counter, one more fetch may be asked for.
    next_hunt: AtomicU64,
    hunting: AtomicBool,
    wanted: Notify,
    tries: watch::Sender<u64>,
    first: watch::Sender<bool>,
}

/// Keys, and when they were said to be these.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) set: Arc<KeySet>,
    fetched: Timestamp,
    life: Lifetime,
    tag: Option<HeaderValue>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            held: ArcSwapOption::empty(),
            next_hunt: AtomicU64::new(0),
            hunting: AtomicBool::new(false),
            wanted: Notify::new(),
            tries: watch::Sender::new(0),
            first: watch::Sender::new(false),
        }
    }

    /// The keys, unless they are too old. They live as long as the gateway says, or as the oldest word of the feed that
    /// anything may rest on.
    pub(crate) fn held(&self, counted: Timestamp, least: Lifetime) -> Option<Arc<Held>> {
        self.held
            .load_full()
            .filter(|held| counted.since(held.fetched) <= held.life.max(least))
    }

    /// Asks for a fetch, if one may be asked for now.
    pub(crate) fn want(&self, counted: Timestamp) {
        let next = self.next_hunt.load(Ordering::Acquire);
        if counted.as_millis() < next {
            return;
        }
        let after = counted.after(HUNT).as_millis();
        let first =
            self.next_hunt
                .compare_exchange(next, after, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.hunting.store(true, Ordering::Release);
            self.wanted.notify_one();
        }
    }

    /// Asks for a fetch and waits for its end, or for that of one that is on its way. Returns at once if there is none.
    pub(crate) async fn hunt(&self, counted: Timestamp) {
        let mut tries = self.tries.subscribe();
        self.want(counted);
        if self.hunting.load(Ordering::Acquire) {
            let _in_time = tokio::time::timeout(HUNTED, tries.changed()).await;
        }
    }

    /// Resolves once there were keys.
    pub(crate) async fn first(&self) {
        let mut first = self.first.subscribe();
        // Cannot fail: the sender is here.
        let _seen = first.wait_for(|first| *first).await;
    }

    /// Fetches the keys again and again. Ends with the task that it runs in.
    pub(crate) async fn keep(
        &self,
        reach: &Reach,
        counter: Counter,
        tell: impl Fn(Option<Trouble>),
    ) {
        let mut backoff = Backoff::new();
        loop {
            let fetched = self.fetch(reach, counter).await;
            tell(fetched.err());
            self.hunting.store(false, Ordering::Release);
            self.tries
                .send_modify(|tries| *tries = tries.wrapping_add(1));
            let wait = match fetched {
                Ok(life) => {
                    backoff.reset();
                    self.first
                        .send_if_modified(|first| !core::mem::replace(first, true));
                    // Between 3/8 and 3/4 of their life.
                    jittered(life.saturating_mul(3).checked_div(4).unwrap_or(life))
                }
                Err(_) => backoff.next(),
            };
            let _which = tokio::time::timeout(wait, self.wanted.notified()).await;
        }
    }

    async fn fetch(&self, reach: &Reach, counter: Counter) -> Result<Duration, Trouble> {
        let had = self.held.load_full();
        let mut request = reach.get(PATH, "application/jwk-set+json, application/json");
        if let (Some(request), Some(tag)) = (
            request.as_mut(),
            had.as_ref().and_then(|held| held.tag.clone()),
        ) {
            request.headers_mut().insert(IF_NONE_MATCH, tag);
        }
        // Of before the question: an answer that takes long is older than it looks.
        let fetched = counter.now();
        let (head, body) = reach.ask(request, JWKS_MAX_BYTES).await?;
        let life = life(&head.headers);
        let lifetime = crate::policy::lifetime(life);
        let held = match (head.status, had) {
            (StatusCode::NOT_MODIFIED, Some(had)) if had.tag.is_some() => Held {
                set: had.set.clone(),
                fetched,
                life: lifetime,
                tag: had.tag.clone(),
            },
            _ => {
                is_ok(head.status)?;
                is_type(
                    &head.headers,
                    &["application/jwk-set+json", "application/json"],
                )?;
                Held {
                    set: Arc::new(Jwks::parse(&body).map_err(|_| Trouble::Malformed)?),
                    fetched,
                    life: lifetime,
                    tag: head.headers.get(ETAG).cloned(),
                }
            }
        };
        self.held.store(Some(Arc::new(held)));
        Ok(life)
    }
}

/// For how long an answer is good (RFC 9111 section 4.2.1), within our own bounds.
fn life(headers: &HeaderMap) -> Duration {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let mut said = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return LIFE_LEAST,
            // Said twice in two ways: the shorter.
            "max-age" => {
                let seconds = value.trim_matches('"').parse().unwrap_or(0);
                said = Some(said.map_or(seconds, |before: u64| before.min(seconds)));
            }
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|value| value.to_str().ok());
    let age = age.and_then(|age| age.parse().ok()).unwrap_or(0);
    let left = said.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)));
    left.unwrap_or(LIFE).clamp(LIFE_LEAST, LIFE_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_live_as_long_as_the_gateway_says_within_bounds() {
        let of = |control: &[&'static str], age: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for value in control {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            life(&headers).as_secs()
        };
        for (control, age, seconds) in [
            (&[][..], None, 300),
            (&["public, max-age=600"], None, 600),
            (&["public, Max-Age=\"600\""], None, 600),
            (&["max-age=600"], Some("200"), 400),
            (&["max-age=600"], Some("900"), 30),
            (&["max-age=600", "max-age=60"], None, 60),
            (&["max-age=600, no-cache"], None, 30),
            (&["no-store"], None, 30),
            (&["max-age=1"], None, 30),
            (&["max-age=x"], None, 30),
            (&["max-age=99999999999"], None, 86_400),
        ] {
            assert_eq!(of(control, age), seconds, "{control:?} {age:?}");
        }
    }

    #[test]
    fn however_many_ask_one_fetch_in_ten_seconds_is_made() {
        let keys = Keys::new();
        let at = Timestamp::from_millis;
        let asked = |counted| {
            keys.hunting.store(false, Ordering::Release);
            for _ in 0..1000 {
                keys.want(counted);
            }
            keys.hunting.load(Ordering::Acquire)
        };
        assert!(asked(at(5)));
        assert!(!asked(at(10_004)));
        assert!(asked(at(10_005)));
        assert!(!asked(at(10_006)));
    }

    #[test]
    fn keys_that_were_not_fetched_again_in_time_are_none() {
        let keys = Keys::new();
        let at = Timestamp::from_millis;
        assert!(keys.held(at(1), Lifetime::ZERO).is_none());
        keys.held.store(Some(Arc::new(Held {
            set: Arc::new(KeySet::new()),
            fetched: at(1_000),
            life: Lifetime::from_secs(30),
            tag: None,
        })));
        let held = |counted, least| keys.held(at(counted), Lifetime::from_secs(least)).is_some();
        assert!(held(31_000, 10));
        assert!(!held(31_001, 10));
        assert!(held(61_000, 60), "as long as the feed's last word counts");
        assert!(!held(61_001, 60));
    }
}
