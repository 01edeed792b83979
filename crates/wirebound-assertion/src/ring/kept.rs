//! The ring as bytes, for its owner to keep under a seal. What is read is a ring that this program could have written.

use core::fmt;
use std::sync::Arc;

use wirebound::Timestamp;
use zeroize::Zeroizing;

use super::{KEYS_MAX, Ring, Slot};
use crate::keys::{KeyError, SigningKey};

/// A kept ring: version (1), count of keys (1), then for each, oldest first: published, signs from, signs until, believed
/// until (8 each, ms, big-endian, all ones for never), length of the key (1), the key.
const RING_FORMAT: u8 = 1;

impl Ring {
    /// The whole ring. Seal it before it goes anywhere.
    ///
    /// # Security
    ///
    /// These bytes are the keys themselves.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let keys: Vec<_> = self.slots().map(|slot| slot.key.to_bytes()).collect();
        let size = keys.iter().fold(2_usize, |size, key| {
            size.saturating_add(key.len()).saturating_add(33)
        });
        // The exact size at once: growing would leave copies of keys behind in freed memory.
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.push(RING_FORMAT);
        out.push(u8::try_from(keys.len()).unwrap_or(u8::MAX));
        for (slot, key) in self.slots().zip(&keys) {
            for time in slot.times() {
                out.extend_from_slice(&time.as_millis().to_be_bytes());
            }
            out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(key);
        }
        out
    }

    /// Reads what [`Ring::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are of another version, cut short, too long, or no ring that this program could have written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RingError> {
        let ([version, count], mut rest) = bytes.split_first_chunk().ok_or(RingError::Length)?;
        if *version != RING_FORMAT {
            return Err(RingError::Version { found: *version });
        }
        if usize::from(*count) > KEYS_MAX {
            return Err(RingError::Length);
        }
        let mut slots = Vec::with_capacity(usize::from(*count));
        for _ in 0..*count {
            slots.push(read_slot(&mut rest)?);
        }
        if !rest.is_empty() {
            return Err(RingError::Length);
        }
        let last = slots.pop().ok_or(RingError::Length)?;
        let ring = Self {
            earlier: slots,
            last,
        };
        if ring.is_in_order() {
            Ok(ring)
        } else {
            Err(RingError::Order)
        }
    }

    fn is_in_order(&self) -> bool {
        let mut kids: Vec<_> = self.slots().map(|slot| slot.key.kid()).collect();
        kids.sort_unstable();
        let unique = kids.is_sorted_by(|a, b| a < b);
        let each = self
            .slots()
            .all(|slot| slot.times().is_sorted() && slot.since < slot.stops);
        let following = self
            .earlier
            .iter()
            .zip(self.slots().skip(1))
            .all(|(slot, next)| slot.until < Timestamp::NEVER && slot.stops <= next.since);
        unique && each && following && self.last.stops == Timestamp::NEVER
    }
}

fn read_slot(rest: &mut &[u8]) -> Result<Slot, RingError> {
    let mut times = [Timestamp::ZERO; 4];
    for time in &mut times {
        let (millis, after) = rest.split_first_chunk().ok_or(RingError::Length)?;
        *time = Timestamp::from_millis(u64::from_be_bytes(*millis));
        *rest = after;
    }
    let (length, after) = rest.split_first().ok_or(RingError::Length)?;
    let (key, after) = after
        .split_at_checked(usize::from(*length))
        .ok_or(RingError::Length)?;
    *rest = after;
    let key = SigningKey::from_bytes(key).map_err(RingError::Key)?;
    let [published, since, stops, until] = times;
    Ok(Slot {
        key: Arc::new(key),
        published,
        since,
        stops,
        until,
    })
}

/// Kept bytes that are no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// Written by a version that this one does not know.
    Version {
        /// The version byte.
        found: u8,
    },
    /// Cut short, too long, or of no or too many keys.
    Length,
    /// One of the keys cannot be read.
    Key(KeyError),
    /// The keys do not follow one another, or two are the same.
    Order,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => write!(
                f,
                "the ring of signing keys is of version {found}, this program knows {RING_FORMAT}; upgrade it, or remove the ring (tokens that are out are then believed no more)"
            ),
            Self::Length | Self::Order => f.write_str(
                "the ring of signing keys is damaged; remove it (tokens that are out are then believed no more)",
            ),
            Self::Key(_) => f.write_str(
                "a key of the ring of signing keys cannot be read; remove the ring (tokens that are out are then believed no more)",
            ),
        }
    }
}

impl core::error::Error for RingError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Key(error) => Some(error),
            Self::Version { .. } | Self::Length | Self::Order => None,
        }
    }
}
