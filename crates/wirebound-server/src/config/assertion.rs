//! Signed assertions: who gets them, which key signs them, how long they are good.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wirebound::Lifetime;

use super::units::{LifetimeText, lifetime};

/// `[assertion]`: short-lived signed statements of whose session a request is, for services that check them without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Assertion {
    /// Whether the app is told with each request of a session in a signed `Wirebound-Assertion`, beside the plain fields. An
    /// app that checks it believes nobody else's fields, whoever reaches it. Off, since it adds half a kilobyte to each
    /// request, and since `/.well-known/jwks.json` is then answered here and not by the app.
    pub upstream: bool,
    /// Whether browsers get an assertion in an HttpOnly cookie beside the session's own: within its life a request is known
    /// without asking the store, at strength `bearer`. A copy of it works that long, so `strict` and `balanced` refuse it.
    pub cookie: bool,
    /// The algorithm of the keys. `HS256` is for the cookie alone: whoever can check it can make it.
    pub algorithm: SigningAlgorithm,
    /// Who issues: `iss`. Left out, `https://` and the authority that the request asked for, which is right where one name
    /// is served. Services fetch the keys from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// For whom what the app is sent is: `aud`. Left out, the same as the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How long an assertion is good; never more than 15m. It is renewed when half of that is over.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub lifetime: Lifetime,
    /// How often the signing key is replaced.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub rotate_every: Lifetime,
    /// How long a new key is published before it signs. Services may keep the published keys for half as long.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub publish_ahead: Lifetime,
}

impl Assertion {
    /// Whether any are issued.
    #[must_use]
    pub const fn is_issued(&self) -> bool {
        self.upstream || self.cookie
    }
}

impl Default for Assertion {
    fn default() -> Self {
        Self {
            upstream: false,
            cookie: false,
            algorithm: SigningAlgorithm::EdDsa,
            issuer: None,
            audience: None,
            lifetime: Lifetime::from_mins(5),
            rotate_every: Lifetime::from_days(30),
            publish_ahead: Lifetime::from_hours(1),
        }
    }
}

/// How assertions are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[expect(clippy::exhaustive_enums, reason = "a new one needs its keys")]
pub enum SigningAlgorithm {
    /// Ed25519.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// A shared secret.
    #[serde(rename = "HS256")]
    Hs256,
}
