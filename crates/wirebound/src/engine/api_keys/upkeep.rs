//! What is done about API keys that nobody asked about: recalled at the start, settled after a failure, kept readable, written
//! down, swept.

use crate::api_key::ApiKeyId;
use crate::api_key::record::{KeyRecord, RevokedBy};
use crate::engine::{Engine, Held, TRIES, lost_race};
use crate::identity::Identity;
use crate::store::{Change, Commit, Durability, Expect, Key, Space, StoreError};
use crate::time::Timestamp;

/// What was found of API keys at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecalledKeys {
    /// Keys that are held now, dead ones that are still listed among them.
    pub keys: usize,
    /// What no key of this node reads: it was passed over and is refused. Look whether the node secret is right.
    pub unreadable: usize,
    /// More than may be held: passed over and refused.
    pub beyond: usize,
}

impl Engine {
    /// Reads all keys, and what is kept of their owners, into memory. Call it at the start; until it has succeeded every key
    /// is [`KeyRefusal::Unsure`](crate::KeyRefusal::Unsure).
    ///
    /// # Errors
    ///
    /// When the store cannot say; call it again.
    pub async fn recall_keys(&self, now: Timestamp) -> Result<RecalledKeys, StoreError> {
        let mut recalled = RecalledKeys::default();
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Key, Timestamp::NEVER, after).await? {
            for key in keys {
                let count = match self.recall_key(&key, now).await {
                    Ok(true) => &mut recalled.keys,
                    Ok(false) => &mut recalled.beyond,
                    Err(error) if error.is_corrupt() => &mut recalled.unreadable,
                    Err(error) => return Err(error),
                };
                *count = count.saturating_add(1);
            }
            after = Some(next);
        }
        self.api_keys.recalled();
        Ok(recalled)
    }

    async fn recall_key(&self, key: &Key, now: Timestamp) -> Result<bool, StoreError> {
        let Some(found) = self.load(key.clone(), KeyRecord::decode).await? else {
            return Ok(true);
        };
        let _lock = self.lock(&found.value.owner).await;
        let Some(held) = self.load_key(&found.value.id).await? else {
            return Ok(true);
        };
        if !self.api_keys.takes(&held.value.id) {
            return Ok(false);
        }
        let owner = self.load_identity(&held.value.owner).await?;
        let mut record = held.value;
        let removed = owner.as_ref().is_some_and(|owner| owner.value.removed);
        if removed && record.revoked.is_none() {
            // A removal revokes them itself. Should one have missed this: dead all the same, and in the store too, so that it
            // stays so when the owner comes back.
            record.revoked = Some((now, RevokedBy::OwnerRemoved));
            let put = self.put_key(&record, Expect::At(held.version));
            if self.store.commit(vec![put], Durability::Durable).await? == Commit::Stale {
                return Err(lost_race());
            }
            self.tell_revoked(&record, RevokedBy::OwnerRemoved);
        }
        self.api_keys
            .install(record, owner.as_ref().map(|held| &held.value));
        Ok(true)
    }

    /// Nothing that needs all keys is done on half of them.
    pub(in crate::engine) async fn know_keys(&self, now: Timestamp) -> Result<(), StoreError> {
        if !self.api_keys.is_recalled() {
            self.recall_keys(now).await?;
        }
        Ok(())
    }

    /// Reads again each key of which a write failed or was cut off. [`Engine::tidy`] does it too. Answers how many are
    /// certain again.
    ///
    /// # Errors
    ///
    /// When the store cannot say; they stay refused.
    pub async fn settle_keys(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut settled: usize = 0;
        for id in self.api_keys.doubted() {
            match self.settle_key(&id, now).await {
                Ok(()) => settled = settled.saturating_add(1),
                // It stays refused, and keeps no other from being settled.
                Err(error) if error.is_corrupt() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }

    /// Key and owner are not only read but written again as they are: a commit whose caller is gone may still be on its way,
    /// and now it finds the versions gone that it names. Else it would change in the store what was just believed here.
    async fn settle_key(&self, id: &ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
        let Some(found) = self.load_key(id).await? else {
            self.no_such_key(id);
            return Ok(());
        };
        let subject = found.value.owner;
        let _lock = self.lock(&subject).await;
        for _ in 0..TRIES {
            let Some(key) = self.load_key(id).await? else {
                self.no_such_key(id);
                return Ok(());
            };
            let (owner, expect) = match self.load_identity(&subject).await? {
                Some(Held { value, version }) => (value, Expect::At(version)),
                None => {
                    let expires = now.after(self.policy.identity);
                    (Identity::new(subject.clone(), expires, now), Expect::Absent)
                }
            };
            let changes = vec![
                self.put_key(&key.value, Expect::At(key.version)),
                self.put_identity(&owner, expect),
            ];
            if self.store.commit(changes, Durability::Durable).await? == Commit::Done {
                self.api_keys.install(key.value, Some(&owner));
                self.api_keys.settled(id);
                return Ok(());
            }
        }
        Err(lost_race())
    }

    /// Its making did not happen, or it was swept. (If a making is still on its way: nobody was told that secret.)
    fn no_such_key(&self, id: &ApiKeyId) {
        self.api_keys.remove(id);
        self.api_keys.settled(id);
    }

    /// After the node secret was rotated: API keys are written again under the current one, as identities are. They
    /// outlive many of its epochs. Answers how many were written.
    ///
    /// # Errors
    ///
    /// When the store cannot say; call it again.
    pub async fn renew_keys(&self) -> Result<usize, StoreError> {
        let mut renewed: usize = 0;
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Key, Timestamp::NEVER, after).await? {
            for key in keys {
                let Some(found) = self.load(key, KeyRecord::decode).await? else {
                    continue;
                };
                let as_it_is = |_: &mut KeyRecord| Ok::<(), StoreError>(());
                let written = self.change_key(&found.value.id, as_it_is).await?;
                renewed = renewed.saturating_add(usize::from(written.is_some()));
            }
            after = Some(next);
        }
        Ok(renewed)
    }

    /// Writes down when keys were last used, and settles what was in doubt.
    pub(in crate::engine) async fn tidy_keys(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.settle_keys(now).await?;
        let mut written: usize = 0;
        for (id, used) in self.api_keys.unwritten() {
            match self.write_used(&id, used).await {
                Ok(Commit::Done) => written = written.saturating_add(1),
                // Somebody else was faster: it is written at the next turn.
                Ok(Commit::Stale) => continue,
                // One record that does not read back must not keep the others from being written.
                Err(error) if error.is_corrupt() => {}
                Err(error) => return Err(error),
            }
            self.api_keys.written(&id, used);
        }
        Ok(written)
    }

    async fn write_used(&self, id: &ApiKeyId, used: Timestamp) -> Result<Commit, StoreError> {
        let Some(found) = self.load_key(id).await? else {
            return Ok(Commit::Stale);
        };
        let _lock = self.lock(&found.value.owner).await;
        let Some(Held {
            value: mut record,
            version,
        }) = self.load_key(id).await?
        else {
            return Ok(Commit::Stale);
        };
        record.last_used = record.last_used.max(Some(used));
        let put = self.put_key(&record, Expect::At(version));
        self.store.commit(vec![put], Durability::Soon).await
    }

    /// Removes a key that was dead for long enough.
    pub(in crate::engine) async fn sweep_key(
        &self,
        key: &Key,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(found) = self.load(key.clone(), KeyRecord::decode).await? else {
            return Ok(false);
        };
        let _lock = self.lock(&found.value.owner).await;
        let Some(held) = self.load_key(&found.value.id).await? else {
            return Ok(false);
        };
        if held.value.due() > now {
            return Ok(false);
        }
        let remove = Change::Remove {
            key: key.clone(),
            version: held.version,
        };
        let done = self.store.commit(vec![remove], Durability::Soon).await? == Commit::Done;
        if done {
            self.api_keys.remove(&held.value.id);
        }
        Ok(done)
    }
}
