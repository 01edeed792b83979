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
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;
use wirebound::engine::{NewKey, Scope};
use wirebound::revocation::TokenId;
use wirebound::sequence::{Again, Rules};
use wirebound::store::{
    Answer, Change, Commit, Durability, Key, MemoryStore, Space, Store, StoreError, StoreErrorKind,
    Stored,
};
use wirebound::{
    Clock as _, KeyLabel, KeyScopes, Lifetime, Need, Policy, Preset, Refusal, Role, SessionId,
    Subject, Timestamp,
};
use wirebound_assertion::{Algorithm, Ring, Schedule, SigningKey};
use wirebound_tower::assertion::{Assertions, Keys, REMEMBERED};
use wirebound_tower::gate::{
    Access, Gate, Intent, Machine, Needs, Session, SignInIntent, open_to_all,
};

use common::{Client, HOST, Server, exchange};

const OURS: &str = "__Host-wirebound";
const HAND_OVER: &str = "__Host-wirebound-h";

/// A store that counts its writes, can fall silent, and can take its time over a write.
#[derive(Debug, Default)]
struct Moody {
    inner: MemoryStore,
    silent: AtomicBool,
    commits: AtomicUsize,
    slow: AtomicBool,
    held: Held,
    done: AtomicUsize,
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
        Box::pin(async move {
            if self.slow.load(Ordering::SeqCst) {
                self.held.wait().await;
            }
            if self.silent.load(Ordering::SeqCst) {
                return Err(StoreError::new(StoreErrorKind::Unavailable));
            }
            let commit = self.inner.commit(changes, durability).await;
            self.done.fetch_add(1, Ordering::SeqCst);
            commit
        })
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

/// What goes on when the test says so.
#[derive(Clone, Debug, Default)]
struct Held {
    arrived: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

impl Held {
    async fn wait(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        self.go_on.notified().await;
    }

    async fn arrives(&self, count: usize) {
        common::until(|| self.arrived.load(Ordering::SeqCst) == count).await;
    }
}

async fn site() -> (Server, Gate, Arc<Moody>) {
    let (server, gate, store, _) = slow_site(common::strict()).await;
    (server, gate, store)
}

async fn slow_site(policy: Policy) -> (Server, Gate, Arc<Moody>, Held) {
    let held = Held::default();
    let (page, out) = (held.clone(), held.clone());
    let app = Router::new()
        .route("/", get(anybody))
        .route(
            "/slow",
            get(async move |access| {
                page.wait().await;
                anybody(access).await
            }),
        )
        .route(
            "/slow/logout",
            post(async move || {
                out.wait().await;
                logout().await
            }),
        )
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .route("/job", get(job))
        .route("/ticker", get(ticker))
        .route("/flood", get(flood));
    let store = Arc::new(Moody::default());
    let (server, gate) = Server::gated(
        policy,
        app,
        Arc::<Moody>::clone(&store),
        open_to_all(),
        None,
    )
    .await;
    (server, gate, store, held)
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

const ASSERTION: &str = "__Host-wirebound-assertion";

/// Whoever holds the cookie, and an assertion beside it for a quarter of an hour.
async fn hybrid() -> (Server, Gate, Arc<Moody>) {
    let key = SigningKey::generate(Algorithm::EdDsa, &common::SystemEntropy).unwrap();
    let schedule = Schedule::new(Lifetime::from_days(1), Lifetime::from_hours(1), REMEMBERED);
    // Before the server's clock begins.
    let begun = Timestamp::from_millis(1);
    let assertions = Assertions {
        keys: Keys::new(Ring::new(key, begun), schedule.unwrap(), begun),
        issuer: None,
        audience: None,
        lifetime: Lifetime::from_mins(15),
        cookie: true,
    };
    let policy = Policy {
        preset: Preset::Portable,
        assertions: Some(REMEMBERED),
        tickets: Rules {
            again: Again::Client,
            ..Rules::default()
        },
        ..Policy::default()
    };
    let app = Router::new()
        .route("/login", post(login))
        .route("/me", get(me));
    let store = Arc::new(Moody::default());
    let held = Arc::<Moody>::clone(&store);
    let assertions = Some(Arc::new(assertions));
    let (server, gate) = Server::gated(policy, app, held, open_to_all(), assertions).await;
    (server, gate, store)
}

#[tokio::test]
async fn an_assertion_alone_is_never_exchanged_for_a_later_one() {
    let (server, _gate, _) = hybrid().await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let held = alice.cookies[ASSERTION].clone();
    let mut elapsed = Lifetime::ZERO;
    // Half of its life is over; it runs out; it is taken for some seconds more, since clocks differ; and then no more.
    for (seconds, status) in [(1, "200"), (460, "200"), (904, "200"), (906, "440")] {
        let at = Lifetime::from_secs(seconds);
        let by = Lifetime::from_millis(at.as_millis() - elapsed.as_millis());
        server.clock.forward(by);
        elapsed = at;
        let mut thief = Visitor::new(&server);
        thief.cookies.insert(ASSERTION.to_owned(), held.clone());
        let (head, _) = thief.once(&server, "GET", "/me", "").await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{seconds}: {head}"
        );
        let set = head.lines().any(|line| {
            line.starts_with(&format!("set-cookie: {ASSERTION}=")) && !line.contains("Max-Age=0")
        });
        assert!(!set, "{seconds}: {head}");
    }
    // Its owner gets another, beside the cookie.
    let (head, _) = alice.once(&server, "GET", "/me", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_ne!(alice.cookies[ASSERTION], held);
}

#[tokio::test]
async fn whoever_follows_the_feed_after_a_call_that_failed_hears_of_it() {
    let (server, gate, store) = hybrid().await;
    let now = server.clock.now().unwrap();
    let engine = gate.engine();
    engine.recall_keys(now).await.unwrap();
    let new = NewKey {
        label: KeyLabel::new("orders").unwrap(),
        owner: subject("ci"),
        scopes: KeyScopes::new(["feed"]).unwrap(),
        expires: None,
    };
    let made = engine.create_key(new, now).await.unwrap();
    let token = TokenId::from_bytes([7; 16]);
    store.silent.store(true, Ordering::SeqCst);
    let failed = engine.revoke_token(token, now.after(REMEMBERED)).await;
    failed.unwrap_err();
    store.silent.store(false, Ordering::SeqCst);
    let machine = Visitor::new(&server);
    let mut wire = machine.client.connect(&server).await.unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", made.key.expose());
    let text = machine.head("GET", "/.wirebound/feed", &bearer);
    tokio::io::AsyncWriteExt::write_all(&mut wire, text.as_bytes())
        .await
        .unwrap();
    let mut told = String::new();
    let whole = async {
        while !told.contains("event: complete") {
            let mut piece = [0; 4096];
            let read = wire.read(&mut piece).await.unwrap();
            assert!(read > 0, "it ended: {told}");
            told.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    };
    tokio::time::timeout(common::BOUND, whole).await.unwrap();
    assert!(told.contains(&token.to_string()), "{told}");
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
async fn a_route_that_asks_for_more_keeps_nobody_from_being_handed_over() {
    let app = Router::new()
        .route("/login", post(login))
        .route("/me", get(me));
    let needs: Needs = Arc::new(|parts| match parts.uri.path() {
        "/admin" => Need::role(Role::ADMIN),
        _ => Need::NOTHING,
    });
    let (server, _gate) = Server::gated(
        common::strict(),
        app,
        Arc::new(MemoryStore::new()),
        needs,
        None,
    )
    .await;
    for method in ["GET", "POST"] {
        let mut alice = Visitor::new(&server);
        alice.once(&server, "POST", "/login", "").await;
        assert!(alice.cookies.contains_key(HAND_OVER), "{:?}", alice.cookies);
        // Somebody else of her place is faster with the grant.
        let mut faster = Client::of(&server).connect(&server).await.unwrap();
        common::get(&mut faster, "/").await.unwrap();
        let (head, _) = alice.once(&server, method, "/admin", "").await;
        assert!(head.starts_with("HTTP/1.1 307"), "{head}");
        assert!(head.contains("location: /admin\r\n"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(alice.cookies.contains_key(HAND_OVER), "not spent yet");
        let (head, _) = alice.once(&server, method, "/admin", "").await;
        assert!(head.starts_with("HTTP/1.1 403"), "{head}");
        assert!(!alice.cookies.contains_key(HAND_OVER), "spent: {head}");
        alice.wire = None;
        assert_eq!(alice.ask(&server, "GET", "/me").await.1, "hello alice");
    }
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

/// Tabs are restored after their session ended. One of them shows a page that takes its time; in another she signs in
/// meanwhile.
#[tokio::test]
async fn a_late_answer_clears_nothing_that_a_newer_sign_in_set() {
    let (server, _gate, _, held) = slow_site(common::strict()).await;
    for (over, method, path) in [(true, "GET", "/slow"), (false, "POST", "/slow/logout")] {
        let mut alice = Visitor::new(&server);
        alice.ask(&server, "POST", "/login").await;
        let before = alice.cookies.clone();
        if over {
            alice.ask(&server, "POST", "/logout").await;
            alice.cookies = before;
        }
        let mut tab = alice.client.connect(&server).await.unwrap();
        let text = alice.head(method, path, "Sec-Fetch-Mode: navigate\r\n");
        let arrived = held.arrived.load(Ordering::SeqCst) + 1;
        let late = exchange(&mut tab, &text);
        let newer = async {
            held.arrives(arrived).await;
            let (_, body) = alice.ask(&server, "POST", "/login").await;
            assert_eq!(body, "hello alice");
            held.go_on.notify_one();
        };
        let (late, ()) = tokio::join!(late, newer);
        let (head, body) = late.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert_eq!(body == "nobody", over, "{path}: {body}");
        assert!(!head.contains("set-cookie"), "{path}: {head}");
    }
}

/// A session whose owner left, and her browser, restarted, so much later that its ticket alone is no proof any more; the next
/// write takes its time.
async fn away(by: Lifetime) -> (Server, Gate, Arc<Moody>, Visitor, SessionId) {
    let (server, gate, store, _) = slow_site(Policy::default()).await;
    let mut alice = Visitor::new(&server);
    alice.ask(&server, "POST", "/login").await;
    let cookie = alice.cookies[OURS].clone();
    let older = gate.engine().read(cookie.as_bytes()).unwrap().session();
    common::leave(alice.wire.take().unwrap()).await;
    common::until(|| gate.engine().connected() == 0 && server.census.connections() == 0).await;
    server.clock.forward(by);
    let mut back = Visitor::new(&server);
    back.cookies = alice.cookies;
    store.done.store(0, Ordering::SeqCst);
    store.slow.store(true, Ordering::SeqCst);
    (server, gate, store, back, older)
}

/// Until it is not asked to come again: the answer.
async fn in_the_end(visitor: &mut Visitor, server: &Server, method: &str, path: &str) -> String {
    for _ in 0..8 {
        let (head, _) = visitor.once(server, method, path, "").await;
        if !head.starts_with("HTTP/1.1 307") {
            return head;
        }
    }
    panic!("no end of redirects")
}

#[tokio::test]
async fn a_sign_in_that_happened_is_answered_though_the_older_session_could_not_be_ended() {
    let (server, gate, store, mut back, older) = away(Lifetime::from_mins(70)).await;
    let (head, ()) = tokio::join!(in_the_end(&mut back, &server, "POST", "/login"), async {
        store.held.arrives(1).await;
        store.held.go_on.notify_one();
        store.held.arrives(2).await;
        store.silent.store(true, Ordering::SeqCst);
        store.held.go_on.notify_one();
    });
    assert!(head.starts_with("HTTP/1.1 303"), "{head}");
    store.silent.store(false, Ordering::SeqCst);
    store.slow.store(false, Ordering::SeqCst);
    assert_eq!(back.ask(&server, "GET", "/me").await.1, "hello alice");
    let now = server.clock.read();
    let stands = gate.engine().session(older, now).await.unwrap();
    assert!(stands.is_some(), "it was the second write that failed");
}

#[tokio::test]
async fn whoever_hangs_up_does_not_keep_alive_what_the_request_ends() {
    for (by, method, path, writes) in [
        // The older session of a sign-in.
        (Lifetime::from_mins(70), "POST", "/login", 2),
        // One whose time is over.
        (Lifetime::from_hours(9), "GET", "/me", 1),
    ] {
        let (server, gate, store, mut back, older) = away(by).await;
        {
            let asking = in_the_end(&mut back, &server, method, path);
            let last_write = async {
                for write in 1..writes {
                    store.held.arrives(write).await;
                    store.held.go_on.notify_one();
                }
                store.held.arrives(writes).await;
            };
            tokio::select! {
                head = asking => panic!("{path}: {head}"),
                () = last_write => {}
            }
        }
        common::until(|| server.census.connections() == 0).await;
        store.held.go_on.notify_one();
        common::until(|| store.done.load(Ordering::SeqCst) == writes).await;
        let now = server.clock.read();
        let gone = gate.engine().session(older, now).await.unwrap();
        assert!(gone.is_none(), "{path}");
    }
}
