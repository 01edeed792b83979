//! What happened, for operators: types that cannot hold a secret.

use core::fmt;
use std::net::IpAddr;

use crate::api_key::ApiKeyId;
use crate::api_key::held::KeyRefusal;
use crate::api_key::record::{KeyLabel, RevokedBy};
use crate::ids::{Root, SessionId, Subject, WireId};
use crate::role::Role;
use crate::time::Timestamp;
use crate::verdict::{By, Ending, Refusal, Stock};

/// Where somebody stands: shown in events, believed by nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain facts for an operator")]
pub struct Side {
    /// The connection, if it is one of this process.
    pub wire: Option<WireId>,
    /// The peer's address.
    pub address: Option<IpAddr>,
    /// What the client calls itself (its User-Agent), cut to 120 characters.
    pub client: String,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wire {
            Some(wire) => write!(f, "wire {wire}")?,
            None => f.write_str("earlier")?,
        }
        if let Some(address) = self.address {
            write!(f, " from {address}")?;
        }
        if !self.client.is_empty() {
            write!(f, " ({})", self.client)?;
        }
        Ok(())
    }
}

/// Whom a request named that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a request shows a session's credential, a key, or nothing that is ours"
)]
pub enum Named {
    /// Nobody, or nobody that this node made.
    Nobody,
    /// This session, proved or not.
    Session(SessionId),
    /// This API key, which was good.
    Key(ApiKeyId),
}

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session began.
    SignedIn {
        /// The session.
        session: SessionId,
        /// Who.
        subject: Subject,
        /// The role in force.
        role: Role,
        /// From where.
        side: Side,
    },
    /// A session is over.
    Ended {
        /// The session.
        session: SessionId,
        /// Who.
        subject: Subject,
        /// Why.
        ending: Ending,
        /// How many connections hung on it here.
        wires: usize,
    },
    /// A wire was proved.
    Attached {
        /// The session.
        session: SessionId,
        /// The wire.
        wire: WireId,
        /// By what.
        by: By,
        /// Trunk or graft.
        stock: Stock,
        /// Its family.
        family: Option<Root>,
    },
    /// A hand-over nonce was given out.
    HandOverOffered {
        /// The session.
        session: SessionId,
        /// The wire that is to be left.
        wire: WireId,
    },
    /// A strange wire was given an echo nonce.
    Challenged {
        /// The session.
        session: SessionId,
        /// The strange wire.
        wire: WireId,
        /// The how many-th challenge of this request.
        tries: u8,
    },
    /// A request was refused, or its cookie counted as none.
    Refused {
        /// Whom it named.
        named: Named,
        /// Why.
        refusal: Refusal,
        /// From where.
        side: Side,
        /// How many more there were in the minute before, not reported one by one.
        unreported: u32,
    },
    /// A genuine secret of a session that was ended. Its owner has an old page open, or somebody kept a copy.
    PhantomSession {
        /// The session that was.
        session: SessionId,
        /// How it ended.
        ending: Ending,
        /// From where.
        side: Side,
        /// How many more there were in the minute before, not reported one by one.
        unreported: u32,
    },
    /// A session is proved from another address than before, and `bound_to_ip` says to watch that.
    AddressChanged {
        /// The session.
        session: SessionId,
        /// From where it comes now.
        newcomer: Side,
        /// From where it was last proved.
        holder: Side,
    },
    /// A genuine secret on a wire that proves nothing.
    NotProven {
        /// The session.
        session: SessionId,
        /// What is known of the cause.
        cause: &'static str,
        /// Who came.
        newcomer: Side,
        /// Where the session was last proved from.
        holder: Side,
    },
    /// A genuine secret on a strange wire, while the owner is connected.
    Contested {
        /// The session.
        session: SessionId,
        /// Who came.
        newcomer: Side,
        /// Who holds it.
        holder: Side,
        /// How many more there were in the minute before, not reported one by one.
        unreported: u32,
    },
    /// Two parties were seen holding one session.
    Theft {
        /// The session.
        session: SessionId,
        /// Who.
        subject: Subject,
        /// Who came.
        newcomer: Side,
        /// Who holds it.
        holder: Side,
        /// The request number at which the two parted: the last one that both had.
        parted_at: u64,
        /// When whoever holds it moved on from there, if that is still known.
        moved_on: Option<Timestamp>,
        /// When the newcomer came.
        at: Timestamp,
        /// Whether the session ended by it.
        ended: bool,
        /// How many more there were in the minute before, not reported one by one.
        unreported: u32,
    },
    /// Two clients were given a successor of one ticket, and one of them was shown. A lost answer looks like this, and so
    /// does a copy that was used once while its owner was away.
    Fork {
        /// The session.
        session: SessionId,
        /// The request number at which they parted.
        parted_at: u64,
        /// Who showed theirs.
        taken: Side,
        /// When.
        at: Timestamp,
        /// Who was given the other, as address and client.
        other: String,
        /// When.
        other_at: Timestamp,
    },
    /// A ticket was ahead of what the store knows: the store has lost its last writes.
    RecordBehind {
        /// The session.
        session: SessionId,
        /// By so many requests.
        by: u64,
    },
    /// A control that runs in shadow would not have let this request in.
    Shadowed {
        /// The session.
        session: SessionId,
        /// Which control.
        control: &'static str,
        /// What it would have answered.
        would: &'static str,
        /// From where.
        side: Side,
        /// How many more there were in the minute before, not reported one by one.
        unreported: u32,
    },
    /// A sign-in ended an older session, whose genuine cookie came along without a proof and whose owner is not connected.
    OlderSessionEnded {
        /// The older session.
        session: SessionId,
        /// From where.
        side: Side,
    },
    /// A family gives no proof any more.
    Shared {
        /// The family.
        family: Root,
        /// The sign that gave it away.
        sign: &'static str,
        /// From where.
        side: Side,
    },
    /// An admin role was taken over too often and is frozen.
    AdminContended {
        /// Who.
        subject: Subject,
        /// The side that came last.
        newcomer: Side,
        /// The side that was evicted last.
        holder: Side,
    },
    /// A sign-in named an older session that this wire does not prove; both stand.
    OlderSessionStands {
        /// The older session.
        session: SessionId,
        /// From where.
        side: Side,
    },
    /// A cookie of the app that came from a browser was taken in as a sign-in.
    Imported {
        /// The session that it made.
        session: SessionId,
        /// How many cookies are in its vault.
        cookies: usize,
        /// How many were left out, because they had been taken in before.
        spent: usize,
        /// How many more can be taken in.
        left: u64,
        /// From where.
        side: Side,
    },
    /// No more cookies of the app are taken in: as many were as may be.
    ImportsUsedUp {
        /// From where the last one came.
        side: Side,
    },
    /// An elevation was asked for on a wire weaker than `wire`, or above the ceiling; nothing was raised.
    ElevationIgnored {
        /// The session.
        session: SessionId,
        /// Why.
        cause: &'static str,
    },
    /// An API key was made.
    KeyMade {
        /// The key.
        key: ApiKeyId,
        /// What it is called.
        label: KeyLabel,
        /// Whose it is.
        owner: Subject,
        /// When its time is over, if ever.
        expires: Option<Timestamp>,
    },
    /// An API key has a new secret.
    KeyRotated {
        /// The key.
        key: ApiKeyId,
        /// Whose it is.
        owner: Subject,
        /// Until when the secret before is good as well; nothing if it is not any more.
        overlap_until: Option<Timestamp>,
    },
    /// An API key was revoked, for good.
    KeyRevoked {
        /// The key.
        key: ApiKeyId,
        /// Whose it was.
        owner: Subject,
        /// By whom or what.
        by: RevokedBy,
    },
    /// An API key was shown and not taken.
    KeyRefused {
        /// The key that it named, if there is one of that id.
        key: Option<ApiKeyId>,
        /// Why.
        refusal: KeyRefusal,
        /// From where.
        side: Side,
        /// How many more there were in the minute before, not reported one by one.
        unreported: u32,
    },
}

impl Event {
    /// Its name in logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SignedIn { .. } => "signed_in",
            Self::Ended { .. } => "session_ended",
            Self::Attached { .. } => "wire_attached",
            Self::HandOverOffered { .. } => "hand_over_offered",
            Self::Challenged { .. } => "echo_challenged",
            Self::Refused { .. } => "refused",
            Self::PhantomSession { .. } => "phantom_session",
            Self::AddressChanged { .. } => "address_changed",
            Self::NotProven { .. } => "not_proven",
            Self::Contested { .. } => "contested",
            Self::Theft { .. } => "theft",
            Self::Fork { .. } => "fork",
            Self::RecordBehind { .. } => "record_behind",
            Self::Shadowed { .. } => "shadowed",
            Self::OlderSessionEnded { .. } => "older_session_ended",
            Self::Shared { .. } => "family_shared",
            Self::AdminContended { .. } => "admin_contended",
            Self::OlderSessionStands { .. } => "older_session_stands",
            Self::Imported { .. } => "import",
            Self::ImportsUsedUp { .. } => "imports_used_up",
            Self::ElevationIgnored { .. } => "elevation_ignored",
            Self::KeyMade { .. } => "key_made",
            Self::KeyRotated { .. } => "key_rotated",
            Self::KeyRevoked { .. } => "key_revoked",
            Self::KeyRefused { .. } => "key_refused",
        }
    }
}

/// Sees events. Called from the request's path: it must not wait.
pub trait Witness: fmt::Debug + Send + Sync {
    /// Something happened.
    fn saw(&self, event: Event);
}

/// Looks away: for tests and for those who watch by other means.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Nobody;

impl Witness for Nobody {
    fn saw(&self, _event: Event) {}
}
