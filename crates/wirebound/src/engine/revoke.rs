//! Calling back what was issued: with a session's ending, for one token, for a subject, for everything before a moment.
//!
//! An entry is in the store before anybody is told that it is, in the same commit as what it follows from, and in memory
//! before the caller is answered. A start reads them all before the first request.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Engine, TRIES, let_others, lost_race};
use crate::ids::{SessionId, Subject};
use crate::record::{Carrier, Record};
use crate::revocation::{Entry, Issued, Revocations, Revoked, Standing, TokenId};
use crate::store::{Change, Commit, Durability, Expect, Key, Space, StoreError};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::Ending;

/// How many entries are looked at before others get a turn.
const PAGE: usize = 256;

/// A call that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CalledBack {
    /// How many sessions ended by it.
    pub sessions: usize,
    /// When it was asked for; it is durable, and in force in this process.
    pub at: Timestamp,
}

/// A part of all that is called back, and where the next part begins.
#[derive(Debug)]
#[non_exhaustive]
pub struct RevokedPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Ask with this for what follows; nothing follows without it.
    pub next: Option<(Timestamp, Key)>,
}

/// A step of the clock longer than this, between two tidies a minute apart, is not believed at once.
const STEP: Lifetime = Lifetime::from_mins(10);
/// A clock that went back by no more is one that was put right, as clocks are all the time.
const JITTER: Lifetime = Lifetime::from_secs(5);

/// What was issued here, as far as calling it back must know.
#[derive(Debug, Default)]
pub(super) struct Issues {
    /// The highest generation of any.
    generation: AtomicU64,
    /// The latest moment of any.
    at: AtomicU64,
    /// When it was tidied last.
    tidied: AtomicU64,
}

impl Issues {
    pub(super) fn note(&self, generation: u64, now: Timestamp) {
        self.generation.fetch_max(generation, Ordering::AcqRel);
        self.at.fetch_max(now.as_millis(), Ordering::AcqRel);
    }

    /// Whether the clock is behind what it said before.
    fn went_back(&self, now: Timestamp) -> bool {
        let said = self
            .tidied
            .load(Ordering::Acquire)
            .max(self.at.load(Ordering::Acquire));
        Timestamp::from_millis(said) > now.after(JITTER)
    }

    /// Everything that was issued is called back: it counts from here.
    fn begin_anew(&self, now: Timestamp) {
        self.at.store(now.as_millis(), Ordering::Release);
        self.tidied.store(now.as_millis(), Ordering::Release);
    }

    /// The time that has passed for sure: that of the tidy before, if the clock went on from there as clocks do. One that was
    /// ahead for a moment must not make anybody forget.
    fn time_that_passed(&self, now: Timestamp) -> Option<Timestamp> {
        let before = Timestamp::from_millis(self.tidied.swap(now.as_millis(), Ordering::AcqRel));
        (before <= now && now.since(before) <= STEP).then_some(before)
    }
}

impl Engine {
    /// What is called back, as far as this process knows.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Reads what was called back before this process began. Call it before the first request. Answers how many entries
    /// there are.
    ///
    /// # Errors
    ///
    /// When the store cannot say: then nobody can be believed by an assertion.
    pub async fn recall_revocations(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut after = None;
        loop {
            let page = self.revoked(after, now).await?;
            for entry in page.entries {
                self.revocations.take_up(entry);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.gather(now).await?;
        Ok(self.revocations.len())
    }

    /// All that is called back and has not run out, in parts: for whoever begins to follow. What is added meanwhile may be
    /// in it or not, and is in the feed.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn revoked(
        &self,
        after: Option<(Timestamp, Key)>,
        now: Timestamp,
    ) -> Result<RevokedPage, StoreError> {
        if after.is_some() {
            let_others().await;
        }
        let found = self
            .store
            .due(Space::Revoked, Timestamp::NEVER, after, PAGE)
            .await?;
        let full = found.len() >= PAGE;
        let next = found.last().filter(|_| full).cloned();
        let live = found.iter().filter(|(until, _)| *until > now);
        let entries = live.filter_map(|(until, key)| {
            Some(Entry {
                what: Revoked::of_key(key)?,
                until: *until,
            })
        });
        Ok(RevokedPage {
            entries: entries.collect(),
            next,
        })
    }

    /// Whether a token was called back. Nearly always answered from memory; where only the store knows, it is asked.
    ///
    /// # Errors
    ///
    /// When the store cannot say. Then the token is not accepted.
    pub async fn is_revoked(&self, issued: &Issued, now: Timestamp) -> Result<bool, StoreError> {
        match self.revocations.standing(issued) {
            Standing::Good => Ok(false),
            Standing::Revoked => Ok(true),
            Standing::Perhaps => self.is_revoked_in_store(issued, now).await,
        }
    }

    async fn is_revoked_in_store(
        &self,
        issued: &Issued,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // First: whoever ends the session while the store is asked takes the doubt away.
        let doubted = self.revocations.is_doubted(&issued.session);
        for what in [
            Revoked::Session(issued.session),
            Revoked::Token(issued.token),
        ] {
            if self.store.load(&what.key()).await?.is_some() {
                return Ok(true);
            }
        }
        // What may have happened to it may have been anything: does it still stand as it was issued?
        if doubted && self.session(issued.session, now).await?.is_none() {
            return Ok(true);
        }
        Ok(self.revocations.standing(issued) == Standing::Revoked)
    }

    /// Calls one token back, until it has run out. `false`: it was already.
    ///
    /// # Errors
    ///
    /// When the store cannot say; nothing is promised then.
    pub async fn revoke_token(&self, token: TokenId, until: Timestamp) -> Result<bool, StoreError> {
        let what = Revoked::Token(token);
        self.call_back(Entry { what, until }).await
    }

    /// Calls back everything issued before a moment; no moment: before now. What is issued from now on is good.
    ///
    /// # Errors
    ///
    /// When the store cannot say, or nothing is issued here.
    pub async fn revoke_issued_before(
        &self,
        before: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<CalledBack, StoreError> {
        if let Some(life) = self.policy.assertions {
            let passed = self.issued.tidied.load(Ordering::Acquire);
            let next = Timestamp::from_millis(self.next_generation(passed, now));
            let before = before.unwrap_or(next);
            let entry = Entry {
                what: Revoked::Before(before),
                until: self.last_issue(now).max(before).after(life),
            };
            self.call_back(entry).await?;
        }
        Ok(CalledBack {
            sessions: 0,
            at: now,
        })
    }

    /// Ends all of a subject's sessions and calls back what was issued for it; it may sign in again.
    ///
    /// # Errors
    ///
    /// When the store cannot say; nothing is promised then.
    pub async fn revoke_subject(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<CalledBack, StoreError> {
        if self.load_identity(subject).await?.is_none() {
            return Ok(CalledBack {
                sessions: 0,
                at: now,
            });
        }
        let identity = self
            .change_identity(subject, now, |identity| identity.next_generation(now))
            .await?;
        let sessions = self.end_all(&identity, Ending::Revoked, now).await?;
        Ok(CalledBack { sessions, at: now })
    }

    /// In memory first: whether or not the store takes it, or says so, nobody is let in by what somebody called back.
    async fn call_back(&self, entry: Entry) -> Result<bool, StoreError> {
        let key = entry.what.key();
        self.revocations.put_ahead(entry);
        for _ in 0..TRIES {
            let there = self.store.load(&key).await?;
            let expect = match &there {
                Some(stored) if stored.due >= entry.until => return Ok(false),
                // It was called back for a shorter time.
                Some(stored) => Expect::At(stored.version),
                None => Expect::Absent,
            };
            let put = self.put(key.clone(), expect, Vec::new(), entry.until);
            if self.store.commit(vec![put], Durability::Durable).await? == Commit::Done {
                return Ok(there.is_none());
            }
        }
        Err(lost_race())
    }

    /// The entry that a session's ending makes. A guest is issued nothing.
    pub(super) fn called_back(&self, record: &Record, now: Timestamp) -> Option<Entry> {
        let life = self.policy.assertions?;
        (record.carrier != Carrier::Guest).then(|| Entry {
            what: Revoked::Session(record.id),
            until: self.last_issue(now).after(life),
        })
    }

    /// The entries that call back what was issued for a subject until now.
    pub(super) fn calls_back(
        &self,
        subject: &Subject,
        generation: u64,
        now: Timestamp,
    ) -> Vec<Entry> {
        let Some(life) = self.policy.assertions else {
            return Vec::new();
        };
        let tags: Vec<_> = self.keys.subject_tags(subject).collect();
        let floors = tags.iter().map(|tag| self.revocations.floor(tag));
        let generation = self.next_generation(floors.fold(generation, u64::max), now);
        let entry = |tag| Entry {
            what: Revoked::Subject { tag, generation },
            until: self.last_issue(now).after(life),
        };
        tags.into_iter().map(entry).collect()
    }

    /// Above all that was issued, also where the clock went back.
    fn next_generation(&self, floor: u64, now: Timestamp) -> u64 {
        let issued = self.issued.generation.load(Ordering::Acquire);
        issued.max(floor).max(now.as_millis()).saturating_add(1)
    }

    /// When the last token may have been issued: a clock that was ahead, and was put right, has issued some that run out later
    /// than any other.
    fn last_issue(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp::from_millis(
            self.issued.at.load(Ordering::Acquire),
        ))
    }

    pub(super) fn put_revoked(&self, entry: &Entry) -> Change {
        self.put(entry.what.key(), Expect::Absent, Vec::new(), entry.until)
    }

    /// What is about to be called back is known here, before the store is asked to take it: if nobody can say afterwards
    /// whether it did, no token is good by that.
    pub(super) fn heard_of(&self, entries: &[Entry]) {
        for entry in entries {
            self.revocations.put_ahead(*entry);
        }
    }

    /// What was known here before it was written, and is found in the store, is like any other from here on.
    async fn find_written(&self) -> Result<(), StoreError> {
        for entry in self.revocations.ahead() {
            let stored = self.store.load(&entry.what.key()).await?;
            if stored.is_some_and(|stored| stored.due >= entry.until) {
                self.revocations.written(&entry);
            }
        }
        Ok(())
    }

    /// What has run out goes, what is in doubt is looked up, and where there are very many entries a filter is made.
    /// Call it about once a minute. Answers how many entries went.
    ///
    /// # Errors
    ///
    /// When the store cannot say; the next call goes on.
    pub async fn tidy_revocations(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.settle_revocations(now).await?;
        self.find_written().await?;
        if self.issued.went_back(now) {
            // What was forgotten may be within its times again, and what was issued ahead of its time would have to be
            // remembered until then.
            self.revoke_issued_before(None, now).await?;
            self.issued.begin_anew(now);
            return Ok(0);
        }
        let Some(by) = self.issued.time_that_passed(now) else {
            return Ok(0);
        };
        self.api_keys.passed(by);
        self.revocations.forget(by);
        let mut gone: usize = 0;
        let mut after = None;
        while let Some((keys, next)) = self.due(Space::Revoked, by, after).await? {
            gone = gone.saturating_add(self.sweep_remains(keys).await?);
            after = Some(next);
        }
        self.gather(now).await?;
        Ok(gone)
    }

    /// Looks up what is in doubt. Whoever vouches to others that they were told everything calls it first.
    ///
    /// # Errors
    ///
    /// When the store cannot say: then nobody can vouch.
    pub async fn settle_revocations(&self, now: Timestamp) -> Result<(), StoreError> {
        for session in self.revocations.doubted() {
            match self.settle_doubt(session, now).await {
                // One record that does not read back must keep nothing else from being settled; by it nobody is let in.
                Err(error) if error.is_corrupt() => self.presume_over(session, now),
                settled => settled?,
            }
        }
        Ok(())
    }

    async fn settle_doubt(&self, session: SessionId, now: Timestamp) -> Result<(), StoreError> {
        let what = Revoked::Session(session);
        self.overtake(session).await?;
        match self.store.load(&what.key()).await? {
            Some(stored) => self.revocations.put(Entry {
                what,
                until: stored.due,
            }),
            None if !self.look_after(session, now).await? => self.revocations.trust(&session),
            // It is over: its ending has called back what was issued, or there was no such session.
            None => self.presume_over(session, now),
        }
        Ok(())
    }

    /// Until what may have been issued has run out, nobody is let in by it. In memory alone: it is no fact.
    fn presume_over(&self, session: SessionId, now: Timestamp) {
        let life = self.policy.assertions.unwrap_or(Lifetime::ZERO);
        let until = self.last_issue(now).after(life);
        let what = Revoked::Session(session);
        self.revocations.put(Entry { what, until });
    }

    async fn gather(&self, now: Timestamp) -> Result<(), StoreError> {
        let Some(mut gathered) = self.revocations.crowded() else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let page = self.revoked(after, now).await?;
            page.entries.iter().for_each(|entry| gathered.add(entry));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.revocations.settle(gathered);
        Ok(())
    }
}
