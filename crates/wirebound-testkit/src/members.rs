//! A small members-only app: the upstream of the no-false-alarm trial.
//!
//! It knows nothing of Wirebound. It signs people in with an HttpOnly cookie, and counts what arrived
//! as a member and what arrived at a members' path without one: to the app, a request that the gateway
//! refused to vouch for is a request of nobody.
//!
//! Paths under `/m/` are for members; `/`, `/login`, `/sw.js` and `/open/` are for everybody. A query
//! that holds `thief=` marks a request as the thief's, so that his failures are not counted as the
//! victim's losses.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

mod pages;
mod streams;

use streams::Body;

/// The field that every answer of this app carries; an answer without it is the gateway's own.
pub const MARK: &str = "x-members";

/// The app's own cookie, which no browser behind an armour may ever see.
pub const COOKIE_NAME: &str = "sid";

/// What arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sign-ins done.
    pub sign_ins: u64,
    /// Requests for a members' path that came as a member.
    pub member: u64,
    /// The same that came as nobody, by `METHOD path`.
    pub lost: BTreeMap<String, u64>,
    /// WebSocket handshakes that came as a member.
    pub sockets: u64,
    /// WebSocket handshakes that came as nobody; the page tries again.
    pub sockets_lost: u64,
    /// The thief's requests that reached the app.
    pub thief_asked: u64,
    /// Those of them that came as a member. Must be 0.
    pub thief_served: u64,
    /// How often each POST arrived, by its number. None may arrive twice.
    pub posts: BTreeMap<String, u64>,
}

impl Counts {
    /// Members' requests that came as nobody.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    /// POSTs that arrived more than once.
    #[must_use]
    pub fn doubled(&self) -> u64 {
        self.posts.values().map(|n| n.saturating_sub(1)).sum()
    }
}

/// The app itself; it may be served over several listeners.
#[derive(Debug, Default)]
pub struct App {
    people: Mutex<HashMap<String, String>>,
    counts: Mutex<Counts>,
}

impl App {
    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    /// Serves one connection, HTTP/1.1 or (where `io` negotiated it) HTTP/2.
    pub(crate) async fn serve(
        self: Arc<Self>,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) {
        let service = service_fn(move |request| {
            let app = Arc::clone(&self);
            async move { app.answer(request).await }
        });
        // How a connection ends is the client's business.
        let _ended = auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(io), service)
            .await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let person = self.person(&head.headers);
        let thief = query(&head, "thief").is_some();
        self.count(&head, person.is_some(), thief);
        let mut answer = match (&person, is_for_members(head.uri.path())) {
            (None, true) => refusal(&head)?,
            _ if is_socket(&head.headers) => streams::socket(Request::from_parts(head, body))?,
            _ => self.page(&head, body, person.as_deref()).await?,
        };
        let headers = answer.headers_mut();
        headers.insert(MARK, "1".parse()?);
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, "no-store".parse()?);
        }
        Ok(answer)
    }

    fn count(&self, head: &Parts, member: bool, thief: bool) {
        let mut counts = self.counts.lock().unwrap();
        if thief {
            counts.thief_asked += 1;
            counts.thief_served += u64::from(member);
            return;
        }
        if !is_for_members(head.uri.path()) {
            return;
        }
        match (is_socket(&head.headers), member) {
            (true, true) => counts.sockets += 1,
            (true, false) => counts.sockets_lost += 1,
            (false, true) => counts.member += 1,
            (false, false) => {
                *counts
                    .lost
                    .entry(format!("{} {}", head.method, head.uri.path()))
                    .or_default() += 1;
            }
        }
        if member
            && head.method == Method::POST
            && let Some(id) = query(head, "id")
        {
            *counts.posts.entry(id).or_default() += 1;
        }
    }

    fn person(&self, headers: &HeaderMap) -> Option<String> {
        let all = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|f| f.to_str().ok());
        let sid = all.flat_map(|f| f.split(';')).find_map(|pair| {
            pair.trim()
                .strip_prefix(COOKIE_NAME)?
                .strip_prefix('=')
                .map(str::to_owned)
        })?;
        self.people.lock().unwrap().get(&sid).cloned()
    }

    async fn page(
        &self,
        head: &Parts,
        body: Incoming,
        person: Option<&str>,
    ) -> Result<Response<Body>> {
        if let Some(wait) = query(head, "d").and_then(|d| d.parse().ok()) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        match (head.method.as_str(), head.uri.path()) {
            ("POST", "/login") => self.sign_in(head, body).await,
            ("POST", "/m/post") => {
                body.collect().await?;
                let id = query(head, "id").unwrap_or_default();
                see_other(&format!("/m/page?posted={id}"))
            }
            ("POST", _) => {
                body.collect().await?;
                text("text/plain", "ok")
            }
            (_, "/m/events") => streams::events(),
            (_, "/m/download") => streams::download(),
            (_, "/m/cut") => streams::cut(),
            (_, "/m/pixel" | "/open/pixel") => Ok(Response::builder()
                .header(CONTENT_TYPE, "image/gif")
                .body(full(pages::PIXEL))?),
            (_, "/m/api") => text("text/plain", "ok"),
            (_, "/open/api") => with_cors(text("text/plain", "ok")?, head),
            (_, "/open/module.js") => text("text/javascript", "export default 1"),
            (_, "/sw.js") => text("text/javascript", pages::SERVICE_WORKER),
            (_, path) => match pages::html(path, head, person) {
                Some(html) => with_hints(text("text/html; charset=utf-8", &html)?, path),
                None => Ok(Response::builder().status(404).body(full("no such page"))?),
            },
        }
    }

    /// `?keep=1` asks for a cookie that outlives the browser.
    async fn sign_in(&self, head: &Parts, body: Incoming) -> Result<Response<Body>> {
        let form = body.collect().await?.to_bytes();
        let form = String::from_utf8_lossy(&form);
        let name = form
            .split('&')
            .find_map(|p| p.strip_prefix("name="))
            .context("a name")?;
        let sid = random_hex()?;
        self.people
            .lock()
            .unwrap()
            .insert(sid.clone(), name.to_owned());
        self.counts.lock().unwrap().sign_ins += 1;
        let mut answer = see_other("/")?;
        let keep = query(head, "keep").map_or("", |_| "; Max-Age=1209600");
        let cookie = format!("{COOKIE_NAME}={sid}; HttpOnly; SameSite=Lax; Path=/{keep}");
        answer.headers_mut().insert(SET_COOKIE, cookie.parse()?);
        Ok(answer)
    }
}

/// The app behind a plain HTTP/1.1 listener on a free loopback port.
#[derive(Debug)]
pub struct Members {
    app: Arc<App>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Members {
    /// Starts it.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::default());
        let served = Arc::clone(&app);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&served).serve(stream));
            }
        });
        Ok(Self { app, address, task })
    }

    /// Its address, as `--upstream` wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The app, with its counts.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_for_members(path: &str) -> bool {
    path.starts_with("/m/")
}

fn is_socket(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn query(head: &Parts, key: &str) -> Option<String> {
    let pairs = head.uri.query()?.split('&');
    pairs
        .filter_map(|p| p.split_once('='))
        .find(|(k, _)| *k == key)
        .map(|(_, v)| v.to_owned())
}

/// A person is led to the sign-in; a program is told.
fn refusal(head: &Parts) -> Result<Response<Body>> {
    let wants_page = head
        .headers
        .get(ACCEPT)
        .is_some_and(|a| a.as_bytes().starts_with(b"text/html"));
    if wants_page {
        return see_other("/login");
    }
    Ok(Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .body(full("members only"))?)
}

fn see_other(to: &str) -> Result<Response<Body>> {
    Ok(Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(LOCATION, to)
        .body(full(""))?)
}

fn text(kind: &str, text: &str) -> Result<Response<Body>> {
    Ok(Response::builder()
        .header(CONTENT_TYPE, kind)
        .body(full(text.to_owned()))?)
}

fn with_cors(mut answer: Response<Body>, head: &Parts) -> Result<Response<Body>> {
    if let Some(origin) = head.headers.get(ORIGIN) {
        let headers = answer.headers_mut();
        headers.insert("access-control-allow-origin", origin.clone());
        headers.insert("access-control-allow-credentials", "true".parse()?);
    }
    Ok(answer)
}

fn with_hints(mut answer: Response<Body>, path: &str) -> Result<Response<Body>> {
    if path == "/m/hints" {
        answer
            .headers_mut()
            .insert("link", "</m/page?linked=1>; rel=prefetch".parse()?);
    }
    Ok(answer)
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

fn host(head: &Parts) -> String {
    let field = head.headers.get(HOST).and_then(|h| h.to_str().ok());
    field
        .or_else(|| head.uri.authority().map(|a| a.as_str()))
        .unwrap_or_default()
        .to_owned()
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .secure_random
        .fill(&mut bytes)
        .ok()
        .context("random bytes")?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests;
