//! The real gateway as a process: started, asked for its events, stopped, killed, started again.
//!
//! The seam is small: `serve` prints one line with its address on stdout and one JSON object a line
//! on stderr. What is no JSON object there is kept as text for the failing test's message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::wait;

/// How long the gateway may take to say its address, or to end after SIGTERM.
const BOUND: Duration = Duration::from_secs(20);

/// How the gateway is started.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The `wirebound` binary.
    pub program: PathBuf,
    /// The app behind it, such as `http://127.0.0.1:8000`.
    pub upstream: String,
    /// The text of a configuration file, passed by `--config`; none without it.
    pub config: Option<String>,
    /// Further arguments, after all others.
    pub arguments: Vec<String>,
}

impl Setting {
    /// `serve` before `upstream` with `--armour auto` and nothing else.
    #[must_use]
    pub fn new(program: &Path, upstream: &str) -> Self {
        Self {
            program: program.to_owned(),
            upstream: upstream.to_owned(),
            config: None,
            arguments: Vec::new(),
        }
    }
}

/// One event of the gateway's log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name, such as `signed_in`.
    pub name: String,
    /// Its fields, as they were logged.
    pub fields: Map<String, Value>,
}

impl Event {
    /// A field as text: a string as it is, everything else as JSON; empty where it is absent.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        match self.fields.get(field) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Reads a log line: `event` may stand at the top, or under `fields` as `tracing` writes it.
    fn read(line: &str) -> Option<Self> {
        let Ok(Value::Object(mut top)) = serde_json::from_str(line) else {
            return None;
        };
        if let Some(Value::Object(inner)) = top.remove("fields") {
            top.extend(inner);
        }
        let name = top.get("event")?.as_str()?.to_owned();
        Some(Self { name, fields: top })
    }
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    text: Vec<String>,
}

/// A running gateway with a data folder of its own. Killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    setting: Setting,
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Gateway {
    /// Starts the gateway on a free loopback port.
    ///
    /// # Errors
    /// When the program cannot be started or does not say its address in time.
    pub async fn start(setting: Setting) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("wirebound-gateway-")
            .tempdir()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, address) = launch(&setting, folder.path(), any, &log).await?;
        Ok(Self {
            setting,
            folder,
            child,
            address,
            log,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process; none once it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The data folder, which outlives a restart.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The certificate of the gateway's own authority.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// All events so far, those from before a restart included.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.log.lock().unwrap().events.clone()
    }

    /// The events since the mark `from` (a number of events, as [`Self::mark`] gives it).
    #[must_use]
    pub fn events_since(&self, from: usize) -> Vec<Event> {
        self.log
            .lock()
            .unwrap()
            .events
            .get(from..)
            .unwrap_or_default()
            .to_vec()
    }

    /// How many events there are.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.log.lock().unwrap().events.len()
    }

    /// How often `name` was logged.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.log
            .lock()
            .unwrap()
            .events
            .iter()
            .filter(|e| e.name == name)
            .count()
    }

    /// What was logged that was no event, and every event, for a failing test's message.
    #[must_use]
    pub fn log_text(&self) -> String {
        let log = self.log.lock().unwrap();
        let events = log
            .events
            .iter()
            .map(|e| Value::Object(e.fields.clone()).to_string());
        log.text
            .iter()
            .cloned()
            .chain(events)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Waits for an event after the mark `from` that `fits`.
    ///
    /// # Errors
    /// When none comes within `bound`.
    pub async fn event(
        &self,
        what: &str,
        from: usize,
        bound: Duration,
        fits: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        wait::until(what, bound, || {
            let found = self.events_since(from).into_iter().find(|e| fits(e));
            async move { Ok(found) }
        })
        .await
        .with_context(|| self.log_text())
    }

    /// Ends it by SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time, or ends with an exit code that is not 0.
    pub async fn stop(&mut self) -> Result<()> {
        signal(&self.child, Signal::TERM)?;
        let status = tokio::time::timeout(BOUND, self.child.wait())
            .await
            .context("the gateway did not end after SIGTERM")??;
        if !status.success() {
            bail!("the gateway ended with {status}:\n{}", self.log_text());
        }
        Ok(())
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn kill(&mut self) -> Result<()> {
        signal(&self.child, Signal::KILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Starts it again, on the same port and data folder, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        let (child, address) =
            launch(&self.setting, self.folder.path(), self.address, &self.log).await?;
        (self.child, self.address) = (child, address);
        Ok(())
    }
}

/// Sends a signal to a child of ours; its id is taken from the handle, so it is never a stranger's.
pub(crate) fn signal(child: &Child, signal: Signal) -> Result<()> {
    let id = child.id().context("the process has ended already")?;
    let pid = Pid::from_raw(i32::try_from(id)?).context("no process id")?;
    kill_process(pid, signal)?;
    Ok(())
}

async fn launch(
    setting: &Setting,
    folder: &Path,
    listen: SocketAddr,
    log: &Arc<Mutex<Log>>,
) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new(&setting.program);
    command
        .args([
            "serve",
            "--listen",
            &listen.to_string(),
            "--upstream",
            &setting.upstream,
        ])
        .args(["--armour", "auto", "--log-format", "json", "--data-dir"])
        .arg(folder.join("data"));
    if let Some(config) = &setting.config {
        let file = folder.join("wirebound.toml");
        std::fs::write(&file, config)?;
        command.arg("--config").arg(file);
    }
    // The purest preset, unless a trial says another: there whoever gets in gets in by more than a cookie.
    let says = |text: &str| text.contains("preset");
    if !setting.config.as_deref().is_some_and(says) && !setting.arguments.iter().any(|a| says(a)) {
        command.args(["--preset", "strict"]);
    }
    let mut child = command
        .args(&setting.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", setting.program.display()))?;
    let errors = child.stderr.take().context("stderr is piped")?;
    tokio::spawn(collect(errors, Arc::clone(log)));
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let address = tokio::time::timeout(BOUND, async {
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = line.strip_prefix("wirebound: listening on https://") {
                return Ok(url.trim().trim_end_matches('/').parse::<SocketAddr>()?);
            }
        }
        let status = child.wait().await?;
        bail!("the gateway ended with {status} before it listened")
    })
    .await
    .unwrap_or_else(|_| bail!("the gateway did not say its address within {BOUND:?}"))
    .with_context(|| log.lock().unwrap().text.join("\n"))?;
    // Read on, or a full pipe would stop it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, address))
}

async fn collect(errors: impl AsyncRead + Unpin, log: Arc<Mutex<Log>>) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let event = Event::read(&line);
        let mut log = log.lock().unwrap();
        match event {
            Some(event) => log.events.push(event),
            None => log.text.push(line),
        }
    }
}

/// Counts by event name, and by `name field=value` for the fields that tell kinds apart.
#[must_use]
pub fn tally(events: &[Event]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.name.clone()).or_default() += 1;
        for field in ["by", "resumed", "http", "ending", "reason", "cause"] {
            let value = event.text(field);
            if !value.is_empty() {
                *counts
                    .entry(format!("{} {field}={value}", event.name))
                    .or_default() += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests;
