//! Time and randomness, which the engine never asks for itself.
//!
//! A caller passes `now` in; the traits here are what an I/O layer implements. Both may fail: if the
//! clock or the source of randomness cannot say, the answer is not "accept".

use core::fmt;

/// A moment: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first moment there is.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// From milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus a length of time; the end of time is where it stops.
    #[must_use]
    pub const fn after(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_add(lifetime.0))
    }

    /// This moment minus a length of time; the beginning of time is where it stops.
    #[must_use]
    pub const fn before(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_sub(lifetime.0))
    }

    /// How long ago `earlier` was; nothing if it lies ahead (a clock that went back).
    #[must_use]
    pub const fn since(self, earlier: Self) -> Lifetime {
        Lifetime(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u64);

impl Lifetime {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From minutes.
    #[must_use]
    pub const fn from_mins(mins: u64) -> Self {
        Self::from_secs(mins.saturating_mul(60))
    }

    /// From hours.
    #[must_use]
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_mins(hours.saturating_mul(60))
    }

    /// From days of 24 hours.
    #[must_use]
    pub const fn from_days(days: u64) -> Self {
        Self::from_hours(days.saturating_mul(24))
    }

    /// So many times this long.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// In whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }
}

/// Tells the time to an I/O layer. The engine is given what it says.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now, or nothing if the clock cannot say; then nobody is accepted.
    fn now(&self) -> Option<Timestamp>;
}

/// Gives random bytes fit for secrets.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills the whole slice.
    ///
    /// # Errors
    ///
    /// When it cannot; the caller then makes nothing, and never falls back to something weaker.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntropyError;

impl EntropyError {
    /// Says that the source failed.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Default for EntropyError {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of randomness failed")
    }
}

impl core::error::Error for EntropyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_neither_wraps_nor_runs_negative() {
        let now = Timestamp::from_millis(1_000);
        assert_eq!(now.since(Timestamp::from_millis(5_000)), Lifetime::ZERO);
        assert_eq!(
            Timestamp::NEVER.after(Lifetime::from_days(1)),
            Timestamp::NEVER
        );
        assert_eq!(now.before(Lifetime::from_days(1)), Timestamp::ZERO);
        assert_eq!(Lifetime::from_days(2).as_secs(), 172_800);
    }
}
