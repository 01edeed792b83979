//! Wirebound's gateway and its one binary, as a library.
//!
//! `main.rs` hands arguments to [`cli`]; everything else can be run in process by a test.

pub mod armour;
pub mod authority;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod demo;
pub mod doctor;
pub mod failure;
pub mod gateway;
pub mod hygiene;
pub mod logging;
pub mod operator;
pub mod orders;
pub mod pages;
pub mod proxy;
pub mod serve;
pub mod system;
pub mod vouch;
pub mod websocket;

/// The front page, so that its example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
