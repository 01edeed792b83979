//! Refusals: each status with its code, as a document for programs and as a page for people, kept by no cache.

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::{Gateway, until};

const RULES: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout"]
[login]
url = "/login"
[[routes]]
path = "/members"
role = "user"
strength = "wire"
[[routes]]
path = "/admin"
role = "admin"
"#;

/// One of the gateway's own answers: the status, the code where the reader may know it, and no cache.
fn is_own(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.field("wirebound-reason"), reason, "{answer:?}");
    assert_eq!(answer.field("cache-control"), "no-store", "{answer:?}");
    let kind = answer.field("content-type");
    if kind == "application/problem+json" {
        let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(document["status"], status);
        assert!(document["title"].is_string() && document["code"].is_string());
        if !reason.is_empty() {
            assert_eq!(document["code"], reason);
        }
    } else {
        assert!(kind.starts_with("text/html"), "{answer:?}");
        let policy = answer.field("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
    }
}

async fn as_both(client: &Client, ask: Ask, status: u16, reason: &str) {
    is_own(&client.follow(ask.clone()).await, status, reason);
    is_own(&client.follow(ask.person()).await, status, reason);
}

async fn site() -> (App, Gateway) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, RULES).await;
    (app, gateway)
}

#[tokio::test]
async fn a_stranger_passes_where_nothing_is_asked_and_gets_401_where_something_is() {
    let (_app, gateway) = site().await;
    for http in [Http::One, Http::Two] {
        let stranger = Client::new(&gateway, http);
        assert_eq!(stranger.get("/").await.body, "home");
        as_both(&stranger, Ask::get("/members"), 401, "unauthenticated").await;
        let page = stranger.ask(Ask::get("/members").person()).await;
        assert!(page.body.contains("href=\"/login\""), "{}", page.body);
        assert!(page.headers.get("set-cookie").is_none());
        let member = Client::new(&gateway, http);
        member.sign_in("alice").await;
        assert_eq!(member.get("/members").await.status, 200);
        as_both(&member, Ask::get("/admin"), 403, "insufficient_role").await;
        assert_eq!(member.get("/members").await.status, 200);
    }
}

#[tokio::test]
async fn a_request_from_elsewhere_is_refused_with_and_without_a_session() {
    let (_app, gateway) = site().await;
    for http in [Http::One, Http::Two] {
        let member = Client::new(&gateway, http);
        member.sign_in("alice").await;
        let stranger = Client::new(&gateway, http);
        for client in [&member, &stranger] {
            for (name, value) in [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
                ("origin", "https://evil.test"),
                ("origin", "null"),
            ] {
                let ask = Ask::post("/me", "x=1").field(name, value);
                as_both(client, ask, 403, "csrf_surprise").await;
                let login = Ask::post("/login", "name=mallory").field(name, value);
                is_own(&client.ask(login).await, 403, "csrf_surprise");
            }
            let out = Ask::post("/.wirebound/logout", "").field("origin", "https://evil.test");
            is_own(&client.ask(out).await, 403, "csrf_surprise");
            let read = Ask::get("/").field("sec-fetch-site", "cross-site");
            assert_eq!(client.follow(read).await.status, 200);
            let own = Ask::post("/me", "x=1").field("sec-fetch-site", "same-origin");
            assert_eq!(client.follow(own).await.status, 200);
        }
        assert!(member.get("/me").await.body.starts_with("app=alice"));
    }
    let socket = Ask::get("/ws")
        .field("connection", "Upgrade")
        .field("upgrade", "websocket")
        .field("sec-websocket-version", "13")
        .field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .field("origin", "https://evil.test");
    let stranger = Client::new(&gateway, Http::One);
    is_own(&stranger.ask(socket).await, 403, "csrf_surprise");
}

#[tokio::test]
async fn a_copied_cookie_beside_its_living_owner_learns_nothing_and_harms_nobody() {
    let (_app, gateway) = site().await;
    for http in [Http::One, Http::Two] {
        let owner = Client::new(&gateway, http);
        owner.sign_in("alice").await;
        for thief in [
            owner.thief(&gateway),
            owner.thief(&gateway).without_tickets(),
        ] {
            // A program gets what nobody gets; a person sees a page that is not there.
            is_own(&thief.get("/members").await, 401, "");
            is_own(&thief.follow(Ask::get("/members").person()).await, 404, "");
            // No worse off than without a cookie.
            let open = thief.get("/me").await;
            assert_eq!(
                (open.status.as_u16(), open.body.as_str()),
                (200, "app=nobody subject= role=")
            );
            assert!(!open.clears(), "{open:?}");
        }
        let me = owner.get("/members").await;
        assert_eq!(me.body, "app=alice subject=alice role=user");
    }
    assert!(!gateway.events("contested").is_empty());
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected_and_an_address_needs_no_name() {
    let (_app, gateway) = site().await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        client.sign_in("alice").await;
        for other in ["other.test", "localhost.evil.test:443", "127.0.0.1"] {
            let ask = Ask::get("/members").authority(other);
            as_both(&client, ask, 421, "misdirected").await;
        }
        assert_eq!(client.get("/members").await.status, 200);
        let bare = Client::new(&gateway, http).by_address();
        assert_eq!(bare.get("/").await.body, "home");
        bare.sign_in("bob").await;
        let me = bare.get("/members").await;
        assert_eq!(me.body, "app=bob subject=bob role=user");
    }
}

#[tokio::test]
async fn an_idle_session_is_told_that_its_time_is_over() {
    let app = App::start().await;
    let config = format!("{RULES}\n[session]\nidle_timeout = \"1s\"\n");
    let gateway = Gateway::before(&app.url, &config).await;
    // Ours lives as long as the app's cookie, and what the operator said only shortens it.
    for form in ["name=alice", "name=alice&age=9999"] {
        let clients = [Http::One, Http::Two].map(|http| Client::new(&gateway, http));
        for client in &clients {
            let signed_in = client.follow(Ask::post("/login", form)).await;
            assert_eq!(signed_in.status, 200);
        }
        let me = clients[1].get("/.wirebound/me").await.body;
        let me: serde_json::Value = serde_json::from_str(&me).unwrap();
        let over = me["session"]["idle_until"].as_u64().unwrap();
        until("the session is idle for too long", || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.unwrap().as_millis() as u64 > over
        })
        .await;
        for client in &clients {
            let fetched = client.follow(Ask::get("/members")).await;
            is_own(&fetched, 440, "session_expired");
            assert!(!fetched.clears());
            let open = client.get("/me").await;
            assert_eq!(open.body, "app=nobody subject= role=");
            let page = client.follow(Ask::get("/members").person()).await;
            is_own(&page, 440, "session_expired");
            assert!(page.clears(), "{page:?}");
            is_own(&client.get("/members").await, 401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn an_admin_role_that_ran_out_is_asked_for_again() {
    let gateway = Gateway::demo("[session]\nadmin_role_lifetime = \"1s\"\n").await;
    let ada = Client::new(&gateway, Http::Two);
    ada.sign_in("ada").await;
    let deadline = std::time::Instant::now() + crate::process::BOUND;
    let refused = loop {
        let answer = ada.get("/admin").await;
        if answer.status != 200 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    is_own(&refused, 403, "step_up_required");
    assert_eq!(ada.get("/members").await.status, 200);
}

#[tokio::test]
async fn an_ended_cookie_is_no_worse_than_none_and_two_of_ours_are_refused() {
    let (_app, gateway) = site().await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        client.sign_in("alice").await;
        let cookie = client.cookie(OURS).unwrap();
        let twice = format!("{OURS}={cookie}; a=b; {OURS}={cookie}");
        let answer = client.ask(Ask::get("/me").cookies(&twice)).await;
        is_own(&answer, 400, "malformed");
        let answer = client.ask(Ask::get("/me").cookies(&twice).person()).await;
        is_own(&answer, 400, "malformed");
        assert_eq!(client.get("/members").await.status, 200);
        client.ask(Ask::post("/logout", "x=1")).await;
        let ended = format!("{OURS}={cookie}");
        let open = client.follow(Ask::get("/me").cookies(&ended)).await;
        assert_eq!(open.status, 200);
        let asked = client.follow(Ask::get("/members").cookies(&ended)).await;
        is_own(&asked, 401, "phantom_session");
        let page = Ask::get("/members").cookies(&ended).person();
        let page = client.follow(page).await;
        is_own(&page, 401, "phantom_session");
        assert!(page.clears());
        // A stranger who shows a made-up secret of a session that was is told nothing.
        let (rest, _) = cookie.rsplit_once('.').unwrap();
        let made_up = format!("{OURS}={rest}.{}", "A".repeat(43));
        let stranger = Client::new(&gateway, http);
        let told = stranger
            .follow(Ask::get("/members").cookies(&made_up))
            .await;
        assert_eq!(told.status, 401);
        assert!(!told.body.contains("phantom"), "{told:?}");
    }
}

#[tokio::test]
async fn what_strangers_send_is_never_written_down() {
    let (_app, gateway) = site().await;
    let owner = Client::new(&gateway, Http::Two);
    owner.sign_in("alice").await;
    let genuine = owner.cookie(OURS).unwrap();
    let folder = gateway.data().join("sessions");
    let state = || {
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
        files.sort_by_key(std::fs::DirEntry::path);
        files
            .iter()
            .map(|file| std::fs::read(file.path()).unwrap())
            .collect::<Vec<_>>()
    };
    // What the owner's sign-in left to be written soon is written.
    let mut before = state();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = state();
        if now == before {
            break;
        }
        before = now;
    }
    for number in 0..150_u32 {
        let http = if number % 2 == 0 {
            Http::One
        } else {
            Http::Two
        };
        let stranger = Client::new(&gateway, http);
        let cookie = match number % 4 {
            0 => format!("w1.{:022}.{:043}", number, number),
            1 => format!("{}{:03}", &genuine[..genuine.len() - 3], number),
            2 => format!("w1.{:03}{}", number, &genuine[6..]),
            _ => "x".repeat(number as usize),
        };
        let ask = Ask::get("/members").cookies(&format!("{OURS}={cookie}"));
        // Somebody in the middle gives himself away; but what he passes on belongs to nobody.
        let ask = match number % 3 {
            0 => ask.field("x-forwarded-for", "192.0.2.1"),
            _ => ask,
        };
        assert_eq!(stranger.ask(ask).await.status, 401, "{number}");
    }
    assert!(before == state(), "a stranger's request was written down");
    assert_eq!(owner.get("/members").await.status, 200);
}
