//! Browsers' processes and folders that leave nothing behind.
//!
//! A browser has children that write into its profile until they notice that they are alone. So a dropped
//! browser is waited for, and its folder is removed until it stays removed.

use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::process::Child;

/// How long the end of a killed process is waited for.
const BOUND: Duration = Duration::from_secs(3);

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// A browser's main process. Killed and waited for when dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Waits for the end of a process that was told to end.
    pub(crate) async fn ends_within(&mut self, bound: Duration) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(bound, self.0.wait()).await;
        Ok(ended.context("the browser does not end")??)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let start = Instant::now();
        let told = self.0.start_kill();
        while told.is_ok() && start.elapsed() < BOUND && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(STEP);
        }
    }
}

/// A temporary folder into which a dying process may still write.
#[derive(Debug)]
pub(crate) struct Folder(Option<TempDir>);

impl Folder {
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        Ok(Self(Some(
            tempfile::Builder::new().prefix(prefix).tempdir()?,
        )))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().map_or_else(|| Path::new(""), TempDir::path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(folder) = self.0.take() else { return };
        let start = Instant::now();
        let path = folder.keep();
        while path.exists() && start.elapsed() < BOUND {
            // Fails while somebody still writes into it; then once more.
            let _removed = std::fs::remove_dir_all(&path);
            std::thread::sleep(STEP);
        }
    }
}
