//! Tickets on their way out: what an answer may set, and when.
//!
//! A ticket is chosen when the head of the answer leaves, not when the request came: a report that took a minute would
//! else put an old one over nine newer ones. An offer need not be durable: one that is lost is made again, and a ticket
//! that is ahead of its record proves that the record is behind.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::Engine;
use super::evidence::client_origin;
use super::prove::{Caller, side_text};
use crate::cookie::{CookieValue, Presented};
use crate::ids::SessionId;
use crate::policy::Preset;
use crate::record::Record;
use crate::role::Strength;
use crate::sequence::{Given, Holder, Position};
use crate::store::{Commit, Durability, Expect, StoreError, StoreErrorKind};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::Verified;
use crate::wire::{Ticket, Wire};

/// A ticket to set, and for how long a browser that keeps it is to keep it.
pub type Ticketed = (CookieValue, Option<Lifetime>);

/// The request whose answer leaves.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Leaving<'a> {
    /// The cookie that it showed.
    pub presented: &'a Presented,
    /// Its client, as in [`super::Offer::client`].
    pub client: &'a Caller,
    /// It was a GET.
    pub get: bool,
    /// When it came.
    pub came: Timestamp,
}

/// How long it takes to make and to read a ticket, as whoever runs the engine measured it.
#[derive(Debug, Default)]
pub(super) struct Times {
    seal: AtomicU64,
    open: AtomicU64,
}

/// What the window of a ticket rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketTimes {
    /// `nt`: the smoothed time of a round trip and four times its variance. Nothing if the transport cannot say.
    pub trip: Option<Lifetime>,
    /// `et`: to seal a ticket.
    pub seal: Duration,
    /// `dt`: to open one.
    pub open: Duration,
    /// For how long a superseded ticket is good on this wire.
    pub window: Lifetime,
}

impl Times {
    /// Both together, in whole milliseconds, rounded up.
    pub(super) fn making(&self) -> Lifetime {
        let nanos = self
            .seal
            .load(Ordering::Relaxed)
            .saturating_add(self.open.load(Ordering::Relaxed));
        Lifetime::from_millis(nanos.div_ceil(1_000_000))
    }
}

impl Engine {
    /// Makes and reads tickets of a session that nobody has, and answers how many; `timed` is told to stop the time around
    /// each half. The times count towards the window ([`crate::sequence::Rules::measured`]).
    pub fn time_tickets(&self, mut timed: impl FnMut(&mut dyn FnMut()) -> Duration) {
        const ROUNDS: u32 = 1_000;
        let nobody = SessionId::from_bytes([0; crate::ids::SESSION_ID_BYTES]);
        let epoch = self.keys.epoch();
        let mut made = None;
        let seal = timed(&mut || {
            for n in 0..u64::from(ROUNDS) {
                made = self.keys.ticket(epoch, &nobody, Position { n, branch: 0 });
            }
        });
        let open = timed(&mut || {
            for _ in 0..ROUNDS {
                let opened = made
                    .as_ref()
                    .and_then(|ticket| self.keys.open_ticket(epoch, &nobody, ticket));
                core::hint::black_box(opened);
            }
        });
        let each = |whole: Duration| {
            let each = whole.checked_div(ROUNDS).unwrap_or_default();
            u64::try_from(each.as_nanos()).unwrap_or(u64::MAX)
        };
        self.times.seal.store(each(seal), Ordering::Relaxed);
        self.times.open.store(each(open), Ordering::Relaxed);
    }

    /// The times behind the window on a wire.
    #[must_use]
    pub fn ticket_times(&self, wire: &Wire) -> TicketTimes {
        TicketTimes {
            trip: wire.core.transport.trip(),
            seal: Duration::from_nanos(self.times.seal.load(Ordering::Relaxed)),
            open: Duration::from_nanos(self.times.open.load(Ordering::Relaxed)),
            window: self.window(wire),
        }
    }

    /// The ticket that the answer to an accepted request sets, if it is to set one. Only for answers that a browser reads
    /// as a document or by a script, and that no cache keeps.
    ///
    /// # Errors
    ///
    /// When the store cannot say. The request was accepted all the same; the next answer will do.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses at most an offer.
    pub async fn ticket(
        &self,
        wire: &Wire,
        verified: &Verified,
        leaving: &Leaving<'_>,
        now: Timestamp,
    ) -> Result<Option<Ticketed>, StoreError> {
        // Whoever holds a string that never moves must not be given one that does.
        if self.policy.preset == Preset::Bearer
            || leaving.presented.is_sealed()
            || leaving.presented.session() != verified.session()
            || !self.is_owed(wire, leaving, now)
        {
            return Ok(None);
        }
        let late = now.since(leaving.came).as_millis();
        if late.saturating_mul(2) > self.window(wire).as_millis() {
            return Ok(None);
        }
        let _lock = self.lock(verified.subject()).await;
        let Some(held) = self.load_record(&verified.session()).await? else {
            return Ok(None);
        };
        let mut record = held.value;
        let Some(position) = leaving.presented.position(&self.keys) else {
            return Ok(None);
        };
        if !self.may_carry(wire, verified, leaving, &record) {
            return Ok(None);
        }
        let holder = self.holder_of(&record, wire, leaving.client);
        let (_, moment) = self.standing(&record, wire, position, now);
        let side = side_text(&leaving.client.side(wire));
        let rules = &self.policy.tickets;
        let given = record
            .sequence
            .offer(position, holder, &side, leaving.get, &moment, rules);
        let to_set = match given {
            Given::Nothing => {
                wire.core
                    .learn(record.id, None, self.ticket_of(&record, holder)?);
                return Ok(None);
            }
            Given::Same(position) => position,
            Given::Made(position) => {
                let put = self.put_record(&record, Expect::At(held.version));
                if self.store.commit(vec![put], Durability::Soon).await? == Commit::Stale {
                    return Ok(None);
                }
                position
            }
        };
        let cookie = CookieValue::at(&self.keys, &record.id, record.epoch, to_set);
        let keep = record.persistent.then(|| record.absolute.since(now));
        Ok(cookie.map(|cookie| (cookie, keep)))
    }

    /// Whether an answer over this wire may carry a ticket of this session at all, whatever the request was when it was
    /// judged: a wire that was cut off meanwhile is answered, and gets none.
    pub(super) fn may_carry(
        &self,
        wire: &Wire,
        verified: &Verified,
        leaving: &Leaving<'_>,
        record: &Record,
    ) -> bool {
        let preset = self.policy.preset;
        let attached = !preset.binds_wires() || wire.core.origin(record.id).is_some();
        // A request of a shadowed control was let in by its string alone: the sequence is not moved by it.
        let shadowed = preset != Preset::Bearer
            && verified.strength() < Strength::Ticket
            && record.carrier.most() > verified.strength();
        let shown = leaving.presented;
        attached && !shadowed && record.epoch == shown.epoch && record.id == shown.session()
    }

    /// Whether the store is to be asked what to set: what was shown is not current, or it is time to move on, or the
    /// client is to get a branch of its own.
    fn is_owed(&self, wire: &Wire, leaving: &Leaving<'_>, now: Timestamp) -> bool {
        let presented = leaving.presented;
        let digest = presented.digest.short();
        let Some((ticket, same)) = wire.core.ticket(presented.session(), &digest) else {
            return true;
        };
        !same || !ticket.known || self.policy.tickets.is_due(leaving.get, ticket.since, now)
    }

    /// As whom a proved request shows its ticket.
    pub(super) fn holder_of(&self, record: &Record, wire: &Wire, client: &Caller) -> Holder {
        self.origin(record, wire)
            .unwrap_or_else(|| client_origin(client.holder))
            .holder()
    }

    /// What a wire keeps of its session's current ticket.
    pub(super) fn ticket_of(&self, record: &Record, holder: Holder) -> Result<Ticket, StoreError> {
        Ok(Ticket {
            digest: self.current_digest(record)?,
            since: record.sequence.since(),
            known: record.sequence.is_known(holder, &self.policy.tickets),
        })
    }

    /// The short digest of a session's current ticket.
    pub(super) fn current_digest(&self, record: &Record) -> Result<[u8; 16], StoreError> {
        // The epoch's keys are gone: nothing of that session can be checked any more.
        let lost = || StoreError::new(StoreErrorKind::Corrupt);
        let current = record.sequence.current();
        let ticket = self
            .keys
            .ticket(record.epoch, &record.id, current)
            .ok_or_else(lost)?;
        let digest = self.keys.digest(record.epoch, &ticket).ok_or_else(lost)?;
        Ok(digest.short())
    }
}
