//! What a request costs, from the command line: `cargo xtask bench gateway`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to a person"
)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use wirebound_testkit::cost::{self, Plan, auth, floor, instructions};

/// The gateway beside nginx, nginx with `auth_request` and a bare hyper proxy, turn by turn.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench gateway")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// CPU time, latencies and memory, as tables.
    Run(Run),
    /// Instructions for each request, by callgrind.
    Instructions {
        /// The `wirebound` binary, as it is released.
        #[arg(long, value_name = "PATH")]
        gateway: PathBuf,
        /// Where callgrind's files are kept, for `callgrind_annotate`.
        #[arg(long, value_name = "FOLDER")]
        keep: Option<PathBuf>,
    },
    /// The authentication server of `auth_request`.
    #[command(hide = true)]
    Auth,
    /// The bare proxy.
    #[command(hide = true)]
    Floor {
        certificate: PathBuf,
        key: PathBuf,
        upstream: u16,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// The `wirebound` binary, as it is released.
    #[arg(long, value_name = "PATH")]
    gateway: PathBuf,
    /// Turns of every case.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Milliseconds that a turn is counted.
    #[arg(long, value_name = "MS", default_value_t = 1500)]
    turn_ms: u64,
    /// Idle connections whose memory is measured; 0 leaves that out.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    idle: usize,
    /// Only servers whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

fn main() -> Result<()> {
    // One thread: servers have their own processor, and what is measured shares nothing with the load.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(take(Arguments::parse().task))
}

async fn take(task: Task) -> Result<()> {
    match task {
        Task::Auth => auth::serve().await,
        Task::Floor {
            certificate,
            key,
            upstream,
        } => floor::serve(&certificate, &key, upstream).await,
        Task::Run(run) => {
            let report = cost::run(&Plan {
                gateway: run.gateway,
                this: std::env::current_exe()?,
                rounds: run.rounds,
                turn: Duration::from_millis(run.turn_ms),
                idle: run.idle,
                only: run.only,
            })
            .await?;
            println!("{}", report.markdown());
            Ok(())
        }
        Task::Instructions { gateway, keep } => {
            let plan = Plan {
                gateway,
                this: std::env::current_exe()?,
                rounds: 0,
                turn: Duration::ZERO,
                idle: 0,
                only: None,
            };
            println!("{}", instructions::count(&plan, keep.as_deref()).await?);
            Ok(())
        }
    }
}
