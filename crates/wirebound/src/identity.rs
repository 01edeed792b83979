//! What is kept of a subject: ceiling, blocked or not, expiry, generation, its sessions.
//!
//! What an operator set does not expire; what the identity learnt by itself does. `remove` leaves the record as
//! a tombstone with the generation, so that nothing of before is ever newer than what comes after.

use crate::codec::{Reader, Writer};
use crate::ids::{SessionId, Subject};
use crate::role::Role;
use crate::store::{Key, Space};
use crate::time::Timestamp;

/// Format of identity records.
const FORMAT: u8 = 1;

/// Evictions remembered; more than any `freeze_after` needs.
const EVICTIONS: usize = 16;

/// One session of an identity, as the identity's record lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: SessionId,
    pub(crate) created: Timestamp,
    pub(crate) absolute: Timestamp,
    pub(crate) role: Role,
    pub(crate) raised: Option<(Role, Timestamp)>,
}

impl Listed {
    /// The role in force at `now` below a ceiling.
    pub(crate) fn role_at(&self, ceiling: Role, now: Timestamp) -> Role {
        let raised = self.raised.filter(|(_, until)| now < *until);
        ceiling.min(raised.map_or(self.role, |(role, _)| role.max(self.role)))
    }
}

/// An identity as it stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) subject: Subject,
    /// Highest role any session of it may have in force.
    pub(crate) ceiling: Role,
    /// An operator set the ceiling: it does not expire.
    pub(crate) ceiling_set: bool,
    pub(crate) blocked: bool,
    pub(crate) frozen: bool,
    pub(crate) removed: bool,
    pub(crate) expires: Timestamp,
    /// Only grows.
    pub(crate) generation: u64,
    pub(crate) sessions: Vec<Listed>,
    pub(crate) evictions: Vec<Timestamp>,
}

impl Identity {
    pub(crate) fn key(subject: &Subject) -> Key {
        Key::new(Space::Identity, subject.as_bytes())
    }

    /// A new identity. Its generation is never below one that was before: it starts at the time.
    pub(crate) const fn new(subject: Subject, expires: Timestamp, now: Timestamp) -> Self {
        Self {
            subject,
            ceiling: Role::USER,
            ceiling_set: false,
            blocked: false,
            frozen: false,
            removed: false,
            expires,
            generation: now.as_millis(),
            sessions: Vec::new(),
            evictions: Vec::new(),
        }
    }

    /// The ceiling that counts: a frozen identity has no admin.
    pub(crate) fn ceiling(&self) -> Role {
        if self.frozen {
            self.ceiling.min(Role::USER)
        } else {
            self.ceiling
        }
    }

    /// What the identity learnt by itself runs out; what an operator set stays.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Whether anything an operator set would be lost with the record.
    pub(crate) const fn is_kept(&self) -> bool {
        self.ceiling_set || self.blocked || self.frozen || self.removed
    }

    /// Every grant of before is older than this one.
    pub(crate) fn next_generation(&mut self, now: Timestamp) {
        self.generation = self.generation.saturating_add(1).max(now.as_millis());
    }

    pub(crate) fn note_eviction(&mut self, now: Timestamp) {
        self.evictions.push(now);
        if self.evictions.len() > EVICTIONS {
            self.evictions.remove(0);
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_version(FORMAT);
        out.bytes(self.subject.as_bytes());
        out.byte(self.ceiling.rank());
        for flag in [self.ceiling_set, self.blocked, self.frozen, self.removed] {
            out.flag(flag);
        }
        out.time(self.expires);
        out.number(self.generation);
        out.list(&self.sessions, |out, listed| {
            out.array(listed.id.as_bytes());
            out.time(listed.created);
            out.time(listed.absolute);
            out.byte(listed.role.rank());
            out.option(listed.raised.as_ref(), |out, (role, until)| {
                out.byte(role.rank());
                out.time(*until);
            });
        });
        out.list(&self.evictions, |out, at| out.time(*at));
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        if from.byte()? != FORMAT {
            return None;
        }
        let identity = Self {
            subject: Subject::new(from.bytes()?).ok()?,
            ceiling: Role::ranked(from.byte()?),
            ceiling_set: from.flag()?,
            blocked: from.flag()?,
            frozen: from.flag()?,
            removed: from.flag()?,
            expires: from.time()?,
            generation: from.number()?,
            sessions: from.list(|from| {
                Some(Listed {
                    id: SessionId::from_bytes(from.array()?),
                    created: from.time()?,
                    absolute: from.time()?,
                    role: Role::ranked(from.byte()?),
                    raised: from.option(|from| Some((Role::ranked(from.byte()?), from.time()?)))?,
                })
            })?,
            evictions: from.list(Reader::time)?,
        };
        from.finish()?;
        Some(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_round_trip_and_nothing_else_reads() {
        let now = Timestamp::from_millis(77);
        let mut identity = Identity::new(Subject::new(b"ada").unwrap(), now, now);
        identity.sessions.push(Listed {
            id: SessionId::from_bytes([3; 10]),
            created: now,
            absolute: now,
            role: Role::USER,
            raised: Some((Role::ADMIN, now)),
        });
        identity.note_eviction(now);
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes).unwrap().encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(Identity::decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_generation_only_grows_even_when_the_clock_goes_back() {
        let mut identity = Identity::new(
            Subject::new(b"ada").unwrap(),
            Timestamp::NEVER,
            Timestamp::from_millis(1_000),
        );
        identity.next_generation(Timestamp::from_millis(10));
        assert_eq!(identity.generation, 1_001);
        identity.next_generation(Timestamp::from_millis(5_000));
        assert_eq!(identity.generation, 5_000);
    }
}
