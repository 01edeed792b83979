//! The keys that sign assertions: kept sealed in the store, rotated in time, each change kept before it is used.

use std::sync::Arc;
use std::time::Duration;

use wirebound::engine::Engine;
use wirebound::store::{StoreError, Version};
use wirebound::{Clock, Entropy, Timestamp};
use wirebound_assertion::{Algorithm, KeyError, Ring, Schedule, SigningKey};
use wirebound_tower::assertion::{Assertions, Keys, REMEMBERED};

use crate::config::{Assertion, Config, SigningAlgorithm};
use crate::failure::Failure;

const NAME: &str = "assertion-keys";

/// How often the kept ring is looked at. An operator's order changes what is kept, and a key that leaked must not sign for
/// half a minute more. It is one look-up and a few keys to parse, so once a second costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A failure that lasts is told of once in so many looks.
const TELL_EVERY: u32 = 30;

/// The ring as it is kept.
pub(crate) struct Kept {
    pub(crate) ring: Ring,
    version: Version,
}

/// The kept ring, if there is one.
pub(crate) async fn kept(engine: &Engine) -> Result<Option<Kept>, Failure> {
    let Some(kept) = engine.kept(NAME).await.map_err(|error| unread(&error))? else {
        return Ok(None);
    };
    let ring = Ring::from_bytes(kept.expose()).map_err(|error| {
        Failure::start(
            format!("the kept keys of assertions: {error}"),
            "wirebound doctor",
        )
    })?;
    Ok(Some(Kept {
        ring,
        version: kept.version,
    }))
}

/// Keeps a ring in the place of the one that was read. `false`: somebody else was faster.
pub(crate) async fn keep(
    engine: &Engine,
    ring: &Ring,
    replaces: Option<&Kept>,
) -> Result<bool, StoreError> {
    let version = replaces.map(|kept| kept.version);
    engine.keep(NAME, &ring.to_bytes(), version).await
}

/// How keys come and go by the configuration.
pub(crate) fn schedule(config: &Assertion) -> Result<Schedule, Failure> {
    Schedule::new(config.rotate_every, config.publish_ahead, REMEMBERED)
        .map_err(|error| Failure::config(error.to_string(), "wirebound config check"))
}

/// The algorithm of new keys.
pub(crate) const fn algorithm(config: &Assertion) -> Algorithm {
    match config.algorithm {
        SigningAlgorithm::EdDsa => Algorithm::EdDsa,
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Hs256 => Algorithm::Hs256,
    }
}

/// What makes assertions, if the configuration asks for any: over the kept keys, or over a new one, which is kept before it
/// signs anything.
pub(super) async fn open(
    config: &Config,
    engine: &Engine,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Option<Arc<Assertions>>, Failure> {
    let assertion = &config.assertion;
    if !assertion.is_issued() {
        return Ok(None);
    }
    let schedule = schedule(assertion)?;
    let now = clock
        .now()
        .ok_or_else(|| Failure::start("the clock cannot say", "wirebound doctor"))?;
    let ring = match kept(engine).await? {
        Some(kept) if algorithm(assertion).is_asymmetric() => {
            for_others(&kept, assertion, &schedule, engine, entropy, now).await?
        }
        Some(kept) => kept.ring,
        None => {
            let key = SigningKey::generate(algorithm(assertion), entropy)
                .map_err(|error| unmade(&error))?;
            let ring = Ring::new(key, now);
            keep(engine, &ring, None)
                .await
                .map_err(|error| unread(&error))?;
            ring
        }
    };
    Ok(Some(Arc::new(Assertions {
        keys: Keys::new(ring, schedule, now),
        issuer: assertion.issuer.clone(),
        audience: assertion.audience.clone(),
        lifetime: assertion.lifetime,
        cookie: assertion.cookie,
    })))
}

/// The kept ring, so that services can check what it signs from now on. Under another configuration its key may have been one
/// that nobody else has, and the app would be told with that until the next change.
async fn for_others(
    kept: &Kept,
    config: &Assertion,
    schedule: &Schedule,
    engine: &Engine,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Ring, Failure> {
    let mut ring = kept.ring.clone();
    let make = || SigningKey::generate(algorithm(config), entropy);
    let changed = ring
        .sign_for_others(schedule, now, make)
        .map_err(|error| unmade(&error))?;
    if changed {
        let done = keep(engine, &ring, Some(kept)).await;
        if !done.map_err(|error| unread(&error))? {
            return Err(no_other());
        }
        tell(&ring, now);
    }
    Ok(ring)
}

/// Rotates until it is dropped. If the store cannot say, the keys stay as they are, and it is tried again.
pub(super) async fn rotate(
    config: &Config,
    engine: &Engine,
    assertions: Option<&Arc<Assertions>>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) {
    let Some(assertions) = assertions else {
        return core::future::pending().await;
    };
    let algorithm = algorithm(&config.assertion);
    let mut failed: u32 = 0;
    loop {
        if let Some(now) = clock.now() {
            match step(engine, &assertions.keys, algorithm, entropy.as_ref(), now).await {
                Ok(()) => failed = 0,
                Err(error) => {
                    if failed.checked_rem(TELL_EVERY) == Some(0) {
                        tracing::error!(%error, "the keys of assertions could not be rotated; those in force stay");
                    }
                    failed = failed.wrapping_add(1);
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn step(
    engine: &Engine,
    keys: &Keys,
    algorithm: Algorithm,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(kept) = kept(engine).await? else {
        return Ok(());
    };
    let mut ring = kept.ring.clone();
    let make = || SigningKey::generate(algorithm, entropy);
    let changed = ring
        .step(keys.schedule(), now, make)
        .map_err(|error| unmade(&error))?;
    if changed
        && !keep(engine, &ring, Some(&kept))
            .await
            .map_err(|error| unread(&error))?
    {
        return Ok(());
    }
    // Also where an order changed what is kept.
    if changed || !keys.look(|held| held.to_bytes() == ring.to_bytes()) {
        tell(&ring, now);
        keys.replace(ring, now);
    }
    Ok(())
}

/// Tells of each key and what it is for now.
pub(crate) fn tell(ring: &Ring, now: Timestamp) {
    for key in ring.list(now) {
        tracing::info!(
            target: "wirebound::event",
            event = "signing_key",
            kid = key.kid.as_str(),
            algorithm = key.algorithm.name(),
            state = key.state.name(),
        );
    }
}

pub(crate) fn unread(error: &StoreError) -> Failure {
    let hint = if error.is_corrupt() {
        "the node secret may not be the one this store was written under: put node.secret back from the backup"
    } else {
        "wirebound doctor"
    };
    Failure::start(format!("the store cannot be read: {error}"), hint)
}

pub(crate) fn no_other() -> Failure {
    Failure::failed("the new key cannot take its place in the ring").with_hint("wirebound doctor")
}

pub(crate) fn unmade(error: &KeyError) -> Failure {
    Failure::start(format!("no key can be made: {error}"), "wirebound doctor")
}
