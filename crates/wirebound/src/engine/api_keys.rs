//! API keys: made, rotated, revoked, checked. What a machine shows that has no browser and no connection to be bound to.
//!
//! Changes go to the store first, durable and conditional on the version that was read, then into memory, all of it under
//! the owner's lock. A check asks memory alone. So a key is never better in memory than in the store, but between a commit
//! and its answer, and there `doubt.rs` stands.

mod answers;
mod upkeep;

pub use answers::{KeySummary, NewKey, NewlyMade, NotMade, NotRotated};
pub use upkeep::RecalledKeys;

use answers::summary;

use super::sign_in::no_entropy;
use super::{Engine, Held, TRIES, lost_race};
use crate::api_key::held::{KeyRefusal, Standing, VerifiedKey};
use crate::api_key::record::{KeyRecord, RevokedBy};
use crate::api_key::{ApiKey, ApiKeyId};
use crate::event::{Event, Side};
use crate::identity::Identity;
use crate::ids::Subject;
use crate::store::{Change, Commit, Durability, Expect, StoreError, StoreErrorKind};
use crate::time::{Lifetime, Timestamp};

/// Why a revocation writes nothing.
enum Unrevoked {
    Already,
    Store(StoreError),
}

impl From<StoreError> for Unrevoked {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Engine {
    /// Makes an API key. Durable when it returns.
    ///
    /// # Errors
    ///
    /// When there is no room, the owner may have none, or the store cannot say.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a key behind whose secret nobody was ever told.
    pub async fn create_key(&self, new: NewKey, now: Timestamp) -> Result<NewlyMade, NotMade> {
        if new.expires.is_some_and(|expires| expires <= now) {
            return Err(NotMade::Expired);
        }
        self.know_keys(now).await?;
        // One after another: two that find the last room would both take it.
        let _making = self.making_keys.lock().await;
        // What failed before comes first, so that a store that is down leaves one doubt behind and not one an attempt.
        self.settle_keys(now).await?;
        let _lock = self.lock(&new.owner).await;
        for _ in 0..TRIES {
            let id = ApiKeyId::draw(self.entropy.as_ref()).map_err(no_entropy)?;
            let (key, current) = self.draw_key(id)?;
            let owner = self.load_identity(&new.owner).await?;
            if let Some(held) = &owner {
                may_have_keys(&held.value)?;
            }
            let record = KeyRecord {
                id,
                label: new.label.clone(),
                owner: new.owner.clone(),
                scopes: new.scopes.clone(),
                created: now,
                expires: new.expires,
                current,
                previous: None,
                rotated: None,
                revoked: None,
                last_used: None,
            };
            let mut changes = vec![
                self.put_key(&record, Expect::Absent),
                // Nobody blocks or removes the owner in between.
                Change::Check {
                    key: Identity::key(&new.owner),
                    expect: owner
                        .as_ref()
                        .map_or(Expect::Absent, |held| Expect::At(held.version)),
                },
            ];
            let Some(room) = self.room_for_key(&id, now).await? else {
                continue;
            };
            changes.extend(room.1);
            let doubt = self.doubt_keys([id]);
            let done = self.store.commit(changes, Durability::Durable).await?;
            if done == Commit::Done {
                if let Some(dead) = room.0 {
                    self.api_keys.remove(&dead);
                }
                self.api_keys
                    .install(record.clone(), owner.as_ref().map(|held| &held.value));
                doubt.settled();
                self.tell(Event::KeyMade {
                    key: id,
                    label: record.label.clone(),
                    owner: record.owner.clone(),
                    expires: record.expires,
                });
                let summary = summary(
                    Standing {
                        record,
                        last_used: None,
                        refused: None,
                    },
                    now,
                );
                return Ok(NewlyMade { key, summary });
            }
            doubt.settled();
        }
        Err(lost_race().into())
    }

    /// Gives a key a new secret. The one before is good for `overlap` longer, to the millisecond and never beyond the key's
    /// own time; with no overlap, as after a leak, it is dead when this returns. A secret from before that one is dead in
    /// any case: two are good at most.
    ///
    /// # Errors
    ///
    /// When there is no such key, it is dead, or the store cannot say. Then the key is refused until it has been read again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the key with a secret that nobody was told. Rotate it again.
    pub async fn rotate_key(
        &self,
        id: ApiKeyId,
        overlap: Lifetime,
        now: Timestamp,
    ) -> Result<NewlyMade, NotRotated> {
        let (key, digest) = self.draw_key(id)?;
        let until = if overlap == Lifetime::ZERO {
            // Not `now`: a clock that goes back brings no leaked secret back.
            Timestamp::ZERO
        } else {
            now.after(overlap)
        };
        let change = |record: &mut KeyRecord| {
            if record.revoked.is_some() {
                return Err(NotRotated::Revoked);
            }
            if record.is_expired(now) {
                return Err(NotRotated::Expired);
            }
            let until = record.expires.map_or(until, |expires| until.min(expires));
            record.previous = Some((record.current, until));
            record.current = digest;
            record.rotated = Some(now);
            Ok(())
        };
        let Some(record) = self.change_key(&id, change).await? else {
            return Err(NotRotated::Unknown);
        };
        let summary = summary(
            Standing {
                last_used: record.last_used,
                refused: self.api_key(id, now).and_then(|key| key.refused),
                record,
            },
            now,
        );
        self.tell(Event::KeyRotated {
            key: id,
            owner: summary.owner.clone(),
            overlap_until: summary.overlap_until,
        });
        Ok(NewlyMade { key, summary })
    }

    /// Revokes a key, at once and for good. `false`: there is none of this id, or it was revoked already. Durable when it returns.
    ///
    /// # Errors
    ///
    /// When the store cannot say. Then the key is refused until it has been read again, and may be good after that.
    pub async fn revoke_key(
        &self,
        id: ApiKeyId,
        by: RevokedBy,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let change = |record: &mut KeyRecord| match record.revoked {
            Some(_) => Err(Unrevoked::Already),
            None => {
                record.revoked = Some((now, by));
                Ok(())
            }
        };
        match self.change_key(&id, change).await {
            Ok(Some(record)) => {
                self.tell_revoked(&record, by);
                Ok(true)
            }
            Ok(None) | Err(Unrevoked::Already) => Ok(false),
            Err(Unrevoked::Store(error)) => Err(error),
        }
    }

    /// Checks what somebody shows as an API key. No store is asked, so it costs two short hashes and a look into a table, and an
    /// accept is noted as the key's last use.
    ///
    /// # Errors
    ///
    /// When it is not to be taken. Tell of it with [`Engine::tell_key_refused`]; to strangers one answer is enough for all
    /// reasons but [`KeyRefusal::Unsure`], which is no verdict: answer 503, or let [`Engine::settle_keys`] ask the store and
    /// check again.
    pub fn check_key(&self, text: &[u8], now: Timestamp) -> Result<VerifiedKey, KeyRefusal> {
        self.api_keys.check(text, now)
    }

    /// As [`Engine::check_key`], for somebody who asks about a key and is not its holder: it is no use of the key.
    ///
    /// # Errors
    ///
    /// When it would not be taken.
    pub fn inspect_key(&self, text: &[u8], now: Timestamp) -> Result<VerifiedKey, KeyRefusal> {
        self.api_keys.inspect(text, now)
    }

    /// Revokes the key that is shown, for good, also one that is refused because its owner is blocked: it would be good again
    /// with the owner. `false`: it is none, or dead for good. A secret whose place was taken by a newer one is dead, and whoever
    /// found it revokes nothing with it. Durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`Engine::revoke_key`], and when nobody can say whether it is a key.
    pub async fn revoke_shown_key(&self, text: &[u8], now: Timestamp) -> Result<bool, StoreError> {
        if matches!(self.inspect_key(text, now), Err(KeyRefusal::Unsure)) {
            self.settle_keys(now).await?;
        }
        let id = match self.inspect_key(text, now) {
            Ok(key) => key.id(),
            Err(KeyRefusal::OwnerGone) => match self.api_keys.named(text) {
                Some(id) => id,
                None => return Ok(false),
            },
            Err(KeyRefusal::Unsure) => return Err(StoreError::new(StoreErrorKind::Unavailable)),
            Err(_) => return Ok(false),
        };
        self.revoke_key(id, RevokedBy::Holder, now).await
    }

    /// Whether a key that was checked would be taken now, by the secret that was shown then: for what goes on being sent.
    #[must_use]
    pub fn key_stands(&self, key: &VerifiedKey, now: Timestamp) -> bool {
        self.api_keys.stands(key, now)
    }

    /// Tells of a key that was not taken, once a minute for each key and reason.
    pub fn tell_key_refused(&self, text: &[u8], refusal: KeyRefusal, side: Side, now: Timestamp) {
        let key = self.api_keys.named(text);
        if let Some(unreported) = self.key_alarms.ring(key, refusal.name(), now) {
            self.tell(Event::KeyRefused {
                key,
                refusal,
                side,
                unreported,
            });
        }
    }

    /// All keys, those that died less than 30 days ago among them; oldest first. Empty until they were recalled.
    #[must_use]
    pub fn api_keys(&self, now: Timestamp) -> Vec<KeySummary> {
        let all = self.api_keys.all(now).into_iter();
        let mut all: Vec<_> = all.map(|standing| summary(standing, now)).collect();
        all.sort_by_key(|key| (key.created, key.id));
        all
    }

    /// One key, dead or not.
    #[must_use]
    pub fn api_key(&self, id: ApiKeyId, now: Timestamp) -> Option<KeySummary> {
        let standing = self.api_keys.standing(&id, now)?;
        Some(summary(standing, now))
    }

    /// The changes that revoke every key of a subject that is being removed, to be part of the same commit: there is no moment
    /// at which the owner is gone and a key is not. The caller holds the subject's lock.
    pub(super) async fn keys_to_revoke(
        &self,
        owner: &Subject,
        now: Timestamp,
    ) -> Result<Vec<(KeyRecord, Change)>, StoreError> {
        let mut revoked = Vec::new();
        for id in self.api_keys.of(owner) {
            let held = match self.load_key(&id).await {
                Ok(Some(held)) => held,
                Ok(None) => continue,
                // No start reads it either, so it is dead once it is out of memory; it must not keep its owner from being removed.
                Err(error) if error.is_corrupt() => continue,
                Err(error) => return Err(error),
            };
            let mut record = held.value;
            if record.revoked.is_none() {
                record.revoked = Some((now, RevokedBy::OwnerRemoved));
                let put = self.put_key(&record, Expect::At(held.version));
                revoked.push((record, put));
            }
        }
        Ok(revoked)
    }

    pub(super) fn tell_revoked(&self, record: &KeyRecord, by: RevokedBy) {
        self.tell(Event::KeyRevoked {
            key: record.id,
            owner: record.owner.clone(),
            by,
        });
    }

    /// Changes a key in the store and then here. Nothing: there is no such key.
    async fn change_key<E: From<StoreError>>(
        &self,
        id: &ApiKeyId,
        change: impl Fn(&mut KeyRecord) -> Result<(), E>,
    ) -> Result<Option<KeyRecord>, E> {
        let Some(found) = self.load_key(id).await? else {
            return Ok(None);
        };
        let owner = found.value.owner;
        let _lock = self.lock(&owner).await;
        for _ in 0..TRIES {
            let Some(held) = self.load_key(id).await? else {
                return Ok(None);
            };
            let identity = self.load_identity(&owner).await?;
            let mut record = held.value;
            change(&mut record)?;
            let put = self.put_key(&record, Expect::At(held.version));
            let doubt = self.doubt_keys([*id]);
            let done = self.store.commit(vec![put], Durability::Durable).await?;
            if done == Commit::Done {
                let identity = identity.as_ref().map(|held| &held.value);
                self.api_keys.install(record.clone(), identity);
                doubt.settled();
                return Ok(Some(record));
            }
            doubt.settled();
        }
        Err(lost_race().into())
    }

    /// Room for one more key: the one that is dead for longest goes if there is no other. Nothing: somebody else took it, try again.
    async fn room_for_key(
        &self,
        id: &ApiKeyId,
        now: Timestamp,
    ) -> Result<Option<(Option<ApiKeyId>, Option<Change>)>, NotMade> {
        if self.api_keys.takes(id) {
            return Ok(Some((None, None)));
        }
        let dead = self.api_keys.longest_dead(now).ok_or(NotMade::Full)?;
        let Some(held) = self.load_key(&dead).await? else {
            self.api_keys.remove(&dead);
            return Ok(None);
        };
        if held.value.dead_since(now).is_none() {
            return Err(NotMade::Full);
        }
        let remove = Change::Remove {
            key: KeyRecord::key(&dead),
            version: held.version,
        };
        Ok(Some((Some(dead), Some(remove))))
    }

    fn draw_key(&self, id: ApiKeyId) -> Result<(ApiKey, crate::keys::Digest), StoreError> {
        let key = ApiKey::draw(id, self.entropy.as_ref()).map_err(no_entropy)?;
        let digest = key
            .digest()
            .ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok((key, digest))
    }

    async fn load_key(&self, id: &ApiKeyId) -> Result<Option<Held<KeyRecord>>, StoreError> {
        self.load(KeyRecord::key(id), KeyRecord::decode).await
    }

    fn put_key(&self, record: &KeyRecord, expect: Expect) -> Change {
        self.put(
            KeyRecord::key(&record.id),
            expect,
            record.encode(),
            record.due(),
        )
    }
}

fn may_have_keys(owner: &Identity) -> Result<(), NotMade> {
    if owner.removed {
        return Err(NotMade::OwnerRemoved);
    }
    if owner.blocked {
        return Err(NotMade::OwnerBlocked);
    }
    Ok(())
}
