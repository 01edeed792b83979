//! Wirebound over HTTP: TLS with lineage, connections as wires, our cookies, the gate as a tower layer, refusals as
//! responses.
//!
//! [`gate::serve`] puts an app behind the gate on a [`listen::Listener`]; handlers read [`gate::Access`] or
//! [`gate::Session`].

pub mod assertion;
pub mod body;
pub mod caches;
pub mod cookies;
pub mod csrf;
mod events;
pub mod form;
pub mod gate;
pub mod listen;
pub mod machine;
pub mod pages;
pub mod refusal;
pub mod tls;
pub mod transport;
pub mod tree;
mod wired;

pub use events::LogWitness;
pub use wired::Wired;
