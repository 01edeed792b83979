//! The certificate database of both browsers, made with `certutil`.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// What a test says when a tool is missing.
pub(crate) const SETUP: &str = "run `cargo xtask setup`, which installs it";

/// Makes a database in `folder` that trusts the authority in `ca` for servers.
pub(crate) async fn trust(folder: &Path, ca: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let database = format!("sql:{}", folder.display());
    certutil(&["-N", "-d", &database, "--empty-password"]).await?;
    let ca = ca.to_str().context("the certificate's path is UTF-8")?;
    certutil(&[
        "-A",
        "-d",
        &database,
        "-n",
        "wirebound",
        "-t",
        "C,,",
        "-i",
        ca,
    ])
    .await
}

async fn certutil(arguments: &[&str]) -> Result<()> {
    let output = Command::new("certutil")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("certutil cannot be started; {SETUP}"))?;
    ensure!(
        output.status.success(),
        "certutil {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
