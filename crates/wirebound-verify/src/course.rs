//! One connection of the feed, message by message: whether each stands where it must. No I/O and no clock.
//!
//! Entries are counted by their places. One that is missing was lost, one that was there before was sent by whoever keeps
//! old bytes; either way this connection's word is worth nothing, and following begins again with a snapshot.

use wirebound::Timestamp;
use wirebound::revocation::feed::Message;
use wirebound::revocation::{Entry, Place};

/// How far a connection has come.
#[derive(Debug)]
pub(crate) struct Course {
    /// After which entry it stands; nothing before the first snapshot.
    place: Option<Place>,
    /// The snapshot is being sent.
    gathering: bool,
    entries: usize,
}

/// What a message means for what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// From here on nothing is known for sure.
    Unsure,
    /// This is called back.
    Entry(Entry),
    /// Everything up to this place is known, as it was then.
    Sure(Place, Timestamp),
}

/// Why a connection's word is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is told by its name")]
pub enum Astray {
    /// It began without a snapshot, though no place was named.
    Unasked,
    /// An entry is missing.
    Gap,
    /// It says what was said before, or counts on from somewhere else.
    Replayed,
    /// More entries than anybody keeps.
    TooMany,
}

impl Astray {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Gap => "gap",
            Self::Replayed => "replayed",
            Self::TooMany => "too_many",
        }
    }
}

impl Course {
    /// A connection that was opened with this place.
    pub(crate) const fn from(place: Option<Place>) -> Self {
        Self {
            place,
            gathering: false,
            entries: 0,
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    ///
    /// When it cannot stand here.
    pub(crate) fn hear(&mut self, message: &Message, most: usize) -> Result<Told, Astray> {
        match *message {
            Message::Snapshot { .. } => {
                self.place = None;
                self.gathering = true;
                self.entries = 0;
                Ok(Told::Unsure)
            }
            Message::Revoked { place: None, entry } => {
                self.entries = self.entries.saturating_add(1);
                if !self.gathering {
                    return Err(Astray::Unasked);
                }
                if self.entries > most {
                    return Err(Astray::TooMany);
                }
                Ok(Told::Entry(entry))
            }
            Message::Revoked {
                place: Some(at),
                entry,
            } => {
                let before = self.place.ok_or(Astray::Unasked)?;
                let next = Place {
                    run: before.run,
                    number: before.number.saturating_add(1),
                };
                follows(at, next)?;
                self.place = Some(at);
                Ok(Told::Entry(entry))
            }
            Message::Complete { place, now, .. } => {
                if !core::mem::replace(&mut self.gathering, false) {
                    return Err(Astray::Unasked);
                }
                self.place = Some(place);
                Ok(Told::Sure(place, now))
            }
            Message::Beat { place, now } => {
                follows(place, self.place.ok_or(Astray::Unasked)?)?;
                Ok(Told::Sure(place, now))
            }
        }
    }
}

fn follows(place: Place, expected: Place) -> Result<(), Astray> {
    if place.run != expected.run || place.number < expected.number {
        Err(Astray::Replayed)
    } else if place.number > expected.number {
        Err(Astray::Gap)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wirebound::SessionId;
    use wirebound::revocation::Revoked;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
    const ENTRY: Entry = Entry {
        what: Revoked::Session(SessionId::from_bytes([1; 10])),
        until: Timestamp::NEVER,
    };

    const fn at(number: u64) -> Place {
        Place { run: 7, number }
    }

    const fn revoked(place: Option<Place>) -> Message {
        Message::Revoked {
            place,
            entry: ENTRY,
        }
    }

    const fn beat(place: Place) -> Message {
        Message::Beat { place, now: NOW }
    }

    const fn snapshot(place: Place) -> Message {
        Message::Snapshot { place, now: NOW }
    }

    const fn complete(place: Place) -> Message {
        Message::Complete {
            place,
            entries: 0,
            now: NOW,
        }
    }

    fn heard(from: Option<Place>, messages: &[Message]) -> Result<Vec<Told>, Astray> {
        let mut course = Course::from(from);
        messages
            .iter()
            .map(|message| course.hear(message, 2))
            .collect()
    }

    #[test]
    fn a_snapshot_then_entries_in_their_order() {
        let told = heard(
            None,
            &[
                snapshot(at(3)),
                revoked(None),
                complete(at(3)),
                revoked(Some(at(4))),
                beat(at(4)),
            ],
        );
        assert_eq!(
            told,
            Ok(vec![
                Told::Unsure,
                Told::Entry(ENTRY),
                Told::Sure(at(3), NOW),
                Told::Entry(ENTRY),
                Told::Sure(at(4), NOW),
            ])
        );
    }

    #[test]
    fn a_resumed_one_goes_on_where_it_was_or_begins_with_a_snapshot() {
        let sure = Told::Sure(at(3), NOW);
        assert_eq!(heard(Some(at(3)), &[beat(at(3))]), Ok(vec![sure]));
        assert!(heard(Some(at(3)), &[revoked(Some(at(4))), beat(at(4))]).is_ok());
        let other = Place { run: 8, number: 0 };
        let anew = [snapshot(other), complete(other), beat(other)];
        assert_eq!(
            heard(Some(at(3)), &anew),
            Ok(vec![
                Told::Unsure,
                Told::Sure(other, NOW),
                Told::Sure(other, NOW)
            ])
        );
    }

    #[test]
    fn what_is_missing_or_was_there_before_is_seen() {
        let other = Place { run: 8, number: 4 };
        for (from, message, astray) in [
            (None, beat(at(0)), Astray::Unasked),
            (None, revoked(Some(at(1))), Astray::Unasked),
            (None, revoked(None), Astray::Unasked),
            (None, complete(at(0)), Astray::Unasked),
            (Some(at(3)), revoked(None), Astray::Unasked),
            (Some(at(3)), complete(at(3)), Astray::Unasked),
            (Some(at(3)), revoked(Some(at(5))), Astray::Gap),
            (Some(at(3)), beat(at(4)), Astray::Gap),
            (Some(at(3)), revoked(Some(at(3))), Astray::Replayed),
            (Some(at(3)), beat(at(2)), Astray::Replayed),
            (Some(at(3)), revoked(Some(other)), Astray::Replayed),
            (
                Some(at(3)),
                beat(Place { run: 8, number: 3 }),
                Astray::Replayed,
            ),
            (Some(at(u64::MAX)), revoked(Some(at(0))), Astray::Replayed),
        ] {
            assert_eq!(heard(from, &[message]), Err(astray), "{from:?} {message:?}");
        }
        let during = [snapshot(at(3)), beat(at(3))];
        assert_eq!(heard(Some(at(3)), &during), Err(Astray::Unasked));
        let many = [snapshot(at(3)), revoked(None), revoked(None), revoked(None)];
        assert_eq!(heard(None, &many), Err(Astray::TooMany));
        assert!(heard(None, &many[..3]).is_ok(), "two are kept");
    }
}
