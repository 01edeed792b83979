//! A real listener on loopback and real TLS clients, shared by the tests beside it.
#![allow(
    dead_code,
    unreachable_pub,
    unnameable_types,
    missing_docs,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::exhaustive_structs,
    clippy::missing_panics_doc,
    clippy::let_underscore_future,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    let_underscore_drop,
    reason = "test support: each test file uses a part of it, and may stop where it fails"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wirebound::{Clock, Entropy, EntropyError, Lifetime, Timestamp};
use wirebound_tower::listen::{Census, Connection, Limits, Listener};
use wirebound_tower::tls::{Grants, Renewals, TicketKeys, Tls, TlsParts};

pub const HOST: &str = "app.test";
/// The purest preset: whoever gets in gets in by more than a cookie.
pub(crate) fn strict() -> wirebound::Policy {
    wirebound::Policy {
        preset: wirebound::Preset::Strict,
        ..wirebound::Policy::default()
    }
}

/// Nothing here takes this long unless it hangs.
pub const BOUND: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn forward(&self, by: Lifetime) {
        self.0.fetch_add(by.as_millis(), Ordering::SeqCst);
    }

    /// The clock says nothing any more.
    pub fn fall_silent(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    pub fn read(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Option<Timestamp> {
        Some(self.read()).filter(|now| *now != Timestamp::ZERO)
    }
}

#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        rustls::crypto::aws_lc_rs::default_provider()
            .secure_random
            .fill(bytes)
            .map_err(|_| EntropyError::new())
    }
}

/// A certificate authority and one certificate for all names in use.
#[derive(Debug)]
pub struct Pki {
    pub ca: CertificateDer<'static>,
    pub ca_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Pki {
    pub fn new() -> Self {
        let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "wirebound test authority");
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let mut leaf = rcgen::CertificateParams::new(vec![
            HOST.into(),
            "other.test".into(),
            "127.0.0.1".into(),
        ])
        .unwrap();
        leaf.use_authority_key_identifier_extension = true;
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = leaf.signed_by(&key, &issuer).unwrap();
        Self {
            ca: ca_cert.der().clone(),
            ca_pem: ca_cert.pem(),
            chain: vec![cert.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    fn resolver(&self) -> Arc<dyn rustls::server::ResolvesServerCert> {
        let key =
            rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.key.clone_key()).unwrap();
        Arc::new(rustls::sign::SingleCertAndKey::from(
            rustls::sign::CertifiedKey::new(self.chain.clone(), key),
        ))
    }
}

/// What a server is made with.
pub struct Setup {
    pub limits: Limits,
    pub listener: &'static str,
    pub keys: Option<Arc<TicketKeys>>,
    pub pki: Arc<Pki>,
    pub bind: IpAddr,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            listener: "public",
            keys: None,
            pki: Arc::new(Pki::new()),
            bind: IpAddr::from([127, 0, 0, 1]),
        }
    }
}

/// Every event of an engine.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<wirebound::Event>>);

impl wirebound::Witness for Told {
    fn saw(&self, event: wirebound::Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Told {
    /// How often it was told that this was why somebody was refused.
    pub fn refused(&self, why: wirebound::Refusal) -> usize {
        let is = |event: &&wirebound::Event| matches!(event, wirebound::Event::Refused { refusal, .. } if *refusal == why);
        self.0.lock().unwrap().iter().filter(is).count()
    }
}

pub struct Server {
    pub addr: SocketAddr,
    pub pki: Arc<Pki>,
    pub clock: Arc<TestClock>,
    pub keys: Arc<TicketKeys>,
    pub grants: Arc<Grants>,
    pub renewals: Arc<Renewals>,
    pub census: Census,
    /// What the engine of a gate told.
    pub told: Arc<Told>,
    /// All connections that were ever served, in the order of their handshakes.
    pub seen: Arc<Mutex<Vec<Arc<Connection>>>>,
    /// Lets `/wait` answer.
    pub go_on: Arc<Notify>,
    pub waiting: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    pub task: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn limited(limits: Limits) -> Self {
        Self::with(Setup {
            limits,
            ..Setup::default()
        })
        .await
    }

    pub async fn with(setup: Setup) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(1_800_000_000_000)));
        let keys = setup.keys.unwrap_or_else(|| {
            Arc::new(TicketKeys::generate(clock.read(), &SystemEntropy).unwrap())
        });
        let (grants, renewals) = (Arc::new(Grants::new()), Arc::new(Renewals::new()));
        let tls = Tls::new(TlsParts {
            listener: setup.listener.into(),
            certificates: setup.pki.resolver(),
            keys: Arc::clone(&keys),
            grants: Arc::clone(&grants),
            renewals: Arc::clone(&renewals),
            clock: Arc::<TestClock>::clone(&clock),
            entropy: Arc::new(SystemEntropy),
        })
        .unwrap();
        let tcp = tokio::net::TcpListener::bind((setup.bind, 0))
            .await
            .unwrap();
        let listener = Listener::new(tcp, Arc::new(tls), setup.limits);
        let addr = listener.local_addr().unwrap();
        let census = listener.census();
        let seen = Arc::new(Mutex::new(vec![]));
        let go_on = Arc::new(Notify::new());
        let waiting = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let (list, go, count) = (Arc::clone(&seen), Arc::clone(&go_on), Arc::clone(&waiting));
        let each = move |connection: Arc<Connection>| {
            list.lock().unwrap().push(Arc::clone(&connection));
            App {
                connection,
                go_on: Arc::clone(&go),
                waiting: Arc::clone(&count),
            }
        };
        let task = tokio::spawn(listener.serve(each, async move {
            // Dropped or sent: both mean stop.
            drop(stopped.await);
        }));
        Self {
            addr,
            pki: setup.pki,
            clock,
            keys,
            grants,
            renewals,
            census,
            told: Arc::default(),
            seen,
            go_on,
            waiting,
            stop: Some(stop),
            task: Some(task),
        }
    }

    /// An app behind the gate, under a policy and on a store of the test's choice, with signed assertions if there are any.
    pub async fn gated<S, R>(
        policy: wirebound::Policy,
        app: S,
        store: Arc<dyn wirebound::store::Store>,
        needs: wirebound_tower::gate::Needs,
        assertions: Option<Arc<wirebound_tower::assertion::Assertions>>,
    ) -> (Self, wirebound_tower::gate::Gate)
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<R>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        S::Error: Into<wirebound_tower::body::BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<wirebound_tower::body::BoxError>,
    {
        use wirebound_tower::gate::{Gate, GateParts};
        let mut server = Self::start().await;
        let tls = Tls::new(TlsParts {
            listener: "public".into(),
            certificates: server.pki.resolver(),
            keys: Arc::clone(&server.keys),
            grants: Arc::clone(&server.grants),
            renewals: Arc::clone(&server.renewals),
            clock: Arc::<TestClock>::clone(&server.clock),
            entropy: Arc::new(SystemEntropy),
        });
        let tcp = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let limits = Limits::default();
        let listener = Listener::new(tcp.unwrap(), Arc::new(tls.unwrap()), limits);
        let secret = wirebound::Secret::draw(&SystemEntropy).unwrap();
        let keys = wirebound::Keys::new(&wirebound::NodeSecret::new(1, secret), None);
        let gate = Gate::new(GateParts {
            engine: Arc::new(wirebound::Engine::new(
                store,
                keys,
                policy,
                Arc::new(SystemEntropy),
                Arc::<Told>::clone(&server.told),
            )),
            clock: Arc::<TestClock>::clone(&server.clock),
            grants: Arc::clone(&server.grants),
            renewals: Arc::clone(&server.renewals),
            names: wirebound_tower::cookies::Names::secure(),
            answers: wirebound_tower::refusal::Answers::default(),
            needs,
            scopes: wirebound_tower::gate::no_machines(),
            arrival: wirebound_tower::gate::Arrival::default(),
            assertions,
        });
        server.addr = listener.local_addr().unwrap();
        server.census = listener.census();
        let (stop, stopped) = oneshot::channel();
        let served = wirebound_tower::gate::serve(listener, gate.clone(), app, async move {
            drop(stopped.await);
        });
        server.task = Some(tokio::spawn(served));
        server.stop = Some(stop);
        (server, gate)
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn last(&self) -> Arc<Connection> {
        Arc::clone(self.seen.lock().unwrap().last().unwrap())
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn grant(&self) {
        assert!(
            self.grants
                .open(self.addr.ip(), Some(HOST), self.clock.read())
        );
    }

    /// A client that has taken a grant, so has two tickets; and its root.
    pub async fn regular(&self) -> (Client, wirebound::Root) {
        let client = Client::of(self);
        self.grant();
        client.visit(self).await;
        let family = self.last().family;
        assert!(family.granted && !family.resumed);
        assert_eq!(client.tickets(), 2);
        (client, family.root)
    }
}

/// Answers by path.
#[derive(Clone)]
struct App {
    connection: Arc<Connection>,
    go_on: Arc<Notify>,
    waiting: Arc<AtomicUsize>,
}

impl tower_service::Service<Request<Incoming>> for App {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let app = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            match path.as_str() {
                "/wait" => {
                    app.waiting.fetch_add(1, Ordering::SeqCst);
                    app.go_on.notified().await;
                }
                "/read" => {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    return Ok(Response::new(body.len().to_string().into()));
                }
                "/close" => app.connection.close_after_response(),
                "/upgrade" => {
                    let upgrade = hyper::upgrade::on(&mut request);
                    tokio::spawn(async move {
                        let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
                        let mut byte = [0];
                        while let Ok(1) = io.read(&mut byte).await {
                            io.write_all(&byte).await.unwrap();
                            io.flush().await.unwrap();
                        }
                    });
                    return Ok(Response::builder()
                        .status(101)
                        .header("connection", "upgrade")
                        .header("upgrade", "echo")
                        .body(Full::default())
                        .unwrap());
                }
                _ => {}
            }
            Ok(Response::new(Bytes::from(path).into()))
        })
    }
}

/// A client's ticket store: newest last, each used once, and every arrival counted.
#[derive(Debug, Default)]
pub struct Store {
    tickets: Mutex<HashMap<String, Vec<Tls13ClientSessionValue>>>,
    received: AtomicUsize,
    /// Which group to offer a share of, whatever the order of preference says.
    pub hint: Mutex<Option<NamedGroup>>,
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        *self.hint.lock().unwrap()
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.received.fetch_add(1, Ordering::SeqCst);
        let mut tickets = self.tickets.lock().unwrap();
        tickets.entry(name.to_str().into()).or_default().push(value);
    }
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut tickets = self.tickets.lock().unwrap();
        let list = tickets.get_mut(name.to_str().as_ref())?;
        list.pop()
    }
}

pub struct Client {
    pub store: Arc<Store>,
    pub config: ClientConfig,
}

impl Client {
    pub fn of(server: &Server) -> Self {
        Self::speaking(server, &["http/1.1"])
    }

    pub fn speaking(server: &Server, alpn: &[&str]) -> Self {
        Self::build(server, alpn, &[&rustls::version::TLS13], None)
    }

    pub fn build(
        server: &Server,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
        groups: Option<Vec<&'static dyn rustls::crypto::SupportedKxGroup>>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(server.pki.ca.clone()).unwrap();
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if let Some(groups) = groups {
            provider.kx_groups = groups;
        }
        let store = Arc::new(Store::default());
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = rustls::client::Resumption::store(Arc::<Store>::clone(&store));
        Self { store, config }
    }

    /// Tickets received so far.
    pub fn tickets(&self) -> usize {
        self.store.received.load(Ordering::SeqCst)
    }

    pub async fn connect(&self, server: &Server) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(server, HOST, None).await
    }

    pub async fn connect_as(
        &self,
        server: &Server,
        name: &str,
        from: Option<SocketAddr>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind(from)?;
        }
        let tcp = socket.connect(server.addr).await?;
        tcp.set_nodelay(true)?;
        self.over(tcp, name).await
    }

    pub async fn over<IO>(&self, io: IO, name: &str) -> std::io::Result<TlsStream<IO>>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(self.config.clone()))
            .connect(name, io)
            .await
    }

    /// One connection with one request, closed by the client.
    pub async fn visit(&self, server: &Server) {
        let mut tls = self.connect(server).await.unwrap();
        assert_eq!(get(&mut tls, "/").await.unwrap(), "/");
        leave(tls).await;
    }

    /// A connection that carries no request at all.
    pub async fn preconnect(&self, server: &Server) {
        let before = server.count();
        leave(self.connect(server).await.unwrap()).await;
        until(|| server.count() > before).await;
    }
}

/// Says goodbye and reads to the end, so that everything the server sent has been taken in.
pub async fn leave(mut tls: TlsStream<TcpStream>) {
    tls.shutdown().await.unwrap();
    let mut rest = vec![];
    let read = tokio::time::timeout(BOUND, tls.read_to_end(&mut rest)).await;
    drop(read.expect("the server does not close"));
}

/// A request over HTTP/1.1 by hand; answers the body.
pub async fn get<IO>(tls: &mut TlsStream<IO>, path: &str) -> std::io::Result<String>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (_, body) = exchange(tls, &format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await?;
    Ok(body)
}

/// Sends text, reads one response with a Content-Length; answers head and body.
pub async fn exchange<IO>(tls: &mut TlsStream<IO>, text: &str) -> std::io::Result<(String, String)>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    tls.write_all(text.as_bytes()).await?;
    tls.flush().await?;
    tokio::time::timeout(BOUND, response(tls))
        .await
        .expect("no response")
}

pub async fn response<IO>(tls: &mut TlsStream<IO>) -> std::io::Result<(String, String)>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    tls.read_exact(&mut body).await?;
    Ok((head, String::from_utf8(body).unwrap()))
}

/// Waits for a condition, with a bound.
pub async fn until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(BOUND, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("the condition never came");
}

/// Reads until the peer closes or resets; answers whether it was an orderly end.
pub async fn closes<IO: tokio::io::AsyncRead + Unpin>(io: &mut IO) -> bool {
    let mut rest = vec![];
    tokio::time::timeout(BOUND, io.read_to_end(&mut rest))
        .await
        .expect("the connection stays open")
        .is_ok()
}
