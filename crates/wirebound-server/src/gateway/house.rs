//! Housekeeping beside the requests: what was last active is written down, what is past its time is swept.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use wirebound::Clock;
use wirebound::engine::Engine;
use wirebound::store::StoreError;

use crate::failure::Failure;

/// How often activity is written down.
const TIDY_EVERY: Duration = Duration::from_mins(1);

/// After a rotation of the node secret, what an operator set of identities is written again under the new one.
pub(super) async fn renew(engine: &Engine, clock: &dyn Clock) {
    let Some(now) = clock.now() else { return };
    match engine.renew_identities(now).await {
        Ok(written) => tracing::info!(written, "identities are kept under the current node secret"),
        Err(error) => {
            tracing::error!(%error, "identities could not be renewed; the next start tries again");
        }
    }
    if let Err(error) = engine.renew_keys().await {
        tracing::error!(%error, "API keys could not be renewed; the next start tries again");
    }
}

/// What must be known before the first request: what was called back, and which API keys there are.
pub(crate) async fn recall(engine: &Engine, clock: &dyn Clock) -> Result<(), Failure> {
    let now = clock
        .now()
        .ok_or_else(|| Failure::start("the clock cannot say", "wirebound doctor"))?;
    let unread = |error: StoreError| super::signing::unread(&error);
    engine.recall_revocations(now).await.map_err(unread)?;
    let keys = engine.recall_keys(now).await.map_err(unread)?;
    if keys.unreadable > 0 || keys.beyond > 0 {
        tracing::warn!(
            unreadable = keys.unreadable,
            beyond = keys.beyond,
            "some API keys are refused: they cannot be read under this node secret, or there are too many"
        );
    }
    Ok(())
}

/// The housekeeping of a gateway that runs: a task of its own, because what works through the whole store, or makes a filter
/// of millions, must not keep anybody from being taken in. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct House(JoinSet<()>);

impl House {
    pub(super) fn begin(
        engine: &Arc<Engine>,
        clock: &Arc<dyn Clock>,
        sweep_every: Duration,
    ) -> Self {
        let mut house = JoinSet::new();
        house.spawn(keep(Arc::clone(engine), Arc::clone(clock), sweep_every));
        Self(house)
    }

    /// Waits for an end that only a fault brings, which is then the caller's own: a gateway that forgets nothing any more must
    /// not go on as if it did.
    pub(super) async fn ended(&mut self) {
        if let Some(Err(fault)) = self.0.join_next().await
            && let Ok(fault) = fault.try_into_panic()
        {
            std::panic::resume_unwind(fault);
        }
    }

    /// Ends it, and waits until nothing of it uses the store.
    pub(super) async fn leave(mut self) {
        self.0.shutdown().await;
    }
}

/// Tidies and sweeps until it is dropped. A failure is logged and tried again at the next turn.
async fn keep(engine: Arc<Engine>, clock: Arc<dyn Clock>, sweep_every: Duration) {
    recall_guests(&engine, clock.as_ref()).await;
    let mut tidying = interval(TIDY_EVERY);
    let mut sweeping = interval(sweep_every.max(Duration::from_secs(1)));
    tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tidying.tick() => tidy(&engine, clock.as_ref()).await,
            _ = sweeping.tick() => sweep(&engine, clock.as_ref()).await,
        }
    }
}

/// Guests of before the start are counted, beside the serving, until it succeeds.
async fn recall_guests(engine: &Engine, clock: &dyn Clock) {
    const AGAIN: Duration = Duration::from_secs(5);
    loop {
        let recalled = match clock.now() {
            Some(now) => engine.recall_guests(now).await.map(Some),
            None => Ok(None),
        };
        match recalled {
            Ok(Some(guests)) => {
                tracing::debug!(guests, "guests of before the start are counted");
                return;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the guests could not be counted"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

pub(super) async fn tidy(engine: &Engine, clock: &dyn Clock) {
    let Some(now) = clock.now() else { return };
    if let Err(error) = engine.tidy_guests(now).await {
        tracing::error!(%error, "guests past their time could not be removed");
    }
    if let Err(error) = engine.tidy_revocations(now).await {
        tracing::error!(%error, "what was called back could not be tidied");
    }
    if let Err(error) = engine.tidy(now).await {
        tracing::error!(%error, "what was last active could not be written down");
    }
}

async fn sweep(engine: &Engine, clock: &dyn Clock) {
    let Some(now) = clock.now() else { return };
    match engine.sweep(now).await {
        Ok(swept) => {
            tracing::info!(
                target: "wirebound::event",
                event = "swept",
                sessions = swept.sessions,
                identities = swept.identities,
                remains = swept.remains,
                unreadable = swept.unreadable,
            );
        }
        Err(error) => tracing::error!(%error, "the sweep could not finish"),
    }
}

#[cfg(test)]
mod tests;
