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
use wirebound::store::StoreError;
use wirebound::{Ending, Role, SessionId, Subject, Timestamp};
use zeroize::Zeroizing;

use crate::failure::Failure;

mod disclosed;
mod facts;
mod print;
pub mod words;

pub use self::disclosed::Disclosed;
pub use self::facts::{IdentityFacts, SessionFacts};
pub use self::print::{Form, Printer};

/// The version of orders and replies. A gateway and a command of different versions do not understand each other.
pub const ORDER_VERSION: u32 = 1;

/// How many sessions a reply lists at most; behind them the next order goes on.
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
}

/// Why an order was not carried out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// No live session has this id.
    NoSession(SessionId),
    /// The store cannot say, so nothing is promised.
    Unsure(StoreError),
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
/// When there is no such session, or the store cannot say.
///
/// # Cancel safety
///
/// A dropped order may be done, not done, or done in part: somebody is blocked, and some sessions are not ended yet (none
/// of them is believed any more). The same order again finishes it.
pub async fn carry_out(engine: &Engine, order: Order, now: Timestamp) -> Result<Reply, Refused> {
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
            Self::Sessions { next: None, .. }
            | Self::Identity { .. }
            | Self::Session { .. }
            | Self::Ended { .. } => None,
        }
    }
}

impl Refused {
    /// The name of the reason, in the problem document.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSession(_) => "no_such_session",
            Self::Unsure(_) => "store_unavailable",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoSession(_) => "wirebound sessions ls lists those that live",
            Self::Unsure(_) => "wirebound doctor",
        }
    }
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoSession(id) => write!(f, "no live session has the id {id}"),
            Self::Unsure(error) => {
                write!(f, "{error}")?;
                core::error::Error::source(error).map_or(Ok(()), |cause| write!(f, " ({cause})"))
            }
        }
    }
}

impl core::error::Error for Refused {}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unsure(error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::failed(refused.to_string()).with_hint(refused.hint())
    }
}

#[cfg(test)]
mod tests;
