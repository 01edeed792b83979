//! Real browsers in the middle of a POST when their session ends: it arrives at the app once, and is answered.
//!
//! A browser sends a request again, a POST as well, when the connection it went over is reset before an answer's head has
//! come. The control shows that this browser does; the tests show that no ending makes it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test says by panicking what is wrong, and prints what it measured"
)]

#[path = "gateway/app.rs"]
mod app;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/process.rs"]
mod process;

use std::time::{Duration, Instant};

use serde_json::Value;
use wirebound_testkit::chromium::{self, Chromium, Http, Tab};
use wirebound_testkit::firefox::{self, Firefox};
use wirebound_testkit::line::{self, Line};

use app::App;
use client::{Client, sign_in};
use process::{Gateway, until};

/// One session of a user at a time, so that a sign-in from elsewhere evicts.
const CONFIG: &str = r#"
[vouch]
paths = ["POST /login"]
[session.max_sessions.user]
max = 1
"#;

/// Longer than a browser waits before it tries again.
const SETTLED: Duration = Duration::from_secs(2);

/// A browser with two tabs.
enum Browser {
    Chromium(Chromium, [Tab; 2]),
    Firefox(Firefox, [String; 2]),
}

impl Browser {
    async fn chromium(gateway: &Gateway, http: Http) -> Self {
        let profile = chromium::Profile::new(&gateway.ca(), http).await.unwrap();
        let browser = Chromium::start(profile).await.unwrap();
        let tabs = [browser.tab().await.unwrap(), browser.tab().await.unwrap()];
        Self::Chromium(browser, tabs)
    }

    async fn firefox(gateway: &Gateway, http: Http) -> Self {
        let hosts = ["localhost".to_owned()];
        let profile = firefox::Profile::new(&gateway.ca(), http, &hosts)
            .await
            .unwrap();
        let browser = Firefox::start(profile).await.unwrap();
        let tabs = [
            browser.window().await.unwrap(),
            browser.open_window().await.unwrap(),
        ];
        Self::Firefox(browser, tabs)
    }

    async fn navigate(&self, tab: usize, url: &str) {
        match self {
            Self::Chromium(_, tabs) => drop(tabs[tab].navigate(url).await.unwrap()),
            Self::Firefox(browser, tabs) => {
                browser.use_window(&tabs[tab]).await.unwrap();
                browser.navigate(url).await.unwrap();
            }
        }
    }

    async fn evaluate(&self, tab: usize, script: &str) -> Value {
        match self {
            Self::Chromium(_, tabs) => tabs[tab].evaluate(script).await.unwrap(),
            Self::Firefox(browser, tabs) => {
                browser.use_window(&tabs[tab]).await.unwrap();
                browser.evaluate(script).await.unwrap()
            }
        }
    }

    async fn wait_for(&self, tab: usize, script: &str) {
        let bound = process::BOUND;
        match self {
            Self::Chromium(_, tabs) => tabs[tab].wait_for(script, bound).await.unwrap(),
            Self::Firefox(browser, tabs) => {
                browser.use_window(&tabs[tab]).await.unwrap();
                browser.wait_for(script, bound).await.unwrap();
            }
        }
    }
}

/// How the session ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Signed out in the other tab.
    Logout,
    /// Somebody signs in elsewhere, and there is room for one.
    Eviction,
}

/// What the browser is in the middle of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A script's POST whose answer takes long.
    Fetch,
    /// A form's.
    Form,
    /// An upload that the app does not take.
    Upload,
}

impl Kind {
    /// Where it goes.
    fn path(self, key: &str) -> String {
        match self {
            Self::Fetch | Self::Form => format!("/hold/{key}"),
            Self::Upload => format!("/clog/{key}"),
        }
    }

    /// Begins it, and leaves what comes of it in the page.
    fn script(self, path: &str) -> String {
        let fetched = |body: &str| {
            format!(
                "(window.outcome = '', fetch('{path}', {{ method: 'POST', body: {body} }}).then(\
                 answer => window.outcome = String(answer.status), error => window.outcome = String(error)), 0)"
            )
        };
        match self {
            Self::Fetch => fetched("'x=1'"),
            Self::Upload => fetched("new Blob([new Uint8Array(24 * 1024 * 1024)])"),
            Self::Form => format!(
                "((form) => {{ form.method = 'POST'; form.action = '{path}'; document.body.append(form); \
                 setTimeout(() => form.submit(), 10); return 0; }})(document.createElement('form'))"
            ),
        }
    }

    /// What the browser was told in the end: a status, or its own words for a failure.
    async fn outcome(self, browser: &Browser, path: &str) -> String {
        let told = match self {
            Self::Fetch | Self::Upload => {
                browser.wait_for(0, "window.outcome !== ''").await;
                browser.evaluate(0, "window.outcome").await
            }
            Self::Form => {
                let there = format!(
                    "document.readyState === 'complete' && document.URL.endsWith('{path}')"
                );
                browser.wait_for(0, &there).await;
                let status = "String(performance.getEntriesByType('navigation')[0].responseStatus)";
                browser.evaluate(0, status).await
            }
        };
        told.as_str().unwrap_or_default().to_owned()
    }
}

async fn once(gateway: &Gateway, app: &App, browser: &Browser, kind: Kind, ending: Ending) {
    let base = format!("https://{}", gateway.authority());
    let key = format!("{kind:?}-{ending:?}");
    let path = kind.path(&key);
    let what = format!("{kind:?}, {ending:?}");
    for tab in [0, 1] {
        browser.navigate(tab, &format!("{base}/")).await;
    }
    let login = "fetch('/login', { method: 'POST', body: new URLSearchParams({ name: 'alice' }) })\
                 .then(answer => answer.text())";
    let me = "fetch('/me').then(answer => answer.text())";
    assert_eq!(
        browser.evaluate(1, login).await,
        "app=alice subject=alice role=user",
        "{what}"
    );
    // The connection that it goes over has served before, as a browser's mostly has.
    browser.evaluate(0, me).await;
    browser.evaluate(0, &kind.script(&path)).await;
    app.holds(&key).await;
    let since = Instant::now();
    match ending {
        Ending::Logout => {
            let out =
                "fetch('/.wirebound/logout', { method: 'POST' }).then(answer => answer.status)";
            assert_eq!(browser.evaluate(1, out).await, 204, "{what}");
        }
        Ending::Eviction => {
            let elsewhere = Client::new(gateway, client::Http::Two);
            assert_eq!(elsewhere.ask(sign_in("alice")).await.status, 303);
        }
    }
    let outcome = kind.outcome(browser, &path).await;
    eprintln!(
        "{what}: the browser was told {outcome} after {} ms",
        since.elapsed().as_millis()
    );
    assert_eq!(outcome, "401", "{what}: answered, never reset");
    if !matches!(kind, Kind::Upload) {
        app.breaks_off(&key).await;
    }
    tokio::time::sleep(SETTLED).await;
    assert_eq!(app.arrived(&key), 1, "{what}: it arrived once");
    let me = browser.evaluate(1, me).await;
    assert_eq!(me, "app=nobody subject= role=", "{what}");
}

async fn every_kind(gateway: &Gateway, app: &App, browser: &Browser) {
    for ending in [Ending::Logout, Ending::Eviction] {
        for kind in [Kind::Fetch, Kind::Form, Kind::Upload] {
            once(gateway, app, browser, kind, ending).await;
        }
    }
}

async fn in_chromium(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let browser = Browser::chromium(&gateway, http).await;
    every_kind(&gateway, &app, &browser).await;
}

async fn in_firefox(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let browser = Browser::firefox(&gateway, http).await;
    every_kind(&gateway, &app, &browser).await;
}

#[tokio::test]
async fn chromium_sends_no_post_twice_over_http_2() {
    in_chromium(Http::Two).await;
}

#[tokio::test]
async fn chromium_sends_no_post_twice_over_http_1() {
    in_chromium(Http::One).await;
}

#[tokio::test]
async fn firefox_sends_no_post_twice_over_http_2() {
    in_firefox(Http::Two).await;
}

#[tokio::test]
async fn firefox_sends_no_post_twice_over_http_1() {
    in_firefox(Http::One).await;
}

/// The control: were the connection reset instead, the browser would send its POST again.
#[tokio::test]
async fn control_a_reset_connection_makes_chromium_send_a_post_twice() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let browser = Browser::chromium(&gateway, Http::One).await;
    let line = Line::lay(gateway.address(), Duration::ZERO).await.unwrap();
    let base = format!("https://localhost:{}", line.address().port());
    browser.navigate(0, &format!("{base}/")).await;
    browser
        .evaluate(0, "fetch('/me').then(answer => answer.text())")
        .await;
    let script = Kind::Fetch.script("/hold/control");
    browser.evaluate(0, &script).await;
    app.holds("control").await;
    line.end_all(line::Ending::Rst);
    until("the second arrival", || app.arrived("control") > 1).await;
}
