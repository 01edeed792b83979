//! What an operator chose: clocks, limits, and what happens when two meet.

use std::net::IpAddr;

use crate::role::{Role, Strength};
use crate::sequence::Rules;
use crate::time::Lifetime;

/// Which proofs count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the judge must meet each")]
pub enum Preset {
    /// Wire, lineage and echo (and, once they stand, device keys): a copied cookie is never enough.
    Strict,
    /// Also tickets, as grafts, when nothing of the session is connected.
    #[default]
    Balanced,
    /// Tickets and no wires: behind a proxy that ends TLS.
    Portable,
    /// Whoever holds the string. For comparison, and for slow changes.
    Bearer,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Balanced, Self::Portable, Self::Bearer];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Balanced => "balanced",
            Self::Portable => "portable",
            Self::Bearer => "bearer",
        }
    }

    /// Whether connections prove anything.
    #[must_use]
    pub const fn binds_wires(self) -> bool {
        matches!(self, Self::Strict | Self::Balanced)
    }
}

/// What can be judged and reported without being enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the judge must meet each")]
pub enum Control {
    /// A genuine ticket on a wire that proves nothing, where the preset asks for more.
    Proof,
    /// A stranger meets the owner.
    Contest,
    /// Two parties hold one session.
    Theft,
    /// A ticket that went unrenewed for too long, or whose successors nobody takes.
    Renewal,
    /// The client's address changed.
    Address,
    /// The request came from another site.
    Csrf,
}

impl Control {
    /// Every control.
    pub const ALL: [Self; 6] = [
        Self::Proof,
        Self::Contest,
        Self::Theft,
        Self::Renewal,
        Self::Address,
        Self::Csrf,
    ];

    /// Its name in configuration and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Contest => "contest",
            Self::Theft => "theft",
            Self::Renewal => "renewal",
            Self::Address => "bound_to_ip",
            Self::Csrf => "csrf",
        }
    }

    /// Whether in shadow it lets a request in by its string alone; the others only look away from one fact.
    pub(crate) const fn lets_in(self) -> bool {
        matches!(self, Self::Proof | Self::Contest | Self::Theft)
    }

    /// Under which its events are counted, apart from those of the control itself.
    pub(crate) const fn alarm(self) -> &'static str {
        match self {
            Self::Proof => "shadowed proof",
            Self::Contest => "shadowed contest",
            Self::Theft => "shadowed theft",
            Self::Renewal => "shadowed renewal",
            Self::Address => "shadowed bound_to_ip",
            Self::Csrf => "shadowed csrf",
        }
    }
}

/// What happens to a stranger with a current secret while the owner is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the judge must meet each")]
pub enum OnContest {
    /// The stranger is refused, an alarm is raised, the owner goes on.
    #[default]
    Refuse,
    /// Both lose the session.
    End,
    /// The stranger counts as nobody, an alarm is raised.
    Alert,
}

/// What happens at theft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the judge must meet each")]
pub enum OnTheft {
    /// The session ends for both.
    #[default]
    End,
    /// The newcomer is refused, an alarm is raised.
    Refuse,
    /// The newcomer counts as nobody, an alarm is raised.
    Alert,
}

/// What happens to a sign-in at the limit of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the engine must meet each")]
pub enum OnLimit {
    /// The oldest session ends, and is told so.
    #[default]
    EvictOldest,
    /// The sign-in is refused.
    Deny,
}

/// Whether a session is held to the address it signed in from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum BoundToIp {
    /// It is not: honest people's addresses change, and a thief next door shares theirs.
    #[default]
    Off,
    /// A connection from another address is an event.
    Log,
    /// A connection from another /24 (IPv4) or /56 (IPv6) proves nothing.
    Prefix,
    /// A connection from another address proves nothing.
    Exact,
}

impl BoundToIp {
    /// Whether a connection from `now` may belong to a session that was last proved from `before`. An address that is not
    /// known is none that may.
    #[must_use]
    pub fn allows(self, before: Option<IpAddr>, now: Option<IpAddr>) -> bool {
        let known = before.zip(now);
        match self {
            Self::Off | Self::Log => true,
            Self::Exact => known.is_some_and(|(a, b)| a.to_canonical() == b.to_canonical()),
            Self::Prefix => known.is_some_and(|(a, b)| network(a) == network(b)),
        }
    }
}

/// What one customer of an access provider commonly gets: RFC 6177 for the /56.
fn network(address: IpAddr) -> (bool, [u8; 7]) {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            (false, [a, b, c, 0, 0, 0, 0])
        }
        IpAddr::V6(six) => {
            let [a, b, c, d, e, f, g, ..] = six.octets();
            (true, [a, b, c, d, e, f, g])
        }
    }
}

/// How many sessions with this role in force one subject may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct MaxSessions {
    /// Counts sessions whose role in force is this one.
    pub role: Role,
    /// At most so many.
    pub count: u16,
    /// What happens at the limit.
    pub on_limit: OnLimit,
}

/// Clocks, limits and choices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Policy {
    /// Which proofs count.
    pub preset: Preset,
    /// How tickets move on.
    pub tickets: Rules,
    /// What is judged and reported, but not enforced.
    pub shadow: Vec<Control>,
    /// The least strength that a role above `user` asks for. `wire`.
    pub above_user: Strength,
    /// Whether the client's address must stay.
    pub bound_to_ip: BoundToIp,
    /// A stranger meets the owner.
    pub on_contest: OnContest,
    /// Theft was seen.
    pub on_theft: OnTheft,
    /// Idle limit of a session over HTTP. 8 h.
    pub idle: Lifetime,
    /// Idle limit of a session on a raw socket. 10 min.
    pub idle_raw: Lifetime,
    /// Absolute limit, extended by nothing. 14 d.
    pub absolute: Lifetime,
    /// How long an identity that nobody set by hand lives after its latest sign-in. 14 d.
    pub identity: Lifetime,
    /// How long the admin role of a session lives. 2 h.
    pub admin_role: Lifetime,
    /// Evictions of one subject's admin sessions within [`Policy::freeze_window`] that freeze its admin role; 0 is never.
    pub freeze_after: u8,
    /// 10 min.
    pub freeze_window: Lifetime,
    /// Wires that may hold one session at once. 32.
    pub max_wires: u16,
    /// Limits per role in force. `admin` is always at most 1.
    pub max_sessions: Vec<MaxSessions>,
    /// How long a hand-over nonce may be shown. 30 s.
    pub hand_over: Lifetime,
    /// How many ticketless wires one hand-over may pass through. 4.
    pub hand_over_hops: u8,
    /// How long an echo nonce may be brought back. 60 s.
    pub echo: Lifetime,
    /// How often one request is challenged. 4.
    pub echo_tries: u8,
    /// Sessions without any sign of a sign-in that may live at once. 100,000.
    pub max_guests: u32,
    /// Idle limit of a guest. 1 h.
    pub guest_idle: Lifetime,
    /// Age at which a family is renewed; browsers drop theirs at 7 days. 6 d.
    pub renew_family: Lifetime,
    /// For how long a signed assertion that was issued may be good, whatever clock checks it: what is called back is
    /// remembered for so long. None: none are issued. None.
    pub assertions: Option<Lifetime>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            tickets: Rules::default(),
            shadow: Vec::new(),
            above_user: Strength::Wire,
            bound_to_ip: BoundToIp::Off,
            on_contest: OnContest::Refuse,
            on_theft: OnTheft::End,
            idle: Lifetime::from_hours(8),
            idle_raw: Lifetime::from_mins(10),
            absolute: Lifetime::from_days(14),
            identity: Lifetime::from_days(14),
            admin_role: Lifetime::from_hours(2),
            freeze_after: 3,
            freeze_window: Lifetime::from_mins(10),
            max_wires: 32,
            max_sessions: vec![MaxSessions {
                role: Role::USER,
                count: 100,
                on_limit: OnLimit::EvictOldest,
            }],
            hand_over: Lifetime::from_secs(30),
            hand_over_hops: 4,
            echo: Lifetime::from_secs(60),
            echo_tries: 4,
            max_guests: 100_000,
            guest_idle: Lifetime::from_hours(1),
            renew_family: Lifetime::from_days(6),
            assertions: None,
        }
    }
}

impl Policy {
    /// Whether a control is judged and reported, but not enforced.
    #[must_use]
    pub fn is_shadowed(&self, control: Control) -> bool {
        self.shadow.contains(&control)
    }

    /// The limit that applies to a role in force. Without one of its own a role takes that of `user`.
    #[must_use]
    pub fn limit(&self, role: Role) -> MaxSessions {
        let configured = |of: Role| {
            self.max_sessions
                .iter()
                .find(|limit| limit.role == of)
                .copied()
        };
        if role == Role::ADMIN {
            let on_limit = configured(role).map_or(OnLimit::EvictOldest, |limit| limit.on_limit);
            return MaxSessions {
                role,
                count: 1,
                on_limit,
            };
        }
        let common = configured(role).or_else(|| configured(Role::USER));
        MaxSessions {
            role,
            // An identity's record lists its sessions, so there is always a bound.
            count: common.map_or(100, |limit| limit.count.clamp(1, 200)),
            on_limit: common.map_or(OnLimit::EvictOldest, |limit| limit.on_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_exactly_by_its_network_or_not_at_all() {
        let at = |text: &str| text.parse::<IpAddr>().ok();
        for (before, now, prefix, exact) in [
            ("192.0.2.1", "192.0.2.1", true, true),
            ("192.0.2.1", "::ffff:192.0.2.1", true, true),
            ("192.0.2.1", "192.0.2.200", true, false),
            ("192.0.2.1", "192.0.3.1", false, false),
            ("2001:db8:0:12ff::1", "2001:db8:0:1200::2", true, false),
            ("2001:db8:0:1200::1", "2001:db8:0:1300::1", false, false),
            ("192.0.2.1", "2001:db8::1", false, false),
            ("192.0.2.1", "unknown", false, false),
        ] {
            let (before, now) = (at(before), at(now));
            assert_eq!(
                BoundToIp::Prefix.allows(before, now),
                prefix,
                "{before:?} {now:?}"
            );
            assert_eq!(
                BoundToIp::Exact.allows(before, now),
                exact,
                "{before:?} {now:?}"
            );
            assert!(BoundToIp::Off.allows(before, now) && BoundToIp::Log.allows(before, now));
        }
    }

    #[test]
    fn there_is_never_more_than_one_admin_session() {
        let admin = MaxSessions {
            role: Role::ADMIN,
            count: 9,
            on_limit: OnLimit::Deny,
        };
        let policy = Policy {
            max_sessions: vec![admin],
            ..Policy::default()
        };
        assert_eq!(policy.limit(Role::ADMIN).count, 1);
        assert_eq!(policy.limit(Role::ADMIN).on_limit, OnLimit::Deny);
        assert_eq!(policy.limit(Role::USER).count, 100);
    }
}
