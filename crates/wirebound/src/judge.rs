//! The judge: facts in, a judgement out. Pure; it asks no store, no clock, no connection.
//!
//! The order is fixed: ended or revoked, blocked, expired, come from elsewhere, proof, role and
//! strength. (What cannot be read is refused before there are facts, and a store that cannot say yields none.)
//! It is the only place where a request that was not yet proved becomes an accepted one.

use crate::policy::{OnContest, OnTheft, Policy};
use crate::role::{Role, Strength};
use crate::verdict::{By, Ending, Need, Refusal, Stock};

/// What is known of the session that the request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The store holds no such session.
    Unknown,
    /// It is over.
    Ended(Ending),
    /// It lives.
    Live,
}

/// What the request's secret is to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Current, or offered and not yet shown.
    Current,
    /// Genuine, but replaced.
    Old,
    /// Not one of this session's.
    Bad,
}

/// What this wire proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing.
    Nothing,
    /// It was attached before, with this strength.
    Attached(Strength),
    /// It belongs to a family of the session.
    Lineage(Stock),
}

/// Who else of the session is connected and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// Nobody.
    Nobody,
    /// A graft, no trunk.
    Graft,
    /// A trunk wire.
    Trunk,
}

/// The hand-over nonce that the request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nonce {
    /// None, a void one, or one that means nothing.
    Nothing,
    /// The open one.
    Open,
    /// One that another family has spent, less than its lifetime ago.
    SpentElsewhere,
}

/// Whether the jar echo can still speak for a strange wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recourse {
    /// It can be tried.
    Echo,
    /// It was tried as often as it may be.
    Exhausted,
    /// This request cannot follow a 307; what it fails to prove is evidence of nothing.
    CannotFollow,
}

/// Everything a judgement rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) known: Known,
    pub(crate) offered: Offered,
    pub(crate) blocked: bool,
    pub(crate) over: Option<Ending>,
    pub(crate) surprise: bool,
    pub(crate) proof: Proof,
    /// The wire's family is shared among people: it gives no proof.
    pub(crate) shared: bool,
    /// It comes from an address that the session is not held to: it gives no proof.
    pub(crate) elsewhere: bool,
    pub(crate) company: Company,
    pub(crate) nonce: Nonce,
    pub(crate) recourse: Recourse,
    pub(crate) role: Role,
    pub(crate) ceiling: Role,
    /// The most that any wire of this session proves.
    pub(crate) most: Strength,
    pub(crate) need: Need,
}

/// What the judge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request goes on, with this strength.
    Accept {
        strength: Strength,
        attach: Option<Attach>,
    },
    /// Serve nothing; let the jar speak.
    Challenge,
    /// No.
    Refuse(Refusal),
}

/// A wire that is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attach {
    pub(crate) stock: Stock,
    pub(crate) by: By,
}

/// What follows for the session, beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing.
    Nothing,
    /// An event: a genuine secret on a wire that proves nothing.
    NotProven,
    /// An event that names both sides: it was shown while the owner is connected.
    Contested,
    /// The graft's wires are cut, every secret renewed; an event.
    CutGraft,
    /// Theft: an event; the session ends if `ends`.
    Theft { ends: bool },
    /// The time of the session is over: it ends, with a tombstone.
    Expire(Ending),
}

/// A verdict and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) consequence: Consequence,
}

impl Judgement {
    const fn refuse(refusal: Refusal) -> Self {
        Self::refuse_and(refusal, Consequence::Nothing)
    }

    const fn refuse_and(refusal: Refusal, consequence: Consequence) -> Self {
        Self {
            verdict: Verdict::Refuse(refusal),
            consequence,
        }
    }
}

/// Judges one request.
pub(crate) fn judge(policy: &Policy, facts: &Facts) -> Judgement {
    if let Some(judgement) = standing(facts) {
        return judgement;
    }
    let proved = match prove(policy, facts) {
        Ok(proved) => proved,
        Err(judgement) => return judgement,
    };
    let verdict = match facts
        .need
        .met_by(facts.role, facts.ceiling, proved.strength)
    {
        Ok(()) => Verdict::Accept {
            strength: proved.strength,
            attach: proved.attach,
        },
        // Known, not allowed: the wire is attached all the same, by whoever reads `attach` of the proof.
        Err(refusal) => Verdict::Refuse(refusal),
    };
    Judgement {
        verdict,
        consequence: proved.consequence,
    }
}

/// What is settled before any proof is looked at.
fn standing(facts: &Facts) -> Option<Judgement> {
    let genuine = facts.offered != Offered::Bad;
    match facts.known {
        Known::Unknown => return Some(Judgement::refuse(Refusal::Unauthenticated)),
        Known::Ended(_) | Known::Live if !genuine => {
            return Some(Judgement::refuse(Refusal::Unauthenticated));
        }
        Known::Ended(ending) if ending.is_expiry() => {
            return Some(Judgement::refuse(Refusal::SessionExpired(ending)));
        }
        Known::Ended(ending) => return Some(Judgement::refuse(Refusal::PhantomSession(ending))),
        Known::Live => {}
    }
    if facts.blocked {
        return Some(Judgement::refuse(Refusal::Blocked));
    }
    if let Some(ending) = facts.over {
        let refusal = if ending.is_expiry() {
            Refusal::SessionExpired(ending)
        } else {
            Refusal::PhantomSession(ending)
        };
        return Some(Judgement::refuse_and(refusal, Consequence::Expire(ending)));
    }
    facts
        .surprise
        .then(|| Judgement::refuse(Refusal::CsrfSurprise))
}

struct Proved {
    strength: Strength,
    attach: Option<Attach>,
    consequence: Consequence,
}

fn prove(policy: &Policy, facts: &Facts) -> Result<Proved, Judgement> {
    let attached = |stock: Stock, by: By| Proved {
        strength: stock.strength().min(facts.most),
        attach: Some(Attach { stock, by }),
        consequence: Consequence::Nothing,
    };
    match facts.proof {
        // Before a challenge too: the jar may be the owner's own, the place is not.
        _ if facts.elsewhere => Err(Judgement::refuse_and(
            Refusal::NotProven,
            Consequence::NotProven,
        )),
        _ if facts.shared => Err(stranger(policy, facts)),
        Proof::Attached(strength) => Ok(Proved {
            strength,
            attach: None,
            consequence: Consequence::Nothing,
        }),
        Proof::Lineage(Stock::Trunk) => Ok(Proved {
            // The trunk is heard: whoever came in by a ticket meanwhile is cut.
            consequence: match facts.company {
                Company::Graft => Consequence::CutGraft,
                Company::Nobody | Company::Trunk => Consequence::Nothing,
            },
            ..attached(Stock::Trunk, By::Lineage)
        }),
        Proof::Lineage(Stock::Graft) if facts.company != Company::Trunk => {
            Ok(attached(Stock::Graft, By::Lineage))
        }
        Proof::Lineage(Stock::Graft) => Err(Judgement::refuse_and(
            Refusal::NotProven,
            Consequence::NotProven,
        )),
        Proof::Nothing if facts.nonce == Nonce::Open => Ok(attached(Stock::Trunk, By::HandOver)),
        Proof::Nothing => Err(stranger(policy, facts)),
    }
}

/// A genuine secret on a wire that proves nothing.
fn stranger(policy: &Policy, facts: &Facts) -> Judgement {
    match facts.recourse {
        // An echo would join the interceptor's stack, not the owner's.
        Recourse::Echo if !facts.shared => {
            return Judgement {
                verdict: Verdict::Challenge,
                consequence: Consequence::Nothing,
            };
        }
        Recourse::CannotFollow => {
            return Judgement::refuse_and(Refusal::NotProven, Consequence::Nothing);
        }
        Recourse::Echo | Recourse::Exhausted => {}
    }
    if facts.nonce == Nonce::SpentElsewhere && !facts.shared {
        return theft(policy);
    }
    match (facts.company, facts.offered) {
        (Company::Trunk, Offered::Current) => contested(policy),
        // `strict` has no grafts; the row stands for the presets that do.
        (Company::Graft, _) => theft(policy),
        (Company::Trunk | Company::Nobody, _) => {
            Judgement::refuse_and(Refusal::NotProven, Consequence::NotProven)
        }
    }
}

const fn contested(policy: &Policy) -> Judgement {
    match policy.on_contest {
        OnContest::Refuse => Judgement::refuse_and(Refusal::Contested, Consequence::Contested),
        OnContest::End => Judgement::refuse_and(
            Refusal::PhantomSession(Ending::Theft),
            Consequence::Theft { ends: true },
        ),
        OnContest::Alert => Judgement::refuse_and(Refusal::NotProven, Consequence::Contested),
    }
}

const fn theft(policy: &Policy) -> Judgement {
    match policy.on_theft {
        OnTheft::End => Judgement::refuse_and(
            Refusal::PhantomSession(Ending::Theft),
            Consequence::Theft { ends: true },
        ),
        OnTheft::Refuse => {
            Judgement::refuse_and(Refusal::Contested, Consequence::Theft { ends: false })
        }
        OnTheft::Alert => {
            Judgement::refuse_and(Refusal::NotProven, Consequence::Theft { ends: false })
        }
    }
}

/// What a wire proves, whatever the route asks for: a request that is refused for its role still attaches.
pub(crate) fn attachment(policy: &Policy, facts: &Facts) -> Option<Attach> {
    if standing(facts).is_some() {
        return None;
    }
    prove(policy, facts).ok().and_then(|proved| proved.attach)
}

#[cfg(test)]
mod tests;
