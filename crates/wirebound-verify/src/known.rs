//! What the feed has told, and how old it is.
//!
//! One task writes, every check reads. An age counts from the earlier of two moments: when a beat came, and when the server
//! says that it was sent; so a word that was held back on its way is as old as it is. Nothing is forgotten when a connection
//! is lost or a snapshot begins: who was called back stays so.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wirebound::revocation::{Entry, Issued, Place, Revocations, Standing};
use wirebound::{Lifetime, Timestamp};
use wirebound_assertion::{Claims, LEEWAY_MAX};

/// Between two looks for what has run out.
const TIDY: Lifetime = Lifetime::from_mins(1);

/// A server's clock may be ahead of ours by so much; what it says beyond that is not taken for a time.
const AHEAD: Lifetime = Lifetime::from_mins(1);

/// What is known of everything that was called back.
#[derive(Debug)]
pub(crate) struct Known {
    revocations: Revocations,
    /// Up to when everything is known, by the wall clock; nothing while that is not so.
    as_of: AtomicU64,
    /// When that was heard, by the counter; nothing while that is not so.
    heard: AtomicU64,
    heard_of: Mutex<HeardOf>,
    whole: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct HeardOf {
    /// Where following goes on, if it can.
    place: Option<Place>,
    /// The newest time that the server's process of this run has said.
    said: Option<(u64, Timestamp)>,
    tidied: Timestamp,
}

impl Known {
    pub(crate) fn new() -> Self {
        Self {
            revocations: Revocations::new(0),
            as_of: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            heard_of: Mutex::default(),
            whole: watch::Sender::new(false),
        }
    }

    fn heard_of(&self) -> MutexGuard<'_, HeardOf> {
        self.heard_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How old this is, by two clocks; nothing if it is not known for sure what is called back.
    ///
    /// Ask it before [`Known::standing`]: entries are there before the beat that vouches for them.
    pub(crate) fn age(&self, now: Timestamp, counted: Timestamp) -> Option<Lifetime> {
        // Read apart: what lies between two writes looks older than it is, never newer.
        let as_of = self.as_of.load(Ordering::Acquire);
        let heard = self.heard.load(Ordering::Acquire);
        (as_of != 0 && heard != 0).then(|| {
            now.since(Timestamp::from_millis(as_of))
                .max(counted.since(Timestamp::from_millis(heard)))
        })
    }

    /// Whether a token was called back, as far as is known.
    pub(crate) fn standing(&self, claims: &Claims) -> Standing {
        self.revocations.standing(&issued(claims))
    }

    /// Whether what called it back may have been forgotten, because it had run out. Ask it before [`Known::standing`].
    pub(crate) fn has_forgotten(&self, claims: &Claims, leeway: Lifetime) -> bool {
        let until = claims.expires.begins().after(leeway.min(LEEWAY_MAX));
        self.revocations.has_forgotten(until)
    }

    pub(crate) fn entry(&self, entry: Entry) {
        self.revocations.take_up(entry);
    }

    pub(crate) fn entries(&self) -> usize {
        self.revocations.len()
    }

    /// Where following goes on.
    pub(crate) fn place(&self) -> Option<Place> {
        self.heard_of().place
    }

    /// From here on nothing is known for sure, and following begins again.
    pub(crate) fn unsure(&self) {
        self.as_of.store(0, Ordering::Release);
        self.heard.store(0, Ordering::Release);
        self.heard_of().place = None;
    }

    /// Something was said after this place.
    pub(crate) fn moved(&self, place: Place) {
        self.heard_of().place = Some(place);
    }

    /// Up to this place everything is known, as of what the server says is its time. Heard at `now`, if the clock can say.
    pub(crate) fn sure(
        &self,
        place: Place,
        said: Timestamp,
        now: Option<Timestamp>,
        counted: Timestamp,
    ) {
        let mut heard_of = self.heard_of();
        heard_of.place = Some(place);
        let newer = heard_of
            .said
            .is_none_or(|(run, last)| run != place.run || last < said);
        // What a server says whose clock is ahead would make everything older that it says once that is right.
        let ahead = |now: &Timestamp| said.since(*now) > AHEAD;
        let Some(now) = now.filter(|now| newer && !ahead(now)) else {
            return;
        };
        heard_of.said = Some((place.run, said));
        let as_of = said.min(now);
        if as_of.since(heard_of.tidied) >= TIDY {
            heard_of.tidied = as_of;
            // By the server's time, not by ours alone: a clock that is ahead for a moment must not make us forget. And a
            // token is taken for a while after its end.
            self.revocations.forget(as_of.before(LEEWAY_MAX));
        }
        drop(heard_of);
        self.as_of.store(as_of.as_millis(), Ordering::Release);
        self.heard.store(counted.as_millis(), Ordering::Release);
        self.whole
            .send_if_modified(|whole| !core::mem::replace(whole, true));
    }

    /// Resolves once everything was known for the first time.
    pub(crate) async fn whole(&self) {
        let mut whole = self.whole.subscribe();
        // Cannot fail: the sender is here.
        let _seen = whole.wait_for(|whole| *whole).await;
    }
}

fn issued(claims: &Claims) -> Issued {
    Issued {
        session: claims.session,
        token: wirebound::revocation::TokenId::from_bytes(*claims.id.as_bytes()),
        subject: wirebound::revocation::SubjectTag::from_bytes(*claims.tag.as_bytes()),
        generation: claims.generation,
        at: claims.issued.begins(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { run: 7, number: 1 };

    const fn ms(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000).after(Lifetime::from_millis(millis))
    }

    const fn counted(millis: u64) -> Timestamp {
        Timestamp::from_millis(1).after(Lifetime::from_millis(millis))
    }

    fn told(said: u64, at: u64) -> Known {
        let known = Known::new();
        known.sure(PLACE, ms(said), Some(ms(at)), counted(at));
        known
    }

    fn age(known: &Known, at: u64) -> Option<u64> {
        known.age(ms(at), counted(at)).map(Lifetime::as_millis)
    }

    #[test]
    fn what_was_held_back_is_as_old_as_it_is() {
        assert_eq!(age(&Known::new(), 0), None);
        assert_eq!(age(&told(0, 0), 700), Some(700));
        assert_eq!(age(&told(0, 500), 700), Some(700));
        assert_eq!(age(&told(500, 0), 700), Some(700), "a server that is ahead");
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_young() {
        let known = told(1_000, 1_000);
        let age = known.age(ms(0), counted(9_000)).unwrap();
        assert_eq!(age.as_millis(), 8_000);
        let sleeping = known.age(ms(9_000), counted(1_000)).unwrap();
        assert_eq!(sleeping.as_millis(), 8_000, "the counter stood still");
    }

    #[test]
    fn an_old_beat_said_again_counts_for_nothing() {
        let known = told(1_000, 1_000);
        for said in [0, 1_000] {
            known.sure(PLACE, ms(said), Some(ms(5_000)), counted(5_000));
            assert_eq!(age(&known, 5_000), Some(4_000));
        }
        known.sure(PLACE, ms(1_001), Some(ms(5_000)), counted(5_000));
        assert_eq!(age(&known, 5_000), Some(3_999));
        // Of another run, and older: it is as old as it says.
        known.sure(
            Place { run: 8, number: 0 },
            ms(10),
            Some(ms(5_000)),
            counted(5_000),
        );
        assert_eq!(age(&known, 5_000), Some(4_990));
    }

    #[test]
    fn a_clock_that_cannot_say_when_a_beat_came_makes_nothing_young() {
        let known = told(1_000, 1_000);
        known.sure(PLACE, ms(5_000), None, counted(5_000));
        assert_eq!(age(&known, 5_000), Some(4_000));
    }

    #[test]
    fn a_server_whose_clock_was_ahead_for_a_moment_is_heard_again_once_it_is_right() {
        let known = told(1_000, 1_000);
        known.sure(PLACE, ms(3_600_000), Some(ms(2_000)), counted(2_000));
        for at in [4_000, 60_000] {
            known.sure(PLACE, ms(at), Some(ms(at)), counted(at));
        }
        assert_eq!(age(&known, 60_100), Some(100));
    }

    #[test]
    fn what_is_unsure_has_no_age_and_no_place() {
        let known = told(0, 0);
        assert_eq!(known.place(), Some(PLACE));
        known.unsure();
        assert_eq!((age(&known, 0), known.place()), (None, None));
    }

    #[test]
    fn what_was_called_back_is_forgotten_by_the_servers_time_and_after_every_leeway() {
        use wirebound::SessionId;
        use wirebound::revocation::Revoked;
        let known = told(0, 0);
        known.entry(Entry {
            what: Revoked::Session(SessionId::from_bytes([1; 10])),
            until: ms(1_001),
        });
        // Our clock is a day ahead for a moment.
        known.sure(PLACE, ms(61_000), Some(ms(86_400_000)), counted(61_000));
        assert_eq!(known.entries(), 1);
        known.sure(PLACE, ms(121_001), Some(ms(121_001)), counted(121_001));
        assert_eq!(known.entries(), 0);
    }

    #[test]
    fn a_token_that_was_forgotten_is_over_wherever_the_clock_went() {
        use wirebound::revocation::Revoked;
        let known = told(0, 0);
        let over = |known: &Known, until| known.revocations.has_forgotten(ms(until));
        known.sure(
            PLACE,
            ms(3_600_000),
            Some(ms(3_600_000)),
            counted(3_600_000),
        );
        // What was called back is kept for a minute longer than any token is taken.
        assert!(over(&known, 3_540_000), "ours went back");
        assert!(!over(&known, 3_540_001));
        // So did the server's, and it has called everything back.
        let what = Revoked::Before(ms(3_600_001));
        let until = ms(9_000_000);
        known.entry(Entry { what, until });
        assert!(!over(&known, 1), "what is issued from here on is good");
    }
}
