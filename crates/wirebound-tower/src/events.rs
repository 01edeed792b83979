//! Events as log records: one flat record each, of target `wirebound::event`, never with a secret.

use wirebound::{Event, Named, Side, Witness};

/// Writes each event as a `tracing` record with the field `event`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LogWitness;

impl LogWitness {
    /// A witness that logs.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

macro_rules! log {
    ($level:ident, $name:expr, $($fields:tt)*) => {
        tracing::$level!(target: "wirebound::event", event = $name, $($fields)*)
    };
}

impl Witness for LogWitness {
    fn saw(&self, event: Event) {
        let name = event.name();
        match event {
            Event::SignedIn {
                session,
                subject,
                role,
                side,
            } => {
                log!(info, name, session = %session, subject = %subject, role = %role, wire = number(&side), side = %text(&side));
            }
            Event::Ended {
                session,
                subject,
                ending,
                wires,
            } => {
                log!(info, name, session = %session, subject = %subject, ending = ending.name(), wires = wires);
            }
            Event::Attached {
                session,
                wire,
                by,
                stock,
                family,
            } => {
                let family = family.map(|root| root.to_string());
                log!(info, name, session = %session, wire = wire.as_u64(), by = by.name(), stock = stock.name(), family = family);
            }
            Event::HandOverOffered { session, wire } => {
                log!(info, name, session = %session, wire = wire.as_u64());
            }
            Event::Challenged {
                session,
                wire,
                tries,
            } => {
                log!(info, name, session = %session, wire = wire.as_u64(), tries = tries);
            }
            Event::Refused {
                named,
                refusal,
                side,
                unreported,
            } => {
                let (session, key) = match named {
                    Named::Nobody => (None, None),
                    Named::Session(session) => (Some(session.to_string()), None),
                    Named::Key(key) => (None, Some(key.to_string())),
                };
                log!(info, name, session = session, key = key, reason = refusal.name(), wire = number(&side), side = %text(&side), unreported = unreported);
            }
            Event::PhantomSession {
                session,
                ending,
                side,
                unreported,
            } => {
                log!(warn, name, session = %session, ending = ending.name(), wire = number(&side), side = %text(&side), unreported = unreported);
            }
            Event::AddressChanged {
                session,
                newcomer,
                holder,
            } => {
                log!(warn, name, session = %session, wire = number(&newcomer), newcomer = %text(&newcomer), holder = %text(&holder));
            }
            Event::NotProven {
                session,
                cause,
                newcomer,
                holder,
            } => {
                log!(warn, name, session = %session, cause = cause, wire = number(&newcomer), newcomer = %text(&newcomer), holder = %text(&holder));
            }
            Event::Contested {
                session,
                newcomer,
                holder,
                unreported,
            } => {
                log!(warn, name, session = %session, wire = number(&newcomer), newcomer = %text(&newcomer), holder = %text(&holder), unreported = unreported);
            }
            Event::Theft {
                session,
                subject,
                newcomer,
                holder,
                parted_at,
                moved_on,
                at,
                ended,
                unreported,
            } => {
                let moved_on = moved_on.map(wirebound::Timestamp::as_millis);
                log!(error, name, session = %session, subject = %subject, wire = number(&newcomer), newcomer = %text(&newcomer), holder = %text(&holder), parted_at = parted_at, moved_on = moved_on, at = at.as_millis(), ended = ended, unreported = unreported);
            }
            Event::Fork {
                session,
                parted_at,
                taken,
                at,
                other,
                other_at,
            } => {
                log!(warn, name, session = %session, parted_at = parted_at, wire = number(&taken), taken = %text(&taken), at = at.as_millis(), other = %other.escape_default(), other_at = other_at.as_millis());
            }
            Event::RecordBehind { session, by } => {
                let hint = "the store has lost its last writes: look at what happened to it";
                log!(warn, name, session = %session, by = by, hint = hint);
            }
            Event::Shadowed {
                session,
                control,
                would,
                side,
                unreported,
            } => {
                log!(warn, name, session = %session, control = control, would = would, wire = number(&side), side = %text(&side), unreported = unreported);
            }
            Event::OlderSessionEnded { session, side } => {
                log!(info, name, session = %session, wire = number(&side), side = %text(&side));
            }
            Event::Shared { family, sign, side } => {
                let hint = advice(sign);
                log!(warn, name, family = %family, sign = sign, wire = number(&side), side = %text(&side), hint = hint);
            }
            Event::AdminContended {
                subject,
                newcomer,
                holder,
            } => {
                let hint = "the admin role is frozen: stop the gateway and run `wirebound identities unfreeze`";
                log!(error, name, subject = %subject, wire = number(&newcomer), newcomer = %text(&newcomer), holder = %text(&holder), hint = hint);
            }
            Event::OlderSessionStands { session, side } => {
                log!(info, name, session = %session, wire = number(&side), side = %text(&side));
            }
            Event::Imported {
                session,
                cookies,
                spent,
                left,
                side,
            } => {
                log!(info, name, session = %session, cookies = cookies, spent = spent, left = left, wire = number(&side), side = %text(&side));
            }
            Event::ImportsUsedUp { side } => {
                let hint = "cookies of the app are dropped from now on, and people sign in again; somebody may be sending made-up ones";
                log!(warn, name, wire = number(&side), side = %text(&side), hint = hint);
            }
            Event::ElevationIgnored { session, cause } => {
                log!(warn, name, session = %session, cause = cause);
            }
            Event::KeyMade {
                key,
                label,
                owner,
                expires,
            } => {
                let expires = expires.map(wirebound::Timestamp::as_millis);
                log!(info, name, key = %key, label = %label.as_str().escape_default(), owner = %owner, expires = expires);
            }
            Event::KeyRotated {
                key,
                owner,
                overlap_until,
            } => {
                let until = overlap_until.map(wirebound::Timestamp::as_millis);
                log!(info, name, key = %key, owner = %owner, overlap_until = until);
            }
            Event::KeyRevoked { key, owner, by } => {
                log!(info, name, key = %key, owner = %owner, by = by.name());
            }
            Event::KeyRefused {
                key,
                refusal,
                side,
                unreported,
            } => {
                let key = key.map(|key| key.to_string());
                log!(warn, name, key = key, reason = refusal.name(), wire = number(&side), side = %text(&side), unreported = unreported);
            }
            _ => log!(info, name, unknown = true),
        }
    }
}

/// What an operator does about a shared family.
fn advice(sign: &str) -> &'static str {
    match sign {
        "no_server_name" => {
            "a proxy in front connects without the host's name and carries several people over one connection: nobody \
             can be signed in through it. Let it pass TCP through (HAProxy: `mode tcp`; nginx: a `stream` block), or let \
             clients connect here themselves. See the guide, \"Behind a proxy\""
        }
        "forwarding_header" => {
            "a proxy in front ends TLS and adds a forwarding field; it may carry several people over one connection, so \
             nobody can be signed in through it. Let it pass TCP through (HAProxy: `mode tcp`; nginx: a `stream` block), or \
             let clients connect here themselves. If it is one browser alone: an extension that adds the field. See the \
             guide, \"Behind a proxy\""
        }
        "two_user_agents_in_turn" => {
            "two programs take turns on one TLS family. Either a proxy in front ends TLS and carries several people over one \
             connection: let it pass TCP through (HAProxy: `mode tcp`; nginx: a `stream` block), or let clients connect here \
             themselves. Or one browser calls itself two names (a page in desktop mode beside others): it is served again \
             after its restart. See the guide, \"Behind a proxy\""
        }
        _ => {
            "a proxy in front ends TLS and carries several people over one connection: nobody can be signed in through it. \
             Let it pass TCP through (HAProxy: `mode tcp`; nginx: a `stream` block), or let clients connect here themselves. \
             See the guide, \"Behind a proxy\""
        }
    }
}

/// The connection a side is on, to be found again in `wire_opened`.
fn number(side: &Side) -> Option<u64> {
    side.wire.map(wirebound::WireId::as_u64)
}

/// A side as text; what the client calls itself may hold anything, so it is escaped.
fn text(side: &Side) -> String {
    side.to_string().escape_default().to_string()
}
