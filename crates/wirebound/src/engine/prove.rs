//! The slow path: a wire that cannot say by itself. The store is asked, the judge judges, a proved wire is attached.

use super::guests::Redeemed;
use super::hand_over::{take_nonce, ticketed};
use super::{Engine, Held, TRIES, lost_race};
use crate::bonds::Joining;
use crate::cookie::Presented;
use crate::event::Side;
use crate::families::roots;
use crate::identity::Identity;
use crate::judge::{
    Attach, Company, Consequence, Facts, Judgement, Known, Nonce, Offered, Proof, Recourse,
    Verdict, attachment, judge,
};
use crate::policy::Policy;
use crate::record::{Record, SecretState};
use crate::role::{Role, Strength};
use crate::secret::Secret;
use crate::store::{Commit, Durability, Expect, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Need, Refusal, Verified};
use crate::wire::Wire;

use super::echo::EchoToken;

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
    /// This wire has no tickets: serve, close it, and open one more ticket grant.
    pub hand_on: bool,
    /// A guest's sealed cookie came back for the first time: the session was made by this very request.
    pub redeemed: bool,
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
    /// Wait for this, so long at most, then ask again with `held` set.
    Hold(Joining, Lifetime),
    /// No. `told` says whether this client may know more than a stranger: it showed a current secret.
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
    /// Dropping the future leaves the session as it was, or with one more family that belongs to it.
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
        let shared = self.is_shared(&wire.core).await?;
        if shared {
            self.keep_mark(wire, now).await?;
        }
        let shared = shared || offer.other_client;
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
        let company = self.company(&first.value, wire, offer, shared, now).await;
        let lock = self.lock(&first.value.subject).await;
        // Again, now that nobody else changes this subject's sessions.
        let Some(record) = self.load_record(&presented.id).await? else {
            drop(lock);
            return self.not_live(wire, offer, now).await.map(Some);
        };
        let Some(identity) = self.load_identity(&record.value.subject).await? else {
            // Sessions are never without an identity; one that is was half removed.
            return Ok(Some(refused(Refusal::Unauthenticated, false)));
        };
        let mut found = Found {
            record,
            identity: identity.value,
        };
        let mut facts = self.facts(&found, wire, offer, shared, company, now);
        if is_proved(&self.policy, &facts) && self.is_turn(wire, &found.record.value) {
            // Somebody in the middle: what this wire proved, it proved for all of its users.
            self.keep_mark(wire, now).await?;
            facts.shared = true;
        }
        let judgement = judge(&self.policy, &facts);
        let attach = attachment(&self.policy, &facts);
        if !is_proved(&self.policy, &facts) {
            return self
                .turn_away(wire, offer, &found, &facts, judgement, now)
                .await
                .map(Some);
        }
        let accepted = self
            .let_in(wire, offer, &mut found, &facts, attach, now)
            .await?;
        let Some(accepted) = accepted else {
            return Ok(None);
        };
        if judgement.consequence == Consequence::CutGraft {
            self.cut_grafts(presented.id);
        }
        Ok(Some(match judgement.verdict {
            Verdict::Refuse(refusal) => Outcome::NotAllowed(accepted, refusal),
            Verdict::Accept { .. } | Verdict::Challenge => Outcome::Accepted(accepted),
        }))
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
        let genuine = tombstone.as_ref().is_some_and(|held| {
            held.value.epoch == presented.epoch
                && held
                    .value
                    .digest
                    .is_some_and(|digest| digest.matches(&presented.digest))
        });
        let known = tombstone.map_or(Known::Unknown, |held| Known::Ended(held.value.ending));
        let facts = Facts {
            known,
            ..self.blank(
                offer,
                match (genuine, presented.is_sealed()) {
                    (true, _) => Offered::Current,
                    // It opened, so it was this session's; by which secret it was followed does not matter.
                    (false, true) => Offered::Old,
                    (false, false) => Offered::Bad,
                },
            )
        };
        let Judgement { verdict, .. } = judge(&self.policy, &facts);
        let refusal = match verdict {
            Verdict::Refuse(refusal) => refusal,
            Verdict::Accept { .. } | Verdict::Challenge => Refusal::Unauthenticated,
        };
        self.tell_refused(wire, presented.id, refusal, now);
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
            nonce: Nonce::Nothing,
            recourse: Recourse::CannotFollow,
            role: Role::GUEST,
            ceiling: Role::GUEST,
            most: Strength::Device,
            need: offer.need,
        }
    }

    /// The wire is proved: write down what changed, attach it, tell it the secret it showed.
    async fn let_in(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        found: &mut Found,
        facts: &Facts,
        attach: Option<Attach>,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let presented = offer.presented;
        let idle = self.idle_of(&found.record.value);
        let mut durability = Durability::Soon;
        let mut changed = false;
        let record = &mut found.record.value;
        if record.secret(&presented.digest) == Some(SecretState::Offered) {
            record.acknowledge(&presented.digest);
            (changed, durability) = (true, Durability::Durable);
        }
        let mut hand_on = false;
        let mut nonce_spent = false;
        if let Some(attach) = attach {
            if facts.nonce == Nonce::Open {
                hand_on = take_nonce(record, &wire.core);
                nonce_spent = !hand_on;
                (changed, durability) = (true, Durability::Durable);
            }
            if ticketed(&wire.core) {
                for root in roots(wire.core.lineage.as_ref()) {
                    changed |= record.join(root, attach.stock);
                }
                if changed {
                    durability = Durability::Durable;
                }
            }
            let stale = now.since(record.seen).as_millis() > idle.as_millis() / 16;
            let side = side_text(&wire.core.side());
            let moved = self.note_address(record, wire, now);
            changed |= moved;
            if stale || (changed && record.last_side != side) {
                record.last_side = side;
                changed = true;
            }
        }
        if changed {
            record.seen = record.seen.max(now);
            let put = self.put_record(record, Expect::At(found.record.version));
            if self.store.commit(vec![put], durability).await? == Commit::Stale {
                return Ok(None);
            }
            found.record.version = found.record.version.next();
        }
        self.enter(wire, presented, found, attach, now)
            .map(|verified| {
                Some(Accepted {
                    verified,
                    nonce_spent,
                    hand_on,
                    redeemed: false,
                })
            })
    }

    /// The part of letting in that is in memory only.
    fn enter(
        &self,
        wire: &Wire,
        presented: &Presented,
        found: &Found,
        attach: Option<Attach>,
        now: Timestamp,
    ) -> Result<Verified, StoreError> {
        let record = &found.record;
        let digest = presented.digest.short();
        let Some(attach) = attach else {
            let strength = wire
                .core
                .with(record.value.id, |attachment| attachment.strength)
                .unwrap_or(Strength::Bearer);
            let live = self.live(&record.value, &found.identity, now)?;
            self.bonds.update(record.value.id, |there| {
                let last_active = there.last_active.max(live.last_active);
                *there = crate::table::Live {
                    last_active,
                    ..live
                };
            });
            wire.core.learn(record.value.id, digest);
            let role = record.value.role_at(found.identity.ceiling(), now);
            return Ok(Verified::new(
                record.value.id,
                record.value.subject.clone(),
                role,
                strength,
            ));
        };
        self.attach(
            &wire.core,
            record,
            &found.identity,
            attach,
            Some(digest),
            now,
        )
    }
}

pub(super) const fn refused(refusal: Refusal, told: bool) -> Outcome {
    Outcome::Refused { refusal, told }
}

/// Whether the request is the session's, whatever its route asks for.
fn is_proved(policy: &Policy, facts: &Facts) -> bool {
    let judgement = judge(policy, facts);
    matches!(judgement.verdict, Verdict::Accept { .. })
        || attachment(policy, facts).is_some()
        || is_attached_and_refused_for_need(facts, judgement)
}

/// An attached wire that is refused only because the route asks for more is still let in, so that its new secret is
/// learnt.
fn is_attached_and_refused_for_need(facts: &Facts, judgement: Judgement) -> bool {
    let for_need = matches!(
        judgement.verdict,
        Verdict::Refuse(
            Refusal::InsufficientRole | Refusal::InsufficientStrength | Refusal::StepUpRequired
        )
    );
    for_need && matches!(facts.proof, Proof::Attached(_))
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
