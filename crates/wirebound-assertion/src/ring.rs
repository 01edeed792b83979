//! The ring: the keys of an issuer and their lives. Published, signing, retiring, gone.
//!
//! A pure state machine: what a key is follows from the ring and the time, so a process that slept through a change-over
//! wakes up right. A key signs only after everybody could fetch it, and is believed until its last token is over. At every
//! moment exactly one signs, also after the clock went back.

use core::fmt;
use std::sync::Arc;

use wirebound::{Lifetime, Timestamp};

mod kept;
mod listed;
mod schedule;

use crate::jwks::Jwks;
use crate::keys::{KeySet, Kid, SigningKey};

pub use kept::RingError;
pub use listed::{Listed, State};
pub use schedule::{Schedule, ScheduleError};

/// Most keys in a ring. Three are usual; more means that somebody rotates by hand, or a clock that jumps about.
pub const KEYS_MAX: usize = 16;

/// The keys of one issuer. It prints their names only.
///
/// Its owner calls [`Ring::step`] at start and whenever [`Ring::due`] says, on one node at a time, and keeps
/// [`Ring::to_bytes`] under a seal before anybody sees a ring that changed: a key that signed and was lost leaves tokens
/// that nobody believes.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Oldest first.
    earlier: Vec<Slot>,
    /// The newest, which has no successor.
    last: Slot,
}

/// A key and its times. `published <= since < stops <= until`; a successor's `since` is not before `stops`.
#[derive(Clone, Debug)]
struct Slot {
    key: Arc<SigningKey>,
    published: Timestamp,
    since: Timestamp,
    /// When its successor takes over; never, as long as it has none.
    stops: Timestamp,
    /// Until when it is believed.
    until: Timestamp,
}

impl Slot {
    const fn new(key: Arc<SigningKey>, published: Timestamp, since: Timestamp) -> Self {
        Self {
            key,
            published,
            since,
            stops: Timestamp::NEVER,
            until: Timestamp::NEVER,
        }
    }

    const fn stopping(&mut self, stops: Timestamp, schedule: &Schedule) {
        self.stops = stops;
        self.until = stops.after(schedule.tail);
    }

    /// Its times are those of a clock that was ahead. The moment that it was to sign from comes earlier now.
    fn advance(&mut self, since: Timestamp, now: Timestamp) {
        self.since = since;
        self.published = self.published.min(now);
    }

    const fn times(&self) -> [Timestamp; 4] {
        [self.published, self.since, self.stops, self.until]
    }
}

impl Ring {
    /// A ring of one key, which signs at once. Use it only when there is no kept ring to read: whoever has fetched our keys
    /// does not know this one yet.
    #[must_use]
    pub fn new(key: SigningKey, now: Timestamp) -> Self {
        Self {
            earlier: Vec::new(),
            last: Slot::new(Arc::new(key), now, now),
        }
    }

    /// The key that signs now.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> &Arc<SigningKey> {
        // The first that has not stopped. Where the clock went back to before all of them, that is the one to begin first.
        let unstopped = self.earlier.iter().find(|slot| now < slot.stops);
        &unstopped.unwrap_or(&self.last).key
    }

    /// The keys that are believed now: those published, the one that signs and those retiring.
    #[must_use]
    pub fn key_set(&self, now: Timestamp) -> KeySet {
        // Names are unique in a ring.
        KeySet::of(self.alive(now).map(|slot| slot.key.verifying().clone())).unwrap_or_default()
    }

    /// What is published now: the public halves of the keys that are believed.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        Jwks::of(self.alive(now).map(|slot| slot.key.verifying()))
    }

    /// The keys and their lives, for an operator; oldest first.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<Listed> {
        let signing = self.signing(now).kid();
        let mut state = State::Retiring;
        let mut list = Vec::new();
        for slot in self.slots() {
            let kid = slot.key.kid();
            if kid == signing {
                state = State::Signing;
            } else if state == State::Signing {
                state = State::Published;
            }
            if now < slot.until {
                list.push(Listed {
                    kid: kid.clone(),
                    algorithm: slot.key.algorithm(),
                    state,
                    published: slot.published,
                    since: slot.since,
                    stops: (slot.stops != Timestamp::NEVER).then_some(slot.stops),
                    until: (slot.until != Timestamp::NEVER).then_some(slot.until),
                });
            }
        }
        list
    }

    /// Publishes the next key when it is time, forgets those that are gone, and puts right what a clock that was ahead has
    /// left. Answers whether the ring changed, which means: keep it, then use it.
    ///
    /// The next key may be of another algorithm: the ring moves on to it as the key's turn comes. A key that is in the ring
    /// already is not taken a second time.
    ///
    /// # Errors
    ///
    /// What `make` says when it has no key; the ring is then as it was.
    pub fn step<E>(
        &mut self,
        schedule: &Schedule,
        now: Timestamp,
        mut make: impl FnMut() -> Result<SigningKey, E>,
    ) -> Result<bool, E> {
        let mut next = self.clone();
        next.settle(schedule, now);
        if next
            .next_published(schedule, now)
            .is_some_and(|due| due <= now)
        {
            next.publish(make()?, now.after(schedule.lead), schedule, now);
        }
        Ok(self.adopt(next))
    }

    /// Publishes the next key at once; it signs when its lead is over. Answers whether the ring changed: not when the next
    /// key is on its way already, and not when the ring is full.
    ///
    /// # Errors
    ///
    /// What `make` says when it has no key; the ring is then as it was.
    pub fn rotate_now<E>(
        &mut self,
        schedule: &Schedule,
        now: Timestamp,
        mut make: impl FnMut() -> Result<SigningKey, E>,
    ) -> Result<bool, E> {
        let mut next = self.clone();
        next.settle(schedule, now);
        if next.next_published(schedule, now).is_some() {
            next.publish(make()?, now.after(schedule.lead), schedule, now);
        }
        Ok(self.adopt(next))
    }

    /// From now on nothing is signed by a key that its owner alone can check (HS256): the next of the others takes its place at
    /// once, and is made if there is none. What it signed is believed as long as that of any key. Nobody could have fetched
    /// it, so nobody needs the time to fetch its successor first. Answers whether the ring changed.
    ///
    /// # Errors
    ///
    /// What `make` says when it has no key; the ring is then as it was.
    pub fn sign_for_others<E>(
        &mut self,
        schedule: &Schedule,
        now: Timestamp,
        make: impl FnOnce() -> Result<SigningKey, E>,
    ) -> Result<bool, E> {
        let mut next = self.clone();
        next.settle(schedule, now);
        for coming in next.list(now) {
            if coming.state == State::Published && !coming.algorithm.is_asymmetric() {
                next.call_off(coming.kid.as_str(), schedule, now);
            }
        }
        if !next.signing(now).algorithm().is_asymmetric() {
            next.give_way(schedule, now, make)?;
        }
        Ok(self.adopt(next))
    }

    /// Takes a key out of the ring at once: it has leaked. What it signed is believed no more. If it was the one that signs,
    /// the next one does from now on, and is made if there is none.
    ///
    /// A verifier that has fetched the keys believes it until it asks again: [`Schedule::max_age`].
    ///
    /// # Errors
    ///
    /// When there is no such key, or none to take its place; the ring is then as it was.
    pub fn retire_now<E>(
        &mut self,
        kid: &str,
        schedule: &Schedule,
        now: Timestamp,
        mut make: impl FnMut() -> Result<SigningKey, E>,
    ) -> Result<(), NotRetired<E>> {
        if !self.slots().any(|slot| slot.key.kid().as_str() == kid) {
            return Err(NotRetired::Unknown);
        }
        let mut next = self.clone();
        next.settle(schedule, now);
        let signed = next.signing(now).kid().as_str() == kid;
        if !signed {
            next.call_off(kid, schedule, now);
        } else if next.last.key.kid().as_str() == kid {
            let key = make().map_err(NotRetired::Make)?;
            if next.holds(key.kid()) {
                return Err(NotRetired::SameKey);
            }
            next.last = Slot::new(Arc::new(key), now, now);
        } else {
            next.remove(kid, schedule, now);
            let successor = next.earlier.iter_mut().find(|slot| now < slot.stops);
            successor.unwrap_or(&mut next.last).advance(now, now);
        }
        let _changed: bool = self.adopt(next);
        Ok(())
    }

    /// The next moment at which something changes: [`Ring::step`] has work, another key signs, or one is believed no more.
    /// That may be now.
    #[must_use]
    pub fn due(&self, schedule: &Schedule, now: Timestamp) -> Timestamp {
        let mut settled = self.clone();
        settled.settle(schedule, now);
        if settled.times() != self.times() {
            return now;
        }
        let ahead = self
            .earlier
            .iter()
            .flat_map(|slot| [slot.stops, slot.until])
            .filter(|moment| now < *moment);
        let published = self.next_published(schedule, now).map(|due| due.max(now));
        ahead.chain(published).min().unwrap_or(Timestamp::NEVER)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.earlier.iter().chain([&self.last])
    }

    fn alive(&self, now: Timestamp) -> impl Iterator<Item = &Slot> {
        self.slots().filter(move |slot| now < slot.until)
    }

    fn holds(&self, kid: &Kid) -> bool {
        self.slots().any(|slot| slot.key.kid() == kid)
    }

    fn times(&self) -> Vec<(&Kid, [Timestamp; 4])> {
        self.slots()
            .map(|slot| (slot.key.kid(), slot.times()))
            .collect()
    }

    /// Takes over a ring, and says whether it is another.
    fn adopt(&mut self, next: Self) -> bool {
        let changed = self.times() != next.times();
        *self = next;
        changed
    }

    /// Forgets what is gone. What was planned under a clock that was ahead is planned anew, or it would be for years.
    fn settle(&mut self, schedule: &Schedule, now: Timestamp) {
        self.earlier.retain(|slot| now < slot.until);
        let mut slots = self
            .earlier
            .iter_mut()
            .chain([&mut self.last])
            .skip_while(|slot| slot.stops <= now && slot.stops != Timestamp::NEVER);
        let Some(signing) = slots.next() else {
            return;
        };
        if now < signing.since {
            signing.advance(now, now);
        }
        let latest = now.after(schedule.lead);
        if let Some(next) = slots.next()
            && latest < next.since
        {
            next.advance(latest, now);
            signing.stopping(latest, schedule);
        }
    }

    /// When the next key is to be published; nothing, when one is on its way or the ring is full.
    fn next_published(&self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let on_its_way = self.earlier.last().is_some_and(|slot| now < slot.stops);
        let full = self.slots().count() >= KEYS_MAX;
        (!on_its_way && !full).then(|| {
            let turn = self.last.since.after(schedule.period);
            turn.before(schedule.lead)
        })
    }

    /// Appends a key that signs from a moment on.
    fn publish(&mut self, key: SigningKey, since: Timestamp, schedule: &Schedule, now: Timestamp) {
        // At the end of time there is no later.
        if self.holds(key.kid()) || since.after(schedule.tail) == Timestamp::NEVER {
            return;
        }
        self.last.stopping(since, schedule);
        let next = Slot::new(Arc::new(key), now, since);
        self.earlier.push(core::mem::replace(&mut self.last, next));
    }

    /// The key that signs stops now: the one that is on its way takes over, or one that is made.
    fn give_way<E>(
        &mut self,
        schedule: &Schedule,
        now: Timestamp,
        make: impl FnOnce() -> Result<SigningKey, E>,
    ) -> Result<(), E> {
        let mut unstopped = self.earlier.iter_mut().filter(|slot| now < slot.stops);
        // A key signs for a moment at least.
        let after = |signing: &Slot| now.max(signing.since.after(Lifetime::from_millis(1)));
        if let Some(signing) = unstopped.next() {
            let stops = after(signing);
            signing.stopping(stops, schedule);
            unstopped
                .next()
                .unwrap_or(&mut self.last)
                .advance(stops, now);
            return Ok(());
        }
        let key = make()?;
        let since = after(&self.last);
        // In a ring that is full the oldest makes room: it is the one that is gone first anyway.
        let beyond = self
            .earlier
            .len()
            .saturating_add(2)
            .saturating_sub(KEYS_MAX);
        self.earlier = self.earlier.split_off(beyond.min(self.earlier.len()));
        self.publish(key, since, schedule, now);
        Ok(())
    }

    /// Takes out a key that does not sign. Was it the last, the one before it goes on.
    fn call_off(&mut self, kid: &str, schedule: &Schedule, now: Timestamp) {
        if self.last.key.kid().as_str() != kid {
            self.remove(kid, schedule, now);
        } else if let Some(before) = self.earlier.pop() {
            self.last = Slot {
                stops: Timestamp::NEVER,
                until: Timestamp::NEVER,
                ..before
            };
        }
    }

    /// Takes out a key that has a successor. Had it not signed yet, the one before it signs until the one after it does.
    fn remove(&mut self, kid: &str, schedule: &Schedule, now: Timestamp) {
        let is_it = |slot: &Slot| slot.key.kid().as_str() == kid;
        let successor = self.slots().skip_while(|slot| !is_it(slot)).nth(1);
        let since = successor.map(|slot| slot.since);
        let before = self.earlier.iter_mut().take_while(|slot| !is_it(slot));
        if let (Some(before), Some(since)) = (before.last(), since)
            && now < before.stops
        {
            before.stopping(since, schedule);
        }
        self.earlier.retain(|slot| !is_it(slot));
    }
}

/// Why a key was not taken out of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRetired<E> {
    /// No key has this name.
    Unknown,
    /// The key that was to take its place is in the ring already.
    SameKey,
    /// There is no key to take its place.
    Make(E),
}

impl<E: fmt::Display> fmt::Display for NotRetired<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no key of the ring has this name; list the keys"),
            Self::SameKey => {
                f.write_str("the key that was to take its place is in the ring already")
            }
            Self::Make(error) => write!(f, "no key could be made to take its place: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for NotRetired<E> {}
