//! Wires: live connections, and the attachments that hang on them.
//!
//! A [`Wire`] is owned by whoever serves the connection; dropping it ends every attachment. Its id is never used
//! twice in a process, so nothing late can speak for the connection that comes after.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, PoisonError};

use smallvec::SmallVec;
use subtle::ConstantTimeEq as _;

use crate::bonds::Bonds;
use crate::event::Side;
use crate::families::Families;
use crate::ids::{Authority, Root, SessionId, Subject, WireId};
use crate::record::Origin;
use crate::role::{Role, Strength};
use crate::sync::{AtomicBool, AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::table::{Handle, Over};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{By, Stock, Verified};

/// Longest client name kept.
const CLIENT_CHARS: usize = 120;
/// How many genuine secrets an attachment knows by digest.
const DIGESTS: usize = 4;

/// The connection behind a wire, as the engine may act on it. Implemented by whoever serves connections.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Answer what is in flight, then close. Returns at once; calling it again changes nothing.
    fn close(&self);

    /// Requests being answered right now.
    fn in_flight(&self) -> usize;

    /// Asks the peer, within two seconds, whether it is still there.
    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// How long a round trip takes: the smoothed time and four times its variance (RFC 6298 section 2), as the transport
    /// measured it. Nothing if it cannot say; then the longest is assumed.
    fn trip(&self) -> Option<Lifetime>;
}

/// What a TLS handshake told about where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the TLS layer builds it")]
pub struct Lineage {
    /// The family's root.
    pub root: Root,
    /// A second root the wire counts for (a ticket known only after a HelloRetryRequest).
    pub also: Option<Root>,
    /// The connection was resumed.
    pub resumed: bool,
    /// The client got tickets on it: it was resumed, or it took a grant.
    pub ticketed: bool,
    /// When the family's full handshake was.
    pub birth: Timestamp,
}

/// A connection that was just made.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever serves connections builds it"
)]
pub struct Connected {
    /// How to act on it.
    pub transport: Arc<dyn Transport>,
    /// The peer.
    pub address: Option<IpAddr>,
    /// Its family; none without TLS.
    pub lineage: Option<Lineage>,
    /// When.
    pub opened: Timestamp,
}

/// One live connection. Dropping it ends all that hung on it.
pub struct Wire {
    pub(crate) core: Arc<WireCore>,
    pub(crate) bonds: Arc<Bonds>,
    pub(crate) families: Arc<Families>,
}

pub(crate) struct WireCore {
    pub(crate) id: WireId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) lineage: Option<Lineage>,
    pub(crate) opened: Timestamp,
    pub(crate) shared: AtomicBool,
    /// What the store says of the family was looked up.
    pub(crate) mark_known: AtomicBool,
    /// The store was told that its family is shared.
    pub(crate) mark_kept: AtomicBool,
    pub(crate) client: OnceLock<String>,
    /// Its client was sent on from here: it has no TLS tickets, and showed the nonce of a hand-over.
    handed_on: AtomicBool,
    /// Its family was called by another name once: what a request calls its client is compared there.
    unsettled: AtomicBool,
    /// The session served last, so that taking turns is seen without a lock.
    last_session: AtomicU64,
    /// What hangs on it; nothing any more once it is dropped.
    attachments: RwLock<Hanging>,
}

#[derive(Default)]
struct Hanging {
    list: SmallVec<[Attachment; 1]>,
    dropped: bool,
}

impl core::ops::Deref for Hanging {
    type Target = SmallVec<[Attachment; 1]>;

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl core::ops::DerefMut for Hanging {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.list
    }
}

/// A proved wire of a session.
pub(crate) struct Attachment {
    pub(crate) session: SessionId,
    pub(crate) subject: Subject,
    /// The host its session was made for.
    pub(crate) authority: Authority,
    pub(crate) handle: Handle,
    pub(crate) origin: Origin,
    pub(crate) strength: Strength,
    /// The most that this proof lets be used of the role in force.
    pub(crate) most: Role,
    pub(crate) by: By,
    /// Requests that were proved one by one and are being answered; the wire itself proves nothing then. 0: it does.
    visits: u32,
    digests: SmallVec<[[u8; 16]; DIGESTS]>,
    /// The last ticket that was found current here.
    ticket: Option<Ticket>,
    /// Whether the session still is what memory says is not known: nothing is accepted until the store was asked.
    doubted: bool,
    /// When a hand-over was offered on it, if one is owed or under way.
    hand_over: HandOverDebt,
}

/// What a wire knows of its session's current ticket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) digest: [u8; 16],
    /// Since when it is current.
    pub(crate) since: Timestamp,
    /// Whether it is set again for this wire's client; else it gets a branch of its own.
    pub(crate) known: bool,
}

/// Whether this wire owes its client a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandOverDebt {
    /// No.
    Nothing,
    /// At its next safe request.
    Owed,
    /// It was offered then.
    Offered(Timestamp),
}

/// What a wire knows of a request without asking anybody.
pub(crate) enum Recognised {
    /// Attached, and the secret is one it knows.
    Known(Verified),
    /// Attached, the secret is one it knows, but the session is not to be believed any more.
    Over,
    /// Attached, but the secret is not one it knows.
    OtherSecret(Strength),
    /// Not attached.
    Stranger,
}

impl Wire {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> WireId {
        self.core.id
    }

    /// Its family, if it came by TLS.
    #[must_use]
    pub fn lineage(&self) -> Option<Lineage> {
        self.core.lineage
    }

    /// When it was opened.
    #[must_use]
    pub fn opened(&self) -> Timestamp {
        self.core.opened
    }

    /// Whether its family gives no proof any more.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.core.shared.load(Ordering::Relaxed)
    }

    /// What attached it to a session, if it is attached.
    #[must_use]
    pub fn attached_by(&self, session: SessionId) -> Option<(By, Stock)> {
        let bound = |attachment: &Attachment| {
            let proved = (attachment.by, attachment.origin.stock());
            (!attachment.is_visiting()).then_some(proved)
        };
        self.core.with(session, bound).flatten()
    }

    /// Where its peer stands.
    #[must_use]
    pub fn side(&self) -> Side {
        self.core.side()
    }

    /// Whether another session than this hangs on it, so that it must not be closed for this one.
    #[must_use]
    pub fn carries_others(&self, session: SessionId) -> bool {
        self.core.carries_others(session)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.core.id)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for session in self.core.close() {
            self.bonds.leave(session, &self.core);
        }
        self.families.left(&self.core);
    }
}

impl WireCore {
    pub(crate) fn new(id: WireId, connected: Connected) -> Self {
        Self {
            id,
            transport: connected.transport,
            address: connected.address,
            lineage: connected.lineage,
            opened: connected.opened,
            shared: AtomicBool::new(false),
            // A family that begins here cannot have been marked before.
            mark_known: AtomicBool::new(!connected.lineage.is_some_and(|lineage| lineage.resumed)),
            mark_kept: AtomicBool::new(false),
            client: OnceLock::new(),
            handed_on: AtomicBool::new(false),
            unsettled: AtomicBool::new(false),
            last_session: AtomicU64::new(0),
            attachments: RwLock::default(),
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Hanging> {
        self.attachments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Hanging> {
        self.attachments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn side(&self) -> Side {
        Side {
            wire: Some(self.id),
            address: self.address,
            client: self.client.get().cloned().unwrap_or_default(),
        }
    }

    /// Notes what the client calls itself, cut to what is compared. `None`: as on every request before, and nobody of
    /// its family said otherwise.
    pub(crate) fn client_to_compare<'a>(&self, client: &'a str) -> Option<&'a str> {
        let cut = kept_of(client);
        let known = self.client.get();
        let same = known.is_some_and(|known| known == cut);
        if same && !self.unsettled.load(Ordering::Relaxed) {
            return None;
        }
        self.client.get_or_init(|| cut.to_owned());
        Some(cut)
    }

    /// Its client is sent on.
    pub(crate) fn hand_on(&self) {
        self.handed_on.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_handed_on(&self) -> bool {
        self.handed_on.load(Ordering::Relaxed)
    }

    /// From now on its family is asked what each request calls its client.
    pub(crate) fn look_twice(&self) {
        self.unsettled.store(true, Ordering::Relaxed);
    }

    /// The hot path: no store, no cryptography, one lookup.
    pub(crate) fn recognise(
        &self,
        session: SessionId,
        digest: &[u8; 16],
        authority: Option<&Authority>,
        now: Timestamp,
    ) -> Recognised {
        let attachments = self.read();
        // Under the lock: what was attached after the mark is never met without it.
        if self.shared.load(Ordering::Relaxed) {
            return Recognised::Stranger;
        }
        let Some(attachment) = attachments
            .iter()
            .find(|attachment| attachment.session == session)
        else {
            return Recognised::Stranger;
        };
        if attachment.visits > 0
            || authority.is_some_and(|shown_at| *shown_at != attachment.authority)
        {
            return Recognised::Stranger;
        }
        if attachment.doubted {
            return Recognised::OtherSecret(attachment.strength);
        }
        let mut known = subtle::Choice::from(0);
        for given in &attachment.digests {
            known |= given.ct_eq(digest);
        }
        if !bool::from(known) {
            return Recognised::OtherSecret(attachment.strength);
        }
        match attachment.handle.check(now) {
            Ok(standing) => Recognised::Known(Verified::new(
                session,
                attachment.subject.clone(),
                standing.role.min(attachment.most),
                attachment.strength,
            )),
            Err(_) => Recognised::Over,
        }
    }

    /// A raw socket: the wire alone is the credential.
    pub(crate) fn alone(&self, now: Timestamp) -> Option<Result<Verified, Over>> {
        let attachments = self.read();
        if self.shared.load(Ordering::Relaxed) {
            return None;
        }
        // Where two sessions live on one wire, the wire alone does not say which is meant.
        let [attachment] = attachments.list.as_slice() else {
            return None;
        };
        if attachment.doubted || attachment.visits > 0 {
            return None;
        }
        Some(attachment.handle.check(now).map(|standing| {
            Verified::new(
                attachment.session,
                attachment.subject.clone(),
                standing.role.min(attachment.most),
                attachment.strength,
            )
        }))
    }

    /// Whether the session served now is another than the one served last.
    pub(crate) fn changes_session(&self, session: SessionId) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *session.as_bytes();
        let short = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        self.last_session.load(Ordering::Relaxed) != short
            && self.last_session.swap(short, Ordering::Relaxed) != short
    }

    /// The next request says again whose turn it is.
    pub(crate) fn forget_turn(&self) {
        self.last_session.store(0, Ordering::Relaxed);
    }

    /// Only for [`Bonds`], which makes the bond in the same step. `false`: the wire was dropped meanwhile, and nothing
    /// hangs on it.
    pub(crate) fn attach(&self, mut attachment: Attachment) -> bool {
        let mut attachments = self.write();
        if attachments.dropped {
            return false;
        }
        if attachment.visits > 0
            && let Some(there) = attachments
                .iter_mut()
                .find(|other| other.session == attachment.session)
        {
            let visits = attachment.visits.saturating_add(there.visits);
            if there.visits > 0 && there.strength > attachment.strength {
                // Beside a stronger visit: what that one may do, it may still.
                there.visits = visits;
                return true;
            }
            attachment.visits = visits;
        }
        attachments.retain(|other| other.session != attachment.session);
        attachments.push(attachment);
        true
    }

    /// A visitor's request was answered. `true`: it was the last one of this session on this wire.
    pub(crate) fn visited(&self, session: SessionId) -> bool {
        let mut attachments = self.write();
        let Some(attachment) = attachments
            .iter_mut()
            .find(|attachment| attachment.session == session && attachment.visits > 0)
        else {
            return false;
        };
        attachment.visits = attachment.visits.saturating_sub(1);
        if attachment.visits == 0 {
            attachments.retain(|attachment| attachment.session != session);
            return true;
        }
        false
    }

    /// The wire has shown a genuine secret, or the store was asked what is current.
    pub(crate) fn learn(&self, session: SessionId, digest: Option<[u8; 16]>, ticket: Ticket) {
        let mut attachments = self.write();
        if let Some(attachment) = attachments
            .iter_mut()
            .find(|attachment| attachment.session == session)
        {
            attachment.doubted = false;
            attachment.ticket = Some(ticket);
            let Some(digest) = digest else { return };
            if attachment.digests.contains(&digest) {
                return;
            }
            if attachment.digests.len() >= DIGESTS {
                attachment.digests.remove(0);
            }
            attachment.digests.push(digest);
        }
    }

    /// The secrets that it has shown carry less than the session has now: each is judged again.
    pub(crate) fn unlearn(&self, session: SessionId) {
        if let Some(attachment) = self
            .write()
            .iter_mut()
            .find(|attachment| attachment.session == session)
        {
            attachment.digests.clear();
        }
    }

    /// What it knows of the current ticket, and whether this is it.
    pub(crate) fn ticket(&self, session: SessionId, digest: &[u8; 16]) -> Option<(Ticket, bool)> {
        let ticket = self.with(session, |attachment| attachment.ticket)??;
        let same = bool::from(ticket.digest.ct_eq(digest));
        Some((ticket, same))
    }

    /// Whether the session still lives is not known: the store is asked before anything is accepted.
    pub(crate) fn doubt(&self, session: SessionId) {
        if let Some(attachment) = self
            .write()
            .iter_mut()
            .find(|attachment| attachment.session == session)
        {
            attachment.doubted = true;
        }
    }

    /// Refreshes when the session was last used, if it still stands here.
    pub(crate) fn touch(&self, session: SessionId, now: Timestamp) -> bool {
        let stands =
            |attachment: &Attachment| !attachment.doubted && attachment.handle.check(now).is_ok();
        !self.shared.load(Ordering::Relaxed) && self.with(session, stands).unwrap_or(false)
    }

    /// Whether an attachment is doubted; nothing if there is none.
    pub(crate) fn doubts(&self, session: SessionId) -> Option<bool> {
        self.with(session, |attachment| attachment.doubted)
    }

    /// Only for [`Bonds`], as above.
    pub(crate) fn detach(&self, session: SessionId) {
        self.write()
            .retain(|attachment| attachment.session != session);
    }

    /// The sessions that hang on it.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.read()
            .iter()
            .map(|attachment| attachment.session)
            .collect()
    }

    /// Nothing is taken up from now on; answers what hung on it.
    fn close(&self) -> Vec<SessionId> {
        let mut hanging = self.write();
        hanging.dropped = true;
        hanging
            .drain(..)
            .map(|attachment| attachment.session)
            .collect()
    }

    pub(crate) fn with<T>(
        &self,
        session: SessionId,
        read: impl FnOnce(&Attachment) -> T,
    ) -> Option<T> {
        self.read()
            .iter()
            .find(|attachment| attachment.session == session)
            .map(read)
    }

    /// What it goes back to for this session, if it is attached.
    pub(crate) fn origin(&self, session: SessionId) -> Option<Origin> {
        let bound =
            |attachment: &Attachment| (!attachment.is_visiting()).then_some(attachment.origin);
        self.with(session, bound).flatten()
    }

    /// Whether another session lives on it, so that it must not be closed for this one.
    pub(crate) fn carries_others(&self, session: SessionId) -> bool {
        self.read()
            .iter()
            .any(|attachment| attachment.session != session)
    }

    /// A sign-in was answered for a session that was held at less: from here on the wire proves what it is, and no more.
    pub(crate) fn raise(&self, session: SessionId, above_user: Strength) {
        if let Some(attachment) = self
            .write()
            .iter_mut()
            .find(|attachment| attachment.session == session && !attachment.is_visiting())
        {
            attachment.hold_to(attachment.origin.stock().strength(), above_user);
        }
    }

    pub(crate) fn set_hand_over(&self, session: SessionId, debt: HandOverDebt) {
        if let Some(attachment) = self
            .write()
            .iter_mut()
            .find(|attachment| attachment.session == session)
        {
            attachment.hand_over = debt;
        }
    }

    /// Whether a hand-over is due on this wire: owed since sign-in or elevation, offered but never taken, or because
    /// the family grows old.
    pub(crate) fn hand_over_due(
        &self,
        session: SessionId,
        nonce: Lifetime,
        renew_after: Lifetime,
        now: Timestamp,
    ) -> Option<HandOverKind> {
        let (stock, debt) = self.with(session, |attachment| {
            (attachment.origin.stock(), attachment.hand_over)
        })?;
        match debt {
            HandOverDebt::Owed => return Some(HandOverKind::Planned),
            HandOverDebt::Offered(at) if now.since(at) > nonce => {
                return Some(HandOverKind::Planned);
            }
            HandOverDebt::Offered(_) => return None,
            HandOverDebt::Nothing => {}
        }
        let lineage = self
            .lineage
            .filter(|lineage| lineage.resumed && stock == Stock::Trunk)?;
        (now.since(lineage.birth) >= renew_after).then_some(HandOverKind::Renewal)
    }
}

/// Why a hand-over is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the HTTP layer acts on each")]
pub enum HandOverKind {
    /// After a sign-in or an elevation.
    Planned,
    /// The family nears the age at which browsers drop it.
    Renewal,
}

impl Attachment {
    /// Of a wire that goes back to `origin`.
    pub(crate) fn new(
        session: SessionId,
        subject: Subject,
        authority: Authority,
        handle: Handle,
        origin: Origin,
        by: By,
        digest: Option<[u8; 16]>,
    ) -> Self {
        Self {
            session,
            subject,
            authority,
            handle,
            origin,
            strength: origin.stock().strength(),
            most: Role::ranked(u8::MAX),
            by,
            visits: 0,
            digests: digest.into_iter().collect(),
            ticket: None,
            doubted: false,
            hand_over: HandOverDebt::Nothing,
        }
    }

    /// Whether its client could not come back without a hand-over.
    pub(crate) const fn owing_hand_over(mut self, owes: bool) -> Self {
        if owes {
            self.hand_over = HandOverDebt::Owed;
        }
        self
    }

    /// No stronger than this, whatever the wire is.
    pub(crate) fn at_most(mut self, most: Strength, above_user: Strength) -> Self {
        self.hold_to(self.strength.min(most), above_user);
        self
    }

    /// What a proof of this strength lets be used goes with it.
    fn hold_to(&mut self, strength: Strength, above_user: Strength) {
        self.strength = strength;
        self.most = Role::ranked(u8::MAX).usable_with(strength, above_user);
    }

    /// The wire proves nothing; one request on it was proved.
    pub(crate) fn visiting(mut self) -> Self {
        self.visits = 1;
        self.hand_over = HandOverDebt::Nothing;
        self
    }

    pub(crate) fn with_ticket(mut self, ticket: Option<Ticket>) -> Self {
        self.ticket = ticket;
        self
    }

    pub(crate) const fn is_visiting(&self) -> bool {
        self.visits > 0
    }
}

/// One request that was proved by itself, on a wire that proves nothing: while it is held, its session's ending is heard
/// here, and what is sent to it is cut. Hold it for as long as anything is sent.
#[must_use]
pub struct Visit {
    pub(crate) core: Arc<WireCore>,
    pub(crate) bonds: Arc<Bonds>,
    pub(crate) session: SessionId,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Visit({})", self.session)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.bonds.visited(self.session, &self.core);
    }
}

impl fmt::Debug for WireCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireCore({})", self.id)
    }
}

/// As much of a client's name as is kept.
pub(crate) fn kept_of(client: &str) -> &str {
    client
        .char_indices()
        .nth(CLIENT_CHARS)
        .and_then(|(at, _)| client.get(..at))
        .unwrap_or(client)
}

/// Gives out wire ids: a counter, so that none is given twice.
#[derive(Debug, Default)]
pub(crate) struct WireIds(AtomicU64);

impl WireIds {
    pub(crate) fn next(&self) -> WireId {
        WireId(self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }
}
