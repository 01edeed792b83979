//! An app behind the gateway that does what a test asks: it signs people in, holds answers back, streams, and lies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Notify;

use crate::process::until;

/// The app's own cookie.
const SID: &str = "sid";

#[derive(Default)]
pub(crate) struct Inside {
    people: Mutex<HashMap<String, String>>,
    held: Mutex<HashMap<String, Arc<Notify>>>,
    heads: Mutex<Vec<String>>,
    /// How often each held request and each upload arrived, and which of them were broken off.
    arrived: Mutex<HashMap<String, usize>>,
    broken: Mutex<Vec<String>>,
}

/// The app, on a free port.
pub(crate) struct App {
    pub(crate) url: String,
    inside: Arc<Inside>,
    task: tokio::task::JoinHandle<()>,
}

impl App {
    pub(crate) async fn start() -> Self {
        let inside = Arc::new(Inside::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = router(Arc::clone(&inside));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inside, task }
    }

    /// Waits until a request for `/hold/KEY` has arrived.
    pub(crate) async fn holds(&self, key: &str) {
        let arrived = || self.inside.held.lock().unwrap().contains_key(key);
        until("a held request", arrived).await;
    }

    /// Lets the request for `/hold/KEY` be answered.
    pub(crate) fn release(&self, key: &str) {
        let held = self.inside.held.lock().unwrap();
        held[key].notify_one();
    }

    /// How often a request for `/hold/KEY` or `/upload/KEY` has arrived.
    pub(crate) fn arrived(&self, key: &str) -> usize {
        let arrived = self.inside.arrived.lock().unwrap();
        arrived.get(key).copied().unwrap_or(0)
    }

    /// Waits until the app has seen that this request was broken off.
    pub(crate) async fn breaks_off(&self, key: &str) {
        let broken = || self.inside.broken.lock().unwrap().iter().any(|k| k == key);
        until("a request that is cancelled", broken).await;
    }

    /// Every value that the app gave to its own cookie.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.inside.people.lock().unwrap().keys().cloned().collect()
    }

    /// A session of this name from before the gateway came: the value of its cookie.
    pub(crate) fn knew(&self, name: &str) -> String {
        let sid = random();
        let mut people = self.inside.people.lock().unwrap();
        people.insert(sid.clone(), name.to_owned());
        sid
    }

    /// Whether the head that was just written down had a cookie that this app gave.
    pub(crate) fn knows(&self, noted: &crate::client::Answer) {
        assert_eq!(noted.body, "noted");
        let heads = self.heads();
        let last = heads.last().unwrap();
        let known = self.secrets().iter().any(|sid| last.contains(sid));
        assert!(known, "{last}");
    }

    /// The heads that arrived, one text each.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.inside.heads.lock().unwrap().clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(inside: Arc<Inside>) -> Router {
    Router::new()
        .route("/", get(|| async { "home" }))
        .route("/me", get(me).post(me))
        .route("/admin", get(me))
        .route("/members", get(me).post(me))
        .route("/login", get(|| async { "login page" }).post(login))
        .route(
            "/logout",
            post(|head: HeaderMap, form: String| logout(head, form, "session")),
        )
        .route(
            "/logout/others",
            post(|head: HeaderMap, form: String| logout(head, form, "others")),
        )
        .route(
            "/logout/all",
            post(|head: HeaderMap, form: String| logout(head, form, "all")),
        )
        .route("/bye", post(bye))
        .route("/elevate", post(elevate))
        .route("/sign-in", post(sign_in_on_a_page))
        .route("/sign-off", post(sign_off))
        .route("/change", get(change).post(change))
        .route("/callback", get(|| async { see_other("/me") }))
        .route("/heavy/{bytes}", get(heavy))
        .route("/blurt", get(blurt))
        .route("/hold/{key}", get(hold).post(hold))
        .route("/upload/{key}", post(upload))
        .route("/clog/{key}", post(clog))
        .route("/download", get(download))
        .route("/stream", get(stream))
        .route("/ws", get(socket))
        .route("/forge", get(forge).post(forge))
        .route("/status/{code}", get(status))
        .route("/head", get(head))
        .with_state(inside)
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

/// Who the app thinks it is, and who the gateway says.
async fn me(State(inside): State<Arc<Inside>>, headers: HeaderMap) -> String {
    let said = |name: &str| {
        let value = headers.get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    format!(
        "app={} subject={} role={}",
        name_of(&inside, &headers),
        said("wirebound-subject"),
        said("wirebound-role")
    )
}

fn random() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn see_other(to: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

fn give(inside: &Inside, response: &mut Response, name: &str, more: &str) {
    let sid = random();
    let line = format!("{SID}={sid}; HttpOnly; Path=/{more}");
    inside.people.lock().unwrap().insert(sid, name.to_owned());
    let line = HeaderValue::from_str(&line).unwrap();
    response.headers_mut().append(SET_COOKIE, line);
}

fn vouch(asked: &HeaderMap, response: &mut Response, name: &'static str, value: &str) {
    if let Some(nonce) = asked.get("wirebound-request") {
        let headers = response.headers_mut();
        headers.insert("wirebound-re", nonce.clone());
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
}

async fn login(State(inside): State<Arc<Inside>>, headers: HeaderMap, form: String) -> Response {
    let value = |key: &str| {
        form.split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
    };
    let name = value("name").unwrap();
    let mut response = see_other("/me");
    let age = value("age").map_or_else(String::new, |age| format!("; Max-Age={age}"));
    give(&inside, &mut response, &name, &age);
    vouch(&headers, &mut response, "wirebound-login", &name);
    response
}

/// The form is read although nothing stands in it: a server that is left with an unread body closes the connection behind its
/// answer, and the next request on it, a POST that nobody may repeat, is lost now and then (502).
async fn logout(headers: HeaderMap, _form: String, reach: &'static str) -> Response {
    let mut response = see_other("/");
    vouch(&headers, &mut response, "wirebound-logout", reach);
    response
}

/// Says that its visitor proved more.
async fn elevate(headers: HeaderMap) -> Response {
    let mut response = see_other("/admin");
    vouch(&headers, &mut response, "wirebound-elevate", "admin");
    response
}

/// Signs out with a page, of known length or in chunks as PHP sends it.
async fn bye(headers: HeaderMap, form: String) -> Response {
    let page = "you are signed out ".repeat(8);
    let mut response = if form.contains("chunked") {
        let (say, hear) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..9_000 {
                say.send(Ok(Bytes::from(page.clone()))).await.unwrap();
            }
        });
        Body::new(http_body_util::StreamBody::new(Frames(hear))).into_response()
    } else {
        page.into_response()
    };
    vouch(&headers, &mut response, "wirebound-logout", "session");
    response
}

/// Signs in with a page where others redirect, as scripts do it.
async fn sign_in_on_a_page(
    inside: State<Arc<Inside>>,
    headers: HeaderMap,
    form: String,
) -> Response {
    let mut response = login(inside, headers, form).await;
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Body::from("welcome");
    response
}

/// Signs out as an app does that knows nothing of gateways.
async fn sign_off() -> Response {
    let mut response = see_other("/");
    let gone = HeaderValue::from_static("sid=; Max-Age=0; Path=/; HttpOnly");
    response.headers_mut().insert(SET_COOKIE, gone);
    response
}

/// Changes its own cookie, as Flask does all the time.
async fn change(State(inside): State<Arc<Inside>>, headers: HeaderMap) -> Response {
    let mut response = "changed".into_response();
    let name = name_of(&inside, &headers);
    give(&inside, &mut response, &name, "");
    response
}

/// Gives a cookie of this many bytes.
async fn heavy(Path(bytes): Path<usize>) -> Response {
    let mut response = "heavy".into_response();
    let line = format!("heavy={}; HttpOnly; Path=/", "x".repeat(bytes));
    let line = HeaderValue::from_str(&line).unwrap();
    response.headers_mut().insert(SET_COOKIE, line);
    response
}

/// Writes its own cookie into the page, as a debugging page does.
async fn blurt(headers: HeaderMap) -> Response {
    let line = headers.get(COOKIE).map(|line| line.to_str().unwrap());
    let kind = [(CONTENT_TYPE, "text/html")];
    (kind, line.unwrap_or_default().to_owned()).into_response()
}

/// Answers when the test says so (a server that has not read the request does not see its client go), with a cookie that
/// may be too late.
async fn hold(
    State(inside): State<Arc<Inside>>,
    Path(key): Path<String>,
    headers: HeaderMap,
    _whole: Bytes,
) -> Response {
    let notify = Arc::new(Notify::new());
    let broken = BrokenOff::begin(&inside, &key);
    inside.held.lock().unwrap().insert(key, Arc::clone(&notify));
    notify.notified().await;
    broken.done();
    let mut response = "held".into_response();
    let name = name_of(&inside, &headers);
    give(&inside, &mut response, &format!("late {name}"), "");
    response
}

/// Notes that a request was broken off, unless it was done.
struct BrokenOff(Option<(Arc<Inside>, String)>);

impl BrokenOff {
    fn begin(inside: &Arc<Inside>, key: &str) -> Self {
        let mut arrived = inside.arrived.lock().unwrap();
        *arrived.entry(key.to_owned()).or_default() += 1;
        Self(Some((Arc::clone(inside), key.to_owned())))
    }

    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for BrokenOff {
    fn drop(&mut self) {
        if let Some((inside, key)) = self.0.take() {
            inside.broken.lock().unwrap().push(key);
        }
    }
}

/// Takes an upload; it counts as held from its first piece on.
async fn upload(
    State(inside): State<Arc<Inside>>,
    Path(key): Path<String>,
    body: Body,
) -> Result<String, StatusCode> {
    use http_body_util::BodyExt as _;
    let broken = BrokenOff::begin(&inside, &key);
    let mut body = body;
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        taken += frame.data_ref().map_or(0, Bytes::len);
        let mut held = inside.held.lock().unwrap();
        held.entry(key.clone()).or_default();
    }
    broken.done();
    Ok(format!("took {taken}"))
}

/// Takes the first piece of an upload and no more, until the test says so.
async fn clog(State(inside): State<Arc<Inside>>, Path(key): Path<String>, body: Body) -> String {
    use http_body_util::BodyExt as _;
    BrokenOff::begin(&inside, &key).done();
    let mut body = body;
    let _first = body.frame().await;
    let notify = Arc::new(Notify::new());
    inside.held.lock().unwrap().insert(key, Arc::clone(&notify));
    notify.notified().await;
    String::from("enough")
}

/// A file of known length that never comes to its end.
async fn download() -> Response {
    let (say, hear) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    tokio::spawn(async move {
        while say.send(Ok(Bytes::from(vec![b'x'; 1000]))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let body = http_body_util::StreamBody::new(Frames(hear));
    let length = [(http::header::CONTENT_LENGTH, "1000000000")];
    (length, Body::new(body)).into_response()
}

/// Says something every few milliseconds until nobody listens.
async fn stream() -> Response {
    let (say, hear) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    tokio::spawn(async move {
        while say.send(Ok(Bytes::from("data: tick\n\n"))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let body = http_body_util::StreamBody::new(Frames(hear));
    let kind = [(CONTENT_TYPE, "text/event-stream")];
    (kind, Body::new(body)).into_response()
}

struct Frames(tokio::sync::mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl futures_core::Stream for Frames {
    type Item = Result<http_body::Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let next = self.0.poll_recv(context);
        next.map(|next| next.map(|chunk| chunk.map(http_body::Frame::data)))
    }
}

async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message
                && socket.send(Message::Text(text)).await.is_err()
            {
                return;
            }
        }
    })
}

/// A page that lets its visitor choose response fields.
async fn forge(headers: HeaderMap) -> Response {
    let mut response = "forged".into_response();
    let fields = response.headers_mut();
    let nonce = headers.get("wirebound-request").cloned();
    let nonce = nonce.unwrap_or(HeaderValue::from_static("00112233445566778899aabbccddeeff"));
    fields.insert("wirebound-re", nonce);
    for (name, value) in [
        ("wirebound-login", "mallory"),
        ("wirebound-role", "admin"),
        ("wirebound-subject", "mallory"),
        ("alt-svc", "h3=\":443\""),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    let ours = HeaderValue::from_static("__Host-wirebound=evil; Path=/; Secure; HttpOnly");
    fields.append(SET_COOKIE, ours);
    response
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

/// Writes down the whole head as it arrived.
async fn head(State(inside): State<Arc<Inside>>, request: Request) -> &'static str {
    let lines = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    let text = format!("{}\n{}", request.uri(), lines.collect::<String>());
    inside.heads.lock().unwrap().push(text);
    "noted"
}
