//! What an operator is shown of identities, sessions and keys: types without a field that could hold a secret.

use serde::{Deserialize, Serialize};
use wirebound::engine::{IdentitySummary, KeySummary, SessionSummary};
use wirebound::{KeyRefusal, Timestamp};
use wirebound_assertion::Listed;

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
            raised_until: summary.raised_until.map(Timestamp::as_millis),
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

/// An API key. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiKeyFacts {
    /// Its public name.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Whose it is.
    pub owner: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: u64,
    /// When its time is over, if ever.
    pub expires: Option<u64>,
    /// When it was last given a new secret.
    pub rotated: Option<u64>,
    /// Until when the secret before is good as well.
    pub overlap_until: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// By whom, or by what.
    pub revoked_by: Option<String>,
    /// When it was last taken.
    pub last_used: Option<u64>,
    /// `good`, or why it is refused.
    pub state: String,
}

impl ApiKeyFacts {
    pub(super) fn of(summary: &KeySummary) -> Self {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        Self {
            id: summary.id.to_string(),
            label: summary.label.to_string(),
            owner: summary.owner.to_string(),
            scopes: summary.scopes.iter().map(ToOwned::to_owned).collect(),
            created: summary.created.as_millis(),
            expires: millis(summary.expires),
            rotated: millis(summary.rotated),
            overlap_until: millis(summary.overlap_until),
            revoked: millis(summary.revoked.map(|(at, _)| at)),
            revoked_by: summary.revoked.map(|(_, by)| by.name().to_owned()),
            last_used: millis(summary.last_used),
            state: summary.refused.map_or("good", KeyRefusal::name).to_owned(),
        }
    }
}

/// The public side of a key that signs assertions. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SigningKeyFacts {
    /// Its name.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: String,
    /// `published`, `signing` or `retiring`.
    pub state: String,
    /// Since when it is published.
    pub published: u64,
    /// From when on it signs, or signed.
    pub since: u64,
    /// When the next one signs in its place, if that is planned.
    pub stops: Option<u64>,
    /// When it is believed no more, if that is planned.
    pub gone: Option<u64>,
}

impl SigningKeyFacts {
    pub(super) fn of(key: &Listed) -> Self {
        Self {
            kid: key.kid.to_string(),
            algorithm: key.algorithm.name().to_owned(),
            state: key.state.name().to_owned(),
            published: key.published.as_millis(),
            since: key.since.as_millis(),
            stops: key.stops.map(Timestamp::as_millis),
            gone: key.until.map(Timestamp::as_millis),
        }
    }
}
