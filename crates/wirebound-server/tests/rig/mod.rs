//! A gateway's forwarding between a real upstream and a real client, all on loopback.

#![allow(dead_code, reason = "each test binary uses its own part of the rig")]
#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use wirebound_server::proxy::{BoxError, Cutter, Forwarder, Leg, Limits, Unanswered, Upstream};
use wirebound_server::websocket::{self, Asked, Ended, Patience};

pub type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A body whose frames a test sends one by one.
pub struct Fed(mpsc::Receiver<Frame<Bytes>>);

pub fn fed() -> (mpsc::Sender<Frame<Bytes>>, AnyBody) {
    let (sender, receiver) = mpsc::channel(1);
    (
        sender,
        Fed(receiver).map_err(|never| match never {}).boxed_unsync(),
    )
}

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A body that ends in an error after its first frame.
pub fn broken(first: &'static str) -> AnyBody {
    let (feed, body) = fed();
    feed.try_send(Frame::data(Bytes::from(first))).unwrap();
    Cut(body).boxed_unsync()
}

struct Cut(AnyBody);

impl Body for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| Some(frame.unwrap_or_else(|| Err("broke off".into()))))
    }
}

pub fn full(text: impl Into<Bytes>) -> AnyBody {
    http_body_util::Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An upstream that counts its connections.
pub struct App {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl App {
    /// An app on hyper.
    pub async fn http<F, R>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<AnyBody>> + Send + 'static,
    {
        Self::raw(move |stream| {
            let handler = handler.clone();
            async move {
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
                drop(served);
            }
        })
        .await
    }

    /// An app that speaks bytes.
    pub async fn raw<F, R>(handler: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                served.spawn(handler(stream));
            }
        });
        Self {
            address,
            connections,
            _tasks: tasks,
        }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request head (and what came with it) from a raw connection.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    while !got.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        if count == 0 {
            break;
        }
        got.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(got).unwrap()
}

pub async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

pub fn forwarder(address: SocketAddr) -> Forwarder {
    let mut limits = Limits::default();
    limits.head = Duration::from_secs(10);
    Forwarder::new(
        Upstream::parse(&format!("http://{address}")).unwrap(),
        limits,
    )
}

/// A gateway without sessions: what the integrator's glue does, in small.
pub struct Gateway {
    pub address: SocketAddr,
    pub cutter: Arc<Cutter>,
    pub faults: Arc<Mutex<Vec<String>>>,
    pub ended: mpsc::UnboundedReceiver<Ended>,
    _tasks: JoinSet<()>,
}

impl Gateway {
    pub async fn before(app: &App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cutter = Arc::new(Cutter::new());
        let faults = Arc::new(Mutex::new(Vec::new()));
        let (say, ended) = mpsc::unbounded_channel();
        let shared = Shared {
            forwarder: forwarder(app.address),
            cutter: Arc::clone(&cutter),
            faults: Arc::clone(&faults),
            ended: say,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let shared = shared.clone();
                served.spawn(async move {
                    let service = service_fn(move |request| shared.clone().answer(request, peer));
                    let mut server =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    server.http2().enable_connect_protocol();
                    drop(
                        server
                            .serve_connection_with_upgrades(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self {
            address,
            cutter,
            faults,
            ended,
            _tasks: tasks,
        }
    }
}

#[derive(Clone)]
struct Shared {
    forwarder: Forwarder,
    cutter: Arc<Cutter>,
    faults: Arc<Mutex<Vec<String>>>,
    ended: mpsc::UnboundedSender<Ended>,
}

impl Shared {
    async fn answer(
        self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<AnyBody>, Infallible> {
        let (parts, body) = request.into_parts();
        let asked = websocket::asked(&parts);
        let leg = Leg::new(peer.ip(), "app.example", Scheme::HTTPS).cut(self.cutter.cut());
        let request = Request::from_parts(parts, body);
        let answered = match asked {
            Asked::Exchange => self
                .forwarder
                .forward(request, leg)
                .await
                .map(|answered| answered.response),
            Asked::Malformed(_) => Err(Unanswered::Unsendable("malformed")),
            Asked::Upgrade(_) | Asked::Connect => {
                let opened =
                    websocket::open(&self.forwarder, request, [9; 16], leg, Patience::default())
                        .await;
                opened.map(|opened| {
                    if let Some(tunnel) = opened.tunnel {
                        let ended = self.ended.clone();
                        tokio::spawn(async move {
                            let how = tunnel.run().await;
                            ended.send(how).unwrap_or_default();
                        });
                    }
                    opened.response
                })
            }
        };
        Ok(match answered {
            Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(error) => {
                self.faults.lock().unwrap().push(error.to_string());
                let mut response = Response::new(full(""));
                *response.status_mut() = error.status();
                response
            }
        })
    }
}

/// A client's HTTP/1.1 connection to the gateway.
pub async fn h1(address: SocketAddr) -> hyper::client::conn::http1::SendRequest<AnyBody> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// A client's HTTP/2 connection to the gateway.
pub async fn h2(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<AnyBody> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

pub fn get(path: &str) -> Request<AnyBody> {
    Request::get(path)
        .header("host", "app.example")
        .body(full(""))
        .unwrap()
}

pub async fn text(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}
