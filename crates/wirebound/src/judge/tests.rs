//! The decision table of the judge, as data: every combination that decides something is a row to read.

use super::*;

fn facts() -> Facts {
    Facts {
        known: Known::Live,
        offered: Offered::Current,
        blocked: false,
        over: None,
        surprise: false,
        proof: Proof::Nothing,
        shared: false,
        elsewhere: false,
        company: Company::Nobody,
        grafted: false,
        estranged: false,
        renewal: Renewal::Fine,
        nonce: Nonce::Nothing,
        recourse: Recourse::Exhausted,
        role: Role::USER,
        ceiling: Role::USER,
        most: Strength::Device,
        need: Need::NOTHING,
    }
}

fn of(preset: Preset) -> Policy {
    Policy {
        preset,
        ..Policy::default()
    }
}

fn strict() -> Policy {
    of(Preset::Strict)
}

/// One word per outcome, so that the table below reads as a table.
fn outcome(policy: &Policy, facts: &Facts) -> String {
    let judgement = judge(policy, facts);
    let verdict = match judgement.verdict {
        Verdict::Accept { strength, attach } => {
            let how = attach.map_or_else(
                || "attached".into(),
                |a| format!("{} by {}", a.stock.name(), a.by.name()),
            );
            format!("accept {strength}, {how}")
        }
        Verdict::Challenge => "challenge".into(),
        Verdict::HandOn => "hand on".into(),
        Verdict::Refuse(refusal) => format!("refuse {refusal}"),
    };
    let then = match judgement.consequence {
        Consequence::Nothing => String::new(),
        Consequence::NotProven => "; event not_proven".into(),
        Consequence::Contested => "; event contested".into(),
        Consequence::CutGraft => "; graft cut".into(),
        Consequence::Theft { ends: true } => "; theft, ends".into(),
        Consequence::Theft { ends: false } => "; theft, stands".into(),
        Consequence::Expire(ending) => format!("; over: {ending}"),
    };
    verdict + &then
}

/// proof, secret, company, nonce, recourse -> outcome, for a live session in `strict`.
const TABLE: &str = "
attached  current nobody nothing   exhausted    | accept wire, attached
attached  old     trunk  nothing   exhausted    | accept wire, attached
attached  bad     trunk  nothing   exhausted    | refuse unauthenticated
trunk     current nobody nothing   exhausted    | accept wire, trunk by lineage
trunk     old     nobody nothing   exhausted    | accept wire, trunk by lineage
trunk     current trunk  elsewhere echo         | challenge
trunk     current trunk  elsewhere cannot       | refuse not_proven
trunk     current trunk  elsewhere exhausted    | refuse phantom_session; theft, ends
trunk     current trunk  open      exhausted    | accept wire, trunk by lineage
attached  current trunk  elsewhere exhausted    | accept wire, attached
trunk     current graft  nothing   exhausted    | accept wire, trunk by lineage; graft cut
trunk     bad     nobody nothing   exhausted    | refuse unauthenticated
graft     current nobody nothing   exhausted    | refuse not_proven; event not_proven
graft     current graft  nothing   exhausted    | refuse not_proven; event not_proven
graft     current trunk  nothing   exhausted    | refuse not_proven; event not_proven
nothing   current nobody open      echo         | accept wire, trunk by hand_over
nothing   current trunk  open      cannot       | accept wire, trunk by hand_over
nothing   old     nobody open      echo         | accept wire, trunk by hand_over
nothing   current nobody on_its_way echo        | hand on
nothing   current trunk  on_its_way exhausted   | hand on
nothing   current nobody on_its_way cannot      | refuse not_proven
nothing   bad     nobody on_its_way echo        | refuse unauthenticated
trunk     current nobody on_its_way exhausted   | hand on
trunk     current nobody on_its_way cannot      | accept wire, trunk by lineage
attached  current nobody on_its_way exhausted   | accept wire, attached
nothing   bad     nobody open      echo         | refuse unauthenticated
nothing   current nobody nothing   echo         | challenge
nothing   current trunk  nothing   echo         | challenge
nothing   old     trunk  nothing   echo         | challenge
nothing   current trunk  elsewhere echo         | challenge
nothing   current trunk  nothing   cannot       | refuse not_proven
nothing   current trunk  elsewhere cannot       | refuse not_proven
nothing   current trunk  nothing   exhausted    | refuse contested; event contested
nothing   current trunk  elsewhere exhausted    | refuse phantom_session; theft, ends
nothing   current nobody elsewhere exhausted    | refuse phantom_session; theft, ends
nothing   current nobody nothing   exhausted    | refuse not_proven; event not_proven
nothing   old     trunk  nothing   exhausted    | refuse out_of_sequence; event not_proven
nothing   old     nobody nothing   exhausted    | refuse out_of_sequence; event not_proven
nothing   current graft  nothing   exhausted    | refuse phantom_session; theft, ends
nothing   old     graft  nothing   exhausted    | refuse out_of_sequence; theft, ends
nothing   bad     graft  elsewhere exhausted    | refuse unauthenticated
";

/// The same, in `balanced`: what differs.
const BALANCED: &str = "
attached  old     nobody nothing   exhausted    | accept wire, attached
trunk     old     graft  nothing   exhausted    | accept wire, trunk by lineage; graft cut
graft     current nobody nothing   exhausted    | accept ticket, graft by lineage
graft     old     nobody nothing   exhausted    | accept ticket, graft by lineage
graft     current graft  nothing   exhausted    | refuse phantom_session; theft, ends
graft     old     graft  nothing   exhausted    | refuse out_of_sequence; theft, ends
graft     current trunk  nothing   exhausted    | refuse not_proven; event not_proven
nothing   current nobody nothing   echo         | challenge
nothing   current nobody nothing   cannot       | refuse not_proven
nothing   old     nobody nothing   cannot       | refuse not_proven
nothing   current nobody nothing   exhausted    | accept ticket, graft by ticket
nothing   old     nobody nothing   exhausted    | refuse out_of_sequence; theft, ends
nothing   bad     nobody nothing   exhausted    | refuse unauthenticated
nothing   current trunk  nothing   exhausted    | refuse contested; event contested
nothing   old     trunk  nothing   exhausted    | refuse out_of_sequence; event not_proven
nothing   bad     trunk  nothing   exhausted    | refuse unauthenticated
nothing   current graft  nothing   exhausted    | refuse phantom_session; theft, ends
nothing   old     graft  nothing   exhausted    | refuse out_of_sequence; theft, ends
nothing   bad     graft  nothing   exhausted    | refuse unauthenticated
nothing   current nobody elsewhere exhausted    | refuse phantom_session; theft, ends
nothing   current nobody grafted   echo         | accept ticket, graft by hand_over
nothing   current trunk  grafted   echo         | refuse not_proven; event not_proven
";

/// In `portable`: no wire proves anything, and none speaks against anybody.
const PORTABLE: &str = "
trunk     current nobody nothing   echo         | accept ticket, attached
nothing   current nobody nothing   cannot       | accept ticket, attached
nothing   current trunk  elsewhere echo         | accept ticket, attached
nothing   old     nobody nothing   echo         | refuse out_of_sequence; theft, ends
nothing   bad     nobody nothing   echo         | refuse unauthenticated
";

/// In `bearer`: whoever holds the string.
const BEARER: &str = "
nothing   current nobody nothing   echo         | accept bearer, attached
trunk     current nobody nothing   echo         | accept bearer, attached
nothing   old     nobody nothing   echo         | refuse out_of_sequence; event not_proven
nothing   bad     nobody nothing   echo         | refuse unauthenticated
";

fn row_facts(given: &str) -> Facts {
    let words: Vec<&str> = given.split_whitespace().collect();
    Facts {
        proof: match words[0] {
            "attached" => Proof::Attached(Strength::Wire),
            "trunk" => Proof::Lineage(Stock::Trunk),
            "graft" => Proof::Lineage(Stock::Graft),
            _ => Proof::Nothing,
        },
        offered: match words[1] {
            "current" => Offered::Current,
            "old" => Offered::Old,
            _ => Offered::Bad,
        },
        company: match words[2] {
            "trunk" => Company::Trunk,
            "graft" => Company::Graft,
            _ => Company::Nobody,
        },
        nonce: match words[3] {
            "open" => Nonce::Open(Stock::Trunk),
            "grafted" => Nonce::Open(Stock::Graft),
            "on_its_way" => Nonce::OnItsWay,
            "elsewhere" => Nonce::SpentElsewhere,
            _ => Nonce::Nothing,
        },
        recourse: match words[4] {
            "echo" => Recourse::Echo,
            "cannot" => Recourse::CannotFollow,
            _ => Recourse::Exhausted,
        },
        ..facts()
    }
}

#[test]
fn who_is_heard_when_two_meet() {
    for (preset, table, expected_rows) in [
        (Preset::Strict, TABLE, 41),
        (Preset::Balanced, BALANCED, 22),
        (Preset::Portable, PORTABLE, 5),
        (Preset::Bearer, BEARER, 4),
    ] {
        let policy = of(preset);
        let mut rows = 0;
        for row in table.lines().filter(|line| !line.trim().is_empty()) {
            let (given, expected) = row.split_once('|').unwrap();
            let facts = row_facts(given);
            assert_eq!(
                outcome(&policy, &facts),
                expected.trim(),
                "{preset:?}: {row}"
            );
            rows += 1;
        }
        assert_eq!(rows, expected_rows, "{preset:?}");
    }
}

#[test]
fn a_trunk_that_comes_back_cuts_off_a_graft_that_is_not_connected_either() {
    let facts = Facts {
        proof: Proof::Lineage(Stock::Trunk),
        grafted: true,
        ..facts()
    };
    assert_eq!(
        outcome(&of(Preset::Balanced), &facts),
        "accept wire, trunk by lineage; graft cut"
    );
}

#[test]
fn an_old_ticket_over_the_lineage_of_a_graft_whose_place_another_took_is_theft() {
    let facts = Facts {
        proof: Proof::Lineage(Stock::Graft),
        offered: Offered::Old,
        estranged: true,
        ..facts()
    };
    assert_eq!(
        outcome(&of(Preset::Balanced), &facts),
        "refuse out_of_sequence; theft, ends"
    );
}

#[test]
fn a_ticket_that_is_the_proof_must_be_kept_up_and_nothing_ends_where_it_is_not() {
    for (renewal, expected) in [
        (Renewal::Expired, "refuse session_expired"),
        (Renewal::NotTaken, "refuse ticket_not_taken"),
    ] {
        let facts = Facts { renewal, ..facts() };
        for preset in [Preset::Balanced, Preset::Portable] {
            assert_eq!(outcome(&of(preset), &facts), expected);
        }
        // Lineage is not subject to it.
        let trunk = Facts {
            proof: Proof::Lineage(Stock::Trunk),
            ..facts
        };
        assert_eq!(
            outcome(&of(Preset::Balanced), &trunk),
            "accept wire, trunk by lineage"
        );
    }
}

#[test]
fn a_control_in_shadow_is_judged_and_told_and_lets_in_as_a_bearer_only() {
    let contest = Facts {
        company: Company::Trunk,
        ..facts()
    };
    let stolen = Facts {
        offered: Offered::Old,
        ..facts()
    };
    let strange = Facts {
        recourse: Recourse::Echo,
        ..facts()
    };
    let elsewhere = Facts {
        elsewhere: true,
        proof: Proof::Lineage(Stock::Trunk),
        ..facts()
    };
    let stale = Facts {
        renewal: Renewal::Expired,
        ..facts()
    };
    for (control, facts, expected, would) in [
        (
            Control::Contest,
            contest,
            "accept bearer, attached; event contested",
            Some("contested"),
        ),
        (
            Control::Theft,
            stolen,
            "accept bearer, attached; theft, stands",
            Some("out_of_sequence"),
        ),
        (Control::Proof, strange, "accept bearer, attached", None),
        (
            Control::Address,
            elsewhere,
            "accept wire, trunk by lineage",
            Some("not_proven"),
        ),
        (
            Control::Renewal,
            stale,
            "accept ticket, graft by ticket",
            Some("session_expired"),
        ),
    ] {
        let policy = Policy {
            shadow: vec![control],
            ..of(Preset::Balanced)
        };
        assert_eq!(outcome(&policy, &facts), expected, "{control:?}");
        let shadowed = judge(&policy, &facts).shadowed;
        assert_eq!(
            shadowed.map(|(control, would)| (control, would.map(Refusal::name))),
            Some((control, would))
        );
        // A control that is not in shadow is enforced beside it.
        let bad = Facts {
            offered: Offered::Bad,
            ..facts
        };
        assert_eq!(outcome(&policy, &bad), "refuse unauthenticated");
    }
}

/// Every combination of facts: 3 x 3 x 4 x 3 x 4 x 2 x 3 x 4 x 3 of them.
fn every(mut visit: impl FnMut(Facts)) {
    for known in [Known::Unknown, Known::Ended(Ending::Logout), Known::Live] {
        for offered in [Offered::Current, Offered::Old, Offered::Bad] {
            for (blocked, surprise) in [(false, false), (true, false), (false, true), (true, true)]
            {
                for over in [None, Some(Ending::ExpiredIdle), Some(Ending::Removed)] {
                    for proof in [
                        Proof::Nothing,
                        Proof::Attached(Strength::Wire),
                        Proof::Lineage(Stock::Trunk),
                        Proof::Lineage(Stock::Graft),
                    ] {
                        for shared in [false, true] {
                            for company in [Company::Nobody, Company::Graft, Company::Trunk] {
                                for nonce in [
                                    Nonce::Nothing,
                                    Nonce::Open(Stock::Trunk),
                                    Nonce::OnItsWay,
                                    Nonce::SpentElsewhere,
                                ] {
                                    for recourse in [
                                        Recourse::Echo,
                                        Recourse::Exhausted,
                                        Recourse::CannotFollow,
                                    ] {
                                        visit(Facts {
                                            known,
                                            offered,
                                            blocked,
                                            over,
                                            surprise,
                                            proof,
                                            shared,
                                            company,
                                            nonce,
                                            recourse,
                                            ..facts()
                                        });
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn whatever_the_facts_only_the_proved_holder_of_a_genuine_secret_is_accepted() {
    for preset in Preset::ALL {
        let policy = of(preset);
        every(|facts| {
            let Verdict::Accept { strength, attach } = judge(&policy, &facts).verdict else {
                return;
            };
            assert_eq!(facts.known, Known::Live, "{facts:?}");
            assert_ne!(facts.offered, Offered::Bad, "{facts:?}");
            assert!(
                !facts.blocked && facts.over.is_none() && !facts.surprise,
                "{facts:?}"
            );
            let proved = matches!(facts.nonce, Nonce::Open(_)) || facts.proof != Proof::Nothing;
            if preset == Preset::Strict {
                assert!(proved && !facts.shared, "{facts:?}");
            } else if preset == Preset::Balanced {
                // Else by a current ticket, at its strength, with nobody connected.
                let by_ticket = strength == Strength::Ticket
                    && facts.offered == Offered::Current
                    && facts.company == Company::Nobody;
                assert!(!facts.shared && (proved || by_ticket), "{facts:?}");
            } else {
                assert!(
                    strength <= Strength::Ticket && attach.is_none(),
                    "{facts:?}"
                );
                assert_eq!(facts.offered, Offered::Current, "{facts:?}");
            }
        });
    }
}

#[test]
fn nothing_attached_by_a_ticket_is_ever_more_than_a_ticket() {
    let policy = of(Preset::Balanced);
    every(|facts| {
        if let Some(proved) = judge(&policy, &facts).proved
            && let Some(attach) = proved.attach
        {
            let from_graft = facts.proof == Proof::Lineage(Stock::Graft);
            if attach.by == By::Ticket || (from_graft && attach.by == By::Lineage) {
                assert_eq!(attach.stock, Stock::Graft, "{facts:?}");
                assert_eq!(proved.strength, Strength::Ticket, "{facts:?}");
            }
        }
    });
}

#[test]
fn a_bad_secret_ends_nothing_and_raises_nothing() {
    for policy in Preset::ALL.map(of) {
        every(|facts| {
            if facts.offered == Offered::Bad {
                let judgement = judge(&policy, &facts);
                assert_eq!(
                    judgement.verdict,
                    Verdict::Refuse(Refusal::Unauthenticated),
                    "{facts:?}"
                );
                assert_eq!(judgement.consequence, Consequence::Nothing, "{facts:?}");
            }
        });
    }
}

#[test]
fn what_cannot_follow_a_307_is_never_evidence() {
    let policy = strict();
    every(|facts| {
        // Two grafts that meet are told apart by their families, whatever is asked over them.
        let two_grafts = facts.proof == Proof::Lineage(Stock::Graft);
        if facts.recourse == Recourse::CannotFollow && !two_grafts {
            assert!(!matches!(
                judge(&policy, &facts).consequence,
                Consequence::Theft { .. } | Consequence::Contested
            ));
        }
    });
}

#[test]
fn the_order_of_judgement() {
    let policy = strict();
    let mut all = Facts {
        known: Known::Ended(Ending::Evicted),
        blocked: true,
        over: Some(Ending::ExpiredIdle),
        surprise: true,
        need: Need::role(Role::ADMIN),
        ..facts()
    };
    assert_eq!(outcome(&policy, &all), "refuse phantom_session");
    all.known = Known::Live;
    assert_eq!(outcome(&policy, &all), "refuse blocked");
    all.blocked = false;
    assert_eq!(
        outcome(&policy, &all),
        "refuse session_expired; over: expired_idle"
    );
    all.over = None;
    assert_eq!(outcome(&policy, &all), "refuse csrf_surprise");
    all.surprise = false;
    assert_eq!(
        outcome(&policy, &all),
        "refuse not_proven; event not_proven"
    );
    all.proof = Proof::Lineage(Stock::Trunk);
    assert_eq!(outcome(&policy, &all), "refuse insufficient_role");
    assert!(
        judge(&policy, &all).proved.is_some(),
        "refused for its role, but proved: attached"
    );
    all.ceiling = Role::ADMIN;
    assert_eq!(outcome(&policy, &all), "refuse step_up_required");
    all.role = Role::ADMIN;
    assert_eq!(outcome(&policy, &all), "accept wire, trunk by lineage");
    all.proof = Proof::Lineage(Stock::Graft);
    assert_eq!(
        outcome(&of(Preset::Balanced), &all),
        "refuse insufficient_strength"
    );
}

#[test]
fn an_operator_chooses_what_a_contest_and_a_theft_do() {
    let contest = Facts {
        company: Company::Trunk,
        ..facts()
    };
    let stolen = Facts {
        nonce: Nonce::SpentElsewhere,
        ..facts()
    };
    for (on_contest, expected) in [
        (OnContest::Refuse, "refuse contested; event contested"),
        (OnContest::End, "refuse phantom_session; theft, ends"),
        (OnContest::Alert, "refuse not_proven; event contested"),
    ] {
        assert_eq!(
            outcome(
                &Policy {
                    on_contest,
                    ..strict()
                },
                &contest
            ),
            expected
        );
    }
    for (on_theft, expected) in [
        (OnTheft::End, "refuse phantom_session; theft, ends"),
        (OnTheft::Refuse, "refuse contested; theft, stands"),
        (OnTheft::Alert, "refuse not_proven; theft, stands"),
    ] {
        assert_eq!(
            outcome(
                &Policy {
                    on_theft,
                    ..strict()
                },
                &stolen
            ),
            expected
        );
    }
}

#[test]
fn from_an_address_that_the_session_is_not_held_to_nothing_is_proved_and_nothing_ends() {
    for (proof, nonce, recourse) in [
        (Proof::Lineage(Stock::Trunk), Nonce::Nothing, Recourse::Echo),
        (
            Proof::Lineage(Stock::Graft),
            Nonce::Nothing,
            Recourse::Exhausted,
        ),
        (Proof::Nothing, Nonce::Open(Stock::Trunk), Recourse::Echo),
        (Proof::Nothing, Nonce::SpentElsewhere, Recourse::Exhausted),
        (Proof::Nothing, Nonce::Nothing, Recourse::Echo),
    ] {
        for company in [Company::Nobody, Company::Graft, Company::Trunk] {
            let facts = Facts {
                proof,
                nonce,
                recourse,
                company,
                elsewhere: true,
                ..facts()
            };
            assert_eq!(
                outcome(&strict(), &facts),
                "refuse not_proven; event not_proven"
            );
            assert_eq!(judge(&strict(), &facts).proved, None);
        }
    }
}

#[test]
fn a_shared_family_proves_nothing_not_even_on_an_attached_wire() {
    let policy = strict();
    for proof in [
        Proof::Attached(Strength::Wire),
        Proof::Lineage(Stock::Trunk),
    ] {
        let facts = Facts {
            proof,
            shared: true,
            recourse: Recourse::Echo,
            ..facts()
        };
        assert_eq!(
            outcome(&policy, &facts),
            "refuse not_proven; event not_proven"
        );
    }
}
