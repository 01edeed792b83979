//! Assertions against published vectors, forgers, clocks and time; one binary, so that they link once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test says by panicking what is wrong"
)]

mod attacks;
mod claims;
mod common;
mod keys;
mod published;
mod ring;
mod times;
