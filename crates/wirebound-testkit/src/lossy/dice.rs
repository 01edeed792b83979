//! Repeatable chance: the same seed gives the same sessions, on any machine and in any number of threads.

/// A stream of numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// A stream of its own for each session of a row.
    pub(super) fn new(seed: u64, row: u64, session: u64) -> Self {
        let mut dice = Self(seed ^ row.rotate_left(40));
        let start = dice.next() ^ session;
        Self(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(super) fn happens(&mut self, in_thousand: u64) -> bool {
        self.next() % 1000 < in_thousand
    }

    /// One of these.
    pub(super) fn one_of(&mut self, choices: &[u64]) -> u64 {
        choices[self.next() as usize % choices.len()]
    }
}
