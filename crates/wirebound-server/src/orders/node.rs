//! What orders are carried out on: the engine, and what the configuration says of the keys that sign.

use std::sync::Arc;

use wirebound::{Clock, Engine, Entropy};

use crate::config::Assertion;

/// A gateway as an order finds it, running or stopped.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a gateway and a command build it"
)]
pub struct Node {
    /// The engine. What there is to recall was recalled.
    pub engine: Arc<Engine>,
    /// The clock, for the moment at which something was durable.
    pub clock: Arc<dyn Clock>,
    /// What new signing keys are drawn from.
    pub entropy: Arc<dyn Entropy>,
    /// How signing keys come and go.
    pub assertion: Assertion,
    /// Somebody may hold an assertion of ours.
    pub issued: bool,
}
