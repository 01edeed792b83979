//! The engine from outside: what must hold of sessions on the wire, attack by attack. Time is simulated.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests: a wrong step ends the test with its place"
)]

mod admin;
mod api_keys;
mod assertions;
mod guests;
mod model;
mod outage;
mod secrets;
mod sessions;
mod slow;
mod store;
mod streams;
mod theft;
mod tickets;
#[path = "../../../wirebound-testkit/src/world.rs"]
mod world;

use std::sync::Arc;

use wirebound::Policy;
use wirebound::store::MemoryStore;
use world::World;

/// The purest preset; what the others add is in `tickets`.
fn strict() -> Policy {
    Policy {
        preset: wirebound::Preset::Strict,
        ..Policy::default()
    }
}

fn world() -> World {
    with(strict())
}

fn with(policy: Policy) -> World {
    World::new(policy, Arc::new(MemoryStore::new()))
}
