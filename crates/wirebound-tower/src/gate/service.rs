//! The layer and its service: one request's way through the gate.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, EXPECT, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use wirebound::engine::Caller;
use wirebound::store::StoreError;
use wirebound::{HandOverKind, Named, Refusal, Timestamp, Verified};

use super::arrival::{self, Met};
use super::depart::Departure;
use super::identify::{Identity, Read};
use super::machine::ByKey;
use super::{Access, Gate, endpoints};
use crate::body::{self, Body, BoxError, drain};
use crate::machine;
use crate::refusal::{Asker, respond};
use crate::wired::Wired;

/// How much of a request's body is thrown away before a 307.
const DRAIN_BYTES: u64 = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Puts the gate around a service.
#[derive(Clone, Debug)]
pub struct GateLayer(Gate);

impl GateLayer {
    pub(super) const fn new(gate: Gate) -> Self {
        Self(gate)
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = GateService<S>;

    fn layer(&self, inner: S) -> GateService<S> {
        GateService {
            gate: self.0.clone(),
            inner,
        }
    }
}

/// A service behind the gate. Its requests must come from [`super::serve`], which knows their connections.
#[derive(Clone, Debug)]
pub struct GateService<S> {
    gate: Gate,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for GateService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let gate = self.gate.clone();
        // The clone that was ready is the one that is used.
        let ready = self.inner.clone();
        let inner = core::mem::replace(&mut self.inner, ready);
        Box::pin(gate.pass(request, inner))
    }
}

static IN_ADDRESSES: Told = Told::new();

/// How many of one kind are told in a second, of a connection's making or not.
const MOST_TOLD: u64 = 16;

/// What was told in this second.
struct Told {
    second: AtomicU64,
    count: AtomicU64,
    began: OnceLock<Instant>,
}

impl Told {
    const fn new() -> Self {
        Self {
            second: AtomicU64::new(0),
            count: AtomicU64::new(0),
            began: OnceLock::new(),
        }
    }

    fn may_tell(&self) -> bool {
        let second = self.began.get_or_init(Instant::now).elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < MOST_TOLD
    }
}

/// A request that was let in, or what it was answered instead.
enum Entry {
    In(Box<Entered>),
    /// A form from another site, to be posted again.
    PostAgain,
    Answered {
        response: Response<Bytes>,
        close: bool,
        drain: bool,
    },
}

/// How a request is refused that was not let in.
#[derive(Clone, Copy)]
struct Refused<'a> {
    refusal: Refusal,
    named: Named,
    /// Who asks, where that is known.
    who: Option<&'a Caller>,
    /// Its client may know more than a stranger.
    told: bool,
    close: bool,
}

impl Refused<'_> {
    const fn of_nobody(refusal: Refusal) -> Self {
        Self {
            refusal,
            named: Named::Nobody,
            who: None,
            told: false,
            close: false,
        }
    }
}

struct Entered {
    access: Access,
    departure: Departure,
}

impl Gate {
    async fn pass<S, B, R>(
        self,
        request: Request<B>,
        mut inner: S,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        B: http_body::Body,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let Some(wired) = parts.extensions.get::<Arc<Wired>>().cloned() else {
            tracing::error!(
                "a request came without its connection: serve the gate with `wirebound_tower::serve`"
            );
            return Ok(whole(respond(
                Refusal::StoreUnavailable,
                Asker::Program,
                false,
                self.answers(),
            )));
        };
        match self.enter(&wired, &parts).await {
            Entry::PostAgain => {
                tracing::debug!(
                    path = parts.uri.path(),
                    "a form from another site is posted again"
                );
                let mut body = core::pin::pin!(body);
                let response = self.post_again(&parts, body.as_mut()).await;
                // What was not read of a form that is refused, so that the answer arrives.
                drop(tokio::time::timeout(DRAIN_TIME, drain(body, DRAIN_BYTES)).await);
                Ok(whole(response))
            }
            Entry::Answered {
                mut response,
                close,
                drain: drains,
            } => {
                // Kept over a 307: it is the same arrival still.
                let done = !response.status().is_redirection();
                if done
                    && self
                        .names()
                        .read(&parts.headers)
                        .is_ok_and(|shown| shown.bounced())
                {
                    self.names().clear_bounce(response.headers_mut());
                }
                // To read a body that waits for 100 would send for it.
                if drains && !parts.headers.contains_key(EXPECT) {
                    drop(tokio::time::timeout(DRAIN_TIME, drain(body, DRAIN_BYTES)).await);
                }
                if close {
                    wired.connection.close_after_response();
                }
                Ok(whole(response))
            }
            Entry::In(entered) => {
                let Entered { access, departure } = *entered;
                let own = endpoints::is_own(&self, parts.uri.path());
                let answered = if own {
                    self.own(&access, &departure, &parts, body).await
                } else {
                    // Watched from before it goes in: an ending in the middle of it counts.
                    let watch = access.watch();
                    // Over, or the wire was found to be shared since it was judged.
                    let gone = watch.is_none() || wired.wire.is_shared();
                    if access.verified().is_some() && gone {
                        let over = Refusal::Unauthenticated;
                        return Ok(whole(access.refuse(over, departure.asker(), false)));
                    }
                    parts.extensions.insert(access.clone());
                    if departure.clears_bounce {
                        arrival::tell_whence(&mut parts);
                    }
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    let watch = watch.filter(|_| !access.is_ended_by(response.extensions()));
                    response.map(|body| match watch {
                        None => self.watch_key(&access, body),
                        Some(watch) => {
                            let gate = self.clone();
                            let visit = access.visit.clone();
                            let signal = || async move {
                                let cut = gate.cut(&watch).await;
                                drop(visit);
                                cut
                            };
                            body::watched(body, signal, access.when_stuck())
                        }
                    })
                };
                let answered = self.depart(&access, departure, answered).await;
                // Until the last of it is sent: else what the gateway holds of the session would be let go under it.
                Ok(match access.visit {
                    Some(visit) => answered.map(|body| body::holding(body, visit)),
                    None => answered,
                })
            }
        }
    }

    /// What streams to a machine stops with its key.
    fn watch_key<R>(&self, access: &Access, body: R) -> Body
    where
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let Some(key) = access.shared_key() else {
            return body::boxed(body);
        };
        let gate = self.clone();
        let signal = || async move { gate.key_gone(&key).await };
        body::watched(body, signal, access.when_stuck())
    }

    async fn enter(&self, wired: &Arc<Wired>, parts: &Parts) -> Entry {
        let asker = Asker::of(&parts.method, &parts.headers);
        let now = self.now();
        let refuse = |refusal, close| {
            let refused = Refused {
                close,
                ..Refused::of_nobody(refusal)
            };
            self.refuse(wired, refused, asker, now)
        };
        let read = match Read::of(self, wired, parts) {
            Ok(read) => read,
            Err(refusal) => return refuse(refusal, true),
        };
        if self.is_misdirected(wired, &read) {
            return refuse(Refusal::Misdirected, false);
        }
        let Ok(shown) = self.names().read(&parts.headers) else {
            return refuse(Refusal::Malformed, true);
        };
        let Ok(key) = machine::key(&parts.headers) else {
            return refuse(Refusal::Malformed, true);
        };
        if let Some(refusal) = misplaced_key(wired, parts, key, &shown) {
            return refuse(refusal, true);
        }
        match self.meets(parts, &read, &shown) {
            Some(Met::Bounce) => {
                return Entry::Answered {
                    response: self.bounce(),
                    close: false,
                    drain: false,
                };
            }
            Some(Met::PostAgain) => return Entry::PostAgain,
            None => {}
        }
        let Some(now) = now else {
            tracing::error!("the clock cannot say what time it is: nobody is let in");
            return refuse(Refusal::StoreUnavailable, false);
        };
        let scopes = self.scopes(parts);
        if key.is_some() || !scopes.is_empty() {
            return self
                .enter_machine(wired, parts, (&read, &shown), key, &scopes, now)
                .await;
        }
        let who = self.client_of(wired, parts);
        let known = async {
            let client = self.look_for_signs(wired, parts, &read, now).await?;
            self.identify(wired, parts, &read, &shown, (client, &who), now)
                .await
        };
        let identity = match known.await {
            Ok(identity) => identity,
            Err(error) => return self.cannot_say(wired, &error, asker, now),
        };
        let mut newcomer = false;
        let mut visit = None;
        let (verified, refusal, mut departure) = match identity {
            Identity::Refused { refusal, told } => {
                if refusal == Refusal::CsrfSurprise {
                    tell_surprise(wired, parts, false);
                }
                let refused = Refused {
                    refusal,
                    named: self.named(wired, &read, &shown, now),
                    who: Some(&who),
                    told,
                    close: read.websocket && refusal == Refusal::NotProven,
                };
                let mut entry = self.refuse(wired, refused, asker, Some(now));
                self.maybe_clear(&mut entry, refusal, told, asker);
                if let Entry::Answered { response, .. } = &mut entry
                    && shown.assertion.is_some()
                    && refusal == Refusal::Malformed
                {
                    // Of two sessions; the next request goes by the cookie alone.
                    self.names().clear_assertion(response.headers_mut());
                }
                return entry;
            }
            Identity::Challenge(nonce) => return self.challenge(parts, &shown, &nonce),
            Identity::Nobody { refusal, told } => {
                if let Some(refusal) = refusal {
                    let counts_as_none = Refused {
                        named: self.named(wired, &read, &shown, now),
                        who: Some(&who),
                        ..Refused::of_nobody(refusal)
                    };
                    self.tell_refused(wired, &counts_as_none, Some(now));
                }
                (
                    None,
                    refusal,
                    Departure {
                        dead: refusal
                            .is_some_and(|why| why == Refusal::Unauthenticated || is_over(why)),
                        older: self.unproved(&shown, refusal.filter(|_| told)),
                        ..Departure::of(&read, &shown, asker)
                    },
                )
            }
            Identity::HandOn { grants } => return self.hand_on(wired, parts, grants, now),
            Identity::NotAllowed {
                accepted,
                echoes_returned,
                refusal,
            } => {
                if accepted.newcomer {
                    self.wait_for_the_hand_over(wired, &accepted.verified, now);
                }
                let refused = Refused {
                    named: Named::Session(accepted.verified.session()),
                    who: Some(&who),
                    told: true,
                    ..Refused::of_nobody(refusal)
                };
                let mut entry = self.refuse(wired, refused, asker, Some(now));
                self.clear_used(&mut entry, &shown, accepted.nonce_spent, echoes_returned);
                return entry;
            }
            Identity::Known {
                accepted,
                echoes_returned,
                presented,
            } => {
                newcomer = accepted.newcomer;
                visit = accepted.visit.map(Arc::new);
                let departure = Departure {
                    nonce_spent: accepted.nonce_spent,
                    presented: Some(presented),
                    clear_echoes: if echoes_returned {
                        shown.echo_slots()
                    } else {
                        Vec::new()
                    },
                    ..Departure::of(&read, &shown, asker)
                };
                (Some(accepted.verified), None, departure)
            }
            Identity::Claimed {
                verified,
                visit: by_claim,
            } => {
                visit = Some(Arc::new(by_claim));
                (Some(verified), None, Departure::of(&read, &shown, asker))
            }
        };
        departure.fresh_assertion = self.is_fresh(wired, &read, &shown, now);
        if let Some(verified) = &verified {
            match self
                .hand_over(wired, parts, &read, &shown, verified, now)
                .await
            {
                Ok(Some(entry)) => return entry,
                Ok(None) if newcomer => self.wait_for_the_hand_over(wired, verified, now),
                Ok(None) => {}
                Err(error) => return self.cannot_say(wired, &error, asker, now),
            }
        }
        departure.verified_before = verified.is_some();
        let access = Access {
            gate: self.clone(),
            wired: Arc::clone(wired),
            verified,
            refusal,
            authority: read.authority.as_str().into(),
            now,
            late: Arc::default(),
            client: who,
            visit,
            key: None,
        };
        Entry::In(Box::new(Entered { access, departure }))
    }

    /// Which scopes of a key a route asks for. What is ours asks by itself.
    fn scopes(&self, parts: &Parts) -> Vec<Arc<str>> {
        if endpoints::is_own(self, parts.uri.path()) {
            return Vec::new();
        }
        (self.0.scopes)(parts)
    }

    /// A request of a machine: with a key, or where one is asked for.
    async fn enter_machine(
        &self,
        wired: &Arc<Wired>,
        parts: &Parts,
        (read, shown): (&Read, &crate::cookies::Shown<'_>),
        key: Option<&[u8]>,
        scopes: &[Arc<str>],
        now: Timestamp,
    ) -> Entry {
        let asker = Asker::of(&parts.method, &parts.headers);
        // A good key is not asked where it comes from: no browser sends one unasked.
        let judged = if read.surprise && key.is_none() {
            tell_surprise(wired, parts, false);
            Ok(ByKey::Refused(Refusal::CsrfSurprise, Named::Nobody))
        } else {
            self.by_key(wired, read, key, scopes, now).await
        };
        let key = match judged {
            Ok(ByKey::In(key)) => key,
            Ok(ByKey::Refused(refusal, named)) => {
                let refused = Refused {
                    named,
                    ..Refused::of_nobody(refusal)
                };
                return self.refuse(wired, refused, asker, Some(now));
            }
            Err(error) => return self.cannot_say(wired, &error, asker, now),
        };
        let departure = Departure {
            machine: true,
            ..Departure::of(read, shown, asker)
        };
        let access = Access {
            gate: self.clone(),
            wired: Arc::clone(wired),
            verified: None,
            refusal: None,
            authority: read.authority.as_str().into(),
            now,
            late: Arc::default(),
            client: self.client_of(wired, parts),
            visit: None,
            key: Some(key),
        };
        Entry::In(Box::new(Entered { access, departure }))
    }

    /// Told to the operator once, and answered.
    fn refuse(
        &self,
        wired: &Wired,
        refused: Refused<'_>,
        asker: Asker,
        now: Option<Timestamp>,
    ) -> Entry {
        let Refused { refusal, told, .. } = refused;
        self.tell_refused(wired, &refused, now);
        Entry::Answered {
            response: respond(refusal, asker, told, self.answers()),
            close: refused.close,
            drain: true,
        }
    }

    fn tell_refused(&self, wired: &Wired, refused: &Refused<'_>, now: Option<Timestamp>) {
        let wire = &wired.wire;
        let side = refused
            .who
            .map_or_else(|| wire.side(), |who| who.side(wire));
        self.engine()
            .tell_refused(refused.named, refused.refusal, side, now);
    }

    /// The session whose genuine cookie was shown, but not proved.
    fn unproved(
        &self,
        shown: &crate::cookies::Shown<'_>,
        refusal: Option<Refusal>,
    ) -> Option<wirebound::SessionId> {
        match refusal {
            Some(
                Refusal::NotProven
                | Refusal::Contested
                | Refusal::TicketNotTaken
                | Refusal::SecretExpired,
            ) => self
                .engine()
                .read(shown.session?)
                .ok()
                .map(|presented| presented.session()),
            _ => None,
        }
    }

    fn cannot_say(&self, wired: &Wired, error: &StoreError, asker: Asker, now: Timestamp) -> Entry {
        tracing::error!(%error, cause = core::error::Error::source(error).map(tracing::field::display), "cannot decide: answered 503");
        let refused = Refused::of_nobody(Refusal::StoreUnavailable);
        self.refuse(wired, refused, asker, Some(now))
    }

    fn maybe_clear(&self, entry: &mut Entry, refusal: Refusal, told: bool, asker: Asker) {
        if let Entry::Answered { response, .. } = entry
            && clears_cookie(refusal, told, asker)
        {
            self.names().clear_session(response.headers_mut());
        }
    }

    /// Whoever was proved and is not allowed has used his nonces all the same: left in the jar, they would speak against him.
    fn clear_used(
        &self,
        entry: &mut Entry,
        shown: &crate::cookies::Shown<'_>,
        nonce_spent: bool,
        echoes_returned: bool,
    ) {
        let Entry::Answered { response, .. } = entry else {
            return;
        };
        if nonce_spent {
            self.names().clear_hand_over(response.headers_mut());
        }
        if echoes_returned {
            self.names()
                .clear_echoes(response.headers_mut(), &shown.echo_slots());
        }
    }

    /// Lineage's rule 5: nothing is served, the jar carries the nonce, the connection closes.
    fn challenge(&self, parts: &Parts, shown: &crate::cookies::Shown<'_>, nonce: &str) -> Entry {
        let mut response = same_url(parts);
        let seconds = self.engine().policy().echo.as_secs();
        self.names()
            .set_echo(response.headers_mut(), shown, nonce, seconds);
        Entry::Answered {
            response,
            close: true,
            drain: true,
        }
    }

    /// Lineage's rule 4: at the next safe request that can follow a 307, a wire that owes a hand-over offers it.
    async fn hand_over(
        &self,
        wired: &Wired,
        parts: &Parts,
        read: &Read,
        shown: &crate::cookies::Shown<'_>,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Option<Entry>, StoreError> {
        let engine = self.engine();
        let Some(kind) = engine.hand_over_due(&wired.wire, verified, now) else {
            return Ok(None);
        };
        if !carries(parts, read) {
            return Ok(None);
        }
        let Some(offer) = engine
            .offer_hand_over(&wired.wire, verified, read.takes_secret, now)
            .await?
        else {
            return Ok(None);
        };
        if kind == HandOverKind::Renewal {
            self.0.renewals.due(wired.connection.family.root, now);
        }
        self.grant(wired, now);
        let mut response = same_url(parts);
        let seconds = engine.policy().hand_over.as_secs();
        self.names()
            .set_hand_over(response.headers_mut(), &offer.nonce, seconds);
        // They have done their work: the next connection must not look like one that was challenged in vain.
        self.names()
            .clear_echoes(response.headers_mut(), &shown.echo_slots());
        if let Some((ticket, keep)) = &offer.ticket {
            let keep = keep.map(wirebound::Lifetime::as_secs);
            self.names()
                .set_session(response.headers_mut(), ticket, keep);
        }
        Ok(Some(Entry::Answered {
            response,
            close: true,
            drain: true,
        }))
    }

    /// A wire without tickets showed the nonce: its client is sent straight on to one that takes the grant. Were it
    /// served instead, a client that then rests would come back after the nonce's life, and with nothing to prove.
    fn hand_on(&self, wired: &Wired, parts: &Parts, grants: bool, now: Timestamp) -> Entry {
        if grants {
            self.grant(wired, now);
        }
        Entry::Answered {
            response: same_url(parts),
            close: true,
            drain: true,
        }
    }

    /// One ticket grant for the client's place.
    pub(super) fn grant(&self, wired: &Wired, now: Timestamp) {
        let connection = &wired.connection;
        if !self
            .0
            .grants
            .open(connection.peer.ip(), connection.sni.as_deref(), now)
        {
            tracing::warn!("too many ticket grants are open; a hand-over may need another try");
        }
    }
}

/// A key beside a session's cookie is two kinds of credentials; one in an address is in somebody's log by now.
fn misplaced_key(
    wired: &Wired,
    parts: &Parts,
    key: Option<&[u8]>,
    shown: &crate::cookies::Shown<'_>,
) -> Option<Refusal> {
    if machine::stands_in(&parts.uri) {
        let hint =
            "a key that stood in an address is in logs and histories: rotate it without an overlap";
        // Anybody can make one up: what is told of it is bounded.
        if IN_ADDRESSES.may_tell() {
            tracing::warn!(
                target: "wirebound::event",
                event = "key_in_address",
                wire = wired.wire.id().as_u64(),
                hint = hint,
            );
        }
        return Some(Refusal::Malformed);
    }
    let two = key.is_some() && (shown.session.is_some() || shown.assertion.is_some());
    two.then_some(Refusal::Malformed)
}

/// A page of another site tried to change something here. What it says of itself may hold anything, so it is escaped.
pub(super) fn tell_surprise(wired: &Wired, parts: &Parts, shadowed: bool) {
    let says = |name: &str| {
        let value = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        let text: String = value.unwrap_or_default().chars().take(120).collect();
        text.escape_default().to_string()
    };
    tracing::warn!(
        target: "wirebound::event",
        event = "csrf_surprise",
        wire = wired.wire.id().as_u64(),
        method = %parts.method,
        path = parts.uri.path(),
        site = says("sec-fetch-site"),
        origin = says("origin"),
        shadowed = shadowed,
    );
}

/// Whether a request is safe and its client can follow a 307, so that its answer may carry a hand-over.
fn carries(parts: &Parts, read: &Read) -> bool {
    read.safe
        && read.can_follow
        && !parts.headers.contains_key(http::header::RANGE)
        && parts.method != http::Method::OPTIONS
}

/// Whether an answer of our own clears our cookie: only on a navigation, only where an ended session was shown. What the app
/// answers clears nothing: it may take its time, and somebody may sign in meanwhile in another tab.
fn clears_cookie(refusal: Refusal, told: bool, asker: Asker) -> bool {
    is_over(refusal) && told && asker == Asker::Person
}

/// Whether a cookie is of a session that is over, and that no newer one replaced.
fn is_over(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::PhantomSession(ending) | Refusal::SessionExpired(ending)
            if ending != wirebound::Ending::Replaced
    )
}

/// A 307 to the very same URL.
fn same_url(parts: &Parts) -> Response<Bytes> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    // A target that begins with two slashes would be read as another authority.
    let target = if target.starts_with("//") {
        format!("/.{target}")
    } else {
        target.to_owned()
    };
    if let Ok(location) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(body::full)
}
