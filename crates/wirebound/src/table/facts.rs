//! A session packed into words, and the judgement of them against a time.
//!
//! One cache line holds all that a check needs, so a cold check costs one read of memory. Moments have 44 bits of
//! milliseconds; cutting only ever shortens.

use subtle::ConstantTimeEq;

use super::live::{Live, Over, Standing};
use crate::{Lifetime, Role, SessionId, Timestamp};

/// Where the generation stands in the words that carry it.
pub(super) const GENERATION_SHIFT: u32 = 46;
const MOMENT_BITS: u32 = 44;
const MOMENT: u64 = (1 << MOMENT_BITS) - 1;
const MARK: u64 = 3 << MOMENT_BITS;
const IDLE_HALF_BITS: u32 = 20;
const IDLE_HALF: u64 = (1 << IDLE_HALF_BITS) - 1;
const IDLE: u64 = (1 << (2 * IDLE_HALF_BITS)) - 1;

const ROLE_SHIFT: u32 = 16;
const CEILING_SHIFT: u32 = 24;
const RAISED_SHIFT: u32 = 32;
const BLOCKED: u64 = 1 << 40;
const RAISED: u64 = 1 << 41;
/// The idle time is so long that the tick is the full one.
const PATIENT: u64 = 1 << 42;
/// The last two bytes of the id, and the sixteen bits of the place that the index does not compare.
const NAME: u64 = 0xffff_0000_0000_ffff;

/// `last_active` is written at most this often, and less than that never costs a sixteenth of the idle time.
const TICK: u64 = 1_000;

/// What one consistent read of a slot saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// First eight bytes of the id.
    pub(super) lead: u64,
    /// The short digest.
    pub(super) digest: [u64; 2],
    /// What is judged.
    pub(super) terms: Terms,
}

/// The part of it that a judgement needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Last two bytes of the id, the roles, two flags, the high bits of the place.
    pub(super) rest: u64,
    /// Absolute expiry and the low half of the idle time.
    pub(super) absolute: u64,
    /// The identity's expiry and the high half of the idle time.
    pub(super) identity: u64,
    /// When the raised role ends; meaningless unless the flag says that there is one.
    pub(super) raised_until: u64,
    /// Generation, mark and `last_active`: the one word that readers write.
    pub(super) touch: u64,
}

impl Facts {
    pub(super) fn of(live: &Live, generation: u64) -> Self {
        let (lead, tail) = name(live.place, live.id);
        let idle = live.idle.as_millis().min(IDLE);
        let (raised, raised_until) = match live.raised {
            Some((role, until)) => (
                RAISED | (u64::from(role.rank()) << RAISED_SHIFT),
                until.as_millis(),
            ),
            None => (0, 0),
        };
        Self {
            lead,
            digest: digest_words(&live.digest),
            terms: Terms {
                rest: tail
                    | (u64::from(live.role.rank()) << ROLE_SHIFT)
                    | (u64::from(live.ceiling.rank()) << CEILING_SHIFT)
                    | raised
                    | if live.blocked { BLOCKED } else { 0 }
                    | if idle >> 4 >= TICK { PATIENT } else { 0 },
                absolute: moment(live.absolute) | ((idle & IDLE_HALF) << MOMENT_BITS),
                identity: moment(live.identity_until) | ((idle >> IDLE_HALF_BITS) << MOMENT_BITS),
                raised_until,
                touch: (generation << GENERATION_SHIFT) | moment(live.last_active),
            },
        }
    }

    pub(super) fn live(&self, place: u64) -> Live {
        let terms = &self.terms;
        let [low, high] = self.digest.map(u64::to_le_bytes);
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(low.into_iter().chain(high)) {
            *to = from;
        }
        Live {
            id: self.id(),
            place,
            digest,
            role: rank(terms.rest >> ROLE_SHIFT),
            raised: terms.is_raised().then(|| {
                (
                    rank(terms.rest >> RAISED_SHIFT),
                    Timestamp::from_millis(terms.raised_until),
                )
            }),
            ceiling: rank(terms.rest >> CEILING_SHIFT),
            blocked: terms.rest & BLOCKED != 0,
            identity_until: Timestamp::from_millis(unpacked(terms.identity)),
            absolute: Timestamp::from_millis(unpacked(terms.absolute)),
            idle: Lifetime::from_millis(terms.idle()),
            last_active: terms.last_active(),
        }
    }

    pub(super) fn id(&self) -> SessionId {
        let [a, b, c, d, e, f, g, h] = self.lead.to_le_bytes();
        let [i, j, ..] = self.terms.rest.to_le_bytes();
        SessionId::from_bytes([a, b, c, d, e, f, g, h, i, j])
    }

    #[inline]
    pub(super) fn names(&self, (lead, tail): (u64, u64)) -> bool {
        (self.lead ^ lead) | ((self.terms.rest ^ tail) & NAME) == 0
    }

    /// Constant time: what is compared here came from a stranger.
    #[inline]
    pub(super) fn matches(&self, digest: [u64; 2]) -> bool {
        let [a, b] = self.digest;
        let [x, y] = digest;
        ((a ^ x) | (b ^ y)).ct_eq(&0).into()
    }

    /// Without the raised role.
    pub(super) fn lowered(mut self) -> Self {
        self.terms.rest &= !(RAISED | (0xff << RAISED_SHIFT));
        self.terms.raised_until = 0;
        self
    }
}

impl Terms {
    pub(super) fn last_active(&self) -> Timestamp {
        Timestamp::from_millis(unpacked(self.touch))
    }

    #[inline]
    pub(super) fn is_raised(&self) -> bool {
        self.rest & RAISED != 0
    }

    #[inline]
    fn idle(&self) -> u64 {
        (self.absolute >> MOMENT_BITS) | ((self.identity >> MOMENT_BITS) << IDLE_HALF_BITS)
    }

    /// The role in force in the common case: all is well, nothing is raised, nothing has to be refreshed.
    ///
    /// `None` says nothing; `judge` does. What this answers, `judge` would have answered too: less than a tick unused
    /// is not idle where the idle time is sixteen ticks or more.
    #[inline]
    pub(super) fn quick(&self, now: Timestamp) -> Option<Standing> {
        let millis = now.as_millis();
        let well = ((self.rest ^ PATIENT) & (BLOCKED | RAISED | PATIENT)) | (self.touch & MARK)
            == 0
            && self.unused(now) < TICK
            && millis < self.identity & MOMENT
            && millis < self.absolute & MOMENT;
        well.then(|| Standing {
            role: rank(self.rest >> ROLE_SHIFT).min(rank(self.rest >> CEILING_SHIFT)),
        })
    }

    /// Believed or not, exactly at the moment: what ends at `now` is over at `now`.
    #[inline]
    pub(super) fn judge(&self, now: Timestamp) -> Result<Standing, Over> {
        let millis = now.as_millis();
        // One branch for all that is well; the packed NEVER lies ahead of every moment that is kept.
        let over = (self.rest & BLOCKED != 0)
            | (self.touch & MARK != 0)
            | (millis >= self.identity & MOMENT)
            | (millis >= self.absolute & MOMENT)
            | (self.unused(now) >= self.idle());
        if over {
            return Err(self.why(now));
        }
        let role = if self.is_raised() && millis < self.raised_until {
            rank(self.rest >> RAISED_SHIFT)
        } else {
            rank(self.rest >> ROLE_SHIFT)
        };
        Ok(Standing {
            role: role.min(rank(self.rest >> CEILING_SHIFT)),
        })
    }

    /// The first reason that holds, in the order of judgement.
    #[cold]
    fn why(&self, now: Timestamp) -> Over {
        let millis = now.as_millis();
        if self.rest & BLOCKED != 0 {
            Over::Blocked
        } else if self.touch & MARK != 0 {
            marked(self.touch)
        } else if millis >= self.identity & MOMENT {
            Over::IdentityExpired
        } else if millis >= self.absolute & MOMENT {
            Over::Absolute
        } else {
            Over::Idle
        }
    }

    /// Milliseconds since the last use; none if the clock went back.
    #[inline]
    fn unused(&self, now: Timestamp) -> u64 {
        now.as_millis().saturating_sub(self.touch & MOMENT)
    }

    /// Whether a raised role is past its end but still written here.
    #[inline]
    pub(super) fn is_spent(&self, now: Timestamp) -> bool {
        self.is_raised() && now.as_millis() >= self.raised_until
    }

    /// The touch word of a session used at `now`, if the tick changed.
    #[inline]
    pub(super) fn refreshed(&self, now: Timestamp) -> Option<u64> {
        (self.unused(now) >= TICK.min((self.idle() >> 4) | 1))
            .then(|| (self.touch & !MOMENT) | moment(now))
    }

    /// The touch word of a session that time has ended, if it does not say so already.
    pub(super) fn ended(&self, over: Over) -> Option<u64> {
        let mark = match over {
            Over::Gone | Over::Blocked => return None,
            Over::Idle => 1,
            Over::Absolute => 2,
            Over::IdentityExpired => 3,
        };
        (self.touch & MARK == 0).then_some(self.touch | (mark << MOMENT_BITS))
    }

    /// The touch word `now` stands in the slot, with another `last_active` but the same generation and mark.
    pub(super) fn moved(touch: u64, last_active: Timestamp) -> u64 {
        (touch & !MOMENT) | moment(last_active)
    }
}

fn marked(touch: u64) -> Over {
    match (touch & MARK) >> MOMENT_BITS {
        1 => Over::Idle,
        2 => Over::Absolute,
        _ => Over::IdentityExpired,
    }
}

/// What the slot of this session and no other holds of its name.
#[inline]
pub(super) fn name(place: u64, id: SessionId) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j] = *id.as_bytes();
    let [.., y, z, _, _] = place.to_le_bytes();
    (
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, 0, 0, 0, 0, y, z]),
    )
}

#[inline]
pub(super) fn digest_words(digest: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(*digest);
    let half =
        |shift: u32| u64::try_from((whole >> shift) & u128::from(u64::MAX)).unwrap_or_default();
    [half(0), half(64)]
}

fn moment(at: Timestamp) -> u64 {
    match at {
        Timestamp::NEVER => MOMENT,
        at => at.as_millis().min(MOMENT ^ 1),
    }
}

#[inline]
fn unpacked(word: u64) -> u64 {
    match word & MOMENT {
        MOMENT => u64::MAX,
        millis => millis,
    }
}

#[inline]
fn rank(word: u64) -> Role {
    let [low, ..] = word.to_le_bytes();
    Role::ranked(low)
}
