//! Real apps, each in its own language with its own way of keeping sessions, of which no line knows the gateway.
//!
//! They lie under `apps/` of this crate, run on what `cargo xtask setup` installs, and all answer the same paths, so that
//! one walk fits them. Each writes a line a request into a file: what was asked, and as whom the app took it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpStream;

use crate::django::python;
use crate::firefox::free_port;
use crate::provider::Provider;
use crate::{nss, wait};

pub mod robbery;
pub mod site;
pub mod walk;

/// How long a start may take, with seven other builds on the machine.
const BOUND: Duration = Duration::from_secs(60);

/// Another program may take the free port first; then another is tried.
const TRIES: usize = 3;

/// The person that every app knows.
pub const USER: &str = "alice";

/// Her password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Which app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Django with its admin site: sessions in its database, a second cookie for CSRF that scripts may read.
    Django,
    /// Flask: the whole session in a signed cookie, whose value changes with most answers.
    Flask,
    /// Express with express-session: a store in memory, a new id at the sign-in.
    Express,
    /// PHP's own sessions: every visitor has one, with a cookie that scripts may read; a new id at the sign-in.
    Php,
    /// The same, with the id kept through the sign-in.
    PhpKeepingItsId,
}

impl Kind {
    /// The name of the app's own session cookie, which no browser behind the gateway may see.
    #[must_use]
    pub fn cookie(self) -> &'static str {
        match self {
            Self::Django => "sessionid",
            Self::Flask => "session",
            Self::Express => "connect.sid",
            Self::Php | Self::PhpKeepingItsId => "PHPSESSID",
        }
    }

    /// Where the app's files are.
    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Django => "django",
            Self::Flask => "flask",
            Self::Express => "express",
            Self::Php | Self::PhpKeepingItsId => "php",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("apps")
            .join(name)
    }

    /// The command that serves it.
    fn command(self, address: SocketAddr, data: &Path) -> Command {
        let at = address.to_string();
        let mut command;
        match self {
            Self::Django => {
                command = Command::new(python());
                command.args(["manage.py", "runserver", "--noreload", &at]);
            }
            Self::Flask => {
                command = Command::new(python());
                command
                    .arg("app.py")
                    .env("PORT", address.port().to_string());
            }
            Self::Express => {
                command = Command::new("node");
                command
                    .arg("server.js")
                    .env("NODE_PATH", installed("express/node_modules"))
                    .env("PORT", address.port().to_string());
            }
            Self::Php | Self::PhpKeepingItsId => {
                command = Command::new("php");
                command
                    .arg("-d")
                    .arg(format!("session.save_path={}", data.display()))
                    .args(["-S", &at, "index.php"])
                    .env("PHP_CLI_SERVER_WORKERS", "4");
            }
        }
        if self == Self::PhpKeepingItsId {
            command.env("KEEP_ID", "1");
        }
        command
    }
}

/// What `cargo xtask setup` installs.
fn installed(what: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("target/real").join(what)
}

/// A running app. Stopped with all its processes when dropped.
#[derive(Debug)]
pub struct App {
    kind: Kind,
    data: tempfile::TempDir,
    group: Group,
    address: SocketAddr,
}

impl App {
    /// Serves an app on a free loopback port; `provider` is where it sends people to sign in. `trusted` is the site's
    /// address where TLS ends before it and nothing tells it so, which Django wants to know; else empty.
    ///
    /// # Errors
    /// When its language or its packages are missing, or it does not come up.
    pub async fn start(kind: Kind, provider: &Provider, trusted: &str) -> Result<Self> {
        let data = tempfile::Builder::new()
            .prefix("wirebound-app-")
            .tempdir()?;
        std::fs::write(data.path().join("log"), "")?;
        if kind == Kind::Django {
            prepare_django(data.path(), provider)?;
        }
        for _ in 0..TRIES {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            let mut command = kind.command(address, data.path());
            surround(&mut command, kind, data.path(), provider)?;
            command.env("TRUSTED_ORIGINS", trusted);
            let child = command
                .spawn()
                .with_context(|| format!("{kind:?} cannot be started; {}", nss::SETUP))?;
            let mut group = Group(child);
            if listens(&mut group, address).await? {
                return Ok(Self {
                    kind,
                    data,
                    group,
                    address,
                });
            }
        }
        let said = said(data.path());
        bail!("{kind:?} does not listen ({}):\n{said}", nss::SETUP)
    }

    /// Which app it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, as `--upstream` wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A line a request: method, path with query, and the person that the app took it for (`-` for nobody). Between
    /// them `SIGNIN how person` and `NOTE text person`.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the server itself printed, for a failing test's message.
    #[must_use]
    pub fn said(&self) -> String {
        said(self.data.path())
    }

    /// Whether its main process still runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.group.0.try_wait()?.is_none())
    }
}

/// A process and all that it started: PHP's workers outlive their parent.
#[derive(Debug)]
struct Group(std::process::Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Asked first: the number of a process that was waited for may be somebody else's by now.
        if matches!(self.0.try_wait(), Ok(None))
            && let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)
        {
            let _gone = kill_process_group(group, Signal::KILL);
        }
        let _ended = self.0.wait();
    }
}

fn prepare_django(data: &Path, provider: &Provider) -> Result<()> {
    let user: &[&str] = &["createsuperuser", "--noinput", "--username", USER];
    for arguments in [
        &["migrate", "--verbosity", "0"],
        &[user, &["--email", "a@b.test"]].concat()[..],
    ] {
        let mut command = Command::new(python());
        command.arg("manage.py").args(arguments);
        surround(&mut command, Kind::Django, data, provider)?;
        let done = command
            .status()
            .with_context(|| format!("Django cannot be started; {}", nss::SETUP))?;
        ensure!(
            done.success(),
            "Django: {arguments:?} ({}):\n{}",
            nss::SETUP,
            said(data)
        );
    }
    Ok(())
}

/// What every app is told, and where it may write.
fn surround(command: &mut Command, kind: Kind, data: &Path, provider: &Provider) -> Result<()> {
    let printed = std::fs::File::options()
        .create(true)
        .append(true)
        .open(data.join("printed"))?;
    command
        .current_dir(kind.folder())
        .env("APP_LOG", data.join("log"))
        .env("APP_DATA", data)
        .env("APP_SECRET", "no secret outside of a test")
        .env("ALICE_PASSWORD", PASSWORD)
        .env("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
        .env("DJANGO_SETTINGS_MODULE", "members.settings")
        .env("IDP_URL", provider.url())
        .env("IDP_BACK", provider.back())
        .env("IDP_KEY", provider.key())
        // No bytecode beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(printed.try_clone()?)
        .stderr(printed)
        .process_group(0);
    Ok(())
}

/// Waits for its port; false when it ended before it listened.
async fn listens(group: &mut Group, address: SocketAddr) -> Result<bool> {
    wait::until("the app to listen", BOUND, || {
        let ended = group.0.try_wait();
        async move {
            if ended?.is_some() {
                return Ok(Some(false));
            }
            Ok(TcpStream::connect(address).await.ok().map(|_| true))
        }
    })
    .await
}

fn said(data: &Path) -> String {
    std::fs::read_to_string(data.join("printed")).unwrap_or_default()
}
