//! What the gateway holds of a session while it has a wire here: its opened vault, and the signal that cuts its streams.
//!
//! It hangs on the session's bond in the engine, so that it goes when the session does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use wirebound::SessionId;
use wirebound::engine::Engine;
use wirebound::store::{Durability, StoreError, StoreErrorKind, Version};
use wirebound_tower::gate::Gate;

use crate::armour::{Armour, Place, Taken, TooMuch, Vault};
use crate::proxy::{CloseCode, Cut, Cutter};

/// How often a vault that was changed meanwhile is taken up again.
const TRIES: usize = 16;

/// One session's cargo.
#[derive(Debug, Default)]
pub(super) struct Cargo {
    cutter: Mutex<Cutter>,
    watched: AtomicBool,
    vault: Mutex<Option<Opened>>,
}

/// A vault as the store holds it.
#[derive(Clone, Debug)]
struct Opened {
    version: Option<Version>,
    vault: Arc<Vault>,
}

/// What became of an answer's cookies.
pub(super) enum Kept {
    /// They are in the vault (or nothing was to be kept).
    Done(Box<Taken>),
    /// The session was ended or replaced meanwhile: what a late answer says of it counts no more.
    Late,
}

/// Why an answer cannot go out.
#[derive(Debug)]
pub(super) enum NotKept {
    TooMuch(TooMuch),
    Store(StoreError),
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Cargo {
    /// The cargo of a session, and somebody who watches over it.
    pub(super) fn of(gate: &Gate, session: SessionId) -> Option<Arc<Self>> {
        let cargo = gate.engine().cargo(session, Self::default)?;
        if !cargo.watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(watch(gate.clone(), session, Arc::clone(&cargo)));
        }
        Some(cargo)
    }

    /// The signal that ends what is being sent to the session.
    pub(super) fn cut(&self) -> Cut {
        self.cutter().cut()
    }

    fn cutter(&self) -> MutexGuard<'_, Cutter> {
        self.cutter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, Option<Opened>> {
        self.vault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the vault is in memory and nothing in it has expired: an answer without cookies leaves it as it is.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        let opened = self.opened();
        opened
            .as_ref()
            .is_some_and(|opened| opened.vault.is_fresh(now))
    }

    /// The vault, from memory or from the store.
    pub(super) async fn vault(
        &self,
        engine: &Engine,
        session: SessionId,
    ) -> Result<Arc<Vault>, StoreError> {
        Ok(self.load(engine, session, false).await?.vault)
    }

    async fn load(
        &self,
        engine: &Engine,
        session: SessionId,
        again: bool,
    ) -> Result<Opened, StoreError> {
        let known = self.opened().clone();
        if let Some(opened) = known.filter(|_| !again) {
            return Ok(opened);
        }
        let opened = match engine.open_vault(session).await? {
            None => Opened {
                version: None,
                vault: Arc::new(Vault::default()),
            },
            Some(sealed) => {
                let vault = Vault::from_bytes(sealed.expose())
                    .map_err(|error| StoreError::because(StoreErrorKind::Corrupt, error))?;
                Opened {
                    version: Some(sealed.version),
                    vault: Arc::new(vault),
                }
            }
        };
        *self.opened() = Some(opened.clone());
        Ok(opened)
    }

    /// Takes an answer's armoured cookies into the vault. Answers of one session may overtake each other: each is taken
    /// over what is there when it is written.
    pub(super) async fn take(
        &self,
        engine: &Engine,
        session: SessionId,
        armour: &Armour,
        headers: &mut HeaderMap,
        place: &Place<'_>,
    ) -> Result<Kept, NotKept> {
        let mut again = false;
        for _ in 0..TRIES {
            let before = self.load(engine, session, again).await?;
            let mut after = headers.clone();
            let taken = armour
                .take(&mut after, &before.vault, place)
                .map_err(NotKept::TooMuch)?;
            let Some(version) = before.version.filter(|_| taken.batch.dirty) else {
                *headers = after;
                return Ok(Kept::Done(Box::new(taken)));
            };
            let durability = if taken.batch.after_unsafe {
                Durability::Durable
            } else {
                Durability::Soon
            };
            let bytes = taken.vault.to_bytes();
            if engine
                .change_vault(session, version, &bytes, durability)
                .await?
            {
                *self.opened() = Some(Opened {
                    version: Some(version.next()),
                    vault: Arc::new(taken.vault.clone()),
                });
                *headers = after;
                return Ok(Kept::Done(Box::new(taken)));
            }
            if engine.watch(session).is_none() {
                *headers = after;
                return Ok(Kept::Late);
            }
            again = true;
        }
        Err(NotKept::Store(StoreError::new(StoreErrorKind::Unavailable)))
    }
}

/// Fires the session's signal when it ended, when its role fell, or when time brought one of the two.
async fn watch(gate: Gate, session: SessionId, cargo: Arc<Cargo>) {
    // If neither store nor clock can say, it is said again at once.
    const PAUSE: Duration = Duration::from_secs(1);
    let mut next = gate.engine().watch(session);
    while let Some(watch) = next {
        let began = Instant::now();
        match gate.cut_session(watch).await {
            wirebound::Cut::Ended(ending) => {
                cargo.cutter().fire(CloseCode::Ended(ending));
                return;
            }
            wirebound::Cut::RoleChanged => {
                let old = core::mem::take(&mut *cargo.cutter());
                old.fire(CloseCode::RoleChanged);
                // Where requests are proved one by one, each may find the session without a cargo and bring its own.
                let there = gate.engine().cargo(session, Cargo::default);
                if !there.is_some_and(|there| Arc::ptr_eq(&there, &cargo)) {
                    return;
                }
                next = gate.engine().watch(session);
                if began.elapsed() < PAUSE {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    // It left this process with its last wire, and may live on: what streams must be judged again.
    cargo.cutter().fire(CloseCode::RoleChanged);
}
