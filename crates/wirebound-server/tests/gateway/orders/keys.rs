//! API keys from the order to the route that asks for one.

use serde_json::Value;
use wirebound::store::Space;

use super::{VOUCHED, json, ordered};
use crate::app::App;
use crate::client::{Answer, Ask, Client, Http};
use crate::process::{Gateway, until};
use crate::recorder::Recorder;

const SCOPED: &str = r#"
[[routes]]
path = "/api"
scope = "orders:read"
"#;

/// A key as its owner was given it.
struct Key {
    id: String,
    text: String,
}

impl Key {
    fn of(made: &Value) -> Self {
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        let key = Self {
            id: text("id"),
            text: text("api_key"),
        };
        assert!(key.text.starts_with(&format!("wbk_{}_", key.id)));
        key
    }

    /// What of it is secret.
    fn secret(&self) -> &str {
        self.text.rsplit('_').next().unwrap()
    }
}

async fn create(gateway: &Gateway, scope: &str) -> Key {
    create_for(gateway, "ada", scope).await
}

async fn create_for(gateway: &Gateway, owner: &str, scope: &str) -> Key {
    let words = [
        "keys",
        "create",
        "--owner",
        owner,
        "--label",
        "nightly",
        "--scope",
        scope,
        "--scope",
        "also",
        "--expires",
        "90d",
    ];
    Key::of(&json(gateway, &words).await)
}

async fn rotate(gateway: &Gateway, key: &Key, how: &[&str]) -> Key {
    let words = [&["keys", "rotate", &key.id][..], how].concat();
    Key::of(&json(gateway, &words).await)
}

async fn asks(client: &Client, path: &str, key: &Key) -> Answer {
    let bearer = format!("Bearer {}", key.text);
    client
        .ask(Ask::get(path).field("authorization", &bearer))
        .await
}

async fn gets(client: &Client, key: &Key) -> u16 {
    asks(client, "/api/orders", key).await.status.as_u16()
}

#[tokio::test]
async fn a_key_that_was_made_lets_a_machine_in_and_the_app_is_told_whose_it_is() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, SCOPED).await;
    let key = create(&gateway, "orders:read").await;
    let other = create(&gateway, "feed").await;
    for http in [Http::One, Http::Two] {
        let machine = Client::new(&gateway, http);
        assert_eq!(gets(&machine, &key).await, 200);
        let plain = Ask::get("/api").field("x-api-key", &key.text);
        assert_eq!(machine.ask(plain).await.status, 200);
        let seen = node.seen().await;
        for seen in &seen[seen.len() - 2..] {
            assert_eq!(seen.all("wirebound-key"), [key.id.as_str()]);
            assert_eq!(seen.all("wirebound-key-owner"), ["ada"]);
            assert_eq!(seen.all("wirebound-key-scopes"), ["also orders:read"]);
            assert_eq!(seen.all("wirebound-subject"), [""]);
            let all = format!("{seen:?}");
            assert!(!all.contains(key.secret()), "{all}");
        }
        let refused = asks(&machine, "/api", &other).await;
        assert_eq!(refused.status, 403);
        let challenge = refused.field("www-authenticate");
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        assert_eq!(machine.get("/api").await.status, 401);
        assert_eq!(
            node.seen().await.len(),
            seen.len(),
            "the app saw none of it"
        );
    }
    let shown = json(&gateway, &["keys", "show", &key.id]).await;
    assert!(shown["last_used"].as_u64() >= shown["created"].as_u64());
    let told = gateway.events("order");
    let of_key = told.iter().find(|event| event["verb"] == "keys create");
    let by = u64::from(rustix::process::geteuid().as_raw());
    let told = of_key.unwrap();
    assert_eq!((&told["about"], &told["by"]), (&"ada".into(), &by.into()));
    assert_eq!(told["level"], "info");
    let asked = gateway.events("order");
    assert!(asked.iter().all(|event| event["verb"] != "keys show"));
}

#[tokio::test]
async fn a_key_is_rotated_with_and_without_an_overlap_and_dies_at_once_whether_the_gateway_runs_or_not()
 {
    let node = Recorder::start().await;
    let mut gateway = Gateway::before(&node.url, SCOPED).await;
    let mut revoked = Vec::new();
    for runs in [true, false] {
        let machine = Client::new(&gateway, Http::Two);
        // On the stopped folder each order is carried out between two runs.
        macro_rules! with_order {
            ($order:expr) => {{
                if !runs {
                    gateway.stop().await;
                }
                let done = $order.await;
                if !runs {
                    gateway.start_again().await;
                    machine.hang_up().await;
                }
                done
            }};
        }
        let first = with_order!(create(&gateway, "orders:read"));
        assert_eq!(gets(&machine, &first).await, 200, "{runs}");
        let second = with_order!(rotate(&gateway, &first, &[]));
        assert_eq!((first.id.as_str(), runs), (second.id.as_str(), runs));
        assert_ne!(first.text, second.text);
        let both = [gets(&machine, &first).await, gets(&machine, &second).await];
        assert_eq!(both, [200, 200], "{runs}");
        let shown = ordered(&gateway, &["keys", "show", &first.id]).await;
        assert!(shown.contains("overlap   until "), "{shown}");
        let third = with_order!(rotate(&gateway, &first, &["--now"]));
        let mut all = Vec::new();
        for key in [&first, &second, &third] {
            all.push(gets(&machine, key).await);
        }
        assert_eq!(all, [401, 401, 200], "{runs}");
        let said = with_order!(ordered(
            &gateway,
            &["keys", "revoke", &third.id, "--leaked"]
        ));
        assert!(said.ends_with("state     revoked\n") && said.contains(" by leak\n"));
        let refused = asks(&machine, "/api", &third).await;
        assert_eq!(refused.status, 401, "{runs}");
        assert!(refused.field("www-authenticate").contains("invalid_token"));
        let (code, said) = gateway.order(&["keys", "rotate", &third.id]).await;
        assert_eq!(code, 1);
        assert_eq!(
            said,
            "wirebound: the key was revoked\nhint: wirebound keys create makes another\n"
        );
        revoked.push(third);
    }
    // What was told is durable: also where the gateway has no time to say goodbye.
    let last = create(&gateway, "orders:read").await;
    let good = create(&gateway, "orders:read").await;
    ordered(&gateway, &["keys", "revoke", &last.id]).await;
    gateway.kill().await;
    gateway.start_again().await;
    revoked.push(last);
    let machine = Client::new(&gateway, Http::One);
    assert_eq!(gets(&machine, &good).await, 200, "control");
    for key in &revoked {
        assert_eq!(gets(&machine, key).await, 401);
    }
    let listed = json(&gateway, &["keys", "ls"]).await;
    let states = listed["keys"].as_array().unwrap();
    let states: Vec<&str> = states
        .iter()
        .map(|key| key["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["revoked", "revoked", "revoked", "good"]);
    let table = ordered(&gateway, &["keys", "ls"]).await;
    assert_eq!(table.lines().count(), 5, "{table}");
}

#[tokio::test]
async fn a_key_dies_with_its_owner_and_sleeps_while_they_are_blocked_also_on_a_stopped_folder() {
    let node = Recorder::start().await;
    let mut gateway = Gateway::before(&node.url, SCOPED).await;
    for (runs, owner) in [(true, "ada"), (false, "bob")] {
        let key = create_for(&gateway, owner, "orders:read").await;
        for (verb, status) in [("block", 401), ("unblock", 200), ("remove", 401)] {
            if !runs {
                gateway.stop().await;
            }
            ordered(&gateway, &["identities", verb, owner]).await;
            let shown = json(&gateway, &["keys", "show", &key.id]).await;
            let good = shown["state"] == "good";
            assert_eq!(good, status == 200, "{shown}");
            if verb == "remove" {
                assert_eq!(shown["revoked_by"], "owner_removed", "{shown}");
            }
            if !runs {
                gateway.start_again().await;
            }
            let machine = Client::new(&gateway, Http::One);
            assert_eq!(gets(&machine, &key).await, status, "{verb}, {runs}");
        }
        let words = [
            "keys", "create", "--owner", owner, "--label", "x", "--scope", "a",
        ];
        let (code, said) = gateway.order(&words).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("the owner was removed\nhint: name another owner"));
    }
}

#[tokio::test]
async fn a_key_in_an_address_or_beside_a_session_is_refused_and_a_session_is_no_key() {
    let app = App::start().await;
    let config = format!(
        "{VOUCHED}\n[[routes]]\npath = \"/head\"\nscope = \"orders:read\"\n[[routes]]\npath = \"/members\"\nrole = \"user\"\n"
    );
    let gateway = Gateway::before(&app.url, &config).await;
    let key = create(&gateway, "orders:read").await;
    for http in [Http::One, Http::Two] {
        let machine = Client::new(&gateway, http);
        assert_eq!(asks(&machine, "/head", &key).await.body, "noted", "control");
        let before = gateway.events("key_in_address").len();
        for address in [
            format!("/head?key={}", key.text),
            format!("/head/{}", key.text),
            format!("/me?key={}", key.text.replace('_', "%5f")),
        ] {
            assert_eq!(machine.get(&address).await.status, 400, "{address}");
        }
        until("the events", || {
            gateway.events("key_in_address").len() == before + 3
        })
        .await;
        // Where a session is asked for, a key is none.
        assert_eq!(asks(&machine, "/members", &key).await.status, 401);

        let person = Client::new(&gateway, http);
        person.sign_in("alice").await;
        assert_eq!(person.get("/members").await.status, 200, "control");
        assert_eq!(person.get("/head").await.status, 401);
        assert_eq!(asks(&person, "/head", &key).await.status, 400);
        assert_eq!(asks(&person, "/members", &key).await.status, 400);
        // The session goes on.
        assert_eq!(person.get("/members").await.status, 200);
    }
}

#[tokio::test]
async fn a_whole_key_is_printed_once_and_stands_nowhere_else() {
    let node = Recorder::start().await;
    let config = format!("log.filter = \"trace\"\n{SCOPED}");
    let mut gateway = Gateway::before(&node.url, &config).await;
    let machine = Client::new(&gateway, Http::Two);
    let words = [
        "keys",
        "create",
        "--owner",
        "ada",
        "--label",
        "nightly",
        "--scope",
        "orders:read",
    ];
    let said = ordered(&gateway, &words).await;
    let first = said.lines().next().unwrap();
    let text = first.strip_prefix("key       ").unwrap().to_owned();
    let once = "the key is shown this once: nothing brings it back\n";
    assert!(said.ends_with(once) && said.matches(&text).count() == 1);
    let id = text.split('_').nth(1).unwrap().to_owned();
    let mut keys = vec![Key { id, text }];
    keys.push(rotate(&gateway, &keys[0], &[]).await);
    assert_eq!(gets(&machine, &keys[0]).await, 200, "control");
    keys.push(rotate(&gateway, &keys[0], &["--now"]).await);
    let mut shown = String::new();
    for key in &keys {
        gets(&machine, key).await;
        machine.get(&format!("/api?key={}", key.text)).await;
    }
    for words in [
        &["keys", "ls"][..],
        &["keys", "ls", "--json"],
        &["keys", "show", &keys[0].id],
        &["keys", "show", &keys[0].id, "--json"],
        &["keys", "revoke", &keys[0].id, "--json"],
        &["identities", "show", "ada", "--json"],
    ] {
        shown.push_str(&ordered(&gateway, words).await);
    }
    assert!(shown.contains(&keys[0].id));
    until("the records", || {
        ["key_made", "key_rotated", "key_revoked", "key_refused"]
            .iter()
            .all(|name| !gateway.events(name).is_empty())
    })
    .await;
    let mut places = vec![
        ("what an operator is shown".to_owned(), shown.into_bytes()),
        (
            "what the app saw".to_owned(),
            format!("{:?}", node.seen().await).into_bytes(),
        ),
    ];
    let rows = gateway.rows().await;
    assert!(rows.iter().any(|row| row.space == Space::Key), "control");
    places.extend(rows.into_iter().map(|row| ("a row".to_owned(), row.value)));
    let store = gateway.data().join("sessions").join("store.redb");
    places.push(("the store's file".to_owned(), std::fs::read(store).unwrap()));
    places.push((
        "the log".to_owned(),
        gateway.printed().join("\n").into_bytes(),
    ));
    assert!(gateway.printed().len() > 100, "the log is at its loudest");
    for key in &keys {
        let secret = &key.secret().as_bytes()[..20];
        for (place, bytes) in &places {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{place} holds a key");
        }
    }
}
