//! The configuration: one schema, from which the file format, the variables, the checks and the reference page follow.
//!
//! Nothing here reads a file or a variable but [`load`]; nothing here is a secret. Every doc comment of
//! a key is what the reference page says about it.

mod arrival;
mod assertion;
mod check;
mod edge;
mod error;
mod reference;
mod schema;
mod session;
mod sources;
mod units;
mod upstream;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::arrival::Arrival;
pub use self::assertion::{Assertion, SigningAlgorithm};
pub use self::check::{
    StoreUrl, VouchPath, identity_aliases, moment, role_named, upstream_authority,
};
pub use self::edge::{Limits, Listen, ListenKind, Tls};
pub use self::error::{ConfigError, Place};
pub(crate) use self::reference::flat_values;
pub use self::reference::{commented_example, reference_page};
pub(crate) use self::schema::toml_text;
pub use self::schema::{Key, KeyKind, json_schema, keys};
pub use self::session::{
    Advance, BoundToIp, Danger, OnContest, OnLimit, OnTheft, Preset, RefusalStatuses, RoleLimit,
    SameSite, Session, SessionToken,
};
pub use self::sources::{Loaded, Setting, Sources, load};
pub(crate) use self::units::lifetime;
pub use self::units::{Size, UnitError, lifetime_text, parse_lifetime};
pub use self::upstream::{
    Armour, ArmourLogin, LeastStrength, Log, LogFormat, Login, Names, OriginScheme, Route, Store,
    Upstream, Vouch,
};

/// All that can be configured.
///
/// `Config::default()` is what runs without a file, a variable or a flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The folder of the local authority, the node secret and the embedded store. Left out, it is
    /// `$XDG_STATE_HOME/wirebound`, else `~/.local/state/wirebound`; one process at a time owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Where clients connect, and whether they are clients.
    pub listen: Listen,
    /// The certificate that clients see.
    pub tls: Tls,
    /// The app behind the gateway.
    pub upstream: Upstream,
    /// How long a session lives and what proves it.
    pub session: Session,
    /// The cookie that names a session. Each default is the safe one; what weakens it is refused at start-up.
    pub session_token: SessionToken,
    /// What weakens protection, by name. Nothing here is on unless it is written out.
    pub danger: Danger,
    /// Which of the app's own cookies never reach the browser.
    pub armour: Armour,
    /// Where the app may say who signed in.
    pub vouch: Vouch,
    /// Signed statements of whose session a request is.
    pub assertion: Assertion,
    /// Where people sign in.
    pub login: Login,
    /// What becomes of links and forms that come from other sites.
    pub arrival: Arrival,
    /// What a path asks for; the longest matching prefix decides, and a path without a rule asks for nothing.
    pub routes: Vec<Route>,
    /// What one client may cost.
    pub limits: Limits,
    /// Where sessions are kept.
    pub store: Store,
    /// What is written to standard error.
    pub log: Log,
}

#[cfg(test)]
mod tests;
