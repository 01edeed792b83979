//! What may be shown of a session: a type without a field that could hold a secret.

use super::Engine;
use crate::ids::{Authority, SESSION_ID_BYTES, SessionId, Subject};
use crate::record::Record;
use crate::role::Role;
use crate::store::{Space, StoreError};
use crate::time::Timestamp;

/// A session, for its owner's and an operator's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Its public id.
    pub id: SessionId,
    /// Who.
    pub subject: Subject,
    /// The host it was made for.
    pub authority: Authority,
    /// The role in force.
    pub role: Role,
    /// When the raised role falls back, if it is raised.
    pub raised_until: Option<Timestamp>,
    /// When it began.
    pub created: Timestamp,
    /// When it is over if nothing happens.
    pub idle_until: Timestamp,
    /// When it is over whatever happens.
    pub absolute_until: Timestamp,
    /// When something last happened on it.
    pub last_active: Timestamp,
    /// How many families belong to it.
    pub families: usize,
    /// How many connections hold it here.
    pub wires: usize,
    /// Where it was last proved from: address and client.
    pub last_side: String,
}

/// Where a walk over everybody's sessions stands: behind this one, in the order of when they are due to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a place in an order of two parts; whoever walks keeps it as he likes"
)]
pub struct SessionsAfter {
    /// When that session was due.
    pub due: Timestamp,
    /// Which it was.
    pub id: SessionId,
}

/// A part of a walk over everybody's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionsPage {
    /// Those that live.
    pub sessions: Vec<SessionSummary>,
    /// How many rows no key of this node reads.
    pub unreadable: usize,
    /// Where to go on; nothing after the last.
    pub next: Option<SessionsAfter>,
}

impl Engine {
    /// A live session, if there is one of this id.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn session(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<SessionSummary>, StoreError> {
        let Some(held) = self.load_record(&id).await? else {
            return Ok(None);
        };
        let record = held.value;
        let Some(identity) = self.load_identity(&record.subject).await? else {
            return Ok(None);
        };
        if self.over(&record, &identity.value, now).is_some() {
            return Ok(None);
        }
        let last_active = record
            .seen
            .max(self.bonds.last_active(id).unwrap_or_default());
        let raised = record.raised().filter(|raised| now < raised.until);
        Ok(Some(SessionSummary {
            id,
            role: record.role_at(identity.value.ceiling(), now),
            raised_until: raised.map(|raised| raised.until),
            created: record.created,
            idle_until: last_active
                .after(self.idle_of(&record))
                .min(record.absolute),
            absolute_until: record.absolute,
            last_active,
            families: record.families.len(),
            wires: self.bonds.wires(id).len(),
            last_side: record.last_side,
            subject: record.subject,
            authority: record.authority,
        }))
    }

    /// All live sessions of a subject, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn sessions_of(
        &self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Vec<SessionSummary>, StoreError> {
        let Some(identity) = self.load_identity(subject).await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for listed in &identity.value.sessions {
            found.extend(self.session(listed.id, now).await?);
        }
        found.sort_by_key(|summary| (summary.created, summary.id));
        Ok(found)
    }
    /// Live sessions of everybody, at most this many rows at a time. What is used meanwhile moves back in the order: it
    /// may be met twice, and is not missed.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn sessions(
        &self,
        after: Option<SessionsAfter>,
        most: usize,
        now: Timestamp,
    ) -> Result<SessionsPage, StoreError> {
        let after = after.map(|after| (after.due, Record::key(&after.id)));
        let rows = self
            .store
            .due(Space::Session, Timestamp::NEVER, after, most)
            .await?;
        let mut page = SessionsPage {
            sessions: Vec::new(),
            unreadable: 0,
            next: None,
        };
        for (due, key) in rows {
            let Ok(bytes) = <[u8; SESSION_ID_BYTES]>::try_from(key.name()) else {
                page.unreadable = page.unreadable.saturating_add(1);
                continue;
            };
            let id = SessionId::from_bytes(bytes);
            page.next = Some(SessionsAfter { due, id });
            match self.session(id, now).await {
                Ok(session) => page.sessions.extend(session),
                // One record that does not read back must not hide all the others.
                Err(error) if error.is_corrupt() => {
                    page.unreadable = page.unreadable.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }
}
