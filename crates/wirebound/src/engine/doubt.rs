//! What a write that fails or is cut off leaves behind: doubt, and never an accept.
//!
//! A commit that answers an error may have happened, and so may one whose caller hung up before the answer. The
//! sessions it would have ended or lowered would then live on in memory. So they are doubted from before the commit
//! until its outcome is in memory too: their wires stay, but the next request on each asks the store.
//!
//! So are API keys: one that may have been revoked, rotated or lost its owner is refused, as nobody can say, until
//! [`Engine::settle_keys`] has read it again. No check asks the store by itself.

use super::{Engine, TRIES, lost_race};
use crate::api_key::ApiKeyId;
use crate::ids::SessionId;
use crate::store::{Commit, Durability, Expect, StoreError};

/// Doubts its sessions when it is dropped, unless the outcome was settled.
pub(super) struct Doubt<'e> {
    engine: &'e Engine,
    sessions: Vec<SessionId>,
}

/// As [`Doubt`], of API keys.
pub(super) struct KeysDoubt<'e> {
    engine: &'e Engine,
    keys: Vec<ApiKeyId>,
}

impl Engine {
    pub(super) fn doubt_keys(&self, keys: impl IntoIterator<Item = ApiKeyId>) -> KeysDoubt<'_> {
        KeysDoubt {
            engine: self,
            keys: keys.into_iter().collect(),
        }
    }

    pub(super) fn doubt(&self, sessions: impl IntoIterator<Item = SessionId>) -> Doubt<'_> {
        Doubt {
            engine: self,
            sessions: sessions.into_iter().collect(),
        }
    }

    /// Writes a session and its identity as they are, so that what is read afterwards stays so: a commit whose caller is gone
    /// may still be on its way to the store, and then comes first, or finds the versions gone that it names.
    pub(super) async fn overtake(&self, session: SessionId) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some(record) = self.load_record(&session).await? else {
                return Ok(());
            };
            let mut changes = vec![self.put_record(&record.value, Expect::At(record.version))];
            if let Some(identity) = self.load_identity(&record.value.subject).await? {
                changes.push(self.put_identity(&identity.value, Expect::At(identity.version)));
            }
            if self.store.commit(changes, Durability::Durable).await? == Commit::Done {
                return Ok(());
            }
        }
        Err(lost_race())
    }
}

impl Doubt<'_> {
    /// Memory and store say the same again.
    pub(super) fn settled(mut self) {
        self.sessions.clear();
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        for session in &self.sessions {
            self.engine.bonds.doubt(*session);
            if self.engine.policy.assertions.is_some() {
                self.engine.revocations.doubt(*session);
            }
        }
    }
}

impl KeysDoubt<'_> {
    /// Memory and store say the same again.
    pub(super) fn settled(mut self) {
        self.keys.clear();
    }
}

impl Drop for KeysDoubt<'_> {
    fn drop(&mut self) {
        // Of nearly every identity there are no keys.
        if !self.keys.is_empty() {
            self.engine.api_keys.doubt(self.keys.drain(..));
        }
    }
}
