//! The browser under trial: both kinds behind one face, and what was seen to go wrong on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use serde_json::Value;

use super::{Browser, Plan};
use crate::chromium::{self, Answer, Chromium, Tab};
use crate::firefox::{self, Firefox};
use crate::jar::Jar;
use crate::members::MARK;
use crate::wait;

/// Statuses by which the gateway refuses.
const REFUSALS: [u16; 7] = [401, 403, 404, 421, 440, 502, 503];

/// How long a page may take to do what it does.
const BOUND: Duration = Duration::from_secs(10);

/// What the document in use says of itself.
const WHO: &str = "document.body && document.body.dataset.user || null";

/// What was seen in the browser.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Answers that the gateway made itself to refuse, by status and kind.
    pub refused: BTreeMap<String, u64>,
    /// Documents that were not the member's.
    pub strange: BTreeMap<String, u64>,
    /// What got no answer, by the browser's own words.
    pub broken: BTreeMap<String, u64>,
    /// WebSockets that were open and echoed.
    pub sockets: u64,
}

fn add(counts: &mut BTreeMap<String, u64>, what: impl Into<String>) {
    *counts.entry(what.into()).or_default() += 1;
}

enum Kind {
    Chromium { browser: Box<Chromium>, tab: Tab },
    Firefox(Box<Firefox>),
}

pub(super) struct Client {
    kind: Kind,
    base: String,
    name: String,
    signed_in: bool,
    doing: &'static str,
    seen: Seen,
}

impl Client {
    pub(super) async fn start(plan: &Plan, ca: &Path, hosts: &[String]) -> Result<Self> {
        let kind = match plan.browser {
            Browser::Chromium => {
                let profile = chromium::Profile::new(ca, plan.http).await?;
                let browser = Box::new(Chromium::start(profile).await?);
                let tab = browser.tab().await?;
                Kind::Chromium { browser, tab }
            }
            Browser::Firefox => {
                let profile = firefox::Profile::new(ca, plan.http, hosts).await?;
                Kind::Firefox(Box::new(Firefox::start(profile).await?))
            }
        };
        let (base, name) = (String::new(), String::new());
        Ok(Self {
            kind,
            base,
            name,
            signed_in: false,
            doing: "",
            seen: Seen::default(),
        })
    }

    pub(super) async fn version(&self) -> Result<String> {
        match &self.kind {
            Kind::Chromium { browser, .. } => browser.version().await,
            Kind::Firefox(firefox) => Ok(format!("Firefox/{}", firefox.version())),
        }
    }

    pub(super) async fn end(self) -> Result<()> {
        match self.kind {
            Kind::Chromium { browser, .. } => browser.close().await.map(drop),
            Kind::Firefox(firefox) => firefox.quit().await.map(drop),
        }
    }

    pub(super) fn begin(&mut self, scenario: &'static str) {
        self.doing = scenario;
    }

    /// What was seen since the last time.
    pub(super) fn finish(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// From now on the browser is somebody new at `base`.
    pub(super) fn visit(&mut self, base: &str, name: &str) {
        base.clone_into(&mut self.base);
        name.clone_into(&mut self.name);
        self.signed_in = false;
    }

    pub(super) fn is_chromium(&self) -> bool {
        matches!(self.kind, Kind::Chromium { .. })
    }

    /// Loads a page of the app, and looks whether it is the member's.
    pub(super) async fn go(&mut self, path: &str) {
        let url = format!("{}{path}", self.base);
        let loaded = match &self.kind {
            Kind::Chromium { tab, .. } => tab.navigate(&url).await.map(drop),
            Kind::Firefox(firefox) => firefox.navigate(&url).await.map(drop),
        };
        if let Err(error) = loaded {
            add(
                &mut self.seen.broken,
                format!("{}: {}", self.doing, short(&error)),
            );
            return;
        }
        self.look(path).await;
    }

    async fn look(&mut self, path: &str) {
        if !self.signed_in {
            return;
        }
        let path = path.split('?').next().unwrap_or_default();
        match self.evaluate(WHO).await {
            Ok(Value::String(name)) if name == self.name => {}
            Ok(Value::String(name)) => {
                add(
                    &mut self.seen.strange,
                    format!("{path} is the page of {name}"),
                );
            }
            // Firefox does not tell the status of what its subresources got, but a document shows.
            Ok(_) if !self.is_chromium() => add(&mut self.seen.refused, format!("page {path}")),
            Ok(_) => add(
                &mut self.seen.strange,
                format!("{path} is no page of the app"),
            ),
            Err(error) => {
                add(
                    &mut self.seen.broken,
                    format!("{}: {}", self.doing, short(&error)),
                );
            }
        }
    }

    pub(super) async fn sign_in(&mut self) -> Result<()> {
        self.go("/login").await;
        let submit = format!(
            "document.forms[0].name.value = '{}'; document.forms[0].submit()",
            self.name
        );
        self.leave(&submit).await;
        self.signed_in = true;
        let mine = format!("({WHO}) === '{}'", self.name);
        if !self.wait_for(&mine, BOUND).await {
            let at = self.evaluate("document.URL").await.unwrap_or_default();
            let at = at.as_str().unwrap_or_default().replace(&self.base, "");
            let failures = match &self.kind {
                Kind::Chromium { tab, .. } => tab.failures(),
                Kind::Firefox(_) => Vec::new(),
            };
            let what = format!("a sign-in did not succeed; at {at:?} {failures:?}");
            add(&mut self.seen.strange, what);
        }
        Ok(())
    }

    /// Runs a script that leaves the document; what comes is to be waited for.
    pub(super) async fn leave(&mut self, script: &str) {
        let later = format!("(setTimeout(() => {{ {script} }}, 10), 0)");
        if let Err(error) = self.evaluate(&later).await {
            add(
                &mut self.seen.broken,
                format!("{}: {}", self.doing, short(&error)),
            );
        }
    }

    pub(super) async fn wait_for(&self, expression: &str, bound: Duration) -> bool {
        match &self.kind {
            Kind::Chromium { tab, .. } => tab.wait_for(expression, bound).await.is_ok(),
            Kind::Firefox(firefox) => firefox.wait_for(expression, bound).await.is_ok(),
        }
    }

    /// Waits until the page in use says that it is done, and takes its result.
    pub(super) async fn done(&mut self) {
        if !self
            .wait_for("typeof result !== 'undefined' && result.done", BOUND)
            .await
        {
            add(
                &mut self.seen.broken,
                format!("{}: the page was not done in time", self.doing),
            );
        }
        let result = self
            .evaluate("typeof result === 'undefined' ? {} : result")
            .await;
        self.take(&result.unwrap_or_default());
    }

    /// Runs one of the page's own functions that ask many times at once, and takes the result.
    pub(super) async fn run(&mut self, call: &str) {
        match self.evaluate(call).await {
            Ok(result) => self.take(&result),
            Err(error) => add(
                &mut self.seen.broken,
                format!("{}: {}", self.doing, short(&error)),
            ),
        }
    }

    fn take(&mut self, result: &Value) {
        for refused in result["refused"].as_array().into_iter().flatten() {
            // Chromium's own record has the others.
            if refused == "socket" || !self.is_chromium() {
                add(&mut self.seen.refused, format!("{} {refused}", self.doing));
            }
        }
        for error in result["broken"].as_array().into_iter().flatten() {
            add(&mut self.seen.broken, format!("{}: {error}", self.doing));
        }
        self.seen.sockets += result["sockets"].as_u64().unwrap_or(0);
    }

    /// Loads pages in as many tabs at once, and closes these.
    pub(super) async fn tabs(&mut self, paths: &[String]) -> Result<()> {
        match &self.kind {
            Kind::Chromium { browser, .. } => {
                let tabs = join_all(paths.iter().map(|_| browser.tab())).await;
                let tabs = tabs.into_iter().collect::<Result<Vec<_>>>()?;
                let loads = tabs.iter().zip(paths).map(|(tab, path)| {
                    let url = format!("{}{path}", self.base);
                    async move { tab.navigate(&url).await }
                });
                for error in join_all(loads).await.into_iter().filter_map(Result::err) {
                    add(
                        &mut self.seen.broken,
                        format!("{}: {}", self.doing, short(&error)),
                    );
                }
                for tab in tabs {
                    note(&mut self.seen, &tab.answers());
                    tab.close().await?;
                }
            }
            Kind::Firefox(firefox) => {
                let list = serde_json::to_string(paths)?;
                let open = format!("({list}.forEach(p => window.open(p)), 0)");
                firefox.evaluate(&open).await?;
                let kept = firefox.window().await?;
                let windows = wait::until("the tabs to be open", BOUND, || async {
                    let windows = firefox.windows().await?;
                    Ok((windows.len() > paths.len()).then_some(windows))
                })
                .await?;
                for window in windows.iter().filter(|w| **w != kept) {
                    firefox.use_window(window).await?;
                    let mine = format!(
                        "document.readyState === 'complete' && ({WHO}) === '{}'",
                        self.name
                    );
                    if firefox.wait_for(&mine, BOUND).await.is_err() {
                        add(&mut self.seen.strange, "a tab did not become the member's");
                    }
                }
                firefox.use_window(&kept).await?;
                firefox.close_others().await?;
            }
        }
        Ok(())
    }

    /// Downloads `path` from the document in use.
    pub(super) async fn download(&mut self, path: &str) -> Result<()> {
        let before = self.files();
        let click = format!(
            "(() => {{ const a = document.createElement('a'); a.href = '{path}'; \
             document.body.append(a); a.click(); return 0; }})()"
        );
        self.evaluate(&click).await?;
        let come = wait::until("a download", BOUND, || async {
            Ok((self.files() > before).then_some(()))
        });
        if come.await.is_err() {
            add(
                &mut self.seen.broken,
                format!("{}: nothing was downloaded", self.doing),
            );
        }
        Ok(())
    }

    fn files(&self) -> usize {
        let folder = match &self.kind {
            Kind::Chromium { browser, .. } => browser.profile().downloads(),
            Kind::Firefox(firefox) => firefox.profile().downloads(),
        };
        let Ok(files) = std::fs::read_dir(folder) else {
            return 0;
        };
        let whole = |f: &std::fs::DirEntry| {
            let name = f.file_name().to_string_lossy().into_owned();
            // A file that is still written to has another ending, or is still empty.
            name.ends_with(".bin") && f.metadata().is_ok_and(|m| m.len() > 0)
        };
        files.filter_map(Result::ok).filter(whole).count()
    }

    pub(super) async fn evaluate(&self, expression: &str) -> Result<Value> {
        match &self.kind {
            Kind::Chromium { tab, .. } => tab.evaluate(expression).await,
            Kind::Firefox(firefox) => firefox.evaluate(expression).await,
        }
    }

    pub(super) async fn user_agent(&self) -> Result<String> {
        let agent = self.evaluate("navigator.userAgent").await?;
        Ok(agent.as_str().context("a user agent")?.to_owned())
    }

    /// The jar, once the hand-over's nonce is spent: a jar with a nonce is another experiment.
    pub(super) async fn jar_after_hand_over(&mut self, host: &str, bound: Duration) -> Result<Jar> {
        let is_nonce = |name: &str| name.ends_with("wirebound-h");
        let spent = wait::until("the hand-over", bound, || async {
            let jar = self.jar(host).await?;
            let open = jar.cookies().iter().any(|c| is_nonce(&c.name));
            Ok((!open).then_some(jar))
        })
        .await;
        match spent {
            Ok(jar) => Ok(jar),
            Err(_) => {
                add(&mut self.seen.strange, "a hand-over was not done in time");
                let jar = self.jar(host).await?;
                let rest = jar
                    .cookies()
                    .iter()
                    .filter(|c| !is_nonce(&c.name))
                    .cloned()
                    .collect();
                Ok(Jar::new(rest))
            }
        }
    }

    async fn jar(&self, host: &str) -> Result<Jar> {
        match &self.kind {
            Kind::Chromium { browser, .. } => Ok(browser.cookies().await?.of_host(host)),
            Kind::Firefox(firefox) => firefox.cookies().await,
        }
    }

    /// Takes down what the browser received since the last time.
    pub(super) fn settle(&mut self) {
        if let Kind::Chromium { tab, .. } = &self.kind {
            note(&mut self.seen, &tab.answers());
            tab.forget_answers();
        }
    }
}

/// Counts the answers by which the gateway refused; the app's own carry its mark. A WebSocket counts when
/// the page gave up.
fn note(seen: &mut Seen, answers: &[Answer]) {
    for answer in answers {
        let apps = answer.headers.iter().any(|(name, _)| name == MARK);
        if REFUSALS.contains(&answer.status) && !apps && answer.kind != "WebSocket" {
            let rest = answer.url.splitn(4, '/').nth(3).unwrap_or_default();
            let path = rest.split('?').next().unwrap_or_default();
            add(
                &mut seen.refused,
                format!("{} {} /{path}", answer.status, answer.kind),
            );
        }
    }
}

/// An error without the address, which is another each time.
fn short(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let text = text
        .rsplit_once("net::")
        .map_or_else(|| text.clone(), |(_, code)| format!("net::{code}"));
    let text = text.split("&u=").next().unwrap_or_default();
    text.chars().take(100).collect()
}
