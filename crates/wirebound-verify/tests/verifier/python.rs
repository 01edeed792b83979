//! The service in Python of `examples`, beside the same gateway: what a verifier in another language must do as well.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use wirebound::revocation::feed::Message;
use wirebound::revocation::{Place, Revoked, SubjectTag};
use wirebound::{Clock as _, Lifetime, SessionId, Timestamp};
use wirebound_assertion::{Algorithm, Claims, sign};
use wirebound_verify::{Confirmation, SystemClock};

use super::rig::{AUDIENCE, Feed, Gateway, KEY, KEYS, OTHER, SESSION, Said, key, token_of};

/// How long the service may take for anything.
const BOUND: Duration = Duration::from_secs(20);
/// How long a session that was ended may go on.
const ENDED: Duration = Duration::from_secs(2);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

struct Service {
    address: SocketAddr,
    _child: Child,
}

impl Service {
    async fn start(gateway: &Gateway) -> Self {
        let python = root().join("target/real/venv/bin/python");
        let mut command = Command::new(&python);
        command
            .arg(root().join("examples/verifier-python/service.py"))
            .env_clear()
            .env("WIREBOUND_ISSUER", &gateway.issuer)
            .env("WIREBOUND_AUDIENCE", AUDIENCE)
            .env("WIREBOUND_FEED_KEY", KEY)
            .env("WIREBOUND_DANGER_PLAIN_LOOPBACK", "1")
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; cargo xtask setup makes it", python.display())
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(BOUND, lines.next_line()).await;
        let line = line.expect("it starts").unwrap().expect("it stays");
        let address = line.strip_prefix("on http://").unwrap().parse().unwrap();
        Self {
            address,
            _child: child,
        }
    }

    /// The status and the body of the answer to whoever shows these tokens.
    async fn shown(&self, tokens: &[&str]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = "GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n".to_owned();
        for token in tokens {
            request.push_str(&format!("wirebound-assertion: {token}\r\n"));
        }
        stream
            .write_all((request + "\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(BOUND, read).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    async fn status(&self, token: &str) -> u16 {
        self.shown(&[token]).await.0
    }

    /// Shows the token until the answer is this, and says how long that took.
    async fn until(&self, status: u16, token: &str, bound: Duration) -> Duration {
        let began = tokio::time::Instant::now();
        loop {
            let found = self.status(token).await;
            if found == status {
                return began.elapsed();
            }
            assert!(began.elapsed() < bound, "{found} and not {status}");
        }
    }
}

fn now() -> Timestamp {
    SystemClock::new().now().unwrap()
}

/// The service has a real clock, so the gateway has it as well.
async fn started() -> (Gateway, Service, Feed) {
    let gateway = Gateway::start().await;
    gateway.clock.set(now().as_millis());
    let service = Service::start(&gateway).await;
    let feed = gateway.feed().await;
    (gateway, service, feed)
}

fn of_session(gateway: &Gateway, byte: u8) -> Claims {
    let mut claims = gateway.claims();
    claims.session = SessionId::from_bytes([byte; 10]);
    claims.tag = SubjectTag::from_bytes([byte; 16]);
    claims.generation = gateway.clock.at().as_millis();
    claims
}

#[tokio::test]
async fn a_service_in_python_refuses_who_was_called_back_at_once() {
    let (gateway, service, mut feed) = started().await;
    let token = gateway.token();
    assert_eq!(feed.from, None);
    assert_eq!(service.status(&token).await, 503, "it does not know yet");
    feed.snapshot(0, &[OTHER], now()).await;
    service.until(200, &token, BOUND).await;
    let (_, body) = service.shown(&[&token]).await;
    assert_eq!(body, r#"{"subject": "alice \ufffd", "role": "user"}"#);

    feed.revoke(1, SESSION).await;
    let took = service.until(401, &token, ENDED).await;
    println!("from sent to refused by the service in Python: {took:?}");
    let other = gateway.sign(&of_session(&gateway, 5));
    assert_eq!(service.status(&other).await, 200, "nobody else is refused");
    let held = gateway.sign(&of_session(&gateway, 9));
    assert_eq!(service.status(&held).await, 401, "it was in the snapshot");

    let tag = SubjectTag::from_bytes([6; 16]);
    let subject = of_session(&gateway, 6);
    let single = of_session(&gateway, 7);
    let generation = subject.generation + 1;
    for (number, what, claims) in [
        (2, Revoked::Subject { tag, generation }, &subject),
        (3, token_of(&single), &single),
    ] {
        let token = gateway.sign(claims);
        assert_eq!(service.status(&token).await, 200, "{what:?}");
        feed.revoke(number, what).await;
        service.until(401, &token, ENDED).await;
    }
    assert_eq!(service.status(&other).await, 200);
    let before = gateway.clock.at().after(Lifetime::from_millis(1));
    feed.revoke(4, Revoked::Before(before)).await;
    service.until(401, &other, ENDED).await;
}

#[tokio::test]
async fn a_service_in_python_takes_up_a_lost_feed_and_refuses_while_it_does_not_know() {
    let (gateway, service, mut feed) = started().await;
    let token = gateway.token();
    feed.snapshot(0, &[], now()).await;
    service.until(200, &token, BOUND).await;
    drop(feed);
    let mut feed = gateway.feed().await;
    assert_eq!(feed.from.as_deref(), Some("0000000000000007-0"));
    assert_eq!(
        service.status(&token).await,
        200,
        "it is not older than it is"
    );
    // The gateway remembers nothing of that place.
    let place = Place { run: 8, number: 0 };
    feed.tell(&Message::Snapshot { place, now: now() }).await;
    service.until(503, &token, BOUND).await;
    let complete = Message::Complete {
        place,
        entries: 0,
        now: now(),
    };
    feed.tell(&complete).await;
    service.until(200, &token, BOUND).await;
    // An entry is missing.
    let missing = Message::Revoked {
        place: Some(Place { run: 8, number: 2 }),
        entry: super::rig::entry(OTHER),
    };
    feed.tell(&missing).await;
    service.until(503, &token, BOUND).await;
    let mut feed = gateway.feed().await;
    assert_eq!(feed.from, None, "everything is asked for again");
    feed.snapshot(2, &[OTHER], now()).await;
    service.until(200, &token, BOUND).await;
    // A word that was held back for longer than the lease.
    feed.raw("data: nothing of ours\n\n").await;
    let mut old = gateway.feed().await;
    old.snapshot(2, &[], now().before(Lifetime::from_secs(11)))
        .await;
    service.until(503, &token, BOUND).await;
}

#[tokio::test]
async fn a_service_in_python_takes_no_other_token() {
    let (gateway, service, mut feed) = started().await;
    feed.snapshot(0, &[], now()).await;
    let good = gateway.token();
    service.until(200, &good, BOUND).await;
    let with = |change: &dyn Fn(&mut Claims)| {
        let mut claims = gateway.claims();
        change(&mut claims);
        gateway.sign(&claims)
    };
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    for (token, status) in [
        (String::new(), 401),
        ("a.b.c".to_owned(), 401),
        (format!("{rest}.{reversed}"), 401),
        (format!("{rest}."), 401),
        (with(&|claims| claims.audience.push('x')), 401),
        (with(&|claims| claims.issuer.push('x')), 401),
        (
            with(&|claims| claims.confirmation = Some(Confirmation::Key([1; 32]))),
            401,
        ),
        (
            with(&|claims| {
                let issued = claims.issued.as_u64() - 700;
                claims.issued = wirebound_assertion::Seconds::new(issued).unwrap();
                claims.not_before = claims.issued;
                claims.expires = claims.issued.plus(600);
            }),
            440,
        ),
    ] {
        assert_eq!(service.status(&token).await, status, "{token}");
    }
    assert_eq!(service.shown(&[]).await.0, 401);
    assert_eq!(service.shown(&[&good, &good]).await.0, 401);
    assert_eq!(service.status(&good).await, 200);
    // Whatever it is called: a key that nobody has proves nothing, once the gateway was asked again.
    service.until(401, &of_nobody(&gateway), BOUND).await;
    assert!(gateway.asked(KEYS) <= 2, "{}", gateway.asked(KEYS));
}

/// A token of a key that the gateway does not have.
fn of_nobody(gateway: &Gateway) -> String {
    sign(&key(Algorithm::EdDsa), &gateway.claims()).unwrap()
}

/// With the gateway down, each made-up name for a key made an attempt of five seconds, and everybody waited for it.
#[tokio::test]
async fn a_service_in_python_goes_on_with_the_keys_that_it_has_whatever_strangers_show() {
    let (gateway, service, mut feed) = started().await;
    feed.snapshot(0, &[], now()).await;
    let good = gateway.token();
    service.until(200, &good, BOUND).await;
    gateway.say(
        KEYS,
        Said {
            mute: true,
            ..Said::new("application/json", "")
        },
    );
    let asked = async {
        while gateway.asked(KEYS) < 2 {
            feed.beat(0, now()).await;
            let made_up = of_nobody(&gateway);
            let shown = service.status(&made_up);
            let _waits = tokio::time::timeout(Duration::from_millis(100), shown).await;
        }
    };
    tokio::time::timeout(BOUND, asked).await.unwrap();
    for _ in 0..20 {
        let began = tokio::time::Instant::now();
        feed.beat(0, now()).await;
        assert_eq!(service.status(&of_nobody(&gateway)).await, 503);
        assert_eq!(service.status(&good).await, 200);
        assert!(began.elapsed() < Duration::from_secs(2), "it waited");
    }
    assert_eq!(gateway.asked(KEYS), 2);
}

/// What comes in place of the keys says nothing of the token: it is not refused as if it did.
#[tokio::test]
async fn a_service_in_python_does_not_know_while_it_has_no_keys() {
    let broken = |body: &'static str| Said::new("application/json", body);
    for said in [
        broken("<html>"),
        broken("\u{ff}{"),
        broken("[]"),
        broken("{}"),
        broken(r#"{"keys":[]}"#),
        broken(r#"{"keys":[{"kty":"OKP"}]}"#),
        broken(r#"{"keys":1}"#),
        broken("gone").status(500),
    ] {
        let gateway = Gateway::start().await;
        gateway.clock.set(now().as_millis());
        gateway.say(KEYS, said.clone());
        let service = Service::start(&gateway).await;
        gateway.feed().await.snapshot(0, &[], now()).await;
        let tokens = [gateway.token(), of_nobody(&gateway)];
        for token in &tokens {
            assert_eq!(service.status(token).await, 503, "{:?}", said.body);
        }
        super::rig::until("the keys are asked for", || gateway.asked(KEYS) > 0).await;
        for token in &tokens {
            assert_eq!(service.status(token).await, 503, "{:?}", said.body);
        }
    }
}

#[tokio::test]
async fn a_service_in_python_asks_again_for_keys_that_it_did_not_get() {
    let gateway = Gateway::start().await;
    gateway.clock.set(now().as_millis());
    let keys = super::rig::published(&[&gateway.key]);
    gateway.say(KEYS, Said::new("application/json", "[]"));
    let service = Service::start(&gateway).await;
    let mut feed = gateway.feed().await;
    feed.snapshot(0, &[], now()).await;
    let good = gateway.token();
    assert_eq!(service.status(&good).await, 503);
    super::rig::until("the keys are asked for", || gateway.asked(KEYS) > 0).await;
    gateway.say(KEYS, keys);
    let taken = async {
        while service.status(&good).await != 200 {
            feed.beat(0, now()).await;
        }
    };
    tokio::time::timeout(BOUND, taken).await.unwrap();
    assert_eq!(gateway.asked(KEYS), 2);
}
