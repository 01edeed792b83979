//! What the engine asks of storage: a small, conditional, versioned key space.
//!
//! # The contract, with the attacker in it
//!
//! A store keeps values under keys in a few [`Space`]s. It knows nothing of what the values mean: the engine
//! encodes them, and puts a MAC over key, version and value, so **whoever can write the store can lose
//! sessions but forge none, and whoever can read it finds no secret**.
//!
//! - **Nothing is unconditional.** Each [`Change`] says what it expects to find. There is no upsert: the
//!   attack is the slow request that was judged before a logout and writes its session back after it. Its
//!   version is gone, so its commit is [`Commit::Stale`], and a stale commit changes *nothing at all*.
//! - **A commit is atomic**: all of its changes or none, in memory and on disk, also when power fails in
//!   between. The single-admin rule rests on it: the new session and the end of the others are one commit.
//! - **Versions**: a key that is put where nothing was has version 1; each put adds one. The store computes
//!   it and the engine foretells it. A removed key starts again at 1; the engine never removes a key whose
//!   return could be mistaken (it leaves a tombstone).
//! - **Durable means durable**: a commit asked for as [`Durability::Durable`] is answered [`Commit::Done`] only when
//!   it would survive `kill -9` and loss of power. [`Durability::Soon`] may be lost within a second; the
//!   engine uses it only where forgetting makes nobody more powerful (a newer "last seen").
//! - **Read your writes**: after `Done`, every `load` on every handle of this store sees it. An
//!   eventually consistent store cannot implement this trait.
//! - **If it cannot say, it says so**: an I/O error, a timeout, a value that does not read back is
//!   [`StoreError`], never `None`. `None` is a fact: "there is no such key". The engine refuses on error
//!   and believes `None`; a store that answers `None` in an outage would sign everybody out, one that
//!   answers an old value would let an ended session in.
//! - **After an error on commit the outcome is unknown**: it may or may not have happened. It must not happen
//!   *later*: once the error is returned, the state is settled.
//! - **The store has no clock and expires nothing by itself.** Each value carries a `due` moment; [`Store::due`]
//!   finds what is due, in order, at a cost that depends on how much is due and not on how much there is.
//!
//! One contract suite (`wirebound-testkit`, `store_contract`) runs over every implementation.

use core::fmt;
use core::future::Future;
use core::pin::Pin;

use crate::time::Timestamp;

mod memory;

pub use memory::MemoryStore;

/// What a store answers, sooner or later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store for sessions and what belongs to them. The module's text is its contract.
pub trait Store: fmt::Debug + Send + Sync {
    /// The value under `key`, or `None` if there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>>;

    /// Makes all the changes, or none if any expectation fails.
    ///
    /// The changes of one commit name different keys.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the outcome unknown: all or nothing.
    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit>;

    /// Up to `limit` keys of a space with `due` at or before `until`, ordered by (due, name), beginning after
    /// `after`. With [`Timestamp::NEVER`] it walks the whole space.
    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>>;

    /// How many keys a space holds, at the cost of reading a counter.
    fn count(&self, space: Space) -> Answer<'_, u64>;
}

/// Kinds of things kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a store must place every space")]
#[repr(u8)]
pub enum Space {
    /// Live sessions, by session id.
    Session = 1,
    /// Ended sessions, by session id, until their absolute expiry.
    Tombstone = 2,
    /// Identities, by subject.
    Identity = 3,
    /// Sealed vaults, by session id.
    Vault = 4,
    /// Families marked shared, by root.
    Family = 5,
    /// What the node keeps for itself: TLS ticket keys, for instance.
    Node = 6,
    /// Signed assertions that were revoked before their time was over.
    Revoked = 7,
    /// API keys, by their ids.
    Key = 8,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 8] = [
        Self::Session,
        Self::Tombstone,
        Self::Identity,
        Self::Vault,
        Self::Family,
        Self::Node,
        Self::Revoked,
        Self::Key,
    ];

    /// The number it has on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::Tombstone => 2,
            Self::Identity => 3,
            Self::Vault => 4,
            Self::Family => 5,
            Self::Node => 6,
            Self::Revoked => 7,
            Self::Key => 8,
        }
    }

    /// The space with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Session),
            2 => Some(Self::Tombstone),
            3 => Some(Self::Identity),
            4 => Some(Self::Vault),
            5 => Some(Self::Family),
            6 => Some(Self::Node),
            7 => Some(Self::Revoked),
            8 => Some(Self::Key),
            _ => None,
        }
    }
}

/// Where a value is kept: a space and a name of 1 to 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    space: Space,
    name: smallvec::SmallVec<[u8; 22]>,
}

impl Key {
    /// A key. A name longer than 255 bytes is cut; no name of the engine is.
    #[must_use]
    pub fn new(space: Space, name: &[u8]) -> Self {
        let name = name.get(..255).unwrap_or(name);
        Self {
            space,
            name: name.into(),
        }
    }

    /// Its space.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/", self.space)?;
        self.name
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How many times a key was put since it came to be. Starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a key that was just made.
    pub const FIRST: Self = Self(1);

    /// From its number.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The version the next put makes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A value as it stands in the store.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores build it")]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// When a sweep should look at it.
    pub due: Timestamp,
    /// The bytes.
    pub value: Vec<u8>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({:?}, {} bytes)", self.version, self.value.len())
    }
}

/// What a put expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "stores match on it")]
pub enum Expect {
    /// Nothing under this key.
    Absent,
    /// This version.
    At(Version),
}

impl Expect {
    /// The version that a put with this expectation makes.
    #[must_use]
    pub const fn makes(self) -> Version {
        match self {
            Self::Absent => Version::FIRST,
            Self::At(version) => version.next(),
        }
    }
}

/// One conditional change.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "stores match on it")]
pub enum Change {
    /// Puts a value.
    Put {
        /// Where.
        key: Key,
        /// What must be there.
        expect: Expect,
        /// The bytes.
        value: Vec<u8>,
        /// When a sweep should look at it.
        due: Timestamp,
    },
    /// Removes a value of this version.
    Remove {
        /// Where.
        key: Key,
        /// The version that must be there.
        version: Version,
    },
    /// Changes nothing, but the commit is stale unless this holds.
    Check {
        /// Where.
        key: Key,
        /// What must be there.
        expect: Expect,
    },
}

impl Change {
    /// The key it names.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Remove { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// What it expects to find.
    #[must_use]
    pub const fn expectation(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Check { expect, .. } => *expect,
            Self::Remove { version, .. } => Expect::At(*version),
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Put { .. } => "Put",
            Self::Remove { .. } => "Remove",
            Self::Check { .. } => "Check",
        };
        write!(f, "{word}({:?}, {:?})", self.key(), self.expectation())
    }
}

/// How long the answer to a commit waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "stores match on it")]
pub enum Durability {
    /// Until the change would survive loss of power.
    Durable,
    /// Not at all: visible at once, durable within about a second.
    Soon,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the engine must meet both")]
pub enum Commit {
    /// All changes were made.
    Done,
    /// An expectation failed; nothing was changed.
    Stale,
}

/// The store cannot say. Not a verdict: whoever asked is answered 503 and keeps the cookie.
pub struct StoreError {
    kind: StoreErrorKind,
    cause: Option<Box<dyn core::error::Error + Send + Sync>>,
}

/// Kinds of store errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or did not answer in time.
    Unavailable,
    /// What was read is not what was written.
    Corrupt,
    /// The medium is full or may not be written.
    Full,
    /// Another process holds the store.
    Locked,
}

impl StoreError {
    /// An error without a cause.
    #[must_use]
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, cause: None }
    }

    /// An error with its cause, which goes to the operator's log only.
    pub fn because(
        kind: StoreErrorKind,
        cause: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            cause: Some(cause.into()),
        }
    }

    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether what was read is not what was written.
    #[must_use]
    pub const fn is_corrupt(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Corrupt)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({:?}", self.kind)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached",
            StoreErrorKind::Corrupt => "the store holds something that was not written like this",
            StoreErrorKind::Full => "the store cannot be written: no space or no permission",
            StoreErrorKind::Locked => "the store is held by another process",
        })
    }
}

impl core::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| {
            let cause: &(dyn core::error::Error + 'static) = cause;
            cause
        })
    }
}
