//! An app that is down, slow, dies in the middle, or talks nonsense.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Ask, Client, Http};
use crate::process::{Gateway, within};

const IMPATIENT: &str = r#"
[upstream]
connect_timeout = "1s"
response_timeout = "500ms"
[limits]
body_idle = "500ms"
"#;

/// An app that answers each connection's first request with these bytes, then does as it is told.
async fn app(answer: &'static [u8], then: Then) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(speak(stream, answer, then));
        }
    });
    (url, task)
}

#[derive(Clone, Copy)]
enum Then {
    Close,
    Silence,
    ByteByByte,
}

async fn speak(mut stream: TcpStream, answer: &[u8], then: Then) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => asked.push(byte),
            Err(_) => return,
        }
    }
    match then {
        Then::ByteByByte => {
            for byte in answer {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
        Then::Close | Then::Silence => drop(stream.write_all(answer).await),
    }
    if matches!(then, Then::Silence) {
        // Until the gateway has had enough.
        drop(stream.read(&mut [0; 1]).await);
    }
}

/// Some apps read an empty body in chunks as one that they cannot read.
#[tokio::test]
async fn a_request_without_a_body_reaches_the_app_without_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = Gateway::before(&url, IMPATIENT).await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        let asked = tokio::spawn(async move { client.ask(Ask::get("/")).await });
        let (mut stream, _) = within("a request", listener.accept()).await.unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
        assert!(head.ends_with("\r\n\r\n"), "{http:?}: {head}");
        assert!(!head.contains("transfer-encoding"), "{http:?}: {head}");
        assert!(!head.contains("content-length"), "{http:?}: {head}");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
        assert_eq!(asked.await.unwrap().body, "ok");
    }
}

#[tokio::test]
async fn an_app_that_is_down_is_said_to_be_down_to_people_programs_and_operators() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let gateway = Gateway::before(&format!("http://{nobody}"), IMPATIENT).await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        let page = client.ask(Ask::get("/").person()).await;
        assert_eq!(page.status, StatusCode::BAD_GATEWAY);
        assert_eq!(page.field("cache-control"), "no-store");
        for text in [
            "The app does not answer.",
            "Please try again in a moment.",
            "upstream_unavailable",
        ] {
            assert!(page.body.contains(text), "{}", page.body);
        }
        let problem = client.ask(Ask::get("/")).await;
        assert_eq!(problem.status, StatusCode::BAD_GATEWAY);
        assert_eq!(problem.field("content-type"), "application/problem+json");
        assert!(
            problem.body.contains("\"code\":\"upstream_unavailable\""),
            "{}",
            problem.body
        );
        // Not a word of where the app would be: that is the operator's.
        assert!(!page.body.contains(&nobody.port().to_string()));
    }
    let printed = gateway.printed().join("\n");
    let expected = format!("no connection to the upstream {nobody}; is the app running?");
    assert!(printed.contains(&expected), "{printed}");
}

#[tokio::test]
async fn an_app_that_thinks_too_long_is_504_and_one_that_talks_slowly_is_heard_out() {
    let (url, silent) = app(b"", Then::Silence).await;
    let gateway = Gateway::before(&url, IMPATIENT).await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        let page = client.ask(Ask::get("/").person()).await;
        assert_eq!(
            page.status,
            StatusCode::GATEWAY_TIMEOUT,
            "{http:?}: {:#?}",
            gateway.printed()
        );
        assert!(
            page.body.contains("The app takes too long to answer."),
            "{}",
            page.body
        );
        let problem = client.ask(Ask::get("/")).await;
        assert!(
            problem.body.contains("\"code\":\"upstream_slow\""),
            "{}",
            problem.body
        );
    }
    silent.abort();

    let (url, slow) = app(
        b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\nconnection: close\r\n\r\n0123456789012345678901234567890123456789",
        Then::ByteByByte,
    )
    .await;
    let gateway = Gateway::before(&url, IMPATIENT).await;
    for http in [Http::One, Http::Two] {
        let answer = Client::new(&gateway, http).ask(Ask::get("/")).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 40));
    }
    slow.abort();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_be_broken_never_taken_for_whole() {
    let halves: [(&'static [u8], Then); 4] = [
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
            Then::Close,
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Then::Close,
        ),
        // Silence in the middle is a break as well.
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
            Then::Silence,
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
            Then::Close,
        ),
    ];
    for (half, then) in halves {
        let (url, task) = app(half, then).await;
        let gateway = Gateway::before(&url, IMPATIENT).await;
        for http in [Http::One, Http::Two] {
            let client = Client::new(&gateway, http);
            let answer = within("a break", client.try_ask(&Ask::get("/"))).await;
            assert!(
                answer.is_err(),
                "{}: {answer:?}",
                String::from_utf8_lossy(half)
            );
        }
        task.abort();
    }
}

#[tokio::test]
async fn what_is_no_answer_is_502_and_the_gateway_goes_on() {
    let long: &'static [u8] = Box::leak(
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(200_000))
            .into_bytes()
            .into_boxed_slice(),
    );
    let many: &'static [u8] = Box::leak(
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(5_000))
            .into_bytes()
            .into_boxed_slice(),
    );
    for nonsense in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"HTTP/1.1 1000 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/2 200\r\n\r\n",
        b"\0\0\0\0\0\0",
        b"",
        long,
        many,
    ] {
        let (url, task) = app(nonsense, Then::Close).await;
        let gateway = Gateway::before(&url, IMPATIENT).await;
        let said = String::from_utf8_lossy(&nonsense[..nonsense.len().min(60)]).into_owned();
        for http in [Http::One, Http::Two] {
            let client = Client::new(&gateway, http);
            for _ in 0..2 {
                let answer = client.ask(Ask::get("/").person()).await;
                assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{said:?}");
                assert!(answer.body.contains("The app does not answer."));
                assert!(!answer.body.contains("OpenSSH"), "{}", answer.body);
            }
            // The gateway itself is well.
            assert_eq!(
                client.ask(Ask::get("/.wirebound/me")).await.status,
                StatusCode::OK
            );
        }
        task.abort();
    }
}
