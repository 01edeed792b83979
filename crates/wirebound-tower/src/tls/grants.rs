//! Ticket grants and renewals: who gets tickets on a full handshake, and who is made to have one.
//!
//! Both are hints that bring a client its tickets and prove nothing: one that is taken by the wrong
//! connection, or lost, makes a miss and never a hole. Both are bounded, in memory only, and aged by
//! the time that is passed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use wirebound::{Lifetime, Root, Timestamp};

/// How long a grant or a renewal lives.
pub const GRANT_LIFETIME: Lifetime = Lifetime::from_secs(30);

/// Most grants that are open at once: about 10 MB with the longest names.
pub const GRANTS_MAX: usize = 16_384;

/// Most grants that are open at once for one place; the oldest makes room. A stranger who opens many takes none of
/// anybody else's.
pub const GRANTS_OF_ONE_PLACE: usize = 256;

/// Most renewals that wait at once: about 2 MB.
pub const RENEWALS_MAX: usize = 16_384;

type Place = (IpAddr, Option<Arc<str>>);

/// One-time grants of TLS tickets, by client address and SNI.
///
/// Each is taken by the first full handshake from its place. Several clients behind one address may
/// take each other's; then one of them comes without tickets and is granted again.
#[derive(Debug, Default)]
pub struct Grants {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    places: HashMap<Place, Vec<Timestamp>>,
    count: usize,
}

impl Grants {
    /// No grant is open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens one grant. Answers whether it did: at the bound, when nothing has expired, it does not.
    pub fn open(&self, peer: IpAddr, sni: Option<&str>, now: Timestamp) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = place(peer, sni);
        if let Some(grants) = open.places.get_mut(&here)
            && grants.len() >= GRANTS_OF_ONE_PLACE
        {
            grants.remove(0);
            grants.push(now.after(GRANT_LIFETIME));
            return true;
        }
        if open.count >= GRANTS_MAX {
            open.purge(now);
        }
        if open.count >= GRANTS_MAX {
            return false;
        }
        open.count = open.count.saturating_add(1);
        open.places
            .entry(here)
            .or_default()
            .push(now.after(GRANT_LIFETIME));
        true
    }

    /// Takes one grant; answers whether there was one. Also how a grant that is not needed any more
    /// (the hand-over was done on a resumed connection) is withdrawn.
    pub fn take(&self, peer: IpAddr, sni: Option<&str>, now: Timestamp) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place(peer, sni);
        let taken = open.living(&place, now).is_some_and(|grants| {
            grants.remove(0);
            true
        });
        if taken {
            open.count = open.count.saturating_sub(1);
            if open.places.get(&place).is_some_and(Vec::is_empty) {
                open.places.remove(&place);
            }
        }
        taken
    }

    /// Whether one is open there.
    #[must_use]
    pub fn is_open(&self, peer: IpAddr, sni: Option<&str>, now: Timestamp) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.living(&place(peer, sni), now).is_some()
    }
}

impl Open {
    /// The place's living grants, if there is one; the dead ones are dropped on the way.
    fn living(&mut self, place: &Place, now: Timestamp) -> Option<&mut Vec<Timestamp>> {
        let grants = self.places.get_mut(place)?;
        let before = grants.len();
        grants.retain(|until| is_alive(*until, now));
        let dead = before.saturating_sub(grants.len());
        self.count = self.count.saturating_sub(dead);
        if grants.is_empty() {
            self.places.remove(place);
            return None;
        }
        self.places.get_mut(place)
    }

    fn purge(&mut self, now: Timestamp) {
        self.places.retain(|_, grants| {
            grants.retain(|until| is_alive(*until, now));
            !grants.is_empty()
        });
        self.count = self.places.values().map(Vec::len).sum();
    }
}

/// Not over yet, and not from a future that a clock has since come back from.
fn is_alive(until: Timestamp, now: Timestamp) -> bool {
    now < until && until <= now.after(GRANT_LIFETIME)
}

fn place(peer: IpAddr, sni: Option<&str>) -> Place {
    // A dual-stack socket shows an IPv4 client as ::ffff:a.b.c.d, another listener as a.b.c.d.
    (
        peer.to_canonical(),
        sni.map(|name| name.to_ascii_lowercase().into()),
    )
}

/// Families whose next offered ticket is not resumed but takes a grant, because they are nearly
/// 7 days old and the client would drop them by itself.
///
/// The offer is made to one connection at a time, and only where a grant is open for it: a client
/// whose address has changed is resumed as ever rather than left without tickets.
#[derive(Debug, Default)]
pub struct Renewals {
    due: Mutex<HashMap<Root, Due>>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    until: Timestamp,
    claimed_by: Option<u64>,
}

impl Renewals {
    /// Nothing is due.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that a family is due, for as long as a grant lives. Open the grant first. Answers whether it was noted.
    pub fn due(&self, root: Root, now: Timestamp) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() >= RENEWALS_MAX {
            due.retain(|_, entry| is_alive(entry.until, now));
        }
        if due.len() >= RENEWALS_MAX && !due.contains_key(&root) {
            return false;
        }
        due.insert(
            root,
            Due {
                until: now.after(GRANT_LIFETIME),
                claimed_by: None,
            },
        );
        true
    }

    /// Forgets a family, if the hand-over came about in another way.
    pub fn forget(&self, root: Root) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.remove(&root);
    }

    /// Whether `number` is the connection that is to make the full handshake. Claimed, not spent: the
    /// offered ticket has been seen by everybody on the path, and whoever sends it again must not be
    /// able to use the renewal up.
    pub(super) fn claim(&self, root: Root, number: u64, now: Timestamp) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = due.get_mut(&root) else {
            return false;
        };
        if !is_alive(entry.until, now) {
            due.remove(&root);
            return false;
        }
        match entry.claimed_by {
            None => {
                entry.claimed_by = Some(number);
                true
            }
            Some(holder) => holder == number,
        }
    }

    /// The claim's handshake has completed and took its grant.
    pub(super) fn spend(&self, root: Root, number: u64) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due
            .get(&root)
            .is_some_and(|entry| entry.claimed_by == Some(number))
        {
            due.remove(&root);
        }
    }

    /// The claim's handshake came to nothing.
    pub(super) fn release(&self, root: Root, number: u64) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = due.get_mut(&root)
            && entry.claimed_by == Some(number)
        {
            entry.claimed_by = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000).after(Lifetime::from_secs(seconds))
    }

    #[test]
    fn a_place_that_opens_many_takes_none_of_anothers() {
        let grants = Grants::new();
        let now = at(0);
        let (many, other) = (HERE, IpAddr::from([192, 0, 2, 99]));
        for _ in 0..GRANTS_MAX {
            assert!(grants.open(many, Some("app.test"), now));
        }
        assert!(grants.open(other, Some("app.test"), now));
        assert!(grants.take(other, Some("app.test"), now));
        let taken = (0..GRANTS_MAX)
            .filter(|_| grants.take(many, Some("app.test"), now))
            .count();
        assert_eq!(taken, GRANTS_OF_ONE_PLACE);
    }

    #[test]
    fn a_grant_is_taken_once_and_only_at_its_place() {
        let grants = Grants::new();
        assert!(grants.open(HERE, Some("App.Example"), at(0)));
        assert!(!grants.take(HERE, Some("other.example"), at(1)));
        assert!(!grants.take(HERE, None, at(1)));
        assert!(!grants.take("::2".parse().unwrap(), Some("app.example"), at(1)));
        assert!(grants.take(
            "::ffff:127.0.0.1".parse().unwrap(),
            Some("app.example"),
            at(1)
        ));
        assert!(!grants.take(HERE, Some("app.example"), at(1)));
    }

    #[test]
    fn two_grants_at_one_place_serve_two() {
        let grants = Grants::new();
        grants.open(HERE, None, at(0));
        grants.open(HERE, None, at(5));
        assert!(grants.take(HERE, None, at(31)), "the younger one is alive");
        assert!(!grants.take(HERE, None, at(31)), "the older one is not");
    }

    #[test]
    fn a_grant_dies_with_its_time_and_with_a_clock_that_went_back() {
        let grants = Grants::new();
        grants.open(HERE, None, at(0));
        assert!(!grants.take(HERE, None, at(30)));
        grants.open(HERE, None, at(1000));
        assert!(!grants.take(HERE, None, at(0)));
    }

    #[test]
    fn grants_are_bounded_and_room_comes_back() {
        let grants = Grants::new();
        for place in 0..u32::try_from(GRANTS_MAX).unwrap() {
            assert!(grants.open(IpAddr::V4(place.into()), None, at(0)));
        }
        assert!(!grants.open(HERE, None, at(1)));
        assert!(grants.open(HERE, None, at(60)));
    }

    #[test]
    fn a_renewal_is_one_connections_at_a_time() {
        let renewals = Renewals::new();
        let root = Root::from_bytes([1; 16]);
        assert!(!renewals.claim(root, 1, at(0)));
        assert!(renewals.due(root, at(0)));
        assert!(renewals.claim(root, 1, at(1)));
        assert!(renewals.claim(root, 1, at(1)), "its second offered ticket");
        assert!(!renewals.claim(root, 2, at(1)));
        renewals.release(root, 2);
        assert!(!renewals.claim(root, 2, at(1)), "only the holder releases");
        renewals.release(root, 1);
        assert!(renewals.claim(root, 2, at(1)));
        renewals.spend(root, 2);
        assert!(!renewals.claim(root, 3, at(1)));
        renewals.due(root, at(0));
        assert!(!renewals.claim(root, 3, at(30)));
    }
}
