//! Wirebound's embedded store: one file, crash-safe, many commits to a sync.
//!
//! [`RedbStore`] keeps [`wirebound::store`]'s contract over redb, a B-tree in a file with copy-on-write pages.
//!
//! - **What is answered is on disk.** Each transaction is a two-phase commit: pages are synced before the
//!   header points at them. After `kill -9` or a loss of power the file holds the state of the last
//!   transaction whole, and every commit that was answered `Done` as durable is in it.
//! - **Commits share syncs.** One thread takes all commits that wait, judges them in order, writes the
//!   survivors in one transaction and answers. A hundred at once cost about as much as one.
//! - **Writes append.** Rows are numbered in the order in which they come; from a key to its row leads an
//!   index in memory (about 150 bytes a key), which opening rebuilds from the rows.
//! - **Readers wait for nobody's sync.** They hold a snapshot as it stood after the last transaction.
//! - **What does not read back is an error.** Each row has a checksum against accidents. Whoever can *write*
//!   the file can also write checksums: against them stands the engine's MAC, not this crate.
//!
//! The futures need no runtime. `load` reads the file where it is polled: from the page cache in
//! microseconds, from a cold disk as long as the disk takes.
//!
//! ```
//! use wirebound::Timestamp;
//! use wirebound::store::{Change, Commit, Durability, Expect, Key, Space, Store};
//! use wirebound_redb::{Options, RedbStore};
//!
//! # futures_executor::block_on(async {
//! let folder = tempfile::tempdir()?;
//! let store = RedbStore::open(folder.path(), Options::default())?;
//! let key = Key::new(Space::Node, b"a name");
//! let put = Change::Put {
//!     key: key.clone(),
//!     expect: Expect::Absent,
//!     value: b"a value".to_vec(),
//!     due: Timestamp::NEVER,
//! };
//! assert_eq!(store.commit(vec![put.clone()], Durability::Durable).await?, Commit::Done);
//! // There is something now: the same put again changes nothing.
//! assert_eq!(store.commit(vec![put], Durability::Durable).await?, Commit::Stale);
//! drop(store);
//!
//! let store = RedbStore::open(folder.path(), Options::default())?;
//! assert_eq!(store.load(&key).await?.map(|found| found.value), Some(b"a value".to_vec()));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use core::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use futures_channel::oneshot;
use wirebound::Timestamp;
use wirebound::store::{
    Answer, Change, Commit, Durability, Key, Space, Store, StoreError, StoreErrorKind, Stored,
};

mod disk;
mod error;
mod folder;
mod index;
mod medium;
mod queue;
mod row;
mod writer;

#[cfg(test)]
mod tests;

pub use error::OpenError;

use crate::disk::{Opened, Refused};
use crate::folder::Folder;
use crate::medium::{FileMedium, Medium};
use crate::queue::Request;
use crate::writer::{Health, Shared, State, Writer};

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many bytes of pages are kept in memory, beside the index. 64 MiB if nothing is said.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
        }
    }
}

/// The embedded store. The crate's text says what it promises.
///
/// Dropping it writes what waits and gives the folder back; it blocks for a sync at most.
pub struct RedbStore {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    // Given back after the writer has ended.
    _folder: Option<Folder>,
}

impl RedbStore {
    /// Opens the store in a folder; makes both if they are not there. Reads every row once.
    ///
    /// # Errors
    ///
    /// When another process holds the folder, when the operating system refuses, or when the file is not
    /// a sound store of this format. A file that is refused is left as it was.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let Options { cache_bytes } = options;
        let folder = Folder::take(folder.as_ref(), cache_bytes)?;
        let medium = FileMedium(folder.file().to_owned());
        let mut store = Self::on(Box::new(medium), cache_bytes)
            .map_err(|refused| OpenError::refused(folder.file(), refused))?;
        store._folder = Some(folder);
        Ok(store)
    }

    /// Verifies and reads the store in a folder as [`RedbStore::open`] would, and changes nothing: not even what a crash
    /// left to be put right. `None`: there is no store yet. Else how many sessions it holds.
    ///
    /// # Errors
    ///
    /// As [`RedbStore::open`]; `Locked` while another process holds it.
    pub fn look(folder: impl AsRef<Path>, options: Options) -> Result<Option<u64>, OpenError> {
        let Some(file) = Folder::find(folder.as_ref())? else {
            return Ok(None);
        };
        let index = disk::look(&FileMedium(file.clone()), options.cache_bytes)
            .map_err(|refused| OpenError::refused(&file, refused))?;
        Ok(u64::try_from(index.count(Space::Session)).ok())
    }

    fn on(medium: Box<dyn Medium>, cache: usize) -> Result<Self, Refused> {
        let Opened {
            disk,
            index,
            snapshot,
            next_row,
        } = disk::open(&*medium, cache)?;
        let shared = Arc::new(Shared::new(State {
            index,
            snapshot,
            health: Health::Well,
        }));
        let writer = Writer {
            shared: Arc::clone(&shared),
            medium,
            cache,
            disk: Some(disk),
            next_row,
            doubtful: Vec::new(),
            waiting_since: None,
        };
        let writer = thread::Builder::new()
            .name("wirebound-store".into())
            .spawn(move || writer.run())
            .map_err(Refused::Io)?;
        Ok(Self {
            shared,
            writer: Some(writer),
            _folder: None,
        })
    }

    fn load_now(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let state = self.shared.state()?;
        let Some(place) = state.index.place(key).copied() else {
            return Ok(None);
        };
        let value = match place.row {
            Some(row) => {
                let snapshot = Arc::clone(&state.snapshot);
                drop(state);
                disk::value_of(&snapshot, row, key, &place)?
            }
            None => state
                .index
                .unsynced
                .get(key)
                .and_then(|unsynced| unsynced.fresh.as_ref())
                .map(|fresh| fresh.value.to_vec())
                .ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt))?,
        };
        Ok(Some(Stored {
            version: place.version,
            due: place.due,
            value,
        }))
    }

    async fn commit_later(
        &self,
        changes: Vec<Change>,
        durability: Durability,
    ) -> Result<Commit, StoreError> {
        let gone = || StoreError::because(StoreErrorKind::Unavailable, "the store was closed");
        let (answer, answered) = oneshot::channel();
        let request = Request {
            changes,
            durability,
            answer,
        };
        if self.shared.queue.push(request).await.is_err() {
            return Err(gone());
        }
        answered.await.map_err(|_| gone())?
    }
}

impl Store for RedbStore {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        Box::pin(async move { self.load_now(key) })
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit> {
        Box::pin(self.commit_later(changes, durability))
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        Box::pin(async move { Ok(self.shared.state()?.index.due(space, until, after, limit)) })
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        Box::pin(async move {
            let count = self.shared.state()?.index.count(space);
            u64::try_from(count)
                .map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))
        })
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").finish_non_exhaustive()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so in the health of the store.
            let _ended = writer.join();
        }
    }
}
