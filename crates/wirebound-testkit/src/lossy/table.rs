//! A report as tables in Markdown.

use std::fmt::Write as _;

use wirebound::sequence::Advance;

use super::{Calm, MODES, Network, Outcome, Posts, Report, Stolen, Theft};

impl Report {
    /// What must not be: honest sessions ended as stolen in the default mode, within what the design assumes. Of browsers that
    /// crash twice while the app changes its cookie at each POST the table tells; nothing is promised of them.
    pub fn faults(&self) -> Vec<String> {
        let of_default = self.calm.iter().filter(|row| {
            row.advance == Advance::Interval
                && row.accused > 0
                && (row.posts, row.network) != (Posts::Change, Network::Crash)
                && Network::ASSUMED.contains(&row.network)
        });
        of_default
            .map(|row| {
                format!(
                    "{} of {} honest sessions were ended as stolen: {}, {}",
                    row.accused,
                    row.sessions,
                    row.listener.name(),
                    row.network.name()
                )
            })
            .collect()
    }

    /// All tables.
    pub fn markdown(&self) -> String {
        format!(
            "{}\n{}\n{}",
            self.alarms(),
            self.writes(),
            self.stolen_table()
        )
    }

    /// The rows of one listener and network, in the order of the modes.
    fn lines(&self) -> impl Iterator<Item = &[Calm]> {
        self.calm.chunks(MODES.len())
    }

    fn alarms(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "| listener | network | `interval` | `interval`, POSTs change the app's cookie | `get` | `every` |\n|---|---|---:|---:|---:|---:|"
        );
        for line in self.lines() {
            let first = &line[0];
            let _ = write!(
                out,
                "| {} | {} |",
                first.listener.name(),
                first.network.name()
            );
            for row in line {
                let _ = write!(
                    out,
                    " {} / {} |",
                    counted(row.accused),
                    counted(row.not_taken)
                );
            }
            out.push('\n');
        }
        out
    }

    fn writes(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "| listener | network | `interval` | `interval`, POSTs change the app's cookie | `get` | `every` |\n|---|---|---:|---:|---:|---:|"
        );
        for line in self.lines() {
            let first = &line[0];
            if !matches!(first.network, Network::Clean | Network::Crash) {
                continue;
            }
            let _ = write!(
                out,
                "| {} | {} |",
                first.listener.name(),
                first.network.name()
            );
            for row in line {
                let of_thousand = |writes: u64| writes as f64 * 1000.0 / row.requests as f64;
                let _ = write!(
                    out,
                    " {:.0} + {:.0} |",
                    of_thousand(row.durable),
                    of_thousand(row.soon)
                );
            }
            out.push('\n');
        }
        out
    }

    fn stolen_table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "| listener | owner | thief | found | never in | stopped | rode | found after: median | worst | served alone | beside her | she was refused |\n\
             |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
        );
        for row in &self.stolen {
            let (place, owner) = row.case.names();
            let share = |outcome| percent(row, |theft| theft.outcome == outcome);
            let mut after: Vec<u64> = row
                .thefts
                .iter()
                .filter(|theft| theft.outcome == Outcome::Found)
                .map(|theft| theft.after)
                .collect();
            after.sort_unstable();
            let mean = |of: fn(&Theft) -> u64| {
                row.thefts.iter().map(of).sum::<u64>() / row.thefts.len().max(1) as u64
            };
            let _ = writeln!(
                out,
                "| {place} | {owner} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.case.kind.name(),
                share(Outcome::Found),
                share(Outcome::NeverIn),
                share(Outcome::Stopped),
                share(Outcome::Rode),
                seconds(after.get(after.len() / 2)),
                seconds(after.last()),
                counted(mean(|theft| theft.alone)),
                counted(mean(|theft| theft.beside)),
                percent(row, |theft| theft.owner_refused),
            );
        }
        out
    }
}

fn percent(row: &Stolen, of: impl Fn(&Theft) -> bool) -> String {
    let those = row.thefts.iter().filter(|theft| of(theft));
    let share = those.count() as f64 * 100.0 / row.thefts.len().max(1) as f64;
    // A few must not look like none, nor all but a few like all.
    if share == 0.0 || share == 100.0 {
        format!("{share:.0} %")
    } else {
        format!("{share:.1} %")
    }
}

fn seconds(millis: Option<&u64>) -> String {
    millis.map_or_else(
        || "-".to_owned(),
        |millis| format!("{} s", counted(millis.div_ceil(1000))),
    )
}

/// With a comma between thousands.
fn counted(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
