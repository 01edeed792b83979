//! Signed assertions: what one may say of a session, and who is let in by what one says.
//!
//! The engine neither signs nor checks signatures: it says what is true at the moment of signing, and judges what a token
//! claims whose signature was found good. An assertion is a string, so it is never more than `bearer`.

use std::sync::Arc;

use super::attach::no_room;
use super::sign_in::no_entropy;
use super::{Engine, lost_race};
use crate::ids::{Authority, SessionId, Subject};
use crate::judge::{self, Claim};
use crate::record::{Carrier, Origin};
use crate::revocation::{Issued, Standing, TokenId};
use crate::role::{Role, Strength};
use crate::store::StoreError;
use crate::table::Live;
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{By, ByClaim, Ending, Need, Refusal, Verified};
use crate::wire::{Attachment, Visit, Wire};

/// What may be signed about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issue {
    /// What it can be called back by.
    pub issued: Issued,
    /// Who.
    pub subject: Subject,
    /// The role in force.
    pub role: Role,
    /// The strength of the proof that this very request had.
    pub strength: Strength,
    /// It may not be good for longer: the session, its role, its identity or the assertion that was shown runs out then.
    pub not_after: Timestamp,
    /// Whether the session's own cookie is one that browsers keep.
    pub persistent: bool,
}

/// What an assertion claims. Its signature, times, issuer and audience were found good; nothing else is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Claimed {
    /// What it can be called back by.
    pub issued: Issued,
    /// Who.
    pub subject: Subject,
    /// With which role.
    pub role: Role,
    /// When it runs out. Nothing that is made by it is good for longer.
    pub expires: Timestamp,
    /// Until when it is taken: not before it runs out, since clocks differ.
    pub taken_until: Timestamp,
    /// The host that the session was made for.
    pub authority: Authority,
}

impl Engine {
    /// What may be signed about the session of a request that was proved. `None`: nothing is issued here, or the session is
    /// a guest's, or over.
    ///
    /// # Errors
    ///
    /// When the store or the source of randomness cannot say.
    pub async fn issue(
        &self,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Option<Issue>, StoreError> {
        if self.policy.assertions.is_none() {
            return Ok(None);
        }
        let Some(tag) = self.keys.subject_tags(verified.subject()).next() else {
            return Err(lost_race());
        };
        // Whoever calls back what was issued for this subject holds the same lock: he is before or after, and after means
        // above the generation that is noted here.
        let _lock = self.lock(verified.subject()).await;
        let (Some(record), Some(identity)) = (
            self.load_record(&verified.session()).await?,
            self.load_identity(verified.subject()).await?,
        ) else {
            return Ok(None);
        };
        let (record, identity) = (record.value, identity.value);
        let over = identity.blocked || self.over(&record, &identity, now).is_some();
        if over || record.carrier == Carrier::Guest {
            return Ok(None);
        }
        let mut token = [0; 16];
        self.entropy.fill(&mut token).map_err(no_entropy)?;
        let floor = self.revocations.floor(&tag).max(identity.generation);
        let generation = floor.max(now.as_millis());
        self.issued.note(generation, now);
        let role = record.role_at(identity.ceiling(), now);
        let raised = record.raised().filter(|raised| now < raised.until);
        let lapse = raised.map_or(Timestamp::NEVER, |raised| raised.until);
        Ok(Some(Issue {
            issued: Issued {
                session: record.id,
                token: TokenId::from_bytes(token),
                subject: tag,
                generation,
                at: Timestamp::ZERO.after(Lifetime::from_secs(now.as_millis() / 1000)),
            },
            subject: record.subject.clone(),
            // Never more than this very request was allowed.
            role: role.min(verified.role()),
            strength: verified.strength(),
            not_after: record
                .absolute
                .min(identity.expires)
                .min(lapse)
                .min(now.after(self.idle_of(&record)))
                .min(
                    verified
                        .claim()
                        .map_or(Timestamp::NEVER, |claim| claim.expires),
                ),
            persistent: record.persistent,
        }))
    }

    /// Judges a request that shows an assertion whose signature was good. The store is asked only where memory says
    /// "perhaps". The request is a visit: nothing stays, but the session's ending reaches what is sent to it.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn admit(
        &self,
        wire: &Wire,
        claimed: &Claimed,
        authority: &Authority,
        need: Need,
        now: Timestamp,
    ) -> Result<Result<(Verified, Visit), Refusal>, StoreError> {
        let session = claimed.issued.session;
        let forgotten = self.revocations.has_forgotten(claimed.taken_until);
        let revoked = self.is_revoked(&claimed.issued, now).await?;
        let ending = if revoked {
            Some(self.ending_of(session).await?)
        } else {
            None
        };
        let claim = Claim {
            ending,
            expired: forgotten || now >= claimed.taken_until,
            elsewhere: claimed.authority != *authority,
            role: claimed.role,
            need,
        };
        match judge::claim(&claim, &self.policy) {
            Ok(role) => {
                let claim = ByClaim {
                    issued: claimed.issued,
                    expires: claimed.expires,
                };
                let verified =
                    Verified::new(session, claimed.subject.clone(), role, Strength::Bearer)
                        .claimed(claim);
                let visit = self.visit_by_claim(wire, claimed, now)?;
                // Whatever was called back before the visit hung was not told to it; what is called back from here on is.
                if self.revocations.standing(&claimed.issued) == Standing::Revoked {
                    return Ok(Err(Refusal::PhantomSession(self.ending_of(session).await?)));
                }
                Ok(Ok((verified, visit)))
            }
            Err(refusal) => {
                self.tell_phantom(&wire.core.side(), session, refusal, now);
                Ok(Err(refusal))
            }
        }
    }

    /// How a session ended whose token was called back; the token alone may have been.
    async fn ending_of(&self, session: SessionId) -> Result<Ending, StoreError> {
        let tombstone = self.load_tombstone(&session).await?;
        Ok(tombstone.map_or(Ending::Revoked, |held| held.value.ending))
    }

    /// One request was proved by what it claims.
    fn visit_by_claim(
        &self,
        wire: &Wire,
        claimed: &Claimed,
        now: Timestamp,
    ) -> Result<Visit, StoreError> {
        let id = claimed.issued.session;
        let epoch = self.keys.epoch();
        let live = Live {
            id,
            place: self.keys.place(&id, epoch).ok_or_else(lost_race)?,
            // No ticket is known, and a visit is never recognised by one.
            digest: [0; 16],
            role: claimed.role,
            raised: None,
            ceiling: claimed.role,
            blocked: false,
            identity_until: claimed.taken_until,
            absolute: claimed.taken_until,
            idle: self.policy.idle,
            last_active: now,
        };
        let visit = self.bonds.visit_by_claim(live, &wire.core, |handle| {
            Attachment::new(
                id,
                claimed.subject.clone(),
                claimed.authority.clone(),
                handle,
                Origin::Graft([0; 16]),
                By::Ticket,
                None,
            )
            .at_most(Strength::Bearer, self.policy.above_user)
            .visiting()
        });
        if visit.is_none() {
            return Err(no_room());
        }
        Ok(Visit {
            core: Arc::clone(&wire.core),
            bonds: Arc::clone(&wire.bonds),
            session: id,
        })
    }
}
