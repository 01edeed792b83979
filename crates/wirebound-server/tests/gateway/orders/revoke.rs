//! Calling back by order: sessions, tokens, subjects, moments, as whoever holds a token sees it.

use serde_json::Value;

use super::signing::{ISSUING, part, told};
use super::{NOBODY, VOUCHED, json, me, ordered, sessions_of};
use crate::app::App;
use crate::client::{Ask, Client, Http};
use crate::process::Gateway;

/// Somebody who asks the gateway whether tokens are good.
struct Service {
    machine: Client,
    bearer: String,
}

impl Service {
    async fn of(gateway: &Gateway) -> Self {
        let words = [
            "keys",
            "create",
            "--owner",
            "service",
            "--label",
            "asks",
            "--scope",
            "introspect",
        ];
        let made = json(gateway, &words).await;
        Self {
            machine: Client::new(gateway, Http::One),
            bearer: format!("Bearer {}", made["api_key"].as_str().unwrap()),
        }
    }

    async fn believes(&self, token: &str) -> bool {
        let ask = Ask::post("/.wirebound/introspect", &format!("token={token}"));
        let ask = ask.field("authorization", &self.bearer);
        let answer = self.machine.ask(ask).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        said["active"].as_bool().unwrap()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn a_session_and_all_of_a_subject_are_called_back_at_once() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, &format!("{VOUCHED}\n{ISSUING}")).await;
    let service = Service::of(&gateway).await;
    let [here, there, bob] =
        [Http::One, Http::Two, Http::Two].map(|http| Client::new(&gateway, http));
    here.sign_in("alice").await;
    let first = sessions_of(&gateway, "alice").await;
    let id = text(&first[0]["id"]).to_owned();
    there.sign_in("alice").await;
    bob.sign_in("bob").await;
    let [of_here, of_there, of_bob] = [
        told(&app, &here).await,
        told(&app, &there).await,
        told(&app, &bob).await,
    ];
    for token in [&of_here, &of_there, &of_bob] {
        assert!(service.believes(token).await, "control");
    }
    let socket = here.socket("/ws").await;
    let said = ordered(&gateway, &["revoke", "--session", &id]).await;
    assert!(said.starts_with(&format!("revoked   session {id}\ndurable   2")));
    assert!(said.ends_with("\nsessions  1\nnodes     1\n"), "{said}");
    assert_eq!(socket.closed().await.1, 4001);
    assert_eq!(me(&here).await, NOBODY);
    assert!(!service.believes(&of_here).await);
    assert!(service.believes(&of_there).await);
    let ended = gateway.events("session_ended");
    let ended = ended.iter().find(|event| event["session"] == id.as_str());
    assert_eq!(ended.unwrap()["ending"], "revoked");
    let (code, said) = gateway.order(&["revoke", "--session", &id]).await;
    assert_eq!(code, 1);
    assert!(said.starts_with(&format!("wirebound: no live session has the id {id}\n")));

    let before = millis_now();
    let said = json(&gateway, &["revoke", "--subject", "alice"]).await;
    assert_eq!(said["revoked"]["subject"], "alice");
    assert_eq!((&said["sessions"], &said["nodes"]), (&1.into(), &1.into()));
    assert!(said["durable_at"].as_u64().unwrap() >= before);
    assert_eq!(me(&there).await, NOBODY);
    assert!(!service.believes(&of_there).await);
    assert!(service.believes(&of_bob).await);
    assert_eq!(me(&bob).await, "app=bob subject=bob role=user");
    here.sign_in("alice").await;
    assert!(service.believes(&told(&app, &here).await).await);
    let events = gateway.events("order");
    let verbs: Vec<&str> = events.iter().map(|event| text(&event["verb"])).collect();
    assert_eq!(verbs, ["keys create", "revoke session", "revoke subject"]);
}

fn millis_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn a_token_and_what_was_issued_before_a_moment_stay_called_back_after_a_kill() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, &format!("{VOUCHED}\n{ISSUING}")).await;
    let service = Service::of(&gateway).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let mut dead = Vec::new();
    for runs in [true, false] {
        let token = told(&app, &alice).await;
        assert!(service.believes(&token).await, "control");
        let jti = part(&token, 1)["jti"].clone();
        if !runs {
            // Nobody has named the configuration: that something was issued shows in the folder.
            gateway.stop().await;
        }
        let jti = format!("--token={}", text(&jti));
        let said = ordered(&gateway, &["revoke", &jti, "--until", "10m"]).await;
        assert!(said.ends_with("\nsessions  0\nnodes     1\n"), "{said}");
        if !runs {
            gateway.start_again().await;
            alice.hang_up().await;
            service.machine.hang_up().await;
        }
        assert!(!service.believes(&token).await, "{runs}");
        // The session stands, and is told by another token.
        let next = told(&app, &alice).await;
        assert!(service.believes(&next).await, "{runs}");
        dead.push(token);
    }
    let token = told(&app, &alice).await;
    let (code, said) = gateway.order(&["revoke", "--before", "2999-01-01"]).await;
    assert_eq!(code, 1);
    assert_eq!(
        said,
        "wirebound: that moment is still to come\nhint: name a moment that is over, or now\n"
    );
    assert!(service.believes(&token).await);
    ordered(&gateway, &["revoke", "--before", "2026-01-01"]).await;
    assert!(service.believes(&token).await, "it is younger");
    ordered(&gateway, &["revoke", "--before", "now"]).await;
    assert!(!service.believes(&token).await);
    dead.push(token);
    gateway.kill().await;
    gateway.start_again().await;
    alice.hang_up().await;
    service.machine.hang_up().await;
    for token in &dead {
        assert!(!service.believes(token).await);
    }
    assert_eq!(me(&alice).await, "app=alice subject=alice role=user");
    assert!(service.believes(&told(&app, &alice).await).await, "control");
}

#[tokio::test]
async fn a_session_that_was_ended_in_a_stopped_folder_takes_its_tokens_with_it() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, &format!("{VOUCHED}\n{ISSUING}")).await;
    let alice = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
    let id = sessions_of(&gateway, "alice").await;
    let id = text(&id[0]["id"]).to_owned();
    gateway.stop().await;
    // Without the configuration, which says that anything is issued.
    ordered(&gateway, &["sessions", "end", &id]).await;
    let rows = rows_called_back(&gateway).await;
    assert_eq!(rows, 1);
    gateway.start_again().await;
    assert_eq!(me(&alice).await, NOBODY);
}

/// How much is called back in the store of a stopped gateway.
async fn rows_called_back(gateway: &Gateway) -> usize {
    use wirebound::store::{Space, Store as _};
    let folder = gateway.data().join("sessions");
    let store = wirebound_redb::RedbStore::open(folder, wirebound_redb::Options::default());
    let until = wirebound::Timestamp::NEVER;
    let rows = store.unwrap().due(Space::Revoked, until, None, 100).await;
    rows.unwrap().len()
}
