//! The machine's clock, and the runtime's, by which ages are counted as well.
//!
//! The one place of this crate that asks for the time. The wall clock can be set back, and then an old word looks new; the
//! runtime's clock cannot, but may stand still while the machine sleeps. So an age is the larger of what the two say.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wirebound::{Clock, Lifetime, Timestamp};

/// A clock before this has never been set: 2025-01-01.
const EARLIEST: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The wall clock.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else is given"
    )]
    fn now(&self) -> Option<Timestamp> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis())
            .ok()
            .map(Timestamp::from_millis)
            .filter(|now| *now >= EARLIEST)
    }
}

/// Counts from when it was made, and never back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter(Instant);

impl Counter {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start; never nothing, so that nothing can mean "never".
    pub(crate) fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(passed).after(Lifetime::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_can_say_the_time() {
        assert!(SystemClock.now().is_some());
        assert!(Counter::start().now() > Timestamp::ZERO);
    }
}
