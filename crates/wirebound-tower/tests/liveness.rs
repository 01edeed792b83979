//! Asking a peer whether it is alive.
//!
//! On loopback a peer cannot vanish: its kernel is ours. The half-open peer therefore lives in a network
//! namespace behind a veth pair that is taken down, which needs root and the `ip` program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    let_underscore_drop,
    reason = "tests may stop where they fail"
)]

mod common;

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use common::{Client, HOST, Server, Setup, get, until};
use wirebound_tower::transport::Liveness;

#[tokio::test]
async fn a_peer_that_is_there_answers_and_the_answer_stands_for_a_while() {
    let server = Server::start().await;
    let mut tls = Client::of(&server).connect(&server).await.unwrap();
    get(&mut tls, "/").await.unwrap();
    let connection = server.last();
    let (first, second) = tokio::join!(connection.liveness(), connection.liveness());
    assert_eq!((first, second), (Liveness::Answers, Liveness::Answers));
    let began = Instant::now();
    assert_eq!(connection.liveness().await, Liveness::Answers);
    assert!(
        began.elapsed() < Duration::from_millis(20),
        "not asked again"
    );
    get(&mut tls, "/").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_left_is_closed() {
    let server = Server::start().await;
    let mut tls = Client::of(&server).connect(&server).await.unwrap();
    get(&mut tls, "/").await.unwrap();
    common::leave(tls).await;
    let connection = server.last();
    connection.closed().await;
    assert_eq!(connection.liveness().await, Liveness::Closed);
}

/// Another host: a network namespace, joined by a veth pair.
struct Host {
    name: String,
    link: String,
    net: u8,
}

impl Host {
    fn new() -> Self {
        let id = std::process::id() % 10_000;
        let host = Self {
            name: format!("wb{id}"),
            link: format!("wb{id}"),
            net: u8::try_from(id % 250).unwrap(),
        };
        let (name, near, far) = (&host.name, &host.link, format!("{}p", host.link));
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {near} type veth peer name {far} netns {name}"
        ));
        ip(&format!("addr add {}/30 dev {near}", host.near()));
        ip(&format!("link set {near} up"));
        ip(&format!("-n {name} addr add {}/30 dev {far}", host.far()));
        ip(&format!("-n {name} link set {far} up"));
        host
    }

    fn near(&self) -> IpAddr {
        IpAddr::from([10, 213, self.net, 1])
    }

    fn far(&self) -> IpAddr {
        IpAddr::from([10, 213, self.net, 2])
    }

    /// Everything on the way is lost from now on, in both directions, and nobody is told.
    fn vanish(&self) {
        ip(&format!("-n {} addr flush dev {}p", self.name, self.link));
        ip(&format!("-n {} route add blackhole default", self.name));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(
            Command::new("ip")
                .args(["link", "del", &self.link])
                .status(),
        );
        drop(
            Command::new("ip")
                .args(["netns", "del", &self.name])
                .status(),
        );
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap_or_else(|error| panic!("ip: {error}; install iproute2 with `cargo xtask setup`"));
    assert!(
        output.status.success(),
        "ip {arguments}: {}; this test makes a network namespace and needs root",
        String::from_utf8_lossy(&output.stderr)
    );
}

struct Far(Child);

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_half_open_peer_is_silent() {
    let host = Host::new();
    let server = Server::with(Setup {
        bind: host.near(),
        ..Setup::default()
    })
    .await;
    let target = server.addr.to_string();
    let mut far = Far(Command::new("ip")
        .args(["netns", "exec", &host.name, "openssl", "s_client", "-quiet"])
        .args([
            "-connect",
            &target,
            "-servername",
            HOST,
            "-alpn",
            "http/1.1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap());
    let stdin = far.0.stdin.as_mut().unwrap();
    stdin
        .write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        .unwrap();
    stdin.flush().unwrap();
    until(|| server.count() == 1).await;
    let connection = server.last();
    assert_eq!(connection.peer.ip(), host.far());
    assert_eq!(connection.liveness().await, Liveness::Answers);

    host.vanish();
    // The answer just given stands for ten seconds.
    assert_eq!(connection.liveness().await, Liveness::Answers);
    tokio::time::pause();
    tokio::time::advance(wirebound_tower::transport::ASK_EVERY).await;
    tokio::time::resume();
    let began = Instant::now();
    assert_eq!(connection.liveness().await, Liveness::Silent);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(1_900) && took < Duration::from_millis(2_500),
        "{took:?}"
    );
    connection.hang_up();
}
