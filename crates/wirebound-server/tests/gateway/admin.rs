//! One admin session of a subject: the newest stays, the others are told; and nobody plays ping-pong for long.

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::process::{Gateway, within};

const ELSEWHERE: &str = "somebody signed in to this account elsewhere";

async fn is_admin(client: &Client) -> bool {
    client.get("/admin").await.status == 200
}

#[tokio::test]
async fn a_second_admin_sign_in_disconnects_the_first_and_tells_why() {
    let gateway = Gateway::demo("").await;
    let first = Client::new(&gateway, Http::Two);
    first.sign_in("ada").await;
    assert!(is_admin(&first).await);
    let mut socket = first.socket("/chat").await;
    socket.echo("hello").await;
    let ticker = first.stream("/ticker").await;

    let second = Client::new(&gateway, Http::One);
    let since = std::time::Instant::now();
    second.ask(sign_in("ada")).await;
    let (closed, code) = socket.closed().await;
    assert_eq!(code, 4001);
    let (cut, whole) = ticker.end().await;
    assert!(!whole);
    let ms = |at: std::time::Instant| at.saturating_duration_since(since).as_millis();
    eprintln!(
        "admin evicted: WebSocket closed after {} ms, ticker after {} ms",
        ms(closed),
        ms(cut)
    );
    assert!(ms(closed) < 1000 && ms(cut) < 1000);
    assert!(!first.is_connected().await, "the wire itself is closed");

    // A page's script is refused, and keeps the cookie for the navigation that will be told.
    let fetched = first.ask(Ask::get("/admin")).await;
    assert_eq!(fetched.status, 401);
    assert!(!fetched.clears(), "{fetched:?}");
    let told = first.ask(Ask::get("/admin").person()).await;
    assert_eq!(told.status, 401);
    assert!(told.body.contains(ELSEWHERE), "{}", told.body);
    assert!(told.clears(), "{told:?}");
    assert_eq!(first.cookie(OURS), None);
    let after = first.ask(Ask::get("/admin").person()).await;
    assert!(!after.body.contains(ELSEWHERE), "{}", after.body);
    assert!(is_admin(&second).await);
}

#[tokio::test]
async fn of_64_admin_sign_ins_at_once_exactly_one_survives() {
    let gateway = Gateway::demo("[session]\nfreeze_after = 0\n").await;
    for round in 0..6 {
        let clients: Vec<Client> = (0..64)
            .map(|number| {
                let http = if number % 2 == 0 {
                    Http::One
                } else {
                    Http::Two
                };
                Client::new(&gateway, http)
            })
            .collect();
        let began = std::time::Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for client in &clients {
            let client = client.clone();
            tasks.spawn(async move { client.ask(sign_in("ada")).await.status });
        }
        while let Some(status) = within("sign-ins", tasks.join_next()).await {
            assert_eq!(status.unwrap(), 303);
        }
        let took = began.elapsed();
        let mut admins = 0;
        for client in &clients {
            admins += usize::from(is_admin(client).await);
        }
        assert_eq!(admins, 1, "round {round}");
        eprintln!("64 admin sign-ins at once: {} ms", took.as_millis());
    }
}

#[tokio::test]
async fn three_evictions_freeze_the_admin_role_for_both_sides() {
    let gateway = Gateway::demo("[session]\nfreeze_after = 3\n").await;
    let sides = [Http::One, Http::Two].map(|http| Client::new(&gateway, http));
    sides[0].sign_in("ada").await;
    assert!(is_admin(&sides[0]).await);
    for turn in 1..=3 {
        let side = &sides[turn % 2];
        side.hang_up().await;
        side.sign_in("ada").await;
        assert_eq!(is_admin(side).await, turn < 3, "turn {turn}");
    }
    for side in &sides {
        assert!(!is_admin(side).await);
    }
    sides[0].sign_in("ada").await;
    let refused = sides[0].get("/admin").await;
    assert_eq!(refused.status, 403, "signed in, but no admin");
    assert_eq!(refused.field("wirebound-reason"), "insufficient_role");
    assert_eq!(sides[0].get("/members").await.status, 200);
    assert_eq!(gateway.events("admin_contended").len(), 1);
}

const ELEVATES: &str = r#"
[vouch]
paths = ["POST /login", "POST /elevate"]
max_role = "admin"
[[routes]]
path = "/admin"
role = "admin"
"#;

#[tokio::test]
async fn an_elevation_raises_this_session_and_no_further_than_the_operator_said() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, ELEVATES).await;
    let [here, there] = [Http::One, Http::Two].map(|http| Client::new(&gateway, http));
    for client in [&here, &there] {
        client.sign_in("alice").await;
        client.ask(Ask::post("/elevate", "x=1")).await;
        assert!(!is_admin(client).await, "nobody allowed it");
    }
    gateway.stop().await;
    gateway.identities(&["role", "alice", "admin"]).await;
    gateway.start_again().await;
    for client in [&here, &there] {
        client.hang_up().await;
        assert!(!is_admin(client).await);
    }
    let before = here.cookie(OURS).unwrap();
    let raised = here.follow(Ask::post("/elevate", "x=1")).await;
    assert_eq!(raised.body, "app=alice subject=alice role=admin");
    assert_ne!(here.cookie(OURS).unwrap(), before, "its secret is new");
    assert!(is_admin(&here).await);
    assert!(!is_admin(&there).await);
    let other = there.follow(Ask::post("/elevate", "x=1")).await;
    assert_eq!(other.body, "app=alice subject=alice role=admin");
    assert!(!is_admin(&here).await, "one admin session at a time");

    gateway.stop().await;
    gateway.identities(&["block", "alice"]).await;
    gateway.start_again().await;
    for client in [&here, &there] {
        client.hang_up().await;
        assert_eq!(client.get("/me").await.body, "app=nobody subject= role=");
        assert_eq!(client.ask(sign_in("alice")).await.status, 401);
        assert_eq!(client.get("/me").await.body, "app=nobody subject= role=");
    }
}
