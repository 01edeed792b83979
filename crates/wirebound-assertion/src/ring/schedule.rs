//! When keys follow one another.

use core::fmt;

use wirebound::Lifetime;

use crate::check::{LEEWAY, LONGEST_LIFE};

/// How long a key signs, how long it is shown before, and how long it checks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(super) period: Lifetime,
    pub(super) lead: Lifetime,
    pub(super) tail: Lifetime,
}

impl Schedule {
    /// Each key signs for `period`, is published for `lead` before, and is believed for `tail` after.
    ///
    /// # Errors
    ///
    /// When a verifier could meet a key that it cannot know yet (no lead), a token could outlive its key (a tail shorter
    /// than [`LONGEST_LIFE`]), or lead or tail is longer than the period.
    pub fn new(period: Lifetime, lead: Lifetime, tail: Lifetime) -> Result<Self, ScheduleError> {
        if lead == Lifetime::ZERO {
            return Err(ScheduleError::Lead);
        }
        if tail < LONGEST_LIFE {
            return Err(ScheduleError::Tail);
        }
        if period < lead || period < tail {
            return Err(ScheduleError::Period);
        }
        Ok(Self { period, lead, tail })
    }

    /// For how long a fetched set of keys may be kept (`max-age`): half the lead, so that every verifier has asked again
    /// before a new key signs.
    #[must_use]
    pub const fn max_age(&self) -> Lifetime {
        Lifetime::from_millis(self.lead.as_millis() / 2)
    }
}

impl Default for Schedule {
    /// 30 days, an hour, and as long as the last token can be believed.
    fn default() -> Self {
        Self {
            period: Lifetime::from_days(30),
            lead: Lifetime::from_hours(1),
            tail: Lifetime::from_millis(
                LONGEST_LIFE.as_millis().saturating_add(LEEWAY.as_millis()),
            ),
        }
    }
}

/// A schedule under which tokens would fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A key would sign at once, before any verifier has fetched it.
    Lead,
    /// A key would be gone while its tokens live.
    Tail,
    /// The period is shorter than the lead or the tail.
    Period,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lead => f.write_str(
                "a key must be published before it signs; say for how long, an hour is usual",
            ),
            Self::Tail => write!(
                f,
                "a key must be believed for at least {} seconds after it has signed last",
                LONGEST_LIFE.as_secs()
            ),
            Self::Period => f.write_str(
                "a key must sign for longer than it is published before and believed after",
            ),
        }
    }
}

impl core::error::Error for ScheduleError {}
