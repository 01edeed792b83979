//! The verifier beside a gateway that says what a test has it say: what must hold whatever comes over the feed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::exhaustive_structs,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "tests: a wrong step ends the test with its place"
)]

mod feed;
mod keys;
mod outbound;
mod policies;
mod python;
mod rig;
mod tokens;
