//! The gate: a tower layer that knows, for each request, whose it is.
//!
//! Every request is read once: authority against the connection's server name (421), signs that the connection is
//! shared, our cookies, the cross-site check; then the wire is asked, then the store. What comes out is an [`Access`]
//! in the request's extensions. An inner service that signs somebody in says so with an [`Intent`] in its response's
//! extensions; the gate carries it out before the response head leaves.

use core::fmt;
use std::sync::Arc;

use http::request::Parts;
use wirebound::{Clock, Engine, Need, Strength, Timestamp};

use crate::assertion::Assertions;
use crate::cookies::Names;
use crate::refusal::Answers;
use crate::tls::{Grants, Renewals};

mod access;
mod arrival;
mod assertion;
mod cut;
mod depart;
mod endpoints;
mod extract;
mod feed;
mod identify;
mod machine;
mod serve;
mod service;
mod sessions;

pub use access::{Access, Intent, SignInIntent};
pub use arrival::Arrival;
pub use extract::{Machine, Session};
pub use serve::serve;
pub use service::{GateLayer, GateService};

/// What a route asks for, by the request's head.
pub type Needs = Arc<dyn Fn(&Parts) -> Need + Send + Sync>;

/// Which scopes of an API key a route asks for, all of them, by the request's head; none: it is not for machines.
pub type Scopes = Arc<dyn Fn(&Parts) -> Vec<Arc<str>> + Send + Sync>;

/// Everything a gate leans on.
#[expect(
    clippy::exhaustive_structs,
    reason = "all of it must be chosen by the caller"
)]
pub struct GateParts {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Ticket grants of the listener in front.
    pub grants: Arc<Grants>,
    /// Families due for a full handshake, of the same listener.
    pub renewals: Arc<Renewals>,
    /// Names of our cookies.
    pub names: Names,
    /// How our own answers look.
    pub answers: Answers,
    /// What routes ask for.
    pub needs: Needs,
    /// Which scopes of an API key routes ask for; where any is asked for, a session counts as none.
    pub scopes: Scopes,
    /// What becomes of those who come from another site.
    pub arrival: Arrival,
    /// Signed assertions, if any are made.
    pub assertions: Option<Arc<Assertions>>,
}

impl fmt::Debug for GateParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateParts")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The gate. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateParts>);

impl Gate {
    /// A gate.
    #[must_use]
    pub fn new(mut parts: GateParts) -> Self {
        if parts.assertions.as_ref().is_some_and(|those| those.cookie) {
            parts.names = parts.names.with_assertions();
        }
        Self(Arc::new(parts))
    }

    /// The engine behind it.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    /// The names of our cookies.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// Signed assertions, if any are made.
    #[must_use]
    pub fn assertions(&self) -> Option<&Arc<Assertions>> {
        self.0.assertions.as_ref()
    }

    /// How our own answers look.
    #[must_use]
    pub fn answers(&self) -> &Answers {
        &self.0.answers
    }

    /// The layer to put around a service.
    #[must_use]
    pub fn layer(&self) -> GateLayer {
        GateLayer::new(self.clone())
    }

    fn now(&self) -> Option<Timestamp> {
        self.0.clock.now()
    }
}

/// A need that every route has: a session of this strength or more. For [`GateParts::needs`].
#[must_use]
pub fn members_only(strength: Strength) -> Needs {
    Arc::new(move |_| Need {
        role: None,
        strength: Some(strength),
    })
}

/// No route is for machines.
#[must_use]
pub fn no_machines() -> Scopes {
    Arc::new(|_| Vec::new())
}

/// No route asks for anything: the app shows its own login.
#[must_use]
pub fn open_to_all() -> Needs {
    Arc::new(|_| Need::NOTHING)
}
