//! The planned hand-over: from the wire of the sign-in, which has no TLS tickets, to one that has.
//!
//! A one-time nonce travels in the client's jar for 30 seconds. The first wire with tickets that shows it joins as
//! trunk and spends it; the clients of ticketless wires are sent on, and nothing is served there. Its digest is part of
//! the session's record, so that it is spent once, whatever happens to the process. Whoever comes back by lineage anyway
//! is given none.

use super::prove::Outcome;
use super::{Engine, Held};
use crate::cookie::CookieValue;
use crate::event::Event;
use crate::families::roots;
use crate::judge::Nonce;
use crate::keys::Digest;
use crate::record::{HandOver, Origin, Record};
use crate::secret::Secret;
use crate::store::{Commit, Durability, Expect, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::Verified;
use crate::wire::{HandOverDebt, Wire, WireCore};

/// What the answer that hands its client over carries.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain facts")]
pub struct HandOverOffer {
    /// The nonce.
    pub nonce: Secret,
    /// The session's next ticket, and for how long a browser that keeps it is to keep it.
    pub ticket: Option<(CookieValue, Option<Lifetime>)>,
}

impl Engine {
    /// Offers a hand-over on an attached wire: the nonce to put into the jar, and a new ticket beside it. The caller opens
    /// one grant of TLS tickets for the client's address and server name, and closes the wire after the answer that carries
    /// them. Whoever takes it goes back to what this wire goes back to.
    ///
    /// `ticket`: the answer may carry one, since a browser reads it as a document or by a script.
    ///
    /// `None` if the session is gone or the wire is not attached to it.
    ///
    /// # Errors
    ///
    /// When the store or the source of randomness cannot say.
    pub async fn offer_hand_over(
        &self,
        wire: &Wire,
        verified: &Verified,
        ticket: bool,
        now: Timestamp,
    ) -> Result<Option<HandOverOffer>, StoreError> {
        let _lock = self.lock(verified.subject()).await;
        let Some(held) = self.load_record(&verified.session()).await? else {
            return Ok(None);
        };
        let Some(origin) = wire.core.origin(verified.session()) else {
            return Ok(None);
        };
        let mut record = held.value;
        let Some((nonce, offer)) = self.draw_hand_over(record.epoch, origin, now)? else {
            return Ok(None);
        };
        record.hand_over = Some(offer);
        let side = super::prove::side_text(&wire.core.side());
        // A graft's moves on by itself: who came by a ticket that was superseded is set none.
        let position = (ticket && origin == Origin::Trunk)
            .then(|| record.sequence.offer_new(origin.holder(), &side, now))
            .flatten();
        let cookie = position
            .and_then(|position| CookieValue::at(&self.keys, &record.id, record.epoch, position));
        let put = self.put_record(&record, Expect::At(held.version));
        // An offer need not be durable: a nonce that is lost is made again.
        if self.store.commit(vec![put], Durability::Soon).await? == Commit::Stale {
            return Ok(None);
        }
        self.hand_over_offered(wire, record.id, now);
        let keep = record.persistent.then(|| record.absolute.since(now));
        Ok(Some(HandOverOffer {
            nonce,
            ticket: cookie.map(|cookie| (cookie, keep)),
        }))
    }

    pub(super) fn draw_hand_over(
        &self,
        epoch: u32,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<(Secret, HandOver)>, StoreError> {
        let nonce = Secret::draw(self.entropy.as_ref()).map_err(super::sign_in::no_entropy)?;
        let Some(digest) = self.keys.digest(epoch, &nonce) else {
            return Ok(None);
        };
        Ok(Some((
            nonce,
            HandOver {
                digest,
                made: now,
                hops: 0,
                origin,
                spent: None,
            },
        )))
    }

    pub(super) fn hand_over_offered(
        &self,
        wire: &Wire,
        session: crate::ids::SessionId,
        now: Timestamp,
    ) {
        wire.core.set_hand_over(session, HandOverDebt::Offered(now));
        self.tell(Event::HandOverOffered {
            session,
            wire: wire.core.id,
        });
    }

    /// A wire without TLS tickets showed the nonce: its client is sent on, over so many wires at most. `None`: the store
    /// moved.
    pub(super) async fn hand_on(
        &self,
        wire: &Wire,
        held: &Held<Record>,
    ) -> Result<Option<Outcome>, StoreError> {
        // Of requests in parallel on one wire the first counts.
        if wire.core.was_handed_on() {
            return Ok(Some(Outcome::HandOn { grants: false }));
        }
        let mut record = held.value.clone();
        if let Some(offer) = &mut record.hand_over {
            offer.hops = offer.hops.saturating_add(1);
        }
        let put = self.put_record(&record, Expect::At(held.version));
        if self.store.commit(vec![put], Durability::Durable).await? == Commit::Stale {
            return Ok(None);
        }
        wire.core.hand_on();
        Ok(Some(Outcome::HandOn { grants: true }))
    }

    /// What the nonce that a request shows means on this wire.
    pub(super) fn nonce(
        &self,
        record: &Record,
        core: &WireCore,
        shown: Option<&Digest>,
        now: Timestamp,
    ) -> Nonce {
        let (Some(shown), Some(offer)) = (shown, &record.hand_over) else {
            return Nonce::Nothing;
        };
        if !offer.digest.matches(shown) || now.since(offer.made) > self.policy.hand_over {
            return Nonce::Nothing;
        }
        match offer.spent {
            Some(root) if roots(core.lineage.as_ref()).any(|own| own == root) => Nonce::Nothing,
            Some(_) => Nonce::SpentElsewhere,
            None if ticketed(core) => Nonce::Open(offer.origin.stock()),
            None if core.was_handed_on() || offer.hops < self.policy.hand_over_hops => {
                Nonce::OnItsWay
            }
            None => Nonce::Nothing,
        }
    }
}

/// Whether the client of this wire comes back by its lineage: it needs no hand-over, and a nonce would be one more string
/// that a copy of the jar could be first with.
pub(super) fn comes_back(record: &Record, core: &WireCore) -> bool {
    ticketed(core) && roots(core.lineage.as_ref()).any(|root| record.origin(&root).is_some())
}

/// Whether the client got TLS tickets on this wire.
pub(super) fn ticketed(core: &WireCore) -> bool {
    core.lineage.is_some_and(|lineage| lineage.ticketed)
}

/// An open nonce was shown on a wire with TLS tickets.
pub(super) fn spend_nonce(record: &mut Record, core: &WireCore) {
    if let (Some(offer), Some(lineage)) = (&mut record.hand_over, core.lineage) {
        offer.spent = Some(lineage.root);
    }
}
