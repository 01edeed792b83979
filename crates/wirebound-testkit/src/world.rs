//! A simulated world: one engine, a browser, a thief, and a clock that moves when it is told to.
//!
//! No socket and no thread: a connection is a value, a TLS ticket is a root that a browser keeps. What the engine is
//! told here is what the listener tells it of real ones.

use core::fmt;
use core::future::{Future, ready};
use core::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_executor::block_on;
use wirebound::engine::{
    Accepted, Authorized, Caller, EchoToken, Elevate, Elevated, Leaving, NotElevated, NotSignedIn,
    Offer, Outcome, SignIn, SignedIn,
};
use wirebound::sequence::Holder;
use wirebound::store::{Store, StoreError};
use wirebound::{
    Authority, Connected, Engine, Entropy, EntropyError, Event, Keys, Lifetime, Lineage, Need,
    NodeSecret, Policy, Presented, Refusal, Role, Root, Secret, Subject, Timestamp, Transport,
    Verified, Wire, Witness,
};

/// The host of every session that does not say otherwise.
pub const HOST: &str = "app.test";

/// Repeatable randomness: a counter, hashed by nothing, different each time.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// From a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed << 32))
    }
}

impl Entropy for Dice {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            // splitmix64
            let step = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mut word = step.wrapping_add(0x9e37_79b9_7f4a_7c15);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Keeps every event.
#[derive(Debug, Default)]
pub struct Log(Mutex<Vec<Event>>);

impl Witness for Log {
    fn saw(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Log {
    /// All that happened.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// How many events of this name.
    pub fn count(&self, name: &str) -> usize {
        self.all()
            .iter()
            .filter(|event| event.name() == name)
            .count()
    }
}

/// The far end of a connection, as a test sees it.
#[derive(Debug, Default)]
pub struct Plug {
    /// It was told to close.
    pub closed: AtomicBool,
    /// The peer is gone without a word.
    pub dead: AtomicBool,
    /// Requests being answered.
    pub in_flight: AtomicUsize,
}

impl Plug {
    /// Whether it was told to close.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Transport for Plug {
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn alive(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(ready(!self.dead.load(Ordering::Relaxed)))
    }

    fn trip(&self) -> Option<Lifetime> {
        Some(Lifetime::from_millis(40))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    /// As the engine knows it.
    pub wire: Wire,
    /// Its far end.
    pub plug: Arc<Plug>,
}

/// What a request brings.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The cookie.
    pub cookie: &'a str,
    /// A hand-over nonce.
    pub nonce: Option<&'a Secret>,
    /// Echo nonces.
    pub echoes: &'a [String],
    /// It can follow a 307.
    pub follow: bool,
    /// It was held once.
    pub held: bool,
    /// What its route asks for.
    pub need: Need,
    /// The host it asks.
    pub host: &'a str,
    /// The same for the same request.
    pub request: u8,
    /// Its client calls itself otherwise than before.
    pub other_client: bool,
    /// Its client, where there are no wires.
    pub client: Caller,
}

impl<'a> Ask<'a> {
    /// A cookie and nothing else, where nothing is asked for.
    pub fn new(cookie: &'a str) -> Self {
        Self {
            cookie,
            nonce: None,
            echoes: &[],
            follow: true,
            held: true,
            need: Need::NOTHING,
            host: HOST,
            request: 1,
            other_client: false,
            client: client("browser"),
        }
    }
}

/// What came of a request.
pub enum Answer {
    /// The wire said so by itself.
    Hot(Verified),
    /// The store was asked.
    Proved(Accepted),
    /// Proved, but the route asks for more.
    NotAllowed(Accepted, Refusal),
    /// A 307 with this echo nonce.
    Challenge(String),
    /// A 307 to a connection with tickets; and whether one more grant of them goes with it.
    HandOn(bool),
    /// Wait, then ask again.
    Hold,
    /// No; and whether the client may know why.
    Refused(Refusal, bool),
    /// The store cannot say.
    Unsure(StoreError),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hot(verified) => write!(f, "Hot({verified:?})"),
            Self::Proved(accepted) => write!(f, "Proved({accepted:?})"),
            Self::NotAllowed(_, refusal) => write!(f, "NotAllowed({refusal})"),
            Self::Challenge(_) => f.write_str("Challenge"),
            Self::HandOn(grants) => write!(f, "HandOn(grants: {grants})"),
            Self::Hold => f.write_str("Hold"),
            Self::Refused(refusal, told) => write!(f, "Refused({refusal:?}, told: {told})"),
            Self::Unsure(error) => write!(f, "Unsure({error:?})"),
        }
    }
}

impl Answer {
    /// The session, if the request goes on.
    pub fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Hot(verified) => Some(verified),
            Self::Proved(accepted) => Some(&accepted.verified),
            Self::NotAllowed(..)
            | Self::Challenge(_)
            | Self::HandOn(_)
            | Self::Hold
            | Self::Refused(..)
            | Self::Unsure(_) => None,
        }
    }

    /// Whether the request goes on.
    pub fn is_in(&self) -> bool {
        self.verified().is_some()
    }

    /// The role in force.
    pub fn role(&self) -> Option<Role> {
        self.verified().map(Verified::role)
    }

    /// Why not.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal, _) | Self::NotAllowed(_, refusal) => Some(*refusal),
            Self::Hot(_)
            | Self::Proved(_)
            | Self::Challenge(_)
            | Self::HandOn(_)
            | Self::Hold
            | Self::Unsure(_) => None,
        }
    }
}

/// A cookie jar and a TLS stack.
#[derive(Debug, Default)]
pub struct Browser {
    /// Our cookie.
    pub cookie: String,
    /// The hand-over cookie.
    pub nonce: Option<Secret>,
    /// The echo cookies.
    pub echoes: Vec<String>,
    /// The family whose tickets the TLS stack holds.
    pub family: Option<Root>,
}

impl Browser {
    /// What an infostealer takes: the jar, not the TLS stack.
    pub fn steal_from(&mut self, victim: &Self) {
        self.cookie.clone_from(&victim.cookie);
        self.nonce = victim.nonce.as_ref().map(Secret::duplicate);
        self.echoes.clone_from(&victim.echoes);
    }
}

/// One engine, its store, a browser, a thief and the time.
#[derive(Debug)]
pub struct World {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// What it told.
    pub log: Arc<Log>,
    /// The owner.
    pub browser: Browser,
    /// Who reads her jar.
    pub thief: Browser,
    /// The time.
    pub now: Timestamp,
    /// Where new connections come from.
    pub place: std::net::IpAddr,
    policy: Policy,
    dice: Arc<Dice>,
    roots: u64,
    epoch: u32,
}

impl World {
    /// A world at rest.
    pub fn new(policy: Policy, store: Arc<dyn Store>) -> Self {
        let (dice, log) = (Arc::new(Dice::seeded(1)), Arc::new(Log::default()));
        Self {
            engine: engine(Keys::new(&node(1), None), &store, &policy, &dice, &log),
            store,
            log,
            browser: Browser::default(),
            thief: Browser::default(),
            now: Timestamp::from_millis(1_700_000_000_000),
            place: [192, 0, 2, 1].into(),
            policy,
            dice,
            roots: 0,
            epoch: 1,
        }
    }

    /// Time goes on.
    pub fn step(&mut self, by: Lifetime) {
        self.now = self.now.after(by);
    }

    /// The process ends and another begins over the same store.
    pub fn restart(&mut self) {
        self.restart_in(self.epoch, None);
    }

    /// The process ends and another begins, with the secret of this epoch and maybe of the one before.
    pub fn restart_in(&mut self, epoch: u32, previous: Option<u32>) {
        self.epoch = epoch;
        let keys = Keys::new(&node(epoch), previous.map(node).as_ref());
        self.engine = engine(keys, &self.store, &self.policy, &self.dice, &self.log);
    }

    /// A family that was never seen before.
    pub fn root(&mut self) -> Root {
        self.roots += 1;
        let mut bytes = [0xee; 16];
        bytes[..8].copy_from_slice(&self.roots.to_le_bytes());
        Root::from_bytes(bytes)
    }

    fn line(&self, lineage: Option<Lineage>) -> Line {
        let plug = Arc::new(Plug::default());
        let wire = self.engine.wire(Connected {
            transport: Arc::clone(&plug) as Arc<dyn Transport>,
            address: Some(self.place),
            lineage,
            opened: self.now,
        });
        Line { wire, plug }
    }

    /// Without TLS.
    pub fn plain(&self) -> Line {
        self.line(None)
    }

    /// A full handshake; no tickets.
    pub fn full(&mut self) -> Line {
        let root = self.root();
        self.tls(root, false, false)
    }

    /// A full handshake that took a ticket grant; its family.
    pub fn granted(&mut self) -> (Line, Root) {
        let root = self.root();
        (self.tls(root, false, true), root)
    }

    /// Resumed from a family.
    pub fn resumed(&self, root: Root) -> Line {
        self.tls(root, true, true)
    }

    /// A connection by TLS.
    pub fn tls(&self, root: Root, resumed: bool, ticketed: bool) -> Line {
        self.line(Some(Lineage {
            root,
            also: None,
            resumed,
            ticketed,
            birth: self.now,
        }))
    }

    /// A sign-in, which may be refused.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn try_sign_in(
        &self,
        line: &Line,
        name: &str,
        role: Role,
        named: Option<&Verified>,
    ) -> Result<SignedIn, NotSignedIn> {
        let request = sign_in(name, role);
        block_on(self.engine.sign_in(&line.wire, request, named, self.now))
    }

    /// A sign-in.
    pub fn sign_in(&self, line: &Line, name: &str, role: Role) -> SignedIn {
        self.try_sign_in(line, name, role, None).unwrap()
    }

    /// The browser signs in and goes through the whole hand-over: what it holds after its first page.
    pub fn settle(&mut self, name: &str, role: Role) -> Line {
        let first = self.full();
        let signed_in = self.sign_in(&first, name, role);
        self.browser.cookie = signed_in.cookie.expose().to_owned();
        drop(first);
        let (line, root) = self.granted();
        let ask = Ask {
            nonce: signed_in.hand_over.as_ref(),
            ..Ask::new(&self.browser.cookie)
        };
        assert!(self.ask(&line, &ask).is_in());
        self.browser.family = Some(root);
        line
    }

    /// A request: what the wire says by itself, else what the store says.
    pub fn ask(&self, line: &Line, ask: &Ask<'_>) -> Answer {
        let asked = Authority::of(ask.host);
        let presented = self.engine.read_at(ask.cookie.as_bytes(), &asked).unwrap();
        match self.engine.authorize(&line.wire, &presented, self.now) {
            // A route that asks for more is judged on the slow path here, to see its reason.
            Authorized::Accepted(verified) if ask.need.is_nothing() && !ask.other_client => {
                return Answer::Hot(verified);
            }
            Authorized::Accepted(_) | Authorized::Ask => {}
        }
        let texts = ask.echoes.iter().map(String::as_bytes);
        let echoes: Vec<EchoToken> = self.engine.open_echoes(texts, self.now);
        let authority = Authority::of(ask.host);
        let offer = Offer {
            presented: &presented,
            nonce: ask.nonce.map(Secret::duplicate),
            echoes: &echoes,
            request: [ask.request; 8],
            can_follow: ask.follow,
            held: ask.held,
            surprise: false,
            other_client: ask.other_client,
            client: ask.client.clone(),
            authority: &authority,
            need: ask.need,
        };
        match block_on(self.engine.prove(&line.wire, &offer, self.now)) {
            Err(error) => Answer::Unsure(error),
            Ok(Outcome::Accepted(accepted)) => Answer::Proved(accepted),
            Ok(Outcome::NotAllowed(accepted, refusal)) => Answer::NotAllowed(accepted, refusal),
            Ok(Outcome::Challenge(text)) => Answer::Challenge(text),
            Ok(Outcome::HandOn { grants }) => Answer::HandOn(grants),
            Ok(Outcome::Hold(..)) => Answer::Hold,
            Ok(Outcome::Refused { refusal, told }) => Answer::Refused(refusal, told),
        }
    }

    /// What the answer sets for which the app changed its own cookie, after a request that was accepted with this one.
    pub fn renew(
        &self,
        line: &Line,
        verified: &Verified,
        cookie: &str,
        client: &Caller,
    ) -> Option<String> {
        let host = Authority::of(HOST);
        let presented = self.engine.read_at(cookie.as_bytes(), &host).unwrap();
        let leaving = self.leaving(&presented, client);
        let renewed = self.engine.renew(&line.wire, verified, &leaving, self.now);
        let (cookie, _) = block_on(renewed).unwrap()?;
        Some(cookie.expose().to_owned())
    }

    /// A request of now that changed something, whose answer leaves.
    pub fn leaving<'a>(&self, presented: &'a Presented, client: &'a Caller) -> Leaving<'a> {
        Leaving {
            presented,
            client,
            get: false,
            came: self.now,
        }
    }

    /// A request with a cookie and nothing else.
    pub fn get(&self, line: &Line, cookie: &str) -> Answer {
        self.ask(line, &Ask::new(cookie))
    }

    /// A stranger who follows every challenge to its end, with no jar but the cookie and what it is given itself.
    pub fn insist(&mut self, cookie: &str, nonce: Option<&Secret>) -> Answer {
        let mut echoes = Vec::new();
        loop {
            let line = self.full();
            let ask = Ask {
                echoes: &echoes,
                nonce,
                ..Ask::new(cookie)
            };
            match self.ask(&line, &ask) {
                Answer::Challenge(text) => echoes.push(text),
                other => return other,
            }
        }
    }

    /// An elevation for two hours.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn elevate(
        &self,
        line: &Line,
        verified: &Verified,
        role: Role,
    ) -> Result<Elevated, NotElevated> {
        let elevate = Elevate {
            role,
            lifetime: Lifetime::from_hours(2),
        };
        let client = client("browser");
        block_on(
            self.engine
                .elevate(&line.wire, verified, &client, elevate, self.now),
        )
    }
}

/// A sign-in over HTTP whose answer carries the hand-over.
pub fn sign_in(name: &str, role: Role) -> SignIn {
    SignIn {
        subject: subject(name),
        authority: Authority::of(HOST),
        role,
        persistent: false,
        idle: None,
        absolute: None,
        vault: None,
        carries_hand_over: true,
        client: client("browser"),
    }
}

/// What a browser offers with its cookie and nothing else, and asks for nothing in particular.
#[must_use]
pub fn plain<'a>(presented: &'a Presented, authority: &'a Authority) -> Offer<'a> {
    Offer {
        presented,
        nonce: None,
        echoes: &[],
        request: [1; 8],
        can_follow: true,
        held: true,
        surprise: false,
        other_client: false,
        client: client("browser"),
        authority,
        need: Need::NOTHING,
    }
}

/// A client of this name.
pub fn client(name: &str) -> Caller {
    let mut line = [0; 16];
    for (to, from) in line.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    Caller {
        holder: Holder::Line(line),
        name: Some(name.into()),
    }
}

/// A subject of this name.
pub fn subject(name: &str) -> Subject {
    Subject::new(name.as_bytes()).unwrap()
}

fn node(epoch: u32) -> NodeSecret {
    let byte = u8::try_from(epoch).unwrap();
    NodeSecret::new(epoch, Secret::from_bytes([byte; 32]))
}

fn engine(
    keys: Keys,
    store: &Arc<dyn Store>,
    policy: &Policy,
    dice: &Arc<Dice>,
    log: &Arc<Log>,
) -> Arc<Engine> {
    Arc::new(Engine::new(
        Arc::clone(store),
        keys,
        policy.clone(),
        Arc::clone(dice) as Arc<dyn Entropy>,
        Arc::clone(log) as Arc<dyn Witness>,
    ))
}
