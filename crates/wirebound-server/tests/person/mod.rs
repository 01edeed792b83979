//! Somebody who reaches the gateway through whatever stands in front of it: plain HTTP, a jar, nothing followed unasked.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wirebound_testkit::jar::Jar;

use crate::process::within;

/// Under which the jar keeps what it is given.
const HOST: &str = "app.test";

/// An answer, read to its end, or to where it was cut off.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// It ended before its end.
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// One client with one connection to what stands in front.
pub(crate) struct Person {
    front: SocketAddr,
    agent: String,
    pub(crate) jar: Jar,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Person {
    pub(crate) fn at(front: SocketAddr) -> Self {
        Self {
            front,
            agent: "Browser/1".to_owned(),
            jar: Jar::default(),
            sender: None,
        }
    }

    pub(crate) fn calls_itself(mut self, agent: &str) -> Self {
        agent.clone_into(&mut self.agent);
        self
    }

    /// Somebody else with a copy of this jar.
    pub(crate) fn thief(&self) -> Self {
        Self {
            jar: self.jar.clone(),
            ..Self::at(self.front).calls_itself(&self.agent)
        }
    }

    /// Cookies as they stand in the jar.
    pub(crate) fn cookies(&self) -> String {
        self.jar.field(HOST, "/", true).unwrap_or_default()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", &[]).await
    }

    pub(crate) async fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, "", fields).await
    }

    /// Asks and follows redirects with GET, as a browser does.
    pub(crate) async fn follow(&mut self, path: &str) -> Answer {
        let mut answer = self.get(path).await;
        for _ in 0..12 {
            if !answer.status.is_redirection() {
                return answer;
            }
            let to = answer.headers[LOCATION].to_str().unwrap().to_owned();
            answer = self.get(&to).await;
        }
        panic!("no end of redirects")
    }

    /// Signs in with the app's own form and follows to the end.
    pub(crate) async fn sign_in(&mut self, name: &str) -> Answer {
        let mut answer = self.try_sign_in(name).await;
        for _ in 0..8 {
            if answer.status != StatusCode::TEMPORARY_REDIRECT {
                break;
            }
            answer = self.try_sign_in(name).await;
        }
        if !answer.status.is_redirection() {
            return answer;
        }
        let to = answer.headers[LOCATION].to_str().unwrap().to_owned();
        self.follow(&to).await
    }

    /// The next request comes over a new connection.
    pub(crate) fn hang_up(&mut self) {
        self.sender = None;
    }

    /// Sends the app's own form.
    pub(crate) async fn try_sign_in(&mut self, name: &str) -> Answer {
        let kind = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "text/html"),
            ("sec-fetch-mode", "navigate"),
        ];
        self.ask("POST", "/login", &format!("name={name}"), &kind)
            .await
    }

    /// Sends a form as a program does.
    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Answer {
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        self.ask("POST", path, form, &kind).await
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.front.to_string())
            .header("user-agent", &self.agent);
        let cookies = self.cookies();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.to_owned().into())).unwrap();
        within(path, self.exchange(request)).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let kept = match self.sender.take() {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut sender = match kept {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect(self.front).await.unwrap();
                let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender
            }
        };
        let response = sender.send_request(request).await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        for line in response.headers().get_all(SET_COOKIE) {
            let line = String::from_utf8_lossy(line.as_bytes());
            self.jar.take(&line, HOST, now);
        }
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut cut) = (Vec::new(), false);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
                Err(_) => cut = true,
            }
        }
        self.sender = (!cut).then_some(sender);
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            cut,
        }
    }
}
