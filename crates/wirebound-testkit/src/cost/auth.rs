//! The authentication server of nginx's `auth_request`: a sign-in, and a look into a table of sessions for each request.
//!
//! It is hyper and a hash map and nothing else, so that what is measured beside it is the round trip's price.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Sessions = Arc<Mutex<HashMap<String, String>>>;

/// Serves on a free loopback port, which it prints, until it is killed.
///
/// # Errors
/// When no port can be had.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let sessions = Sessions::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let sessions = Arc::clone(&sessions);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, &sessions);
                async move { Ok::<_, Infallible>(response) }
            });
            let http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(http.await);
        });
    }
}

fn answer(request: &Request<Incoming>, sessions: &Sessions) -> Response<Empty<Bytes>> {
    let response = Response::builder();
    let response = if request.method() == Method::POST && request.uri().path() == "/login" {
        let mut sessions = sessions.lock().unwrap();
        let number = sessions.len() + 1;
        let name = format!("{number:032x}");
        sessions.insert(name.clone(), format!("user-{number}"));
        response
            .status(StatusCode::SEE_OTHER)
            .header(LOCATION, "/")
            .header(SET_COOKIE, format!("auth={name}; HttpOnly; Path=/"))
    } else {
        match whose(request, sessions) {
            Some(name) => response.header("x-user", name),
            None => response.status(StatusCode::UNAUTHORIZED),
        }
    };
    response.body(Empty::new()).unwrap()
}

fn whose(request: &Request<Incoming>, sessions: &Sessions) -> Option<String> {
    let field = request.headers().get(COOKIE)?.to_str().ok()?;
    let value = field
        .split("; ")
        .find_map(|pair| pair.strip_prefix("auth="))?;
    sessions.lock().unwrap().get(value).cloned()
}
