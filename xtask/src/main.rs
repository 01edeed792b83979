//! The project's tasks: `cargo xtask setup`, `cargo xtask test`, `cargo xtask trial`, `cargo xtask lossy`,
//! `cargo xtask bench`.
//!
//! Kept light, because everybody compiles it first. A task is a list of commands that a person could
//! type; when one fails, the command is shown as it is to be typed.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a task talks to a person and measures real time"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod run;
mod setup;
mod steps;

/// Wirebound's tasks.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what the tests need and the toolchain does not bring; quick when nothing is missing.
    Setup,
    /// Runs every check: setup, format, lints, tests, models of concurrency, documentation.
    Test {
        /// Only this step.
        #[arg(long, value_name = "STEP")]
        only: Option<String>,
    },
    /// The trial with real browsers over the release build; `cargo xtask trial --help` says more.
    #[command(disable_help_flag = true)]
    Trial {
        /// Arguments of the trial.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Tickets over bad networks and under thieves, simulated; `cargo xtask lossy --help` says more.
    #[command(disable_help_flag = true)]
    Lossy {
        /// Arguments of the simulation.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What it costs: measures the release build and prints tables.
    Bench {
        /// What is measured.
        #[command(subcommand)]
        what: Measured,
    },
}

#[derive(Debug, Subcommand)]
enum Measured {
    /// The gateway beside nginx, nginx with `auth_request` and a bare hyper proxy: CPU time for each request, latencies,
    /// memory of idle connections. Under five minutes.
    #[command(disable_help_flag = true)]
    Gateway {
        /// Arguments of the measure: `--help` says which.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Instructions for each request through the gateway, by callgrind.
    #[command(disable_help_flag = true)]
    Instructions {
        /// Arguments of the measure: `--help` says which.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::setup(),
        Task::Test { only } => steps::test(only.as_deref()),
        Task::Trial { arguments } => steps::trial(&arguments),
        Task::Lossy { arguments } => steps::lossy(&arguments),
        Task::Bench { what } => match what {
            Measured::Gateway { arguments } => steps::bench("run", &arguments),
            Measured::Instructions { arguments } => steps::bench("instructions", &arguments),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
