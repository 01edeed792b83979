//! Endings: durable first, then out of memory, off the wires, and everybody told. Nothing brings a session back.

use super::guests::SEALED_LIFE;
use super::{Engine, Held, TOMBSTONE, TRIES, lost_race};
use crate::event::Event;
use crate::families::roots;
use crate::identity::Identity;
use crate::ids::SessionId;
use crate::record::{Carrier, Record, Tombstone};
use crate::store::{Change, Commit, Durability, Expect, StoreError};
use crate::time::Timestamp;
use crate::verdict::{Ending, Verified};

/// Which sessions of a subject to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum Scope {
    /// This one.
    Session,
    /// All but this one.
    Others,
    /// All.
    All,
}

impl Engine {
    /// Signs out: this session, all others of its subject, or all. Durable when it returns; answers how many ended.
    ///
    /// # Errors
    ///
    /// When the store cannot say. Then nothing is promised, and the caller answers 503.
    pub async fn logout(
        &self,
        verified: &Verified,
        scope: Scope,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let own = verified.session();
        if scope == Scope::Session {
            return Ok(usize::from(self.end(own, Ending::Logout, now).await?));
        }
        let _lock = self.lock(verified.subject()).await;
        let Some(identity) = self.load_identity(verified.subject()).await? else {
            return Ok(0);
        };
        let mut ended: usize = 0;
        for listed in &identity.value.sessions {
            let ending = if listed.id == own {
                Ending::Logout
            } else {
                Ending::Revoked
            };
            if (scope == Scope::All || listed.id != own)
                && let Some(record) = self.load_record(&listed.id).await?
                && self.end_locked(&record, ending, now).await?
            {
                ended = ended.saturating_add(1);
            }
        }
        Ok(ended)
    }

    /// Ends a session, whoever asks. `false` if it was not there. Durable when it returns.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn end(
        &self,
        session: SessionId,
        ending: Ending,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(found) = self.load_record(&session).await? else {
            self.found_gone(session).await?;
            return Ok(false);
        };
        let _lock = self.lock(&found.value.subject).await;
        match self.load_record(&session).await? {
            Some(record) => self.end_locked(&record, ending, now).await,
            None => {
                self.found_gone(session).await?;
                Ok(false)
            }
        }
    }

    /// Ends a session whose time is over, although nobody asked: whatever streams to it must hear of it then, and not at the
    /// next sweep. Call it when [`crate::Watch::due`] says so. Answers whether it is over.
    ///
    /// # Errors
    ///
    /// When the store cannot say. Then nobody can say that the session lives, and what streams to it is to be cut.
    pub async fn look_after(&self, session: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        let Some(found) = self.load_record(&session).await? else {
            self.found_gone(session).await?;
            return Ok(true);
        };
        let _lock = self.lock(&found.value.subject).await;
        let Some(record) = self.load_record(&session).await? else {
            self.found_gone(session).await?;
            return Ok(true);
        };
        let ending = match self.load_identity(&record.value.subject).await? {
            Some(identity) => self.over(&record.value, &identity.value, now),
            None => Some(Ending::Removed),
        };
        match ending {
            Some(ending) => self.end_locked(&record, ending, now).await.map(|_| true),
            None => Ok(false),
        }
    }

    /// The store has no such session (another node ended it, or a write of ours that seemed to fail): it must not live on
    /// in memory.
    pub(super) async fn found_gone(&self, session: SessionId) -> Result<(), StoreError> {
        if self.bonds.watch(session).is_none() {
            return Ok(());
        }
        let ending = self
            .load_tombstone(&session)
            .await
            .map(|held| held.map_or(Ending::Removed, |held| held.value.ending));
        self.forget(session, *ending.as_ref().unwrap_or(&Ending::Removed));
        ending.map(|_| ())
    }

    /// Out of memory, off its wires, everybody who waits told. Answers how many wires it had.
    pub(super) fn forget(&self, session: SessionId, ending: Ending) -> usize {
        let wires = self.bonds.end(session, ending);
        self.guests.gone(session);
        for bound in &wires {
            for root in roots(bound.wire.lineage.as_ref()) {
                self.families.ended(&root, session);
            }
            if !bound.visiting && !bound.wire.carries_others(session) && closes(ending) {
                bound.wire.transport.close();
            }
        }
        wires.len()
    }

    /// Ends a session whose subject's lock the caller holds.
    pub(super) async fn end_locked(
        &self,
        record: &Held<Record>,
        ending: Ending,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let session = record.value.id;
        let mut version = record.version;
        for _ in 0..TRIES {
            let current = Held {
                value: record.value.clone(),
                version,
            };
            let mut changes = self.ending_changes(&current, ending, now).await?;
            if let Some(held) = self.load_identity(&record.value.subject).await? {
                let mut identity = held.value;
                identity.sessions.retain(|listed| listed.id != session);
                let nameless =
                    record.value.carrier == Carrier::Guest || record.value.subject.is_nameless();
                if nameless && identity.sessions.is_empty() && !identity.is_kept() {
                    // Nobody will ever sign in under such a subject again.
                    changes.push(Change::Remove {
                        key: Identity::key(&identity.subject),
                        version: held.version,
                    });
                } else {
                    changes.push(self.put_identity(&identity, Expect::At(held.version)));
                }
            }
            let doubt = self.doubt([session]);
            match self.store.commit(changes, Durability::Durable).await? {
                Commit::Done => {
                    self.gone(&record.value, ending, now);
                    doubt.settled();
                    return Ok(true);
                }
                Commit::Stale => match self.load_record(&session).await? {
                    Some(newer) => version = newer.version,
                    None => {
                        self.found_gone(session).await?;
                        return Ok(false);
                    }
                },
            }
            doubt.settled();
        }
        Err(lost_race())
    }

    /// The changes that end one session in the store: record and vault go, a tombstone stays.
    pub(super) async fn ending_changes(
        &self,
        record: &Held<Record>,
        ending: Ending,
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        let id = record.value.id;
        let mut changes = vec![Change::Remove {
            key: Record::key(&id),
            version: record.version,
        }];
        if let Some(until) = tombstone_until(&record.value, ending, now) {
            let tombstone = Tombstone {
                ending,
                ended: now,
                epoch: record.value.epoch,
                current: record.value.sequence.current(),
            };
            changes.push(self.put(
                Tombstone::key(&id),
                Expect::Absent,
                tombstone.encode(),
                until,
            ));
        }
        changes.extend(
            self.called_back(&record.value, now)
                .map(|entry| self.put_revoked(&entry)),
        );
        let vault = super::vault::key(&id);
        if let Some(stored) = self.store.load(&vault).await? {
            changes.push(Change::Remove {
                key: vault,
                version: stored.version,
            });
        }
        Ok(changes)
    }

    /// A session is over in the store: now it is over here. Its wires are closed once what is in flight is answered,
    /// unless they carry another session.
    pub(super) fn gone(&self, record: &Record, ending: Ending, now: Timestamp) {
        if let Some(entry) = self.called_back(record, now) {
            self.revocations.put(entry);
        }
        for family in &record.families {
            self.families.ended(&family.root, record.id);
        }
        let wires = self.forget(record.id, ending);
        self.tell(Event::Ended {
            session: record.id,
            subject: record.subject.clone(),
            ending,
            wires,
        });
    }
}

/// How long it is remembered that a session was. Of a guest only for as long as its sealed cookie could come back and
/// make it again: a flood of visitors must leave nothing behind.
fn tombstone_until(record: &Record, ending: Ending, now: Timestamp) -> Option<Timestamp> {
    if record.carrier != Carrier::Guest {
        return Some(record.absolute.max(now.after(TOMBSTONE)));
    }
    let sealed_until = record.created.after(SEALED_LIFE);
    // Who was displaced is remembered in memory, see `guests.rs`.
    let forgotten = ending == Ending::Evicted || (ending.is_expiry() && sealed_until <= now);
    (!forgotten).then(|| now.after(SEALED_LIFE))
}

/// A sign-out or a sign-in over an older session answers on the wire it came by and leaves it to the next; what was
/// taken away from elsewhere is disconnected.
const fn closes(ending: Ending) -> bool {
    match ending {
        Ending::Logout | Ending::Replaced | Ending::ExpiredIdle | Ending::ExpiredAbsolute => false,
        Ending::Revoked | Ending::Evicted | Ending::Theft | Ending::Removed => true,
    }
}
