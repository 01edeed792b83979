//! Replies as text for people or JSON for programs. A reply in parts is printed part by part, as one table or document.

use std::collections::HashSet;

use serde_json::{Value, json};
use wirebound::{Subject, Timestamp};
use zeroize::Zeroizing;

use super::{ApiKeyFacts, IdentityFacts, Reply, SessionFacts};
use crate::certificates::facts::date_text;

mod keys;
mod revoked;

/// For whom a reply is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "people or programs")]
pub enum Form {
    /// Lines and tables.
    Text,
    /// One JSON document.
    Json,
}

/// Prints the replies that answer one command.
#[derive(Debug)]
pub struct Printer {
    form: Form,
    /// What was listed: what moves while it is listed is met twice.
    listed: HashSet<String>,
    unreadable: usize,
    began: bool,
}

impl Printer {
    /// In this form.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self {
            form,
            listed: HashSet::new(),
            unreadable: 0,
            began: false,
        }
    }

    /// The next part. What it holds is for standard output and for nothing else.
    #[must_use]
    pub fn print(&mut self, reply: Reply) -> Zeroizing<String> {
        let is_last = reply.next().is_none();
        let text = match reply {
            Reply::Identity {
                subject,
                kept,
                ended,
            } => match self.form {
                Form::Text => identity(&subject, kept.as_ref(), ended),
                Form::Json => line(&json!(kept)),
            },
            Reply::Sessions {
                sessions,
                unreadable,
                next: _,
            } => self.sessions(&sessions, unreadable, is_last),
            Reply::Session { session } => match self.form {
                Form::Text => one_session(&session),
                Form::Json => line(&json!(session)),
            },
            Reply::Ended { id } => match self.form {
                Form::Text => format!("ended     {id}\n"),
                Form::Json => line(&json!({ "ended": id.to_string() })),
            },
            Reply::KeyMade { api_key, key } => return keys::made(self.form, &api_key, &key),
            Reply::ApiKeys { keys, next: _ } => self.api_keys(&keys, is_last),
            Reply::ApiKey { key } => match self.form {
                Form::Text => keys::one(&key),
                Form::Json => line(&json!(key)),
            },
            Reply::SigningKeys { keys } => match self.form {
                Form::Text => keys::ring(&keys),
                Form::Json => line(&json!({ "signing_keys": keys })),
            },
            Reply::Revoked {
                what,
                durable,
                sessions,
                nodes,
            } => match self.form {
                Form::Text => revoked::text(&what, durable, sessions, nodes),
                Form::Json => line(&revoked::json(&what, durable, sessions, nodes)),
            },
        };
        Zeroizing::new(text)
    }

    fn sessions(&mut self, sessions: &[SessionFacts], unreadable: usize, is_last: bool) -> String {
        self.unreadable = self.unreadable.saturating_add(unreadable);
        let rows = sessions
            .iter()
            .map(|session| (session.id.as_str(), row(&cells(session)), json!(session)));
        let mut text = self.rows("sessions", &row(&HEAD), rows);
        if is_last {
            text.push_str(&self.end("sessions", "there is no live session"));
            match self.form {
                Form::Text if self.unreadable > 0 => text.push_str(&format!(
                    "{} rows cannot be read: is the node secret the right one?\n",
                    self.unreadable
                )),
                Form::Text => {}
                Form::Json => text.push_str(&format!("], \"unreadable\": {}}}\n", self.unreadable)),
            }
        }
        text
    }

    fn api_keys(&mut self, keys: &[ApiKeyFacts], is_last: bool) -> String {
        let rows = keys
            .iter()
            .map(|key| (key.id.as_str(), keys::row_of(key), json!(key)));
        let mut text = self.rows("keys", &keys::head(), rows);
        if is_last {
            text.push_str(&self.end("keys", "there is no API key"));
            if self.form == Form::Json {
                text.push_str("]}\n");
            }
        }
        text
    }

    /// A part of a table or document.
    fn rows<'a>(
        &mut self,
        name: &str,
        head: &str,
        rows: impl Iterator<Item = (&'a str, String, Value)>,
    ) -> String {
        let mut text = String::new();
        for (id, row, document) in rows {
            if !self.listed.insert(id.to_owned()) {
                continue;
            }
            match (self.form, self.began) {
                (Form::Text, false) => text.push_str(head),
                (Form::Text, true) => {}
                (Form::Json, false) => text.push_str(&format!("{{\"{name}\": [\n")),
                (Form::Json, true) => text.push_str(",\n"),
            }
            self.began = true;
            match self.form {
                Form::Text => text.push_str(&row),
                Form::Json => text.push_str(&document.to_string()),
            }
        }
        text
    }

    /// What follows the last row; a document's list is still open.
    fn end(&self, name: &str, nothing: &str) -> String {
        match (self.form, self.began) {
            (Form::Text, false) => format!("{nothing}\n"),
            (Form::Text, true) => String::new(),
            (Form::Json, false) => format!("{{\"{name}\": ["),
            (Form::Json, true) => "\n".to_owned(),
        }
    }
}

fn identity(subject: &Subject, kept: Option<&IdentityFacts>, ended: usize) -> String {
    let Some(facts) = kept else {
        return format!("nothing is kept of {subject}\n");
    };
    let mut text = format!("subject   {}\nceiling   {}\n", facts.subject, facts.ceiling);
    for (mark, set) in [
        ("blocked", facts.blocked),
        ("frozen", facts.frozen),
        ("removed", facts.removed),
    ] {
        if set {
            text.push_str(&format!("{mark}\n"));
        }
    }
    if ended > 0 {
        text.push_str(&format!("ended     {ended}\n"));
    }
    text.push_str(&format!("sessions  {}\n", facts.sessions.len()));
    text
}

fn one_session(session: &SessionFacts) -> String {
    let raised = session.raised_until.map_or_else(String::new, |until| {
        format!("raised    until {}\n", date(until))
    });
    format!(
        "session   {}\nsubject   {}\nhost      {}\nrole      {}\n{raised}began     {}\nactive    {}\nidle      until {}\nends      {}\nwires     {}\nfamilies  {}\nfrom      {}\n",
        session.id,
        session.subject,
        session.authority,
        session.role,
        date(session.created),
        date(session.last_active),
        date(session.idle_until),
        date(session.absolute_until),
        session.wires,
        session.families,
        session.last_side,
    )
}

/// The heads of the columns.
const HEAD: [&str; 7] = [
    "session", "role", "active", "wires", "subject", "host", "from",
];

fn cells(session: &SessionFacts) -> [String; 7] {
    [
        session.id.clone(),
        session.role.clone(),
        date(session.last_active),
        session.wires.to_string(),
        session.subject.clone(),
        session.authority.clone(),
        session.last_side.clone(),
    ]
}

/// Columns of a fixed width: the first row is printed before the last one is known.
fn row<T: AsRef<str>>([id, role, active, wires, subject, host, from]: &[T; 7]) -> String {
    let line = format!(
        "{:<20}  {:<5}  {:<20}  {:>5}  {:<20}  {:<20}  {}",
        id.as_ref(),
        role.as_ref(),
        active.as_ref(),
        wires.as_ref(),
        subject.as_ref(),
        host.as_ref(),
        from.as_ref(),
    );
    format!("{}\n", line.trim_end())
}

/// To the second: what is printed here is kept no finer, or not needed so.
fn date(millis: u64) -> String {
    date_text(Timestamp::from_millis(millis))
}

fn line(value: &Value) -> String {
    format!("{value:#}\n")
}
