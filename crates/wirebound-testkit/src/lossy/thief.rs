//! Thieves with a copy of the jar, and what each does with the answers that he gets.
//!
//! They know the rules, the window and the interval, and measure time well. They do not see the owner.

use wirebound::sequence::{Position, Rules};

/// What a thief does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks once and is gone.
    Once,
    /// Asks every ten seconds, always with the ticket that he copied.
    Deaf,
    /// Asks every ten seconds, and takes up each ticket that he is set.
    Active,
    /// Keeps pace: shows what the owner has left behind while its window lasts, takes up a ticket only when the owner must
    /// have shown it, and goes away when she seems to be.
    Polite,
    /// Takes up the first ticket that he is set, so as to be known as one who acknowledged, and then keeps pace.
    Bold,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Once,
        Self::Deaf,
        Self::Active,
        Self::Polite,
        Self::Bold,
    ];

    /// As a table says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Deaf => "deaf",
            Self::Active => "active",
            Self::Polite => "polite",
            Self::Bold => "bold",
        }
    }
}

/// So often may what he is offered change without the owner's doing before he goes: a few less than are refused.
const PATIENCE: u32 = 6;
/// Between two requests of one who watches closely, besides the way there and back.
const CLOSE: u64 = 60;

/// A thief at work.
#[derive(Debug)]
pub(super) struct Thief {
    kind: Kind,
    pub(super) holds: Position,
    /// What he is offered, and since when.
    offered: Option<(Position, u64)>,
    /// Until when no successor can be due.
    quiet: u64,
    flips: u32,
    window: u64,
    interval: u64,
}

impl Thief {
    pub(super) fn new(kind: Kind, copy: Position, rules: &Rules) -> Self {
        Self {
            kind,
            holds: copy,
            offered: None,
            quiet: 0,
            flips: 0,
            window: rules.window.as_millis(),
            interval: rules.interval.as_millis(),
        }
    }

    /// Refused, and nothing ended.
    pub(super) fn refused(&self, now: u64) -> Option<u64> {
        match self.kind {
            Kind::Once => None,
            Kind::Deaf | Kind::Active => Some(now + 10_000),
            Kind::Polite | Kind::Bold => Some(now + 1_000),
        }
    }

    /// Served, and set this ticket. When he asks next; nothing if he goes.
    pub(super) fn served(&mut self, set: Option<Position>, now: u64) -> Option<u64> {
        match (self.kind, set) {
            (Kind::Once, _) => None,
            (Kind::Deaf, _) => Some(now + 10_000),
            (Kind::Active, set) => {
                self.holds = set.unwrap_or(self.holds);
                Some(now + 10_000)
            }
            (Kind::Bold, Some(ticket)) => {
                self.kind = Kind::Polite;
                self.take_up(ticket, now + self.interval);
                Some(now + CLOSE)
            }
            (Kind::Polite | Kind::Bold, set) => self.keep_pace(set, now),
        }
    }

    fn take_up(&mut self, ticket: Position, quiet: u64) {
        self.holds = ticket;
        self.offered = None;
        self.flips = 0;
        self.quiet = quiet;
    }

    /// A successor that nobody shows is given for one window, then nothing for two, then another. So one that is still
    /// given after a window was shown by the owner; and one that changes before three has given way to what she showed.
    fn keep_pace(&mut self, set: Option<Position>, now: u64) -> Option<u64> {
        match (self.offered, set) {
            (Some((before, since)), Some(ticket)) => {
                let shown = if before == ticket {
                    now >= since + self.window
                } else {
                    now + 2 * CLOSE < since + 3 * self.window
                };
                if shown {
                    // At the earliest when he was first offered it.
                    self.take_up(ticket, since + self.interval);
                    return Some(now + CLOSE);
                }
                if before != ticket {
                    self.offered = Some((ticket, now));
                    self.flips += 1;
                }
            }
            (None, Some(ticket)) => self.offered = Some((ticket, now)),
            // She has shown one, and he is set no other: he is about to be found.
            (Some((_, since)), None) if now + 2 * CLOSE < since + self.window => return None,
            (Some(_) | None, None) => {}
        }
        if self.flips >= PATIENCE {
            return None;
        }
        Some(match self.offered {
            Some((_, since)) if now < since + self.window => {
                (now + 500).min((since + self.window).max(now + CLOSE))
            }
            Some(_) => now + 500,
            None if now < self.quiet => (now + 5_000).min(self.quiet.max(now + CLOSE)),
            None => now + CLOSE,
        })
    }
}
