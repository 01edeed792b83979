//! Orders on their way, carried out and printed.

use std::collections::BTreeSet;
use std::sync::Arc;

use wirebound::store::MemoryStore;
use wirebound::{Lifetime, Policy};
use wirebound_testkit::world::World;

use super::*;

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
    ]
}

async fn done(w: &World, order: Order) -> Reply {
    carry_out(&w.engine, order, w.now).await.unwrap()
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
        let refused = carry_out(&w.engine, order, w.now).await.unwrap_err();
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
