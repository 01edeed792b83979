//! The networks that honest clients are simulated on. Times are milliseconds.

use super::dice::Dice;
use super::gate::Listener;

/// A network, and what goes wrong on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Each message takes 20 to 100 ms.
    Clean,
    /// 1 % of messages stall for 1 to 10 s, 0.5 % are lost.
    Lossy,
    /// The same, and in 10 % of page loads the server takes 5 to 50 s for one answer.
    Slow,
    /// The same as lossy, and three moves between networks: what is on its way back is lost.
    Moves,
    /// The same as lossy, and 30 % of requests go by the other of IPv4 and IPv6. At the edge the jar echo has made them one
    /// graft.
    Flip,
    /// The same as lossy, and the browser crashes twice: it comes back with its jar as it was saved last.
    Crash,
    /// The same as lossy, and in 10 % of page loads one answer is held back for 5 to 50 s *after* its head has left. This
    /// breaks what the design assumes, and is here to show what then happens.
    Held,
    /// The same as flip at the edge, and no echo has joined the two families. The product does not come here: two grafts that
    /// live at once are two parties to it.
    Apart,
}

impl Network {
    /// Those within what the design assumes: no answer arrives later than a window after its head has left.
    pub const ASSUMED: [Self; 6] = [
        Self::Clean,
        Self::Lossy,
        Self::Slow,
        Self::Moves,
        Self::Flip,
        Self::Crash,
    ];

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Clean,
        Self::Lossy,
        Self::Slow,
        Self::Moves,
        Self::Flip,
        Self::Crash,
        Self::Held,
        Self::Apart,
    ];

    /// As a row of a table says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean, 20 to 100 ms",
            Self::Lossy => "1 % of messages stall 1 to 10 s, 0.5 % are lost",
            Self::Slow => "the same, and slow answers (5 to 50 s)",
            Self::Moves => "the same, and three moves between networks",
            Self::Flip => "the same, and 30 % of requests flip IPv4/IPv6",
            Self::Crash => "the same, and two crashes of the browser",
            Self::Held => "(outside) the same, and answers held back for 5 to 50 s",
            Self::Apart => "(outside) the same, and IPv4 and IPv6 were never joined",
        }
    }

    /// Whether it differs from another one on this listener.
    pub fn is_on(self, listener: Listener) -> bool {
        self != Self::Apart || listener == Listener::Edge
    }

    /// How long a message takes; nothing if it is lost.
    pub(super) fn delay(self, dice: &mut Dice) -> Option<u64> {
        if self == Self::Clean {
            return Some(dice.between(20, 100));
        }
        if dice.happens(5) {
            return None;
        }
        let stalled = dice.happens(10);
        Some(if stalled {
            dice.between(1_000, 10_000)
        } else {
            dice.between(20, 100)
        })
    }

    /// Smoothed round-trip time plus four times its variance, as a server at the edge would have measured it.
    pub(super) fn trip(self, dice: &mut Dice) -> u64 {
        match self {
            Self::Clean => dice.between(50, 300),
            // Stalls blow the variance up, by how much depends on when they were: windows of 10 to 30 s.
            _ => dice.between(100, 4_000),
        }
    }
}
