//! Instructions for each request, by valgrind's callgrind: the figure that no neighbour disturbs.
//!
//! It counts what the gateway's own process executes in user space; the kernel's part is not in it. The gateway runs
//! under callgrind from its start; its counters are set to nought after the wires are proved, and read after so many
//! requests.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::load::{Fleet, Who};
use super::servers::Server;
use super::upstream::Upstream;
use super::{Cores, Http, Plan, usage};
use crate::authority::Authority;
use crate::wait;

/// Connections, and rounds of one request on each before and while it is counted.
const CONNECTIONS: usize = 4;
const WARM_UP: usize = 50;
const COUNTED: usize = 250;

/// Instructions for each request: over HTTP/1.1 and HTTP/2, of nobody and of a member.
///
/// # Errors
/// When valgrind is missing, or the gateway does not serve under it.
pub async fn count(plan: &Plan, keep: Option<&Path>) -> Result<String> {
    let cores = Cores::split()?;
    usage::raise_open_files()?;
    let authority = Authority::new()?;
    let upstream = Upstream::start().await?;
    let mut text = String::from("| client | request | instructions/request |\n|---|---|---:|\n");
    for http in [Http::One, Http::Two] {
        for who in [Who::Nobody, Who::Member] {
            let folder = tempfile::Builder::new()
                .prefix("wirebound-callgrind-")
                .tempdir()?;
            let wrapped = Plan {
                gateway: wrapper(&plan.gateway, folder.path())?,
                ..plan.clone()
            };
            let kind = super::Kind::Gateway;
            let server = Server::start(kind, &wrapped, &cores, &authority, upstream.port()).await?;
            let mut fleet = Fleet::open(&server, http, who, CONNECTIONS).await?;
            fleet.ask_each(WARM_UP).await?;
            let id = server.usage().first().context("a process")?;
            control("--zero", id).await?;
            fleet.ask_each(COUNTED).await?;
            control("--dump", id).await?;
            let dump = dump(folder.path()).await?;
            let each = total(&dump)? / (COUNTED * CONNECTIONS) as u64;
            let asker = match who {
                Who::Member => "signed in, armoured",
                Who::Nobody => "anonymous",
            };
            text.push_str(&format!("| {} | {asker} | {each} |\n", http.name()));
            if let Some(keep) = keep {
                std::fs::create_dir_all(keep)?;
                let name = format!("callgrind.{}.{asker}", http.name().replace('/', "-"));
                std::fs::copy(&dump, keep.join(name.replace([' ', ','], "-")))?;
            }
        }
    }
    Ok(text)
}

/// A script in the gateway's place that starts it under callgrind.
fn wrapper(gateway: &Path, folder: &Path) -> Result<PathBuf> {
    let script = folder.join("gateway");
    let text = format!(
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file={}/out.%p '{}' \"$@\"\n",
        folder.display(),
        gateway.canonicalize()?.display()
    );
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
    Ok(script)
}

async fn control(order: &str, id: u32) -> Result<()> {
    let status = Command::new("callgrind_control")
        .args([order, &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await
        .context("valgrind is missing: run `cargo xtask setup`")?;
    ensure!(
        status.success(),
        "callgrind_control {order} ended with {status}"
    );
    Ok(())
}

/// The first dump in the folder, once it is whole.
async fn dump(folder: &Path) -> Result<PathBuf> {
    wait::until("callgrind's figures", Duration::from_secs(20), || async {
        let files = std::fs::read_dir(folder)?.filter_map(Result::ok);
        let mut paths = files.map(|file| file.path());
        let dump = paths.find(|path| path.to_string_lossy().ends_with(".1"));
        Ok(dump.filter(|path| total(path).is_ok()))
    })
    .await
}

fn total(dump: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(dump)?;
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals:"));
    Ok(line.context("a total")?.trim().parse()?)
}
