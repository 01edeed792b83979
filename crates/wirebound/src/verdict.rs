//! What a judgement can come to: accept, challenge or refuse, each with its reason.

use core::fmt;
use std::sync::Arc;

use crate::ids::{SessionId, Subject};
use crate::revocation::Issued;
use crate::role::{Role, Strength};
use crate::time::Timestamp;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new ending must be met by every table of close codes"
)]
pub enum Ending {
    /// Its owner signed out.
    Logout,
    /// Nothing happened on it for too long.
    ExpiredIdle,
    /// Its time is over, whatever happened on it.
    ExpiredAbsolute,
    /// An operator or its owner ended it from elsewhere.
    Revoked,
    /// A newer session took its place under a limit.
    Evicted,
    /// Two parties were seen holding it.
    Theft,
    /// Its identity was removed, blocked or ran out.
    Removed,
    /// A sign-in that named it made a new one.
    Replaced,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 8] = [
        Self::Logout,
        Self::ExpiredIdle,
        Self::ExpiredAbsolute,
        Self::Revoked,
        Self::Evicted,
        Self::Theft,
        Self::Removed,
        Self::Replaced,
    ];

    /// Its name in events, close reasons and problem documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::ExpiredIdle => "expired_idle",
            Self::ExpiredAbsolute => "expired_absolute",
            Self::Revoked => "revoked",
            Self::Evicted => "evicted",
            Self::Theft => "theft",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
        }
    }

    /// Whether time alone ended it.
    #[must_use]
    pub const fn is_expiry(self) -> bool {
        matches!(self, Self::ExpiredIdle | Self::ExpiredAbsolute)
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Logout => 1,
            Self::ExpiredIdle => 2,
            Self::ExpiredAbsolute => 3,
            Self::Revoked => 4,
            Self::Evicted => 5,
            Self::Theft => 6,
            Self::Removed => 7,
            Self::Replaced => 8,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|ending| ending.number() == number)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request is refused. Fine in here; one function outside maps it to what the client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// What was sent cannot be read, or says two things at once.
    Malformed,
    /// Nothing was offered, or nothing that this node ever made.
    Unauthenticated,
    /// A genuine secret of a session that was ended.
    PhantomSession(Ending),
    /// A genuine secret, but its time is over.
    SessionExpired(Ending),
    /// The subject is blocked.
    Blocked,
    /// The request came from elsewhere.
    CsrfSurprise,
    /// A genuine secret on a wire that proves nothing, and nobody else of the session is there.
    NotProven,
    /// A genuine secret on a wire that proves nothing, while its owner is connected.
    Contested,
    /// A genuine ticket that was superseded longer ago than honest clients show one.
    OutOfSequence,
    /// A ticket whose successors were offered often enough, and none was ever shown.
    TicketNotTaken,
    /// A ticket that went unrenewed for too long while nothing of its session was connected.
    SecretExpired,
    /// The role in force is below what is asked for.
    InsufficientRole,
    /// The proof is weaker than what is asked for.
    InsufficientStrength,
    /// A sign-in over a wire that several people share: no session could be proved over it.
    SharedWire,
    /// The ceiling would allow it; an elevation on a wire of strength `wire` is missing.
    StepUpRequired,
    /// An API key is asked for, and none was shown.
    KeyMissing,
    /// An API key that is none, is over, or was offered where a session is asked for.
    KeyRefused,
    /// The API key is good, and has not the scope that is asked for.
    InsufficientScope,
    /// No rule lets anybody do this.
    Forbidden,
    /// The authority asked for is not the connection's.
    Misdirected,
    /// The store or the clock cannot say.
    StoreUnavailable,
}

impl Refusal {
    /// Every refusal; those that carry an ending, once.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::PhantomSession(Ending::Logout),
        Self::SessionExpired(Ending::ExpiredIdle),
        Self::Blocked,
        Self::CsrfSurprise,
        Self::NotProven,
        Self::Contested,
        Self::OutOfSequence,
        Self::TicketNotTaken,
        Self::SecretExpired,
        Self::InsufficientRole,
        Self::InsufficientStrength,
        Self::SharedWire,
        Self::StepUpRequired,
        Self::KeyMissing,
        Self::KeyRefused,
        Self::InsufficientScope,
        Self::Forbidden,
        Self::Misdirected,
        Self::StoreUnavailable,
    ];

    /// Its name as a metric label and in events: a closed set.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::PhantomSession(_) => "phantom_session",
            Self::SessionExpired(_) | Self::SecretExpired => "session_expired",
            Self::Blocked => "blocked",
            Self::CsrfSurprise => "csrf_surprise",
            Self::NotProven => "not_proven",
            Self::Contested => "contested",
            Self::OutOfSequence => "out_of_sequence",
            Self::TicketNotTaken => "ticket_not_taken",
            Self::InsufficientRole => "insufficient_role",
            Self::InsufficientStrength | Self::SharedWire => "insufficient_strength",
            Self::StepUpRequired => "step_up_required",
            Self::KeyMissing => "key_missing",
            Self::KeyRefused => "key_refused",
            Self::InsufficientScope => "insufficient_scope",
            Self::Forbidden => "forbidden",
            Self::Misdirected => "misdirected",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// The event that tells an operator of it. Most are told as `refused`, with their name as the reason.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::PhantomSession(_) => "phantom_session",
            Self::CsrfSurprise => "csrf_surprise",
            Self::NotProven => "not_proven",
            Self::Contested => "contested",
            Self::KeyRefused => "key_refused",
            Self::Malformed
            | Self::Unauthenticated
            | Self::SessionExpired(_)
            | Self::Blocked
            | Self::OutOfSequence
            | Self::TicketNotTaken
            | Self::SecretExpired
            | Self::InsufficientRole
            | Self::InsufficientStrength
            | Self::SharedWire
            | Self::StepUpRequired
            | Self::KeyMissing
            | Self::InsufficientScope
            | Self::Forbidden
            | Self::Misdirected
            | Self::StoreUnavailable => "refused",
        }
    }

    /// Whether this is only a cookie that proves nothing, so that where a route asks for nothing the request
    /// goes on as if no cookie had come.
    #[must_use]
    pub const fn counts_as_no_cookie(self) -> bool {
        match self {
            Self::Unauthenticated
            | Self::PhantomSession(_)
            | Self::SessionExpired(_)
            | Self::Blocked
            | Self::NotProven
            | Self::Contested
            | Self::OutOfSequence
            | Self::TicketNotTaken
            | Self::SecretExpired => true,
            Self::Malformed
            | Self::CsrfSurprise
            | Self::InsufficientRole
            | Self::InsufficientStrength
            | Self::SharedWire
            | Self::StepUpRequired
            | Self::KeyMissing
            | Self::KeyRefused
            | Self::InsufficientScope
            | Self::Forbidden
            | Self::Misdirected
            | Self::StoreUnavailable => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a wire or a family of a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the table of who is heard knows these two"
)]
pub enum Stock {
    /// Attached by a ticket, or grown from such a wire; never more than `ticket`.
    Graft,
    /// Goes back to the sign-in or to a device proof.
    Trunk,
}

impl Stock {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Graft => "graft",
            Self::Trunk => "trunk",
        }
    }

    /// The strength of what grows from it.
    #[must_use]
    pub const fn strength(self) -> Strength {
        match self {
            Self::Graft => Strength::Ticket,
            Self::Trunk => Strength::Wire,
        }
    }
}

/// What attached a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// The sign-in itself came over it.
    SignIn,
    /// It was resumed from a family of the session.
    Lineage,
    /// It showed the hand-over nonce.
    HandOver,
    /// A proved wire brought back its nonce.
    Echo,
    /// A ticket was shown while nothing of the session was connected.
    Ticket,
}

impl By {
    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Lineage => "lineage",
            Self::HandOver => "hand_over",
            Self::Echo => "echo",
            Self::Ticket => "ticket",
        }
    }
}

/// What a route asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Need {
    /// Least role in force.
    pub role: Option<Role>,
    /// Least strength.
    pub strength: Option<Strength>,
}

impl Need {
    /// Nothing: anybody may come, signed in or not.
    pub const NOTHING: Self = Self {
        role: None,
        strength: None,
    };

    /// A session of this role or more.
    #[must_use]
    pub const fn role(role: Role) -> Self {
        Self {
            role: Some(role),
            strength: None,
        }
    }

    /// Whether a request without a session will do.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.role.is_none() && self.strength.is_none()
    }

    /// Whether what is in force is enough. `ceiling` only chooses between the two ways to say no; `above_user` is the least
    /// strength that a role above `user` asks for ([`crate::Policy::above_user`]).
    ///
    /// # Errors
    ///
    /// `InsufficientRole`, `StepUpRequired` or `InsufficientStrength`.
    pub fn met_by(
        self,
        role: Role,
        ceiling: Role,
        strength: Strength,
        above_user: Strength,
    ) -> Result<(), Refusal> {
        if let Some(least) = self.role
            && role < least
        {
            let raise = ceiling >= least;
            return Err(if raise {
                Refusal::StepUpRequired
            } else {
                Refusal::InsufficientRole
            });
        }
        let of_role = self
            .role
            .filter(|least| *least > Role::USER)
            .map(|_| above_user);
        match self.strength.max(of_role) {
            Some(least) if strength < least => Err(Refusal::InsufficientStrength),
            _ => Ok(()),
        }
    }
}

/// A request that was proved to belong to a session. Only the judge makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    session: SessionId,
    subject: Subject,
    role: Role,
    strength: Strength,
    claim: Option<Arc<ByClaim>>,
}

/// The token that a request was proved by, and by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByClaim {
    pub(crate) issued: Issued,
    pub(crate) expires: Timestamp,
}

impl Verified {
    /// Made from what the judge accepted, and by the hot path from the one that the attachment keeps.
    pub(crate) const fn new(
        session: SessionId,
        subject: Subject,
        role: Role,
        strength: Strength,
    ) -> Self {
        Self {
            session,
            subject,
            role,
            strength,
            claim: None,
        }
    }

    /// By what a token claims: as good as that token, for as long, and for nothing that outlives it.
    pub(crate) fn claimed(self, claim: ByClaim) -> Self {
        Self {
            claim: Some(Arc::new(claim)),
            ..self
        }
    }

    pub(crate) fn claim(&self) -> Option<&Arc<ByClaim>> {
        self.claim.as_ref()
    }

    /// Whether a signed assertion proved the request, and nothing else.
    #[must_use]
    pub const fn is_by_claim(&self) -> bool {
        self.claim.is_some()
    }

    /// When the assertion runs out that alone proved the request: nothing that is made of it is good for longer.
    #[must_use]
    pub fn claimed_until(&self) -> Option<Timestamp> {
        self.claim.as_ref().map(|claim| claim.expires)
    }

    /// The session's public id.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Who.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The role in force.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// How strong the proof was.
    #[must_use]
    pub const fn strength(&self) -> Strength {
        self.strength
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_keep_their_numbers() {
        for ending in Ending::ALL {
            assert_eq!(Ending::from_number(ending.number()), Some(ending));
        }
        assert_eq!(Ending::from_number(0), None);
        assert_eq!(Ending::from_number(9), None);
    }

    #[test]
    fn admin_asks_for_wire_strength_unless_a_route_asks_for_more() {
        let need = Need::role(Role::ADMIN);
        let admin = Role::ADMIN;
        assert_eq!(
            need.met_by(admin, admin, Strength::Ticket, Strength::Wire),
            Err(Refusal::InsufficientStrength)
        );
        assert_eq!(
            need.met_by(admin, admin, Strength::Wire, Strength::Wire),
            Ok(())
        );
        assert_eq!(
            need.met_by(Role::USER, admin, Strength::Wire, Strength::Wire),
            Err(Refusal::StepUpRequired)
        );
        assert_eq!(
            need.met_by(Role::USER, Role::USER, Strength::Wire, Strength::Wire),
            Err(Refusal::InsufficientRole)
        );
        let device = Need {
            role: Some(admin),
            strength: Some(Strength::Device),
        };
        assert_eq!(
            device.met_by(admin, admin, Strength::Wire, Strength::Wire),
            Err(Refusal::InsufficientStrength)
        );
        assert_eq!(
            Need::NOTHING.met_by(Role::GUEST, Role::USER, Strength::Bearer, Strength::Wire),
            Ok(())
        );
    }
}
