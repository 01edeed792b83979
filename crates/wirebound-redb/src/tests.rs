//! What is tested with the store's own medium under it, and the contract over the real file.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test stops at whatever is not as it should be"
)]

mod contract;
mod crash;
mod damage;
mod fault;
mod opening;
mod tape;
