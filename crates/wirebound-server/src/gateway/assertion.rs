//! What the app is told in a signed assertion: made once for a session, role and strength, and sent until half of its life
//! is over, it was called back, or the keys changed (the one that signed it may have been taken out).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use wirebound::engine::Engine;
use wirebound::revocation::{Issued, Standing};
use wirebound::store::{StoreError, StoreErrorKind};
use wirebound::{Role, SessionId, Strength, Timestamp, Verified};
use wirebound_tower::assertion::{Assertions, For, Shown};

/// A session is asked for under few names, in few roles and strengths.
const MOST: usize = 8;

/// So many sessions have theirs remembered: some 10 MB. Beyond it those that are busy make them anew.
const MOST_SESSIONS: usize = 8_192;

/// The assertions of all sessions that are good yet. Where requests are proved one by one nothing else of a session stays
/// between them.
#[derive(Debug, Default)]
pub(super) struct AllSent(Mutex<HashMap<SessionId, Arc<Sent>>>);

impl AllSent {
    pub(super) fn of(&self, session: SessionId, now: Timestamp) -> Arc<Sent> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_SESSIONS && !all.contains_key(&session) {
            all.retain(|_, sent| !sent.is_spent(now));
            if all.len() >= MOST_SESSIONS {
                all.clear();
            }
        }
        Arc::clone(all.entry(session).or_default())
    }
}

/// The assertions of one session that are good yet.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<Vec<Arc<One>>>);

#[derive(Debug)]
struct One {
    authority: Box<str>,
    role: Role,
    strength: Strength,
    value: HeaderValue,
    issued: Issued,
    renew: Timestamp,
    expires: Timestamp,
    /// The keys as they were shown then.
    keys: Arc<Shown>,
}

impl Sent {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<One>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_spent(&self, now: Timestamp) -> bool {
        self.list().iter().all(|one| now >= one.renew)
    }

    fn good(
        &self,
        engine: &Engine,
        verified: &Verified,
        authority: &str,
        keys: &Arc<Shown>,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let mut list = self.list();
        list.retain(|one| {
            now < one.renew
                && Arc::ptr_eq(&one.keys, keys)
                && engine.revocations().standing(&one.issued) == Standing::Good
        });
        let longest = verified.claimed_until().unwrap_or(Timestamp::NEVER);
        let same = |one: &&Arc<One>| {
            *one.authority == *authority
                && one.role == verified.role()
                && one.strength == verified.strength()
                && one.expires <= longest
        };
        list.iter().find(same).map(|one| one.value.clone())
    }

    /// The assertion for a request that was proved. Nothing, if none is issued for such a session.
    pub(super) async fn value(
        &self,
        assertions: &Assertions,
        engine: &Engine,
        verified: &Verified,
        authority: &str,
        now: Timestamp,
    ) -> Result<Option<HeaderValue>, StoreError> {
        let keys = assertions.keys.shown(now);
        if let Some(value) = self.good(engine, verified, authority, &keys, now) {
            return Ok(Some(value));
        }
        let made = assertions
            .make(engine, verified, authority, For::App, now)
            .await?;
        let Some(made) = made else { return Ok(None) };
        let mut value = HeaderValue::from_str(&made.text)
            .map_err(|error| StoreError::because(StoreErrorKind::Unavailable, error))?;
        value.set_sensitive(true);
        let mut list = self.list();
        if list.len() >= MOST {
            list.remove(0);
        }
        list.push(Arc::new(One {
            authority: authority.into(),
            role: verified.role(),
            strength: verified.strength(),
            value: value.clone(),
            issued: made.issued,
            renew: made.renew,
            expires: made.expires,
            keys,
        }));
        Ok(Some(value))
    }
}
