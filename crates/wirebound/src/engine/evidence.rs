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
use crate::ids::{SessionId, WireId};
use crate::judge::{Company, Facts, Nonce, Offered, Proof, Recourse, Renewal};
use crate::record::{Origin, Record};
use crate::sequence::{Again, Holder, Moment, Position, Standing};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Ending, Stock};
use crate::wire::{Recognised, Wire};

/// A genuine ticket of a session: where it stands, and what that means at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) position: Position,
    pub(super) standing: Standing,
    pub(super) moment: Moment,
    /// As whom it is shown.
    pub(super) holder: Holder,
    /// What its wire goes back to, if it is proved.
    pub(super) origin: Option<Origin>,
    /// What a wire that this ticket would attach goes back to.
    pub(super) graft: Origin,
}

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
        let nonce = offer
            .nonce
            .as_ref()
            .and_then(|nonce| self.keys.digest(record.epoch, nonce));
        let Some(shown) = &found.shown else {
            // Not one of this session's: nothing else of it matters.
            return Facts {
                blocked: found.identity.blocked,
                ..self.blank(offer, Offered::Bad)
            };
        };
        let ceiling = found.identity.ceiling();
        let offered = if shown.standing.is_good() {
            Offered::Current
        } else {
            Offered::Old
        };
        Facts {
            blocked: found.identity.blocked,
            over: self.over(record, &found.identity, now),
            proof: self.proof(record, wire, offer, now),
            shared,
            elsewhere: self.is_elsewhere(record, wire, offer, now),
            company,
            grafted: record.is_grafted(),
            estranged: offered == Offered::Old && !record.sequence.is_last(shown.holder),
            renewal: self.renewal(record, shown),
            nonce: self.nonce(record, &wire.core, nonce.as_ref(), now),
            recourse: self.recourse(wire, offer),
            role: record.role_of(shown.position, ceiling, now),
            ceiling,
            most: record.carrier.most(),
            ..self.blank(offer, offered)
        }
    }

    /// The ticket that a request shows; nothing if it is not one of this session's. A session belongs to the authority it
    /// was made for; at another its cookie is one of a stranger.
    pub(super) fn shown(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Option<Shown> {
        let presented = offer.presented;
        if record.epoch != presented.epoch || record.authority != *offer.authority {
            return None;
        }
        let position = presented.position(&self.keys)?;
        let graft = match wire.core.lineage {
            Some(lineage) if self.policy.preset.binds_wires() => {
                Origin::Graft(*lineage.root.as_bytes())
            }
            _ => client_origin(offer.client.holder),
        };
        let origin = self.claimed(record, wire, offer, now);
        let holder = origin.unwrap_or(graft).holder();
        let (standing, moment) = self.standing(record, wire, position, now);
        Some(Shown {
            position,
            standing,
            moment,
            holder,
            origin,
            graft,
        })
    }

    /// What the wire goes back to that offered the nonce which this request shows.
    fn handed_over(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Option<Origin> {
        let nonce = self.keys.digest(record.epoch, offer.nonce.as_ref()?)?;
        let open = matches!(
            self.nonce(record, &wire.core, Some(&nonce), now),
            Nonce::Open(_)
        );
        record
            .hand_over
            .as_ref()
            .filter(|_| open)
            .map(|offer| offer.origin)
    }

    /// What a genuine ticket is at this moment. How long a round trip takes is asked only where it decides something.
    pub(super) fn standing(
        &self,
        record: &Record,
        wire: &Wire,
        position: Position,
        now: Timestamp,
    ) -> (Standing, Moment) {
        let rules = &self.policy.tickets;
        let mut moment = Moment {
            now,
            window: rules.window,
            seen: self.last_seen(record),
        };
        let mut standing = record.sequence.standing(position, &moment, rules);
        if standing == Standing::Recent {
            moment.window = self.window(wire);
            standing = record.sequence.standing(position, &moment, rules);
        }
        (standing, moment)
    }

    /// How long a superseded ticket is good on this wire.
    pub(super) fn window(&self, wire: &Wire) -> Lifetime {
        let rules = &self.policy.tickets;
        match (rules.again, wire.core.transport.trip()) {
            (Again::Family, Some(trip)) => rules.measured(trip, self.times.making()),
            // To a proxy it is a millisecond, whatever lies behind.
            (Again::Client, _) | (Again::Family, None) => rules.window,
        }
    }

    pub(super) fn last_seen(&self, record: &Record) -> Timestamp {
        let here = self.bonds.last_active(record.id).unwrap_or_default();
        record.seen.max(here)
    }

    /// What this wire goes back to, if it was attached before or belongs to a family of the session.
    pub(super) fn origin(&self, record: &Record, wire: &Wire) -> Option<Origin> {
        if !self.policy.preset.binds_wires() {
            return None;
        }
        let attached = wire.core.origin(record.id);
        attached.or_else(|| {
            let of_families =
                roots(wire.core.lineage.as_ref()).filter_map(|root| record.origin(&root));
            of_families.max_by_key(|origin| origin.stock())
        })
    }

    /// Whether a ticket that is the proof is kept up.
    fn renewal(&self, record: &Record, shown: &Shown) -> Renewal {
        let (rules, now) = (&self.policy.tickets, shown.moment.now);
        let renewed = record.sequence.since().max(shown.moment.seen);
        if now.since(renewed) > rules.expiry {
            Renewal::Expired
        } else if shown.standing != Standing::Next
            && record.sequence.is_not_taken(shown.holder, now, rules)
        {
            Renewal::NotTaken
        } else {
            Renewal::Fine
        }
    }

    /// Why the session is over, if it is: by its own time or its identity's.
    pub(super) fn over(
        &self,
        record: &Record,
        identity: &Identity,
        now: Timestamp,
    ) -> Option<Ending> {
        let seen = self.last_seen(record);
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
        let origins = roots(wire.core.lineage.as_ref()).filter_map(|root| record.origin(&root));
        let stock = origins.map(Origin::stock).max();
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
        !attached && self.is_away(record, wire)
    }

    /// Whether a wire comes from an address that the session is not held to.
    pub(super) fn is_away(&self, record: &Record, wire: &Wire) -> bool {
        let (before, here) = (earlier(record).address, wire.core.side().address);
        !self.policy.bound_to_ip.allows(before, here)
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
    ) -> Asked {
        let strange = matches!(self.proof(record, wire, offer, now), Proof::Nothing) || shared;
        let matters = !strange || self.recourse(wire, offer) == Recourse::Exhausted;
        if !self.policy.preset.binds_wires()
            || !matters
            || self.shown(record, wire, offer, now).is_none()
        {
            return Asked {
                company: Company::Nobody,
                wires: None,
            };
        }
        let others = self.others(record, wire, offer, now);
        let wires = others.iter().map(|bound| bound.wire.id).collect();
        let own = self.claimed(record, wire, offer, now);
        let company = if strange || own.is_some_and(|own| own != Origin::Trunk) {
            heard(others).await
        } else {
            strongest(others.iter().map(Bound::stock))
        };
        Asked {
            company,
            wires: Some(wires),
        }
    }

    /// Whether a wire of the session came while others were asked whether they are there. Then what they said is stale.
    pub(super) fn is_stale(
        &self,
        asked: &Asked,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> bool {
        asked.wires.as_ref().is_some_and(|wires| {
            let others = self.others(record, wire, offer, now);
            others.iter().any(|bound| !wires.contains(&bound.wire.id))
        })
    }

    /// The wires that may speak against this one.
    fn others(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Vec<Bound> {
        let own = self.claimed(record, wire, offer, now);
        let mut others = self.bonds.wires(record.id);
        others.retain(|bound| {
            // Of one graft's wires none speaks against another.
            let same = bound.stock() == Stock::Graft && Some(bound.origin) == own;
            bound.wire.id != wire.core.id && !bound.visiting && !same
        });
        others
    }

    /// What a wire goes back to, by itself or by the nonce that it shows.
    fn claimed(
        &self,
        record: &Record,
        wire: &Wire,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Option<Origin> {
        self.origin(record, wire)
            .or_else(|| self.handed_over(record, wire, offer, now))
    }
}

/// Who else of a session is there, and which wires were asked; nobody was where it does not matter.
pub(super) struct Asked {
    pub(super) company: Company,
    wires: Option<Vec<WireId>>,
}

impl Engine {
    /// Whether a session's owner is there: on a trunk wire that answers or, where wires prove nothing, with a request that is
    /// being answered.
    pub(super) async fn is_there(&self, session: SessionId) -> bool {
        let mut wires = self.bonds.wires(session);
        wires.retain(|bound| bound.stock() == Stock::Trunk || bound.visiting);
        heard(wires).await != Company::Nobody
    }
}

/// What a wire without TLS, or a client where there are no wires, goes back to.
pub(super) const fn client_origin(client: Holder) -> Origin {
    match client {
        Holder::Line(line) => Origin::Graft(line),
        // Nobody is told apart.
        Holder::Trunk => Origin::Graft([0; 16]),
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
                    if bound.stock() == Stock::Trunk {
                        return Poll::Ready(Company::Trunk);
                    }
                    alive.push(bound.stock());
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
