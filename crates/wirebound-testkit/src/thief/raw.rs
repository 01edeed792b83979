//! A thief with a TLS client of its own: full control over tickets, connections and header fields.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Http, Loot, REDIRECTS};
use crate::authority;
use crate::jar::Jar;

/// Bound of one exchange.
const BOUND: Duration = Duration::from_secs(20);

/// Whether the client resumes TLS where the server lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// Keeps every ticket and offers the newest.
    Kept,
    /// Always a full handshake.
    Dropped,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, as text.
    pub body: String,
}

#[derive(Debug)]
enum Wire {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Wire {
    async fn is_usable(&mut self) -> bool {
        match self {
            Self::One(sender) => sender.ready().await.is_ok(),
            Self::Two(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// A client with a jar. It keeps one connection open between requests.
#[derive(Debug)]
pub struct RawThief {
    server: SocketAddr,
    http: Http,
    config: Arc<ClientConfig>,
    user_agent: String,
    wire: Option<(String, Wire)>,
    opened: u64,
    resumed: u64,
    /// What it carries; it grows by what it is given.
    pub jar: Jar,
}

impl RawThief {
    /// A thief that knows `server`, whatever name an address has.
    ///
    /// # Errors
    /// When `ca` holds no certificate.
    pub fn new(
        ca: &Path,
        server: SocketAddr,
        http: Http,
        tickets: Tickets,
        user_agent: &str,
        jar: Jar,
    ) -> Result<Self> {
        let alpn: &[&[u8]] = match http {
            Http::One => &[b"http/1.1"],
            Http::Two => &[b"h2"],
        };
        let mut config = authority::client(ca, alpn)?;
        if tickets == Tickets::Dropped {
            config.resumption = Resumption::disabled();
        }
        Ok(Self {
            server,
            http,
            config: Arc::new(config),
            user_agent: user_agent.to_owned(),
            wire: None,
            opened: 0,
            resumed: 0,
            jar,
        })
    }

    /// Connections made, and how many of them resumed TLS.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        (self.opened, self.resumed)
    }

    /// Its TLS configuration with the tickets that it holds: other connections of the same client.
    #[must_use]
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Closes the connection; the next request makes a new one.
    pub fn hang_up(&mut self) {
        self.wire = None;
    }

    /// Asks for `url`, follows redirects, keeps cookies.
    ///
    /// # Errors
    /// When there is no answer, or no end of redirects.
    pub async fn get(&mut self, url: &str) -> Result<Loot> {
        tokio::time::timeout(BOUND, self.follow(url))
            .await
            .context("the thief got no answer")?
    }

    async fn follow(&mut self, url: &str) -> Result<Loot> {
        let mut uri: Uri = url.parse()?;
        for _ in 0..=REDIRECTS {
            let (status, to, body) = self.step(&uri).await?;
            let Some(to) = to.filter(|_| status.is_redirection()) else {
                return Ok(Loot {
                    status: status.as_u16(),
                    url: uri.to_string(),
                    body,
                });
            };
            uri = resolve(&uri, &to)?;
        }
        bail!("more than {REDIRECTS} redirects from {url}")
    }

    async fn step(&mut self, uri: &Uri) -> Result<(StatusCode, Option<String>, String)> {
        let answer = self.exchange(&Method::GET, uri, "").await?;
        let to = answer.headers.get(LOCATION);
        let to = to.map(|f| String::from_utf8_lossy(f.as_bytes()).into_owned());
        Ok((answer.status, to, answer.body))
    }

    /// Asks once and follows nothing; `form` is the body, where it is not empty. An owner who has no
    /// browser signs in by this.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&mut self, method: &Method, url: &str, form: &str) -> Result<Answer> {
        tokio::time::timeout(BOUND, self.exchange(method, &url.parse()?, form))
            .await
            .context("the client got no answer")?
    }

    async fn exchange(&mut self, method: &Method, uri: &Uri, form: &str) -> Result<Answer> {
        let host = uri.host().context("a host")?.to_owned();
        let authority = uri.authority().context("an authority")?.to_string();
        let mut request = Request::builder()
            .method(method)
            .header(USER_AGENT, &self.user_agent)
            .header(ACCEPT, "text/html,*/*");
        request = match self.http {
            Http::One => {
                let path = uri.path_and_query().map_or("/", |p| p.as_str());
                request.uri(path).header(HOST, &authority)
            }
            Http::Two => request.uri(uri.clone()),
        };
        if let Some(cookies) = self.jar.field(&host, uri.path(), true) {
            request = request.header(COOKIE, cookies);
        }
        if !form.is_empty() {
            // As a browser would say that the form is the site's own.
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(ORIGIN, format!("https://{authority}"));
        }
        let request = request.body(Full::new(Bytes::from(form.to_owned())))?;
        let (head, body) = self.send(&authority, &host, request).await?.into_parts();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        for field in head.headers.get_all(SET_COOKIE) {
            self.jar
                .take(&String::from_utf8_lossy(field.as_bytes()), &host, now);
        }
        let body = body.collect().await?.to_bytes();
        if head.headers.get(CONNECTION).is_some_and(|c| c == "close") {
            self.hang_up();
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    async fn send(
        &mut self,
        authority: &str,
        host: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>> {
        let kept = match self.wire.take() {
            Some((to, mut wire)) if to == authority => wire.is_usable().await.then_some(wire),
            _ => None,
        };
        let mut wire = match kept {
            Some(wire) => wire,
            None => self.connect(host).await?,
        };
        let answer = match &mut wire {
            Wire::One(sender) => sender.send_request(request).await?,
            Wire::Two(sender) => sender.send_request(request).await?,
        };
        self.wire = Some((authority.to_owned(), wire));
        Ok(answer)
    }

    async fn connect(&mut self, host: &str) -> Result<Wire> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await?;
        self.opened += 1;
        let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        self.resumed += u64::from(resumed);
        let io = TokioIo::new(stream);
        Ok(match self.http {
            Http::One => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Wire::One(sender)
            }
            Http::Two => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Wire::Two(sender)
            }
        })
    }
}

/// A `Location`, absolute or from the root (RFC 9110, section 10.2.2); nothing here sends another.
fn resolve(from: &Uri, to: &str) -> Result<Uri> {
    if to.starts_with("https://") {
        return Ok(to.parse()?);
    }
    if !to.starts_with('/') || to.starts_with("//") {
        bail!("a redirect to {to}, which this client does not follow");
    }
    let authority = from.authority().context("an authority")?.clone();
    Ok(Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(to)
        .build()?)
}
