//! What machines hold: each kind of credential is good where it is asked for and nowhere else, keys change under load, and a
//! service that follows the feed refuses who was banned a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use wirebound_verify::{Trust, Verifier, WhenStale};

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::{Gateway, until, within};

const ASSERTION: &str = "__Host-wirebound-assertion";

const ALL: &str = r#"
[session]
preset = "portable"
[assertion]
cookie = true
upstream = true
audience = "https://orders.test"
[vouch]
paths = ["POST /login", "POST /logout"]
[login]
url = "/login"
[[routes]]
path = "/members"
role = "user"
[[routes]]
path = "/admin"
scope = "orders:read"
"#;

async fn ordered(gateway: &Gateway, words: &[&str]) -> Value {
    let (code, said) = gateway.order(&[words, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{words:?}: {said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A new key: its id and its text.
async fn key(gateway: &Gateway, scope: &str) -> (String, String) {
    let words = [
        "keys", "create", "--owner", "ci", "--label", "ci", "--scope",
    ];
    let made = ordered(gateway, &[&words[..], &[scope]].concat()).await;
    let text = |name: &str| {
        made[name]
            .as_str()
            .unwrap_or_else(|| panic!("{made}"))
            .to_owned()
    };
    (text("id"), text("api_key"))
}

fn bearer(key: &str, path: &str) -> Ask {
    Ask::get(path).field("authorization", &format!("Bearer {key}"))
}

fn told(app: &App) -> Option<String> {
    let heads = app.heads();
    let mut lines = heads.last()?.lines();
    lines
        .find_map(|line| line.strip_prefix("wirebound-assertion: "))
        .map(str::to_owned)
}

/// nuts-node CVE-2026-41164, pomerium CVE-2024-47616: a token of one kind at a verifier of another.
#[tokio::test]
async fn each_kind_of_credential_is_good_at_its_own_verifier_and_at_no_other() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, ALL).await;
    for http in [Http::One, Http::Two] {
        let (_, api_key) = key(&gateway, "orders:read").await;
        let (_, asks) = key(&gateway, "introspect").await;
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        alice.get("/head").await;
        let kinds = [
            ("session", alice.cookie(OURS).unwrap()),
            ("assertion of the browser", alice.cookie(ASSERTION).unwrap()),
            ("assertion for the app", told(&app).unwrap()),
            ("API key", api_key),
        ];
        type Slot = fn(&str, &str) -> Ask;
        let slots: [(&str, Slot); 5] = [
            ("the session's cookie", |it, path| {
                Ask::get(path).cookies(&format!("{OURS}={it}"))
            }),
            ("the assertion's cookie", |it, path| {
                Ask::get(path).cookies(&format!("{ASSERTION}={it}"))
            }),
            ("Bearer", |it, path| bearer(it, path).cookies("")),
            ("X-Api-Key", |it, path| {
                Ask::get(path).cookies("").field("x-api-key", it)
            }),
            ("Wirebound-Assertion", |it, path| {
                Ask::get(path).cookies("").field("wirebound-assertion", it)
            }),
        ];
        let good = |kind: &str, slot: &str, path: &str| match (kind, slot) {
            ("session", "the session's cookie")
            | ("assertion of the browser", "the assertion's cookie") => path == "/members",
            ("API key", "Bearer" | "X-Api-Key") => path == "/admin",
            _ => false,
        };
        // No jar of its own, on a wire of the same client: a ticket is set again for it alone.
        let client = alice.other_person();
        for (kind, text) in &kinds {
            for (slot, ask) in &slots {
                for path in ["/members", "/admin"] {
                    let answer = client.ask(ask(text, path)).await;
                    let expected = if good(kind, slot, path) { 200 } else { 401 };
                    assert_eq!(
                        answer.status, expected,
                        "{kind} in {slot} at {path}: {answer:?}"
                    );
                }
            }
            let form = format!("token={text}");
            let ask = Ask::post("/.wirebound/introspect", &form)
                .cookies("")
                .field("authorization", &format!("Bearer {asks}"));
            let known: Value = serde_json::from_str(&client.ask(ask).await.body).unwrap();
            assert_eq!(known["active"], *kind != "session", "{kind}: {known}");
            let kind_of = match *kind {
                "API key" => "api_key",
                "session" => "",
                _ => "assertion",
            };
            assert_eq!(known["token_type"].as_str().unwrap_or_default(), kind_of);
        }
        // Whoever has no key, or one without the scope, learns nothing of anybody's token.
        let form = format!("token={}", kinds[1].1);
        for (credential, status, challenge) in [
            (None, 401, "Bearer"),
            (
                Some(&kinds[3].1),
                403,
                "Bearer error=\"insufficient_scope\"",
            ),
            (Some(&kinds[2].1), 401, "Bearer"),
        ] {
            for path in [
                "/.wirebound/introspect",
                "/.wirebound/revoke",
                "/.wirebound/feed",
            ] {
                let ask = if path.ends_with("feed") {
                    Ask::get(path)
                } else {
                    Ask::post(path, &form)
                };
                let ask = ask.cookies("");
                let ask = match credential {
                    Some(text) => ask.field("authorization", &format!("Bearer {text}")),
                    None => ask,
                };
                let answer = client.ask(ask).await;
                assert_eq!(answer.status, status, "{path}: {answer:?}");
                assert_eq!(answer.field("www-authenticate"), challenge, "{answer:?}");
                assert_eq!(answer.field("cache-control"), "no-store");
            }
        }
        // A person who comes by is not sent to sign in, which would not help.
        let page = alice.ask(Ask::get("/admin").person()).await;
        assert_eq!(page.status, 401, "{page:?}");
        assert!(page.body.contains("for machines"), "{page:?}");
        assert!(!page.body.contains("href"), "{page:?}");
        let page = client.ask(Ask::get("/members").person().cookies("")).await;
        assert!(page.body.contains("href"), "the control: {page:?}");
        // The app was told of none of these texts but its own.
        let heads = app.heads().join("\n");
        for (kind, text) in &kinds {
            assert_eq!(
                heads.contains(text.as_str()),
                *kind == "assertion for the app",
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_is_called_back_by_whoever_shows_it_with_the_scope() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, ALL).await;
    let (_, revokes) = key(&gateway, "revoke").await;
    let (_, worker) = key(&gateway, "orders:read").await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let assertion = alice.cookie(ASSERTION).unwrap();
    let machine = Client::new(&gateway, Http::Two);
    let revoke = |token: &str| {
        Ask::post(
            "/.wirebound/revoke",
            &format!("token={token}&token_type_hint=access_token"),
        )
        .field("authorization", &format!("Bearer {revokes}"))
    };
    let by_claim = || Ask::get("/members").cookies(&format!("{ASSERTION}={assertion}"));
    assert_eq!(machine.ask(by_claim()).await.status, 200, "control");
    assert_eq!(
        machine.ask(bearer(&worker, "/admin")).await.status,
        200,
        "control"
    );
    // A token names the authority that it was made at, and is called back at any.
    let elsewhere = revoke(&assertion).authority("localhost:1");
    for (ask, is_one) in [
        (elsewhere, true),
        (revoke(&worker), true),
        (revoke("nonsense"), false),
        (revoke(&assertion), true),
        (revoke(&worker), false),
    ] {
        let answer = machine.ask(ask).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(said["revoked"], is_one, "{said}");
        if is_one {
            assert_eq!(said["nodes"], 1);
            assert!(said["durable_at"].as_u64().unwrap() > 1_700_000_000_000);
        }
    }
    let gone = machine.ask(by_claim()).await;
    assert_eq!(
        gone.field("wirebound-reason"),
        "phantom_session",
        "{gone:?}"
    );
    let gone = machine.ask(bearer(&worker, "/admin")).await;
    assert_eq!(gone.status, 401);
    assert_eq!(
        gone.field("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    assert_eq!(
        alice.follow(Ask::get("/members")).await.status,
        200,
        "its session goes on"
    );
    for form in ["", "token=a&token=b", "x=1"] {
        let ask = Ask::post("/.wirebound/revoke", form)
            .field("authorization", &format!("Bearer {revokes}"));
        assert_eq!(machine.ask(ask).await.status, 400, "{form}");
    }
}

/// Many clients ask all the time with two secrets of one key.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<(Instant, u16)>>>,
}

fn load(gateway: &Gateway, key: &str, asked: &Arc<AtomicUsize>) -> Load {
    let stop = Arc::new(AtomicBool::new(false));
    let each = |http| {
        let (client, stop, asked) = (
            Client::new(gateway, http),
            Arc::clone(&stop),
            Arc::clone(asked),
        );
        let ask = bearer(key, "/admin");
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Acquire) {
                let answer: Answer = client.ask(ask.clone()).await;
                seen.push((Instant::now(), answer.status.as_u16()));
                asked.fetch_add(1, Ordering::Relaxed);
            }
            seen
        })
    };
    let tasks = [Http::One, Http::Two, Http::Two].map(each).into();
    Load { stop, tasks }
}

impl Load {
    async fn stop(self) -> Vec<(Instant, u16)> {
        self.stop.store(true, Ordering::Release);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(within("the load", task).await.unwrap());
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_rotates_under_load_and_no_request_fails_inside_the_overlap_and_none_passes_after() {
    let app = App::start().await;
    let gateway = Gateway::listed(&app.url, ALL).await;
    let (id, first) = key(&gateway, "orders:read").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let old = load(&gateway, &first, &asked);
    until("some requests", || asked.load(Ordering::Relaxed) > 50).await;
    let before = Instant::now();
    let rotated = ordered(&gateway, &["keys", "rotate", &id, "--overlap", "2s"]).await;
    let after = Instant::now();
    let second = rotated["api_key"]
        .as_str()
        .unwrap_or_else(|| panic!("{rotated}"))
        .to_owned();
    let new = load(&gateway, &second, &asked);
    let overlap = Duration::from_secs(2);
    until("the overlap to be over", || after.elapsed() > overlap * 2).await;
    let (old, new) = (old.stop().await, new.stop().await);
    // It was made between the two readings; each answer was given before it was seen.
    let inside = old.iter().filter(|(at, _)| *at < before + overlap);
    let (mut good, mut gone) = (0, 0);
    for (_, status) in inside {
        assert_eq!(*status, 200, "inside the overlap");
        good += 1;
    }
    // An answer that was on its way at the deadline may be seen a moment after it.
    let moment = Duration::from_millis(500);
    for (_, status) in old.iter().filter(|(at, _)| *at > after + overlap + moment) {
        assert_eq!(*status, 401, "after it");
        gone += 1;
    }
    assert!(
        new.iter().all(|(_, status)| *status == 200),
        "the new secret is good all the time"
    );
    eprintln!(
        "rotation under load: {good} inside the overlap, {gone} refused after it, {} with the new secret",
        new.len()
    );
    assert!(good > 50 && gone > 50 && new.len() > 50);

    // The immediate form, for a leak: not one request passes once it was answered.
    let leaked = load(&gateway, &second, &asked);
    let some = asked.load(Ordering::Relaxed) + 50;
    until("some requests", || asked.load(Ordering::Relaxed) > some).await;
    let rotated = ordered(&gateway, &["keys", "rotate", &id, "--now"]).await;
    let killed = Instant::now();
    let third = rotated["api_key"].as_str().unwrap().to_owned();
    let machine = Client::new(&gateway, Http::Two);
    assert_eq!(machine.ask(bearer(&second, "/admin")).await.status, 401);
    assert_eq!(machine.ask(bearer(&third, "/admin")).await.status, 200);
    until("some refusals", || killed.elapsed() > moment * 2).await;
    let all = leaked.stop().await;
    let late = all.iter().filter(|(at, _)| *at > killed + moment);
    assert!(late.clone().count() > 0 && late.clone().all(|(_, status)| *status == 401));
    ordered(&gateway, &["keys", "revoke", &id]).await;
    assert_eq!(machine.ask(bearer(&third, "/admin")).await.status, 401);
}

#[tokio::test]
async fn what_streams_to_a_machine_ends_with_its_key() {
    let app = App::start().await;
    let rules = "[[routes]]\npath = \"/stream\"\nscope = \"a\"\n[[routes]]\npath = \"/ws\"\nscope = \"a\"\n";
    let gateway = Gateway::listed(&app.url, rules).await;
    for http in [Http::One, Http::Two] {
        for words in [&["revoke"][..], &["rotate", "--now"][..]] {
            let (id, text) = key(&gateway, "a").await;
            let machine =
                Client::new(&gateway, http).always("authorization", &format!("Bearer {text}"));
            let stream = machine.stream("/stream").await;
            let mut socket = machine.socket("/ws").await;
            socket.echo("hello").await;
            let mut order = vec!["keys", words[0], &id];
            order.extend(&words[1..]);
            ordered(&gateway, &order).await;
            let (_, whole) = stream.end().await;
            assert!(!whole, "it breaks off");
            let (_, code) = socket.closed().await;
            assert_eq!(code, 4001, "never come back");
        }
    }
}

/// A member: the client and what the app was told of it.
async fn member(gateway: &Gateway, app: &App, name: &str) -> (Client, String) {
    let client = Client::new(gateway, Http::Two);
    client.sign_in(name).await;
    client.get("/head").await;
    (client, told(app).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_follows_the_feed_refuses_who_was_banned_within_moments() {
    const ROUNDS: usize = 40;
    let app = App::start().await;
    let mut gateway = Gateway::listed(&app.url, ALL).await;
    let (feed_id, feed) = key(&gateway, "feed").await;
    let issuer = format!("https://{}", gateway.authority());
    let pem = std::fs::read(gateway.ca()).unwrap();
    let follow = || {
        Verifier::builder(issuer.as_str(), "https://orders.test")
            .feed_key(feed.as_str())
            .trust(Trust::Pem(pem.clone()))
            .policy(WhenStale::Refuse)
            .start()
            .unwrap()
    };
    let verifier = follow();
    within("the first snapshot", verifier.ready()).await;
    let mut took = Vec::new();
    let mut banned = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("person-{round}");
        let (client, token) = member(&gateway, &app, &name).await;
        assert!(verifier.check(&token).await.is_ok(), "control");
        // The answer to the sign-out is the moment at which it is durable here.
        let began = Instant::now();
        if round % 2 == 0 {
            client.ask(Ask::post("/logout", "x=1")).await;
        } else {
            let (code, said) = gateway.order(&["identities", "block", &name]).await;
            assert_eq!(code, 0, "{said}");
        }
        let answered = Instant::now();
        while verifier.try_check(&token).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(10), "it is heard of");
            tokio::task::yield_now().await;
        }
        took.push(answered.elapsed());
        assert_eq!(
            verifier.check(&token).await.unwrap_err().name(),
            "phantom_session"
        );
        banned.push(token);
    }
    took.sort();
    eprintln!(
        "from the answer to refused at a service that follows, {ROUNDS} rounds: median {:?}, p95 {:?}, most {:?}",
        took[ROUNDS / 2],
        took[ROUNDS * 95 / 100],
        took[ROUNDS - 1],
    );
    let late = follow();
    within("its snapshot", late.ready()).await;
    for token in &banned {
        assert_eq!(
            late.check(token).await.unwrap_err().name(),
            "phantom_session",
            "started after"
        );
    }
    let (_, token) = member(&gateway, &app, "bob").await;
    assert!(late.check(&token).await.is_ok(), "and nobody else");

    // The process is killed: whoever follows comes back, and knows what it knew.
    gateway.kill().await;
    gateway.start_again().await;
    let again = follow();
    within("its snapshot", again.ready()).await;
    for token in &banned {
        assert_eq!(
            again.check(token).await.unwrap_err().name(),
            "phantom_session",
            "restarted"
        );
    }
    assert!(again.check(&token).await.is_ok());
    let back = async {
        while verifier.check(&token).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the one from before follows again", back).await;

    // A feed ends with its key.
    ordered(&gateway, &["keys", "revoke", &feed_id]).await;
    let over = async {
        while verifier.freshness().feed_trouble.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("it is not served any more", over).await;
}
