//! Sign-in: the app vouched for a subject; from here on a session lives on this wire.
//!
//! The new session, its identity, and the end of whatever must make room are one commit, so that of any number of
//! admin sign-ins at once exactly one survives.

use core::fmt;

use super::attach::{Hold, Hung};
use super::prove::Caller;
use super::room::listed;
use super::turn_away::earlier;
use super::{Engine, Held, TRIES, lost_race};
use crate::cookie::CookieValue;
use crate::event::{Event, Side};
use crate::families::roots;
use crate::identity::Identity;
use crate::ids::{Authority, SessionId, Subject};
use crate::policy::{Control, Preset};
use crate::record::{Carrier, Family, HandOver, Origin, Raised, Record};
use crate::role::{Role, Strength};
use crate::secret::Secret;
use crate::sequence::{Holder, Position, Sequence};
use crate::store::{Change, Commit, Durability, Expect, StoreError, StoreErrorKind};
use crate::time::{EntropyError, Lifetime, Timestamp};
use crate::verdict::{By, Ending, Stock, Verified};
use crate::wire::{Visit, Wire, WireCore};

/// What the app vouched for, and how the session is to live.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct SignIn {
    /// Who.
    pub subject: Subject,
    /// The host it is made for.
    pub authority: Authority,
    /// The role vouched for; the identity's ceiling bounds it.
    pub role: Role,
    /// The browser is told to keep the cookie.
    pub persistent: bool,
    /// Shorter clocks than the policy's, if any.
    pub idle: Option<Lifetime>,
    /// As above.
    pub absolute: Option<Lifetime>,
    /// What the session keeps for the app, already encoded; sealed by the engine.
    pub vault: Option<Vec<u8>>,
    /// The answer itself can carry the hand-over (a redirect to our own authority).
    pub carries_hand_over: bool,
    /// The client, as in [`super::Offer::client`].
    pub client: Caller,
}

/// A session that just began.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain facts")]
pub struct SignedIn {
    /// The session and what is in force.
    pub verified: Verified,
    /// The cookie to set.
    pub cookie: CookieValue,
    /// The hand-over nonce to set, if the answer can carry it.
    pub hand_over: Option<Secret>,
    /// When it is over whatever happens on it.
    pub absolute: Timestamp,
    /// Where wires prove nothing: this request is the new session's as long as it is held.
    pub visit: Option<Visit>,
}

/// Why nobody was signed in.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotSignedIn {
    /// The subject is blocked.
    Blocked,
    /// The limit of sessions is reached and the policy denies further ones.
    Limit,
    /// The store or the source of randomness cannot say.
    Store(StoreError),
}

impl fmt::Display for NotSignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("the subject is blocked"),
            Self::Limit => f.write_str("the limit of sessions is reached"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NotSignedIn {}

impl From<StoreError> for NotSignedIn {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(super) fn no_entropy(error: EntropyError) -> StoreError {
    StoreError::because(StoreErrorKind::Unavailable, error)
}

/// A session about to be stored, with what only its holder gets.
struct Draft {
    record: Record,
    hand_over: Option<Secret>,
}

impl Engine {
    /// Signs in over HTTP. `named` is the session that the sign-in request itself was proved for: it ends first, and
    /// its trunk wires of this wire's family move to the new one. The wire is attached before this returns, so
    /// before the response head is written.
    ///
    /// # Errors
    ///
    /// When the subject is blocked, the limit denies, or the store cannot say.
    pub async fn sign_in(
        &self,
        wire: &Wire,
        request: SignIn,
        named: Option<&Verified>,
        now: Timestamp,
    ) -> Result<SignedIn, NotSignedIn> {
        let siblings = self.replace(wire, named, now).await?;
        self.begin(wire, request, Carrier::Http, &siblings, now)
            .await
    }

    /// Signs in on a raw socket: the wire alone is the credential from now on, and the session is over with it. A session
    /// that hung on this wire ends first.
    ///
    /// # Errors
    ///
    /// As [`Engine::sign_in`].
    pub async fn login(
        &self,
        wire: &Wire,
        subject: Subject,
        role: Role,
        now: Timestamp,
    ) -> Result<Verified, NotSignedIn> {
        for before in wire.core.sessions() {
            self.end(before, Ending::Replaced, now).await?;
        }
        let request = SignIn {
            subject,
            authority: Authority::of("raw"),
            role,
            persistent: false,
            idle: Some(self.policy.idle_raw),
            absolute: None,
            vault: None,
            carries_hand_over: false,
            client: Caller::WIRE,
        };
        let signed_in = self.begin(wire, request, Carrier::Raw, &[], now).await?;
        wire.core.set_hand_over(
            signed_in.verified.session(),
            crate::wire::HandOverDebt::Nothing,
        );
        Ok(signed_in.verified)
    }

    /// Ends the session that the request named; answers its other trunk wires of this wire's family.
    async fn replace(
        &self,
        wire: &Wire,
        named: Option<&Verified>,
        now: Timestamp,
    ) -> Result<Vec<std::sync::Arc<WireCore>>, StoreError> {
        let Some(named) = named else {
            return Ok(Vec::new());
        };
        let own: Vec<_> = roots(wire.core.lineage.as_ref()).collect();
        let same_family =
            |core: &WireCore| roots(core.lineage.as_ref()).any(|root| own.contains(&root));
        let siblings = self
            .bonds
            .wires(named.session())
            .into_iter()
            .filter(|bound| {
                bound.stock() == Stock::Trunk
                    && !bound.visiting
                    && bound.wire.id != wire.core.id
                    && same_family(&bound.wire)
            })
            .map(|bound| bound.wire)
            .collect();
        self.end(named.session(), Ending::Replaced, now).await?;
        Ok(siblings)
    }

    pub(super) async fn begin(
        &self,
        wire: &Wire,
        request: SignIn,
        carrier: Carrier,
        siblings: &[std::sync::Arc<WireCore>],
        now: Timestamp,
    ) -> Result<SignedIn, NotSignedIn> {
        self.begin_with(wire, request, carrier, siblings, &[], now)
            .await
    }

    /// As [`Engine::begin`], with changes that belong into the same commit.
    pub(super) async fn begin_with(
        &self,
        wire: &Wire,
        request: SignIn,
        carrier: Carrier,
        siblings: &[std::sync::Arc<WireCore>],
        beside: &[Change],
        now: Timestamp,
    ) -> Result<SignedIn, NotSignedIn> {
        let _lock = self.lock(&request.subject).await;
        for _ in 0..TRIES {
            let held = self.load_identity(&request.subject).await?;
            let (mut identity, expect) = self.identity_for(held, &request.subject, now);
            if identity.blocked {
                return Err(NotSignedIn::Blocked);
            }
            let draft = self.draft(wire, &request, carrier, &identity, now)?;
            let room = self
                .make_room(&mut identity, &draft.record, wire, now)
                .await?;
            let Some(mut room) = room else {
                return Err(NotSignedIn::Limit);
            };
            let mut draft = draft;
            if room.demoted {
                draft.record.raised = None;
            }
            let mut changes = core::mem::take(&mut room.changes);
            changes.extend_from_slice(beside);
            identity.sessions.push(listed(&draft.record));
            changes.push(self.put_record(&draft.record, Expect::Absent));
            changes.push(self.put_identity(&identity, expect));
            if let Some(vault) = &request.vault {
                changes.push(self.put_vault(&draft.record, Expect::Absent, vault)?);
            }
            let doubt = self.doubt(room.touches());
            if self.store.commit(changes, Durability::Durable).await? == Commit::Stale {
                doubt.settled();
                continue;
            }
            self.made_room(&room, &identity, wire, now);
            doubt.settled();
            return Ok(self.enter_new(wire, draft, &identity, siblings, now)?);
        }
        Err(lost_race().into())
    }

    /// The identity as it is to be after this sign-in: made if there was none, revived if it had run out or was removed.
    fn identity_for(
        &self,
        held: Option<Held<Identity>>,
        subject: &Subject,
        now: Timestamp,
    ) -> (Identity, Expect) {
        let expires = now.after(self.policy.identity.max(self.policy.absolute));
        let Some(Held {
            value: mut identity,
            version,
        }) = held
        else {
            return (Identity::new(subject.clone(), expires, now), Expect::Absent);
        };
        if identity.removed || identity.is_expired(now) {
            // What it learnt by itself is gone; what an operator set stays; the generation only grows.
            identity.removed = false;
            identity.evictions.clear();
            identity.next_generation(now);
        }
        identity.expires = identity.expires.max(expires);
        identity.sessions.retain(|listed| now < listed.absolute);
        (identity, Expect::At(version))
    }

    fn draft(
        &self,
        wire: &Wire,
        request: &SignIn,
        carrier: Carrier,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Draft, StoreError> {
        let policy = &self.policy;
        let id = self.draw_id().map_err(no_entropy)?;
        let epoch = self.keys.epoch();
        let binds = self.binds(carrier);
        let families = self.first_families(wire);
        let carries = request.carries_hand_over && binds && families.is_empty();
        let (nonce, hand_over): (Option<Secret>, Option<HandOver>) = if carries {
            self.draw_hand_over(epoch, Origin::Trunk, now)?.unzip()
        } else {
            (None, None)
        };
        let role = request.role.min(identity.ceiling());
        let absolute = request
            .absolute
            .unwrap_or(policy.absolute)
            .min(policy.absolute);
        let idle = request.idle.unwrap_or(policy.idle);
        let is_admin = role == Role::ADMIN;
        let side = super::prove::side_text(&request.client.side(wire));
        let record = Record {
            id,
            epoch,
            subject: request.subject.clone(),
            authority: request.authority.clone(),
            carrier,
            persistent: request.persistent,
            generation: identity.generation,
            created: now,
            absolute: now.after(absolute),
            idle,
            seen: now,
            role: if is_admin { Role::USER } else { role },
            raised: is_admin.then(|| Raised {
                role,
                until: now.after(policy.admin_role),
                from: Position::default(),
            }),
            sequence: Sequence::begin(
                if binds {
                    Holder::Trunk
                } else {
                    request.client.holder
                },
                now,
            ),
            families,
            hand_over,
            grafted: false,
            last_side: side,
        };
        Ok(Draft {
            record,
            hand_over: nonce,
        })
    }

    /// Whether such a session lives on wires.
    pub(super) const fn binds(&self, carrier: Carrier) -> bool {
        self.policy.preset.binds_wires() || matches!(carrier, Carrier::Raw)
    }

    /// A family counts from the start only if its tickets are with the client already.
    pub(super) fn first_families(&self, wire: &Wire) -> Vec<Family> {
        let binds = self.policy.preset.binds_wires();
        if !binds || !super::hand_over::ticketed(&wire.core) || wire.is_shared() {
            return Vec::new();
        }
        roots(wire.core.lineage.as_ref())
            .map(|root| Family {
                root,
                origin: Origin::Trunk,
            })
            .collect()
    }

    /// After the commit: the wire is attached, and so are the browser's other connections that moved with it.
    fn enter_new(
        &self,
        wire: &Wire,
        draft: Draft,
        identity: &Identity,
        siblings: &[std::sync::Arc<WireCore>],
        now: Timestamp,
    ) -> Result<SignedIn, StoreError> {
        let Draft { record, hand_over } = draft;
        let held = Held {
            value: record,
            version: crate::store::Version::FIRST,
        };
        let lost = || StoreError::new(StoreErrorKind::Corrupt);
        let record = &held.value;
        let current = record.sequence.current();
        let cookie = CookieValue::at(&self.keys, &record.id, record.epoch, current);
        let cookie = cookie.ok_or_else(lost)?;
        let ticket = self.ticket_of(record, Holder::Trunk)?;
        if !self.binds(record.carrier) {
            let strength = self.unbound(record.carrier);
            let role = record.role_at(identity.ceiling(), now);
            let verified = Verified::new(
                record.id,
                record.subject.clone(),
                role.usable_with(strength, self.policy.above_user),
                strength,
            );
            let visit = self.visit(wire, &held, identity, strength, ticket, now)?;
            self.tell_signed_in(wire, record, &verified);
            return Ok(SignedIn {
                verified,
                cookie,
                hand_over: None,
                absolute: record.absolute,
                visit: Some(visit),
            });
        }
        let hold = Hold::Bound(Origin::Trunk, By::SignIn);
        let hung = Hung {
            digest: Some(ticket.digest),
            ticket,
        };
        let verified = self.attach(&wire.core, &held, identity, hold, hung, now)?;
        for core in siblings {
            let hold = Hold::Bound(Origin::Trunk, By::Lineage);
            let hung = Hung {
                digest: None,
                ticket,
            };
            self.attach(core, &held, identity, hold, hung, now)?;
        }
        let record = held.value;
        if hand_over.is_some() {
            self.hand_over_offered(wire, record.id, now);
        }
        for root in roots(wire.core.lineage.as_ref()) {
            self.families.settle(&root);
        }
        if wire.core.changes_session(record.id) {
            self.takes_turns(wire, record.id, &record.subject);
        }
        self.tell_signed_in(wire, &record, &verified);
        Ok(SignedIn {
            verified,
            cookie,
            hand_over,
            absolute: record.absolute,
            visit: None,
        })
    }

    /// What a request proves where wires do not.
    pub(super) fn unbound(&self, carrier: Carrier) -> Strength {
        let of_preset = match self.policy.preset {
            Preset::Bearer => Strength::Bearer,
            Preset::Strict | Preset::Balanced | Preset::Portable => Strength::Ticket,
        };
        of_preset.min(carrier.most())
    }

    pub(super) fn tell_signed_in(&self, wire: &Wire, record: &Record, verified: &Verified) {
        self.tell(Event::SignedIn {
            session: record.id,
            subject: record.subject.clone(),
            role: verified.role(),
            side: Side {
                wire: Some(wire.core.id),
                ..earlier(record)
            },
        });
    }
}

/// The session of a sign-in that came with a cookie it did not prove.
impl Engine {
    /// A sign-in arrived with the genuine cookie of an older session that its wire does not prove. That one ends, unless
    /// its owner is there or, under `strict`, may come back by more than a cookie, or the sign-in comes from an address that
    /// it is not held to: then both stand, and the operator is told.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn replace_older(
        &self,
        wire: &Wire,
        session: SessionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let side = wire.core.side();
        let Some(older) = self.load_record(&session).await? else {
            return self.found_gone(session).await;
        };
        let away = self.is_away(&older.value, wire) && !self.policy.is_shadowed(Control::Address);
        let stands = self.policy.preset == Preset::Strict || away || self.is_there(session).await;
        if !stands && self.end(session, Ending::Replaced, now).await? {
            self.tell(Event::OlderSessionEnded { session, side });
        } else if stands {
            self.tell(Event::OlderSessionStands { session, side });
        }
        Ok(())
    }
}
