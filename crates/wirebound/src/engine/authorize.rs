//! The hot path: a request on a wire that was proved before. No store, no allocation, one short hash.

use super::Engine;
use crate::cookie::Presented;
use crate::ids::Authority;
use crate::table::Over;
use crate::time::Timestamp;
use crate::verdict::{Refusal, Verified};
use crate::wire::{HandOverKind, Recognised, Wire};

/// What the wire alone can say about a request.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a caller must meet each")]
pub enum Authorized {
    /// It is attached, and the secret is one it was given or has shown.
    Accepted(Verified),
    /// It cannot say: the store must be asked ([`Engine::prove`]).
    Ask,
}

impl Engine {
    /// Checks a cookie against what this wire has proved. One lookup; it checks session, identity and idle time each
    /// time, and refreshes when the session was last active.
    ///
    /// What is not accepted here is not refused: time may have moved on in the store, so it is judged there.
    ///
    /// # Security
    ///
    /// A session belongs to the host it was made for. Where one wire may ask for several (no TLS, no SNI), use
    /// [`Engine::authorize_at`].
    #[must_use]
    pub fn authorize(&self, wire: &Wire, presented: &Presented, now: Timestamp) -> Authorized {
        self.authorize_on(wire, presented, None, now)
    }

    /// As [`Engine::authorize`], for a request to this host: the session of another is not known here.
    #[must_use]
    pub fn authorize_at(
        &self,
        wire: &Wire,
        presented: &Presented,
        authority: &Authority,
        now: Timestamp,
    ) -> Authorized {
        self.authorize_on(wire, presented, Some(authority), now)
    }

    fn authorize_on(
        &self,
        wire: &Wire,
        presented: &Presented,
        authority: Option<&Authority>,
        now: Timestamp,
    ) -> Authorized {
        match wire
            .core
            .recognise(presented.id, &presented.digest.short(), authority, now)
        {
            Recognised::Known(verified) => {
                if wire.core.changes_session(presented.id)
                    && self.takes_turns(wire, presented.id, verified.subject())
                {
                    return Authorized::Ask;
                }
                Authorized::Accepted(verified)
            }
            Recognised::Over | Recognised::OtherSecret(_) | Recognised::Stranger => Authorized::Ask,
        }
    }

    /// A raw socket, or a WebSocket whose handshake was authorised: the wire alone is the credential.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if nobody signed in on it, else why the session is over.
    pub fn authorize_wire(&self, wire: &Wire, now: Timestamp) -> Result<Verified, Refusal> {
        let standing = wire.core.alone(now).ok_or(Refusal::Unauthenticated)?;
        standing.map_err(|over| match over {
            Over::Gone => Refusal::Unauthenticated,
            Over::Blocked => Refusal::Blocked,
            Over::IdentityExpired => Refusal::PhantomSession(crate::verdict::Ending::Removed),
            Over::Absolute => Refusal::SessionExpired(crate::verdict::Ending::ExpiredAbsolute),
            Over::Idle => Refusal::SessionExpired(crate::verdict::Ending::ExpiredIdle),
        })
    }

    /// A cookie whose session is live in this process, whatever wire it came on: strength `bearer`, nothing attached.
    /// For comparison and for listeners that bind no wires.
    #[must_use]
    pub fn recall(
        &self,
        presented: &Presented,
        now: Timestamp,
    ) -> Option<Result<crate::table::Standing, Over>> {
        self.bonds.table().check_by_id(
            presented.place,
            presented.id,
            &presented.digest.short(),
            now,
        )
    }

    /// Whether this wire should hand its client over to a connection with tickets, at a request that can follow a 307.
    #[must_use]
    pub fn hand_over_due(
        &self,
        wire: &Wire,
        verified: &Verified,
        now: Timestamp,
    ) -> Option<HandOverKind> {
        let policy = &self.policy;
        wire.core.hand_over_due(
            verified.session(),
            policy.hand_over,
            policy.renew_family,
            now,
        )
    }
}
