//! The judge: facts in, a judgement out. Pure; it asks no store, no clock, no connection.
//!
//! The order is fixed: ended or revoked, blocked, expired, come from elsewhere, proof, role and
//! strength. (What cannot be read is refused before there are facts, and a store that cannot say yields none.)
//! It is the only place where a request that was not yet proved becomes an accepted one.

use crate::policy::{Control, OnContest, OnTheft, Policy, Preset};
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
    /// Current, offered and not yet shown, or superseded so lately that it is no evidence of anything.
    Current,
    /// Genuine, but superseded longer ago than honest clients show it.
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
    /// Nobody, or the same graft.
    Nobody,
    /// A graft (another, if a graft asks), no trunk.
    Graft,
    /// A trunk wire.
    Trunk,
}

/// The hand-over nonce that the request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nonce {
    /// None, a void one, or one that means nothing.
    Nothing,
    /// The open one, on a wire with TLS tickets; it was offered on a wire of this stock.
    Open(Stock),
    /// The open one, on a wire without TLS tickets: its client is on its way to one that has some.
    OnItsWay,
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

/// Whether a ticket, where it is the proof, is kept up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It is.
    Fine,
    /// It went unrenewed for too long.
    Expired,
    /// Its successors were offered often enough, and none was ever shown.
    NotTaken,
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
    /// Somebody used the session by a ticket, aside of the trunk, since the trunk was last heard.
    pub(crate) grafted: bool,
    /// An old ticket of a graft, and another than this graft has moved the sequence on.
    pub(crate) estranged: bool,
    pub(crate) renewal: Renewal,
    pub(crate) nonce: Nonce,
    pub(crate) recourse: Recourse,
    pub(crate) role: Role,
    pub(crate) ceiling: Role,
    /// The most that any wire of this session proves.
    pub(crate) most: Strength,
    pub(crate) need: Need,
}

/// What an assertion claims whose signature was found good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// It was called back; so its session ended.
    pub(crate) ending: Option<Ending>,
    pub(crate) expired: bool,
    /// It was made for another host.
    pub(crate) elsewhere: bool,
    pub(crate) role: Role,
    pub(crate) need: Need,
}

/// Judges one request that shows an assertion; answers the role in force. It is a string, so it is worth no more than one,
/// and where connections are bound it is worth nothing: a copy would do.
pub(crate) fn claim(claim: &Claim, policy: &Policy) -> Result<Role, Refusal> {
    match claim.ending {
        Some(ending) if ending.is_expiry() => return Err(Refusal::SessionExpired(ending)),
        Some(ending) => return Err(Refusal::PhantomSession(ending)),
        None => {}
    }
    if claim.expired {
        return Err(Refusal::SessionExpired(Ending::ExpiredAbsolute));
    }
    if claim.elsewhere {
        return Err(Refusal::Unauthenticated);
    }
    if policy.preset.binds_wires() {
        return Err(Refusal::NotProven);
    }
    let role = claim.role.usable_with(Strength::Bearer, policy.above_user);
    let need = claim.need;
    need.met_by(role, claim.role, Strength::Bearer, policy.above_user)?;
    Ok(role)
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
    /// Serve nothing; send the client on to a connection with TLS tickets.
    HandOn,
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
    /// Every graft is cut off, every secret renewed; an event.
    CutGraft,
    /// Theft: an event; the session ends if `ends`.
    Theft { ends: bool },
    /// The time of the session is over: it ends, with a tombstone.
    Expire(Ending),
}

/// A request that was proved, whatever its route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) strength: Strength,
    /// The wire is to be attached. Nothing: it is already, or this request alone was proved.
    pub(crate) attach: Option<Attach>,
}

/// A verdict and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) consequence: Consequence,
    /// Set also where the route asks for more: known, not allowed.
    pub(crate) proved: Option<Proved>,
    /// A control that runs in shadow would have refused, for this reason. `None` within: would have challenged.
    pub(crate) shadowed: Option<(Control, Option<Refusal>)>,
}

impl Judgement {
    const fn of(verdict: Verdict, consequence: Consequence) -> Self {
        Self {
            verdict,
            consequence,
            proved: None,
            shadowed: None,
        }
    }

    const fn refuse(refusal: Refusal) -> Self {
        Self::of(Verdict::Refuse(refusal), Consequence::Nothing)
    }
}

/// Not proved: by which control, what is answered, what follows.
struct Denied {
    control: Control,
    verdict: Verdict,
    consequence: Consequence,
}

impl Denied {
    const fn refuse(control: Control, refusal: Refusal, consequence: Consequence) -> Self {
        Self {
            control,
            verdict: Verdict::Refuse(refusal),
            consequence,
        }
    }

    /// The event is told, nothing ends.
    const fn soft_consequence(&self) -> Consequence {
        match self.consequence {
            Consequence::Theft { .. } => Consequence::Theft { ends: false },
            Consequence::Nothing
            | Consequence::NotProven
            | Consequence::Contested
            | Consequence::CutGraft
            | Consequence::Expire(_) => self.consequence,
        }
    }

    const fn refusal(&self) -> Option<Refusal> {
        match self.verdict {
            Verdict::Refuse(refusal) => Some(refusal),
            Verdict::Accept { .. } | Verdict::Challenge | Verdict::HandOn => None,
        }
    }
}

/// Judges one request.
pub(crate) fn judge(policy: &Policy, facts: &Facts) -> Judgement {
    if let Some(judgement) = standing(facts) {
        return judgement;
    }
    let mut facts = *facts;
    let mut shadowed = None;
    loop {
        let denied = match prove(policy, &facts) {
            Ok((proved, consequence)) => {
                return Judgement {
                    shadowed,
                    ..allowed(policy, &facts, proved, consequence)
                };
            }
            Err(denied) => denied,
        };
        // On its way nobody is refused anything, so there is nothing to look away from.
        if denied.verdict == Verdict::HandOn || !policy.is_shadowed(denied.control) {
            return Judgement {
                shadowed,
                ..Judgement::of(denied.verdict, denied.consequence)
            };
        }
        shadowed = shadowed.or_else(|| Some((denied.control, denied.refusal())));
        match denied.control {
            // Looked away from; the rest is judged.
            Control::Address => facts.elsewhere = false,
            Control::Renewal => facts.renewal = Renewal::Fine,
            Control::Proof | Control::Contest | Control::Theft | Control::Csrf => {
                // What it was before there was a gateway: whoever holds the string.
                let proved = Proved {
                    strength: Strength::Bearer,
                    attach: None,
                };
                return Judgement {
                    shadowed,
                    ..allowed(policy, &facts, proved, denied.soft_consequence())
                };
            }
        }
    }
}

/// Proved; whether the route lets it.
fn allowed(policy: &Policy, facts: &Facts, proved: Proved, consequence: Consequence) -> Judgement {
    let need = facts.need.met_by(
        facts.role,
        facts.ceiling,
        proved.strength,
        policy.above_user,
    );
    let verdict = match need {
        Ok(()) => Verdict::Accept {
            strength: proved.strength,
            attach: proved.attach,
        },
        // Known, not allowed: the wire is attached all the same.
        Err(refusal) => Verdict::Refuse(refusal),
    };
    Judgement {
        proved: Some(proved),
        ..Judgement::of(verdict, consequence)
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
        return Some(Judgement::of(
            Verdict::Refuse(refusal),
            Consequence::Expire(ending),
        ));
    }
    facts
        .surprise
        .then(|| Judgement::refuse(Refusal::CsrfSurprise))
}

fn prove(policy: &Policy, facts: &Facts) -> Result<(Proved, Consequence), Denied> {
    // Before a challenge too: the jar may be the owner's own, the place is not.
    if facts.elsewhere {
        return Err(Denied::refuse(
            Control::Address,
            Refusal::NotProven,
            Consequence::NotProven,
        ));
    }
    match policy.preset {
        Preset::Strict | Preset::Balanced => by_wire(policy, facts),
        Preset::Portable => by_ticket(policy, facts, None),
        Preset::Bearer => by_string(facts),
    }
}

/// What connections prove.
fn by_wire(policy: &Policy, facts: &Facts) -> Result<(Proved, Consequence), Denied> {
    match facts.proof {
        _ if facts.shared => stranger(policy, facts),
        Proof::Attached(strength) => Ok((
            Proved {
                strength,
                attach: None,
            },
            Consequence::Nothing,
        )),
        // No TLS tickets yet. Attached by the nonce, the wire would stay proved, and the nonce be there for another.
        Proof::Lineage(_) | Proof::Nothing
            if facts.nonce == Nonce::OnItsWay && facts.recourse != Recourse::CannotFollow =>
        {
            Err(Denied {
                control: Control::Proof,
                verdict: Verdict::HandOn,
                consequence: Consequence::Nothing,
            })
        }
        // Two families showed one nonce: of one jar, or of a jar and its copy. Only the echo can say.
        Proof::Lineage(_) if facts.nonce == Nonce::SpentElsewhere => stranger(policy, facts),
        Proof::Lineage(stock) => of_stock(policy, facts, stock, By::Lineage),
        Proof::Nothing => match facts.nonce {
            Nonce::Open(stock) => of_stock(policy, facts, stock, By::HandOver),
            Nonce::Nothing | Nonce::OnItsWay | Nonce::SpentElsewhere => stranger(policy, facts),
        },
    }
}

/// A wire that goes back to the sign-in, or to a ticket.
fn of_stock(
    policy: &Policy,
    facts: &Facts,
    stock: Stock,
    by: By,
) -> Result<(Proved, Consequence), Denied> {
    let attached = Proved {
        strength: stock.strength().min(facts.most),
        attach: Some(Attach { stock, by }),
    };
    match (stock, facts.company) {
        // The trunk is heard: whoever came in by a ticket meanwhile is cut off, connected or not.
        (Stock::Trunk, Company::Graft) => Ok((attached, Consequence::CutGraft)),
        (Stock::Trunk, _) if facts.grafted => Ok((attached, Consequence::CutGraft)),
        (Stock::Trunk, Company::Nobody | Company::Trunk) => Ok((attached, Consequence::Nothing)),
        // A family that another preset left behind.
        (Stock::Graft, _) if policy.preset == Preset::Strict => Err(Denied::refuse(
            Control::Proof,
            Refusal::NotProven,
            Consequence::NotProven,
        )),
        (Stock::Graft, Company::Trunk) => Err(Denied::refuse(
            Control::Proof,
            Refusal::NotProven,
            Consequence::NotProven,
        )),
        // Two grafts, or one whose place in the sequence another has taken.
        (Stock::Graft, Company::Graft) => Err(theft(policy, facts)),
        (Stock::Graft, Company::Nobody) if facts.estranged => Err(theft(policy, facts)),
        (Stock::Graft, Company::Nobody) => Ok((attached, Consequence::Nothing)),
    }
}

/// What a ticket proves by itself.
fn by_ticket(
    policy: &Policy,
    facts: &Facts,
    attach: Option<Attach>,
) -> Result<(Proved, Consequence), Denied> {
    let renewal = |refusal| {
        Err(Denied::refuse(
            Control::Renewal,
            refusal,
            Consequence::Nothing,
        ))
    };
    match (facts.offered, facts.renewal) {
        (Offered::Old | Offered::Bad, _) => Err(theft(policy, facts)),
        (Offered::Current, Renewal::Expired) => renewal(Refusal::SecretExpired),
        (Offered::Current, Renewal::NotTaken) => renewal(Refusal::TicketNotTaken),
        (Offered::Current, Renewal::Fine) => Ok((
            Proved {
                strength: Strength::Ticket.min(facts.most),
                attach,
            },
            Consequence::Nothing,
        )),
    }
}

/// Whoever holds the string; one that was replaced is refused, and evidence of nothing.
const fn by_string(facts: &Facts) -> Result<(Proved, Consequence), Denied> {
    match facts.offered {
        Offered::Current => Ok((
            Proved {
                strength: Strength::Bearer,
                attach: None,
            },
            Consequence::Nothing,
        )),
        Offered::Old | Offered::Bad => Err(Denied::refuse(
            Control::Proof,
            Refusal::OutOfSequence,
            Consequence::NotProven,
        )),
    }
}

/// A genuine secret on a wire that proves nothing.
fn stranger(policy: &Policy, facts: &Facts) -> Result<(Proved, Consequence), Denied> {
    let not_proven = |refusal, consequence| Denied::refuse(Control::Proof, refusal, consequence);
    match facts.recourse {
        // An echo would join the interceptor's stack, not the owner's.
        Recourse::Echo if !facts.shared => {
            return Err(Denied {
                control: Control::Proof,
                verdict: Verdict::Challenge,
                consequence: Consequence::Nothing,
            });
        }
        Recourse::CannotFollow => {
            return Err(not_proven(Refusal::NotProven, Consequence::Nothing));
        }
        Recourse::Echo | Recourse::Exhausted => {}
    }
    if facts.nonce == Nonce::SpentElsewhere && !facts.shared {
        return Err(theft(policy, facts));
    }
    match (facts.company, facts.offered) {
        (Company::Trunk, Offered::Current) => Err(contested(policy)),
        (Company::Graft, _) => Err(theft(policy, facts)),
        (Company::Nobody, Offered::Current)
            if policy.preset == Preset::Balanced && !facts.shared =>
        {
            let graft = Attach {
                stock: Stock::Graft,
                by: By::Ticket,
            };
            by_ticket(policy, facts, Some(graft))
        }
        (Company::Nobody, Offered::Old) if policy.preset == Preset::Balanced && !facts.shared => {
            Err(theft(policy, facts))
        }
        // An old ticket ends nothing where the owner is connected, nor where no ticket opens anything.
        (Company::Trunk | Company::Nobody, Offered::Old) => {
            Err(not_proven(Refusal::OutOfSequence, Consequence::NotProven))
        }
        (Company::Trunk | Company::Nobody, _) => {
            Err(not_proven(Refusal::NotProven, Consequence::NotProven))
        }
    }
}

const fn contested(policy: &Policy) -> Denied {
    let (refusal, consequence) = match policy.on_contest {
        OnContest::Refuse => (Refusal::Contested, Consequence::Contested),
        OnContest::End => (
            Refusal::PhantomSession(Ending::Theft),
            Consequence::Theft { ends: true },
        ),
        OnContest::Alert => (Refusal::NotProven, Consequence::Contested),
    };
    Denied::refuse(Control::Contest, refusal, consequence)
}

fn theft(policy: &Policy, facts: &Facts) -> Denied {
    let (refusal, ends) = match policy.on_theft {
        OnTheft::End => (Refusal::PhantomSession(Ending::Theft), true),
        OnTheft::Refuse => (Refusal::Contested, false),
        OnTheft::Alert => (Refusal::NotProven, false),
    };
    // Whoever shows an old ticket is told no more than that there is nothing here.
    let refusal = if facts.offered == Offered::Old {
        Refusal::OutOfSequence
    } else {
        refusal
    };
    Denied::refuse(Control::Theft, refusal, Consequence::Theft { ends })
}

#[cfg(test)]
mod tests;
