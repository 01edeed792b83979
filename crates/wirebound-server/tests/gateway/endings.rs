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
    stream: crate::client::Stream,
    poll: tokio::task::JoinHandle<(Instant, u16)>,
}

impl Busy {
    async fn with(client: &Client, app: &App, key: &str) -> Self {
        let mut socket = client.socket("/ws").await;
        socket.echo("is anybody there").await;
        let stream = client.stream("/stream").await;
        let poller = client.other_connection();
        let path = format!("/hold/{key}");
        let poll = tokio::spawn(async move {
            let answer = poller.ask(Ask::get(&path)).await;
            (Instant::now(), answer.status.as_u16())
        });
        app.holds(key).await;
        Self {
            socket,
            stream,
            poll,
        }
    }

    /// All of it ends, with this close code; says how long that took.
    async fn is_cut(self, what: &str, since: Instant, expected: u16) {
        let (socket, code) = self.socket.closed().await;
        assert_eq!(code, expected, "{what}");
        let (stream, whole) = self.stream.end().await;
        assert!(!whole, "{what}: a cut stream must not look whole");
        let (poll, status) = within("the long poll", self.poll).await.unwrap();
        assert_eq!(status, 401, "{what}: what is in flight is answered");
        let ms = |at: Instant| at.saturating_duration_since(since).as_millis();
        let late = [ms(socket), ms(stream), ms(poll)];
        eprintln!(
            "{what}: WebSocket closed with {code} after {} ms, stream after {} ms, long poll after {} ms",
            late[0], late[1], late[2]
        );
        assert!(late.iter().all(|ms| *ms < 1000), "{what}: {late:?}");
    }
}

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
    busy.is_cut(&format!("sign-out, {http:?}"), since, 4003)
        .await;

    // The app answers after all, with a cookie of its own: nobody is there to take it.
    app.release("alice");
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
    busy.is_cut(&format!("eviction, {http:?}"), since, 4001)
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
    other.is_cut("sign-out of others", since, 4001).await;
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
