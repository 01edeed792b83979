//! Cleanup: what is past its time goes, in batches, found by an index that costs only what is due.
//!
//! Expiry does not wait for it: every request checks it. The sweep only gives back the room.

use super::{Engine, Held, let_others};
use crate::bonds::Departed;
use crate::record::{Carrier, Record};
use crate::store::{Change, Commit, Durability, Expect, Key, Space, StoreError};
use crate::time::Timestamp;
use crate::verdict::Ending;

/// How many are looked at before others get a turn.
const BATCH: usize = 256;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Sessions past their idle or absolute time.
    pub sessions: usize,
    /// Identities past theirs.
    pub identities: usize,
    /// Tombstones, marks and vaults that nothing needs any more, and API keys that died 30 days ago.
    pub remains: usize,
    /// What no key of this node reads: it was passed over. Nobody is let in by it; look whether the node secret is right.
    pub unreadable: usize,
}

impl Swept {
    /// One record that cannot be read must not keep all the others.
    fn readable(&mut self, gone: Result<bool, StoreError>) -> Result<bool, StoreError> {
        match gone {
            Err(error) if error.is_corrupt() => {
                self.unreadable = self.unreadable.saturating_add(1);
                Ok(false)
            }
            gone => gone,
        }
    }
}

impl Engine {
    /// Removes what is past its time. No request waits for it: it works in batches and holds one subject's lock at a time.
    ///
    /// # Errors
    ///
    /// When the store cannot say; what was removed until then stays removed.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Session, now, after).await? {
            for key in keys {
                let gone = swept.readable(self.sweep_session(&key, now).await)?;
                swept.sessions = swept.sessions.saturating_add(usize::from(gone));
            }
            after = Some(next);
        }
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Identity, now, after).await? {
            for key in keys {
                let gone = swept.readable(self.sweep_identity(&key, now).await)?;
                swept.identities = swept.identities.saturating_add(usize::from(gone));
            }
            after = Some(next);
        }
        for space in [Space::Tombstone, Space::Family, Space::Vault] {
            let mut after = None;
            while let Some((keys, next)) = self.due(space, now, after).await? {
                swept.remains = swept
                    .remains
                    .saturating_add(self.sweep_remains(keys).await?);
                after = Some(next);
            }
        }
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Key, now, after).await? {
            for key in keys {
                let gone = swept.readable(self.sweep_key(&key, now).await)?;
                swept.remains = swept.remains.saturating_add(usize::from(gone));
            }
            after = Some(next);
        }
        Ok(swept)
    }

    pub(super) async fn due(
        &self,
        space: Space,
        now: Timestamp,
        after: Option<(Timestamp, Key)>,
    ) -> Result<Option<(Vec<Key>, (Timestamp, Key))>, StoreError> {
        if after.is_some() {
            let_others().await;
        }
        let due = self.store.due(space, now, after, BATCH).await?;
        Ok(due
            .last()
            .cloned()
            .map(|last| (due.into_iter().map(|(_, key)| key).collect(), last)))
    }

    pub(super) async fn sweep_session(
        &self,
        key: &Key,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(found) = self.load(key.clone(), Record::decode).await? else {
            return Ok(false);
        };
        let _lock = self.lock(&found.value.subject).await;
        let Some(record) = self.load(key.clone(), Record::decode).await? else {
            return Ok(false);
        };
        let ending = match self.load_identity(&record.value.subject).await? {
            Some(identity) => self.over(&record.value, &identity.value, now),
            None => Some(Ending::Removed),
        };
        match ending {
            Some(ending) => self.end_locked(&record, ending, now).await,
            None => {
                // It was used since it was written down: look again when that is past.
                self.write_seen(record, now).await?;
                Ok(false)
            }
        }
    }

    async fn write_seen(&self, held: Held<Record>, now: Timestamp) -> Result<(), StoreError> {
        let Held {
            value: mut record,
            version,
        } = held;
        let last_active = self.bonds.last_active(record.id).unwrap_or_default();
        let seen = record.seen.max(last_active).min(now.max(record.seen));
        if seen > record.seen {
            record.seen = seen;
            let put = self.put_record(&record, Expect::At(version));
            let (Commit::Done | Commit::Stale) =
                self.store.commit(vec![put], Durability::Soon).await?;
        }
        Ok(())
    }

    async fn sweep_identity(&self, key: &Key, now: Timestamp) -> Result<bool, StoreError> {
        let Some(found) = self
            .load(key.clone(), crate::identity::Identity::decode)
            .await?
        else {
            return Ok(false);
        };
        let _lock = self.lock(&found.value.subject).await;
        let Some(held) = self.load_identity(&found.value.subject).await? else {
            return Ok(false);
        };
        if held.value.is_kept() || !held.value.is_expired(now) {
            return Ok(false);
        }
        for listed in &held.value.sessions {
            if let Some(record) = self.load_record(&listed.id).await? {
                self.end_locked(&record, Ending::Removed, now).await?;
            }
        }
        let Some(held) = self.load_identity(&found.value.subject).await? else {
            return Ok(false);
        };
        if !held.value.is_expired(now) {
            return Ok(false);
        }
        for listed in &held.value.sessions {
            if self.load_record(&listed.id).await?.is_some() {
                return Ok(false);
            }
        }
        let remove = Change::Remove {
            key: key.clone(),
            version: held.version,
        };
        Ok(self.store.commit(vec![remove], Durability::Soon).await? == Commit::Done)
    }

    pub(super) async fn sweep_remains(&self, keys: Vec<Key>) -> Result<usize, StoreError> {
        let mut gone: usize = 0;
        for key in keys {
            if let Some(stored) = self.store.load(&key).await? {
                let remove = Change::Remove {
                    key,
                    version: stored.version,
                };
                let done = self.store.commit(vec![remove], Durability::Soon).await? == Commit::Done;
                gone = gone.saturating_add(usize::from(done));
            }
        }
        Ok(gone)
    }

    /// After the node secret was rotated: identities are written again under the current one, so that what an operator set
    /// is still read when the one before is gone. Sessions are over by then. Answers how many were written.
    ///
    /// # Errors
    ///
    /// When the store cannot say; call it again.
    pub async fn renew_identities(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut renewed: usize = 0;
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Identity, Timestamp::NEVER, after).await? {
            for key in keys {
                let decode = crate::identity::Identity::decode;
                if let Some(held) = self.load(key, decode).await? {
                    self.change_identity(&held.value.subject, now, |_| ())
                        .await?;
                    renewed = renewed.saturating_add(1);
                }
            }
            after = Some(next);
        }
        Ok(renewed)
    }

    /// Writes down when sessions were last active, so that a restart does not take a busy session for an idle one, and when API
    /// keys were last used; ends sessions whose raw socket is gone. Call it about once a minute. Answers how many were written.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn tidy(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut written: usize = 0;
        for departed in self.bonds.unwritten() {
            match self.write_down(departed, now).await {
                Ok(Written::Yes) => written = written.saturating_add(1),
                Ok(Written::NotNeeded) => {}
                // Somebody else was faster: it is written at the next turn.
                Ok(Written::Stale) => continue,
                // One record that does not read back must not keep the others from being written.
                Err(error) if error.is_corrupt() => {}
                Err(error) => return Err(error),
            }
            self.bonds.written(departed);
        }
        Ok(written.saturating_add(self.tidy_keys(now).await?))
    }

    async fn write_down(&self, departed: Departed, now: Timestamp) -> Result<Written, StoreError> {
        let Some(found) = self.load_record(&departed.session).await? else {
            return Ok(Written::NotNeeded);
        };
        let _lock = self.lock(&found.value.subject).await;
        let Some(held) = self.load_record(&departed.session).await? else {
            return Ok(Written::NotNeeded);
        };
        if held.value.carrier == Carrier::Raw && self.bonds.watch(departed.session).is_none() {
            self.end_locked(&held, Ending::Logout, now).await?;
            return Ok(Written::NotNeeded);
        }
        let Held {
            value: mut record,
            version,
        } = held;
        if departed.last_active <= record.seen {
            return Ok(Written::NotNeeded);
        }
        record.seen = departed.last_active;
        let put = self.put_record(&record, Expect::At(version));
        Ok(
            match self.store.commit(vec![put], Durability::Soon).await? {
                Commit::Done => Written::Yes,
                Commit::Stale => Written::Stale,
            },
        )
    }
}

/// What became of a last use that was to be written down.
enum Written {
    Yes,
    NotNeeded,
    Stale,
}
