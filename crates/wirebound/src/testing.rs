//! What the crate's own tests share: a seeded source of randomness.

use std::sync::Mutex;

use crate::time::{Entropy, EntropyError};

/// Repeatable "randomness": a hash chain over a seed.
#[derive(Debug)]
pub(crate) struct TestEntropy(Mutex<(u64, u64)>);

impl TestEntropy {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new((seed, 0)))
    }
}

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let mut state = self.0.lock().unwrap();
        state.1 = state.1.wrapping_add(1);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&state.0.to_le_bytes());
        hasher.update(&state.1.to_le_bytes());
        hasher.finalize_xof().fill(bytes);
        Ok(())
    }
}
