//! What was called back, and what the promise is worth.

use serde_json::{Value, json};

use super::date;
use crate::orders::Called;

pub(super) fn text(what: &Called, durable: u64, sessions: usize, nodes: u32) -> String {
    let named = match what {
        Called::Session(id) => format!("session {id}"),
        Called::Token(token) => format!("token {token}"),
        Called::Subject(subject) => format!("subject {subject}"),
        Called::Before(before) => format!("everything issued before {}", date(*before)),
    };
    format!(
        "revoked   {named}\ndurable   {}\nsessions  {sessions}\nnodes     {nodes}\n",
        date(durable)
    )
}

pub(super) fn json(what: &Called, durable: u64, sessions: usize, nodes: u32) -> Value {
    json!({ "revoked": what, "durable_at": durable, "sessions": sessions, "nodes": nodes })
}
