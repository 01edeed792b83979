//! Lineage against real TLS clients: who gets tickets, what a resumed connection says, what forgeries do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    let_underscore_drop,
    reason = "tests may stop where they fail"
)]

mod common;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use common::{BOUND, Client, HOST, Server, Setup, SystemEntropy, get, leave, until};
use rustls::NamedGroup;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use wirebound::Lifetime;
use wirebound_tower::tls::TicketKeys;

#[tokio::test]
async fn a_stranger_gets_no_tickets() {
    let server = Server::start().await;
    let client = Client::of(&server);
    client.visit(&server).await;
    client.visit(&server).await;
    assert_eq!(client.tickets(), 0);
    let seen = server.seen.lock().unwrap().clone();
    assert!(
        seen.iter()
            .all(|c| !c.family.resumed && !c.family.has_tickets())
    );
    assert_ne!(seen[0].family.root, seen[1].family.root);
    assert_eq!(seen[0].sni.as_deref(), Some(HOST));
    assert_eq!(seen[0].family.birth, server.clock.read());
}

#[tokio::test]
async fn a_grant_is_taken_by_exactly_one_full_handshake() {
    let server = Server::start().await;
    let (first, second) = (Client::of(&server), Client::of(&server));
    server.grant();
    first.visit(&server).await;
    second.visit(&server).await;
    assert_eq!((first.tickets(), second.tickets()), (2, 0));
}

#[tokio::test]
async fn a_grant_is_not_for_another_name_nor_another_address() {
    let server = Server::start().await;
    let client = Client::of(&server);
    server.grant();
    let mut other = client
        .connect_as(&server, "other.test", None)
        .await
        .unwrap();
    get(&mut other, "/").await.unwrap();
    leave(other).await;
    let elsewhere: SocketAddr = "127.0.0.9:0".parse().unwrap();
    let mut away = client
        .connect_as(&server, HOST, Some(elsewhere))
        .await
        .unwrap();
    get(&mut away, "/").await.unwrap();
    leave(away).await;
    assert_eq!(client.tickets(), 0);
    client.visit(&server).await;
    assert_eq!(client.tickets(), 2, "it was still there for its own place");
}

#[tokio::test]
async fn a_grant_dies_after_thirty_seconds() {
    let server = Server::start().await;
    let client = Client::of(&server);
    server.grant();
    server.clock.forward(Lifetime::from_secs(30));
    client.visit(&server).await;
    assert_eq!(client.tickets(), 0);
}

#[tokio::test]
async fn the_twin_of_a_first_visit_pushes_no_tickets_over_the_good_ones() {
    let server = Server::start().await;
    let client = Client::of(&server);
    // Two connections at once, as Chromium opens them; one is never used.
    let mut used = client.connect(&server).await.unwrap();
    let twin = client.connect(&server).await.unwrap();
    get(&mut used, "/").await.unwrap();
    // Sign-in: a grant, and the connection goes.
    server.grant();
    get(&mut used, "/close").await.unwrap();
    leave(used).await;
    client.visit(&server).await;
    let root = server.last().family.root;
    // The twin is closed last of all and has had its chance.
    leave(twin).await;
    assert_eq!(client.tickets(), 2);
    client.visit(&server).await;
    assert!(server.last().family.resumed);
    assert_eq!(server.last().family.root, root);
}

#[tokio::test]
async fn the_family_goes_on_over_connections_that_carry_no_request() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    let birth = server.last().family.birth;
    for step in 1..=4 {
        server.clock.forward(Lifetime::from_hours(20));
        client.preconnect(&server).await;
        assert_eq!(
            client.tickets(),
            2 + 2 * step,
            "a resumed one always gets two"
        );
    }
    client.visit(&server).await;
    let family = server.last().family;
    assert!(family.resumed && !family.granted && family.also.is_none());
    assert_eq!((family.root, family.birth), (root, birth));
}

#[tokio::test]
async fn kept_keys_resume_after_a_restart_and_fresh_ones_do_not() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    let kept = server.keys.to_bytes();
    let pki = Arc::clone(&server.pki);
    let again = |keys| Setup {
        keys,
        pki: Arc::clone(&pki),
        ..Setup::default()
    };
    let restarted = Server::with(again(Some(Arc::new(
        TicketKeys::from_bytes(&kept).unwrap(),
    ))))
    .await;
    client.visit(&restarted).await;
    assert!(restarted.last().family.resumed);
    assert_eq!(restarted.last().family.root, root);
    let forgetful = Server::with(again(None)).await;
    client.visit(&forgetful).await;
    assert!(!forgetful.last().family.resumed);
}

#[tokio::test]
async fn a_ticket_of_one_listener_does_not_resume_on_another() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    let admin = Server::with(Setup {
        listener: "admin",
        keys: Some(Arc::clone(&server.keys)),
        pki: Arc::clone(&server.pki),
        ..Setup::default()
    })
    .await;
    client.visit(&admin).await;
    assert!(!admin.last().family.resumed);
    assert_ne!(admin.last().family.root, root);
    client.visit(&server).await;
    assert!(
        server.last().family.resumed,
        "the other one is good at home"
    );
}

#[tokio::test]
async fn a_ticket_dies_after_two_days_even_while_its_key_lives() {
    let server = Server::start().await;
    let (client, _) = server.regular().await;
    server.clock.forward(Lifetime::from_days(2));
    client.visit(&server).await;
    assert!(!server.last().family.resumed);

    let (client, _) = server.regular().await;
    server.clock.forward(Lifetime::from_millis(
        Lifetime::from_days(2).as_millis() - 1,
    ));
    client.visit(&server).await;
    assert!(server.last().family.resumed);
}

#[tokio::test]
async fn keys_rotate_under_living_tickets_and_are_dropped_after_them() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    let mut rotations = 0;
    for _ in 0..47 {
        server.clock.forward(Lifetime::from_hours(1));
        if server
            .keys
            .rotate(server.clock.read(), &SystemEntropy)
            .unwrap()
        {
            rotations += 1;
        }
    }
    assert_eq!((rotations, server.keys.count()), (3, 4));
    client.visit(&server).await;
    assert!(server.last().family.resumed);
    assert_eq!(server.last().family.root, root);
    for _ in 0..200 {
        server.clock.forward(Lifetime::from_hours(1));
        server
            .keys
            .rotate(server.clock.read(), &SystemEntropy)
            .unwrap();
        assert!(server.keys.count() <= 6);
    }
}

#[tokio::test]
async fn a_silent_clock_neither_issues_nor_resumes() {
    let server = Server::start().await;
    let (client, _) = server.regular().await;
    server.grant();
    server.clock.fall_silent();
    client.visit(&server).await;
    assert!(!server.last().family.resumed && !server.last().family.granted);
    assert_eq!(client.tickets(), 2);
}

#[tokio::test]
async fn after_a_hello_retry_the_connection_counts_for_both_roots() {
    let server = Server::start().await;
    let groups = vec![
        rustls::crypto::aws_lc_rs::kx_group::X25519,
        rustls::crypto::aws_lc_rs::kx_group::SECP384R1,
    ];
    let client = Client::build(
        &server,
        &["http/1.1"],
        &[&rustls::version::TLS13],
        Some(groups),
    );
    server.grant();
    client.visit(&server).await;
    let (root, birth) = (server.last().family.root, server.last().family.birth);
    server.clock.forward(Lifetime::from_days(1));
    // A share of the second group only: the server asks for the first.
    *client.store.hint.lock().unwrap() = Some(NamedGroup::secp384r1);
    let mut tls = client.connect(&server).await.unwrap();
    assert_eq!(
        tls.get_ref().1.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    get(&mut tls, "/").await.unwrap();
    leave(tls).await;
    let retried = server.last().family;
    assert!(retried.resumed);
    assert_eq!((retried.root, retried.birth), (root, birth));
    let also = retried.also.expect("a second root: the hello was retried");
    assert_eq!(client.tickets(), 4, "it gets its two");
    *client.store.hint.lock().unwrap() = None;
    client.visit(&server).await;
    let next = server.last().family;
    assert!(next.resumed && next.also.is_none());
    assert_eq!(next.root, also, "its tickets carry the second root");
    assert_eq!(next.birth, birth, "and the family's true age");
}

#[tokio::test]
async fn a_full_handshake_with_a_hello_retry_gets_no_tickets() {
    let server = Server::start().await;
    let groups = vec![
        rustls::crypto::aws_lc_rs::kx_group::X25519,
        rustls::crypto::aws_lc_rs::kx_group::SECP384R1,
    ];
    let client = Client::build(
        &server,
        &["http/1.1"],
        &[&rustls::version::TLS13],
        Some(groups),
    );
    *client.store.hint.lock().unwrap() = Some(NamedGroup::secp384r1);
    let mut tls = client.connect(&server).await.unwrap();
    assert_eq!(
        tls.get_ref().1.handshake_kind(),
        Some(rustls::HandshakeKind::FullWithHelloRetryRequest)
    );
    get(&mut tls, "/").await.unwrap();
    leave(tls).await;
    assert!(!server.last().family.resumed && server.last().family.also.is_none());
    assert_eq!(client.tickets(), 0);
}

#[tokio::test]
async fn a_client_that_names_no_host_has_a_lineage_of_its_own() {
    let server = Server::start().await;
    let client = Client::of(&server);
    let now = server.clock.read();
    assert!(server.grants.open(server.addr.ip(), None, now));
    for resumed in [false, true] {
        let mut tls = client.connect_as(&server, "127.0.0.1", None).await.unwrap();
        get(&mut tls, "/").await.unwrap();
        leave(tls).await;
        assert_eq!(server.last().sni, None);
        assert_eq!(server.last().family.resumed, resumed);
    }
}

#[tokio::test]
async fn early_data_is_not_taken() {
    let server = Server::start().await;
    let (mut client, _) = server.regular().await;
    client.config.enable_early_data = true;
    let mut tls = client.connect(&server).await.unwrap();
    get(&mut tls, "/").await.unwrap();
    assert!(server.last().family.resumed);
    assert!(!tls.get_ref().1.is_early_data_accepted());
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let server = Server::start().await;
    let client = Client::build(&server, &["http/1.1"], &[&rustls::version::TLS12], None);
    let error = client.connect(&server).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn h2_is_preferred_and_http_1_1_served() {
    let server = Server::start().await;
    for (offered, chosen) in [
        (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        (&["http/1.1"][..], Some(&b"http/1.1"[..])),
        (&[][..], None),
    ] {
        let client = Client::speaking(&server, offered);
        let tls = client.connect(&server).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), chosen);
    }
}

/// Notes all bytes the client sends.
struct Tapped {
    tcp: TcpStream,
    sent: Arc<Mutex<Vec<u8>>>,
    /// At most so many bytes in one write.
    piece: usize,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let piece = &buf[..buf.len().min(self.piece)];
        let done = Pin::new(&mut self.tcp).poll_write(cx, piece);
        if let Poll::Ready(Ok(count)) = done {
            self.sent.lock().unwrap().extend_from_slice(&piece[..count]);
        }
        done
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

async fn tapped(server: &Server, piece: usize) -> (Tapped, Arc<Mutex<Vec<u8>>>) {
    let tcp = TcpStream::connect(server.addr).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let sent = Arc::new(Mutex::new(vec![]));
    let tap = Tapped {
        tcp,
        sent: Arc::clone(&sent),
        piece,
    };
    (tap, sent)
}

/// The first TLS record of what a client sent.
fn first_record(sent: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([sent[3], sent[4]]));
    sent[..5 + length].to_vec()
}

#[tokio::test]
async fn a_captured_client_hello_sent_again_yields_nothing() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    let (tap, sent) = tapped(&server, usize::MAX).await;
    let mut tls = client.over(tap, HOST).await.unwrap();
    get(&mut tls, "/").await.unwrap();
    assert!(server.last().family.resumed);
    let hello = first_record(&sent.lock().unwrap());
    let served = server.count();

    // A renewal is due and a grant is open: sending the hello again must not use them up.
    server.grant();
    assert!(server.renewals.due(root, server.clock.read()));
    for _ in 0..3 {
        let mut thief = TcpStream::connect(server.addr).await.unwrap();
        thief.write_all(&hello).await.unwrap();
        let mut answer = [0; 64];
        assert!(
            thief.read(&mut answer).await.unwrap() > 0,
            "the server's hello"
        );
        thief.shutdown().await.unwrap();
        common::closes(&mut thief).await;
    }
    assert_eq!(
        server.count(),
        served,
        "nobody was served, nothing reported"
    );
    assert!(
        server
            .grants
            .is_open(server.addr.ip(), Some(HOST), server.clock.read())
    );
    client.visit(&server).await;
    assert!(server.last().family.granted, "the renewal was still there");
}

#[tokio::test]
async fn a_client_hello_in_pieces_is_read_as_a_whole_one() {
    let server = Server::start().await;
    let (mut client, root) = server.regular().await;
    // The smallest records there are, and one byte in each TCP segment.
    client.config.max_fragment_size = Some(32);
    let (tap, sent) = tapped(&server, 1).await;
    let mut tls = client.over(tap, HOST).await.unwrap();
    get(&mut tls, "/").await.unwrap();
    assert!(
        first_record(&sent.lock().unwrap()).len() <= 32,
        "the hello was split"
    );
    assert_eq!(server.last().sni.as_deref(), Some(HOST));
    assert!(server.last().family.resumed);
    assert_eq!(server.last().family.root, root);
}

#[tokio::test]
async fn a_tampered_hello_is_not_resumed_and_does_not_complete() {
    let server = Server::start().await;
    let (client, _) = server.regular().await;
    let (tap, sent) = tapped(&server, usize::MAX).await;
    let mut tls = client.over(tap, HOST).await.unwrap();
    get(&mut tls, "/").await.unwrap();
    let hello = first_record(&sent.lock().unwrap());
    let served = server.count();
    // The binder is the last of the hello; the ticket stands before it.
    for from_end in [5, 60, 120, 200] {
        let mut bent = hello.clone();
        let at = bent.len() - from_end;
        bent[at] ^= 1;
        let mut thief = TcpStream::connect(server.addr).await.unwrap();
        thief.write_all(&bent).await.unwrap();
        thief.shutdown().await.unwrap();
        common::closes(&mut thief).await;
    }
    assert_eq!(server.count(), served);
}

#[tokio::test]
async fn a_family_that_is_due_is_not_resumed_but_takes_the_grant() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    server.clock.forward(Lifetime::from_hours(30));
    server.grant();
    assert!(server.renewals.due(root, server.clock.read()));
    client.visit(&server).await;
    let renewed = server.last().family;
    assert!(!renewed.resumed && renewed.granted);
    assert_ne!(renewed.root, root);
    assert_eq!(renewed.birth, server.clock.read());
    // Once: the other ticket of the old family resumes as ever.
    client.visit(&server).await;
    assert!(server.last().family.resumed);
    assert_eq!(server.last().family.root, renewed.root);
}

#[tokio::test]
async fn a_family_that_is_due_is_resumed_where_no_grant_is_open() {
    let server = Server::start().await;
    let (client, root) = server.regular().await;
    assert!(server.renewals.due(root, server.clock.read()));
    client.visit(&server).await;
    assert!(server.last().family.resumed);
    assert_eq!(server.last().family.root, root);
}

/// Runs a program with a bound and answers what it wrote.
async fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output())
        .await
        .unwrap_or_else(|_| panic!("{program} hangs"))
        .unwrap_or_else(|error| panic!("{program}: {error}; install it with `cargo xtask setup`"));
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn openssl_resumes_whatever_the_case_of_the_name() {
    let server = Server::start().await;
    server.grant();
    let session =
        std::env::temp_dir().join(format!("wirebound-{}-session.pem", std::process::id()));
    let session = session.to_str().unwrap();
    let target = server.addr.to_string();
    let common = [
        "s_client", "-connect", &target, "-alpn", "http/1.1", "-tls1_3",
    ];
    // Without input it stays just long enough for the tickets, if it is told to read on until the end.
    let first = {
        let script = format!(
            "printf 'GET /close HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n' | openssl {} -servername {HOST} -sess_out {session} -ign_eof",
            common.join(" ")
        );
        run("sh", &["-c", &script]).await
    };
    assert!(first.contains("New, TLSv1.3"), "{first}");
    let root = server.last().family.root;
    assert!(server.last().family.granted);
    let upper = HOST.to_uppercase();
    let script = format!(
        "printf 'GET /close HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n' | openssl {} -servername {upper} -sess_in {session} -ign_eof",
        common.join(" ")
    );
    // The same ticket twice, as Node does it: twice the same family.
    for _ in 0..2 {
        let again = run("sh", &["-c", &script]).await;
        assert!(again.contains("Reused, TLSv1.3"), "{again}");
        assert!(server.last().family.resumed);
        assert_eq!(server.last().family.root, root);
        assert_eq!(server.last().sni.as_deref(), Some(HOST));
    }
    std::fs::remove_file(session).unwrap();
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn curl_is_served_on_both_versions() {
    let server = Server::start().await;
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let url = format!("https://{HOST}:{}/hello", server.addr.port());
        let to = format!("{HOST}:{}:127.0.0.1", server.addr.port());
        let out = run(
            "curl",
            &[
                "-sk",
                flag,
                "--resolve",
                &to,
                "-w",
                " %{http_version}",
                &url,
            ],
        )
        .await;
        assert_eq!(out, format!("/hello {version}"));
    }
    let out = run(
        "curl",
        &[
            "-sk",
            "--tls-max",
            "1.2",
            "-w",
            "%{exitcode}",
            &format!("https://{}/", server.addr),
        ],
    )
    .await;
    assert_eq!(out, "35", "TLS 1.2 fails in the handshake");
    until(|| server.count() == 2).await;
}
