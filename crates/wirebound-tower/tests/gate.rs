//! An axum app behind the gate, in one process: what a library user writes, and what happens when the store is silent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::print_stderr,
    reason = "a test says by panicking what is wrong, and prints what it measured"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wirebound::engine::{NewKey, Scope};
use wirebound::store::{
    Answer, Change, Commit, Durability, Key, MemoryStore, Space, Store, StoreError, StoreErrorKind,
    Stored,
};
use wirebound::{Clock as _, KeyLabel, KeyScopes, Refusal, Subject, Timestamp};
use wirebound_tower::gate::{Access, Gate, Intent, Machine, Session, SignInIntent, open_to_all};

use common::{Client, HOST, Server, exchange};

const OURS: &str = "__Host-wirebound";

/// A store that counts its writes and can fall silent.
#[derive(Debug, Default)]
struct Moody {
    inner: MemoryStore,
    silent: AtomicBool,
    commits: AtomicUsize,
}

impl Moody {
    fn says<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        if self.silent.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::new(StoreErrorKind::Unavailable)) });
        }
        answer
    }
}

impl Store for Moody {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        self.says(self.inner.load(key))
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.says(self.inner.commit(changes, durability))
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        self.says(self.inner.due(space, until, after, limit))
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        self.says(self.inner.count(space))
    }
}

fn subject(name: &str) -> Subject {
    Subject::new(name.as_bytes()).unwrap()
}

async fn login() -> Response {
    let mut response = Redirect::to("/me").into_response();
    let intent = Intent::SignIn(SignInIntent::new(subject("alice")));
    response.extensions_mut().insert(intent);
    response
}

/// More than is sent without being watched.
async fn logout() -> Response {
    let mut response = "bye ".repeat(100_000).into_response();
    let intent = Intent::SignOut(Scope::Session);
    response.extensions_mut().insert(intent);
    response
}

async fn me(Session(verified): Session) -> String {
    format!("hello {}", verified.subject())
}

async fn job(Machine(key): Machine) -> String {
    format!("{} for {}", key.label().as_str(), key.owner())
}

async fn anybody(access: Access) -> &'static str {
    if access.verified().is_some() {
        "somebody"
    } else {
        "nobody"
    }
}

/// A body that begins and never ends.
async fn ticker(_: Session) -> Response {
    struct Endless(bool);
    impl http_body::Body for Endless {
        type Data = bytes::Bytes;
        type Error = core::convert::Infallible;
        fn poll_frame(
            mut self: core::pin::Pin<&mut Self>,
            _: &mut core::task::Context<'_>,
        ) -> core::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            if core::mem::replace(&mut self.0, true) {
                return core::task::Poll::Pending;
            }
            let first = http_body::Frame::data(bytes::Bytes::from("tick"));
            core::task::Poll::Ready(Some(Ok(first)))
        }
    }
    Response::new(axum::body::Body::new(Endless(false)))
}

/// How many pieces of it were taken.
static FLOODED: AtomicUsize = AtomicUsize::new(0);

/// More than any buffer between here and a client that does not read.
async fn flood(_: Session) -> Response {
    struct Flood;
    impl http_body::Body for Flood {
        type Data = bytes::Bytes;
        type Error = core::convert::Infallible;
        fn poll_frame(
            self: core::pin::Pin<&mut Self>,
            _: &mut core::task::Context<'_>,
        ) -> core::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            FLOODED.fetch_add(1, Ordering::SeqCst);
            let chunk = http_body::Frame::data(bytes::Bytes::from_static(&[b'x'; 65_536]));
            core::task::Poll::Ready(Some(Ok(chunk)))
        }
    }
    Response::new(axum::body::Body::new(Flood))
}

async fn site() -> (Server, Gate, Arc<Moody>) {
    let app = Router::new()
        .route("/", get(anybody))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .route("/job", get(job))
        .route("/ticker", get(ticker))
        .route("/flood", get(flood));
    let store = Arc::new(Moody::default());
    let (server, gate) = Server::gated(app, Arc::<Moody>::clone(&store), open_to_all()).await;
    (server, gate, store)
}

#[tokio::test]
async fn a_handler_for_machines_takes_a_key_and_one_for_people_takes_a_session() {
    let (server, gate, store) = site().await;
    let mut machine = Visitor::new(&server);
    let new = NewKey {
        label: KeyLabel::new("worker").unwrap(),
        owner: subject("ci"),
        scopes: KeyScopes::new(["jobs"]).unwrap(),
        expires: None,
    };
    let now = server.clock.now().unwrap();
    gate.engine().recall_keys(now).await.unwrap();
    let made = gate.engine().create_key(new, now).await.unwrap();
    let field = format!("Authorization: Bearer {}\r\n", made.key.expose());
    let before = store.commits.load(Ordering::SeqCst);
    let (head, body) = machine.once(&server, "GET", "/job", &field).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "worker for ci");
    for (path, more, status) in [
        ("/job", "", "401"),
        ("/me", field.as_str(), "401"),
        ("/job", "Authorization: Bearer wbk_none\r\n", "401"),
        ("/", "Authorization: Bearer eyJ\r\n", "200"),
        ("/", field.as_str(), "200"),
    ] {
        let (head, _) = machine.once(&server, "GET", path, more).await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{path} {more}: {head}"
        );
    }
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let (head, _) = alice.once(&server, "GET", "/job", "").await;
    assert!(
        head.starts_with("HTTP/1.1 401"),
        "a session is no key: {head}"
    );
    // The store is silent, and a key needs none.
    store.silent.store(true, Ordering::SeqCst);
    let (head, _) = machine.once(&server, "GET", "/job", &field).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(store.commits.load(Ordering::SeqCst) >= before);
}

/// A browser of one tab: one connection at a time, cookies, tickets.
struct Visitor {
    client: Client,
    wire: Option<TlsStream<TcpStream>>,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    fn new(server: &Server) -> Self {
        Self {
            client: Client::of(server),
            wire: None,
            cookies: BTreeMap::new(),
        }
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        let cookies = match pairs.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", pairs.join("; ")),
        };
        format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{cookies}{more}\r\n")
    }

    async fn once(
        &mut self,
        server: &Server,
        method: &str,
        path: &str,
        more: &str,
    ) -> (String, String) {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.client.connect(server).await.unwrap(),
        };
        let text = self.head(method, path, more);
        let (head, body) = exchange(&mut wire, &text).await.unwrap();
        for line in head
            .lines()
            .filter_map(|line| line.strip_prefix("set-cookie: "))
        {
            let (name, rest) = line.split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                let value = rest.split(';').next().unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if head.contains("connection: close") {
            common::leave(wire).await;
        } else {
            self.wire = Some(wire);
        }
        (head, body)
    }

    /// Asks and follows redirects.
    async fn ask(&mut self, server: &Server, method: &str, path: &str) -> (String, String) {
        let (mut method, mut path) = (method.to_owned(), path.to_owned());
        for _ in 0..8 {
            let (head, body) = self.once(server, &method, &path, "").await;
            if !head.starts_with("HTTP/1.1 3") {
                return (head, body);
            }
            if !head.starts_with("HTTP/1.1 307") {
                "GET".clone_into(&mut method);
            }
            let to = head
                .lines()
                .find_map(|line| line.strip_prefix("location: "));
            to.unwrap().clone_into(&mut path);
        }
        panic!("no end of redirects")
    }
}

#[tokio::test]
async fn a_sign_in_by_intent_is_known_to_the_extractor_until_the_sign_out() {
    let (server, _gate, _) = site().await;
    let mut alice = Visitor::new(&server);
    let (head, _) = alice.ask(&server, "GET", "/me").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let (head, body) = alice.ask(&server, "POST", "/login").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "hello alice");
    assert!(alice.client.tickets() > 0, "the lineage stands");
    alice.wire = None;
    assert_eq!(alice.ask(&server, "GET", "/me").await.1, "hello alice");
    let before = alice.cookies.clone();
    let (head, body) = alice.ask(&server, "POST", "/logout").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body.len(), 400_000, "the last answer goes out whole");
    assert!(!alice.cookies.contains_key(OURS), "{head}");
    alice.cookies = before;
    let (head, _) = alice.ask(&server, "GET", "/me").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert_eq!(alice.ask(&server, "GET", "/").await.1, "nobody");
}

#[tokio::test]
async fn a_copied_cookie_is_refused_and_its_owner_goes_on() {
    let (server, _gate, _) = site().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let mut thief = Visitor::new(&server);
    thief.cookies = alice.cookies.clone();
    let (head, body) = thief.ask(&server, "GET", "/me").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(!body.contains("alice"), "{body}");
    assert_eq!(thief.ask(&server, "GET", "/").await.1, "nobody");
    assert_eq!(alice.ask(&server, "GET", "/me").await.1, "hello alice");
}

#[tokio::test]
async fn removing_an_identity_cuts_its_streams_and_disconnects_it() {
    let (server, gate, _) = site().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let mut wire = alice.wire.take().unwrap();
    let text = alice.head("GET", "/ticker", "");
    tokio::io::AsyncWriteExt::write_all(&mut wire, text.as_bytes())
        .await
        .unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"tick\r\n") {
        seen.push(wire.read_u8().await.unwrap());
    }
    let since = Instant::now();
    let removed = gate
        .engine()
        .remove(&subject("alice"), server.clock.read())
        .await;
    assert_eq!(removed.unwrap(), 1);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(common::BOUND, wire.read_to_end(&mut rest)).await;
    drop(end.expect("the stream goes on"));
    eprintln!(
        "identity removed: stream cut after {} ms",
        since.elapsed().as_millis()
    );
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a cut stream must not look whole"
    );
    assert_eq!(alice.ask(&server, "GET", "/").await.1, "nobody");
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_delay_the_end_of_its_session() {
    let (server, gate, _) = site().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let mut wire = alice.wire.take().unwrap();
    let text = alice.head("GET", "/flood", "");
    tokio::io::AsyncWriteExt::write_all(&mut wire, text.as_bytes())
        .await
        .unwrap();
    // The head has come; then the client only holds the connection.
    while wire.read_u8().await.unwrap() != b'x' {}
    let mut taken = 0;
    while taken != FLOODED.load(Ordering::SeqCst) {
        taken = FLOODED.load(Ordering::SeqCst);
        tokio::time::sleep(core::time::Duration::from_millis(400)).await;
    }
    let since = Instant::now();
    let now = server.clock.read();
    // An ending that closes no wires by itself.
    let session = gate.engine().identity(&subject("alice")).await.unwrap();
    let session = session.unwrap().sessions[0];
    let ended = gate.engine().end(session, wirebound::Ending::Logout, now);
    assert!(ended.await.unwrap());
    common::until(|| server.census.connections() == 0).await;
    eprintln!(
        "session ended: a client that does not read was disconnected after {} ms",
        since.elapsed().as_millis()
    );
    assert_eq!(
        FLOODED.load(Ordering::SeqCst),
        taken,
        "nothing more was taken"
    );
    let mut rest = Vec::new();
    let end = tokio::time::timeout(common::BOUND, wire.read_to_end(&mut rest)).await;
    assert!(end.unwrap().is_err(), "a cut stream must not look whole");
}

#[tokio::test]
async fn a_silent_store_means_503_for_who_must_be_looked_up_and_nothing_for_the_rest() {
    let (server, _gate, store) = site().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let before = alice.cookies.clone();
    let mut stranger = Visitor::new(&server);
    store.silent.store(true, Ordering::SeqCst);
    assert_eq!(
        alice.ask(&server, "GET", "/me").await.1,
        "hello alice",
        "her wire needs no store"
    );
    assert_eq!(stranger.ask(&server, "GET", "/").await.1, "nobody");
    alice.wire = None;
    for more in ["", "Accept: text/html\r\n"] {
        for path in ["/me", "/"] {
            let (head, body) = alice.once(&server, "GET", path, more).await;
            assert!(head.starts_with("HTTP/1.1 503"), "{head}");
            for line in [
                "cache-control: no-store",
                "retry-after: ",
                "wirebound-reason: store_unavailable",
            ] {
                assert!(head.contains(line), "{head}");
            }
            assert_eq!(
                body.starts_with("<!doctype html>"),
                !more.is_empty(),
                "{body}"
            );
            assert!(!head.contains("set-cookie"), "nobody is signed out: {head}");
        }
    }
    let (head, _) = stranger.once(&server, "POST", "/login", "").await;
    assert!(
        head.starts_with("HTTP/1.1 503") && !head.contains("set-cookie"),
        "{head}"
    );
    let (head, _) = alice.once(&server, "POST", "/logout", "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    store.silent.store(false, Ordering::SeqCst);
    let told = server.told.refused(Refusal::StoreUnavailable);
    assert_eq!(told, 1, "six in a minute");
    assert_eq!(alice.cookies, before);
    assert_eq!(alice.ask(&server, "GET", "/me").await.1, "hello alice");
}

#[tokio::test]
async fn a_clock_that_cannot_say_means_503_for_everybody_and_is_told() {
    let (server, _gate, _) = site().await;
    let mut stranger = Visitor::new(&server);
    assert_eq!(stranger.ask(&server, "GET", "/").await.1, "nobody");
    server.clock.fall_silent();
    let (head, _) = stranger.once(&server, "GET", "/", "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(server.told.refused(Refusal::StoreUnavailable), 1);
}

#[tokio::test]
async fn who_asks_where_somebody_is_asked_for_is_told_of_once() {
    let (server, _gate, _) = site().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let mut thief = Visitor::new(&server);
    thief.cookies = alice.cookies.clone();
    for _ in 0..2 {
        // Where nothing is asked her cookie counts as none; the handler asks all the same.
        thief.ask(&server, "GET", "/me").await;
        Visitor::new(&server).ask(&server, "GET", "/me").await;
        Visitor::new(&server).ask(&server, "GET", "/job").await;
    }
    for refusal in [
        Refusal::Contested,
        Refusal::Unauthenticated,
        Refusal::KeyMissing,
    ] {
        assert_eq!(server.told.refused(refusal), 1, "{refusal}");
    }
}

#[tokio::test]
async fn made_up_cookies_and_forwarding_fields_of_strangers_write_nothing() {
    let (server, _gate, store) = site().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let genuine = alice.cookies[OURS].clone();
    let before = store.commits.load(Ordering::SeqCst);
    for number in 0..100 {
        let mut stranger = Visitor::new(&server);
        let made_up = match number % 3 {
            0 => format!("w1.{number:022}.{number:043}"),
            1 => format!("{}{number:03}", &genuine[..genuine.len() - 3]),
            _ => String::from("w1.x.y"),
        };
        stranger.cookies.insert(OURS.to_owned(), made_up);
        let more = if number % 2 == 0 {
            "X-Forwarded-For: 192.0.2.1\r\n"
        } else {
            ""
        };
        let (_, body) = stranger.once(&server, "GET", "/", more).await;
        assert_eq!(body, "nobody");
    }
    assert_eq!(store.commits.load(Ordering::SeqCst), before);
    assert_eq!(alice.ask(&server, "GET", "/me").await.1, "hello alice");
}

#[tokio::test]
async fn what_streams_to_a_secret_that_is_dead_stops_although_a_later_one_overlaps() {
    use wirebound::Lifetime;
    let (server, gate, _) = site().await;
    let now = || server.clock.read();
    let engine = gate.engine();
    let new = NewKey {
        label: KeyLabel::new("ci").unwrap(),
        owner: subject("robots"),
        scopes: KeyScopes::new(["feed"]).unwrap(),
        expires: None,
    };
    engine.recall_keys(now()).await.unwrap();
    let first = engine.create_key(new, now()).await.unwrap().key;
    let text = first.expose().as_bytes();
    let verified = engine.check_key(text, now()).unwrap();
    let day = Lifetime::from_hours(24);
    server.clock.forward(Lifetime::from_mins(1));
    engine.rotate_key(verified.id(), day, now()).await.unwrap();
    assert!(
        engine.check_key(text, now()).is_ok(),
        "control: it overlaps"
    );
    server.clock.forward(Lifetime::from_mins(1));
    engine.rotate_key(verified.id(), day, now()).await.unwrap();
    assert!(
        engine.check_key(text, now()).is_err(),
        "two are good at most"
    );
    let gone = gate.key_gone(&verified);
    let gone = tokio::time::timeout(core::time::Duration::from_secs(5), gone).await;
    assert!(
        gone.is_ok(),
        "its streams go on for as long as a stranger's overlap"
    );
}
