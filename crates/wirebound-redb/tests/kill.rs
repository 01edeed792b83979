//! A real process is killed while 64 callers sign in and out: nothing answered is lost, nothing ended is back.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test stops at whatever is not as it should be"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_executor::block_on;
use wirebound::Timestamp;
use wirebound::store::{Key, Space, Store};
use wirebound_redb::{Options, RedbStore};

const ROUNDS: u64 = 5;
/// Answers before each kill; together more than 10,000.
const ANSWERS: usize = 2_100;

/// How far a session had come, as far as its caller was told.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// It was not found after a kill.
    Never,
    Enters,
    In,
    Leaves,
    Out,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    In,
    Out,
}

/// Runs the victim until it was answered often enough, and kills it.
fn run_and_kill(folder: &Path, round: u64, known: &mut BTreeMap<u64, Known>) -> usize {
    let mut victim = Command::new(env!("CARGO_BIN_EXE_wirebound-redb-victim"))
        .arg(folder)
        .arg((round * 1_000_000).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = 0;
    let mut killed = false;
    let mut lines = BufReader::new(victim.stdout.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line that the kill cut short was not said.
        if let Some(whole) = line.strip_suffix('\n') {
            let (word, number) = whole.split_once(' ').unwrap();
            let now = match word {
                "enters" => Known::Enters,
                "in" => Known::In,
                "leaves" => Known::Leaves,
                "out" => Known::Out,
                other => panic!("the victim said {other}"),
            };
            answers += usize::from(matches!(now, Known::In | Known::Out));
            known.insert(number.parse().unwrap(), now);
        }
        line.clear();
        // Not at the same point of a batch each time.
        if !killed && answers >= ANSWERS + usize::try_from(round).unwrap() * 17 {
            victim.kill().unwrap();
            killed = true;
        }
    }
    let status = victim.wait().unwrap();
    assert!(killed, "the victim ended by itself: {status}");
    answers
}

fn found(store: &RedbStore, number: u64) -> Found {
    let version = |space| {
        let key = Key::new(space, &number.to_be_bytes());
        let stored = block_on(store.load(&key)).unwrap();
        stored.map_or(0, |stored| stored.version.as_u64())
    };
    let spaces = [
        Space::Session,
        Space::Vault,
        Space::Identity,
        Space::Tombstone,
    ];
    match spaces.map(version) {
        [0, 0, 0, 0] => Found::Nothing,
        [1, 1, 1, 0] => Found::In,
        [0, 0, 2, 1] => Found::Out,
        half => panic!("half a commit of {number}: {half:?}"),
    }
}

#[test]
fn kill_9_during_10_000_sign_ins_and_sign_outs_loses_nothing_and_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut known = BTreeMap::new();
    let mut answers = 0;
    for round in 0..ROUNDS {
        answers += run_and_kill(folder.path(), round, &mut known);
        let store = RedbStore::open(folder.path(), Options::default()).unwrap();
        let mut sessions = 0;
        for (number, known) in &mut known {
            let found = found(&store, *number);
            let possible: &[Found] = match known {
                Known::Never => &[Found::Nothing],
                Known::Enters => &[Found::Nothing, Found::In],
                Known::In => &[Found::In],
                Known::Leaves => &[Found::In, Found::Out],
                Known::Out => &[Found::Out],
            };
            assert!(possible.contains(&found), "{number}: {known:?}, {found:?}");
            sessions += u64::from(found == Found::In);
            // Found once, it stays.
            *known = match found {
                Found::Nothing => Known::Never,
                Found::In => Known::In,
                Found::Out => Known::Out,
            };
        }
        assert_eq!(block_on(store.count(Space::Session)).unwrap(), sessions);
        let walked = block_on(store.due(Space::Session, Timestamp::NEVER, None, usize::MAX));
        assert_eq!(u64::try_from(walked.unwrap().len()).unwrap(), sessions);
    }
    println!("{answers} answers in {ROUNDS} rounds");
    assert!(answers >= 10_000);
}
