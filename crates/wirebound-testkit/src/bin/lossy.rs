//! Tickets over bad networks and under thieves, from the command line: `cargo xtask lossy`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to a person"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use wirebound_testkit::lossy::{self, Plan};

/// Simulates honest sessions over bad networks and thefts, with the product's own sequence of tickets.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask lossy")]
struct Arguments {
    /// Honest sessions in each row.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    sessions: u64,
    /// Thefts in each row; a hundredth of the sessions if not given.
    #[arg(long, value_name = "COUNT")]
    thefts: Option<u64>,
    /// The same seed gives the same tables.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the tables are written as well.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        sessions: arguments.sessions.max(1),
        thefts: arguments.thefts.unwrap_or(arguments.sessions / 100).max(1),
        seed: arguments.seed,
    };
    let bar = ProgressBar::new(u64::try_from(lossy::rows())?);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} rows, {eta} left",
    )?);
    let report = lossy::run(plan, || bar.inc(1));
    bar.finish_and_clear();
    let tables = report.markdown();
    println!("{tables}");
    if let Some(file) = &arguments.markdown {
        std::fs::write(file, &tables).with_context(|| format!("write {}", file.display()))?;
    }
    let faults = report.faults();
    for fault in &faults {
        eprintln!("fault: {fault}");
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
