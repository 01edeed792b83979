//! The engine: sessions bound to live connections. Facts and a time in, a verdict out.
//!
//! No runtime, no HTTP, no database and no clock of its own.

mod ids;
mod role;
mod secret;
pub mod store;
mod sync;
pub mod table;
mod time;

pub use ids::{
    Authority, ROOT_BYTES, Root, SESSION_ID_BYTES, SUBJECT_MAX_BYTES, SessionId, Subject,
    SubjectError, WireId,
};
pub use role::{Role, Strength};
pub use secret::{SECRET_BYTES, SECRET_CHARS, Secret};
pub use time::{Clock, Entropy, EntropyError, Lifetime, Timestamp};
