//! Visitors to whom the app hands a cookie before they sign in: what they cost, and that they are protected all the same.

use http::header::SET_COOKIE;
use wirebound::store::Space;

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::{Gateway, Row};

const FEW: &str = "[armour]\nmax_guests = 16\n";

fn counts(rows: &[Row]) -> [usize; 4] {
    let of = |space| rows.iter().filter(|row| row.space == space).count();
    [
        of(Space::Session),
        of(Space::Tombstone),
        of(Space::Identity),
        of(Space::Vault),
    ]
}

/// What the browser was given, without its secret.
fn form(answer: &Answer) -> String {
    let lines = answer.sets(OURS);
    assert!(lines.len() < 2, "{lines:?}");
    let line = lines.first().map_or("", String::as_str);
    let value = line.split_once('=').map_or("", |(_, value)| value);
    value.chars().take(3).collect()
}

#[tokio::test]
async fn a_visitor_who_never_comes_back_costs_the_store_nothing() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, "").await;
    for number in 0..30 {
        let http = [Http::One, Http::Two][number % 2];
        let visitor = Client::new(&gateway, http);
        let answer = visitor.ask(Ask::get("/change").person()).await;
        assert_eq!(
            (answer.status.as_u16(), form(&answer).as_str()),
            (200, "s1.")
        );
        assert!(answer.sets("sid").is_empty(), "the app's own stays here");
        assert_eq!(answer.field("cache-control"), "private");
    }
    assert_eq!(counts(&gateway.rows().await), [0; 4]);
}

#[tokio::test]
async fn a_visitor_who_comes_back_is_a_guest_and_the_app_knows_him_again() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, "").await;
    for http in [Http::One, Http::Two] {
        let visitor = Client::new(&gateway, http);
        visitor.get("/change").await;
        let sealed = visitor.cookie(OURS).unwrap();
        let me = visitor.follow(Ask::get("/me").person()).await;
        assert!(
            me.body.starts_with("app=nobody subject=a%3A"),
            "{}",
            me.body
        );
        assert!(me.body.ends_with("role=guest"), "{}", me.body);
        app.knows(&visitor.get("/head").await);
        let ordinary = visitor.cookie(OURS).unwrap();
        assert!(sealed.starts_with("s1.") && ordinary.starts_with("w1."));
        assert_eq!(sealed[3..25], ordinary[3..25], "of the same session");
        // The wire changed hands to one with tickets; a connection resumed from it is the visitor's too.
        let again = visitor.other_connection().get("/me").await;
        assert_eq!(again.body, me.body);
        // He signs in: the same session, another secret, a role.
        let signed_in = visitor.follow(Ask::post("/change", "x=1")).await;
        assert_eq!(form(&signed_in), "w1.");
        let me = visitor.get("/me").await;
        assert!(me.body.ends_with("role=user"), "{}", me.body);
        assert_ne!(visitor.cookie(OURS).unwrap(), ordinary);
        // Both older cookies, copied, are worth nothing.
        for copied in [&sealed, &ordinary] {
            let thief = Client::new(&gateway, http);
            let line = format!("{OURS}={copied}; Path=/; Secure");
            thief.jar.lock().unwrap().take(&line, "localhost", 0);
            let answer = thief.get("/me").await;
            assert!(answer.body.contains("subject= "), "{}", answer.body);
        }
        assert_eq!(visitor.get("/me").await.body, me.body);
    }
    assert_eq!(counts(&gateway.rows().await)[0], 2);
}

#[tokio::test]
async fn a_sealed_cookie_that_was_copied_before_it_came_back_makes_one_session_only() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let victim = Client::new(&gateway, Http::Two);
    victim.get("/change").await;
    let thief = victim.thief(&gateway);
    let first = thief.follow(Ask::get("/me").person()).await;
    assert!(first.body.contains("subject=a%3A"), "{}", first.body);
    // Whoever comes second is nobody, and the app gives her a cookie of her own that has nothing to do with it.
    let second = victim.follow(Ask::get("/change").person()).await;
    assert_eq!(form(&second), "s1.");
    victim.get("/me").await;
    victim.follow(Ask::post("/login", "name=alice")).await;
    let hers = victim.get("/me").await;
    assert!(hers.body.starts_with("app=alice"), "{}", hers.body);
    let his = thief.get("/me").await;
    assert!(his.body.starts_with("app=nobody"), "{}", his.body);
}

#[tokio::test]
async fn the_ordinary_cookie_comes_with_documents_and_fetches_and_not_with_images() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let visitor = Client::new(&gateway, Http::Two);
    visitor.get("/change").await;
    for dest in ["image", "script", "style", "font", "video"] {
        let ask = Ask::get("/me").field("sec-fetch-dest", dest);
        let answer = visitor.follow(ask).await;
        assert_eq!(form(&answer), "", "{dest}");
    }
    let ahead = Ask::get("/me").field("sec-purpose", "prefetch");
    assert_eq!(form(&visitor.follow(ahead).await), "");
    let fetch = Ask::get("/me").field("sec-fetch-dest", "empty");
    assert_eq!(form(&visitor.follow(fetch).await), "w1.");
}

#[tokio::test]
async fn an_image_brings_the_first_cookie_of_a_session_and_a_nonce_and_no_later_ticket() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, UNTIL).await;
    let image = |path: &str| Ask::get(path).field("sec-fetch-dest", "image");
    let visitor = Client::new(&gateway, Http::Two);
    assert_eq!(form(&visitor.ask(image("/change")).await), "s1.");
    let from_before = with_old_cookie(&gateway, &app.knew("alice"));
    assert_eq!(form(&from_before.ask(image("/me")).await), "w1.");
    // From two places: a connection that takes the TLS tickets which the other left needs no hand-over.
    for (place, ask, ticket) in [(2, image("/me"), ""), (3, Ask::get("/me").person(), "w1.")] {
        let member = Client::new(&gateway, Http::Two).at([127, 0, 0, place]);
        member.ask(Ask::post("/sign-in", "name=alice")).await;
        let handed_over = member.ask(ask).await;
        assert_eq!(handed_over.status, 307);
        assert_eq!(handed_over.sets("__Host-wirebound-h").len(), 1);
        assert_eq!(form(&handed_over), ticket);
    }
}

/// Nothing clears the cookie of a session that is over while the app shows its open pages, so nothing may wait for that.
#[tokio::test]
async fn a_script_s_visitor_gets_a_cookie_although_the_jar_has_one_of_a_session_that_is_over() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let visitor = Client::new(&gateway, Http::Two);
    visitor.sign_in("alice").await;
    let over = format!("{OURS}={}", visitor.cookie(OURS).unwrap());
    assert!(visitor.ask(Ask::post("/sign-off", "")).await.clears());
    let page = Ask::get("/").cookies(&over).person();
    assert_eq!(form(&visitor.follow(page).await), "", "nor cleared");
    for (dest, expected) in [("image", ""), ("empty", "s1.")] {
        let ask = Ask::get("/change").cookies(&over);
        let answer = visitor.follow(ask.field("sec-fetch-dest", dest)).await;
        assert_eq!(form(&answer), expected, "{dest}");
    }
}

#[tokio::test]
async fn an_app_that_keeps_its_cookie_through_the_sign_in_promotes_by_the_first_answered_post() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let visitor = Client::new(&gateway, Http::One);
    visitor.get("/change").await;
    visitor.get("/me").await;
    let before = visitor.cookie(OURS).unwrap();
    let refused = visitor.ask(Ask::post("/status/403", "")).await;
    assert_eq!(refused.status, 405);
    let me = visitor.get("/me").await;
    assert!(me.body.ends_with("role=guest"), "{}", me.body);
    let posted = visitor.ask(Ask::post("/me", "x=1")).await;
    assert_eq!(form(&posted), "w1.");
    assert_ne!(visitor.cookie(OURS).unwrap(), before);
    let me = visitor.get("/me").await;
    assert!(me.body.ends_with("role=user"), "{}", me.body);
}

#[tokio::test]
async fn a_callback_by_get_is_a_sign_in_where_the_operator_named_its_path() {
    let app = App::start().await;
    let config = "[armour.login]\npath = \"/callback\"\n";
    let gateway = Gateway::before(&app.url, config).await;
    let visitor = Client::new(&gateway, Http::Two);
    visitor.get("/change").await;
    visitor.get("/me").await;
    let before = visitor.cookie(OURS).unwrap();
    let back = visitor.ask(Ask::get("/callback").person()).await;
    assert_eq!(form(&back), "w1.");
    assert_ne!(visitor.cookie(OURS).unwrap(), before);
    let me = visitor.get("/me").await;
    assert!(me.body.ends_with("role=user"), "{}", me.body);
}

/// ATTACKS 30, through HTTP. The engine's own test does it a million times.
#[tokio::test]
async fn made_up_cookies_leave_nothing_in_the_store_and_keep_nobody_out() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, "").await;
    let tool = Client::new(&gateway, Http::Two);
    let visitor = Client::new(&gateway, Http::Two);
    visitor.get("/change").await;
    let genuine = visitor.cookie(OURS).unwrap();
    for number in 0..2000 {
        let made_up = match number % 4 {
            0 => format!("w1.{number:022}.{number:043}"),
            1 => format!("{}{number:04}{}", &genuine[..40], &genuine[44..]),
            2 => genuine[..30 + number % 100].to_owned(),
            _ => format!("s1.{}", "A".repeat(3000)),
        };
        let ask = Ask::get("/me").cookies(&format!("{OURS}={made_up}"));
        let answer = tool.ask(ask).await;
        assert_eq!(answer.body, "app=nobody subject= role=");
    }
    assert_eq!(counts(&gateway.rows().await), [0; 4]);
}

#[tokio::test]
async fn a_flood_of_guests_displaces_no_session_of_somebody_who_signed_in() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, FEW).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let early = Client::new(&gateway, Http::Two);
    early.get("/change").await;
    let early_me = early.get("/me").await.body;
    for _ in 0..60 {
        let one = Client::new(&gateway, Http::Two);
        one.get("/change").await;
        let me = one.follow(Ask::get("/me").person()).await;
        assert!(me.body.ends_with("role=guest"), "{}", me.body);
    }
    assert!(alice.get("/me").await.body.starts_with("app=alice"));
    assert_eq!(early.get("/me").await.body, early_me);
    gateway.stop().await;
    gateway.start_again().await;
    assert_eq!(early.get("/me").await.body, early_me, "after a restart");
    let [sessions, tombstones, identities, vaults] = counts(&gateway.rows().await);
    // One address holds no more than its share.
    assert!(sessions <= 1 + 16, "{sessions}");
    assert_eq!((identities, vaults), (sessions, sessions));
    assert_eq!(tombstones, 0);
}

#[tokio::test]
async fn a_vault_over_its_bound_is_answered_502_and_the_log_names_the_cookie() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let visitor = Client::new(&gateway, Http::One);
    let answer = visitor.ask(Ask::get("/heavy/5000")).await;
    assert_eq!(answer.status, 502);
    assert!(answer.headers.get(SET_COOKIE).is_none());
    let full = gateway.events("vault_full");
    let fault = full[0]["fault"].as_str().unwrap();
    assert!(fault.contains("`heavy`"), "{fault}");
    // Too long for a sealed cookie: taken in at once.
    let answer = visitor.ask(Ask::get("/heavy/3000")).await;
    assert_eq!(
        (answer.status.as_u16(), form(&answer).as_str()),
        (200, "w1.")
    );
}

#[tokio::test]
async fn what_is_wrong_with_an_apps_cookies_is_said_once_for_each_name() {
    let app = App::start().await;
    let config = "[armour]\ncookies = [\"sid\"]\n";
    let gateway = Gateway::listed(&app.url, config).await;
    let visitor = Client::new(&gateway, Http::Two);
    visitor.get("/change").await;
    for _ in 0..5 {
        visitor.get("/heavy/9").await;
        visitor.get("/blurt").await;
    }
    let names = |event: &str| -> Vec<String> {
        let events = gateway.events(event);
        let name = |event: &serde_json::Map<_, serde_json::Value>| event["name"].to_string();
        events.iter().map(name).collect()
    };
    assert_eq!(names("unarmoured_cookie"), ["\"heavy\""]);
    assert_eq!(names("armour_leak"), ["\"sid\""]);
}

#[tokio::test]
async fn the_name_of_an_armoured_cookie_in_the_path_or_the_query_is_refused_wherever_it_stands() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let visitor = Client::new(&gateway, Http::One);
    visitor.get("/change").await;
    visitor.get("/me").await;
    for path in [
        "/me;sid=1",
        "/me;SID=1",
        "/me;x=1;sid=1",
        "/me;sid=1/more",
        "/a/b;jsessionid=1/c/d",
        "/a;jsessionid=1?x=2",
        "/me%3bsid=1",
        "/me%3Bjsessionid=1",
        "/me;%73id=1",
        "/me?PHPSESSID=1",
        "/me?a=b&phpsessid=1",
        "/me?a=b;PHPSESSID=1",
        "/me?%50HPSESSID=1",
        "/me?PHPSESSID[]=1",
    ] {
        let answer = visitor.ask(Ask::get(path)).await;
        assert_eq!(answer.status, 400, "{path}");
    }
    assert_eq!(visitor.get("/me?name=sid").await.status, 200);
}

const UNTIL: &str = r#"
[armour]
import_until = "2999-12-31"
[vouch]
paths = ["POST /login"]
[[routes]]
path = "/members"
strength = "wire"
"#;

/// A browser that signed in before the gateway came.
fn with_old_cookie(gateway: &Gateway, sid: &str) -> Client {
    let client = Client::new(gateway, Http::Two);
    let line = format!("sid={sid}; Path=/; HttpOnly");
    client.jar.lock().unwrap().take(&line, "localhost", 0);
    client
}

#[tokio::test]
async fn on_the_day_of_the_change_an_old_cookie_of_the_app_counts_once() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, UNTIL).await;
    let sid = app.knew("alice");
    let alice = with_old_cookie(&gateway, &sid);
    let first = alice.ask(Ask::get("/me").person()).await;
    assert!(
        first.body.starts_with("app=alice subject=a%3A"),
        "{}",
        first.body
    );
    assert_eq!(form(&first), "w1.");
    assert!(
        first
            .sets("sid")
            .iter()
            .all(|line| line.contains("Max-Age=0"))
    );
    assert_eq!(first.sets("sid").len(), 2, "the copy is expired at once");
    assert_eq!(alice.cookie("sid"), None);
    assert!(alice.get("/me").await.body.starts_with("app=alice"));
    let again = alice.other_connection().get("/me").await;
    assert!(again.body.starts_with("app=alice"), "{}", again.body);
    // A bearer is not enough where the wire is asked for, until a real sign-in.
    assert_eq!(alice.get("/members").await.status, 403);
    // A copy that comes later is nobody's.
    let thief = with_old_cookie(&gateway, &sid);
    let refused = thief.ask(Ask::get("/me").person()).await;
    assert!(
        refused.body.starts_with("app=nobody subject= "),
        "{}",
        refused.body
    );
    alice.sign_in("alice").await;
    assert_eq!(alice.get("/members").await.status, 200);
    let imports = gateway.events("import");
    assert_eq!(imports.len(), 1);
    assert_eq!(imports[0]["cookies"], 1);
    assert!(!gateway.printed().iter().any(|line| line.contains(&sid)));
}

#[tokio::test]
async fn an_import_is_remembered_over_a_restart_and_needs_a_jar_without_our_cookie() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, UNTIL).await;
    let sid = app.knew("alice");
    let other = app.knew("bob");
    let alice = with_old_cookie(&gateway, &sid);
    assert!(alice.get("/me").await.body.starts_with("app=alice"));
    gateway.kill().await;
    gateway.start_again().await;
    let thief = with_old_cookie(&gateway, &sid);
    assert!(thief.get("/me").await.body.starts_with("app=nobody"));
    // With a cookie of ours, were it made up, the browser is past that day.
    let both = format!("{OURS}=w1.made.up; sid={other}");
    let answer = thief.ask(Ask::get("/me").cookies(&both)).await;
    assert!(answer.body.starts_with("app=nobody"), "{}", answer.body);
    // Two of one name: nobody can say which one the app would have read.
    let twice = format!("sid={other}; sid={sid}");
    let answer = thief.ask(Ask::get("/me").cookies(&twice)).await;
    assert!(answer.body.starts_with("app=nobody"), "{}", answer.body);
    let bob = with_old_cookie(&gateway, &other);
    assert!(bob.get("/me").await.body.starts_with("app=bob"));
}

#[tokio::test]
async fn no_answer_of_the_login_path_lifts_an_imported_session() {
    let app = App::start().await;
    let config = "[armour]\nimport_until = \"2999-12-31T00:00:00+02:00\"\n[armour.login]\npath = \"/me\"\n\
                  [[routes]]\npath = \"/members\"\nstrength = \"wire\"\n";
    let gateway = Gateway::before(&app.url, config).await;
    let alice = with_old_cookie(&gateway, &app.knew("alice"));
    assert!(alice.get("/change").await.body.contains("changed"));
    assert_eq!(alice.get("/members").await.status, 403);
    alice.follow(Ask::post("/change", "x=1")).await;
    assert_eq!(alice.get("/members").await.status, 403, "no sign-in");
    // Whoever has a copy of the app's cookie is answered as one who is signed in, there as well.
    alice.follow(Ask::post("/me", "x=1")).await;
    assert_eq!(alice.get("/members").await.status, 403, "still none");
}

#[tokio::test]
async fn past_its_date_or_without_one_an_old_cookie_is_dropped_as_ever() {
    let app = App::start().await;
    for config in ["", "[armour]\nimport_until = \"2020-01-01\"\n"] {
        let gateway = Gateway::before(&app.url, config).await;
        let sid = app.knew("alice");
        let alice = with_old_cookie(&gateway, &sid);
        let answer = alice.ask(Ask::get("/me").person()).await;
        assert!(answer.body.starts_with("app=nobody"), "{}", answer.body);
        assert_eq!(alice.cookie("sid"), None);
        assert!(gateway.events("import").is_empty());
    }
}
