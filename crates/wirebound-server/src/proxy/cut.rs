//! The signal that ends what a session still receives.
//!
//! A session's end must reach every stream, long poll, download and WebSocket of it (an ended session
//! receives nothing more). The holder of the [`Cutter`] says why; every [`Cut`] hears it. A cutter that is
//! dropped without a word counts as a revocation: who cannot say any more that the session lives has not said it.

use tokio::sync::watch;

/// Whether a client should come back after its stream was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "clients are written against these three"
)]
pub enum Reconnect {
    /// Coming back is of no use.
    Never,
    /// After a new sign-in.
    AfterLogin,
    /// At once.
    Now,
}

/// Why a stream was closed: the one table of close codes (RFC 6455 7.4; 4000 and up are ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1001: the gateway is going away.
    GoingAway,
    /// 1014: the upstream was lost.
    UpstreamLost,
    /// 4001: the session was revoked, removed, evicted, or ended for theft.
    Revoked,
    /// 4002: the role of the session changed; what the stream may carry must be decided anew.
    RoleChanged,
    /// 4003: the session signed out, was replaced, or its time is over.
    SignedOut,
}

impl CloseCode {
    /// Every code, for the documentation and the tests that walk the table.
    pub const ALL: [Self; 5] = [
        Self::GoingAway,
        Self::UpstreamLost,
        Self::Revoked,
        Self::RoleChanged,
        Self::SignedOut,
    ];

    /// The number in a WebSocket Close frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::UpstreamLost => 1014,
            Self::Revoked => 4001,
            Self::RoleChanged => 4002,
            Self::SignedOut => 4003,
        }
    }

    /// What a client should do about it.
    #[must_use]
    pub const fn reconnect(self) -> Reconnect {
        match self {
            Self::GoingAway | Self::UpstreamLost | Self::RoleChanged => Reconnect::Now,
            Self::Revoked => Reconnect::Never,
            Self::SignedOut => Reconnect::AfterLogin,
        }
    }

    /// The reason text in a WebSocket Close frame: at most 123 bytes.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "reconnect: now",
            Self::UpstreamLost => "upstream lost; reconnect: now",
            Self::Revoked => "session ended; reconnect: never",
            Self::RoleChanged => "role changed; reconnect: now",
            Self::SignedOut => "signed out; reconnect: after_login",
        }
    }
}

/// Says that the session is over. One per session; dropping it says [`CloseCode::Revoked`].
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
        said.or_else(|| {
            listener
                .has_changed()
                .is_err()
                .then_some(CloseCode::Revoked)
        })
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
                Ok(said) => said.unwrap_or(CloseCode::Revoked),
                Err(_) => CloseCode::Revoked,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_distinct_and_their_reasons_fit_a_control_frame() {
        let mut codes: Vec<u16> = CloseCode::ALL.iter().map(|code| code.code()).collect();
        codes.dedup();
        assert_eq!(codes, [1001, 1014, 4001, 4002, 4003]);
        assert!(CloseCode::ALL.iter().all(|code| code.reason().len() <= 123));
        assert_eq!(CloseCode::Revoked.reconnect(), Reconnect::Never);
        assert_eq!(CloseCode::RoleChanged.reconnect(), Reconnect::Now);
        assert_eq!(CloseCode::SignedOut.reconnect(), Reconnect::AfterLogin);
    }

    #[tokio::test]
    async fn the_first_reason_stands_and_late_listeners_hear_it() {
        let cutter = Cutter::new();
        let early = cutter.cut();
        assert_eq!(early.fired(), None);
        cutter.fire(CloseCode::RoleChanged);
        cutter.fire(CloseCode::Revoked);
        assert_eq!(early.closed().await, CloseCode::RoleChanged);
        assert_eq!(cutter.cut().closed().await, CloseCode::RoleChanged);
    }

    #[tokio::test]
    async fn a_cutter_that_is_dropped_silently_cuts() {
        let cutter = Cutter::new();
        let cut = cutter.cut();
        drop(cutter);
        assert_eq!(cut.fired(), Some(CloseCode::Revoked));
        assert_eq!(cut.closed().await, CloseCode::Revoked);
    }
}
