//! The database file: opened, scanned, written one transaction at a time.
//!
//! Two-phase commit always: the values are chosen by strangers, and the one-phase form trusts a checksum
//! without a key to tell a whole commit from a torn one.

use core::panic::AssertUnwindSafe;
use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use redb::{
    Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, TableHandle,
};
use wirebound::store::{Key, StoreError, StoreErrorKind};

use crate::index::{Building, Fresh, Index, Place, RowNumber};
use crate::medium::{Medium, Watched};
use crate::row;

/// Rows by number.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
/// What the file says of itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";

/// Rows that are handed on at a time while a store is opened.
const CHUNK: usize = 4096;

/// Rows as they stood after one commit; a reader holds one while it reads.
pub(crate) type Snapshot = Arc<ReadOnlyTable<u64, &'static [u8]>>;

/// An open database.
pub(crate) struct Disk {
    /// There until it is dropped.
    database: Option<Database>,
    watched: Watched,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Closing writes the last of redb's own bookkeeping. Whatever trips there, all that was answered is
        // on disk already.
        let database = self.database.take();
        let _closed = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// Why a database was not opened.
#[derive(Debug)]
pub(crate) enum Refused {
    Io(io::Error),
    Locked,
    Format(u64),
    Foreign,
    Corrupt(String),
}

/// Why a database was not opened again.
pub(crate) struct NotReopened {
    pub(crate) error: StoreError,
    /// Whether it was a sync that failed: a second try could find in the page cache what the disk never took.
    pub(crate) sync_failed: bool,
}

/// One key's change on disk.
pub(crate) struct Write<'a> {
    pub(crate) key: &'a Key,
    /// The row to take away.
    pub(crate) old: Option<RowNumber>,
    /// The row to write.
    pub(crate) new: Option<(RowNumber, &'a Fresh)>,
}

/// Everything an opened store starts from.
pub(crate) struct Opened {
    pub(crate) disk: Disk,
    pub(crate) index: Index,
    pub(crate) snapshot: Snapshot,
    pub(crate) next_row: RowNumber,
}

/// Makes an empty store on an empty medium.
pub(crate) fn create(medium: &dyn Medium, cache: usize) -> Result<(), Refused> {
    let watched = Watched::through(medium.open().map_err(Refused::Io)?);
    let database = build(watched, cache)?;
    let mut write = database
        .begin_write()
        .map_err(|error| refused(error.into()))?;
    write.set_two_phase_commit(true);
    let made = (|| -> Result<(), redb::Error> {
        write.open_table(ROWS)?;
        write.open_table(META)?.insert(META_FORMAT, row::FORMAT)?;
        Ok(())
    })();
    made.map_err(refused)?;
    write.commit().map_err(|error| refused(error.into()))
}

/// Opens a store and reads all of it. Whatever it refuses it leaves untouched.
pub(crate) fn open(medium: &dyn Medium, cache: usize) -> Result<Opened, Refused> {
    let (watched, database, index, next_row) = examine(medium, cache)?;
    watched.release().map_err(Refused::Io)?;
    let snapshot = snapshot(&database).map_err(refused)?;
    Ok(Opened {
        disk: Disk {
            database: Some(database),
            watched,
        },
        index,
        snapshot,
        next_row,
    })
}

/// Reads all of a store as opening it would, and writes nothing.
pub(crate) fn look(medium: &dyn Medium, cache: usize) -> Result<Index, Refused> {
    let (watched, database, index, _) = examine(medium, cache)?;
    // Closing writes too, into what is held back and then forgotten.
    drop(Disk {
        database: Some(database),
        watched,
    });
    Ok(index)
}

/// Verifies and reads a store. All that redb writes meanwhile is held back.
fn examine(
    medium: &dyn Medium,
    cache: usize,
) -> Result<(Watched, Database, Index, RowNumber), Refused> {
    let watched = Watched::holding(medium.open().map_err(Refused::Io)?).map_err(Refused::Io)?;
    if watched.len().map_err(Refused::Io)? == 0 {
        return Err(Refused::Corrupt("it is empty".into()));
    }
    // A database of wild bytes may trip an assertion inside redb: that too means "not what was written".
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = sound(watched.clone(), cache)?;
        check_format(&database)?;
        let (index, next_row) = scan(&database)?;
        Ok((database, index, next_row))
    }));
    let (database, index, next_row) = opened
        .unwrap_or_else(|_| Err(Refused::Corrupt("its pages contradict each other".into())))?;
    Ok((watched, database, index, next_row))
}

/// Opens a database, every page of which has been verified.
///
/// After a crash redb does that itself. After an orderly close it believes what it wrote about free pages;
/// if that was damaged since, it would write over pages that are in use.
fn sound(watched: Watched, cache: usize) -> Result<Database, Refused> {
    let verified = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&verified);
    let mut database = Builder::new()
        .set_cache_size(cache)
        .set_repair_callback(move |_| seen.store(true, Ordering::Relaxed))
        .create_with_backend(watched)
        .map_err(|error| refused(error.into()))?;
    if !verified.load(Ordering::Relaxed) {
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(Refused::Corrupt("its pages do not verify".into())),
            Err(error) => return Err(refused(error.into())),
        }
    }
    Ok(database)
}

fn build(watched: Watched, cache: usize) -> Result<Database, Refused> {
    Builder::new()
        .set_cache_size(cache)
        .create_with_backend(watched)
        .map_err(|error| refused(error.into()))
}

fn check_format(database: &Database) -> Result<(), Refused> {
    let read = database
        .begin_read()
        .map_err(|error| refused(error.into()))?;
    let ours = read
        .list_tables()
        .map_err(|error| refused(error.into()))?
        .any(|table| table.name() == META.name());
    if !ours {
        return Err(Refused::Foreign);
    }
    let format = read
        .open_table(META)
        .map_err(redb::Error::from)
        .and_then(|meta| Ok(meta.get(META_FORMAT)?.map(|format| format.value())))
        .map_err(refused)?;
    match format {
        Some(row::FORMAT) => Ok(()),
        Some(other) => Err(Refused::Format(other)),
        None => Err(Refused::Foreign),
    }
}

/// Reads all rows. The index is built beside, on a thread of its own: half of opening is waiting for memory.
fn scan(database: &Database) -> Result<(Index, RowNumber), Refused> {
    let rows = snapshot(database).map_err(refused)?;
    let (last, index) = thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<Vec<(Key, Place)>>(16);
        let building = scope.spawn(move || {
            let mut building = Building::default();
            for (key, place) in receive.into_iter().flatten() {
                building.add(key, place)?;
            }
            Ok(building.finish())
        });
        let last = read_rows(&rows, &send);
        drop(send);
        (last, building.join())
    });
    let index = index
        .map_err(|_| Refused::Corrupt("its index could not be built".into()))?
        .map_err(|key: Key| Refused::Corrupt(format!("two rows hold {key:?}")))?;
    Ok((index, RowNumber::MIN.saturating_add(last?)))
}

/// Sends every row's key and place on, and gives the last number.
fn read_rows(rows: &Snapshot, send: &SyncSender<Vec<(Key, Place)>>) -> Result<u64, Refused> {
    let expected = rows.len().map_err(|error| refused(error.into()))?;
    let (mut last, mut there) = (0_u64, 0_u64);
    let mut chunk = Vec::with_capacity(CHUNK);
    for entry in rows.iter().map_err(|error| refused(error.into()))? {
        let (number, bytes) = entry.map_err(|error| refused(error.into()))?;
        last = number.value();
        there = there.saturating_add(1);
        let (Some(row), Some(number)) = (row::decode(last, bytes.value()), RowNumber::new(last))
        else {
            return Err(Refused::Corrupt(format!("row {last} does not read back")));
        };
        chunk.push((
            row.key,
            Place {
                version: row.version,
                due: row.due,
                row: Some(number),
            },
        ));
        if chunk.len() == CHUNK {
            let full = core::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            if send.send(full).is_err() {
                // The other side met two rows of one key, and says so.
                return Ok(last);
            }
        }
    }
    if there != expected {
        return Err(Refused::Corrupt(format!(
            "{expected} rows should be there, {there} are"
        )));
    }
    // If nobody listens any more, the other side says why.
    let _said_there = send.send(chunk);
    Ok(last)
}

fn snapshot(database: &Database) -> Result<Snapshot, redb::Error> {
    Ok(Arc::new(database.begin_read()?.open_table(ROWS)?))
}

/// The value of a row, if the row is the one that the index means.
pub(crate) fn value_of(
    snapshot: &Snapshot,
    number: RowNumber,
    key: &Key,
    place: &Place,
) -> Result<Vec<u8>, StoreError> {
    let read = catch_unwind(AssertUnwindSafe(|| snapshot.get(number.get())));
    let bytes = read
        .map_err(|_| corrupt(key))?
        .map_err(|error| store_error(error.into()))?
        .ok_or_else(|| corrupt(key))?;
    let row = row::decode(number.get(), bytes.value()).ok_or_else(|| corrupt(key))?;
    if row.key != *key || row.version != place.version || row.due != place.due {
        return Err(corrupt(key));
    }
    Ok(row.value.to_vec())
}

fn corrupt(key: &Key) -> StoreError {
    StoreError::because(
        StoreErrorKind::Corrupt,
        format!("the row of {key:?} does not read back"),
    )
}

impl Disk {
    /// Makes all the writes in one durable transaction, and gives the snapshot in which they stand.
    pub(crate) fn write(&self, writes: &[Write<'_>]) -> Result<Snapshot, StoreError> {
        catch_unwind(AssertUnwindSafe(|| self.transaction(writes))).unwrap_or_else(|_| {
            Err(StoreError::because(
                StoreErrorKind::Corrupt,
                "the database file contradicts itself",
            ))
        })
    }

    fn transaction(&self, writes: &[Write<'_>]) -> Result<Snapshot, StoreError> {
        let database = self.database()?;
        let mut write = database
            .begin_write()
            .map_err(|error| store_error(error.into()))?;
        write.set_two_phase_commit(true);
        apply(&write, writes)?;
        write.commit().map_err(|error| store_error(error.into()))?;
        snapshot(database).map_err(store_error)
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database
            .as_ref()
            .ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable))
    }

    /// The rows as they are, and whether these writes stand in them. Any one tells: they were made together.
    pub(crate) fn holds(&self, writes: &[Write<'_>]) -> Result<(Snapshot, bool), StoreError> {
        let snapshot = snapshot(self.database()?).map_err(store_error)?;
        let there = |number: RowNumber| -> Result<bool, StoreError> {
            Ok(snapshot
                .get(number.get())
                .map_err(|error| store_error(error.into()))?
                .is_some())
        };
        let made = match writes.first() {
            Some(Write {
                new: Some((number, _)),
                ..
            }) => there(*number)?,
            Some(Write {
                old: Some(number), ..
            }) => !there(*number)?,
            Some(_) | None => false,
        };
        Ok((snapshot, made))
    }

    /// Closes the database, and says whether a sync ever failed: then nobody can say what is on the disk.
    pub(crate) fn close(self) -> bool {
        let watched = self.watched.clone();
        drop(self);
        watched.sync_failed()
    }

    /// Opens the medium again after an error, without reading all of it.
    pub(crate) fn reopen(medium: &dyn Medium, cache: usize) -> Result<Self, NotReopened> {
        let inner = medium.open().map_err(|error| NotReopened {
            error: store_error(redb::Error::Io(error)),
            sync_failed: false,
        })?;
        let watched = Watched::through(inner);
        let opened = catch_unwind(AssertUnwindSafe(|| build(watched.clone(), cache)));
        let error = match opened {
            Ok(Ok(database)) => {
                return Ok(Self {
                    database: Some(database),
                    watched,
                });
            }
            Ok(Err(Refused::Io(error))) => store_error(redb::Error::Io(error)),
            Ok(Err(other)) => StoreError::because(
                StoreErrorKind::Unavailable,
                format!("the database could not be opened again: {other:?}"),
            ),
            Err(_) => StoreError::new(StoreErrorKind::Corrupt),
        };
        Err(NotReopened {
            error,
            sync_failed: watched.sync_failed(),
        })
    }
}

fn apply(write: &redb::WriteTransaction, writes: &[Write<'_>]) -> Result<(), StoreError> {
    let mut table = write
        .open_table(ROWS)
        .map_err(|error| store_error(error.into()))?;
    let mut bytes = Vec::with_capacity(2048);
    for one in writes {
        if let Some(old) = one.old {
            let removed = table
                .remove(old.get())
                .map_err(|error| store_error(error.into()))?;
            if removed.is_none() {
                return Err(corrupt(one.key));
            }
        }
    }
    for one in writes {
        if let Some((number, fresh)) = one.new {
            row::encode(
                number.get(),
                one.key,
                fresh.version,
                fresh.due,
                &fresh.value,
                &mut bytes,
            );
            table
                .insert(number.get(), bytes.as_slice())
                .map_err(|error| store_error(error.into()))?;
        }
    }
    Ok(())
}

fn refused(error: redb::Error) -> Refused {
    if let redb::Error::Io(error) = error {
        return Refused::Io(error);
    }
    if matches!(error, redb::Error::DatabaseAlreadyOpen) {
        return Refused::Locked;
    }
    if matches!(error, redb::Error::PreviousIo) {
        return Refused::Io(io::Error::other(error));
    }
    Refused::Corrupt(error.to_string())
}

fn store_error(error: redb::Error) -> StoreError {
    let kind = if let redb::Error::Io(error) = &error {
        kind_of(error)
    } else if matches!(error, redb::Error::Corrupted(_)) {
        StoreErrorKind::Corrupt
    } else {
        StoreErrorKind::Unavailable
    };
    StoreError::because(kind, error)
}

/// What an I/O error means to whoever asked for a commit.
pub(crate) fn kind_of(error: &io::Error) -> StoreErrorKind {
    use io::ErrorKind;
    if matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
    ) {
        StoreErrorKind::Full
    } else {
        StoreErrorKind::Unavailable
    }
}
