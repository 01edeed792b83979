//! What a request costs: the gateway beside nginx, nginx with `auth_request` and a proxy of nothing but hyper.
//!
//! One upstream, one load generator, one run, turn by turn. The figure that is believed is the **CPU time of all
//! processes of the server for each request**: requests per second and latencies swing with whatever else the machine
//! does. Each server has one processor to itself, the load generator and the upstream have the other. Every answer is
//! read and checked: a member's request must have reached the app as that member's, a stranger's as nobody's.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a run tells a person how far it is, and its servers tell it their addresses"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::authority::Authority;

pub mod auth;
pub mod floor;
pub mod instructions;
pub mod upstream;

mod idle;
mod load;
mod report;
mod servers;
mod usage;

pub use report::Report;
pub use usage::Cores;

use load::{Fleet, Who};
use report::Row;
use servers::{Kind, Server};
use upstream::Upstream;

/// The version of HTTP towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1: 32 connections, one request at a time on each.
    One,
    /// HTTP/2: 4 connections, 8 requests at a time on each.
    Two,
}

impl Http {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
        }
    }

    pub(crate) const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::One => &[b"http/1.1"],
            Self::Two => &[b"h2"],
        }
    }

    const fn connections(self) -> usize {
        match self {
            Self::One => 32,
            Self::Two => 4,
        }
    }

    const fn at_once(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 8,
        }
    }
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `wirebound` binary, as it is released.
    pub gateway: PathBuf,
    /// This program, which also is the authentication server and the bare proxy.
    pub this: PathBuf,
    /// Turns of every case.
    pub rounds: usize,
    /// How long one turn is counted.
    pub turn: Duration,
    /// Idle connections of the memory's measure; none without it.
    pub idle: usize,
    /// Only servers whose name contains this.
    pub only: Option<String>,
}

/// One server under one kind of load.
struct Case {
    http: Http,
    who: Who,
    server: Server,
    fleet: Fleet,
}

/// Before each turn, uncounted: connections to the upstream are opened, caches are warm again.
const WARM_UP: Duration = Duration::from_millis(250);

/// Measures all.
///
/// # Errors
/// When a server cannot be started, or answers what it must not.
pub async fn run(plan: &Plan) -> Result<Report> {
    let cores = Cores::split()?;
    usage::raise_open_files()?;
    let authority = Arc::new(Authority::new()?);
    let upstream = Upstream::start().await?;
    let mut cases = Vec::new();
    for http in [Http::One, Http::Two] {
        for (kind, who) in Kind::CASES {
            if plan
                .only
                .as_ref()
                .is_some_and(|only| !kind.name().contains(only))
            {
                continue;
            }
            let server = Server::start(kind, plan, &cores, &authority, upstream.port()).await?;
            let fleet = Fleet::open(&server, http, who, http.connections())
                .await
                .with_context(|| format!("{} over {}", kind.name(), http.name()))?;
            let case = Case {
                http,
                who,
                server,
                fleet,
            };
            cases.push(case);
        }
    }
    let mut rows: Vec<Row> = cases.iter().map(Row::of).collect();
    for round in 0..plan.rounds {
        for step in 0..cases.len() {
            // Who comes first changes, so that nobody always follows the same neighbour.
            let at = (step + round) % cases.len();
            let case = &mut cases[at];
            let measured = turn(case, plan.turn).await;
            let row = &mut rows[at];
            let measured = measured.with_context(|| row.name())?;
            row.turns.push(measured);
        }
        eprintln!("round {} of {}", round + 1, plan.rounds);
    }
    for case in &cases {
        case.server.has_kept_to_the_hot_path(&case.fleet)?;
    }
    drop(cases);
    let idle = match plan.idle {
        0 => Vec::new(),
        many => idle::measure(plan, &cores, &authority, upstream.port(), many).await?,
    };
    Ok(Report { rows, idle })
}

async fn turn(case: &mut Case, length: Duration) -> Result<report::Turn> {
    let mark = case.server.mark();
    let measured = window(case, length).await;
    // What the gateway says of it is still on its way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let told = case.server.told_since(mark);
    let measured = measured.with_context(|| format!("the gateway told of: {told}"))?;
    ensure!(
        told.is_empty(),
        "the gateway told of something while wires that were proved were served: {told}"
    );
    Ok(measured)
}

async fn window(case: &mut Case, length: Duration) -> Result<report::Turn> {
    case.fleet.fire(WARM_UP, case.http.at_once()).await?;
    let before = case.server.usage().cpu()?;
    let window = case.fleet.fire(length, case.http.at_once()).await?;
    let cpu = case.server.usage().cpu()? - before;
    ensure!(window.requests() > 0, "nothing was answered");
    Ok(window.with(cpu))
}
