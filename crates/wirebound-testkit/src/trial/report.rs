//! What a trial found: as data, as a row of a table, and as faults.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::client::Seen;
use super::{Plan, Tried};
use crate::gateway::{Event, tally};
use crate::members::Counts;

/// Whose a connection of the gateway's log was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Browser,
    Thief,
}

/// What one scenario did in one phase.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scenario's name.
    pub scenario: &'static str,
    /// `warm`, or how the connections were ended.
    pub phase: &'static str,
    /// Sign-ins that the app did.
    pub sign_ins: u64,
    /// Connections that the browser made.
    pub connections: u64,
    /// Requests that came to the app as a member.
    pub member: u64,
    /// Those that came as nobody.
    pub lost: BTreeMap<String, u64>,
    /// What was seen in the browser.
    pub seen: Seen,
}

/// What a whole run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The browser, HTTP and delay.
    pub client: String,
    /// The rows.
    pub rows: Vec<Row>,
    /// What arrived at the app, all in all.
    pub counts: Counts,
    /// Connections of the browser.
    pub connections: u64,
    /// The gateway's events on the browser's connections.
    pub browser: BTreeMap<String, u64>,
    /// The gateway's events on the thief's connections.
    pub thief_events: BTreeMap<String, u64>,
    /// The gateway's events that name no connection.
    pub others: BTreeMap<String, u64>,
    /// What the thief tried and got.
    pub thief: Tried,
    /// Every `not_proven` of the browser's, as it was logged.
    pub not_proven: Vec<String>,
}

impl Report {
    pub(super) fn of(
        plan: &Plan,
        version: &str,
        rows: &[Row],
        counts: &Counts,
        log: &[Event],
        whose: impl Fn(u16) -> Option<Owner>,
    ) -> Self {
        let (mut browser, mut thief, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (port, event) in ports(log) {
            match port.and_then(&whose) {
                Some(Owner::Browser) => browser.push(event.clone()),
                Some(Owner::Thief) => thief.push(event.clone()),
                None => others.push(event.clone()),
            }
        }
        let text = |e: &Event| Value::Object(e.fields.clone()).to_string();
        let not_proven = browser
            .iter()
            .chain(&others)
            .filter(|e| e.name == "not_proven")
            .map(text)
            .collect();
        Self {
            client: format!("{version} {:?}, {} ms", plan.http, plan.delay.as_millis()),
            rows: rows.to_vec(),
            counts: counts.clone(),
            connections: 0,
            browser: tally(&browser),
            thief_events: tally(&thief),
            others: tally(&others),
            thief: Tried::default(),
            not_proven,
        }
    }

    pub(super) fn with_thief(mut self, thief: Tried, connections: u64) -> Self {
        (self.thief, self.connections) = (thief, connections);
        self
    }

    /// How often the gateway logged `what` for the browser, or without naming a connection.
    #[must_use]
    pub fn event(&self, what: &str) -> u64 {
        let of = |counts: &BTreeMap<String, u64>| counts.get(what).copied().unwrap_or(0);
        of(&self.browser) + of(&self.others)
    }

    /// Requests of the browser that were refused: those that came to the app as nobody, and those that the
    /// gateway answered with a refusal of its own.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let seen = self
            .rows
            .iter()
            .flat_map(|r| r.seen.refused.values())
            .sum::<u64>();
        self.counts.lost() + seen
    }

    /// Documents that were not the member's.
    #[must_use]
    pub fn strange(&self) -> u64 {
        self.rows.iter().flat_map(|r| r.seen.strange.values()).sum()
    }

    /// Requests of the browser that got no answer.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.rows.iter().flat_map(|r| r.seen.broken.values()).sum()
    }

    /// Sessions that ended, though nobody signed out.
    #[must_use]
    pub fn sign_outs(&self) -> u64 {
        let all = [&self.browser, &self.thief_events, &self.others];
        all.iter().filter_map(|c| c.get("session_ended")).sum()
    }

    /// Sessions of which the gateway said that two hold them. In this trial nobody uses a hand-over but the
    /// browser, and a contested copy is no theft.
    #[must_use]
    pub fn thefts(&self) -> u64 {
        let all = [&self.browser, &self.thief_events, &self.others];
        all.iter().filter_map(|c| c.get("theft")).sum()
    }

    /// Times that the thief was served, as he saw it or as the app did.
    #[must_use]
    pub fn thief_served(&self) -> u64 {
        self.thief.served.max(self.counts.thief_served)
    }

    /// Everything that must not be; empty when all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let counts = [
            ("requests refused", self.refused()),
            ("documents of somebody else", self.strange()),
            ("requests of the thief served", self.thief_served()),
            ("POSTs doubled", self.counts.doubled()),
            ("sign-outs", self.sign_outs()),
            ("thefts reported", self.thefts()),
        ];
        let fault = |(what, count): (&str, u64)| (count > 0).then(|| format!("{count} {what}"));
        let mut faults: Vec<String> = counts.into_iter().filter_map(fault).collect();
        if self.counts.sign_ins == 0 || self.counts.member == 0 {
            faults.push("nothing happened: no sign-in, or no member's request".to_owned());
        }
        faults
    }

    /// Everything, for a file.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "scenario": row.scenario, "phase": row.phase, "sign_ins": row.sign_ins,
                "connections": row.connections, "member": row.member, "lost": row.lost,
                "refused": row.seen.refused, "strange": row.seen.strange,
                "broken": row.seen.broken, "sockets": row.seen.sockets,
            })
        });
        json!({
            "client": self.client,
            "sign_ins": self.counts.sign_ins,
            "connections": self.connections,
            "members_requests": self.counts.member,
            "resumed": self.event("wire_opened resumed=true"),
            "echoed": self.event("wire_attached by=echo"),
            "challenged": self.event("echo_challenged"),
            "handed_over": self.event("wire_attached by=hand_over"),
            "refused": self.refused(),
            "lost": self.counts.lost,
            "strange": self.strange(),
            "broken": self.broken(),
            "sign_outs": self.sign_outs(),
            "not_proven": self.not_proven,
            "sockets_lost": self.counts.sockets_lost,
            "posts": self.counts.posts.len(),
            "posts_doubled": self.counts.doubled(),
            "thief": {
                "asked": self.thief.asked, "served": self.thief_served(),
                "connections": self.thief.connections, "resumed": self.thief.resumed,
                "statuses": self.thief.statuses, "events": self.thief_events,
            },
            "events": self.browser,
            "events_of_no_connection": self.others,
            "faults": self.faults(),
            "rows": rows.collect::<Vec<_>>(),
        })
    }

    /// The head of the table that [`Self::markdown`] writes rows of.
    #[must_use]
    pub fn markdown_head() -> &'static str {
        "| client | sign-ins | connections | members' requests | resumed | challenged | echoed | handed over \
         | refused | sign-outs | not proven | no answer | POSTs (doubled) | thief asked (served) |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    }

    /// One row.
    #[must_use]
    pub fn markdown(&self) -> String {
        let posts = format!("{} ({})", self.counts.posts.len(), self.counts.doubled());
        let thief = format!("{} ({})", self.thief.asked, self.thief_served());
        let numbers = [
            self.counts.sign_ins,
            self.connections,
            self.counts.member,
            self.event("wire_opened resumed=true"),
            self.event("echo_challenged"),
            self.event("wire_attached by=echo"),
            self.event("wire_attached by=hand_over"),
            self.refused(),
            self.sign_outs(),
            self.not_proven.len() as u64,
            self.broken(),
        ];
        let numbers = numbers.map(|n| n.to_string()).join(" | ");
        format!("| {} | {numbers} | {posts} | {thief} |", self.client)
    }
}

/// Each event with the client's port: its own `peer`, or that of the `wire` it names.
fn ports(log: &[Event]) -> Vec<(Option<u16>, &Event)> {
    let mut wires: HashMap<String, u16> = HashMap::new();
    let port = |event: &Event| {
        event
            .text("peer")
            .rsplit_once(':')
            .and_then(|(_, p)| p.parse().ok())
    };
    log.iter()
        .map(|event| {
            let wire = event.text("wire");
            let own = port(event);
            // Ids begin again when the gateway is started again; the log is in order.
            if let (Some(port), false) = (own, wire.is_empty()) {
                wires.insert(wire.clone(), port);
            }
            (own.or_else(|| wires.get(&wire).copied()), event)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::{Before, Browser, Http, Scenario};

    const BROWSERS: u16 = 1_000;
    const THIEFS: u16 = 2_000;

    fn event(name: &str, fields: Value) -> Event {
        let Value::Object(fields) = fields else {
            panic!("fields are an object")
        };
        Event {
            name: name.to_owned(),
            fields,
        }
    }

    fn report(counts: &Counts, log: &[Event]) -> Report {
        let plan = Plan {
            before: Before::Bare,
            browser: Browser::Chromium,
            http: Http::Two,
            delay: Duration::ZERO,
            rounds: 1,
            scenarios: vec![Scenario::First],
            thief: true,
        };
        let whose = |port| match port {
            BROWSERS => Some(Owner::Browser),
            THIEFS => Some(Owner::Thief),
            _ => None,
        };
        Report::of(&plan, "X/1", &[], counts, log, whose)
    }

    fn busy() -> Counts {
        Counts {
            sign_ins: 1,
            member: 1,
            ..Counts::default()
        }
    }

    fn peer(port: u16) -> Value {
        json!(format!("127.0.0.1:{port}"))
    }

    #[test]
    fn events_are_told_apart_by_their_peer_or_by_the_wire_they_name() {
        let log = [
            event(
                "wire_opened",
                json!({ "wire": 1, "peer": peer(BROWSERS), "resumed": true }),
            ),
            event(
                "wire_opened",
                json!({ "wire": 2, "peer": peer(THIEFS), "resumed": true }),
            ),
            event("not_proven", json!({ "wire": 2, "cause": "no_ticket" })),
            event("wire_attached", json!({ "wire": 1, "by": "echo" })),
            // After a restart the ids begin again.
            event(
                "wire_opened",
                json!({ "wire": 2, "peer": peer(BROWSERS), "resumed": false }),
            ),
            event("not_proven", json!({ "wire": 2, "cause": "restart" })),
            event("hand_over_offered", json!({})),
        ];
        let report = report(&busy(), &log);
        assert_eq!(report.event("wire_opened"), 2);
        assert_eq!(report.event("wire_opened resumed=true"), 1);
        assert_eq!(report.event("wire_attached by=echo"), 1);
        assert_eq!(report.event("not_proven cause=restart"), 1);
        assert_eq!(report.event("hand_over_offered"), 1);
        assert_eq!(report.thief_events["not_proven cause=no_ticket"], 1);
        assert_eq!(report.not_proven.len(), 1);
        assert_eq!(report.faults(), Vec::<String>::new());
    }

    #[test]
    fn everything_that_must_not_be_is_a_fault() {
        let served = Counts {
            thief_served: 1,
            ..busy()
        };
        let doubled = Counts {
            posts: [("a".to_owned(), 2)].into(),
            ..busy()
        };
        let lost = Counts {
            lost: [("GET /m/api".to_owned(), 1)].into(),
            ..busy()
        };
        for counts in [served, doubled, lost, Counts::default()] {
            assert_eq!(report(&counts, &[]).faults().len(), 1, "{counts:?}");
        }
        let ended = event(
            "session_ended",
            json!({ "ending": "theft", "peer": peer(THIEFS) }),
        );
        assert_eq!(report(&busy(), &[ended]).faults(), ["1 sign-outs"]);
    }
}
