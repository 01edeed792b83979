//! Where the bytes lie, and what is watched about them.
//!
//! Two things stand between redb and the file. While a store is being opened, writes are held back until
//! everything was found sound: a file that is refused is left as it was. And a failed sync is remembered:
//! after one nobody can say what the disk holds, so nothing may be built on it.

use core::fmt;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// Something that a database can be opened on, again and again.
pub(crate) trait Medium: fmt::Debug + Send + Sync {
    /// Opens it as it is now.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct FileMedium(pub(crate) PathBuf);

impl Medium for FileMedium {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = owner_only().read(true).write(true).open(&self.0)?;
        backend_of(file)
    }
}

/// Makes a new, empty file that only its owner may read.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    owner_only()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

fn owner_only() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

pub(crate) fn backend_of(file: File) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

/// A backend with its watch.
#[derive(Clone, Debug)]
pub(crate) struct Watched(Arc<Watch>);

#[derive(Debug)]
struct Watch {
    inner: Box<dyn StorageBackend>,
    holding: AtomicBool,
    held: Mutex<Held>,
    sync_failed: AtomicBool,
}

impl Watched {
    /// Lets everything through.
    pub(crate) fn through(inner: Box<dyn StorageBackend>) -> Self {
        Self(Arc::new(Watch {
            inner,
            holding: AtomicBool::new(false),
            held: Mutex::default(),
            sync_failed: AtomicBool::new(false),
        }))
    }

    /// Holds writes back until [`Self::release`].
    pub(crate) fn holding(inner: Box<dyn StorageBackend>) -> io::Result<Self> {
        let len = inner.len()?;
        let watched = Self::through(inner);
        {
            let mut held = watched.held();
            held.len = len;
            held.len_below = len;
        }
        watched.0.holding.store(true, Ordering::Release);
        Ok(watched)
    }

    /// Writes what was held back, in the order and with the syncs that were asked for.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut held = self.held();
        for step in core::mem::take(&mut *held).steps {
            match step {
                Step::Write(offset, bytes) => self.0.inner.write(offset, &bytes)?,
                Step::SetLen(len) => self.0.inner.set_len(len)?,
                Step::Sync => self.sync_through()?,
            }
        }
        self.0.holding.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether a sync ever failed.
    pub(crate) fn sync_failed(&self) -> bool {
        self.0.sync_failed.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_holding(&self) -> bool {
        self.0.holding.load(Ordering::Acquire)
    }

    fn sync_through(&self) -> io::Result<()> {
        self.0.inner.sync_data().inspect_err(|_| {
            self.0.sync_failed.store(true, Ordering::Release);
        })
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        if self.is_holding() {
            return Ok(self.held().len);
        }
        self.0.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_holding() {
            return self.held().read(&*self.0.inner, offset, out);
        }
        self.0.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_holding() {
            self.held().set_len(len);
            return Ok(());
        }
        self.0.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_holding() {
            self.held().steps.push(Step::Sync);
            return Ok(());
        }
        self.sync_through()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.is_holding() {
            self.held().write(offset, data);
            return Ok(());
        }
        self.0.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        // A database that is dropped while writes are held back was refused: they are never written.
        self.0.inner.close()
    }
}

/// Writes that were not made yet.
#[derive(Debug, Default)]
struct Held {
    steps: Vec<Step>,
    /// What each byte range reads as, by its start; ranges do not overlap.
    patches: BTreeMap<u64, Vec<u8>>,
    len: u64,
    /// How much of it the medium below has; nothing changes that while writes are held back.
    len_below: u64,
}

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl Held {
    fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.cut_out(offset, end(offset, data));
        self.patches.insert(offset, data.to_vec());
        self.len = self.len.max(end(offset, data));
        self.steps.push(Step::Write(offset, data.to_vec()));
    }

    fn set_len(&mut self, len: u64) {
        if len > self.len {
            // What grows reads as zeroes, also where the file was longer before.
            let grown = usize::try_from(len.saturating_sub(self.len)).unwrap_or(usize::MAX);
            self.patches.insert(self.len, vec![0; grown]);
        } else {
            self.cut_out(len, u64::MAX);
        }
        self.len = len;
        self.steps.push(Step::SetLen(len));
    }

    /// Forgets what patches say of `from..to`.
    fn cut_out(&mut self, from: u64, to: u64) {
        let touched: Vec<u64> = self
            .patches
            .range(..to)
            .rev()
            .take_while(|(start, bytes)| end(**start, bytes) > from)
            .map(|(start, _)| *start)
            .collect();
        for start in touched {
            let Some(bytes) = self.patches.remove(&start) else {
                continue;
            };
            if let Some(tail) = slice_from(&bytes, to.saturating_sub(start))
                && end(start, &bytes) > to
            {
                self.patches.insert(to, tail.to_vec());
            }
            if start < from {
                let keep = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX);
                let head = bytes.get(..keep).unwrap_or(&bytes).to_vec();
                self.patches.insert(start, head);
            }
        }
    }

    fn read(&self, inner: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let to = end(offset, out);
        if to > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = self.len_below.min(to).saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (from_file, beyond) = out.split_at_mut(there);
        if !from_file.is_empty() {
            inner.read(offset, from_file)?;
        }
        beyond.fill(0);
        for (start, bytes) in self.patches.range(..to) {
            if end(*start, bytes) > offset {
                overlay(out, offset, bytes, *start);
            }
        }
        Ok(())
    }
}

/// Copies the part of `bytes` (which lie at `start`) that falls into `out` (which lies at `offset`).
fn overlay(out: &mut [u8], offset: u64, bytes: &[u8], start: u64) {
    let bytes = slice_from(bytes, offset.saturating_sub(start)).unwrap_or_default();
    let into = usize::try_from(start.saturating_sub(offset)).unwrap_or(usize::MAX);
    if let Some(out) = out.get_mut(into..) {
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = *from;
        }
    }
}

fn slice_from(bytes: &[u8], skip: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(skip).ok()?..)
}

fn end(offset: u64, data: &[u8]) -> u64 {
    offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    #[derive(Clone, Debug)]
    enum Do {
        Write(u64, Vec<u8>),
        SetLen(u64),
        Sync,
    }

    fn doing() -> impl Strategy<Value = Do> {
        prop_oneof![
            4 => (0..200_u64, prop::collection::vec(any::<u8>(), 0..60))
                .prop_map(|(offset, data)| Do::Write(offset, data)),
            1 => (0..260_u64).prop_map(Do::SetLen),
            1 => Just(Do::Sync),
        ]
    }

    fn contents(backend: &dyn StorageBackend) -> Vec<u8> {
        let mut out = vec![0; usize::try_from(backend.len().unwrap()).unwrap()];
        backend.read(0, &mut out).unwrap();
        out
    }

    fn apply(backend: &dyn StorageBackend, step: &Do) {
        match step {
            Do::Write(offset, data) => {
                let to = end(*offset, data);
                if backend.len().unwrap() < to {
                    backend.set_len(to).unwrap();
                }
                backend.write(*offset, data).unwrap();
            }
            Do::SetLen(len) => backend.set_len(*len).unwrap(),
            Do::Sync => backend.sync_data().unwrap(),
        }
    }

    proptest! {
        #[test]
        fn held_writes_read_as_if_made_and_are_made_on_release(
            before in prop::collection::vec(any::<u8>(), 0..150),
            steps in prop::collection::vec(doing(), 0..30),
        ) {
            let plain = InMemoryBackend::new();
            let under = Arc::new(InMemoryBackend::new());
            for backend in [&plain, &*under] {
                backend.set_len(u64::try_from(before.len()).unwrap()).unwrap();
                backend.write(0, &before).unwrap();
            }
            let watched = Watched::holding(Box::new(Shared(Arc::clone(&under)))).unwrap();
            for step in &steps {
                apply(&plain, step);
                apply(&watched, step);
                prop_assert_eq!(contents(&watched), contents(&plain));
            }
            prop_assert_eq!(contents(&*under), before);
            watched.release().unwrap();
            prop_assert_eq!(contents(&*under), contents(&plain));
            prop_assert_eq!(contents(&watched), contents(&plain));
        }
    }

    #[derive(Debug)]
    struct Shared(Arc<InMemoryBackend>);

    impl StorageBackend for Shared {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }
    }
}
