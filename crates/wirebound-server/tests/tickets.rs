//! Tickets with real Chromiums: restarts, a crash, copies of the jar, and pages where connections prove nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    reason = "a test says by panicking what is wrong"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wirebound_testkit::chromium::{Chromium, Http, Profile, Tab};
use wirebound_testkit::gateway::{Event, Gateway, Setting};
use wirebound_testkit::jar::{Cookie, Jar};
use wirebound_testkit::line::{Ending, Line};
use wirebound_testkit::members::Members;
use wirebound_testkit::{thief, wait};

const BOUND: Duration = Duration::from_secs(30);
const NAME: &str = "alice-of-the-tickets";

/// The gateway, the app behind it, and the line that leads to the gateway.
struct Site {
    gateway: Gateway,
    members: Members,
    line: Line,
    base: String,
}

impl Site {
    async fn start(config: &str) -> Self {
        let members = Members::start().await.unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_wirebound"));
        let mut setting = Setting::new(program, &members.url());
        let routes = "[[routes]]\npath = \"/m/sub6\"\nstrength = \"wire\"\n";
        setting.config = Some(format!("{config}\n{routes}"));
        let gateway = Gateway::start(setting).await.unwrap();
        let line = Line::lay(gateway.address(), Duration::ZERO).await.unwrap();
        let base = format!("https://localhost:{}", line.address().port());
        Self {
            gateway,
            members,
            line,
            base,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn events(&self, name: &str) -> Vec<Event> {
        let mut events = self.gateway.events();
        events.retain(|event| event.name == name);
        events
    }

    async fn browser(&self, http: Http) -> (Chromium, Tab) {
        let profile = Profile::new(&self.gateway.ca(), http).await.unwrap();
        open(profile).await
    }

    /// Signs in with a cookie that is kept, and waits for the hand-over.
    async fn sign_in(&self, browser: &Chromium, tab: &Tab) {
        tab.navigate(&self.url("/login")).await.unwrap();
        let submit = format!(
            "document.forms[0].action = '/login?keep=1'; document.forms[0].name.value = '{NAME}'; \
             document.forms[0].submit()"
        );
        tab.leave_by(&submit).await.unwrap();
        tab.wait_for(&mine(), BOUND).await.unwrap();
        self.page(tab).await;
        wait::until("the hand-over", BOUND, || async {
            let jar = browser.cookies().await?;
            let open = jar.cookies().iter().any(|it| it.name.ends_with("-h"));
            Ok((!open).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Whose page a members' page is.
    async fn page(&self, tab: &Tab) -> bool {
        tab.navigate(&self.url("/m/page")).await.unwrap();
        tab.evaluate(&mine()).await.unwrap() == true
    }

    /// What the gateway says of the session and the wire.
    async fn me(&self, tab: &Tab) -> Value {
        tab.evaluate("fetch('/.wirebound/me').then(answer => answer.json())")
            .await
            .unwrap()
    }

    /// The status of what asks for a connection that goes back to the sign-in.
    async fn admin(&self, tab: &Tab) -> u16 {
        tab.navigate(&self.url("/m/sub6")).await.unwrap().status
    }

    /// The owner's connections are over, and none comes before the next thing that the owner does.
    async fn owner_goes_away(&self) {
        self.line.end_all(Ending::Fin);
        self.line.empty(BOUND).await.unwrap();
    }
}

fn mine() -> String {
    format!("document.body && document.body.dataset.user === '{NAME}'")
}

async fn open(profile: Profile) -> (Chromium, Tab) {
    let browser = Chromium::start(profile).await.unwrap();
    let tab = browser.tab().await.unwrap();
    (browser, tab)
}

/// Our cookie, as the browser has it now.
async fn ticket(browser: &Chromium) -> String {
    let jar = browser.cookies().await.unwrap();
    let ours = |cookie: &&Cookie| cookie.name.ends_with("-wirebound");
    jar.cookies().iter().find(ours).unwrap().value.clone()
}

async fn jar(browser: &Chromium) -> Jar {
    browser.cookies().await.unwrap()
}

#[tokio::test]
async fn balanced_survives_a_restart_of_the_browser_as_a_ticket_and_no_more() {
    let site = Site::start("[session]\npreset = \"balanced\"").await;
    let (browser, tab) = site.browser(Http::Two).await;
    site.sign_in(&browser, &tab).await;
    assert_eq!(site.me(&tab).await["session"]["strength"], "wire");
    assert_eq!(site.admin(&tab).await, 200);
    let (browser, tab) = open(browser.close().await.unwrap()).await;
    assert!(site.page(&tab).await, "signed in still");
    let me = site.me(&tab).await;
    assert_eq!(me["session"]["strength"], "ticket", "{me}");
    assert_eq!(me["wire"]["stock"], "graft", "{me}");
    assert_eq!(site.admin(&tab).await, 403);
    let text = tab.text().await.unwrap();
    assert!(text.contains("sign in again"), "{text}");
    // Its hand-over and what is resumed after it is a graft as well.
    site.owner_goes_away().await;
    assert!(site.page(&tab).await);
    assert_eq!(site.me(&tab).await["session"]["strength"], "ticket");
    assert_eq!(site.admin(&tab).await, 403);
    // A sign-in to the app from within would not raise it: the page leads out first.
    tab.leave_by("document.forms[0].submit()").await.unwrap();
    site.sign_in(&browser, &tab).await;
    assert_eq!(site.admin(&tab).await, 200);
    assert_eq!(site.events("theft").len(), 0);
    browser.close().await.unwrap();
}

#[tokio::test]
async fn strict_asks_to_sign_in_after_a_restart_of_the_browser() {
    let site = Site::start("[session]\npreset = \"strict\"").await;
    let (browser, tab) = site.browser(Http::Two).await;
    site.sign_in(&browser, &tab).await;
    let (browser, tab) = open(browser.close().await.unwrap()).await;
    assert!(!site.page(&tab).await);
    assert!(tab.evaluate("location.pathname").await.unwrap() == "/login");
    site.sign_in(&browser, &tab).await;
    assert_eq!(site.me(&tab).await["session"]["strength"], "wire");
    browser.close().await.unwrap();
}

#[tokio::test]
async fn a_browser_that_is_killed_right_after_an_advance_is_signed_in_when_it_is_back_and_nobody_is_a_thief()
 {
    // Each page moves the ticket on, so that what the kill loses need not be waited for.
    let site = Site::start("[session]\npreset = \"balanced\"\nadvance = \"get\"").await;
    let (browser, tab) = site.browser(Http::Two).await;
    site.sign_in(&browser, &tab).await;
    // What is saved when a browser ends well; from then on Chromium saves every 30 seconds.
    let (browser, tab) = open(browser.close().await.unwrap()).await;
    let saved = (ticket(&browser).await, jar(&browser).await);
    for _ in 0..3 {
        assert!(site.page(&tab).await);
    }
    assert_ne!(ticket(&browser).await, saved.0);
    // Back once at once, once after the window, each time with what was saved before.
    let mut profile = browser.kill().await.unwrap();
    for pause in [Duration::ZERO, Duration::from_secs(12)] {
        wait::moment(pause).await;
        let (browser, tab) = open(profile).await;
        // On a slow machine the 30 seconds were over before the kill.
        browser.set_cookies(&saved.1).await.unwrap();
        assert_eq!(ticket(&browser).await, saved.0);
        assert!(site.page(&tab).await, "signed in, after {pause:?}");
        assert!(site.page(&tab).await);
        profile = browser.kill().await.unwrap();
    }
    assert_eq!(site.events("theft").len(), 0);
}

#[tokio::test]
async fn a_copy_gets_nothing_beside_its_owner_a_ticket_while_she_is_away_and_is_cut_when_she_is_back()
 {
    let site = Site::start("[session]\npreset = \"balanced\"").await;
    let (browser, tab) = site.browser(Http::Two).await;
    site.sign_in(&browser, &tab).await;
    let copy = jar(&browser).await;
    let ca = site.gateway.ca();
    let thief = thief::second_browser(&ca, Http::Two, &copy).await.unwrap();
    let his = thief.tab().await.unwrap();
    assert!(!site.page(&his).await, "she is connected");
    assert_eq!(site.events("contested").len(), 1);
    assert!(site.page(&tab).await);
    // Another copy: what he was given above is his own.
    thief.close().await.unwrap();
    let copy = jar(&browser).await;
    site.owner_goes_away().await;
    let thief = thief::second_browser(&ca, Http::Two, &copy).await.unwrap();
    let his = thief.tab().await.unwrap();
    assert!(site.page(&his).await, "she is away");
    let me = site.me(&his).await;
    assert_eq!(me["session"]["strength"], "ticket", "{me}");
    assert_eq!(site.admin(&his).await, 403);
    assert!(site.page(&his).await);
    // She is back: by lineage, at full strength, and he is out with his next request.
    assert!(site.page(&tab).await);
    assert_eq!(site.me(&tab).await["session"]["strength"], "wire");
    assert!(!site.page(&his).await, "cut within one request");
    let thefts = site.events("theft");
    assert_eq!(thefts.len(), 1);
    assert_eq!(thefts[0].text("ended"), "false");
    for _ in 0..3 {
        assert!(site.page(&tab).await, "she goes on");
        assert!(!site.page(&his).await);
    }
    thief.close().await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
async fn with_lineage_gone_on_both_sides_both_are_out_and_the_event_shows_both() {
    let site = Site::start("[session]\npreset = \"balanced\"\nadvance = \"get\"").await;
    let (browser, tab) = site.browser(Http::Two).await;
    site.sign_in(&browser, &tab).await;
    let copy = jar(&browser).await;
    let profile = browser.close().await.unwrap();
    let ca = site.gateway.ca();
    let thief = thief::second_browser(&ca, Http::Two, &copy).await.unwrap();
    let his = thief.tab().await.unwrap();
    for _ in 0..3 {
        assert!(site.page(&his).await, "she is away; he moves on");
    }
    let (browser, tab) = open(profile).await;
    assert!(!site.page(&tab).await, "two parties at once");
    assert!(!site.page(&his).await, "he is out as well");
    let thefts = site.events("theft");
    assert_eq!(thefts.len(), 1);
    let theft = &thefts[0];
    assert_eq!(theft.text("ended"), "true");
    for side in ["newcomer", "holder"] {
        assert!(theft.text(side).contains("127.0.0.1"), "{theft:?}");
        assert!(theft.text(side).contains("Chrome"), "{theft:?}");
    }
    assert!(!theft.text("parted_at").is_empty() && !theft.text("at").is_empty());
    thief.close().await.unwrap();
    browser.close().await.unwrap();
}

/// Tabs that are there again at once when a browser starts.
const RESTORED: usize = 5;

async fn restored_tabs(http: Http) {
    let site = Arc::new(Site::start("[session]\npreset = \"balanced\"").await);
    let (browser, tab) = site.browser(http).await;
    site.sign_in(&browser, &tab).await;
    let mut profile = browser.close().await.unwrap();
    for round in 0..3 {
        let (browser, first) = open(profile).await;
        let mut tabs = vec![first];
        for _ in 1..RESTORED {
            tabs.push(browser.tab().await.unwrap());
        }
        let mut loads = tokio::task::JoinSet::new();
        for tab in tabs {
            let url = site.url("/m/sub30");
            loads.spawn(async move {
                tab.navigate(&url).await.unwrap();
                tab.evaluate(&mine()).await.unwrap() == true
            });
        }
        let served = loads.join_all().await;
        assert_eq!(served, [true; RESTORED], "{http:?}, start {round}");
        profile = browser.close().await.unwrap();
    }
    let said = site.events("theft");
    assert_eq!(said.len(), 0, "{said:?}");
}

#[tokio::test]
async fn tabs_that_are_restored_at_once_are_one_party_over_http_2() {
    restored_tabs(Http::Two).await;
}

#[tokio::test]
async fn tabs_that_are_restored_at_once_are_one_party_over_http_1() {
    restored_tabs(Http::One).await;
}

/// Loads of pages with thirty subresources each, and what else asks meanwhile.
const LOADS: usize = 1_000;
const TABS: usize = 4;

/// One page after another in one tab; how many of its requests were refused.
async fn load(site: Arc<Site>, tab: Tab, loads: usize, number: usize) -> Vec<String> {
    let mut lost = Vec::new();
    for round in 0..loads {
        let ask = match (number + round) % 8 {
            // An export that is slow, while the page goes on.
            0 => "ask('/m/api?d=1500&slow=1')",
            // Only what is posted.
            1 | 5 => "posts(6)",
            // A long poll and a few fetches beside it.
            3 => "Promise.all([ask('/m/api?d=600&poll=1'), burst(4)]).then(finish)",
            _ => "0",
        };
        let page = if round % 2 == 0 {
            "/m/sub30"
        } else {
            "/m/page"
        };
        tab.navigate(&site.url(page)).await.unwrap();
        if tab.evaluate(&mine()).await.unwrap() != true {
            lost.push(format!("tab {number}, load {round}: {page}"));
            break;
        }
        tab.evaluate(&format!("Promise.resolve({ask}).then(() => 0)"))
            .await
            .unwrap();
        let result = tab.evaluate("result").await.unwrap();
        for kind in ["refused", "app", "broken"] {
            if result[kind].as_array().is_some_and(|it| !it.is_empty()) {
                lost.push(format!("tab {number}, load {round}, {ask}: {result}"));
            }
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_loads_without_wires_sign_nobody_out() {
    let config = "[session]\npreset = \"portable\"\nadvance_interval = \"30s\"";
    let site = Arc::new(Site::start(config).await);
    let mut lost = Vec::new();
    for http in [Http::Two, Http::One] {
        let (browser, tab) = site.browser(http).await;
        site.sign_in(&browser, &tab).await;
        let first = ticket(&browser).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..TABS {
            let (site, tab) = (Arc::clone(&site), browser.tab().await.unwrap());
            tasks.spawn(load(site, tab, LOADS / 2 / TABS, number));
        }
        while let Some(done) = tasks.join_next().await {
            lost.extend(done.unwrap());
        }
        assert_ne!(ticket(&browser).await, first, "it moved on meanwhile");
        println!("{http:?}: {} loads", LOADS / 2);
        browser.close().await.unwrap();
    }
    assert_eq!(lost, Vec::<String>::new());
    let counts = site.members.app().counts();
    assert_eq!(counts.lost(), 0, "{:?}", counts.lost);
    assert_eq!(counts.doubled(), 0);
    assert_eq!(site.events("theft").len() + site.events("fork").len(), 0);
    println!("{} requests of members", counts.member);
}
