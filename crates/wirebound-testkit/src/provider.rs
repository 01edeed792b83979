//! A provider of identities on a site of its own, and everybody's mailbox: where people are sent to sign in, and come
//! back from.
//!
//! It answers an OIDC-style request with a code that is good once, and a SAML-style one with a page that posts its signed
//! answer to the app by itself. Browsers meet it over TLS under hosts of another site; the apps ask it over a plain
//! loopback port, as they would over a private network. It knows one person.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;

/// The one person it knows.
const PERSON: &str = "alice";

/// Length of a line of base64, as many providers wrap it.
const LINE: usize = 76;

type Answer = Response<Full<Bytes>>;

/// A running provider. Ends when dropped.
#[derive(Debug)]
pub struct Provider {
    desk: Arc<Desk>,
    front: SocketAddr,
    back: SocketAddr,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Desk {
    key: String,
    /// Codes that are out, with the address that each was given to.
    codes: Mutex<HashMap<String, String>>,
    mails: Mutex<Vec<String>>,
}

impl Provider {
    /// The provider's host.
    pub const HOST: &str = "idp.test";
    /// The mailbox's host, on a third site.
    pub const MAIL: &str = "mail.test";

    /// Starts it with a certificate of `authority`.
    ///
    /// # Errors
    /// When no certificate can be made or no port be had.
    pub async fn start(authority: &Authority) -> Result<Self> {
        let config = authority.server(&[Self::HOST, Self::MAIL], &[b"h2", b"http/1.1"])?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let desk = Arc::new(Desk {
            key: random()?,
            codes: Mutex::default(),
            mails: Mutex::default(),
        });
        let front = TcpListener::bind(("127.0.0.1", 0)).await?;
        let back = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (to_front, to_back) = (front.local_addr()?, back.local_addr()?);
        let at_front = Arc::clone(&desk);
        let at_back = Arc::clone(&desk);
        let tasks = [
            tokio::spawn(async move {
                while let Ok((stream, _)) = front.accept().await {
                    let (acceptor, desk) = (acceptor.clone(), Arc::clone(&at_front));
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            desk.serve(stream).await;
                        }
                    });
                }
            }),
            tokio::spawn(async move {
                while let Ok((stream, _)) = back.accept().await {
                    let desk = Arc::clone(&at_back);
                    tokio::spawn(async move { desk.serve(stream).await });
                }
            }),
        ];
        Ok(Self {
            desk,
            front: to_front,
            back: to_back,
            tasks,
        })
    }

    /// Its address for browsers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}", Self::HOST, self.front.port())
    }

    /// The mailbox's address for browsers.
    #[must_use]
    pub fn inbox(&self) -> String {
        format!("https://{}:{}/inbox", Self::MAIL, self.front.port())
    }

    /// Its address for apps.
    #[must_use]
    pub fn back(&self) -> String {
        format!("http://{}", self.back)
    }

    /// The key that its signed answers are checked with.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.desk.key
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Desk {
    async fn serve(self: Arc<Self>, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let desk = Arc::clone(&self);
            async move { desk.answer(request).await }
        });
        // How a connection ends is the client's business.
        let _ended = auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(io), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let asked = pairs(head.uri.query().unwrap_or_default().as_bytes());
        let form = pairs(&body);
        match (head.method.as_str(), head.uri.path()) {
            // Whom it remembers it sends back without a question.
            ("GET", "/authorize") if is_remembered(&head) => self.back_to_the_app(&asked),
            ("GET", "/authorize") => page(&consent(&asked)),
            ("POST", "/authorize") => {
                let mut answer = self.back_to_the_app(&form)?;
                let cookie = "remembered=1; Secure; HttpOnly; SameSite=Lax; Path=/";
                answer.headers_mut().insert(SET_COOKIE, cookie.parse()?);
                Ok(answer)
            }
            ("POST", "/token") => self.token(&form),
            ("GET", "/saml/sso") => page(&self.assertion(&asked)?),
            ("POST", "/mail") => {
                self.mails.lock().unwrap().push(form["link"].clone());
                Ok(Response::builder().status(204).body(Full::default())?)
            }
            ("GET", "/inbox") => page(&self.inbox()),
            _ => Ok(Response::builder().status(404).body(Full::default())?),
        }
    }

    fn back_to_the_app(&self, asked: &Pairs) -> Result<Answer> {
        let code = random()?;
        let to = asked.get("redirect_uri").context("a redirect_uri")?;
        let state = asked.get("state").context("a state")?;
        self.codes.lock().unwrap().insert(code.clone(), to.clone());
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", state)
            .finish();
        Ok(Response::builder()
            .status(303)
            .header(LOCATION, format!("{to}?{query}"))
            .body(Full::default())?)
    }

    /// A code is good once, and for the address that it was given to.
    fn token(&self, form: &Pairs) -> Result<Answer> {
        let code = form.get("code").map(String::as_str).unwrap_or_default();
        let given_to = self.codes.lock().unwrap().remove(code);
        if given_to.is_none() || given_to.as_ref() != form.get("redirect_uri") {
            return Ok(Response::builder().status(400).body(Full::default())?);
        }
        let told = json!({ "sub": PERSON, "token_type": "Bearer" });
        Ok(Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(told.to_string()))?)
    }

    /// A page that posts its signed answer to the app by itself; as long as such answers are, and wrapped.
    fn assertion(&self, asked: &Pairs) -> Result<String> {
        let groups: Vec<String> = (0..200).map(|n| format!("group-{n:04}")).collect();
        let told = json!({
            "id": random()?, "in_response_to": asked["request"], "subject": PERSON, "groups": groups,
        })
        .to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_bytes());
        let mark = hmac::sign(&key, told.as_bytes());
        let fields = [
            ("SAMLResponse", wrapped(told.as_bytes())?),
            ("Signature", data_encoding::HEXLOWER.encode(mark.as_ref())),
            ("RelayState", asked["relay"].clone()),
        ];
        Ok(format!(
            "<form id=answer method=post action=\"{}\">{}</form>\
             <script>document.getElementById('answer').submit()</script>",
            escaped(&asked["acs"]),
            hidden(fields.iter().map(|(name, value)| (*name, value.as_str())))
        ))
    }

    fn inbox(&self) -> String {
        let mails = self.mails.lock().unwrap();
        let lines = mails.iter().rev().map(|link| escaped(link));
        lines
            .map(|link| format!("<li><a class=mail href=\"{link}\">sign in</a></li>"))
            .collect()
    }
}

type Pairs = HashMap<String, String>;

fn pairs(text: &[u8]) -> Pairs {
    form_urlencoded::parse(text).into_owned().collect()
}

fn is_remembered(head: &Parts) -> bool {
    let cookies = head.headers.get_all(COOKIE).iter();
    cookies
        .filter_map(|c| c.to_str().ok())
        .any(|c| c.contains("remembered=1"))
}

fn consent(asked: &Pairs) -> String {
    let fields = asked.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    format!(
        "<form id=consent method=post action=/authorize>{}<button>It is I, {PERSON}</button></form>",
        hidden(fields)
    )
}

fn hidden<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    fields
        .map(|(name, value)| {
            let (name, value) = (escaped(name), escaped(value));
            format!("<input type=hidden name=\"{name}\" value=\"{value}\">")
        })
        .collect()
}

fn page(body: &str) -> Result<Answer> {
    let html = format!("<!doctype html><title>Elsewhere</title><body>{body}</body>");
    Ok(Response::builder()
        .header(CONTENT_TYPE, "text/html; charset=utf-8")
        .body(Full::from(html))?)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

fn wrapped(bytes: &[u8]) -> Result<String> {
    let text = data_encoding::BASE64.encode(bytes);
    let lines: Result<Vec<&str>, _> = text.as_bytes().chunks(LINE).map(str::from_utf8).collect();
    Ok(lines?.join("\n"))
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
