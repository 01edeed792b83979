//! A small service behind a gateway: it greets whoever the gateway vouches for, and nobody who was called back.
//!
//! ```sh
//! WIREBOUND_ISSUER=https://gate.example WIREBOUND_AUDIENCE=https://orders.example WIREBOUND_FEED_KEY=wbk_... \
//!     cargo run -p wirebound-verify --example service
//! ```
#![allow(
    clippy::print_stderr,
    clippy::exit,
    reason = "a program for people to read and try"
)]

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wirebound_verify::{Checked, Refused, Trust, Verifier, WhenStale};

/// What the gateway sets on each request, and lets nobody else set.
const ASSERTION: &str = "wirebound-assertion";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let mut builder =
        Verifier::builder(setting("WIREBOUND_ISSUER")?, setting("WIREBOUND_AUDIENCE")?)
            .feed_key(setting("WIREBOUND_FEED_KEY")?);
    if let Ok(key) = setting("WIREBOUND_INTROSPECT_KEY") {
        builder = builder.introspect_key(key).policy(WhenStale::Ask);
    }
    if let Ok(file) = setting("WIREBOUND_CA") {
        builder = builder.trust(Trust::Pem(std::fs::read(file)?));
    }
    let verifier = builder.start()?;
    let listener = TcpListener::bind("127.0.0.1:8081").await?;
    eprintln!(
        "on http://{}; it refuses until it knows what is called back",
        listener.local_addr()?
    );
    loop {
        let (stream, _) = listener.accept().await?;
        let verifier = verifier.clone();
        tokio::spawn(async move {
            let answered = service_fn(|request| answer(&verifier, request));
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), answered);
            if let Err(error) = served.await {
                eprintln!("a connection: {error}");
            }
        });
    }
}

async fn answer(
    verifier: &Verifier,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // One field, or none: two of them would be two opinions.
    let mut fields = request.headers().get_all(ASSERTION).iter();
    let token = match (fields.next(), fields.next()) {
        (Some(field), None) => field.to_str().unwrap_or_default(),
        _ => "",
    };
    Ok(match verifier.check(token).await {
        Ok(checked) => greet(&checked),
        Err(refused) => refuse(refused, verifier),
    })
}

fn greet(checked: &Checked) -> Response<Full<Bytes>> {
    let claims = &checked.claims;
    let text = format!(
        "Hello {}, you are here as {}.\n",
        claims.subject, claims.role
    );
    private(Response::new(Full::from(text)))
}

/// The one place where a refusal becomes an answer: the stranger learns the status, the log the rest.
fn refuse(refused: Refused, verifier: &Verifier) -> Response<Full<Bytes>> {
    eprintln!(
        "{} ({}): {:?}",
        refused.name(),
        refused.detail(),
        verifier.freshness()
    );
    let mut response = Response::new(Full::default());
    *response.status_mut() =
        StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    if let Some(challenge) = refused.www_authenticate() {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refused.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    private(response)
}

/// No cache keeps what was meant for one person.
fn private(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}
