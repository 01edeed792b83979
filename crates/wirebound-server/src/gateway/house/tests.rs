//! Housekeeping beside the requests.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use wirebound::store::{
    Answer, Change, Commit, Durability, Key, MemoryStore, Space, Store, Stored,
};
use wirebound::{Policy, Timestamp};
use wirebound_testkit::world::World;

use super::*;
use crate::system::SystemClock;

const BOUND: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_hours(1);

/// A store that holds whoever works through it, and its thread, until it is told to go on.
#[derive(Debug)]
struct Stalling {
    inner: MemoryStore,
    asked: Notify,
    go_on: Mutex<Receiver<()>>,
}

impl Stalling {
    fn new() -> (Arc<Self>, Sender<()>) {
        let (go_on, held) = channel();
        let store = Self {
            inner: MemoryStore::new(),
            asked: Notify::new(),
            go_on: Mutex::new(held),
        };
        (Arc::new(store), go_on)
    }
}

impl Store for Stalling {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        self.inner.load(key)
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit> {
        self.inner.commit(changes, durability)
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        self.asked.notify_one();
        let go_on = self.go_on.lock().unwrap_or_else(PoisonError::into_inner);
        go_on.recv_timeout(BOUND).expect("somebody else had a turn");
        self.inner.due(space, until, after, limit)
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        self.inner.count(space)
    }
}

/// More often than a few moments of housekeeping ask.
fn go_on_for_good(go_on: &Sender<()>) {
    (0..1_000).for_each(|_| go_on.send(()).unwrap());
}

fn house(store: &Arc<Stalling>) -> (World, House) {
    let world = World::new(Policy::default(), Arc::<Stalling>::clone(store));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let house = House::begin(&world.engine, &clock, HOUR);
    (world, house)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_works_through_the_whole_store_keeps_nobody_from_being_taken_in() {
    let (store, go_on) = Stalling::new();
    let (_world, mut house) = house(&store);
    // One task, as that of the listener and of the housekeeping's end.
    let taken_in = async {
        store.asked.notified().await;
        go_on.send(()).unwrap();
        store.asked.notified().await;
    };
    tokio::select! {
        () = house.ended() => panic!("it keeps house until it is told to leave"),
        () = taken_in => {}
    }
    go_on_for_good(&go_on);
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_fault_in_the_housekeeping_is_the_gateways_own() {
    let (store, go_on) = Stalling::new();
    let (_world, mut house) = house(&store);
    // Nobody tells it to go on.
    drop(go_on);
    let gateway = tokio::spawn(async move { house.ended().await });
    let ended = tokio::time::timeout(BOUND, gateway).await.unwrap();
    assert!(ended.unwrap_err().is_panic());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_house_that_was_left_holds_nothing_any_more() {
    let (store, go_on) = Stalling::new();
    let (world, house) = house(&store);
    store.asked.notified().await;
    assert_eq!(Arc::strong_count(&world.engine), 2, "control");
    go_on_for_good(&go_on);
    house.leave().await;
    assert_eq!(Arc::strong_count(&world.engine), 1);
}
