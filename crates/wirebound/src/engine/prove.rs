//! The slow path: a wire that cannot say by itself. The store is asked, the judge judges, a proved wire is attached.

use std::sync::Arc;

use super::hand_over::{take_nonce, ticketed};
use super::{Engine, Held};
use crate::bonds::Joining;
use crate::cookie::Presented;
use crate::event::{Event, Side};
use crate::families::roots;
use crate::identity::Identity;
use crate::ids::SessionId;
use crate::judge::{
    Attach, Company, Consequence, Facts, Judgement, Known, Nonce, Offered, Proof, Recourse,
    Verdict, attachment, judge,
};
use crate::keys::Digest;
use crate::policy::Policy;
use crate::record::{Record, SecretState};
use crate::role::{Role, Strength};
use crate::secret::Secret;
use crate::store::{Commit, Durability, Expect, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Ending, Need, Refusal, Stock, Verified};
use crate::wire::{Recognised, Wire};

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
struct Found {
    record: Held<Record>,
    identity: Identity,
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
        let presented = offer.presented;
        let shared = self.is_shared(&wire.core).await?;
        if shared {
            self.keep_mark(wire, now).await?;
        }
        let Some(first) = self.load_record(&presented.id).await? else {
            return self.not_live(wire, offer).await;
        };
        let company = self.company(&first.value, wire, offer, shared, now).await;
        let lock = self.lock(&first.value.subject).await;
        // Again, now that nobody else changes this subject's sessions.
        let Some(record) = self.load_record(&presented.id).await? else {
            drop(lock);
            return self.not_live(wire, offer).await;
        };
        let Some(identity) = self.load_identity(&record.value.subject).await? else {
            // Sessions are never without an identity; one that is was half removed.
            return Ok(refused(Refusal::Unauthenticated, false));
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
                .await;
        }
        let accepted = self
            .let_in(wire, offer, &mut found, &facts, attach, now)
            .await?;
        let Some(accepted) = accepted else {
            // The store moved under us: another node. Ask again from the start by answering "cannot say".
            return Err(super::lost_race());
        };
        if judgement.consequence == Consequence::CutGraft {
            self.cut_grafts(presented.id);
        }
        Ok(match judgement.verdict {
            Verdict::Refuse(refusal) => Outcome::NotAllowed(accepted, refusal),
            Verdict::Accept { .. } | Verdict::Challenge => Outcome::Accepted(accepted),
        })
    }

    /// There is no such live session: it may have ended.
    async fn not_live(&self, wire: &Wire, offer: &Offer<'_>) -> Result<Outcome, StoreError> {
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
                if genuine {
                    Offered::Current
                } else {
                    Offered::Bad
                },
            )
        };
        let Judgement { verdict, .. } = judge(&self.policy, &facts);
        let refusal = match verdict {
            Verdict::Refuse(refusal) => refusal,
            Verdict::Accept { .. } | Verdict::Challenge => Refusal::Unauthenticated,
        };
        self.tell_refused(wire, presented.id, refusal);
        Ok(refused(refusal, genuine))
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the engine")]
    const fn blank(&self, offer: &Offer<'_>, offered: Offered) -> Facts {
        Facts {
            known: Known::Live,
            offered,
            blocked: false,
            over: None,
            surprise: offer.surprise,
            proof: Proof::Nothing,
            shared: false,
            company: Company::Nobody,
            nonce: Nonce::Nothing,
            recourse: Recourse::CannotFollow,
            role: Role::GUEST,
            ceiling: Role::GUEST,
            need: offer.need,
        }
    }

    fn facts(
        &self,
        found: &Found,
        wire: &Wire,
        offer: &Offer<'_>,
        shared: bool,
        company: Company,
        now: Timestamp,
    ) -> Facts {
        let record = &found.record.value;
        let shown = offer
            .nonce
            .as_ref()
            .and_then(|nonce| self.keys.digest(record.epoch, nonce));
        let offered = self.offered(record, offer);
        Facts {
            blocked: found.identity.blocked,
            over: self.over(record, &found.identity, now),
            proof: self.proof(record, wire, offer, now),
            shared,
            company,
            nonce: self.nonce(record, &wire.core, shown.as_ref(), now),
            recourse: self.recourse(wire, offer),
            role: self.role_shown(record, found.identity.ceiling(), offer, now),
            ceiling: found.identity.ceiling(),
            ..self.blank(offer, offered)
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the engine")]
    fn offered(&self, record: &Record, offer: &Offer<'_>) -> Offered {
        let presented = offer.presented;
        // A session belongs to the authority it was made for; at another its cookie is one of a stranger.
        if record.epoch != presented.epoch || record.authority != *offer.authority {
            return Offered::Bad;
        }
        match record.secret(&presented.digest) {
            Some(SecretState::Current | SecretState::Offered) => Offered::Current,
            Some(SecretState::Old) => Offered::Old,
            None => Offered::Bad,
        }
    }

    /// The role that this request's secret is good for: an offered secret acknowledges the elevation it came with.
    #[expect(clippy::unused_self, reason = "reads as a question to the engine")]
    fn role_shown(
        &self,
        record: &Record,
        ceiling: Role,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Role {
        if record.secret(&offer.presented.digest) == Some(SecretState::Offered) {
            let mut after = record.clone();
            after.acknowledge(&offer.presented.digest);
            return after.role_at(ceiling, now);
        }
        record.role_at(ceiling, now)
    }

    /// Why the session is over, if it is: by its own time or its identity's.
    pub(super) fn over(
        &self,
        record: &Record,
        identity: &Identity,
        now: Timestamp,
    ) -> Option<Ending> {
        let seen = record
            .seen
            .max(self.bonds.last_active(record.id).unwrap_or_default());
        // What was granted before a removal or a block stays over, also where ending it failed half-way.
        let revoked = record.generation < identity.generation;
        if identity.removed || revoked {
            Some(Ending::Removed)
        } else if now >= record.absolute {
            Some(Ending::ExpiredAbsolute)
        } else if identity.is_expired(now) {
            Some(Ending::Removed)
        } else if now.since(seen) >= record.idle {
            Some(Ending::ExpiredIdle)
        } else {
            None
        }
    }

    fn proof(&self, record: &Record, wire: &Wire, offer: &Offer<'_>, now: Timestamp) -> Proof {
        match wire
            .core
            .recognise(record.id, &offer.presented.digest.short(), None, now)
        {
            Recognised::Known(verified) => return Proof::Attached(verified.strength()),
            Recognised::OtherSecret(strength) => return Proof::Attached(strength),
            Recognised::Over | Recognised::Stranger => {}
        }
        let stock = roots(wire.core.lineage.as_ref())
            .filter_map(|root| record.stock(&root))
            .max();
        stock.map_or(Proof::Nothing, Proof::Lineage)
    }

    fn recourse(&self, wire: &Wire, offer: &Offer<'_>) -> Recourse {
        if !offer.can_follow {
            Recourse::CannotFollow
        } else if wire.core.lineage.is_none()
            || Self::tries(offer.echoes, offer.presented.id, offer.request)
                >= self.policy.echo_tries
        {
            Recourse::Exhausted
        } else {
            Recourse::Echo
        }
    }

    /// Who else of the session is there. A live wire is asked whether it is alive before it is held against anybody;
    /// nobody is asked where the answer would not matter.
    async fn company(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        shared: bool,
        now: Timestamp,
    ) -> Company {
        let strange = matches!(self.proof(record, wire, offer, now), Proof::Nothing) || shared;
        let matters = !strange || self.recourse(wire, offer) == Recourse::Exhausted;
        if !matters || self.offered(record, offer) == Offered::Bad {
            return Company::Nobody;
        }
        let mut company = Company::Nobody;
        for bound in self.bonds.wires(record.id) {
            if bound.wire.id == wire.core.id || company == Company::Trunk {
                continue;
            }
            if strange && !bound.wire.transport.alive().await {
                bound.wire.transport.close();
                continue;
            }
            company = match bound.stock {
                Stock::Trunk => Company::Trunk,
                Stock::Graft => Company::Graft,
            };
        }
        company
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
            let stale = now.since(record.seen).as_millis() > record.idle.as_millis() / 16;
            let side = side_text(&wire.core.side());
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

    /// Not proved: challenge, or refuse with what follows.
    async fn turn_away(
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
            Verdict::Accept { .. } => Refusal::Unauthenticated,
        };
        self.follow(wire, found, facts, judgement.consequence, now)
            .await?;
        self.tell_refused(wire, record.id, refusal);
        Ok(refused(refusal, facts.offered == Offered::Current))
    }

    fn challenge(
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
    async fn follow(
        &self,
        wire: &Wire,
        found: &Found,
        facts: &Facts,
        consequence: Consequence,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let record = &found.record.value;
        let session = record.id;
        let newcomer = wire.core.side();
        let holder = self
            .bonds
            .holder(session)
            .unwrap_or_else(|| earlier(record));
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
                let subject = record.subject.clone();
                self.tell(Event::Theft {
                    session,
                    subject,
                    newcomer,
                    holder,
                    ended: ends,
                });
                if ends {
                    self.end_locked(&found.record, Ending::Theft, now).await?;
                }
            }
            Consequence::Expire(ending) => {
                self.end_locked(&found.record, ending, now).await?;
            }
            // No preset makes grafts yet; a graft that is met all the same loses its wires.
            Consequence::CutGraft => self.cut_grafts(session),
        }
        Ok(())
    }

    fn cut_grafts(&self, session: SessionId) {
        for bound in self.bonds.wires(session) {
            if bound.stock == Stock::Graft {
                self.bonds.leave(session, &bound.wire);
                bound.wire.transport.close();
            }
        }
    }

    pub(super) fn tell_refused(&self, wire: &Wire, session: SessionId, refusal: Refusal) {
        self.tell(Event::Refused {
            session: Some(session),
            refusal,
            side: wire.core.side(),
        });
    }
}

const fn refused(refusal: Refusal, told: bool) -> Outcome {
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

fn cause(wire: &Wire, facts: &Facts) -> &'static str {
    match wire.core.lineage {
        _ if facts.shared => "shared_family",
        _ if facts.offered == Offered::Old => "old_secret",
        None => "no_tls",
        Some(lineage) if lineage.resumed => "other_family",
        Some(_) => "full_handshake",
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

pub(super) fn side_text(side: &Side) -> String {
    let address = side
        .address
        .map(|address| address.to_string())
        .unwrap_or_else(|| "-".to_owned());
    format!("{address} {}", side.client)
}

/// Held by nobody but the compiler: the slow path must stay `Send`.
#[expect(dead_code, reason = "a check at compile time")]
fn prove_is_send(
    engine: &Arc<Engine>,
    wire: &Wire,
    offer: &Offer<'_>,
    digest: Digest,
) -> impl Send {
    let _ = digest;
    engine.prove(wire, offer, Timestamp::ZERO)
}
