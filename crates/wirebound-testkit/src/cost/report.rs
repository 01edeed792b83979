//! The figures as tables: medians with their spread, and ratios of the same turn.

use std::fmt::Write as _;

use super::load::Who;
use super::servers::Kind;
use super::{Case, Http};

/// One turn of one case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// CPU time of the server's processes for each request, in microseconds.
    pub(super) cpu: f64,
    /// Microseconds.
    pub(super) p50: f64,
    /// Microseconds.
    pub(super) p99: f64,
    /// Requests a second.
    pub(super) rate: f64,
}

/// All turns of one case.
#[derive(Debug)]
pub(super) struct Row {
    kind: Kind,
    who: Who,
    http: Http,
    pub(super) turns: Vec<Turn>,
}

impl Row {
    pub(super) const fn of(case: &Case) -> Self {
        Self {
            kind: case.server.kind,
            who: case.who,
            http: case.http,
            turns: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> String {
        match (self.kind, self.who) {
            (Kind::Gateway, Who::Member) => "**wirebound, signed in, armoured**".to_owned(),
            (Kind::Gateway, Who::Nobody) => "wirebound, anonymous".to_owned(),
            (kind, _) => kind.name().to_owned(),
        }
    }

    fn median(&self, figure: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(figure).collect())
    }
}

/// The memory of idle connections.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    pub(super) server: &'static str,
    pub(super) http: Http,
    pub(super) connections: usize,
    /// Bytes of the whole server with all of them.
    pub(super) resident: u64,
    /// Bytes that each added.
    pub(super) each: f64,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) idle: Vec<Idle>,
}

impl Report {
    /// Tables for `docs/benchmarks-gateway.md`.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| client | server | CPU us/request, min | **median** | max | to `auth_request` | to plain nginx \
             | p50 us | p99 us | requests/s |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for row in &self.rows {
            let cpu: Vec<f64> = row.turns.iter().map(|turn| turn.cpu).collect();
            let least = cpu.iter().copied().fold(f64::INFINITY, f64::min);
            let most = cpu.iter().copied().fold(0.0, f64::max);
            let _written = writeln!(
                text,
                "| {} | {} | {least:.2} | **{:.2}** | {most:.2} | {} | {} | {:.0} | {:.0} | {:.0} |",
                row.http.name(),
                row.name(),
                median(cpu),
                self.ratio(row, Kind::NginxAsks),
                self.ratio(row, Kind::Nginx),
                row.median(|turn| turn.p50),
                row.median(|turn| turn.p99),
                row.median(|turn| turn.rate),
            );
        }
        if !self.idle.is_empty() {
            text.push_str(
                "\n| client | server | idle connections | resident, MiB | bytes each |\n|---|---|---:|---:|---:|\n",
            );
        }
        for idle in &self.idle {
            let _written = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {:.0} |",
                idle.http.name(),
                idle.server,
                idle.connections,
                idle.resident as f64 / 1024.0 / 1024.0,
                idle.each,
            );
        }
        text
    }

    /// The median of the ratios of turns of the same round.
    fn ratio(&self, row: &Row, to: Kind) -> String {
        let Some(other) = self
            .rows
            .iter()
            .find(|other| other.kind == to && other.http == row.http)
        else {
            return "-".to_owned();
        };
        let pairs = row.turns.iter().zip(&other.turns);
        format!("{:.2}", median(pairs.map(|(a, b)| a.cpu / b.cpu).collect()))
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match (figures.get(middle), figures.len() % 2) {
        (None, _) => f64::NAN,
        (Some(one), 1) => *one,
        (Some(one), _) => (figures[middle - 1] + one) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, cpu: &[f64]) -> Row {
        let turn = |cpu: &f64| Turn {
            cpu: *cpu,
            p50: 1.0,
            p99: 2.0,
            rate: 3.0,
        };
        Row {
            kind,
            who: Who::Member,
            http: Http::One,
            turns: cpu.iter().map(turn).collect(),
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_turns_of_the_same_round() {
        let rows = vec![
            row(Kind::NginxAsks, &[20.0, 40.0, 30.0]),
            row(Kind::Gateway, &[10.0, 36.0, 18.0]),
        ];
        let report = Report {
            rows,
            idle: Vec::new(),
        };
        assert_eq!(report.ratio(&report.rows[1], Kind::NginxAsks), "0.60");
        assert_eq!(report.ratio(&report.rows[1], Kind::Floor), "-");
        assert!(
            report
                .markdown()
                .contains("| **18.00** | 36.00 | 0.60 | - |")
        );
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
