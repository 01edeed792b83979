//! Elevation: a second factor, say, raises *this* session for a time and replaces its secret.
//!
//! The new secret is offered; until it is shown, the old one works at the old role, so a lost answer harms nobody.

use super::hand_over::comes_back;
use super::prove::{Caller, side_text};
use super::room::listed;
use super::tickets::Leaving;
use super::{Engine, TRIES, lost_race};
use crate::cookie::CookieValue;
use crate::event::Event;
use crate::families::roots;
use crate::record::{Carrier, Raised};
use crate::role::{Role, Strength};
use crate::sequence::Given;
use crate::store::{Commit, Durability, Expect, StoreError, StoreErrorKind};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Stock, Verified};
use crate::wire::{HandOverDebt, Wire};

/// What the app vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Elevate {
    /// The role to raise to; the ceiling bounds it.
    pub role: Role,
    /// For how long; an admin role lives no longer than the policy's.
    pub lifetime: Lifetime,
}

/// A session that was raised.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain facts")]
pub struct Elevated {
    /// The cookie to set; the role is in force once it is shown.
    pub cookie: CookieValue,
    /// The role it will have.
    pub role: Role,
    /// Until when.
    pub until: Timestamp,
    /// Whether the cookie was made to be kept.
    pub persistent: bool,
}

/// Why nothing was raised.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotElevated {
    /// The wire is weaker than `wire`, or the role is above the ceiling. An event says which.
    Ignored(&'static str),
    /// The store cannot say.
    Store(StoreError),
}

impl From<StoreError> for NotElevated {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Engine {
    /// Raises a session up to its identity's ceiling. An elevation to admin ends the subject's other admin sessions in
    /// the same commit.
    ///
    /// # Errors
    ///
    /// When nothing was raised: too weak a wire, above the ceiling, or the store cannot say.
    pub async fn elevate(
        &self,
        wire: &Wire,
        verified: &Verified,
        client: &Caller,
        elevate: Elevate,
        now: Timestamp,
    ) -> Result<Elevated, NotElevated> {
        let session = verified.session();
        // What the wire is now counts, not what it was when the request was judged.
        let strength = wire.core.with(session, |attachment| attachment.strength);
        let shared = self.policy.preset.binds_wires() && wire.is_shared();
        if shared
            || verified
                .strength()
                .min(strength.unwrap_or(Strength::Bearer))
                < self.policy.above_user
        {
            return Err(self.ignore(
                session,
                "the wire is weaker than what a role above `user` asks for",
            ));
        }
        let _lock = self.lock(verified.subject()).await;
        for _ in 0..TRIES {
            let (Some(held), Some(identity)) = (
                self.load_record(&session).await?,
                self.load_identity(verified.subject()).await?,
            ) else {
                return Err(self.ignore(session, "the session is over"));
            };
            let (mut record, mut identity, version) =
                (held.value, identity.value, (held.version, identity.version));
            if identity.blocked || self.over(&record, &identity, now).is_some() {
                return Err(self.ignore(session, "the session is over"));
            }
            if elevate.role > identity.ceiling() {
                return Err(self.ignore(session, "the role is above the identity's ceiling"));
            }
            let lost = || StoreError::new(StoreErrorKind::Corrupt);
            let holder = self.holder_of(&record, wire, client);
            let side = side_text(&client.side(wire));
            let from = record
                .sequence
                .offer_new(holder, &side, now)
                .ok_or_else(lost)?;
            let longest = if elevate.role == Role::ADMIN {
                self.policy.admin_role
            } else {
                elevate.lifetime
            };
            let until = now
                .after(elevate.lifetime.min(longest))
                .min(record.absolute);
            if record.carrier == Carrier::Guest {
                record.carrier = Carrier::Http;
            }
            record.raised = Some(Raised {
                role: elevate.role,
                until,
                from,
            });
            let Some(mut room) = self.make_room(&mut identity, &record, wire, now).await? else {
                return Err(self.ignore(session, "the limit of sessions with this role is reached"));
            };
            if room.demoted {
                record.raised = None;
            }
            identity.sessions.retain(|other| other.id != session);
            identity.sessions.push(listed(&record));
            let mut changes = core::mem::take(&mut room.changes);
            changes.push(self.put_record(&record, Expect::At(version.0)));
            changes.push(self.put_identity(&identity, Expect::At(version.1)));
            let doubt = self.doubt(room.touches());
            if self.store.commit(changes, Durability::Durable).await? == Commit::Stale {
                doubt.settled();
                continue;
            }
            self.made_room(&room, &identity, wire, now);
            doubt.settled();
            if !record.carrier.is_unsigned() {
                self.guests.gone(session);
            }
            if !comes_back(&record, &wire.core) {
                wire.core.set_hand_over(session, HandOverDebt::Owed);
            }
            let cookie =
                CookieValue::at(&self.keys, &session, record.epoch, from).ok_or_else(lost)?;
            return Ok(Elevated {
                cookie,
                role: if room.demoted {
                    record.role
                } else {
                    elevate.role
                },
                until,
                persistent: record.persistent,
            });
        }
        Err(lost_race().into())
    }

    /// Replaces the secret of a session, offered and acknowledged like any: after the app changed its own cookie in answer
    /// to an unsafe request, say. Wires, lineage and vault stay. Whoever was a guest is a user from then on: something was
    /// signed or sent. `None`: there is nothing to set, because the session is over, the request showed what nothing is
    /// set for, or what was offered last may still arrive.
    ///
    /// # Errors
    ///
    /// When the store or the source of randomness cannot say.
    pub async fn renew(
        &self,
        wire: &Wire,
        verified: &Verified,
        leaving: &Leaving<'_>,
        now: Timestamp,
    ) -> Result<Option<(CookieValue, bool)>, StoreError> {
        self.renew_as(wire, verified, leaving, false, now).await
    }

    /// As [`Engine::renew`], where the app answered what the operator named as its sign-in: a session that was taken in by
    /// a copy of the app's cookie, and so held at strength `bearer`, is one like others from here on.
    ///
    /// # Errors
    ///
    /// As [`Engine::renew`].
    pub async fn confirm(
        &self,
        wire: &Wire,
        verified: &Verified,
        leaving: &Leaving<'_>,
        now: Timestamp,
    ) -> Result<Option<(CookieValue, bool)>, StoreError> {
        let session = verified.session();
        let renewed = self.renew_as(wire, verified, leaving, true, now).await?;
        if renewed.is_some() {
            let own: Vec<_> = roots(wire.core.lineage.as_ref()).collect();
            let above_user = self.policy.above_user;
            wire.core.raise(session, above_user);
            for bound in self.bonds.wires(session) {
                let same = roots(bound.wire.lineage.as_ref()).any(|root| own.contains(&root));
                if same && bound.stock() == Stock::Trunk {
                    bound.wire.raise(session, above_user);
                }
            }
        }
        Ok(renewed)
    }

    async fn renew_as(
        &self,
        wire: &Wire,
        verified: &Verified,
        leaving: &Leaving<'_>,
        confirmed: bool,
        now: Timestamp,
    ) -> Result<Option<(CookieValue, bool)>, StoreError> {
        let session = verified.session();
        // A string that runs out is not exchanged for a secret that moves on.
        if verified.is_by_claim() {
            return Ok(None);
        }
        let Some(shown) = leaving.presented.position(&self.keys) else {
            return Ok(None);
        };
        let _lock = self.lock(verified.subject()).await;
        for _ in 0..TRIES {
            let (Some(held), Some(identity)) = (
                self.load_record(&session).await?,
                self.load_identity(verified.subject()).await?,
            ) else {
                return Ok(None);
            };
            let (mut record, mut identity, version) =
                (held.value, identity.value, identity.version);
            if !self.may_carry(wire, verified, leaving, &record) {
                return Ok(None);
            }
            let holder = self.holder_of(&record, wire, leaving.client);
            let (_, moment) = self.standing(&record, wire, shown, now);
            let side = side_text(&leaving.client.side(wire));
            let rules = &self.policy.tickets;
            let signs_in = confirmed && record.carrier == Carrier::Imported;
            let promoted = record.carrier == Carrier::Guest || signs_in || record.role < Role::USER;
            let sequence = &mut record.sequence;
            let given = if promoted {
                sequence.replace_new(shown, holder, &side, &moment, rules)
            } else {
                sequence.replace(shown, holder, &side, &moment, rules)
            };
            let Some(position) = given.position() else {
                return Ok(None);
            };
            let mut changes = Vec::new();
            let was_unsigned = record.carrier.is_unsigned();
            if record.carrier == Carrier::Guest || signs_in {
                // Something was signed or sent: no guest any more.
                record.carrier = Carrier::Http;
            }
            if record.role < Role::USER {
                record.role = Role::USER;
                identity.sessions.retain(|other| other.id != session);
                identity.sessions.push(listed(&record));
                changes.push(self.put_identity(&identity, Expect::At(version)));
            }
            changes.push(self.put_record(&record, Expect::At(held.version)));
            let unchanged = given == Given::Same(position);
            // An offer alone need not be durable.
            let durability = if promoted {
                Durability::Durable
            } else {
                Durability::Soon
            };
            if !unchanged && self.store.commit(changes, durability).await? == Commit::Stale {
                continue;
            }
            let live = self.live(&record, &identity, now)?;
            self.bonds.update(session, |there| {
                there.role = live.role;
                there.idle = live.idle;
            });
            if was_unsigned && !record.carrier.is_unsigned() {
                self.guests.gone(session);
            }
            let lost = || StoreError::new(StoreErrorKind::Corrupt);
            let cookie =
                CookieValue::at(&self.keys, &session, record.epoch, position).ok_or_else(lost)?;
            return Ok(Some((cookie, record.persistent)));
        }
        Err(lost_race())
    }

    fn ignore(&self, session: crate::ids::SessionId, cause: &'static str) -> NotElevated {
        self.tell(Event::ElevationIgnored { session, cause });
        NotElevated::Ignored(cause)
    }
}
