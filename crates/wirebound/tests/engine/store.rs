//! Stores that fail, or wait, exactly when a test says so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use wirebound::Timestamp;
use wirebound::store::{
    Answer, Change, Commit, Durability, Key, MemoryStore, Space, Store, StoreError, StoreErrorKind,
    Stored,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call does nothing and answers an error.
    Before,
    /// A commit happens, and its answer is an error all the same.
    After,
}

/// A memory store whose n-th call from now fails.
#[derive(Debug, Default)]
pub struct Faulty {
    pub inner: MemoryStore,
    fault: Mutex<Option<(usize, Fault)>>,
    pub calls: AtomicUsize,
}

impl Faulty {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The call after `skip` more fails, and no other.
    pub fn fail_after(&self, skip: usize, fault: Fault) {
        *self.fault.lock().unwrap() = Some((skip, fault));
    }

    /// Whether the fault was met. Nothing fails any more.
    pub fn heal(&self) -> bool {
        self.fault.lock().unwrap().take().is_none()
    }

    fn fault(&self) -> Option<Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut fault = self.fault.lock().unwrap();
        match &mut *fault {
            Some((0, which)) => {
                let which = *which;
                *fault = None;
                Some(which)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

fn down<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(core::future::ready(Err(StoreError::new(
        StoreErrorKind::Unavailable,
    ))))
}

impl Store for Faulty {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        if self.fault().is_some() {
            return down();
        }
        self.inner.load(key)
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit> {
        match self.fault() {
            Some(Fault::Before) => down(),
            Some(Fault::After) => {
                // The memory store has done it when it answers.
                drop(self.inner.commit(changes, durability));
                down()
            }
            None => self.inner.commit(changes, durability),
        }
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        if self.fault().is_some() {
            return down();
        }
        self.inner.due(space, until, after, limit)
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        if self.fault().is_some() {
            return down();
        }
        self.inner.count(space)
    }
}

/// Where a paused call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Load(Space),
    /// Before the commit is made.
    Commit,
    /// It is made; its answer waits.
    Committed,
}

/// A memory store that makes one chosen call wait until it is released.
#[derive(Debug, Default)]
pub struct Paused {
    inner: MemoryStore,
    at: Mutex<Option<At>>,
    open: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Paused {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next such call waits; those after it do not.
    pub fn pause(&self, at: At) {
        self.open.store(false, Ordering::SeqCst);
        *self.at.lock().unwrap() = Some(at);
    }

    pub fn release(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    fn takes(&self, at: At) -> bool {
        self.at.lock().unwrap().take_if(|one| *one == at).is_some()
    }

    async fn gate(&self) {
        std::future::poll_fn(|cx| {
            if self.open.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            self.wakers.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Store for Paused {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        let waits = self.takes(At::Load(key.space()));
        Box::pin(async move {
            // What was read before the pause is what the slow reader believes.
            let read = self.inner.load(key).await;
            if waits {
                self.gate().await;
            }
            read
        })
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit> {
        let (before, after) = (self.takes(At::Commit), self.takes(At::Committed));
        Box::pin(async move {
            if before {
                self.gate().await;
            }
            let done = self.inner.commit(changes, durability).await;
            if after {
                self.gate().await;
            }
            done
        })
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        self.inner.due(space, until, after, limit)
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        self.inner.count(space)
    }
}

/// A memory store with one commit on its way: whoever sent it is gone, and it is done just before the next one.
#[derive(Debug, Default)]
pub struct Behind {
    inner: MemoryStore,
    falls_behind: AtomicBool,
    late: Mutex<Option<(Vec<Change>, Durability)>>,
}

impl Behind {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next commit is on its way for long.
    pub fn fall_behind(&self) {
        self.falls_behind.store(true, Ordering::Relaxed);
    }
}

impl Store for Behind {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        self.inner.load(key)
    }

    fn commit<'a>(&'a self, changes: Vec<Change>, durability: Durability) -> Answer<'a, Commit> {
        if self.falls_behind.swap(false, Ordering::Relaxed) {
            *self.late.lock().unwrap() = Some((changes, durability));
            return Box::pin(core::future::pending());
        }
        if let Some((changes, durability)) = self.late.lock().unwrap().take() {
            // The memory store has done it when it answers.
            drop(self.inner.commit(changes, durability));
        }
        self.inner.commit(changes, durability)
    }

    fn due<'a>(
        &'a self,
        space: Space,
        until: Timestamp,
        after: Option<(Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Vec<(Timestamp, Key)>> {
        self.inner.due(space, until, after, limit)
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        self.inner.count(space)
    }
}

type Meddling = Box<dyn FnOnce() + Send>;

/// A memory store before one of whose looks something else happens, from its beginning to its end.
#[derive(Default)]
pub struct Meddled {
    inner: MemoryStore,
    meddling: Mutex<Option<(Space, usize, Meddling)>>,
}

impl std::fmt::Debug for Meddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddled(..)")
    }
}

impl Meddled {
    /// Before the load in this space that comes after `skip` others.
    pub fn before_load(&self, space: Space, skip: usize, what: Meddling) {
        *self.meddling.lock().unwrap() = Some((space, skip, what));
    }

    fn due_now(&self, space: Space) -> Option<Meddling> {
        let mut meddling = self.meddling.lock().unwrap();
        match &mut *meddling {
            Some((at, skip, _)) if *at == space => {
                if *skip > 0 {
                    *skip -= 1;
                    return None;
                }
                meddling.take().map(|(_, _, what)| what)
            }
            _ => None,
        }
    }
}

impl Store for Meddled {
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Stored>> {
        if let Some(what) = self.due_now(key.space()) {
            what();
        }
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
        self.inner.due(space, until, after, limit)
    }

    fn count(&self, space: Space) -> Answer<'_, u64> {
        self.inner.count(space)
    }
}
