//! The jar echo: a string that travels from an unknown wire, through the client's jar, to a known one.
//!
//! Whoever can only *read* the jar gains nothing: the stranger joins only when a proved wire brings its nonce
//! back. The nonce is sealed rather than remembered, so that no flood of strangers fills memory or pushes an
//! honest one's nonce out: it names the session, the strange wire's family, the request and the try.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Engine;
use crate::bonds::Joining;
use crate::codec::{Reader, Writer};
use crate::event::Event;
use crate::families::roots;
use crate::ids::{Root, SessionId, WireId};
use crate::record::Record;
use crate::store::{Commit, Durability, Expect, StoreError};
use crate::time::{EntropyError, Lifetime, Timestamp};
use crate::verdict::{By, Verified};
use crate::wire::{Wire, WireCore};

const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"echo";
/// No sealed nonce is longer; longer text is not even decoded.
const LONGEST: usize = 200;

/// An echo nonce that opened: sealed by this node, younger than its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoToken {
    pub(super) session: SessionId,
    pub(super) root: Root,
    pub(super) wire: WireId,
    pub(super) request: [u8; 8],
    pub(super) tries: u8,
}

/// Names a request, so that its own tries can be counted: the same bytes for the same method and target.
#[must_use]
pub fn request_key(method: &str, target: &str) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(method.as_bytes());
    hasher.update(b" ");
    hasher.update(target.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The family that spent the hand-over's nonce brought home the echo of another: both have one jar, where the nonce may
/// still be. From here on it is the other's. (It is never forgotten: a copy could bring home echoes of its own.)
fn excuse(record: &mut Record, core: &WireCore, brought: &[&EchoToken]) -> bool {
    let (Some(offer), Some(other)) = (&mut record.hand_over, brought.last()) else {
        return false;
    };
    let is_own = |root| roots(core.lineage.as_ref()).any(|own| own == root);
    let excused = offer.spent.is_some_and(is_own) && !is_own(other.root);
    if excused {
        offer.spent = Some(other.root);
    }
    excused
}

impl Engine {
    /// Opens echo nonces that a request brings. What does not open, or is too old, counts as not there.
    #[must_use]
    pub fn open_echoes<'t>(
        &self,
        texts: impl Iterator<Item = &'t [u8]>,
        now: Timestamp,
    ) -> Vec<EchoToken> {
        texts
            .filter_map(|text| self.open_echo(text, now))
            .take(8)
            .collect()
    }

    fn open_echo(&self, text: &[u8], now: Timestamp) -> Option<EchoToken> {
        if text.len() > LONGEST {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = self.keys.open(CONTEXT, &sealed)?;
        let mut from = Reader::new(&plain);
        if from.byte()? != FORMAT {
            return None;
        }
        let token = EchoToken {
            session: SessionId::from_bytes(from.array()?),
            root: Root::from_bytes(from.array()?),
            wire: WireId(from.number()?),
            request: from.array()?,
            tries: from.byte()?,
        };
        let made = from.time()?;
        from.finish()?;
        (now.since(made) < self.policy.echo).then_some(token)
    }

    /// How often this very request was challenged already, by the nonces that it brings itself: a thief's tries never
    /// use up the owner's.
    pub(super) fn tries(echoes: &[EchoToken], session: SessionId, request: [u8; 8]) -> u8 {
        let own = echoes
            .iter()
            .filter(|token| token.session == session && token.request == request);
        own.map(|token| token.tries).max().unwrap_or(0)
    }

    /// Makes a nonce for a strange wire.
    pub(super) fn make_echo(
        &self,
        wire: &Wire,
        session: SessionId,
        root: Root,
        request: [u8; 8],
        tries: u8,
        now: Timestamp,
    ) -> Result<String, EntropyError> {
        let mut out = Writer::with_version(FORMAT);
        out.array(session.as_bytes());
        out.array(root.as_bytes());
        out.number(wire.core.id.as_u64());
        out.array(&request);
        out.byte(tries);
        out.time(now);
        let sealed = self
            .keys
            .seal(CONTEXT, &out.finish(), self.entropy.as_ref())?;
        self.bonds.challenged(session, root, now);
        self.tell(Event::Challenged {
            session,
            wire: wire.core.id,
            tries,
        });
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// A proved wire brings nonces back: the families they came from belong to the same live jar, and join with the
    /// stock of the wire that echoed. Answers how many joined.
    ///
    /// # Errors
    ///
    /// When the store cannot say; then nobody joined.
    pub async fn bring_back(
        &self,
        wire: &Wire,
        verified: &Verified,
        echoes: &[EchoToken],
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let session = verified.session();
        let ours: Vec<&EchoToken> = echoes
            .iter()
            .filter(|token| token.session == session)
            .collect();
        let Some(origin) = wire.core.origin(session) else {
            return Ok(0);
        };
        if ours.is_empty() {
            return Ok(0);
        }
        let _lock = self.lock(verified.subject()).await;
        let Some(held) = self.load_record(&session).await? else {
            return Ok(0);
        };
        let mut record = held.value;
        let joined: Vec<_> = ours
            .iter()
            .filter(|token| record.join(token.root, origin))
            .collect();
        let excused = excuse(&mut record, &wire.core, &ours);
        if joined.is_empty() && !excused {
            return Ok(0);
        }
        record.seen = record.seen.max(now);
        let put = self.put_record(&record, Expect::At(held.version));
        if self.store.commit(vec![put], Durability::Durable).await? == Commit::Stale {
            return Ok(0);
        }
        for token in &joined {
            self.bonds.joined(session, &token.root);
            self.tell(Event::Attached {
                session,
                wire: token.wire,
                by: By::Echo,
                stock: origin.stock(),
                family: Some(token.root),
            });
        }
        Ok(joined.len())
    }

    /// While another stranger of this session waits for its nonce to come back, a further one is held, not challenged:
    /// what to wait on, and for how long at most.
    pub(super) fn hold(
        &self,
        session: SessionId,
        wire: &Wire,
        now: Timestamp,
    ) -> Option<(Joining, Lifetime)> {
        let attached = !self.bonds.wires(session).is_empty();
        let longest = Lifetime::from_millis(if attached { 400 } else { 200 });
        let root = wire.core.lineage.map(|lineage| lineage.root);
        self.bonds
            .stranger_open(session, root, longest, now)
            .map(|joining| (joining, longest))
    }
}
