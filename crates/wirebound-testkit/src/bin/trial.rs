//! The no-false-alarm trial from the command line: `cargo xtask trial`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to a person"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use wirebound_testkit::trial::{self, Before, Browser, Http, Plan, Report, Scenario};

/// A real browser does all that browsers do with connections, while a thief holds a copy of its cookies.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask trial")]
struct Arguments {
    /// The `wirebound` binary; `cargo xtask trial` builds it and fills this in.
    #[arg(long, value_name = "PATH", required_unless_present = "bare")]
    gateway: Option<PathBuf>,
    /// No gateway at all: the thief must get in, or the trial is blind.
    #[arg(long, conflicts_with = "gateway")]
    bare: bool,
    /// Configuration file of the gateway.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One more argument of the gateway; may be repeated.
    #[arg(long = "with", value_name = "ARGUMENT", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// The browser.
    #[arg(long, value_enum, default_value = "chromium")]
    browser: Which,
    /// The version of HTTP: 1 (HTTP/1.1) or 2.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    http: u8,
    /// Milliseconds before the first byte of each of the browser's connections.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Sign-ins for each scenario and phase.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Only these, by name.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    scenarios: Vec<String>,
    /// A thief tries beside the browser.
    #[arg(long)]
    thief: bool,
    /// Where the whole report is written.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Chromium,
    Firefox,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = plan(&arguments)?;
    let report = trial::run(&plan).await?;
    if let Some(file) = &arguments.json {
        std::fs::write(file, format!("{:#}\n", report.json()))
            .with_context(|| format!("write {}", file.display()))?;
    }
    println!("{}\n{}", Report::markdown_head(), report.markdown());
    let faults = report.faults();
    for fault in &faults {
        eprintln!("fault: {fault}");
    }
    let well = if arguments.bare && arguments.thief {
        report.thief_served() > 0
    } else {
        faults.is_empty()
    };
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let config = arguments
        .config
        .as_ref()
        .map(std::fs::read_to_string)
        .transpose()?;
    let before = match &arguments.gateway {
        Some(program) => Before::Gateway {
            program: program.clone(),
            config,
            arguments: arguments.arguments.clone(),
        },
        None => Before::Bare,
    };
    let mut scenarios = Vec::new();
    for name in &arguments.scenarios {
        let Some(scenario) = Scenario::named(name) else {
            let names = Scenario::ALL.map(Scenario::name).join(", ");
            bail!("no scenario {name}; there are: {names}");
        };
        scenarios.push(scenario);
    }
    if scenarios.is_empty() {
        scenarios = Scenario::ALL.to_vec();
    }
    Ok(Plan {
        before,
        browser: match arguments.browser {
            Which::Chromium => Browser::Chromium,
            Which::Firefox => Browser::Firefox,
        },
        http: if arguments.http == 1 {
            Http::One
        } else {
            Http::Two
        },
        delay: Duration::from_millis(arguments.delay_ms),
        rounds: arguments.rounds,
        scenarios,
        thief: arguments.thief,
    })
}
