//! The listener's bounds, and its ways of closing, against clients that behave and clients that do not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    let_underscore_drop,
    reason = "tests may stop where they fail"
)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{BOUND, Client, HOST, Server, closes, exchange, get, response, until};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use wirebound_tower::listen::Limits;
use wirebound_tower::tls::Protocol;

const SHORT: Duration = Duration::from_millis(300);

fn quick() -> Limits {
    Limits {
        handshake_timeout: SHORT,
        header_timeout: SHORT,
        idle_timeout: SHORT,
        hang_up_wait: SHORT,
        answer_wait: SHORT,
        linger_time: SHORT,
        shutdown_wait: SHORT,
        ..Limits::default()
    }
}

async fn h1(server: &Server) -> TlsStream<TcpStream> {
    Client::of(server).connect(server).await.unwrap()
}

async fn h2(server: &Server) -> http2::SendRequest<Empty<Bytes>> {
    let tls = Client::speaking(server, &["h2"])
        .connect(server)
        .await
        .unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://{HOST}{path}"))
        .body(Empty::new())
        .unwrap()
}

async fn body(response: http::Response<hyper::body::Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed() {
    let server = Server::limited(quick()).await;
    let mut tcp = TcpStream::connect(server.addr).await.unwrap();
    closes(&mut tcp).await;
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_handshake_that_trickles_is_closed() {
    let server = Server::limited(quick()).await;
    let mut tcp = TcpStream::connect(server.addr).await.unwrap();
    // The head of a ClientHello record of 512 bytes, then nothing but a byte now and then.
    tcp.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc])
        .await
        .unwrap();
    let began = Instant::now();
    while began.elapsed() < BOUND {
        let mut answer = [0; 16];
        let read = timeout(Duration::from_millis(50), tcp.read(&mut answer)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
        drop(tcp.write_all(&[3]).await);
    }
    assert!(began.elapsed() < BOUND);
}

#[tokio::test]
async fn a_head_that_trickles_is_cut() {
    let limits = Limits {
        idle_timeout: BOUND,
        ..quick()
    };
    let server = Server::limited(limits).await;
    let mut tls = h1(&server).await;
    get(&mut tls, "/").await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    tls.flush().await.unwrap();
    closes(&mut tls).await;
}

#[tokio::test]
async fn between_requests_only_the_idle_timeout_runs() {
    let limits = Limits {
        header_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(600),
        ..quick()
    };
    let server = Server::limited(limits).await;
    let mut tls = h1(&server).await;
    let began = Instant::now();
    get(&mut tls, "/").await.unwrap();
    assert!(closes(&mut tls).await, "an orderly end");
    assert!(
        began.elapsed() >= Duration::from_millis(550),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_connection_that_never_asks_is_idle() {
    let server = Server::limited(quick()).await;
    let mut tls = h1(&server).await;
    assert!(closes(&mut tls).await);
    let mut sender = h2(&server).await;
    until(|| sender.is_closed()).await;
    assert!(sender.send_request(request("/")).await.is_err());
}

#[tokio::test]
async fn an_exempt_or_held_connection_is_not_idle() {
    let server = Server::limited(quick()).await;
    for hold in [false, true] {
        let mut tls = h1(&server).await;
        get(&mut tls, "/").await.unwrap();
        let connection = server.last();
        let mut busy = None;
        if hold {
            busy = Some(connection.hold());
            assert_eq!(connection.in_flight(), 1);
        } else {
            connection.exempt_from_idle(SHORT * 4);
        }
        let mut byte = [0];
        let read = timeout(SHORT * 3, tls.read(&mut byte)).await;
        assert!(read.is_err(), "still open");
        assert!(connection.is_open());
        drop(busy);
        assert!(closes(&mut tls).await);
        timeout(BOUND, connection.closed()).await.unwrap();
    }
}

#[tokio::test]
async fn too_many_header_lines_are_refused() {
    let server = Server::start().await;
    let mut tls = h1(&server).await;
    let lines: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let (head, _) = exchange(
        &mut tls,
        &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n"),
    )
    .await
    .unwrap();
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");
    closes(&mut tls).await;
}

#[tokio::test]
async fn headers_of_too_many_bytes_are_refused() {
    let server = Server::start().await;
    let mut tls = h1(&server).await;
    let long = "a".repeat(70 * 1024);
    let text = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx: {long}\r\n\r\n");
    let (head, _) = exchange(&mut tls, &text).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");

    let mut sender = h2(&server).await;
    let mut big = request("/");
    big.headers_mut().insert("x", long.parse().unwrap());
    let outcome = sender.send_request(big).await;
    assert!(
        !matches!(&outcome, Ok(response) if response.status() == 200),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn over_the_limit_the_longest_idle_connection_gives_way() {
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let (mut first, mut second) = (h1(&server).await, h1(&server).await);
    get(&mut first, "/").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    get(&mut second, "/").await.unwrap();
    let mut third = h1(&server).await;
    get(&mut third, "/").await.unwrap();
    assert!(closes(&mut first).await, "the longest idle one");
    assert_eq!(server.census.connections(), 2);
    get(&mut second, "/").await.unwrap();
}

#[tokio::test]
async fn over_the_limit_with_nobody_idle_the_newcomer_is_refused() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let mut busy = h1(&server).await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .await
        .unwrap();
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    let mut late = h1(&server).await;
    closes(&mut late).await;
    server.go_on.notify_one();
    let (head, _) = timeout(BOUND, response(&mut busy)).await.unwrap().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    // Now it is idle, and makes room.
    let mut next = h1(&server).await;
    get(&mut next, "/").await.unwrap();
}

#[tokio::test]
async fn the_oldest_handshake_gives_way_and_nobody_who_is_connected() {
    let limits = Limits {
        max_handshakes: 2,
        max_connections: 1,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let mut honest = h1(&server).await;
    get(&mut honest, "/").await.unwrap();
    let mut flood = vec![];
    for _ in 0..20 {
        flood.push(TcpStream::connect(server.addr).await.unwrap());
    }
    for dawdler in &mut flood[..18] {
        closes(dawdler).await;
    }
    get(&mut honest, "/").await.unwrap();
    let mut newcomer = h1(&server).await;
    get(&mut newcomer, "/").await.unwrap();
}

#[tokio::test]
async fn one_address_has_its_share_and_no_more() {
    let limits = Limits {
        max_per_address: 2,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let (mut first, mut second) = (h1(&server).await, h1(&server).await);
    get(&mut first, "/").await.unwrap();
    get(&mut second, "/").await.unwrap();
    let mut third = TcpStream::connect(server.addr).await.unwrap();
    closes(&mut third).await;
    let from = Some("127.0.0.7:0".parse().unwrap());
    let mut elsewhere = Client::of(&server)
        .connect_as(&server, HOST, from)
        .await
        .unwrap();
    get(&mut elsewhere, "/").await.unwrap();
    common::leave(first).await;
    until(|| server.census.connections() == 2).await;
    get(&mut h1(&server).await, "/").await.unwrap();
}

#[tokio::test]
async fn http_1_1_says_close_on_the_very_response() {
    let server = Server::start().await;
    let mut tls = h1(&server).await;
    let text = format!("GET /close HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let (head, body) = exchange(&mut tls, &text).await.unwrap();
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "/close");
    assert!(closes(&mut tls).await);
    assert!(server.last().is_closing());
}

/// Reads HTTP/2 frames until `want` have come; answers type and stream of each.
async fn frames<IO: tokio::io::AsyncRead + Unpin>(io: &mut IO, last: u8) -> Vec<(u8, u32)> {
    let mut seen = vec![];
    loop {
        let mut head = [0; 9];
        if io.read_exact(&mut head).await.is_err() {
            return seen;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        io.read_exact(&mut payload).await.unwrap();
        seen.push((head[3], stream));
        if head[3] == last {
            return seen;
        }
    }
}

/// On several threads, and often: the response is made on another task than the one that sends GOAWAY.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_http_2_goaway_precedes_the_response() {
    let server = Server::start().await;
    for _ in 0..50 {
        goaway_precedes_the_response(&server).await;
    }
}

async fn goaway_precedes_the_response(server: &Server) {
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    let mut tls = Client::speaking(server, &["h2"])
        .connect(server)
        .await
        .unwrap();
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // GET, https, and literal :path and :authority (RFC 7541 section 6.2.2).
    let mut block = vec![0x82, 0x87, 0x04, 6];
    block.extend_from_slice(b"/close");
    block.extend_from_slice(&[0x01, HOST.len() as u8]);
    block.extend_from_slice(HOST.as_bytes());
    tls.write_all(&[0, 0, block.len() as u8, HEADERS, 5, 0, 0, 0, 1])
        .await
        .unwrap();
    tls.write_all(&block).await.unwrap();
    tls.flush().await.unwrap();
    let seen = timeout(BOUND, frames(&mut tls, HEADERS)).await.unwrap();
    assert!(seen.contains(&(HEADERS, 1)), "{seen:?}");
    assert!(seen.contains(&(GOAWAY, 0)), "{seen:?}");
}

#[tokio::test]
async fn on_http_2_a_close_answers_what_is_in_flight() {
    let server = Server::start().await;
    let mut sender = h2(&server).await;
    assert_eq!(
        body(sender.send_request(request("/")).await.unwrap()).await,
        "/"
    );
    assert_eq!(server.last().protocol, Protocol::Http2);
    let waiting = sender.send_request(request("/wait"));
    let waiting = tokio::spawn(waiting);
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.last().in_flight(), 1);
    let closing = body(sender.send_request(request("/close")).await.unwrap()).await;
    assert_eq!(closing, "/close");
    server.go_on.notify_one();
    assert_eq!(body(waiting.await.unwrap().unwrap()).await, "/wait");
    until(|| sender.is_closed()).await;
    timeout(BOUND, server.last().closed()).await.unwrap();
    assert_eq!(server.last().in_flight(), 0);
}

#[tokio::test]
async fn http_2_carries_a_websocket_itself() {
    let server = Server::start().await;
    let mut sender = h2(&server).await;
    body(sender.send_request(request("/")).await.unwrap()).await;
    let connect = Request::connect(format!("https://{HOST}/socket"))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .body(Empty::new())
        .unwrap();
    let response = sender.send_request(connect).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.count(), 1, "on the same connection");
}

#[tokio::test]
async fn a_response_survives_the_body_that_is_still_arriving() {
    // More than the socket buffers hold: the server closes while most of it is on its way.
    const BODY: usize = 8 * 1024 * 1024;
    let limits = Limits {
        linger_bytes: 2 * BODY,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    for _ in 0..10 {
        let mut tls = h1(&server).await;
        let head =
            format!("POST /close HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {BODY}\r\n\r\n");
        tls.write_all(head.as_bytes()).await.unwrap();
        // As a browser does it: the whole body first, then a look at the answer.
        tls.write_all(&vec![b'x'; BODY]).await.unwrap();
        tls.flush().await.unwrap();
        let (head, body) = timeout(BOUND, response(&mut tls)).await.unwrap().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, "/close");
    }
}

#[tokio::test]
async fn lingering_is_bounded_in_time_and_bytes() {
    let limits = Limits {
        linger_bytes: 64 * 1024,
        ..quick()
    };
    let server = Server::limited(limits).await;
    let mut silent = h1(&server).await;
    get(&mut silent, "/close").await.unwrap();
    assert!(closes(&mut silent).await);
    // The client does not close its side; the server's socket goes all the same.
    until(|| server.census.connections() == 0).await;

    let mut pouring = h1(&server).await;
    let head = format!("POST /close HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 99999999\r\n\r\n");
    pouring.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b'x'; 64 * 1024];
    let poured = timeout(BOUND, async {
        while pouring.write_all(&chunk).await.is_ok() {}
    });
    poured.await.expect("it is cut off");
}

#[tokio::test]
async fn a_hung_up_connection_is_gone_within_its_bound() {
    let server = Server::limited(quick()).await;
    let mut tls = h1(&server).await;
    tls.write_all(b"GET /wait HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .await
        .unwrap();
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    let began = Instant::now();
    server.last().hang_up();
    closes(&mut tls).await;
    assert!(began.elapsed() >= SHORT, "what is in flight has its time");
    assert!(!server.last().is_open());
}

#[tokio::test]
async fn a_hung_up_connection_waits_for_an_answer_that_is_owed() {
    let limits = Limits {
        hang_up_wait: Duration::ZERO,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let mut tls = h1(&server).await;
    tls.write_all(b"POST /wait HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    let connection = server.last();
    connection.hang_up();
    // Its bound is over at once: cut now, a browser would send the POST again.
    connection.hung_up().await;
    tokio::time::sleep(SHORT).await;
    server.go_on.notify_one();
    let (head, _) = timeout(BOUND, response(&mut tls)).await.unwrap().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(closes(&mut tls).await);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let server = Server::start().await;
    let mut tls = h1(&server).await;
    get(&mut tls, "/").await.unwrap();
    server.last().reset();
    let mut byte = [0];
    let error = timeout(BOUND, tls.read(&mut byte))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn upgraded(server: &Server) -> TlsStream<TcpStream> {
    let mut tls = h1(server).await;
    let text = format!(
        "GET /upgrade HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    );
    let (head, _) = exchange(&mut tls, &text).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    tls.write_all(b"x").await.unwrap();
    assert_eq!(timeout(BOUND, tls.read_u8()).await.unwrap().unwrap(), b'x');
    tls
}

#[tokio::test]
async fn an_upgraded_wire_is_open_until_it_is_dropped_and_can_be_cut() {
    let server = Server::limited(quick()).await;
    let mut tls = upgraded(&server).await;
    let connection = server.last();
    assert!(
        timeout(SHORT * 2, connection.closed()).await.is_err(),
        "no idle timeout of ours"
    );
    tls.write_all(b"y").await.unwrap();
    assert_eq!(tls.read_u8().await.unwrap(), b'y');
    connection.hang_up();
    closes(&mut tls).await;
    timeout(BOUND, connection.closed()).await.unwrap();

    let mut tls = upgraded(&server).await;
    server.last().reset();
    closes(&mut tls).await;

    let tls = upgraded(&server).await;
    drop(tls);
    timeout(BOUND, server.last().closed()).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_answers_what_is_in_flight_and_takes_no_more() {
    let mut server = Server::start().await;
    let mut tls = h1(&server).await;
    let mut idle = h1(&server).await;
    tls.write_all(b"GET /wait HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .await
        .unwrap();
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    server.stop();
    assert!(closes(&mut idle).await);
    assert!(TcpStream::connect(server.addr).await.is_err());
    server.go_on.notify_one();
    let (head, _) = timeout(BOUND, response(&mut tls)).await.unwrap().unwrap();
    assert!(head.contains("connection: close"), "{head}");
    common::leave(tls).await;
    drop(idle);
    timeout(BOUND, server.task.take().unwrap())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let mut server = Server::limited(quick()).await;
    let mut tls = h1(&server).await;
    tls.write_all(b"GET /wait HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .await
        .unwrap();
    until(|| server.waiting.load(Ordering::SeqCst) == 1).await;
    let _socket = upgraded(&server).await;
    let _dawdler = TcpStream::connect(server.addr).await.unwrap();
    server.stop();
    timeout(BOUND, server.task.take().unwrap())
        .await
        .unwrap()
        .unwrap();
    closes(&mut tls).await;
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = Server::start().await;
    let mut tls = Client::speaking(&server, &["h2"])
        .connect(&server)
        .await
        .unwrap();
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut flood = vec![];
    for n in 0_u32..5_000 {
        let stream = (2 * n + 1).to_be_bytes();
        let mut block = vec![0x82, 0x87, 0x04, 5];
        block.extend_from_slice(b"/wait");
        block.extend_from_slice(&[0x01, HOST.len() as u8]);
        block.extend_from_slice(HOST.as_bytes());
        flood.extend_from_slice(&[0, 0, block.len() as u8, 1, 5]);
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(&block);
        // RST_STREAM, CANCEL.
        flood.extend_from_slice(&[0, 0, 4, 3, 0]);
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(&[0, 0, 0, 8]);
    }
    drop(tls.write_all(&flood).await);
    timeout(BOUND, frames(&mut tls, u8::MAX))
        .await
        .expect("it is cut off");
    assert!(server.waiting.load(Ordering::SeqCst) < 5_000);
}
