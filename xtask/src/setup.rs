//! What the tests need beside the toolchain: browsers, curl, a Django of a fixed version.
//!
//! Every part is looked for before anything is installed, so that a second run is quick and works
//! without a network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::root;
use crate::run::{find, silent, typed};

/// Programs, and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 11] = [
    ("chromium", "chromium"),
    ("firefox-esr", "firefox-esr"),
    ("certutil", "libnss3-tools"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("nginx", "nginx-light"),
    ("valgrind", "valgrind"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
];

/// The Django that the tests run, with all that it stands on.
const PYTHON_PACKAGES: [&str; 3] = ["django==5.2.19", "asgiref==3.9.1", "sqlparse==0.5.3"];

/// Installs what is missing.
///
/// # Errors
/// When something is missing that cannot be installed here; the text says what to do by hand.
pub(crate) fn setup() -> Result<()> {
    let bar = ProgressBar::new(2);
    bar.set_style(ProgressStyle::with_template(
        "{spinner} [{pos}/{len}] {wide_msg}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.set_message("programs");
    programs(&bar)?;
    bar.inc(1);
    bar.set_message("Django");
    django(&bar)?;
    bar.inc(1);
    bar.finish_and_clear();
    println!("setup: everything is here");
    Ok(())
}

fn programs(bar: &ProgressBar) -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing
        .iter()
        .map(|(program, _)| *program)
        .collect::<Vec<_>>()
        .join(", ");
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if find("apt-get").is_none() {
        bail!(
            "missing: {names}. There is no apt-get here; install by hand what Debian calls {} \
             and have the programs on the PATH",
            packages.join(" ")
        );
    }
    bar.set_message("the list of Debian packages");
    silent(&mut apt(&["update", "-qq"])?)?;
    bar.set_message(format!("Debian packages: {}", packages.join(" ")));
    let mut install = apt(&["install", "-qq", "--yes", "--no-install-recommends"])?;
    silent(install.args(&packages))?;
    let still = missing.iter().find(|(program, _)| find(program).is_none());
    if let Some((program, package)) = still {
        bail!("{program} is not on the PATH although the package {package} was installed");
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<Command> {
    let mut command = if is_root()? {
        Command::new("apt-get")
    } else if find("sudo").is_some() {
        let mut command = Command::new("sudo");
        command.args(["--non-interactive", "apt-get"]);
        command
    } else {
        bail!("apt-get needs root, and there is no sudo: run `cargo xtask setup` as root once");
    };
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("start id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn django(bar: &ProgressBar) -> Result<()> {
    let folder = root().join("target/real/venv");
    let python = folder.join("bin/python");
    let wanted = PYTHON_PACKAGES.join("\n");
    let note = folder.join("wirebound-setup.txt");
    let same = std::fs::read_to_string(&note).is_ok_and(|had| had == wanted);
    if same && python.is_file() {
        return Ok(());
    }
    bar.set_message("a Python environment");
    let made = environment(&folder);
    if let Err(error) = made {
        bail!(
            "{error:#}\nOn Debian the package python3-venv may be missing: apt-get install python3-venv"
        );
    }
    bar.set_message(format!("Python packages: {}", PYTHON_PACKAGES.join(" ")));
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install.args(PYTHON_PACKAGES);
    silent(&mut install).with_context(|| format!("to try by hand: {}", typed(&install)))?;
    // Written last: a run that was broken off does everything again.
    std::fs::write(note, wanted)?;
    Ok(())
}

fn environment(folder: &Path) -> Result<()> {
    let python = find("python3").unwrap_or_else(|| PathBuf::from("python3"));
    silent(
        Command::new(python)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )
}
