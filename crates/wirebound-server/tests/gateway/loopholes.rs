//! Machines at the real gateway: what a key opens, however the path is written; and what assertions leave behind in a
//! browser or a cache.

use std::sync::Arc;

use wirebound::engine::NewKey;
use wirebound::{Clock as _, Engine, KeyLabel, KeyScopes, Keys, Policy, Subject};
use wirebound_server::data_dir::NodeSecret;
use wirebound_server::system::{SystemClock, SystemEntropy};

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::process::Gateway;

const ASSERTION: &str = "__Host-wirebound-assertion";

/// Makes keys in the store of a gateway that is stopped for it.
async fn keys(gateway: &mut Gateway, scopes: &[&str]) -> Vec<String> {
    gateway.stop().await;
    let made = make(gateway, scopes).await;
    gateway.start_again().await;
    made
}

async fn make(gateway: &Gateway, scopes: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(gateway.data().join("node.secret")).unwrap();
    let secret = NodeSecret::parse(&text).unwrap();
    let (epoch, secret) = secret.current().unwrap();
    let secret = wirebound::NodeSecret::new(epoch, secret.duplicate());
    let folder = gateway.data().join("sessions");
    let store = wirebound_redb::RedbStore::open(&folder, wirebound_redb::Options::default());
    let engine = Engine::new(
        Arc::new(store.unwrap()),
        Keys::new(&secret, None),
        Policy::default(),
        Arc::new(SystemEntropy::new()),
        Arc::new(wirebound_tower::LogWitness::new()),
    );
    let now = SystemClock::new().now().unwrap();
    let mut made = Vec::new();
    for scope in scopes {
        let new = NewKey {
            label: KeyLabel::new("ci").unwrap(),
            owner: Subject::new(b"robots").unwrap(),
            scopes: KeyScopes::new([*scope]).unwrap(),
            expires: None,
        };
        let key = engine.create_key(new, now).await.unwrap();
        made.push(key.key.expose().to_owned());
    }
    made
}

fn shows(key: &str, path: &str) -> Ask {
    Ask::get(path).field("authorization", &format!("Bearer {key}"))
}

#[tokio::test]
async fn a_key_of_one_scope_opens_no_path_of_another_however_it_is_written() {
    let app = App::start().await;
    let config = "[[routes]]\npath = \"/\"\nscope = \"read\"\n[[routes]]\npath = \"/members\"\nscope = \"write\"\n";
    let mut gateway = Gateway::listed(&app.url, config).await;
    let keys = keys(&mut gateway, &["read", "write"]).await;
    let client = Client::new(&gateway, Http::Two);
    for (key, path, status) in [
        (&keys[0], "/me", 200),
        (&keys[1], "/me", 403),
        (&keys[1], "/members", 200),
        (&keys[0], "/members", 403),
    ] {
        let answer = client.ask(shows(key, path)).await;
        assert_eq!(answer.status, status, "control: {path}: {answer:?}");
    }
    let before = app.heads().len();
    for path in [
        "/%6dembers",
        "/MEMBERS",
        "/Members",
        "/members.",
        "/members%20/x",
    ] {
        let answer = client.ask(shows(&keys[0], path)).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    assert_eq!(app.heads().len(), before, "nothing of it reached the app");
}

#[tokio::test]
async fn no_answer_that_caches_may_keep_sets_or_clears_a_cookie() {
    let app = App::start().await;
    let config = "[session]\npreset = \"portable\"\n[assertion]\nupstream = true\n[vouch]\npaths = [\"POST /login\", \"POST /logout\"]\n";
    let gateway = Gateway::listed(&app.url, config).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let cookie = alice.cookie(OURS).unwrap();
    alice.follow(Ask::post("/logout", "x=1")).await;
    for cookies in [
        format!("{OURS}={cookie}"),
        format!("{OURS}={cookie}; {OURS}-b=1"),
    ] {
        let ask = Ask::get("/.well-known/jwks.json")
            .person()
            .cookies(&cookies);
        let answer = alice.ask(ask).await;
        let set: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        let public = answer.field("cache-control").contains("public");
        assert!(
            !public || set.is_empty(),
            "{} with {set:?}",
            answer.field("cache-control")
        );
    }
}

#[tokio::test]
async fn an_assertion_is_kept_by_a_browser_no_longer_than_its_session_is() {
    let app = App::start().await;
    let config = "[session]\npreset = \"portable\"\n[assertion]\ncookie = true\n[vouch]\npaths = [\"POST /login\"]\n";
    let gateway = Gateway::listed(&app.url, config).await;
    let alice = Client::new(&gateway, Http::Two);
    let answer = alice.ask(sign_in("alice")).await;
    let session = answer.sets(OURS).join("");
    let assertion = answer.sets(ASSERTION).join("");
    assert!(session.contains('=') && assertion.contains('='), "control");
    assert!(!session.contains("Max-Age"), "gone with the browser");
    assert!(
        !assertion.contains("Max-Age"),
        "the one that is good without the other stays on the disk: {assertion}"
    );
}

#[tokio::test]
async fn the_feed_ends_with_its_key() {
    let app = App::start().await;
    let mut gateway = Gateway::listed(&app.url, "[assertion]\nupstream = true\n").await;
    let keys = keys(&mut gateway, &["feed", "revoke"]).await;
    let client = Client::new(&gateway, Http::Two);
    let wire = client.try_connect().await;
    let mut wire = wire.unwrap();
    let response = client
        .try_send(&mut wire, &shows(&keys[0], "/.wirebound/feed"))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let revoke = Ask::post("/.wirebound/revoke", &format!("token={}", keys[0]))
        .field("authorization", &format!("Bearer {}", keys[1]));
    assert_eq!(client.ask(revoke).await.status, 200);
    let mut body = response.into_body();
    let ended = async {
        use http_body_util::BodyExt as _;
        while let Some(Ok(_)) = body.frame().await {}
    };
    crate::process::within("the feed's end", ended).await;
    assert_eq!(
        client.ask(shows(&keys[0], "/.wirebound/feed")).await.status,
        401
    );
}

#[tokio::test]
async fn what_is_told_in_an_assertion_does_not_depend_on_what_a_client_calls_the_host() {
    let app = App::start().await;
    let config = "[session]\npreset = \"portable\"\n[assertion]\nupstream = true\n[vouch]\npaths = [\"POST /login\"]\n";
    let gateway = Gateway::listed(&app.url, config).await;
    let alice = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
    let issuer = |app: &App| {
        let heads = app.heads();
        let token = heads.last().unwrap().lines().find_map(|line| {
            line.strip_prefix("wirebound-assertion: ")
                .map(str::to_owned)
        });
        let token = token.expect("the app is told");
        let payload = token.split('.').nth(1).unwrap().to_owned();
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        claims["iss"].as_str().unwrap().to_owned()
    };
    alice.ask(Ask::get("/head")).await;
    let own = issuer(&app);
    let mut said = Vec::new();
    for authority in [
        format!("LOCALHOST:{}", gateway.address().port()),
        format!("localhost.:{}", gateway.address().port()),
    ] {
        let answer = alice.ask(Ask::get("/head").authority(&authority)).await;
        if answer.status == 200 {
            said.push(issuer(&app));
        }
    }
    assert!(said.iter().all(|one| *one == own), "{own}: {said:?}");
}

#[tokio::test]
async fn a_fresh_assertion_keeps_nobody_from_stepping_up() {
    for carried in [false, true] {
        let app = App::start().await;
        let config = format!(
            "[session]\npreset = \"portable\"\n[assertion]\ncookie = {carried}\n[danger]\nroles_above_user_by_ticket = true\n\
             [vouch]\npaths = [\"POST /login\", \"POST /elevate\"]\nmax_role = \"admin\"\n\
             [[routes]]\npath = \"/admin\"\nrole = \"admin\"\n"
        );
        let gateway = Gateway::listed(&app.url, &config).await;
        let (code, said) = gateway
            .order(&["identities", "role", "alice", "admin"])
            .await;
        assert_eq!(code, 0, "{said}");
        let alice = Client::new(&gateway, Http::Two);
        alice.sign_in("alice").await;
        let raised = alice.follow(Ask::post("/elevate", "x=1")).await;
        assert_eq!(
            raised.status, 200,
            "with an assertion: {carried}: {raised:?}"
        );
        let me = alice.follow(Ask::get("/me")).await;
        assert!(
            me.body.ends_with("role=admin"),
            "with an assertion: {carried}: the app is told {}",
            me.body
        );
    }
}

#[tokio::test]
async fn the_app_is_told_by_the_same_assertion_while_it_is_fresh_where_there_are_no_wires_too() {
    let app = App::start().await;
    let config = "[session]\npreset = \"portable\"\n[assertion]\nupstream = true\n[vouch]\npaths = [\"POST /login\"]\n";
    let gateway = Gateway::listed(&app.url, config).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let mut told = Vec::new();
    for _ in 0..3 {
        assert_eq!(alice.get("/head").await.status, 200);
        let heads = app.heads();
        let mut lines = heads.last().unwrap().lines();
        let token = lines.find_map(|line| line.strip_prefix("wirebound-assertion: "));
        told.push(token.expect("the app is told").to_owned());
    }
    told.dedup();
    assert_eq!(
        told.len(),
        1,
        "each request loads two records and makes a signature"
    );
}

#[tokio::test]
async fn a_good_key_is_taken_from_a_page_of_another_site() {
    let app = App::start().await;
    let config = "[[routes]]\npath = \"/me\"\nscope = \"read\"\n";
    let mut gateway = Gateway::listed(&app.url, config).await;
    let keys = keys(&mut gateway, &["read"]).await;
    let client = Client::new(&gateway, Http::Two);
    let ask = |ask: Ask| {
        ask.field("authorization", &format!("Bearer {}", keys[0]))
            .field("origin", "https://spa.test")
            .field("sec-fetch-site", "cross-site")
            .field("sec-fetch-mode", "cors")
    };
    assert_eq!(client.ask(ask(Ask::get("/me"))).await.status, 200);
    let posted = client.ask(ask(Ask::post("/me", "x=1"))).await;
    assert_eq!(
        posted.status, 200,
        "no browser sends a key unasked: {posted:?}"
    );
}

#[tokio::test]
async fn what_streams_to_an_assertion_is_cut_when_that_one_is_called_back() {
    let app = App::start().await;
    let config = "[session]\npreset = \"portable\"\n[assertion]\ncookie = true\n[vouch]\npaths = [\"POST /login\"]\n";
    let mut gateway = Gateway::listed(&app.url, config).await;
    let keys = keys(&mut gateway, &["revoke"]).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let assertion = alice.cookie(ASSERTION).unwrap();
    let thief = Client::new(&gateway, Http::Two);
    let seconds = SystemClock::new().now().unwrap().as_millis() / 1000;
    thief.jar.lock().unwrap().take(
        &format!("{ASSERTION}={assertion}; Path=/; Secure; HttpOnly"),
        "localhost",
        i64::try_from(seconds).unwrap(),
    );
    assert!(
        thief.get("/me").await.body.contains("subject=alice"),
        "control"
    );
    let stream = thief.stream("/stream").await;
    let revoke = Ask::post("/.wirebound/revoke", &format!("token={assertion}"))
        .field("authorization", &format!("Bearer {}", keys[0]));
    assert_eq!(
        Client::new(&gateway, Http::Two).ask(revoke).await.status,
        200
    );
    assert!(
        !thief.get("/me").await.body.contains("subject=alice"),
        "control: it is worth nothing any more"
    );
    let (_, whole) = stream.end().await;
    assert!(!whole, "it breaks off");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_those_who_follow_the_feed() {
    let app = App::start().await;
    let config = "[assertion]\nupstream = true\n[limits]\ndrain_timeout = \"15s\"\n";
    for http in [Http::One, Http::Two] {
        let mut gateway = Gateway::listed(&app.url, config).await;
        let keys = keys(&mut gateway, &["feed"]).await;
        let client = Client::new(&gateway, http);
        let mut wire = client.try_connect().await.unwrap();
        let follows = shows(&keys[0], "/.wirebound/feed");
        let response = client.try_send(&mut wire, &follows).await.unwrap();
        assert_eq!(response.status(), 200);
        let reads = tokio::spawn(async move {
            use http_body_util::BodyExt as _;
            let mut body = response.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            wire
        });
        let began = std::time::Instant::now();
        gateway.stop().await;
        drop(reads.await);
        let took = began.elapsed();
        assert!(took.as_secs() < 5, "{http:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_machine_gets_no_session_by_a_cookie_of_the_app_either() {
    let app = App::start().await;
    let config = "[armour]\ncookies = [\"sid\"]\nimport_until = \"2099-01-01T00:00:00Z\"\n[[routes]]\npath = \"/head\"\nscope = \"read\"\n";
    let mut gateway = Gateway::listed(&app.url, config).await;
    let keys = keys(&mut gateway, &["read"]).await;
    let client = Client::new(&gateway, Http::Two);
    let answer = client
        .ask(shows(&keys[0], "/head").cookies("sid=0123456789abcdef"))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.sets(OURS), Vec::<String>::new());
    let head = app.heads().last().unwrap().clone();
    assert!(head.contains("wirebound-key: "), "control: {head}");
    let session = head
        .lines()
        .find(|line| line.starts_with("wirebound-session:"));
    let session = session.and_then(|line| line.split_once(':'));
    assert_eq!(session.map_or("", |(_, id)| id.trim()), "", "{head}");
    assert!(!head.contains("sid="), "{head}");
}
