//! The demo's app: a small members' area that knows of its visitors only what the gateway tells it.
//!
//! It has no session, no cookie and no key of its own. Its two people are fictional and their password is on
//! the page; it listens on loopback and is for looking at, not for building on.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Form, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::config::{Config, LeastStrength, Route, Vouch};
use crate::failure::Failure;
use crate::pages::escape;

/// The password of everybody here.
pub const PASSWORD: &str = "correct horse";

/// Name, role to ask for, what the page says of them.
const PEOPLE: [(&str, &str, &str); 2] = [
    ("alice", "user", "a member"),
    ("ada", "admin", "runs the place"),
];

const PAGE: &str = include_str!("demo/members.html");
const LOGIN: &str = include_str!("demo/login.html");
const ADMIN: &str = include_str!("demo/admin.html");
const STYLE: &str = include_str!("demo/style.css");
const SCRIPT: &str = include_str!("demo/app.js");

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

const SUBJECT: HeaderName = HeaderName::from_static("wirebound-subject");
const ROLE: HeaderName = HeaderName::from_static("wirebound-role");
const SESSION: HeaderName = HeaderName::from_static("wirebound-session");
const STRENGTH: HeaderName = HeaderName::from_static("wirebound-strength");
const REQUEST: HeaderName = HeaderName::from_static("wirebound-request");
const RE: HeaderName = HeaderName::from_static("wirebound-re");
const VOUCH_LOGIN: HeaderName = HeaderName::from_static("wirebound-login");
const VOUCH_LOGOUT: HeaderName = HeaderName::from_static("wirebound-logout");

/// Binds the app to a free loopback port.
///
/// # Errors
///
/// When there is no free port.
pub fn bind() -> Result<(TcpListener, SocketAddr), Failure> {
    let no_port = |error| {
        Failure::start(
            format!("no free loopback port for the demo's app: {error}"),
            "wirebound doctor",
        )
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_port)?;
    listener.set_nonblocking(true).map_err(no_port)?;
    let address = listener.local_addr().map_err(no_port)?;
    Ok((listener, address))
}

/// Serves the app until it is dropped.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(listener: TcpListener) -> Result<(), Failure> {
    let broken = |error| Failure::failed(format!("the demo's app failed: {error}"));
    let listener = tokio::net::TcpListener::from_std(listener).map_err(broken)?;
    axum::serve(listener, app()).await.map_err(broken)
}

/// Where the demo's app vouches and what its paths ask for, as far as nobody configured it otherwise.
pub fn configure(config: &mut Config, app: SocketAddr) {
    config.upstream.url = Some(format!("http://{app}"));
    if config.vouch == Vouch::default() {
        config.vouch.paths = vec!["POST /login".to_owned(), "POST /logout".to_owned()];
        "admin".clone_into(&mut config.vouch.max_role);
    }
    config.login.url.get_or_insert_with(|| "/login".to_owned());
    if config.routes.is_empty() {
        let route = |path: &str, role: &str| Route::new(path).at_least(role, LeastStrength::Wire);
        config.routes = vec![
            route("/admin", "admin"),
            route("/chat", "user"),
            route("/members", "user"),
            route("/ticker", "user"),
        ];
    }
}

/// Who may become more than a user here.
#[must_use]
pub fn ceilings() -> Vec<(String, wirebound::Role)> {
    PEOPLE
        .iter()
        .filter(|(_, role, _)| *role == "admin")
        .map(|(name, _, _)| ((*name).to_owned(), wirebound::Role::ADMIN))
        .collect()
}

/// The app itself.
fn app() -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", get(login_page).post(login))
        .route("/logout", post(logout))
        .route("/members", get(members))
        .route("/admin", get(admin))
        .route("/chat", get(chat))
        .route("/ticker", get(ticker))
        .route(
            "/style.css",
            get(|| asset("text/css; charset=utf-8", STYLE)),
        )
        .route(
            "/app.js",
            get(|| asset("text/javascript; charset=utf-8", SCRIPT)),
        )
        .layer(from_fn(with_policy))
}

async fn with_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, POLICY);
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text)
}

/// What the gateway told this app about a request; all of it empty for a stranger.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(rename = "Wirebound-Subject")]
    subject: Option<String>,
    #[serde(rename = "Wirebound-Role")]
    role: Option<String>,
    #[serde(rename = "Wirebound-Session")]
    session: Option<String>,
    #[serde(rename = "Wirebound-Strength")]
    strength: Option<String>,
}

impl Told {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        Self {
            subject: text(&SUBJECT),
            role: text(&ROLE),
            session: text(&SESSION),
            strength: text(&STRENGTH),
        }
    }
}

async fn home(headers: HeaderMap) -> Response {
    let told = Told::read(&headers);
    let Some(subject) = &told.subject else {
        return see_other("/login");
    };
    let role = told.role.as_deref().unwrap_or("guest");
    Html(
        PAGE.replace("{subject}", &escape(subject))
            .replace("{role}", &escape(role)),
    )
    .into_response()
}

async fn login_page(headers: HeaderMap) -> Response {
    match Told::read(&headers).subject {
        Some(subject) => login_form(&format!(
            "You are signed in as {subject}; signing in again replaces that session."
        )),
        None => login_form(""),
    }
}

fn login_form(note: &str) -> Response {
    let hidden = if note.is_empty() { " hidden" } else { "" };
    Html(
        LOGIN
            .replace("{note}", &escape(note))
            .replace("{hidden}", hidden)
            .replace("{password}", PASSWORD),
    )
    .into_response()
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

/// The one place where this app says who somebody is: in the answer, beside the nonce of the question.
async fn login(headers: HeaderMap, Form(given): Form<Credentials>) -> Response {
    let person = PEOPLE
        .iter()
        .find(|(name, ..)| *name == given.username && given.password == PASSWORD);
    let Some((name, role, _)) = person else {
        let mut answer = login_form("No such name and password. Both are printed below.");
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        return answer;
    };
    let mut answer = see_other("/");
    vouch(&headers, &mut answer, VOUCH_LOGIN, name);
    if *role != "user" {
        answer
            .headers_mut()
            .insert(ROLE, HeaderValue::from_static(role));
    }
    answer
}

async fn logout(headers: HeaderMap) -> Response {
    let mut answer = see_other("/login");
    vouch(&headers, &mut answer, VOUCH_LOGOUT, "session");
    answer
}

/// Says something that counts only beside the nonce that came with the request.
fn vouch(asked: &HeaderMap, answer: &mut Response, name: HeaderName, value: &'static str) {
    if let Some(nonce) = asked.get(REQUEST) {
        answer.headers_mut().insert(RE, nonce.clone());
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
}

async fn members(headers: HeaderMap) -> Response {
    let told = Told::read(&headers);
    let status = if told.subject.is_some() {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    };
    (status, Json(told)).into_response()
}

async fn admin(headers: HeaderMap) -> Response {
    let told = Told::read(&headers);
    match (&told.subject, told.role.as_deref()) {
        (Some(subject), Some("admin")) => {
            Html(ADMIN.replace("{subject}", &escape(subject))).into_response()
        }
        _ => (StatusCode::FORBIDDEN, "This area is for admins.").into_response(),
    }
}

async fn chat(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let Some(subject) = Told::read(&headers).subject else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    upgrade
        .max_message_size(4096)
        .on_upgrade(move |socket| converse(socket, subject))
}

/// Answers what is said and counts the seconds, until either side closes.
async fn converse(mut socket: WebSocket, subject: String) {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let mut beats: u64 = 0;
    loop {
        let text = tokio::select! {
            _ = beat.tick() => {
                beats = beats.saturating_add(1);
                serde_json::json!({ "beat": beats })
            }
            said = socket.recv() => match said {
                Some(Ok(Message::Text(said))) => serde_json::json!({ "to": subject, "heard": said.as_str() }),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => return,
            },
        };
        if socket
            .send(Message::Text(text.to_string().into()))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn ticker(headers: HeaderMap) -> Response {
    if Told::read(&headers).subject.is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (send, receive) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        let mut beats: u64 = 0;
        loop {
            beat.tick().await;
            beats = beats.saturating_add(1);
            if send.send(beats).await.is_err() {
                return;
            }
        }
    });
    Sse::new(Beats(receive)).into_response()
}

/// A channel as a stream of server-sent events.
struct Beats(tokio::sync::mpsc::Receiver<u64>);

impl futures_core::Stream for Beats {
    type Item = Result<Event, Infallible>;

    fn poll_next(
        mut self: core::pin::Pin<&mut Self>,
        context: &mut core::task::Context<'_>,
    ) -> core::task::Poll<Option<Self::Item>> {
        self.0
            .poll_recv(context)
            .map(|beat| beat.map(|beat| Ok(Event::default().data(beat.to_string()))))
    }
}

fn see_other(place: &'static str) -> Response {
    (
        StatusCode::SEE_OTHER,
        [(LOCATION, HeaderValue::from_static(place))],
    )
        .into_response()
}

/// What `wirebound demo` says about its people.
#[must_use]
pub fn people_text() -> String {
    let line = |(name, role, what): &(&str, &str, &str)| format!("{name} ({role}, {what})");
    format!(
        "{}; password: {PASSWORD}",
        PEOPLE.iter().map(line).collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests;
