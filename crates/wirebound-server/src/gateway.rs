//! The gateway's seam: what a start-up hands over, and nothing of how it is served.

use std::net::TcpListener;
use std::sync::Arc;

use crate::certificates::Certificates;
use crate::config::Config;
use crate::data_dir::{DataDir, NodeSecret};
use crate::failure::Failure;

/// All that a gateway is started with. Everything in it has been checked and opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The configuration, checked; `upstream.url` is set.
    pub config: Config,
    /// Bound, listening and not blocking.
    pub listener: TcpListener,
    /// The certificate resolver. Somebody must poll its `keep_fresh`.
    pub certificates: Arc<Certificates>,
    /// The data folder, owned until this is dropped.
    pub data_dir: DataDir,
    /// The node secrets.
    pub secret: NodeSecret,
}

impl Plan {
    /// From its parts.
    #[must_use]
    pub const fn new(
        config: Config,
        listener: TcpListener,
        certificates: Arc<Certificates>,
        data_dir: DataDir,
        secret: NodeSecret,
    ) -> Self {
        Self {
            config,
            listener,
            certificates,
            data_dir,
            secret,
        }
    }
}

/// Serves until `stop` is done, then drains.
///
/// # Errors
///
/// When it cannot start, or fails while running.
#[expect(clippy::unused_async, reason = "the seam is asynchronous")]
pub async fn run(plan: Plan, stop: impl Future<Output = ()> + Send) -> Result<(), Failure> {
    drop((plan, stop));
    Err(Failure::failed(
        "the gateway is not linked into this build yet",
    ))
}
