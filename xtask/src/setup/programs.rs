//! Programs of the system: browsers, servers that stand before or behind the gateway, makers of load.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use crate::run::{find, silent};

/// A program, and the Debian package that brings it.
struct Program {
    name: &'static str,
    package: &'static str,
    /// The service that the package starts by itself and that no test wants.
    service: Option<&'static str>,
}

const fn tool(name: &'static str, package: &'static str) -> Program {
    Program {
        name,
        package,
        service: None,
    }
}

const fn server(name: &'static str, service: &'static str) -> Program {
    Program {
        name,
        package: service,
        service: Some(service),
    }
}

const PROGRAMS: [Program; 19] = [
    tool("chromium", "chromium"),
    tool("firefox-esr", "firefox-esr"),
    tool("certutil", "libnss3-tools"),
    tool("ip", "iproute2"),
    tool("curl", "curl"),
    tool("openssl", "openssl"),
    tool("python3", "python3"),
    tool("node", "nodejs"),
    tool("npm", "npm"),
    tool("php", "php-cli"),
    tool("slowhttptest", "slowhttptest"),
    tool("h2load", "nghttp2-client"),
    tool("wrk", "wrk"),
    tool("valgrind", "valgrind"),
    server("nginx", "nginx"),
    server("caddy", "caddy"),
    server("varnishd", "varnish"),
    server("haproxy", "haproxy"),
    server("redis-server", "redis-server"),
];

/// Installs the programs that are not on the `PATH`.
///
/// # Errors
/// When one is missing that cannot be installed here; the text says what to do by hand.
pub(crate) fn install(bar: &ProgressBar) -> Result<()> {
    let missing: Vec<&Program> = PROGRAMS.iter().filter(|p| find(p.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|p| p.name).collect();
    let packages: Vec<&str> = missing.iter().map(|p| p.package).collect();
    if find("apt-get").is_none() {
        bail!(
            "missing: {}. There is no apt-get here; install by hand what Debian calls {} \
             and have the programs on the PATH",
            names.join(", "),
            packages.join(" ")
        );
    }
    bar.set_message("the list of Debian packages");
    silent(as_root("apt-get")?.args(["update", "-qq"]))?;
    bar.set_message(format!("Debian packages: {}", packages.join(" ")));
    let mut install = as_root("apt-get")?;
    install.args(["install", "-qq", "--yes", "--no-install-recommends"]);
    silent(
        install
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    for program in &missing {
        stop(program)?;
    }
    let still = missing.iter().find(|p| find(p.name).is_none());
    if let Some(Program { name, package, .. }) = still {
        bail!(
            "{name} is not on the PATH although the package {package} was installed \
             (servers lie in /usr/sbin)"
        );
    }
    Ok(())
}

/// Debian starts a server as soon as it is installed. The tests start their own, on free ports.
fn stop(program: &Program) -> Result<()> {
    let (Some(service), true) = (program.service, Path::new("/run/systemd/system").is_dir()) else {
        return Ok(());
    };
    let mut disable = as_root("systemctl")?;
    silent(disable.args(["disable", "--now", service]))
}

fn as_root(program: &str) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    if find("sudo").is_none() {
        bail!("{program} needs root, and there is no sudo: run `cargo xtask setup` as root once");
    }
    let mut command = Command::new("sudo");
    // sudo would drop the variable that keeps apt-get from asking.
    command.args([
        "--non-interactive",
        "--preserve-env=DEBIAN_FRONTEND",
        program,
    ]);
    Ok(command)
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("start id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}
