//! What the table is told of a session and what it answers: plain values, none of them a secret.

use core::fmt;

use crate::{Lifetime, Role, SessionId, Timestamp};

/// What the table knows of one session.
///
/// Moments are kept to the millisecond up to the year 2527, an idle time up to 34 years; what lies beyond is cut down
/// to that, never lengthened. [`Timestamp::NEVER`] stays what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "every field has to be said for a session to be believed"
)]
pub struct Live {
    /// The session's public id.
    pub id: SessionId,
    /// 48 bits of a keyed MAC over the id: where the index looks. Never chosen by a stranger.
    pub place: u64,
    /// Short keyed digest of the current secret.
    pub digest: [u8; 16],
    /// The session's own role.
    pub role: Role,
    /// The role in force by elevation, and when that ends.
    pub raised: Option<(Role, Timestamp)>,
    /// The identity's ceiling: no role in force is above it.
    pub ceiling: Role,
    /// Whether the identity is blocked.
    pub blocked: bool,
    /// When the identity expires.
    pub identity_until: Timestamp,
    /// When the session is over, whatever is done with it.
    pub absolute: Timestamp,
    /// How long the session may be left alone.
    pub idle: Lifetime,
    /// When it was last used.
    pub last_active: Timestamp,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("raised", &self.raised)
            .field("ceiling", &self.ceiling)
            .field("blocked", &self.blocked)
            .field("identity_until", &self.identity_until)
            .field("absolute", &self.absolute)
            .field("idle", &self.idle)
            .field("last_active", &self.last_active)
            .finish_non_exhaustive()
    }
}

/// What a believed session may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The role in force: the raised one while it lasts, else the session's own, never above the ceiling.
    pub role: Role,
}

/// Why a session is not to be believed any more.
///
/// Once one of the three that time brings was answered it stays the answer, also if the clock goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new reason must be met by every caller"
)]
pub enum Over {
    /// Not in the table any more. Not a verdict: the store is asked.
    Gone,
    /// The identity is blocked.
    Blocked,
    /// The identity's time is over.
    IdentityExpired,
    /// The session's time is over.
    Absolute,
    /// The session was left alone for too long.
    Idle,
}
