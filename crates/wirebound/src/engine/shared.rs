//! Families that somebody in the middle shares among people: marked for good, in memory and in the store.

use core::sync::atomic::Ordering;

use super::Engine;
use crate::codec::{Reader, Writer};
use crate::event::Event;
use crate::families::roots;
use crate::ids::Root;
use crate::store::{Commit, Durability, Expect, Key, Space, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::Verified;
use crate::wire::{Wire, WireCore};

const FORMAT: u8 = 1;

/// A mark outlives every ticket of its family: tickets live 2 days, a chain of them at most 7 days in browsers.
const MARK: Lifetime = Lifetime::from_days(9);

/// What gave a shared connection away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sign {
    /// A forwarding header of any maker.
    ForwardingHeader,
    /// HTTP/1.0, which browsers do not speak.
    OldHttp,
    /// Two User-Agents.
    TwoClients,
    /// Two live sessions of different subjects in turn.
    TwoSubjects,
    /// No SNI where the authority is a name.
    NoServerName,
}

impl Sign {
    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForwardingHeader => "forwarding_header",
            Self::OldHttp => "http_1_0",
            Self::TwoClients => "two_user_agents",
            Self::TwoSubjects => "two_subjects_in_turn",
            Self::NoServerName => "no_server_name",
        }
    }
}

impl Engine {
    /// Marks a wire and its whole family: they prove nothing from now on, whatever they proved before.
    ///
    /// In memory at once; the store is told by [`Engine::keep_mark`], which the caller awaits before it serves.
    pub fn mark_shared(&self, wire: &Wire, sign: Sign) -> bool {
        let first = !wire.core.shared.swap(true, Ordering::Relaxed);
        for root in roots(wire.core.lineage.as_ref()) {
            self.families.mark(root);
        }
        for (session, handle) in wire.core.detach_all() {
            self.bonds.leave(session, wire.core.id, &handle);
        }
        if first && let Some(lineage) = wire.core.lineage {
            self.tell(Event::Shared {
                family: lineage.root,
                sign: sign.name(),
                side: wire.core.side(),
            });
        }
        first
    }

    /// Writes the mark down, for the life of the family's tickets.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn keep_mark(&self, wire: &Wire, now: Timestamp) -> Result<(), StoreError> {
        for root in roots(wire.core.lineage.as_ref()) {
            let mut out = Writer::with_version(FORMAT);
            out.time(now);
            let put = self.put(
                family_key(&root),
                Expect::Absent,
                out.finish(),
                now.after(MARK),
            );
            // Stale: another wire of the family was faster.
            let (Commit::Done | Commit::Stale) =
                self.store.commit(vec![put], Durability::Durable).await?;
        }
        Ok(())
    }

    /// Whether the wire's family is marked; the store is asked once per resumed wire.
    pub(super) async fn is_shared(&self, core: &WireCore) -> Result<bool, StoreError> {
        if core.shared.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let mut marked = self.families.is_shared(core.lineage.as_ref());
        if !marked && !core.mark_known.load(Ordering::Relaxed) {
            for root in roots(core.lineage.as_ref()) {
                let read = |bytes: &[u8]| (Reader::new(bytes).byte()? == FORMAT).then_some(());
                if self.load(family_key(&root), read).await?.is_some() {
                    self.families.mark(root);
                    marked = true;
                }
            }
            core.mark_known.store(true, Ordering::Relaxed);
        }
        if marked {
            core.shared.store(true, Ordering::Relaxed);
        }
        Ok(marked)
    }

    /// Whether, with this request, two subjects take turns on the wire's family. Then it is marked.
    pub(super) fn takes_turns(&self, wire: &Wire, verified: &Verified, _now: Timestamp) -> bool {
        let Some(lineage) = wire.core.lineage else {
            return false;
        };
        let turns = self.families.take_turns(&lineage.root, verified.subject());
        if turns {
            self.mark_shared(wire, Sign::TwoSubjects);
        }
        turns
    }
}

pub(super) fn family_key(root: &Root) -> Key {
    Key::new(Space::Family, root.as_bytes())
}
