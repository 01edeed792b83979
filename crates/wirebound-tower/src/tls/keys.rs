//! The keys that seal TLS tickets: rotated, persisted by the caller, shared by all nodes.
//!
//! Whoever holds these keys can forge lineages (not cookies), and read recorded resumption secrets for
//! as long as a key is kept; so they are wiped when dropped, never printed, and dropped two days after
//! the last ticket under them. The age of a ticket is checked here, not left to the key's. A ticket is
//! bound to its listener and to the name it was issued for: it does not even open at another.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use wirebound::{
    Entropy, EntropyError, Lifetime, ROOT_BYTES, Root, SECRET_BYTES, Secret, Timestamp,
};
use zeroize::Zeroizing;

/// How long a ticket is good: 2 days, which is as long as any browser uses one.
pub const TICKET_LIFETIME: Lifetime = Lifetime::from_days(2);

/// How often a new key takes over.
pub const ROTATION: Lifetime = Lifetime::from_hours(12);

/// Most keys kept at once. With the rotation above six are enough; more means a clock that jumps about.
pub const KEYS_MAX: usize = 16;

/// How far ahead another node's clock may be.
const SKEW: Lifetime = Lifetime::from_mins(5);

/// A retired key is kept this much longer than its last ticket.
const MARGIN: Lifetime = Lifetime::from_hours(1);

/// The kept ring: version (1), count of keys (1), then for each, newest first: id (8), made (8, ms,
/// big-endian), retired (8, all ones while in force), key (32).
const RING_VERSION: u8 = 1;
const TICKET_VERSION: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const KEY_RECORD_BYTES: usize = ID_BYTES + 8 + 8 + SECRET_BYTES;

/// The ring of ticket keys: one in force, and those retired less than two days ago.
///
/// Share it by `Arc` between listeners and tasks; readers never wait for a rotation.
pub struct TicketKeys {
    ring: ArcSwap<Ring>,
    /// One change at a time: two rotations at once would lose a key that has sealed tickets.
    changing: Mutex<()>,
}

impl TicketKeys {
    /// A ring with one fresh key. Use it only when there are no kept keys to read: every family ends with its key.
    ///
    /// # Errors
    ///
    /// When the source of randomness fails.
    pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let ring = Ring {
            keys: vec![Arc::new(Key::draw(now, entropy)?)],
        };
        Ok(Self {
            ring: ArcSwap::from_pointee(ring),
            changing: Mutex::default(),
        })
    }

    /// Reads what [`TicketKeys::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are of another version, cut short, too long, or hold no key in force.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketKeysError> {
        Ok(Self {
            ring: ArcSwap::from_pointee(Ring::read(bytes)?),
            changing: Mutex::default(),
        })
    }

    /// Takes over the ring that another node has written. On an error nothing changes.
    ///
    /// # Errors
    ///
    /// As for [`TicketKeys::from_bytes`].
    pub fn reload(&self, bytes: &[u8]) -> Result<(), TicketKeysError> {
        let ring = Arc::new(Ring::read(bytes)?);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.ring.store(ring);
        Ok(())
    }

    /// The whole ring. Seal it before it goes anywhere.
    ///
    /// # Security
    ///
    /// These bytes are the keys themselves.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.ring.load().write()
    }

    /// Puts a new key in force if the present one is [`ROTATION`] old, and drops those that no good
    /// ticket can be under. Answers whether the ring changed, which means: persist it again.
    ///
    /// Call it at start and every few minutes, on one node at a time.
    ///
    /// # Errors
    ///
    /// When the source of randomness fails; the ring is then as it was.
    pub fn rotate(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<bool, EntropyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load();
        match ring.rotated(now, entropy)? {
            Some(next) => {
                self.ring.store(Arc::new(next));
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ring.load().keys.len()
    }

    pub(super) fn seal(
        &self,
        listener: &str,
        sni: Option<&str>,
        header: &Header,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Option<Vec<u8>> {
        let ring = self.ring.load();
        let key = ring.keys.first()?;
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).ok()?;
        let msg = header.before(plain);
        let aad = aad(listener, sni, &key.id);
        let sealed = key
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &msg,
                    aad: &aad,
                },
            )
            .ok()?;
        let mut ticket = vec![TICKET_VERSION];
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    pub(super) fn open(
        &self,
        listener: &str,
        sni: Option<&str>,
        ticket: &[u8],
        now: Timestamp,
    ) -> Option<Unsealed> {
        let (version, rest) = ticket.split_first()?;
        if *version != TICKET_VERSION {
            return None;
        }
        let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let ring = self.ring.load();
        let key = ring.keys.iter().find(|key| key.id == *id)?;
        let aad = aad(listener, sni, id);
        let plain = key
            .cipher()
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .map(Zeroizing::new)
            .ok()?;
        let header = Header::read(&plain)?;
        header.is_fresh(now).then_some(Unsealed { header, plain })
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// Newest first.
struct Ring {
    keys: Vec<Arc<Key>>,
}

struct Key {
    id: [u8; ID_BYTES],
    made: Timestamp,
    /// When it went out of force; never, for the first of the ring.
    retired: Timestamp,
    key: Secret,
}

impl Key {
    fn draw(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut id = [0; ID_BYTES];
        entropy.fill(&mut id)?;
        Ok(Self {
            id,
            made: now,
            retired: Timestamp::NEVER,
            key: Secret::draw(entropy)?,
        })
    }

    fn retired(&self, now: Timestamp) -> Self {
        Self {
            id: self.id,
            made: self.made,
            retired: self.retired.min(now),
            key: self.key.duplicate(),
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose().into())
    }

    /// Whether a ticket under it can still be good.
    fn is_of_use(&self, now: Timestamp) -> bool {
        self.retired == Timestamp::NEVER
            || now.since(self.retired).as_millis()
                <= TICKET_LIFETIME
                    .as_millis()
                    .saturating_add(MARGIN.as_millis())
    }
}

impl Ring {
    fn rotated(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<Option<Self>, EntropyError> {
        // A key from further ahead than any skew was made under a clock that has since been put right;
        // waiting for its time would mean one key for years.
        let due = self
            .keys
            .first()
            .is_none_or(|key| now.since(key.made) >= ROTATION || key.made > now.after(ROTATION));
        let dead = self.keys.iter().any(|key| !key.is_of_use(now));
        if !due && !dead {
            return Ok(None);
        }
        let mut keys = Vec::with_capacity(self.keys.len().saturating_add(1));
        if due {
            keys.push(Arc::new(Key::draw(now, entropy)?));
        }
        for key in &self.keys {
            if due && key.retired == Timestamp::NEVER {
                keys.push(Arc::new(key.retired(now)));
            } else if key.is_of_use(now) {
                keys.push(Arc::clone(key));
            }
        }
        keys.truncate(KEYS_MAX);
        Ok(Some(Self { keys }))
    }

    fn write(&self) -> Zeroizing<Vec<u8>> {
        let size = KEY_RECORD_BYTES
            .saturating_mul(self.keys.len())
            .saturating_add(2);
        // The exact size at once: growing would leave copies of keys behind in freed memory.
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.push(RING_VERSION);
        out.push(u8::try_from(self.keys.len()).unwrap_or(u8::MAX));
        for key in &self.keys {
            out.extend_from_slice(&key.id);
            out.extend_from_slice(&key.made.as_millis().to_be_bytes());
            out.extend_from_slice(&key.retired.as_millis().to_be_bytes());
            out.extend_from_slice(key.key.expose());
        }
        out
    }

    fn read(bytes: &[u8]) -> Result<Self, TicketKeysError> {
        let (version, rest) = bytes.split_first().ok_or(TicketKeysError::Length)?;
        if *version != RING_VERSION {
            return Err(TicketKeysError::Version { found: *version });
        }
        let (count, rest) = rest.split_first().ok_or(TicketKeysError::Length)?;
        let (records, trailing) = rest.as_chunks::<KEY_RECORD_BYTES>();
        if !trailing.is_empty() || records.len() != usize::from(*count) || records.len() > KEYS_MAX
        {
            return Err(TicketKeysError::Length);
        }
        let keys: Vec<_> = records
            .iter()
            .filter_map(|record| read_key(record).map(Arc::new))
            .collect();
        let mut in_force = keys.iter().map(|key| key.retired == Timestamp::NEVER);
        if in_force.next() != Some(true) || in_force.any(|further| further) {
            return Err(TicketKeysError::NoneInForce);
        }
        Ok(Self { keys })
    }
}

fn read_key(record: &[u8; KEY_RECORD_BYTES]) -> Option<Key> {
    let (id, rest) = record.split_first_chunk::<ID_BYTES>()?;
    let (made, rest) = rest.split_first_chunk::<8>()?;
    let (retired, rest) = rest.split_first_chunk::<8>()?;
    let key: &[u8; SECRET_BYTES] = rest.try_into().ok()?;
    Some(Key {
        id: *id,
        made: Timestamp::from_millis(u64::from_be_bytes(*made)),
        retired: Timestamp::from_millis(u64::from_be_bytes(*retired)),
        key: Secret::from_bytes(*key),
    })
}

/// What we put in front of rustls' own bytes, under the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) root: Root,
    pub(super) birth: Timestamp,
    pub(super) issued: Timestamp,
}

const HEADER_BYTES: usize = ROOT_BYTES + 8 + 8;

impl Header {
    fn before(&self, plain: &[u8]) -> Zeroizing<Vec<u8>> {
        let size = plain.len().saturating_add(HEADER_BYTES);
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.extend_from_slice(self.root.as_bytes());
        out.extend_from_slice(&self.birth.as_millis().to_be_bytes());
        out.extend_from_slice(&self.issued.as_millis().to_be_bytes());
        out.extend_from_slice(plain);
        out
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (root, rest) = plain.split_first_chunk::<ROOT_BYTES>()?;
        let (birth, rest) = rest.split_first_chunk::<8>()?;
        let (issued, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            root: Root::from_bytes(*root),
            birth: Timestamp::from_millis(u64::from_be_bytes(*birth)),
            issued: Timestamp::from_millis(u64::from_be_bytes(*issued)),
        })
    }

    /// Not too old, and not from the future: a clock that went back far cannot tell ages.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.issued <= now.after(SKEW) && now.since(self.issued) < TICKET_LIFETIME
    }
}

/// An opened ticket.
pub(super) struct Unsealed {
    pub(super) header: Header,
    plain: Zeroizing<Vec<u8>>,
}

impl Unsealed {
    /// rustls' own bytes.
    pub(super) fn into_plain(self) -> Vec<u8> {
        self.plain.get(HEADER_BYTES..).unwrap_or_default().to_vec()
    }
}

/// Lengths go in front: no two places have the same bytes.
fn aad(listener: &str, sni: Option<&str>, key: &[u8; ID_BYTES]) -> Vec<u8> {
    let mut out = b"wirebound tls ticket 1\0".to_vec();
    out.extend_from_slice(key);
    out.extend_from_slice(
        &u64::try_from(listener.len())
            .unwrap_or(u64::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(listener.as_bytes());
    match sni {
        Some(name) => {
            out.push(1);
            out.extend_from_slice(name.as_bytes());
        }
        None => out.push(0),
    }
    out
}

/// Kept ticket keys that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketKeysError {
    /// Written by a version that this one does not know.
    Version {
        /// The version byte.
        found: u8,
    },
    /// Cut short, too long, or of more keys than there may be.
    Length,
    /// Not exactly one key is in force, or it is not the first.
    NoneInForce,
}

impl fmt::Display for TicketKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => write!(
                f,
                "the TLS ticket keys are of version {found}, this program knows {RING_VERSION}; upgrade it, or remove the keys (every client then makes one full handshake)"
            ),
            Self::Length => f.write_str(
                "the TLS ticket keys are damaged; remove them (every client then makes one full handshake)",
            ),
            Self::NoneInForce => f.write_str(
                "not exactly one of the TLS ticket keys is in force; remove them (every client then makes one full handshake)",
            ),
        }
    }
}

impl core::error::Error for TicketKeysError {}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    /// Every byte another one: no two draws are alike.
    #[derive(Debug, Default)]
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            for byte in bytes {
                *byte = self.0.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    #[derive(Debug)]
    struct Dry;

    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError::new())
        }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn header() -> Header {
        Header {
            root: Root::from_bytes([9; ROOT_BYTES]),
            birth: NOW.before(Lifetime::from_days(3)),
            issued: NOW,
        }
    }

    fn sealed(keys: &TicketKeys) -> Vec<u8> {
        keys.seal(
            "public",
            Some("a.test"),
            &header(),
            b"plain",
            &Counting::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_ticket_opens_as_it_was_sealed_and_bent_or_cut_not_at_all() {
        let keys = TicketKeys::generate(NOW, &Counting::default()).unwrap();
        let ticket = sealed(&keys);
        let opened = keys.open("public", Some("a.test"), &ticket, NOW).unwrap();
        assert_eq!(opened.header, header());
        assert_eq!(opened.into_plain(), b"plain");
        for at in 0..ticket.len() {
            for bit in 0..8 {
                let mut bent = ticket.clone();
                bent[at] ^= 1 << bit;
                assert!(
                    keys.open("public", Some("a.test"), &bent, NOW).is_none(),
                    "{at}"
                );
            }
            assert!(
                keys.open("public", Some("a.test"), &ticket[..at], NOW)
                    .is_none()
            );
        }
    }

    #[test]
    fn a_ticket_opens_at_its_listener_under_its_name_and_nowhere_else() {
        let keys = TicketKeys::generate(NOW, &Counting::default()).unwrap();
        let ticket = sealed(&keys);
        for (listener, sni) in [
            ("public", None),
            ("public", Some("b.test")),
            ("admin", Some("a.test")),
            ("publica", Some(".test")),
            ("", Some("a.test")),
        ] {
            assert!(
                keys.open(listener, sni, &ticket, NOW).is_none(),
                "{listener} {sni:?}"
            );
        }
        let others = TicketKeys::generate(NOW, &Counting(AtomicU8::new(77))).unwrap();
        assert!(
            others
                .open("public", Some("a.test"), &ticket, NOW)
                .is_none()
        );
    }

    #[test]
    fn a_ticket_has_an_age_and_does_not_come_from_the_future() {
        let keys = TicketKeys::generate(NOW, &Counting::default()).unwrap();
        let ticket = sealed(&keys);
        let last = NOW.after(Lifetime::from_millis(TICKET_LIFETIME.as_millis() - 1));
        let open = |now| keys.open("public", Some("a.test"), &ticket, now).is_some();
        assert!(open(last));
        assert!(!open(NOW.after(TICKET_LIFETIME)));
        assert!(open(NOW.before(SKEW)), "another node's clock");
        assert!(!open(NOW.before(Lifetime::from_mins(6))));
    }

    #[test]
    fn kept_keys_are_read_back_and_damaged_ones_are_refused() {
        let entropy = Counting::default();
        let keys = TicketKeys::generate(NOW, &entropy).unwrap();
        let ticket = sealed(&keys);
        assert!(keys.rotate(NOW.after(ROTATION), &entropy).unwrap());
        let bytes = keys.to_bytes();
        let kept = TicketKeys::from_bytes(&bytes).unwrap();
        assert_eq!(kept.count(), 2);
        assert!(kept.open("public", Some("a.test"), &ticket, NOW).is_some());
        for length in 0..bytes.len() {
            let cut = TicketKeys::from_bytes(&bytes[..length]).unwrap_err();
            assert_eq!(cut, TicketKeysError::Length, "{length}");
        }
        assert_eq!(
            TicketKeys::from_bytes(&[&bytes[..], &[0]].concat()).unwrap_err(),
            TicketKeysError::Length
        );
        let mut unknown = bytes.to_vec();
        unknown[0] = 2;
        assert_eq!(
            keys.reload(&unknown).unwrap_err(),
            TicketKeysError::Version { found: 2 }
        );
        let mut none = bytes.to_vec();
        none[2 + ID_BYTES + 8] = 0;
        assert_eq!(
            keys.reload(&none).unwrap_err(),
            TicketKeysError::NoneInForce
        );
        assert_eq!(keys.count(), 2, "a refused ring changes nothing");
    }

    #[test]
    fn a_clock_from_far_ahead_does_not_stop_rotation_for_ever() {
        let entropy = Counting::default();
        let ahead = NOW.after(Lifetime::from_days(30_000));
        let keys = TicketKeys::generate(ahead, &entropy).unwrap();
        assert!(keys.rotate(NOW, &entropy).unwrap());
        assert!(
            !keys
                .rotate(NOW.after(Lifetime::from_hours(11)), &entropy)
                .unwrap()
        );
        assert!(keys.rotate(NOW.after(ROTATION), &entropy).unwrap());
        assert!(
            keys.rotate(NOW.after(Lifetime::from_days(3)), &entropy)
                .unwrap()
        );
        assert!(keys.count() <= 3);
    }

    #[test]
    fn without_randomness_nothing_is_made_and_nothing_lost() {
        let keys = TicketKeys::generate(NOW, &Counting::default()).unwrap();
        let ticket = sealed(&keys);
        assert!(TicketKeys::generate(NOW, &Dry).is_err());
        assert!(keys.rotate(NOW.after(ROTATION), &Dry).is_err());
        assert!(keys.open("public", Some("a.test"), &ticket, NOW).is_some());
        assert!(keys.seal("public", None, &header(), b"", &Dry).is_none());
    }

    #[test]
    fn keys_do_not_print() {
        let keys = TicketKeys::generate(NOW, &Counting::default()).unwrap();
        assert_eq!(format!("{keys:?}"), "TicketKeys { count: 1, .. }");
    }
}
