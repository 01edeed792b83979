//! Placeholder.
pub mod listen;
pub mod tls;
pub mod transport;
