//! Who a request is, is said by the gateway alone: nothing that a client or a page writes counts.

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS};
use crate::process::Gateway;

const VOUCHED: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout", "POST /forge"]
"#;

#[tokio::test]
async fn no_spelling_of_an_identity_field_gets_through() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        let stranger = Client::new(&gateway, http);
        for client in [&alice, &stranger] {
            for name in [
                "subject",
                "role",
                "session",
                "strength",
                "assertion",
                "request",
            ] {
                for spelled in [
                    format!("wirebound-{name}"),
                    format!("wirebound_{name}"),
                    format!("wirebound.{name}"),
                    format!("Wirebound-{}", name.to_uppercase()),
                ] {
                    let ask = Ask::get("/head").field(&spelled, "mallory");
                    assert_eq!(client.follow(ask).await.body, "noted", "{spelled}");
                }
            }
        }
        let seen = app.heads();
        assert!(seen.len() >= 48, "{}", seen.len());
        assert!(
            seen.iter().all(|head| !head.contains("mallory")),
            "{seen:#?}"
        );
        assert!(seen.iter().all(|head| !head.contains(OURS)), "{seen:#?}");
    }
}

#[tokio::test]
async fn a_client_cannot_have_an_identity_field_removed_by_listing_it() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
    for listed in [
        "wirebound-subject, wirebound-role",
        "keep-alive, Wirebound-Subject",
        "cookie, host, wirebound-session",
    ] {
        let ask = Ask::get("/me").field("connection", listed);
        let body = alice.follow(ask).await.body;
        assert_eq!(body, "app=alice subject=alice role=user", "{listed}");
    }
}

#[tokio::test]
async fn a_clients_own_copy_of_an_armoured_cookie_never_arrives() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        let ours = format!("{OURS}={}", alice.cookie(OURS).unwrap());
        for copy in [
            "sid=stolen",
            "sid =stolen",
            "\"sid\"=stolen",
            "SID=stolen",
            "$Version=1; sid=stolen",
        ] {
            for cookies in [
                format!("{copy}; {ours}"),
                format!("{ours}; {copy}"),
                copy.to_owned(),
            ] {
                let ask = Ask::get("/head").cookies(&cookies);
                assert_eq!(alice.follow(ask).await.status, 200, "{cookies}");
            }
        }
        for target in ["/head;sid=stolen", "/head?sid=stolen", "/head;SID=stolen"] {
            let status = alice.ask(Ask::get(target)).await.status;
            assert!(status == 400 || status == 404, "{target}: {status}");
        }
        let seen = app.heads();
        assert!(
            seen.iter().all(|head| !head.contains("stolen")),
            "{seen:#?}"
        );
        assert_eq!(
            alice.get("/me").await.body,
            "app=alice subject=alice role=user"
        );
    }
}

#[tokio::test]
async fn a_page_that_echoes_response_fields_signs_nobody_in() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    for http in [Http::One, Http::Two] {
        let visitor = Client::new(&gateway, http);
        let forged = visitor.get("/forge").await;
        assert_eq!(forged.body, "forged");
        for name in forged.headers.keys() {
            let name = name.as_str();
            assert!(
                !name.starts_with("wirebound-") && name != "alt-svc",
                "{forged:?}"
            );
        }
        assert!(forged.sets(OURS).is_empty(), "{forged:?}");
        assert_eq!(visitor.get("/me").await.body, "app=nobody subject= role=");
        // On a listed path the app is believed, but not beyond `max_role`.
        let refused = visitor.ask(Ask::post("/forge", "x=1")).await;
        assert_eq!(refused.status, 502, "{refused:?}");
        assert!(refused.sets(OURS).is_empty());
        assert_eq!(visitor.get("/me").await.body, "app=nobody subject= role=");
    }
    assert!(!gateway.events("vouching_disbelieved").is_empty());
    assert_eq!(gateway.events("vouching_refused").len(), 2);
}

/// Two people behind one proxy that encrypts anew: one TLS client, two jars.
async fn behind_one_proxy(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, http);
    alice.sign_in("alice").await;
    let bob = alice.other_person();
    bob.sign_in("bob").await;
    for _ in 0..3 {
        alice.get("/me").await;
        bob.get("/me").await;
    }
    let shared = gateway.events("family_shared");
    assert!(!shared.is_empty(), "{:#?}", gateway.printed());
    assert_eq!(shared[0]["sign"], "two_subjects_in_turn");
    // Now what the proxy shows proves nothing: neither a copy of a cookie nor the cookie itself.
    let mallory = alice.other_person();
    *mallory.jar.lock().unwrap() = alice.jar.lock().unwrap().clone();
    for client in [&mallory, &mallory.other_connection(), &alice, &bob] {
        assert_eq!(client.get("/me").await.body, "app=nobody subject= role=");
    }
    // Also after every connection is new.
    mallory.hang_up().await;
    assert_eq!(mallory.get("/me").await.body, "app=nobody subject= role=");
}

#[tokio::test]
async fn two_people_behind_one_proxy_share_no_session_over_http_1() {
    behind_one_proxy(Http::One).await;
}

#[tokio::test]
async fn two_people_behind_one_proxy_share_no_session_over_http_2() {
    behind_one_proxy(Http::Two).await;
}

#[tokio::test]
async fn a_forwarding_field_says_that_the_connection_proves_nothing() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let mallory = alice.other_person();
    *mallory.jar.lock().unwrap() = alice.jar.lock().unwrap().clone();
    assert!(alice.get("/me").await.body.starts_with("app=alice"));
    let ask = Ask::get("/me").field("x-forwarded-for", "192.0.2.7");
    let body = mallory.follow(ask).await.body;
    assert_eq!(body, "app=nobody subject= role=");
    for client in [&mallory, &mallory.other_connection(), &alice] {
        assert_eq!(client.get("/me").await.body, "app=nobody subject= role=");
    }
    // The mark is for good.
    gateway.kill().await;
    gateway.start_again().await;
    for client in [&mallory, &alice] {
        client.hang_up().await;
        assert_eq!(client.get("/me").await.body, "app=nobody subject= role=");
    }
    let shared = gateway.events("family_shared");
    assert_eq!(shared[0]["sign"], "forwarding_header");
}
