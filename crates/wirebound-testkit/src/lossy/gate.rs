//! The server's side: the product's own state machine, and what a gateway does with its answers.
//!
//! Every request is judged by its ticket alone, as if no wire and no lineage helped. At the edge the product is milder: on
//! an attached wire the sequence is not asked.

use wirebound::sequence::{
    Advance, Again, Given, Holder, Moment, Position, Rules, Sequence, Standing,
};
use wirebound::{Lifetime, Timestamp};

/// Where clients reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Directly: a ticket is set again for the family that acknowledged last; the window is measured.
    Edge,
    /// Through a proxy: a ticket is set again for the client that acknowledged last; the window is 30 s.
    Behind,
}

impl Listener {
    /// As a table says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Behind => "behind",
        }
    }

    /// The rules as they stand by default, with an expiry of a working day: the default of an hour would end the sessions
    /// that pause for hours before their sequence is asked.
    pub fn rules(self, advance: Advance) -> Rules {
        Rules {
            advance,
            expiry: Lifetime::from_hours(8),
            again: match self {
                Self::Edge => Again::Family,
                Self::Behind => Again::Client,
            },
            ..Rules::default()
        }
    }

    /// The window of a client whose round trips were measured.
    pub(super) fn window(self, rules: &Rules, trip: u64) -> Lifetime {
        match self {
            Self::Edge => rules.measured(Lifetime::from_millis(trip), Lifetime::ZERO),
            Self::Behind => rules.window,
        }
    }
}

/// Who shows a ticket, and from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    pub(super) holder: Holder,
    pub(super) side: &'static str,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Served,
    /// Refused; nothing ends.
    NotTaken,
    /// Refused; nothing ends. At the edge only.
    Contested,
    /// Two parties hold the session, which is over for both.
    Theft,
    /// The trunk is back: the other party is cut off and every ticket renewed. At the edge only.
    Settled,
}

/// Whose answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    Get,
    Post,
    /// Of a POST for which the app changed its own cookie: its ticket is replaced.
    Changed,
}

/// A server with one session.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) sequence: Sequence,
    pub(super) rules: Rules,
    pub(super) window: Lifetime,
    seen: Timestamp,
    pub(super) requests: u64,
    /// Writes that an answer waits for.
    pub(super) durable: u64,
    /// Writes that may come later.
    pub(super) soon: u64,
}

impl Gate {
    pub(super) fn new(rules: Rules, window: Lifetime, holder: Holder) -> Self {
        Self {
            sequence: Sequence::begin(holder, Timestamp::ZERO),
            rules,
            window,
            seen: Timestamp::ZERO,
            requests: 0,
            durable: 0,
            soon: 0,
        }
    }

    pub(super) fn moment(&self, now: u64) -> Moment {
        Moment {
            now: Timestamp::from_millis(now),
            window: self.window,
            seen: self.seen,
        }
    }

    pub(super) fn standing(&self, shown: Position, now: u64) -> Standing {
        self.sequence
            .standing(shown, &self.moment(now), &self.rules)
    }

    /// A request arrives that only its ticket speaks for.
    pub(super) fn judge(&mut self, shown: Position, from: From, now: u64) -> Answer {
        let standing = self.standing(shown, now);
        if standing == Standing::Old {
            return Answer::Theft;
        }
        if standing != Standing::Next
            && self
                .sequence
                .is_not_taken(from.holder, Timestamp::from_millis(now), &self.rules)
        {
            return Answer::NotTaken;
        }
        self.serve(shown, from, now);
        Answer::Served
    }

    /// A request is accepted, whatever spoke for it.
    pub(super) fn serve(&mut self, shown: Position, from: From, now: u64) {
        let moment = self.moment(now);
        let taken = self
            .sequence
            .show(shown, from.holder, from.side, &moment, &self.rules);
        self.requests += 1;
        self.durable += u64::from(taken.changed);
        self.seen = self.seen.max(moment.now);
    }

    /// The head of an answer leaves that may set a ticket.
    pub(super) fn leave(
        &mut self,
        shown: Position,
        from: From,
        leaves: Leaves,
        arrived: u64,
        now: u64,
    ) -> Option<Position> {
        let (moment, holder, side) = (self.moment(now), from.holder, from.side);
        let (late, get) = (
            (now - arrived) * 2 > self.window.as_millis(),
            leaves == Leaves::Get,
        );
        let given = match leaves {
            Leaves::Changed => self
                .sequence
                .replace(shown, holder, side, &moment, &self.rules),
            Leaves::Get | Leaves::Post if late => Given::Nothing,
            Leaves::Get | Leaves::Post => {
                self.sequence
                    .offer(shown, holder, side, get, &moment, &self.rules)
            }
        };
        self.soon += u64::from(matches!(given, Given::Made(_)));
        given.position()
    }
}
