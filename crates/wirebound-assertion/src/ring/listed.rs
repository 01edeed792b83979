//! What an operator sees of a ring: names and times, and no field that could hold a key.

use core::fmt;

use wirebound::Timestamp;

use crate::algorithm::Algorithm;
use crate::keys::Kid;

/// A key of the ring as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub kid: Kid,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub state: State,
    /// Since when it is published.
    pub published: Timestamp,
    /// From when on it signs, or signed.
    pub since: Timestamp,
    /// When the next one signs in its place, if that is planned.
    pub stops: Option<Timestamp>,
    /// Until when it is believed, if that is planned.
    pub until: Option<Timestamp>,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new state must be met by everybody who shows keys"
)]
pub enum State {
    /// Everybody can fetch it; it signs nothing yet.
    Published,
    /// It signs.
    Signing,
    /// It signs no more; its last tokens are still believed.
    Retiring,
}

impl State {
    /// Its name towards operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Retiring => "retiring",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
