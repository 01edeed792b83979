//! Who comes from elsewhere: which requests are met with a page of ours, and which never are. (The browsers that those
//! pages are made for are in `tests/arrival.rs`.)

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::Gateway;

const RULES: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout"]
[arrival]
cross_site_post = ["/me", "/head"]
[[routes]]
path = "/members"
role = "user"
"#;

const MARK: &str = "__Host-wirebound-b";

/// As a browser follows a link of another site.
fn link(path: &str) -> Ask {
    Ask::get(path)
        .person()
        .field("sec-fetch-dest", "document")
        .field("sec-fetch-site", "cross-site")
}

/// As a browser sends a form of another site.
fn form(path: &str, body: &str) -> Ask {
    Ask::post(path, body)
        .person()
        .field("sec-fetch-dest", "document")
        .field("sec-fetch-site", "cross-site")
        .field("origin", "https://elsewhere.test")
}

fn is_met(answer: &Answer) -> bool {
    answer.status == 403 && answer.body.contains("cross_site_arrival")
}

async fn site(more: &str) -> (App, Gateway) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, &format!("{RULES}{more}")).await;
    (app, gateway)
}

#[tokio::test]
async fn a_link_from_another_site_is_asked_again_once_and_kept_by_no_cache() {
    let (app, gateway) = site("").await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        let met = client.ask(link("/head?from=elsewhere")).await;
        assert!(is_met(&met), "{met:?}");
        assert_eq!(met.field("cache-control"), "no-store");
        assert_eq!(met.field("referrer-policy"), "no-referrer");
        let policy = met.field("content-security-policy");
        assert!(
            policy.contains("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(
            !met.body.contains("from=elsewhere"),
            "nothing of the request: {}",
            met.body
        );
        assert_eq!(met.sets(MARK).len(), 1);
        assert_eq!(met.sets(OURS), [""; 0]);
        assert!(client.is_connected().await, "an arrival is no offence");
        // The page asks from our own site. The app is told where it really came from, once.
        let again = Ask::get("/head?from=elsewhere")
            .person()
            .field("sec-fetch-dest", "document")
            .field("sec-fetch-site", "same-origin");
        let answer = client.ask(again.clone()).await;
        assert_eq!(answer.body, "noted");
        assert!(answer.sets(MARK)[0].contains("Max-Age=0"), "{answer:?}");
        assert!(
            app.heads()
                .last()
                .unwrap()
                .contains("sec-fetch-site: cross-site")
        );
        client.ask(again).await;
        assert!(
            app.heads()
                .last()
                .unwrap()
                .contains("sec-fetch-site: same-origin")
        );
    }
    assert_eq!(app.heads().len(), 4, "{:#?}", app.heads());
}

#[tokio::test]
async fn who_would_bring_the_cookie_or_cannot_follow_is_not_met() {
    let (_app, gateway) = site("").await;
    let client = Client::new(&gateway, Http::Two);
    let like = |mode: &str, dest: &str, site: &str| {
        Ask::get("/me")
            .field("sec-fetch-mode", mode)
            .field("sec-fetch-dest", dest)
            .field("sec-fetch-site", site)
    };
    for (what, ask, met) in [
        (
            "a link from another site",
            like("navigate", "document", "cross-site"),
            true,
        ),
        (
            "a link from a sister site brings the cookie",
            like("navigate", "document", "same-site"),
            false,
        ),
        (
            "our own link",
            like("navigate", "document", "same-origin"),
            false,
        ),
        (
            "the address bar",
            like("navigate", "document", "none"),
            false,
        ),
        (
            "a frame in another site",
            like("navigate", "iframe", "cross-site"),
            false,
        ),
        (
            "an image in another site",
            like("no-cors", "image", "cross-site"),
            false,
        ),
        (
            "a fetch of another site",
            like("cors", "empty", "cross-site"),
            false,
        ),
        ("a program", Ask::get("/me"), false),
        (
            "a crawler",
            Ask::get("/me").field("accept", "text/html"),
            false,
        ),
        (
            "a part of a download",
            link("/me").field("range", "bytes=5-"),
            false,
        ),
        (
            "with the mark",
            link("/me").cookies(&format!("{MARK}=1")),
            false,
        ),
        (
            "with a cookie of ours",
            link("/me").cookies(&format!("{OURS}=w1.x.y")),
            false,
        ),
        (
            "two contradicting fields",
            link("/me").field("sec-fetch-site", "none"),
            false,
        ),
    ] {
        let answer = client.ask(ask).await;
        assert_eq!(is_met(&answer), met, "{what}: {answer:?}");
        assert_eq!(answer.status, if met { 403 } else { 200 }, "{what}");
    }
}

#[tokio::test]
async fn a_link_to_our_own_pages_is_never_sent_on() {
    let (_app, gateway) = site("").await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        let out = client.ask(link("/.wirebound/logout")).await;
        assert_eq!(out.status, 405);
        let me = client.ask(link("/.wirebound/me")).await;
        assert_eq!(me.status, 200);
        for path in ["/.wirebound/logout", "/.wirebound/sessions/end-all"] {
            let forged = client.ask(form(path, "x=1")).await;
            assert_eq!(forged.status, 403);
            assert_eq!(forged.field("wirebound-reason"), "csrf_surprise");
        }
    }
}

#[tokio::test]
async fn lax_cookies_and_an_operators_word_need_no_bounce() {
    for more in ["[session_token]\nsamesite = \"Lax\"\n", ""] {
        let app = App::start().await;
        let rules = match more {
            "" => "[arrival]\nbounce = false\n",
            more => more,
        };
        let gateway = Gateway::before(&app.url, rules).await;
        let client = Client::new(&gateway, Http::Two);
        assert_eq!(client.ask(link("/me")).await.status, 200);
    }
}

#[tokio::test]
async fn a_form_of_another_site_is_posted_again_on_listed_paths_only() {
    let (app, gateway) = site("").await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        let hidden = "name=%3Cscript%3E%22%26x&SECRET-VALUE=a+b";
        let met = client.ask(form("/me?a=%22b", hidden)).await;
        assert!(is_met(&met), "{met:?}");
        assert_eq!(met.field("cache-control"), "no-store");
        assert!(met.body.contains("action=\"/me?a=%22b\""), "{}", met.body);
        assert!(
            met.body.contains("value=\"&lt;script&gt;&quot;&amp;x\""),
            "{}",
            met.body
        );
        assert_eq!(met.sets(OURS), [""; 0]);
        for (what, ask, status, code) in [
            (
                "another path",
                form("/members", "x=1"),
                403,
                "csrf_surprise",
            ),
            ("a longer path", form("/me/x", "x=1"), 403, "csrf_surprise"),
            (
                "another spelling",
                form("/%6de", "x=1"),
                403,
                "csrf_surprise",
            ),
            (
                "a fetch",
                Ask::post("/me", "x=1")
                    .field("sec-fetch-mode", "no-cors")
                    .field("sec-fetch-dest", "empty")
                    .field("sec-fetch-site", "cross-site"),
                403,
                "csrf_surprise",
            ),
            (
                "a frame",
                Ask::post("/me", "x=1")
                    .field("sec-fetch-mode", "navigate")
                    .field("sec-fetch-dest", "iframe")
                    .field("sec-fetch-site", "cross-site"),
                403,
                "csrf_surprise",
            ),
            (
                "an old browser's fetch",
                Ask::post("/me", "x=1").field("origin", "https://elsewhere.test"),
                403,
                "csrf_surprise",
            ),
            (
                "too large",
                form("/me", &"x".repeat(256 * 1024 + 1)),
                413,
                "body_too_large",
            ),
            (
                "too many fields",
                form("/me", &"x&".repeat(300)),
                413,
                "body_too_large",
            ),
            ("not text", form("/me", "x=%ff"), 400, "malformed"),
        ] {
            let answer = client.ask(ask).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            assert!(answer.body.contains(code), "{what}: {answer:?}");
            assert_eq!(answer.field("cache-control"), "no-store", "{what}");
        }
        let files = form("/me", "x").instead("content-type", "multipart/form-data; boundary=x");
        let answer = client.ask(files).await;
        assert_eq!(answer.status, 415, "{answer:?}");
        assert!(answer.body.contains("x-www-form-urlencoded"), "{answer:?}");
    }
    assert_eq!(app.heads(), [""; 0], "nothing reached the app");
    for line in gateway.printed() {
        assert!(!line.contains("SECRET-VALUE"), "{line}");
    }
}

#[tokio::test]
async fn a_form_posted_again_from_our_page_passes_with_the_session() {
    let (_app, gateway) = site("").await;
    let client = Client::new(&gateway, Http::Two);
    client.sign_in("alice").await;
    let again = Ask::post("/me", "x=1")
        .person()
        .field("sec-fetch-dest", "document")
        .field("sec-fetch-site", "same-origin")
        .field("origin", &format!("https://{}", gateway.authority()));
    let answer = client.ask(again).await;
    assert_eq!(answer.body, "app=alice subject=alice role=user");
}

/// A browser takes a redirect that does not permit the asking origin for a network error, and only the app knows whom it permits.
#[tokio::test]
async fn a_script_of_a_sister_site_is_answered_by_the_app_and_never_sent_on() {
    let (_app, gateway) = site("").await;
    let script = |site: &str| {
        Ask::get("/me")
            .field("sec-fetch-mode", "cors")
            .field("sec-fetch-dest", "empty")
            .field("sec-fetch-site", site)
    };
    for http in [Http::One, Http::Two] {
        let member = Client::new(&gateway, http);
        member.ask(Ask::post("/sign-in", "name=alice")).await;
        let served = member.ask(script("same-site")).await;
        assert_eq!(served.status, 200, "{served:?}");
        assert!(served.body.starts_with("app=alice"), "{served:?}");
        let handed_over = member.ask(script("same-origin")).await;
        assert_eq!(handed_over.status, 307, "it waited for one of our own");
        assert!(member.get("/me").await.body.starts_with("app=alice"));
        // A connection that proves nothing yet.
        let strange = member.other_connection().without_tickets();
        let served = strange.ask(script("same-site")).await;
        assert_eq!(served.status, 200, "{served:?}");
        assert!(served.body.starts_with("app=nobody"), "{served:?}");
        let challenged = strange.ask(script("same-origin")).await;
        assert_eq!(challenged.status, 307);
    }
    assert!(
        gateway.events("not_proven").is_empty(),
        "evidence of nothing"
    );
}
