//! A real app where people can reach it: the gateway (or nothing but TLS) before it, a line that can be cut before that, a
//! provider of identities beside it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::{App, Kind};
use crate::authority::Authority;
use crate::bare::Bare;
use crate::gateway::{Event, Setting};
use crate::line::Line;
use crate::provider::Provider;
use crate::trial::front::{Front, NAMES, Protected};

/// The app's host; the provider and the mailbox are on other sites.
pub const HOST: &str = "app.w.test";

/// Where a line leads before there is a front: its address must be known first.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// How many lines of each log a failing test shows.
const TOLD: usize = 30;

/// What the gateway is told beside `--armour auto`: where a form from elsewhere may be posted.
const CONFIG: &str = "[arrival]\ncross_site_post = [\"/saml/acs\"]\n";

/// An app and all around it. Everything ends when it is dropped.
pub struct Site {
    /// The app itself.
    pub app: App,
    /// Where it sends people to sign in.
    pub provider: Provider,
    /// The line before the front, which clients meet.
    pub line: Line,
    front: Front,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

impl Site {
    /// The app with the gateway before it: `--armour auto`, and the one path of SAML-style answers named.
    ///
    /// # Errors
    /// When a part is missing or does not start.
    pub async fn behind_the_gateway(program: &Path, kind: Kind) -> Result<Self> {
        let line = Line::lay(NOWHERE, Duration::ZERO).await?;
        let (authority, provider, app) = around(kind, "").await?;
        let mut setting = Setting::new(program, &app.url());
        setting.config = Some(CONFIG.to_owned());
        let protected = Protected::under(authority, setting).await?;
        Ok(Self::with(
            app,
            provider,
            line,
            Front::Gateway(Box::new(protected)),
        ))
    }

    /// The app with nothing before it but TLS: the control.
    ///
    /// # Errors
    /// As [`Self::behind_the_gateway`].
    pub async fn bare(kind: Kind) -> Result<Self> {
        let line = Line::lay(NOWHERE, Duration::ZERO).await?;
        let (authority, provider, app) = around(kind, &base(&line)).await?;
        let bare = Bare::before(app.address(), authority, &NAMES).await?;
        Ok(Self::with(app, provider, line, Front::Bare(Box::new(bare))))
    }

    fn with(app: App, provider: Provider, line: Line, front: Front) -> Self {
        line.lead_to(front.address());
        Self {
            app,
            provider,
            line,
            front,
        }
    }

    /// Where people find the app.
    #[must_use]
    pub fn base(&self) -> String {
        base(&self.line)
    }

    /// The authority of every certificate here.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.front.ca()
    }

    /// Where the front itself listens, past the line.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.front.address()
    }

    /// The gateway's events so far; none for the control.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.front.events()
    }

    /// Stops the gateway in order and gives its data folder, for what is left in the store.
    ///
    /// # Errors
    /// When it does not end in time or ends with a failure.
    pub async fn stop_the_gateway(&mut self) -> Result<PathBuf> {
        self.front.stop().await?;
        Ok(self.front.data())
    }

    /// Starts the gateway again, on the same data folder.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_the_gateway_again(&mut self) -> Result<()> {
        self.front.start_again().await?;
        self.line.lead_to(self.front.address());
        Ok(())
    }

    /// The last of everything that was told, for a failing test's message.
    #[must_use]
    pub fn told(&self) -> String {
        let log = self.front.log_text();
        let (events, errors): (Vec<String>, Vec<String>) = log
            .lines()
            .map(str::to_owned)
            .partition(|line| line.contains("\"event\":"));
        let printed = self.app.said();
        let printed: Vec<String> = printed.lines().map(str::to_owned).collect();
        format!(
            "the gateway:\n{}\n{}\nthe app:\n{}\nits server:\n{}",
            last(&errors),
            last(&events),
            last(&self.app.log()),
            last(&printed)
        )
    }
}

fn last(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(TOLD)..].join("\n")
}

fn base(line: &Line) -> String {
    format!("https://{HOST}:{}", line.address().port())
}

async fn around(kind: Kind, trusted: &str) -> Result<(Authority, Provider, App)> {
    let authority = Authority::new()?;
    let provider = Provider::start(&authority).await?;
    let app = App::start(kind, &provider, trusted).await?;
    Ok((authority, provider, app))
}
