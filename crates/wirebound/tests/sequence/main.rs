//! The sequence of tickets, explored: an owner, a thief and a network, in every order that their bounds allow.
//!
//! The record is the product's own [`wirebound::sequence::Sequence`]; only the judging around it is written here, as
//! `portable` judges: an old ticket is theft and ends the session; any other genuine one is accepted, *shown* before its
//! answer, and the ticket to set is chosen when the head of the answer leaves. A forged ticket does not open
//! (`ticket.rs`), so nothing here is ever called for one: it is no step of the model.
//!
//! What is explored and what is not:
//!
//! - Time goes in ticks of 15 s, half a window. What takes "less than a window" takes one tick at most.
//! - Answers are lost, late, and overtake each other. A request that is lost was never sent as far as a record goes, and
//!   one that is sent again is two that were sent at once.
//! - A thief copies the jar when the run begins, shows the copy whenever he likes, and keeps every ticket he ever had. His
//!   own trips take no time.
//! - Runs are bounded (ticks, requests); inside the bounds each order of events is met. They stand beside each promise.
//!
//! A checker that finds nothing may be blind. So the same properties are put to machines that are wrong on purpose, and
//! to the drafts that peers fell to: there it must find a schedule.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests: a wrong step ends the test with its place"
)]

mod drafts;
mod honest;
mod machine;
mod thief;
mod world;
