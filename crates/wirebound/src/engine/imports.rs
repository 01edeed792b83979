//! Imports: for the day of the change, an app's own cookie that a browser still has counts once, as a sign-in of strength
//! `bearer`.
//!
//! Whoever has a copy may be first, so nothing that asks for more than `bearer` is opened by it until a real sign-in. Each
//! value counts once, durably; how many do in all is bounded, because anybody can send a made-up one.

use super::{Engine, NotSignedIn, SignIn, SignedIn};
use crate::codec::{Reader, Writer};
use crate::event::Event;
use crate::record::Carrier;
use crate::store::{Change, Expect, Key, Space, StoreError, Version};
use crate::time::Timestamp;
use crate::wire::Wire;

/// Values of the app's cookies that are taken in until one date.
const MOST: u64 = 100_000;
/// Format of the mark that a value was taken in, and of the count.
const IMPORT_FORMAT: u8 = 1;
/// Under which name the node keeps how many were taken in.
const COUNT: &str = "imports";
/// What the digest of a value is for.
const PURPOSE: &[u8] = b"import";
/// Marks of one commit at most; no vault holds more cookies.
const AT_ONCE: usize = 16;

/// Cookies of the app that came with a request.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "the HTTP layer builds it")]
pub struct Import {
    /// Each cookie as one text that says which it is: `name=value`. At most 16 count.
    pub cookies: Vec<Vec<u8>>,
    /// Until when cookies are taken in, and it is remembered which were.
    pub until: Timestamp,
}

impl core::fmt::Debug for Import {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Import({} cookies)", self.cookies.len())
    }
}

/// How many were taken in until one date.
struct Count {
    taken: u64,
    version: Option<Version>,
}

impl Engine {
    /// Signs in by the app's own cookies, which a browser kept from before. `seal` is given the places of those that were
    /// not taken in before, and answers what the session keeps. `None`: there is none, or as many were taken in as may be.
    ///
    /// The wire is attached, but proves no more than `bearer` until [`Engine::confirm`] or a sign-in of its own.
    ///
    /// # Errors
    ///
    /// As [`Engine::sign_in`].
    pub async fn import(
        &self,
        wire: &Wire,
        request: SignIn,
        import: &Import,
        seal: impl FnOnce(&[usize]) -> Vec<u8> + Send,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, NotSignedIn> {
        if now >= import.until || wire.is_shared() {
            return Ok(None);
        }
        // One at a time: the count and the marks are then as they were read.
        let _one = self.imports.lock().await;
        let mut fresh = Vec::new();
        let mut changes = Vec::new();
        for (at, cookie) in import.cookies.iter().enumerate().take(AT_ONCE) {
            if let Some(marks) = self.marks(cookie, import.until).await? {
                fresh.push(at);
                changes.extend(marks);
            }
        }
        if fresh.is_empty() {
            return Ok(None);
        }
        let count = self.count_imports(import.until).await?;
        let more = u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        let taken = count.taken.saturating_add(more);
        if taken > MOST {
            let none = crate::ids::SessionId::from_bytes([0; crate::ids::SESSION_ID_BYTES]);
            if self.alarms.ring(none, "imports_used_up", now).is_some() {
                let side = wire.side();
                self.tell(Event::ImportsUsedUp { side });
            }
            return Ok(None);
        }
        changes.push(self.put_count(taken, import.until, count.version)?);
        let request = SignIn {
            vault: Some(seal(&fresh)),
            carries_hand_over: false,
            ..request
        };
        let carrier = Carrier::Imported;
        let signed_in = self
            .begin_with(wire, request, carrier, &[], &changes, now)
            .await?;
        self.tell(Event::Imported {
            session: signed_in.verified.session(),
            cookies: fresh.len(),
            spent: import.cookies.len().saturating_sub(fresh.len()),
            left: MOST.saturating_sub(taken),
            side: wire.side(),
        });
        Ok(Some(signed_in))
    }

    /// The changes that mark a cookie as taken in; nothing if it was before, under this node secret or the one before.
    async fn marks(
        &self,
        cookie: &[u8],
        until: Timestamp,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let mut changes = Vec::new();
        for epoch in self.keys.epochs() {
            let Some(digest) = self.keys.digest_of(epoch, PURPOSE, cookie) else {
                continue;
            };
            // Beside the tombstones: what was, and must not be again. No session's id has this length.
            let key = Key::new(Space::Tombstone, digest.as_bytes());
            if self.store.load(&key).await?.is_some() {
                return Ok(None);
            }
            changes.push(if epoch == self.keys.epoch() {
                let mark = Writer::with_version(IMPORT_FORMAT).finish();
                self.put(key, Expect::Absent, mark, until)
            } else {
                let expect = Expect::Absent;
                Change::Check { key, expect }
            });
        }
        Ok(Some(changes))
    }

    async fn count_imports(&self, until: Timestamp) -> Result<Count, StoreError> {
        let Some(kept) = self.kept(COUNT).await? else {
            return Ok(Count {
                taken: 0,
                version: None,
            });
        };
        // For another date it begins anew.
        let taken = counted(kept.expose())
            .filter(|(of, _)| *of == until)
            .map_or(0, |(_, taken)| taken);
        Ok(Count {
            taken,
            version: Some(kept.version),
        })
    }

    fn put_count(
        &self,
        taken: u64,
        until: Timestamp,
        replaces: Option<Version>,
    ) -> Result<Change, StoreError> {
        let mut out = Writer::with_version(IMPORT_FORMAT);
        out.time(until);
        out.number(taken);
        self.put_kept(COUNT, &out.finish(), replaces)
    }
}

fn counted(bytes: &[u8]) -> Option<(Timestamp, u64)> {
    let mut from = Reader::new(bytes);
    (from.byte()? == IMPORT_FORMAT).then_some(())?;
    let counted = (from.time()?, from.number()?);
    from.finish()?;
    Some(counted)
}
