//! The gateway as a process, with everything it ever printed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// Nothing here takes this long unless it hangs.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Waits for something, but not for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {BOUND:?}"),
    }
}

/// Asks again until it is so, but not for ever.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A running gateway and its folder. Killed when dropped.
pub(crate) struct Gateway {
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    /// `serve --armour auto` before an app.
    pub(crate) async fn before(upstream: &str, config: &str) -> Self {
        let verb = ["serve", "--armour", "auto", "--upstream", upstream];
        Self::start(&verb, config).await
    }

    /// `serve` before an app, with what the configuration says of armour.
    pub(crate) async fn listed(upstream: &str, config: &str) -> Self {
        Self::start(&["serve", "--upstream", upstream], config).await
    }

    /// `demo`, whose `ada` is an admin.
    pub(crate) async fn demo(config: &str) -> Self {
        Self::start(&["demo"], config).await
    }

    async fn start(verb: &[&str], config: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("wirebound-e2e-")
            .tempdir()
            .unwrap();
        Self::start_in(folder, verb, config).await
    }

    /// As `before`, with these further arguments, in a folder that was prepared.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) async fn with(
        folder: tempfile::TempDir,
        upstream: &str,
        config: &str,
        arguments: &[&str],
    ) -> Self {
        let verb = ["serve", "--armour", "auto", "--upstream", upstream];
        Self::start_in(folder, &[&verb[..], arguments].concat(), config).await
    }

    async fn start_in(folder: tempfile::TempDir, verb: &[&str], config: &str) -> Self {
        let file = folder.path().join("wirebound.toml");
        std::fs::write(&file, config).unwrap();
        let mut arguments: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(["--log-format".to_owned(), "json".to_owned()]);
        if !config.contains("preset") && !verb.contains(&"--preset") {
            // The purest one, unless a test is about another.
            arguments.extend(["--preset".to_owned(), "strict".to_owned()]);
        }
        arguments.extend(["--config".to_owned(), file.display().to_string()]);
        let data = folder.path().join("data").display().to_string();
        arguments.extend(["--data-dir".to_owned(), data]);
        let printed = Arc::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, address) = launch(&arguments, any, &printed).await;
        Self {
            arguments,
            folder,
            child,
            address,
            printed,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority that clients ask for.
    pub(crate) fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// Every line on stdout and stderr so far.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    /// The events of this name.
    pub(crate) fn events(&self, name: &str) -> Vec<Map<String, Value>> {
        let lines = self.printed();
        let read = |line: &String| {
            let Ok(Value::Object(mut top)) = serde_json::from_str(line) else {
                return None;
            };
            if let Some(Value::Object(fields)) = top.remove("fields") {
                top.extend(fields);
            }
            (top.get("event").and_then(Value::as_str) == Some(name)).then_some(top)
        };
        lines.iter().filter_map(read).collect()
    }

    /// Its process.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Asks it to look at its certificate again.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        // The id is taken from the handle, so it is never a stranger's.
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = within("stop", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}: {:#?}", self.printed());
    }

    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        within("kill", self.child.wait()).await.unwrap();
    }

    /// On the same port and folder, after `stop` or `kill`.
    pub(crate) async fn start_again(&mut self) {
        let (child, address) = launch(&self.arguments, self.address, &self.printed).await;
        (self.child, self.address) = (child, address);
    }

    /// Runs `wirebound identities`, which must succeed.
    pub(crate) async fn identities(&self, words: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wirebound"));
        command.arg("identities").args(words).arg("--data-dir");
        let done = command.arg(self.data()).output().await.unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// Has an order carried out, by the gateway if it runs; answers the exit code and what was said.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub(crate) async fn order(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wirebound"));
        command.args(words).arg("--data-dir").arg(self.data());
        let done = within("an order", command.kill_on_drop(true).output()).await;
        let done = done.unwrap();
        let said = [done.stdout, done.stderr].concat();
        (
            done.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    }

    /// Ends it and answers what lies in its store, as `(space, name length, value)`.
    pub(crate) async fn rows(&mut self) -> Vec<Row> {
        self.stop().await;
        rows(&self.data().join("sessions")).await
    }
}

/// What lies in a store.
pub(crate) struct Row {
    pub(crate) space: wirebound::store::Space,
    pub(crate) value: Vec<u8>,
}

async fn rows(folder: &Path) -> Vec<Row> {
    use wirebound::store::{Space, Store as _};
    let store =
        wirebound_redb::RedbStore::open(folder, wirebound_redb::Options::default()).unwrap();
    let mut rows = Vec::new();
    for space in Space::ALL {
        let mut after = None;
        loop {
            let until = wirebound::Timestamp::NEVER;
            let page = store.due(space, until, after, 100).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for (_, key) in page {
                if let Some(stored) = store.load(&key).await.unwrap() {
                    let value = stored.value;
                    rows.push(Row { space, value });
                }
            }
        }
    }
    rows
}

async fn launch(
    arguments: &[String],
    listen: SocketAddr,
    printed: &Arc<Mutex<Vec<String>>>,
) -> (Child, SocketAddr) {
    let from = printed.lock().unwrap().len();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wirebound"))
        .args(arguments)
        .args(["--listen", &listen.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(printed)));
    tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(printed)));
    let address = || {
        printed.lock().unwrap()[from..].iter().find_map(|line| {
            // `serve` says where it listens, `demo` which page to open.
            let (_, url) = line.split_once("https://")?;
            let url = url.split('/').next()?.trim();
            url.replace("localhost", "127.0.0.1").parse().ok()
        })
    };
    let began = Instant::now();
    loop {
        if let Some(address) = address() {
            return (child, address);
        }
        let ended = child.try_wait().unwrap();
        assert!(
            ended.is_none() && began.elapsed() < BOUND,
            "the gateway did not start ({ended:?}): {:#?}",
            printed.lock().unwrap()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn collect(from: impl AsyncRead + Unpin, printed: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        printed.lock().unwrap().push(line);
    }
}
