//! Bad days: what people and operators see when the app, the disk, the certificate or the machine fails, and that nothing is
//! lost by it.
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
    dead_code,
    reason = "a test says by panicking what is wrong; the modules are another test's too"
)]

#[path = "gateway/app.rs"]
mod app;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/process.rs"]
mod process;

#[path = "bad_day/disk.rs"]
mod disk;
#[path = "bad_day/machine.rs"]
mod machine;
#[path = "bad_day/start.rs"]
mod start;
#[path = "bad_day/tls.rs"]
mod tls;
#[path = "bad_day/upstream.rs"]
mod upstream;
