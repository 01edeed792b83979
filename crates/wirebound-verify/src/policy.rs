//! What counts while the feed is silent. Plain arithmetic over an age.

use std::time::Duration;

use wirebound::Lifetime;

use crate::refused::Unsure;

/// What happens to good tokens when no beat came for longer than the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to do")]
pub enum WhenStale {
    /// The gateway is asked about each; what it does not answer is refused.
    Ask,
    /// Each is refused.
    Refuse,
    /// Each is taken for so long after the end of the lease, and refused after that: whoever was called back meanwhile goes
    /// on until then, or until the token's own end.
    AcceptFor(Duration),
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to rest on")]
pub enum Freshness {
    /// On the feed, whose word is so old.
    Fed {
        /// How old.
        age: Lifetime,
    },
    /// On the feed's last word, which is older than the lease: [`WhenStale::AcceptFor`].
    Lapsed {
        /// How old.
        age: Lifetime,
    },
    /// On the gateway's answer to this very question.
    Asked,
}

/// What an age allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Take(Freshness),
    Ask,
    Refuse(Unsure),
}

/// The bounds that an operator chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) lease: Lifetime,
    pub(crate) when_stale: WhenStale,
}

impl Bounds {
    /// What may be done with a good token, where what is called back is known as of so long ago, or not at all.
    pub(crate) fn allow(&self, age: Option<Lifetime>) -> Allowed {
        match (age, self.when_stale) {
            (Some(age), _) if age <= self.lease => Allowed::Take(Freshness::Fed { age }),
            (_, WhenStale::Ask) => Allowed::Ask,
            (Some(age), WhenStale::AcceptFor(_)) if age <= self.longest() => {
                Allowed::Take(Freshness::Lapsed { age })
            }
            (Some(_), WhenStale::Refuse | WhenStale::AcceptFor(_)) => {
                Allowed::Refuse(Unsure::Stale)
            }
            (None, WhenStale::Refuse | WhenStale::AcceptFor(_)) => {
                Allowed::Refuse(Unsure::NotKnown)
            }
        }
    }

    /// The oldest word that anything may rest on.
    pub(crate) fn longest(&self) -> Lifetime {
        match self.when_stale {
            WhenStale::Ask | WhenStale::Refuse => self.lease,
            WhenStale::AcceptFor(more) => {
                let more = lifetime(more).as_millis();
                Lifetime::from_millis(self.lease.as_millis().saturating_add(more))
            }
        }
    }
}

pub(crate) fn lifetime(duration: Duration) -> Lifetime {
    Lifetime::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Lifetime {
        Lifetime::from_millis(millis)
    }

    fn allow(when_stale: WhenStale, age: Option<u64>) -> Allowed {
        let bounds = Bounds {
            lease: ms(10_000),
            when_stale,
        };
        bounds.allow(age.map(ms))
    }

    #[test]
    fn each_policy_ends_at_its_very_bound() {
        let accept = WhenStale::AcceptFor(Duration::from_secs(5));
        let fed = |age| Allowed::Take(Freshness::Fed { age: ms(age) });
        for policy in [WhenStale::Ask, WhenStale::Refuse, accept] {
            assert_eq!(allow(policy, Some(0)), fed(0));
            assert_eq!(allow(policy, Some(10_000)), fed(10_000));
        }
        for age in [Some(10_001), Some(u64::MAX), None] {
            assert_eq!(allow(WhenStale::Ask, age), Allowed::Ask);
        }
        let stale = Allowed::Refuse(Unsure::Stale);
        assert_eq!(allow(WhenStale::Refuse, Some(10_001)), stale);
        let lapsed = |age| Allowed::Take(Freshness::Lapsed { age: ms(age) });
        assert_eq!(allow(accept, Some(10_001)), lapsed(10_001));
        assert_eq!(allow(accept, Some(15_000)), lapsed(15_000));
        assert_eq!(allow(accept, Some(15_001)), stale);
        for policy in [WhenStale::Refuse, accept] {
            assert_eq!(allow(policy, None), Allowed::Refuse(Unsure::NotKnown));
        }
    }
}
