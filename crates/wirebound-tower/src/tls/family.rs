//! What a connection's lineage is, and the bytes that carry it inside TLS tickets.
//!
//! The bytes travel as rustls' resumption data, which it hands out only after the client has shown that
//! it holds the resumption secret (the binder). They are sealed with the ticket.

use wirebound::{ROOT_BYTES, Root, Timestamp};

/// Where a connection comes from. True only of a handshake that has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Family {
    /// The root: received if the connection was resumed, fresh if it was not.
    pub root: Root,
    /// A second root that this connection counts for. After a HelloRetryRequest the received root is
    /// known too late to be put into this connection's own tickets; they carry this fresh one. A
    /// session that takes in `root` has to take in this one as well, or its next connection is a stranger.
    pub also: Option<Root>,
    /// When the family's first full handshake was made.
    pub birth: Timestamp,
    /// Whether the connection was resumed.
    pub resumed: bool,
    /// Whether it was a full handshake that took a grant, and so has tickets.
    pub granted: bool,
}

impl Family {
    /// Whether the client has been given tickets on this connection. It proves nothing.
    #[must_use]
    pub const fn has_tickets(&self) -> bool {
        self.resumed || self.granted
    }

    /// For tests of what is built on this: a family as a completed handshake would report it.
    #[must_use]
    pub const fn fresh(root: Root, birth: Timestamp) -> Self {
        Self {
            root,
            also: None,
            birth,
            resumed: false,
            granted: false,
        }
    }
}

const VERSION: u8 = 1;
const CARRIED_BYTES: usize = 1 + ROOT_BYTES + 8 + 8;

/// The resumption data: version (1), root (16), birth in ms (8, big-endian), connection number (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) root: Root,
    pub(super) birth: Timestamp,
    pub(super) number: u64,
}

impl Carried {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CARRIED_BYTES);
        out.push(VERSION);
        out.extend_from_slice(self.root.as_bytes());
        out.extend_from_slice(&self.birth.as_millis().to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out
    }

    /// Another version, a short or a long one is nothing.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (root, rest) = rest.split_first_chunk::<ROOT_BYTES>()?;
        let (birth, rest) = rest.split_first_chunk::<8>()?;
        let number: &[u8; 8] = rest.try_into().ok()?;
        (*version == VERSION).then(|| Self {
            root: Root::from_bytes(*root),
            birth: Timestamp::from_millis(u64::from_be_bytes(*birth)),
            number: u64::from_be_bytes(*number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumption_data_round_trips_and_nothing_else_reads() {
        let carried = Carried {
            root: Root::from_bytes([7; ROOT_BYTES]),
            birth: Timestamp::from_millis(1_700_000_000_123),
            number: 42,
        };
        let bytes = carried.write();
        assert_eq!(Carried::read(&bytes), Some(carried));
        for length in 0..bytes.len() {
            assert_eq!(Carried::read(&bytes[..length]), None);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Carried::read(&longer), None);
        let mut unknown = bytes;
        unknown[0] = 2;
        assert_eq!(Carried::read(&unknown), None);
    }
}
