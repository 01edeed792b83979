//! What the node keeps to itself: keys derived from its secret, and what is made with them.
//!
//! The node secret lives outside the store. From it come, by BLAKE3's key derivation, one key per purpose: a
//! selector's MAC, a record's MAC, a secret's digest, a seal, tickets. So a store that is read reveals no credential, and
//! a store that is written forges none. Two epochs are kept: the current one makes, both read.

use core::fmt;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::ids::{SESSION_ID_BYTES, SessionId, Subject};
use crate::revocation::SubjectTag;
use crate::secret::Secret;
use crate::sequence::{Holder, Position};
use crate::store::{Key, StoreError, StoreErrorKind, Version};
use crate::ticket::TicketKey;
use crate::time::{Entropy, EntropyError};

/// Bytes of a selector: a session id and six bytes of MAC.
pub(crate) const SELECTOR_BYTES: usize = 16;

const MAC_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The secret of this node (or, over a shared store, of all nodes) in one epoch.
#[derive(Debug)]
pub struct NodeSecret {
    epoch: u32,
    secret: Secret,
}

impl NodeSecret {
    /// A node secret of this epoch. Epochs only grow.
    #[must_use]
    pub const fn new(epoch: u32, secret: Secret) -> Self {
        Self { epoch, secret }
    }
}

/// The keys of the current epoch and, while its sessions live, of the one before.
pub struct Keys {
    current: EpochKeys,
    previous: Option<EpochKeys>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys(epoch {})", self.current.epoch)
    }
}

struct EpochKeys {
    epoch: u32,
    selector: [u8; 32],
    record: [u8; 32],
    digest: [u8; 32],
    seal: [u8; 32],
    ticket: [u8; 32],
    client: [u8; 32],
    subject: [u8; 32],
}

impl EpochKeys {
    fn derive(node: &NodeSecret) -> Self {
        let key = |purpose| blake3::derive_key(purpose, node.secret.expose());
        Self {
            epoch: node.epoch,
            selector: key("wirebound v1 selector mac"),
            record: key("wirebound v1 record mac"),
            digest: key("wirebound v1 secret digest"),
            seal: key("wirebound v1 seal"),
            ticket: key("wirebound v1 ticket"),
            client: key("wirebound v1 client"),
            subject: key("wirebound v1 subject tag"),
        }
    }

    fn selector_mac(&self, id: &SessionId) -> [u8; 6] {
        let mac = blake3::keyed_hash(&self.selector, id.as_bytes());
        let [a, b, c, d, e, f, ..] = *mac.as_bytes();
        [a, b, c, d, e, f]
    }
}

impl Drop for EpochKeys {
    fn drop(&mut self) {
        self.selector.zeroize();
        self.record.zeroize();
        self.digest.zeroize();
        self.seal.zeroize();
        self.ticket.zeroize();
        self.client.zeroize();
        self.subject.zeroize();
    }
}

/// The keyed digest of a secret: what is kept at rest in its place.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The half that attachments and the live table keep.
    pub(crate) fn short(&self) -> [u8; 16] {
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(&self.0) {
            *to = *from;
        }
        short
    }

    /// Compared in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// A selector that this node (or one that shares its secret) made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Genuine {
    pub(crate) id: SessionId,
    /// The MAC as a number: a keyed hash that nobody outside can choose, so the live table may use it as a place.
    pub(crate) place: u64,
    pub(crate) epoch: u32,
}

impl Keys {
    /// Derives the keys. `previous` is the secret of the epoch before, as long as its sessions live.
    #[must_use]
    pub fn new(current: &NodeSecret, previous: Option<&NodeSecret>) -> Self {
        Self {
            current: EpochKeys::derive(current),
            previous: previous.map(EpochKeys::derive),
        }
    }

    fn of(&self, epoch: u32) -> Option<&EpochKeys> {
        if self.current.epoch == epoch {
            return Some(&self.current);
        }
        self.previous.as_ref().filter(|keys| keys.epoch == epoch)
    }

    /// The epochs whose keys are kept, the current one first.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = u32> {
        let previous = self.previous.as_ref().map(|keys| keys.epoch);
        core::iter::once(self.current.epoch).chain(previous)
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.current.epoch
    }

    /// The selector of a session made in this epoch: its id and the MAC over it.
    pub(crate) fn selector(&self, id: &SessionId, epoch: u32) -> Option<[u8; SELECTOR_BYTES]> {
        let mac = self.of(epoch)?.selector_mac(id);
        let mut selector = [0; SELECTOR_BYTES];
        for (to, from) in selector.iter_mut().zip(id.as_bytes().iter().chain(&mac)) {
            *to = *from;
        }
        Some(selector)
    }

    /// Checks a selector's MAC, so that a made-up one is refused without asking the store.
    pub(crate) fn read_selector(&self, selector: &[u8; SELECTOR_BYTES]) -> Option<Genuine> {
        let (id, mac) = selector.split_at_checked(SESSION_ID_BYTES)?;
        let id = SessionId::from_bytes(id.try_into().ok()?);
        // Both epochs are always tried, so that time does not tell which one made it.
        let current = self.check(&self.current, &id, mac);
        let previous = self
            .previous
            .as_ref()
            .and_then(|keys| self.check(keys, &id, mac));
        current.or(previous)
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the keys")]
    fn check(&self, keys: &EpochKeys, id: &SessionId, mac: &[u8]) -> Option<Genuine> {
        let right = keys.selector_mac(id);
        bool::from(right.ct_eq(mac)).then(|| Genuine {
            id: *id,
            place: place(right),
            epoch: keys.epoch,
        })
    }

    pub(crate) fn place(&self, id: &SessionId, epoch: u32) -> Option<u64> {
        self.of(epoch).map(|keys| place(keys.selector_mac(id)))
    }

    /// The digest of a secret under the keys of the epoch that made its session.
    pub(crate) fn digest(&self, epoch: u32, secret: &Secret) -> Option<Digest> {
        let keys = self.of(epoch)?;
        Some(Digest(
            *blake3::keyed_hash(&keys.digest, secret.expose()).as_bytes(),
        ))
    }

    /// The digest of a credential that is not of our making or not of a secret's length: a sealed cookie, a cookie of the
    /// app. `purpose` keeps the kinds apart; no input is as short as the 32 bytes of a secret, so these digests are
    /// apart from theirs as well.
    pub(crate) fn digest_of(&self, epoch: u32, purpose: &[u8], bytes: &[u8]) -> Option<Digest> {
        let mut hasher = blake3::Hasher::new_keyed(&self.of(epoch)?.digest);
        hasher.update(&u64::try_from(purpose.len()).ok()?.to_le_bytes());
        hasher.update(purpose);
        hasher.update(&[0; 32]);
        hasher.update(bytes);
        Some(Digest(*hasher.finalize().as_bytes()))
    }

    /// The ticket of a session at a position, under the keys of the epoch that made the session; nothing if they are gone.
    ///
    /// # Security
    ///
    /// Whoever holds what this makes holds a credential.
    #[must_use]
    pub fn ticket(&self, epoch: u32, id: &SessionId, position: Position) -> Option<Secret> {
        TicketKey::derive(&self.of(epoch)?.ticket, id).seal(id, position)
    }

    /// Where a ticket stands; nothing if it is not one of this session's. What standing there means, a
    /// [`Sequence`](crate::sequence::Sequence) tells.
    #[must_use]
    pub fn open_ticket(&self, epoch: u32, id: &SessionId, ticket: &Secret) -> Option<Position> {
        TicketKey::derive(&self.of(epoch)?.ticket, id).open(id, ticket)
    }

    /// Names a client where there are no wires, by what it says of itself: never shown, only compared.
    #[must_use]
    pub fn client(&self, parts: &[&[u8]]) -> Holder {
        let mut hasher = blake3::Hasher::new_keyed(&self.current.client);
        for part in parts {
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part);
        }
        let mut line = [0; 16];
        for (to, from) in line.iter_mut().zip(hasher.finalize().as_bytes()) {
            *to = *from;
        }
        Holder::Line(line)
    }

    /// A subject's tags, that of the current epoch first: what is issued bears the first, and what is called back names all,
    /// so that a token of before a rotation of the node secret is reached.
    pub(crate) fn subject_tags(&self, subject: &Subject) -> impl Iterator<Item = SubjectTag> {
        core::iter::once(&self.current)
            .chain(&self.previous)
            .map(|keys| {
                let mac = blake3::keyed_hash(&keys.subject, subject.as_bytes());
                let mut tag = [0; 16];
                for (to, from) in tag.iter_mut().zip(mac.as_bytes()) {
                    *to = *from;
                }
                SubjectTag::from_bytes(tag)
            })
    }

    /// Puts epoch and MAC around a record. The MAC covers where it lies and which version it is, so that a
    /// record copied to another key or kept for a later version does not read back.
    pub(crate) fn vouch(&self, key: &Key, version: Version, payload: Vec<u8>) -> Vec<u8> {
        let mac = record_mac(&self.current, key, version, &payload);
        let mut value = payload;
        value.extend_from_slice(&self.current.epoch.to_le_bytes());
        value.extend_from_slice(&mac);
        value
    }

    /// Takes a record out of its envelope.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the MAC does not fit: the store was written by somebody else, or the node secret was lost.
    pub(crate) fn unwrap<'v>(
        &self,
        key: &Key,
        version: Version,
        value: &'v [u8],
    ) -> Result<&'v [u8], StoreError> {
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt);
        let split = value.len().checked_sub(MAC_BYTES).ok_or_else(corrupt)?;
        let (rest, mac) = value.split_at_checked(split).ok_or_else(corrupt)?;
        let split = rest.len().checked_sub(4).ok_or_else(corrupt)?;
        let (payload, epoch) = rest.split_at_checked(split).ok_or_else(corrupt)?;
        let epoch = u32::from_le_bytes(epoch.try_into().map_err(|_| corrupt())?);
        let keys = self.of(epoch).ok_or_else(corrupt)?;
        let right = record_mac(keys, key, version, payload);
        if bool::from(right.ct_eq(mac)) {
            Ok(payload)
        } else {
            Err(corrupt())
        }
    }

    /// Seals bytes: unreadable and unchangeable without the node secret. `context` must be the same to open.
    ///
    /// # Errors
    ///
    /// When randomness fails.
    pub fn seal(
        &self,
        context: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EntropyError> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce)?;
        let cipher = XChaCha20Poly1305::new(&self.current.seal.into());
        let sealed = cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: context,
                },
            )
            .map_err(|_| EntropyError::new())?;
        let mut out = Vec::with_capacity(sealed.len().saturating_add(4 + NONCE_BYTES));
        out.extend_from_slice(&self.current.epoch.to_le_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what [`Keys::seal`] sealed under the same context, in this epoch or the one before.
    #[must_use]
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (epoch, rest) = sealed.split_at_checked(4)?;
        let (nonce, body) = rest.split_at_checked(NONCE_BYTES)?;
        let keys = self.of(u32::from_le_bytes(epoch.try_into().ok()?))?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        XChaCha20Poly1305::new(&keys.seal.into())
            .decrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: body,
                    aad: context,
                },
            )
            .ok()
    }
}

fn place(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn record_mac(keys: &EpochKeys, key: &Key, version: Version, payload: &[u8]) -> [u8; MAC_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(&keys.record);
    hasher.update(&[
        key.space().number(),
        u8::try_from(key.name().len()).unwrap_or(u8::MAX),
    ]);
    hasher.update(key.name());
    hasher.update(&version.as_u64().to_le_bytes());
    hasher.update(payload);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Space;
    use crate::testing::TestEntropy;

    fn keys(epoch: u32, byte: u8) -> NodeSecret {
        NodeSecret::new(epoch, Secret::from_bytes([byte; 32]))
    }

    #[test]
    fn a_made_up_selector_is_not_genuine() {
        let ours = Keys::new(&keys(2, 1), Some(&keys(1, 9)));
        let id = SessionId::from_bytes([5; 10]);
        let selector = ours.selector(&id, 2).unwrap();
        assert_eq!(ours.read_selector(&selector).unwrap().id, id);
        for bit in 0..128 {
            let mut other = selector;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(ours.read_selector(&other).is_none(), "bit {bit}");
        }
        let older = Keys::new(&keys(1, 9), None);
        assert_eq!(
            ours.read_selector(&older.selector(&id, 1).unwrap())
                .unwrap()
                .epoch,
            1
        );
        assert!(older.read_selector(&selector).is_none());
    }

    #[test]
    fn a_record_moved_rolled_on_or_changed_does_not_read_back() {
        let ours = Keys::new(&keys(1, 1), None);
        let key = Key::new(Space::Session, b"a");
        let value = ours.vouch(&key, Version::FIRST, b"payload".to_vec());
        assert_eq!(
            ours.unwrap(&key, Version::FIRST, &value).unwrap(),
            b"payload"
        );
        assert!(
            ours.unwrap(&key, Version::from_u64(2), &value)
                .unwrap_err()
                .is_corrupt()
        );
        assert!(
            ours.unwrap(&Key::new(Space::Session, b"b"), Version::FIRST, &value)
                .is_err()
        );
        assert!(
            ours.unwrap(&Key::new(Space::Identity, b"a"), Version::FIRST, &value)
                .is_err()
        );
        for at in 0..value.len() {
            let mut other = value.clone();
            other[at] ^= 1;
            assert!(
                ours.unwrap(&key, Version::FIRST, &other).is_err(),
                "byte {at}"
            );
        }
        assert!(ours.unwrap(&key, Version::FIRST, b"").is_err());
    }

    #[test]
    fn a_seal_opens_only_in_its_context() {
        let ours = Keys::new(&keys(1, 1), None);
        let entropy = TestEntropy::seeded(3);
        let sealed = ours.seal(b"vault", b"sessionid=1", &entropy).unwrap();
        assert_eq!(ours.open(b"vault", &sealed).unwrap(), b"sessionid=1");
        assert!(ours.open(b"guest", &sealed).is_none());
        assert!(
            Keys::new(&keys(1, 2), None)
                .open(b"vault", &sealed)
                .is_none()
        );
        let rotated = Keys::new(&keys(2, 7), Some(&keys(1, 1)));
        assert_eq!(rotated.open(b"vault", &sealed).unwrap(), b"sessionid=1");
    }
}
