//! The machine's clocks and its randomness, as the engine's traits want them.
//!
//! The one place of this crate that asks for the time. Each may fail, and a failure is passed on:
//! nobody is accepted on a clock that cannot say.

use rustix::time::{ClockId, Timespec, clock_gettime};
use rustls::crypto::aws_lc_rs;
use wirebound::{Clock, Entropy, EntropyError, Lifetime, Timestamp};

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

    /// How long the machine has been up, sleep included. It never goes back.
    #[must_use]
    pub fn uptime(self) -> Lifetime {
        Lifetime::from_millis(millis(clock_gettime(ClockId::Boottime)).unwrap_or(0))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Option<Timestamp> {
        millis(clock_gettime(ClockId::Realtime))
            .map(Timestamp::from_millis)
            .filter(|now| *now >= EARLIEST)
    }
}

fn millis(time: Timespec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u64::try_from(time.tv_nsec).ok()?;
    seconds
        .checked_mul(1000)?
        .checked_add(nanos.checked_div(1_000_000)?)
}

/// The randomness of the TLS provider.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemEntropy;

impl SystemEntropy {
    /// The randomness of the TLS provider.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::default_provider()
            .secure_random
            .fill(bytes)
            .map_err(|_| EntropyError::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_can_say_the_time_and_draw() {
        assert!(SystemClock.now().is_some());
        assert!(SystemClock.uptime() > Lifetime::ZERO);
        let (mut one, mut two) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut one).unwrap();
        SystemEntropy.fill(&mut two).unwrap();
        assert_ne!(one, two);
    }
}
