//! What is asked and answered about API keys. But for a key that was just made, no type here has a field that could hold a
//! secret.

use core::fmt;

use crate::api_key::held::{KeyRefusal, Standing};
use crate::api_key::record::{KeyLabel, KeyScopes, RevokedBy};
use crate::api_key::{ApiKey, ApiKeyId};
use crate::ids::Subject;
use crate::store::StoreError;
use crate::time::Timestamp;

/// What a key is to be.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct NewKey {
    /// What it is called.
    pub label: KeyLabel,
    /// Whose it is. While they are blocked it is refused, and it dies with them.
    pub owner: Subject,
    /// What it may do.
    pub scopes: KeyScopes,
    /// When its time is over, if ever.
    pub expires: Option<Timestamp>,
}

/// A key with a fresh secret. Show it once: nothing brings it back.
#[derive(Debug)]
#[non_exhaustive]
pub struct NewlyMade {
    /// The whole key.
    pub key: ApiKey,
    /// What may be shown of it later.
    pub summary: KeySummary,
}

/// An API key, for its owner's and an operator's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySummary {
    /// Its public name.
    pub id: ApiKeyId,
    /// What it is called.
    pub label: KeyLabel,
    /// Whose it is.
    pub owner: Subject,
    /// What it may do.
    pub scopes: KeyScopes,
    /// When it was made.
    pub created: Timestamp,
    /// When its time is over, if ever.
    pub expires: Option<Timestamp>,
    /// When it was given a new secret, if ever.
    pub rotated: Option<Timestamp>,
    /// Until when the secret before is good as well.
    pub overlap_until: Option<Timestamp>,
    /// When and by whom it was revoked.
    pub revoked: Option<(Timestamp, RevokedBy)>,
    /// When it was last taken.
    pub last_used: Option<Timestamp>,
    /// Why its genuine secret would be refused now; nothing if it would be taken.
    pub refused: Option<KeyRefusal>,
}

/// Why no key was made.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotMade {
    /// There are as many keys as there may be, and none of them is dead.
    Full,
    /// Its time would be over before it began.
    Expired,
    /// Its owner is blocked.
    OwnerBlocked,
    /// Its owner was removed and has not signed in since.
    OwnerRemoved,
    /// The store or the source of randomness cannot say.
    Store(StoreError),
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there are too many API keys: revoke some"),
            Self::Expired => f.write_str("the key would have expired already"),
            Self::OwnerBlocked => f.write_str("the owner is blocked"),
            Self::OwnerRemoved => f.write_str("the owner was removed"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NotMade {}

impl From<StoreError> for NotMade {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a key was not given a new secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotRotated {
    /// There is no such key.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// The store or the source of randomness cannot say. The secrets of before may be good or not.
    Store(StoreError),
}

impl fmt::Display for NotRotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no API key of this id"),
            Self::Revoked => f.write_str("the key was revoked: make another"),
            Self::Expired => f.write_str("the key has expired: make another"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NotRotated {}

impl From<StoreError> for NotRotated {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What may be shown of a key as it stands now.
pub(super) fn summary(standing: Standing, now: Timestamp) -> KeySummary {
    let record = standing.record;
    let overlap = record.previous.map(|(_, until)| until);
    KeySummary {
        id: record.id,
        label: record.label,
        owner: record.owner,
        scopes: record.scopes,
        created: record.created,
        expires: record.expires,
        rotated: record.rotated,
        overlap_until: overlap.filter(|until| now < *until),
        revoked: record.revoked,
        last_used: standing.last_used,
        refused: standing.refused,
    }
}
