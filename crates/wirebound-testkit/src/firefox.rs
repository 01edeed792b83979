//! A real Firefox ESR, headless, with a profile of its own, driven over Marionette.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

pub use crate::chromium::Http;
use crate::jar::{Cookie, Jar};
use crate::marionette::Marionette;
use crate::process::{Folder, Process};
use crate::{nss, wait};

/// How long a start or an end may take.
const BOUND: Duration = Duration::from_secs(60);

const PREFERENCES: [(&str, &str); 18] = [
    ("app.update.enabled", "false"),
    ("app.normandy.enabled", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.download.folderList", "2"),
    (
        "browser.download.always_ask_before_handling_new_types",
        "false",
    ),
    ("browser.safebrowsing.malware.enabled", "false"),
    ("browser.safebrowsing.phishing.enabled", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("dom.disable_open_during_load", "false"),
    ("extensions.getAddons.cache.enabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("network.trr.mode", "5"),
    ("security.OCSP.enabled", "0"),
    ("services.settings.server", "\"data:,\""),
    ("toolkit.telemetry.enabled", "false"),
];

/// A profile. It outlives the browser that used it.
#[derive(Debug)]
pub struct Profile {
    folder: Folder,
    http: Http,
    hosts: Vec<String>,
    preferences: Vec<(String, String)>,
}

impl Profile {
    /// A new profile that trusts the authority in `ca` and finds `hosts` on loopback (Firefox takes
    /// no pattern, so every name must be listed).
    ///
    /// # Errors
    /// When `certutil` is missing or refuses the file.
    pub async fn new(ca: &Path, http: Http, hosts: &[String]) -> Result<Self> {
        let folder = Folder::new("wirebound-firefox-")?;
        nss::trust(&folder.path().join("profile"), ca).await?;
        Ok(Self {
            folder,
            http,
            hosts: hosts.to_vec(),
            preferences: Vec::new(),
        })
    }

    /// The same profile with one more preference, its value written as in JavaScript.
    #[must_use]
    pub fn prefer(mut self, name: &str, value: &str) -> Self {
        self.preferences.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where downloads go.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    fn write_preferences(&self, port: u16) -> Result<()> {
        let mut text = String::new();
        let mut put = |name: &str, value: &str| writeln!(text, "user_pref(\"{name}\", {value});");
        for (name, value) in PREFERENCES {
            put(name, value)?;
        }
        for (name, value) in &self.preferences {
            put(name, value)?;
        }
        put("marionette.port", &port.to_string())?;
        put(
            "network.dns.localDomains",
            &json!(self.hosts.join(",")).to_string(),
        )?;
        put(
            "network.http.http2.enabled",
            &(self.http == Http::Two).to_string(),
        )?;
        put("browser.download.dir", &json!(self.downloads()).to_string())?;
        std::fs::create_dir_all(self.downloads())?;
        std::fs::write(self.folder.path().join("profile/user.js"), text)?;
        Ok(())
    }
}

/// A running Firefox with one window in use. Killed when dropped.
#[derive(Debug)]
pub struct Firefox {
    process: Process,
    remote: Marionette,
    profile: Profile,
    version: String,
}

impl Firefox {
    /// Starts a browser on a profile.
    ///
    /// # Errors
    /// When Firefox ESR is missing or does not come up.
    pub async fn start(profile: Profile) -> Result<Self> {
        let port = free_port()?;
        profile.write_preferences(port)?;
        let child = Command::new("firefox-esr")
            .args(["--marionette", "--headless", "--no-remote", "--profile"])
            .arg(profile.folder.path().join("profile"))
            .arg("about:blank")
            .env("MOZ_HEADLESS", "1")
            .env("HOME", profile.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("firefox-esr cannot be started; {}", nss::SETUP))?;
        let mut process = Process(child);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let start = std::time::Instant::now();
        let remote = loop {
            match Marionette::connect(address).await {
                Ok(remote) => break remote,
                Err(error) if start.elapsed() > BOUND => return Err(error).context("Marionette"),
                Err(_) => wait::moment(Duration::from_millis(100)).await,
            }
            if let Some(status) = process.0.try_wait()? {
                bail!("Firefox ended at once with {status}");
            }
        };
        let wishes = json!({ "capabilities": { "alwaysMatch": { "pageLoadStrategy": "normal" } } });
        let told = remote.call("WebDriver:NewSession", wishes).await?;
        let version = told["capabilities"]["browserVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let bounds = json!({ "pageLoad": 15_000, "script": 15_000 });
        remote.call("WebDriver:SetTimeouts", bounds).await?;
        Ok(Self {
            process,
            remote,
            profile,
            version,
        })
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The browser's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Loads `url` in the window in use and gives the address that came of it.
    ///
    /// # Errors
    /// When the network fails (Firefox's error page is named) or the load takes too long.
    pub async fn navigate(&self, url: &str) -> Result<String> {
        self.remote
            .call("WebDriver:Navigate", json!({ "url": url }))
            .await?;
        self.value("WebDriver:GetCurrentURL").await
    }

    /// Clicks what a CSS selector finds first, as a person would; no script of the page is needed for it.
    ///
    /// # Errors
    /// When there is nothing to click.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let query = json!({ "using": "css selector", "value": selector });
        let found = self.remote.call("WebDriver:FindElement", query).await?;
        let named = found["value"]
            .as_object()
            .and_then(|names| names.values().next());
        let id = named.and_then(Value::as_str).context("an element")?;
        let click = json!({ "id": id });
        self.remote
            .call("WebDriver:ElementClick", click)
            .await
            .map(drop)
    }

    /// The title of the document in use.
    ///
    /// # Errors
    /// When the window was closed.
    pub async fn title(&self) -> Result<String> {
        self.value("WebDriver:GetTitle").await
    }

    /// The address of the document in use.
    ///
    /// # Errors
    /// When the window was closed.
    pub async fn url(&self) -> Result<String> {
        self.value("WebDriver:GetCurrentURL").await
    }

    /// Goes back in the window's history.
    ///
    /// # Errors
    /// When the load takes too long.
    pub async fn back(&self) -> Result<()> {
        self.remote
            .call("WebDriver:Back", json!({}))
            .await
            .map(drop)
    }

    /// Goes forward in the window's history.
    ///
    /// # Errors
    /// When the load takes too long.
    pub async fn forward(&self) -> Result<()> {
        self.remote
            .call("WebDriver:Forward", json!({}))
            .await
            .map(drop)
    }

    /// Evaluates an expression and waits for its promise, if it is one.
    ///
    /// # Errors
    /// When it throws, or the document goes away meanwhile.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];\
             (async () => ({expression}))().then(v => done([v]), e => done(String(e)));"
        );
        // In the page's own world: a fetch by the sandbox would not be the page's.
        let params = json!({ "script": script, "args": [], "sandbox": null });
        let mut told = self
            .remote
            .call("WebDriver:ExecuteAsyncScript", params)
            .await?;
        match told["value"].take() {
            Value::Array(mut values) => Ok(values.pop().unwrap_or_default()),
            other => bail!("{expression}: {other}"),
        }
    }

    /// Waits until an expression is true. A document that is just being replaced counts as false.
    ///
    /// # Errors
    /// When it stays false for `bound`.
    pub async fn wait_for(&self, expression: &str, bound: Duration) -> Result<()> {
        wait::until(expression, bound, || async {
            let value = self.evaluate(expression).await.unwrap_or_default();
            Ok((value == Value::Bool(true)).then_some(()))
        })
        .await
    }

    /// The cookies that the document in use would send.
    ///
    /// # Errors
    /// When there is no document.
    pub async fn cookies(&self) -> Result<Jar> {
        let told = self.remote.call("WebDriver:GetCookies", json!({})).await?;
        let cookies = told.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Jar::new(
            cookies.iter().filter_map(Cookie::from_marionette).collect(),
        ))
    }

    /// Throws away the cookies that the document in use would send.
    ///
    /// # Errors
    /// When there is no document.
    pub async fn forget_cookies(&self) -> Result<()> {
        let none = json!({});
        self.remote
            .call("WebDriver:DeleteAllCookies", none)
            .await
            .map(drop)
    }

    /// The handles of all windows and tabs.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn windows(&self) -> Result<Vec<String>> {
        let told = self
            .remote
            .call("WebDriver:GetWindowHandles", json!({}))
            .await?;
        let handles = told.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(handles
            .iter()
            .filter_map(|h| h.as_str().map(str::to_owned))
            .collect())
    }

    /// The window in use.
    ///
    /// # Errors
    /// When it was closed.
    pub async fn window(&self) -> Result<String> {
        self.value("WebDriver:GetWindowHandle").await
    }

    /// Opens a tab and gives its handle; the window in use stays the same.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn open_window(&self) -> Result<String> {
        let told = self
            .remote
            .call("WebDriver:NewWindow", json!({ "type": "tab" }))
            .await?;
        Ok(told["handle"]
            .as_str()
            .context("a window's handle")?
            .to_owned())
    }

    /// Uses another window.
    ///
    /// # Errors
    /// When there is none of this handle.
    pub async fn use_window(&self, handle: &str) -> Result<()> {
        let params = json!({ "handle": handle, "focus": false });
        self.remote
            .call("WebDriver:SwitchToWindow", params)
            .await
            .map(drop)
    }

    /// Closes every window but the one in use.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn close_others(&self) -> Result<()> {
        let kept = self.window().await?;
        for other in self.windows().await? {
            if other != kept {
                self.use_window(&other).await?;
                self.remote.call("WebDriver:CloseWindow", json!({})).await?;
            }
        }
        self.use_window(&kept).await
    }

    /// Ends the browser as its user would, and keeps the profile.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn quit(mut self) -> Result<Profile> {
        let params = json!({ "flags": ["eForceQuit"] });
        self.remote.call("Marionette:Quit", params).await?;
        self.process.ends_within(BOUND).await?;
        Ok(self.profile)
    }

    async fn value(&self, command: &str) -> Result<String> {
        let told = self.remote.call(command, json!({})).await?;
        Ok(told["value"].as_str().unwrap_or_default().to_owned())
    }
}

/// A loopback port that was free a moment ago, for a program that cannot choose one itself.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
