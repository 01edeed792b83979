//! One connection's view of the ticket keys: who gets tickets, and which ones are opened.
//!
//! rustls asks its ticketer without saying for which connection; a view per connection knows. It is
//! asked to open before the binder is checked (anybody may send a captured ticket) and to seal after
//! the client's Finished has been verified, so only sealing spends anything.

use core::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::ProducesTickets;
use rustls::{HandshakeKind, ServerConnection};
use wirebound::{Clock, Entropy, Root, Timestamp};

use super::Tls;
use super::family::{Carried, Family};
use super::grants::{Grants, Renewals};
use super::keys::{Header, TICKET_LIFETIME, TicketKeys};

pub(super) struct View {
    keys: Arc<TicketKeys>,
    listener: Arc<str>,
    grants: Arc<Grants>,
    renewals: Arc<Renewals>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    number: u64,
    peer: IpAddr,
    sni: Option<Arc<str>>,
    fresh: Root,
    birth: Timestamp,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What the resumed ticket carried, if rustls has said so.
    resumed_from: Option<Carried>,
    /// A HelloRetryRequest was sent: whether the handshake resumes is not known before its end.
    retried: bool,
    /// The header of the ticket that was opened last.
    opened: Option<Header>,
    /// The root on the renewal list that this connection claimed.
    renewing: Option<Root>,
    granted: Option<bool>,
}

impl View {
    pub(super) fn new(
        tls: &Tls,
        number: u64,
        peer: IpAddr,
        sni: Option<Arc<str>>,
        fresh: Root,
        birth: Timestamp,
    ) -> Self {
        Self {
            keys: Arc::clone(&tls.keys),
            listener: Arc::clone(&tls.listener),
            grants: Arc::clone(&tls.grants),
            renewals: Arc::clone(&tls.renewals),
            clock: Arc::clone(&tls.clock),
            entropy: Arc::clone(&tls.entropy),
            number,
            peer,
            sni,
            fresh,
            birth,
            seen: Mutex::default(),
        }
    }

    /// The ClientHello has been processed: settles what this connection's tickets will carry.
    pub(super) fn greeted(&self, tls: &mut ServerConnection) {
        let received = tls.received_resumption_data().and_then(Carried::read);
        let carried = Carried {
            root: received.map_or(self.fresh, |carried| carried.root),
            birth: received.map_or(self.birth, |carried| carried.birth),
            number: self.number,
        };
        tls.set_resumption_data(&carried.write());
        let mut seen = self.seen();
        seen.resumed_from = received;
        seen.retried = tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
    }

    /// The handshake has completed, with these resumption data received.
    pub(super) fn completed(&self, received: Option<Carried>) -> Family {
        let seen = self.seen();
        let granted = seen.granted.unwrap_or(false);
        let Some(received) = received else {
            return Family {
                root: self.fresh,
                also: None,
                birth: self.birth,
                resumed: false,
                granted,
            };
        };
        // After a retry the tickets were settled before the received root was known; the header has
        // the family's true age, which such a chain of retries must not make younger.
        let birth = seen
            .opened
            .filter(|header| header.root == received.root)
            .map_or(received.birth, |header| header.birth);
        Family {
            root: received.root,
            also: seen.resumed_from.is_none().then_some(self.fresh),
            birth,
            resumed: true,
            granted: false,
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the tickets of this connection are headed with; none if it gets no tickets.
    fn heading(&self, seen: &mut Seen, now: Timestamp) -> Option<Header> {
        if let Some(carried) = seen.resumed_from {
            return Some(Header {
                root: carried.root,
                birth: seen.opened.map_or(carried.birth, |header| header.birth),
                issued: now,
            });
        }
        if seen.retried
            && let Some(opened) = seen.opened
        {
            return Some(Header {
                root: self.fresh,
                birth: opened.birth,
                issued: now,
            });
        }
        let granted = *seen.granted.get_or_insert_with(|| {
            let granted = self.grants.take(self.peer, self.sni.as_deref(), now);
            if let Some(root) = seen.renewing.filter(|_| granted) {
                self.renewals.spend(root, self.number);
            }
            granted
        });
        granted.then_some(Header {
            root: self.fresh,
            birth: self.birth,
            issued: now,
        })
    }
}

impl ProducesTickets for View {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.clock.now()?;
        let header = self.heading(&mut self.seen(), now)?;
        self.keys.seal(
            &self.listener,
            self.sni.as_deref(),
            &header,
            plain,
            self.entropy.as_ref(),
        )
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let now = self.clock.now()?;
        // Forgets an earlier identity of the same hello: only the one tried last can be the chosen one.
        self.seen().opened = None;
        let opened = self
            .keys
            .open(&self.listener, self.sni.as_deref(), cipher, now)?;
        if self.grants.is_open(self.peer, self.sni.as_deref(), now)
            && self.renewals.claim(opened.header.root, self.number, now)
        {
            self.seen().renewing = Some(opened.header.root);
            return None;
        }
        self.seen().opened = Some(opened.header);
        Some(opened.into_plain())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let seen = self.seen.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = seen.renewing {
            self.renewals.release(root, self.number);
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
