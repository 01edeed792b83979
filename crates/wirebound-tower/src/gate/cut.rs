//! When something that is being sent must stop: the session ended, its role fell, or time brought one of the two.
//!
//! The engine has no clock of its own, so it is asked here at the moment that it names: a stream that nobody asks for
//! anything any more must not outlive its session until the next sweep.

use core::time::Duration;
use std::sync::Arc;

use wirebound::{Cut, Watch};

use super::{Access, Gate};
use crate::tls::Protocol;

/// The clock may be set, a machine may sleep: nobody sleeps for longer without looking at the time.
const LONGEST_NAP: Duration = Duration::from_secs(30);
/// How often what streams to an assertion is held against it.
const CLAIM_NAP: Duration = Duration::from_secs(1);
/// Before it is looked again at a session that should be over and is not.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Gate {
    /// Waits until what is sent under this watch must stop. A session whose time is over is ended on the way, durably.
    ///
    /// If the clock or the store cannot say, it must stop: whoever comes back is judged.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn cut(&self, watch: &Watch) -> Cut {
        loop {
            let change = watch.listen();
            let Some(now) = self.now() else {
                return Cut::RoleChanged;
            };
            if let Some(cut) = watch.at(now) {
                return cut;
            }
            let nap = match watch.due(now) {
                None => LONGEST_NAP,
                Some(due) if due > now => Duration::from_millis(due.since(now).as_millis()),
                Some(_) => match self.look_after(watch).await {
                    Some(cut) => return cut,
                    None => LOOK_AGAIN,
                },
            };
            // What calls a token back is said of no session.
            let longest = if watch.is_by_claim() {
                CLAIM_NAP
            } else {
                LONGEST_NAP
            };
            tokio::select! {
                () = change.stirred() => {}
                () = tokio::time::sleep(nap.min(longest)) => {}
            }
        }
    }

    /// As [`Gate::cut`], for whoever watches over a whole session: whatever it could be sent must be judged again once its
    /// role falls below the highest that it has had.
    pub async fn cut_session(&self, mut watch: Watch) -> Cut {
        loop {
            let Some(now) = self.now() else {
                return Cut::RoleChanged;
            };
            watch.rise(now);
            let change = watch.listen();
            tokio::select! {
                biased;
                cut = self.cut(&watch) => return cut,
                () = change.stirred() => {}
            }
        }
    }

    /// Has the engine look at a session whose time seems to be over.
    async fn look_after(&self, watch: &Watch) -> Option<Cut> {
        let (engine, session, now) = (Arc::clone(self.engine()), watch.session(), self.now()?);
        // To its end, whatever becomes of the stream that asked.
        let looked = tokio::spawn(async move { engine.look_after(session, now).await }).await;
        match looked {
            Ok(Ok(_)) => watch.now(),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot say whether a session is over: its streams are cut");
                Some(Cut::RoleChanged)
            }
            Err(_) => Some(Cut::RoleChanged),
        }
    }
}

impl Access {
    /// The client is there: what it sends within this request keeps its session from being idle.
    pub fn touch(&self) {
        if let (Some(verified), Some(now)) = (self.verified(), self.gate.now()) {
            let engine = self.gate.engine();
            let _stands = engine.touch(&self.wired.wire, verified.session(), now);
        }
    }

    /// What to do about a client that does not read, so that a cut does not reach it: its connection is closed, unless it
    /// carries another session. There nothing more is taken from the app, and the stream breaks off when it is read.
    pub(super) fn when_stuck(&self) -> impl FnOnce() + Send + 'static {
        let wired = Arc::downgrade(&self.wired);
        let session = self.verified().map(wirebound::Verified::session);
        move || {
            let (Some(wired), Some(session)) = (wired.upgrade(), session) else {
                return;
            };
            match wired.connection.protocol {
                // It carries nothing but this answer, whose head has left.
                Protocol::Http1 => wired.connection.reset(),
                Protocol::Http2 if wired.wire.carries_others(session) => {}
                Protocol::Http2 => wired.connection.hang_up(),
            }
        }
    }
}
