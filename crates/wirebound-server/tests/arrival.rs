//! Arrivals in real browsers: links, sign-ins and forms of another site, behind the gateway's `Strict` cookie.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test says by panicking what is wrong, and prints what it saw"
)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use wirebound_testkit::chromium::{self, Chromium, Http, Tab};
use wirebound_testkit::firefox::{self, Firefox};
use wirebound_testkit::gateway::{Gateway, Setting};
use wirebound_testkit::wait;

const BOUND: Duration = Duration::from_secs(20);

const CONFIG: &str = "[arrival]\ncross_site_post = [\"/saml/acs\"]\n";

/// What a form from elsewhere carries: what HTML, forms and addresses each write in their own way.
const VALUE: &str = "PD94+/= <b>\"'&amp;\u{fc}\r\nline";

/// One request that reached the app.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Arrived {
    what: String,
    /// Whether it came with the app's session.
    signed_in: bool,
    site: String,
    referer: String,
    body: String,
}

#[derive(Default)]
struct Log(Mutex<Vec<Arrived>>);

impl Log {
    fn all(&self, path: &str) -> Vec<Arrived> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|one| one.what.contains(path))
            .cloned()
            .collect()
    }

    fn note(&self, method: &str, uri: &Uri, headers: &HeaderMap, body: &str) -> bool {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let signed_in = headers
            .get_all(COOKIE)
            .iter()
            .any(|line| line.to_str().unwrap().contains("sid=alice"));
        self.0.lock().unwrap().push(Arrived {
            what: format!("{method} {uri}"),
            signed_in,
            site: text("sec-fetch-site"),
            referer: text("referer"),
            body: body.to_owned(),
        });
        signed_in
    }
}

fn page(title: &str) -> Html<String> {
    Html(format!("<!doctype html><title>{title}</title>{title}"))
}

/// A page that is asked for anew whenever somebody comes back to it.
async fn visit(State(log): State<Arc<Log>>, uri: Uri, headers: HeaderMap) -> Response {
    let signed_in = log.note("GET", &uri, &headers, "");
    let fresh = [(http::header::CACHE_CONTROL, "no-store")];
    (fresh, page(if signed_in { "IN" } else { "OUT" })).into_response()
}

async fn take(
    State(log): State<Arc<Log>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Html<String> {
    let signed_in = log.note("POST", &uri, &headers, &body);
    page(if signed_in { "TAKEN" } else { "LOST" })
}

async fn sign_in() -> Response {
    let mut response = Redirect::to("/home").into_response();
    let cookie = HeaderValue::from_static("sid=alice; Path=/; HttpOnly");
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// The app: it knows nothing of gateways.
fn app(log: Arc<Log>) -> Router {
    Router::new()
        .route(
            "/login",
            get(|| async {
                Html("<!doctype html><title>LOGIN</title><form method=post><button>in</button></form>")
            })
            .post(sign_in),
        )
        .route("/", get(|| async { page("FRONT") }))
        .route("/home", get(visit))
        .route("/page", get(visit))
        .route("/callback", get(visit))
        .route("/saml/acs", post(take))
        .route("/pay", post(take))
        .with_state(log)
}

#[derive(serde::Deserialize)]
struct To {
    to: String,
}

/// Another site: a link, a form that sends itself, and an identity provider that answers its own form with a redirect.
fn elsewhere() -> Router {
    let link = |target: &'static str| {
        get(move |Query(To { to }): Query<To>| async move {
            Html(format!(
                "<!doctype html><title>ELSEWHERE</title><a id=a {target} href=\"{to}\">go</a>"
            ))
        })
    };
    Router::new()
        .route("/link", link(""))
        .route("/new-tab", link("target=_blank rel=noopener"))
        .route(
            "/form",
            get(|Query(To { to }): Query<To>| async move {
                let value = VALUE
                    .replace('&', "&amp;")
                    .replace('"', "&quot;")
                    .replace('<', "&lt;")
                    .replace("\r\n", "&#13;&#10;");
                Html(format!(
                    "<!doctype html><meta charset=utf-8><title>ELSEWHERE</title><form method=post action=\"{to}\">\
                     <input type=hidden name=SAMLResponse value=\"{value}\"><input type=hidden name=submit value=1>\
                     </form><script>HTMLFormElement.prototype.submit.call(document.forms[0])</script>"
                ))
            }),
        )
        .route(
            "/idp",
            get(|| async {
                Html("<!doctype html><title>IDP</title><form method=post><button id=a>sign in</button></form>")
            })
            .post(|Query(To { to }): Query<To>| async move {
                let to = HeaderValue::from_str(&to).unwrap();
                (StatusCode::FOUND, [(LOCATION, to)])
            }),
        )
}

async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

struct Site {
    log: Arc<Log>,
    gateway: Gateway,
    home: String,
    elsewhere: String,
}

impl Site {
    async fn start() -> Self {
        let log = Arc::new(Log::default());
        let app = serve(app(Arc::clone(&log))).await;
        let program = Path::new(env!("CARGO_BIN_EXE_wirebound"));
        let mut setting = Setting::new(program, &format!("http://127.0.0.1:{app}"));
        setting.config = Some(CONFIG.to_owned());
        let gateway = Gateway::start(setting).await.unwrap();
        let home = format!("https://localhost:{}", gateway.address().port());
        let elsewhere = format!("http://elsewhere.test:{}", serve(elsewhere()).await);
        Self {
            log,
            gateway,
            home,
            elsewhere,
        }
    }

    /// An address of the other site that leads to one of ours.
    fn leading_to(&self, how: &str, to: &str) -> String {
        let to: String = format!("{}{to}", self.home)
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        format!("{}/{how}?to={to}", self.elsewhere)
    }

    /// All that reached the app at a path, once there is this many of it.
    async fn arrived(&self, path: &str, count: usize) -> Vec<Arrived> {
        wait::until(&format!("{count} requests for {path}"), BOUND, || async {
            Ok((self.log.all(path).len() >= count).then_some(()))
        })
        .await
        .unwrap_or_else(|error| panic!("{error:#}: {:#?}", self.log.all("")));
        self.log.all(path)
    }
}

enum Browser {
    Chromium(Tab),
    Firefox(Box<Firefox>),
}

impl Browser {
    async fn open(&self, url: &str) {
        match self {
            Self::Chromium(tab) => drop(tab.navigate(url).await.unwrap()),
            Self::Firefox(firefox) => drop(firefox.navigate(url).await.unwrap()),
        }
    }

    async fn click(&self, selector: &str) {
        match self {
            Self::Chromium(tab) => {
                // The document may be gone before it can answer; what it led to is looked for.
                let click = format!("document.querySelector('{selector}').click()");
                let _gone = tab.evaluate(&click).await;
            }
            Self::Firefox(firefox) => firefox.click(selector).await.unwrap(),
        }
    }

    async fn title(&self) -> String {
        match self {
            Self::Chromium(tab) => {
                let title = tab.evaluate("document.title").await.unwrap_or_default();
                title.as_str().unwrap_or_default().to_owned()
            }
            Self::Firefox(firefox) => firefox.title().await.unwrap_or_default(),
        }
    }

    async fn url(&self) -> String {
        match self {
            Self::Chromium(tab) => {
                let url = tab.evaluate("document.URL").await.unwrap();
                url.as_str().unwrap().to_owned()
            }
            Self::Firefox(firefox) => firefox.url().await.unwrap(),
        }
    }

    async fn shows(&self, title: &str) {
        let shown = wait::until(title, BOUND, || async {
            Ok((self.title().await == title).then_some(()))
        });
        if let Err(error) = shown.await {
            panic!("{error:#}: {} at {}", self.title().await, self.url().await);
        }
    }

    async fn back(&self) {
        match self {
            Self::Chromium(tab) => drop(
                tab.evaluate("setTimeout(() => history.back(), 10); 0")
                    .await
                    .unwrap(),
            ),
            Self::Firefox(firefox) => firefox.back().await.unwrap(),
        }
    }

    async fn forward(&self) {
        match self {
            Self::Chromium(tab) => drop(
                tab.evaluate("setTimeout(() => history.forward(), 10); 0")
                    .await
                    .unwrap(),
            ),
            Self::Firefox(firefox) => firefox.forward().await.unwrap(),
        }
    }
}

async fn walk(browser: &Browser, site: &Site) {
    browser.open(&format!("{}/login", site.home)).await;
    browser.click("button").await;
    browser.shows("IN").await;

    link_with_a_fragment(browser, site).await;
    back_and_forward(browser, site).await;
    new_tab(browser, site).await;
    sign_in_elsewhere(browser, site).await;
    form_leading_to(browser, site).await;
    forged_form(browser, site).await;
    own_pages(browser, site).await;
    for event in site.gateway.events() {
        assert!(
            !["theft", "contested", "not_proven"].contains(&event.name.as_str()),
            "{event:?}"
        );
    }
    assert!(!site.gateway.log_text().contains("SAMLResponse"));
}

async fn link_with_a_fragment(browser: &Browser, site: &Site) {
    browser
        .open(&site.leading_to("link", "/page?q=1#part"))
        .await;
    browser.click("#a").await;
    browser.shows("IN").await;
    assert_eq!(browser.url().await, format!("{}/page?q=1#part", site.home));
    let arrived = site.arrived("/page?q=1", 1).await;
    eprintln!("a link: {arrived:?}");
    assert!(arrived.len() == 1 && arrived[0].signed_in, "{arrived:#?}");
    // What is asked again is still from elsewhere for the app, and our page is nobody's referrer.
    assert_eq!(
        (&*arrived[0].site, &*arrived[0].referer),
        ("cross-site", "")
    );
}

async fn back_and_forward(browser: &Browser, site: &Site) {
    browser.back().await;
    browser.shows("ELSEWHERE").await;
    browser.forward().await;
    browser.shows("IN").await;
    let arrived = site.log.all("/page?q=1");
    eprintln!("back and forward: {} requests, {arrived:?}", arrived.len());
    assert!(arrived.iter().all(|one| one.signed_in), "{arrived:#?}");
}

async fn new_tab(browser: &Browser, site: &Site) {
    browser
        .open(&site.leading_to("new-tab", "/page?q=2#part"))
        .await;
    browser.click("#a").await;
    let arrived = site.arrived("/page?q=2", 1).await;
    assert!(arrived.len() == 1 && arrived[0].signed_in, "{arrived:#?}");
}

async fn sign_in_elsewhere(browser: &Browser, site: &Site) {
    browser
        .open(&site.leading_to("idp", "/callback?code=once&state=x"))
        .await;
    browser.click("#a").await;
    browser.shows("IN").await;
    let arrived = site.arrived("/callback", 1).await;
    eprintln!("a sign-in elsewhere: {arrived:?}");
    assert!(arrived.len() == 1 && arrived[0].signed_in, "{arrived:#?}");
}

async fn form_leading_to(browser: &Browser, site: &Site) {
    browser
        .open(&site.leading_to("form", "/saml/acs?tenant=1"))
        .await;
    browser.shows("TAKEN").await;
    let arrived = site.arrived("/saml/acs", 1).await;
    eprintln!("a form from elsewhere: {arrived:?}");
    assert!(arrived.len() == 1 && arrived[0].signed_in, "{arrived:#?}");
    assert_eq!(arrived[0].what, "POST /saml/acs?tenant=1");
    let expected = "SAMLResponse=PD94%2B%2F%3D+%3Cb%3E%22%27%26amp%3B%C3%BC%0D%0Aline&submit=1";
    assert_eq!(arrived[0].body, expected);
    assert_eq!(arrived[0].site, "same-origin");
}

async fn forged_form(browser: &Browser, site: &Site) {
    browser.open(&site.leading_to("form", "/pay")).await;
    let refused = "This request came from another site. Open the page itself and try again.";
    browser.shows(refused).await;
    assert_eq!(site.log.all("/pay"), []);
}

/// The page that lists one's sessions: its forms pass its own policy and the check of where they come from.
async fn own_pages(browser: &Browser, site: &Site) {
    let page = format!("{}/.wirebound/sessions", site.home);
    browser.open(&page).await;
    browser.shows("Where you are signed in").await;
    browser.click("form[action$=end-all] button").await;
    browser.shows("FRONT").await;
    browser.open(&format!("{}/home", site.home)).await;
    browser.shows("OUT").await;
    browser.open(&page).await;
    browser.shows("Please sign in.").await;
}

async fn in_chromium(http: Http) {
    let site = Site::start().await;
    let profile = chromium::Profile::new(&site.gateway.ca(), http)
        .await
        .unwrap();
    let chromium = Chromium::start(profile).await.unwrap();
    let tab = chromium.tab().await.unwrap();
    walk(&Browser::Chromium(tab.clone()), &site).await;
    without_scripts(&tab, &site).await;
    drop(chromium.close().await.unwrap());
}

async fn without_scripts(tab: &Tab, site: &Site) {
    let browser = Browser::Chromium(tab.clone());
    browser.open(&format!("{}/login", site.home)).await;
    browser.click("button").await;
    browser.shows("IN").await;
    let off = serde_json::json!({ "value": true });
    tab.call("Emulation.setScriptExecutionDisabled", off)
        .await
        .unwrap();
    stays_and_leads_on(&browser, site).await;
}

async fn stays_and_leads_on(browser: &Browser, site: &Site) {
    browser.open(&site.leading_to("link", "/page?q=3")).await;
    browser.click("#a").await;
    browser.shows("One moment").await;
    assert_eq!(site.log.all("/page?q=3"), []);
    browser.click("a").await;
    browser.shows("IN").await;
    let arrived = site.arrived("/page?q=3", 1).await;
    assert!(arrived.len() == 1 && arrived[0].signed_in, "{arrived:#?}");
}

async fn in_firefox(http: Http) {
    let site = Site::start().await;
    let firefox = Firefox::start(profile(&site, http).await).await.unwrap();
    let browser = Browser::Firefox(Box::new(firefox));
    walk(&browser, &site).await;
}

async fn profile(site: &Site, http: Http) -> firefox::Profile {
    let hosts = ["elsewhere.test".to_owned()];
    firefox::Profile::new(&site.gateway.ca(), http, &hosts)
        .await
        .unwrap()
}

#[tokio::test]
async fn links_and_forms_from_elsewhere_arrive_signed_in_in_chromium_over_http_2() {
    in_chromium(Http::Two).await;
}

#[tokio::test]
async fn links_and_forms_from_elsewhere_arrive_signed_in_in_chromium_over_http_1() {
    in_chromium(Http::One).await;
}

#[tokio::test]
async fn links_and_forms_from_elsewhere_arrive_signed_in_in_firefox_over_http_2() {
    in_firefox(Http::Two).await;
}

#[tokio::test]
async fn links_and_forms_from_elsewhere_arrive_signed_in_in_firefox_over_http_1() {
    in_firefox(Http::One).await;
}

#[tokio::test]
async fn a_browser_that_keeps_no_cookies_is_not_sent_round_and_round() {
    let site = Site::start().await;
    let profile = profile(&site, Http::Two)
        .await
        .prefer("network.cookie.cookieBehavior", "2");
    let browser = Browser::Firefox(Box::new(Firefox::start(profile).await.unwrap()));
    browser
        .open(&site.leading_to("link", "/page?q=1#part"))
        .await;
    browser.click("#a").await;
    browser.shows("OUT").await;
    assert_eq!(browser.url().await, format!("{}/page?q=1#part", site.home));
    assert_eq!(site.log.all("/page").len(), 1);
}

/// With scripts switched off the page stays, and its link leads on.
#[tokio::test]
async fn without_scripts_one_click_leads_on_in_firefox() {
    let site = Site::start().await;
    let profile = profile(&site, Http::Two)
        .await
        .prefer("javascript.enabled", "false");
    let browser = Browser::Firefox(Box::new(Firefox::start(profile).await.unwrap()));
    browser.open(&format!("{}/login", site.home)).await;
    browser.click("button").await;
    browser.shows("IN").await;
    stays_and_leads_on(&browser, &site).await;
}
