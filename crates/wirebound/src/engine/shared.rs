//! Families that somebody in the middle shares among people: marked for good, in memory and in the store.

use core::sync::atomic::Ordering;

use super::Engine;
use crate::codec::{Reader, Writer};
use crate::event::Event;
use crate::families::roots;
use crate::ids::{Root, SessionId, Subject};
use crate::record::Record;
use crate::store::{Commit, Durability, Expect, Key, Space, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::wire::{Wire, WireCore};

const FORMAT: u8 = 1;

/// A mark outlives every ticket of its family: tickets live 2 days, a chain of them at most 7 days in browsers.
const MARK: Lifetime = Lifetime::from_days(9);

/// A proxy may chain its family for longer than any browser: a mark is renewed while it is met.
const RENEW_MARK: Lifetime = Lifetime::from_days(1);

/// What gave a shared connection away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sign {
    /// A forwarding header of any maker.
    ForwardingHeader,
    /// HTTP/1.0, which browsers do not speak.
    OldHttp,
    /// Two User-Agents in turn.
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
            Self::TwoClients => "two_user_agents_in_turn",
            Self::TwoSubjects => "two_subjects_in_turn",
            Self::NoServerName => "no_server_name",
        }
    }
}

impl Engine {
    /// Marks a wire and its whole family, all their live wires with it: they prove nothing from now on, whatever they
    /// proved before.
    ///
    /// In memory at once; the store is told by [`Engine::keep_mark`], which the caller awaits before it serves.
    pub fn mark_shared(&self, wire: &Wire, sign: Sign) -> bool {
        let first = !wire.core.shared.load(Ordering::Relaxed);
        self.bonds.let_go(&wire.core);
        for root in roots(wire.core.lineage.as_ref()) {
            for core in self.families.mark(root) {
                self.bonds.let_go(&core);
            }
        }
        // A family without tickets ends with its connection, and whoever likes can open one after the other.
        let told = || {
            super::hand_over::ticketed(&wire.core)
                || self
                    .alarms
                    .ring(None, sign.name(), wire.core.opened)
                    .is_some()
        };
        if first
            && let Some(lineage) = wire.core.lineage
            && told()
        {
            self.tell(Event::Shared {
                family: lineage.root,
                sign: sign.name(),
                side: wire.core.side(),
            });
        }
        first
    }

    /// Writes the mark down, for the life of the family's tickets; a mark that is a day old is renewed.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn keep_mark(&self, wire: &Wire, now: Timestamp) -> Result<(), StoreError> {
        // A family without tickets ends with its connection: nothing is to be remembered of it, and a stranger who adds
        // a forwarding header to each connection must not fill the store.
        if wire.core.mark_kept.load(Ordering::Relaxed) || !super::hand_over::ticketed(&wire.core) {
            return Ok(());
        }
        for root in roots(wire.core.lineage.as_ref()) {
            let key = family_key(&root);
            let expect = match self.load(key.clone(), marked).await? {
                Some(held) if now.since(held.value) < RENEW_MARK => continue,
                Some(held) => Expect::At(held.version),
                None => Expect::Absent,
            };
            let mut out = Writer::with_version(FORMAT);
            out.time(now);
            let put = self.put(key, expect, out.finish(), now.after(MARK));
            // Stale: another wire of the family was faster.
            let (Commit::Done | Commit::Stale) =
                self.store.commit(vec![put], Durability::Durable).await?;
        }
        wire.core.mark_kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the wire's family is marked; the store is asked once per resumed wire.
    pub(super) async fn is_shared(&self, core: &WireCore) -> Result<bool, StoreError> {
        if core.shared.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let mut is_marked = self.families.is_shared(core.lineage.as_ref());
        if !is_marked && !core.mark_known.load(Ordering::Relaxed) {
            for root in roots(core.lineage.as_ref()) {
                if self.load(family_key(&root), marked).await?.is_some() {
                    self.families
                        .mark(root)
                        .iter()
                        .for_each(|core| self.bonds.let_go(core));
                    is_marked = true;
                }
            }
            core.mark_known.store(true, Ordering::Relaxed);
        }
        if is_marked {
            self.bonds.let_go(core);
        }
        Ok(is_marked)
    }

    /// Whether, with this request, two subjects take turns on the wire's family. Then it is marked.
    pub(super) fn takes_turns(&self, wire: &Wire, session: SessionId, subject: &Subject) -> bool {
        let Some(lineage) = wire.core.lineage else {
            return false;
        };
        let turns = self.families.take_turns(&lineage.root, session, subject);
        if turns {
            self.mark_shared(wire, Sign::TwoSubjects);
        }
        turns
    }

    pub(super) fn is_turn(&self, wire: &Wire, record: &Record) -> bool {
        wire.core.changes_session(record.id) && self.takes_turns(wire, record.id, &record.subject)
    }
}

fn marked(bytes: &[u8]) -> Option<Timestamp> {
    let mut from = Reader::new(bytes);
    (from.byte()? == FORMAT).then_some(())?;
    let at = from.time()?;
    from.finish()?;
    Some(at)
}

pub(super) fn family_key(root: &Root) -> Key {
    Key::new(Space::Family, root.as_bytes())
}
