//! All API keys, in memory, so that checking one asks no store; and what is found when one is checked.
//!
//! What is here was in the store before. A key of which a write failed or was cut off is doubted: until it has been read again
//! its holder is told that nobody can say, and is never let in on what was true before.

use core::fmt;
use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;

use super::record::{KeyLabel, KeyRecord, KeyScopes, RevokedBy};
use super::{ApiKeyId, Shown};
use crate::identity::Identity;
use crate::ids::Subject;
use crate::keys::Digest;
use crate::sync::{AtomicBool, AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::time::Timestamp;

/// Most keys that there are, dead ones that are still listed among them. At under 2 KiB each: 20 MiB.
pub(crate) const MAX_KEYS: usize = 10_000;

/// What no text has for its digest: held against what was shown where there is nothing to hold against it.
const NOBODYS: Digest = Digest::from_bytes([0; 32]);

/// A key that was checked and is good at this moment. Made nowhere outside the crate.
#[derive(Clone, Debug)]
pub struct VerifiedKey {
    id: ApiKeyId,
    /// Which of its secrets was shown.
    digest: Digest,
    label: KeyLabel,
    owner: Subject,
    scopes: KeyScopes,
}

impl PartialEq for VerifiedKey {
    /// Shown by the same secret, with the same rights.
    fn eq(&self, other: &Self) -> bool {
        let same = self.digest.matches(&other.digest);
        same && (self.id, &self.label, &self.owner, &self.scopes)
            == (other.id, &other.label, &other.owner, &other.scopes)
    }
}

impl Eq for VerifiedKey {}

impl VerifiedKey {
    /// Its public name.
    #[must_use]
    pub const fn id(&self) -> ApiKeyId {
        self.id
    }

    /// What the operator calls it.
    #[must_use]
    pub const fn label(&self) -> &KeyLabel {
        &self.label
    }

    /// Whose it is.
    #[must_use]
    pub const fn owner(&self) -> &Subject {
        &self.owner
    }

    /// What it may do.
    #[must_use]
    pub const fn scopes(&self) -> &KeyScopes {
        &self.scopes
    }
}

/// Why a key is not taken.
///
/// # Security
///
/// All but `Malformed`, `Unknown` and `Unsure` are told of the genuine secret only, so nobody learns from them which ids there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// It is no key, or was mistyped: its checksum is wrong.
    Malformed,
    /// There is no key of this id and this secret.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// A newer secret took this one's place, and the time that both were good for is over.
    Superseded,
    /// Its owner is blocked or was removed.
    OwnerGone,
    /// Nobody can say: the keys were not read yet, or the store failed while this one was being changed.
    Unsure,
}

impl KeyRefusal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::Superseded,
        Self::OwnerGone,
        Self::Unsure,
    ];

    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::OwnerGone => "owner_gone",
            Self::Unsure => "unsure",
        }
    }
}

impl fmt::Display for KeyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an API key, or mistyped",
            Self::Unknown => "no key of this id and this secret",
            Self::Expired => "the key has expired",
            Self::Revoked => "the key was revoked",
            Self::Superseded => "a newer secret took this one's place",
            Self::OwnerGone => "the key's owner is blocked or was removed",
            Self::Unsure => "it cannot be said whether the key is good",
        })
    }
}

impl core::error::Error for KeyRefusal {}

/// A key as it is held here.
#[derive(Debug)]
struct Held {
    record: KeyRecord,
    /// Its owner is blocked or was removed.
    owner_gone: bool,
    /// When it was last used, in ms; 0 is never. Ahead of the record until it is written down.
    used: AtomicU64,
}

impl Held {
    /// Why even its genuine secret is refused.
    fn refused(&self, now: Timestamp) -> Option<KeyRefusal> {
        match self.record.revoked {
            Some((_, RevokedBy::OwnerRemoved)) => Some(KeyRefusal::OwnerGone),
            Some((_, RevokedBy::Operator | RevokedBy::Leak | RevokedBy::Holder)) => {
                Some(KeyRefusal::Revoked)
            }
            None if self.owner_gone => Some(KeyRefusal::OwnerGone),
            None if self.record.is_expired(now) => Some(KeyRefusal::Expired),
            None => None,
        }
    }

    fn last_used(&self) -> Option<Timestamp> {
        match self.used.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }
}

/// A key as it stands here, with why it would be refused.
pub(crate) struct Standing {
    pub(crate) record: KeyRecord,
    pub(crate) last_used: Option<Timestamp>,
    pub(crate) refused: Option<KeyRefusal>,
}

/// All keys.
#[derive(Default)]
pub(crate) struct HeldKeys {
    inner: RwLock<Inner>,
    /// The time that has passed for sure, in ms: what is over by it stays so, also if the clock goes back.
    passed: AtomicU64,
    /// The store was read through once.
    recalled: AtomicBool,
}

#[derive(Default)]
struct Inner {
    keys: HashMap<ApiKeyId, Held>,
    owners: HashMap<Subject, BTreeSet<ApiKeyId>>,
    doubted: BTreeSet<ApiKeyId>,
}

impl HeldKeys {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// So late it is for sure.
    pub(crate) fn passed(&self, by: Timestamp) {
        self.passed.fetch_max(by.as_millis(), Ordering::AcqRel);
    }

    fn at_least(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp::from_millis(self.passed.load(Ordering::Acquire)))
    }

    /// Checks what somebody shows, and notes that it was used. Neither a store nor a clock is asked.
    pub(crate) fn check(&self, text: &[u8], now: Timestamp) -> Result<VerifiedKey, KeyRefusal> {
        self.with_genuine(text, now, |held| {
            held.used.fetch_max(now.as_millis(), Ordering::Relaxed);
        })
    }

    /// As [`HeldKeys::check`], by somebody who asks about it and is not its holder: nothing was used.
    pub(crate) fn inspect(&self, text: &[u8], now: Timestamp) -> Result<VerifiedKey, KeyRefusal> {
        self.with_genuine(text, now, |_| ())
    }

    fn with_genuine(
        &self,
        text: &[u8],
        now: Timestamp,
        note: impl FnOnce(&Held),
    ) -> Result<VerifiedKey, KeyRefusal> {
        let shown = Shown::read(text).ok_or(KeyRefusal::Malformed)?;
        let digest = shown.digest();
        if !self.recalled.load(Ordering::Acquire) {
            return Err(KeyRefusal::Unsure);
        }
        let inner = self.read();
        let held = inner.good(&shown.id, &digest, self.at_least(now))?;
        note(held);
        Ok(VerifiedKey {
            id: shown.id,
            digest,
            label: held.record.label.clone(),
            owner: held.record.owner.clone(),
            scopes: held.record.scopes.clone(),
        })
    }

    /// Whether the very secret that was checked then is good now.
    pub(crate) fn stands(&self, key: &VerifiedKey, now: Timestamp) -> bool {
        let now = self.at_least(now);
        let inner = self.read();
        let Some(held) = inner.keys.get(&key.id) else {
            return false;
        };
        let record = &held.record;
        let is_current = record.current.matches(&key.digest);
        let overlaps = record
            .previous
            .is_some_and(|(previous, until)| now < until && previous.matches(&key.digest));
        let doubted = inner.doubted.contains(&key.id);
        held.refused(now).is_none() && !doubted && (is_current || overlaps)
    }

    /// The id that a text names, if there is such a key.
    pub(crate) fn named(&self, text: &[u8]) -> Option<ApiKeyId> {
        let id = Shown::read(text)?.id;
        self.read().keys.contains_key(&id).then_some(id)
    }

    /// What was just read from the store or written into it, under its owner's lock. What there is no room for is not held,
    /// and so refused.
    pub(crate) fn install(&self, record: KeyRecord, owner: Option<&Identity>) {
        let owner_gone = owner.is_some_and(|identity| identity.blocked || identity.removed);
        let mut inner = self.write();
        if inner.keys.len() >= MAX_KEYS && !inner.keys.contains_key(&record.id) {
            return;
        }
        let used = inner.keys.get(&record.id).and_then(Held::last_used);
        let used = used.max(record.last_used).unwrap_or_default().as_millis();
        inner
            .owners
            .entry(record.owner.clone())
            .or_default()
            .insert(record.id);
        let held = Held {
            owner_gone,
            used: AtomicU64::new(used),
            record,
        };
        inner.keys.insert(held.record.id, held);
    }

    /// The store has no such key any more.
    pub(crate) fn remove(&self, id: &ApiKeyId) {
        let mut inner = self.write();
        let Some(held) = inner.keys.remove(id) else {
            return;
        };
        if let Some(ids) = inner.owners.get_mut(&held.record.owner) {
            ids.remove(id);
            if ids.is_empty() {
                inner.owners.remove(&held.record.owner);
            }
        }
    }

    /// What changed of an identity is copied to each of its keys.
    pub(crate) fn owner_changed(&self, owner: &Identity, now: Timestamp) {
        // Nearly nobody has keys, and a reader waits for no other.
        if !self.read().owners.contains_key(&owner.subject) {
            return;
        }
        let inner = &mut *self.write();
        for id in inner.owners.get(&owner.subject).into_iter().flatten() {
            if let Some(held) = inner.keys.get_mut(id) {
                held.owner_gone = owner.blocked || owner.removed;
                if owner.removed && held.record.revoked.is_none() {
                    held.record.revoked = Some((now, RevokedBy::OwnerRemoved));
                }
            }
        }
    }

    /// The keys of a subject.
    pub(crate) fn of(&self, owner: &Subject) -> Vec<ApiKeyId> {
        let inner = self.read();
        let ids = inner.owners.get(owner);
        ids.into_iter().flatten().copied().collect()
    }

    pub(crate) fn is_recalled(&self) -> bool {
        self.recalled.load(Ordering::Acquire)
    }

    pub(crate) fn recalled(&self) {
        self.recalled.store(true, Ordering::Release);
    }

    /// Whether there is room for this one, which may be there already.
    pub(crate) fn takes(&self, id: &ApiKeyId) -> bool {
        let inner = self.read();
        inner.keys.len() < MAX_KEYS || inner.keys.contains_key(id)
    }

    /// Of the keys that are dead for good, the one that is so for longest.
    pub(crate) fn longest_dead(&self, now: Timestamp) -> Option<ApiKeyId> {
        let inner = self.read();
        let dead = inner.keys.values().filter_map(|held| {
            let since = held.record.dead_since(now)?;
            Some((since, held.record.id))
        });
        dead.min().map(|(_, id)| id)
    }

    pub(crate) fn doubt(&self, ids: impl IntoIterator<Item = ApiKeyId>) {
        self.write().doubted.extend(ids);
    }

    pub(crate) fn doubted(&self) -> Vec<ApiKeyId> {
        self.read().doubted.iter().copied().collect()
    }

    pub(crate) fn settled(&self, id: &ApiKeyId) {
        self.write().doubted.remove(id);
    }

    /// Keys that were used since that was last written down, and when.
    pub(crate) fn unwritten(&self) -> Vec<(ApiKeyId, Timestamp)> {
        let inner = self.read();
        let used = inner.keys.values().filter_map(|held| {
            let used = held.last_used()?;
            (Some(used) > held.record.last_used).then_some((held.record.id, used))
        });
        used.collect()
    }

    pub(crate) fn written(&self, id: &ApiKeyId, used: Timestamp) {
        if let Some(held) = self.write().keys.get_mut(id) {
            held.record.last_used = held.record.last_used.max(Some(used));
        }
    }

    /// One of them as it stands now.
    pub(crate) fn standing(&self, id: &ApiKeyId, now: Timestamp) -> Option<Standing> {
        let inner = self.read();
        let held = inner.keys.get(id)?;
        Some(inner.standing(held, self.at_least(now)))
    }

    /// All of them as they stand now.
    pub(crate) fn all(&self, now: Timestamp) -> Vec<Standing> {
        let (inner, now) = (self.read(), self.at_least(now));
        let all = inner.keys.values().map(|held| inner.standing(held, now));
        all.collect()
    }
}

impl Inner {
    /// The key of this id, if this is a secret of it that is good now.
    fn good(&self, id: &ApiKeyId, digest: &Digest, now: Timestamp) -> Result<&Held, KeyRefusal> {
        let found = self.keys.get(id);
        let (current, previous) = found.map_or((NOBODYS, None), |held| {
            (held.record.current, held.record.previous)
        });
        // Both are always compared, also where there is no such key: time does not tell which ids there are, nor which
        // of the two secrets it was.
        let is_current = current.matches(digest);
        let is_previous = previous
            .map_or(NOBODYS, |(previous, _)| previous)
            .matches(digest);
        let Some(held) = found.filter(|_| is_current || is_previous) else {
            return Err(KeyRefusal::Unknown);
        };
        // Dead however a change ends that is in doubt.
        let overlaps = previous.is_some_and(|(_, until)| now < until);
        if !is_current && !overlaps {
            return Err(KeyRefusal::Superseded);
        }
        if let Some(refusal) = held.refused(now) {
            return Err(refusal);
        }
        if self.doubted.contains(id) {
            return Err(KeyRefusal::Unsure);
        }
        Ok(held)
    }

    fn standing(&self, held: &Held, now: Timestamp) -> Standing {
        let doubted = self.doubted.contains(&held.record.id);
        Standing {
            record: held.record.clone(),
            last_used: held.last_used(),
            refused: held
                .refused(now)
                .or_else(|| doubted.then_some(KeyRefusal::Unsure)),
        }
    }
}
