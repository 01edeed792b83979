//! Signs in and out as fast as it can, says what it was answered, and waits to be killed. For `tests/kill.rs`.
#![expect(
    clippy::unwrap_used,
    reason = "a test's other process: it dies of whatever goes wrong, and the test says so"
)]

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use wirebound::Timestamp;
use wirebound::store::{Change, Commit, Durability, Expect, Key, Space, Store, Version};
use wirebound_redb::{Options, RedbStore};

const CALLERS: u64 = 64;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        thread::park();
    }
}

fn key(space: Space, number: u64) -> Key {
    Key::new(space, &number.to_be_bytes())
}

fn make(key: Key, value: Vec<u8>) -> Change {
    Change::Put {
        key,
        expect: Expect::Absent,
        value,
        due: Timestamp::from_millis(7),
    }
}

fn sign_in(number: u64) -> Vec<Change> {
    vec![
        make(key(Space::Session, number), vec![1; 400]),
        make(key(Space::Identity, number), vec![2; 200]),
        make(key(Space::Vault, number), vec![3; 1024]),
    ]
}

fn sign_out(number: u64) -> Vec<Change> {
    let remove = |space| Change::Remove {
        key: key(space, number),
        version: Version::FIRST,
    };
    vec![
        remove(Space::Session),
        remove(Space::Vault),
        Change::Put {
            key: key(Space::Identity, number),
            expect: Expect::At(Version::FIRST),
            value: vec![4; 200],
            due: Timestamp::NEVER,
        },
        make(key(Space::Tombstone, number), b"logout".to_vec()),
    ]
}

/// One line, whole, before anything else happens.
fn say(word: &str, number: u64) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{word} {number}\n").as_bytes())
        .unwrap();
    out.flush().unwrap();
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let next = AtomicU64::new(arguments.next().unwrap().parse().unwrap());
    let store = RedbStore::open(folder, Options::default()).unwrap();
    let commit = |changes| {
        let answer = wait(store.commit(changes, Durability::Durable)).unwrap();
        assert_eq!(answer, Commit::Done);
    };
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    say("enters", number);
                    commit(sign_in(number));
                    say("in", number);
                    if !number.is_multiple_of(4) {
                        say("leaves", number);
                        commit(sign_out(number));
                        say("out", number);
                    }
                }
            });
        }
    });
}
