//! The sequence of a session's tickets, as a pure state machine: positions and a time in, what they mean out.
//!
//! A ticket stands at a [`Position`]. One position is current; an answer may *offer* a successor, which becomes current
//! when a request shows it (it is *acknowledged*). So a lost answer harms nobody. What was superseded stays good for one
//! window, because requests in parallel and late answers are honest; past it, two parties hold the session.
//!
//! Whatever heals a client whose jar fell back by one also feeds a thief who is one step behind: both send the same
//! bytes. Only where a request comes from parts them. So a ticket is set again only for the [`Holder`] that acknowledged,
//! and whoever else shows the current ticket is offered a branch of its own.
//!
//! Nothing here reads a clock, a store or a key. The model of `tests/sequence` and the simulation in the test kit call
//! these very functions.

use crate::codec::{Reader, Writer};
use crate::time::{Lifetime, Timestamp};

/// Acknowledged positions that are remembered. With one advance per window there are two.
const TRAIL: usize = 16;
/// Holders of whom an open offer is remembered.
const OFFERS: usize = 8;
/// Holders that acknowledged, and are set a ticket again.
const HOLDERS: usize = 4;
/// So often may one position lapse. Without a bound, whoever shows an old ticket all the time would be excused by each
/// acknowledgement of the owner, and never found.
const LAPSES: u8 = 2;
/// Branches count tenths of a second since the number became current, so that one that a crash forgot is not made twice.
const BRANCH_STEP: u64 = 100;

/// Where a ticket stands: which request number, and which of the tickets that were made with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the form of a ticket knows these two"
)]
pub struct Position {
    /// The session's request number. Unsigned, from 0.
    pub n: u64,
    /// Parts tickets of one number: later ones have higher branches.
    pub branch: u32,
}

/// Who shows a ticket, as far as a ticket is set again for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum Holder {
    /// A wire that goes back to the sign-in.
    Trunk,
    /// One graft (by the family that it grew from), or one client where there are no wires.
    Line([u8; 16]),
}

/// When a request moves the sequence on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum Advance {
    /// At most once in an interval, whatever the method.
    #[default]
    Interval,
    /// Each GET; other methods use the current ticket without moving it.
    Get,
    /// Each request.
    Every,
}

impl Advance {
    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Get => "get",
            Self::Every => "every",
        }
    }
}

/// For whom a ticket is set again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum Again {
    /// For the family that acknowledged last: where clients connect directly.
    #[default]
    Family,
    /// For the client that acknowledged last and those that share its jar: behind a proxy, where families are the proxy's.
    Client,
}

/// By what holders are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum Apart {
    /// By families, which are proved: one is the same wherever it is.
    #[default]
    Families,
    /// By what clients say of themselves, which proves nothing: the same headers at another place may be another client.
    Headers,
}

/// The rules of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Rules {
    /// When it moves on.
    pub advance: Advance,
    /// Least time between two advances under [`Advance::Interval`]. 60 s; never less than the longest window.
    pub interval: Lifetime,
    /// The longest window. 30 s. For so long a holder is offered the same successor.
    pub window: Lifetime,
    /// Least window at the edge. 10 s.
    pub window_least: Lifetime,
    /// A position superseded less than this before the session was last seen may be what a crashed browser saved. 60 s.
    pub lapse: Lifetime,
    /// Offers to one holder without an acknowledgement, after which its ticket is refused. 8.
    pub offers: u8,
    /// How long a ticket may go unrenewed while nothing of its session is connected, and how long one holder is offered a
    /// successor that it never shows. 1 h.
    pub expiry: Lifetime,
    /// For whom it is set again.
    pub again: Again,
    /// By what holders are told apart; an [`crate::Engine`] sees to it that this is as its preset has it.
    pub apart: Apart,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            advance: Advance::Interval,
            interval: Lifetime::from_secs(60),
            window: Lifetime::from_secs(30),
            window_least: Lifetime::from_secs(10),
            lapse: Lifetime::from_secs(60),
            offers: 8,
            expiry: Lifetime::from_hours(1),
            again: Again::Family,
            apart: Apart::Families,
        }
    }
}

impl Rules {
    /// Whether a request moves on a sequence whose current position was acknowledged at `since`.
    #[must_use]
    pub fn is_due(&self, get: bool, since: Timestamp, now: Timestamp) -> bool {
        match self.advance {
            Advance::Interval => now.since(since) >= self.interval.max(self.window),
            Advance::Get => get,
            Advance::Every => true,
        }
    }

    /// The window at the edge: eight times the measured time of a round trip with its variance, and the times to seal and
    /// open a ticket, within the bounds.
    ///
    /// `trip` is the smoothed round-trip time plus four times its variance (RFC 6298 section 2).
    #[must_use]
    pub fn measured(&self, trip: Lifetime, making: Lifetime) -> Lifetime {
        let measured = trip
            .as_millis()
            .saturating_mul(8)
            .saturating_add(making.as_millis());
        Lifetime::from_millis(measured)
            .max(self.window_least)
            .min(self.window)
    }
}

/// The moment of a request: what a position is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain facts")]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// How long a superseded ticket is good.
    pub window: Lifetime,
    /// When the session was last seen before this request.
    pub seen: Timestamp,
}

/// What a genuine ticket is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a judge must meet each")]
pub enum Standing {
    /// The current one.
    Current,
    /// A successor: showing it acknowledges it.
    Next,
    /// Further ahead than a successor: the record is behind (a store that lost its last writes). Counts as a successor.
    Ahead,
    /// Superseded, or a sibling of what was acknowledged, less than a window ago.
    Recent,
    /// Superseded longer ago, but so shortly before the session was last seen that a browser which crashed may never have
    /// saved its successor.
    Lapsed,
    /// Superseded longer ago: two parties hold the session.
    Old,
}

impl Standing {
    /// Whether it is no evidence of a second party.
    #[must_use]
    pub const fn is_good(self) -> bool {
        !matches!(self, Self::Old)
    }
}

/// Two parties were offered successors of one number, and one of them was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain facts for an event")]
pub struct Fork {
    /// The number at which they parted.
    pub n: u64,
    /// Where the other one was, as text: address and client.
    pub other: String,
    /// When the other one was offered its successor.
    pub at: Timestamp,
}

/// What showing a ticket did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain facts")]
pub struct Taken {
    /// The sequence was changed and must be stored, durably, before the request is answered.
    pub changed: bool,
    /// A successor was acknowledged.
    pub acknowledged: bool,
    /// By so many numbers was the record behind.
    pub behind: u64,
    /// A second party had been offered a successor of the same number.
    pub fork: Option<Fork>,
}

/// What the answer to a request may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each must be met")]
pub enum Given {
    /// Nothing.
    Nothing,
    /// This ticket; nothing is to be stored.
    Same(Position),
    /// This ticket; the sequence was changed and is to be stored (it need not be durable).
    Made(Position),
}

impl Given {
    /// The ticket, if there is one.
    #[must_use]
    pub const fn position(self) -> Option<Position> {
        match self {
            Self::Nothing => None,
            Self::Same(position) | Self::Made(position) => Some(position),
        }
    }
}

/// An acknowledged position and when it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Step {
    position: Position,
    at: Timestamp,
    /// The lapse that was granted when it was acknowledged. For the browser that crashed, *that* is what this superseded.
    /// What was current it never had, or lost for good: whoever shows it is somebody else, and it does not lapse.
    excused: Option<Position>,
    /// How often that had been granted by then.
    lapses: u8,
    /// Its siblings that the same holder had been offered: one that arrives late takes its place in the jar, and then
    /// lapses as what it superseded does.
    beside: Vec<Position>,
}

impl Step {
    const fn first(position: Position, at: Timestamp) -> Self {
        Self {
            position,
            at,
            excused: None,
            lapses: 0,
            beside: Vec::new(),
        }
    }
}

/// A successor that was given out and not yet shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offer {
    position: Position,
    holder: Holder,
    /// When this successor was made.
    at: Timestamp,
    /// When this holder was first offered one of this number.
    first: Timestamp,
    /// How many were made for this holder.
    times: u8,
    /// Where it was, as text.
    side: String,
}

/// One session's sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Acknowledged positions, oldest first; the last is the current one.
    trail: Vec<Step>,
    /// Open offers, all of the number after the current one.
    offers: Vec<Offer>,
    /// The highest branch given out with the next number.
    branch: Option<u32>,
    /// A lapse that was granted: it stays one until something is acknowledged, or the current ticket is shown.
    excused: Option<Position>,
    /// Who acknowledged last, and who was seen to share that one's jar; the latest last.
    holders: Vec<Holder>,
}

impl Sequence {
    /// The sequence of a session that begins now, whose ticket 0 goes to this holder.
    #[must_use]
    pub fn begin(holder: Holder, now: Timestamp) -> Self {
        Self {
            trail: vec![Step::first(Position::default(), now)],
            offers: Vec::new(),
            branch: None,
            excused: None,
            holders: vec![holder],
        }
    }

    /// The current position.
    #[must_use]
    pub fn current(&self) -> Position {
        // There is always a step: `begin`, `renew` and `decode` see to it.
        self.trail
            .last()
            .map_or_else(Position::default, |step| step.position)
    }

    /// When it became current.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.trail.last().map_or(Timestamp::ZERO, |step| step.at)
    }

    /// Whether this holder was the last to acknowledge.
    #[must_use]
    pub fn is_last(&self, holder: Holder) -> bool {
        self.holders.last() == Some(&holder)
    }

    /// Whether a graft or another client than the trunk acknowledged last.
    #[must_use]
    pub fn is_astray(&self) -> bool {
        !self.is_last(Holder::Trunk)
    }

    /// What a genuine ticket at this position is. Changes nothing.
    #[must_use]
    pub fn standing(&self, shown: Position, moment: &Moment, rules: &Rules) -> Standing {
        let current = self.current();
        if shown == current {
            return Standing::Current;
        }
        if shown.n > current.n {
            let next = shown.n.checked_sub(1) == Some(current.n);
            return if next {
                Standing::Next
            } else {
                Standing::Ahead
            };
        }
        let Some(past) = self.superseded(shown) else {
            return Standing::Old;
        };
        if moment.now.since(past.at) <= moment.window {
            return Standing::Recent;
        }
        let lapsed = past.may_lapse && moment.seen.since(past.at) < rules.lapse;
        if lapsed || self.excused == Some(shown) {
            return Standing::Lapsed;
        }
        Standing::Old
    }

    /// When a position that is not current any more stopped being good to show; nothing if it is older than the trail.
    fn superseded(&self, shown: Position) -> Option<Past> {
        if let Some(step) = self.fallen_back(shown) {
            return Some(Past {
                at: step.at,
                may_lapse: step.lapses < LAPSES,
            });
        }
        let mut later: Option<&Step> = None;
        for step in self.trail.iter().rev() {
            let was_current = step.position == shown;
            // Between two steps: skipped when the record was behind, or thinned out. Good for as long as any was.
            let between = step.position.n < shown.n;
            if let Some(by) = later.filter(|_| was_current || between) {
                return Some(Past {
                    at: by.at,
                    may_lapse: by.excused.is_none(),
                });
            }
            if step.position.n <= shown.n {
                return (!between).then(|| Past {
                    at: step.at,
                    may_lapse: step.beside.contains(&shown),
                });
            }
            later = Some(step);
        }
        None
    }

    /// The last acknowledgement at which a lapse of this position was granted.
    fn fallen_back(&self, shown: Position) -> Option<&Step> {
        let excused = |step: &&Step| step.excused == Some(shown);
        self.trail.iter().rfind(excused)
    }

    /// Where whoever shows an old ticket and whoever holds the session parted: the last number that both had, and when the
    /// other moved on (nothing if that is longer ago than is remembered).
    #[must_use]
    pub fn parted(&self, shown: Position) -> (u64, Option<Timestamp>) {
        let past = self.superseded(shown);
        let sibling = self
            .trail
            .iter()
            .any(|step| step.position.n == shown.n && step.position.branch != shown.branch);
        let n = if !sibling {
            shown.n
        } else {
            shown.n.saturating_sub(1)
        };
        (n, past.map(|past| past.at))
    }

    /// Whether this holder was offered a successor as often, or for as long, as one is, without ever showing it. Only the time
    /// between offers counts: of one that was lost nothing follows, however long nobody asks for another.
    #[must_use]
    pub fn is_not_taken(&self, holder: Holder, now: Timestamp, rules: &Rules) -> bool {
        let last = self.offers.iter().rfind(|offer| offer.holder == holder);
        last.is_some_and(|offer| {
            let enough = offer.times >= rules.offers || offer.at.since(offer.first) > rules.expiry;
            enough && now.since(offer.at) > rules.window
        })
    }

    /// A request that showed this ticket was accepted.
    pub fn show(
        &mut self,
        shown: Position,
        holder: Holder,
        side: &str,
        moment: &Moment,
        rules: &Rules,
    ) -> Taken {
        match self.standing(shown, moment, rules) {
            Standing::Next | Standing::Ahead => {
                self.acknowledge(shown, holder, side, moment.now, rules)
            }
            Standing::Lapsed if self.excused != Some(shown) => {
                self.excused = Some(shown);
                Taken {
                    changed: true,
                    ..Taken::default()
                }
            }
            // Whoever was excused did not have it. So either it was healed since, and only a late request lapsed, or it is
            // another party.
            Standing::Current if self.excused.is_some() => {
                self.excused = None;
                Taken {
                    changed: true,
                    ..Taken::default()
                }
            }
            Standing::Current | Standing::Recent | Standing::Lapsed | Standing::Old => {
                Taken::default()
            }
        }
    }

    /// A ticket that was superseded within the window opened the session by itself, and nobody of it is connected: a browser
    /// that crashed and is back already. It is a lapse before its time. Answers whether that is new.
    pub fn excuse(&mut self, shown: Position) -> bool {
        let lapses = self.superseded(shown).is_some_and(|past| past.may_lapse);
        let news = lapses && self.excused != Some(shown);
        if news {
            self.excused = Some(shown);
        }
        news
    }

    fn acknowledge(
        &mut self,
        shown: Position,
        holder: Holder,
        side: &str,
        now: Timestamp,
        rules: &Rules,
    ) -> Taken {
        let before = self.current();
        let own = self.offers.iter().find(|offer| offer.position == shown);
        let own = own.map(|offer| offer.holder);
        let beside = self
            .offers
            .iter()
            .filter(|offer| own == Some(holder) && offer.holder == holder)
            .map(|offer| offer.position)
            .filter(|position| *position != shown)
            .collect();
        let other = self.offers.iter().find(|offer| {
            let (moved, differs) = (offer.side != side, offer.holder != holder);
            let apart = match rules.apart {
                Apart::Families => moved && differs,
                Apart::Headers => moved || differs,
            };
            offer.position != shown && apart
        });
        let fork = other.map(|offer| Fork {
            n: before.n,
            other: offer.side.clone(),
            at: offer.at,
        });
        self.offers.clear();
        self.branch = None;
        let excused = self.excused.take();
        let lapses = excused.map_or(0, |fallen| {
            let before = self.fallen_back(fallen).map_or(0, |step| step.lapses);
            before.saturating_add(1)
        });
        self.trail.push(Step {
            position: shown,
            at: now,
            excused,
            lapses,
            beside,
        });
        self.thin_out(now);
        self.take_over(own, holder);
        Taken {
            changed: true,
            acknowledged: true,
            behind: shown.n.saturating_sub(before.n).saturating_sub(1),
            fork,
        }
    }

    /// Who is set a ticket again from here on. Where one who is known shows what a stranger was offered, the two share one
    /// live jar: the string went from the unknown to the known. The other way it may have been copied.
    fn take_over(&mut self, offered_to: Option<Holder>, holder: Holder) {
        if !self.holders.contains(&holder) {
            self.holders.clear();
        } else if let Some(stranger) = offered_to {
            self.admit(stranger);
        }
        self.admit(holder);
    }

    fn admit(&mut self, holder: Holder) {
        self.holders.retain(|other| *other != holder);
        self.holders.push(holder);
        if self.holders.len() > HOLDERS {
            self.holders.remove(0);
        }
    }

    /// What was superseded so long before the newest acknowledgement that it can be neither recent nor lapsed goes; of
    /// more than fit, every second one, which makes nothing old that was not.
    fn thin_out(&mut self, now: Timestamp) {
        const KEPT: Lifetime = Lifetime::from_secs(120);
        while let [_, next, _, ..] = self.trail.as_slice()
            && now.since(next.at) > KEPT
        {
            self.trail.remove(0);
        }
        if self.trail.len() > TRAIL {
            let newest = self.trail.len().saturating_sub(2);
            let mut at = 0_usize;
            self.trail.retain(|_| {
                let keep = at == 0 || at >= newest || at.is_multiple_of(2);
                at = at.saturating_add(1);
                keep
            });
        }
    }

    /// What the answer to an accepted request that showed this ticket may set. Call it when the head of the answer leaves.
    /// `get`: the request was a GET.
    pub fn offer(
        &mut self,
        shown: Position,
        holder: Holder,
        side: &str,
        get: bool,
        moment: &Moment,
        rules: &Rules,
    ) -> Given {
        if self.is_at_rest(shown, holder, get, moment, rules) {
            return Given::Nothing;
        }
        self.replace(shown, holder, side, moment, rules)
    }

    /// As [`Self::offer`], but due or not: the app changed its own cookie. Racers converge all the same; were each given a
    /// branch of its own, one of them would be a window later what a thief has.
    pub fn replace(
        &mut self,
        shown: Position,
        holder: Holder,
        side: &str,
        moment: &Moment,
        rules: &Rules,
    ) -> Given {
        match self.owed(shown, holder, moment, rules) {
            Owed::Successor => self.successor(holder, side, moment.now, rules),
            Owed::Current => Given::Same(self.current()),
            Owed::Nothing => Given::Nothing,
        }
    }

    /// As [`Self::replace`], but always a successor of its own ([`Self::offer_new`]): the session is another one from here
    /// on, and what was offered before is not its ticket.
    pub fn replace_new(
        &mut self,
        shown: Position,
        holder: Holder,
        side: &str,
        moment: &Moment,
        rules: &Rules,
    ) -> Given {
        match self.owed(shown, holder, moment, rules) {
            Owed::Successor | Owed::Current => self
                .offer_new(holder, side, moment.now)
                .map_or(Given::Nothing, Given::Made),
            Owed::Nothing => Given::Nothing,
        }
    }

    /// What whoever showed this ticket may be set at all.
    fn owed(&self, shown: Position, holder: Holder, moment: &Moment, rules: &Rules) -> Owed {
        match self.standing(shown, moment, rules) {
            Standing::Current => Owed::Successor,
            Standing::Recent if self.is_known(holder, rules) => Owed::Current,
            // Not one that was recent when it was judged, whose head left late.
            Standing::Recent | Standing::Lapsed if self.excused == Some(shown) => Owed::Successor,
            // The trunk is proved by more than its ticket.
            Standing::Old if holder == Holder::Trunk => Owed::Current,
            // Nothing that was not acknowledged first.
            Standing::Next
            | Standing::Ahead
            | Standing::Recent
            | Standing::Lapsed
            | Standing::Old => Owed::Nothing,
        }
    }

    /// Whether whoever shows the current ticket keeps it: nothing is due, and nothing that was offered is open.
    fn is_at_rest(
        &self,
        shown: Position,
        holder: Holder,
        get: bool,
        moment: &Moment,
        rules: &Rules,
    ) -> bool {
        // One that was made before its time is given again until it is shown.
        let open = self
            .offers
            .iter()
            .any(|offer| offer.holder == holder && moment.now.since(offer.at) < rules.window);
        let due = open || rules.is_due(get, self.since(), moment.now);
        shown == self.current() && !due && self.is_known(holder, rules)
    }

    /// Whether a ticket is set again for this holder, instead of a branch of its own.
    #[must_use]
    pub fn is_known(&self, holder: Holder, rules: &Rules) -> bool {
        match (holder, rules.again) {
            (Holder::Trunk, _) => true,
            (Holder::Line(_), Again::Family) => self.is_last(holder),
            (Holder::Line(_), Again::Client) => self.holders.contains(&holder),
        }
    }

    /// The successor of this holder: the same for a window, then nothing, then one of another branch.
    ///
    /// For two windows nothing: one in which the last answer with the first branch may still arrive, and one in which what
    /// was asked before it did is answered. Else an answer with one branch could arrive after the other was shown, and a
    /// jar with a sibling of the current ticket is, a window later, what a thief has.
    fn successor(&mut self, holder: Holder, side: &str, now: Timestamp, rules: &Rules) -> Given {
        let there = self.offers.iter().rfind(|offer| offer.holder == holder);
        if let Some(offer) = there {
            let age = now.since(offer.at);
            if age < rules.window {
                return Given::Same(offer.position);
            }
            if age < rules.window.times(3) || offer.times >= rules.offers {
                return Given::Nothing;
            }
        }
        // One that was lost long ago says nothing of this one.
        let there = there.filter(|offer| now.since(offer.at) <= rules.expiry);
        let (first, times) = there.map_or((now, 0), |offer| (offer.first, offer.times));
        let Some(position) = self.next(now) else {
            return Given::Nothing;
        };
        // What was offered to the same headers at another place is the other side of a fork.
        self.offers
            .retain(|offer| offer.holder != holder || offer.side != side);
        if self.offers.len() >= OFFERS {
            self.offers.remove(0);
        }
        self.offers.push(Offer {
            position,
            holder,
            at: now,
            first,
            times: times.saturating_add(1),
            side: side.to_owned(),
        });
        Given::Made(position)
    }

    /// A position that was never given out; nothing when numbers or branches are used up, which no session lives to see.
    fn next(&mut self, now: Timestamp) -> Option<Position> {
        let by_time = now.since(self.since()).as_millis() / BRANCH_STEP;
        let by_time = u32::try_from(by_time).unwrap_or(u32::MAX);
        let branch = match self.branch {
            Some(last) => by_time.max(last.checked_add(1)?),
            None => by_time,
        };
        let n = self.current().n.checked_add(1)?;
        self.branch = Some(branch);
        Some(Position { n, branch })
    }

    /// A successor for an elevation, a sign-in or a hand-over, whether one is due or not, apart from every one that was
    /// offered before: only what is at or after it acknowledges what it stands for. Those may be under way, and stay offered.
    pub fn offer_new(&mut self, holder: Holder, side: &str, now: Timestamp) -> Option<Position> {
        let position = self.next(now)?;
        if self.offers.len() >= OFFERS {
            self.offers.remove(0);
        }
        self.offers.push(Offer {
            position,
            holder,
            at: now,
            first: now,
            times: 1,
            side: side.to_owned(),
        });
        Some(position)
    }

    /// Every ticket is renewed at once: the trunk is back, and somebody else has used the session. Nothing given out
    /// before is good any more, not for a window; this holder is to be set the new one.
    pub fn renew(&mut self, holder: Holder, now: Timestamp) -> Position {
        // Past the offers too, which are one ahead.
        let position = Position {
            n: self.current().n.saturating_add(2),
            branch: 0,
        };
        *self = Self {
            trail: vec![Step::first(position, now)],
            ..Self::begin(holder, now)
        };
        position
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        let holder = |out: &mut Writer, holder: &Holder| match holder {
            Holder::Trunk => out.byte(1),
            Holder::Line(line) => {
                out.byte(2);
                out.array(line);
            }
        };
        out.list(&self.trail, |out, step| {
            step.position.encode(out);
            out.time(step.at);
            out.option(step.excused.as_ref(), |out, position| position.encode(out));
            out.byte(step.lapses);
            out.list(&step.beside, |out, position| position.encode(out));
        });
        out.list(&self.offers, |out, offer| {
            offer.position.encode(out);
            holder(out, &offer.holder);
            out.time(offer.at);
            out.time(offer.first);
            out.byte(offer.times);
            out.bytes(offer.side.as_bytes());
        });
        out.option(self.branch.as_ref(), |out, branch| {
            out.number(u64::from(*branch));
        });
        out.option(self.excused.as_ref(), |out, position| position.encode(out));
        out.list(&self.holders, holder);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let holder = |from: &mut Reader<'_>| match from.byte()? {
            1 => Some(Holder::Trunk),
            2 => from.array().map(Holder::Line),
            _ => None,
        };
        let sequence = Self {
            trail: from.list(|from| {
                Some(Step {
                    position: Position::decode(from)?,
                    at: from.time()?,
                    excused: from.option(Position::decode)?,
                    lapses: from.byte()?,
                    beside: from.list(Position::decode)?,
                })
            })?,
            offers: from.list(|from| {
                Some(Offer {
                    position: Position::decode(from)?,
                    holder: holder(from)?,
                    at: from.time()?,
                    first: from.time()?,
                    times: from.byte()?,
                    side: from.text()?.to_owned(),
                })
            })?,
            branch: from.option(|from| u32::try_from(from.number()?).ok())?,
            excused: from.option(Position::decode)?,
            holders: from.list(holder)?,
        };
        (!sequence.trail.is_empty()).then_some(sequence)
    }
}

/// What an answer may set.
enum Owed {
    /// Nothing.
    Nothing,
    /// What is current.
    Current,
    /// A successor.
    Successor,
}

/// A position that is not current any more.
struct Past {
    /// When it was superseded.
    at: Timestamp,
    /// It was the acknowledged one, and nobody who crashed has moved past it, or a sibling that the same holder was offered;
    /// and it did not lapse too often.
    may_lapse: bool,
}

impl Position {
    pub(crate) fn encode(self, out: &mut Writer) {
        out.number(self.n);
        out.number(u64::from(self.branch));
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            n: from.number()?,
            branch: u32::try_from(from.number()?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests;
