//! Orders on their way, carried out and printed.

use std::collections::BTreeSet;
use std::sync::Arc;

use wirebound::store::MemoryStore;
use wirebound::{Policy, RevokedBy};
use wirebound_assertion::{Algorithm, Ring, SigningKey};
use wirebound_testkit::world::World;
use wirebound_tower::assertion::REMEMBERED;

use super::*;
use crate::config::Assertion;
use crate::gateway::signing;
use crate::system::{SystemClock, SystemEntropy};

fn subject(name: &str) -> Subject {
    Subject::new(name.as_bytes()).unwrap()
}

fn world() -> World {
    World::new(Policy::default(), Arc::new(MemoryStore::new()))
}

fn id() -> SessionId {
    SessionId::from_bytes([7; 10])
}

/// One of each.
fn every_order() -> Vec<Order> {
    let subject = || subject("a da%");
    let place = Place { due: 5, id: id() };
    vec![
        Order::ShowIdentity { subject: subject() },
        Order::SetCeiling {
            subject: subject(),
            role: Role::ADMIN,
        },
        Order::Unfreeze { subject: subject() },
        Order::Block { subject: subject() },
        Order::Unblock { subject: subject() },
        Order::Remove { subject: subject() },
        Order::ListSessionsOf { subject: subject() },
        Order::ListSessions { after: None },
        Order::ListSessions { after: Some(place) },
        Order::ShowSession { id: id() },
        Order::EndSession { id: id() },
        Order::CreateKey {
            owner: subject(),
            label: KeyLabel::new("nightly job").unwrap(),
            scopes: KeyScopes::new(["orders:read", "feed"]).unwrap(),
            expires: Some(Due::In(Lifetime::from_days(90))),
        },
        create("ada", Some(Due::At(Timestamp::from_millis(1_000)))),
        create("ada", None),
        Order::ListKeys { after: None },
        Order::ListKeys {
            after: Some(KeyPlace {
                created: 5,
                id: key_id(),
            }),
        },
        Order::ShowKey { id: key_id() },
        Order::RotateKey {
            id: key_id(),
            overlap: Lifetime::from_hours(24),
        },
        Order::RotateKey {
            id: key_id(),
            overlap: Lifetime::ZERO,
        },
        Order::RevokeKey {
            id: key_id(),
            leaked: true,
        },
        Order::ListSigningKeys {},
        Order::RotateSigningKey {},
        Order::RetireSigningKey {
            kid: Kid::parse("-kid").unwrap(),
        },
        Order::RevokeSession { id: id() },
        Order::RevokeToken {
            token: TokenId::from_bytes([7; 16]),
            until: None,
        },
        Order::RevokeToken {
            token: TokenId::from_bytes([7; 16]),
            until: Some(Due::In(Lifetime::from_mins(5))),
        },
        Order::RevokeSubject { subject: subject() },
        Order::RevokeBefore { before: None },
        Order::RevokeBefore { before: Some(5) },
    ]
}

fn key_id() -> ApiKeyId {
    ApiKeyId::parse("0123456789AB").unwrap()
}

fn create(owner: &str, expires: Option<Due>) -> Order {
    Order::CreateKey {
        owner: subject(owner),
        label: KeyLabel::new("nightly").unwrap(),
        scopes: KeyScopes::new(["orders:read"]).unwrap(),
        expires,
    }
}

/// A gateway over this world that issues nothing.
fn gateway(w: &World) -> Node {
    Node {
        engine: Arc::clone(&w.engine),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy::new()),
        assertion: Assertion::default(),
        issued: false,
    }
}

/// A world that issues assertions, and a gateway over it.
async fn issuing() -> (World, Node) {
    let policy = Policy {
        assertions: Some(REMEMBERED),
        ..Policy::default()
    };
    let w = World::new(policy, Arc::new(MemoryStore::new()));
    let mut node = gateway(&w);
    node.assertion.upstream = true;
    node.issued = true;
    let key = SigningKey::generate(Algorithm::EdDsa, node.entropy.as_ref()).unwrap();
    let ring = Ring::new(key, w.now);
    assert!(signing::keep(&w.engine, &ring, None).await.unwrap());
    (w, node)
}

async fn done(w: &World, order: Order) -> Reply {
    carry_out(&gateway(w), order, w.now).await.unwrap()
}

async fn refused(w: &World, order: Order) -> Refused {
    carry_out(&gateway(w), order, w.now).await.unwrap_err()
}

fn printed(form: Form, reply: Reply) -> String {
    Printer::new(form).print(reply).to_string()
}

#[test]
fn every_order_reads_back_and_nothing_else_is_taken_for_one() {
    for order in every_order() {
        let bytes = order.to_bytes();
        assert_eq!(Order::read(&bytes), Ok(order.clone()));
        let whole: Value = serde_json::from_slice(&bytes).unwrap();
        let (verb, _) = order.label();
        assert!(
            whole["order"]["verb"] == verb || whole["order"]["verb"] == "sessions of",
            "{whole}"
        );
        let read = |whole: &Value| Order::read(whole.to_string().as_bytes());
        for version in [json!(0), json!(2), json!(u64::MAX)] {
            let mut other = whole.clone();
            other["version"] = version.clone();
            // Also where this version knows no such order.
            other["order"]["verb"] = json!("of the future");
            let number = version.as_u64().unwrap();
            assert_eq!(read(&other), Err(NoOrder::Version(number)));
        }
        let mut broken = Vec::new();
        for (field, value) in [
            ("verb", json!("of the future")),
            ("verb", json!(null)),
            ("subject", json!("")),
            ("subject", json!("x".repeat(256))),
            ("subject", json!("%")),
            ("id", json!("x")),
            ("role", json!("root")),
            ("after", json!({"due": -1})),
            ("surplus", json!(1)),
            ("owner", json!("%")),
            ("label", json!("two\nlines")),
            ("scopes", json!("UPPER")),
            ("expires", json!("soon")),
            ("overlap", json!("24")),
            ("kid", json!("a b")),
            ("token", json!("eyJ.e30.c2ln")),
            ("until", json!(1)),
            ("before", json!(-1)),
        ] {
            let mut other = whole.clone();
            other["order"][field] = value;
            broken.push(other);
        }
        let mut surplus = whole.clone();
        surplus["surplus"] = json!(1);
        let mut text = whole.clone();
        text["version"] = json!("1");
        broken.extend([surplus, text]);
        for other in broken {
            assert_eq!(read(&other), Err(NoOrder::Malformed), "{other}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(Order::read(&bytes[..cut]), Err(NoOrder::Malformed));
        }
    }
    for bytes in [&b""[..], b"null", b"[]", b"\xff", b"{}"] {
        assert_eq!(Order::read(bytes), Err(NoOrder::Malformed));
    }
}

#[tokio::test]
async fn an_identity_is_changed_by_each_verb_and_told_as_it_is_then() {
    let mut w = world();
    let ada = || subject("ada");
    let nothing = done(&w, Order::ShowIdentity { subject: ada() }).await;
    assert_eq!(printed(Form::Text, nothing), "nothing is kept of ada\n");
    let nothing = done(&w, Order::ShowIdentity { subject: ada() }).await;
    assert_eq!(printed(Form::Json, nothing), "null\n");

    let _line = w.settle("ada", Role::USER);
    for (order, expected) in [
        (
            Order::SetCeiling {
                subject: ada(),
                role: Role::ADMIN,
            },
            "subject   ada\nceiling   admin\nsessions  1\n",
        ),
        (
            Order::Block { subject: ada() },
            "subject   ada\nceiling   admin\nblocked\nended     1\nsessions  0\n",
        ),
        (
            Order::Block { subject: ada() },
            "subject   ada\nceiling   admin\nblocked\nsessions  0\n",
        ),
        (
            Order::Unfreeze { subject: ada() },
            "subject   ada\nceiling   admin\nblocked\nsessions  0\n",
        ),
        (
            Order::Unblock { subject: ada() },
            "subject   ada\nceiling   admin\nsessions  0\n",
        ),
        (
            Order::Remove { subject: ada() },
            "subject   ada\nceiling   user\nremoved\nsessions  0\n",
        ),
    ] {
        let (verb, about) = order.label();
        assert_eq!(about, "ada");
        let reply = done(&w, order).await;
        let bytes = reply.to_bytes().unwrap();
        assert_eq!(Reply::read(&bytes).unwrap(), reply, "{verb}");
        assert_eq!(printed(Form::Text, reply), expected, "{verb}");
    }
}

#[tokio::test]
async fn sessions_are_listed_in_parts_looked_at_and_ended() {
    let mut w = world();
    let names: Vec<String> = (0..PAGE + 5)
        .map(|number| format!("user-{number}"))
        .collect();
    let mut lines = Vec::new();
    for name in &names {
        lines.push(w.settle(name, Role::USER));
        w.step(Lifetime::from_secs(1));
    }
    let mut parts = 0;
    let [mut text, mut document] = [String::new(), String::new()];
    let (mut people, mut programs) = (Printer::new(Form::Text), Printer::new(Form::Json));
    let mut next = Some(Order::ListSessions { after: None });
    while let Some(order) = next {
        let reply = done(&w, order.clone()).await;
        let bytes = reply.to_bytes().unwrap();
        assert_eq!(Reply::read(&bytes).unwrap(), reply);
        next = reply.next();
        text.push_str(&people.print(reply));
        document.push_str(&programs.print(done(&w, order).await));
        parts += 1;
    }
    assert!(parts >= 2);
    assert_eq!(text.lines().count(), names.len() + 1, "{text}");
    assert!(text.starts_with("session "), "{text}");
    let document: Value = serde_json::from_str(&document).unwrap();
    let listed = document["sessions"].as_array().unwrap();
    let subjects: BTreeSet<&str> = listed
        .iter()
        .map(|session| session["subject"].as_str().unwrap())
        .collect();
    assert_eq!(listed.len(), names.len());
    assert_eq!(subjects, names.iter().map(String::as_str).collect());

    let of = |name: &str| Order::ListSessionsOf {
        subject: subject(name),
    };
    let Reply::Sessions { sessions, .. } = done(&w, of("user-3")).await else {
        panic!()
    };
    assert_eq!(sessions.len(), 1);
    let id = SessionId::parse(&sessions[0].id).unwrap();
    let shown = done(&w, Order::ShowSession { id }).await;
    assert_eq!(
        shown,
        Reply::Session {
            session: sessions[0].clone()
        }
    );
    let shown = printed(Form::Text, shown);
    assert!(
        shown.starts_with(&format!("session   {id}\nsubject   user-3\n")),
        "{shown}"
    );
    let ended = done(&w, Order::EndSession { id }).await;
    assert_eq!(printed(Form::Text, ended), format!("ended     {id}\n"));
    for order in [Order::EndSession { id }, Order::ShowSession { id }] {
        let refused = refused(&w, order).await;
        assert_eq!(refused.code(), "no_such_session");
        assert!(refused.to_string().ends_with(&id.to_string()));
    }
    let none = || async { done(&w, of("user-3")).await };
    assert_eq!(
        printed(Form::Text, none().await),
        "there is no live session\n"
    );
    let none: Value = serde_json::from_str(&printed(Form::Json, none().await)).unwrap();
    assert_eq!(none, json!({ "sessions": [], "unreadable": 0 }));
}

#[tokio::test]
async fn a_session_that_moved_while_it_was_listed_is_printed_once() {
    let mut w = world();
    let _line = w.settle("zoe", Role::USER);
    let one = || async {
        let Reply::Sessions { sessions, next, .. } =
            done(&w, Order::ListSessions { after: None }).await
        else {
            panic!()
        };
        (sessions, next)
    };
    for form in [Form::Text, Form::Json] {
        let mut printer = Printer::new(form);
        let mut all = String::new();
        for last in [false, true] {
            let (sessions, next) = one().await;
            assert!(next.is_some());
            all.push_str(&printer.print(Reply::Sessions {
                sessions,
                unreadable: 1,
                next: next.filter(|_| !last),
            }));
        }
        let found = all.matches("zoe").count();
        assert_eq!(found, 1, "{all}");
        match form {
            Form::Text => {
                let said = "2 rows cannot be read: is the node secret the right one?\n";
                assert!(all.ends_with(said), "{all}");
            }
            Form::Json => {
                let all: Value = serde_json::from_str(&all).unwrap();
                assert_eq!(all["unreadable"], 2);
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_is_answered_logged_or_printed_holds_a_secret() {
    let mut w = world();
    let line = w.settle("ada", Role::USER);
    let secret = w.browser.cookie.rsplit('.').next().unwrap().to_owned();
    assert!(secret.len() > 40, "control: the cookie has one");
    let Reply::Sessions { sessions, .. } = done(
        &w,
        Order::ListSessionsOf {
            subject: subject("ada"),
        },
    )
    .await
    else {
        panic!()
    };
    let id = SessionId::parse(&sessions[0].id).unwrap();
    let mut said = String::new();
    for order in [
        Order::ShowIdentity {
            subject: subject("ada"),
        },
        Order::ListSessions { after: None },
        Order::ShowSession { id },
        Order::EndSession { id },
    ] {
        said.push_str(&format!("{order:?}{:?}", order.label()));
        let reply = done(&w, order).await;
        let bytes = reply.to_bytes().unwrap();
        said.push_str(&format!("{reply:?}{}", String::from_utf8_lossy(&bytes)));
        for form in [Form::Text, Form::Json] {
            said.push_str(&printed(form, Reply::read(&bytes).unwrap()));
        }
    }
    assert!(said.contains("ada") && said.contains(&id.to_string()));
    assert!(!said.contains(&secret), "{said}");
    drop(line);
}

fn made(reply: Reply) -> (String, ApiKeyFacts) {
    let Reply::KeyMade { api_key, key } = reply else {
        panic!("{reply:?}")
    };
    (api_key.expose().to_owned(), key)
}

#[tokio::test]
async fn an_api_key_is_made_shown_rotated_and_revoked() {
    let mut w = world();
    w.engine.recall_keys(w.now).await.unwrap();
    let nothing = done(&w, Order::ListKeys { after: None }).await;
    assert_eq!(printed(Form::Text, nothing), "there is no API key\n");
    let nothing = done(&w, Order::ListKeys { after: None }).await;
    assert_eq!(printed(Form::Json, nothing), "{\"keys\": []}\n");

    let reply = done(&w, create("ada", Some(Due::In(Lifetime::from_days(90))))).await;
    let bytes = reply.to_bytes().unwrap();
    assert_eq!(Reply::read(&bytes).unwrap(), reply);
    let text = printed(Form::Text, Reply::read(&bytes).unwrap());
    let document = printed(Form::Json, Reply::read(&bytes).unwrap());
    let (first, facts) = made(reply);
    assert!(w.engine.check_key(first.as_bytes(), w.now).is_ok());
    assert_eq!(
        facts.expires,
        Some(w.now.after(Lifetime::from_days(90)).as_millis())
    );
    assert!(
        text.starts_with(&format!("key       {first}\nid        {}\n", facts.id)),
        "{text}"
    );
    assert!(
        text.ends_with("state     good\nthe key is shown this once: nothing brings it back\n"),
        "{text}"
    );
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["api_key"], first.as_str());
    assert_eq!(document["owner"], "ada");

    let id = ApiKeyId::parse(&facts.id).unwrap();
    w.step(Lifetime::from_secs(1));
    let overlap = Lifetime::from_hours(24);
    let (second, facts) = made(done(&w, Order::RotateKey { id, overlap }).await);
    assert_eq!(facts.overlap_until, Some(w.now.after(overlap).as_millis()));
    for good in [&first, &second] {
        assert!(
            w.engine.check_key(good.as_bytes(), w.now).is_ok(),
            "control"
        );
    }
    let overlap = Lifetime::ZERO;
    let (third, _) = made(done(&w, Order::RotateKey { id, overlap }).await);
    for dead in [&first, &second] {
        assert!(w.engine.check_key(dead.as_bytes(), w.now).is_err());
    }
    assert!(w.engine.check_key(third.as_bytes(), w.now).is_ok());
    let shown = printed(Form::Text, done(&w, Order::ShowKey { id }).await);
    assert!(
        shown.contains("\nscopes    orders:read\n") && shown.contains("\nrotated   "),
        "{shown}"
    );

    let leaked = true;
    let Reply::ApiKey { key } = done(&w, Order::RevokeKey { id, leaked }).await else {
        panic!()
    };
    assert_eq!(
        (key.state.as_str(), key.revoked_by.as_deref()),
        ("revoked", Some(RevokedBy::Leak.name()))
    );
    assert!(w.engine.check_key(third.as_bytes(), w.now).is_err());
    // What is so already is so, and by whom it was stays.
    let again = done(&w, Order::RevokeKey { id, leaked: false }).await;
    assert_eq!(again, Reply::ApiKey { key });
    let why = refused(&w, Order::RotateKey { id, overlap }).await;
    assert_eq!(
        (why.code(), why.hint()),
        ("key_not_rotated", "wirebound keys create makes another")
    );
    for order in [
        Order::ShowKey { id: key_id() },
        Order::RotateKey {
            id: key_id(),
            overlap,
        },
        Order::RevokeKey {
            id: key_id(),
            leaked,
        },
    ] {
        let why = refused(&w, order).await;
        assert_eq!(why.code(), "no_such_key");
        assert_eq!(why.to_string(), "no API key has the id 0123456789AB");
    }
    let over = Some(Due::At(Timestamp::from_millis(1)));
    let why = refused(&w, create("ada", over)).await;
    assert_eq!(why.to_string(), "the key would have expired already");
    done(
        &w,
        Order::Block {
            subject: subject("bob"),
        },
    )
    .await;
    let why = refused(&w, create("bob", None)).await;
    assert!(why.hint().contains("identities unblock"), "{why}");
}

#[tokio::test]
async fn api_keys_are_listed_in_parts_each_once_and_without_their_secrets() {
    let mut w = world();
    w.engine.recall_keys(w.now).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..PAGE + 5 {
        keys.push(made(done(&w, create("ada", None)).await));
        if keys.len() % 3 == 0 {
            w.step(Lifetime::from_secs(1));
        }
    }
    let (mut people, mut programs) = (Printer::new(Form::Text), Printer::new(Form::Json));
    let [mut text, mut document] = [String::new(), String::new()];
    let mut parts = 0;
    let mut next = Some(Order::ListKeys { after: None });
    while let Some(order) = next {
        let reply = done(&w, order.clone()).await;
        next = reply.next();
        text.push_str(&people.print(reply));
        document.push_str(&programs.print(done(&w, order).await));
        parts += 1;
    }
    assert_eq!(parts, 2);
    assert_eq!(text.lines().count(), keys.len() + 1);
    let listed: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), keys.len());
    for (secret, facts) in &keys {
        assert!(text.contains(&facts.id) && document.contains(&facts.id));
        let end = secret.rsplit('_').next().unwrap();
        assert!(end.len() > 40 && !text.contains(end) && !document.contains(end));
    }
}

#[tokio::test]
async fn signing_keys_are_rotated_and_retired_in_the_kept_ring() {
    let (mut w, node) = issuing().await;
    let listed = |reply: Reply| {
        let Reply::SigningKeys { keys } = reply else {
            panic!("{reply:?}")
        };
        keys
    };
    let order = |order| carry_out(&node, order, w.now);
    let keys = listed(order(Order::ListSigningKeys {}).await.unwrap());
    assert_eq!((keys.len(), keys[0].state.as_str()), (1, "signing"));
    let reply = order(Order::RotateSigningKey {}).await.unwrap();
    let text = printed(Form::Text, Reply::read(&reply.to_bytes().unwrap()).unwrap());
    assert!(
        text.starts_with("kid   ") && text.lines().count() == 3,
        "{text}"
    );
    let keys = listed(reply);
    let states: Vec<&str> = keys.iter().map(|key| key.state.as_str()).collect();
    assert_eq!(states, ["signing", "published"]);
    assert_eq!(
        keys[1].since,
        w.now.after(node.assertion.publish_ahead).as_millis()
    );
    let why = order(Order::RotateSigningKey {}).await.unwrap_err();
    assert_eq!(why.code(), "next_key_is_published");

    let kid = Kid::parse(&keys[0].kid).unwrap();
    let retire = || Order::RetireSigningKey { kid: kid.clone() };
    let left = listed(order(retire()).await.unwrap());
    assert_eq!((left.len(), left[0].state.as_str()), (1, "signing"));
    assert_eq!(left[0].kid, keys[1].kid);
    let why = order(retire()).await.unwrap_err();
    assert_eq!(
        why.to_string(),
        format!("no signing key has the name {kid}")
    );
    // The last one goes too: another is made and signs at once.
    let kid = Kid::parse(&left[0].kid).unwrap();
    let last = listed(order(Order::RetireSigningKey { kid }).await.unwrap());
    assert_eq!((last.len(), last[0].state.as_str()), (1, "signing"));
    assert_ne!(last[0].kid, left[0].kid);
    w.step(Lifetime::from_secs(1));
    let again = listed(
        carry_out(&node, Order::ListSigningKeys {}, w.now)
            .await
            .unwrap(),
    );
    assert_eq!(again, last, "it is kept");

    let silent = world();
    for order in [
        Order::ListSigningKeys {},
        Order::RotateSigningKey {},
        retire_any(),
    ] {
        let why = refused(&silent, order).await;
        assert_eq!(why.code(), "nothing_issued");
        assert!(why.hint().contains("[assertion]"));
    }
    let mut unmade = gateway(&silent);
    unmade.assertion.cookie = true;
    let why = carry_out(&unmade, Order::ListSigningKeys {}, silent.now).await;
    assert_eq!(why.unwrap_err().code(), "no_signing_keys");
}

fn retire_any() -> Order {
    Order::RetireSigningKey {
        kid: Kid::parse("any").unwrap(),
    }
}

#[tokio::test]
async fn sessions_tokens_subjects_and_moments_are_called_back() {
    let (mut w, node) = issuing().await;
    let _line = w.settle("ada", Role::USER);
    let sessions = || async { w.engine.sessions_of(&subject("ada"), w.now).await.unwrap() };
    let id = sessions().await[0].id;
    let order = |order| carry_out(&node, order, w.now);
    let reply = order(Order::RevokeSession { id }).await.unwrap();
    assert!(sessions().await.is_empty());
    let bytes = reply.to_bytes().unwrap();
    assert_eq!(Reply::read(&bytes).unwrap(), reply);
    let text = printed(Form::Text, Reply::read(&bytes).unwrap());
    assert!(
        text.starts_with(&format!("revoked   session {id}\ndurable   2")),
        "{text}"
    );
    assert!(text.ends_with("sessions  1\nnodes     1\n"), "{text}");
    let document: Value = serde_json::from_str(&printed(Form::Json, reply)).unwrap();
    assert_eq!(document["revoked"]["session"], id.to_string());
    assert_eq!(
        (&document["sessions"], &document["nodes"]),
        (&json!(1), &json!(1))
    );
    assert!(document["durable_at"].as_u64().unwrap() > 0);
    let why = order(Order::RevokeSession { id }).await.unwrap_err();
    assert_eq!(why.code(), "no_such_session");

    let token = TokenId::from_bytes([7; 16]);
    let revoke = |until| Order::RevokeToken { token, until };
    let longest = w.now.after(REMEMBERED);
    let ends = || async {
        let page = w.engine.revoked(None, w.now).await.unwrap();
        let of_token = page.entries.iter().find(|entry| {
            matches!(entry.what, wirebound::revocation::Revoked::Token(other) if other == token)
        });
        of_token.map(|entry| entry.until)
    };
    assert_eq!(ends().await, None, "control");
    let why = order(revoke(Some(Due::At(w.now)))).await.unwrap_err();
    assert_eq!((why.code(), ends().await), ("token_has_run_out", None));
    let reply = order(revoke(Some(Due::In(Lifetime::from_days(9)))))
        .await
        .unwrap();
    assert_eq!(ends().await, Some(longest));
    let text = printed(Form::Text, reply);
    assert!(
        text.starts_with(&format!("revoked   token {token}\n")),
        "{text}"
    );
    assert!(order(revoke(None)).await.is_ok(), "it is so already");

    let ahead = Some(w.now.as_millis() + 1);
    let why = order(Order::RevokeBefore { before: ahead })
        .await
        .unwrap_err();
    assert_eq!(why.code(), "moment_to_come");
    for before in [Some(w.now.as_millis()), None] {
        let reply = order(Order::RevokeBefore { before }).await.unwrap();
        let text = printed(Form::Text, reply);
        assert!(
            text.starts_with("revoked   everything issued before "),
            "{text}"
        );
    }
    let other = world();
    for order in [revoke(None), Order::RevokeBefore { before: None }] {
        let why = refused(&other, order).await;
        assert_eq!(why.to_string(), "no assertions are issued here");
    }
    let nobody = done(
        &other,
        Order::RevokeSubject {
            subject: subject("ada"),
        },
    )
    .await;
    assert!(printed(Form::Text, nobody).starts_with("revoked   subject ada\n"));
}

#[tokio::test]
async fn all_sessions_of_a_revoked_subject_end_and_it_may_sign_in_again() {
    let (mut w, node) = issuing().await;
    let _line = w.settle("ada", Role::USER);
    let revoke = Order::RevokeSubject {
        subject: subject("ada"),
    };
    let Reply::Revoked { what, sessions, .. } = carry_out(&node, revoke, w.now).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((what, sessions), (Called::Subject("ada".to_owned()), 1));
    w.step(Lifetime::from_secs(1));
    let _line = w.settle("ada", Role::USER);
    let again = w.engine.sessions_of(&subject("ada"), w.now).await.unwrap();
    assert_eq!(again.len(), 1);
}

#[test]
fn every_refusal_says_what_to_do_next() {
    use wirebound::engine::{NotMade, NotRotated};
    let all = [
        Refused::NoSession(id()),
        Refused::NoKey(key_id()),
        Refused::NotMade(NotMade::Full),
        Refused::NotMade(NotMade::Expired),
        Refused::NotMade(NotMade::OwnerBlocked),
        Refused::NotMade(NotMade::OwnerRemoved),
        Refused::NotRotated(NotRotated::Revoked),
        Refused::NotRotated(NotRotated::Expired),
        Refused::NothingIssued,
        Refused::NoRing,
        Refused::NoSigningKey(Kid::parse("any").unwrap()),
        Refused::NextIsPublished(Timestamp::ZERO),
        Refused::RingIsFull,
        Refused::Keys(signing::no_other()),
        Refused::Future,
        Refused::Over,
    ];
    for refused in all {
        for text in [refused.to_string(), refused.hint().to_owned()] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
            assert!(!text.starts_with(|c: char| c.is_uppercase()), "{text}");
        }
    }
}

fn key_facts() -> ApiKeyFacts {
    ApiKeyFacts {
        id: key_id().to_string(),
        label: "nightly job".to_owned(),
        owner: "ada".to_owned(),
        scopes: vec!["feed".to_owned(), "orders:read".to_owned()],
        created: 1_800_000_000_000,
        expires: Some(1_807_776_000_000),
        rotated: Some(1_800_000_060_000),
        overlap_until: Some(1_800_086_460_000),
        revoked: None,
        revoked_by: None,
        last_used: None,
        state: "good".to_owned(),
    }
}

/// What both forms print, one after the other.
fn both(reply: impl Fn() -> Reply) -> String {
    printed(Form::Text, reply()) + &printed(Form::Json, reply())
}

#[test]
fn keys_and_what_was_called_back_are_printed_as_these_lines_and_documents() {
    let shown = both(|| Reply::ApiKey { key: key_facts() });
    let lines = "\
id        0123456789AB
label     nightly job
owner     ada
scopes    feed orders:read
created   2027-01-15T08:00:00Z
expires   2027-04-15T08:00:00Z
rotated   2027-01-15T08:01:00Z
overlap   until 2027-01-16T08:01:00Z
used      never
state     good
";
    let document = "\
  \"created\": 1800000000000,
  \"expires\": 1807776000000,
  \"id\": \"0123456789AB\",
  \"label\": \"nightly job\",
  \"last_used\": null,
  \"overlap_until\": 1800086460000,
  \"owner\": \"ada\",
  \"revoked\": null,
  \"revoked_by\": null,
  \"rotated\": 1800000060000,
  \"scopes\": [
    \"feed\",
    \"orders:read\"
  ],
  \"state\": \"good\"
}
";
    assert_eq!(shown, format!("{lines}{{\n  {document}"));
    let text = "wbk_0123456789AB_secret";
    let made = both(|| Reply::KeyMade {
        api_key: Disclosed::new(Zeroizing::new(text.to_owned())),
        key: key_facts(),
    });
    let once = "the key is shown this once: nothing brings it back\n";
    assert_eq!(
        made,
        format!("key       {text}\n{lines}{once}{{\n  \"api_key\": \"{text}\",\n  {document}")
    );
    let table = both(|| Reply::ApiKeys {
        keys: vec![key_facts()],
        next: None,
    });
    let (table, document) = table.split_once('{').unwrap();
    assert_eq!(
        table,
        "\
id            label                 owner                 scopes                created               expires               last used             state
0123456789AB  nightly job           ada                   feed orders:read      2027-01-15T08:00:00Z  2027-04-15T08:00:00Z  never                 good
"
    );
    let document: Value = serde_json::from_str(&format!("{{{document}")).unwrap();
    assert_eq!(document, json!({ "keys": [key_facts()] }));

    let ring = both(|| Reply::SigningKeys {
        keys: vec![SigningKeyFacts {
            kid: "9ZP03Nu8GrXnAUkbKNxHOKBzxPX83SShgFkRNK-f2lw".to_owned(),
            algorithm: "EdDSA".to_owned(),
            state: "signing".to_owned(),
            published: 1_800_000_000_000,
            since: 1_800_003_600_000,
            stops: None,
            gone: None,
        }],
    });
    assert_eq!(
        ring,
        "\
kid                                          algorithm  state      published             signs since           stops                 gone
9ZP03Nu8GrXnAUkbKNxHOKBzxPX83SShgFkRNK-f2lw  EdDSA      signing    2027-01-15T08:00:00Z  2027-01-15T09:00:00Z
{
  \"signing_keys\": [
    {
      \"algorithm\": \"EdDSA\",
      \"gone\": null,
      \"kid\": \"9ZP03Nu8GrXnAUkbKNxHOKBzxPX83SShgFkRNK-f2lw\",
      \"published\": 1800000000000,
      \"since\": 1800003600000,
      \"state\": \"signing\",
      \"stops\": null
    }
  ]
}
"
    );
    let revoked = both(|| Reply::Revoked {
        what: Called::Before(1_800_000_000_000),
        durable: 1_800_000_001_000,
        sessions: 0,
        nodes: 1,
    });
    assert_eq!(
        revoked,
        "\
revoked   everything issued before 2027-01-15T08:00:00Z
durable   2027-01-15T08:00:01Z
sessions  0
nodes     1
{
  \"durable_at\": 1800000001000,
  \"nodes\": 1,
  \"revoked\": {
    \"before\": 1800000000000
  },
  \"sessions\": 0
}
"
    );
}
