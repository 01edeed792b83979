//! Messages there and back, and everything that is not heard.

use proptest::prelude::*;

use super::*;

const API_KEY: &str = "wbk_0123456789AB_0123456789abcdefghijABCDEFGHIJ0123456789abc000000";
const RUN: u64 = 0xfeed;

fn key() -> FeedKey {
    FeedKey::of_api_key(API_KEY).unwrap()
}

fn at(number: u64) -> Place {
    Place { run: RUN, number }
}

fn session(byte: u8) -> Entry {
    Entry {
        what: Revoked::Session(SessionId::from_bytes([byte; 10])),
        until: Timestamp::from_millis(1_790_000_900_000),
    }
}

const fn ms(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn snapshot() -> Message {
    Message::Snapshot {
        place: at(3),
        now: ms(1_790_000_000_000),
    }
}

fn complete(entries: u64) -> Message {
    Message::Complete {
        place: at(3),
        entries,
        now: ms(1_790_000_000_001),
    }
}

fn beat() -> Message {
    Message::Beat {
        place: at(4),
        now: ms(1_790_000_000_002),
    }
}

const fn within(entry: Entry) -> Message {
    Message::Revoked { place: None, entry }
}

fn after(number: u64, entry: Entry) -> Message {
    Message::Revoked {
        place: Some(at(number)),
        entry,
    }
}

/// An event as a parser of streams hands it on.
#[derive(Clone, Debug)]
struct Event {
    event: String,
    id: Option<String>,
    data: String,
}

fn told(teller: &mut Teller, message: &Message) -> Event {
    let mut out = String::new();
    teller.tell(message, &mut out).unwrap();
    let text = out.strip_suffix("\n\n").unwrap();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::to_owned)
    };
    Event {
        event: field("event: ").unwrap(),
        id: field("id: "),
        data: field("data: ").unwrap(),
    }
}

fn tell(messages: &[Message]) -> Vec<Event> {
    let mut teller = Teller::new(key());
    messages
        .iter()
        .map(|message| told(&mut teller, message))
        .collect()
}

fn hear_with(key: FeedKey, events: &[Event]) -> Result<Vec<Message>, NotHeard> {
    let mut hearer = Hearer::new(key);
    events
        .iter()
        .map(|event| hearer.hear(&event.event, event.id.as_deref(), &event.data))
        .collect()
}

fn hear(events: &[Event]) -> Result<Vec<Message>, NotHeard> {
    hear_with(key(), events)
}

fn whole() -> Vec<Message> {
    vec![
        snapshot(),
        within(session(1)),
        within(session(2)),
        complete(2),
        after(4, session(3)),
        beat(),
    ]
}

#[test]
fn what_is_told_is_heard() {
    assert_eq!(hear(&tell(&whole())), Ok(whole()));
}

#[test]
fn the_bytes_are_those_of_format_1() {
    let tag = SubjectTag::from_bytes([2; 16]);
    let subject = Revoked::Subject { tag, generation: 7 };
    let entry = |what| Entry { what, until: ms(9) };
    let mut teller = Teller::new(key());
    let mut out = String::new();
    for message in [
        snapshot(),
        within(session(1)),
        within(entry(Revoked::Token(TokenId::from_bytes([1; 16])))),
        complete(2),
        after(4, entry(subject)),
        after(5, entry(Revoked::Before(ms(8)))),
        beat(),
    ] {
        teller.tell(&message, &mut out).unwrap();
    }
    assert_eq!(out, include_str!("format_1.txt"));
}

#[test]
fn nothing_in_a_message_can_be_changed() {
    let good = tell(&whole());
    assert!(hear(&good).is_ok());
    for (index, event) in good.iter().enumerate() {
        for byte in 0..event.data.len() {
            let mut wrong = good.clone();
            let mut data = event.data.clone().into_bytes();
            data[byte] = if data[byte] == b'1' { b'2' } else { b'1' };
            wrong[index].data = String::from_utf8(data).unwrap();
            assert!(hear(&wrong).is_err(), "{:?}", wrong[index]);
        }
    }
    let moved = |id: Option<&str>| {
        let mut wrong = good.clone();
        wrong[4].id = id.map(str::to_owned);
        hear(&wrong).unwrap_err()
    };
    assert_eq!(moved(Some("000000000000feed-5")), NotHeard::Mac);
    assert_eq!(moved(Some("000000000000feed-04")), NotHeard::Malformed);
    assert_eq!(moved(Some("")), NotHeard::Malformed);
    assert_eq!(moved(None), NotHeard::Misplaced);
}

#[test]
fn an_entry_cannot_be_taken_out_of_a_snapshot_nor_stand_for_another() {
    let good = tell(&whole());
    let mut fewer = good.clone();
    fewer.remove(1);
    assert_eq!(hear(&fewer), Err(NotHeard::Misplaced));
    // The count is right, and each MAC by itself as well.
    let mut twice = good.clone();
    twice[1] = twice[2].clone();
    assert_eq!(hear(&twice), Err(NotHeard::Mac));
    let mut swapped = good;
    swapped.swap(1, 2);
    assert_eq!(hear(&swapped), Err(NotHeard::Mac));
}

#[test]
fn each_message_has_its_place() {
    let misplaced = [
        vec![within(session(1))],
        vec![complete(0)],
        vec![snapshot(), snapshot()],
        vec![snapshot(), beat()],
        vec![snapshot(), after(4, session(1))],
        vec![snapshot(), complete(1)],
        vec![snapshot(), complete(0), complete(0)],
        vec![
            snapshot(),
            Message::Complete {
                place: at(2),
                entries: 0,
                now: ms(0),
            },
        ],
        vec![
            snapshot(),
            Message::Complete {
                place: Place { run: 1, number: 3 },
                entries: 0,
                now: ms(0),
            },
        ],
    ];
    for messages in misplaced {
        let mut teller = Teller::new(key());
        let mut out = String::new();
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            teller.tell(message, &mut out).unwrap();
        }
        let had = out.len();
        assert_eq!(
            teller.tell(last, &mut out),
            Err(NotHeard::Misplaced),
            "{messages:?}"
        );
        assert_eq!(out.len(), had, "nothing is appended");
    }
    // Said by somebody else's server: each event is good where it was said.
    let good = tell(&whole());
    assert_eq!(
        hear(&[good[0].clone(), good[5].clone()]),
        Err(NotHeard::Misplaced)
    );
    assert_eq!(hear(&good[1..2]), Err(NotHeard::Misplaced));
    assert!(hear(&good[4..]).is_ok(), "a resumed one has no snapshot");
}

#[test]
fn another_spelling_is_not_heard() {
    let good = tell(&[beat()]).remove(0);
    let data = |data: String| {
        hear(&[Event {
            data,
            ..good.clone()
        }])
        .map(drop)
    };
    assert_eq!(data(good.data.clone()), Ok(()));
    let replaced = |from: &str, to: &str| {
        assert!(good.data.contains(from), "{from}");
        data(good.data.replace(from, to))
    };
    for (from, to) in [
        ("{\"v\"", "{ \"v\""),
        ("\"v\":1,", "\"v\":1,\"v\":1,"),
        ("\"v\":1,", ""),
        ("\"v\":1,", "\"v\":01,"),
        ("\"v\":1,", "\"v\":1.0,"),
        ("\"v\":1,", "\"v\":\"1\","),
        ("\"v\":1,", "\"v\":,"),
        ("\"place\"", "\"Place\""),
        ("feed-4", "FEED-4"),
        ("feed-4", "feed-04"),
        ("feed-4", "\\u0066eed-4"),
        (":1790000000002", ":01790000000002"),
        (":1790000000002", ":+1790000000002"),
        (":1790000000002", ":-1790000000002"),
        (":1790000000002", ":1790000000002e0"),
        (":1790000000002", ":18446744073709551616"),
        (":1790000000002", ":null"),
        (":1790000000002", ":\"1790000000002\""),
        ("\"}", "\"} "),
        ("\"}", "\",\"more\":1}"),
        ("\"}", "\"}{}"),
        ("\"}", "=\"}"),
        ("\"}", "\""),
        ("\"mac\":\"", "\"mac\":\"A"),
        ("\"mac\":\"", "\"mac\":["),
    ] {
        assert_eq!(
            replaced(from, to),
            Err(NotHeard::Malformed),
            "{from} -> {to}"
        );
    }
    assert_eq!(replaced("\"v\":1,", "\"v\":2,"), Err(NotHeard::Version));
    for wrong in ["", "{}", "[]", "null", "\u{feff}", "\0"] {
        assert_eq!(
            data(wrong.to_owned()),
            Err(NotHeard::Malformed),
            "{wrong:?}"
        );
    }
    let long = good
        .data
        .replace("\"mac\"", &format!("{}\"mac\"", " ".repeat(512)));
    assert_eq!(data(long), Err(NotHeard::Malformed));
    for event in ["", "Beat", "message", "beats"] {
        let other = Event {
            event: event.to_owned(),
            ..good.clone()
        };
        assert_eq!(hear(&[other]), Err(NotHeard::Unknown), "{event:?}");
    }
    let with_id = Event {
        id: Some(at(4).to_string()),
        ..good.clone()
    };
    assert_eq!(hear(&[with_id]), Err(NotHeard::Malformed));
}

#[test]
fn the_event_is_part_of_what_its_mac_says() {
    let snapshot = tell(&[snapshot()]).remove(0);
    let as_beat = Event {
        event: "beat".to_owned(),
        ..snapshot.clone()
    };
    assert_eq!(hear(&[as_beat]), Err(NotHeard::Mac));
    assert!(hear(&[snapshot]).is_ok());
}

#[test]
fn another_api_key_is_another_feed() {
    let other = API_KEY.replace("c000000", "d000000");
    let other = FeedKey::of_api_key(&other).unwrap();
    assert_eq!(hear_with(other, &tell(&[beat()])), Err(NotHeard::Mac));
    assert_eq!(format!("{:?}", key()), "FeedKey(..)");
}

#[test]
fn both_ends_make_the_same_key() {
    let mut hasher = blake3::Hasher::new_derive_key("wirebound v1 api key");
    hasher.update(b"0123456789AB0123456789abcdefghijABCDEFGHIJ0123456789abc");
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    assert!(hear_with(FeedKey::of_digest(&digest), &tell(&[beat()])).is_ok());
}

#[test]
fn what_is_no_api_key_makes_no_key() {
    assert!(FeedKey::of_api_key(API_KEY).is_some());
    for wrong in [
        "",
        "wbk_",
        API_KEY.strip_prefix('w').unwrap(),
        API_KEY.strip_suffix('0').unwrap(),
        &format!("{API_KEY}0"),
        &format!("{API_KEY}\n"),
        &API_KEY.replace("wbk_0", "wbk_"),
        &API_KEY.replace("wbk_0", "wbk_00"),
        &API_KEY.replace("abc", "a-c"),
        &API_KEY.replace("abc", "a_c"),
        &API_KEY.replace("abc", "\u{e4}c"),
    ] {
        assert!(FeedKey::of_api_key(wrong).is_none(), "{wrong:?}");
    }
}

fn entries() -> impl Strategy<Value = Entry> {
    let what = prop_oneof![
        any::<[u8; 10]>().prop_map(|id| Revoked::Session(SessionId::from_bytes(id))),
        any::<[u8; 16]>().prop_map(|id| Revoked::Token(TokenId::from_bytes(id))),
        (any::<[u8; 16]>(), any::<u64>()).prop_map(|(tag, generation)| Revoked::Subject {
            tag: SubjectTag::from_bytes(tag),
            generation,
        }),
        any::<u64>().prop_map(|at| Revoked::Before(ms(at))),
    ];
    (what, any::<u64>()).prop_map(|(what, until)| Entry {
        what,
        until: ms(until),
    })
}

proptest! {
    #[test]
    fn every_message_fits_and_is_heard_as_it_was_told(
        held in proptest::collection::vec(entries(), 0..5),
        next in entries(),
        run in any::<u64>(),
        number in any::<u64>(),
        now in any::<u64>(),
    ) {
        let place = Place { run, number };
        let now = ms(now);
        let count = u64::try_from(held.len()).unwrap();
        let mut messages = vec![Message::Snapshot { place, now }];
        messages.extend(held.into_iter().map(within));
        messages.push(Message::Complete { place, entries: count, now });
        messages.push(Message::Revoked { place: Some(place), entry: next });
        messages.push(Message::Beat { place, now });
        let events = tell(&messages);
        prop_assert!(events.iter().all(|event| event.data.len() <= FEED_DATA_MAX_BYTES));
        prop_assert_eq!(hear(&events), Ok(messages));
    }

    #[test]
    fn no_text_breaks_the_reader(
        event in prop_oneof![Just("snapshot"), Just("revoked"), Just("complete"), Just("beat"), Just("x")],
        id in proptest::option::of(".{0,24}"),
        data in ".{0,80}",
    ) {
        prop_assert!(Hearer::new(key()).hear(event, id.as_deref(), &data).is_err());
    }
}
