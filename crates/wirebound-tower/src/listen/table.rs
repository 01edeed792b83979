//! Who is connected, and who gives way when there is no more room.
//!
//! Handshakes and connections have separate bounds: a flood of sockets that never finish a handshake
//! pushes out only others like it, never somebody who is connected.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Limits;
use super::connection::{Connection, Order};

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    /// In the order of arrival.
    handshakes: BTreeMap<u64, Arc<Notify>>,
    connections: HashMap<u64, Arc<Connection>>,
    /// Told to make room and not gone yet, in the order of arrival; never more than `max_handshakes`.
    leaving: BTreeMap<u64, Arc<Connection>>,
    by_place: HashMap<IpAddr, usize>,
}

impl Table {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connections(&self) -> usize {
        self.rows().connections.len()
    }

    pub(super) fn order_all(&self, order: Order) {
        let rows = self.rows();
        rows.connections
            .values()
            .chain(rows.leaving.values())
            .for_each(|connection| connection.orders().raise(order));
        rows.handshakes
            .values()
            .for_each(|notify| notify.notify_one());
    }

    /// Lets a new socket in, unless its address has its share already. The oldest handshake may give way.
    pub(super) fn arrive(self: &Arc<Self>, peer: IpAddr, limits: &Limits) -> Option<Row> {
        let place = place(peer);
        let mut rows = self.rows();
        let count = rows.by_place.entry(place).or_default();
        if *count >= limits.max_per_address {
            return None;
        }
        *count = count.saturating_add(1);
        if rows.handshakes.len() >= limits.max_handshakes
            && let Some((_, dawdler)) = rows.handshakes.pop_first()
        {
            dawdler.notify_one();
        }
        let key = rows.next;
        rows.next = rows.next.wrapping_add(1);
        let give_way = Arc::new(Notify::new());
        rows.handshakes.insert(key, Arc::clone(&give_way));
        Some(Row {
            table: Arc::clone(self),
            key,
            place,
            give_way,
        })
    }
}

/// IPv6 hosts choose their last 64 bits as they please.
fn place(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One socket's place in the table; left by dropping.
#[derive(Debug)]
pub(super) struct Row {
    table: Arc<Table>,
    key: u64,
    place: IpAddr,
    pub(super) give_way: Arc<Notify>,
}

impl Row {
    /// The handshake has completed. At the limit the longest idle connection is hung up; answers
    /// `false` if there is none.
    pub(super) fn establish(&self, connection: &Arc<Connection>, limits: &Limits) -> bool {
        let mut rows = self.table.rows();
        rows.handshakes.remove(&self.key);
        if rows.connections.len() >= limits.max_connections {
            let longest = rows
                .connections
                .iter()
                .filter(|(_, other)| other.pulse().is_quiet())
                // One that waits for its hand-over goes only where no other is idle.
                .min_by_key(|(_, other)| {
                    let pulse = other.pulse();
                    (!pulse.is_idle(), pulse.last_active())
                })
                .map(|(key, _)| *key);
            let Some((key, idle)) = longest.and_then(|key| rows.connections.remove_entry(&key))
            else {
                return false;
            };
            idle.orders().raise(Order::HangUp);
            rows.leaving.insert(key, idle);
            if rows.leaving.len() > limits.max_handshakes
                && let Some((_, slowest)) = rows.leaving.pop_first()
            {
                slowest.orders().raise(Order::Reset);
            }
        }
        rows.connections.insert(self.key, Arc::clone(connection));
        true
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let mut rows = self.table.rows();
        rows.handshakes.remove(&self.key);
        rows.connections.remove(&self.key);
        rows.leaving.remove(&self.key);
        if let Some(count) = rows.by_place.get_mut(&self.place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                rows.by_place.remove(&self.place);
            }
        }
    }
}
