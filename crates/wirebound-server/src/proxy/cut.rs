//! The signal that ends what a session still receives, and the one table of close codes.
//!
//! A session's end must reach every stream, long poll, download and WebSocket of it (an ended session
//! receives nothing more). The holder of the [`Cutter`] says why; every [`Cut`] hears it. A cutter that is
//! dropped without a word counts as a revocation: who cannot say any more that the session lives has not said it.

use tokio::sync::watch;
use wirebound::Ending;

/// Whether a client should come back after its stream was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "clients are written against these three"
)]
pub enum Reconnect {
    /// Coming back by itself is wrong: the session was taken away, and a person must notice.
    Never,
    /// After a new sign-in.
    AfterLogin,
    /// At once.
    Now,
}

impl Reconnect {
    /// Its word in a Close frame's reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::AfterLogin => "after_login",
            Self::Now => "now",
        }
    }
}

/// Why a stream was closed: the one table of close codes (RFC 6455 7.4; 4000 and up are ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The gateway is going away, or this connection is.
    GoingAway,
    /// Nothing was said for too long.
    Silent,
    /// The upstream was lost.
    UpstreamLost,
    /// The role of the session changed; what the stream may carry must be decided anew.
    RoleChanged,
    /// The session is over.
    Ended(Ending),
}

impl From<wirebound::Cut> for CloseCode {
    fn from(cut: wirebound::Cut) -> Self {
        match cut {
            wirebound::Cut::Ended(ending) => Self::Ended(ending),
            wirebound::Cut::RoleChanged => Self::RoleChanged,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The number in a WebSocket Close frame.
    pub code: u16,
    /// The machine-readable reason.
    pub name: &'static str,
    /// What a client should do about it.
    pub reconnect: Reconnect,
}

impl CloseCode {
    /// Every code, for the documentation and the tests that walk the table.
    pub const ALL: [Self; 12] = [
        Self::GoingAway,
        Self::Silent,
        Self::UpstreamLost,
        Self::Ended(Ending::Revoked),
        Self::Ended(Ending::Evicted),
        Self::Ended(Ending::Theft),
        Self::Ended(Ending::Removed),
        Self::RoleChanged,
        Self::Ended(Ending::Logout),
        Self::Ended(Ending::Replaced),
        Self::Ended(Ending::ExpiredIdle),
        Self::Ended(Ending::ExpiredAbsolute),
    ];

    /// The table.
    #[must_use]
    pub const fn row(self) -> Row {
        let (code, name, reconnect) = match self {
            Self::GoingAway => (1001, "going_away", Reconnect::Now),
            Self::Silent => (1001, "silent", Reconnect::Now),
            Self::UpstreamLost => (1014, "upstream_lost", Reconnect::Now),
            Self::RoleChanged => (4002, "role_changed", Reconnect::Now),
            Self::Ended(ending) => {
                let (code, reconnect) = of_ending(ending);
                (code, ending.name(), reconnect)
            }
        };
        Row {
            code,
            name,
            reconnect,
        }
    }

    /// The number in a WebSocket Close frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.row().code
    }

    /// What a client should do about it.
    #[must_use]
    pub const fn reconnect(self) -> Reconnect {
        self.row().reconnect
    }

    /// The reason text in a WebSocket Close frame, `evicted; reconnect: never`: at most 123 bytes.
    #[must_use]
    pub fn reason(self) -> String {
        let row = self.row();
        format!("{}; reconnect: {}", row.name, row.reconnect.name())
    }
}

const fn of_ending(ending: Ending) -> (u16, Reconnect) {
    match ending {
        Ending::Revoked | Ending::Evicted | Ending::Theft | Ending::Removed => {
            (4001, Reconnect::Never)
        }
        Ending::Logout | Ending::Replaced => (4003, Reconnect::AfterLogin),
        Ending::ExpiredIdle | Ending::ExpiredAbsolute => (4004, Reconnect::AfterLogin),
    }
}

/// What a cutter says that was dropped without a word.
const UNSAID: CloseCode = CloseCode::Ended(Ending::Revoked);

/// Says that the session is over. One per session; dropping it says that it was revoked.
#[derive(Debug)]
pub struct Cutter(watch::Sender<Option<CloseCode>>);

impl Cutter {
    /// A signal that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// One listener.
    #[must_use]
    pub fn cut(&self) -> Cut {
        Cut(Some(self.0.subscribe()))
    }

    /// Ends every stream that listens. The first reason stands.
    pub fn fire(&self, code: CloseCode) {
        self.0.send_if_modified(|said| {
            let first = said.is_none();
            said.get_or_insert(code);
            first
        });
    }
}

impl Default for Cutter {
    fn default() -> Self {
        Self::new()
    }
}

/// Hears when a session has ended.
#[derive(Debug, Clone)]
pub struct Cut(Option<watch::Receiver<Option<CloseCode>>>);

impl Cut {
    /// For a request that hangs on no session.
    #[must_use]
    pub const fn never() -> Self {
        Self(None)
    }

    /// Whether it has fired already.
    #[must_use]
    pub fn fired(&self) -> Option<CloseCode> {
        let listener = self.0.as_ref()?;
        let said = *listener.borrow();
        said.or_else(|| listener.has_changed().is_err().then_some(UNSAID))
    }

    /// Resolves when the session has ended, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost when the future is dropped.
    pub async fn closed(mut self) -> CloseCode {
        match &mut self.0 {
            None => std::future::pending().await,
            Some(listener) => match listener.wait_for(Option::is_some).await {
                Ok(said) => said.unwrap_or(UNSAID),
                Err(_) => UNSAID,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_of_close_codes_is_the_one_in_force() {
        let page = include_str!("../../../../docs/guide/endings.md");
        for code in CloseCode::ALL {
            let Row {
                code: number,
                name,
                reconnect,
            } = code.row();
            let row = format!("| {number} | `{name}` | `{}` |", reconnect.name());
            assert!(page.contains(&row), "docs/guide/endings.md lacks {row}");
            assert!(code.reason().len() <= 123, "a control frame's length");
            assert!((1000..1015).contains(&number) || (4000..5000).contains(&number));
        }
        assert!(
            Ending::ALL
                .iter()
                .all(|ending| CloseCode::ALL.contains(&CloseCode::Ended(*ending))),
            "no ending without a code"
        );
    }

    #[test]
    fn who_was_thrown_out_must_not_come_back_by_itself() {
        for ending in [
            Ending::Revoked,
            Ending::Evicted,
            Ending::Theft,
            Ending::Removed,
        ] {
            let row = CloseCode::Ended(ending).row();
            assert_eq!((row.code, row.reconnect), (4001, Reconnect::Never));
        }
        assert_eq!(CloseCode::RoleChanged.code(), 4002);
        assert_eq!(CloseCode::RoleChanged.reconnect(), Reconnect::Now);
        assert_eq!(
            CloseCode::Ended(Ending::Evicted).reason(),
            "evicted; reconnect: never"
        );
    }

    #[tokio::test]
    async fn the_first_reason_stands_and_late_listeners_hear_it() {
        let cutter = Cutter::new();
        let early = cutter.cut();
        assert_eq!(early.fired(), None);
        cutter.fire(CloseCode::RoleChanged);
        cutter.fire(UNSAID);
        assert_eq!(early.closed().await, CloseCode::RoleChanged);
        assert_eq!(cutter.cut().closed().await, CloseCode::RoleChanged);
    }

    #[tokio::test]
    async fn a_cutter_that_is_dropped_silently_cuts() {
        let cutter = Cutter::new();
        let cut = cutter.cut();
        drop(cutter);
        assert_eq!(cut.fired(), Some(UNSAID));
        assert_eq!(cut.closed().await, UNSAID);
    }
}
