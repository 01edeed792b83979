//! The stop: streams and WebSockets are told to come back at once, what is in flight gets its time, and whatever has no
//! answer by then gets one from us.
//!
//! Without that answer the listener would cut it at the end of the drain, and a browser would send it again to the next
//! gateway, a POST as well.

use std::time::Duration;

use crate::config;
use crate::proxy::{CloseCode, Cut, Cutter};

/// What must be told of a stop, and when.
#[derive(Debug)]
pub(super) struct Stopping {
    drain: Duration,
    streams: Cutter,
    safe: Cutter,
    unsafe_ones: Cutter,
}

impl Stopping {
    pub(super) fn of(limits: &config::Limits) -> Self {
        Self {
            drain: Duration::from_millis(limits.drain_timeout.as_millis()),
            streams: Cutter::new(),
            safe: Cutter::new(),
            unsafe_ones: Cutter::new(),
        }
    }

    /// Fires when the stop begins: for what does not end by itself.
    pub(super) fn streams(&self) -> Cut {
        self.streams.cut()
    }

    /// Resolves when a request that the app has not answered must be answered by us: a safe one (a long poll) after a
    /// quarter of the drain, any other shortly before its end.
    pub(super) async fn out_of_time(&self, is_unsafe: bool) {
        let cutter = if is_unsafe {
            &self.unsafe_ones
        } else {
            &self.safe
        };
        let _code = cutter.cut().closed().await;
    }

    /// Stops. Drop it with the gateway, or it goes on to the end of the drain.
    pub(super) async fn stop(&self) {
        let part = |of: u32| self.drain.checked_div(of).unwrap_or_default();
        let (quarter, margin) = (part(4), part(10).min(Duration::from_secs(2)));
        self.streams.fire(CloseCode::GoingAway);
        tokio::time::sleep(quarter).await;
        self.safe.fire(CloseCode::GoingAway);
        tokio::time::sleep(self.drain.saturating_sub(quarter).saturating_sub(margin)).await;
        self.unsafe_ones.fire(CloseCode::GoingAway);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_go_at_once_long_polls_soon_and_a_post_before_the_drain_is_over() {
        let limits = config::Limits::default();
        let drain = Duration::from_millis(limits.drain_timeout.as_millis());
        let stopping = Stopping::of(&limits);
        let began = tokio::time::Instant::now();
        let at = |told: Cut| async move {
            told.closed().await;
            began.elapsed()
        };
        let (streams, safe, unsafe_ones) = (
            at(stopping.streams()),
            at(stopping.safe.cut()),
            at(stopping.unsafe_ones.cut()),
        );
        let ((), streams, safe, unsafe_ones) =
            tokio::join!(stopping.stop(), streams, safe, unsafe_ones);
        assert_eq!(streams, Duration::ZERO);
        assert!(safe.saturating_mul(3) <= drain, "{safe:?}");
        assert!(
            unsafe_ones.saturating_mul(2) > drain && unsafe_ones < drain,
            "{unsafe_ones:?}"
        );
    }
}
