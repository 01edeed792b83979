//! What people may see and end of their own, and what there is to find: `/.wirebound/sessions` and `/.wirebound/tree`.

use serde_json::Value;

use crate::app::App;
use crate::client::{Answer, Ask, Client, Http, OURS};
use crate::process::Gateway;

const RULES: &str = r#"
[vouch]
paths = ["POST /login", "POST /logout"]
[login]
url = "/login"
[[routes]]
path = "/"
listed = true
title = "Home & <all>"
[[routes]]
path = "/members"
role = "user"
listed = true
title = "Members"
[[routes]]
path = "/admin"
role = "admin"
listed = true
[[routes]]
path = "/status"
role = "user"
"#;

async fn site() -> (App, Gateway) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, RULES).await;
    (app, gateway)
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("cache-control"), "no-store");
    serde_json::from_str(&answer.body).unwrap()
}

async fn sessions(client: &Client) -> Vec<Value> {
    let listed = json(&client.get("/.wirebound/sessions").await);
    assert_eq!(listed["over_devices"], true);
    listed["sessions"].as_array().unwrap().clone()
}

/// The public id of the client's own session.
async fn own_id(client: &Client) -> String {
    let own: Vec<Value> = sessions(client).await;
    let own: Vec<&Value> = own.iter().filter(|one| one["current"] == true).collect();
    assert_eq!(own.len(), 1);
    own[0]["id"].as_str().unwrap().to_owned()
}

async fn is_in(client: &Client) -> bool {
    client.get("/members").await.status == 200
}

async fn signed_in(gateway: &Gateway, http: Http, name: &str) -> Client {
    let client = Client::new(gateway, http);
    client.sign_in(name).await;
    client
}

#[tokio::test]
async fn where_connections_prove_nothing_a_session_is_listed_under_its_clients_name_too() {
    let app = App::start().await;
    for preset in ["portable", "bearer"] {
        let rules = format!("{RULES}\n[session]\npreset = \"{preset}\"\n");
        let gateway = Gateway::before(&app.url, &rules).await;
        let here = signed_in(&gateway, Http::Two, "alice").await;
        let listed = sessions(&here).await;
        assert_eq!(listed[0]["last_side"], "127.0.0.1 e2e/1", "{listed:#?}");
        let told = gateway.events("signed_in");
        assert!(format!("{told:?}").contains("e2e/1"), "{told:?}");
        let stranger = here.other_person();
        assert_eq!(stranger.ask(Ask::get("/members")).await.status, 401);
        let refused = gateway.events("refused");
        assert!(format!("{refused:?}").contains("e2e/1"), "{refused:?}");
    }
}

#[tokio::test]
async fn people_see_their_own_sessions_and_no_secret() {
    let (_app, gateway) = site().await;
    let [one, two] = [Http::One, Http::Two];
    let (here, there) = (
        signed_in(&gateway, one, "alice").await,
        signed_in(&gateway, two, "alice").await,
    );
    let bob = signed_in(&gateway, two, "bob").await;
    let listed = sessions(&here).await;
    assert_eq!(listed.len(), 2, "{listed:#?}");
    for session in &listed {
        assert_eq!(session["role"], "user");
        assert_eq!(session["last_side"], "127.0.0.1 e2e/1");
        assert!(session["created"].as_u64() <= session["last_active"].as_u64());
        assert_eq!(session["strength"].is_string(), session["current"] == true);
    }
    assert_ne!(own_id(&here).await, own_id(&there).await);
    assert_eq!(sessions(&bob).await.len(), 1);
    let page = here.ask(Ask::get("/.wirebound/sessions").person()).await;
    assert_eq!(page.status, 200);
    assert!(page.field("content-type").starts_with("text/html"));
    assert_eq!(page.body.matches("<form").count(), 4, "{}", page.body);
    assert!(!page.body.contains("<script"));
    for client in [&here, &there, &bob] {
        let secret = client.cookie(OURS).unwrap();
        let secret = secret.rsplit('.').next().unwrap();
        assert!(!page.body.contains(secret) && !format!("{listed:?}").contains(secret));
    }
    let stranger = Client::new(&gateway, two);
    assert_eq!(stranger.get("/.wirebound/sessions").await.status, 401);
}

#[tokio::test]
async fn one_of_mine_ends_really_and_nobody_elses_does() {
    let (_app, gateway) = site().await;
    for delete in [false, true] {
        let end = |id: &str| match delete {
            true => Ask::delete(&format!("/.wirebound/sessions/{id}")),
            false => Ask::post("/.wirebound/sessions/end", &format!("session={id}")),
        };
        let here = signed_in(&gateway, Http::Two, "alice").await;
        let there = signed_in(&gateway, Http::One, "alice").await;
        let bob = signed_in(&gateway, Http::Two, "bob").await;
        let socket = there.socket("/ws").await;
        // Bob's id is as good as one that nobody has.
        let bobs = own_id(&bob).await;
        for id in [bobs.as_str(), "00000000000000000000", "", "x", "../me"] {
            let answer = here.ask(end(id)).await;
            assert_eq!(answer.status, 404, "{id}: {answer:?}");
        }
        let foreign = here.ask(end(&bobs)).await.body;
        assert_eq!(foreign, here.ask(end("00000000000000000000")).await.body);
        assert!(is_in(&bob).await && is_in(&there).await);

        let ended = here.ask(end(&own_id(&there).await)).await;
        assert_eq!(json(&ended)["ended"], 1);
        assert!(!ended.clears());
        assert_eq!(socket.closed().await.1, 4001);
        let told = there.get("/members").await;
        assert_eq!(told.status, 401);
        assert_eq!(told.field("wirebound-reason"), "phantom_session");
        assert!(told.body.contains("revoked"), "{told:?}");
        assert!(is_in(&here).await && is_in(&bob).await);

        let own = here.ask(end(&own_id(&here).await)).await;
        assert!(own.clears(), "{own:?}");
        assert!(!is_in(&here).await);
    }
}

/// A thief's ticket opens her session while she is away; it opens no list of where else she is, and no way to throw her out there.
#[tokio::test]
async fn whoever_came_by_a_ticket_sees_and_ends_no_session_but_that_one_where_connections_are_bound()
 {
    for (preset, bound) in [("balanced", true), ("portable", false)] {
        let app = App::start().await;
        let config = format!("{RULES}\n[session]\npreset = \"{preset}\"\n");
        let gateway = Gateway::before(&app.url, &config).await;
        let away = signed_in(&gateway, Http::Two, "alice").await;
        let there = signed_in(&gateway, Http::Two, "alice").await;
        let others = own_id(&there).await;
        away.hang_up().await;
        let copy = away.thief(&gateway);
        let list = json(&copy.get("/.wirebound/sessions").await);
        let listed = list["sessions"].as_array().unwrap();
        let own = listed.iter().find(|one| one["current"] == true).unwrap();
        assert_eq!(own["strength"], "ticket");
        assert_eq!(list["over_devices"], !bound, "{list:#?}");
        assert_eq!(list.to_string().contains(&others), !bound, "{list:#?}");
        let page = copy.ask(Ask::get("/.wirebound/sessions").person()).await;
        for (said, expected) in [
            ("Elsewhere", !bound),
            ("sign in again", bound),
            ("/.wirebound/sessions/end-", !bound),
            ("action=\"/.wirebound/logout\"", bound),
        ] {
            assert_eq!(page.body.contains(said), expected, "{said}: {}", page.body);
        }
        if bound {
            for ask in [
                Ask::post("/.wirebound/sessions/end-others", ""),
                Ask::post("/.wirebound/sessions/end-all", ""),
                Ask::post("/.wirebound/sessions/end", &format!("session={others}")),
                Ask::delete(&format!("/.wirebound/sessions/{others}")),
                Ask::delete("/.wirebound/sessions/00000000000000000000"),
            ] {
                let refused = copy.ask(ask).await;
                assert_eq!(refused.status, 403, "{refused:?}");
                assert_eq!(refused.field("wirebound-reason"), "insufficient_strength");
            }
            assert!(is_in(&copy).await && is_in(&there).await);
            // Whoever signs in again is more than a copy.
            copy.sign_in("alice").await;
            assert_eq!(sessions(&copy).await.len(), 2);
        }
        let ended = copy
            .ask(Ask::post("/.wirebound/sessions/end-others", ""))
            .await;
        assert_eq!(json(&ended)["ended"], 1, "{preset}");
        assert!(!is_in(&there).await && is_in(&copy).await);
    }
}

#[tokio::test]
async fn who_came_by_a_ticket_ends_that_session() {
    let app = App::start().await;
    let config = format!("{RULES}\n[session]\npreset = \"balanced\"\n");
    let gateway = Gateway::before(&app.url, &config).await;
    let alice = signed_in(&gateway, Http::Two, "alice").await;
    alice.hang_up().await;
    let again = alice.thief(&gateway);
    let list = json(&again.get("/.wirebound/sessions").await);
    let own = list["sessions"][0]["id"].as_str().unwrap();
    let ended = again
        .ask(Ask::delete(&format!("/.wirebound/sessions/{own}")))
        .await;
    assert_eq!(json(&ended)["ended"], 1);
    assert!(ended.clears() && !is_in(&again).await);
}

#[tokio::test]
async fn the_others_or_all_end_and_the_page_leads_on() {
    let (_app, gateway) = site().await;
    let clients = [
        signed_in(&gateway, Http::Two, "alice").await,
        signed_in(&gateway, Http::One, "alice").await,
        signed_in(&gateway, Http::Two, "alice").await,
    ];
    let bob = signed_in(&gateway, Http::Two, "bob").await;
    let press = |path: &str| {
        Ask::post(path, "")
            .person()
            .field("sec-fetch-site", "same-origin")
            .field("origin", &format!("https://{}", gateway.authority()))
    };
    let others = clients[0]
        .ask(press("/.wirebound/sessions/end-others"))
        .await;
    assert_eq!(others.status, 303);
    assert_eq!(others.field("location"), "/.wirebound/sessions");
    assert!(!others.clears());
    assert!(is_in(&clients[0]).await);
    assert!(!is_in(&clients[1]).await && !is_in(&clients[2]).await);
    clients[1].sign_in("alice").await;
    let all = clients[1].ask(press("/.wirebound/sessions/end-all")).await;
    assert_eq!((all.status.as_u16(), all.field("location")), (303, "/"));
    assert!(all.clears());
    for client in &clients {
        assert!(!is_in(client).await);
    }
    assert!(is_in(&bob).await);
}

#[tokio::test]
async fn nothing_here_is_ended_by_a_get_or_from_another_origin() {
    let (_app, gateway) = site().await;
    let alice = signed_in(&gateway, Http::Two, "alice").await;
    let other = signed_in(&gateway, Http::Two, "alice").await;
    let id = own_id(&other).await;
    let one = format!("/.wirebound/sessions/{id}");
    for path in [
        "/.wirebound/logout",
        "/.wirebound/sessions/end",
        "/.wirebound/sessions/end-others",
        "/.wirebound/sessions/end-all",
    ] {
        let get = alice.ask(Ask::get(path)).await;
        assert_eq!(
            (get.status.as_u16(), get.field("allow")),
            (405, "POST"),
            "{path}"
        );
        let form = format!("session={id}");
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
            ("sec-ch-ua", "x"),
            ("referer", "https://evil.test/"),
            ("origin", "https://evil.test"),
            ("origin", "null"),
        ] {
            let ask = Ask::post(path, &form).field(name, value);
            let answer = alice.ask(ask).await;
            assert_eq!(answer.status, 403, "{path} {name}: {value}");
            assert_eq!(answer.field("wirebound-reason"), "csrf_surprise");
        }
    }
    let get = alice.ask(Ask::get(&one)).await;
    assert_eq!((get.status.as_u16(), get.field("allow")), (405, "DELETE"));
    let forged = Ask::delete(&one).field("sec-fetch-site", "same-site");
    assert_eq!(alice.ask(forged).await.status, 403);
    assert!(is_in(&alice).await && is_in(&other).await);
    assert!(gateway.events("csrf_surprise").len() >= 32);
}

#[tokio::test]
async fn whom_nobody_named_is_told_that_lists_over_devices_are_off() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let client = Client::new(&gateway, Http::Two);
    client.sign_in("alice").await;
    let listed = json(&client.get("/.wirebound/sessions").await);
    assert_eq!(listed["over_devices"], false);
    assert!(
        listed["why"]
            .as_str()
            .unwrap()
            .contains("Nobody has said who you are")
    );
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    let others = json(
        &client
            .ask(Ask::post("/.wirebound/sessions/end-others", ""))
            .await,
    );
    assert_eq!(
        (&others["ended"], &others["over_devices"]),
        (&0.into(), &false.into())
    );
    let page = client.ask(Ask::get("/.wirebound/sessions").person()).await;
    assert!(
        page.body.contains("Nobody has said who you are"),
        "{}",
        page.body
    );
    let all = json(
        &client
            .ask(Ask::post("/.wirebound/sessions/end-all", ""))
            .await,
    );
    assert_eq!(all["ended"], 1);
    assert_eq!(client.get("/me").await.body, "app=nobody subject= role=");
}

#[tokio::test]
async fn the_tree_is_cut_to_what_its_reader_may_use() {
    let (_app, gateway) = site().await;
    let paths = |answer: &Answer| -> Vec<String> {
        let routes = json(answer)["routes"].as_array().unwrap().clone();
        let path = |route: &Value| route["path"].as_str().unwrap().to_owned();
        routes.iter().map(path).collect()
    };
    let stranger = Client::new(&gateway, Http::Two);
    assert_eq!(paths(&stranger.get("/.wirebound/tree").await), ["/"]);
    let alice = signed_in(&gateway, Http::Two, "alice").await;
    assert_eq!(
        paths(&alice.get("/.wirebound/tree").await),
        ["/", "/members"]
    );
    let page = alice.ask(Ask::get("/.wirebound/tree").person()).await;
    assert!(
        page.body
            .contains("<a href=\"/\">Home &amp; &lt;all&gt;</a>"),
        "{}",
        page.body
    );
    assert!(page.body.contains("<a href=\"/members\">Members</a>"));
    assert!(!page.body.contains("/admin"));

    // On the pages of a refusal too, cut to what everybody may use; never where no person reads.
    let refused = stranger.ask(Ask::get("/members").person()).await;
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("Home &amp;") && refused.body.contains("href=\"/login\""));
    assert!(!refused.body.contains("Members"));
    let thief = alice.thief(&gateway);
    let contested = thief.follow(Ask::get("/members").person()).await;
    assert_eq!(contested.status, 404);
    assert!(contested.body.contains("Home &amp;") && contested.body.contains("href=\"/login\""));
    assert!(!contested.body.contains("Members"));
    for dest in ["image", "script", "empty"] {
        let ask = Ask::get("/members")
            .field("sec-fetch-mode", "no-cors")
            .field("sec-fetch-dest", dest);
        let subresource = stranger.ask(ask).await;
        assert_eq!(subresource.status, 401);
        assert!(!subresource.body.contains("Home"), "{subresource:?}");
    }
}

#[tokio::test]
async fn a_session_held_to_its_address_is_refused_from_elsewhere_and_does_not_end() {
    for (bound, near, far) in [("log", 200, 200), ("prefix", 200, 401), ("exact", 401, 401)] {
        let app = App::start().await;
        let config = format!("{RULES}\n[session_token]\nbound_to_ip = \"{bound}\"\n");
        let gateway = Gateway::before(&app.url, &config).await;
        let home = signed_in(&gateway, Http::Two, "alice").await;
        let next_door = home.at([127, 0, 0, 9]);
        assert_eq!(next_door.get("/members").await.status, near, "{bound}");
        let away = home.at([127, 0, 7, 1]);
        let answer = away.get("/members").await;
        assert_eq!(answer.status, far, "{bound}");
        if far == 401 {
            assert_eq!(answer.field("wirebound-reason"), "not_proven");
            let told = gateway.events("not_proven");
            assert_eq!(told[0]["cause"], "other_address");
        } else {
            assert!(!gateway.events("address_changed").is_empty());
        }
        assert!(is_in(&home).await);
        assert!(is_in(&home.other_connection()).await, "{bound}");
        assert!(gateway.events("session_ended").is_empty());
    }
}
