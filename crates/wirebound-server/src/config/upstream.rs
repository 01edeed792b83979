//! The side of the app: where it is, which of its cookies are armoured, where it may vouch, what its paths ask for.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use wirebound::{Lifetime, Strength};

use super::units::{LifetimeText, lifetime};

/// `[upstream]`: the app behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Upstream {
    /// `http://HOST:PORT` or `https://HOST:PORT` of the app. No path, no user, no query: the client's path goes
    /// through unchanged. Let nobody but this gateway reach it, or the identity headers can be forged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// PEM file with the authority that signed the certificate of an app at `https://`. Left out, the authorities of the
    /// system are believed. The certificate must be for the host of `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How long a new connection to the app may take before the client is told 502.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub connect_timeout: Lifetime,
    /// How long the app may think before the first byte of its answer; after that the client is told 504.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub response_timeout: Lifetime,
    /// How long an unused connection to the app is kept. Shorter than the app's own limit (many close after
    /// 60 s or 75 s), or requests meet a connection that is just closing.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub keep_alive: Lifetime,
    /// The most unused connections to the app that are kept.
    pub max_idle_connections: u32,
    /// Further fields that carry what `Wirebound-Subject` carries, for apps that know another name: `Remote-User`,
    /// `X-Auth-Request-User`. A client's own are removed in every spelling. The subject is percent-encoded in all.
    pub identity_aliases: Vec<String>,
    /// With which scheme the app is shown our own address in `Origin` and `Referer`. `upstream`: with that of
    /// `upstream.url`, as an app expects that knows nothing of a gateway. `client`: with the client's `https`, for an app
    /// that believes `X-Forwarded-Proto` (Django's `SECURE_PROXY_SSL_HEADER`) and compares them with that.
    pub origin: OriginScheme,
}

/// With which scheme the app is shown our own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(clippy::exhaustive_enums, reason = "there is no third scheme")]
pub enum OriginScheme {
    /// The one the app is spoken to with.
    #[default]
    Upstream,
    /// The one the client speaks.
    Client,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            url: None,
            ca: None,
            connect_timeout: Lifetime::from_secs(5),
            response_timeout: Lifetime::from_mins(1),
            keep_alive: Lifetime::from_secs(50),
            max_idle_connections: 64,
            origin: OriginScheme::Upstream,
            identity_aliases: Vec::new(),
        }
    }
}

/// `[armour]`: the app's own cookies, kept in a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Armour {
    /// `auto` (every HttpOnly cookie of the app), or names and globs such as `sessionid` and `auth_*`. The
    /// browser never sees these cookies; they are put back only on requests that proved themselves.
    /// Empty: nothing is armoured.
    pub cookies: Names,
    /// The most sessions without any sign of a sign-in (no POST that the app answered, no `login.path`, no vouching). A
    /// visitor counts from the first request that brings the cookie back. At the limit the newest go first, whole, so
    /// that a flood of visitors displaces itself and nobody who signed in. One address holds an eighth at most.
    pub max_guests: u32,
    /// A guest whom nobody heard of for this long is over; `session.idle_timeout` counts from the sign-in on.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub guest_idle: Lifetime,
    /// Until this moment a cookie of the app that a browser still has from before counts once as a sign-in of strength
    /// `bearer`, so that the change signs nobody out; after it such cookies are dropped. A date such as `2027-01-31` (its
    /// first moment, UTC) or a moment such as `2027-01-31T18:00:00Z`. Whoever has a copy may be the first to show it: keep
    /// it short. Left out, no such cookie is taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_until: Option<String>,
    /// How the app's own sign-in is recognised.
    pub login: ArmourLogin,
}

impl Default for Armour {
    fn default() -> Self {
        Self {
            cookies: Names::default(),
            max_guests: 100_000,
            guest_idle: Lifetime::from_hours(1),
            import_until: None,
            login: ArmourLogin::default(),
        }
    }
}

/// `[armour.login]`: the app's own sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ArmourLogin {
    /// The path whose answered POST is a sign-in, for an app that keeps one cookie through it; a GET there is one if the
    /// answer redirects, as callbacks of other sign-in services do. Without it, the first armoured cookie that
    /// answers an unsafe request is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Names and globs of cookies, or `auto`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names(Vec<String>);

impl Names {
    /// These names and globs; `auto` alone means every HttpOnly cookie.
    #[must_use]
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether nothing is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every HttpOnly cookie is meant.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        self.0.iter().any(|name| name == "auto")
    }

    /// The names and globs as they were written, `auto` among them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected `auto`, a name, or a list of names")]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(match OneOrMany::deserialize(from)? {
            OneOrMany::One(name) => vec![name],
            OneOrMany::Many(names) => names,
        }))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "names".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["array", "string"], "items": { "type": "string" } })
    }
}

/// `[vouch]`: where the app may say who signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Vouch {
    /// Exact methods and paths such as `POST /login` whose answers may carry `Wirebound-Login`. Anywhere else
    /// those fields are removed and counted: a page that echoes what users upload must not sign anybody in.
    pub paths: Vec<String>,
    /// The highest role that the app may give. An app that is taken over then makes no admins here.
    pub max_role: String,
}

impl Default for Vouch {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            max_role: "user".to_owned(),
        }
    }
}

/// `[login]`: where people sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Login {
    /// A path of the app, or an `https://` address, that refusals link to. Left out, they link nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `[[routes]]`: what a path asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
#[non_exhaustive]
pub struct Route {
    /// A path prefix in whole segments: `/admin` covers `/admin` and `/admin/users`, not `/administrator`.
    pub path: String,
    /// The least role that is served here: `guest`, `user` or `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The least strength of the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<LeastStrength>,
    /// For machines: an API key with this scope is asked for, and a session counts as none. A route that asks for a role or a
    /// strength asks for a session, and there a key counts as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Asks for nothing, below a prefix that asks for something.
    #[serde(default)]
    pub public: bool,
    /// Stands in the list of pages at `/.wirebound/tree`, for whoever may use it. The link leads to exactly `path`.
    #[serde(default)]
    pub listed: bool,
    /// What it is called in that list; the path itself where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl Route {
    /// A path prefix that asks for nothing yet.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            role: None,
            strength: None,
            scope: None,
            public: false,
            listed: false,
            title: None,
        }
    }

    /// The same route for this role and strength or more.
    #[must_use]
    pub fn at_least(self, role: &str, strength: LeastStrength) -> Self {
        Self {
            role: Some(role.to_owned()),
            strength: Some(strength),
            ..self
        }
    }
}

/// The least strength a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new strength must be met by every match"
)]
pub enum LeastStrength {
    /// A string that anybody who holds it may use.
    Bearer,
    /// The rolling secret.
    Ticket,
    /// This connection, or one it was resumed from.
    Wire,
    /// A key that cannot be exported.
    Device,
}

impl From<LeastStrength> for Strength {
    fn from(least: LeastStrength) -> Self {
        match least {
            LeastStrength::Bearer => Self::Bearer,
            LeastStrength::Ticket => Self::Ticket,
            LeastStrength::Wire => Self::Wire,
            LeastStrength::Device => Self::Device,
        }
    }
}

/// `[store]`: where sessions are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Store {
    /// `file:PATH` (the embedded store; a relative path is inside the data folder) or `memory:` (everybody
    /// signs in again after a restart). Left out: `file:sessions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Log {
    /// `text` for people, `json` for machines: one flat object a line.
    pub format: LogFormat,
    /// What is worth a line: a level, or `target=level` pairs with commas between.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "two forms, and the writer matches both"
)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}
