//! The session and the cookie that names it: lifetimes, limits, and what is dangerous to change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wirebound::Lifetime;

use super::units::{LifetimeText, lifetime, maybe_lifetime};

/// `[session]`: what proves a session, and how long it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Session {
    /// Which proofs count. `balanced`: this connection, one resumed from it, or one that the browser's own jar vouches for;
    /// and, while nothing of the session is connected, its rolling ticket, at reduced strength, so that people stay signed in
    /// over a browser restart. `strict`: no ticket opens anything; after a browser restart one signs in again. `portable`:
    /// tickets and no connections, for listeners behind a proxy. `bearer`: whoever holds the cookie, for comparison and for
    /// slow changes.
    pub preset: Preset,
    /// A session that nobody used for this long is over. Checked on every request, not only by the sweep. Left out, it
    /// is 8h; and under armour, where the app's own cookie is one that browsers keep, as long as that one lives.
    /// What is written here shortens that as well.
    #[serde(
        with = "maybe_lifetime",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<LifetimeText>")]
    pub idle_timeout: Option<Lifetime>,
    /// A session is over this long after its sign-in, whatever happened since. Nothing extends it.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub absolute_timeout: Lifetime,
    /// How long an identity that was learnt at a sign-in outlives the latest one. What an operator set does not expire.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub identity_lifetime: Lifetime,
    /// The most connections that hold one session at once; at the limit the oldest idle one is closed. 1 is
    /// the purest form: one live connection per session, and the newest wins.
    pub max_wires: u32,
    /// The most sessions of one subject with a role in force, by role: `[session.max_sessions.admin]`.
    /// A role that is not named takes the limit of `user`, 100 by default. `admin` is always 1.
    #[schemars(extend("x-file-only" = true))]
    pub max_sessions: BTreeMap<String, RoleLimit>,
    /// After this many evictions within `freeze_window` the admin role of the subject is frozen until an
    /// operator lifts it: else whoever else has the password plays ping-pong with the owner. 0 switches it off.
    pub freeze_after: u32,
    /// The time in which `freeze_after` counts.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub freeze_window: Lifetime,
    /// How long the role `admin` stays in force in a session; after that it falls back and is asked for again.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub admin_role_lifetime: Lifetime,
    /// What happens when a stranger shows a genuine secret of a session that is alive elsewhere. `refuse`: the
    /// stranger is refused, the owner goes on, an event names both. `end`: the session ends for both. `alert`:
    /// as `refuse`, and the event is an alert.
    pub on_contest: OnContest,
    /// What happens when two parties were seen holding one session. `end`: it ends for both. `refuse`: whoever came last
    /// is refused. `alert`: as `refuse`, and the request counts as one without a cookie wherever that is enough.
    pub on_theft: OnTheft,
    /// When the ticket moves on. `interval`: at most once in `advance_interval`, with a document or what a script asks for.
    /// `get`: with each GET. `every`: with each request. The last two accuse honest people more often: see docs/tickets.md.
    pub advance: Advance,
    /// The least time between two tickets under `interval`. Not under 30s, so that only one before is ever on its way.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub advance_interval: Lifetime,
    /// What a person is answered whose ticket is out of sequence, or contested: 404, which tells nothing, or 401. Programs
    /// always get 401, since some delete what they have at 404.
    pub out_of_sequence_status: u16,
    /// Which statuses refusals have. `all`: 440 for a session whose time is over, among others. `few`: 401, 403 and 503 alone,
    /// for a proxy in front that makes faults of its own from anything else. The codes stay what they are.
    pub statuses: RefusalStatuses,
    /// Controls that are judged and told of, but not enforced: `proof`, `contest`, `theft`, `renewal`, `bound_to_ip`, `csrf`.
    /// For the days before a change; each would-be refusal is an event `shadowed`.
    pub shadow: Vec<String>,
    /// How often what expired is swept up. Nothing depends on it: an expired thing is refused when it is
    /// touched, swept or not; the sweep gives the space back.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub sweep_interval: Lifetime,
}

impl Session {
    /// The idle limit where no cookie of the app says another.
    #[must_use]
    pub fn idle(&self) -> Lifetime {
        self.idle_timeout.unwrap_or(Lifetime::from_hours(8))
    }
}

impl Default for Session {
    fn default() -> Self {
        let admin = RoleLimit {
            max: 1,
            on_limit: OnLimit::EvictOldest,
        };
        Self {
            preset: Preset::Balanced,
            idle_timeout: None,
            absolute_timeout: Lifetime::from_days(14),
            identity_lifetime: Lifetime::from_days(14),
            max_wires: 32,
            max_sessions: BTreeMap::from([("admin".to_owned(), admin)]),
            freeze_after: 3,
            freeze_window: Lifetime::from_mins(10),
            admin_role_lifetime: Lifetime::from_hours(2),
            on_contest: OnContest::Refuse,
            on_theft: OnTheft::End,
            advance: Advance::Interval,
            advance_interval: Lifetime::from_secs(60),
            out_of_sequence_status: 404,
            statuses: RefusalStatuses::All,
            shadow: Vec::new(),
            sweep_interval: Lifetime::from_hours(6),
        }
    }
}

/// Which proofs count, as a set with a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new preset must be met by every match that decides what proves"
)]
pub enum Preset {
    /// Wire, lineage, echo, device.
    Strict,
    /// Also tickets, when nothing of the session is alive.
    #[default]
    Balanced,
    /// Tickets and devices, no wires.
    Portable,
    /// Whoever holds the string.
    Bearer,
}

/// Which statuses refusals have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum RefusalStatuses {
    /// All.
    #[default]
    All,
    /// 401, 403 and 503.
    Few,
}

/// How many sessions of one subject may have a role in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
#[non_exhaustive]
pub struct RoleLimit {
    /// The most sessions at once.
    pub max: u32,
    /// What happens to one more.
    #[serde(default)]
    pub on_limit: OnLimit,
}

/// What happens at a limit of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new answer must be met by every match"
)]
pub enum OnLimit {
    /// The newest wins: the oldest session is ended and told why.
    #[default]
    EvictOldest,
    /// The oldest stays: the sign-in is refused.
    Deny,
}

/// What happens when two parties hold one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new answer must be met by every match"
)]
pub enum OnContest {
    /// The stranger is refused.
    #[default]
    Refuse,
    /// The session ends for both.
    End,
    /// The stranger is refused and the event is an alert.
    Alert,
}

/// What happens at theft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new answer must be met by every match"
)]
pub enum OnTheft {
    /// The session ends for both.
    #[default]
    End,
    /// Whoever came last is refused.
    Refuse,
    /// The request counts as one without a cookie.
    Alert,
}

/// When the ticket moves on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new way must be met by every match"
)]
pub enum Advance {
    /// At most once in an interval.
    #[default]
    Interval,
    /// With each GET.
    Get,
    /// With each request.
    Every,
}

/// `[session_token]`: the cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SessionToken {
    /// Random bytes in the secret. Fewer than 32 is refused: guessing must stay out of the question.
    pub length_bytes: u32,
    /// Where the browser keeps it. Only `httponly_cookie`: what a script can read, an injected script can send away.
    pub storage: String,
    /// How long, in seconds, one secret may go unrenewed while its session is not connected. 0 and more than
    /// 30 days are refused: a copy that lies about must go stale. So `balanced` survives a browser restart within this time.
    /// A connection resumed from the session's own family is exempt; under `strict` it never comes to that.
    pub expiry_seconds: u64,
    /// Whether a sign-in or an elevation replaces the secret. Turning it off lets a secret known before be
    /// worth more after; that needs `danger.keep_secret_on_privilege_escalation`.
    pub rotation_on_privilege_escalation: bool,
    /// Whether the client's address must stay. `off`; `log` reports a change; `prefix` holds the /24 or /56;
    /// `exact` holds the address. A connection from elsewhere then proves nothing, and ends nothing. Addresses of honest
    /// people change, and a thief next door shares them.
    pub bound_to_ip: BoundToIp,
    /// Whether the cookie is `Secure` with the `__Host-` prefix. Off is refused on anything but loopback.
    pub secure_flag: bool,
    /// The cookie's `SameSite`. `None` lets every site send it along, so it needs `danger.samesite_none`.
    pub samesite: SameSite,
}

impl Default for SessionToken {
    fn default() -> Self {
        Self {
            length_bytes: 32,
            storage: "httponly_cookie".to_owned(),
            expiry_seconds: 3600,
            rotation_on_privilege_escalation: true,
            bound_to_ip: BoundToIp::Off,
            secure_flag: true,
            samesite: SameSite::Strict,
        }
    }
}

/// Whether a session is held to its client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new binding must be met by every match that decides"
)]
pub enum BoundToIp {
    /// It is not.
    #[default]
    Off,
    /// A change is an event.
    Log,
    /// The /24 or /56 must stay.
    Prefix,
    /// The address must stay.
    Exact,
}

/// The cookie's `SameSite` attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6265bis knows these three")]
pub enum SameSite {
    /// Never with a request from elsewhere.
    #[default]
    Strict,
    /// With a top-level navigation from elsewhere.
    Lax,
    /// With every request.
    None,
}

/// `[danger]`: what weakens protection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Danger {
    /// Allows `session_token.rotation_on_privilege_escalation = false`. Whoever planted or copied a secret
    /// before the sign-in then holds it after.
    pub keep_secret_on_privilege_escalation: bool,
    /// Allows `session_token.samesite = "None"`: for an app that must live in another site's frame. Every
    /// site can then make the browser send the cookie, and only the CSRF check stands between.
    pub samesite_none: bool,
    /// Lets roles above `user` be used by a ticket alone, without a connection that goes back to the sign-in: for
    /// `portable`, where there is none. A copied cookie of an admin is then an admin.
    pub roles_above_user_by_ticket: bool,
}
