//! Calling back: a session, one token, all of a subject, everything before a moment.

use serde::{Deserialize, Serialize};
use wirebound::revocation::TokenId;
use wirebound::{Ending, SessionId, Subject, Timestamp};
use wirebound_tower::assertion::REMEMBERED;

use super::{Due, Node, Refused, Reply};
use crate::certificates::facts::date_text;

/// What was called back, as it was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "each is printed")]
pub enum Called {
    /// A session and what was issued for it.
    Session(String),
    /// One token.
    Token(String),
    /// All sessions of a subject and what was issued for it.
    Subject(String),
    /// What was issued before this moment, in milliseconds since 1970.
    Before(u64),
}

pub(super) async fn session(node: &Node, id: SessionId, now: Timestamp) -> Result<Reply, Refused> {
    if !node.engine.end(id, Ending::Revoked, now).await? {
        return Err(Refused::NoSession(id));
    }
    Ok(durable(node, Called::Session(id.to_string()), 1, now))
}

pub(super) async fn token(
    node: &Node,
    token: TokenId,
    until: Option<Due>,
    now: Timestamp,
) -> Result<Reply, Refused> {
    if !node.issued {
        return Err(Refused::NothingIssued);
    }
    // No token lives longer, so an entry need not either.
    let longest = now.after(REMEMBERED);
    let until = until.map_or(longest, |due| due.from(now).min(longest));
    if until <= now {
        return Err(Refused::Over);
    }
    // One that was called back already is called back.
    node.engine.revoke_token(token, until).await?;
    Ok(durable(node, Called::Token(token.to_string()), 0, now))
}

pub(super) async fn subject(
    node: &Node,
    subject: &Subject,
    now: Timestamp,
) -> Result<Reply, Refused> {
    let called = node.engine.revoke_subject(subject, now).await?;
    let what = Called::Subject(subject.to_string());
    Ok(durable(node, what, called.sessions, now))
}

pub(super) async fn before(
    node: &Node,
    before: Option<u64>,
    now: Timestamp,
) -> Result<Reply, Refused> {
    if !node.issued {
        return Err(Refused::NothingIssued);
    }
    let before = before.map(Timestamp::from_millis);
    if before.is_some_and(|before| before > now) {
        return Err(Refused::Future);
    }
    let called = node.engine.revoke_issued_before(before, now).await?;
    let what = Called::Before(before.unwrap_or(now).as_millis());
    Ok(durable(node, what, called.sessions, now))
}

fn durable(node: &Node, what: Called, sessions: usize, now: Timestamp) -> Reply {
    Reply::Revoked {
        what,
        durable: node.clock.now().unwrap_or(now).as_millis(),
        sessions,
        nodes: 1,
    }
}

/// A moment as an order names it.
pub(super) fn moment_text(before: Option<u64>) -> String {
    before.map_or_else(
        || "now".to_owned(),
        |millis| date_text(Timestamp::from_millis(millis)),
    )
}
