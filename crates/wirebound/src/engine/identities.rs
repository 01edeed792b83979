//! What an operator does to a subject: set its ceiling, block it, unfreeze it, remove it.

use super::{Engine, Held, TRIES, lost_race};
use crate::api_key::record::RevokedBy;
use crate::identity::Identity;
use crate::ids::{SessionId, Subject};
use crate::role::Role;
use crate::store::{Commit, Durability, Expect, StoreError};
use crate::time::Timestamp;
use crate::verdict::Ending;

/// What is kept of a subject, for an operator's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentitySummary {
    /// Who.
    pub subject: Subject,
    /// Highest role any of its sessions may have.
    pub ceiling: Role,
    /// It may not sign in.
    pub blocked: bool,
    /// Its admin role was taken over too often.
    pub frozen: bool,
    /// It was removed; only the generation is kept.
    pub removed: bool,
    /// When what it learnt by itself runs out.
    pub expires: Timestamp,
    /// Only grows.
    pub generation: u64,
    /// Its sessions.
    pub sessions: Vec<SessionId>,
}

impl Engine {
    /// Sets the highest role that any session of the subject may have. What stands above it falls at once. Makes the
    /// identity if there is none; it does not expire from then on.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn set_ceiling(
        &self,
        subject: &Subject,
        ceiling: Role,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change_identity(subject, now, |identity| {
            (identity.ceiling, identity.ceiling_set) = (ceiling, true);
        })
        .await?;
        Ok(())
    }

    /// Blocks a subject on every path, its API keys among them, and ends its sessions; or lets it, and its keys, in again.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn set_blocked(
        &self,
        subject: &Subject,
        blocked: bool,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let identity = self
            .change_identity(subject, now, |identity| {
                if blocked {
                    identity.next_generation(now);
                }
                identity.blocked = blocked;
            })
            .await?;
        if blocked {
            self.end_all(&identity, Ending::Removed, now).await
        } else {
            Ok(0)
        }
    }

    /// Gives a frozen subject its admin role back. Meant for the machine itself, never for the network.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn unfreeze(&self, subject: &Subject, now: Timestamp) -> Result<(), StoreError> {
        self.change_identity(subject, now, |identity| {
            identity.frozen = false;
            identity.evictions.clear();
        })
        .await?;
        Ok(())
    }

    /// Removes an identity: all its sessions end, its API keys are revoked for good, and what was set is forgotten. A tombstone
    /// with the generation stays, so that nothing granted before is ever newer than what comes after. Answers how many
    /// sessions ended.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn remove(&self, subject: &Subject, now: Timestamp) -> Result<usize, StoreError> {
        // A key that is not known here would outlive its owner.
        self.know_keys(now).await?;
        let identity = self
            .change_identity(subject, now, |identity| {
                identity.removed = true;
                (identity.ceiling, identity.ceiling_set) = (Role::USER, false);
                (identity.blocked, identity.frozen) = (false, false);
                identity.evictions.clear();
                identity.next_generation(now);
            })
            .await?;
        self.end_all(&identity, Ending::Removed, now).await
    }

    /// What is kept of a subject.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn identity(&self, subject: &Subject) -> Result<Option<IdentitySummary>, StoreError> {
        Ok(self
            .load_identity(subject)
            .await?
            .map(|held| summary(&held.value)))
    }

    pub(super) async fn change_identity(
        &self,
        subject: &Subject,
        now: Timestamp,
        change: impl Fn(&mut Identity),
    ) -> Result<Identity, StoreError> {
        let _lock = self.lock(subject).await;
        for _ in 0..TRIES {
            let (mut identity, expect) = match self.load_identity(subject).await? {
                Some(Held { value, version }) => (value, Expect::At(version)),
                None => {
                    let expires = now.after(self.policy.identity);
                    (Identity::new(subject.clone(), expires, now), Expect::Absent)
                }
            };
            let before = (identity.ceiling(), identity.generation, identity.blocked);
            let was_removed = identity.removed;
            change(&mut identity);
            let revoked = if identity.removed {
                self.keys_to_revoke(subject, now).await?
            } else {
                Vec::new()
            };
            let mut changes = vec![self.put_identity(&identity, expect)];
            let (revoked, puts): (Vec<_>, Vec<_>) = revoked.into_iter().unzip();
            changes.extend(puts);
            // What was issued to it with a role that it may not have any more, or that it may not have at all.
            let falls = identity.ceiling() < before.0
                || identity.generation > before.1
                || (identity.blocked && !before.2);
            let fallen = if falls {
                self.calls_back(subject, identity.generation, now)
            } else {
                Vec::new()
            };
            changes.extend(fallen.iter().map(|entry| self.put_revoked(entry)));
            self.heard_of(&fallen);
            let doubt = self.doubt(identity.sessions.iter().map(|listed| listed.id));
            // The other changes are nothing to its keys.
            let same = (before.2, was_removed) == (identity.blocked, identity.removed);
            let concerned = if same && revoked.is_empty() {
                Vec::new()
            } else {
                self.api_keys.of(subject)
            };
            let keys_doubt = self.doubt_keys(concerned);
            let done = self.store.commit(changes, Durability::Durable).await?;
            if done == Commit::Done {
                self.spread(&identity, now);
                doubt.settled();
                keys_doubt.settled();
                for record in &revoked {
                    self.tell_revoked(record, RevokedBy::OwnerRemoved);
                }
                return Ok(identity);
            }
            doubt.settled();
            keys_doubt.settled();
        }
        Err(lost_race())
    }

    /// What changed of an identity is copied to each of its live sessions and of its API keys, so that authorising one stays
    /// one lookup.
    pub(super) fn spread(&self, identity: &Identity, now: Timestamp) {
        self.api_keys.owner_changed(identity, now);
        for listed in &identity.sessions {
            let mut fell = false;
            self.bonds.update(listed.id, |live| {
                let before = listed.role_at(live.ceiling, now);
                live.ceiling = identity.ceiling();
                live.blocked = identity.blocked;
                live.identity_until = identity.expires;
                fell = listed.role_at(live.ceiling, now) < before;
            });
            if fell {
                self.bonds.role_fell(listed.id);
            }
            if identity.blocked || identity.removed {
                // They are about to be ended one by one; none is believed meanwhile, nor if that fails half-way, since their
                // generation is over.
                self.bonds.condemn(listed.id, Ending::Removed);
            }
        }
    }

    pub(super) async fn end_all(
        &self,
        identity: &Identity,
        ending: Ending,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut ended: usize = 0;
        for listed in &identity.sessions {
            if self.end(listed.id, ending, now).await? {
                ended = ended.saturating_add(1);
            }
        }
        Ok(ended)
    }
}

fn summary(identity: &Identity) -> IdentitySummary {
    IdentitySummary {
        subject: identity.subject.clone(),
        ceiling: identity.ceiling(),
        blocked: identity.blocked,
        frozen: identity.frozen,
        removed: identity.removed,
        expires: identity.expires,
        generation: identity.generation,
        sessions: identity.sessions.iter().map(|listed| listed.id).collect(),
    }
}
