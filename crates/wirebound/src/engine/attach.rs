//! Hanging a proved wire on its session: the last step, in memory, after everything it rests on is in the store.

use std::sync::Arc;

use super::hand_over::comes_back;
use super::{Engine, Held};
use crate::event::Event;
use crate::families::Client;
use crate::identity::Identity;
use crate::record::{Origin, Record};
use crate::role::Strength;
use crate::store::{StoreError, StoreErrorKind};
use crate::time::Timestamp;
use crate::verdict::{By, Verified};
use crate::wire::{Attachment, Ticket, Visit, Wire, WireCore};

/// Sessions that one wire may carry. A client that ignores cookies makes one with each request, where the app hands them
/// to everybody.
const SESSIONS: usize = 16;

/// How a session hangs on a wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hold {
    /// The wire is proved: what it goes back to, and by what.
    Bound(Origin, By),
    /// One request is proved, with this strength; the wire proves nothing.
    Visit(Strength),
}

/// The live table is full.
pub(super) fn no_room() -> StoreError {
    StoreError::because(
        StoreErrorKind::Unavailable,
        "the live table has no room for another session",
    )
}

/// What is known of the session's tickets at that moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hung {
    /// The one that was shown or given.
    pub(super) digest: Option<[u8; 16]>,
    /// The current one.
    pub(super) ticket: Ticket,
}

impl Engine {
    /// Attaches. The caller holds the subject's lock, and `record` is what the store holds now.
    pub(super) fn attach(
        &self,
        core: &Arc<WireCore>,
        record: &Held<Record>,
        identity: &Identity,
        hold: Hold,
        hung: Hung,
        now: Timestamp,
    ) -> Result<Verified, StoreError> {
        let record = &record.value;
        let live = self.live(record, identity, now)?;
        let subject = record.subject.clone();
        let (origin, by, most) = match hold {
            Hold::Bound(origin, by) => (origin, by, Strength::Device),
            Hold::Visit(strength) => (Origin::Graft([0; 16]), By::Ticket, strength),
        };
        // Whoever signed in over it, or came by a ticket.
        let owes = matches!(by, By::SignIn | By::Ticket) && !comes_back(record, core);
        let most = record.carrier.most().min(most);
        let strength = origin.stock().strength().min(most);
        let handle = self
            .bonds
            .join(live, core, record.seen, |handle| {
                let attachment = Attachment::new(
                    record.id,
                    subject.clone(),
                    record.authority.clone(),
                    handle,
                    origin,
                    by,
                    hung.digest,
                )
                .at_most(most, self.policy.above_user)
                .owing_hand_over(owes)
                .with_ticket(Some(hung.ticket));
                match hold {
                    Hold::Bound(..) => attachment,
                    Hold::Visit(_) => attachment.visiting(),
                }
            })
            .ok_or_else(no_room)?;
        let role = handle.check(now).map_or_else(
            |_| record.role_at(identity.ceiling(), now),
            |standing| standing.role,
        );
        if matches!(hold, Hold::Bound(..)) {
            self.tell(Event::Attached {
                session: record.id,
                wire: core.id,
                by,
                stock: origin.stock(),
                family: core.lineage.map(|lineage| lineage.root),
            });
            self.keep_max_wires(record, core);
            self.keep_few_sessions(core);
        }
        Ok(Verified::new(
            record.id,
            subject,
            role.usable_with(strength, self.policy.above_user),
            strength,
        ))
    }

    /// One request was proved on a wire that proves nothing.
    pub(super) fn visit(
        &self,
        wire: &Wire,
        record: &Held<Record>,
        identity: &Identity,
        strength: Strength,
        ticket: Ticket,
        now: Timestamp,
    ) -> Result<Visit, StoreError> {
        let hung = Hung {
            digest: None,
            ticket,
        };
        self.attach(
            &wire.core,
            record,
            identity,
            Hold::Visit(strength),
            hung,
            now,
        )?;
        Ok(Visit {
            core: Arc::clone(&wire.core),
            bonds: Arc::clone(&wire.bonds),
            session: record.value.id,
        })
    }

    /// At the limit the oldest session leaves the wire; its next request has to prove it again.
    fn keep_few_sessions(&self, core: &WireCore) {
        let sessions = core.sessions();
        let over = sessions.len().saturating_sub(SESSIONS);
        for session in sessions.into_iter().take(over) {
            self.bonds.leave(session, core);
        }
    }

    /// At the limit the oldest idle wire is closed; if all are busy, the oldest.
    fn keep_max_wires(&self, record: &Record, newest: &Arc<WireCore>) {
        let mut wires = self.bonds.wires(record.id);
        wires.retain(|bound| !bound.visiting);
        let over = wires
            .len()
            .saturating_sub(usize::from(self.policy.max_wires.max(1)));
        if over == 0 {
            return;
        }
        let mut others: Vec<_> = wires
            .iter()
            .filter(|bound| bound.wire.id != newest.id && !bound.visiting)
            .collect();
        others.sort_by_key(|bound| (bound.wire.transport.in_flight() > 0, bound.wire.id));
        for bound in others.into_iter().take(over) {
            self.bonds.leave(record.id, &bound.wire);
            if !bound.wire.carries_others(record.id) {
                bound.wire.transport.close();
            }
        }
    }

    /// What a request shows of its client, beside what its wire and family showed before.
    #[must_use]
    pub fn client(&self, wire: &Wire, client: &str) -> Client {
        let Some(client) = wire.core.client_to_compare(client) else {
            return Client::Same;
        };
        match wire.core.lineage {
            Some(lineage) => self.families.client(&lineage.root, client),
            None if wire.core.side().client == client => Client::Same,
            // Without a family there is nothing to sign in anew on.
            None => Client::InTurn,
        }
    }
}
