//! The vault's bytes: sealed under the session's id, changed only while the session lives.
//!
//! What is in them is the caller's. A late write of an ended session finds the vault gone and is refused.

use super::sign_in::no_entropy;
use super::{Engine, Held};
use crate::ids::SessionId;
use crate::record::Record;
use crate::store::{
    Change, Commit, Durability, Expect, Key, Space, StoreError, StoreErrorKind, Version,
};
use crate::time::Timestamp;

/// A vault as it was opened. It holds the app's cookies: it does not print.
pub struct Vault {
    /// The version to name when it is changed.
    pub version: Version,
    bytes: Vec<u8>,
}

impl Vault {
    /// What was put in.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.bytes.zeroize();
    }
}

pub(super) fn key(id: &SessionId) -> Key {
    Key::new(Space::Vault, id.as_bytes())
}

fn context(id: &SessionId) -> Vec<u8> {
    [b"vault".as_slice(), id.as_bytes()].concat()
}

impl Engine {
    /// Opens a session's vault, if it has one.
    ///
    /// # Errors
    ///
    /// When the store cannot say, or the vault does not open.
    pub async fn open_vault(&self, session: SessionId) -> Result<Option<Vault>, StoreError> {
        let whole = |bytes: &[u8]| Some(bytes.to_vec());
        let Some(Held { value, version }) = self.load(key(&session), whole).await? else {
            return Ok(None);
        };
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt);
        let bytes = self
            .keys
            .open(&context(&session), &value)
            .ok_or_else(corrupt)?;
        Ok(Some(Vault { version, bytes }))
    }

    /// Changes a session's vault. `false`: it was changed meanwhile, or the session is over; nothing was written.
    ///
    /// # Errors
    ///
    /// When the store or the source of randomness cannot say.
    pub async fn change_vault(
        &self,
        session: SessionId,
        version: Version,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<bool, StoreError> {
        let Some(stored) = self.store.load(&key(&session)).await? else {
            return Ok(false);
        };
        let change = self.seal_vault(&session, Expect::At(version), bytes, stored.due)?;
        Ok(self.store.commit(vec![change], durability).await? == Commit::Done)
    }

    pub(super) fn put_vault(
        &self,
        record: &Record,
        expect: Expect,
        bytes: &[u8],
    ) -> Result<Change, StoreError> {
        self.seal_vault(&record.id, expect, bytes, record.absolute)
    }

    fn seal_vault(
        &self,
        session: &SessionId,
        expect: Expect,
        bytes: &[u8],
        due: Timestamp,
    ) -> Result<Change, StoreError> {
        let sealed = self
            .keys
            .seal(&context(session), bytes, self.entropy.as_ref())
            .map_err(no_entropy)?;
        Ok(self.put(key(session), expect, sealed, due))
    }
}
