//! Placeholder.

pub mod store_contract;
