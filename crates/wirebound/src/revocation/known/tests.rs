//! What each way to call back blocks, what moves into the filter, and what is never called good.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_500);
const LATER: Timestamp = Timestamp::from_millis(1_790_000_960_000);

fn issued(number: u8) -> Issued {
    Issued {
        session: SessionId::from_bytes([number; 10]),
        token: TokenId::from_bytes([number; 16]),
        subject: SubjectTag::from_bytes([number; 16]),
        generation: NOW.as_millis(),
        at: Timestamp::from_millis(1_790_000_000_000),
    }
}

fn put(revocations: &Revocations, what: Revoked) {
    revocations.put(Entry { what, until: LATER });
}

#[test]
fn each_way_to_call_back_blocks_what_it_names_and_nothing_else() {
    let ways: [(Revoked, &[u8]); 4] = [
        (Revoked::Session(issued(1).session), &[1]),
        (Revoked::Token(issued(1).token), &[1]),
        (
            Revoked::Subject {
                tag: issued(1).subject,
                generation: NOW.as_millis() + 1,
            },
            &[1],
        ),
        (
            Revoked::Before(Timestamp::from_millis(NOW.as_millis() + 1)),
            &[1, 2],
        ),
    ];
    for (what, blocked) in ways {
        let revocations = Revocations::new(1);
        assert_eq!(revocations.standing(&issued(1)), Standing::Good);
        let revision = revocations.revision();
        put(&revocations, what);
        assert_ne!(revocations.revision(), revision);
        for number in [1, 2] {
            let expected = if blocked.contains(&number) {
                Standing::Revoked
            } else {
                Standing::Good
            };
            assert_eq!(revocations.standing(&issued(number)), expected, "{what:?}");
        }
        revocations.forget(LATER);
        assert!(
            matches!(what, Revoked::Before(_)) || revocations.is_empty(),
            "what blocks nothing any more is forgotten"
        );
    }
}

#[test]
fn what_is_issued_after_a_call_is_good_within_the_same_millisecond() {
    let revocations = Revocations::new(1);
    let before = issued(1);
    let floor = NOW.as_millis() + 1;
    put(
        &revocations,
        Revoked::Subject {
            tag: before.subject,
            generation: floor,
        },
    );
    assert_eq!(revocations.floor(&before.subject), floor);
    let after = Issued {
        generation: NOW.as_millis().max(revocations.floor(&before.subject)),
        ..before
    };
    assert_eq!(revocations.standing(&before), Standing::Revoked);
    assert_eq!(revocations.standing(&after), Standing::Good);
    put(
        &revocations,
        Revoked::Before(Timestamp::from_millis(floor + 5)),
    );
    let again = Issued {
        generation: revocations.floor(&before.subject),
        ..before
    };
    assert_eq!(revocations.standing(&after), Standing::Revoked);
    assert_eq!(revocations.standing(&again), Standing::Good);
}

#[test]
fn what_is_called_back_twice_is_told_once() {
    let revocations = Revocations::new(1);
    let Followed::Anew(begin) = revocations.since(None) else {
        panic!("nobody has a place");
    };
    for what in [
        Revoked::Session(issued(1).session),
        Revoked::Token(issued(1).token),
        Revoked::Before(NOW),
    ] {
        put(&revocations, what);
        put(&revocations, what);
    }
    let Followed::Since(told, _) = revocations.since(Some(begin)) else {
        panic!("it is remembered");
    };
    assert_eq!(told.len(), 3);
}

#[test]
fn a_session_in_doubt_is_asked_about_until_somebody_knows() {
    let revocations = Revocations::new(1);
    let token = issued(1);
    revocations.doubt(token.session);
    assert_eq!(revocations.standing(&token), Standing::Perhaps);
    assert_eq!(revocations.doubted(), [token.session]);
    revocations.trust(&token.session);
    assert_eq!(revocations.standing(&token), Standing::Good);
    revocations.doubt(token.session);
    put(&revocations, Revoked::Session(token.session));
    assert_eq!(revocations.standing(&token), Standing::Revoked);
    assert!(revocations.doubted().is_empty());
}

/// A session that no other number has.
fn session(number: u32) -> SessionId {
    let mut bytes = [0; 10];
    let hash = blake3::hash(&number.to_le_bytes());
    bytes.copy_from_slice(&hash.as_bytes()[..10]);
    SessionId::from_bytes(bytes)
}

#[test]
fn what_moves_into_the_filter_is_still_blocked_and_what_comes_meanwhile_as_well() {
    let revocations = Revocations::new(1);
    let of = |number| Issued {
        session: session(number),
        ..issued(1)
    };
    let first: Vec<u32> = (0..70_000).collect();
    for number in &first {
        put(&revocations, Revoked::Session(session(*number)));
    }
    let mut gathered = revocations.crowded().unwrap();
    for number in &first {
        let what = Revoked::Session(session(*number));
        gathered.add(&Entry { what, until: LATER });
    }
    // Between gathering and settling.
    put(&revocations, Revoked::Session(session(70_000)));
    revocations.settle(gathered);
    assert!(
        first
            .iter()
            .all(|number| revocations.standing(&of(*number)) == Standing::Perhaps)
    );
    assert_eq!(revocations.standing(&of(70_000)), Standing::Revoked);
    let others =
        (100_000..200_000).filter(|number| revocations.standing(&of(*number)) != Standing::Good);
    // One in 65,536 is asked about in vain, for session and token each.
    let in_vain = others.count();
    assert!(in_vain < 30, "{in_vain}");
    assert!(revocations.filter_bytes() < 210_000);
    assert!(revocations.crowded().is_none());
    revocations.forget(LATER);
    assert_eq!(revocations.standing(&of(1)), Standing::Good);
    assert!(revocations.is_empty());
}

#[test]
fn tokens_and_sessions_in_one_filter_are_each_found() {
    let revocations = Revocations::new(1);
    let token = |number: u32| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(&(!number).to_le_bytes()).as_bytes()[..16]);
        TokenId::from_bytes(bytes)
    };
    let all = |number| {
        [
            Revoked::Session(session(number)),
            Revoked::Token(token(number)),
        ]
    };
    (0..40_000)
        .flat_map(all)
        .for_each(|what| put(&revocations, what));
    let mut gathered = revocations.crowded().unwrap();
    for what in (0..40_000).flat_map(all) {
        gathered.add(&Entry { what, until: LATER });
    }
    revocations.settle(gathered);
    for number in 0..40_000 {
        let by_session = Issued {
            session: session(number),
            ..issued(1)
        };
        let by_token = Issued {
            token: token(number),
            ..issued(1)
        };
        for token in [by_session, by_token] {
            assert_eq!(revocations.standing(&token), Standing::Perhaps, "{number}");
        }
    }
}

#[test]
fn an_entry_that_was_not_gathered_stays_in_its_table() {
    let revocations = Revocations::new(1);
    for number in 0..70_000 {
        put(&revocations, Revoked::Session(session(number)));
    }
    let mut gathered = revocations.crowded().unwrap();
    // Whoever gathers misses one: it must not be lost.
    for number in 1..70_000 {
        let what = Revoked::Session(session(number));
        gathered.add(&Entry { what, until: LATER });
    }
    revocations.settle(gathered);
    let missed = Issued {
        session: session(0),
        ..issued(1)
    };
    assert_eq!(revocations.standing(&missed), Standing::Revoked);
}

proptest! {
    /// Over any history, nothing that is blocked is ever called good.
    #[test]
    fn nothing_called_back_is_good(
        history in prop::collection::vec((0_u8..4, 0_u8..6), 0..40),
        asked in 0_u8..6,
    ) {
        let revocations = Revocations::new(1);
        let token = issued(asked);
        let mut blocked = false;
        for (kind, number) in history {
            let other = issued(number);
            let what = match kind {
                0 => Revoked::Session(other.session),
                1 => Revoked::Token(other.token),
                2 => Revoked::Subject { tag: other.subject, generation: other.generation.saturating_add(1) },
                _ => Revoked::Subject { tag: other.subject, generation: other.generation },
            };
            blocked |= number == asked && kind != 3;
            put(&revocations, what);
        }
        let expected = if blocked { Standing::Revoked } else { Standing::Good };
        prop_assert_eq!(revocations.standing(&token), expected);
    }
}
