//! What is known here to be called back, asked without a trip.
//!
//! New entries lie in hash tables as they are. Where there are very many, the older of them move into a filter of two
//! bytes each, that says "surely not" or "perhaps", and whoever hears "perhaps" asks where the entries themselves are. So
//! a false positive costs a trip and refuses nobody, and ten million entries cost little memory.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use xorf::{BinaryFuse16, Filter as _};

use super::log::Log;
use super::{Entry, Followed, Heard, Issued, Place, Revoked, SubjectTag, TokenId};
use crate::ids::SessionId;
use crate::time::Timestamp;

/// More than so many new entries are worth a filter.
const MANY: usize = 65_536;

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks must meet each")]
pub enum Standing {
    /// It was surely not called back.
    Good,
    /// It was called back.
    Revoked,
    /// Ask where the entries are.
    Perhaps,
}

/// What was called back, in memory, and its newest entries in their order.
pub struct Revocations {
    /// Counts changes: what was found good at one count is good while it stays.
    revision: AtomicU64,
    /// Everything issued before it is called back.
    before: AtomicU64,
    /// Up to when entries were forgotten, in ms: nothing is known of tokens that had run out by then.
    forgotten: AtomicU64,
    known: RwLock<Known>,
    log: Log,
}

impl core::fmt::Debug for Revocations {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Revocations({} entries)", self.len())
    }
}

#[derive(Default)]
struct Known {
    sessions: HashMap<SessionId, Timestamp, RandomState>,
    tokens: HashMap<TokenId, Timestamp, RandomState>,
    subjects: HashMap<SubjectTag, Floor, RandomState>,
    /// A write that concerned them may have happened or not.
    doubted: HashSet<SessionId, RandomState>,
    /// In force here, and perhaps not in the store yet.
    ahead: HashSet<Entry, RandomState>,
    settled: Option<Settled>,
}

/// The first generation of a subject that is good.
#[derive(Clone, Copy)]
struct Floor {
    generation: u64,
    until: Timestamp,
}

/// Entries in a filter.
struct Settled {
    filter: BinaryFuse16,
    /// Which kinds are in it: for those that are not, it need not be asked.
    kinds: Kinds,
    entries: usize,
    /// When the last of them has run out.
    until: Timestamp,
}

/// Kinds of entries that fill filters.
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    sessions: bool,
    tokens: bool,
}

/// The entries that a filter is made of, while they are gathered. What comes meanwhile stays outside it.
#[derive(Debug, Default)]
#[must_use]
pub struct Gathered {
    hashes: Vec<u64>,
    kinds: Kinds,
    until: Timestamp,
    sessions: HashSet<SessionId, RandomState>,
    tokens: HashSet<TokenId, RandomState>,
}

impl Gathered {
    /// Takes an entry up, if it is of a kind that fills filters.
    pub fn add(&mut self, entry: &Entry) {
        let Some(hash) = hash(&entry.what) else {
            return;
        };
        self.hashes.push(hash);
        self.kinds.sessions |= matches!(entry.what, Revoked::Session(_));
        self.kinds.tokens |= matches!(entry.what, Revoked::Token(_));
        self.until = self.until.max(entry.until);
    }
}

/// Sessions and tokens by eight of their random bytes. Two that share them are one to the filter, which only asks once
/// more then.
fn hash(what: &Revoked) -> Option<u64> {
    // Apart, so that a session is never taken for a token.
    const TOKEN: u64 = 0x9e37_79b9_7f4a_7c15;
    match what {
        Revoked::Session(id) => id
            .as_bytes()
            .first_chunk()
            .map(|eight| u64::from_le_bytes(*eight)),
        Revoked::Token(id) => id
            .as_bytes()
            .first_chunk()
            .map(|eight| u64::from_le_bytes(*eight) ^ TOKEN),
        Revoked::Subject { .. } | Revoked::Before(_) => None,
    }
}

impl Settled {
    fn may_hold(&self, what: &Revoked) -> bool {
        hash(what).is_some_and(|hash| self.filter.contains(&hash))
    }
}

impl Revocations {
    /// Nothing is called back yet. `run` names this process to those who follow.
    #[must_use]
    pub fn new(run: u64) -> Self {
        Self {
            revision: AtomicU64::new(0),
            before: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            known: RwLock::default(),
            log: Log::new(run),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever anything is added: a token that was good at this count is good while the count is the same.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether a token was called back, as far as is known here.
    #[must_use]
    pub fn standing(&self, issued: &Issued) -> Standing {
        let before = self.before.load(Ordering::Acquire);
        if issued.generation < before {
            return Standing::Revoked;
        }
        let known = self.read();
        let floor = known.subjects.get(&issued.subject);
        if floor.is_some_and(|floor| issued.generation < floor.generation)
            || known.sessions.contains_key(&issued.session)
            || known.tokens.contains_key(&issued.token)
        {
            return Standing::Revoked;
        }
        let settled = known.settled.as_ref().is_some_and(|settled| {
            (settled.kinds.sessions && settled.may_hold(&Revoked::Session(issued.session)))
                || (settled.kinds.tokens && settled.may_hold(&Revoked::Token(issued.token)))
        });
        if settled || known.doubted.contains(&issued.session) {
            Standing::Perhaps
        } else {
            Standing::Good
        }
    }

    /// The least generation that a new token of this subject must have.
    #[must_use]
    pub fn floor(&self, subject: &SubjectTag) -> u64 {
        let before = self.before.load(Ordering::Acquire);
        let floor = self
            .read()
            .subjects
            .get(subject)
            .map(|floor| floor.generation);
        floor.unwrap_or_default().max(before)
    }

    /// Whether a write about this session may have happened without anything of it being known here.
    #[must_use]
    pub fn is_doubted(&self, session: &SessionId) -> bool {
        self.read().doubted.contains(session)
    }

    /// Adds an entry, and tells those who follow, unless it was known. From here on no token that it blocks is good.
    pub fn put(&self, entry: Entry) {
        let known = self.knows(&entry);
        self.take_up(entry);
        if !known {
            self.log.add(entry);
        }
    }

    /// As [`Revocations::put`], of an entry that is about to be written: whoever begins to follow meanwhile finds it in
    /// [`Revocations::ahead`], if not in the store.
    pub fn put_ahead(&self, entry: Entry) {
        // First: whoever takes the place after it must find it.
        self.write().ahead.insert(entry);
        self.put(entry);
    }

    /// The entries that are perhaps not in the store.
    #[must_use]
    pub fn ahead(&self) -> Vec<Entry> {
        self.read().ahead.iter().copied().collect()
    }

    /// It was found in the store.
    pub fn written(&self, entry: &Entry) {
        self.write().ahead.remove(entry);
    }

    /// Whether an entry adds nothing to what is known. One that lies in the filter is not looked for.
    fn knows(&self, entry: &Entry) -> bool {
        let known = self.read();
        let there = match entry.what {
            Revoked::Session(id) => known.sessions.get(&id).copied(),
            Revoked::Token(id) => known.tokens.get(&id).copied(),
            Revoked::Subject { tag, generation } => known
                .subjects
                .get(&tag)
                .filter(|floor| floor.generation >= generation)
                .map(|floor| floor.until),
            Revoked::Before(at) => {
                (self.before.load(Ordering::Acquire) >= at.as_millis()).then_some(Timestamp::NEVER)
            }
        };
        there.is_some_and(|until| until >= entry.until)
    }

    /// Adds an entry that those who follow know from elsewhere: of before the start, or of a snapshot.
    pub fn take_up(&self, entry: Entry) {
        let mut known = self.write();
        match entry.what {
            Revoked::Session(id) => {
                known.doubted.remove(&id);
                longer(known.sessions.entry(id).or_default(), entry.until);
            }
            Revoked::Token(id) => longer(known.tokens.entry(id).or_default(), entry.until),
            Revoked::Subject { tag, generation } => {
                let floor = known.subjects.entry(tag).or_insert(Floor {
                    generation,
                    until: entry.until,
                });
                floor.generation = floor.generation.max(generation);
                floor.until = floor.until.max(entry.until);
            }
            Revoked::Before(at) => {
                self.before.fetch_max(at.as_millis(), Ordering::AcqRel);
                // It calls back everything that there might be something forgotten of.
                if at.as_millis() > self.forgotten.load(Ordering::Acquire) {
                    self.forgotten.store(0, Ordering::Release);
                }
            }
        }
        drop(known);
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// A write about this session was cut off or failed, and may have happened: its tokens are asked about.
    pub fn doubt(&self, session: SessionId) {
        let mut known = self.write();
        if !known.sessions.contains_key(&session) {
            known.doubted.insert(session);
        }
        drop(known);
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// The sessions that are in doubt.
    #[must_use]
    pub fn doubted(&self) -> Vec<SessionId> {
        self.read().doubted.iter().copied().collect()
    }

    /// The store was asked, and nothing had happened.
    pub fn trust(&self, session: &SessionId) {
        self.write().doubted.remove(session);
    }

    /// Whether what called a token back may have been forgotten, because the token had run out: one that is taken until
    /// `until` is over for good, wherever the clock went since. Ask it before [`Revocations::standing`].
    #[must_use]
    pub fn has_forgotten(&self, until: Timestamp) -> bool {
        until.as_millis() <= self.forgotten.load(Ordering::Acquire)
    }

    /// Forgets what has run out: no token that it blocked is good any more.
    pub fn forget(&self, now: Timestamp) {
        let mut known = self.write();
        self.forgotten.fetch_max(now.as_millis(), Ordering::AcqRel);
        known.sessions.retain(|_, until| *until > now);
        known.tokens.retain(|_, until| *until > now);
        known.subjects.retain(|_, floor| floor.until > now);
        known.ahead.retain(|entry| entry.until > now);
        if known
            .settled
            .as_ref()
            .is_some_and(|settled| settled.until <= now)
        {
            known.settled = None;
        }
    }

    /// Whether there are so many new entries that a filter of all is worth making; then what [`Gathered`] begins with.
    #[must_use]
    pub fn crowded(&self) -> Option<Gathered> {
        let known = self.read();
        let new = known.sessions.len().saturating_add(known.tokens.len());
        let settled = known.settled.as_ref().map_or(0, |settled| settled.entries);
        (new > MANY.max(settled / 4)).then(|| {
            let mut gathered = Gathered {
                hashes: Vec::with_capacity(new.saturating_add(settled)),
                kinds: Kinds::default(),
                until: Timestamp::ZERO,
                sessions: known.sessions.keys().copied().collect(),
                tokens: known.tokens.keys().copied().collect(),
            };
            // Whoever asked the store about it might find nothing: it stays where it is.
            for entry in &known.ahead {
                match entry.what {
                    Revoked::Session(id) => gathered.sessions.remove(&id),
                    Revoked::Token(id) => gathered.tokens.remove(&id),
                    Revoked::Subject { .. } | Revoked::Before(_) => false,
                };
            }
            gathered
        })
    }

    /// Puts a filter in the place of the entries it was made of. `gathered` must hold every entry that was there when
    /// [`Revocations::crowded`] was asked and has not run out; what came after that stays as it is.
    pub fn settle(&self, mut gathered: Gathered) {
        gathered.hashes.sort_unstable();
        gathered.hashes.dedup();
        let entries = gathered.hashes.len();
        // It is made of distinct numbers; if none can be made all the same, the tables stay.
        let Ok(filter) = BinaryFuse16::try_from(gathered.hashes.as_slice()) else {
            return;
        };
        let settled = Settled {
            filter,
            kinds: gathered.kinds,
            entries,
            until: gathered.until,
        };
        let mut known = self.write();
        let held = |what: &Revoked| settled.may_hold(what);
        known
            .sessions
            .retain(|id, _| !(gathered.sessions.contains(id) && held(&Revoked::Session(*id))));
        known
            .tokens
            .retain(|id, _| !(gathered.tokens.contains(id) && held(&Revoked::Token(*id))));
        known.sessions.shrink_to_fit();
        known.tokens.shrink_to_fit();
        known.settled = Some(settled);
    }

    /// How many entries there are, those in the filter as they were when it was made.
    #[must_use]
    pub fn len(&self) -> usize {
        let known = self.read();
        let settled = known.settled.as_ref().map_or(0, |settled| settled.entries);
        [
            known.sessions.len(),
            known.tokens.len(),
            known.subjects.len(),
            settled,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Whether nothing is called back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.before.load(Ordering::Acquire) == 0
    }

    /// The bytes that the filter takes, if there is one.
    #[must_use]
    pub fn filter_bytes(&self) -> usize {
        let known = self.read();
        let settled = known.settled.as_ref();
        settled.map_or(0, |settled| {
            settled.filter.len().saturating_mul(size_of::<u16>())
        })
    }

    /// What there is for somebody who follows from a place.
    #[must_use]
    pub fn since(&self, place: Option<Place>) -> Followed {
        self.log.since(place)
    }

    /// Begins to listen for entries. Take it before asking [`Revocations::since`], so that none falls between.
    #[must_use]
    pub fn listen(&self) -> Heard {
        self.log.listen()
    }
}

fn longer(there: &mut Timestamp, until: Timestamp) {
    *there = until.max(*there);
}

#[cfg(test)]
mod tests;
