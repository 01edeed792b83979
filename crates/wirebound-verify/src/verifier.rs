//! The verifier itself: a token in, what it says or why it is refused out.
//!
//! The order is: signature and claims, then whether it was called back, then whether that is known well enough to say. What
//! is known to be called back is refused however old the knowledge is.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use wirebound::revocation::{Place, Standing};
use wirebound::{Clock, Lifetime, Timestamp};
use wirebound_assertion::{Claims, Confirmation, Expected, Invalid, KeySet, check, check_bound};

use crate::ask::Asker;
use crate::builder::Builder;
use crate::follow::Follower;
use crate::keys::Keys;
use crate::known::Known;
use crate::policy::{Allowed, Bounds, Freshness};
use crate::reach::{Reach, Trouble};
use crate::refused::{Refused, Unsure};
use crate::seen::Seen;
use crate::system::Counter;

/// Checks assertions, and knows which were called back. Cheap to clone; all clones know the same.
#[derive(Clone)]
pub struct Verifier(Arc<Running>);

/// The tasks, ended with the last clone.
struct Running {
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A token that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// What it says.
    pub claims: Arc<Claims>,
    /// What it rests on that it was not called back.
    pub freshness: Freshness,
}

/// How well a verifier knows what was called back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Knowledge {
    /// How old it is; nothing before the first snapshot, since something was lost, or if the clock cannot say.
    pub age: Option<Lifetime>,
    /// The place in the feed that it stands at.
    pub place: Option<Place>,
    /// How many entries it has.
    pub entries: usize,
    /// Whether there are keys that are young enough.
    pub keys: bool,
    /// What is wrong with the feed, since the last beat.
    pub feed_trouble: Option<Trouble>,
    /// What is wrong with the keys, since they were fetched last.
    pub keys_trouble: Option<Trouble>,
}

/// What every clone and both tasks share.
pub(crate) struct Shared {
    expected: Expected,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
    counter: Counter,
    keys: Keys,
    seen: Seen,
    known: Arc<Known>,
    reach: Arc<Reach>,
    asker: Option<Asker>,
    feed_trouble: Mutex<Option<Trouble>>,
    keys_trouble: Mutex<Option<Trouble>>,
}

/// What a look without waiting came to.
enum Looked {
    Done(Checked),
    /// The gateway is to be asked about this one.
    Ask(Arc<Claims>),
    /// It names a key that is not known; there may be a new one.
    Hunt,
}

impl Shared {
    pub(crate) fn new(
        expected: Expected,
        bounds: Bounds,
        clock: Arc<dyn Clock>,
        counter: Counter,
        known: Arc<Known>,
        reach: Arc<Reach>,
        asker: Option<Asker>,
    ) -> Self {
        Self {
            expected,
            bounds,
            clock,
            counter,
            keys: Keys::new(),
            seen: Seen::new(),
            known,
            reach,
            asker,
            feed_trouble: Mutex::default(),
            keys_trouble: Mutex::default(),
        }
    }

    fn look(&self, token: &str, shown: Option<&Confirmation>) -> Result<Looked, Refused> {
        let unsure = |unsure| Err(Refused::StoreUnavailable(unsure));
        let Some(now) = self.clock.now() else {
            return unsure(Unsure::Clock);
        };
        let counted = self.counter.now();
        let Some(held) = self.keys.held(counted, self.bounds.longest()) else {
            return unsure(Unsure::Keys);
        };
        let claims = match shown {
            None => self.verified(token, &held.set, now),
            Some(shown) => check_bound(token, &held.set, &self.expected, now, shown).map(Arc::new),
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(Invalid::UnknownKey) => return Ok(Looked::Hunt),
            Err(invalid) => return Err(invalid.into()),
        };
        // First how old it is, then what it says: entries are there before the beat that vouches for them.
        let allowed = self.bounds.allow(self.known.age(now, counted));
        let forgotten = self.known.has_forgotten(&claims, self.expected.leeway);
        match (self.known.standing(&claims), allowed) {
            // Our clock went back: it had run out, and nothing is known of it any more.
            _ if forgotten => Err(Invalid::Expired.into()),
            (Standing::Revoked, _) => Err(Refused::PhantomSession),
            (Standing::Good, Allowed::Take(freshness)) => {
                Ok(Looked::Done(Checked { claims, freshness }))
            }
            (Standing::Good | Standing::Perhaps, Allowed::Ask)
            | (Standing::Perhaps, Allowed::Take(_)) => Ok(Looked::Ask(claims)),
            (Standing::Good | Standing::Perhaps, Allowed::Refuse(why)) => unsure(why),
        }
    }

    /// As [`check`] says; a token that was good a moment ago is not verified again.
    fn verified(
        &self,
        token: &str,
        keys: &Arc<KeySet>,
        now: Timestamp,
    ) -> Result<Arc<Claims>, Invalid> {
        if let Some(claims) = self.seen.find(token, keys, &self.expected, now) {
            return Ok(claims);
        }
        let claims = Arc::new(check(token, keys, &self.expected, now)?);
        self.seen.keep(token, keys, &claims);
        Ok(claims)
    }

    async fn ask(&self, token: &str, claims: Arc<Claims>) -> Result<Checked, Refused> {
        let Some(asker) = &self.asker else {
            return Err(Refused::StoreUnavailable(Unsure::NoAnswer));
        };
        match asker.stands(&self.reach, token, &claims).await {
            Ok(true) => Ok(Checked {
                claims,
                freshness: Freshness::Asked,
            }),
            Ok(false) => Err(Refused::PhantomSession),
            Err(_) => Err(Refused::StoreUnavailable(Unsure::NoAnswer)),
        }
    }
}

impl Verifier {
    /// Sets up a verifier of what this issuer (`https://host[:port]`, as its tokens say) says to this audience: the service's
    /// own name, as the gateway knows it.
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> Builder {
        Builder::new(issuer.into(), audience.into())
    }

    pub(crate) fn spawn(runtime: &Handle, shared: Arc<Shared>, follower: Follower) -> Self {
        let told = Arc::clone(&shared);
        let following = runtime.spawn(async move {
            follower
                .follow(|trouble| put(&told.feed_trouble, trouble))
                .await;
        });
        let told = Arc::clone(&shared);
        let keeping = runtime.spawn(async move {
            told.keys
                .keep(&told.reach, told.counter, |trouble| {
                    put(&told.keys_trouble, trouble);
                })
                .await;
        });
        Self(Arc::new(Running {
            shared,
            tasks: [following.abort_handle(), keeping.abort_handle()],
        }))
    }

    /// Checks a token that is bound to no key.
    ///
    /// Mostly it waits for nothing. It waits for the gateway where it must be asked, and where the token names a key that
    /// nobody has heard of, but for that at most once in ten seconds.
    ///
    /// # Errors
    ///
    /// Why the token is not taken.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: nothing is half done.
    pub async fn check(&self, token: &str) -> Result<Checked, Refused> {
        self.settle(token, None).await
    }

    /// Checks a token that is bound to the key or certificate that was shown on the same request.
    ///
    /// # Errors
    ///
    /// Why the token is not taken; one that is bound to none is not either.
    ///
    /// # Cancel safety
    ///
    /// As [`Verifier::check`].
    ///
    /// # Security
    ///
    /// `shown` must have been proved on this very request: by the client's certificate of this connection, or by a proof that
    /// was checked.
    pub async fn check_bound(&self, token: &str, shown: &Confirmation) -> Result<Checked, Refused> {
        self.settle(token, Some(shown)).await
    }

    async fn settle(&self, token: &str, shown: Option<&Confirmation>) -> Result<Checked, Refused> {
        let shared = &self.0.shared;
        let mut looked = shared.look(token, shown)?;
        if matches!(looked, Looked::Hunt) {
            shared.keys.hunt(shared.counter.now()).await;
            looked = shared.look(token, shown)?;
        }
        match looked {
            Looked::Done(checked) => Ok(checked),
            Looked::Ask(claims) => shared.ask(token, claims).await,
            Looked::Hunt => Err(Invalid::UnknownKey.into()),
        }
    }

    /// As [`Verifier::check`], for those who cannot wait.
    ///
    /// # Errors
    ///
    /// Why the token is not taken. Where the gateway would have to be asked, nobody can say ([`Unsure::MustAsk`]).
    pub fn try_check(&self, token: &str) -> Result<Checked, Refused> {
        self.try_settle(token, None)
    }

    /// As [`Verifier::check_bound`], for those who cannot wait.
    ///
    /// # Errors
    ///
    /// As [`Verifier::try_check`].
    pub fn try_check_bound(&self, token: &str, shown: &Confirmation) -> Result<Checked, Refused> {
        self.try_settle(token, Some(shown))
    }

    fn try_settle(&self, token: &str, shown: Option<&Confirmation>) -> Result<Checked, Refused> {
        let shared = &self.0.shared;
        match shared.look(token, shown)? {
            Looked::Done(checked) => Ok(checked),
            Looked::Ask(_) => Err(Refused::StoreUnavailable(Unsure::MustAsk)),
            Looked::Hunt => {
                // For whoever comes with that key next.
                shared.keys.want(shared.counter.now());
                Err(Invalid::UnknownKey.into())
            }
        }
    }

    /// Resolves once there were keys and a whole snapshot: from then on it can say.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn ready(&self) {
        self.0.shared.keys.first().await;
        self.0.shared.known.whole().await;
    }

    /// How old its knowledge is, which place in the feed it stands at, and what is wrong, if anything is.
    #[must_use]
    pub fn freshness(&self) -> Knowledge {
        let shared = &self.0.shared;
        let counted = shared.counter.now();
        let age = |now| shared.known.age(now, counted);
        Knowledge {
            age: shared.clock.now().and_then(age),
            place: shared.known.place(),
            entries: shared.known.entries(),
            keys: shared.keys.held(counted, shared.bounds.longest()).is_some(),
            feed_trouble: take(&shared.feed_trouble),
            keys_trouble: take(&shared.keys_trouble),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("expected", &self.0.shared.expected)
            .field("bounds", &self.0.shared.bounds)
            .field("freshness", &self.freshness())
            .finish_non_exhaustive()
    }
}

fn put(into: &Mutex<Option<Trouble>>, trouble: Option<Trouble>) {
    *into.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
}

fn take(from: &Mutex<Option<Trouble>>) -> Option<Trouble> {
    *from.lock().unwrap_or_else(PoisonError::into_inner)
}
