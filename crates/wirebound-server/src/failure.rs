//! Why the program ends: one sentence, the next command, and an exit code that means one thing.

use core::fmt;

/// What an exit code means. Each code has one meaning; the numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Exit {
    /// 0: done, or stopped as asked.
    Done,
    /// 1: it ran and then failed.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: the configuration is refused.
    Config,
    /// 4: it cannot start here: data folder, certificate, port.
    Start,
    /// 5: `doctor` found something to look at, and nothing that is broken.
    Warnings,
    /// 6: `doctor` found something broken.
    Findings,
}

impl Exit {
    /// Each, in order.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Config,
        Self::Start,
        Self::Warnings,
        Self::Findings,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Start => 4,
            Self::Warnings => 5,
            Self::Findings => 6,
        }
    }

    /// What it means, for the help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or stopped as asked",
            Self::Failed => "it ran and then failed",
            Self::Usage => "the command line makes no sense",
            Self::Config => "the configuration is refused",
            Self::Start => "it cannot start here: data folder, certificate, port",
            Self::Warnings => "doctor found something to look at, nothing broken",
            Self::Findings => "doctor found something broken",
        }
    }
}

/// Why the program ends early.
///
/// The message is lower case without a full stop; the hint is the next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Something is missing or in the way at start-up.
    #[must_use]
    pub fn start(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Start,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// It was running.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            hint: None,
        }
    }

    /// The configuration is refused.
    #[must_use]
    pub fn config(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Config,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The same failure with a way out.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_exit_code_means_two_things() {
        for (number, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
        }
    }
}
