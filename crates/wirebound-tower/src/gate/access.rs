//! What the gate tells the inner service about a request, and what the inner service tells it back.

use core::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Response;
use wirebound::engine::{Caller, Import, NotSignedIn, Scope, SignIn};
use wirebound::store::StoreError;
use wirebound::{
    Authority, CookieValue, Lifetime, Named, Presented, Refusal, Role, Subject, Timestamp,
    Verified, VerifiedKey, Visit, Watch,
};

use super::Gate;
use super::depart::to_its_end;
use crate::refusal::{Asker, respond};
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
    /// A session that was made while the request was already inside.
    pub(super) late: Arc<OnceLock<Late>>,
    /// Its client, by what it says of itself.
    pub(super) client: Caller,
    /// Where wires prove nothing: its session hears of its ending through this.
    pub(super) visit: Option<Arc<Visit>>,
    /// The API key that it showed.
    pub(super) key: Option<Arc<VerifiedKey>>,
}

/// A session that was made by what only the inner service can read, before it answered.
pub(super) struct Late {
    verified: Verified,
    /// To be set by the answer, unless that sets a newer one.
    pub(super) cookie: CookieValue,
    /// The same, as the next request shows it.
    pub(super) presented: Option<Arc<Presented>>,
    /// As that of the request.
    _visit: Option<Visit>,
}

impl Access {
    /// The session, if the request was proved to belong to one.
    #[must_use]
    pub fn verified(&self) -> Option<&Verified> {
        let late = || self.late.get().map(|late| &late.verified);
        self.verified.as_ref().or_else(late)
    }

    /// The API key that the request showed, if it did and the key is good. Such a request has no session.
    #[must_use]
    pub fn key(&self) -> Option<&VerifiedKey> {
        self.key.as_deref()
    }

    /// As [`Access::key`], to be kept.
    #[must_use]
    pub fn shared_key(&self) -> Option<Arc<VerifiedKey>> {
        self.key.clone()
    }

    /// Signs in by cookies of the app that the browser has from before this gateway: see [`wirebound::Engine::import`].
    /// From here on the request is the new session's; its answer sets the cookie. `false`: nobody was signed in.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn import(
        &self,
        intent: SignInIntent,
        import: Import,
        seal: impl FnOnce(&[usize]) -> Vec<u8> + Send + 'static,
    ) -> Result<bool, StoreError> {
        if self.verified().is_some() {
            return Ok(false);
        }
        let now = self.gate.now().unwrap_or(self.now);
        let request = SignIn {
            subject: intent.subject,
            authority: Authority::of(&self.authority),
            role: intent.role,
            persistent: intent.persistent,
            idle: intent.idle,
            absolute: intent.absolute,
            vault: None,
            carries_hand_over: false,
            client: self.client.clone(),
        };
        let (engine, on) = (Arc::clone(self.gate.engine()), Arc::clone(&self.wired));
        let imported =
            to_its_end(async move { engine.import(&on.wire, request, &import, seal, now).await })
                .await?;
        let signed_in = match imported {
            Ok(Some(signed_in)) => signed_in,
            Err(NotSignedIn::Store(error)) => return Err(error),
            Ok(None) | Err(_) => return Ok(false),
        };
        self.gate
            .wait_for_the_hand_over(&self.wired, &signed_in.verified, now);
        let host = Authority::of(&self.authority);
        let text = signed_in.cookie.expose().as_bytes();
        let presented = self.gate.engine().read_at(text, &host);
        let late = Late {
            verified: signed_in.verified,
            presented: presented.ok().map(Arc::new),
            cookie: signed_in.cookie,
            _visit: signed_in.visit,
        };
        Ok(self.late.set(late).is_ok())
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

    /// Refuses the request after it was let in: told to the operator once, and answered by the one function. `told`: its
    /// client may know more than a stranger.
    #[must_use]
    pub fn refuse(&self, refusal: Refusal, asker: Asker, told: bool) -> Response<Bytes> {
        self.tell_refused(refusal);
        respond(refusal, asker, told, self.gate.answers())
    }

    /// Tells of a refusal that is answered elsewhere. `true`: it was told, and not only counted.
    pub fn tell_refused(&self, refusal: Refusal) -> bool {
        let named = match (self.verified(), &self.key) {
            (Some(verified), _) => Named::Session(verified.session()),
            (None, Some(key)) => Named::Key(key.id()),
            (None, None) => Named::Nobody,
        };
        let side = self.client.side(&self.wired.wire);
        let now = self.gate.now().unwrap_or(self.now);
        let engine = self.gate.engine();
        engine.tell_refused(named, refusal, side, Some(now))
    }

    /// Refuses a request that nobody was proved to have made, where somebody is asked for. A cookie that counted as none was
    /// told of when it came to count so.
    pub(super) fn refuse_nobody(&self, asker: Asker) -> Response<Bytes> {
        match self.refusal {
            Some(refusal) => respond(refusal, asker, false, self.gate.answers()),
            None => self.refuse(Refusal::Unauthenticated, asker, false),
        }
    }

    /// Whether a response with these extensions ends this request's own session: it goes out whole.
    #[must_use]
    pub fn is_ended_by(&self, extensions: &http::Extensions) -> bool {
        self.verified().is_some()
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
        engine.watch_judged(&self.wired.wire, self.verified()?, now)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("verified", &self.verified())
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
    /// The app answered what the operator named as its sign-in: the secret is replaced, and a session that was taken in
    /// by a copied cookie of the app is one like others.
    Confirm,
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
            Self::Confirm => f.write_str("Confirm"),
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
