//! Who is heard when two meet at the edge, in the preset `balanced`: wires and families in front of the sequence.
//!
//! The jar echo is left out: the owner after a restart has no attached wire that could echo, and a thief has none either.

use wirebound::Timestamp;
use wirebound::sequence::{Holder, Position, Standing};

use super::gate::{Answer, From, Gate};

/// A connection that nothing is asked on closes after so long.
const IDLE: u64 = 180_000;

/// Which wires of the session are connected, and which families it has.
#[derive(Debug, Default)]
pub(super) struct Edge {
    trunk_until: u64,
    /// Grafts that were ever attached, and until when their wires stay.
    grafts: Vec<(Holder, u64)>,
}

impl Edge {
    pub(super) fn judge(
        &mut self,
        gate: &mut Gate,
        shown: Position,
        from: From,
        now: u64,
    ) -> Answer {
        if from.holder == Holder::Trunk {
            self.trunk_until = now + IDLE;
            if self.grafts.is_empty() {
                gate.serve(shown, from, now);
                return Answer::Served;
            }
            self.grafts.clear();
            gate.sequence
                .renew(Holder::Trunk, Timestamp::from_millis(now));
            return Answer::Settled;
        }
        if now < self.trunk_until {
            return Answer::Contested;
        }
        let company = |(graft, until): &(Holder, u64)| *graft != from.holder && now < *until;
        if self.grafts.iter().any(company) {
            return Answer::Theft;
        }
        let own = self
            .grafts
            .iter_mut()
            .find(|(graft, _)| *graft == from.holder);
        if let Some((_, until)) = own {
            *until = now + IDLE;
            let old = gate.standing(shown, now) == Standing::Old;
            if old && !gate.sequence.is_last(from.holder) {
                return Answer::Theft;
            }
            gate.serve(shown, from, now);
            return Answer::Served;
        }
        let answer = gate.judge(shown, from, now);
        if answer == Answer::Served {
            self.grafts.push((from.holder, now + IDLE));
        }
        answer
    }
}
