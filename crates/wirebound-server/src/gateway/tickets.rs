//! TLS ticket keys: kept sealed in the store, so that a browser's lineage survives a restart; rotated in time.

use std::sync::Arc;
use std::time::Duration;

use wirebound::engine::Engine;
use wirebound::{Clock, Entropy};
use wirebound_tower::tls::TicketKeys;

use crate::failure::Failure;

const NAME: &str = "tls-ticket-keys";
const LOOK_EVERY: Duration = Duration::from_mins(5);

/// The kept keys, or new ones, which are kept before they seal anything.
pub(super) async fn open(
    engine: &Engine,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Arc<TicketKeys>, Failure> {
    let store = |error: wirebound::store::StoreError| {
        let hint = if error.is_corrupt() {
            "the node secret may not be the one this store was written under: put node.secret back from the backup"
        } else {
            "wirebound doctor"
        };
        Failure::start(format!("the store cannot be read: {error}"), hint)
    };
    let now = clock
        .now()
        .ok_or_else(|| Failure::start("the clock cannot say", "wirebound doctor"))?;
    if let Some(kept) = engine.kept(NAME).await.map_err(store)? {
        let keys = TicketKeys::from_bytes(kept.expose()).map_err(|error| {
            Failure::start(
                format!("the kept TLS ticket keys: {error}"),
                "wirebound doctor",
            )
        })?;
        return Ok(Arc::new(keys));
    }
    let failed =
        |error: wirebound::EntropyError| Failure::start(error.to_string(), "wirebound doctor");
    let keys = TicketKeys::generate(now, entropy).map_err(failed)?;
    engine
        .keep(NAME, &keys.to_bytes(), None)
        .await
        .map_err(store)?;
    Ok(Arc::new(keys))
}

/// Rotates until it is dropped. A new key is kept before the next look; if the store cannot say, it is tried again.
pub(super) async fn rotate(
    engine: &Engine,
    keys: &TicketKeys,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) {
    let mut unkept = false;
    loop {
        if let Some(now) = clock.now() {
            match keys.rotate(now, entropy.as_ref()) {
                Ok(rotated) => unkept |= rotated,
                Err(error) => tracing::error!(%error, "the TLS ticket keys could not be rotated"),
            }
        }
        if unkept {
            unkept = !keep(engine, keys).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn keep(engine: &Engine, keys: &TicketKeys) -> bool {
    let kept = async {
        let before = engine.kept(NAME).await?.map(|kept| kept.version);
        engine.keep(NAME, &keys.to_bytes(), before).await
    };
    match kept.await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::error!(%error, "the TLS ticket keys could not be kept: a restart would end lineages");
            false
        }
    }
}
