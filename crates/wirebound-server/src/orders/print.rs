//! Replies as text for people or JSON for programs. A reply in parts is printed part by part, as one table or document.

use std::collections::HashSet;

use serde_json::{Value, json};
use wirebound::{Subject, Timestamp};
use zeroize::Zeroizing;

use super::{IdentityFacts, Reply, SessionFacts};
use crate::certificates::facts::date_text;

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
    /// Sessions that were listed: what moves while it is listed is met twice.
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
            } => self.sessions(sessions, unreadable, is_last),
            Reply::Session { session } => match self.form {
                Form::Text => one_session(&session),
                Form::Json => line(&json!(session)),
            },
            Reply::Ended { id } => match self.form {
                Form::Text => format!("ended     {id}\n"),
                Form::Json => line(&json!({ "ended": id.to_string() })),
            },
        };
        Zeroizing::new(text)
    }

    fn sessions(
        &mut self,
        sessions: Vec<SessionFacts>,
        unreadable: usize,
        is_last: bool,
    ) -> String {
        self.unreadable = self.unreadable.saturating_add(unreadable);
        let mut text = String::new();
        for session in sessions {
            if !self.listed.insert(session.id.clone()) {
                continue;
            }
            match (self.form, self.began) {
                (Form::Text, false) => text.push_str(&row(&HEAD)),
                (Form::Text, true) => {}
                (Form::Json, false) => text.push_str("{\"sessions\": [\n"),
                (Form::Json, true) => text.push_str(",\n"),
            }
            self.began = true;
            text.push_str(&match self.form {
                Form::Text => row(&cells(&session)),
                Form::Json => json!(session).to_string(),
            });
        }
        if !is_last {
            return text;
        }
        match (self.form, self.began) {
            (Form::Text, false) => text.push_str("there is no live session\n"),
            (Form::Text, true) => {}
            (Form::Json, false) => text.push_str("{\"sessions\": ["),
            (Form::Json, true) => text.push('\n'),
        }
        match self.form {
            Form::Text if self.unreadable > 0 => text.push_str(&format!(
                "{} rows cannot be read: is the node secret the right one?\n",
                self.unreadable
            )),
            Form::Text => {}
            Form::Json => text.push_str(&format!("], \"unreadable\": {}}}\n", self.unreadable)),
        }
        text
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
