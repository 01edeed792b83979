//! Floods of heads, frames, slow bytes and idle connections. What they cost is bounded, and whoever is let in goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::app::App;
use crate::client::{Client, Http};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, fields, frame,
};
use crate::process::{Gateway, within};
use crate::raw::say;
use crate::recorder::Recorder;

const CONFIG: &str = r#"
[vouch]
paths = ["POST /login"]
[limits]
handshake_timeout = "5s"
header_timeout = "3s"
body_idle = "3s"
"#;

/// Somebody signed in who goes on asking, over a kept connection and over new ones.
struct Honest {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Honest {
    async fn begin(gateway: &Gateway, http: Http) -> Self {
        let client = Client::new(gateway, http);
        client.sign_in("alice").await;
        let (stop, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                for client in [client.clone(), client.other_connection()] {
                    let began = Instant::now();
                    let body = client.get("/me").await.body;
                    assert!(body.starts_with("app=alice"), "{body}");
                    times.push(began.elapsed());
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            times
        });
        Self { stop, asked, task }
    }

    /// Ends it: every request was answered, and at least this many while the flood ran.
    async fn end(self, what: &str, at_least: usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = within("the last honest request", self.task).await.unwrap();
        times.sort();
        let p99 = times[(times.len() - 1) * 99 / 100];
        eprintln!(
            "{what}: {} honest requests beside it, all answered; p99 {p99:?}",
            times.len()
        );
        assert!(
            self.asked.load(Ordering::Relaxed) >= at_least,
            "{what}: {}",
            times.len()
        );
    }
}

/// The gateway's memory in KiB.
fn memory(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn head(authority: &str, path: &str, method: &str) -> Vec<u8> {
    fields(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
    ])
}

/// A flood of one kind of frames over one connection: so many are written, or the gateway closes.
async fn flood(
    gateway: &Gateway,
    what: &str,
    begin: &[Vec<u8>],
    each: impl Fn(u32) -> Vec<u8>,
    most: u32,
) -> bool {
    let mut frames = Frames::open(gateway).await;
    for bytes in begin {
        assert!(frames.write(bytes).await, "{what}");
    }
    let mut number = 0;
    while number < most {
        let mut batch = Vec::new();
        for _ in 0..200 {
            batch.extend(each(number));
            number += 1;
        }
        if !frames.write(&batch).await {
            eprintln!("{what}: closed, or no more taken, after {number} frames");
            return true;
        }
    }
    // All was taken; whether it is open still is to be seen.
    let ping = frames.write(&frame(PING, 0, 0, b"12345678")).await;
    eprintln!("{what}: {number} frames taken");
    !ping
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_end_the_connection_or_cost_nothing_and_others_go_on() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let authority = gateway.authority();
    let honest = Honest::begin(&gateway, Http::Two).await;
    let before = memory(&gateway);
    let open = |path: &str, method: &str, flags: u8| {
        frame(HEADERS, flags, 1, &head(&authority, path, method))
    };

    // RUSTSEC-2024-0332: CONTINUATION without end.
    let begin = [open("/me", "GET", 0)];
    let more = fields(&[("x-more", "1")]);
    let continued = |_| frame(CONTINUATION, 0, 1, &more);
    assert!(flood(&gateway, "CONTINUATION", &begin, continued, 200_000).await);
    let empty = |_| frame(CONTINUATION, 0, 1, &[]);
    assert!(flood(&gateway, "empty CONTINUATION", &begin, empty, 200_000).await);

    // RUSTSEC-2026-0258: empty DATA without end.
    let begin = [open("/me", "POST", END_HEADERS)];
    let data = |_| frame(DATA, 0, 1, &[]);
    assert!(flood(&gateway, "empty DATA", &begin, data, 200_000).await);

    // CVE-2023-44487: streams opened and reset at once.
    let opened = |number: u32| {
        let stream = number * 2 + 1;
        let mut both = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &head(&authority, "/me", "GET"),
        );
        both.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        both
    };
    assert!(flood(&gateway, "rapid reset", &[], opened, 200_000).await);

    // Frames that ask for an answer each, from somebody who reads none.
    let ping = |_| frame(PING, 0, 0, b"12345678");
    flood(&gateway, "PING", &[], ping, 100_000).await;
    let settings = |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    flood(&gateway, "SETTINGS", &[], settings, 100_000).await;
    let window = |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    flood(&gateway, "WINDOW_UPDATE", &[], window, 100_000).await;
    let unknown = |_| frame(0xee, 0, 0, b"x");
    flood(&gateway, "unknown frames", &[], unknown, 100_000).await;

    let after = memory(&gateway);
    eprintln!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + 64 * 1024, "{before} {after}");
    honest.end("frames", 5).await;
}

/// Heads that HTTP/2 forbids, or that mean two things.
#[tokio::test]
async fn no_head_of_http_2_with_two_readings_reaches_the_upstream() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, CONFIG).await;
    let authority = gateway.authority();
    let own = authority.as_str();
    let plain = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", own),
        (":path", "/x"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&plain[..], more].concat();
    let but = |name: &str, value: Option<&'static str>| {
        let kept = plain
            .iter()
            .filter(|(known, _)| value.is_some() || *known != name);
        kept.map(|(known, old)| (*known, value.filter(|_| *known == name).unwrap_or(old)))
            .collect::<Vec<_>>()
    };
    let mut first_field = vec![("x", "y")];
    first_field.extend(plain);
    let refused = [
        but(":method", None),
        but(":path", None),
        but(":scheme", None),
        but(":path", Some("")),
        but(":path", Some("x")),
        but(":path", Some("*")),
        but(":path", Some("/a b")),
        but(":path", Some("/a\r\nx: y")),
        but(":path", Some("/a\0")),
        but(":path", Some("/\u{e9}")),
        but(":method", Some("G T")),
        but(":method", Some("GET\r\nX: y")),
        but(":method", Some("")),
        but(":authority", Some("evil.example")),
        but(":authority", Some("a@b")),
        but(":authority", Some("")),
        with(&[(":path", "/y")]),
        with(&[(":method", "POST")]),
        with(&[(":authority", "evil.example")]),
        with(&[(":status", "200")]),
        with(&[(":unknown", "x")]),
        with(&[(":protocol", "websocket")]),
        first_field,
        with(&[("X-Upper", "x")]),
        with(&[("hosT", "x")]),
        with(&[("host", "evil.example")]),
        with(&[("host", "localhost"), ("host", "localhost")]),
        with(&[("connection", "close")]),
        with(&[("connection", "x-forwarded-for")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "x")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("te", "trailers, gzip")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "0"), ("content-length", "0")]),
        with(&[("content-length", "+0")]),
        with(&[("transfer_encoding", "chunked")]),
        with(&[("content_length", "5")]),
        with(&[("x y", "z")]),
        with(&[("x\r\ny", "z")]),
        with(&[("", "z")]),
        with(&[("x:", "z")]),
        with(&[("x", "a\r\nb: c")]),
        with(&[("x", "a\nb")]),
        with(&[("x", "a\0b")]),
        with(&[("x\u{e9}", "z")]),
    ];
    for list in &refused {
        let mut frames = Frames::open(&gateway).await;
        let block = fields(list);
        assert!(
            frames
                .write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
                .await
        );
        let fate = frames.fate(1).await;
        // 1: some status that is written in code; those of the 200s are not.
        let fine = !matches!(fate, Fate::Answered(0 | 200..=399));
        assert!(fine, "{list:?}: {fate:?}");
    }
    let seen = node.seen().await;
    assert!(seen.is_empty(), "{seen:#?}");
    // And these are in order. Of a fragment nothing is left when anybody could look: the rest is judged and served.
    for (list, path) in [
        (plain.to_vec(), "/x"),
        (with(&[("te", "trailers")]), "/x"),
        (with(&[("cookie", "a=1"), ("cookie", "b=2")]), "/x"),
        (but(":path", Some("/a#b")), "/a"),
    ] {
        let mut frames = Frames::open(&gateway).await;
        let block = fields(&list);
        assert!(
            frames
                .write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
                .await
        );
        assert_eq!(frames.fate(1).await, Fate::Answered(200), "{list:?}");
        let seen = node.seen().await;
        let last = seen.last().unwrap();
        assert_eq!(last.url, path, "{list:?}");
        let crumbs = list.iter().filter(|(name, _)| *name == "cookie").count();
        assert_eq!(last.all("cookie").len(), crumbs.min(1), "{last:?}");
    }
    assert!(node.unread().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_heads_are_answered_in_the_four_hundreds_and_others_go_on() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let authority = gateway.authority();
    let honest = Honest::begin(&gateway, Http::One).await;
    let before = memory(&gateway);
    let lines: String = (0..20_000)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    for (more, statuses) in [
        (
            format!("Cookie: a={}\r\n", "x".repeat(100 * 1024)),
            &[431][..],
        ),
        (format!("X: {}\r\n", "x".repeat(4 * 1024 * 1024)), &[431]),
        (lines, &[431]),
        ("x: y\r\n".repeat(101), &[431]),
        (format!("{}: y\r\n", "x".repeat(200 * 1024)), &[400, 431]),
    ] {
        for _ in 0..10 {
            let bytes = format!("GET /me HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n");
            let said = say(&gateway, bytes.as_bytes()).await;
            let first = said.statuses().first().copied();
            assert!(
                first.is_some_and(|first| statuses.contains(&first)),
                "{said:?}"
            );
        }
    }
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: {authority}\r\n\r\n",
        "x".repeat(200 * 1024)
    );
    let said = say(&gateway, long.as_bytes()).await;
    assert!(matches!(said.statuses()[..], [414 | 431]), "{said:?}");
    let after = memory(&gateway);
    assert!(after < before + 64 * 1024, "{before} {after}");
    honest.end("heads", 5).await;
}

/// One run of slowhttptest: so many connections for so many seconds.
async fn slowly(gateway: &Gateway, mode: &str, more: &[&str]) {
    let url = format!("https://{}/members", gateway.authority());
    let done = Command::new("slowhttptest")
        .args([
            mode, "-c", "300", "-r", "150", "-i", "1", "-l", "8", "-p", "5", "-u", &url,
        ])
        .args(more)
        .output();
    let done = done
        .await
        .expect("slowhttptest cannot be started; run `cargo xtask setup`");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        said.contains("slowhttptest") || !said.is_empty(),
        "{done:?}"
    );
    let status = said.lines().rev().find(|line| line.contains("Exit status"));
    eprintln!("slowhttptest {mode}: {}", status.unwrap_or_default());
}

#[tokio::test]
async fn slow_heads_bodies_and_readers_do_not_stop_admitted_traffic() {
    let app = App::start().await;
    let config = format!("{CONFIG}max_connections_per_address = 1000\n");
    let gateway = Gateway::before(&app.url, &config).await;
    for (mode, more) in [
        ("-H", &[][..]),
        ("-B", &["-t", "POST", "-s", "8192"]),
        ("-X", &["-w", "1", "-y", "8", "-n", "1", "-z", "1"]),
    ] {
        let honest = Honest::begin(&gateway, Http::Two).await;
        slowly(&gateway, mode, more).await;
        honest.end(&format!("slowhttptest {mode}"), 20).await;
    }
}

/// Idle connections in great number; `IDLE_CONNECTIONS` says how many, where 10,000 are wanted.
#[tokio::test]
async fn idle_connections_in_great_number_stay_open_and_others_go_on() {
    let wanted = std::env::var("IDLE_CONNECTIONS").ok();
    let wanted: usize = wanted.map_or(1_500, |wanted| wanted.parse().unwrap());
    let app = App::start().await;
    let config = format!(
        "{CONFIG}max_connections = {}\nmax_connections_per_address = {}\n",
        wanted + 500,
        wanted + 500
    );
    let gateway = Gateway::before(&app.url, &config).await;
    let before = memory(&gateway);
    let mut idle = Vec::new();
    for number in 0..wanted {
        let http = if number % 2 == 0 {
            Http::One
        } else {
            Http::Two
        };
        if number % 100 == 0 {
            // A client's configuration is dear; a hundred connections share one.
            idle.push((
                Client::new(&gateway, Http::One),
                Client::new(&gateway, Http::Two),
                Vec::new(),
            ));
        }
        let (one, two, open) = idle.last_mut().unwrap();
        let client = if http == Http::One { one } else { two };
        open.push(client.bare().await);
    }
    let after = memory(&gateway);
    let honest = Honest::begin(&gateway, Http::Two).await;
    while honest.asked.load(Ordering::Relaxed) < 40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    honest.end(&format!("{wanted} idle connections"), 40).await;
    eprintln!(
        "{wanted} idle connections: {} KiB each",
        (after.saturating_sub(before)) / wanted
    );
    // The oldest are still there.
    let (_, _, first) = &mut idle[0];
    for stream in first.iter_mut().step_by(2).take(10) {
        let ask = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.authority());
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut some = [0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(stream, &mut some);
        within("an answer on an idle connection", read)
            .await
            .unwrap();
        assert_eq!(&some, b"HTTP/1.1 200");
    }
}
