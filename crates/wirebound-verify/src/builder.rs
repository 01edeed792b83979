//! Setting a verifier up: what must be chosen, what may be, and everything that is refused at the start.

use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use wirebound::Clock;
use wirebound::revocation::feed::FeedKey;
use wirebound_assertion::{Expected, LEEWAY};
use zeroize::Zeroizing;

use crate::ask::Asker;
use crate::follow::Follower;
use crate::known::Known;
use crate::policy::{Bounds, WhenStale, lifetime};
use crate::reach::{Reach, bearer};
use crate::system::{Counter, SystemClock};
use crate::verifier::{Shared, Verifier};

/// The lease, if nobody says otherwise: five beats.
const LEASE: Duration = Duration::from_secs(10);
/// A beat comes every two seconds; less than this would be silence.
const LEASE_LEAST: Duration = Duration::from_secs(3);
/// A token lives no longer than this.
const LEASE_MOST: Duration = Duration::from_mins(15);
/// The longest that anything is taken on a word that is older than the lease.
const ACCEPT_MOST: Duration = Duration::from_hours(24);

/// Whom the gateway's certificate must come from.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "there is nobody else to trust")]
pub enum Trust {
    /// The authorities that the system trusts.
    #[default]
    System,
    /// The authorities in these bytes of a PEM file, and no others.
    Pem(Vec<u8>),
    /// These authorities.
    Roots(RootCertStore),
}

/// A verifier that is being set up.
#[must_use]
pub struct Builder {
    issuer: String,
    audience: String,
    feed_key: Option<Zeroizing<String>>,
    introspect_key: Option<Zeroizing<String>>,
    trust: Trust,
    when_stale: WhenStale,
    lease: Duration,
    leeway: Duration,
    clock: Arc<dyn Clock>,
    plain_loopback: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("when_stale", &self.when_stale)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Why there is no verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotBuilt {
    /// The issuer is no `https://host[:port]`.
    Issuer(String),
    /// Over plain HTTP only an address of this machine can be asked.
    NotLoopback(String),
    /// No API key for the feed, or a text that is none.
    FeedKey,
    /// No API key for questions, where the policy is to ask, or a text that is none.
    IntrospectKey,
    /// A lease that is too short to hear a beat in, or longer than any token lives.
    Lease(Duration),
    /// Tokens would be taken for more than a day without a word of the gateway's.
    AcceptFor(Duration),
    /// Nobody is trusted: the certificates cannot be read, or there are none.
    Trust(String),
    /// It was not started within a runtime of tokio.
    NoRuntime,
}

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer(issuer) => write!(
                f,
                "`{issuer}` cannot be an issuer; write it as the gateway does, as https://gate.example, with nothing behind it"
            ),
            Self::NotLoopback(issuer) => write!(
                f,
                "`{issuer}` is not http:// and a loopback address; anywhere else the gateway is asked over TLS"
            ),
            Self::FeedKey => f.write_str("the feed needs an API key of scope `feed`, as wbk_..."),
            Self::IntrospectKey => {
                f.write_str("asking needs an API key of scope `introspect`, as wbk_...")
            }
            Self::Lease(lease) => write!(
                f,
                "a lease of {lease:?} is not between {LEASE_LEAST:?} and {LEASE_MOST:?}"
            ),
            Self::AcceptFor(bound) => write!(
                f,
                "to accept for {bound:?} without a word is too long; the most is {ACCEPT_MOST:?}"
            ),
            Self::Trust(why) => write!(f, "nobody can vouch for the gateway: {why}"),
            Self::NoRuntime => f.write_str("a verifier is started within a runtime of tokio"),
        }
    }
}

impl core::error::Error for NotBuilt {}

/// What weakens protection, by names that say so.
pub mod danger {
    use super::Builder;

    /// A verifier that asks a gateway on this machine over plain HTTP: for tests. The issuer is `http://` and a loopback
    /// address, and anything else is refused at the start.
    pub fn plain_loopback(issuer: impl Into<String>, audience: impl Into<String>) -> Builder {
        Builder {
            plain_loopback: true,
            ..Builder::new(issuer.into(), audience.into())
        }
    }
}

impl Builder {
    pub(crate) fn new(issuer: String, audience: String) -> Self {
        Self {
            issuer,
            audience,
            feed_key: None,
            introspect_key: None,
            trust: Trust::System,
            when_stale: WhenStale::Refuse,
            lease: LEASE,
            leeway: Duration::from_millis(LEEWAY.as_millis()),
            clock: Arc::new(SystemClock::new()),
            plain_loopback: false,
        }
    }

    /// The API key (`wbk_...`, scope `feed`) that the feed is opened with. There must be one.
    pub fn feed_key(mut self, key: impl Into<String>) -> Self {
        self.feed_key = Some(Zeroizing::new(key.into()));
        self
    }

    /// The API key (`wbk_...`, scope `introspect`) that the gateway is asked with: [`WhenStale::Ask`].
    pub fn introspect_key(mut self, key: impl Into<String>) -> Self {
        self.introspect_key = Some(Zeroizing::new(key.into()));
        self
    }

    /// Whom the gateway's certificate must come from; by default whom the system trusts.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// What happens to good tokens while the feed is silent; by default each is refused.
    pub fn policy(mut self, when_stale: WhenStale) -> Self {
        self.when_stale = when_stale;
        self
    }

    /// How old the feed's word may be: 3 seconds to 15 minutes, by default 10 seconds. The clocks of both machines must not
    /// be further apart than that.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// By how much the clocks may differ when a token's own times are looked at; by default 5 seconds, at most a minute.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The clock; by default the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts to fetch keys and to follow the feed, in the runtime of tokio that this is called in. It goes on until the last
    /// clone of the verifier is dropped. Nothing is taken before [`Verifier::ready`].
    ///
    /// # Errors
    ///
    /// When something that must be chosen was not, or cannot be so. That the gateway is not there is no error: it may come.
    pub fn start(self) -> Result<Verifier, NotBuilt> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| NotBuilt::NoRuntime)?;
        origin(&self.issuer, self.plain_loopback)?;
        let feed_key = self.feed_key.as_ref().ok_or(NotBuilt::FeedKey)?;
        let macs = FeedKey::of_api_key(feed_key).ok_or(NotBuilt::FeedKey)?;
        let key = bearer(feed_key).ok_or(NotBuilt::FeedKey)?;
        let asker = match (&self.introspect_key, self.when_stale) {
            (Some(key), _) => {
                // It has the form of every API key.
                FeedKey::of_api_key(key).ok_or(NotBuilt::IntrospectKey)?;
                Some(Asker::new(bearer(key).ok_or(NotBuilt::IntrospectKey)?))
            }
            (None, WhenStale::Ask) => return Err(NotBuilt::IntrospectKey),
            (None, WhenStale::Refuse | WhenStale::AcceptFor(_)) => None,
        };
        if !(LEASE_LEAST..=LEASE_MOST).contains(&self.lease) {
            return Err(NotBuilt::Lease(self.lease));
        }
        match self.when_stale {
            WhenStale::AcceptFor(bound) if bound > ACCEPT_MOST => {
                return Err(NotBuilt::AcceptFor(bound));
            }
            WhenStale::AcceptFor(_) | WhenStale::Ask | WhenStale::Refuse => {}
        }
        let tls = if self.plain_loopback {
            None
        } else {
            Some(client(roots(self.trust)?)?)
        };
        let counter = Counter::start();
        let reach = Arc::new(Reach::new(&self.issuer, tls));
        let known = Arc::new(Known::new());
        let mut expected = Expected::new(self.issuer, self.audience);
        expected.leeway = lifetime(self.leeway);
        let follower = Follower {
            known: Arc::clone(&known),
            reach: Arc::clone(&reach),
            clock: Arc::clone(&self.clock),
            counter,
            key,
            macs,
            silence: Follower::silence(self.lease),
        };
        let bounds = Bounds {
            lease: lifetime(self.lease),
            when_stale: self.when_stale,
        };
        let shared = Shared::new(expected, bounds, self.clock, counter, known, reach, asker);
        Ok(Verifier::spawn(&runtime, Arc::new(shared), follower))
    }
}

/// Refuses an issuer that is not exactly an origin: its text is compared with what tokens say, and addresses are made of it.
fn origin(issuer: &str, plain_loopback: bool) -> Result<(), NotBuilt> {
    let wrong = || NotBuilt::Issuer(issuer.to_owned());
    let uri: Uri = issuer.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(wrong());
    };
    if authority.as_str().contains('@')
        || authority.host().is_empty()
        || format!("{scheme}://{authority}") != issuer
    {
        return Err(wrong());
    }
    if plain_loopback {
        // By its number: a name might be somebody else's tomorrow.
        let host = authority.host().trim_matches(['[', ']']);
        let loopback = host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        return (*scheme == Scheme::HTTP && loopback)
            .then_some(())
            .ok_or_else(|| NotBuilt::NotLoopback(issuer.to_owned()));
    }
    (*scheme == Scheme::HTTPS).then_some(()).ok_or_else(wrong)
}

fn roots(trust: Trust) -> Result<RootCertStore, NotBuilt> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
        }
        Trust::Pem(bytes) => {
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate =
                    certificate.map_err(|error| NotBuilt::Trust(format!("no PEM ({error})")))?;
                roots
                    .add(certificate)
                    .map_err(|error| NotBuilt::Trust(error.to_string()))?;
            }
        }
        Trust::Roots(given) => roots = given,
    }
    if roots.is_empty() {
        return Err(NotBuilt::Trust("no certificates of authorities".to_owned()));
    }
    Ok(roots)
}

fn client(roots: RootCertStore) -> Result<ClientConfig, NotBuilt> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NotBuilt::Trust(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "wbk_0123456789AB_0123456789abcdefghijABCDEFGHIJ0123456789abc000000";
    const ISSUER: &str = "https://gate.example";

    fn built(with: impl FnOnce(Builder) -> Builder) -> Result<(), NotBuilt> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _within = runtime.enter();
        let builder = Builder::new(ISSUER.to_owned(), "orders".to_owned())
            .trust(Trust::Pem(pem()))
            .feed_key(KEY);
        with(builder).start().map(drop)
    }

    fn pem() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().pem().into_bytes()
    }

    #[test]
    fn what_must_be_chosen_is_missed() {
        assert_eq!(built(|builder| builder), Ok(()));
        let asks = |builder: Builder| builder.policy(WhenStale::Ask);
        assert_eq!(built(asks), Err(NotBuilt::IntrospectKey));
        assert_eq!(built(|b| asks(b).introspect_key(KEY)), Ok(()));
        assert_eq!(
            built(|b| asks(b).introspect_key("wbk_")),
            Err(NotBuilt::IntrospectKey)
        );
        assert_eq!(built(|b| b.feed_key("secret")), Err(NotBuilt::FeedKey));
        let unset = |mut b: Builder| {
            b.feed_key = None;
            b
        };
        assert_eq!(built(unset), Err(NotBuilt::FeedKey));
    }

    #[test]
    fn bounds_have_bounds() {
        let secs = Duration::from_secs;
        for (lease, good) in [(2, false), (3, true), (900, true), (901, false)] {
            assert_eq!(built(|b| b.lease(secs(lease))).is_ok(), good, "{lease}");
        }
        for (bound, good) in [(0, true), (86_400, true), (86_401, false)] {
            let policy = WhenStale::AcceptFor(secs(bound));
            assert_eq!(built(|b| b.policy(policy)).is_ok(), good, "{bound}");
        }
    }

    #[test]
    fn nobody_trusted_is_no_verifier() {
        for pem in [
            "",
            "no certificate",
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        ] {
            let built = built(|b| b.trust(Trust::Pem(pem.into())));
            assert!(matches!(built, Err(NotBuilt::Trust(_))), "{pem}");
        }
        let empty = built(|b| b.trust(Trust::Roots(RootCertStore::empty())));
        assert!(matches!(empty, Err(NotBuilt::Trust(_))));
    }

    #[test]
    fn an_issuer_is_an_origin_and_nothing_more() {
        for good in [ISSUER, "https://gate.example:8443", "https://[::1]:8443"] {
            assert_eq!(origin(good, false), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "gate.example",
            "https://",
            "https://gate.example/",
            "https://gate.example/path",
            "https://gate.example?x",
            "https://user@gate.example",
            "HTTPS://gate.example",
            "http://gate.example",
            "http://127.0.0.1",
            "https://gate.example\n",
        ] {
            let found = origin(wrong, false);
            assert_eq!(found, Err(NotBuilt::Issuer(wrong.to_owned())));
        }
        for good in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:8080",
        ] {
            assert_eq!(origin(good, true), Ok(()), "{good}");
        }
        for wrong in [
            "http://localhost:8080",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
            "http://0.0.0.0",
            "https://127.0.0.1",
        ] {
            let found = origin(wrong, true);
            assert_eq!(found, Err(NotBuilt::NotLoopback(wrong.to_owned())));
        }
    }

    #[test]
    fn outside_of_a_runtime_nothing_starts() {
        let builder = Builder::new(ISSUER.to_owned(), "orders".to_owned()).feed_key(KEY);
        assert_eq!(builder.start().map(drop), Err(NotBuilt::NoRuntime));
    }

    #[test]
    fn api_keys_do_not_print() {
        let builder = Builder::new(ISSUER.to_owned(), "orders".to_owned())
            .feed_key(KEY)
            .introspect_key(KEY);
        assert!(!format!("{builder:?}").contains("0123456789"));
    }
}
