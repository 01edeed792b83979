//! The app's answers that last: events, a download, a cut answer, a WebSocket.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// Announced length of the answer that is cut; far more than comes.
const CUT_LENGTH: u64 = 1_000_000;

fn stream() -> (Sender<Bytes, std::io::Error>, Body) {
    let (sender, channel) = Channel::new(1);
    (sender, channel.boxed())
}

/// Server-sent events, one in 100 ms, until the client goes.
pub(super) fn events() -> Result<Response<Body>> {
    let (mut sender, body) = stream();
    tokio::spawn(async move {
        for number in 0_u32.. {
            let event = Bytes::from(format!("data: {number}\n\n"));
            if sender.send_data(event).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    Ok(Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .body(body)?)
}

/// 200 kB in 200 ms, as a file of a new name each time: browsers replace one of the same name.
pub(super) fn download() -> Result<Response<Body>> {
    let (mut sender, body) = stream();
    tokio::spawn(async move {
        for _ in 0..10 {
            if sender
                .send_data(Bytes::from(vec![b'x'; 20_000]))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let name = format!("attachment; filename=\"{}.bin\"", super::random_hex()?);
    Ok(Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_DISPOSITION, name)
        .body(body)?)
}

/// An answer that ends long before its announced length.
pub(super) fn cut() -> Result<Response<Body>> {
    let (mut sender, body) = stream();
    tokio::spawn(async move {
        for _ in 0..4 {
            if sender
                .send_data(Bytes::from(vec![b'x'; 2_000]))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sender.abort(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    });
    Ok(Response::builder()
        .header(CONTENT_TYPE, "text/html")
        .header(CONTENT_LENGTH, CUT_LENGTH)
        .body(body)?)
}

/// A WebSocket that says back what it hears (RFC 6455, section 4.2.2 for the handshake).
pub(super) fn socket(mut request: Request<Incoming>) -> Result<Response<Body>> {
    let key = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .context("a WebSocket key")?;
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(super::full(""))?)
}
