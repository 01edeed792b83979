//! The socket: who is heard, and what.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wirebound::store::MemoryStore;
use wirebound::{Clock as _, Policy, Role, Subject};
use wirebound_testkit::world::World;

use super::client::{Client, Unreached};
use super::*;
use crate::config::Assertion;
use crate::orders::Reply;
use crate::system::{SystemClock, SystemEntropy};

/// A folder with somebody who takes orders in it.
struct Desks {
    folder: tempfile::TempDir,
    world: World,
    working: Arc<Semaphore>,
    serving: tokio::task::JoinHandle<()>,
}

impl Desks {
    fn open() -> Self {
        Self::of(rustix::process::geteuid().as_raw())
    }

    /// Where this user is heard.
    fn of(user: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(Policy::default(), Arc::new(MemoryStore::new()));
        let mut control = Control::open(folder.path()).unwrap();
        control.ours = user;
        let (node, working) = (node(&world), Arc::clone(&control.working));
        let serving = tokio::spawn(async move { control.serve(&node).await });
        Self {
            folder,
            world,
            working,
            serving,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(SOCKET_FILE)
    }

    fn client(&self) -> Client {
        Client::new(self.folder.path(), rustix::process::geteuid().as_raw())
    }

    /// Sends bytes as they are, and reads whatever comes until the other end closes.
    async fn said(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path()).await.unwrap();
        let _unread = stream.write_all(bytes).await;
        let mut said = Vec::new();
        let _reset = stream.read_to_end(&mut said).await;
        String::from_utf8(said).unwrap()
    }
}

fn node(world: &World) -> Arc<Node> {
    Arc::new(Node {
        engine: Arc::clone(&world.engine),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy::new()),
        assertion: Assertion::default(),
        issued: false,
    })
}

fn post(length: usize, body: &str) -> String {
    format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Without a length that could be judged beforehand.
fn chunked(body: &str) -> String {
    let head = post(0, "").replace("content-length: 0", "transfer-encoding: chunked");
    format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

fn block(name: &str) -> Order {
    Order::Block {
        subject: Subject::new(name.as_bytes()).unwrap(),
    }
}

#[tokio::test]
async fn an_order_over_the_socket_is_carried_out_and_answered() {
    let mut desks = Desks::open();
    desks.world.now = SystemClock::new().now().unwrap();
    let line = desks.world.settle("ada", Role::USER);
    let cookie = desks.world.browser.cookie.clone();
    assert!(desks.world.get(&line, &cookie).is_in(), "control");
    let reply = desks.client().carry_out(&block("ada")).await;
    let Reply::Identity { kept, ended, .. } = reply.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!((kept.unwrap().blocked, ended), (true, 1));
    assert!(!desks.world.get(&line, &cookie).is_in());
    let gone = Order::EndSession {
        id: wirebound::SessionId::from_bytes([1; 10]),
    };
    let refused = desks.client().carry_out(&gone).await.unwrap().unwrap_err();
    assert_eq!(
        refused.message,
        "no live session has the id 01010101010101010101"
    );
    assert!(refused.hint.unwrap().contains("sessions ls"));
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_goes_with_the_gateway() {
    let desks = Desks::open();
    let facts = fs::symlink_metadata(desks.path()).unwrap();
    assert!(facts.file_type().is_socket());
    assert_eq!(facts.mode() & 0o7777, 0o600);
    desks.serving.abort();
    drop(desks.serving.await);
    assert!(!desks.folder.path().join(SOCKET_FILE).exists());
    let client = Client::new(desks.folder.path(), 0);
    let why = client.carry_out(&block("ada")).await.unwrap_err();
    assert!(matches!(why, Unreached::Failed(_)), "{why}");
}

#[tokio::test]
async fn what_a_killed_gateway_left_is_replaced_and_what_is_no_socket_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET_FILE);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).await.is_err(), "it is stale");
    let control = Control::open(folder.path()).unwrap();
    drop(UnixStream::connect(&path).await.unwrap());
    control.close().await;
    assert!(!path.exists());
    fs::write(&path, "precious").unwrap();
    let why = Control::open(folder.path()).unwrap_err();
    assert!(matches!(why, NoSocket::Occupied), "{why}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_path_that_is_too_long_is_said_with_its_length_and_the_longest_one_works() {
    let parent = tempfile::tempdir().unwrap();
    let room = MOST_PATH_BYTES - parent.path().as_os_str().len() - SOCKET_FILE.len() - 2;
    for (longer, fits) in [(0, true), (1, false)] {
        let folder = parent.path().join("x".repeat(room + longer));
        fs::create_dir(&folder).unwrap();
        let opened = Control::open(&folder);
        assert_eq!(opened.is_ok(), fits);
        if let Err(why) = opened {
            assert!(why.to_string().contains("would have 108 bytes"), "{why}");
            assert!(why.hint().contains("--data-dir"));
            let unreached = Client::new(&folder, 0).carry_out(&block("ada")).await;
            assert!(matches!(unreached, Err(Unreached::TooLong(108))));
        }
    }
}

#[test]
fn only_the_gateways_own_user_and_root_are_heard() {
    assert!(is_heard(1000, 1000) && is_heard(0, 1000) && is_heard(0, 0));
    assert!(!is_heard(1001, 1000) && !is_heard(1000, 0) && !is_heard(u32::MAX, 0));
}

#[tokio::test]
async fn an_order_is_told_to_nobody_but_the_user_whose_folder_it_is() {
    // A gateway of the folder's owner is at the other end, unless the owner is said to be another.
    let desks = Desks::open();
    let ours = rustix::process::geteuid().as_raw();
    let stranger = Client::new(desks.folder.path(), ours + 1);
    match stranger.carry_out(&block("ada")).await {
        Err(Unreached::Foreign(user)) => assert_eq!(user, ours),
        // Root is believed whosever the folder is.
        Ok(Ok(_)) => assert_eq!(ours, 0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_order_is_answered_with_a_problem_and_changes_nothing() {
    let desks = Desks::open();
    let good = String::from_utf8(block("ada").to_bytes()).unwrap();
    let whole = post(good.len(), &good);
    let future = good.replace("\"version\":1", "\"version\":2");
    let unknown = good.replace("identities block", "identities bless");
    let large = format!("{}{}", " ".repeat(MOST_ORDER_BYTES), good);
    for (sent, status, code) in [
        (whole.replace("POST", "GET"), 405, "method_not_allowed"),
        (whole.replace("/orders", "/order"), 404, "not_found"),
        (
            whole.replace("application/json", "text/plain"),
            415,
            "malformed_order",
        ),
        (post(2, "{}"), 400, "malformed_order"),
        (post(4, "\u{1f980}"), 400, "malformed_order"),
        (post(future.len(), &future), 400, "other_version"),
        (post(unknown.len(), &unknown), 400, "malformed_order"),
        (post(large.len(), &large), 413, "order_too_large"),
        (post(MOST_ORDER_BYTES + 1, &good), 413, "order_too_large"),
        (chunked(&large), 413, "order_too_large"),
    ] {
        let said = desks.said(sent.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.contains("content-type: application/problem+json"));
        assert!(said.contains("cache-control: no-store"));
        assert!(said.contains(&format!("\"code\":\"{code}\"")), "{said}");
        assert!(!said.contains("bless") && !said.contains("ada"), "{said}");
    }
    for garbage in [
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET / HTTP/1.1\r\nx: y\r\n : \r\n\r\n",
        &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MOST_ORDER_BYTES)),
    ] {
        let said = desks.said(garbage.as_bytes()).await;
        assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
    }
    let show = Order::ShowIdentity {
        subject: Subject::new(b"ada").unwrap(),
    };
    let shown = desks.client().carry_out(&show).await.unwrap().unwrap();
    assert!(matches!(shown, Reply::Identity { kept: None, .. }));
    // The control: the same bytes, unchanged.
    for sent in [whole, chunked(&good)] {
        let said = desks.said(sent.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    let shown = desks.client().carry_out(&show).await.unwrap().unwrap();
    assert!(matches!(shown, Reply::Identity { kept: Some(_), .. }));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_is_sent_away_and_keeps_nobody_out() {
    let desks = Desks::open();
    let order = String::from_utf8(block("ada").to_bytes()).unwrap();
    let head = post(order.len(), "");
    let half = post(order.len(), order.split_at(order.len() / 2).0);
    let began = tokio::time::Instant::now();
    let ((), heads, bodies) = tokio::join!(
        async {
            let silent = UnixStream::connect(desks.path()).await.unwrap();
            tokio::time::sleep(ARRIVAL.saturating_mul(3)).await;
            drop(silent);
        },
        futures_util::future::join_all((0..4).map(|_| desks.said(&head.as_bytes()[..30]))),
        futures_util::future::join_all((0..4).map(|_| desks.said(half.as_bytes()))),
    );
    assert!(began.elapsed() < WHOLE);
    for said in bodies {
        assert!(said.contains("order_too_slow"), "{said}");
    }
    for said in heads {
        assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
    }
    let reply = desks.client().carry_out(&block("bob")).await.unwrap();
    assert!(reply.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_order_is_carried_out_although_its_sender_hangs_up() {
    let desks = Desks::open();
    let subject = Subject::new(b"ada").unwrap();
    let is_blocked = || async {
        let identity = desks.world.engine.identity(&subject).await.unwrap();
        identity.is_some_and(|identity| identity.blocked)
    };
    // The order is taken and has to wait; meanwhile its connection goes.
    let busy = Arc::clone(&desks.working).acquire_many_owned(MOST_HEARD);
    let busy = busy.await.unwrap();
    let order = String::from_utf8(block("ada").to_bytes()).unwrap();
    let mut stream = UnixStream::connect(desks.path()).await.unwrap();
    let sent = post(order.len(), &order);
    stream.write_all(sent.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!is_blocked().await);
    drop(busy);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(is_blocked().await);
}

#[tokio::test]
async fn a_mode_that_was_opened_since_still_lets_nobody_else_in() {
    let ours = rustix::process::geteuid();
    // Root can become somebody else; whoever is not root is somebody else to another's gateway.
    let (desks, stranger) = if ours.is_root() {
        (Desks::open(), 12_345)
    } else {
        (Desks::of(12_345), ours.as_raw())
    };
    for path in [desks.folder.path().to_owned(), desks.path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(asked(&desks, stranger).await, "");
    // The control: the same question by who is heard.
    let control = Desks::open();
    assert!(asked(&control, ours.as_raw()).await.contains("not_found"));
}

/// What curl is told when this user runs it.
async fn asked(desks: &Desks, user: u32) -> String {
    let mut command = tokio::process::Command::new("curl");
    command.args(["-s", "--max-time", "20", "--unix-socket"]);
    command.arg(desks.path()).arg("http://x/");
    if user != rustix::process::geteuid().as_raw() {
        command.uid(user).gid(user);
    }
    String::from_utf8(command.output().await.unwrap().stdout).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_order_in_hand_and_begins_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(Policy::default(), Arc::new(MemoryStore::new()));
    let control = Control::open(folder.path()).unwrap();
    let (heard, working) = (Arc::clone(&control.heard), Arc::clone(&control.working));
    let in_hand = Arc::clone(&working).acquire_owned().await.unwrap();
    let closing = tokio::spawn(control.close());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!folder.path().join(SOCKET_FILE).exists());
    assert!(!closing.is_finished());
    drop(in_hand);
    let began = tokio::time::Instant::now();
    closing.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let desk = Desk {
        node: node(&world),
        working,
        by: 0,
        heard: Arc::new(heard.acquire_owned().await.unwrap()),
    };
    let late = work(block("ada"), desk).await;
    assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ada = Subject::new(b"ada").unwrap();
    assert_eq!(world.engine.identity(&ada).await.unwrap(), None);

    // What takes too long keeps no gateway from stopping.
    let control = Control::open(folder.path()).unwrap();
    let _stuck = Arc::clone(&control.working).acquire_owned().await.unwrap();
    let began = tokio::time::Instant::now();
    control.close().await;
    assert_eq!(began.elapsed(), LAST_ORDERS);
}
