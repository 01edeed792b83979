//! The drivers of real browsers and the thieves, against an app that nothing protects.
//!
//! What is shown here is that the kit's clients work, and that each thief *does* get in where a copied
//! cookie is enough.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

use std::time::Duration;

use serde_json::json;
use wirebound_testkit::bare::Bare;
use wirebound_testkit::chromium::{Chromium, Http, Profile};
use wirebound_testkit::firefox::{self, Firefox};
use wirebound_testkit::jar::Jar;
use wirebound_testkit::members::{COOKIE_NAME, Members};
use wirebound_testkit::thief::raw::{RawThief, Tickets};
use wirebound_testkit::thief::{self, Loot};

const BOUND: Duration = Duration::from_secs(20);
const HOST: &str = "a.w.test";

async fn front() -> (Members, Bare, String) {
    let members = Members::start().await.unwrap();
    let bare = Bare::start(members.app(), &["localhost", "*.w.test"])
        .await
        .unwrap();
    let base = format!("https://{HOST}:{}", bare.address().port());
    (members, bare, base)
}

/// Signs in by the form; the script runs in the page.
fn sign_in(name: &str) -> String {
    format!("document.forms[0].name.value = '{name}'; document.forms[0].submit()")
}

#[tokio::test]
async fn chromium_signs_in_over_both_versions_of_http_and_finds_nothing_to_complain_of() {
    for (http, protocol) in [(Http::One, "http/1.1"), (Http::Two, "h2")] {
        let (members, bare, base) = front().await;
        let browser = Chromium::start(Profile::new(&bare.ca(), http).await.unwrap())
            .await
            .unwrap();
        assert!(browser.version().await.unwrap().contains('/'));
        let tab = browser.tab().await.unwrap();

        let sent_on = tab.navigate(&format!("{base}/m/page")).await.unwrap();
        assert_eq!(
            (sent_on.status, sent_on.url),
            (200, format!("{base}/login"))
        );
        let home = tab.leave_by(&sign_in("alice")).await.unwrap();
        assert_eq!((home.status, home.url), (200, format!("{base}/")));
        assert!(tab.text().await.unwrap().contains("You are alice"));

        let answers = tab.answers();
        let statuses: Vec<u16> = answers
            .iter()
            .filter(|a| a.kind == "Document")
            .map(|a| a.status)
            .collect();
        assert_eq!(statuses, [303, 200, 303, 200]);
        assert!(
            answers.iter().all(|a| a.secure && a.protocol == protocol),
            "{answers:#?}"
        );
        let set = answers
            .iter()
            .flat_map(|a| &a.headers)
            .filter(|(name, _)| name == "set-cookie");
        assert_eq!(
            set.filter(|(_, v)| v.starts_with("sid=")).count(),
            1,
            "{answers:#?}"
        );

        let asked = tab.evaluate("ask('/m/api').then(finish)").await.unwrap();
        assert_eq!(asked["refused"], json!([]));
        let jar = browser.cookies().await.unwrap();
        assert!(jar.named(COOKIE_NAME).unwrap().http_only);
        assert_eq!(members.app().counts().lost(), 1);
        assert_eq!(members.app().counts().sign_ins, 1);

        let picture = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
        tab.screenshot(picture.path()).await.unwrap();
        assert!(
            std::fs::read(picture.path())
                .unwrap()
                .starts_with(b"\x89PNG")
        );
        browser.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_profile_outlives_a_close_and_a_kill() {
    let (_members, bare, base) = front().await;
    let mut profile = Profile::new(&bare.ca(), Http::Two).await.unwrap();
    for round in 0..2 {
        let browser = Chromium::start(profile).await.unwrap();
        let tab = browser.tab().await.unwrap();
        tab.navigate(&format!("{base}/")).await.unwrap();
        let kept = tab.evaluate("localStorage.round || ''").await.unwrap();
        assert_eq!(kept, json!(if round == 0 { "" } else { "kept" }));
        tab.evaluate("localStorage.round = 'kept'").await.unwrap();
        profile = browser.close().await.unwrap();
    }
    let browser = Chromium::start(profile).await.unwrap();
    let profile = browser.kill().await.unwrap();
    let browser = Chromium::start(profile).await.unwrap();
    let tab = browser.tab().await.unwrap();
    assert_eq!(tab.navigate(&format!("{base}/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_nobody_trusts_is_not_visited() {
    let (_members, bare, _base) = front().await;
    let stranger = Bare::start(_members.app(), &["*.w.test"]).await.unwrap();
    let browser = Chromium::start(Profile::new(&bare.ca(), Http::Two).await.unwrap())
        .await
        .unwrap();
    let tab = browser.tab().await.unwrap();
    let url = format!("https://{HOST}:{}/", stranger.address().port());
    let error = tab.navigate(&url).await.unwrap_err().to_string();
    assert!(error.contains("net::ERR_CERT_AUTHORITY_INVALID"), "{error}");
}

#[tokio::test]
async fn firefox_signs_in_over_both_versions_of_http() {
    for (http, protocol) in [(Http::One, "http/1.1"), (Http::Two, "h2")] {
        let (members, bare, base) = front().await;
        let hosts = [HOST.to_owned()];
        let profile = firefox::Profile::new(&bare.ca(), http, &hosts)
            .await
            .unwrap();
        let browser = Firefox::start(profile).await.unwrap();
        let url = browser.navigate(&format!("{base}/m/page")).await.unwrap();
        assert_eq!(url, format!("{base}/login"));
        browser
            .evaluate(&format!("setTimeout(() => {{ {} }}, 10)", sign_in("bob")))
            .await
            .unwrap();
        browser
            .wait_for("document.body.dataset.user === 'bob'", BOUND)
            .await
            .unwrap();
        let spoken = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
        assert_eq!(browser.evaluate(spoken).await.unwrap(), json!(protocol));
        let asked = browser
            .evaluate("ask('/m/api').then(finish)")
            .await
            .unwrap();
        assert_eq!(asked["done"], json!(true));
        assert!(
            browser
                .cookies()
                .await
                .unwrap()
                .named(COOKIE_NAME)
                .unwrap()
                .http_only
        );
        let other = browser.open_window().await.unwrap();
        assert_eq!(browser.windows().await.unwrap().len(), 2);
        browser.use_window(&other).await.unwrap();
        browser.close_others().await.unwrap();
        assert_eq!(browser.windows().await.unwrap(), [other]);
        assert_eq!(members.app().counts().member, 1);
        browser.quit().await.unwrap();
    }
}

#[tokio::test]
async fn every_thief_gets_in_where_a_copied_cookie_is_enough() {
    let (members, bare, base) = front().await;
    let profile = Profile::new(&bare.ca(), Http::Two).await.unwrap();
    let browser = Chromium::start(profile).await.unwrap();
    let tab = browser.tab().await.unwrap();
    tab.navigate(&format!("{base}/login")).await.unwrap();
    tab.leave_by(&sign_in("carol")).await.unwrap();
    let jar = browser.cookies().await.unwrap().of_host(HOST);
    let agent = tab.evaluate("navigator.userAgent").await.unwrap();
    let url = format!("{base}/m/page?thief=1");

    let inside = |loot: &Loot| {
        assert!(loot.status == 200 && loot.tells("carol"), "{loot:?}");
    };
    for http in [Http::One, Http::Two] {
        inside(
            &thief::curl(&bare.ca(), bare.address(), http, &jar, &url)
                .await
                .unwrap(),
        );
        for tickets in [Tickets::Kept, Tickets::Dropped] {
            let mut raw = RawThief::new(
                &bare.ca(),
                bare.address(),
                http,
                tickets,
                agent.as_str().unwrap(),
                jar.clone(),
            )
            .unwrap();
            inside(&raw.get(&url).await.unwrap());
            inside(&raw.get(&url).await.unwrap());
            raw.hang_up();
            inside(&raw.get(&url).await.unwrap());
            assert_eq!(raw.connections(), (2, u64::from(tickets == Tickets::Kept)));
        }
    }
    let second = thief::second_browser(&bare.ca(), Http::Two, &jar)
        .await
        .unwrap();
    inside(&thief::browse(&second, &url).await.unwrap());
    assert_eq!(members.app().counts().thief_served, 15);

    // Without the jar they are nobody: a program is told, a browser's likeness is led to the sign-in.
    let nothing = Jar::default();
    let loot = thief::curl(&bare.ca(), bare.address(), Http::Two, &nothing, &url)
        .await
        .unwrap();
    assert!(loot.status == 401 && !loot.tells("carol"), "{loot:?}");
    let mut raw = RawThief::new(
        &bare.ca(),
        bare.address(),
        Http::One,
        Tickets::Kept,
        "x",
        nothing,
    )
    .unwrap();
    let loot = raw.get(&url).await.unwrap();
    assert!(
        loot.url.ends_with("/login") && !loot.tells("carol"),
        "{loot:?}"
    );
}
