//! An operator's orders to a gateway that runs, and the same ones in the folder of one that was stopped.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use serde_json::Value;
use wirebound::Timestamp;
use wirebound::store::Space;

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::process::{Gateway, until, within};

mod keys;
mod revoke;
mod signing;

const VOUCHED: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout", "POST /elevate"]
max_role = "admin"
[[routes]]
path = "/admin"
role = "admin"
"#;

/// Has an order carried out that must succeed.
async fn ordered(gateway: &Gateway, words: &[&str]) -> String {
    let (code, said) = gateway.order(words).await;
    assert_eq!(code, 0, "{words:?}: {said}");
    said
}

async fn json(gateway: &Gateway, words: &[&str]) -> Value {
    let said = ordered(gateway, &[words, &["--json"]].concat()).await;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

async fn sessions_of(gateway: &Gateway, name: &str) -> Vec<Value> {
    let listed = json(gateway, &["sessions", "ls", "--subject", name]).await;
    listed["sessions"].as_array().unwrap().clone()
}

async fn me(client: &Client) -> String {
    client.get("/me").await.body
}

const NOBODY: &str = "app=nobody subject= role=";

#[tokio::test]
async fn a_block_ends_the_live_session_at_once_whether_the_gateway_runs_or_not() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    for runs in [true, false] {
        for http in [Http::One, Http::Two] {
            let (alice, bob) = (Client::new(&gateway, http), Client::new(&gateway, http));
            alice.sign_in("alice").await;
            bob.sign_in("bob").await;
            assert_eq!(me(&alice).await, "app=alice subject=alice role=user");
            let socket = alice.socket("/ws").await;
            let before = alice.cookie(OURS).unwrap();
            if !runs {
                drop(socket);
                gateway.stop().await;
                let said = ordered(&gateway, &["identities", "block", "alice"]).await;
                assert!(
                    said.contains("blocked\nended     1\nsessions  0\n"),
                    "{said}"
                );
                gateway.start_again().await;
                alice.hang_up().await;
                bob.hang_up().await;
            } else {
                let said = ordered(&gateway, &["identities", "block", "alice"]).await;
                assert!(
                    said.contains("blocked\nended     1\nsessions  0\n"),
                    "{said}"
                );
                // Its wire was closed and what streams was told, before anybody asked anything.
                let (_, code) = socket.closed().await;
                assert_eq!(code, 4001);
                within("its wire is closed", async {
                    while alice.is_connected().await {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
                assert_eq!(me(&bob).await, "app=bob subject=bob role=user");
            }
            let old = Ask::get("/me").cookies(&format!("{OURS}={before}"));
            assert_eq!(alice.follow(old).await.body, NOBODY, "{http:?}, {runs}");
            assert_eq!(alice.ask(sign_in("alice")).await.status, 401);
            assert!(sessions_of(&gateway, "alice").await.is_empty());
            let said = ordered(&gateway, &["identities", "unblock", "alice"]).await;
            assert!(!said.contains("blocked"), "{said}");
            alice.sign_in("alice").await;
            assert_eq!(me(&alice).await, "app=alice subject=alice role=user");
            ordered(&gateway, &["identities", "remove", "alice"]).await;
            assert_eq!(me(&alice).await, NOBODY);
        }
    }
}

#[tokio::test]
async fn a_session_is_listed_shown_and_ended_and_the_others_go_on() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let [here, there, bob] =
        [Http::One, Http::Two, Http::Two].map(|http| Client::new(&gateway, http));
    here.sign_in("alice").await;
    let first = sessions_of(&gateway, "alice").await;
    let id = first[0]["id"].as_str().unwrap().to_owned();
    there.sign_in("alice").await;
    bob.sign_in("bob").await;
    assert_eq!(sessions_of(&gateway, "alice").await.len(), 2);
    let all = json(&gateway, &["sessions", "ls"]).await;
    assert_eq!(all["sessions"].as_array().unwrap().len(), 3, "{all}");
    assert_eq!(all["unreadable"], 0);
    let table = ordered(&gateway, &["sessions", "ls"]).await;
    assert_eq!(table.lines().count(), 4, "{table}");
    let shown = json(&gateway, &["sessions", "show", &id]).await;
    assert_eq!(shown["subject"], "alice");
    assert_eq!(shown["role"], "user");
    assert_eq!(shown["last_side"], "127.0.0.1 e2e/1");
    assert!(shown["wires"].as_u64().unwrap() >= 1, "{shown}");
    let text = ordered(&gateway, &["sessions", "show", &id]).await;
    assert!(text.starts_with(&format!("session   {id}\nsubject   alice\n")));

    ordered(&gateway, &["sessions", "end", &id]).await;
    assert_eq!(me(&here).await, NOBODY);
    assert_eq!(me(&there).await, "app=alice subject=alice role=user");
    assert_eq!(me(&bob).await, "app=bob subject=bob role=user");
    let ended = gateway.events("session_ended");
    assert!(ended.iter().any(|event| event["session"] == id.as_str()));
    for words in [["sessions", "end", &id], ["sessions", "show", &id]] {
        let (code, said) = gateway.order(&words).await;
        assert_eq!(code, 1, "{said}");
        assert_eq!(
            said,
            format!(
                "wirebound: no live session has the id {id}\nhint: wirebound sessions ls lists those that live\n"
            )
        );
    }
    let left = sessions_of(&gateway, "alice").await;
    let id = left[0]["id"].as_str().unwrap().to_owned();

    // In the folder of a stopped gateway the same words do the same.
    gateway.stop().await;
    assert_eq!(sessions_of(&gateway, "alice").await.len(), 1);
    let shown = json(&gateway, &["sessions", "show", &id]).await;
    assert_eq!(
        (&shown["subject"], &shown["wires"]),
        (&"alice".into(), &0.into())
    );
    ordered(&gateway, &["sessions", "end", &id]).await;
    let (code, said) = gateway.order(&["sessions", "end", &id]).await;
    assert_eq!(code, 1, "{said}");
    gateway.start_again().await;
    for client in [&there, &bob] {
        client.hang_up().await;
    }
    assert_eq!(me(&there).await, NOBODY);
    assert_eq!(me(&bob).await, "app=bob subject=bob role=user");
}

#[tokio::test]
async fn a_frozen_admin_role_is_given_back_and_taken_while_the_gateway_runs() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    alice.ask(Ask::post("/elevate", "x=1")).await;
    assert_eq!(alice.get("/admin").await.status, 403, "nobody allowed it");
    ordered(&gateway, &["identities", "role", "alice", "admin"]).await;
    alice.follow(Ask::post("/elevate", "x=1")).await;
    assert_eq!(alice.get("/admin").await.status, 200);
    ordered(&gateway, &["identities", "role", "alice", "user"]).await;
    assert_eq!(alice.get("/admin").await.status, 403, "at once");

    let gateway = Gateway::demo("[session]\nfreeze_after = 3\n").await;
    let sides = [Http::One, Http::Two].map(|http| Client::new(&gateway, http));
    for turn in 0..4 {
        let side = &sides[turn % 2];
        side.hang_up().await;
        side.sign_in("ada").await;
        side.get("/admin").await;
    }
    let kept = json(&gateway, &["identities", "show", "ada"]).await;
    assert_eq!(kept["frozen"], true, "{kept}");
    assert_eq!(sides[1].get("/admin").await.status, 403);
    ordered(&gateway, &["identities", "unfreeze", "ada"]).await;
    sides[1].sign_in("ada").await;
    assert_eq!(sides[1].get("/admin").await.status, 200);
}

#[tokio::test]
async fn the_socket_is_made_for_its_owner_replaced_after_a_kill_and_gone_after_a_stop() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let path = gateway.data().join("control.sock");
    let is_there = || {
        let facts = fs::symlink_metadata(&path).unwrap();
        assert!(facts.file_type().is_socket());
        assert_eq!(facts.mode() & 0o7777, 0o600);
        facts.ino()
    };
    is_there();
    gateway.kill().await;
    let stale = is_there();
    // What a killed gateway left keeps nobody from its folder.
    let said = ordered(&gateway, &["identities", "show", "alice"]).await;
    assert_eq!(said, "nothing is kept of alice\n");
    assert_eq!(is_there(), stale);
    gateway.start_again().await;
    is_there();
    ordered(&gateway, &["identities", "role", "alice", "user"]).await;
    gateway.stop().await;
    assert!(!path.exists());
    let kept = json(&gateway, &["identities", "show", "alice"]).await;
    assert_eq!(kept["ceiling"], "user");
}

#[tokio::test]
async fn a_gateway_whose_folder_has_too_long_a_path_starts_and_says_how_to_shorten_it() {
    let app = App::start().await;
    let folder = tempfile::Builder::new()
        .prefix(&"long-".repeat(20))
        .tempdir()
        .unwrap();
    let mut gateway = Gateway::with(folder, &app.url, VOUCHED, &[]).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    assert_eq!(me(&alice).await, "app=alice subject=alice role=user");
    let warned = |line: &String| line.contains("bytes") && line.contains("--data-dir");
    until("the warning", || gateway.printed().iter().any(warned)).await;
    let (code, said) = gateway.order(&["identities", "show", "alice"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("takes no orders: the path of control.sock would have "));
    assert!(said.contains("\nhint: if it has just started, try again; else stop it"));
    let (code, said) = gateway.order(&["doctor"]).await;
    assert!(code == 5 || code == 6, "{said}");
    let line = said.lines().find(|line| line.contains("orders")).unwrap();
    assert!(line.starts_with("warning"), "{line}");
    assert!(said.contains("name a folder with a shorter path: --data-dir DIR"));
    gateway.stop().await;
    ordered(&gateway, &["identities", "block", "alice"]).await;
}

#[tokio::test]
async fn an_order_needs_no_configuration_but_the_folder_and_a_memory_store_takes_it_too() {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n[store]\nurl = \"memory:\"\n");
    let gateway = Gateway::before(&app.url, &config).await;
    let alice = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
    ordered(&gateway, &["identities", "block", "alice"]).await;
    assert_eq!(me(&alice).await, NOBODY);
}

#[tokio::test]
async fn what_an_operator_set_while_it_ran_is_in_the_store_and_never_in_the_log_as_a_secret() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, "log.filter = \"trace\"\n").await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let secret = alice.cookie(OURS).unwrap();
    let secret = secret.rsplit('.').next().unwrap();
    let mut said = String::new();
    for words in [
        &["sessions", "ls"][..],
        &["sessions", "ls", "--json"],
        &["identities", "block", "b%6Fb", "--json"],
    ] {
        said.push_str(&ordered(&gateway, words).await);
    }
    until("the record", || {
        let lines = gateway.printed();
        lines
            .iter()
            .any(|line| line.contains("identities block") && line.contains("bob"))
    })
    .await;
    said.push_str(&gateway.printed().join("\n"));
    assert!(secret.len() > 40 && !said.contains(secret));
    let identities = gateway
        .rows()
        .await
        .into_iter()
        .filter(|row| row.space == Space::Identity);
    assert!(identities.count() >= 1);
    let kept = json(&gateway, &["identities", "show", "bob"]).await;
    assert_eq!(kept["blocked"], true);
    assert!(kept["expires"].as_u64().unwrap() > Timestamp::ZERO.as_millis());
}

#[tokio::test]
async fn root_orders_from_anybodys_gateway_and_opens_nobodys_folder() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    if !rustix::process::geteuid().is_root() {
        // Whoever is not root can give no folder away, but finds one of root's, and is refused there.
        let words = ["identities", "show", "alice", "--data-dir", "/usr"];
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_wirebound"));
        let done = command.args(words).output().await.unwrap();
        assert_eq!(done.status.code(), Some(4), "{done:?}");
        ordered(&gateway, &["identities", "block", "alice"]).await;
        return;
    }
    // The folder is given away under it, as if another user ran it.
    let data = gateway.data();
    std::os::unix::fs::chown(&data, Some(12_345), None).unwrap();
    ordered(&gateway, &["identities", "block", "alice"]).await;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let (code, said) = gateway.order(&["identities", "show", "alice"]).await;
    assert_eq!(code, 4, "others may put a socket there: {said}");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    gateway.stop().await;
    let files = || fs::read_dir(data.join("sessions")).unwrap().count();
    let before = files();
    let (code, said) = gateway.order(&["identities", "show", "alice"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("user 12345"), "{said}");
    assert_eq!(files(), before);
}
