//! A real cache between people and the gateway, careless as operators' caches are: it never serves one person's answer to
//! another, never keeps a secret of ours, nor what we refused; what the app calls public it keeps.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::expect_used,
    dead_code,
    reason = "a test says by panicking what is wrong; the modules are another test's too"
)]

mod person;
#[path = "gateway/process.rs"]
mod process;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use person::{Answer, Person};
use process::Gateway;
use wirebound_testkit::nginx::Nginx;
use wirebound_testkit::varnish::Varnish;

const CONFIG: &str = r#"
[vouch]
paths = ["POST /login"]
[[routes]]
path = "/members"
role = "user"
"#;

/// What the app answers at `/KIND` beside a body that names the person: its status, its fields, and whether it sets its
/// cookie again.
type Page = (
    &'static str,
    u16,
    &'static [(&'static str, &'static str)],
    bool,
);

const PAGES: [Page; 12] = [
    ("silent", 200, &[], false),
    ("silent-sets", 200, &[], true),
    (
        "private",
        200,
        &[("cache-control", "private, max-age=600")],
        false,
    ),
    (
        "heuristic",
        200,
        &[("last-modified", "Mon, 02 Jan 2023 00:00:00 GMT")],
        false,
    ),
    (
        "expires",
        200,
        &[("expires", "Fri, 01 Jan 2100 00:00:00 GMT")],
        false,
    ),
    ("max-age", 200, &[("cache-control", "max-age=600")], false),
    (
        "max-age-sets",
        200,
        &[("cache-control", "max-age=600")],
        true,
    ),
    ("no-cache-sets", 200, &[("cache-control", "no-cache")], true),
    ("accel-sets", 200, &[("x-accel-expires", "600")], true),
    ("missing", 404, &[], false),
    ("gone", 410, &[], true),
    ("moved", 301, &[("location", "/silent")], false),
];

#[derive(Default)]
struct Inside {
    people: Mutex<HashMap<String, String>>,
    answers: AtomicUsize,
}

/// The app, on a free port.
struct App {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl App {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/login", post(login))
            .route("/style.css", get(style))
            .route("/style-sets.css", get(style_sets))
            .route("/etag", get(etag))
            .route("/{kind}", get(page))
            .route("/members/{kind}", get(page))
            .with_state(Arc::<Inside>::default());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, task }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn name_of(inside: &Inside, headers: &HeaderMap) -> String {
    let lines = headers.get_all(COOKIE).iter();
    let people = inside.people.lock().unwrap();
    lines
        .flat_map(|line| line.to_str().unwrap().split(';'))
        .filter_map(|pair| pair.trim().strip_prefix("sid="))
        .find_map(|sid| people.get(sid).cloned())
        .unwrap_or_else(|| "nobody".to_owned())
}

fn give(inside: &Inside, response: &mut Response, name: &str) {
    let number = inside.answers.fetch_add(1, Ordering::Relaxed);
    let sid = format!("appsecret{number}of{name}");
    let line = HeaderValue::from_str(&format!("sid={sid}; HttpOnly; Path=/")).unwrap();
    inside.people.lock().unwrap().insert(sid, name.to_owned());
    response.headers_mut().append(SET_COOKIE, line);
}

async fn login(State(inside): State<Arc<Inside>>, headers: HeaderMap, form: String) -> Response {
    let name = form.strip_prefix("name=").unwrap();
    let mut response = (StatusCode::SEE_OTHER, [(LOCATION, "/silent")]).into_response();
    give(&inside, &mut response, name);
    if let Some(nonce) = headers.get("wirebound-request") {
        let fields = response.headers_mut();
        fields.insert("wirebound-re", nonce.clone());
        fields.insert("wirebound-login", HeaderValue::from_str(name).unwrap());
    }
    response
}

fn text_for(inside: &Inside, name: &str) -> String {
    let number = inside.answers.fetch_add(1, Ordering::Relaxed);
    format!("for {name}, answer {number}")
}

async fn page(
    State(inside): State<Arc<Inside>>,
    Path(kind): Path<String>,
    headers: HeaderMap,
) -> Response {
    let name = name_of(&inside, &headers);
    let mut response = Response::new(Body::from(text_for(&inside, &name)));
    let Some((_, status, fields, sets)) = PAGES.iter().find(|(known, ..)| *known == kind) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    *response.status_mut() = StatusCode::from_u16(*status).unwrap();
    for (name, value) in *fields {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(*name, value);
    }
    // Somebody without a session gets none here: an anonymous visitor's cookie is another test's.
    if *sets && name != "nobody" {
        give(&inside, &mut response, &name);
    }
    response
}

/// Personal, and revalidated: without a word for caches.
async fn etag(State(inside): State<Arc<Inside>>, headers: HeaderMap) -> Response {
    let name = name_of(&inside, &headers);
    let tag = format!("\"{name}\"");
    let same = headers
        .get("if-none-match")
        .is_some_and(|asked| asked == tag.as_str());
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        text_for(&inside, &name).into_response()
    };
    let fields = response.headers_mut();
    fields.insert("etag", HeaderValue::from_str(&tag).unwrap());
    response
}

async fn style(State(inside): State<Arc<Inside>>) -> Response {
    let number = inside.answers.fetch_add(1, Ordering::Relaxed);
    let fields = [("cache-control", "public, max-age=600")];
    (fields, format!("style {number}")).into_response()
}

/// Public, and yet it renews the visitor's session: as frameworks do that touch it on each request.
async fn style_sets(inside: State<Arc<Inside>>, headers: HeaderMap) -> Response {
    let name = name_of(&inside, &headers);
    let mut response = style(State(Arc::clone(&inside))).await;
    if name != "nobody" {
        give(&inside, &mut response, &name);
    }
    response
}

/// TLS towards the gateway; the server name is sent and no field is added.
fn towards(gateway: SocketAddr) -> String {
    format!(
        "proxy_pass https://gateway;
         proxy_ssl_protocols TLSv1.3;
         proxy_ssl_server_name on;
         proxy_ssl_name localhost;
         proxy_http_version 1.1;
         proxy_set_header Connection \"\";
         proxy_set_header X-Forwarded-For \"\";
         proxy_set_header Via \"\";
         proxy_set_header X-Varnish \"\";
         proxy_set_header Host localhost:{};",
        gateway.port()
    )
}

/// A cache of which the key is the address alone, and which keeps what says nothing of its age.
async fn careless_nginx(gateway: SocketAddr) -> Nginx {
    Nginx::start(&format!(
        "upstream gateway {{ server {gateway}; keepalive 4; }}
         proxy_cache_path cache keys_zone=all:1m;
         server {{
             listen LISTEN;
             location / {{
                 {}
                 proxy_cache all;
                 proxy_cache_key $request_uri;
                 proxy_cache_valid 200 206 301 302 303 307 400 401 403 404 410 10m;
                 proxy_cache_revalidate on;
                 add_header X-Cache $upstream_cache_status always;
             }}
         }}",
        towards(gateway)
    ))
    .await
    .unwrap()
}

async fn plain_nginx(gateway: SocketAddr) -> Nginx {
    Nginx::start(&format!(
        "upstream gateway {{ server {gateway}; keepalive 4; }}
         server {{ listen LISTEN; location / {{ {} }} }}",
        towards(gateway)
    ))
    .await
    .unwrap()
}

/// A cache that looks up every GET, with a Cookie or without.
const CARELESS: &str = r#"
sub vcl_recv {
    if (req.method == "GET") { return (hash); }
}
sub vcl_deliver {
    set resp.http.X-Cache = "MISS";
    if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; }
}
"#;

fn hit(answer: &Answer) -> bool {
    answer.field("x-cache") == "HIT"
}

/// Everything that was said to whom, for looking after secrets.
fn text_of(answer: &Answer) -> String {
    format!("{:?} {}", answer.headers, answer.body)
}

async fn walk(front: SocketAddr, log: &dyn Fn() -> String) {
    let mut alice = Person::at(front);
    let signed_in = alice.sign_in("alice").await;
    assert!(
        signed_in.body.starts_with("for alice,"),
        "{signed_in:?} {}",
        log()
    );
    let mut bob = Person::at(front);

    for (kind, status, ..) in PAGES {
        let path = format!("/{kind}");
        for _ in 0..2 {
            let hers = alice.get(&path).await;
            assert_eq!(hers.status, status, "{path}: {hers:?}");
            assert!(hers.body.starts_with("for alice,"), "{path}: {hers:?}");
            assert!(hers.headers.get("set-cookie").is_none(), "{path}: {hers:?}");
        }
        // (What nobody was answered may be kept, where the app is silent: it is nobody's.)
        for _ in 0..2 {
            let his = bob.get(&path).await;
            assert_eq!(his.status, status, "{path}: {his:?}");
            assert!(his.body.starts_with("for nobody,"), "{path}: {his:?}");
            let his = text_of(&his);
            assert!(!his.contains("__Host-wirebound"), "{path}: {his}");
            assert!(!his.contains("appsecret"), "{path}: {his}");
        }
    }

    // Revalidated by each: nobody's copy is confirmed for somebody else.
    for tag in ["\"nobody\"", "\"alice\"", "\"nobody\""] {
        let hers = alice.get_with("/etag", &[("if-none-match", tag)]).await;
        // Some caches revalidate by themselves and ask us without the field.
        let own = hers.body.starts_with("for alice,") || hers.status == 304;
        assert!(own && hers.field("cache-control") == "private", "{hers:?}");
        assert!(hers.status != 304 || tag.contains("alice"), "{hers:?}");
    }
    let his = bob
        .get_with("/etag", &[("if-none-match", "\"alice\"")])
        .await;
    assert!(his.body.starts_with("for nobody,"), "{his:?}");
    // A part of hers is no part of his.
    alice.get_with("/max-age", &[("range", "bytes=0-8")]).await;
    let his = bob.get_with("/max-age", &[("range", "bytes=0-8")]).await;
    assert!(!his.body.starts_with("for alic"), "{his:?}");

    // What the app calls public is kept for everybody, whoever asked first, and holds nothing of hers.
    for path in ["/style.css", "/style-sets.css"] {
        let first = alice.get(path).await;
        assert_eq!(first.field("cache-control"), "public, max-age=600");
        let his = bob.get(path).await;
        assert!(hit(&his), "{path} was not kept: {his:?}");
        assert_eq!(his.body, first.body);
        assert!(!text_of(&his).contains("__Host-wirebound"), "{his:?}");
        assert!(!text_of(&his).contains("appsecret"), "{his:?}");
        assert!(hit(&alice.get(path).await));
    }

    // What we answer ourselves is kept by nobody: not 401, not 400, not 403, not 307.
    for _ in 0..2 {
        let his = bob.get("/members/silent").await;
        assert_eq!(his.status, 401, "{his:?}");
        assert_eq!(his.field("cache-control"), "no-store");
        let hers = alice.get("/members/silent").await;
        assert!(hers.body.starts_with("for alice,"), "{hers:?}");
        let crooked = bob.get("/a//silent").await;
        assert_eq!(crooked.status, 400, "{crooked:?}");
        assert_eq!(crooked.field("cache-control"), "no-store");
    }
    for _ in 0..2 {
        let ours = bob.get("/.wirebound/nothing").await;
        assert_eq!((ours.status.as_u16(), hit(&ours)), (404, false), "{ours:?}");
        assert_eq!(ours.field("cache-control"), "no-store");
    }
    // A copy that calls itself otherwise is refused, and its refusal is nobody else's.
    let mut thief = alice.thief().calls_itself("curl/8");
    for (kind, ..) in PAGES {
        // What was kept for her is not served to a copy of her jar: her connection is what he lacks.
        let his = thief.get(&format!("/{kind}")).await;
        assert!(!his.body.contains("alice"), "{kind}: {his:?}");
    }
    let navigates = [("accept", "text/html"), ("sec-fetch-mode", "navigate")];
    let refused = thief.get_with("/members/heuristic", &navigates).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.field("cache-control"), "no-store");
    let next = bob.get("/members/heuristic").await;
    assert_eq!((next.status.as_u16(), hit(&next)), (401, false), "{next:?}");
    // A sign-in's answer holds the secret.
    let mut carol = Person::at(front);
    let answer = carol.try_sign_in("carol").await;
    assert!(!hit(&answer));
    if answer.headers.contains_key("set-cookie") {
        assert_eq!(answer.field("cache-control"), "no-store", "{answer:?}");
    }
}

#[tokio::test]
async fn a_careless_nginx_cache_keeps_what_is_public_and_nothing_else() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let nginx = careless_nginx(gateway.address()).await;
    walk(nginx.address(), &|| nginx.log()).await;
}

#[tokio::test]
async fn a_careless_varnish_keeps_what_is_public_and_nothing_else() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    // Varnish speaks no TLS: something must stand between.
    let nginx = plain_nginx(gateway.address()).await;
    let varnish = Varnish::start(nginx.address(), CARELESS).await.unwrap();
    walk(varnish.address(), &|| varnish.log()).await;
}

/// A 304 says of the kept copy what the 200 said.
#[tokio::test]
async fn a_revalidation_of_a_personal_answer_says_private_again() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let nginx = plain_nginx(gateway.address()).await;
    let mut alice = Person::at(nginx.address());
    alice.sign_in("alice").await;
    let whole = alice.get("/etag").await;
    let same = alice
        .get_with("/etag", &[("if-none-match", "\"alice\"")])
        .await;
    assert_eq!((whole.status.as_u16(), same.status.as_u16()), (200, 304));
    for answer in [whole, same] {
        assert_eq!(answer.field("cache-control"), "private");
        assert_eq!(answer.field("vary"), "Cookie");
        assert_eq!(answer.field("etag"), "\"alice\"");
    }
}

/// The control: with nothing but the cache, the same walk gives her pages to him.
#[tokio::test]
async fn the_same_cache_before_the_bare_app_serves_one_persons_answer_to_another() {
    let app = App::start().await;
    let behind = app.url.strip_prefix("http://").unwrap();
    let nginx = Nginx::start(&format!(
        "proxy_cache_path cache keys_zone=all:1m;
         server {{
             listen LISTEN;
             location / {{
                 proxy_pass http://{behind};
                 proxy_cache all;
                 proxy_cache_key $request_uri;
                 proxy_cache_valid 200 10m;
             }}
         }}"
    ))
    .await
    .unwrap();
    let mut alice = Person::at(nginx.address());
    alice.sign_in("alice").await;
    alice.get("/heuristic").await;
    let his = Person::at(nginx.address()).get("/heuristic").await;
    assert!(his.body.starts_with("for alice,"), "{his:?}");
}
