//! Why a store was not opened, and what its operator can do about it.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Refused;

/// A store was not opened. Its text says what to do; the file was left as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the store.
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The operating system refused.
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// What the file holds is not what was written.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was found, for a report.
        found: String,
    },
    /// The file was written by another version of the store.
    Format {
        /// The file.
        file: PathBuf,
        /// The format it says it has.
        found: u64,
    },
    /// The file is a database, but not a store of Wirebound's.
    Foreign {
        /// The file.
        file: PathBuf,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            cause,
        }
    }

    pub(crate) fn refused(file: &Path, refused: Refused) -> Self {
        let path = file.to_owned();
        match refused {
            Refused::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => Self::Corrupt {
                file: path,
                found: cause.to_string(),
            },
            Refused::Io(cause) => Self::Io { path, cause },
            Refused::Locked => Self::Locked { folder: path },
            Refused::Format(found) => Self::Format { file: path, found },
            Refused::Foreign => Self::Foreign { file: path },
            Refused::Corrupt(found) => Self::Corrupt { file: path, found },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { folder } => write!(
                f,
                "another process holds the store in {}: stop it, or give this one a folder of its own",
                folder.display()
            ),
            Self::Io { path, .. } => write!(
                f,
                "the store cannot use {}: check that it is there, that there is room, and that this user may read and write it",
                path.display()
            ),
            Self::Corrupt { file, found } => write!(
                f,
                "the store's file {} is damaged ({found}) and was left untouched: put a sound copy in its place, \
                 or move it away and start again, and everybody signs in anew",
                file.display()
            ),
            Self::Format { file, found } => write!(
                f,
                "the store's file {} has format {found}, and this version reads format {}: \
                 use the version that wrote it, or move the file away and start again, and everybody signs in anew",
                file.display(),
                crate::row::FORMAT
            ),
            Self::Foreign { file } => write!(
                f,
                "{} is a database, but not a store of Wirebound's: move it away, or name another folder",
                file.display()
            ),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            Self::Locked { .. }
            | Self::Corrupt { .. }
            | Self::Format { .. }
            | Self::Foreign { .. } => None,
        }
    }
}
