//! The slow path: a wire that cannot say by itself. The store is asked, the judge judges, a proved wire is attached.

use std::sync::Arc;

use super::attach::{Hold, Hung};
use super::evidence::Shown;
use super::guests::Redeemed;
use super::hand_over::{spend_nonce, ticketed};
use super::{Engine, Held, TRIES, lost_race};
use crate::bonds::Joining;
use crate::cookie::Presented;
use crate::event::Side;
use crate::families::roots;
use crate::identity::Identity;
use crate::judge::{
    Company, Consequence, Facts, Judgement, Known, Nonce, Offered, Proof, Proved, Recourse,
    Renewal, Verdict, judge,
};
use crate::record::{Origin, Raised, Record};
use crate::role::{Role, Strength};
use crate::secret::Secret;
use crate::sequence::{Holder, Taken};
use crate::store::{Commit, Durability, Expect, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{By, Need, Refusal, Verified};
use crate::wire::{Visit, Wire, kept_of};

use super::echo::EchoToken;

/// Whose a request is by what it says of itself. Where there are no wires it tells clients apart.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Caller {
    /// As whom it shows a ticket ([`crate::Keys::client`]).
    pub holder: Holder,
    /// What it calls itself, for events. Nothing where the wire knows that: what comes over one wire is one client's.
    pub name: Option<Arc<str>>,
}

impl Caller {
    /// Whoever is on the wire, who says nothing of himself.
    pub const WIRE: Self = Self {
        holder: Holder::Trunk,
        name: None,
    };

    /// Where it is, for events.
    #[must_use]
    pub fn side(&self, wire: &Wire) -> Side {
        let side = wire.core.side();
        match &self.name {
            Some(name) => Side {
                client: kept_of(name).to_owned(),
                ..side
            },
            None => side,
        }
    }
}

/// What a request offers beside its cookie.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Offer<'a> {
    /// The cookie.
    pub presented: &'a Presented,
    /// A hand-over nonce.
    pub nonce: Option<Secret>,
    /// Echo nonces that it brings.
    pub echoes: &'a [EchoToken],
    /// A short keyed or plain hash of method and target: the same for the same request.
    pub request: [u8; 8],
    /// Whether its client can follow a 307 to the same URL.
    pub can_follow: bool,
    /// It was held once already while another stranger was challenged.
    pub held: bool,
    /// It came from elsewhere (CSRF).
    pub surprise: bool,
    /// Its client calls itself otherwise than its family did: the wire proves nothing for it.
    pub other_client: bool,
    /// Its client.
    pub client: Caller,
    /// The authority it asks for.
    pub authority: &'a crate::ids::Authority,
    /// What the route asks for.
    pub need: Need,
}

/// A proved request.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain facts")]
pub struct Accepted {
    /// The session and what is in force.
    pub verified: Verified,
    /// The nonce was spent: take it out of the jar.
    pub nonce_spent: bool,
    /// The wire was attached just now, by a guest's sealed cookie that came back for the first time or by a ticket. If it
    /// owes its client a hand-over ([`Engine::hand_over_due`]), it must live until then.
    pub newcomer: bool,
    /// This request was proved by itself, on a wire that proves nothing: hold it while anything is sent.
    pub visit: Option<Visit>,
}

/// What came of asking the store.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a caller must meet each")]
pub enum Outcome {
    /// The wire is attached; the request goes on.
    Accepted(Accepted),
    /// Proved, but the route asks for more.
    NotAllowed(Accepted, Refusal),
    /// Serve nothing: a 307 to the same URL with this echo nonce, and close.
    Challenge(String),
    /// A wire without TLS tickets showed the hand-over's nonce: a 307 to the same URL, and close.
    HandOn {
        /// Open one more grant of TLS tickets for its client.
        grants: bool,
    },
    /// Wait for this, so long at most, then ask again with `held` set.
    Hold(Joining, Lifetime),
    /// No: tell of it with [`Engine::tell_refused`], as of what is not allowed. `told` says whether this client may know
    /// more than a stranger: it showed a current secret.
    Refused {
        /// Why.
        refusal: Refusal,
        /// It showed a current secret of the session.
        told: bool,
    },
}

/// The session as the store holds it, with its identity.
pub(super) struct Found {
    pub(super) record: Held<Record>,
    pub(super) identity: Identity,
    /// The ticket that the request shows, if it is one of this session's.
    pub(super) shown: Option<Shown>,
}

impl Engine {
    /// Judges a request whose wire cannot say by itself, and attaches the wire if it is proved.
    ///
    /// Everything the answer depends on is in the store before this returns.
    ///
    /// # Errors
    ///
    /// When the store cannot say: the request is answered 503 and keeps its cookie; nobody is signed out.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the session as it was, or with one more family that belongs to it; a graft that was to be
    /// cut off may have lost its wires already.
    pub async fn prove(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        // What somebody wrote who hung up meanwhile, or another node, may reach the store between reading and writing.
        for _ in 0..TRIES {
            if let Some(outcome) = self.prove_now(wire, offer, now).await? {
                return Ok(outcome);
            }
        }
        Err(lost_race())
    }

    /// `None`: the store moved in between.
    async fn prove_now(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Result<Option<Outcome>, StoreError> {
        let presented = offer.presented;
        if wire.core.doubts(presented.id) == Some(true) {
            self.overtake(presented.id).await?;
        }
        let shared = self.is_shared_for(wire, offer, now).await?;
        let mut first = self.load_record(&presented.id).await?;
        if first.is_none() {
            match self.redeem(wire, offer, shared, now).await? {
                Redeemed::Now(outcome) => return Ok(Some(outcome)),
                // Another request of the same cookie was faster: judged like any genuine secret from here on.
                Redeemed::Before => first = self.load_record(&presented.id).await?,
                Redeemed::Not => {}
            }
        }
        let Some(first) = first else {
            return self.not_live(wire, offer, now).await.map(Some);
        };
        let asked = self.company(&first.value, wire, offer, shared, now).await;
        let lock = self.lock(&first.value.subject).await;
        // Again, now that nobody else changes this subject's sessions.
        let Some(record) = self.load_record(&presented.id).await? else {
            drop(lock);
            return self.not_live(wire, offer, now).await.map(Some);
        };
        if self.is_stale(&asked, &record.value, wire, offer, now) {
            return Ok(None);
        }
        let Some(identity) = self.load_identity(&record.value.subject).await? else {
            // Sessions are never without an identity; one that is was half removed.
            return Ok(Some(refused(Refusal::Unauthenticated, false)));
        };
        let mut found = Found {
            shown: self.shown(&record.value, wire, offer, now),
            record,
            identity: identity.value,
        };
        let mut facts = self.facts(&found, wire, offer, shared, asked.company, now);
        let mut judgement = judge(&self.policy, &facts);
        if judgement.proved.is_some()
            && self.policy.preset.binds_wires()
            && self.is_turn(wire, &found.record.value)
        {
            // Somebody in the middle: what this wire proved, it proved for all of its users.
            self.keep_mark(wire, now).await?;
            facts.shared = true;
            judgement = judge(&self.policy, &facts);
        }
        if let Some((control, would)) = judgement.shadowed {
            let side = offer.client.side(wire);
            self.tell_shadowed(side, presented.id, control, would, now);
        }
        if judgement.verdict == Verdict::HandOn {
            return self.hand_on(wire, &found.record).await;
        }
        let (Some(proved), Some(shown)) = (judgement.proved, found.shown) else {
            return self
                .turn_away(wire, offer, &found, &facts, judgement, now)
                .await
                .map(Some);
        };
        let accepted = self
            .let_in(
                wire, offer, &mut found, &facts, &judgement, proved, &shown, now,
            )
            .await?;
        Ok(accepted.map(|accepted| match judgement.verdict {
            Verdict::Refuse(refusal) => Outcome::NotAllowed(accepted, refusal),
            Verdict::Accept { .. } | Verdict::Challenge | Verdict::HandOn => {
                Outcome::Accepted(accepted)
            }
        }))
    }

    /// Whether the wire proves nothing for this request, because it is shared or its client is another than before.
    async fn is_shared_for(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if !self.policy.preset.binds_wires() {
            return Ok(false);
        }
        let shared = self.is_shared(&wire.core).await?;
        if shared {
            self.keep_mark(wire, now).await?;
        }
        Ok(shared || offer.other_client)
    }

    /// There is no such live session: it may have ended.
    async fn not_live(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let presented = offer.presented;
        self.found_gone(presented.id).await?;
        let tombstone = self.load_tombstone(&presented.id).await?;
        let position = tombstone
            .as_ref()
            .filter(|held| held.value.epoch == presented.epoch)
            .and_then(|_| presented.position(&self.keys));
        let offered = match (&tombstone, position) {
            (Some(held), Some(position)) if position >= held.value.current => Offered::Current,
            (Some(_), Some(_)) => Offered::Old,
            _ => Offered::Bad,
        };
        let genuine = offered == Offered::Current;
        let known = tombstone.map_or(Known::Unknown, |held| Known::Ended(held.value.ending));
        let facts = Facts {
            known,
            ..self.blank(offer, offered)
        };
        let Judgement { verdict, .. } = judge(&self.policy, &facts);
        let refusal = match verdict {
            Verdict::Refuse(refusal) => refusal,
            Verdict::Accept { .. } | Verdict::Challenge | Verdict::HandOn => {
                Refusal::Unauthenticated
            }
        };
        self.tell_phantom(&offer.client.side(wire), presented.id, refusal, now);
        Ok(refused(refusal, genuine))
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the engine")]
    pub(super) const fn blank(&self, offer: &Offer<'_>, offered: Offered) -> Facts {
        Facts {
            known: Known::Live,
            offered,
            blocked: false,
            over: None,
            surprise: offer.surprise,
            proof: Proof::Nothing,
            shared: false,
            elsewhere: false,
            company: Company::Nobody,
            grafted: false,
            estranged: false,
            renewal: Renewal::Fine,
            nonce: Nonce::Nothing,
            recourse: Recourse::CannotFollow,
            role: Role::GUEST,
            ceiling: Role::GUEST,
            most: Strength::Device,
            need: offer.need,
        }
    }

    /// The request is proved: write down what changed, attach its wire if it is that, tell it the ticket it showed.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a fact of its own, and there is one caller"
    )]
    async fn let_in(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        found: &mut Found,
        facts: &Facts,
        judgement: &Judgement,
        proved: Proved,
        shown: &Shown,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let idle = self.idle_of(&found.record.value);
        let record = &mut found.record.value;
        let session = record.id;
        let here = offer.client.side(wire);
        let side = side_text(&here);
        let before = record.sequence.current();
        // What cut off a graft: where that was, before this wire takes its place.
        let grafts =
            (judgement.consequence == Consequence::CutGraft).then(|| self.graft_side(record));
        let rules = &self.policy.tickets;
        // Whom only a shadow let in moves nothing.
        let by_shadow = judgement
            .shadowed
            .is_some_and(|(control, _)| control.lets_in());
        let taken = if by_shadow {
            Taken::default()
        } else {
            record
                .sequence
                .show(shown.position, shown.holder, &side, &shown.moment, rules)
        };
        // A pending elevation is taken by its own ticket; by another one of that number it is passed over.
        let passed_over = |raised: &Raised| {
            before < raised.from
                && shown.position != raised.from
                && record.sequence.current() >= raised.from
        };
        if taken.acknowledged && record.raised.as_ref().is_some_and(passed_over) {
            record.raised = None;
        }
        let mut changed = taken.changed;
        let mut durable = taken.changed;
        let nonce_spent = proved.attach.is_some() && matches!(facts.nonce, Nonce::Open(_));
        let by_ticket = proved.attach.is_some_and(|attach| attach.by == By::Ticket);
        let origin = proved.attach.map(|attach| match attach.by {
            By::Ticket => {
                record.grafted = true;
                shown.graft
            }
            By::SignIn | By::Lineage | By::HandOver | By::Echo => {
                shown.origin.unwrap_or(shown.graft)
            }
        });
        // That a copy may be in use is remembered, whatever it does: the trunk's return ends it.
        changed |= by_ticket;
        durable |= by_ticket;
        if by_ticket && !record.sequence.is_known(shown.holder, rules) {
            record.sequence.excuse(shown.position);
        }
        if let Some(origin) = origin {
            if nonce_spent {
                spend_nonce(record, &wire.core);
                (changed, durable) = (true, true);
            }
            if ticketed(&wire.core) {
                let mut joined = false;
                for root in roots(wire.core.lineage.as_ref()) {
                    joined |= record.join(root, origin);
                }
                changed |= joined;
                durable |= changed;
            }
        }
        if grafts.is_some() {
            record.prune(now);
            (changed, durable) = (true, true);
            // Before it is written: whoever hangs up, or a store that fails, leaves no graft on its wires.
            self.cut_grafts(session);
        }
        let attached = origin.is_some();
        let stale = now.since(record.seen).as_millis() > idle.as_millis() / 16;
        // An attached wire was looked at when it was attached.
        let stood = matches!(facts.proof, Proof::Attached(_));
        let moved = !stood && self.note_address(record, &here, now);
        changed |= moved || stale;
        if changed && record.last_side != side && (attached || moved || taken.acknowledged) {
            record.last_side = side;
        }
        if changed {
            record.seen = record.seen.max(now);
            let durability = if durable {
                Durability::Durable
            } else {
                Durability::Soon
            };
            let put = self.put_record(record, Expect::At(found.record.version));
            let raised = record.raised.is_some_and(|raised| {
                before < raised.from && record.sequence.current() >= raised.from
            });
            if self.store.commit(vec![put], durability).await? == Commit::Stale {
                return Ok(None);
            }
            found.record.version = found.record.version.next();
            if raised {
                // The tickets of before carry less than the session has now.
                for bound in self.bonds.wires(session) {
                    bound.wire.unlearn(session);
                }
            }
        }
        self.tell_taken(&here, session, &taken, now);
        if let Some(graft) = grafts {
            self.tell_settled(wire, &found.record.value, graft, shown, now);
        }
        let newcomer = by_ticket;
        let (verified, visit) = self.enter(wire, offer, found, proved, origin, shown, now)?;
        if judgement.consequence != Consequence::CutGraft {
            // Of a control in shadow.
            self.follow(wire, offer, found, facts, judgement.consequence, now)
                .await?;
        }
        Ok(Some(Accepted {
            verified,
            nonce_spent,
            newcomer,
            visit,
        }))
    }

    /// The part of letting in that is in memory only.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a fact of its own, and there is one caller"
    )]
    fn enter(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        found: &Found,
        proved: Proved,
        origin: Option<Origin>,
        shown: &Shown,
        now: Timestamp,
    ) -> Result<(Verified, Option<Visit>), StoreError> {
        let record = &found.record.value;
        let session = record.id;
        let ticket = self.ticket_of(record, shown.holder)?;
        // A ticket of before an elevation is judged each time: the wire alone would give it the new role.
        let carries_all = record.carries_all(shown.position);
        let digest = carries_all.then(|| offer.presented.digest.short());
        if let (Some(attach), Some(origin)) = (proved.attach, origin) {
            let hold = Hold::Bound(origin, attach.by);
            let hung = Hung { digest, ticket };
            let verified =
                self.attach(&wire.core, &found.record, &found.identity, hold, hung, now)?;
            return Ok((verified, None));
        }
        let role = record.role_of(shown.position, found.identity.ceiling(), now);
        let strength = proved.strength;
        let verified = Verified::new(
            session,
            record.subject.clone(),
            role.usable_with(strength, self.policy.above_user),
            strength,
        );
        let attached = wire.core.origin(session).is_some() && self.policy.preset.binds_wires();
        if !attached {
            let visit = self.visit(wire, &found.record, &found.identity, strength, ticket, now)?;
            return Ok((verified, Some(visit)));
        }
        let live = self.live(record, &found.identity, now)?;
        self.bonds.update(session, |there| {
            let last_active = there.last_active.max(live.last_active);
            *there = crate::table::Live {
                last_active,
                ..live
            };
        });
        wire.core.learn(session, digest, ticket);
        Ok((verified, None))
    }
}

pub(super) const fn refused(refusal: Refusal, told: bool) -> Outcome {
    Outcome::Refused { refusal, told }
}

pub(super) fn side_text(side: &Side) -> String {
    let address = side
        .address
        .map(|address| address.to_string())
        .unwrap_or_else(|| "-".to_owned());
    format!("{address} {}", side.client)
}

/// Held by nobody but the compiler: the slow path must stay `Send`.
#[expect(dead_code, reason = "a check at compile time")]
fn prove_is_send(engine: &Engine, wire: &Wire, offer: &Offer<'_>) -> impl Send {
    engine.prove(wire, offer, Timestamp::ZERO)
}
