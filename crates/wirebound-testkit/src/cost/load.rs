//! The load: clients that sign in once, come back over resumed connections, and then ask as fast as they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Http;
use super::report::Turn;
use super::servers::Server;
use super::upstream::{MEMBER, NOBODY, field, find};
use crate::authority;
use crate::jar::Jar;
use crate::thief::Http as RawHttp;
use crate::thief::raw::{RawThief, Tickets};

/// The fields of a Chromium that fetches something of its own page, but for its cookies.
const FIELDS: [(&str, &str); 8] = [
    ("user-agent", AGENT),
    ("accept", "*/*"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("priority", "u=1, i"),
];
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Signed in: each connection is another member's, with a session of its own.
    Member,
    /// Without any cookie.
    Nobody,
}

/// The connections of one case.
pub(super) struct Fleet {
    pub(super) who: Who,
    wires: Vec<Wire>,
}

/// One connection.
pub(super) enum Wire {
    One(Box<One>),
    Two(Two),
}

pub(super) struct One {
    stream: TlsStream<TcpStream>,
    request: Vec<u8>,
    expected: &'static [u8],
    had: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Two {
    sender: h2::client::SendRequest<Bytes>,
    request: Arc<Request<()>>,
    expected: &'static [u8],
}

/// What one turn of a fleet came to.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    /// In nanoseconds, sorted.
    latencies: Vec<u64>,
}

impl Window {
    pub(super) fn requests(&self) -> usize {
        self.latencies.len()
    }

    pub(super) fn with(&self, cpu: Duration) -> Turn {
        let count = self.latencies.len();
        let at = |share: f64| self.latencies[((count - 1) as f64 * share) as usize] as f64 / 1e3;
        Turn {
            cpu: cpu.as_secs_f64() * 1e6 / count as f64,
            p50: at(0.5),
            p99: at(0.99),
            rate: count as f64 / self.length.as_secs_f64(),
        }
    }
}

impl Fleet {
    /// Opens that many connections; a member's is resumed from the family of their sign-in.
    pub(super) async fn open(server: &Server, http: Http, who: Who, many: usize) -> Result<Self> {
        let mut wires = Vec::new();
        for number in 0..many {
            let (tls, cookies) = match who {
                Who::Member => sign_in(server, http, number).await?,
                Who::Nobody => (Arc::new(authority::client(&server.ca, http.alpn())?), None),
            };
            let wire = Wire::open(server.address, tls, http, cookies, who).await;
            wires.push(wire.context("connect")?);
        }
        let mut fleet = Self { who, wires };
        // The first answer attaches each wire; it is asked one by one, so that a fault says whose it is.
        for (number, wire) in fleet.wires.iter_mut().enumerate() {
            wire.exchange()
                .await
                .with_context(|| format!("client {number}, {who:?}"))?;
        }
        Ok(fleet)
    }

    pub(super) fn len(&self) -> usize {
        self.wires.len()
    }

    /// Asks for `length` with so many requests at once on each connection.
    pub(super) async fn fire(&mut self, length: Duration, at_once: usize) -> Result<Window> {
        let start = Instant::now();
        let until = start + length;
        let mut running = Vec::new();
        for wire in self.wires.drain(..) {
            if let Wire::Two(two) = &wire {
                for _ in 1..at_once {
                    running.push(tokio::spawn(fire(Wire::Two(two.clone()), until, false)));
                }
            }
            running.push(tokio::spawn(fire(wire, until, true)));
        }
        let mut latencies = Vec::new();
        for task in running {
            let (wire, mut took) = task.await??;
            self.wires.extend(wire);
            latencies.append(&mut took);
        }
        let length = start.elapsed();
        latencies.sort_unstable();
        Ok(Window { length, latencies })
    }

    /// One request on every connection, one after the other.
    pub(super) async fn ask_each(&mut self, times: usize) -> Result<()> {
        for _ in 0..times {
            for wire in &mut self.wires {
                wire.exchange().await?;
            }
        }
        Ok(())
    }
}

async fn fire(mut wire: Wire, until: Instant, owned: bool) -> Result<(Option<Wire>, Vec<u64>)> {
    let mut took = Vec::with_capacity(4096);
    let mut now = Instant::now();
    while now < until {
        wire.exchange().await?;
        let then = Instant::now();
        took.push((then - now).as_nanos() as u64);
        now = then;
    }
    Ok((owned.then_some(wire), took))
}

impl Wire {
    pub(super) async fn open(
        server: SocketAddr,
        tls: Arc<ClientConfig>,
        http: Http,
        cookies: Option<String>,
        who: Who,
    ) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        let authority = format!("localhost:{}", server.port());
        let expected = match who {
            Who::Member => MEMBER,
            Who::Nobody => NOBODY,
        };
        let cookies = cookies.as_deref();
        Ok(match http {
            Http::One => Self::One(Box::new(One {
                stream,
                request: written(&authority, cookies),
                expected,
                had: Vec::with_capacity(1024),
            })),
            Http::Two => {
                let (sender, connection) = h2::client::Builder::new()
                    .initial_window_size(1 << 20)
                    .initial_connection_window_size(1 << 20)
                    .handshake(stream)
                    .await?;
                // What breaks off is seen by whoever asks.
                tokio::spawn(async move { drop(connection.await) });
                Self::Two(Two {
                    sender,
                    request: Arc::new(request(&authority, cookies)?),
                    expected,
                })
            }
        })
    }

    pub(super) async fn exchange(&mut self) -> Result<()> {
        match self {
            Self::One(one) => one.exchange().await,
            Self::Two(two) => two.exchange().await,
        }
    }
}

impl One {
    async fn exchange(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        self.stream.flush().await?;
        self.had.clear();
        loop {
            let read = self.stream.read_buf(&mut self.had).await?;
            ensure!(read > 0, "the connection was closed");
            let Some(head) = find(&self.had, b"\r\n\r\n") else {
                continue;
            };
            let fields = &self.had[..head];
            ensure!(fields.starts_with(b"HTTP/1.1 200"), "{}", text(fields));
            let length = field(fields, b"content-length").context("a length")?;
            let length: usize = std::str::from_utf8(length)?.parse()?;
            let body = &self.had[head + 4..];
            if body.len() < length {
                continue;
            }
            ensure!(
                body == self.expected,
                "answered as somebody else: {}",
                text(body)
            );
            return Ok(());
        }
    }
}

impl Two {
    async fn exchange(&self) -> Result<()> {
        let mut sender = self.sender.clone().ready().await?;
        let (answer, _) = sender.send_request(Request::clone(&self.request), true)?;
        let answer = answer.await?;
        ensure!(answer.status() == 200, "answered {}", answer.status());
        let mut body = answer.into_body();
        let mut had = Vec::with_capacity(64);
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            had.extend_from_slice(&piece);
        }
        ensure!(
            had == self.expected,
            "answered as somebody else: {}",
            text(&had)
        );
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn written(authority: &str, cookies: Option<&str>) -> Vec<u8> {
    let mut text = format!("GET /api/item?id=7 HTTP/1.1\r\nhost: {authority}\r\n");
    for (name, value) in FIELDS {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("referer: https://{authority}/\r\n"));
    if let Some(cookies) = cookies {
        text.push_str(&format!("cookie: {cookies}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn request(authority: &str, cookies: Option<&str>) -> Result<Request<()>> {
    let mut request = Request::builder()
        .version(http::Version::HTTP_2)
        .uri(format!("https://{authority}/api/item?id=7"));
    for (name, value) in FIELDS {
        request = request.header(name, value);
    }
    request = request.header("referer", format!("https://{authority}/"));
    if let Some(cookies) = cookies {
        request = request.header("cookie", cookies);
    }
    Ok(request.body(())?)
}

/// Signs a member in and goes to the app's first page: what is left is a jar, and TLS tickets of the session's family.
async fn sign_in(
    server: &Server,
    http: Http,
    number: usize,
) -> Result<(Arc<ClientConfig>, Option<String>)> {
    let kind = match http {
        Http::One => RawHttp::One,
        Http::Two => RawHttp::Two,
    };
    let ca = &server.ca;
    let jar = Jar::default();
    let mut client = RawThief::new(ca, server.address, kind, Tickets::Kept, AGENT, jar)?;
    let base = format!("https://localhost:{}", server.address.port());
    let form = format!("name=member-{number}");
    let answer = client
        .ask(&Method::POST, &format!("{base}/login"), &form)
        .await?;
    if answer.status != 303 {
        bail!(
            "the sign-in was answered {}: {}",
            answer.status,
            answer.body
        );
    }
    let page = client.get(&format!("{base}/")).await?;
    ensure!(
        page.body.as_bytes() == MEMBER,
        "after the sign-in: {} {}",
        page.status,
        page.body
    );
    let cookies = client.jar.field("localhost", "/", true);
    Ok((client.tls(), Some(cookies.context("a cookie")?)))
}
