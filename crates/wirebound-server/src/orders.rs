//! What an operator on the machine may order, and what is answered: one set, whoever carries it out.
//!
//! A running gateway takes orders over its socket (`control`); on a stopped one the command line opens the folder and
//! carries them out itself (`operator`). Both call [`carry_out`], so that no verb means two things. Nothing of this is
//! reachable from the network, which is the point of giving a frozen admin role back here.
//!
//! A new verb is a variant of [`Order`], an arm of [`carry_out`], and where it answers something new a variant of
//! [`Reply`] with its lines in `orders/print.rs`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wirebound::engine::{Engine, SessionsAfter};
use wirebound::revocation::TokenId;
use wirebound::{
    ApiKeyId, Ending, KeyLabel, KeyScopes, Lifetime, Role, SessionId, Subject, Timestamp,
};
use wirebound_assertion::Kid;
use zeroize::Zeroizing;

use crate::config::lifetime;

mod api_keys;
mod disclosed;
mod facts;
mod node;
mod print;
mod refused;
mod revoke;
mod signing_keys;
pub mod words;

pub use self::api_keys::KeyPlace;
pub use self::disclosed::Disclosed;
pub use self::facts::{ApiKeyFacts, IdentityFacts, SessionFacts, SigningKeyFacts};
pub use self::node::Node;
pub use self::print::{Form, Printer};
pub use self::refused::Refused;
pub use self::revoke::Called;
pub use self::words::Due;

/// The version of orders and replies. A gateway and a command of different versions do not understand each other.
pub const ORDER_VERSION: u32 = 1;

/// How many sessions or keys a reply lists at most; behind them the next order goes on.
const PAGE: usize = 128;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", deny_unknown_fields)]
#[non_exhaustive]
pub enum Order {
    /// Tell what is kept of a subject.
    #[serde(rename = "identities show")]
    ShowIdentity {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// Set the highest role.
    #[serde(rename = "identities role")]
    SetCeiling {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
        /// The role.
        #[serde(with = "words")]
        role: Role,
    },
    /// Give the admin role back.
    #[serde(rename = "identities unfreeze")]
    Unfreeze {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// Block, and end its sessions.
    #[serde(rename = "identities block")]
    Block {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// Let it sign in again.
    #[serde(rename = "identities unblock")]
    Unblock {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// Remove it.
    #[serde(rename = "identities remove")]
    Remove {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// List the live sessions of a subject.
    #[serde(rename = "sessions of")]
    ListSessionsOf {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// List everybody's live sessions, a part at a time.
    #[serde(rename = "sessions ls")]
    ListSessions {
        /// Where the part before ended.
        after: Option<Place>,
    },
    /// Tell what is known of a session.
    #[serde(rename = "sessions show")]
    ShowSession {
        /// Its id.
        #[serde(with = "words")]
        id: SessionId,
    },
    /// End a session.
    #[serde(rename = "sessions end")]
    EndSession {
        /// Its id.
        #[serde(with = "words")]
        id: SessionId,
    },
    /// Make an API key.
    #[serde(rename = "keys create")]
    CreateKey {
        /// Whose it is.
        #[serde(with = "words")]
        owner: Subject,
        /// What it is called.
        #[serde(with = "words")]
        label: KeyLabel,
        /// What it may do, with spaces between.
        #[serde(with = "words")]
        scopes: KeyScopes,
        /// When its time is over, if ever.
        #[serde(with = "words::maybe")]
        expires: Option<Due>,
    },
    /// List all API keys, a part at a time.
    #[serde(rename = "keys ls")]
    ListKeys {
        /// Where the part before ended.
        after: Option<KeyPlace>,
    },
    /// Tell what is known of an API key.
    #[serde(rename = "keys show")]
    ShowKey {
        /// Its id.
        #[serde(with = "words")]
        id: ApiKeyId,
    },
    /// Give an API key a new secret.
    #[serde(rename = "keys rotate")]
    RotateKey {
        /// Its id.
        #[serde(with = "words")]
        id: ApiKeyId,
        /// For how long the secret before is good as well; for none after a leak.
        #[serde(with = "lifetime")]
        overlap: Lifetime,
    },
    /// Revoke an API key.
    #[serde(rename = "keys revoke")]
    RevokeKey {
        /// Its id.
        #[serde(with = "words")]
        id: ApiKeyId,
        /// It was seen where it does not belong.
        leaked: bool,
    },
    /// List the keys that sign assertions.
    #[serde(rename = "keys signing ls")]
    ListSigningKeys {},
    /// Publish the next signing key at once.
    #[serde(rename = "keys signing rotate")]
    RotateSigningKey {},
    /// Take a signing key that leaked out of the ring.
    #[serde(rename = "keys signing retire")]
    RetireSigningKey {
        /// Its name.
        #[serde(with = "words")]
        kid: Kid,
    },
    /// End a session and call back what was issued for it.
    #[serde(rename = "revoke session")]
    RevokeSession {
        /// Its id.
        #[serde(with = "words")]
        id: SessionId,
    },
    /// Call one token back.
    #[serde(rename = "revoke token")]
    RevokeToken {
        /// Its `jti`.
        #[serde(with = "words")]
        token: TokenId,
        /// When it runs out by itself, where that is known.
        #[serde(with = "words::maybe")]
        until: Option<Due>,
    },
    /// End all sessions of a subject and call back what was issued for it.
    #[serde(rename = "revoke subject")]
    RevokeSubject {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
    },
    /// Call back everything that was issued before a moment.
    #[serde(rename = "revoke before")]
    RevokeBefore {
        /// The moment, in milliseconds since 1970; none is now.
        before: Option<u64>,
    },
}

/// Where a walk over everybody's sessions stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Place {
    due: u64,
    #[serde(with = "words")]
    id: SessionId,
}

impl From<SessionsAfter> for Place {
    fn from(after: SessionsAfter) -> Self {
        Self {
            due: after.due.as_millis(),
            id: after.id,
        }
    }
}

impl From<Place> for SessionsAfter {
    fn from(place: Place) -> Self {
        Self {
            due: Timestamp::from_millis(place.due),
            id: place.id,
        }
    }
}

/// What is answered. What it holds is for the operator's eyes; a secret in it would be a [`Disclosed`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Reply {
    /// What is kept of a subject, after what was ordered.
    Identity {
        /// Who.
        #[serde(with = "words")]
        subject: Subject,
        /// Nothing, if nothing is kept.
        kept: Option<IdentityFacts>,
        /// How many sessions this order ended.
        ended: usize,
    },
    /// Live sessions.
    Sessions {
        /// Those of this part.
        sessions: Vec<SessionFacts>,
        /// How many rows of this part cannot be read.
        unreadable: usize,
        /// Where to go on, if there may be more.
        next: Option<Place>,
    },
    /// A live session.
    Session {
        /// What is known of it.
        session: SessionFacts,
    },
    /// A session was ended.
    Ended {
        /// Its id.
        #[serde(with = "words")]
        id: SessionId,
    },
    /// An API key was made, or given a new secret.
    KeyMade {
        /// The whole key. Nothing shows it a second time.
        #[serde(with = "Disclosed")]
        api_key: Disclosed,
        /// What may be shown of it later.
        key: ApiKeyFacts,
    },
    /// API keys.
    ApiKeys {
        /// Those of this part.
        keys: Vec<ApiKeyFacts>,
        /// Where to go on, if there may be more.
        next: Option<KeyPlace>,
    },
    /// An API key, after what was ordered.
    ApiKey {
        /// What may be shown of it.
        key: ApiKeyFacts,
    },
    /// The keys that sign assertions, after what was ordered; oldest first.
    SigningKeys {
        /// Their public sides.
        keys: Vec<SigningKeyFacts>,
    },
    /// Something was called back.
    Revoked {
        /// What.
        what: Called,
        /// By when it was durable.
        durable: u64,
        /// How many sessions ended by it.
        sessions: usize,
        /// How many nodes act on it.
        nodes: u32,
    },
}

/// Why bytes are no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoOrder {
    /// They are of this version.
    Version(u64),
    /// They cannot be read.
    Malformed,
}

/// Carries an order out. Once it returns, what was ordered is durable and in force.
///
/// # Errors
///
/// When there is no such session or key, what is ordered makes no sense as things stand, or the store cannot say.
///
/// # Cancel safety
///
/// A dropped order may be done, not done, or done in part: somebody is blocked, and some sessions are not ended yet (none
/// of them is believed any more). The same order again finishes it. Of a key that was made or rotated meanwhile nobody has
/// the secret: revoke it, or rotate it again.
pub async fn carry_out(node: &Node, order: Order, now: Timestamp) -> Result<Reply, Refused> {
    let engine = node.engine.as_ref();
    match order {
        Order::ShowIdentity { subject } => identity(engine, subject, 0).await,
        Order::SetCeiling { subject, role } => {
            engine.set_ceiling(&subject, role, now).await?;
            identity(engine, subject, 0).await
        }
        Order::Unfreeze { subject } => {
            engine.unfreeze(&subject, now).await?;
            identity(engine, subject, 0).await
        }
        Order::Block { subject } => {
            let ended = engine.set_blocked(&subject, true, now).await?;
            identity(engine, subject, ended).await
        }
        Order::Unblock { subject } => {
            let ended = engine.set_blocked(&subject, false, now).await?;
            identity(engine, subject, ended).await
        }
        Order::Remove { subject } => {
            let ended = engine.remove(&subject, now).await?;
            identity(engine, subject, ended).await
        }
        Order::ListSessionsOf { subject } => {
            let sessions = engine.sessions_of(&subject, now).await?;
            Ok(Reply::Sessions {
                sessions: sessions.iter().map(SessionFacts::of).collect(),
                unreadable: 0,
                next: None,
            })
        }
        Order::ListSessions { after } => {
            let page = engine.sessions(after.map(Into::into), PAGE, now).await?;
            Ok(Reply::Sessions {
                sessions: page.sessions.iter().map(SessionFacts::of).collect(),
                unreadable: page.unreadable,
                next: page.next.map(Into::into),
            })
        }
        Order::ShowSession { id } => {
            let session = engine.session(id, now).await?;
            let session = session.as_ref().map(SessionFacts::of);
            let session = session.ok_or(Refused::NoSession(id))?;
            Ok(Reply::Session { session })
        }
        Order::EndSession { id } => {
            let ended = engine.end(id, Ending::Revoked, now).await?;
            ended
                .then_some(Reply::Ended { id })
                .ok_or(Refused::NoSession(id))
        }
        Order::CreateKey {
            owner,
            label,
            scopes,
            expires,
        } => {
            let expires = expires.map(|due| due.from(now));
            api_keys::create(engine, owner, label, scopes, expires, now).await
        }
        Order::ListKeys { after } => Ok(api_keys::list(engine, after, now)),
        Order::ShowKey { id } => api_keys::show(engine, id, now),
        Order::RotateKey { id, overlap } => api_keys::rotate(engine, id, overlap, now).await,
        Order::RevokeKey { id, leaked } => api_keys::revoke(engine, id, leaked, now).await,
        Order::ListSigningKeys {} => signing_keys::list(node, now).await,
        Order::RotateSigningKey {} => signing_keys::rotate(node, now).await,
        Order::RetireSigningKey { kid } => signing_keys::retire(node, &kid, now).await,
        Order::RevokeSession { id } => revoke::session(node, id, now).await,
        Order::RevokeToken { token, until } => revoke::token(node, token, until, now).await,
        Order::RevokeSubject { subject } => revoke::subject(node, &subject, now).await,
        Order::RevokeBefore { before } => revoke::before(node, before, now).await,
    }
}

async fn identity(engine: &Engine, subject: Subject, ended: usize) -> Result<Reply, Refused> {
    let kept = engine.identity(&subject).await?;
    Ok(Reply::Identity {
        kept: kept.as_ref().map(IdentityFacts::of),
        subject,
        ended,
    })
}

impl Order {
    /// The verb, as it is typed, and whom or what it is about. Nothing else of an order is ever logged.
    #[must_use]
    pub fn label(&self) -> (&'static str, String) {
        match self {
            Self::ShowIdentity { subject } => ("identities show", subject.to_string()),
            Self::SetCeiling { subject, .. } => ("identities role", subject.to_string()),
            Self::Unfreeze { subject } => ("identities unfreeze", subject.to_string()),
            Self::Block { subject } => ("identities block", subject.to_string()),
            Self::Unblock { subject } => ("identities unblock", subject.to_string()),
            Self::Remove { subject } => ("identities remove", subject.to_string()),
            Self::ListSessionsOf { subject } => ("sessions ls", subject.to_string()),
            Self::ListSessions { .. } => ("sessions ls", "everybody".to_owned()),
            Self::ShowSession { id } => ("sessions show", id.to_string()),
            Self::EndSession { id } => ("sessions end", id.to_string()),
            Self::CreateKey { owner, .. } => ("keys create", owner.to_string()),
            Self::ListKeys { .. } => ("keys ls", "everybody".to_owned()),
            Self::ShowKey { id } => ("keys show", id.to_string()),
            Self::RotateKey { id, .. } => ("keys rotate", id.to_string()),
            Self::RevokeKey { id, .. } => ("keys revoke", id.to_string()),
            Self::ListSigningKeys {} => ("keys signing ls", "assertions".to_owned()),
            Self::RotateSigningKey {} => ("keys signing rotate", "assertions".to_owned()),
            Self::RetireSigningKey { kid } => ("keys signing retire", kid.to_string()),
            Self::RevokeSession { id } => ("revoke session", id.to_string()),
            Self::RevokeToken { token, .. } => ("revoke token", token.to_string()),
            Self::RevokeSubject { subject } => ("revoke subject", subject.to_string()),
            Self::RevokeBefore { before } => ("revoke before", revoke::moment_text(*before)),
        }
    }

    /// Whether it only asks. What is not known to do so counts as a change, which is logged louder.
    #[must_use]
    pub const fn only_asks(&self) -> bool {
        matches!(
            self,
            Self::ShowIdentity { .. }
                | Self::ListSessionsOf { .. }
                | Self::ListSessions { .. }
                | Self::ShowSession { .. }
                | Self::ListKeys { .. }
                | Self::ShowKey { .. }
                | Self::ListSigningKeys {}
        )
    }

    /// As bytes, with the version in front.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        json!({ "version": ORDER_VERSION, "order": self })
            .to_string()
            .into_bytes()
    }

    /// Reads an order. Nothing but exactly this shape and this version is taken.
    ///
    /// # Errors
    ///
    /// When it is of another version, or cannot be read.
    pub fn read(bytes: &[u8]) -> Result<Self, NoOrder> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Letter {
            version: u64,
            order: Value,
        }
        let letter: Letter = serde_json::from_slice(bytes).map_err(|_| NoOrder::Malformed)?;
        // The version comes first: what another one calls an order is not for us to judge.
        if letter.version != u64::from(ORDER_VERSION) {
            return Err(NoOrder::Version(letter.version));
        }
        serde_json::from_value(letter.order).map_err(|_| NoOrder::Malformed)
    }
}

impl Reply {
    /// As bytes, wiped when they are dropped: one reply may hold a secret.
    ///
    /// # Errors
    ///
    /// Never, as far as is known; a reply that cannot be written is no reason to end a gateway.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        serde_json::to_vec(self).map(Zeroizing::new)
    }

    /// Reads a reply; nothing if it is none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The order that asks for what comes after this, where it is but a part.
    #[must_use]
    pub const fn next(&self) -> Option<Order> {
        match self {
            Self::Sessions {
                next: Some(place), ..
            } => Some(Order::ListSessions {
                after: Some(*place),
            }),
            Self::ApiKeys {
                next: Some(place), ..
            } => Some(Order::ListKeys {
                after: Some(*place),
            }),
            Self::Sessions { next: None, .. }
            | Self::ApiKeys { next: None, .. }
            | Self::Identity { .. }
            | Self::Session { .. }
            | Self::Ended { .. }
            | Self::KeyMade { .. }
            | Self::ApiKey { .. }
            | Self::SigningKeys { .. }
            | Self::Revoked { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
