//! What a look came to, and how it is printed.

use serde_json::json;

use crate::failure::Exit;

/// How one look came out; the order is that of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "good, doubtful, bad: there is no fourth"
)]
pub enum State {
    /// As it should be.
    Good,
    /// Works, and deserves a look.
    Warning,
    /// A gateway would not start, or not do its work.
    Bad,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// How it came out.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    pub(super) fn good(about: &'static str, seen: impl Into<String>) -> Self {
        Self {
            about,
            state: State::Good,
            seen: seen.into(),
            hint: None,
        }
    }

    pub(super) fn warning(
        about: &'static str,
        seen: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            about,
            state: State::Warning,
            seen: seen.into(),
            hint: Some(hint.into()),
        }
    }

    pub(super) fn bad(
        about: &'static str,
        seen: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            about,
            state: State::Bad,
            seen: seen.into(),
            hint: Some(hint.into()),
        }
    }
}

/// The exit code of the worst finding.
#[must_use]
pub fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.state).max() {
        None | Some(State::Good) => Exit::Done,
        Some(State::Warning) => Exit::Warnings,
        Some(State::Bad) => Exit::Findings,
    }
}

/// One line a finding, hints below.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        about,
        state,
        seen,
        hint,
    } in findings
    {
        text.push_str(&format!("{:<8} {about:<13} {seen}\n", state.word()));
        if let Some(hint) = hint {
            text.push_str(&format!("{:<22} hint: {hint}\n", ""));
        }
    }
    text
}

/// `{"worst": "..", "findings": [{"about": .., "state": .., "seen": .., "hint": ..}]}`.
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "about": finding.about, "state": finding.state.word(), "seen": finding.seen, "hint": finding.hint,
            })
        })
        .collect();
    let worst = findings
        .iter()
        .map(|finding| finding.state)
        .max()
        .unwrap_or(State::Good)
        .word();
    format!("{:#}\n", json!({ "worst": worst, "findings": rows }))
}
