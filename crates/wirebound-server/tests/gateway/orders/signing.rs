//! The ring of signing keys under orders, as services outside see it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{VOUCHED, json, ordered};
use crate::app::App;
use crate::client::{Ask, Client, Http};
use crate::process::{BOUND, Gateway};

pub(super) const ISSUING: &str = "[assertion]\nupstream = true\n";

/// A part of a token: 0 is its head, 1 what it claims.
pub(super) fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The assertion that the app was told last.
pub(super) async fn told(app: &App, client: &Client) -> String {
    assert_eq!(client.get("/head").await.body, "noted");
    let heads = app.heads();
    let lines = heads.last().unwrap().lines();
    let mut lines = lines.filter_map(|line| line.strip_prefix("wirebound-assertion: "));
    lines.next().unwrap().to_owned()
}

async fn published(client: &Client) -> BTreeSet<String> {
    let set = client.get("/.well-known/jwks.json").await.body;
    let set: Value = serde_json::from_str(&set).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

fn kids(listed: &Value) -> Vec<(String, String)> {
    let keys = listed["signing_keys"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    keys.map(|key| (text(&key["kid"]), text(&key["state"])))
        .collect()
}

/// Asks until exactly these are published.
async fn publishes(client: &Client, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|kid| (*kid).to_owned()).collect();
    let began = std::time::Instant::now();
    while published(client).await != expected {
        assert!(began.elapsed() < BOUND / 4, "the change was not taken up");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_running_gateway_takes_up_at_once_what_an_order_did_to_its_signing_keys() {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n{ISSUING}");
    let mut gateway = Gateway::before(&app.url, &config).await;
    let file = gateway.data().parent().unwrap().join("wirebound.toml");
    let file = file.display().to_string();
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let first = kids(&json(&gateway, &["keys", "signing", "ls"]).await);
    let (old, state) = first[0].clone();
    assert_eq!((first.len(), state.as_str()), (1, "signing"));
    assert_eq!(part(&told(&app, &alice).await, 0)["kid"], old.as_str());

    let rotated = kids(&json(&gateway, &["keys", "signing", "rotate"]).await);
    let new = rotated[1].0.clone();
    assert_eq!(rotated[1].1, "published");
    publishes(&alice, &[&old, &new]).await;
    // It signs nothing before everybody could fetch it.
    assert_eq!(part(&told(&app, &alice).await, 0)["kid"], old.as_str());
    let (code, said) = gateway.order(&["keys", "signing", "rotate"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("is published already") && said.contains("\nhint: wait until"));

    let table = ordered(&gateway, &["keys", "signing", "retire", &old]).await;
    assert!(
        table.lines().count() == 2 && table.contains(&new),
        "{table}"
    );
    publishes(&alice, &[&new]).await;
    // Nor is anybody told any more what the leaked one has signed.
    assert_eq!(part(&told(&app, &alice).await, 0)["kid"], new.as_str());
    let (code, said) = gateway.order(&["keys", "signing", "retire", &old]).await;
    assert_eq!(code, 1);
    assert_eq!(
        said,
        format!(
            "wirebound: no signing key has the name {old}\nhint: wirebound keys signing ls lists them\n"
        )
    );
    let kept = gateway.events("signing_key");
    assert!(kept.iter().any(|event| event["kid"] == new.as_str()));

    // In the folder of a stopped gateway the configuration has to be named: the schedule is nowhere else.
    gateway.stop().await;
    let (code, said) = gateway.order(&["keys", "signing", "ls"]).await;
    assert_eq!(code, 1);
    assert!(said.starts_with("wirebound: no assertions are issued here\nhint: "));
    assert!(said.contains("--config"), "{said}");
    let words = ["keys", "signing", "retire", &new, "--config", &file];
    let left = kids(&json(&gateway, &words).await);
    assert_eq!(left.len(), 1);
    gateway.start_again().await;
    alice.hang_up().await;
    publishes(&alice, &[&left[0].0]).await;
    assert_eq!(
        part(&told(&app, &alice).await, 0)["kid"],
        left[0].0.as_str()
    );
}

/// Nobody but the gateway had the key of the cookies; the app was told with it for a month, and no service took it.
#[tokio::test]
async fn what_the_app_is_told_is_signed_for_services_at_once_after_cookies_were_signed_for_nobody_else()
 {
    const COOKIE: &str = "__Host-wirebound-assertion";
    let with = |assertion: &str| {
        format!(
            "{VOUCHED}\n[session]\npreset = \"portable\"\n[assertion]\ncookie = true\n{assertion}"
        )
    };
    let app = App::start().await;
    let mut gateway = Gateway::listed(&app.url, &with("algorithm = \"HS256\"\n")).await;
    let file = gateway.data().parent().unwrap().join("wirebound.toml");
    let named = file.display().to_string();
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let held = alice.cookie(COOKIE).unwrap();
    assert_eq!(part(&held, 0)["alg"], "HS256");
    assert!(published(&alice).await.is_empty());
    // Another of that kind is on its way.
    json(&gateway, &["keys", "signing", "rotate"]).await;
    gateway.stop().await;
    std::fs::write(&file, with("upstream = true\n")).unwrap();
    let words = ["keys", "signing", "ls", "--config", &named];
    assert_eq!(kids(&json(&gateway, &words).await).len(), 2);
    gateway.start_again().await;

    alice.hang_up().await;
    let told = told(&app, &alice).await;
    assert_eq!(part(&told, 0)["alg"], "EdDSA");
    let kid = part(&told, 0)["kid"].as_str().unwrap().to_owned();
    assert_eq!(published(&alice).await, [kid].into());
    // What a browser has from before is believed.
    let mine = format!("{COOKIE}={held}");
    let me = alice.ask(Ask::get("/me").cookies(&mine)).await;
    assert!(me.body.contains("subject=alice"), "{me:?}");
}

#[tokio::test]
async fn where_nothing_is_issued_the_orders_about_it_say_how_to_turn_it_on() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    for runs in [true, false] {
        if !runs {
            gateway.stop().await;
        }
        for words in [
            &["keys", "signing", "ls"][..],
            &["keys", "signing", "rotate"],
            &["keys", "signing", "retire", "kid"],
            &["revoke", "--token", "AAAAAAAAAAAAAAAAAAAAAA"],
            &["revoke", "--before", "now"],
        ] {
            let (code, said) = gateway.order(words).await;
            assert_eq!(code, 1, "{words:?}: {said}");
            let start = "wirebound: no assertions are issued here\nhint: `upstream = true` under [assertion] turns them on";
            assert!(said.starts_with(start), "{said}");
        }
    }
}
