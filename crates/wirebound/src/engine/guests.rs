//! Guests: sessions that an app gave to somebody of whom nothing says that he signed in.
//!
//! A guest is sealed into a cookie and costs the store nothing until he brings it back; the first request that does
//! makes the session, under the very id that the cookie names, so that a sealed cookie works once. Guests are counted and
//! capped. At the cap the newest goes first, whole, so that a flood displaces itself and nobody who was there before it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::PoisonError;

use super::attach::{Hold, Hung};
use super::prove::{Accepted, Caller, Offer, Outcome, refused, side_text};
use super::room::listed;
use super::{Engine, Held, NotSignedIn, SignIn, SignedIn, TRIES, let_others};
use crate::cookie::{AFTER_SEALED, CookieValue, Presented, Sealed, ToSeal};
use crate::identity::Identity;
use crate::ids::{Authority, SessionId, Subject};
use crate::record::{Carrier, Origin, Record, Tombstone};
use crate::role::Role;
use crate::sequence::{Holder, Position, Sequence};
use crate::store::{Change, Commit, Durability, Expect, Space, StoreError, Version};
use crate::sync::{Mutex, MutexGuard};
use crate::time::{EntropyError, Lifetime, Timestamp};
use crate::verdict::{By, Ending, Refusal, Verified};
use crate::wire::{Wire, WireCore};

/// How long a sealed cookie can be brought back. Long enough to sign in at a provider that an app sends its visitors to at
/// once, second factor and all; short, because for this long each guest that was displaced is remembered, so that his
/// cookie does not make the session again.
pub const SEALED_LIFE: Lifetime = Lifetime::from_mins(30);
/// Guests that hang on one wire. A browser has one jar; who has more of them is no browser.
const ON_ONE_WIRE: usize = 8;
/// Displaced guests that are remembered. Beyond, older sealed cookies are void as a whole.
const DISPLACED: usize = 65_536;
/// Under which name the node keeps until when guests may have been displaced.
const NOTE: &str = "guests-displaced";
/// How far ahead that is written, so that a flood costs one write in this time.
const NOTE_AHEAD: Lifetime = Lifetime::from_hours(1);
/// Records that a walk through the store looks at before others get a turn.
const BATCH: usize = 256;

/// Somebody whom the app gave a cookie before anything looked like a sign-in.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Guest {
    /// A subject that nobody named and nobody else has.
    pub subject: Subject,
    /// The host the session is for.
    pub authority: Authority,
    /// The browser is told to keep the cookie.
    pub persistent: bool,
    /// Shorter clocks than the policy's, if any; in force once he is no guest any more.
    pub idle: Option<Lifetime>,
    /// As above, and in force from the start.
    pub absolute: Option<Lifetime>,
    /// The app's cookies, already encoded.
    pub vault: Vec<u8>,
}

impl core::fmt::Debug for Guest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Guest({})", self.subject)
    }
}

/// What came of a sealed cookie whose session is not in the store.
pub(super) enum Redeemed {
    /// The session was made, or the request was judged.
    Now(Outcome),
    /// It is there: another request made it.
    Before,
    /// It is no sealed cookie, or it makes none any more.
    Not,
}

impl Engine {
    /// Seals a guest into a cookie. The store is not asked and learns nothing. `None`: his text would be longer than
    /// browsers keep; [`Engine::receive_guest`] takes him in at once.
    ///
    /// The cookie can be brought back for [`SEALED_LIFE`], by [`Engine::prove`].
    ///
    /// # Errors
    ///
    /// When the source of randomness fails.
    pub fn seal_guest(
        &self,
        guest: &Guest,
        now: Timestamp,
    ) -> Result<Option<CookieValue>, EntropyError> {
        let id = self.draw_id()?;
        let (idle, absolute) = self.clocks(guest);
        let to_seal = ToSeal {
            id: &id,
            authority: &guest.authority,
            made: now,
            subject: &guest.subject,
            persistent: guest.persistent,
            idle,
            absolute: now.after(absolute),
            vault: &guest.vault,
        };
        CookieValue::seal(&self.keys, &to_seal, self.entropy.as_ref())
    }

    /// Takes a guest in at once, because his cookies do not fit into a sealed one. Counted and capped like the others.
    ///
    /// # Errors
    ///
    /// As [`Engine::sign_in`].
    pub async fn receive_guest(
        &self,
        wire: &Wire,
        guest: Guest,
        client: Caller,
        now: Timestamp,
    ) -> Result<SignedIn, NotSignedIn> {
        let request = SignIn {
            subject: guest.subject,
            authority: guest.authority,
            role: Role::GUEST,
            persistent: guest.persistent,
            idle: guest.idle,
            absolute: guest.absolute,
            vault: Some(guest.vault),
            carries_hand_over: false,
            client,
        };
        let signed_in = self.begin(wire, request, Carrier::Guest, &[], now).await?;
        let session = signed_in.verified.session();
        // Not settled: it may have ended by now, and is looked after.
        drop(self.sit(wire, session, now));
        self.make_way(wire, session, now).await;
        Ok(signed_in)
    }

    /// The cookie that takes a sealed one's place, and for how long a browser that keeps it is to keep it. `None`: it was
    /// shown already, or something newer is on its way. Asks no store.
    #[must_use]
    pub fn successor(
        &self,
        presented: &Presented,
        now: Timestamp,
    ) -> Option<(CookieValue, Option<Lifetime>)> {
        let sealed = presented.sealed.as_ref()?;
        let (id, epoch) = (&presented.id, presented.epoch);
        // While what it began with is current, and it is a guest's, nothing newer was ever given out.
        let first = self.keys.ticket(epoch, id, Position::default())?;
        let first = self.keys.digest(epoch, &first)?.short();
        let standing = self
            .bonds
            .table()
            .check_by_id(presented.place, *id, &first, now)?
            .ok()?;
        if standing.role != Role::GUEST {
            return None;
        }
        let cookie = CookieValue::at(&self.keys, id, epoch, AFTER_SEALED)?;
        let keep = sealed.persistent.then(|| sealed.absolute.since(now));
        Some((cookie, keep))
    }

    /// How many guests are in the store, as far as this process knows.
    #[must_use]
    pub fn guests(&self) -> usize {
        self.guests.book().seats.len()
    }

    fn clocks(&self, guest: &Guest) -> (Lifetime, Lifetime) {
        let policy = &self.policy;
        let absolute = guest.absolute.unwrap_or(policy.absolute);
        (
            guest.idle.unwrap_or(policy.idle),
            absolute.min(policy.absolute),
        )
    }

    /// A sealed cookie came back, and the store knows no such session: it is made now, on this wire.
    pub(super) async fn redeem(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        shared: bool,
        now: Timestamp,
    ) -> Result<Redeemed, StoreError> {
        let Some(sealed) = &offer.presented.sealed else {
            return Ok(Redeemed::Not);
        };
        if now.since(sealed.made) >= SEALED_LIFE || sealed.absolute <= now {
            return Ok(Redeemed::Not);
        }
        // What hangs on a wire that several people share is nobody's.
        let refusal = match (offer.surprise, shared) {
            (true, _) => Some(Refusal::CsrfSurprise),
            (false, true) => Some(Refusal::NotProven),
            (false, false) => None,
        };
        if let Some(refusal) = refusal {
            return Ok(Redeemed::Now(refused(refusal, false)));
        }
        self.know_displaced(now).await?;
        if self.guests.book().is_void(&offer.presented.id, sealed.made) {
            return Ok(Redeemed::Not);
        }
        let session = offer.presented.id;
        // Before the commit: a client that hangs up in the middle of it leaves nobody uncounted.
        let seat = self.sit(wire, session, now);
        let entered = {
            // Until the wire is attached: a request beside this one must find both, or neither.
            let _lock = self.lock(&sealed.subject).await;
            match self.make_guest(wire, offer, sealed, now).await? {
                Some((held, identity)) => {
                    let accepted = self.enter_guest(wire, offer, &held, &identity, now)?;
                    Some((accepted, identity))
                }
                None => None,
            }
        };
        let Some((accepted, identity)) = entered else {
            let there = self.load_record(&session).await?.is_some();
            return Ok(if there {
                Redeemed::Before
            } else {
                Redeemed::Not
            });
        };
        seat.settled();
        self.make_way(wire, session, now).await;
        let (role, strength) = (accepted.verified.role(), accepted.verified.strength());
        let above_user = self.policy.above_user;
        let need = offer
            .need
            .met_by(role, identity.ceiling(), strength, above_user);
        Ok(Redeemed::Now(match need {
            Ok(()) => Outcome::Accepted(accepted),
            Err(refusal) => Outcome::NotAllowed(accepted, refusal),
        }))
    }

    /// The record, under the id that the cookie names. `None`: there is or was one. The caller holds the subject's lock.
    async fn make_guest(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        sealed: &Sealed,
        now: Timestamp,
    ) -> Result<Option<(Held<Record>, Identity)>, StoreError> {
        let (presented, authority) = (offer.presented, offer.authority);
        let side = side_text(&offer.client.side(wire));
        let holder = if self.binds(Carrier::Guest) {
            Holder::Trunk
        } else {
            offer.client.holder
        };
        let mut sequence = Sequence::begin(holder, now);
        // What takes the sealed cookie's place is the first that is ever offered.
        let next = sequence.offer_new(holder, &side, now);
        debug_assert_eq!(next, Some(AFTER_SEALED));
        let expires = now.after(self.policy.identity).max(sealed.absolute);
        let mut identity = Identity::new(sealed.subject.clone(), expires, now);
        let record = Record {
            id: presented.id,
            epoch: presented.epoch,
            subject: sealed.subject.clone(),
            authority: authority.clone(),
            carrier: Carrier::Guest,
            persistent: sealed.persistent,
            generation: identity.generation,
            created: now,
            absolute: sealed.absolute,
            idle: sealed.idle,
            seen: now,
            role: Role::GUEST,
            raised: None,
            sequence,
            families: self.first_families(wire),
            hand_over: None,
            grafted: false,
            last_side: side,
        };
        identity.sessions.push(listed(&record));
        let changes = vec![
            self.put_record(&record, Expect::Absent),
            // Ended meanwhile, or long ago: it does not come back.
            Change::Check {
                key: Tombstone::key(&record.id),
                expect: Expect::Absent,
            },
            self.put_identity(&identity, Expect::Absent),
            self.put_vault(&record, Expect::Absent, &sealed.vault)?,
        ];
        if self.store.commit(changes, Durability::Durable).await? == Commit::Stale {
            return Ok(None);
        }
        let held = Held {
            value: record,
            version: Version::FIRST,
        };
        Ok(Some((held, identity)))
    }

    /// After the commit: the wire is attached, as by a sign-in, and owes its client a hand-over.
    fn enter_guest(
        &self,
        wire: &Wire,
        offer: &Offer<'_>,
        held: &Held<Record>,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let record = &held.value;
        let ticket = self.ticket_of(record, Holder::Trunk)?;
        let (verified, visit) = if self.binds(record.carrier) {
            let hold = Hold::Bound(Origin::Trunk, By::SignIn);
            let digest = Some(offer.presented.digest.short());
            let hung = Hung { digest, ticket };
            let verified = self.attach(&wire.core, held, identity, hold, hung, now)?;
            if wire.core.changes_session(record.id) {
                self.takes_turns(wire, record.id, &record.subject);
            }
            (verified, None)
        } else {
            let strength = self.unbound(record.carrier);
            let role = record.role_at(identity.ceiling(), now);
            let verified = Verified::new(record.id, record.subject.clone(), role, strength);
            let visit = self.visit(wire, held, identity, strength, ticket, now)?;
            (verified, Some(visit))
        };
        self.tell_signed_in(wire, record, &verified);
        Ok(Accepted {
            verified,
            nonce_spent: false,
            newcomer: true,
            visit,
        })
    }

    /// A guest sits down. Unless it is settled that his session is there, it is looked for at the next tidying.
    fn sit(&self, wire: &Wire, session: SessionId, now: Timestamp) -> Seat<'_> {
        let place = wire.core.address.map(place);
        self.guests.book().sit(session, now, place);
        Seat {
            guests: &self.guests,
            session: Some(session),
        }
    }

    /// Whoever is too many leaves. The newcomer is in already, so nothing that fails here is his.
    async fn make_way(&self, wire: &Wire, session: SessionId, now: Timestamp) {
        let place = wire.core.address.map(place);
        for displaced in self.too_many(&wire.core, session, place) {
            self.displace(displaced, now).await;
        }
    }

    /// Who has to go for a newcomer: of the same wire, of the same place, of all; each time the newest but himself.
    fn too_many(
        &self,
        core: &WireCore,
        newcomer: SessionId,
        place: Option<Place>,
    ) -> Vec<SessionId> {
        let hanging = core.sessions();
        let most = usize::try_from(self.policy.max_guests).unwrap_or(usize::MAX);
        let mut book = self.guests.book();
        let mut going = Vec::new();
        let mut here: Vec<(Timestamp, SessionId)> = hanging
            .into_iter()
            .filter_map(|session| book.seats.get(&session).map(|seat| (seat.0, session)))
            .collect();
        here.sort_unstable();
        if here.len() > ON_ONE_WIRE {
            let newest = here.iter().rev().find(|(_, session)| *session != newcomer);
            going.extend(newest.map(|(_, session)| *session));
        }
        let share = (most / 8).max(ON_ONE_WIRE);
        if let Some(of_place) = place.and_then(|place| book.places.get(&place)) {
            let over = of_place.len().saturating_sub(share);
            let others = of_place.iter().rev().map(|(_, session)| *session);
            going.extend(others.filter(|session| *session != newcomer).take(over));
        }
        going.iter().for_each(|session| book.displace(*session));
        while book.seats.len() > most {
            let Some(session) = newest(&book.by_age, newcomer) else {
                break;
            };
            book.displace(session);
            going.push(session);
        }
        going
    }

    /// Removes a guest whole: record, vault, subject; his wires are closed. If that fails he sits down again.
    async fn displace(&self, session: SessionId, now: Timestamp) {
        let removed = async {
            self.note_displacing(now).await?;
            let Some(found) = self.load_record(&session).await? else {
                return Ok(());
            };
            let _lock = self.lock(&found.value.subject).await;
            if let Some(held) = self.load_record(&session).await?
                && held.value.carrier.is_unsigned()
            {
                self.end_locked(&held, Ending::Evicted, now).await?;
            }
            Ok::<_, StoreError>(())
        };
        if removed.await.is_err() {
            self.guests.book().sit(session, now, None);
        }
    }

    /// That guests are displaced is written down, durably and ahead of time: after a restart nobody remembers which, so
    /// sealed cookies of before are void.
    async fn note_displacing(&self, now: Timestamp) -> Result<(), StoreError> {
        if now.after(SEALED_LIFE) <= self.guests.book().noted_until {
            return Ok(());
        }
        let until = now.after(NOTE_AHEAD);
        for _ in 0..TRIES {
            let before = self.kept(NOTE).await?;
            let version = before.as_ref().map(|before| before.version);
            let bytes = until.as_millis().to_le_bytes();
            if self.keep(NOTE, &bytes, version).await? {
                break;
            }
        }
        self.guests.book().noted_until = until;
        Ok(())
    }

    /// What an earlier process wrote of displaced guests is read before the first sealed cookie is taken.
    async fn know_displaced(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.guests.book().knows {
            return Ok(());
        }
        let kept = self.kept(NOTE).await?;
        let until = kept
            .and_then(|kept| kept.expose().try_into().ok().map(u64::from_le_bytes))
            .map_or(Timestamp::ZERO, Timestamp::from_millis);
        let mut book = self.guests.book();
        if !book.knows && now < until {
            book.void_until = now;
        }
        book.knows = true;
        Ok(())
    }

    /// Counts the guests that the store holds from before this process began. Call it once, beside the serving: a newcomer
    /// does not wait for it. Answers how many there are.
    ///
    /// # Errors
    ///
    /// When the store cannot say; call it again.
    pub async fn recall_guests(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.know_displaced(now).await?;
        let mut after = None;
        loop {
            let batch = self
                .store
                .due(Space::Session, Timestamp::NEVER, after, BATCH)
                .await?;
            let Some(last) = batch.last().cloned() else {
                break;
            };
            for (_, key) in batch {
                // What does not read back lets nobody in, so it is no guest.
                if let Ok(Some(held)) = self.load(key, Record::decode).await
                    && held.value.carrier.is_unsigned()
                {
                    self.recall_guest(&held.value, now).await;
                }
            }
            after = Some(last);
            let_others().await;
        }
        Ok(self.guests())
    }

    async fn recall_guest(&self, record: &Record, now: Timestamp) {
        let address = super::turn_away::earlier(record).address;
        let most = usize::try_from(self.policy.max_guests).unwrap_or(usize::MAX);
        let displaced = {
            let mut book = self.guests.book();
            book.sit(record.id, record.created, address.map(place));
            let over = book.seats.len() > most;
            let newest = over.then(|| book.by_age.last().map(|(_, session)| *session));
            let newest = newest.flatten();
            newest.inspect(|session| book.displace(*session))
        };
        if let Some(session) = displaced {
            self.displace(session, now).await;
        }
    }

    /// Removes guests past their time, and what is remembered of ended ones: what a flood leaves behind does not wait for
    /// the next sweep. Call it about once a minute. Answers how many sessions went.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn tidy_guests(&self, now: Timestamp) -> Result<usize, StoreError> {
        for session in self.guests.unsure() {
            let found = self.load_record(&session).await?;
            if !found.is_some_and(|held| held.value.carrier.is_unsigned()) {
                self.guests.gone(session);
            }
        }
        let mut gone: usize = 0;
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Session, now, after).await? {
            for key in keys {
                let id = key.name().try_into().ok().map(SessionId::from_bytes);
                let is_guest = id.is_some_and(|id| self.guests.book().seats.contains_key(&id));
                if is_guest && self.sweep_session(&key, now).await? {
                    gone = gone.saturating_add(1);
                }
            }
            after = Some(next);
        }
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Tombstone, now, after).await? {
            self.sweep_remains(keys).await?;
            after = Some(next);
        }
        Ok(gone)
    }
}

/// The guests of this process.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Book>);

impl Guests {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of whom it is to be looked up whether they are there.
    fn unsure(&self) -> Vec<SessionId> {
        core::mem::take(&mut self.book().unsure)
    }

    /// Promoted, or over.
    pub(super) fn gone(&self, session: SessionId) {
        self.book().rise(session);
    }
}

/// A guest who sat down, and of whom it is not settled that his session is in the store.
struct Seat<'e> {
    guests: &'e Guests,
    session: Option<SessionId>,
}

impl Seat<'_> {
    fn settled(mut self) {
        self.session = None;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session {
            let mut book = self.guests.book();
            // Each is seated, so there are no more of them than seats, but for those that left since the last tidying.
            if book.unsure.len() < DISPLACED {
                book.unsure.push(session);
            }
        }
    }
}

/// Where somebody comes from, as far as shares of the room go: an address, or the network of one line.
type Place = IpAddr;

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Who sits where since when. Every step costs the logarithm of how many there are.
#[derive(Debug, Default)]
struct Book {
    seats: HashMap<SessionId, (Timestamp, Option<Place>)>,
    by_age: BTreeSet<(Timestamp, SessionId)>,
    places: HashMap<Place, BTreeSet<(Timestamp, SessionId)>>,
    /// Who sat down before it was settled that his session is there.
    unsure: Vec<SessionId>,
    /// Displaced guests, whose sealed cookies must not make them again.
    displaced: VecDeque<(Timestamp, SessionId)>,
    displaced_ids: HashSet<SessionId>,
    /// Sealed cookies made by then are void: it is not remembered any more which of them were displaced.
    void_until: Timestamp,
    /// That guests are displaced is in the store until then.
    noted_until: Timestamp,
    /// What an earlier process wrote was read.
    knows: bool,
}

impl Book {
    fn sit(&mut self, session: SessionId, since: Timestamp, place: Option<Place>) {
        if self.seats.contains_key(&session) {
            return;
        }
        self.seats.insert(session, (since, place));
        self.by_age.insert((since, session));
        if let Some(place) = place {
            self.places
                .entry(place)
                .or_default()
                .insert((since, session));
        }
    }

    fn rise(&mut self, session: SessionId) -> Option<Timestamp> {
        let (since, place) = self.seats.remove(&session)?;
        self.by_age.remove(&(since, session));
        if let Some(place) = place
            && let Some(of_place) = self.places.get_mut(&place)
        {
            of_place.remove(&(since, session));
            if of_place.is_empty() {
                self.places.remove(&place);
            }
        }
        Some(since)
    }

    fn displace(&mut self, session: SessionId) {
        let Some(since) = self.rise(session) else {
            return;
        };
        while let Some((oldest, id)) = self.displaced.front().copied() {
            let full = self.displaced.len() >= DISPLACED;
            if !full && since.since(oldest) < SEALED_LIFE {
                break;
            }
            if since.since(oldest) < SEALED_LIFE {
                // His cookie was made before he came.
                self.void_until = self.void_until.max(oldest);
            }
            self.displaced.pop_front();
            self.displaced_ids.remove(&id);
        }
        self.displaced.push_back((since, session));
        self.displaced_ids.insert(session);
    }

    fn is_void(&self, session: &SessionId, made: Timestamp) -> bool {
        made <= self.void_until || self.displaced_ids.contains(session)
    }
}

fn newest(guests: &BTreeSet<(Timestamp, SessionId)>, but: SessionId) -> Option<SessionId> {
    let mut newest = guests.iter().rev().map(|(_, session)| *session);
    newest.find(|session| *session != but)
}

#[cfg(test)]
mod tests;
