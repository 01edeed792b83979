//! WebSockets through the gateway, from HTTP/1.1 and from HTTP/2, to a real WebSocket server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it measured"
)]

mod rig;

use http::{Method, Request, StatusCode};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rig::{App, Gateway, full, get, h1, h2, read_head, text, write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wirebound_server::proxy::CloseCode;
use wirebound_server::websocket::Ended;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An app whose WebSocket echoes frames, by axum.
async fn chat() -> App {
    use axum::extract::ws::{Message, WebSocketUpgrade};
    use axum::routing::any;
    let router = axum::Router::new().route(
        "/ws",
        any(|upgrade: WebSocketUpgrade| async {
            upgrade
                .protocols(["chat"])
                .on_upgrade(|mut socket| async move {
                    while let Some(Ok(message)) = socket.recv().await {
                        if let Message::Text(_) = message
                            && socket.send(message).await.is_err()
                        {
                            return;
                        }
                    }
                })
        }),
    );
    App::raw(move |stream| {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
            drop(served);
        }
    })
    .await
}

fn upgrade(path: &str) -> Request<rig::AnyBody> {
    Request::get(path)
        .header("host", "app.example")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY)
        .header("sec-websocket-protocol", "chat")
        .body(full(""))
        .unwrap()
}

fn connect(path: &str) -> Request<rig::AnyBody> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://app.example{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static("websocket"))
        .body(full(""))
        .unwrap()
}

/// A client's masked text frame; the mask is zero, which changes no byte.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

async fn talk(socket: &mut TokioIo<Upgraded>) {
    for word in ["hello", "again"] {
        socket.write_all(&text_frame(word)).await.unwrap();
        let mut frame = vec![0; word.len() + 2];
        socket.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame[..2], [0x81, u8::try_from(word.len()).unwrap()]);
        assert_eq!(&frame[2..], word.as_bytes());
    }
}

async fn is_cut(mut gateway: Gateway, mut socket: TokioIo<Upgraded>) {
    talk(&mut socket).await;
    let fired = tokio::time::Instant::now();
    gateway.cutter.fire(CloseCode::RoleChanged);
    let mut head = [0; 4];
    let bound = std::time::Duration::from_secs(5);
    tokio::time::timeout(bound, socket.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    println!("Close frame after {:?}", fired.elapsed());
    assert_eq!(head[0], 0x88);
    assert_eq!(u16::from_be_bytes([head[2], head[3]]), 4002);
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"role_changed; reconnect: now");
    drop(socket);
    assert_eq!(
        gateway.ended.recv().await,
        Some(Ended::Cut(CloseCode::RoleChanged))
    );
}

#[tokio::test]
async fn a_websocket_over_http1_talks_and_is_cut_with_its_close_code() {
    let app = chat().await;
    let gateway = Gateway::before(&app).await;
    let answer = h1(gateway.address)
        .await
        .send_request(upgrade("/ws"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        answer.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    let socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    is_cut(gateway, socket).await;
}

#[tokio::test]
async fn a_websocket_over_http2_talks_and_is_cut_with_its_close_code() {
    let app = chat().await;
    let gateway = Gateway::before(&app).await;
    let mut client = h2(gateway.address).await;
    // The server's SETTINGS must have come before an extended CONNECT may be sent.
    let first = client
        .send_request(get("http://app.example/nothing"))
        .await
        .unwrap();
    assert_eq!(text(first).await.0, StatusCode::NOT_FOUND);
    let answer = client.send_request(connect("/ws")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    let socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    is_cut(gateway, socket).await;
    let still = client.send_request(get("http://app.example/nothing")).await;
    assert!(still.is_err() || still.is_ok_and(|answer| answer.status() != StatusCode::OK));
}

/// An upstream that answers every handshake with these bytes.
async fn answering(bytes: &'static str) -> App {
    App::raw(move |mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            if head.is_empty() {
                return;
            }
            if head.starts_with("GET /ws") {
                assert!(!head.contains(KEY), "the client's key stays on its side");
            }
            write(&mut stream, bytes).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_premature_or_wrong_acceptance_opens_no_tunnel() {
    for bytes in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let app = answering(bytes).await;
        let gateway = Gateway::before(&app).await;
        let answer = h1(gateway.address)
            .await
            .send_request(upgrade("/ws"))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{bytes}");
    }
}

#[tokio::test]
async fn an_ordinary_page_opens_no_tunnel_on_http2_and_is_a_page_on_http1() {
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nWirebound-Login: root\r\n\r\nok";
    let app = answering(page).await;
    let gateway = Gateway::before(&app).await;
    let answer = h1(gateway.address)
        .await
        .send_request(upgrade("/ws"))
        .await
        .unwrap();
    assert!(!answer.headers().contains_key("wirebound-login"));
    assert_eq!(text(answer).await, (StatusCode::OK, "ok".to_owned()));

    let mut client = h2(gateway.address).await;
    text(
        client
            .send_request(get("http://app.example/"))
            .await
            .unwrap(),
    )
    .await;
    let answer = client.send_request(connect("/ws")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_refusal_of_the_handshake_is_the_clients_answer_on_both_versions() {
    let app = answering(
        "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 3\r\n\r\nno!",
    )
    .await;
    let gateway = Gateway::before(&app).await;
    let answer = h1(gateway.address)
        .await
        .send_request(upgrade("/ws"))
        .await
        .unwrap();
    assert_eq!(
        text(answer).await,
        (StatusCode::UPGRADE_REQUIRED, "no!".to_owned())
    );
    let mut client = h2(gateway.address).await;
    let first = client.send_request(get("http://app.example/")).await;
    text(first.unwrap()).await;
    let answer = client.send_request(connect("/ws")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn what_is_no_http_opens_no_tunnel() {
    for bytes in ["\u{81}\u{5}hello", "101\r\n\r\n", "HTTP/1.1 101"] {
        let app = answering_and_closing(bytes).await;
        let gateway = Gateway::before(&app).await;
        let answer = h1(gateway.address)
            .await
            .send_request(upgrade("/ws"))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{bytes:?}");
    }
}

async fn answering_and_closing(bytes: &'static str) -> App {
    App::raw(move |mut stream| async move {
        let _head = read_head(&mut stream).await;
        write(&mut stream, bytes).await;
    })
    .await
}

/// The first frame comes in the same packet as the acceptance: it is the client's, and nothing of it is lost.
#[tokio::test]
async fn frames_right_behind_the_acceptance_pass() {
    use base64::Engine as _;
    use sha1::Digest as _;
    let app = App::raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "))
            .unwrap();
        let digest = sha1::Sha1::new()
            .chain_update(key)
            .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            .finalize();
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n\u{1}\u{2}hi"
        );
        write(&mut stream, &answer).await;
        drop(stream.read(&mut [0; 1]).await);
    })
    .await;
    let gateway = Gateway::before(&app).await;
    let answer = h1(gateway.address)
        .await
        .send_request(upgrade("/ws"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut frame = [0; 4];
    let bound = std::time::Duration::from_secs(5);
    tokio::time::timeout(bound, socket.read_exact(&mut frame))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&frame, b"\x01\x02hi");
}
