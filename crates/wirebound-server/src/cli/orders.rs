//! The verbs of an operator: each is an order, and a way to print what is answered.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wirebound::{Role, SessionId, Subject};

use super::flags::GatewayFlags;
use super::{Ends, Outside, one, read};
use crate::failure::Exit;
use crate::operator::Operator;
use crate::orders::words::Word;
use crate::orders::{Form, Order, Printer};

/// Where the gateway is, and how to print.
#[derive(Clone, Debug, Args)]
pub(super) struct OrderFlags {
    /// The folder of keys and sessions [default: $XDG_STATE_HOME/wirebound or ~/.local/state/wirebound]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where sessions are kept: `file:PATH` or `memory:` [default: file:sessions, in the data folder]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum IdentitiesVerb {
    /// Print what is kept of a subject.
    Show {
        /// Who.
        #[arg(value_parser = word::<Subject>)]
        subject: Subject,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Set the highest role its sessions may have: `user` or `admin`.
    Role {
        /// Who.
        #[arg(value_parser = word::<Subject>)]
        subject: Subject,
        /// The role.
        #[arg(value_parser = word::<Role>)]
        role: Role,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Give a frozen subject its admin role back.
    Unfreeze {
        /// Who.
        #[arg(value_parser = word::<Subject>)]
        subject: Subject,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Block a subject and end its sessions.
    Block {
        /// Who.
        #[arg(value_parser = word::<Subject>)]
        subject: Subject,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Let a blocked subject sign in again.
    Unblock {
        /// Who.
        #[arg(value_parser = word::<Subject>)]
        subject: Subject,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Remove a subject: its sessions end, what was set is forgotten.
    Remove {
        /// Who.
        #[arg(value_parser = word::<Subject>)]
        subject: Subject,
        #[command(flatten)]
        flags: OrderFlags,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionsVerb {
    /// List live sessions.
    Ls {
        /// Only those of this subject.
        #[arg(long, value_parser = word::<Subject>)]
        subject: Option<Subject>,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// Print what is known of a session.
    Show {
        /// Its id.
        #[arg(value_parser = word::<SessionId>)]
        id: SessionId,
        #[command(flatten)]
        flags: OrderFlags,
    },
    /// End a session: its connections are closed, and nothing brings it back.
    End {
        /// Its id.
        #[arg(value_parser = word::<SessionId>)]
        id: SessionId,
        #[command(flatten)]
        flags: OrderFlags,
    },
}

impl IdentitiesVerb {
    pub(super) fn order(self) -> (Order, OrderFlags) {
        match self {
            Self::Show { subject, flags } => (Order::ShowIdentity { subject }, flags),
            Self::Role {
                subject,
                role,
                flags,
            } => (Order::SetCeiling { subject, role }, flags),
            Self::Unfreeze { subject, flags } => (Order::Unfreeze { subject }, flags),
            Self::Block { subject, flags } => (Order::Block { subject }, flags),
            Self::Unblock { subject, flags } => (Order::Unblock { subject }, flags),
            Self::Remove { subject, flags } => (Order::Remove { subject }, flags),
        }
    }
}

impl SessionsVerb {
    pub(super) fn order(self) -> (Order, OrderFlags) {
        match self {
            Self::Ls {
                subject: Some(subject),
                flags,
            } => (Order::ListSessionsOf { subject }, flags),
            Self::Ls {
                subject: None,
                flags,
            } => (Order::ListSessions { after: None }, flags),
            Self::Show { id, flags } => (Order::ShowSession { id }, flags),
            Self::End { id, flags } => (Order::EndSession { id }, flags),
        }
    }
}

/// Has an order carried out and prints the reply, to the last part of it.
pub(super) fn carry_out((order, flags): (Order, OrderFlags), outside: &mut Outside<'_>) -> Ends {
    let form = if flags.json { Form::Json } else { Form::Text };
    let loaded = read(&flags.into(), outside)?;
    let operator = Operator::new(&loaded, &outside.lookup()).map_err(one)?;
    let mut printer = Printer::new(form);
    let mut next = Some(order);
    while let Some(order) = next {
        let reply = operator.carry_out(order).map_err(one)?;
        next = reply.next();
        outside.print(&printer.print(reply))?;
    }
    Ok(Exit::Done)
}

impl From<OrderFlags> for GatewayFlags {
    fn from(flags: OrderFlags) -> Self {
        let OrderFlags {
            data_dir,
            store,
            config,
            json: _,
        } = flags;
        Self {
            data_dir,
            store,
            config,
            ..Self::default()
        }
    }
}

pub(super) fn word<T: Word>(text: &str) -> Result<T, String> {
    T::read(text)
}
