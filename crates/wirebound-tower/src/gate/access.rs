//! What the gate tells the inner service about a request, and what the inner service tells it back.

use core::fmt;
use std::sync::Arc;

use wirebound::engine::Scope;
use wirebound::{Lifetime, Refusal, Role, Subject, Timestamp, Verified, Watch};

use super::Gate;
use crate::wired::Wired;

/// Whose a request is: in the extensions of every request that passes the gate.
#[derive(Clone)]
pub struct Access {
    pub(super) gate: Gate,
    pub(super) wired: Arc<Wired>,
    pub(super) verified: Option<Verified>,
    pub(super) refusal: Option<Refusal>,
    pub(super) authority: Arc<str>,
    pub(super) now: Timestamp,
}

impl Access {
    /// The session, if the request was proved to belong to one.
    #[must_use]
    pub const fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }

    /// Why a cookie that was offered counts as none.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The connection and its wire. Hold it for as long as a WebSocket lives.
    #[must_use]
    pub const fn wired(&self) -> &Arc<Wired> {
        &self.wired
    }

    /// The authority that was asked for, with its port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// When the request was judged.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The gate that let it in.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether a response with these extensions ends this request's own session: it goes out whole.
    #[must_use]
    pub fn is_ended_by(&self, extensions: &http::Extensions) -> bool {
        self.verified.is_some()
            && matches!(
                extensions.get::<Intent>(),
                Some(Intent::SignIn(_) | Intent::SignOut(Scope::Session | Scope::All))
            )
    }

    /// Tells when the session ends or its role falls, from the moment that the request was judged. `None`: nobody is
    /// signed in, or the session ended just now. [`Gate::cut`] waits on it, and for what time brings.
    #[must_use]
    pub fn watch(&self) -> Option<Watch> {
        let now = self.gate.now().unwrap_or(self.now);
        let engine = self.gate.engine();
        engine.watch_judged(&self.wired.wire, self.verified.as_ref()?, now)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("verified", &self.verified)
            .field("refusal", &self.refusal)
            .field("wire", &self.wired.wire)
            .finish_non_exhaustive()
    }
}

/// What an inner service wants done before its response leaves: put one into the response's extensions.
#[derive(Clone)]
#[non_exhaustive]
pub enum Intent {
    /// Somebody signed in.
    SignIn(SignInIntent),
    /// Nobody signed in, but the app gave its visitor a cookie: a guest, of whom nothing is stored until he comes back.
    Guest(SignInIntent),
    /// This session is raised for a time.
    Elevate {
        /// To this role.
        role: Role,
        /// For so long.
        lifetime: Lifetime,
    },
    /// This session's secret is replaced: the app changed its own in answer to an unsafe request.
    Renew,
    /// Somebody signs out.
    SignOut(Scope),
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignIn(intent) => write!(f, "SignIn({})", intent.subject),
            Self::Guest(intent) => write!(f, "Guest({})", intent.subject),
            Self::Elevate { role, .. } => write!(f, "Elevate({role})"),
            Self::Renew => f.write_str("Renew"),
            Self::SignOut(scope) => write!(f, "SignOut({scope:?})"),
        }
    }
}

/// Somebody signed in.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "an inner service builds it")]
pub struct SignInIntent {
    /// Who.
    pub subject: Subject,
    /// With this role; the identity's ceiling bounds it.
    pub role: Role,
    /// The browser keeps the cookie.
    pub persistent: bool,
    /// Shorter clocks than the policy's.
    pub idle: Option<Lifetime>,
    /// As above.
    pub absolute: Option<Lifetime>,
    /// What the session keeps for the app.
    pub vault: Option<Vec<u8>>,
}

impl fmt::Debug for SignInIntent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignInIntent({}, {})", self.subject, self.role)
    }
}

impl SignInIntent {
    /// A sign-in with role `user` and the policy's clocks, gone with the browser.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self {
            subject,
            role: Role::USER,
            persistent: false,
            idle: None,
            absolute: None,
            vault: None,
        }
    }
}
