//! Sleepy and hostile clients: each gets its due, and honest traffic goes on beside them.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::App;
use crate::client::{Ask, Client, Http};
use crate::process::{Gateway, within};

const IMPATIENT: &str = r#"
[vouch]
paths = ["POST /login"]
[limits]
handshake_timeout = "1s"
header_timeout = "1s"
"#;

/// Honest requests over kept and over new connections; answers the slowest.
async fn honest(client: &Client) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let began = Instant::now();
        assert!(client.get("/me").await.body.starts_with("app=alice"));
        let fresh = client.other_connection();
        assert!(fresh.get("/me").await.body.starts_with("app=alice"));
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// Reads until the other side is done; `true` if it ended within the bound.
async fn is_let_go(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut all = Vec::new();
    // A reset is an end as well.
    drop(within("to be let go", stream.read_to_end(&mut all)).await);
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn sleepers_and_floods_do_not_stop_honest_traffic() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, IMPATIENT).await;
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        let quiet = honest(&alice).await;

        let mut mute = Vec::new();
        for _ in 0..100 {
            mute.push(TcpStream::connect(gateway.address()).await.unwrap());
        }
        let mut half = Vec::new();
        for _ in 0..100 {
            let stranger = Client::new(&gateway, Http::One);
            let mut stream = stranger.bare().await;
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: lo")
                .await
                .unwrap();
            half.push(stream);
        }
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(Client::new(&gateway, http).bare().await);
        }
        let beside = honest(&alice).await;
        eprintln!(
            "{http:?}: slowest pair of honest requests {quiet:?}, beside 400 sleepers {beside:?}"
        );
        assert!(beside < Duration::from_secs(2), "{beside:?}");
        for stream in mute {
            is_let_go(stream).await;
        }
        for stream in half {
            is_let_go(stream).await;
        }
        drop(idle);
        honest(&alice).await;
    }
}

#[tokio::test]
async fn what_is_too_big_is_refused_and_nothing_else_is_hurt() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, IMPATIENT).await;
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        let mut refused = Vec::new();
        let cookie = Ask::get("/me").cookies(&format!("a={}", "x".repeat(100 * 1024)));
        let mut fields = Ask::get("/me");
        for number in 0..500 {
            fields = fields.field(&format!("x-{number}"), "1");
        }
        let field = Ask::get("/me").field("x-long", &"y".repeat(100 * 1024));
        let path = Ask::get(&format!("/{}", "z".repeat(60_000)));
        for ask in [cookie, fields, field, path] {
            let stranger = Client::new(&gateway, http);
            match within("a refusal", stranger.try_ask(&ask)).await {
                Ok(answer) => {
                    assert!(answer.status.is_client_error(), "{answer:?}");
                    refused.push(answer.status.as_u16());
                }
                // The connection was closed over it.
                Err(_) => refused.push(0),
            }
            assert!(alice.get("/me").await.body.starts_with("app=alice"));
        }
        eprintln!("{http:?}: 100 KiB cookie, 500 fields, 100 KiB field, 60 KB path: {refused:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_or_dropped_and_honest_traffic_goes_on() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, IMPATIENT).await;
    let alice = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
    for bytes in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let said = is_let_go(stream).await;
        assert!(!said.contains("home"), "{said}");
    }
    let authority = gateway.authority();
    for head in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!(
            "GET / HTTP/1.1\r\nhost: {authority}\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "POST /me HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"
        ),
        format!("GET / HTTP/1.1\r\nhost: {authority}\r\nx: a\rb\r\n\r\n"),
        format!("TRACE / HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n"),
    ] {
        let mut stream = Client::new(&gateway, Http::One).bare().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let said = is_let_go(stream).await;
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4"),
            "{head:?}: {said}"
        );
        assert!(said.matches("HTTP/1.1 ").count() <= 1, "{said}");
        assert!(alice.get("/me").await.body.starts_with("app=alice"));
    }
    // Two lengths at once: refused, and what is hidden behind them never arrives.
    let smuggled = format!(
        "POST /me HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /head HTTP/1.1\r\nhost: {authority}\r\n\r\n"
    );
    let mut stream = Client::new(&gateway, Http::One).bare().await;
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    let said = is_let_go(stream).await;
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    assert!(app.heads().is_empty(), "{:?}", app.heads());
}
