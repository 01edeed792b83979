//! What an operator does to subjects on the machine itself, while no gateway runs: the data folder is locked.
//!
//! Nothing of this is reachable from the network, which is the point of giving a frozen admin role back here.

use std::sync::Arc;

use wirebound::engine::{Engine, IdentitySummary};
use wirebound::store::StoreError;
use wirebound::{Clock as _, Entropy, Role, Subject, Timestamp};

use crate::config::{Loaded, role_named};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::system::{SystemClock, SystemEntropy};
use crate::{gateway, serve};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one verb each")]
pub enum Change {
    /// Only look.
    Nothing,
    /// Set the highest role.
    Ceiling(String),
    /// Give the admin role back.
    Unfreeze,
    /// Block, and end its sessions.
    Block,
    /// Let it sign in again.
    Unblock,
    /// Remove it.
    Remove,
}

/// Makes a change, and tells what is kept of the subject afterwards.
///
/// # Errors
///
/// When a gateway holds the data folder, there is no store yet, or the change cannot be made durable.
pub fn run(
    loaded: &Loaded,
    subject: &str,
    change: &Change,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Failure> {
    let name = Subject::new(subject.as_bytes())
        .map_err(|error| Failure::config(error.to_string(), "wirebound identities show SUBJECT"))?;
    let data_dir = DataDir::open(&serve::folder(&loaded.config, variable)?)?;
    if !gateway::has_store(&loaded.config, &data_dir) {
        return Err(Failure::start(
            format!("there is no store in {}", data_dir.path().display()),
            "start the gateway once with this --data-dir",
        ));
    }
    let secrets = data_dir.node_secret(&SystemEntropy::new())?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let engine = gateway::open_engine(&loaded.config, &data_dir, &secrets, &entropy)?;
    let now = SystemClock::new()
        .now()
        .ok_or_else(|| Failure::start("the clock cannot say", "wirebound doctor"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let summary = runtime.block_on(async {
        make(&engine, &name, change, now).await?;
        engine.identity(&name).await.map_err(unsaid)
    })?;
    Ok(summary.map_or_else(
        || format!("nothing is kept of {name}\n"),
        |summary| text(&summary),
    ))
}

async fn make(
    engine: &Engine,
    subject: &Subject,
    change: &Change,
    now: Timestamp,
) -> Result<(), Failure> {
    match change {
        Change::Nothing => Ok(()),
        Change::Ceiling(role) => {
            let role = ceiling(role)?;
            engine.set_ceiling(subject, role, now).await.map_err(unsaid)
        }
        Change::Unfreeze => engine.unfreeze(subject, now).await.map_err(unsaid),
        Change::Block => engine
            .set_blocked(subject, true, now)
            .await
            .map(drop)
            .map_err(unsaid),
        Change::Unblock => engine
            .set_blocked(subject, false, now)
            .await
            .map(drop)
            .map_err(unsaid),
        Change::Remove => engine.remove(subject, now).await.map(drop).map_err(unsaid),
    }
}

fn ceiling(role: &str) -> Result<Role, Failure> {
    role_named(role).ok_or_else(|| {
        Failure::config(format!("there is no role {role:?}"), "guest, user or admin")
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn unsaid(error: StoreError) -> Failure {
    Failure::failed(error.to_string()).with_hint("wirebound doctor")
}

fn text(summary: &IdentitySummary) -> String {
    let mut text = format!(
        "subject   {}\nceiling   {}\n",
        summary.subject, summary.ceiling
    );
    for (mark, set) in [
        ("blocked", summary.blocked),
        ("frozen", summary.frozen),
        ("removed", summary.removed),
    ] {
        if set {
            text.push_str(&format!("{mark}\n"));
        }
    }
    text.push_str(&format!("sessions  {}\n", summary.sessions.len()));
    text
}
