//! What the loom models may do with wires and attachments; built for no one else.
//!
//! The engine's own steps, without a store: what a model cannot do here, the engine does under the subject's lock.

use std::sync::Arc;

use crate::bonds::{Bonds, Departed, Watch};
use crate::families::Families;
use crate::ids::{Authority, SessionId, Subject};
use crate::record::Origin;
use crate::table::Live;
use crate::time::Timestamp;
use crate::verdict::{By, Ending};
use crate::wire::{Attachment, Connected, Recognised, Wire, WireCore, WireIds};

/// The bonds of a process.
#[derive(Debug)]
pub struct World {
    bonds: Arc<Bonds>,
    families: Arc<Families>,
    wires: WireIds,
}

/// A wire, as the engine holds it while its owner may drop it.
#[derive(Clone, Debug)]
pub struct Core(Arc<WireCore>);

impl Default for World {
    fn default() -> Self {
        Self {
            bonds: Arc::new(Bonds::new()),
            families: Arc::default(),
            wires: WireIds::default(),
        }
    }
}

impl World {
    /// A new wire.
    #[must_use]
    pub fn wire(&self, connected: Connected) -> (Wire, Core) {
        let core = Arc::new(WireCore::new(self.wires.next(), connected));
        let wire = Wire {
            core: Arc::clone(&core),
            bonds: Arc::clone(&self.bonds),
            families: Arc::clone(&self.families),
        };
        (wire, Core(core))
    }

    /// Hangs a session on a wire that has shown the secret of this digest. The store knows nothing of its use.
    pub fn join(&self, core: &Core, live: Live) {
        let (session, digest) = (live.id, live.digest);
        let subject = Subject::new(b"subject").ok();
        let joined = subject.and_then(|subject| {
            self.bonds.join(live, &core.0, Timestamp::ZERO, |handle| {
                let (here, origin) = (Authority::of("here"), Origin::Trunk);
                let by = By::Lineage;
                Attachment::new(session, subject, here, handle, origin, by, Some(digest))
            })
        });
        debug_assert!(joined.is_some(), "a model has room");
    }

    /// Ends a session; answers how many wires it had.
    pub fn end(&self, session: SessionId, ending: Ending) -> usize {
        self.bonds.end(session, ending).len()
    }

    /// The wire turns out to be shared.
    pub fn let_go(&self, core: &Core) {
        self.bonds.let_go(&core.0);
    }

    /// Whether a request with the secret of this digest is accepted on the wire.
    #[must_use]
    pub fn recognises(&self, core: &Core, live: &Live, now: Timestamp) -> bool {
        matches!(
            core.0.recognise(live.id, &live.digest, None, now),
            Recognised::Known(_)
        )
    }

    /// Whether it hangs on the wire, believed or not.
    #[must_use]
    pub fn hangs(&self, core: &Core, session: SessionId) -> bool {
        core.0.sessions().contains(&session)
    }

    /// Whether the live table has it.
    #[must_use]
    pub fn is_live(&self, live: &Live) -> bool {
        self.bonds.table().find(live.place, live.id).is_some()
    }

    /// How many wires it has.
    #[must_use]
    pub fn wires(&self, session: SessionId) -> usize {
        self.bonds.wires(session).len()
    }

    /// As [`crate::Engine::watch`].
    #[must_use]
    pub fn watch(&self, session: SessionId) -> Option<Watch> {
        self.bonds.watch(session)
    }

    /// What is to be written down.
    #[must_use]
    pub fn unwritten(&self) -> Vec<(SessionId, Timestamp)> {
        let told = |departed: Departed| (departed.session, departed.last_active);
        self.bonds.unwritten().into_iter().map(told).collect()
    }

    /// It was written down.
    pub fn written(&self, session: SessionId, last_active: Timestamp) {
        self.bonds.written(Departed {
            session,
            last_active,
        });
    }
}
