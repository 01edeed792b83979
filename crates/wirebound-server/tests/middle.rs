//! Real proxies in front of an `edge` listener that does not know of them: two people on one connection are never mixed
//! up, the family is found to be shared, a copied cookie is refused through it, and the operator is told what to change.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::expect_used,
    dead_code,
    reason = "a test says by panicking what is wrong; the modules are another test's too"
)]

#[path = "gateway/app.rs"]
mod app;
#[path = "gateway/client.rs"]
mod client;
mod person;
#[path = "gateway/process.rs"]
mod process;

use std::net::SocketAddr;

use app::App;
use client::{Client, Http};
use person::Person;
use process::{Gateway, until};
use wirebound_testkit::caddy::Caddy;
use wirebound_testkit::haproxy::Haproxy;
use wirebound_testkit::nginx::Nginx;

const CONFIG: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout"]
[[routes]]
path = "/members"
role = "user"
"#;

/// nginx as it is found in many places: TLS towards what it thinks is an ordinary server, its sessions resumed, and not
/// one field that gives it away.
#[derive(Clone, Copy)]
enum Stock {
    /// By address, a connection for each request.
    Address,
    /// The same over HTTP/1.0, which is its default.
    Old,
    /// By name with the host passed on, over kept connections.
    Named,
    /// By name, but without the server name: its default.
    Unnamed,
}

async fn nginx(gateway: SocketAddr, stock: Stock) -> Nginx {
    let port = gateway.port();
    let kept = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let how = match stock {
        Stock::Address => format!("proxy_pass https://{gateway}; proxy_http_version 1.1;"),
        Stock::Old => format!("proxy_pass https://{gateway};"),
        Stock::Named => format!(
            "proxy_pass https://gateway; {kept} proxy_set_header Host localhost:{port};
             proxy_ssl_server_name on; proxy_ssl_name localhost;"
        ),
        Stock::Unnamed => {
            format!("proxy_pass https://gateway; {kept} proxy_set_header Host localhost:{port};")
        }
    };
    Nginx::start(&format!(
        "upstream gateway {{ server {gateway}; keepalive 4; }}
         server {{
             listen LISTEN;
             location / {{
                 proxy_ssl_protocols TLSv1.3;
                 proxy_ssl_session_reuse on;
                 {how}
             }}
         }}"
    ))
    .await
    .unwrap()
}

/// Whom the app takes somebody for.
fn is_served_as(body: &str, name: &str) -> bool {
    body.starts_with(&format!("app={name} subject={name} "))
}

fn is_nobody(body: &str) -> bool {
    body.starts_with("app=nobody subject= ")
}

#[tokio::test]
async fn the_second_person_behind_a_stock_nginx_makes_the_family_shared_and_a_copy_is_refused() {
    for stock in [Stock::Address, Stock::Named] {
        let app = App::start().await;
        let gateway = Gateway::before(&app.url, CONFIG).await;
        let nginx = nginx(gateway.address(), stock).await;
        let mut alice = Person::at(nginx.address());
        let signed_in = alice.sign_in("alice").await;
        assert!(is_served_as(&signed_in.body, "alice"), "{signed_in:?}");
        for _ in 0..5 {
            assert!(is_served_as(&alice.follow("/me").await.body, "alice"));
        }

        // The window that docs/guide/not-protected.md names: nobody else has shown up yet, and a copy that calls itself
        // the same is not told from its owner.
        let mut early = alice.thief();
        let copied = early.follow("/me").await;
        assert!(is_served_as(&copied.body, "alice"), "{copied:?}");
        assert!(gateway.events("family_shared").is_empty());

        let mut bob = Person::at(nginx.address());
        let signed_in = bob.sign_in("bob").await;
        assert!(is_served_as(&signed_in.body, "bob"), "{signed_in:?}");

        // Now nobody is served as anybody: not the copy, not the owner.
        for _ in 0..3 {
            for person in [&mut early, &mut alice.thief(), &mut alice, &mut bob] {
                let answer = person.follow("/me").await;
                assert!(is_nobody(&answer.body), "{answer:?}");
                assert_eq!(person.get("/members").await.status, 401);
            }
        }
        let marks = gateway.events("family_shared");
        assert_eq!(marks[0]["sign"], "two_subjects_in_turn");
        let hint = marks[0]["hint"].as_str().unwrap();
        for word in ["pass TCP through", "mode tcp", "nginx", "signed in"] {
            assert!(hint.contains(word), "{hint}");
        }

        // Whoever tries to sign in is told, instead of being led back to the login for ever.
        let refused = bob.try_sign_in("bob").await;
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(refused.field("wirebound-reason"), "insufficient_strength");
        assert!(
            refused.body.contains("You cannot be signed in here"),
            "{refused:?}"
        );
        assert!(refused.headers.get("set-cookie").is_none(), "{refused:?}");
        // A program's post was done by the app, and its answer passes: without a session.
        let mut program = Person::at(nginx.address());
        let posted = program.post("/login", "name=robot").await;
        assert_eq!(posted.status, 303, "{posted:?}");
        assert!(posted.headers.get("set-cookie").is_none(), "{posted:?}");
        assert!(is_nobody(&program.get("/me").await.body));
    }
}

#[tokio::test]
async fn a_copy_that_calls_itself_otherwise_is_refused_behind_a_stock_nginx_from_the_first_request()
{
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let nginx = nginx(gateway.address(), Stock::Named).await;
    let mut alice = Person::at(nginx.address());
    alice.sign_in("alice").await;
    let mut thief = alice.thief().calls_itself("curl/8");
    for _ in 0..3 {
        let answer = thief.follow("/me").await;
        assert!(is_nobody(&answer.body), "{answer:?}");
    }
    assert!(gateway.events("family_shared").is_empty());
    // The owner comes again: two programs in turn.
    assert!(is_nobody(&alice.follow("/me").await.body));
    let marks = gateway.events("family_shared");
    assert_eq!(marks[0]["sign"], "two_user_agents_in_turn");
}

#[tokio::test]
async fn a_nginx_that_gives_itself_away_is_known_at_its_first_request() {
    for (stock, sign) in [(Stock::Unnamed, "no_server_name"), (Stock::Old, "http_1_0")] {
        let app = App::start().await;
        let gateway = Gateway::before(&app.url, CONFIG).await;
        let nginx = nginx(gateway.address(), stock).await;
        let mut alice = Person::at(nginx.address());
        let public = alice.get("/").await;
        assert_eq!(
            (public.status.as_u16(), public.body.as_str()),
            (200, "home")
        );
        let refused = alice.try_sign_in("alice").await;
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(gateway.events("family_shared")[0]["sign"], sign);
        assert!(gateway.events("signed_in").is_empty());
    }
}

/// Everybody asks at once, signs in again where refused, and is never answered as somebody else.
async fn crowd(front: SocketAddr) -> (usize, usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6_usize {
        tasks.spawn(async move {
            let name = format!("user{number}");
            let mut person = Person::at(front).calls_itself(&format!("Browser/{}", number % 2));
            let (mut known, mut asked) = (0, 0);
            for round in 0..60 {
                // Where a proxy gives each a connection of his own they meet only when those are made anew.
                if round % 5 == 4 {
                    person.hang_up();
                }
                let answer = if round % 10 == 0 {
                    person.sign_in(&name).await
                } else {
                    person.follow("/me").await
                };
                asked += 1;
                if is_served_as(&answer.body, &name) {
                    known += 1;
                    continue;
                }
                // What is being sent to somebody when the mark comes is cut off.
                let refused = answer.cut || matches!(answer.status.as_u16(), 401 | 403);
                assert!(refused || is_nobody(&answer.body), "{name}: {answer:?}");
            }
            (known, asked)
        });
    }
    let mut sum = (0, 0);
    while let Some(done) = tasks.join_next().await {
        let (known, asked) = done.unwrap();
        sum = (sum.0 + known, sum.1 + asked);
    }
    sum
}

#[tokio::test]
async fn a_crowd_behind_any_proxy_that_ends_tls_is_never_mixed_up() {
    let app = App::start().await;
    for kind in [
        "nginx",
        "nginx without names",
        "caddy",
        "haproxy",
        "haproxy over http/2",
    ] {
        let gateway = Gateway::before(&app.url, CONFIG).await;
        let at = gateway.address();
        let ca = gateway.ca().display().to_string();
        let (mut nginx_, mut caddy_, mut haproxy_) = (None, None, None);
        let front = match kind {
            "nginx" => nginx_.insert(nginx(at, Stock::Named).await).address(),
            "nginx without names" => nginx_.insert(nginx(at, Stock::Address).await).address(),
            "caddy" => caddy_.insert(caddy(at, &ca).await).address(),
            "haproxy" => haproxy_
                .insert(haproxy(at, &ca, "http/1.1").await)
                .address(),
            _ => haproxy_.insert(haproxy(at, &ca, "h2").await).address(),
        };
        let (known, asked) = crowd(front).await;
        let marks = gateway.events("family_shared");
        eprintln!(
            "{kind}: {asked} asked, {known} known before the mark, {} marks",
            marks.len()
        );
        assert!(!marks.is_empty(), "{kind}: {:#?}", gateway.printed());
        assert_eq!(asked, 360);
    }
}

async fn caddy(gateway: SocketAddr, ca: &str) -> Caddy {
    Caddy::start(&format!(
        "reverse_proxy https://{gateway} {{
             header_up Host localhost:{}
             transport http {{
                 tls_trusted_ca_certs {ca}
                 tls_server_name localhost
             }}
         }}",
        gateway.port()
    ))
    .await
    .unwrap()
}

async fn haproxy(gateway: SocketAddr, ca: &str, alpn: &str) -> Haproxy {
    Haproxy::start(&format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend front
  bind LISTEN
  http-request set-header Host localhost:{}
  default_backend gateway
backend gateway
  http-reuse always
  server one {gateway} ssl verify required ca-file {ca} sni str(localhost) alpn {alpn}
",
        gateway.port()
    ))
    .await
    .unwrap()
}

#[tokio::test]
async fn a_caddy_in_front_is_known_by_its_forwarding_fields_before_anybody_is_signed_in() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let caddy = caddy(gateway.address(), &gateway.ca().display().to_string()).await;
    let mut alice = Person::at(caddy.address());
    assert_eq!(alice.get("/").await.body, "home", "{}", caddy.log());
    let refused = alice.try_sign_in("alice").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let marks = gateway.events("family_shared");
    assert_eq!(marks[0]["sign"], "forwarding_header");
    let hint = marks[0]["hint"].as_str().unwrap();
    assert!(
        hint.contains("forwarding field") && hint.contains("mode tcp"),
        "{hint}"
    );
}

/// The way out that the event names.
#[tokio::test]
async fn a_proxy_that_passes_tcp_through_mixes_nobody_up_and_lets_no_copy_in() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let text = include_str!("../../../examples/haproxy/pass-through.cfg");
    let text = text
        .replace("0.0.0.0:443", "LISTEN")
        .replace("127.0.0.1:8443", &gateway.address().to_string());
    let haproxy = Haproxy::start(&text).await.unwrap();
    let through = |client: Client| client.through(haproxy.address());
    let alice = through(Client::new(&gateway, Http::Two));
    let bob = through(Client::new(&gateway, Http::One));
    alice.sign_in("alice").await;
    bob.sign_in("bob").await;
    for _ in 0..10 {
        assert!(is_served_as(&alice.get("/me").await.body, "alice"));
        assert!(is_served_as(&bob.get("/me").await.body, "bob"));
    }
    let thief = through(alice.thief(&gateway));
    assert!(is_nobody(&thief.get("/me").await.body));
    assert!(is_served_as(&alice.get("/me").await.body, "alice"));
    assert!(gateway.events("family_shared").is_empty());
}

#[tokio::test]
async fn a_stream_over_a_wire_that_is_found_to_be_shared_is_cut() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, CONFIG).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let stream = alice.stream("/stream").await;
    let elsewhere = alice.other_connection();
    let forwarded = client::Ask::get("/me").field("x-forwarded-for", "192.0.2.1");
    elsewhere.ask(forwarded).await;
    until("the mark", || !gateway.events("family_shared").is_empty()).await;
    let (_, whole) = stream.end().await;
    assert!(!whole, "it was cut");
}
