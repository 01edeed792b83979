//! The store's folder: one lock, one file, made whole or not at all.
//!
//! `lock` is held exclusively for as long as the store is open; the operating system lets go of it when the
//! process ends, however it ends. `store.redb` comes to be by a rename, so there is no half-made one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::OpenError;
use crate::medium::{self, FileMedium};

const LOCK: &str = "lock";
const FILE: &str = "store.redb";
const UNFINISHED: &str = "store.redb.new";

/// A folder that this process alone uses.
#[derive(Debug)]
pub(crate) struct Folder {
    file: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder and the file if they are not there, and takes the lock.
    pub(crate) fn take(folder: &Path, cache: usize) -> Result<Self, OpenError> {
        make(folder).map_err(|cause| OpenError::io(folder, cause))?;
        let lock = lock(folder)?;
        let file = folder.join(FILE);
        if !file
            .try_exists()
            .map_err(|cause| OpenError::io(&file, cause))?
        {
            make_file(folder, &file, cache)?;
        }
        Ok(Self { file, _lock: lock })
    }

    /// The store's file, if there is one; makes nothing, and takes no lock for longer than the look.
    pub(crate) fn find(folder: &Path) -> Result<Option<PathBuf>, OpenError> {
        let file = folder.join(FILE);
        if !file
            .try_exists()
            .map_err(|cause| OpenError::io(&file, cause))?
        {
            return Ok(None);
        }
        let path = folder.join(LOCK);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(file)),
            Err(cause) => Err(OpenError::io(&path, cause)),
            Ok(lock) => match lock.try_lock_shared() {
                Ok(()) => Ok(Some(file)),
                Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
                    folder: folder.to_owned(),
                }),
                Err(TryLockError::Error(cause)) => Err(OpenError::io(&path, cause)),
            },
        }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let opened = match medium::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().read(true).write(true).open(&path)
        }
        other => other,
    };
    let file = opened.map_err(|cause| OpenError::io(&path, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(cause)) => Err(OpenError::io(&path, cause)),
    }
}

fn make_file(folder: &Path, file: &Path, cache: usize) -> Result<(), OpenError> {
    let unfinished = folder.join(UNFINISHED);
    let at = |cause| OpenError::io(&unfinished, cause);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        Ok(()) | Err(_) => {}
    }
    let made = medium::create_new(&unfinished).map_err(at)?;
    disk::create(&FileMedium(unfinished.clone()), cache)
        .map_err(|refused| OpenError::refused(&unfinished, refused))?;
    made.sync_all().map_err(at)?;
    fs::rename(&unfinished, file).map_err(at)?;
    sync_folder(folder).map_err(|cause| OpenError::io(folder, cause))
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
