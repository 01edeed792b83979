//! What the benchmarks share: sessions, a cheap order to visit them in, and the two maps that they are held against.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use wirebound::table::{Handle, Live, Table};
use wirebound::{Lifetime, Role, SessionId, Timestamp};

/// The time of every check: within a tick of the last use, as on a busy wire.
pub const NOW: Timestamp = Timestamp::from_millis(1_000_500);
const LONG: Lifetime = Lifetime::from_days(14);
pub const KEY: [u8; 32] = [7; 32];

/// An order to visit sessions in that no cache can foresee.
pub fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

pub fn id(n: u64) -> SessionId {
    let [a, b, c, d, e, f, g, h] = mixed(n).to_le_bytes();
    let [i, j, ..] = n.to_le_bytes();
    SessionId::from_bytes([a, b, c, d, e, f, g, h, i, j])
}

/// The six bytes of keyed MAC in a selector.
pub fn place(id: SessionId) -> u64 {
    let hash = blake3::keyed_hash(&KEY, id.as_bytes());
    let [a, b, c, d, e, f, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

pub fn digest(secret: &[u8]) -> [u8; 16] {
    let hash = blake3::keyed_hash(&KEY, secret);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

pub fn secret(n: u64) -> [u8; 32] {
    *blake3::hash(&n.to_le_bytes()).as_bytes()
}

pub fn live(n: u64) -> Live {
    let id = id(n);
    Live {
        id,
        place: place(id),
        digest: digest(&secret(n)),
        role: Role::USER,
        raised: None,
        ceiling: Role::ADMIN,
        blocked: false,
        identity_until: NOW.after(LONG),
        absolute: NOW.after(LONG),
        idle: Lifetime::from_hours(8),
        last_active: NOW,
    }
}

/// What a map would hold of a session.
#[derive(Debug)]
pub struct Entry {
    pub digest: [u8; 16],
    pub role: Role,
    pub blocked: bool,
    pub identity_until: Timestamp,
    pub absolute: Timestamp,
    pub idle: Lifetime,
    pub last_active: AtomicU64,
}

impl Entry {
    pub fn of(live: &Live) -> Self {
        Self {
            digest: live.digest,
            role: live.role,
            blocked: live.blocked,
            identity_until: live.identity_until,
            absolute: live.absolute,
            idle: live.idle,
            last_active: AtomicU64::new(live.last_active.as_millis()),
        }
    }

    /// The same questions as the table asks.
    #[inline]
    pub fn check(&self, digest: &[u8; 16], now: Timestamp) -> Option<Role> {
        let last = self.last_active.load(Ordering::Relaxed);
        let past = now.as_millis().saturating_sub(last);
        let good = u128::from_le_bytes(self.digest) == u128::from_le_bytes(*digest);
        if !good
            || self.blocked
            || now >= self.identity_until
            || now >= self.absolute
            || past >= self.idle.as_millis()
        {
            return None;
        }
        if past >= 1_000 {
            self.last_active.store(now.as_millis(), Ordering::Relaxed);
        }
        Some(self.role)
    }
}

/// One session as a request names it.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub id: SessionId,
    pub place: u64,
    pub digest: [u8; 16],
}

pub type Locked = RwLock<HashMap<SessionId, Entry>>;

pub fn named(count: u64) -> Vec<Named> {
    let of = |live: Live| Named {
        id: live.id,
        place: live.place,
        digest: live.digest,
    };
    (0..count).map(|n| of(live(n))).collect()
}

pub fn table(count: u64) -> (Table, Vec<Handle>) {
    let table = Table::new();
    let put = |n| table.insert(&live(n)).handle().unwrap();
    let handles = (0..count).map(put).collect();
    (table, handles)
}

pub fn dash(count: u64) -> DashMap<SessionId, Entry> {
    let map = DashMap::new();
    for n in 0..count {
        let live = live(n);
        map.insert(live.id, Entry::of(&live));
    }
    map
}

pub fn locked(count: u64) -> Locked {
    let of = |live: Live| (live.id, Entry::of(&live));
    RwLock::new((0..count).map(|n| of(live(n))).collect())
}
