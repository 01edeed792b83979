//! The engine of Wirebound: sessions bound to live connections. Facts and a time in, a verdict out.
//!
//! No runtime, no HTTP, no database and no clock of its own. A caller registers each connection as a [`Wire`], reads a
//! cookie with [`Engine::read`], asks [`Engine::authorize`] (no store, nanoseconds) and, where the wire cannot say by
//! itself, [`Engine::prove`]. The words are those of the project's glossary in `ARCHITECTURE.md`.

mod alarms;
mod api_key;
mod bonds;
mod codec;
mod cookie;
pub mod engine;
mod event;
mod families;
mod identity;
mod ids;
mod judge;
mod keys;
#[cfg(loom)]
pub mod modelled;
mod policy;
mod record;
pub mod revocation;
mod role;
mod secret;
pub mod sequence;
pub mod store;
mod sync;
pub mod table;
#[cfg(test)]
mod testing;
mod ticket;
mod time;
mod verdict;
mod wire;

pub use api_key::held::{KeyRefusal, VerifiedKey};
pub use api_key::record::{
    KEY_LABEL_MAX_CHARS, KEY_SCOPE_MAX_CHARS, KEY_SCOPES_MAX, KeyLabel, KeyScopes, NotALabel,
    NotScopes, RevokedBy,
};
pub use api_key::{API_KEY_CHARS, ApiKey, ApiKeyId};
pub use bonds::{Cut, Joining, Stirred, Watch};
pub use cookie::{CookieValue, NotOurs, Presented};
pub use engine::Engine;
pub use event::{Event, Named, Nobody, Side, Witness};
pub use ids::{
    Authority, ROOT_BYTES, Root, SESSION_ID_BYTES, SUBJECT_MAX_BYTES, SessionId, Subject,
    SubjectError, WireId,
};
pub use keys::{Digest, Keys, NodeSecret};
pub use policy::{BoundToIp, Control, MaxSessions, OnContest, OnLimit, OnTheft, Policy, Preset};
pub use role::{Role, Strength};
pub use secret::{SECRET_BYTES, SECRET_CHARS, Secret};
pub use time::{Clock, Entropy, EntropyError, Lifetime, Timestamp};
pub use verdict::{By, Ending, Need, Refusal, Stock, Verified};
pub use wire::{Connected, HandOverKind, Lineage, Transport, Visit, Wire};
