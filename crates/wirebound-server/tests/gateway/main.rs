//! The real `wirebound` binary between a raw TLS client and an app that does what a test asks of it.
//!
//! Nothing here starts a browser: the client keeps cookies and TLS tickets like one, which is all that the
//! protocol is about, and can do what no browser would.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::expect_used,
    reason = "a test says by panicking what is wrong, and prints what it measured"
)]

mod admin;
mod app;
mod arrival;
mod assertions;
mod claims;
mod client;
mod crash;
mod endings;
mod floods;
mod frames;
mod guests;
mod hostile;
mod identity;
mod liar;
mod loopholes;
mod machines;
mod orders;
mod owners;
mod process;
mod raw;
mod recorder;
mod refusals;
mod secrets;
mod smuggling;
mod spellings;
mod taxonomy;
mod vectors;
