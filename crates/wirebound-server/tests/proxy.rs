//! Forwarding against real upstreams: streaming, reuse, failures, and the end of a session.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it measured"
)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rig::{App, Gateway, fed, forwarder, full, get, h1, h2, read_head, text, write};
use tokio::io::AsyncReadExt as _;
use wirebound::Ending;
use wirebound_server::proxy::{
    Broken, CloseCode, Cutter, Forwarder, Leg, Limits, Unanswered, Upstream,
};
use wirebound_server::vouch::{Nonce, Vouched};

fn leg() -> Leg {
    Leg::new("192.0.2.7".parse().unwrap(), "app.example", Scheme::HTTPS)
}

async fn echo(request: Request<Incoming>) -> Response<rig::AnyBody> {
    Response::new(request.into_body().map_err(Into::into).boxed_unsync())
}

#[tokio::test]
async fn bodies_stream_both_ways_frame_by_frame() {
    let app = App::http(echo).await;
    let gateway = Gateway::before(&app).await;
    let mut client = h1(gateway.address).await;
    let mut client2 = h2(gateway.address).await;
    for version in [1, 2] {
        let (feed, body) = fed();
        let uri = if version == 1 {
            "/echo"
        } else {
            "http://app.example/echo"
        };
        let mut request = Request::post(uri).body(body).unwrap();
        let sent = if version == 1 {
            request
                .headers_mut()
                .insert("host", "app.example".parse().unwrap());
            client.send_request(request).await
        } else {
            client2.send_request(request).await
        };
        let mut answer = sent.unwrap().into_body();
        // Each chunk comes back before the next is sent: nothing on the way gathers them.
        for word in ["one", "two", "three"] {
            feed.send(Frame::data(Bytes::from(word))).await.unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), word, "HTTP/{version}");
        }
        drop(feed);
        assert!(answer.collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn upstream_connections_are_kept_and_used_again() {
    let app = App::http(|_request| async { Response::new(full("ok")) }).await;
    let gateway = Gateway::before(&app).await;
    let mut client = h1(gateway.address).await;
    for _ in 0..5 {
        let answer = client.send_request(get("/")).await.unwrap();
        assert_eq!(text(answer).await, (StatusCode::OK, "ok".to_owned()));
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn a_post_whose_head_was_written_is_never_sent_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let app = App::raw(move |mut stream| {
        let seen = Arc::clone(&counter);
        async move {
            // A first request warms the connection; the second is read and then dropped.
            read_head(&mut stream).await;
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
            if read_head(&mut stream).await.starts_with("POST ") {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = Gateway::before(&app).await;
    let mut client = h1(gateway.address).await;
    let warm = client.send_request(get("/")).await.unwrap();
    assert_eq!(text(warm).await.0, StatusCode::OK);
    let pay = Request::post("/pay")
        .header("host", "app.example")
        .body(full("amount=1"))
        .unwrap();
    assert_eq!(
        client.send_request(pay).await.unwrap().status(),
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(app.connections(), 1);
    assert!(gateway.faults.lock().unwrap()[0].contains("closed the connection without an answer"));
}

/// The upstream closes every connection after one answer without saying so. Whether the pool has noticed when
/// the next request comes is chance; that no request is delivered twice is not.
#[tokio::test]
async fn over_connections_that_die_no_request_is_delivered_twice() {
    let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let app = App::raw(move |mut stream| {
        let say = say.clone();
        async move {
            say.send(read_head(&mut stream).await).unwrap();
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
        }
    })
    .await;
    let forwarder = forwarder(app.address);
    let mut answers = 0;
    for number in 0..200 {
        let request = Request::post(format!("/pay/{number}"))
            .body(full("x"))
            .unwrap();
        if let Ok(answered) = forwarder.forward(request, leg()).await {
            answered.response.into_body().collect().await.unwrap();
            answers += 1;
        }
    }
    let mut delivered = std::collections::HashMap::new();
    while let Ok(head) = heard.try_recv() {
        let line = head.lines().next().unwrap_or_default().to_owned();
        *delivered.entry(line).or_insert(0) += 1;
    }
    assert!(answers > 0);
    assert!(delivered.values().all(|times| *times == 1), "{delivered:?}");
}

/// An app that closes a kept connection as the second request arrives on it.
async fn closing_early(heard: tokio::sync::mpsc::UnboundedSender<String>) -> App {
    App::raw(move |mut stream| {
        let heard = heard.clone();
        async move {
            let say = |head: String| {
                let line = head.lines().next().unwrap_or_default().to_owned();
                heard.send(line).unwrap();
            };
            say(read_head(&mut stream).await);
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
            let head = read_head(&mut stream).await;
            if !head.is_empty() {
                say(head);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_page_is_fetched_again_over_another_connection_and_a_post_is_not() {
    let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let app = closing_early(say).await;
    let forwarder = forwarder(app.address);
    let mut ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let asked = forwarder
            .forward(request.body(full("")).unwrap(), leg())
            .await;
        let answered = match asked {
            Ok(answered) => answered.response.into_body().collect().await.is_ok(),
            Err(fault) => {
                assert!(matches!(fault, Unanswered::Lost(_)), "{fault}");
                false
            }
        };
        let mut lines = Vec::new();
        while let Ok(line) = heard.try_recv() {
            lines.push(line);
        }
        (answered, lines.len())
    };
    assert_eq!(ask("GET", "/first").await, (true, 1));
    assert_eq!(ask("GET", "/page").await, (true, 2), "over the other one");
    assert_eq!(ask("POST", "/pay").await, (false, 1), "502, and once");
    assert_eq!(ask("GET", "/again").await, (true, 1));
    assert_eq!(ask("PUT", "/put").await, (false, 1));
    assert_eq!(ask("GET", "/more").await, (true, 1));
    assert_eq!(ask("DELETE", "/all").await, (false, 1));
}

#[tokio::test]
async fn a_page_that_kills_the_app_is_not_tried_twice() {
    let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let app = App::raw(move |mut stream| {
        let say = say.clone();
        async move { say.send(read_head(&mut stream).await).unwrap() }
    })
    .await;
    let forwarder = forwarder(app.address);
    let request = Request::get("/deadly").body(full("")).unwrap();
    let fault = forwarder.forward(request, leg()).await.unwrap_err();
    assert!(matches!(fault, Unanswered::Lost(_)), "{fault}");
    assert!(heard.try_recv().is_ok());
    assert!(
        heard.try_recv().is_err(),
        "a new connection had served nothing"
    );
}

#[tokio::test]
async fn an_ended_session_cuts_a_stream_within_milliseconds() {
    let app = App::http(|_request| async {
        let (feed, body) = fed();
        tokio::spawn(async move {
            let event = Frame::data(Bytes::from("data: hello\n\n"));
            feed.send(event).await.unwrap();
            feed.closed().await;
        });
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(body)
            .unwrap()
    })
    .await;
    for version in [1, 2] {
        let gateway = Gateway::before(&app).await;
        let mut answer = if version == 1 {
            h1(gateway.address)
                .await
                .send_request(get("/events"))
                .await
                .unwrap()
                .into_body()
        } else {
            h2(gateway.address)
                .await
                .send_request(get("http://app.example/events"))
                .await
                .unwrap()
                .into_body()
        };
        let first = answer.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "data: hello\n\n");
        let fired = tokio::time::Instant::now();
        gateway.cutter.fire(CloseCode::Ended(Ending::Revoked));
        let end = tokio::time::timeout(Duration::from_secs(5), answer.frame())
            .await
            .unwrap()
            .unwrap();
        let took = fired.elapsed();
        assert!(end.is_err(), "the client must see a cut, not an end");
        println!("HTTP/{version}: cut after {took:?}");
        assert!(
            took < Duration::from_millis(250),
            "HTTP/{version}: {took:?}"
        );
    }
}

#[tokio::test]
async fn an_ended_session_cancels_a_request_that_waits_for_its_answer() {
    let (gone, mut left) = tokio::sync::mpsc::unbounded_channel();
    let app = App::raw(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            gone.send("head").unwrap();
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
            gone.send("closed").unwrap();
        }
    })
    .await;
    let cutter = Cutter::new();
    let cut = cutter.cut();
    let forwarder = forwarder(app.address);
    let waiting = tokio::spawn(async move {
        forwarder
            .forward(get("/slow"), leg().cut(cut))
            .await
            .map(drop)
    });
    assert_eq!(left.recv().await, Some("head"));
    cutter.fire(CloseCode::Ended(Ending::Logout));
    let answer = waiting.await.unwrap().unwrap_err();
    assert!(matches!(
        answer,
        Unanswered::Cut(CloseCode::Ended(Ending::Logout))
    ));
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(left.recv().await, Some("closed"));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_upstream() {
    let (gone, mut left) = tokio::sync::mpsc::unbounded_channel();
    let app = App::raw(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            )
            .await;
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
            gone.send(()).unwrap();
        }
    })
    .await;
    let answered = forwarder(app.address)
        .forward(get("/"), leg())
        .await
        .unwrap();
    let mut body = answered.response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    left.recv().await.unwrap();
}

#[tokio::test]
async fn an_upstream_that_is_down_slow_or_dies_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let down = forwarder(nobody)
        .forward(get("/"), leg())
        .await
        .unwrap_err();
    assert!(matches!(down, Unanswered::Unreachable { .. }));
    assert_eq!(down.status(), StatusCode::BAD_GATEWAY);

    let silent = App::raw(|mut stream| async move {
        read_head(&mut stream).await;
        drop(stream.read(&mut [0; 1]).await);
    })
    .await;
    let mut limits = Limits::default();
    limits.head = Duration::from_millis(50);
    let upstream = Upstream::parse(&format!("http://{}", silent.address)).unwrap();
    let slow = Forwarder::new(upstream, limits)
        .forward(get("/"), leg())
        .await
        .unwrap_err();
    assert!(matches!(slow, Unanswered::Slow(_)));
    assert_eq!(slow.status(), StatusCode::GATEWAY_TIMEOUT);

    let dies = App::raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        )
        .await;
    })
    .await;
    let answered = forwarder(dies.address)
        .forward(get("/"), leg())
        .await
        .unwrap();
    let broken = answered.response.into_body().collect().await.unwrap_err();
    assert!(matches!(broken, Broken::Upstream(_)));
}

#[tokio::test]
async fn a_broken_upload_is_the_clients_fault() {
    let app = App::http(|request| async move {
        let length = request
            .into_body()
            .collect()
            .await
            .map_or(0, |body| body.to_bytes().len());
        Response::new(full(length.to_string()))
    })
    .await;
    let forwarder = forwarder(app.address);
    let broken = rig::broken("half");
    let request = Request::post("/").body(broken).unwrap();
    let refused = forwarder.forward(request, leg()).await.unwrap_err();
    assert!(matches!(refused, Unanswered::Upload(_)), "{refused:?}");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn early_hints_and_trailers_cannot_vouch() {
    let app = App::raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(
            &mut stream,
            "HTTP/1.1 103 Early Hints\r\nWirebound-Login: root\r\nWirebound-Re: x\r\n\r\n\
             HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Wirebound-Login, X-Sum, Set-Cookie\r\nAlt-Svc: h3=\":443\"\r\n\r\n\
             2\r\nok\r\n0\r\nWirebound-Login: root\r\nX-Sum: 7\r\nSet-Cookie: sessionid=1\r\n\r\n",
        )
        .await;
    })
    .await;
    let nonce = Nonce::new([3; 16]);
    let answered = forwarder(app.address)
        .forward(get("/"), leg().vouching(nonce))
        .await
        .unwrap();
    assert_eq!(answered.vouched, Ok(Vouched::Nothing { disbelieved: 0 }));
    assert_eq!(answered.removed.alt_svc, 1);
    assert_eq!(answered.response.status(), StatusCode::OK);
    let collected = answered.response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-sum"], "7");
}

#[tokio::test]
async fn vouching_is_read_from_the_final_head_and_does_not_reach_the_client() {
    let app = App::http(|request| async move {
        let nonce = request.headers()["wirebound-request"].clone();
        Response::builder()
            .header("wirebound-re", nonce)
            .header("wirebound-login", "alice")
            .header("set-cookie", "__Host-wirebound=fixed; Path=/")
            .body(full("hello"))
            .unwrap()
    })
    .await;
    let answered = forwarder(app.address)
        .forward(get("/login"), leg().vouching(Nonce::new([4; 16])))
        .await
        .unwrap();
    assert_eq!(
        answered.vouched,
        Ok(Vouched::Login {
            subject: b"alice".to_vec(),
            role: None
        })
    );
    assert_eq!(
        (answered.removed.reserved, answered.removed.cookies),
        (2, 1)
    );
    assert!(
        !answered
            .response
            .headers()
            .keys()
            .any(|name| name.as_str().starts_with("wirebound"))
    );
    assert!(!answered.response.headers().contains_key("set-cookie"));
}

#[tokio::test]
async fn a_connection_that_authenticates_is_refused_and_not_kept() {
    let app = App::http(|_request| async {
        Response::builder()
            .status(401)
            .header("www-authenticate", "NTLM TlRMTVNT")
            .body(full(""))
            .unwrap()
    })
    .await;
    let forwarder = forwarder(app.address);
    for round in 1..=3 {
        let refused = forwarder.forward(get("/"), leg()).await.unwrap_err();
        assert!(matches!(
            refused,
            Unanswered::ConnectionAuthentication("NTLM")
        ));
        assert_eq!(app.connections(), round);
    }
}

#[tokio::test]
async fn a_client_that_signs_in_its_connection_unasked_reaches_no_connection_of_the_pool() {
    let app = App::http(|_request| async { Response::new(full("")) }).await;
    let forwarder = forwarder(app.address);
    for credentials in ["NTLM TlRMTVNT", "negotiate YII", "Negotiate"] {
        let mut request = get("/");
        let value = credentials.parse().unwrap();
        request.headers_mut().insert("authorization", value);
        let refused = forwarder.forward(request, leg()).await.unwrap_err();
        assert!(matches!(refused, Unanswered::Unsendable(_)), "{refused}");
    }
    assert_eq!(app.connections(), 0);
    let mut plain = get("/");
    let value = "Basic Tmegotiate".parse().unwrap();
    plain.headers_mut().insert("authorization", value);
    assert!(forwarder.forward(plain, leg()).await.is_ok());
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_no_answer() {
    let app = App::raw(|mut stream| async move {
        let head = read_head(&mut stream).await.to_ascii_lowercase();
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{head}"
        );
        write(
            &mut stream,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        )
        .await;
    })
    .await;
    let gateway = Gateway::before(&app).await;
    let mut request = get("/");
    for (name, value) in [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = h1(gateway.address)
        .await
        .send_request(request)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_get_with_a_body_cannot_smuggle_a_second_request() {
    let heads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heads);
    let app = App::http(move |request| {
        counter.fetch_add(1, Ordering::SeqCst);
        echo(request)
    })
    .await;
    let gateway = Gateway::before(&app).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address)
        .await
        .unwrap();
    let inner = "GET /admin HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let request = format!(
        "GET / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
        inner.len()
    );
    write(&mut stream, &request).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains(inner),
        "the body comes back as a body: {answer}"
    );
    assert_eq!(heads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn ten_thousand_answers_each_go_to_the_one_who_asked() {
    let app = App::http(|request| async move {
        let who = request.headers()["wirebound-subject"]
            .to_str()
            .unwrap()
            .to_owned();
        Response::new(full(who))
    })
    .await;
    let forwarder = forwarder(app.address);
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..50_u32 {
        let forwarder = forwarder.clone();
        tasks.spawn(async move {
            for turn in 0..200_u32 {
                let who = format!("user{client}-{turn}");
                let told =
                    wirebound_server::proxy::Told::known(who.as_bytes(), "user", "s", "wire");
                let answered = forwarder.forward(get("/"), leg().told(told)).await.unwrap();
                let body = answered
                    .response
                    .into_body()
                    .collect()
                    .await
                    .unwrap()
                    .to_bytes();
                assert_eq!(body, who);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    // Never more connections than clients at once.
    assert!(app.connections() <= 50 * 2, "{}", app.connections());
}
