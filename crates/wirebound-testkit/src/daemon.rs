//! Servers of other makers, as they are installed: each in a folder of its own, on a free loopback port.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::firefox::free_port;
use crate::gateway::signal;
use crate::{nss, wait};

const BOUND: Duration = Duration::from_secs(20);

/// Another program may take the free port first; then another is tried.
const TRIES: usize = 3;

/// A running server. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
    // Removed after the process that writes into it.
    folder: TempDir,
}

impl Daemon {
    /// Starts `program` in a new folder; `arguments` writes its files there and says how it is called.
    ///
    /// # Errors
    /// When it is not installed, or does not listen in time.
    pub(crate) async fn start(
        program: &str,
        arguments: impl Fn(&Path, SocketAddr) -> Result<Vec<String>>,
    ) -> Result<Self> {
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new()
                .prefix("wirebound-daemon-")
                .tempdir()?;
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            let arguments = arguments(folder.path(), address)?;
            let log = std::fs::File::create(folder.path().join("printed.log"))?;
            let mut child = Command::new(program)
                .args(arguments)
                .current_dir(folder.path())
                .env("HOME", folder.path())
                .env("XDG_DATA_HOME", folder.path())
                .env("XDG_CONFIG_HOME", folder.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("{program} cannot be started; {}", nss::SETUP))?;
            let listens = wait::until(program, BOUND, || {
                let ended = child.try_wait();
                async move {
                    if ended?.is_some() {
                        return Ok(Some(false));
                    }
                    Ok(TcpStream::connect(address).await.ok().map(|_| true))
                }
            })
            .await?;
            let daemon = Self {
                child,
                address,
                folder,
            };
            if listens {
                return Ok(daemon);
            }
            let said = daemon.log();
            if !said.contains("in use") {
                bail!("{program} ended at once: {said}");
            }
        }
        bail!("{program} finds no free port")
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("printed.log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    /// Asked first: a master that is killed leaves its workers behind.
    fn drop(&mut self) {
        let start = Instant::now();
        let told = signal(&self.child, Signal::TERM);
        while told.is_ok()
            && start.elapsed() < Duration::from_secs(3)
            && matches!(self.child.try_wait(), Ok(None))
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
