//! A real Chromium with a profile of its own, driven over the DevTools protocol.
//!
//! It is started by hand, with flags that quiet its own errands and leave its networking as it is. The
//! test's authority is trusted through the profile's certificate database, never by a flag that
//! ignores certificate errors: such a flag changes how the browser treats TLS.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

pub use crate::cdp::Answer;
use crate::cdp::Cdp;
use crate::jar::{Cookie, Jar};
use crate::process::{Folder, Process};
use crate::{nss, wait};

/// How long a start, a load or an end may take.
const BOUND: Duration = Duration::from_secs(30);

/// How often a load is tried while the machine's network changes, and how long it is left alone between.
const TRIES: usize = 5;
const NETWORK: Duration = Duration::from_millis(500);

/// The binary itself: the wrapper script in `/usr/bin` adds flags of the distribution's choice.
const BINARY: &str = "/usr/lib/chromium/chromium";

const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--password-store=basic",
    "--mute-audio",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP localhost 127.0.0.1",
];

/// HTTP as a browser is made to speak it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1 only.
    One,
    /// What the browser does by itself: HTTP/2 first.
    Two,
}

/// A profile: cookies, certificate database, home. It outlives the browser that used it.
#[derive(Debug)]
pub struct Profile {
    folder: Folder,
    http: Http,
}

impl Profile {
    /// A new profile that trusts the authority in `ca`.
    ///
    /// # Errors
    /// When `certutil` is missing or refuses the file.
    pub async fn new(ca: &Path, http: Http) -> Result<Self> {
        let folder = Folder::new("wirebound-chromium-")?;
        nss::trust(&folder.path().join("home/.pki/nssdb"), ca).await?;
        Ok(Self { folder, http })
    }

    /// Where downloads go.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }
}

/// A running Chromium. Killed when dropped.
#[derive(Debug)]
pub struct Chromium {
    process: Process,
    cdp: Cdp,
    profile: Profile,
}

impl Chromium {
    /// Starts a browser on a profile.
    ///
    /// # Errors
    /// When Chromium is missing or does not come up.
    pub async fn start(profile: Profile) -> Result<Self> {
        let home = profile.folder.path().join("home");
        let program = if Path::new(BINARY).exists() {
            BINARY
        } else {
            "chromium"
        };
        let mut command = Command::new(program);
        command
            .args(FLAGS)
            .arg(format!(
                "--user-data-dir={}",
                profile.folder.path().join("profile").display()
            ))
            .env("HOME", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if profile.http == Http::One {
            command.arg("--disable-http2");
        }
        let mut child = command
            .arg("about:blank")
            .spawn()
            .with_context(|| format!("{program} cannot be started; {}", nss::SETUP))?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let process = Process(child);
        let mut lines = BufReader::new(stderr).lines();
        let url = tokio::time::timeout(BOUND, async {
            let mut said = String::new();
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return Ok(url.to_owned());
                }
                said.push_str(&line);
                said.push('\n');
            }
            bail!("Chromium ended at once:\n{said}")
        })
        .await
        .context("Chromium does not open its DevTools")??;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let cdp = Cdp::connect(&url).await?;
        let folder = profile.downloads();
        let download =
            json!({ "behavior": "allow", "downloadPath": folder, "eventsEnabled": true });
        cdp.call(None, "Browser.setDownloadBehavior", download)
            .await?;
        Ok(Self {
            process,
            cdp,
            profile,
        })
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The browser's name and version.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn version(&self) -> Result<String> {
        let told = self.cdp.call(None, "Browser.getVersion", json!({})).await?;
        Ok(told["product"].as_str().unwrap_or_default().to_owned())
    }

    /// Opens a tab.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn tab(&self) -> Result<Tab> {
        let made = self
            .cdp
            .call(None, "Target.createTarget", json!({ "url": "about:blank" }))
            .await?;
        let target = made["targetId"].as_str().context("a target id")?.to_owned();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.cdp.call(None, "Target.attachToTarget", attach).await?;
        let at = attached["sessionId"]
            .as_str()
            .context("an attachment")?
            .to_owned();
        self.cdp
            .seen(&at, |seen| seen.main_frame.clone_from(&target));
        let tab = Tab {
            cdp: self.cdp.clone(),
            target,
            at,
        };
        tab.call("Page.enable", json!({})).await?;
        tab.call("Network.enable", json!({})).await?;
        tab.call("Page.setLifecycleEventsEnabled", json!({ "enabled": true }))
            .await?;
        Ok(tab)
    }

    /// Every cookie of the profile.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn cookies(&self) -> Result<Jar> {
        let told = self.cdp.call(None, "Storage.getCookies", json!({})).await?;
        let cookies = told["cookies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Ok(Jar::new(
            cookies.iter().filter_map(Cookie::from_cdp).collect(),
        ))
    }

    /// Puts cookies into the profile.
    ///
    /// # Errors
    /// When the browser refuses one of them.
    pub async fn set_cookies(&self, jar: &Jar) -> Result<()> {
        let cookies: Vec<Value> = jar.cookies().iter().map(Cookie::to_cdp).collect();
        self.cdp
            .call(None, "Storage.setCookies", json!({ "cookies": cookies }))
            .await?;
        Ok(())
    }

    /// How many downloads were completed.
    #[must_use]
    pub fn downloads(&self) -> usize {
        self.cdp.downloads()
    }

    /// Ends the browser as its user would, and keeps the profile.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn close(mut self) -> Result<Profile> {
        // The browser may go before it has answered.
        let _gone = self.cdp.call(None, "Browser.close", json!({})).await;
        self.process.ends_within(BOUND).await?;
        Ok(self.profile)
    }

    /// Ends the browser by SIGKILL, and keeps the profile.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn kill(mut self) -> Result<Profile> {
        self.process.0.kill().await?;
        // The next start must not take this one for alive.
        for name in ["SingletonLock", "SingletonCookie", "SingletonSocket"] {
            let _absent =
                std::fs::remove_file(self.profile.folder.path().join("profile").join(name));
        }
        Ok(self.profile)
    }
}

/// A document that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its status, after redirects.
    pub status: u16,
    /// Its address, after redirects.
    pub url: String,
}

/// A tab.
#[derive(Clone, Debug)]
pub struct Tab {
    cdp: Cdp,
    target: String,
    at: String,
}

impl Tab {
    /// Loads `url` and waits for the load event of what comes of it.
    ///
    /// # Errors
    /// When the network fails (the browser's `net::ERR_...` is in the text) or the load takes too long.
    pub async fn navigate(&self, url: &str) -> Result<Document> {
        for _ in 0..TRIES {
            let before = self.cdp.seen(&self.at, |s| (s.begun.len(), s.loaded.len()));
            let told = self.call("Page.navigate", json!({ "url": url })).await?;
            match told["errorText"].as_str().unwrap_or_default() {
                "" => {
                    let loader = told["loaderId"].as_str().unwrap_or_default().to_owned();
                    return self.loaded(&loader, before, url).await;
                }
                // Some other program made or removed an interface of this machine.
                "net::ERR_NETWORK_CHANGED" => wait::moment(NETWORK).await,
                error => bail!("{url}: {error}"),
            }
        }
        bail!("{url}: the machine's network does not come to rest")
    }

    /// Runs `script`, which makes the tab leave its document, and waits for the next one.
    ///
    /// # Errors
    /// As [`Self::navigate`].
    pub async fn leave_by(&self, script: &str) -> Result<Document> {
        let before = self.cdp.seen(&self.at, |s| (s.begun.len(), s.loaded.len()));
        // Later than now, or the document would be gone before it could answer.
        self.evaluate(&format!("setTimeout(() => {{ {script} }}, 10); 0"))
            .await?;
        self.loaded("", before, script).await
    }

    async fn loaded(&self, loader: &str, before: (usize, usize), what: &str) -> Result<Document> {
        let done = wait::until(&format!("the load of {what}"), BOUND, || async {
            Ok(self.cdp.seen(&self.at, |s| {
                let begun = s.begun.get(before.0..).unwrap_or_default();
                let loaded = s.loaded.get(before.1..).unwrap_or_default();
                loaded
                    .iter()
                    .rev()
                    .find(|l| *l == loader || begun.contains(l))
                    .cloned()
            }))
        })
        .await?;
        let status = self
            .cdp
            .seen(&self.at, |s| s.documents.get(&done).copied().unwrap_or(0));
        let url = self.evaluate("document.URL").await?;
        Ok(Document {
            status,
            url: url.as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Evaluates an expression and waits for its promise, if it is one.
    ///
    /// # Errors
    /// When it throws, or the document goes away meanwhile.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true,
        });
        let mut told = self.call("Runtime.evaluate", params).await?;
        if told["exceptionDetails"].is_object() {
            bail!("{expression}: {}", told["exceptionDetails"]);
        }
        Ok(told["result"]["value"].take())
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

    /// The text of the document.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub async fn text(&self) -> Result<String> {
        let text = self.evaluate("document.documentElement.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Every answer that this tab received, with the header fields of the network.
    #[must_use]
    pub fn answers(&self) -> Vec<Answer> {
        self.cdp.seen(&self.at, |seen| seen.told())
    }

    /// Loads that failed without an answer: the browser's own error texts.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.cdp.seen(&self.at, |s| {
            s.failures.iter().map(|(_, text)| text.clone()).collect()
        })
    }

    /// Forgets the answers and failures so far.
    pub fn forget_answers(&self) {
        self.cdp.seen(&self.at, |seen| {
            let main_frame = std::mem::take(&mut seen.main_frame);
            *seen = crate::cdp::Seen {
                main_frame,
                ..Default::default()
            };
        });
    }

    /// Writes what the tab shows as a PNG file.
    ///
    /// # Errors
    /// When the tab has ended or the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let told = self
            .call("Page.captureScreenshot", json!({ "format": "png" }))
            .await?;
        let text = told["data"].as_str().context("a picture")?;
        std::fs::write(file, data_encoding::BASE64.decode(text.as_bytes())?)?;
        Ok(())
    }

    /// Closes the tab.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn close(self) -> Result<()> {
        self.cdp
            .call(
                None,
                "Target.closeTarget",
                json!({ "targetId": self.target }),
            )
            .await?;
        self.cdp.forget(&self.at);
        Ok(())
    }

    /// Sends any command of the protocol to the tab.
    ///
    /// # Errors
    /// When the browser refuses it.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.cdp.call(Some(&self.at), method, params).await
    }
}
