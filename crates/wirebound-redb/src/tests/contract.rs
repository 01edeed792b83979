//! The contract suite, over a real file in a folder of its own.

use std::sync::Arc;

use tempfile::TempDir;
use wirebound::store::Store;
use wirebound_testkit::store_contract::Place;

use crate::{Options, RedbStore};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for Folder {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(RedbStore::open(self.0.path().join("store"), Options::default()).unwrap())
    }
}

wirebound_testkit::store_contract!(Folder::new());
wirebound_testkit::durable_store_contract!(Folder::new());
