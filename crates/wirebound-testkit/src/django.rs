//! A real Django, as `django-admin startproject` makes it: the app of which not one line is changed.
//!
//! It runs from the virtual environment that `cargo xtask setup` makes. Its files are never touched, but for
//! settings that a test asks for: a person is added through its own command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::firefox::free_port;
use crate::{nss, wait};

/// How long one command of Django's may take.
const BOUND: Duration = Duration::from_secs(60);

/// Another program may take the free port first; then another is tried.
const TRIES: usize = 3;

/// A running project with its admin site and one superuser. Stopped when dropped.
#[derive(Debug)]
pub struct Django {
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

impl Django {
    /// The superuser's name.
    pub const USER: &str = "alice";
    /// The superuser's password.
    pub const PASSWORD: &str = "correct horse battery staple";

    /// Makes a project in a temporary folder and serves it on a free loopback port.
    ///
    /// # Errors
    /// When Django is missing or one of its commands fails.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// The same with these lines at the end of its settings, as its operator would write them there.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(settings: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("wirebound-django-")
            .tempdir()?;
        let at = folder.path();
        run(at, &["-m", "django", "startproject", "site_of_alice", "."]).await?;
        let file = at.join("site_of_alice/settings.py");
        let made = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{made}\n{settings}\n"))?;
        run(at, &["manage.py", "migrate", "--verbosity", "0"]).await?;
        let user = [
            "createsuperuser",
            "--noinput",
            "--username",
            Self::USER,
            "--email",
            "a@b.test",
        ];
        run(at, &[&["manage.py"], &user[..]].concat()).await?;
        for _ in 0..TRIES {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            if let Some(child) = serve(at, address).await? {
                return Ok(Self {
                    folder,
                    child,
                    address,
                });
            }
        }
        bail!("Django does not listen:\n{}", log(at))
    }

    /// Its address, as `--upstream` wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the server printed: one line a request.
    #[must_use]
    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    /// Ends the server and waits for its end.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// The interpreter of the environment that `cargo xtask setup` makes.
#[must_use]
pub fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("target/real/venv/bin/python")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python());
    command
        .args(arguments)
        .current_dir(folder)
        .env("DJANGO_SUPERUSER_PASSWORD", Django::PASSWORD)
        .env("PYTHONUNBUFFERED", "1")
        .env_remove("DJANGO_SETTINGS_MODULE")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = tokio::time::timeout(BOUND, command(folder, arguments).output())
        .await
        .with_context(|| format!("Django: {arguments:?} takes too long"))?
        .with_context(|| format!("{} cannot be started; {}", python().display(), nss::SETUP))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "Django: {arguments:?}: {said}\n({})",
        nss::SETUP
    );
    Ok(())
}

/// Starts the server; none when it ended before it listened.
async fn serve(folder: &Path, address: SocketAddr) -> Result<Option<Child>> {
    let log = std::fs::File::create(folder.join("server.log"))?;
    let mut child = command(
        folder,
        &["manage.py", "runserver", "--noreload", &address.to_string()],
    )
    .stdout(log.try_clone()?)
    .stderr(log)
    .spawn()?;
    let listens = wait::until("Django to listen", BOUND, || {
        let ended = child.try_wait();
        async move {
            if ended?.is_some() {
                return Ok(Some(false));
            }
            Ok(TcpStream::connect(address).await.ok().map(|_| true))
        }
    })
    .await?;
    Ok(listens.then_some(child))
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("server.log")).unwrap_or_default()
}
