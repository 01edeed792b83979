//! What a write that fails or is cut off leaves behind: doubt, and never an accept.
//!
//! A commit that answers an error may have happened, and so may one whose caller hung up before the answer. The
//! sessions it would have ended or lowered would then live on in memory. So they are doubted from before the commit
//! until its outcome is in memory too: their wires stay, but the next request on each asks the store.

use super::Engine;
use crate::ids::SessionId;

/// Doubts its sessions when it is dropped, unless the outcome was settled.
pub(super) struct Doubt<'e> {
    engine: &'e Engine,
    sessions: Vec<SessionId>,
}

impl Engine {
    pub(super) fn doubt(&self, sessions: impl IntoIterator<Item = SessionId>) -> Doubt<'_> {
        Doubt {
            engine: self,
            sessions: sessions.into_iter().collect(),
        }
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
