//! What a node keeps for itself in the store, sealed: its TLS ticket keys, for instance.

use super::sign_in::no_entropy;
use super::{Engine, Held};
use crate::store::{
    Change, Commit, Durability, Expect, Key, Space, StoreError, StoreErrorKind, Version,
};
use crate::time::Timestamp;

/// Something kept, and the version to name when it is replaced.
pub struct Kept {
    /// Its version.
    pub version: Version,
    bytes: zeroize::Zeroizing<Vec<u8>>,
}

impl Kept {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl core::fmt::Debug for Kept {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Kept(..)")
    }
}

fn context(name: &str) -> Vec<u8> {
    [b"node:".as_slice(), name.as_bytes()].concat()
}

impl Engine {
    /// What is kept under a name.
    ///
    /// # Errors
    ///
    /// When the store cannot say, or it does not open: the node secret is not the one it was sealed under.
    pub async fn kept(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        let key = Key::new(Space::Node, name.as_bytes());
        let whole = |bytes: &[u8]| Some(bytes.to_vec());
        let Some(Held { value, version }) = self.load(key, whole).await? else {
            return Ok(None);
        };
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt);
        let bytes = self.keys.open(&context(name), &value).ok_or_else(corrupt)?;
        Ok(Some(Kept {
            version,
            bytes: bytes.into(),
        }))
    }

    /// Keeps bytes under a name, sealed and durable, if what is kept there is still of this version (or nothing).
    /// `false`: somebody else was faster; read again.
    ///
    /// # Errors
    ///
    /// When the store or the source of randomness cannot say.
    pub async fn keep(
        &self,
        name: &str,
        bytes: &[u8],
        replaces: Option<Version>,
    ) -> Result<bool, StoreError> {
        let put = self.put_kept(name, bytes, replaces)?;
        Ok(self.store.commit(vec![put], Durability::Durable).await? == Commit::Done)
    }

    /// As [`Engine::keep`], as part of a commit.
    pub(super) fn put_kept(
        &self,
        name: &str,
        bytes: &[u8],
        replaces: Option<Version>,
    ) -> Result<Change, StoreError> {
        let sealed = self
            .keys
            .seal(&context(name), bytes, self.entropy.as_ref())
            .map_err(no_entropy)?;
        let expect = replaces.map_or(Expect::Absent, Expect::At);
        let key = Key::new(Space::Node, name.as_bytes());
        Ok(self.put(key, expect, sealed, Timestamp::NEVER))
    }
}
