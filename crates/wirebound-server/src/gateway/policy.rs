//! From the configuration to the engine's policy.

use wirebound::sequence::{Advance, Again, Rules};
use wirebound::{
    BoundToIp, Control, Lifetime, MaxSessions, OnContest, OnLimit, OnTheft, Policy, Preset,
    Strength,
};

use wirebound_tower::assertion::REMEMBERED;

use crate::config::{self, Config, ListenKind, role_named};

pub(super) fn of(config: &Config) -> Policy {
    let session = &config.session;
    let narrow = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let defaults = Policy::default();
    let mut max_sessions: Vec<MaxSessions> = session
        .max_sessions
        .iter()
        .filter_map(|(name, limit)| {
            Some(MaxSessions {
                role: role_named(name)?,
                count: narrow(limit.max),
                on_limit: match limit.on_limit {
                    config::OnLimit::EvictOldest => OnLimit::EvictOldest,
                    config::OnLimit::Deny => OnLimit::Deny,
                },
            })
        })
        .collect();
    if !max_sessions
        .iter()
        .any(|limit| limit.role == wirebound::Role::USER)
    {
        max_sessions.extend(defaults.max_sessions.iter().copied());
    }
    Policy {
        idle: session.idle(),
        max_guests: config.armour.max_guests,
        guest_idle: config.armour.guest_idle,
        absolute: session.absolute_timeout,
        identity: session.identity_lifetime,
        admin_role: session.admin_role_lifetime,
        freeze_after: u8::try_from(session.freeze_after).unwrap_or(u8::MAX),
        freeze_window: session.freeze_window,
        max_wires: narrow(session.max_wires),
        max_sessions,
        bound_to_ip: match config.session_token.bound_to_ip {
            config::BoundToIp::Off => BoundToIp::Off,
            config::BoundToIp::Log => BoundToIp::Log,
            config::BoundToIp::Prefix => BoundToIp::Prefix,
            config::BoundToIp::Exact => BoundToIp::Exact,
        },
        preset: match session.preset {
            config::Preset::Strict => Preset::Strict,
            config::Preset::Balanced => Preset::Balanced,
            config::Preset::Portable => Preset::Portable,
            config::Preset::Bearer => Preset::Bearer,
        },
        tickets: Rules {
            advance: match session.advance {
                config::Advance::Interval => Advance::Interval,
                config::Advance::Get => Advance::Get,
                config::Advance::Every => Advance::Every,
            },
            interval: session.advance_interval,
            expiry: Lifetime::from_secs(config.session_token.expiry_seconds),
            again: match config.listen.kind {
                Some(ListenKind::Behind) => Again::Client,
                Some(ListenKind::Edge) | None => Again::Family,
            },
            ..defaults.tickets
        },
        shadow: Control::ALL
            .into_iter()
            .filter(|control| session.shadow.iter().any(|name| control.name() == name))
            .collect(),
        above_user: if config.danger.roles_above_user_by_ticket {
            Strength::Ticket
        } else {
            defaults.above_user
        },
        on_theft: match session.on_theft {
            config::OnTheft::End => OnTheft::End,
            config::OnTheft::Refuse => OnTheft::Refuse,
            config::OnTheft::Alert => OnTheft::Alert,
        },
        on_contest: match session.on_contest {
            config::OnContest::Refuse => OnContest::Refuse,
            config::OnContest::End => OnContest::End,
            config::OnContest::Alert => OnContest::Alert,
        },
        assertions: config.assertion.is_issued().then_some(REMEMBERED),
        ..defaults
    }
}
