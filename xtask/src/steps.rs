//! `cargo xtask test`: the steps, in order, with their times; the trial, the simulation and the benchmarks over the release build.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::root;
use crate::run::{cargo, shown, typed};

/// A step and how to take it.
struct Step {
    name: &'static str,
    take: fn() -> Result<Command>,
}

const STEPS: [Step; 6] = [
    Step {
        name: "setup",
        take: setup,
    },
    Step {
        name: "format",
        take: format,
    },
    Step {
        name: "lints",
        take: lints,
    },
    Step {
        name: "tests",
        take: tests,
    },
    Step {
        name: "loom",
        take: loom,
    },
    Step {
        name: "docs",
        take: docs,
    },
];

fn setup() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.arg("setup");
    Ok(command)
}

fn format() -> Result<Command> {
    Ok(cargo_with(&["fmt", "--all", "--check"]))
}

fn lints() -> Result<Command> {
    Ok(cargo_with(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn tests() -> Result<Command> {
    Ok(cargo_with(&["test", "--workspace"]))
}

/// Its own target folder: another `--cfg` would otherwise rebuild everything at each change of step.
fn loom() -> Result<Command> {
    let mut command = cargo_with(&["test", "-p", "wirebound", "--release", "--test", "loom"]);
    command
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", root().join("target/loom"));
    Ok(command)
}

fn docs() -> Result<Command> {
    let mut command = cargo_with(&["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Ok(command)
}

fn cargo_with(arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(arguments);
    command
}

/// Takes every step, or one; stops at the first that fails.
///
/// # Errors
/// When a step fails; the text says how to take that step alone.
pub(crate) fn test(only: Option<&str>) -> Result<()> {
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|s| only.is_none_or(|o| o == s.name))
        .collect();
    if steps.is_empty() {
        let names = STEPS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
        bail!("no such step; there are: {names}");
    }
    let mut times: Vec<(&str, Duration, &str)> = Vec::new();
    let mut failure = None;
    for step in steps {
        let mut command = (step.take)()?;
        println!("\n== {}: {}", step.name, typed(&command));
        let start = Instant::now();
        let done = shown(&mut command);
        times.push((
            step.name,
            start.elapsed(),
            if done.is_ok() { "ok" } else { "FAILED" },
        ));
        if let Err(error) = done {
            failure = Some((step.name, error));
            break;
        }
    }
    println!("\n{:<8} {:>9}  result", "step", "seconds");
    for (name, time, result) in times {
        println!("{name:<8} {:>9.1}  {result}", time.as_secs_f64());
    }
    match failure {
        None => Ok(()),
        Some((name, error)) => {
            bail!("{error:#}\nthis step alone: cargo xtask test --only {name}")
        }
    }
}

/// Builds the gateway as it is released, and runs the trial with these arguments.
///
/// # Errors
/// When the build or the trial fails.
pub(crate) fn trial(arguments: &[String]) -> Result<()> {
    let bare = arguments.iter().any(|a| a == "--bare");
    over_release("trial", &[], arguments, bare)
}

/// Runs the simulation of tickets with these arguments; there is no gateway in it.
///
/// # Errors
/// When the build fails, or an honest session was accused.
pub(crate) fn lossy(arguments: &[String]) -> Result<()> {
    over_release("lossy", &[], arguments, true)
}

/// Builds the gateway as it is released, and measures what it costs.
///
/// # Errors
/// When the build or the measure fails.
pub(crate) fn bench(what: &str, arguments: &[String]) -> Result<()> {
    over_release("cost", &[what], arguments, false)
}

/// Runs a program of the test kit over the release build of the gateway, unless it needs none.
fn over_release(program: &str, verbs: &[&str], arguments: &[String], bare: bool) -> Result<()> {
    let wants_gateway = !bare
        && !arguments
            .iter()
            .any(|a| a.starts_with("--gateway") || a == "--help" || a == "-h");
    let mut command = cargo_with(&["run", "--release", "-p", "wirebound-testkit", "--bin"]);
    command.arg(program).arg("--").args(verbs);
    if wants_gateway {
        shown(&mut cargo_with(&[
            "build",
            "--release",
            "-p",
            "wirebound-server",
            "--bin",
            "wirebound",
        ]))?;
        command
            .arg("--gateway")
            .arg(target().join("release/wirebound"));
    }
    shown(command.args(arguments))
}

fn target() -> std::path::PathBuf {
    // A relative folder counts from where cargo runs, which is the root.
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |t| root().join(t))
}
