//! The verbs of keys: what machines show, and, apart by name, what signs assertions.

use clap::{Args, Subcommand};
use wirebound::revocation::TokenId;
use wirebound::{ApiKeyId, KeyLabel, KeyScopes, Lifetime, SessionId, Subject};
use wirebound_assertion::Kid;

use super::orders::{OrderFlags, word};
use crate::config::{moment, parse_lifetime};
use crate::failure::{Exit, Failure};
use crate::orders::{Due, Order};

#[derive(Debug, Subcommand)]
pub(super) enum KeysVerb {
    /// Make an API key and print it, once.
    Create {
        /// Whose it is: it is refused while they are blocked, and dies with them.
        #[arg(long, value_parser = word::<Subject>)]
        owner: Subject,
        /// What it is called, in lists and events.
        #[arg(long, value_parser = word::<KeyLabel>)]
        label: KeyLabel,
        /// What it may do; may be repeated.
        #[arg(long = "scope", value_name = "SCOPE", value_parser = scope, required = true)]
        scopes: Vec<String>,
        /// When its time is over: 90d, 2027-01-31 [default: never]
        #[arg(long, value_name = "WHEN", value_parser = word::<Due>)]
        expires: Option<Due>,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// List API keys, those that died less than 30 days ago among them.
    Ls {
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Print what is known of an API key.
    Show {
        /// Its id.
        #[arg(value_parser = word::<ApiKeyId>)]
        id: ApiKeyId,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Give an API key a new secret and print it, once.
    Rotate {
        /// Its id.
        #[arg(value_parser = word::<ApiKeyId>)]
        id: ApiKeyId,
        /// For how long the secret before is good as well.
        #[arg(long, value_name = "TIME", value_parser = lifetime, default_value = "24h", conflicts_with = "now")]
        overlap: Lifetime,
        /// The secret before is dead at once: it leaked.
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Revoke an API key, at once and for good.
    Revoke {
        /// Its id.
        #[arg(value_parser = word::<ApiKeyId>)]
        id: ApiKeyId,
        /// It was seen where it does not belong.
        #[arg(long)]
        leaked: bool,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// List, rotate or retire the keys that sign assertions.
    #[command(subcommand)]
    Signing(SigningVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum SigningVerb {
    /// List the signing keys and their lives.
    Ls {
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Publish the next key at once; it signs when everybody could fetch it.
    Rotate {
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Take a key that leaked out at once: what it signed is believed no more.
    Retire {
        /// Its name.
        #[arg(value_parser = word::<Kid>, allow_hyphen_values = true)]
        kid: Kid,
        #[command(flatten)]
        flags: OrderFlags,
    },
}

/// What is called back.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// End this session and call back what was issued for it.
    #[arg(long, value_name = "ID", value_parser = word::<SessionId>)]
    session: Option<SessionId>,
    /// Call back one token, by its `jti`.
    #[arg(long, value_name = "JTI", value_parser = word::<TokenId>, allow_hyphen_values = true)]
    token: Option<TokenId>,
    /// End all sessions of this subject and call back what was issued for it; it may sign in again.
    #[arg(long, value_parser = word::<Subject>)]
    subject: Option<Subject>,
    /// Call back everything that was issued before this moment: `now`, 2027-01-31T18:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = before)]
    before: Option<Before>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RevokeFlags {
    #[command(flatten)]
    what: What,
    /// When the token runs out by itself [default: the longest that one may live]
    #[arg(long, value_name = "WHEN", value_parser = word::<Due>, conflicts_with_all = ["session", "subject", "before"])]
    until: Option<Due>,
    #[command(flatten)]
    flags: OrderFlags,
}

/// Now, or a moment in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
enum Before {
    Now,
    At(u64),
}

impl KeysVerb {
    pub(super) fn order(self) -> Result<(Order, OrderFlags), Failure> {
        Ok(match self {
            Self::Create {
                owner,
                label,
                scopes,
                expires,
                flags,
            } => {
                let scopes = KeyScopes::new(scopes).map_err(|error| Failure {
                    exit: Exit::Usage,
                    message: error.to_string(),
                    hint: Some("make two keys".to_owned()),
                })?;
                let order = Order::CreateKey {
                    owner,
                    label,
                    scopes,
                    expires,
                };
                (order, flags)
            }
            Self::Ls { flags } => (Order::ListKeys { after: None }, flags),
            Self::Show { id, flags } => (Order::ShowKey { id }, flags),
            Self::Rotate {
                id,
                overlap,
                now,
                flags,
            } => {
                let overlap = if now { Lifetime::ZERO } else { overlap };
                (Order::RotateKey { id, overlap }, flags)
            }
            Self::Revoke { id, leaked, flags } => (Order::RevokeKey { id, leaked }, flags),
            Self::Signing(SigningVerb::Ls { flags }) => (Order::ListSigningKeys {}, flags),
            Self::Signing(SigningVerb::Rotate { flags }) => (Order::RotateSigningKey {}, flags),
            Self::Signing(SigningVerb::Retire { kid, flags }) => {
                (Order::RetireSigningKey { kid }, flags)
            }
        })
    }
}

impl RevokeFlags {
    pub(super) fn order(self) -> Result<(Order, OrderFlags), Failure> {
        let Self { what, until, flags } = self;
        let order = match what {
            What {
                session: Some(id), ..
            } => Order::RevokeSession { id },
            What {
                token: Some(token), ..
            } => Order::RevokeToken { token, until },
            What {
                subject: Some(subject),
                ..
            } => Order::RevokeSubject { subject },
            What {
                before: Some(Before::Now),
                ..
            } => Order::RevokeBefore { before: None },
            What {
                before: Some(Before::At(before)),
                ..
            } => Order::RevokeBefore {
                before: Some(before),
            },
            What {
                session: None,
                token: None,
                subject: None,
                before: None,
            } => {
                return Err(Failure {
                    exit: Exit::Usage,
                    message: "what is to be revoked is missing".to_owned(),
                    hint: Some("wirebound revoke --help".to_owned()),
                });
            }
        };
        Ok((order, flags))
    }
}

fn scope(text: &str) -> Result<String, String> {
    let one = KeyScopes::new([text]).map_err(|error| error.to_string());
    one.map(|scope| scope.to_string())
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    parse_lifetime(text).map_err(|error| error.to_string())
}

fn before(text: &str) -> Result<Before, String> {
    if text == "now" {
        return Ok(Before::Now);
    }
    let at = moment(text).map(|at| Before::At(at.as_millis()));
    at.ok_or_else(|| "write now, or a moment as 2027-01-31T18:00:00Z".to_owned())
}
