//! A gateway that says what a test has it say, on loopback, and counts who asks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wirebound::revocation::feed::{FeedKey, Message, Teller};
use wirebound::revocation::{Entry, Place, Revoked};
use wirebound::{Clock, Entropy, EntropyError, SessionId, Strength, Subject, Timestamp};
use wirebound_assertion::{
    Algorithm, Claims, Jwks, Seconds, SigningKey, SubjectTag, TokenId, sign,
};
use wirebound_verify::{Builder, Verifier, danger};

pub const KEY: &str = "wbk_0123456789AB_0123456789abcdefghijABCDEFGHIJ0123456789abc000000";
pub const AUDIENCE: &str = "https://orders.example";
pub const RUN: u64 = 7;
pub const START: u64 = 1_800_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Randomness for keys.
#[derive(Debug)]
pub struct Drawn;

impl Entropy for Drawn {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError::new())
    }
}

/// A clock that a test sets. Nothing is a clock that cannot say.
#[derive(Debug)]
pub struct Hands(AtomicU64);

impl Hands {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START)))
    }

    pub fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for Hands {
    fn now(&self) -> Option<Timestamp> {
        Some(self.at()).filter(|now| *now != Timestamp::ZERO)
    }
}

/// What a path answers.
#[derive(Clone)]
pub struct Said {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// Never answers.
    pub mute: bool,
}

impl Said {
    pub fn new(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", kind.to_owned())],
            body: body.into(),
            mute: false,
        }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub const KEYS: &str = "/.well-known/jwks.json";
pub const FEED: &str = "/.wirebound/feed";
pub const ASK: &str = "/.wirebound/introspect";

#[derive(Default)]
struct State {
    said: Mutex<HashMap<&'static str, Said>>,
    asked: Mutex<Vec<(String, HeaderMap, Bytes)>>,
}

/// The gateway.
pub struct Gateway {
    pub issuer: String,
    pub key: SigningKey,
    pub clock: Arc<Hands>,
    state: Arc<State>,
    feeds: tokio::sync::Mutex<mpsc::UnboundedReceiver<Feed>>,
    _serving: JoinSet<()>,
}

/// One opened feed, from the gateway's side. It is closed when dropped.
pub struct Feed {
    pub from: Option<String>,
    pub authorization: Option<String>,
    teller: Teller,
    body: Sender<Bytes>,
}

impl Feed {
    /// Sends these bytes.
    pub async fn raw(&mut self, bytes: impl Into<Bytes>) {
        // Whoever listens may be gone, which is what some tests are about.
        let _sent = self.body.send_data(bytes.into()).await;
    }

    pub fn written(&mut self, message: &Message) -> String {
        let mut text = String::new();
        self.teller.tell(message, &mut text).unwrap();
        text
    }

    pub async fn tell(&mut self, message: &Message) {
        let text = self.written(message);
        self.raw(text).await;
    }

    /// A whole snapshot after so many entries.
    pub async fn snapshot(&mut self, number: u64, entries: &[Revoked], now: Timestamp) {
        let place = at(number);
        self.tell(&Message::Snapshot { place, now }).await;
        for what in entries {
            let entry = entry(*what);
            self.tell(&Message::Revoked { place: None, entry }).await;
        }
        let entries = entries.len() as u64;
        self.tell(&Message::Complete {
            place,
            entries,
            now,
        })
        .await;
    }

    pub async fn revoke(&mut self, number: u64, what: Revoked) {
        self.tell(&revoked(number, what)).await;
    }

    pub async fn beat(&mut self, number: u64, now: Timestamp) {
        self.tell(&Message::Beat {
            place: at(number),
            now,
        })
        .await;
    }

    /// Resolves when whoever listened has gone.
    pub async fn left(mut self) {
        let left = async {
            while self
                .body
                .send_data(Bytes::from_static(b":\n"))
                .await
                .is_ok()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, left)
            .await
            .expect("the feed is left");
    }
}

pub fn at(number: u64) -> Place {
    Place { run: RUN, number }
}

pub fn entry(what: Revoked) -> Entry {
    Entry {
        what,
        until: Timestamp::NEVER,
    }
}

pub fn revoked(number: u64, what: Revoked) -> Message {
    Message::Revoked {
        place: Some(at(number)),
        entry: entry(what),
    }
}

pub fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm, &Drawn).unwrap()
}

pub fn published(keys: &[&SigningKey]) -> Said {
    let jwks = Jwks::of(keys.iter().map(|key| key.verifying()));
    Said::new("application/jwk-set+json", jwks.as_json().to_owned())
        .with("cache-control", "public, max-age=3600")
}

impl Gateway {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Over TLS with this, under the name `localhost`.
    pub async fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = match tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        };
        let state = Arc::new(State::default());
        let (opened, feeds) = mpsc::unbounded_channel();
        let key = key(Algorithm::EdDsa);
        let said = [
            (KEYS, published(&[&key])),
            (FEED, Said::new("text/event-stream", "")),
            (ASK, Said::new("application/json", r#"{"active":true}"#)),
        ];
        state.said.lock().unwrap().extend(said);
        let mut serving = JoinSet::new();
        let shared = Arc::clone(&state);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, opened, tls) = (Arc::clone(&shared), opened.clone(), tls.clone());
                connections.spawn(async move {
                    let answered = service_fn(move |request| {
                        answer(Arc::clone(&state), opened.clone(), request)
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => {
                            let _ended =
                                http.serve_connection(TokioIo::new(stream), answered).await;
                        }
                        Some(tls) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(tls);
                            if let Ok(stream) = acceptor.accept(stream).await {
                                let _ended =
                                    http.serve_connection(TokioIo::new(stream), answered).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            issuer,
            key,
            clock: Hands::new(),
            state,
            feeds: tokio::sync::Mutex::new(feeds),
            _serving: serving,
        }
    }

    /// From now on this path answers that.
    pub fn say(&self, path: &'static str, said: Said) {
        self.state.said.lock().unwrap().insert(path, said);
    }

    /// How often this path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|(asked, ..)| asked == path).count()
    }

    /// The last question for this path: its head and its body.
    pub fn question(&self, path: &str) -> (HeaderMap, Bytes) {
        let asked = self.state.asked.lock().unwrap();
        let found = asked.iter().rev().find(|(asked, ..)| asked == path);
        let (_, head, body) = found.unwrap();
        (head.clone(), body.clone())
    }

    /// The next feed that is opened.
    pub async fn feed(&self) -> Feed {
        let mut feeds = self.feeds.lock().await;
        tokio::time::timeout(PATIENCE, feeds.recv())
            .await
            .expect("the feed is opened")
            .unwrap()
    }

    /// Whether a feed is open that no test has taken yet.
    pub async fn opened(&self) -> bool {
        !self.feeds.lock().await.is_empty()
    }

    pub fn builder(&self) -> Builder {
        danger::plain_loopback(self.issuer.clone(), AUDIENCE)
            .feed_key(KEY)
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    /// A verifier that knows everything: nothing is called back.
    pub async fn ready(&self, builder: Builder) -> (Verifier, Feed) {
        let verifier = builder.start().unwrap();
        let mut feed = self.feed().await;
        feed.snapshot(0, &[], self.clock.at()).await;
        is_ready(&verifier).await;
        (verifier, feed)
    }

    pub fn claims(&self) -> Claims {
        let issued = Seconds::of(self.clock.at());
        let mut id = [0; 16];
        Drawn.fill(&mut id).unwrap();
        Claims {
            issuer: self.issuer.clone(),
            audience: AUDIENCE.to_owned(),
            subject: Subject::new(b"alice \xff").unwrap(),
            issued,
            not_before: issued,
            expires: issued.plus(600),
            id: TokenId::from_bytes(id),
            session: SessionId::from_bytes([2; 10]),
            role: "user".to_owned(),
            strength: Strength::Wire,
            generation: START,
            tag: SubjectTag::from_bytes([3; 16]),
            confirmation: None,
        }
    }

    pub fn token(&self) -> String {
        self.sign(&self.claims())
    }

    pub fn sign(&self, claims: &Claims) -> String {
        sign(&self.key, claims).unwrap()
    }
}

async fn answer(
    state: Arc<State>,
    opened: mpsc::UnboundedSender<Feed>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map(|body| body.to_bytes());
    state.asked.lock().unwrap().push((
        path.clone(),
        head.headers.clone(),
        body.unwrap_or_default(),
    ));
    let said = state.said.lock().unwrap().get(path.as_str()).cloned();
    let said = said.unwrap_or_else(|| Said::new("text/plain", "nothing here").status(404));
    if said.mute {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(said.status);
    for (name, value) in said.headers {
        response = response.header(name, value);
    }
    let text = |name: &str| {
        let value = head.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let body = if path == FEED && said.status == 200 {
        let (sender, body) = Channel::new(1024);
        let _taken = opened.send(Feed {
            from: text("last-event-id"),
            authorization: text("authorization"),
            teller: Teller::new(FeedKey::of_api_key(KEY).unwrap()),
            body: sender,
        });
        body.boxed()
    } else {
        Full::new(said.body).boxed()
    };
    Ok(response.body(body).unwrap())
}

/// Somewhere that nobody may go. Counts who does.
pub struct Trap {
    pub address: SocketAddr,
    came: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Trap {
    pub async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&came);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            while listener.accept().await.is_ok() {
                counts.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            address,
            came,
            _listening: listening,
        }
    }

    /// How many came, each of whom a visit of our own has let through before it.
    pub async fn came(&self) -> usize {
        let before = self.came.load(Ordering::SeqCst);
        let _visit = tokio::net::TcpStream::connect(self.address).await.unwrap();
        until("our own visit counts", || {
            self.came.load(Ordering::SeqCst) > before
        })
        .await;
        self.came.load(Ordering::SeqCst) - 1
    }
}

/// Waits for something that becomes true, within a bound.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

pub async fn is_ready(verifier: &Verifier) {
    tokio::time::timeout(PATIENCE, verifier.ready())
        .await
        .expect("keys and a whole snapshot");
}

/// A session that is called back.
pub const SESSION: Revoked = Revoked::Session(SessionId::from_bytes([2; 10]));
/// One that nobody has.
pub const OTHER: Revoked = Revoked::Session(SessionId::from_bytes([9; 10]));

pub fn token_of(claims: &Claims) -> Revoked {
    Revoked::Token(claims.id)
}
