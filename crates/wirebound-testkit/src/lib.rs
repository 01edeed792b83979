//! The test kit: what real clients, thieves and upstreams are needed to show that Wirebound holds.
//!
//! Nothing here is published or part of a running gateway. Everything is started by a test on free
//! loopback ports, and ends when its value is dropped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "test support: a wrong step ends the test with its place, and real processes need the real clock"
)]

pub mod apps;
pub mod authority;
pub mod bare;
pub mod caddy;
pub mod chromium;
pub mod cost;
pub mod django;
pub mod firefox;
pub mod gateway;
pub mod haproxy;
pub mod jar;
pub mod line;
pub mod lossy;
pub mod members;
pub mod nginx;
pub mod provider;
pub mod store_contract;
pub mod theft;
pub mod thief;
pub mod trial;
pub mod unchanged;
pub mod varnish;
pub mod wait;
pub mod world;

mod cdp;
mod daemon;
mod marionette;
mod nss;
mod process;
