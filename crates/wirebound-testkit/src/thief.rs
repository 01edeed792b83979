//! Thieves: clients that hold a copy of somebody's jar and do everything to be served as them.
//!
//! Each follows redirects, keeps the cookies it is given, and checks the server's certificate like an
//! honest client; a thief that failed for a lesser reason would prove nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use http::Uri;
use tokio::process::Command;

pub use crate::chromium::Http;
use crate::chromium::{Chromium, Profile};
use crate::jar::Jar;
use crate::nss;

pub mod raw;

use raw::{RawThief, Tickets};

/// What a thief says he is.
pub(crate) const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64)";

/// Redirects that a thief follows before it gives up.
const REDIRECTS: usize = 20;

/// What a thief got.
#[derive(Clone, Debug)]
pub struct Loot {
    /// The last answer's status.
    pub status: u16,
    /// The last address, after redirects.
    pub url: String,
    /// The last body, as text.
    pub body: String,
}

impl Loot {
    /// Whether the body tells the victim's name.
    #[must_use]
    pub fn tells(&self, name: &str) -> bool {
        self.body.contains(name)
    }
}

/// What thieves are after.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The authority that the server's certificate is of.
    pub ca: &'a Path,
    /// Where the thieves connect, whatever host the address names.
    pub server: SocketAddr,
    /// What they speak.
    pub http: Http,
    /// A page that tells whose it is.
    pub url: &'a str,
    /// How often each of them tries.
    pub tries: usize,
}

/// Every thief there is, all at once, each with the whole copy: curl, a client that keeps TLS tickets and one that drops
/// them, and `second`, another profile of a real browser.
///
/// # Errors
/// When one of them gets no answer at all.
pub async fn all(
    target: &Target<'_>,
    copy: &Jar,
    second: &Chromium,
) -> Result<Vec<(String, Loot)>> {
    let (by_curl, keeping, dropping, browsing) = tokio::try_join!(
        times(target.tries, async || {
            curl(target.ca, target.server, target.http, copy, target.url).await
        }),
        by_raw(target, copy, Tickets::Kept),
        by_raw(target, copy, Tickets::Dropped),
        async {
            second.set_cookies(copy).await?;
            times(target.tries, async || browse(second, target.url).await).await
        }
    )?;
    let crew = [
        ("curl", by_curl),
        ("raw client, tickets kept", keeping),
        ("raw client, tickets dropped", dropping),
        ("second profile", browsing),
    ];
    let named = |(who, loot): (&str, Vec<Loot>)| {
        loot.into_iter()
            .map(|l| (who.to_owned(), l))
            .collect::<Vec<_>>()
    };
    Ok(crew.into_iter().flat_map(named).collect())
}

async fn by_raw(target: &Target<'_>, copy: &Jar, tickets: Tickets) -> Result<Vec<Loot>> {
    let Target {
        ca, server, http, ..
    } = *target;
    let mut raw = RawThief::new(ca, server, http, tickets, AGENT, copy.clone())?;
    let mut loot = Vec::new();
    for _ in 0..target.tries {
        loot.push(raw.get(target.url).await?);
        raw.hang_up();
    }
    Ok(loot)
}

async fn times(tries: usize, mut ask: impl AsyncFnMut() -> Result<Loot>) -> Result<Vec<Loot>> {
    let mut loot = Vec::new();
    for _ in 0..tries {
        loot.push(ask().await?);
    }
    Ok(loot)
}

/// Asks for `url` with curl and the jar. Every name resolves to `server`'s address.
///
/// # Errors
/// When curl is missing or gets no answer at all.
pub async fn curl(ca: &Path, server: SocketAddr, http: Http, jar: &Jar, url: &str) -> Result<Loot> {
    let folder = tempfile::tempdir()?;
    let cookies = folder.path().join("jar.txt");
    let body = folder.path().join("body");
    std::fs::write(&cookies, jar.netscape())?;
    let host = host_of(url)?;
    let output = Command::new("curl")
        // No settings of the person who runs the tests.
        .arg("--disable")
        .args([
            "--silent",
            "--show-error",
            "--location",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .args(["--max-redirs", &REDIRECTS.to_string()])
        .arg(if http == Http::One {
            "--http1.1"
        } else {
            "--http2"
        })
        .arg("--cacert")
        .arg(ca)
        .args([
            "--connect-to",
            &format!("{host}::{}:{}", server.ip(), server.port()),
        ])
        .arg("--cookie")
        .arg(&cookies)
        .arg("--cookie-jar")
        .arg(&cookies)
        .arg("--output")
        .arg(&body)
        .args([
            "--write-out",
            "%{http_code} %{http_version} %{url_effective}",
            url,
        ])
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("curl cannot be started; {}", nss::SETUP))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("curl: {} {said}", String::from_utf8_lossy(&output.stderr));
    }
    let mut words = said.splitn(3, ' ');
    let status = words.next().unwrap_or_default().parse()?;
    let version = words.next().unwrap_or_default();
    if (http == Http::One) != version.starts_with('1') {
        bail!("curl spoke HTTP/{version}, where {http:?} was wanted");
    }
    let url = words.next().unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(&std::fs::read(&body).unwrap_or_default()).into_owned();
    Ok(Loot { status, url, body })
}

/// A second Chromium profile with the whole jar.
///
/// # Errors
/// When the browser does not start or refuses a cookie.
pub async fn second_browser(ca: &Path, http: Http, jar: &Jar) -> Result<Chromium> {
    let browser = Chromium::start(Profile::new(ca, http).await?).await?;
    browser.set_cookies(jar).await?;
    Ok(browser)
}

/// Loads `url` in a new tab of a thief's browser.
///
/// # Errors
/// When nothing can be loaded.
pub async fn browse(browser: &Chromium, url: &str) -> Result<Loot> {
    let tab = browser.tab().await?;
    let document = tab.navigate(url).await?;
    let body = tab.evaluate("document.documentElement.outerHTML").await?;
    tab.close().await?;
    let body = body.as_str().unwrap_or_default().to_owned();
    Ok(Loot {
        status: document.status,
        url: document.url,
        body,
    })
}

fn host_of(url: &str) -> Result<String> {
    let uri: Uri = url.parse()?;
    Ok(uri
        .host()
        .with_context(|| format!("no host in {url}"))?
        .to_owned())
}
