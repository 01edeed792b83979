//! What goes with one judged request on its way: whose it is, what the upstream is told, what ends it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::uri::Scheme;
use wirebound::VerifiedKey;

pub use wirebound_assertion::encode_subject;

use super::Cut;
use crate::vouch;

/// Who the upstream is told the client is. The default is nobody, and that is said too: every field is
/// always set, empty when there is nothing to say, so that a client's own can never stand in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The subject, percent-encoded ([`encode_subject`]).
    pub subject: String,
    /// The role in force.
    pub role: String,
    /// The session's public id.
    pub session: String,
    /// The strength of the proof.
    pub strength: String,
    /// The same, signed. The field is there only where there is one.
    pub assertion: Option<HeaderValue>,
    /// The API key of a machine, which has no session. Its fields are there only where there is one.
    pub key: Option<ToldKey>,
    /// Further fields by configuration (`Remote-User`); what they carry is the percent-encoded subject.
    pub aliases: Arc<[HeaderName]>,
}

impl Told {
    /// An anonymous client.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// A client with a session.
    #[must_use]
    pub fn known(subject: &[u8], role: &str, session: &str, strength: &str) -> Self {
        Self {
            subject: encode_subject(subject),
            role: role.to_owned(),
            session: session.to_owned(),
            strength: strength.to_owned(),
            assertion: None,
            key: None,
            aliases: Arc::default(),
        }
    }
}

/// What the upstream is told of a machine's API key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToldKey {
    /// Its public name.
    pub id: String,
    /// Whose it is, percent-encoded as subjects are.
    pub owner: String,
    /// What it may do, with spaces between (RFC 6749 section 3.3).
    pub scopes: String,
}

impl ToldKey {
    /// A key that was checked.
    #[must_use]
    pub fn of(key: &VerifiedKey) -> Self {
        Self {
            id: key.id().to_string(),
            owner: encode_subject(key.owner().as_bytes()),
            scopes: key.scopes().iter().collect::<Vec<_>>().join(" "),
        }
    }
}

/// The client's side of one exchange.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Caller {
    /// The peer's address.
    pub address: IpAddr,
    /// The authority that [`crate::hygiene::check`] gave.
    pub authority: String,
    /// `https` or `http`.
    pub scheme: Scheme,
}

/// One judged request's companions on its way.
#[derive(Debug)]
#[non_exhaustive]
pub struct Leg {
    /// The client's side.
    pub client: Caller,
    /// What the upstream is told.
    pub told: Told,
    /// Ends the answer when the session ends.
    pub cut: Cut,
    /// `Origin` and `Referer` of our own authority stay as the client wrote them.
    pub keeps_origin: bool,
    /// Set on listed vouching paths only ([`vouch::Vouching::covers`]).
    pub nonce: Option<vouch::Nonce>,
}

impl Leg {
    /// A request of nobody.
    #[must_use]
    pub fn new(address: IpAddr, authority: impl Into<String>, scheme: Scheme) -> Self {
        Self {
            client: Caller {
                address,
                authority: authority.into(),
                scheme,
            },
            told: Told::nobody(),
            cut: Cut::never(),
            keeps_origin: false,
            nonce: None,
        }
    }

    /// Tells the upstream who it is.
    #[must_use]
    pub fn told(mut self, told: Told) -> Self {
        self.told = told;
        self
    }

    /// Ends the answer with the session.
    #[must_use]
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    /// Leaves the scheme of `Origin` and `Referer` as the client wrote it.
    #[must_use]
    pub const fn keeping_origin(mut self, keeps: bool) -> Self {
        self.keeps_origin = keeps;
        self
    }

    /// Lets the upstream vouch in answer to this request.
    #[must_use]
    pub fn vouching(mut self, nonce: vouch::Nonce) -> Self {
        self.nonce = Some(nonce);
        self
    }
}
