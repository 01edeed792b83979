//! Wirebound's gateway and its one binary, as a library.
//!
//! `main.rs` hands arguments to [`cli`]; everything else can be run in process by a test.

pub mod config;
