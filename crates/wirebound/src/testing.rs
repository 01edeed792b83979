//! What the crate's own tests share: a seeded source of randomness.

use std::sync::{Arc, Mutex};

use crate::ids::{Root, WireId};
use crate::time::{Entropy, EntropyError, Lifetime, Timestamp};
use crate::wire::{Connected, Lineage, Transport, WireCore};

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

/// A connection that nobody serves.
#[derive(Debug)]
struct Unplugged;

impl Transport for Unplugged {
    fn close(&self) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn alive(&self) -> core::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(core::future::ready(true))
    }

    fn trip(&self) -> Option<Lifetime> {
        None
    }
}

pub(crate) fn core_of(id: u64, root: Option<Root>) -> Arc<WireCore> {
    let lineage = root.map(|root| Lineage {
        root,
        also: None,
        resumed: true,
        ticketed: true,
        birth: Timestamp::ZERO,
    });
    let connected = Connected {
        transport: Arc::new(Unplugged),
        address: None,
        lineage,
        opened: Timestamp::ZERO,
    };
    Arc::new(WireCore::new(WireId(id), connected))
}
