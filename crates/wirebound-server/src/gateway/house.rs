//! Housekeeping beside the requests: what was last active is written down, what is past its time is swept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use wirebound::Clock;
use wirebound::engine::Engine;

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
}

/// Tidies and sweeps until it is dropped. A failure is logged and tried again at the next turn.
pub(super) async fn keep(engine: &Engine, clock: &Arc<dyn Clock>, sweep_every: Duration) {
    let mut tidying = interval(TIDY_EVERY);
    let mut sweeping = interval(sweep_every.max(Duration::from_secs(1)));
    tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tidying.tick() => tidy(engine, clock.as_ref()).await,
            _ = sweeping.tick() => sweep(engine, clock.as_ref()).await,
        }
    }
}

pub(super) async fn tidy(engine: &Engine, clock: &dyn Clock) {
    let Some(now) = clock.now() else { return };
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
