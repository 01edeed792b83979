//! What is wrong with a configuration: the key, the value, where it came from, and the way out.

use core::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
    /// It is the default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong with a configuration.
///
/// Found at start-up, never while a request is served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The file is not TOML.
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        problem: String,
    },
    /// No such key.
    UnknownKey {
        /// What was written, from the top: `session.idle_timout`.
        key: String,
        /// Where.
        place: Place,
        /// The nearest key there is.
        nearest: Option<String>,
    },
    /// The value is of another kind than the key takes.
    WrongKind {
        /// The key.
        key: String,
        /// Where.
        place: Place,
        /// What is expected.
        problem: String,
    },
    /// The value would weaken protection or cannot work.
    Refused {
        /// The key.
        key: String,
        /// The value as it was given.
        value: String,
        /// Why not.
        why: String,
        /// The way out.
        hint: String,
        /// Where it came from.
        place: Place,
    },
    /// The value is planned, and does not exist yet.
    NotYet {
        /// The key.
        key: String,
        /// The value as it was given.
        value: String,
        /// What is missing.
        why: String,
        /// The way out.
        hint: String,
        /// Where it came from.
        place: Place,
    },
    /// A key without which this cannot run.
    Missing {
        /// The key.
        key: String,
        /// Why it is needed.
        why: String,
        /// The way out.
        hint: String,
    },
}

impl ConfigError {
    /// The offending key, if it is one key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { .. } | Self::Syntax { .. } => None,
            Self::UnknownKey { key, .. }
            | Self::WrongKind { key, .. }
            | Self::Refused { key, .. }
            | Self::NotYet { key, .. }
            | Self::Missing { key, .. } => Some(key),
        }
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "name a readable file with --config, or leave it out to run on defaults".to_owned()
            }
            Self::Syntax { .. } => {
                "`wirebound config schema --format toml` prints a commented example".to_owned()
            }
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { nearest: None, .. } | Self::WrongKind { .. } => {
                "`wirebound config schema --format markdown` lists every key".to_owned()
            }
            Self::Refused { hint, .. } | Self::NotYet { hint, .. } | Self::Missing { hint, .. } => {
                hint.clone()
            }
        }
    }

    /// The line of the file that it is about, if it is about one.
    pub(super) const fn line(&self) -> Option<usize> {
        match self {
            Self::UnknownKey {
                place: Place::File { line, .. },
                ..
            } => Some(*line),
            Self::UnknownKey { .. }
            | Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::WrongKind { .. }
            | Self::Refused { .. }
            | Self::NotYet { .. }
            | Self::Missing { .. } => None,
        }
    }

    /// The same error, saying where its value came from.
    #[must_use]
    pub(super) fn found_at(mut self, found: Place) -> Self {
        match &mut self {
            Self::Refused { place, .. } | Self::NotYet { place, .. } => *place = found,
            Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::WrongKind { .. }
            | Self::Missing { .. } => {}
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, problem } => {
                write!(f, "{}: cannot be read: {problem}", path.display())
            }
            Self::Syntax { place, problem } => write!(f, "{place}: {problem}"),
            Self::UnknownKey { key, place, .. } => write!(f, "{place}: there is no key `{key}`"),
            Self::WrongKind {
                key,
                place,
                problem,
            } => write!(f, "{place}: {key}: {problem}"),
            Self::Refused {
                key,
                value,
                why,
                place,
                ..
            } => write!(f, "{place}: {key} = {value} is refused: {why}"),
            Self::NotYet {
                key,
                value,
                why,
                place,
                ..
            } => write!(f, "{place}: {key} = {value} is not there yet: {why}"),
            Self::Missing { key, why, .. } => write!(f, "{key} is not set: {why}"),
        }
    }
}

impl core::error::Error for ConfigError {}
