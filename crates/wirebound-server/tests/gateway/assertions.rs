//! Signed assertions at the real gateway: what the app is told, what browsers carry, and what is left of one once it was
//! called back.

use serde_json::Value;
use wirebound::{Clock as _, Timestamp};
use wirebound_assertion::{Claims, Expected, Invalid, Jwks, check};
use wirebound_server::system::SystemClock;

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::Gateway;

const ASSERTION: &str = "__Host-wirebound-assertion";

const TOLD: &str = r#"
[assertion]
upstream = true
audience = "https://orders.test"
[vouch]
paths = ["POST /login", "POST /logout"]
[[routes]]
path = "/members"
role = "user"
"#;

/// Whoever holds the cookie: the hybrid way.
const CARRIED: &str = r#"
[session]
preset = "portable"
[assertion]
cookie = true
[vouch]
paths = ["POST /login", "POST /logout"]
[[routes]]
path = "/members"
role = "user"
[[routes]]
path = "/admin"
role = "admin"
[[routes]]
path = "/head"
strength = "ticket"
"#;

fn now() -> Timestamp {
    SystemClock::new().now().unwrap()
}

/// What the app got in a field of its last request.
fn told(app: &App, name: &str) -> Option<String> {
    let heads = app.heads();
    let prefix = format!("{name}: ");
    let mut lines = heads.last().unwrap().lines();
    lines
        .find_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
}

async fn published(client: &Client) -> Answer {
    let answer = client.get("/.well-known/jwks.json").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[tokio::test]
async fn the_app_is_told_in_an_assertion_that_the_published_keys_check() {
    let app = App::start().await;
    let mut gateway = Gateway::listed(&app.url, TOLD).await;
    let issuer = format!("https://{}", gateway.authority());
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        let stranger = Client::new(&gateway, http);
        assert_eq!(stranger.get("/head").await.body, "noted");
        assert_eq!(told(&app, "wirebound-assertion"), None, "nobody is nobody");
        let forged = Ask::get("/head").field("Wirebound_Assertion", "forged");
        stranger.ask(forged).await;
        assert_eq!(told(&app, "wirebound-assertion"), None);
        alice.sign_in("alice").await;
        alice.get("/head").await;
        let token = told(&app, "wirebound-assertion").unwrap();
        let keys = published(&stranger).await;
        assert_eq!(keys.field("content-type"), "application/jwk-set+json");
        assert_eq!(keys.field("cache-control"), "public, max-age=1800");
        let set = Jwks::parse(keys.body.as_bytes()).unwrap();
        let expected = Expected::new(issuer.as_str(), "https://orders.test");
        let claims: Claims = check(&token, &set, &expected, now()).unwrap();
        assert_eq!(claims.subject.as_bytes(), b"alice");
        assert_eq!(
            claims.session.to_string(),
            told(&app, "wirebound-session").unwrap()
        );
        assert_eq!(
            (claims.role.as_str(), claims.strength.name()),
            ("user", "wire")
        );
        let life = claims.expires.as_u64() - claims.issued.as_u64();
        assert_eq!(life, 300, "5m");
        let other = Expected::new(issuer.as_str(), "https://billing.test");
        assert_eq!(check(&token, &set, &other, now()), Err(Invalid::Audience));
        // The same one for as long as it is fresh.
        alice.get("/head").await;
        assert_eq!(told(&app, "wirebound-assertion").unwrap(), token);
        // Whoever has the document is told that it is the same.
        let again = Ask::get("/.well-known/jwks.json").field("if-none-match", keys.field("etag"));
        assert_eq!(stranger.ask(again).await.status, 304);
        let post = Ask::post("/.well-known/jwks.json", "x=1");
        assert_eq!(stranger.ask(post).await.status, 405);
        // Nothing of it reaches the browser.
        let all = format!("{:?}", alice.jar.lock().unwrap());
        assert!(!all.contains(&token) && !all.contains("assertion"));
    }
    // The keys outlive the process.
    let before = published(&Client::new(&gateway, Http::Two)).await.body;
    gateway.kill().await;
    gateway.start_again().await;
    assert_eq!(
        published(&Client::new(&gateway, Http::Two)).await.body,
        before
    );
}

#[tokio::test]
async fn without_assertions_the_place_of_the_keys_is_the_apps() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, "").await;
    let answer = Client::new(&gateway, Http::Two)
        .get("/.well-known/jwks.json")
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.field("wirebound-reason"), "");
    assert_eq!(answer.body, "", "the app's own answer");
}

async fn member(gateway: &Gateway, name: &str, http: Http) -> (Client, String) {
    let client = Client::new(gateway, http);
    let answer = client.sign_in(name).await;
    assert_eq!(answer.body, format!("app={name} subject={name} role=user"));
    let assertion = client.cookie(ASSERTION).expect("beside the session's own");
    (client, assertion)
}

fn alone(assertion: &str, path: &str) -> Ask {
    Ask::get(path).cookies(&format!("{ASSERTION}={assertion}"))
}

#[tokio::test]
async fn a_browser_carries_an_assertion_beside_its_session_and_is_known_by_it() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, CARRIED).await;
    for http in [Http::One, Http::Two] {
        let (alice, assertion) = member(&gateway, "alice", http).await;
        let set = alice.follow(Ask::post("/login", "name=alice")).await;
        assert_eq!(set.status, 200);
        let stranger = Client::new(&gateway, http);
        let by_claim = stranger.ask(alone(&assertion, "/members")).await;
        assert_eq!(
            by_claim.status, 401,
            "its session was replaced: {by_claim:?}"
        );
        let assertion = alice.cookie(ASSERTION).unwrap();
        for path in ["/me", "/members"] {
            let by_claim = stranger.ask(alone(&assertion, path)).await;
            assert_eq!(
                (
                    by_claim.status.as_u16(),
                    by_claim.body.contains("subject=alice")
                ),
                (200, true)
            );
        }
        // More than a string asks for more.
        let strong = stranger.ask(alone(&assertion, "/head")).await;
        assert_eq!(strong.field("wirebound-reason"), "insufficient_strength");
        let admin = stranger.ask(alone(&assertion, "/admin")).await;
        assert_eq!(admin.field("wirebound-reason"), "insufficient_role");
        assert_eq!(
            alice.get("/head").await.status,
            200,
            "by its ticket, beside the assertion"
        );
        // The app never sees it.
        assert!(
            !app.heads().iter().any(|head| head.contains("assertion")),
            "{:?}",
            app.heads()
        );
    }
}

#[tokio::test]
async fn an_assertion_of_another_session_beside_a_cookie_is_two_credentials() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, CARRIED).await;
    let (alice, _) = member(&gateway, "alice", Http::Two).await;
    let (_, bobs) = member(&gateway, "bob", Http::Two).await;
    let mixed = format!("{OURS}={}; {ASSERTION}={bobs}", alice.cookie(OURS).unwrap());
    let answer = alice.ask(Ask::get("/me").cookies(&mixed)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.field("wirebound-reason")),
        (400, "malformed")
    );
    let twice = format!("{ASSERTION}={bobs}; {ASSERTION}={bobs}");
    let answer = alice.ask(Ask::get("/me").cookies(&twice)).await;
    assert_eq!(answer.status, 400);
    // What is no assertion counts as none beside a good cookie.
    let junk = format!("{OURS}={}; {ASSERTION}=junk", alice.cookie(OURS).unwrap());
    assert_eq!(
        alice.ask(Ask::get("/members").cookies(&junk)).await.status,
        200
    );
    let answer = alice.ask(alone("junk", "/members")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.field("wirebound-reason")),
        (401, "unauthenticated")
    );
}

/// filebrowser CVE-2025-53826: a token that is good for as long as it says.
#[tokio::test]
async fn a_banned_users_next_request_with_a_valid_assertion_is_refused() {
    let app = App::start().await;
    let mut gateway = Gateway::listed(&app.url, CARRIED).await;
    for http in [Http::One, Http::Two] {
        for (name, order) in [
            ("alice", &["identities", "block", "alice"][..]),
            ("carol", &["identities", "remove", "carol"][..]),
        ] {
            let (client, assertion) = member(&gateway, name, http).await;
            let (_, bobs) = member(&gateway, "bob", http).await;
            let wire = Client::new(&gateway, http);
            assert_eq!(
                wire.ask(alone(&assertion, "/members")).await.status,
                200,
                "control"
            );
            let (code, said) = gateway.order(order).await;
            assert_eq!(code, 0, "{said}");
            let gone = wire.ask(alone(&assertion, "/members")).await;
            assert_eq!(gone.status, 401, "{gone:?}");
            assert_eq!(gone.field("wirebound-reason"), "phantom_session");
            let document: Value = serde_json::from_str(&gone.body).unwrap();
            assert_eq!(document["detail"], "removed");
            // Where nothing is asked it counts as none.
            assert_eq!(
                wire.ask(alone(&assertion, "/me")).await.body,
                "app=nobody subject= role="
            );
            assert_eq!(
                client.follow(Ask::get("/members")).await.status,
                401,
                "nor by the ticket"
            );
            assert_eq!(
                wire.ask(alone(&bobs, "/members")).await.status,
                200,
                "nobody else"
            );
            gateway.kill().await;
            gateway.start_again().await;
            let wire = Client::new(&gateway, http);
            let gone = wire.ask(alone(&assertion, "/members")).await;
            assert_eq!(
                gone.field("wirebound-reason"),
                "phantom_session",
                "{name}, after a restart"
            );
            assert_eq!(
                wire.ask(alone(&bobs, "/members")).await.status,
                200,
                "nobody else"
            );
            let (code, said) = gateway.order(&["identities", "unblock", name]).await;
            assert_eq!(code, 0, "{said}");
        }
    }
    assert!(!gateway.events("phantom_session").is_empty());
}

#[tokio::test]
async fn a_sign_out_takes_the_assertion_out_of_the_jar_and_calls_it_back() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, CARRIED).await;
    let (alice, assertion) = member(&gateway, "alice", Http::Two).await;
    alice.follow(Ask::post("/logout", "x=1")).await;
    assert_eq!(alice.cookie(OURS), None);
    assert_eq!(alice.cookie(ASSERTION), None);
    let gone = alice.ask(alone(&assertion, "/members")).await;
    assert_eq!(gone.field("wirebound-reason"), "phantom_session");
}

#[tokio::test]
async fn what_streams_to_an_assertion_is_cut_when_its_session_ends() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, CARRIED).await;
    for http in [Http::One, Http::Two] {
        let (_, assertion) = member(&gateway, "alice", http).await;
        let by_claim = Client::new(&gateway, http);
        let cookie = format!("{ASSERTION}={assertion}; Path=/; Secure; HttpOnly");
        let seconds = i64::try_from(now().as_millis() / 1000).unwrap();
        by_claim
            .jar
            .lock()
            .unwrap()
            .take(&cookie, "localhost", seconds);
        let stream = by_claim.stream("/stream").await;
        let (code, said) = gateway.order(&["identities", "block", "alice"]).await;
        assert_eq!(code, 0, "{said}");
        let (_, whole) = stream.end().await;
        assert!(!whole, "it breaks off");
        gateway.order(&["identities", "unblock", "alice"]).await;
    }
}

#[tokio::test]
async fn the_configuration_refuses_an_assertion_that_would_undo_a_promise() {
    let app = App::start().await;
    for (config, why) in [
        ("[assertion]\ncookie = true\n", "a copy of it works"),
        (
            "[session]\npreset = \"portable\"\n[assertion]\ncookie = true\n[armour]\ncookies = [\"sid\"]\n",
            "vault",
        ),
        (
            "[assertion]\nupstream = true\nalgorithm = \"HS256\"\n",
            "whoever can check what HS256 signed can make it",
        ),
        ("[assertion]\nupstream = true\nlifetime = \"20m\"\n", "15m"),
        (
            "[assertion]\nupstream = true\nissuer = \"http://a\"\n",
            "https://HOST",
        ),
        (
            "[[routes]]\npath = \"/api\"\nscope = \"a b\"\n",
            "it is no scope",
        ),
        (
            "[[routes]]\npath = \"/api\"\nscope = \"a\"\nrole = \"user\"\n",
            "a key is never taken for a session",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wirebound.toml");
        std::fs::write(&file, config).unwrap();
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_wirebound"))
            .args(["serve", "--upstream", &app.url, "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(3), "{said}");
        assert!(said.contains(why), "{config}: {said}");
    }
}
