//! Endings: whatever a session was still receiving stops, what is in flight is answered, nothing comes back.

use std::time::Instant;

use wirebound::store::Space;

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::process::{Gateway, within};

/// Every path on which the app names people.
const VOUCHED: &str = r#"
[vouch]
paths = ["POST /login", "POST /bye", "POST /sign-in", "POST /logout", "POST /logout/others", "POST /logout/all"]
"#;

/// One session of a user at a time.
const ONE_EACH: &str = "\n[session.max_sessions.user]\nmax = 1\n";

/// Everything that a session can be in the middle of.
struct Busy {
    socket: crate::client::Socket,
    streams: [crate::client::Stream; 2],
    poll: tokio::task::JoinHandle<(Instant, u16)>,
    upload: crate::client::Upload,
    key: String,
}

impl Busy {
    async fn with(client: &Client, app: &App, key: &str) -> Self {
        let mut socket = client.socket("/ws").await;
        socket.echo("is anybody there").await;
        let streams = [
            client.stream("/stream").await,
            client.stream("/download").await,
        ];
        let poller = client.other_connection();
        let path = format!("/hold/{key}");
        let poll = tokio::spawn(async move {
            let answer = poller.ask(Ask::get(&path)).await;
            (Instant::now(), answer.status.as_u16())
        });
        app.holds(key).await;
        let upload = client.upload(&format!("/upload/{key}-up"), 3_000_000).await;
        app.holds(&format!("{key}-up")).await;
        Self {
            socket,
            streams,
            poll,
            upload,
            key: key.to_owned(),
        }
    }

    /// All of it ends, with this close code; says how long that took after the moment that it was due.
    async fn ends(self, what: &str, app: &App, since: Instant, expected: (u16, &str, u16)) {
        let (code, word, status) = expected;
        let poll = self.poll;
        let [stream, download] = self.streams;
        let ((socket, closed, reason), stream, download, (poll, polled)) =
            tokio::join!(self.socket.goodbye(), stream.end(), download.end(), async {
                within("the long poll", poll).await.unwrap()
            },);
        // Only now does its client send the rest.
        let (upload, uploaded) = self.upload.answer().await;
        assert_eq!(closed, code, "{what}");
        assert!(
            reason.starts_with(&format!("{word}; reconnect: ")),
            "{what}: {reason}"
        );
        for (_, whole) in [stream, download] {
            assert!(!whole, "{what}: a cut stream must not look whole");
        }
        assert_eq!(polled, status, "{what}: what is in flight is answered");
        assert_eq!(uploaded, status, "{what}: so is an upload in the middle");
        for key in [self.key.clone(), format!("{}-up", self.key)] {
            app.breaks_off(&key).await;
            assert_eq!(app.arrived(&key), 1, "{what}: cancelled, never repeated");
        }
        let ms = |at: Instant| at.saturating_duration_since(since).as_millis();
        let late = [socket, stream.0, download.0, poll, upload].map(ms);
        eprintln!(
            "{what}: WebSocket {code} {word} after {} ms, event stream cut after {} ms, download {} ms, long poll answered \
             {status} after {} ms, upload {} ms",
            late[0], late[1], late[2], late[3], late[4]
        );
        assert!(late.iter().all(|ms| *ms < BOUND_MS), "{what}: {late:?}");
    }
}

/// Far above what is printed: a busy machine, and for what time brings the second that "last used" is kept by.
const BOUND_MS: u128 = 5000;

async fn sign_out_cuts(http: Http) {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, http);
    alice.sign_in("alice").await;
    let bob = Client::new(&gateway, http);
    bob.sign_in("bob").await;
    let before = alice.cookie(OURS).unwrap();
    let busy = Busy::with(&alice, &app, "alice").await;
    let mut beside = bob.socket("/ws").await;

    let since = Instant::now();
    let answer = alice.ask(Ask::post("/logout", "x=1")).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(answer.clears(), "{answer:?}");
    busy.ends(
        &format!("sign-out, {http:?}"),
        &app,
        since,
        (4003, "logout", 401),
    )
    .await;

    let old = Ask::get("/me").cookies(&format!("{OURS}={before}"));
    assert_eq!(alice.get("/me").await.body, "app=nobody subject= role=");
    assert_eq!(
        alice.follow(old).await.body,
        "app=nobody subject= role=",
        "the old cookie on its own family"
    );
    beside.echo("bob goes on").await;
    drop(beside);

    let rows = gateway.rows().await;
    let count = |space| rows.iter().filter(|row| row.space == space).count();
    assert_eq!(
        [Space::Session, Space::Vault, Space::Tombstone].map(count),
        [1, 1, 1],
        "bob's session and vault, and the tombstone of alice's"
    );
    let tombstone = rows.iter().find(|row| row.space == Space::Tombstone);
    let length = tombstone.unwrap().value.len();
    assert!(length < 200, "a tombstone holds no vault: {length} bytes");
}

#[tokio::test]
async fn a_sign_out_cuts_what_the_session_receives_and_leaves_a_tombstone_over_http_2() {
    sign_out_cuts(Http::Two).await;
}

#[tokio::test]
async fn a_sign_out_cuts_what_the_session_receives_and_leaves_a_tombstone_over_http_1() {
    sign_out_cuts(Http::One).await;
}

async fn eviction_cuts(http: Http) {
    let app = App::start().await;
    let config = format!("{VOUCHED}{ONE_EACH}");
    let gateway = Gateway::before(&app.url, &config).await;
    let first = Client::new(&gateway, http);
    first.sign_in("alice").await;
    let busy = Busy::with(&first, &app, "first").await;
    let second = Client::new(&gateway, http);
    let since = Instant::now();
    let signed_in = second.ask(sign_in("alice")).await;
    assert_eq!(signed_in.status, 303);
    busy.ends(
        &format!("eviction, {http:?}"),
        &app,
        since,
        (4001, "evicted", 401),
    )
    .await;
    assert!(
        !first.is_connected().await,
        "the evicted is really disconnected"
    );
    assert_eq!(first.get("/me").await.body, "app=nobody subject= role=");
    assert_eq!(
        second.get("/me").await.body,
        "app=alice subject=alice role=user"
    );
}

#[tokio::test]
async fn an_eviction_disconnects_and_says_never_to_come_back_over_http_2() {
    eviction_cuts(Http::Two).await;
}

#[tokio::test]
async fn an_eviction_disconnects_and_says_never_to_come_back_over_http_1() {
    eviction_cuts(Http::One).await;
}

#[tokio::test]
async fn signing_out_others_and_all_reaches_exactly_those() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let clients = [Http::One, Http::Two, Http::Two].map(|http| Client::new(&gateway, http));
    for client in &clients {
        client.sign_in("alice").await;
    }
    let [here, there, yonder] = &clients;
    let mut own = here.socket("/ws").await;
    let other = Busy::with(there, &app, "there").await;
    let since = Instant::now();
    let answer = here.ask(Ask::post("/logout/others", "x=1")).await;
    assert_eq!(answer.status, 303);
    assert!(!answer.clears());
    other
        .ends("sign-out of others", &app, since, (4001, "revoked", 401))
        .await;
    own.echo("still here").await;
    for gone in [there, yonder] {
        assert_eq!(gone.get("/me").await.body, "app=nobody subject= role=");
    }
    yonder.sign_in("alice").await;
    let since = Instant::now();
    let answer = yonder.ask(Ask::post("/logout/all", "x=1")).await;
    assert!(answer.clears(), "{answer:?}");
    let (closed, code) = own.closed().await;
    assert_eq!(code, 4001);
    eprintln!(
        "sign-out of all: the other's WebSocket closed after {} ms",
        closed.saturating_duration_since(since).as_millis()
    );
    for gone in [here, yonder] {
        assert_eq!(gone.get("/me").await.body, "app=nobody subject= role=");
    }
}

async fn races_the_sign_out(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let mut told = [0, 0];
    for round in 0..12 {
        let client = Client::new(&gateway, http);
        client.sign_in("alice").await;
        let before = client.cookie(OURS).unwrap();
        let key = format!("race-{round}");
        let late = client.other_connection();
        let path = format!("/hold/{key}");
        let slow = tokio::spawn(async move {
            let mut wire = late.try_connect().await.unwrap();
            let head = late.try_send(&mut wire, &Ask::post(&path, "x=1")).await;
            head.map(|head| head.status().as_u16())
        });
        app.holds(&key).await;
        let out = client.ask(Ask::post("/logout", "x=1"));
        let (out, ()) = tokio::join!(out, async { app.release(&key) });
        assert_eq!(out.status, 303);
        // A browser sends a POST again that was reset before its answer's head: it could pay twice.
        match within("the slow answer", slow).await.unwrap() {
            Ok(200) => told[0] += 1,
            Ok(401) => told[1] += 1,
            other => panic!("round {round}: answered, not reset: {other:?}"),
        }
        for cookies in [client.cookie(OURS).unwrap_or_default(), before] {
            let ask = Ask::get("/me").cookies(&format!("{OURS}={cookies}"));
            let body = client.follow(ask).await.body;
            assert_eq!(body, "app=nobody subject= role=", "round {round}");
        }
    }
    eprintln!(
        "{http:?}: the app's answer came {} times, a 401 {} times",
        told[0], told[1]
    );
}

#[tokio::test]
async fn an_answer_that_races_the_sign_out_brings_nothing_back_over_http_1() {
    races_the_sign_out(Http::One).await;
}

#[tokio::test]
async fn an_answer_that_races_the_sign_out_brings_nothing_back_over_http_2() {
    races_the_sign_out(Http::Two).await;
}

#[tokio::test]
async fn an_app_that_deletes_its_cookie_ends_the_session() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let client = Client::new(&gateway, Http::Two);
    client.sign_in("alice").await;
    let mut socket = client.socket("/ws").await;
    socket.echo("hello").await;
    let before = client.cookie(OURS).unwrap();
    let answer = client.ask(Ask::post("/sign-off", "x=1")).await;
    assert!(answer.clears(), "{answer:?}");
    assert_eq!(socket.closed().await.1, 4003);
    let old = Ask::get("/me").cookies(&format!("{OURS}={before}"));
    assert!(client.follow(old).await.body.starts_with("app=nobody"));
}

async fn last_answers(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    for _ in 0..8 {
        for (form, least) in [("plain=1", 100), ("chunked=1", 1_000_000)] {
            let client = Client::new(&gateway, http);
            client.sign_in("alice").await;
            let bye = client.ask(Ask::post("/bye", form)).await;
            assert_eq!(bye.status, 200);
            assert!(bye.body.len() > least, "{form}: {} bytes", bye.body.len());
            assert!(bye.clears(), "{bye:?}");
            assert!(client.get("/me").await.body.starts_with("app=nobody"));
        }
        // Signing in again ends the session that the request named, and is answered whole as well.
        let client = Client::new(&gateway, http);
        client.sign_in("alice").await;
        let again = client.ask(Ask::post("/sign-in", "name=alice")).await;
        assert_eq!(
            (again.status.as_u16(), again.body.as_str()),
            (200, "welcome")
        );
        let me = client.get("/me").await;
        assert_eq!(me.body, "app=alice subject=alice role=user");
    }
}

#[tokio::test]
async fn the_answer_that_ends_its_own_session_goes_out_whole_over_http_1() {
    last_answers(Http::One).await;
}

#[tokio::test]
async fn the_answer_that_ends_its_own_session_goes_out_whole_over_http_2() {
    last_answers(Http::Two).await;
}

#[tokio::test]
async fn the_gates_own_sign_out_is_a_post_that_ends_the_session() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        client.sign_in("alice").await;
        let get = client.ask(Ask::get("/.wirebound/logout")).await;
        assert_eq!(get.status, 405);
        let mut socket = client.socket("/ws").await;
        socket.echo("still here").await;
        let before = client.cookie(OURS).unwrap();
        let out = client.ask(Ask::post("/.wirebound/logout", "")).await;
        assert_eq!(out.status, 204);
        assert!(out.clears() && out.field("cache-control") == "no-store");
        assert_eq!(socket.closed().await.1, 4003);
        let old = Ask::get("/me").cookies(&format!("{OURS}={before}"));
        let body = client.follow(old).await.body;
        assert_eq!(body, "app=nobody subject= role=");
    }
}

async fn replaced_cuts(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, http);
    alice.sign_in("alice").await;
    let busy = Busy::with(&alice, &app, "old").await;
    let since = Instant::now();
    let again = alice.ask(sign_in("alice")).await;
    assert_eq!(again.status, 303);
    busy.ends(
        &format!("replaced, {http:?}"),
        &app,
        since,
        (4003, "replaced", 401),
    )
    .await;
    let me = alice.get("/me").await;
    assert_eq!(me.body, "app=alice subject=alice role=user");
}

#[tokio::test]
async fn a_new_sign_in_cuts_what_the_older_session_receives_over_both_versions() {
    tokio::join!(replaced_cuts(Http::One), replaced_cuts(Http::Two));
}

async fn theft_cuts(http: Http) {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, http);
    let signed_in = alice.ask(sign_in("alice")).await;
    assert_eq!(signed_in.status, 303);
    // The jar is copied while it holds the hand-over nonce; she goes on first.
    let thief = alice.thief(&gateway);
    alice.get("/me").await;
    let busy = Busy::with(&alice, &app, "victim").await;
    let since = Instant::now();
    let took = thief.follow(Ask::get("/me")).await;
    assert!(!took.body.contains("subject=alice"), "{}", took.body);
    assert_eq!(gateway.events("theft").len(), 1, "{:#?}", gateway.printed());
    busy.ends(
        &format!("theft, {http:?}"),
        &app,
        since,
        (4001, "theft", 401),
    )
    .await;
    assert_eq!(alice.get("/me").await.body, "app=nobody subject= role=");
}

#[tokio::test]
async fn theft_cuts_what_the_session_receives_over_both_versions() {
    tokio::join!(theft_cuts(Http::One), theft_cuts(Http::Two));
}

/// What time ends is cut at that time, though nobody asks for anything any more.
async fn time_cuts(http: Http, setting: &str, word: &str) {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n[session]\n{setting} = \"4s\"\n");
    let config = match setting {
        "absolute_timeout" => format!("{config}idle_timeout = \"4s\"\n"),
        _ => config,
    };
    let gateway = Gateway::before(&app.url, &config).await;
    let alice = Client::new(&gateway, http);
    let began = Instant::now();
    alice.sign_in("alice").await;
    let busy = Busy::with(&alice, &app, "alone").await;
    let touched = Instant::now();
    // The idle time begins with the last thing that she sent, which is known to the second.
    let due = if setting == "idle_timeout" {
        touched
    } else {
        began
    };
    let due = due + std::time::Duration::from_secs(4);
    let early = due - std::time::Duration::from_millis(1500);
    busy.ends(&format!("{word}, {http:?}"), &app, due, (4004, word, 440))
        .await;
    assert!(Instant::now() > early, "not before its time");
    let events = gateway.events("session.ended");
    assert_eq!(events.len(), 1, "ended, not only cut");
    assert_eq!(events[0]["ending"], word);
    assert_eq!(alice.get("/me").await.body, "app=nobody subject= role=");
}

#[tokio::test]
async fn the_idle_time_cuts_what_is_only_received_over_both_versions() {
    let word = "expired_idle";
    tokio::join!(
        time_cuts(Http::One, "idle_timeout", word),
        time_cuts(Http::Two, "idle_timeout", word)
    );
}

#[tokio::test]
async fn the_absolute_time_cuts_what_is_received_over_both_versions() {
    let word = "expired_absolute";
    tokio::join!(
        time_cuts(Http::One, "absolute_timeout", word),
        time_cuts(Http::Two, "absolute_timeout", word)
    );
}

/// A role that lapses closes what was opened with it; the session lives on, and may come back at once.
async fn lapse_cuts(http: Http) {
    let app = App::start().await;
    let config = "[vouch]\npaths = [\"POST /login\", \"POST /elevate\"]\nmax_role = \"admin\"\n[session]\nadmin_role_lifetime = \"4s\"\n";
    let mut gateway = Gateway::before(&app.url, config).await;
    let alice = Client::new(&gateway, http);
    alice.sign_in("alice").await;
    gateway.stop().await;
    gateway.identities(&["role", "alice", "admin"]).await;
    gateway.start_again().await;
    alice.hang_up().await;
    let began = Instant::now();
    let raised = alice.follow(Ask::post("/elevate", "x=1")).await;
    assert_eq!(raised.body, "app=alice subject=alice role=admin");
    let busy = Busy::with(&alice, &app, "raised").await;
    let due = began + std::time::Duration::from_secs(4);
    busy.ends(
        &format!("role lapsed, {http:?}"),
        &app,
        due,
        (4002, "role_changed", 403),
    )
    .await;
    assert!(Instant::now() >= due, "not before its time");
    let me = alice.get("/me").await;
    assert_eq!(me.body, "app=alice subject=alice role=user");
    let mut socket = alice.socket("/ws").await;
    socket.echo("back at once").await;
}

#[tokio::test]
async fn a_role_that_lapses_cuts_what_was_opened_with_it_over_both_versions() {
    tokio::join!(lapse_cuts(Http::One), lapse_cuts(Http::Two));
}

#[tokio::test]
async fn what_a_client_says_keeps_its_session_and_what_it_only_hears_does_not() {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n[session]\nidle_timeout = \"3s\"\n");
    let gateway = Gateway::before(&app.url, &config).await;
    let talker = Client::new(&gateway, Http::Two);
    talker.sign_in("alice").await;
    let listener = Client::new(&gateway, Http::Two);
    listener.sign_in("bob").await;
    let mut socket = talker.socket("/ws").await;
    let stream = listener.stream("/stream").await;
    let began = Instant::now();
    let talk = async {
        while began.elapsed() < std::time::Duration::from_secs(7) {
            socket.echo("still here").await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    let ((), (cut, _)) = tokio::join!(talk, stream.end());
    eprintln!(
        "idle time of 3 s: the stream was cut after {} ms, the socket that is spoken on lives after 7 s",
        cut.saturating_duration_since(began).as_millis()
    );
    let me = talker.get("/me").await.body;
    assert_eq!(me, "app=alice subject=alice role=user");
    assert_eq!(listener.get("/me").await.body, "app=nobody subject= role=");
}

#[tokio::test]
async fn a_transport_that_carries_another_live_session_stays_open() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let one = Client::new(&gateway, Http::Two);
    one.sign_in("alice").await;
    // A second session of hers over the very same connection.
    let two = one.other_person();
    let answer = two.ask(Ask::post("/sign-in", "name=alice")).await;
    assert_eq!(answer.status, 200);
    let mut wire = one.try_connect().await.unwrap();
    assert!(wire.resumed);
    for client in [&one, &two] {
        let head = client.try_send(&mut wire, &Ask::get("/me")).await.unwrap();
        assert_eq!(head.status(), 200);
    }
    let held = |client: &Client, wire: &mut crate::client::Wire, key: &str| {
        let asked = client.begin(wire, &Ask::post(&format!("/hold/{key}"), "x=1"));
        tokio::spawn(asked)
    };
    let (first, second) = (
        held(&one, &mut wire, "first"),
        held(&two, &mut wire, "second"),
    );
    app.holds("first").await;
    app.holds("second").await;
    // From elsewhere, and as hard as it can be: the first session is revoked.
    let since = Instant::now();
    let out = one
        .other_connection()
        .ask(Ask::post("/.wirebound/logout", ""))
        .await;
    assert_eq!(out.status, 204);
    let first = within("the ended one", first).await.unwrap();
    assert_eq!(first, Ok(401), "answered, not reset");
    eprintln!("answered after {} ms", since.elapsed().as_millis());
    app.breaks_off("first").await;
    app.release("second");
    let second = within("the other", second).await.unwrap();
    assert_eq!(second, Ok(200), "the other session's request goes on");
    let still = two.try_send(&mut wire, &Ask::get("/me")).await.unwrap();
    assert_eq!(still.status(), 200, "on the same connection");
    assert_eq!((app.arrived("first"), app.arrived("second")), (1, 1));
}

#[tokio::test]
async fn at_the_limit_of_wires_the_oldest_idle_one_is_closed() {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n[session]\nmax_wires = 2\n");
    let gateway = Gateway::before(&app.url, &config).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let (busy, idle) = (alice.other_connection(), alice.other_connection());
    alice.hang_up().await;
    let holding = busy.clone();
    let held = tokio::spawn(async move { holding.ask(Ask::post("/hold/busy", "x=1")).await });
    app.holds("busy").await;
    assert_eq!(idle.ask(Ask::get("/me")).await.status, 200);
    let third = alice.other_connection();
    assert_eq!(third.ask(Ask::get("/me")).await.status, 200);
    assert!(!idle.is_connected().await, "the idle one had to go");
    app.release("busy");
    let held = within("the busy one", held).await.unwrap();
    assert_eq!(held.status, 200, "what was busy was left alone");
}

#[tokio::test]
async fn with_room_for_one_wire_the_newest_wins_and_a_socket_on_the_older_is_told() {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n[session]\nmax_wires = 1\n");
    let gateway = Gateway::before(&app.url, &config).await;
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        let mut socket = alice.socket("/ws").await;
        socket.echo("hello").await;
        let newer = alice.other_connection();
        let since = Instant::now();
        assert_eq!(
            newer.ask(Ask::get("/me")).await.body,
            "app=alice subject=alice role=user"
        );
        let (at, code, reason) = socket.goodbye().await;
        assert_eq!(
            (code, reason.as_str()),
            (1001, "going_away; reconnect: now")
        );
        eprintln!(
            "{http:?}: the older wire's WebSocket was told after {} ms",
            at.saturating_duration_since(since).as_millis()
        );
        let again = newer.ask(Ask::get("/me")).await;
        assert_eq!(again.body, "app=alice subject=alice role=user");
    }
}

#[tokio::test]
async fn a_stop_cuts_streams_at_once_and_answers_whatever_the_app_does_not() {
    let app = App::start().await;
    let config = format!("{VOUCHED}\n[limits]\ndrain_timeout = \"4s\"\n");
    let mut gateway = Gateway::before(&app.url, &config).await;
    let (mut streams, mut polls, mut posts) = (Vec::new(), Vec::new(), Vec::new());
    for (http, key) in [(Http::One, "one"), (Http::Two, "two")] {
        let client = Client::new(&gateway, http);
        client.sign_in(key).await;
        streams.push(client.stream("/stream").await);
        for (ask, kind) in [
            (Ask::get(&format!("/hold/poll-{key}")), "poll"),
            (Ask::post(&format!("/hold/post-{key}"), "x=1"), "post"),
        ] {
            let slow = client.other_connection();
            let task = tokio::spawn(async move { (slow.ask(ask).await, Instant::now()) });
            app.holds(&format!("{kind}-{key}")).await;
            match kind {
                "poll" => polls.push(task),
                _ => posts.push(task),
            }
        }
    }
    let since = Instant::now();
    let ((), cut) = tokio::join!(gateway.stop(), async {
        let mut cut = Vec::new();
        for stream in streams {
            cut.push(
                stream
                    .end()
                    .await
                    .0
                    .saturating_duration_since(since)
                    .as_millis(),
            );
        }
        cut
    });
    eprintln!(
        "stop: event streams cut after {cut:?} ms, all done after {} ms",
        since.elapsed().as_millis()
    );
    assert!(cut.iter().all(|ms| *ms < 900), "{cut:?}");
    for (task, least) in polls
        .into_iter()
        .map(|t| (t, 900))
        .chain(posts.into_iter().map(|t| (t, 3000)))
    {
        let (answer, at) = within("an answer", task).await.unwrap();
        let ms = at.saturating_duration_since(since).as_millis();
        assert_eq!(answer.status, 503, "answered, not reset: {answer:?}");
        assert_eq!(answer.field("retry-after"), "1");
        assert!(ms >= least, "{ms} ms");
    }
    for key in ["poll-one", "post-one", "poll-two", "post-two"] {
        assert_eq!(app.arrived(key), 1);
    }
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_tells_sockets_to_come_back() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let mut held = Vec::new();
    let mut sockets = Vec::new();
    for (http, key) in [(Http::One, "one"), (Http::Two, "two")] {
        let client = Client::new(&gateway, http);
        client.sign_in(key).await;
        let mut socket = client.socket("/ws").await;
        socket.echo("hello").await;
        sockets.push(socket);
        let slow = client.other_connection();
        let path = format!("/hold/{key}");
        held.push(tokio::spawn(async move {
            slow.ask(Ask::post(&path, "x=1")).await
        }));
        app.holds(key).await;
    }
    let since = Instant::now();
    let ((), codes) = tokio::join!(gateway.stop(), async {
        let mut codes = Vec::new();
        for socket in sockets {
            codes.push(socket.closed().await.1);
        }
        for key in ["one", "two"] {
            app.release(key);
        }
        codes
    });
    assert_eq!(codes, [1001, 1001]);
    for slow in held {
        let answer = within("what was in flight", slow).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, "held")
        );
    }
    eprintln!("stopped after {} ms", since.elapsed().as_millis());
}
