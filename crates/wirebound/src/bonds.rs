//! Which wires hang on which session, and who wants to know when it ends.
//!
//! A bond exists while a session has a wire here. Making one, putting the session into the live table and hanging the
//! attachment on the wire are one step, so are their opposites: whoever is attached is reached by the session's end,
//! and nobody is attached to a session that was just ended.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError};

use event_listener::{Event, EventListener};

use crate::event::Side;
use crate::ids::{Root, SessionId, WireId};
use crate::record::Origin;
use crate::revocation::{Revocations, Standing};
use crate::role::Role;
use crate::sync::{Arc as ModelArc, Mutex, MutexGuard, Ordering};
use crate::table::{Handle, Inserted, Live, Table};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{ByClaim, Ending, Stock};
use crate::wire::{Attachment, WireCore};

const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };
/// Open challenges remembered per session; more are only not waited for.
const STRANGERS: usize = 16;

/// All bonds of this process.
#[derive(Debug)]
pub(crate) struct Bonds {
    table: Table,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<SessionId, Bond>>>,
    /// Sessions whose last wire went, with the time they were last active: to be written down.
    left: Mutex<HashMap<SessionId, Timestamp>>,
}

/// A session without wires here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departed {
    pub(crate) session: SessionId,
    pub(crate) last_active: Timestamp,
}

#[derive(Debug)]
struct Bond {
    handle: Handle,
    wires: Vec<Bound>,
    fate: ModelArc<Fate>,
    strangers: Vec<(Root, Timestamp)>,
    written: Timestamp,
    cargo: Option<Arc<dyn Any + Send + Sync>>,
}

impl Bond {
    fn new(handle: Handle, written: Timestamp) -> Self {
        Self {
            handle,
            wires: Vec::new(),
            fate: ModelArc::default(),
            strangers: Vec::new(),
            written,
            cargo: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) wire: Arc<WireCore>,
    pub(crate) origin: Origin,
    /// The wire proves nothing; requests on it were proved one by one.
    pub(crate) visiting: bool,
}

impl Bound {
    pub(crate) const fn stock(&self) -> Stock {
        self.origin.stock()
    }
}

/// What becomes of a session, for those who stream to it.
#[derive(Debug, Default)]
struct Fate {
    state: Mutex<FateState>,
    changed: Event,
    /// Strangers were joined or gave up.
    joined: Event,
}

#[derive(Clone, Copy, Debug, Default)]
struct FateState {
    ending: Option<Ending>,
    falls: u64,
}

impl Fate {
    /// Whoever streams to the session must be judged again.
    fn fall(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.falls = state.falls.saturating_add(1);
        drop(state);
        self.changed.notify(usize::MAX);
    }
}

/// Why a stream is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "every table of close codes must meet both"
)]
pub enum Cut {
    /// The session is over.
    Ended(Ending),
    /// The role in force fell; come back and be judged again.
    RoleChanged,
}

/// Tells when a session ends or its role falls. Hold it beside everything that is sent to the session.
#[derive(Clone, Debug)]
pub struct Watch {
    fate: ModelArc<Fate>,
    falls: u64,
    handle: Handle,
    /// The role that what is sent was judged with.
    role: Role,
    /// What was judged did not stand any more when the watch began.
    fallen: bool,
    /// The token that it was proved by, where it was proved by nothing else.
    claim: Option<(Arc<ByClaim>, Arc<Revocations>)>,
}

impl Watch {
    /// What has happened since the watch began, if anything.
    #[must_use]
    pub fn now(&self) -> Option<Cut> {
        let state = *self
            .fate
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match state.ending {
            Some(ending) => Some(Cut::Ended(ending)),
            None => (self.fallen || state.falls > self.falls).then_some(Cut::RoleChanged),
        }
    }

    /// Whose.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.handle.id()
    }

    /// What was proved by a token alone is over when that is, and when that is called back.
    pub(crate) fn held_to(mut self, claim: Arc<ByClaim>, called_back: Arc<Revocations>) -> Self {
        self.claim = Some((claim, called_back));
        self
    }

    /// Whether it must be looked at again soon although nothing is said: what calls a token back is said of no session.
    #[must_use]
    pub const fn is_by_claim(&self) -> bool {
        self.claim.is_some()
    }

    fn claim_at(&self, now: Timestamp) -> Option<Cut> {
        let (claim, called_back) = self.claim.as_ref()?;
        if called_back.standing(&claim.issued) == Standing::Revoked {
            return Some(Cut::Ended(Ending::Revoked));
        }
        (now >= claim.expires).then_some(Cut::RoleChanged)
    }

    /// As [`Watch::now`], and whether the role that it was judged with is still in force at this time. What time ends is
    /// not said here: [`Watch::due`] says when to have the engine look.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<Cut> {
        self.now().or_else(|| self.claim_at(now)).or_else(|| {
            let live = self.handle.snapshot()?;
            (role_at(&live, now) < self.role).then_some(Cut::RoleChanged)
        })
    }

    /// When to look again although nothing was said: at the earliest of what time brings to the session. `None`: it is
    /// gone, and [`Watch::now`] says so.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let live = self.handle.snapshot()?;
        let lapse = live.raised.map(|(_, until)| until);
        let idle = live.last_active.after(live.idle);
        let claim = self.claim.as_ref();
        let claim = claim.map_or(Timestamp::NEVER, |(claim, _)| claim.expires);
        Some(
            claim
                .min(idle)
                .min(live.absolute)
                .min(live.identity_until)
                .min(lapse.filter(|until| *until > now).unwrap_or(idle)),
        )
    }

    /// From now on it is held against the role in force, if that has risen: for whoever watches over a whole session.
    pub fn rise(&mut self, now: Timestamp) {
        if let Some(live) = self.handle.snapshot() {
            self.role = self.role.max(role_at(&live, now));
        }
    }

    /// Begins to listen: take it before asking [`Watch::at`], so that nothing falls between.
    #[must_use]
    pub fn listen(&self) -> Stirred {
        Stirred(self.fate.changed.listen())
    }

    /// Waits for it. It hears what is done to the session, not what time does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; ask again.
    pub async fn cut(&self) -> Cut {
        loop {
            let listener: EventListener = self.fate.changed.listen();
            if let Some(cut) = self.now() {
                return cut;
            }
            listener.await;
        }
    }
}

/// The role in force at a time.
fn role_at(live: &Live, now: Timestamp) -> Role {
    let raised = live.raised.filter(|(_, until)| now < *until);
    raised.map_or(live.role, |(role, _)| role).min(live.ceiling)
}

/// Waits until something was done to a session: it ended, its role fell, or its times changed.
#[derive(Debug)]
pub struct Stirred(EventListener);

impl Stirred {
    /// Resolves at the next change.
    pub async fn stirred(self) {
        self.0.await;
    }
}

/// Waits until a strange wire of the session was joined.
#[derive(Debug)]
pub struct Joining(EventListener);

impl Joining {
    /// Resolves at the next join.
    pub async fn joined(self) {
        self.0.await;
    }
}

impl Bonds {
    pub(crate) fn new() -> Self {
        Self {
            table: Table::new(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            left: Mutex::default(),
        }
    }

    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    fn shard(&self, session: SessionId) -> MutexGuard<'_, HashMap<SessionId, Bond>> {
        let hash = self.hasher.hash_one(session);
        let at = usize::try_from(hash).unwrap_or_default() % SHARDS;
        #[expect(
            clippy::indexing_slicing,
            reason = "the remainder is below the number of shards"
        )]
        let shard = &self.shards[at];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hangs a session on a wire, putting it into the live table if it is not there. `written` is what the store knows
    /// of its last use. On a wire that was dropped meanwhile nothing stays.
    ///
    /// `None` only if the table has no room left.
    pub(crate) fn join(
        &self,
        live: Live,
        wire: &Arc<WireCore>,
        written: Timestamp,
        attachment: impl FnOnce(Handle) -> Attachment,
    ) -> Option<Handle> {
        let id = live.id;
        let mut shard = self.shard(id);
        // It came by what a token claims, which does not tell under which epoch's key its place was counted.
        if let Some(bond) = shard.get(&id)
            && bond.handle.place() != live.place
        {
            self.table.remove(bond.handle.place(), id);
        }
        let handle = match self.table.insert(&live) {
            Inserted::New(handle) => handle,
            Inserted::Present(handle) => {
                // What is in the table may be older than what the store just said (an identity that was extended).
                handle.update(|there| {
                    let last_active = there.last_active.max(live.last_active);
                    *there = Live {
                        last_active,
                        ..live
                    };
                });
                handle
            }
            Inserted::Full => return None,
        };
        let bond = shard
            .entry(id)
            .or_insert_with(|| Bond::new(handle.clone(), written));
        bond.handle = handle.clone();
        // Its times may be others now: whoever sleeps until then looks again.
        bond.fate.changed.notify(usize::MAX);
        self.hang(&mut shard, id, wire, attachment(handle.clone()));
        Some(handle)
    }

    /// A visit by what a token claims: what is known of the session from the store is not replaced by it.
    ///
    /// `None` only if the table has no room left.
    pub(crate) fn visit_by_claim(
        &self,
        live: Live,
        wire: &Arc<WireCore>,
        attachment: impl FnOnce(Handle) -> Attachment,
    ) -> Option<Handle> {
        let id = live.id;
        let mut shard = self.shard(id);
        let there = shard.get(&id).map(|bond| bond.handle.clone());
        let handle = match there {
            Some(handle) => {
                // Only a later token can move these: a session lives longer than what was issued for it.
                handle.update(|there| {
                    there.absolute = there.absolute.max(live.absolute);
                    there.identity_until = there.identity_until.max(live.identity_until);
                    there.last_active = there.last_active.max(live.last_active);
                });
                handle
            }
            None => match self.table.insert(&live) {
                Inserted::New(handle) | Inserted::Present(handle) => handle,
                Inserted::Full => return None,
            },
        };
        shard
            .entry(id)
            .or_insert_with(|| Bond::new(handle.clone(), live.last_active));
        self.hang(&mut shard, id, wire, attachment(handle.clone()));
        Some(handle)
    }

    fn hang(
        &self,
        shard: &mut HashMap<SessionId, Bond>,
        id: SessionId,
        wire: &Arc<WireCore>,
        attachment: Attachment,
    ) {
        if let Some(bond) = shard.get_mut(&id) {
            bond.wires.retain(|bound| bound.wire.id != wire.id);
            bond.wires.push(Bound {
                wire: Arc::clone(wire),
                origin: attachment.origin,
                visiting: attachment.is_visiting(),
            });
        }
        if !wire.attach(attachment) {
            self.part(shard, id, wire.id);
        }
    }

    /// Takes a session off a wire. With the last one the session leaves memory; the store keeps it.
    pub(crate) fn leave(&self, session: SessionId, wire: &WireCore) {
        let mut shard = self.shard(session);
        wire.detach(session);
        self.part(&mut shard, session, wire.id);
    }

    /// A visitor's request was answered.
    pub(crate) fn visited(&self, session: SessionId, wire: &WireCore) {
        let mut shard = self.shard(session);
        if wire.visited(session) {
            self.part(&mut shard, session, wire.id);
        }
    }

    /// The wire is shared among people: it proves nothing any more, and nothing that it proved stays. What still streams
    /// over it is cut, and with it what the session receives elsewhere, which comes back and is judged again.
    pub(crate) fn let_go(&self, wire: &WireCore) {
        wire.shared.store(true, Ordering::Relaxed);
        for session in wire.sessions() {
            self.role_fell(session);
            self.leave(session, wire);
        }
    }

    fn part(&self, shard: &mut HashMap<SessionId, Bond>, session: SessionId, wire: WireId) {
        let Some(bond) = shard.get_mut(&session) else {
            return;
        };
        bond.wires.retain(|bound| bound.wire.id != wire);
        if !bond.wires.is_empty() {
            return;
        }
        let last_active = bond.handle.last_active().unwrap_or(bond.written);
        self.left().insert(session, last_active);
        self.table.remove(bond.handle.place(), session);
        if let Some(bond) = shard.remove(&session) {
            // Whoever still streams to it would not hear of its ending any more.
            bond.fate.fall();
        }
    }

    fn left(&self) -> MutexGuard<'_, HashMap<SessionId, Timestamp>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was written down, or there is nothing left to write it to.
    pub(crate) fn written(&self, departed: Departed) {
        let Departed {
            session,
            last_active,
        } = departed;
        let mut shard = self.shard(session);
        if let Some(bond) = shard.get_mut(&session) {
            bond.written = bond.written.max(last_active);
        }
        let mut left = self.left();
        if left.get(&session).is_some_and(|at| *at <= last_active) {
            left.remove(&session);
        }
    }

    /// Ends a session here: out of the table, off its wires, everybody told. Answers the wires it had.
    pub(crate) fn end(&self, session: SessionId, ending: Ending) -> Vec<Bound> {
        let mut shard = self.shard(session);
        let Some(bond) = shard.remove(&session) else {
            self.left().remove(&session);
            return Vec::new();
        };
        self.left().remove(&session);
        self.table.remove(bond.handle.place(), session);
        bond.fate
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ending = Some(ending);
        bond.fate.changed.notify(usize::MAX);
        bond.fate.joined.notify(usize::MAX);
        for bound in &bond.wires {
            bound.wire.detach(session);
        }
        bond.wires
    }

    /// A write that concerned the session was cut off or failed, and may have happened all the same: its wires stay, but
    /// accept nothing until the store was asked, and its streams are judged again.
    pub(crate) fn doubt(&self, session: SessionId) {
        if let Some(bond) = self.shard(session).get(&session) {
            for bound in &bond.wires {
                bound.wire.doubt(session);
            }
            bond.fate.fall();
        }
    }

    /// The session is over by what the store says of its subject; that it ends is only about to be written. Its wires accept
    /// nothing, and whatever streams to it is told why at once: a moment later is too late to say more than "come back".
    pub(crate) fn condemn(&self, session: SessionId, ending: Ending) {
        if let Some(bond) = self.shard(session).get(&session) {
            for bound in &bond.wires {
                bound.wire.doubt(session);
            }
            bond.fate
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .ending = Some(ending);
            bond.fate.changed.notify(usize::MAX);
        }
    }

    /// Changes what the live table knows, if the session is there. Whoever sleeps until one of its times looks again.
    pub(crate) fn update(&self, session: SessionId, change: impl FnOnce(&mut Live)) {
        if let Some(bond) = self.shard(session).get(&session) {
            bond.handle.update(change);
            bond.fate.changed.notify(usize::MAX);
        }
    }

    /// The role in force fell, or a wire lost what it proved: streams to the session must be judged again.
    pub(crate) fn role_fell(&self, session: SessionId) {
        if let Some(bond) = self.shard(session).get(&session) {
            bond.fate.fall();
        }
    }

    pub(crate) fn watch(&self, session: SessionId) -> Option<Watch> {
        let shard = self.shard(session);
        let bond = shard.get(&session)?;
        let (fate, handle) = (ModelArc::clone(&bond.fate), bond.handle.clone());
        let falls = fate
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .falls;
        Some(Watch {
            fate,
            falls,
            handle,
            role: Role::GUEST,
            fallen: false,
            claim: None,
        })
    }

    /// A watch over what is sent in answer to a request that was judged with this role, on this wire. What happened
    /// between the judgement and now counts: the wire was let go or doubted, the role fell.
    pub(crate) fn watch_judged(
        &self,
        session: SessionId,
        wire: &WireCore,
        role: Role,
        now: Timestamp,
    ) -> Option<Watch> {
        let mut watch = self.watch(session)?;
        watch.role = role;
        watch.fallen = wire.doubts(session).unwrap_or(true) || watch.at(now).is_some();
        Some(watch)
    }

    pub(crate) fn wires(&self, session: SessionId) -> Vec<Bound> {
        self.shard(session)
            .get(&session)
            .map(|bond| bond.wires.clone())
            .unwrap_or_default()
    }

    /// Where a session is held from, for an event that names both sides.
    pub(crate) fn holder(&self, session: SessionId) -> Option<Side> {
        self.shard(session)
            .get(&session)?
            .wires
            .iter()
            .max_by_key(|bound| bound.stock())
            .map(|bound| bound.wire.side())
    }

    /// Something of the caller's that lives as long as the session has a wire here, made when it is first asked for.
    pub(crate) fn cargo<T: Any + Send + Sync>(
        &self,
        session: SessionId,
        make: impl FnOnce() -> T,
    ) -> Option<Arc<T>> {
        let mut shard = self.shard(session);
        let bond = shard.get_mut(&session)?;
        let cargo = bond.cargo.get_or_insert_with(|| Arc::new(make()));
        Arc::clone(cargo).downcast().ok()
    }

    /// A stranger was challenged.
    pub(crate) fn challenged(&self, session: SessionId, root: Root, now: Timestamp) {
        if let Some(bond) = self.shard(session).get_mut(&session)
            && bond.strangers.len() < STRANGERS
        {
            bond.strangers.push((root, now));
        }
    }

    /// A stranger was joined: whoever waits for one may try again.
    pub(crate) fn joined(&self, session: SessionId, root: &Root) {
        if let Some(bond) = self.shard(session).get_mut(&session) {
            bond.strangers.retain(|(other, _)| other != root);
            bond.fate.joined.notify(usize::MAX);
        }
    }

    /// Whether another stranger's challenge is younger than `age`, and if so what to wait on.
    pub(crate) fn stranger_open(
        &self,
        session: SessionId,
        root: Option<Root>,
        age: Lifetime,
        now: Timestamp,
    ) -> Option<Joining> {
        let mut shard = self.shard(session);
        let bond = shard.get_mut(&session)?;
        bond.strangers.retain(|(_, at)| now.since(*at) < age);
        let other = bond.strangers.iter().any(|(other, _)| Some(*other) != root);
        other.then(|| Joining(bond.fate.joined.listen()))
    }

    /// Sessions whose last use has moved on by more than a thirty-second of their idle time since it was written down.
    pub(crate) fn unwritten(&self) -> Vec<Departed> {
        let departed = |(session, last_active): (&SessionId, &Timestamp)| Departed {
            session: *session,
            last_active: *last_active,
        };
        let mut found: Vec<_> = self.left().iter().map(departed).collect();
        for shard in &self.shards {
            for (session, bond) in &*shard.lock().unwrap_or_else(PoisonError::into_inner) {
                let Some(live) = bond.handle.snapshot() else {
                    continue;
                };
                let step = Lifetime::from_millis(live.idle.as_millis() / 32);
                if live.last_active.since(bond.written) >= step {
                    found.push(Departed {
                        session: *session,
                        last_active: live.last_active,
                    });
                }
            }
        }
        found
    }

    /// When it was last used here, as far as it is not written down yet.
    pub(crate) fn last_active(&self, session: SessionId) -> Option<Timestamp> {
        let shard = self.shard(session);
        let here = shard
            .get(&session)
            .and_then(|bond| bond.handle.last_active());
        here.max(self.left().get(&session).copied())
    }

    /// How many sessions have a wire here.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }
}
