//! The newest entries in their order, for those who follow: the feed's memory.
//!
//! A place is good for the process that gave it out: whoever comes with another, or with one that has left the memory,
//! begins with a snapshot. Nothing here is asked by a request.

use core::fmt;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};

use super::Entry;

/// How many entries whoever was away may be behind.
const KEPT: usize = 16_384;

/// A place in the feed: of which process, and after how many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a name with two parts")]
pub struct Place {
    /// Names the process that counts: drawn at its start.
    pub run: u64,
    /// How many entries came before.
    pub number: u64,
}

impl Place {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        let place = Self {
            run: u64::from_str_radix(run, 16).ok()?,
            number: number.parse().ok()?,
        };
        (place.to_string() == text).then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.number)
    }
}

/// What there is for somebody who follows from a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever follows must meet both")]
pub enum Followed {
    /// These came since, in order; the place is after the last of them.
    Since(Vec<Entry>, Place),
    /// The place is not known any more: take a snapshot, and go on from this place, which is of before it.
    Anew(Place),
}

/// Resolves when something was added. Take it before asking what there is.
#[derive(Debug)]
pub struct Heard(EventListener);

impl Heard {
    /// Resolves at the next entry.
    pub async fn heard(self) {
        self.0.await;
    }
}

#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
    added: Event,
}

#[derive(Debug)]
struct State {
    run: u64,
    /// The number that the next entry gets.
    next: u64,
    newest: VecDeque<Entry>,
}

impl Log {
    pub(super) fn new(run: u64) -> Self {
        Self {
            state: Mutex::new(State {
                run,
                next: 0,
                newest: VecDeque::new(),
            }),
            added: Event::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, entry: Entry) {
        let mut state = self.state();
        state.next = state.next.saturating_add(1);
        state.newest.push_back(entry);
        if state.newest.len() > KEPT {
            state.newest.pop_front();
        }
        drop(state);
        self.added.notify(usize::MAX);
    }

    pub(super) fn listen(&self) -> Heard {
        Heard(self.added.listen())
    }

    pub(super) fn since(&self, place: Option<Place>) -> Followed {
        let state = self.state();
        let now = Place {
            run: state.run,
            number: state.next,
        };
        let behind = place
            .filter(|place| place.run == state.run)
            .and_then(|place| state.next.checked_sub(place.number))
            .and_then(|behind| usize::try_from(behind).ok())
            .and_then(|behind| state.newest.len().checked_sub(behind));
        match behind {
            Some(skipped) => {
                Followed::Since(state.newest.iter().skip(skipped).copied().collect(), now)
            }
            None => Followed::Anew(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::revocation::Revoked;
    use crate::time::Timestamp;

    fn entry(number: u8) -> Entry {
        Entry {
            what: Revoked::Session(SessionId::from_bytes([number; 10])),
            until: Timestamp::NEVER,
        }
    }

    #[test]
    fn whoever_was_away_gets_what_came_since_and_nothing_twice() {
        let log = Log::new(7);
        let Followed::Anew(begin) = log.since(None) else {
            panic!("nobody has a place yet");
        };
        log.add(entry(1));
        log.add(entry(2));
        let Followed::Since(first, place) = log.since(Some(begin)) else {
            panic!("it is remembered");
        };
        assert_eq!(first, [entry(1), entry(2)]);
        assert_eq!(log.since(Some(place)), Followed::Since(Vec::new(), place));
        log.add(entry(3));
        let expected = Place { run: 7, number: 3 };
        assert_eq!(
            log.since(Some(place)),
            Followed::Since(vec![entry(3)], expected)
        );
    }

    #[test]
    fn a_place_of_another_run_or_out_of_memory_or_ahead_is_none() {
        let log = Log::new(7);
        let begin = Place { run: 7, number: 0 };
        for _ in 0..=KEPT {
            log.add(entry(1));
        }
        for place in [
            begin,
            Place { run: 8, number: 1 },
            Place {
                run: 7,
                number: u64::MAX,
            },
        ] {
            assert!(
                matches!(log.since(Some(place)), Followed::Anew(_)),
                "{place}"
            );
        }
        let just = Place { run: 7, number: 1 };
        assert!(matches!(log.since(Some(just)), Followed::Since(all, _) if all.len() == KEPT));
    }

    #[test]
    fn a_place_has_one_spelling() {
        let place = Place {
            run: 255,
            number: 9,
        };
        assert_eq!(place.to_string(), "00000000000000ff-9");
        assert_eq!(Place::parse("00000000000000ff-9"), Some(place));
        for wrong in ["ff-9", "00000000000000ff-09", "00000000000000FF-9", "9", ""] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
