//! The facts of a request whose wire cannot say by itself: what the judge is given.
//!
//! Nothing is decided here.

use core::task::Poll;

use super::Engine;
use super::prove::{Found, Offer};
use super::turn_away::earlier;
use crate::bonds::Bound;
use crate::families::roots;
use crate::identity::Identity;
use crate::judge::{Company, Facts, Offered, Proof, Recourse};
use crate::record::{Record, SecretState};
use crate::role::Role;
use crate::time::Timestamp;
use crate::verdict::{Ending, Stock};
use crate::wire::{Recognised, Wire};

impl Engine {
    pub(super) fn facts(
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
            elsewhere: self.is_elsewhere(record, wire, offer, now),
            company,
            nonce: self.nonce(record, &wire.core, shown.as_ref(), now),
            recourse: self.recourse(wire, offer),
            role: self.role_shown(record, found.identity.ceiling(), offer, now),
            ceiling: found.identity.ceiling(),
            most: record.carrier.most(),
            ..self.blank(offer, offered)
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the engine")]
    pub(super) fn offered(&self, record: &Record, offer: &Offer<'_>) -> Offered {
        let presented = offer.presented;
        // A session belongs to the authority it was made for; at another its cookie is one of a stranger.
        if record.epoch != presented.epoch || record.authority != *offer.authority {
            return Offered::Bad;
        }
        match record.secret(&presented.digest) {
            Some(SecretState::Current | SecretState::Offered) => Offered::Current,
            Some(SecretState::Old) => Offered::Old,
            // It opened, so it is this session's, however long ago it was forgotten.
            None if presented.is_sealed() => Offered::Old,
            None => Offered::Bad,
        }
    }

    /// The role that this request's secret is good for: an offered secret acknowledges the elevation it came with.
    #[expect(clippy::unused_self, reason = "reads as a question to the engine")]
    pub(super) fn role_shown(
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
        } else if now.since(seen) >= self.idle_of(record) {
            Some(Ending::ExpiredIdle)
        } else {
            None
        }
    }

    pub(super) fn proof(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Proof {
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

    /// Whether a wire that is not attached comes from an address that the session is not held to.
    fn is_elsewhere(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> bool {
        let attached = matches!(self.proof(record, wire, offer, now), Proof::Attached(_));
        let (before, here) = (earlier(record).address, wire.core.side().address);
        !attached && !self.policy.bound_to_ip.allows(before, here)
    }

    pub(super) fn recourse(&self, wire: &Wire, offer: &Offer<'_>) -> Recourse {
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
    pub(super) async fn company(
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
        let others: Vec<_> = self
            .bonds
            .wires(record.id)
            .into_iter()
            .filter(|bound| bound.wire.id != wire.core.id)
            .collect();
        if strange {
            heard(others).await
        } else {
            strongest(others.iter().map(|bound| bound.stock))
        }
    }
}

fn strongest(stocks: impl Iterator<Item = Stock>) -> Company {
    stocks.max().map_or(Company::Nobody, |stock| match stock {
        Stock::Trunk => Company::Trunk,
        Stock::Graft => Company::Graft,
    })
}

/// Asks all wires at once whether they are alive, so that many half-open ones take no longer than one. The first trunk
/// that answers is enough; those found dead are closed.
async fn heard(others: Vec<Bound>) -> Company {
    let wires = others.clone();
    let mut open: Vec<_> = wires
        .iter()
        .map(|bound| Some(bound.wire.transport.alive()))
        .collect();
    let mut alive = Vec::new();
    core::future::poll_fn(move |cx| {
        let mut waits = false;
        for (asked, bound) in open.iter_mut().zip(&others) {
            let Some(asking) = asked else { continue };
            match asking.as_mut().poll(cx) {
                Poll::Pending => waits = true,
                Poll::Ready(there) => {
                    *asked = None;
                    if !there {
                        bound.wire.transport.close();
                        continue;
                    }
                    if bound.stock == Stock::Trunk {
                        return Poll::Ready(Company::Trunk);
                    }
                    alive.push(bound.stock);
                }
            }
        }
        if waits {
            return Poll::Pending;
        }
        Poll::Ready(strongest(alive.iter().copied()))
    })
    .await
}
