//! Roles and strengths: the two orders that a route may set a least value in.

use core::fmt;

/// A role's rank: `guest` < named roles < `user` < named roles < `admin`.
///
/// The engine compares ranks; the names between the three fixed ones are the configuration's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(u8);

impl Role {
    /// Somebody the app handed a session without a sign-in.
    pub const GUEST: Self = Self(0);
    /// Signed in.
    pub const USER: Self = Self(64);
    /// One session at a time, two hours, `wire` strength.
    pub const ADMIN: Self = Self(255);

    /// A role of this rank.
    #[must_use]
    pub const fn ranked(rank: u8) -> Self {
        Self(rank)
    }

    /// What of it may be used with a proof of this strength: above `user` only what is strong enough.
    #[must_use]
    pub fn usable_with(self, strength: Strength, above_user: Strength) -> Self {
        if strength < above_user {
            self.min(Self::USER)
        } else {
            self
        }
    }

    /// Its rank.
    #[must_use]
    pub const fn rank(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::GUEST => f.write_str("guest"),
            Self::USER => f.write_str("user"),
            Self::ADMIN => f.write_str("admin"),
            Self(rank) => write!(f, "role-{rank}"),
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Role({self})")
    }
}

/// How strong a proof is. The order is the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new strength must be met by every comparison"
)]
pub enum Strength {
    /// A string that anybody who holds it may use.
    Bearer,
    /// The rolling secret; what grows from it is never more.
    Ticket,
    /// This connection, or one it was resumed from, goes back to the sign-in.
    Wire,
    /// A key that cannot be exported signed.
    Device,
}

impl Strength {
    /// Its name in configuration, headers and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Ticket => "ticket",
            Self::Wire => "wire",
            Self::Device => "device",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
