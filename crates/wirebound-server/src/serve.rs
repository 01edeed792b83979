//! From a checked configuration to a running gateway: folder, keys, certificate, port, signals.
//!
//! What a request meets is not here. Everything that can be refused is refused before the port is open.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wirebound::{Clock as _, Timestamp};

use crate::authority::{CA_FILE, LocalAuthority, trust_instructions};
use crate::certificates::Certificates;
use crate::config::{Config, Loaded, Place};
use crate::data_dir::{self, DataDir};
use crate::failure::Failure;
use crate::gateway::{self, Plan};
use crate::system::{SystemClock, SystemEntropy};
use crate::{demo, doctor, logging};

/// Which app stands behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one verb each")]
pub enum App {
    /// The operator's.
    Upstream,
    /// Ours, to look at.
    Demo,
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How often the certificate is looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);

/// Runs a gateway until it is told to stop.
///
/// # Errors
///
/// When it cannot start, or fails while running.
pub fn run(
    loaded: Loaded,
    app: App,
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let may_move = loaded.place("listen.addr") == Place::Default && app == App::Demo;
    let mut config = loaded.config;
    let ours = (app == App::Demo && config.upstream.url.is_none())
        .then(demo::bind)
        .transpose()?;
    if let Some((_, address)) = &ours {
        demo::configure(&mut config, *address);
    }
    if config.upstream.url.is_none() {
        return Err(Failure::config(
            "upstream.url is not set: there is no app to stand in front of",
            "wirebound serve --upstream http://127.0.0.1:3000, or wirebound demo to look around",
        ));
    }
    logging::start(&config.log)?;
    let now = now()?;
    let data_dir = DataDir::open(&folder(&config, variable)?)?;
    if gateway::has_store(&config, &data_dir) && !data_dir.has_node_secret() {
        return Err(Failure::start(
            "node.secret is gone, but there is a store that was written under it",
            "put it back from the backup; or move the store away, and everybody signs in anew",
        ));
    }
    let secret = data_dir.node_secret(&SystemEntropy::new())?;
    let certificates = Arc::new(open_certificates(&config, &data_dir, now)?);
    let wanted = config.listen.addr;
    let listener = listen(&mut config, may_move)?;
    let moved = (wanted.port() != 0 && wanted != config.listen.addr).then_some(wanted);
    let banner = banner(&config, moved, ours.is_some(), &certificates);
    let mut plan = Plan::new(
        config,
        listener,
        Arc::clone(&certificates),
        data_dir,
        secret,
    );
    if ours.is_some() {
        plan.ceilings = demo::ceilings();
    }

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::start(
                format!("no threads can be started: {error}"),
                "wirebound doctor",
            )
        })?;
    raise_open_files(&plan.config);
    // A closed standard output must not keep a gateway from serving.
    let ready = || drop(out.write_all(banner.as_bytes()).and_then(|()| out.flush()));
    runtime.block_on(async move {
        let stop = stop_signal()?;
        let mut reload = match app {
            App::Upstream => Some(heard(SignalKind::hangup())?),
            // Ends with the terminal that it was started in.
            App::Demo => None,
        };
        let (clock, entropy) = (SystemClock::new(), SystemEntropy::new());
        let served = async {
            match ours {
                Some((listener, _)) => demo::serve(listener).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            ended = gateway::run(plan, ready, stop) => ended,
            ended = served => ended,
            () = certificates.keep_fresh(&clock, &entropy, CERTIFICATE_CHECK, &mut reload) => Ok(()),
        }
    })
}

/// Where the local authority's certificate is; made if it is not there yet.
///
/// # Errors
///
/// When the configuration brings its own certificate, or the folder cannot be used.
pub fn local_ca(
    loaded: &Loaded,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, Failure> {
    let config = &loaded.config;
    if let Some(cert) = &config.tls.cert {
        return Err(Failure::config(
            format!("there is no local authority: {} is served", cert.display()),
            "leave --cert and --key out to use the local authority",
        ));
    }
    let folder = folder(config, variable)?;
    let ca = folder.join(CA_FILE);
    // A running gateway owns the folder; its certificate may be pointed at all the same.
    if !ca.exists() {
        let data_dir = DataDir::open(&folder)?;
        LocalAuthority::open(&data_dir, &config.tls.names, &SystemEntropy::new(), now()?)?;
    }
    Ok(ca)
}

/// The data folder that this configuration means.
///
/// # Errors
///
/// When none is named and there is no home.
pub fn folder(
    config: &Config,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, Failure> {
    let named = config
        .data_dir
        .clone()
        .or_else(|| data_dir::default_path(variable))
        .ok_or_else(|| {
            Failure::config(
                "data_dir is not set, and there is no home to put it in",
                "--data-dir DIR",
            )
        })?;
    // What is printed about it is typed elsewhere.
    std::path::absolute(&named).map_err(|error| {
        Failure::config(
            format!("data_dir = {}: {error}", named.display()),
            "--data-dir DIR",
        )
    })
}

fn now() -> Result<Timestamp, Failure> {
    SystemClock::new().now().ok_or_else(|| {
        Failure::start(
            "the clock of this machine has never been set",
            "set it (timedatectl set-ntp true) and start again",
        )
    })
}

fn open_certificates(
    config: &Config,
    data_dir: &DataDir,
    now: Timestamp,
) -> Result<Certificates, Failure> {
    if let (Some(cert), Some(key)) = (&config.tls.cert, &config.tls.key) {
        return Certificates::from_files(cert, key, now);
    }
    let entropy = SystemEntropy::new();
    let mut names = config.tls.names.clone();
    let address = config.listen.addr.ip();
    if !address.is_unspecified() && !address.is_loopback() {
        names.push(address.to_string());
    }
    Certificates::from_authority(
        LocalAuthority::open(data_dir, &names, &entropy, now)?,
        &entropy,
        now,
    )
}

/// Binds the port; the demo takes a free one if the usual one is taken and none was asked for.
fn listen(config: &mut Config, may_move: bool) -> Result<TcpListener, Failure> {
    let wanted = config.listen.addr;
    let bound = match TcpListener::bind(wanted) {
        Err(error) if may_move && error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((wanted.ip(), 0))
        }
        other => other,
    };
    let listener = bound.map_err(|error| unbound(wanted, &error))?;
    let failed =
        |error: io::Error| Failure::start(format!("{wanted}: {error}"), "wirebound doctor");
    rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    config.listen.addr = listener.local_addr().map_err(failed)?;
    Ok(listener)
}

fn unbound(wanted: SocketAddr, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AddrInUse {
        return Failure::start(
            format!("{wanted} is taken by another program"),
            "--listen 127.0.0.1:0 takes a free port; `ss -ltnp` tells who has it",
        );
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Failure::start(
            format!("{wanted} may not be used by this user"),
            "use a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
        );
    }
    Failure::start(
        format!("{wanted} cannot be listened on: {error}"),
        "--listen ADDR of this machine",
    )
}

fn banner(
    config: &Config,
    moved_from: Option<SocketAddr>,
    ours: bool,
    certificates: &Certificates,
) -> String {
    let address = config.listen.addr;
    let host = if address.ip().is_loopback() && certificates.facts().covers("localhost") {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    if !ours {
        let upstream = config.upstream.url.as_deref().unwrap_or_default();
        return format!(
            "wirebound: listening on https://{address}\nwirebound: https://{host}/ stands in front of {upstream}\n"
        );
    }
    let moved = moved_from.map_or_else(String::new, |wanted| {
        format!(" ({wanted} is taken, so it is on another port)")
    });
    let trust = certificates.ca_path().map_or_else(String::new, |ca| {
        format!("\n{}", trust_instructions(&ca, &host))
    });
    format!(
        "Wirebound demo{moved}

  Open     https://{host}/
  People   {people}
  Stop     Ctrl-C
{trust}",
        people = demo::people_text(),
    )
}

/// Many systems let a process open 1,024 files unless it asks for more, which it may.
fn raise_open_files(config: &Config) {
    let needed = doctor::descriptors_needed(config);
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = Rlimit {
        current: Some(needed.min(most)),
        maximum: limit.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => needed.min(most),
        Err(_) => limit.current.unwrap_or(most),
    };
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "fewer files may be open than limits.max_connections may need: raise the limit (ulimit -Hn, LimitNOFILE=) or \
             lower limits.max_connections"
        );
    }
}

fn heard(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::start(
            format!("signals cannot be heard: {error}"),
            "wirebound doctor",
        )
    })
}

/// Done at the first SIGINT or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, Failure> {
    let mut interrupt = heard(SignalKind::interrupt())?;
    let mut terminate = heard(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
