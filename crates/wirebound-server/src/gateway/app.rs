//! The inner service: a judged request on its way to the app, and the app's answer on its way back.
//!
//! It sees requests that passed the gate. What the app is told of who they are comes from the gate alone; the vault
//! is opened only for requests that were proved.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use wirebound::engine::Engine;
use wirebound::{Ending, Entropy, Lifetime, Refusal, Timestamp, Verified};
use wirebound_tower::assertion::Assertions;
use wirebound_tower::body::{self, Body, boxed};
use wirebound_tower::gate::Access;
use wirebound_tower::listen::Connection;
use wirebound_tower::refusal::{Answers, Asker, respond};
use wirebound_tower::tls::Protocol;

use super::answer;
use super::assertion::AllSent;
use super::bodies::Bodies;
use super::cargo::{Cargo, NotKept};
use super::failed::{Failed, malformed};
use super::stopping::Stopping;
use crate::armour::{Armour, Names, Notice, Place, Vault, leak};
use crate::config::{Config, moment};
use crate::failure::Failure;
use crate::hygiene::{self, Paths};
use crate::proxy::{self, CloseCode, Cut, Forwarder, Leg, Told, ToldKey, Unanswered, Upstream};
use crate::vouch::{Nonce, Vouched, Vouching};
use crate::websocket::{self, Asked, Ended, Patience, Tunnel};

/// Under which name the armoured cookies' names are kept over a restart.
const NAMES: &str = "armoured-names";
const KEEP_NAMES_EVERY: Duration = Duration::from_secs(30);

/// The gateway's inner service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) engine: Arc<Engine>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// What signs what the app is told.
    pub(super) assertions: Option<Arc<Assertions>>,
    sent: AllSent,
    pub(super) forwarder: Forwarder,
    pub(super) armour: Armour,
    pub(super) armoured: bool,
    pub(super) vouching: Vouching,
    /// Further fields that carry the subject.
    pub(super) aliases: Arc<[http::HeaderName]>,
    pub(super) ruled: Paths,
    pub(super) patience: Patience,
    pub(super) secure: bool,
    /// `Origin` keeps the client's scheme on the way to the app.
    pub(super) keeps_origin: bool,
    /// The path whose answered unsafe request is a sign-in, for an app that keeps its cookie through it.
    pub(super) login_path: Option<String>,
    pub(super) bodies: Bodies,
    /// Until when cookies of the app that browsers have from before are taken in.
    pub(super) import_until: Option<Timestamp>,
    /// What the operator wrote of idle sessions; nothing written, the app's own cookie says it.
    pub(super) idle: Option<Lifetime>,
    pub(super) stopping: Stopping,
}

/// One request's companions.
pub(super) struct Passage {
    pub(super) access: Access,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) is_unsafe: bool,
    pub(super) asker: Asker,
    pub(super) cargo: Option<Arc<Cargo>>,
    pub(super) stale: Vec<String>,
}

impl Passage {
    pub(super) fn place(&self) -> Place<'_> {
        let seconds = self.access.now().as_millis() / 1000;
        Place::new(&self.authority, &self.path, self.is_unsafe, seconds)
    }
}

impl App {
    pub(super) async fn new(
        config: &Config,
        engine: Arc<Engine>,
        entropy: Arc<dyn Entropy>,
        assertions: Option<Arc<Assertions>>,
    ) -> Result<Self, Failure> {
        let bad = |error: &dyn core::fmt::Display| {
            Failure::config(error.to_string(), "wirebound config check")
        };
        let url = config.upstream.url.as_deref().unwrap_or_default();
        let upstream = Upstream::parse(url)
            .and_then(|upstream| upstream.trusting(config.upstream.ca.as_deref()))
            .map_err(|error| bad(&error))?;
        let forwarder = Forwarder::new(upstream, limits(config));
        let names: Vec<&str> = config.armour.cookies.iter().collect();
        let armour = Armour::new(Names::parse(&names).map_err(|error| bad(&error))?);
        let paths: Vec<&str> = config.vouch.paths.iter().map(String::as_str).collect();
        let roles = ["guest", "user", "admin"];
        let vouching =
            Vouching::new(&paths, &roles, &config.vouch.max_role).map_err(|error| bad(&error))?;
        let inner = Inner {
            engine,
            entropy,
            assertions,
            sent: AllSent::default(),
            forwarder,
            armoured: !names.is_empty(),
            armour,
            vouching,
            aliases: crate::config::identity_aliases(&config.upstream.identity_aliases)
                .map_err(|error| bad(&error))?,
            ruled: if config.routes.is_empty() {
                Paths::Free
            } else {
                Paths::Ruled
            },
            patience: patience(config),
            secure: config.session_token.secure_flag,
            keeps_origin: config.upstream.origin == crate::config::OriginScheme::Client,
            login_path: config.armour.login.path.clone(),
            bodies: Bodies::of(&config.limits),
            import_until: config.armour.import_until.as_deref().and_then(moment),
            idle: config.session.idle_timeout,
            stopping: Stopping::of(&config.limits),
        };
        let app = Self(Arc::new(inner));
        app.recall_names().await?;
        Ok(app)
    }

    /// Names that were armoured before the restart stay armoured.
    async fn recall_names(&self) -> Result<(), Failure> {
        let kept = self.0.engine.kept(NAMES).await;
        let kept = kept.map_err(|error| {
            Failure::start(
                format!("the store cannot be read: {error}"),
                "wirebound doctor",
            )
        })?;
        if let Some(kept) = kept {
            let text = String::from_utf8_lossy(kept.expose()).into_owned();
            self.0.armour.remember(text.lines());
        }
        Ok(())
    }

    /// The gateway stops. Done when everything has been told to come back; drop it with the gateway.
    pub(super) async fn going_away(&self) {
        self.0.stopping.stop().await;
    }

    /// Keeps the names of armoured cookies until it is dropped.
    pub(super) async fn keep_names(&self) {
        let mut written = self.0.armour.seen();
        loop {
            tokio::time::sleep(KEEP_NAMES_EVERY).await;
            let seen = self.0.armour.seen();
            if seen != written {
                self.write_names().await;
                written = seen;
            }
        }
    }

    pub(super) async fn write_names(&self) {
        let text = self.0.armour.seen().join("\n");
        let kept = async {
            let before = self.0.engine.kept(NAMES).await?;
            if before
                .as_ref()
                .is_some_and(|before| before.expose() == text.as_bytes())
            {
                return Ok(true);
            }
            self.0
                .engine
                .keep(NAMES, text.as_bytes(), before.map(|before| before.version))
                .await
        };
        if let Err(error) = kept.await {
            tracing::error!(%error, "the names of armoured cookies could not be kept");
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let asker = Asker::of(&parts.method, &parts.headers);
        let Some(access) = parts.extensions.get::<Access>().cloned() else {
            tracing::error!("a request came past the gate");
            let cannot_say = Refusal::StoreUnavailable;
            return respond(cannot_say, asker, false, &Answers::default()).map(body::full);
        };
        let armour = &self.0.armour;
        let checked = hygiene::check(&parts, self.0.ruled, &|name| {
            armour.stands_for_armoured(name.as_bytes())
        });
        let authority = match checked {
            Ok(authority) => authority,
            Err(fault) => {
                access.wired().connection.close_after_response();
                return malformed(&access, &fault, asker);
            }
        };
        let mut passage = Passage {
            cargo: access
                .verified()
                .and_then(|verified| Cargo::of(access.gate(), verified.session())),
            path: parts.uri.path().to_owned(),
            // CONNECT opens a WebSocket on HTTP/2: nothing was posted.
            is_unsafe: !parts.method.is_safe() && parts.method != Method::CONNECT,
            stale: Vec::new(),
            access,
            authority,
            asker,
        };
        match self.exchange(parts, body, &mut passage).await {
            Ok(response) => response,
            Err(failed) => failed.answer(&passage),
        }
    }

    async fn exchange(
        &self,
        mut parts: Parts,
        body: Incoming,
        passage: &mut Passage,
    ) -> Result<Response<Body>, Failed> {
        let asked = websocket::asked(&parts);
        if let Asked::Malformed(fault) = asked {
            return Ok(malformed(&passage.access, &fault, passage.asker));
        }
        if asked == Asked::Exchange {
            self.take_in(&parts, passage).await?;
        }
        let vault = self.vault(passage).await?;
        passage.stale = self
            .0
            .armour
            .rebuild(&mut parts.headers, vault.as_deref(), &passage.place())
            .stale;
        let mut leg = self.leg(&parts, passage)?;
        leg.told.assertion = self.assertion(passage).await?;
        let cut = leg.cut.clone();
        if self.0.bodies.too_long(&parts.headers) {
            return Ok(answer::own(StatusCode::PAYLOAD_TOO_LARGE, passage.asker));
        }
        let (upload, kept) = self.0.bodies.upload(body, &passage.access);
        let request = Request::from_parts(parts, upload);
        if asked == Asked::Exchange {
            let answered = tokio::select! {
                biased;
                answered = self.0.forwarder.forward(request, leg) => answered?,
                () = self.0.stopping.out_of_time(passage.is_unsafe) => return Err(Failed::GoingAway),
            };
            kept.answered();
            note_removed(&answered.removed);
            let vouched = answered.vouched.map_err(Failed::Vouching)?;
            let mut response = answered.response;
            if let Some(vault) = vault.filter(|vault| !vault.is_empty()) {
                self.look_for_leaks(&mut response, &vault);
            }
            // What the app said to a session that ended meanwhile is for nobody.
            if let Some(code) = cut.fired() {
                return Err(Failed::Unanswered(Unanswered::Cut(code)));
            }
            let response = self.home(response, vouched, passage).await?;
            let last = passage.access.is_ended_by(response.extensions());
            let response = response.map(|body| if last { body.uncut() } else { body });
            return Ok(self.0.bodies.download(response, self.0.stopping.streams()));
        }
        let opened = websocket::open(
            &self.0.forwarder,
            request,
            self.random()?,
            leg,
            self.0.patience,
        )
        .await?;
        if let Some(tunnel) = opened.tunnel {
            carry(tunnel, self.0.stopping.streams(), &passage.access);
        }
        let response = opened.response.map(boxed);
        self.home(response, Vouched::Nothing { disbelieved: 0 }, passage)
            .await
    }

    async fn vault(&self, passage: &Passage) -> Result<Option<Arc<Vault>>, Failed> {
        match (&passage.cargo, passage.access.verified()) {
            (Some(cargo), Some(verified)) if self.0.armoured => Ok(Some(
                cargo
                    .vault(&self.0.engine, verified.session())
                    .await
                    .map_err(NotKept::Store)?,
            )),
            _ => Ok(None),
        }
    }

    async fn assertion(&self, passage: &Passage) -> Result<Option<HeaderValue>, Failed> {
        let (Some(assertions), Some(verified)) = (&self.0.assertions, passage.access.verified())
        else {
            return Ok(None);
        };
        let (engine, now) = (&self.0.engine, passage.access.now());
        let sent = self.0.sent.of(verified.session(), now);
        let value = sent
            .value(
                assertions,
                engine,
                verified,
                passage.access.authority(),
                now,
            )
            .await;
        value.map_err(Failed::store("what the app is told cannot be signed"))
    }

    fn leg(&self, parts: &Parts, passage: &Passage) -> Result<Leg, Failed> {
        let peer = passage.access.wired().connection.peer.ip();
        let mut leg = Leg::new(peer, passage.authority.clone(), Scheme::HTTPS)
            .keeping_origin(self.0.keeps_origin);
        if let Some(verified) = passage.access.verified() {
            leg = leg.told(told(verified));
            // Ended this very moment: whatever was to be sent must not be.
            let cut = passage.cargo.as_ref().map(|cargo| cargo.cut());
            leg = leg.cut(cut.ok_or(Failed::Over)?);
            // What fell between the judgement and the line above was said to those who listened then.
            let watch = passage.access.watch();
            if watch.is_none_or(|watch| watch.now().is_some()) {
                return Err(Failed::Unanswered(Unanswered::Cut(CloseCode::RoleChanged)));
            }
        } else {
            leg = leg.cut(Cut::never());
        }
        leg.told.key = passage.access.key().map(ToldKey::of);
        leg.told.aliases = Arc::clone(&self.0.aliases);
        if self.0.vouching.covers(&parts.method, parts.uri.path()) {
            leg = leg.vouching(Nonce::new(self.random()?));
        }
        Ok(leg)
    }

    fn look_for_leaks(&self, response: &mut Response<proxy::Download>, vault: &Arc<Vault>) {
        if let Some(name) = leak::in_head(response.headers(), vault) {
            self.notice(&Notice::Leak { name });
        }
        if let Some(mut watch) = leak::Watch::new(response.headers(), vault) {
            let body = core::mem::replace(response.body_mut(), proxy::Download::empty());
            let app = self.clone();
            *response.body_mut() = body.observed(Box::new(move |chunk| {
                if let Some(name) = watch.look(chunk) {
                    app.notice(&Notice::Leak { name });
                }
            }));
        }
    }

    pub(super) fn random(&self) -> Result<[u8; 16], Failed> {
        let mut random = [0; 16];
        self.0
            .entropy
            .fill(&mut random)
            .map_err(|_| Failed::Randomness)?;
        Ok(random)
    }
}

impl tower_service::Service<Request<Incoming>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let app = self.clone();
        Box::pin(async move { Ok(app.answer(request).await) })
    }
}

fn told(verified: &Verified) -> Told {
    Told::known(
        verified.subject().as_bytes(),
        &verified.role().to_string(),
        &verified.session().to_string(),
        verified.strength().name(),
    )
}

/// Carries a WebSocket; its wire and its connection live as long as it does.
fn carry(tunnel: Tunnel, stopping: Cut, access: &Access) {
    let access = access.clone();
    let busy = access.wired().connection.hold();
    tokio::spawn(async move {
        let wired = Arc::clone(access.wired());
        let heard = access.clone();
        let tunnel = tunnel.heard(Box::new(move || heard.touch()));
        let goodbye = async {
            tokio::select! {
                code = stopping.closed() => code,
                () = closing(&wired.connection) => CloseCode::GoingAway,
                code = key_over(&access) => code,
                code = claim_over(&access) => code,
            }
        };
        let ended = tunnel.run_until(goodbye).await;
        tracing::debug!(?ended, wire = %wired.wire.id(), "a WebSocket is over");
        if matches!(ended, Ended::Stuck(_)) && wired.connection.protocol == Protocol::Http1 {
            wired.connection.reset();
        }
        drop((busy, wired));
    });
}

/// A WebSocket that an assertion opened ends with it.
async fn claim_over(access: &Access) -> CloseCode {
    let by_claim = access.verified().is_some_and(Verified::is_by_claim);
    match access.watch().filter(|_| by_claim) {
        Some(watch) => match access.gate().cut(&watch).await {
            wirebound::Cut::Ended(ending) => CloseCode::Ended(ending),
            wirebound::Cut::RoleChanged => CloseCode::RoleChanged,
        },
        None => core::future::pending().await,
    }
}

/// A machine's WebSocket ends with its key.
async fn key_over(access: &Access) -> CloseCode {
    match access.key() {
        Some(key) => {
            let _cut = access.gate().key_gone(key).await;
            CloseCode::Ended(Ending::Revoked)
        }
        None => core::future::pending().await,
    }
}

/// The connection is told to hang up, and not because the session ended: that has its own code, and comes first.
async fn closing(connection: &Connection) {
    const SESSION_FIRST: Duration = Duration::from_millis(200);
    connection.hung_up().await;
    tokio::time::sleep(SESSION_FIRST).await;
}

fn note_removed(removed: &proxy::Removed) {
    if *removed != proxy::Removed::default() {
        tracing::debug!(?removed, "fields of the app's answer were removed");
    }
}

fn patience(config: &Config) -> Patience {
    let idle = Duration::from_millis(config.limits.stream_idle.as_millis());
    Patience {
        idle,
        ..Patience::default()
    }
}

fn limits(config: &Config) -> proxy::Limits {
    let time = |lifetime: Lifetime| Duration::from_millis(lifetime.as_millis());
    proxy::Limits {
        connect: time(config.upstream.connect_timeout),
        head: time(config.upstream.response_timeout),
        idle: time(config.upstream.keep_alive),
        idle_connections: usize::try_from(config.upstream.max_idle_connections)
            .unwrap_or(usize::MAX),
        ..proxy::Limits::default()
    }
}
