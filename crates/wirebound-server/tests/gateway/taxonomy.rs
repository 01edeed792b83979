//! Every status and code that a client may see, walked in one table, the one event that tells an operator of each, and the
//! order in which reasons count.
//!
//! Where a store must fall silent (503) the walk is in the tower crate's `tests/gate.rs`.

use std::collections::BTreeMap;

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::Gateway;

const RULES: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout"]
[login]
url = "/login"
[[routes]]
path = "/members"
role = "user"
[[routes]]
path = "/admin"
role = "admin"
[[routes]]
path = "/head"
strength = "device"
"#;

async fn site(more: &str) -> (App, Gateway) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, &format!("{RULES}{more}")).await;
    (app, gateway)
}

/// What one kind of reader is answered: status, code in the body, code in the field, whether the cookie is cleared.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    code: String,
    reason: String,
    clears: bool,
}

impl Seen {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.field("cache-control"), "no-store", "{answer:?}");
        let html = answer.field("content-type").starts_with("text/html");
        let code = if html {
            let rest = answer.body.split("<code>").nth(1).unwrap_or_default();
            rest.split('<').next().unwrap_or_default().to_owned()
        } else {
            let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(document["status"], answer.status.as_u16());
            let code = document["code"].as_str().unwrap().to_owned();
            assert_eq!(document["type"], format!("urn:wirebound:problem:{code}"));
            match document["detail"].as_str() {
                Some(detail) => format!("{code} ({detail})"),
                None => code,
            }
        };
        Self {
            status: answer.status.as_u16(),
            code,
            reason: answer.field("wirebound-reason").to_owned(),
            clears: answer.clears(),
        }
    }

    fn is(status: u16, code: &str, reason: &str, clears: bool) -> Self {
        Self {
            status,
            code: code.to_owned(),
            reason: reason.to_owned(),
            clears,
        }
    }
}

/// A program first, then a person, with the same cookies.
async fn walk(client: &Client, ask: &Ask, what: &str, program: Seen, person: Seen) {
    let kept = client.jar.lock().unwrap().clone();
    let answer = client.follow(ask.clone()).await;
    assert_eq!(Seen::of(&answer), program, "{what}, a program: {answer:?}");
    *client.jar.lock().unwrap() = kept;
    let answer = client.follow(ask.clone().person()).await;
    assert_eq!(Seen::of(&answer), person, "{what}, a person: {answer:?}");
}

async fn alike(client: &Client, ask: &Ask, what: &str, status: u16, code: &str) {
    let seen = || Seen::is(status, code, code, false);
    walk(client, ask, what, seen(), seen()).await;
}

/// How often each reason was told as `refused`, and by whom it was named. The gateway stops first: then all was printed.
async fn told(gateway: &mut Gateway) -> BTreeMap<(String, &'static str), usize> {
    gateway.stop().await;
    let mut told = BTreeMap::new();
    for event in gateway.events("refused") {
        let named = match (event.get("session"), event.get("key")) {
            (None, None) => "nobody",
            (Some(_), None) => "a session",
            (None, Some(_)) => "a key",
            both => panic!("{both:?}"),
        };
        let reason = event["reason"].as_str().unwrap().to_owned();
        *told.entry((reason, named)).or_default() += 1;
    }
    told
}

fn as_told<const N: usize>(
    rows: [(&str, &'static str, usize); N],
) -> BTreeMap<(String, &'static str), usize> {
    let row = |(reason, named, times): (&str, _, _)| ((reason.to_owned(), named), times);
    rows.map(row).into()
}

#[tokio::test]
async fn every_refusal_as_programs_and_people_see_it() {
    let (_app, mut gateway) = site("").await;
    let alice = Client::new(&gateway, Http::Two);
    alike(
        &alice,
        &Ask::get("/members"),
        "nothing offered",
        401,
        "unauthenticated",
    )
    .await;
    let made_up = Ask::get("/members").cookies(&format!("{OURS}=w1.x.y"));
    alike(&alice, &made_up, "made up", 401, "unauthenticated").await;
    alice.sign_in("alice").await;
    let cookie = alice.cookie(OURS).unwrap();
    let twice = Ask::get("/me").cookies(&format!("{OURS}={cookie}; {OURS}={cookie}"));
    alike(&alice, &twice, "two of our cookies", 400, "malformed").await;
    let elsewhere = Ask::get("/me").authority("other.test");
    alike(&alice, &elsewhere, "another host", 421, "misdirected").await;
    alike(
        &alice,
        &Ask::get("/admin"),
        "too low",
        403,
        "insufficient_role",
    )
    .await;
    alike(
        &alice,
        &Ask::get("/head"),
        "too weak",
        403,
        "insufficient_strength",
    )
    .await;
    let forged = Ask::post("/me", "x=1").field("sec-fetch-site", "cross-site");
    alike(&alice, &forged, "from elsewhere", 403, "csrf_surprise").await;
    let stranger = Client::new(&gateway, Http::Two);
    alike(
        &stranger,
        &forged,
        "from elsewhere, by nobody",
        403,
        "csrf_surprise",
    )
    .await;
    assert_eq!(gateway.events("csrf_surprise").len(), 4);

    let thief = alice.thief(&gateway);
    let program = Seen::is(401, "unauthenticated", "", false);
    let person = Seen::is(404, "not_found", "", false);
    walk(&thief, &Ask::get("/members"), "contested", program, person).await;
    assert_eq!(gateway.events("contested").len(), 1);
    alice.hang_up().await;
    let away = Seen::is(401, "not_proven", "not_proven", false);
    let again = Seen::is(401, "not_proven", "not_proven", false);
    walk(
        &alice.thief(&gateway),
        &Ask::get("/members"),
        "not proven",
        away,
        again,
    )
    .await;
    assert!(!gateway.events("not_proven").is_empty());

    alice.ask(Ask::post("/logout", "x=1")).await;
    let late = Ask::get("/members").cookies(&format!("{OURS}={cookie}"));
    let program = Seen::is(401, "phantom_session (logout)", "phantom_session", false);
    let person = Seen::is(401, "phantom_session", "phantom_session", true);
    walk(&stranger, &late, "ended", program, person).await;
    let phantoms = gateway.events("phantom_session");
    assert_eq!(phantoms.len(), 1, "once a minute: {phantoms:?}");
    assert_eq!(phantoms[0]["ending"], "logout");
    // Each was provoked by a program and by a person, and by nobody more than once.
    let expected = as_told([
        ("contested", "a session", 1),
        ("csrf_surprise", "a session", 1),
        ("csrf_surprise", "nobody", 1),
        ("insufficient_role", "a session", 1),
        ("insufficient_strength", "a session", 1),
        ("malformed", "nobody", 1),
        ("misdirected", "nobody", 1),
        ("not_proven", "a session", 1),
        ("phantom_session", "a session", 1),
        ("unauthenticated", "nobody", 1),
    ]);
    assert_eq!(told(&mut gateway).await, expected);
}

const MACHINES: &str = r#"
[session]
preset = "portable"
[assertion]
upstream = true
audience = "https://orders.test"
[[routes]]
path = "/jobs"
scope = "jobs"
"#;

/// A new key of this scope, as it is shown.
async fn key(gateway: &Gateway, scope: &str) -> String {
    let words = [
        "keys", "create", "--owner", "ci", "--label", "ci", "--scope", scope, "--json",
    ];
    let (code, said) = gateway.order(&words).await;
    assert_eq!(code, 0, "{said}");
    let made: serde_json::Value = serde_json::from_str(&said).unwrap();
    format!("Bearer {}", made["api_key"].as_str().unwrap())
}

/// A key that somebody found, and tries where its scopes do not reach, is seen to do so.
#[tokio::test]
async fn a_machine_that_is_refused_is_told_of_once_and_its_key_is_named() {
    let app = App::start().await;
    let mut gateway = Gateway::listed(&app.url, MACHINES).await;
    let machine = Client::new(&gateway, Http::Two);
    let refused = async |ask: Ask, status: u16, code: &str| {
        for _ in 0..2 {
            let seen = Seen::of(&machine.ask(ask.clone()).await);
            assert_eq!(seen, Seen::is(status, code, code, false), "{ask:?}");
        }
    };
    let none = "token=none";
    for ask in [
        Ask::post("/.wirebound/introspect", none),
        Ask::post("/.wirebound/revoke", none),
        Ask::get("/.wirebound/feed"),
        Ask::get("/jobs"),
    ] {
        let found = key(&gateway, "reports").await;
        let by_key = ask.clone().field("authorization", &found);
        refused(by_key, 403, "insufficient_scope").await;
        refused(ask, 401, "unauthenticated").await;
    }
    for (path, scope) in [
        ("/.wirebound/introspect", "introspect"),
        ("/.wirebound/revoke", "revoke"),
    ] {
        let asks = key(&gateway, scope).await;
        let two = Ask::post(path, "token=a&token=b").field("authorization", &asks);
        refused(two, 400, "malformed").await;
    }
    let made_up = Ask::get("/jobs").field("authorization", "Bearer wbk_none");
    refused(made_up, 401, "unauthenticated").await;
    let expected = as_told([
        ("insufficient_scope", "a key", 4),
        ("key_missing", "nobody", 1),
        ("key_refused", "nobody", 1),
        ("malformed", "a key", 2),
    ]);
    assert_eq!(told(&mut gateway).await, expected);
    assert_eq!(gateway.events("key_refused").len(), 1);
}

/// What only the gateway can read is refused like everything else: by the one function, with the statuses that were
/// chosen, and told as often.
#[tokio::test]
async fn what_has_two_readings_is_answered_and_told_as_every_refusal() {
    for (statuses, status) in [("all", 400), ("few", 403)] {
        let (_app, mut gateway) = site(&format!("[session]\nstatuses = \"{statuses}\"\n")).await;
        let stranger = Client::new(&gateway, Http::One);
        let alice = Client::new(&gateway, Http::One);
        alice.sign_in("alice").await;
        let path = Ask::get("/members/%2e%2e/admin");
        let socket = Ask::get("/ws")
            .field("connection", "Upgrade")
            .field("upgrade", "websocket")
            .field("sec-websocket-version", "13");
        for (client, ask) in [(&stranger, socket), (&alice, path)] {
            for _ in 0..2 {
                let seen = Seen::of(&client.follow(ask.clone()).await);
                assert_eq!(seen, Seen::is(status, "malformed", "malformed", false));
            }
        }
        let expected = as_told([("malformed", "a session", 1), ("malformed", "nobody", 1)]);
        assert_eq!(told(&mut gateway).await, expected);
        let faults = gateway.events("malformed");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_ne!(faults[0]["fault"], faults[1]["fault"]);
    }
}

#[tokio::test]
async fn a_session_whose_time_is_over_says_which() {
    for (clocks, ending) in [
        ("idle_timeout = \"1s\"", "expired_idle"),
        (
            "idle_timeout = \"1s\"\nabsolute_timeout = \"1s\"",
            "expired_absolute",
        ),
    ] {
        let (_app, mut gateway) = site(&format!("[session]\n{clocks}\n")).await;
        let alice = Client::new(&gateway, Http::Two);
        alice.sign_in("alice").await;
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        let program = Seen::is(
            440,
            &format!("session_expired ({ending})"),
            "session_expired",
            false,
        );
        let person = Seen::is(440, "session_expired", "session_expired", true);
        walk(&alice, &Ask::get("/members"), ending, program, person).await;
        let once = as_told([("session_expired", "a session", 1)]);
        assert_eq!(told(&mut gateway).await, once);
    }
}

#[tokio::test]
async fn who_could_do_more_is_asked_for_it_and_who_may_not_is_told_so() {
    let (_app, mut gateway) =
        site("[session.max_sessions.user]\nmax = 1\non_limit = \"deny\"\n").await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let second = Client::new(&gateway, Http::Two);
    let denied = Ask::post("/login", "name=alice");
    alike(&second, &denied, "one session too many", 403, "forbidden").await;
    gateway.stop().await;
    gateway.identities(&["role", "alice", "admin"]).await;
    gateway.start_again().await;
    alike(
        &alice,
        &Ask::get("/admin"),
        "not raised yet",
        403,
        "step_up_required",
    )
    .await;
    gateway.stop().await;
    gateway.identities(&["block", "alice"]).await;
    gateway.start_again().await;
    let answer = alice.follow(Ask::get("/members")).await;
    assert_eq!(answer.status, 401, "blocked: {answer:?}");
    alike(
        &second,
        &Ask::post("/login", "name=alice"),
        "a blocked name",
        401,
        "unauthenticated",
    )
    .await;
    // By the three gateways one after the other.
    let expected = as_told([
        ("blocked", "nobody", 1),
        ("forbidden", "nobody", 1),
        ("phantom_session", "a session", 1),
        ("step_up_required", "a session", 1),
    ]);
    assert_eq!(told(&mut gateway).await, expected);
}

/// Several reasons at once: malformed, misdirected, ended, blocked, expired, from elsewhere, proof, role.
#[tokio::test]
async fn of_several_reasons_the_first_counts() {
    let (_app, gateway) = site("").await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let live = format!("{OURS}={}", alice.cookie(OURS).unwrap());
    let gone = Client::new(&gateway, Http::Two);
    gone.sign_in("bob").await;
    let over = format!("{OURS}={}", gone.cookie(OURS).unwrap());
    gone.ask(Ask::post("/logout", "x=1")).await;
    let stranger = Client::new(&gateway, Http::Two);
    let thief = alice.thief(&gateway);
    let forged = |path: &str| Ask::post(path, "x=1").field("sec-fetch-site", "cross-site");
    for (what, client, ask, status, reason) in [
        (
            "another host before two cookies",
            &alice,
            forged("/members")
                .cookies(&format!("{live}; {live}"))
                .authority("other.test"),
            421,
            "misdirected",
        ),
        (
            "two cookies before elsewhere",
            &alice,
            forged("/members").cookies(&format!("{live}; {live}")),
            400,
            "malformed",
        ),
        (
            "ended before elsewhere",
            &stranger,
            forged("/members").cookies(&over),
            401,
            "phantom_session",
        ),
        (
            "ended before the role",
            &stranger,
            Ask::get("/admin").cookies(&over),
            401,
            "phantom_session",
        ),
        (
            "elsewhere before proof",
            &stranger,
            forged("/members").cookies(&live),
            403,
            "csrf_surprise",
        ),
        (
            "elsewhere before the role",
            &alice,
            forged("/admin"),
            403,
            "csrf_surprise",
        ),
        (
            "elsewhere, where nothing is asked",
            &stranger,
            forged("/me").cookies(&over),
            403,
            "csrf_surprise",
        ),
        (
            "proof before the role",
            &thief,
            Ask::get("/admin"),
            401,
            "not_proven",
        ),
        (
            "the role before the strength",
            &alice,
            Ask::get("/admin"),
            403,
            "insufficient_role",
        ),
    ] {
        // What is given to a stranger on the way is no cookie of its own.
        let answer = client.try_follow(ask).await.unwrap();
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(
            answer.field("wirebound-reason"),
            reason,
            "{what}: {answer:?}"
        );
    }
}
