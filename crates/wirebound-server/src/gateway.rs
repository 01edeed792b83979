//! The gateway: what a start-up hands over, put together and served.
//!
//! Which request belongs to whom is the gate's (`wirebound-tower`); what the app gets to see of it is `app`'s; this
//! file opens the store, builds both, and keeps house beside them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wirebound::engine::Engine;
use wirebound::store::{MemoryStore, Store};
use wirebound::{Clock, Entropy, Keys, NodeSecret as EngineSecret, Policy, Role, Subject};
use wirebound_redb::{Options, RedbStore};
use wirebound_tower::LogWitness;
use wirebound_tower::assertion::REMEMBERED;
use wirebound_tower::cookies::Names;
use wirebound_tower::gate::{Arrival, Gate, GateParts};
use wirebound_tower::listen::{self, Listener};
use wirebound_tower::refusal::{Answers, Statuses};
use wirebound_tower::tls::{Grants, Renewals, Tls, TlsParts};

use crate::certificates::Certificates;
use crate::config::{self, Config, StoreUrl};
use crate::control::Control;
use crate::data_dir::{DataDir, NodeSecret};
use crate::failure::Failure;
use crate::orders::Node;
use crate::pages;
use crate::system::{SystemClock, SystemEntropy};

mod answer;
mod app;
mod assertion;
mod bodies;
mod cargo;
mod failed;
mod home;
pub(crate) mod house;
mod patient;
mod policy;
mod routes;
pub(crate) mod signing;
mod stopping;
mod tickets;

pub use app::App;
use house::House;

/// Where the embedded store is, in the data folder.
const STORE_FOLDER: &str = "sessions";

/// All that a gateway is started with. Everything in it has been checked and opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The configuration, checked; `upstream.url` is set.
    pub config: Config,
    /// Bound, listening and not blocking.
    pub listener: TcpListener,
    /// The certificate resolver. Somebody must poll its `keep_fresh`.
    pub certificates: Arc<Certificates>,
    /// The data folder, owned until this is dropped.
    pub data_dir: DataDir,
    /// The node secrets.
    pub secret: NodeSecret,
    /// Subjects whose ceiling is set before the first request: the demo's admin.
    pub ceilings: Vec<(String, Role)>,
}

impl Plan {
    /// From its parts.
    #[must_use]
    pub const fn new(
        config: Config,
        listener: TcpListener,
        certificates: Arc<Certificates>,
        data_dir: DataDir,
        secret: NodeSecret,
    ) -> Self {
        Self {
            config,
            listener,
            certificates,
            data_dir,
            secret,
            ceilings: Vec::new(),
        }
    }
}

/// Serves until `stop` is done, then drains. Says `ready` once nothing can be refused any more but requests.
///
/// # Errors
///
/// When it cannot start, or fails while running.
pub async fn run(
    plan: Plan,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let engine = Arc::new(open_engine(
        &plan.config,
        &plan.data_dir,
        &plan.secret,
        &entropy,
    )?);
    engine.time_tickets(|work| {
        let began = tokio::time::Instant::now();
        work();
        began.elapsed()
    });
    if plan.secret.current().is_some_and(|(epoch, _)| {
        epoch
            .checked_sub(1)
            .is_some_and(|before| plan.secret.of_epoch(before).is_some())
    }) {
        house::renew(&engine, clock.as_ref()).await;
    }
    house::recall(&engine, clock.as_ref()).await?;
    raise_ceilings(&engine, &plan, clock.as_ref()).await?;
    let keys = tickets::open(&engine, clock.as_ref(), entropy.as_ref()).await?;
    let assertions = signing::open(&plan.config, &engine, clock.as_ref(), entropy.as_ref()).await?;
    let (grants, renewals) = (Arc::new(Grants::new()), Arc::new(Renewals::new()));
    let resolver: Arc<dyn rustls::server::ResolvesServerCert> = plan.certificates.clone();
    let tls = Tls::new(TlsParts {
        listener: "edge".to_owned(),
        certificates: resolver,
        keys: Arc::clone(&keys),
        grants: Arc::clone(&grants),
        renewals: Arc::clone(&renewals),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    })
    .map_err(|error| {
        Failure::start(format!("tls cannot be set up: {error}"), "wirebound doctor")
    })?;
    let gate = Gate::new(GateParts {
        engine: Arc::clone(&engine),
        clock: Arc::clone(&clock),
        grants,
        renewals,
        names: cookie_names(&plan.config),
        answers: Answers {
            look: pages::look(),
            login: plan.config.login.url.clone(),
            tree: routes::tree(&plan.config.routes),
            out_of_sequence_is_401: plan.config.session.out_of_sequence_status == 401,
            statuses: match plan.config.session.statuses {
                config::RefusalStatuses::All => Statuses::All,
                config::RefusalStatuses::Few => Statuses::Few,
            },
        },
        needs: routes::needs(&plan.config.routes),
        scopes: routes::scopes(&plan.config.routes),
        assertions: assertions.clone(),
        arrival: Arrival {
            bounce: plan.config.arrival.bounce,
            cross_site_post: plan.config.arrival.cross_site_post.clone(),
        },
    });
    let upstream = assertions
        .clone()
        .filter(|_| plan.config.assertion.upstream);
    let app = App::new(
        &plan.config,
        Arc::clone(&engine),
        Arc::clone(&entropy),
        upstream,
    )
    .await?;
    let listener = tokio::net::TcpListener::from_std(plan.listener).map_err(|error| {
        Failure::start(
            format!("the port cannot be used: {error}"),
            "wirebound doctor",
        )
    })?;
    let listener = Listener::new(listener, Arc::new(tls), limits(&plan.config));
    let control = open_control(plan.data_dir.path());
    let node = Arc::new(Node {
        engine: Arc::clone(&engine),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        assertion: plan.config.assertion.clone(),
        issued: plan.config.assertion.is_issued(),
    });
    ready();
    let sweep_every = Duration::from_millis(plan.config.session.sweep_interval.as_millis());
    let leaving = app.clone();
    let (say, stopped) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        // Nobody hears it only where everything is over already.
        say.send(()).unwrap_or_default();
    };
    let goodbyes = async move {
        if stopped.await.is_ok() {
            leaving.going_away().await;
        }
        core::future::pending::<()>().await;
    };
    let mut house = House::begin(&engine, &clock, sweep_every);
    tokio::select! {
        () = wirebound_tower::gate::serve(listener, gate, app.clone(), stop) => {}
        () = house.ended() => {}
        () = tickets::rotate(&engine, &keys, &clock, &entropy) => {}
        () = signing::rotate(&plan.config, &engine, assertions.as_ref(), &clock, &entropy) => {}
        () = app.keep_names() => {}
        () = take_orders(control.as_ref(), &node) => {}
        () = goodbyes => {}
    }
    if let Some(control) = control {
        control.close().await;
    }
    app.write_names().await;
    house.leave().await;
    house::tidy(&engine, clock.as_ref()).await;
    drop(plan.data_dir);
    Ok(())
}

/// The engine over the store of a data folder. Nobody else may hold the folder.
pub(crate) fn open_engine(
    config: &Config,
    data_dir: &DataDir,
    secrets: &NodeSecret,
    entropy: &Arc<dyn Entropy>,
) -> Result<Engine, Failure> {
    open(config, policy::of(config), data_dir, secrets, entropy)
}

/// The same for orders while no gateway runs. Whatever this configuration says, the gateway may have issued something, so
/// an ending calls back what was issued.
pub(crate) fn open_engine_for_orders(
    config: &Config,
    data_dir: &DataDir,
    secrets: &NodeSecret,
    entropy: &Arc<dyn Entropy>,
) -> Result<Engine, Failure> {
    let policy = Policy {
        assertions: Some(REMEMBERED),
        ..policy::of(config)
    };
    open(config, policy, data_dir, secrets, entropy)
}

fn open(
    config: &Config,
    policy: Policy,
    data_dir: &DataDir,
    secrets: &NodeSecret,
    entropy: &Arc<dyn Entropy>,
) -> Result<Engine, Failure> {
    let store = open_store(config, data_dir)?;
    let secret = |epoch: u32| {
        secrets
            .of_epoch(epoch)
            .map(|secret| EngineSecret::new(epoch, secret.duplicate()))
    };
    let lost = || Failure::start("the node secret file holds no secret", "wirebound doctor");
    let (epoch, _) = secrets.current().ok_or_else(lost)?;
    let current = secret(epoch).ok_or_else(lost)?;
    let previous = epoch.checked_sub(1).and_then(secret);
    let keys = Keys::new(&current, previous.as_ref());
    Ok(Engine::new(
        store,
        keys,
        policy,
        Arc::clone(entropy),
        Arc::new(LogWitness::new()),
    ))
}

/// Whether an earlier start left a store.
pub(crate) fn has_store(config: &Config, data_dir: &DataDir) -> bool {
    store_folder(config, data_dir.path()).is_some_and(|folder| folder.join("store.redb").exists())
}

/// Where the embedded store is, if there is to be one.
pub(crate) fn store_folder(config: &Config, data_dir: &Path) -> Option<PathBuf> {
    let folder = match config.store.url.as_deref().map(StoreUrl::parse) {
        Some(Some(StoreUrl::File(path))) => path,
        Some(Some(StoreUrl::Memory) | None) => return None,
        None => PathBuf::from(STORE_FOLDER),
    };
    Some(data_dir.join(folder))
}

fn open_store(config: &Config, data_dir: &DataDir) -> Result<Arc<dyn Store>, Failure> {
    let folder = match config.store.url.as_deref().map(StoreUrl::parse) {
        None => PathBuf::from(STORE_FOLDER),
        Some(Some(StoreUrl::File(path))) => path,
        Some(Some(StoreUrl::Memory)) => return Ok(Arc::new(MemoryStore::new())),
        Some(None) => {
            return Err(Failure::config(
                "store.url is neither file:PATH nor memory:",
                "--store file:sessions",
            ));
        }
    };
    let store =
        RedbStore::open(data_dir.path().join(folder), Options::default()).map_err(|error| {
            let folder = data_dir.path().display();
            let cause = core::error::Error::source(&error)
                .map_or_else(String::new, |cause| format!(" ({cause})"));
            Failure::start(
                format!("{error}{cause}"),
                format!("wirebound doctor --data-dir {folder} looks it over without touching it"),
            )
        })?;
    Ok(Arc::new(store))
}

/// Without a socket the gateway serves all the same.
fn open_control(folder: &Path) -> Option<Control> {
    match Control::open(folder) {
        Ok(control) => Some(control),
        Err(why) => {
            tracing::warn!(
                hint = why.hint(),
                "no order can be given while this gateway runs, for {why}"
            );
            None
        }
    }
}

async fn take_orders(control: Option<&Control>, node: &Arc<Node>) {
    match control {
        Some(control) => control.serve(node).await,
        None => core::future::pending().await,
    }
}

async fn raise_ceilings(engine: &Engine, plan: &Plan, clock: &dyn Clock) -> Result<(), Failure> {
    for (name, role) in &plan.ceilings {
        let (Ok(subject), Some(now)) = (Subject::new(name.as_bytes()), clock.now()) else {
            continue;
        };
        engine
            .set_ceiling(&subject, *role, now)
            .await
            .map_err(|error| Failure::start(error.to_string(), "wirebound doctor"))?;
    }
    Ok(())
}

fn cookie_names(config: &Config) -> Names {
    let names = if config.session_token.secure_flag {
        Names::secure()
    } else {
        Names::insecure_for_loopback()
    };
    match config.session_token.samesite {
        config::SameSite::Strict => names,
        config::SameSite::Lax => names.lax(),
        // Refused at start-up unless under `[danger]`.
        config::SameSite::None => names.dangerously_cross_site(),
    }
}

fn limits(config: &Config) -> listen::Limits {
    let from = &config.limits;
    let time = |lifetime: wirebound::Lifetime| Duration::from_millis(lifetime.as_millis());
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    listen::Limits {
        max_connections: count(from.max_connections),
        max_per_address: count(from.max_connections_per_address),
        handshake_timeout: time(from.handshake_timeout),
        idle_timeout: time(from.connection_idle),
        header_timeout: time(from.header_timeout),
        max_headers: count(from.header_count),
        max_header_bytes: u32::try_from(from.header_size.as_usize()).unwrap_or(u32::MAX),
        max_streams: from.max_streams,
        shutdown_wait: time(from.drain_timeout),
        ..listen::Limits::default()
    }
}
