//! What an operator is shown of identities and sessions: types without a field that could hold a secret.

use serde::{Deserialize, Serialize};
use wirebound::engine::{IdentitySummary, SessionSummary};

use super::words::harmless;

/// What is kept of a subject. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IdentityFacts {
    /// Who.
    pub subject: String,
    /// The highest role that any of its sessions may have.
    pub ceiling: String,
    /// It may not sign in.
    pub blocked: bool,
    /// Its admin role was taken over too often.
    pub frozen: bool,
    /// It was removed; only the generation is kept.
    pub removed: bool,
    /// When what it learnt by itself runs out.
    pub expires: u64,
    /// Only grows.
    pub generation: u64,
    /// The ids of its sessions.
    pub sessions: Vec<String>,
}

impl IdentityFacts {
    pub(super) fn of(summary: &IdentitySummary) -> Self {
        Self {
            subject: summary.subject.to_string(),
            ceiling: summary.ceiling.to_string(),
            blocked: summary.blocked,
            frozen: summary.frozen,
            removed: summary.removed,
            expires: summary.expires.as_millis(),
            generation: summary.generation,
            sessions: summary.sessions.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A live session. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SessionFacts {
    /// Its public id.
    pub id: String,
    /// Who.
    pub subject: String,
    /// The host it was made for.
    pub authority: String,
    /// The role in force.
    pub role: String,
    /// When the raised role falls back, if it is raised.
    pub raised_until: Option<u64>,
    /// When it began.
    pub created: u64,
    /// When something last happened on it.
    pub last_active: u64,
    /// When it is over if nothing happens.
    pub idle_until: u64,
    /// When it is over whatever happens.
    pub absolute_until: u64,
    /// How many families belong to it.
    pub families: usize,
    /// How many connections hold it; none while no gateway runs.
    pub wires: usize,
    /// Where it was last proved from: address and client.
    pub last_side: String,
}

impl SessionFacts {
    pub(super) fn of(summary: &SessionSummary) -> Self {
        Self {
            id: summary.id.to_string(),
            subject: summary.subject.to_string(),
            authority: summary.authority.to_string(),
            role: summary.role.to_string(),
            raised_until: summary.raised_until.map(wirebound::Timestamp::as_millis),
            created: summary.created.as_millis(),
            last_active: summary.last_active.as_millis(),
            idle_until: summary.idle_until.as_millis(),
            absolute_until: summary.absolute_until.as_millis(),
            families: summary.families,
            wires: summary.wires,
            last_side: harmless(&summary.last_side),
        }
    }
}
