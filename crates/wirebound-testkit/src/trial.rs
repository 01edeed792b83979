//! The no-false-alarm trial: a real browser does all that browsers do with connections, and nothing of it
//! may be refused, while a thief with a full copy of its jar tries beside it all the time.
//!
//! What is counted where: the app counts requests that came as nobody although their path is for members
//! (`lost`); the browser counts answers that the gateway made itself (`refused_by_gateway`); the gateway's
//! log says what it joined and why it did not. A request that got no answer at all (`broken`) is the
//! network's, which the trial itself cuts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

pub use crate::chromium::Http;
use crate::line::{Ending, Line};
use crate::members::Members;
use crate::wait;

mod client;
pub(crate) mod front;
mod report;
mod scenario;
mod shadow;

use client::Client;
pub use client::Seen;
use front::Front;
pub use report::{Report, Row};
pub use scenario::Scenario;
pub use shadow::Tried;

/// How long the trial leaves a browser alone before and after its connections are ended.
const PAUSE: Duration = Duration::from_millis(80);

/// How long a sign-in's hand-over may take until the thief copies the jar.
const HAND_OVER: Duration = Duration::from_secs(2);

/// The browser that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Chromium over the DevTools protocol.
    Chromium,
    /// Firefox ESR over Marionette.
    Firefox,
}

/// What stands in front of the app.
#[derive(Clone, Debug)]
pub enum Before {
    /// The gateway: its binary, the text of a configuration file, further arguments.
    Gateway {
        /// The `wirebound` binary.
        program: PathBuf,
        /// Passed by `--config`, where it is given.
        config: Option<String>,
        /// After all other arguments.
        arguments: Vec<String>,
    },
    /// Nothing but TLS. The thief must get in; the trial is worthless if it does not see him.
    Bare,
}

impl Before {
    /// The gateway with nothing but what the trial needs.
    #[must_use]
    pub fn gateway(program: &Path) -> Self {
        Self::Gateway {
            program: program.to_owned(),
            config: None,
            arguments: Vec::new(),
        }
    }
}

/// One run of the trial.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What stands in front of the app.
    pub before: Before,
    /// The browser.
    pub browser: Browser,
    /// The HTTP that it is made to speak.
    pub http: Http,
    /// What passes on each of its connections before the first byte.
    pub delay: Duration,
    /// Sign-ins for each scenario and phase.
    pub rounds: u32,
    /// What it does.
    pub scenarios: Vec<Scenario>,
    /// Whether a thief tries beside it.
    pub thief: bool,
}

/// What happens to the browser's connections between its sign-in and its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Warm,
    Cold(Ending),
}

impl Phase {
    const ALL: [Self; 3] = [Self::Warm, Self::Cold(Ending::Fin), Self::Cold(Ending::Rst)];

    fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold(Ending::Fin) => "cold, closed",
            Self::Cold(Ending::Rst) => "cold, reset",
        }
    }
}

/// Runs the trial.
///
/// # Errors
/// When a process cannot be started or goes away. What the gateway does wrong is no error but stands in
/// the report: [`Report::faults`].
pub async fn run(plan: &Plan) -> Result<Report> {
    ensure!(
        plan.rounds > 0 && !plan.scenarios.is_empty(),
        "a trial of nothing"
    );
    let members = Members::start().await?;
    let front = Front::start(&plan.before, &members).await?;
    let mut trial = Trial {
        line: Line::lay(front.address(), plan.delay).await?,
        thiefs_line: Line::lay(front.address(), Duration::ZERO).await?,
        client: Client::start(plan, &front.ca(), &hosts(plan)).await?,
        front,
        members,
        plan,
        turn: 0,
        tried: Tried::default(),
        rows: Vec::new(),
    };
    let version = trial.client.version().await?;
    for scenario in &plan.scenarios {
        for phase in Phase::ALL {
            trial.rows_of(*scenario, phase).await?;
        }
    }
    let log = trial.front.events();
    let whose = |port| {
        if trial.line.owns(port) {
            Some(report::Owner::Browser)
        } else {
            trial.thiefs_line.owns(port).then_some(report::Owner::Thief)
        }
    };
    let report = Report::of(
        plan,
        &version,
        &trial.rows,
        &trial.members.app().counts(),
        &log,
        whose,
    )
    .with_thief(trial.tried.clone(), trial.line.opened());
    trial.client.end().await?;
    trial.front.stop().await?;
    Ok(report)
}

/// The short form that the tests run: Chromium over both versions of HTTP and Firefox, with the delay that
/// makes the hard cases common, a thief beside each. About two minutes.
///
/// # Errors
/// When anything was refused, doubled, signed out or stolen; the text holds the reports.
pub async fn short_form(gateway: &Path) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for (browser, http) in [
        (Browser::Chromium, Http::Two),
        (Browser::Chromium, Http::One),
        (Browser::Firefox, Http::Two),
    ] {
        let plan = Plan {
            before: Before::gateway(gateway),
            browser,
            http,
            delay: Duration::from_millis(40),
            rounds: 1,
            scenarios: Scenario::SHORT.to_vec(),
            thief: true,
        };
        let report = run(&plan).await?;
        let faults = report.faults();
        ensure!(
            faults.is_empty(),
            "{browser:?} over {http:?}: {}\n{:#}",
            faults.join("; "),
            report.json()
        );
        reports.push(report);
    }
    Ok(reports)
}

/// A host for each sign-in, so that each is a first visit, and its sibling for frames and fetches.
fn hosts(plan: &Plan) -> Vec<String> {
    let count = plan.scenarios.len() * Phase::ALL.len() * plan.rounds as usize;
    (0..count)
        .map(host)
        .flat_map(|h| [format!("x{h}"), h])
        .collect()
}

fn host(turn: usize) -> String {
    format!("h{turn}.w.test")
}

struct Trial<'a> {
    plan: &'a Plan,
    front: Front,
    members: Members,
    line: Line,
    thiefs_line: Line,
    client: Client,
    turn: usize,
    tried: Tried,
    rows: Vec<Row>,
}

impl Trial<'_> {
    async fn rows_of(&mut self, scenario: Scenario, phase: Phase) -> Result<()> {
        let (lost, opened) = (self.members.app().counts(), self.line.opened());
        self.client.begin(scenario.name());
        for round in 0..self.plan.rounds {
            self.round(scenario, phase, round).await?;
        }
        let seen = self.client.finish();
        let now = self.members.app().counts();
        let lost_paths: BTreeMap<String, u64> = now
            .lost
            .iter()
            .map(|(path, count)| (path.clone(), count - lost.lost.get(path).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        self.rows.push(Row {
            scenario: scenario.name(),
            phase: phase.name(),
            sign_ins: now.sign_ins - lost.sign_ins,
            connections: self.line.opened() - opened,
            member: now.member - lost.member,
            lost: lost_paths,
            seen,
        });
        Ok(())
    }

    async fn round(&mut self, scenario: Scenario, phase: Phase, round: u32) -> Result<()> {
        let (host, name) = (host(self.turn), format!("victim-{}-end", self.turn));
        self.turn += 1;
        let base = format!("https://{host}:{}", self.line.address().port());
        self.client.visit(&base, &name);
        self.line.end_all(Ending::Fin);
        wait::moment(PAUSE).await;
        // Half of the visitors look around before they sign in.
        if round.is_multiple_of(2) {
            self.client.go("/").await;
        }
        self.client.sign_in().await?;
        let shadow = if self.plan.thief {
            Some(self.shadow(&host, &base, &name).await?)
        } else {
            None
        };
        let times = if phase == Phase::Warm { 1 } else { 2 };
        for time in 0..times {
            if let Phase::Cold(ending) = phase {
                wait::moment(PAUSE).await;
                self.line.end_all(ending);
                wait::moment(PAUSE).await;
            }
            if scenario == Scenario::Restart {
                self.front
                    .restart((self.turn + time).is_multiple_of(2))
                    .await?;
                self.line.lead_to(self.front.address());
                self.thiefs_line.lead_to(self.front.address());
            }
            scenario.act(&mut self.client, &self.line).await?;
        }
        self.client.settle();
        if let Some(shadow) = shadow {
            self.tried.add(&shadow.end().await?);
        }
        Ok(())
    }

    async fn shadow(&mut self, host: &str, base: &str, name: &str) -> Result<shadow::Shadow> {
        let jar = self.client.jar_after_hand_over(host, HAND_OVER).await?;
        let agent = self.client.user_agent().await?;
        shadow::Shadow::begin(shadow::Target {
            ca: self.front.ca(),
            server: self.thiefs_line.address(),
            http: self.plan.http,
            agent,
            jar,
            url: base.to_owned(),
            name: name.to_owned(),
        })
    }
}
