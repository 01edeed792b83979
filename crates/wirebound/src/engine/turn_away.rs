//! A request that was not proved: challenged, or refused with what follows for the session.

use super::Engine;
use super::evidence::Shown;
use super::prove::{Found, Offer, Outcome, refused};
use crate::bonds::Bound;
use crate::event::{Event, Side};
use crate::ids::SessionId;
use crate::judge::{Consequence, Facts, Judgement, Offered, Verdict};
use crate::policy::{BoundToIp, Control};
use crate::record::Record;
use crate::sequence::Taken;
use crate::store::StoreError;
use crate::time::Timestamp;
use crate::verdict::{Ending, Refusal, Stock};
use crate::wire::Wire;

impl Engine {
    /// Not proved: challenge, or refuse with what follows.
    pub(super) async fn turn_away(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        found: &Found,
        facts: &Facts,
        judgement: Judgement,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let record = &found.record.value;
        let refusal = match judgement.verdict {
            Verdict::Challenge => return self.challenge(wire, offer, record.id, now),
            Verdict::Refuse(refusal) => refusal,
            Verdict::Accept { .. } | Verdict::HandOn => Refusal::Unauthenticated,
        };
        self.follow(wire, offer, found, facts, judgement.consequence, now)
            .await?;
        self.tell_phantom(&offer.client.side(wire), record.id, refusal, now);
        Ok(refused(refusal, facts.offered == Offered::Current))
    }

    pub(super) fn challenge(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        if !offer.held
            && let Some((joining, longest)) = self.hold(session, wire, now)
        {
            return Ok(Outcome::Hold(joining, longest));
        }
        let Some(lineage) = wire.core.lineage else {
            return Ok(refused(Refusal::NotProven, false));
        };
        let tries = Self::tries(offer.echoes, session, offer.request).saturating_add(1);
        let text = self
            .make_echo(wire, session, lineage.root, offer.request, tries, now)
            .map_err(super::sign_in::no_entropy)?;
        Ok(Outcome::Challenge(text))
    }

    /// What a judgement brings with it for the session.
    pub(super) async fn follow(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        found: &Found,
        facts: &Facts,
        consequence: Consequence,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let record = &found.record.value;
        let session = record.id;
        let newcomer = offer.client.side(wire);
        // A wire that proves nothing does not know whose it is.
        let connected = self.policy.preset.binds_wires();
        let holder = connected.then(|| self.bonds.holder(session)).flatten();
        let holder = holder.unwrap_or_else(|| earlier(record));
        match consequence {
            Consequence::Nothing => {}
            Consequence::NotProven => {
                if self.alarms.ring(session, "not_proven", now).is_some() {
                    let cause = cause(wire, facts);
                    self.tell(Event::NotProven {
                        session,
                        cause,
                        newcomer,
                        holder,
                    });
                }
            }
            Consequence::Contested => {
                if let Some(unreported) = self.alarms.ring(session, "contested", now) {
                    self.tell(Event::Contested {
                        session,
                        newcomer,
                        holder,
                        unreported,
                    });
                }
            }
            Consequence::Theft { ends } => {
                if let Some(unreported) = self.alarms.ring(session, "theft", now) {
                    let position = found.shown.map(|shown| shown.position);
                    let position = position.unwrap_or_default();
                    let (parted_at, moved_on) = record.sequence.parted(position);
                    self.tell(Event::Theft {
                        session,
                        subject: record.subject.clone(),
                        newcomer,
                        holder,
                        parted_at,
                        moved_on,
                        at: now,
                        ended: ends,
                        unreported,
                    });
                }
                if ends {
                    self.end_locked(&found.record, Ending::Theft, now).await?;
                }
            }
            Consequence::Expire(ending) => {
                self.end_locked(&found.record, ending, now).await?;
            }
            // Only of what was let in, which saw to it.
            Consequence::CutGraft => {}
        }
        Ok(())
    }

    /// Closes the wires of every graft; what still streams over them is cut.
    pub(super) fn cut_grafts(&self, session: SessionId) {
        let grafts = |bound: &Bound| bound.stock() == Stock::Graft && !bound.visiting;
        let wires = self.bonds.wires(session);
        if wires.iter().any(grafts) {
            self.bonds.role_fell(session);
        }
        for bound in wires.iter().filter(|bound| grafts(bound)) {
            self.bonds.leave(session, &bound.wire);
            if !bound.wire.carries_others(session) {
                bound.wire.transport.close();
            }
        }
    }

    /// Where a graft is, or was when it last moved the sequence on.
    pub(super) fn graft_side(&self, record: &Record) -> Side {
        let wires = self.bonds.wires(record.id);
        let graft = wires
            .iter()
            .find(|bound| bound.stock() == Stock::Graft && !bound.visiting);
        graft.map_or_else(|| earlier(record), |bound| bound.wire.side())
    }

    /// The trunk is back and somebody had used the session by a ticket: that one is cut off, the trunk goes on.
    pub(super) fn tell_settled(
        &self,
        wire: &Wire,
        record: &Record,
        graft: Side,
        shown: &Shown,
        now: Timestamp,
    ) {
        let Some(unreported) = self.alarms.ring(record.id, "theft", now) else {
            return;
        };
        self.tell(Event::Theft {
            session: record.id,
            subject: record.subject.clone(),
            newcomer: graft,
            holder: wire.core.side(),
            parted_at: shown.position.n,
            moved_on: None,
            at: now,
            ended: false,
            unreported,
        });
    }

    /// What showing a ticket brought to light.
    pub(super) fn tell_taken(
        &self,
        side: &Side,
        session: SessionId,
        taken: &Taken,
        now: Timestamp,
    ) {
        if taken.behind > 0 {
            self.tell(Event::RecordBehind {
                session,
                by: taken.behind,
            });
        }
        if let Some(fork) = &taken.fork
            && self.alarms.ring(session, "fork", now).is_some()
        {
            self.tell(Event::Fork {
                session,
                parted_at: fork.n,
                taken: side.clone(),
                at: now,
                other: fork.other.clone(),
                other_at: fork.at,
            });
        }
    }

    /// A control that is not enforced would have said no.
    pub(super) fn tell_shadowed(
        &self,
        side: Side,
        session: SessionId,
        control: Control,
        would: Option<Refusal>,
        now: Timestamp,
    ) {
        if let Some(unreported) = self.alarms.ring(session, control.alarm(), now) {
            self.tell(Event::Shadowed {
                session,
                control: control.name(),
                would: would.map_or("challenge", Refusal::name),
                side,
                unreported,
            });
        }
    }

    /// What is genuine came back after its session was ended.
    pub(super) fn tell_phantom(
        &self,
        side: &Side,
        session: SessionId,
        refusal: Refusal,
        now: Timestamp,
    ) {
        if let Refusal::PhantomSession(ending) = refusal
            && let Some(unreported) = self.alarms.ring(session, "phantom_session", now)
        {
            self.tell(Event::PhantomSession {
                session,
                ending,
                side: side.clone(),
                unreported,
            });
        }
    }
}

fn cause(wire: &Wire, facts: &Facts) -> &'static str {
    match wire.core.lineage {
        _ if facts.elsewhere => "other_address",
        _ if facts.shared => "shared_family",
        _ if facts.offered == Offered::Old => "old_secret",
        None => "no_tls",
        Some(lineage) if lineage.resumed => "other_family",
        Some(_) => "full_handshake",
    }
}

impl Engine {
    /// Whether a proved request comes from another address than the session was last proved from, where that is watched. It is
    /// told, and to be written down, so that it is told once.
    pub(super) fn note_address(&self, record: &Record, newcomer: &Side, now: Timestamp) -> bool {
        let before = earlier(record);
        let moved = self.policy.bound_to_ip != BoundToIp::Off && before.address != newcomer.address;
        if moved
            && self
                .alarms
                .ring(record.id, "address_changed", now)
                .is_some()
        {
            self.tell(Event::AddressChanged {
                session: record.id,
                newcomer: newcomer.clone(),
                holder: before,
            });
        }
        moved
    }
}

/// Where the session was last proved from, when no wire of it is left to ask.
pub(super) fn earlier(record: &Record) -> Side {
    let (address, client) = record
        .last_side
        .split_once(' ')
        .unwrap_or((&record.last_side, ""));
    Side {
        wire: None,
        address: address.parse().ok(),
        client: client.to_owned(),
    }
}
