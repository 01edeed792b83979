//! The operator's orders from the command line: to the gateway that runs on the data folder, or, where none does, carried
//! out in the folder itself.
//!
//! Which of the two it is shows in the lock of the folder, not in a flag, so that a script needs to know nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use wirebound::Entropy;

use crate::config::{Config, Loaded};
use crate::control::client::Client;
use crate::data_dir::{DataDir, Taken};
use crate::failure::Failure;
use crate::gateway::{self, house, signing};
use crate::orders::{Node, Order, Reply, carry_out};
use crate::serve;
use crate::system::{SystemClock, SystemEntropy};

/// A way to whoever carries orders out.
#[derive(Debug)]
pub struct Operator {
    runtime: Runtime,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// A gateway holds the folder.
    Running {
        client: Client,
        folder: PathBuf,
        holder: String,
    },
    /// Nobody does: the folder is ours until the orders are carried out.
    Stopped { node: Box<Node>, _data_dir: DataDir },
}

impl Operator {
    /// Finds the way to the data folder that this configuration means.
    ///
    /// # Errors
    ///
    /// When the folder is somebody else's, or no gateway runs and there is no store yet, or it cannot be opened.
    pub fn new(
        loaded: &Loaded,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let folder = serve::folder(&loaded.config, variable)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
        let mut way = Way::to(&loaded.config, folder)?;
        if let Way::Stopped { node, .. } = &mut way {
            runtime.block_on(recall(node))?;
        }
        Ok(Self { runtime, way })
    }

    /// Has an order carried out.
    ///
    /// # Errors
    ///
    /// When it was refused, or nobody can be reached.
    pub fn carry_out(&self, order: Order) -> Result<Reply, Failure> {
        match &self.way {
            Way::Running {
                client,
                folder,
                holder,
            } => self
                .runtime
                .block_on(client.carry_out(&order))
                .map_err(|why| {
                    Failure::failed(format!(
                        "the data folder {} is in use by {holder}, which takes no orders: {why}",
                        folder.display()
                    ))
                    .with_hint("if it has just started, try again; else stop it, and the same command works on its folder")
                })?,
            Way::Stopped { node, .. } => {
                let now = node
                    .clock
                    .now()
                    .ok_or_else(|| Failure::failed("the clock cannot say").with_hint("wirebound doctor"))?;
                Ok(self.runtime.block_on(carry_out(node, order, now))?)
            }
        }
    }
}

impl Way {
    fn to(config: &Config, folder: PathBuf) -> Result<Self, Failure> {
        let ours = rustix::process::geteuid();
        // Root may order something of anybody's gateway. It must not open anybody's folder: what it wrote would be root's.
        if ours.is_root()
            && let Ok(facts) = fs::metadata(&folder)
            && facts.uid() != 0
        {
            refuse_other_writers(&folder, facts.mode())?;
            let user = facts.uid();
            return Ok(Self::Running {
                client: Client::new(&folder, user),
                holder: format!("user {user}"),
                folder,
            });
        }
        match DataDir::take(&folder)? {
            Taken::Held(holder) => Ok(Self::Running {
                client: Client::new(&folder, ours.as_raw()),
                folder,
                holder,
            }),
            Taken::Ours(data_dir) => Self::in_folder(config, data_dir),
        }
    }

    fn in_folder(config: &Config, data_dir: DataDir) -> Result<Self, Failure> {
        if !gateway::has_store(config, &data_dir) {
            return Err(Failure::start(
                format!("there is no store in {}", data_dir.path().display()),
                "start the gateway once with this --data-dir",
            ));
        }
        let secrets = data_dir.node_secret(&SystemEntropy::new())?;
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
        let engine = gateway::open_engine_for_orders(config, &data_dir, &secrets, &entropy)?;
        Ok(Self::Stopped {
            node: Box::new(Node {
                engine: Arc::new(engine),
                clock: Arc::new(SystemClock::new()),
                entropy,
                assertion: config.assertion.clone(),
                issued: config.assertion.is_issued(),
            }),
            _data_dir: data_dir,
        })
    }
}

/// What a gateway recalls at its start. Where signing keys are kept, something was issued, whatever this configuration says;
/// so too where they cannot be read.
async fn recall(node: &mut Node) -> Result<(), Failure> {
    house::recall(&node.engine, node.clock.as_ref()).await?;
    let unissued = matches!(signing::kept(&node.engine).await, Ok(None));
    node.issued |= !unissued;
    Ok(())
}

/// Whoever may write to the folder may put a socket of his own there.
fn refuse_other_writers(folder: &Path, mode: u32) -> Result<(), Failure> {
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Failure::start(
        format!(
            "the data folder {} has mode {:04o}, so others may put files into it",
            folder.display(),
            mode & 0o7777
        ),
        format!("chmod 700 {}", folder.display()),
    ))
}
