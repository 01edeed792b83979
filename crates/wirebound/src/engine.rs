//! The engine: where judgement, store, keys and wires meet.
//!
//! It opens no socket, reads no clock and spawns nothing: every method is given `now`. What a verdict depends on
//! is in the store before the verdict leaves, and in memory only after it is in the store. Everything that
//! changes a subject's sessions holds that subject's lock from the load to the last change in memory, so that a
//! slow request never puts a session back into memory that was ended meanwhile; across nodes and against bugs
//! the store's versions say the same once more.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use async_lock::{Mutex, MutexGuard};

use crate::alarms::Alarms;
use crate::api_key::ApiKeyId;
use crate::api_key::held::HeldKeys;
use crate::bonds::{Bonds, Watch};
use crate::cookie::{self, NotOurs, Presented};
use crate::event::{Event, Named, Witness};
use crate::families::Families;
use crate::identity::Identity;
use crate::ids::{SessionId, Subject};
use crate::keys::Keys;
use crate::policy::Policy;
use crate::record::{Carrier, Record, Tombstone};
use crate::revocation::Revocations;
use crate::sequence::{Apart, Rules};
use crate::store::{Change, Expect, Space, Store, StoreError, StoreErrorKind, Stored, Version};
use crate::table::Live;
use crate::time::{Entropy, EntropyError, Lifetime, Timestamp};
use crate::verdict::Verified;
use crate::wire::{Connected, Wire, WireCore, WireIds};

mod api_keys;
mod assertions;
mod attach;
mod authorize;
mod doubt;
mod echo;
mod elevate;
mod end;
mod evidence;
mod guests;
mod hand_over;
mod identities;
mod imports;
mod node;
mod prove;
mod refused;
mod revoke;
mod room;
mod shared;
mod sign_in;
mod summary;
mod sweep;
mod tickets;
mod turn_away;
mod vault;

pub use crate::families::Client;
pub use api_keys::{KeySummary, NewKey, NewlyMade, NotMade, NotRotated, RecalledKeys};
pub use assertions::{Claimed, Issue};
pub use authorize::Authorized;
pub use echo::{EchoToken, request_key};
pub use elevate::{Elevate, Elevated, NotElevated};
pub use end::Scope;
pub use guests::{Guest, SEALED_LIFE};
pub use hand_over::HandOverOffer;
pub use identities::IdentitySummary;
pub use imports::Import;
pub use node::Kept;
pub use prove::{Accepted, Caller, Offer, Outcome};
pub use revoke::{CalledBack, RevokedPage};
pub use shared::Sign;
pub use sign_in::{NotSignedIn, SignIn, SignedIn};
pub use summary::{SessionSummary, SessionsAfter, SessionsPage};
pub use sweep::Swept;
pub use tickets::{Leaving, TicketTimes, Ticketed};
pub use vault::Vault;

/// Subjects share this many locks.
const LOCKS: usize = 1024;
/// How often a commit that lost a race is tried again before the answer is "cannot say".
const TRIES: usize = 32;
/// How long a tombstone stays at least, so that a late cookie is still told what happened.
const TOMBSTONE: Lifetime = Lifetime::from_days(1);

/// The engine. Share it in an `Arc`.
pub struct Engine {
    store: Arc<dyn Store>,
    keys: Keys,
    policy: Policy,
    entropy: Arc<dyn Entropy>,
    witness: Arc<dyn Witness>,
    bonds: Arc<Bonds>,
    families: Arc<Families>,
    wires: WireIds,
    alarms: Alarms,
    refusals: Alarms<Named>,
    guests: guests::Guests,
    times: tickets::Times,
    revocations: Arc<Revocations>,
    issued: revoke::Issues,
    imports: Mutex<()>,
    api_keys: HeldKeys,
    key_alarms: Alarms<ApiKeyId>,
    making_keys: Mutex<()>,
    hasher: RandomState,
    locks: Vec<Mutex<()>>,
}

impl core::fmt::Debug for Engine {
    /// Who is connected is for an operator's eyes, not for whatever prints an engine by the way.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

/// A value from the store with its version.
#[derive(Debug)]
struct Held<T> {
    value: T,
    version: Version,
}

impl Engine {
    /// An engine over a store.
    pub fn new(
        store: Arc<dyn Store>,
        keys: Keys,
        policy: Policy,
        entropy: Arc<dyn Entropy>,
        witness: Arc<dyn Witness>,
    ) -> Self {
        let hasher = RandomState::new();
        let apart = if policy.preset.binds_wires() {
            Apart::Families
        } else {
            Apart::Headers
        };
        let tickets = Rules {
            apart,
            ..policy.tickets
        };
        Self {
            store,
            keys,
            policy: Policy { tickets, ..policy },
            entropy,
            witness,
            bonds: Arc::new(Bonds::new()),
            families: Arc::default(),
            wires: WireIds::default(),
            alarms: Alarms::default(),
            refusals: Alarms::default(),
            guests: guests::Guests::default(),
            times: tickets::Times::default(),
            revocations: Arc::new(Revocations::new(hasher.hash_one("this run"))),
            issued: revoke::Issues::default(),
            imports: Mutex::new(()),
            api_keys: HeldKeys::default(),
            key_alarms: Alarms::default(),
            making_keys: Mutex::new(()),
            hasher,
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
        }
    }

    /// What the operator chose.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The node's keys, for whoever seals something of its own under them.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Registers a connection that was just made. Dropping the wire is the only way to take it back.
    #[must_use]
    pub fn wire(&self, connected: Connected) -> Wire {
        let core = Arc::new(WireCore::new(self.wires.next(), connected));
        if self.families.came(&core) {
            core.shared
                .store(true, core::sync::atomic::Ordering::Relaxed);
        }
        Wire {
            core,
            bonds: Arc::clone(&self.bonds),
            families: Arc::clone(&self.families),
        }
    }

    /// Reads a cookie's value. The store is not asked; what comes back is believed by nobody.
    ///
    /// # Errors
    ///
    /// When it is no cookie of ours, or its selector was made up.
    pub fn read(&self, cookie: &[u8]) -> Result<Presented, NotOurs> {
        cookie::read(&self.keys, cookie)
    }

    /// As [`Engine::read`], for a request to this host: reads a guest's sealed cookie too.
    ///
    /// # Errors
    ///
    /// As [`Engine::read`]; also when a sealed cookie was made for another host.
    pub fn read_at(
        &self,
        cookie: &[u8],
        authority: &crate::ids::Authority,
    ) -> Result<Presented, NotOurs> {
        cookie::read_at(&self.keys, cookie, authority)
    }

    /// Something that tells when the session ends or its role falls; nothing if it has no wire here (then whatever
    /// was to be sent must not be).
    #[must_use]
    pub fn watch(&self, session: SessionId) -> Option<Watch> {
        self.bonds.watch(session)
    }

    /// As [`Engine::watch`], over what is sent in answer to a request that was judged on this wire: what happened between
    /// the judgement and now counts, so that a role that fell in that moment is not missed.
    #[must_use]
    pub fn watch_judged(&self, wire: &Wire, verified: &Verified, now: Timestamp) -> Option<Watch> {
        let watch =
            self.bonds
                .watch_judged(verified.session(), &wire.core, verified.role(), now)?;
        Some(match verified.claim() {
            Some(claim) => watch.held_to(Arc::clone(claim), Arc::clone(&self.revocations)),
            None => watch,
        })
    }

    /// The client is there: what it sends within a request that was judged (an upload, a WebSocket's messages) keeps the
    /// session from being idle. It brings back nothing that time has ended. `false`: it is not to be believed any more.
    pub fn touch(&self, wire: &Wire, session: SessionId, now: Timestamp) -> bool {
        wire.core.touch(session, now)
    }

    /// Something of the caller's own that lives as long as the session has a wire here.
    pub fn cargo<T: core::any::Any + Send + Sync>(
        &self,
        session: SessionId,
        make: impl FnOnce() -> T,
    ) -> Option<Arc<T>> {
        self.bonds.cargo(session, make)
    }

    /// How many sessions live, in the store, at the cost of reading a counter.
    ///
    /// # Errors
    ///
    /// When the store cannot say.
    pub async fn workload(&self) -> Result<u64, StoreError> {
        self.store.count(Space::Session).await
    }

    /// How many sessions have a wire here.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.bonds.len()
    }

    fn tell(&self, event: Event) {
        self.witness.saw(event);
    }

    async fn lock(&self, subject: &Subject) -> MutexGuard<'_, ()> {
        let at = usize::try_from(self.hasher.hash_one(subject)).unwrap_or_default() % LOCKS;
        #[expect(
            clippy::indexing_slicing,
            reason = "the remainder is below the number of locks"
        )]
        let lock = &self.locks[at];
        lock.lock().await
    }

    async fn load<T>(
        &self,
        key: crate::store::Key,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<Held<T>>, StoreError> {
        let Some(Stored { version, value, .. }) = self.store.load(&key).await? else {
            return Ok(None);
        };
        let payload = self.keys.unwrap(&key, version, &value)?;
        let value = decode(payload).ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok(Some(Held { value, version }))
    }

    async fn load_record(&self, id: &SessionId) -> Result<Option<Held<Record>>, StoreError> {
        self.load(Record::key(id), Record::decode).await
    }

    async fn load_tombstone(&self, id: &SessionId) -> Result<Option<Held<Tombstone>>, StoreError> {
        self.load(Tombstone::key(id), Tombstone::decode).await
    }

    async fn load_identity(&self, subject: &Subject) -> Result<Option<Held<Identity>>, StoreError> {
        self.load(Identity::key(subject), Identity::decode).await
    }

    fn put(
        &self,
        key: crate::store::Key,
        expect: Expect,
        payload: Vec<u8>,
        due: Timestamp,
    ) -> Change {
        let value = self.keys.vouch(&key, expect.makes(), payload);
        Change::Put {
            key,
            expect,
            value,
            due,
        }
    }

    fn put_record(&self, record: &Record, expect: Expect) -> Change {
        self.put(
            Record::key(&record.id),
            expect,
            record.encode(),
            record.absolute.min(record.seen.after(self.idle_of(record))),
        )
    }

    fn put_identity(&self, identity: &Identity, expect: Expect) -> Change {
        let due = if identity.is_kept() {
            Timestamp::NEVER
        } else {
            identity.expires
        };
        self.put(
            Identity::key(&identity.subject),
            expect,
            identity.encode(),
            due,
        )
    }

    /// What the live table is to know of a session.
    fn live(
        &self,
        record: &Record,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Live, StoreError> {
        // The epoch's keys are gone: nothing of that session can be checked any more.
        let lost = || StoreError::new(StoreErrorKind::Corrupt);
        let digest = self.current_digest(record)?;
        Ok(Live {
            id: record.id,
            place: self.keys.place(&record.id, record.epoch).ok_or_else(lost)?,
            digest,
            role: record.role,
            raised: record.raised().map(|raised| (raised.role, raised.until)),
            ceiling: identity.ceiling(),
            blocked: identity.blocked,
            identity_until: identity.expires,
            absolute: record.absolute,
            idle: self.idle_of(record),
            last_active: record.seen.max(now),
        })
    }

    /// The idle limit in force: a guest's is shorter, and ends with being one.
    fn idle_of(&self, record: &Record) -> Lifetime {
        match record.carrier {
            Carrier::Guest => record.idle.min(self.policy.guest_idle),
            Carrier::Http | Carrier::Raw | Carrier::Imported => record.idle,
        }
    }

    fn draw_id(&self) -> Result<SessionId, EntropyError> {
        let mut bytes = [0; crate::ids::SESSION_ID_BYTES];
        self.entropy.fill(&mut bytes)?;
        Ok(SessionId::from_bytes(bytes))
    }
}

/// Lets whatever else runs have its turn: the engine has no runtime to ask.
async fn let_others() {
    let mut waited = false;
    core::future::poll_fn(|context| {
        if waited {
            return core::task::Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        core::task::Poll::Pending
    })
    .await;
}

fn lost_race() -> StoreError {
    StoreError::because(
        StoreErrorKind::Unavailable,
        "a commit lost its race too often",
    )
}

#[cfg(test)]
mod tests;
