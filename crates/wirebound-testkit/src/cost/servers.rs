//! The servers under measure: each a process (or two) of its own, with TLS 1.3 and one certificate for all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Plan;
use super::load::{Fleet, Who};
use super::usage::{Cores, Usage};
use crate::authority::Authority;
use crate::gateway::{self, Event, Gateway, Setting};
use crate::wait;

/// How long a server may take to accept connections.
const BOUND: Duration = Duration::from_secs(10);

/// What stands in front of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// nginx as a plain reverse proxy.
    Nginx,
    /// nginx that asks an authentication server before each request.
    NginxAsks,
    /// A proxy of nothing but hyper.
    Floor,
    /// The gateway as it is released, with `--armour auto`.
    Gateway,
}

impl Kind {
    /// The cases, in the order of the table.
    pub(super) const CASES: [(Self, Who); 5] = [
        (Self::NginxAsks, Who::Member),
        (Self::Nginx, Who::Member),
        (Self::Floor, Who::Member),
        (Self::Gateway, Who::Nobody),
        (Self::Gateway, Who::Member),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx, plain proxy",
            Self::NginxAsks => "nginx with `auth_request`",
            Self::Floor => "hyper proxy, nothing else",
            Self::Gateway => "wirebound",
        }
    }
}

/// A running server. Its processes end when it is dropped.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    pub(super) ca: PathBuf,
    usage: Usage,
    gateway: Option<Gateway>,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Server {
    /// Starts it on the server's processor.
    pub(super) async fn start(
        kind: Kind,
        plan: &Plan,
        cores: &Cores,
        authority: &Authority,
        upstream: u16,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("wirebound-cost-")
            .tempdir()?;
        let (certificate, key) = authority.files(&["localhost"], folder.path())?;
        let files = Files {
            folder: folder.path(),
            certificate,
            key,
        };
        let mut children = Vec::new();
        let mut gateway = None;
        let address = match kind {
            Kind::Floor => {
                let arguments = [
                    "floor".to_owned(),
                    files.certificate.display().to_string(),
                    files.key.display().to_string(),
                    upstream.to_string(),
                ];
                let (child, address) = cores.on_servers(role(&plan.this, &arguments)).await?;
                children.push(child);
                address
            }
            Kind::Nginx => {
                let (child, address) = cores.on_servers(nginx(&files, upstream, None)).await?;
                children.push(child);
                address
            }
            Kind::NginxAsks => {
                let arguments = ["auth".to_owned()];
                let (auth, asked) = cores.on_servers(role(&plan.this, &arguments)).await?;
                children.push(auth);
                let asked = Some(asked.port());
                let (child, address) = cores.on_servers(nginx(&files, upstream, asked)).await?;
                children.push(child);
                address
            }
            Kind::Gateway => {
                let setting = setting(&plan.gateway, &files, upstream);
                let started = cores.on_servers(Gateway::start(setting)).await?;
                let address = started.address();
                gateway = Some(started);
                address
            }
        };
        let ids = children.iter().map(Child::id);
        let ids: Option<Vec<u32>> = ids.chain(gateway.iter().map(Gateway::id)).collect();
        let usage = Usage::of(&ids.context("a server has ended already")?);
        Ok(Self {
            kind,
            address,
            ca: authority.file(),
            usage,
            gateway,
            children,
            _folder: folder,
        })
    }

    pub(super) const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// How many events the gateway has told of so far; nought for others, which tell nothing.
    pub(super) fn mark(&self) -> usize {
        self.events().len()
    }

    /// The first of those since the mark.
    pub(super) fn told_since(&self, mark: usize) -> String {
        let events = self.events().into_iter().skip(mark).take(20);
        let names = events.map(|event| serde_json::Value::Object(event.fields).to_string());
        names.collect::<Vec<_>>().join(", ")
    }

    fn events(&self) -> Vec<Event> {
        let events = self.gateway.iter().flat_map(Gateway::events);
        // The house's own work says nothing of requests.
        events.filter(|event| event.name != "swept").collect()
    }

    /// Whether each wire of the fleet was proved once and then served without asking the store again.
    ///
    /// An attachment is the only way into the hot path, each is told of, and a request that the store is asked about
    /// either attaches or is refused, which is told of too.
    pub(super) fn has_kept_to_the_hot_path(&self, fleet: &Fleet) -> Result<()> {
        if self.gateway.is_none() || fleet.who == Who::Nobody {
            return Ok(());
        }
        let events = self.events();
        let of_wires =
            |event: &&Event| event.name == "wire.attached" && event.text("by") == "lineage";
        let proved = events.iter().filter(of_wires).count();
        ensure!(
            proved >= fleet.len(),
            "{proved} of {} wires were proved by lineage",
            fleet.len()
        );
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Asked, not killed: nginx has a worker that would outlive its master.
            let asked = gateway::signal(child, Signal::TERM);
            let start = Instant::now();
            while asked.is_ok() && start.elapsed() < BOUND && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

struct Files<'a> {
    folder: &'a Path,
    certificate: PathBuf,
    key: PathBuf,
}

/// The gateway as anybody would start it, but for the bound of one address: all clients here have the same.
fn setting(program: &Path, files: &Files<'_>, upstream: u16) -> Setting {
    let mut setting = Setting::new(program, &format!("http://127.0.0.1:{upstream}"));
    let config = "[limits]\nmax_connections = 20000\nmax_connections_per_address = 20000\nconnection_idle = \"10m\"\n";
    setting.config = Some(config.to_owned());
    setting.arguments = vec![
        "--cert".to_owned(),
        files.certificate.display().to_string(),
        "--key".to_owned(),
        files.key.display().to_string(),
    ];
    setting
}

/// This program in another role; it says its address in one line.
async fn role(program: &Path, arguments: &[String]) -> Result<(Child, SocketAddr)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let line = tokio::time::timeout(BOUND, lines.next_line()).await??;
    Ok((child, line.context("the server said no address")?.parse()?))
}

async fn nginx(
    files: &Files<'_>,
    upstream: u16,
    asked: Option<u16>,
) -> Result<(Child, SocketAddr)> {
    // Taken and given back: nginx is told a port, it does not say one.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let address = free.local_addr()?;
    drop(free);
    let config = files.folder.join("nginx.conf");
    std::fs::write(&config, nginx_conf(files, address, upstream, asked))?;
    let mut child = Command::new("nginx")
        .arg("-p")
        .arg(files.folder)
        .arg("-c")
        .arg(&config)
        .args(["-e", "stderr"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("nginx is missing: run `cargo xtask setup`")?;
    wait::until("nginx", BOUND, || async {
        Ok(tokio::net::TcpStream::connect(address).await.ok())
    })
    .await?;
    ensure!(child.try_wait()?.is_none(), "nginx ended at once");
    // The master listens before it has its worker, whose figures are the ones that count.
    let id = child.id().context("nginx has ended already")?;
    wait::until("nginx's worker", BOUND, || async {
        Ok((Usage::of(&[id]).processes() > 1).then_some(()))
    })
    .await?;
    Ok((child, address))
}

/// One worker, TLS 1.3, HTTP/2, kept connections on both sides, the fields that an app wants from a proxy.
fn nginx_conf(files: &Files<'_>, address: SocketAddr, upstream: u16, asked: Option<u16>) -> String {
    let folder = files.folder.display();
    let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};"))
        .join(" ");
    let forward = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; \
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https; \
         proxy_set_header X-Forwarded-Host $http_host;";
    let (asked_upstream, locations) = match asked {
        None => (
            String::new(),
            format!("location / {{ proxy_pass http://app; {forward} }}"),
        ),
        Some(port) => (
            format!("upstream auth {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}"),
            format!(
                "location = /login {{ proxy_pass http://auth; {forward} }}
    location = /_auth {{ internal; proxy_pass http://auth; proxy_pass_request_body off;
      proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri; {forward} }}
    location / {{ auth_request /_auth; auth_request_set $user $upstream_http_x_user;
      proxy_set_header X-User $user; proxy_pass http://app; {forward} }}"
            ),
        ),
    };
    format!(
        "worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; {temps}
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  {asked_upstream}
  server {{
    listen {address} ssl http2 backlog=4096; server_name localhost;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
    keepalive_timeout 600s; keepalive_requests 1000000000;
    {locations}
  }}
}}
",
        cert = files.certificate.display(),
        key = files.key.display(),
    )
}
