//! Waiting for a condition, always with a bound.
//!
//! Real processes give no other sign than that something has become true. A bound that passes is an
//! error that names what was waited for; nothing here waits "long enough".

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is asked.
const STEP: Duration = Duration::from_millis(20);

/// Asks `probe` until it gives a value.
///
/// # Errors
/// When `bound` has passed, or when `probe` itself fails; `what` is named in the first case.
pub async fn until<T, F, P>(what: &str, bound: Duration, mut probe: P) -> Result<T>
where
    P: FnMut() -> F,
    F: Future<Output = Result<Option<T>>>,
{
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if start.elapsed() > bound {
            bail!("waited {bound:?} in vain for: {what}");
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Gives the peer a moment to act, where it gives no sign of having acted (a browser that has just
/// been told that its connection ended).
pub async fn moment(length: Duration) {
    tokio::time::sleep(length).await;
}
