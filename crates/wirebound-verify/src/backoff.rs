//! How long to wait before the next try: longer each time, and never all at once.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that grow.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(FIRST)
    }

    /// What was tried went well.
    pub(crate) const fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// The next wait: from half of it to the whole, so that many services that lost one gateway do not come back together.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = whole.saturating_mul(2).min(LONGEST);
        jittered(whole)
    }
}

/// From half of a wait to the whole.
pub(crate) fn jittered(whole: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness all wait for the whole: late is better than never.
    let share = match aws_lc_rs::default_provider().secure_random.fill(&mut byte) {
        Ok(()) => u32::from(byte.first().copied().unwrap_or(u8::MAX)),
        Err(_) => 255,
    };
    let half = whole.checked_div(2).unwrap_or(whole);
    let more = half.saturating_mul(share).checked_div(255).unwrap_or(half);
    half.saturating_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_again() {
        let mut backoff = Backoff::new();
        let mut whole = FIRST;
        for _ in 0..20 {
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST);
        }
        assert_eq!(whole, LONGEST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn no_two_services_wait_alike() {
        let waits: std::collections::BTreeSet<_> =
            (0..64).map(|_| jittered(Duration::from_secs(1))).collect();
        assert!(waits.len() > 8, "{waits:?}");
    }
}
