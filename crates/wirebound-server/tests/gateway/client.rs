//! A client without a browser: cookies, TLS tickets, and full control over every byte of a request's head.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wirebound_testkit::authority;
use wirebound_testkit::jar::Jar;

use crate::process::{Gateway, within};

/// The name of our cookie.
pub(crate) const OURS: &str = "__Host-wirebound";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

/// A request as it is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    authority: Option<String>,
    fields: Vec<(String, String)>,
    cookies: Option<String>,
    body: String,
}

impl Ask {
    /// Whether a browser asks again over a new connection, after a kept one was closed just as it asked: always where
    /// nothing was sent, and otherwise where it does no harm (RFC 9112, section 9.3.1).
    fn may_go_again(&self, error: &hyper::Error) -> bool {
        error.is_canceled() || self.method.is_idempotent() && was_hung_up(error)
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &str, form: &str) -> Self {
        let mut ask = Self::new(Method::POST, path);
        form.clone_into(&mut ask.body);
        ask.field("content-type", "application/x-www-form-urlencoded")
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            authority: None,
            fields: Vec::new(),
            cookies: None,
            body: String::new(),
        }
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another value for a field that is there.
    pub(crate) fn instead(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.field(name, value)
    }

    /// As a browser asks for a page.
    pub(crate) fn person(self) -> Self {
        self.field("accept", "text/html,*/*")
            .field("sec-fetch-mode", "navigate")
    }

    /// This Cookie field and no other.
    pub(crate) fn cookies(mut self, cookies: &str) -> Self {
        self.cookies = Some(cookies.to_owned());
        self
    }

    pub(crate) fn authority(mut self, authority: &str) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Every `Set-Cookie` of one name.
    pub(crate) fn sets(&self, name: &str) -> Vec<String> {
        let all = self.headers.get_all(SET_COOKIE).iter();
        all.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
            .filter(|line| line.split('=').next() == Some(name))
            .collect()
    }

    /// Whether it deletes our cookie.
    pub(crate) fn clears(&self) -> bool {
        self.sets(OURS)
            .iter()
            .any(|line| line.contains("Max-Age=0") || line.contains("1970"))
    }
}

/// One connection.
pub(crate) struct Wire {
    sender: Sender,
    pub(crate) resumed: bool,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Wire {
    /// Whether another request can go over it.
    pub(crate) async fn is_open(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => sender.ready().await.is_ok(),
            Sender::Two(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// Whether the connection ended before anything of an answer came, and not the one request over it.
fn was_hung_up(error: &hyper::Error) -> bool {
    let within = error.source();
    let broken = within.is_some_and(|cause| cause.is::<std::io::Error>());
    let left = within
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(|cause| cause.is_io() || cause.is_go_away());
    error.is_incomplete_message() || error.is_closed() || broken || left
}

/// All that a client was ever given: for looking after secrets.
pub(crate) type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A client. Clones share the TLS tickets, as a browser's connections do, and each has the jar as it was.
#[derive(Clone)]
pub(crate) struct Client {
    gateway: SocketAddr,
    front: Option<SocketAddr>,
    host: String,
    http: Http,
    place: std::net::Ipv4Addr,
    agent: String,
    always: Vec<(String, String)>,
    tls: Arc<ClientConfig>,
    wire: Arc<tokio::sync::Mutex<Option<Wire>>>,
    pub(crate) jar: Arc<Mutex<Jar>>,
    pub(crate) seen: Seen,
}

impl Client {
    pub(crate) fn new(gateway: &Gateway, http: Http) -> Self {
        Self::with(gateway, http, &gateway.ca())
    }

    fn with(gateway: &Gateway, http: Http, ca: &std::path::Path) -> Self {
        Self {
            gateway: gateway.address(),
            front: None,
            host: "localhost".to_owned(),
            http,
            place: std::net::Ipv4Addr::LOCALHOST,
            agent: "e2e/1".to_owned(),
            always: Vec::new(),
            tls: Arc::new(tls(ca, http)),
            wire: Arc::default(),
            jar: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// The same client from another address of this machine, over a connection of its own.
    pub(crate) fn at(&self, place: [u8; 4]) -> Self {
        Self {
            place: place.into(),
            wire: Arc::default(),
            ..self.clone()
        }
    }

    /// Trusts this certificate in place of the local authority's.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) fn trusting(gateway: &Gateway, ca: &std::path::Path, http: Http) -> Self {
        Self::with(gateway, http, ca)
    }

    /// The certificate that a new connection is shown; nothing if it is not one that is trusted.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) async fn served_certificate(&self) -> Option<Vec<u8>> {
        let stream = within("connect", self.tls()).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates()?.first()?.to_vec();
        Some(shown)
    }

    /// Speaks to the address, and so sends no server name.
    pub(crate) fn by_address(mut self) -> Self {
        "127.0.0.1".clone_into(&mut self.host);
        self
    }

    /// Sends this field with every request.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) fn always(mut self, name: &str, value: &str) -> Self {
        self.always.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Connects to this address, where a proxy listens that passes TCP through.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) fn through(mut self, front: SocketAddr) -> Self {
        self.front = Some(front);
        self
    }

    /// The same program elsewhere: this jar, no tickets.
    pub(crate) fn thief(&self, gateway: &Gateway) -> Self {
        let thief = Self::new(gateway, self.http);
        *thief.jar.lock().unwrap() = self.jar.lock().unwrap().clone();
        thief
    }

    /// Forgets every TLS ticket, and gets none.
    pub(crate) fn without_tickets(mut self) -> Self {
        let mut config = ClientConfig::clone(&self.tls);
        config.resumption = Resumption::disabled();
        self.tls = Arc::new(config);
        self.wire = Arc::default();
        self
    }

    /// Somebody else behind the same TLS stack and connections: a jar of their own.
    pub(crate) fn other_person(&self) -> Self {
        Self {
            jar: Arc::default(),
            ..self.clone()
        }
    }

    /// The same jar and tickets over a connection of its own.
    pub(crate) fn other_connection(&self) -> Self {
        Self {
            wire: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let jar = self.jar.lock().unwrap();
        jar.named(name).map(|cookie| cookie.value.clone())
    }

    pub(crate) async fn hang_up(&self) {
        *self.wire.lock().await = None;
    }

    /// Whether the kept connection can carry another request.
    pub(crate) async fn is_connected(&self) -> bool {
        match self.wire.lock().await.as_mut() {
            Some(wire) => within("the connection", wire.is_open()).await,
            None => false,
        }
    }

    async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let to = self.front.unwrap_or(self.gateway);
        let stream = if self.place != std::net::Ipv4Addr::LOCALHOST {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((self.place, 0).into())?;
            socket.connect(to).await?
        } else {
            TcpStream::connect(to).await?
        };
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(name, stream).await
    }

    /// A connection of its own, TLS done and nothing sent.
    pub(crate) async fn bare(&self) -> TlsStream<TcpStream> {
        within("connect", self.tls()).await.unwrap()
    }

    pub(crate) async fn try_connect(&self) -> std::io::Result<Wire> {
        let stream = self.tls().await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let io = TokioIo::new(stream);
        let lost = std::io::Error::other;
        let sender = match self.http {
            Http::One => {
                let (sender, connection) = http1::handshake(io).await.map_err(lost)?;
                tokio::spawn(connection.with_upgrades());
                Sender::One(sender)
            }
            Http::Two => {
                let made = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = made.map_err(lost)?;
                tokio::spawn(connection);
                Sender::Two(sender)
            }
        };
        Ok(Wire { sender, resumed })
    }

    fn request(&self, ask: &Ask) -> Request<Full<Bytes>> {
        let own = format!("{}:{}", self.host, self.gateway.port());
        let authority = ask.authority.as_deref().unwrap_or(&own);
        let mut request = Request::builder()
            .method(ask.method.clone())
            .header("user-agent", &self.agent);
        request = match self.http {
            Http::One => request.uri(&ask.path).header("host", authority),
            Http::Two => request.uri(format!("https://{authority}{}", ask.path)),
        };
        let path = ask.path.split('?').next().unwrap();
        let kept = self.jar.lock().unwrap().field(&self.host, path, true);
        if let Some(cookies) = ask.cookies.clone().or(kept).filter(|line| !line.is_empty()) {
            request = request.header(COOKIE, cookies);
        }
        for (name, value) in self.always.iter().chain(&ask.fields) {
            request = request.header(name, value);
        }
        request.body(Full::new(ask.body.clone().into())).unwrap()
    }

    /// Sends over this connection; the head of the answer has come, and its cookies are in the jar.
    pub(crate) async fn try_send(
        &self,
        wire: &mut Wire,
        ask: &Ask,
    ) -> hyper::Result<Response<Incoming>> {
        self.send_whole(wire, self.request(ask)).await
    }

    /// Sends over this connection and does not wait; the future answers the status, or what went wrong.
    pub(crate) fn begin(
        &self,
        wire: &mut Wire,
        ask: &Ask,
    ) -> impl Future<Output = Result<u16, String>> + Send + 'static + use<> {
        let Sender::Two(sender) = &mut wire.sender else {
            panic!("HTTP/1.1 carries one request at a time")
        };
        let sent = sender.send_request(self.request(ask));
        async move {
            let answer = sent.await.map_err(|error| format!("{error:?}"))?;
            Ok(answer.status().as_u16())
        }
    }

    async fn send_whole(
        &self,
        wire: &mut Wire,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let response = match &mut wire.sender {
            Sender::One(sender) => sender.send_request(request).await?,
            Sender::Two(sender) => sender.send_request(request).await?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        for line in response.headers().get_all(SET_COOKIE) {
            let line = String::from_utf8_lossy(line.as_bytes());
            self.jar.lock().unwrap().take(&line, &self.host, now);
        }
        let head = (response.headers().clone(), String::new());
        self.seen.lock().unwrap().push(head);
        Ok(response)
    }

    async fn read(&self, response: Response<Incoming>) -> hyper::Result<Answer> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        let whole = (HeaderMap::new(), body.clone());
        self.seen.lock().unwrap().push(whole);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// One exchange over the kept connection, or a new one. Nothing is followed.
    pub(crate) async fn try_ask(&self, ask: &Ask) -> Result<Answer, Box<dyn std::error::Error>> {
        let mut kept = self.wire.lock().await;
        let usable = match kept.take() {
            Some(mut wire) => wire.is_open().await.then_some(wire),
            None => None,
        };
        let fresh = usable.is_none();
        let mut wire = match usable {
            Some(wire) => wire,
            None => self.try_connect().await?,
        };
        let response = match self.try_send(&mut wire, ask).await {
            Err(error) if !fresh && ask.may_go_again(&error) => {
                wire = self.try_connect().await?;
                self.try_send(&mut wire, ask).await?
            }
            sent => sent?,
        };
        let answer = self.read(response).await?;
        if answer.field(CONNECTION.as_str()) != "close" {
            *kept = Some(wire);
        }
        Ok(answer)
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let what = format!("{} {}", ask.method, ask.path);
        within(&what, self.try_ask(&ask))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Asks and follows redirects, as a browser would.
    pub(crate) async fn follow(&self, ask: Ask) -> Answer {
        within("redirects", self.try_follow(ask)).await.unwrap()
    }

    pub(crate) async fn try_follow(
        &self,
        mut ask: Ask,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        for _ in 0..12 {
            let answer = self.try_ask(&ask).await?;
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let to = answer.headers[LOCATION].to_str()?.to_owned();
            assert!(to.starts_with('/') && !to.starts_with("//"), "{to}");
            if answer.status != StatusCode::TEMPORARY_REDIRECT {
                ask = Ask {
                    method: Method::GET,
                    body: String::new(),
                    cookies: None,
                    ..ask
                };
            }
            ask.path = to;
        }
        Err("no end of redirects".into())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.follow(Ask::get(path)).await
    }

    /// Signs in and follows to the end: the lineage stands.
    pub(crate) async fn sign_in(&self, name: &str) -> Answer {
        let answer = self.follow(sign_in(name)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// Opens a WebSocket over a connection of its own.
    pub(crate) async fn socket(&self, path: &str) -> Socket {
        within("WebSocket", self.open_socket(path)).await
    }

    async fn open_socket(&self, path: &str) -> Socket {
        let mut wire = self.try_connect().await.unwrap();
        let origin = format!("https://{}:{}", self.host, self.gateway.port());
        let plain = Ask::get(path)
            .field("origin", &origin)
            .field("sec-websocket-version", "13");
        let response = match self.http {
            Http::One => {
                let ask = plain
                    .field("connection", "Upgrade")
                    .field("upgrade", "websocket")
                    .field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
                let response = self.try_send(&mut wire, &ask).await.unwrap();
                assert_eq!(response.status(), 101);
                response
            }
            Http::Two => {
                // The server's settings must be there before an extended CONNECT (RFC 8441, section 3).
                drop(self.try_send(&mut wire, &Ask::get("/")).await.unwrap());
                let mut request = self.request(&plain);
                *request.method_mut() = Method::CONNECT;
                let protocol = hyper::ext::Protocol::from_static("websocket");
                request.extensions_mut().insert(protocol);
                let response = self.send_whole(&mut wire, request).await.unwrap();
                assert_eq!(response.status(), 200);
                response
            }
        };
        let stream = hyper::upgrade::on(response).await.unwrap();
        Socket {
            stream: TokioIo::new(stream),
            _wire: wire,
        }
    }

    /// Begins an upload over a connection of its own: its head and its first bytes, and never the end.
    pub(crate) async fn upload(&self, path: &str, length: usize) -> Upload {
        let stream = self.bare().await;
        let ask = Ask::post(path, "");
        let request = self.request(&ask);
        match self.http {
            Http::One => {
                let mut text = format!("POST {path} HTTP/1.1\r\ncontent-length: {length}\r\n");
                for (name, value) in request.headers() {
                    text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
                }
                let mut stream = stream;
                stream.write_all(text.as_bytes()).await.unwrap();
                stream.write_all(b"\r\nfirst").await.unwrap();
                Upload::One(Box::new(stream), length)
            }
            Http::Two => {
                let (sender, connection) = h2::client::handshake(stream).await.unwrap();
                let ended = tokio::spawn(connection);
                let mut sender = sender.ready().await.unwrap();
                let (head, _) = request.into_parts();
                let head = Request::from_parts(head, ());
                let (answer, mut body) = sender.send_request(head, false).unwrap();
                body.send_data(Bytes::from_static(b"first"), false).unwrap();
                Upload::Two(answer, body, sender, ended)
            }
        }
    }

    /// A streamed answer over a connection of its own; its first chunk has come.
    pub(crate) async fn stream(&self, path: &str) -> Stream {
        let mut wire = self.try_connect().await.unwrap();
        let ask = Ask::get(path);
        let sent = self.try_send(&mut wire, &ask);
        let response = within(path, sent).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let mut body = response.into_body();
        let first = within(path, body.frame()).await;
        first.unwrap().unwrap();
        Stream { body, _wire: wire }
    }
}

/// An upload that has begun.
pub(crate) enum Upload {
    One(Box<TlsStream<TcpStream>>, usize),
    Two(
        h2::client::ResponseFuture,
        h2::SendStream<Bytes>,
        h2::client::SendRequest<Bytes>,
        tokio::task::JoinHandle<Result<(), h2::Error>>,
    ),
}

impl Upload {
    /// The answer: when its head came, its status. On HTTP/1.1 everything is sent before it is read, as browsers do.
    pub(crate) async fn answer(self) -> (Instant, u16) {
        within("the answer to an upload", self.read()).await
    }

    async fn read(self) -> (Instant, u16) {
        match self {
            Self::One(mut stream, length) => {
                let mut left = length - 5;
                while left > 0 {
                    let piece = left.min(16 * 1024);
                    stream.write_all(&vec![b'x'; piece]).await.unwrap();
                    left -= piece;
                }
                stream.flush().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let at = Instant::now();
                let head = String::from_utf8(head).unwrap().to_lowercase();
                assert!(head.contains("connection: close"), "{head}");
                (at, head[9..12].parse().unwrap())
            }
            Self::Two(answer, mut body, sender, ended) => {
                let answer = answer.await.unwrap();
                let at = Instant::now();
                let status = answer.status().as_u16();
                let mut rest = answer.into_body();
                while let Some(chunk) = rest.data().await {
                    let chunk = chunk.unwrap();
                    rest.flow_control().release_capacity(chunk.len()).unwrap();
                }
                // The rest is not wanted: said so, and never in a way that asks for another try.
                let reset = std::future::poll_fn(|cx| body.poll_reset(cx));
                // An eviction closes the connection behind the answer.
                if let Ok(reason) = reset.await {
                    assert_eq!(reason, h2::Reason::NO_ERROR);
                }
                drop((body, sender, rest));
                // An orderly end: GOAWAY or ours.
                let _end = ended.await.unwrap();
                (at, status)
            }
        }
    }
}

/// A POST of the app's own login form.
pub(crate) fn sign_in(name: &str) -> Ask {
    let form = format!("name={name}&username={name}&password=correct+horse");
    Ask::post("/login", &form).field("accept", "text/html,*/*")
}

fn tls(ca: &std::path::Path, http: Http) -> ClientConfig {
    let alpn: &[&[u8]] = match http {
        Http::One => &[b"http/1.1"],
        Http::Two => &[b"h2"],
    };
    authority::client(ca, alpn).unwrap()
}

/// An answer that does not end by itself.
pub(crate) struct Stream {
    body: Incoming,
    _wire: Wire,
}

impl Stream {
    /// Reads until nothing more comes; answers when that was, and whether the end was an honest one.
    pub(crate) async fn end(mut self) -> (Instant, bool) {
        let end = async {
            loop {
                match self.body.frame().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        if let Some(reason) = reset_reason(&error) {
                            assert_eq!(
                                reason,
                                h2::Reason::CANCEL,
                                "a browser must not send it again"
                            );
                        }
                        return false;
                    }
                    None => return true,
                }
            }
        };
        let whole = within("the end of a stream", end).await;
        (Instant::now(), whole)
    }
}

/// A WebSocket, frame by frame.
pub(crate) struct Socket {
    stream: TokioIo<hyper::upgrade::Upgraded>,
    _wire: Wire,
}

impl Socket {
    /// The next frame: its kind and its payload.
    async fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await?;
        let short = self.stream.read_u8().await?;
        let length = match short {
            126 => usize::from(self.stream.read_u16().await?),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok((kind & 0x0f, payload))
    }

    /// Says something and waits until it comes back.
    pub(crate) async fn echo(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
        let back = async {
            loop {
                let (_, payload) = self.frame().await.unwrap();
                if String::from_utf8_lossy(&payload).contains(text) {
                    return;
                }
            }
        };
        within("an echo", back).await;
    }

    /// Waits for the Close frame; answers when it came, and its code.
    pub(crate) async fn closed(self) -> (Instant, u16) {
        let (at, code, _) = self.goodbye().await;
        (at, code)
    }

    /// Waits for the Close frame; answers when it came, its code and its reason. Nothing comes after it.
    pub(crate) async fn goodbye(mut self) -> (Instant, u16, String) {
        let close = async {
            loop {
                let (kind, payload) = self.frame().await.unwrap();
                if kind == 8 {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
            }
        };
        let (code, reason) = within("a close frame", close).await;
        let at = Instant::now();
        let mut rest = Vec::new();
        // How the connection ends is told by others; what is looked for here is a byte too many.
        let _end = within("the end", self.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "after the Close frame: {rest:?}");
        (at, code, reason)
    }
}

/// Why a stream of HTTP/2 was reset, if that is what an error says.
fn reset_reason(error: &hyper::Error) -> Option<h2::Reason> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason();
        }
        next = error.source();
    }
    None
}
