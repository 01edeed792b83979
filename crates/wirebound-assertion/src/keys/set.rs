//! The keys that a verifier believes. There is one way to a key: its name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{KeyError, Kid, VerifyingKey};

/// The keys that a verifier believes, by their names.
#[derive(Clone, Debug, Default)]
pub struct KeySet(BTreeMap<Kid, VerifyingKey>);

impl KeySet {
    /// A set of no keys: nothing checks under it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Duplicate`] when another has its name; the set is then as it was.
    pub fn insert(&mut self, key: VerifyingKey) -> Result<(), KeyError> {
        match self.0.entry(key.kid().clone()) {
            Entry::Vacant(place) => {
                place.insert(key);
                Ok(())
            }
            Entry::Occupied(_) => Err(KeyError::Duplicate),
        }
    }

    /// The set of these keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::Duplicate`] when two have one name.
    pub fn of(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        let mut set = Self::new();
        keys.into_iter().try_for_each(|key| set.insert(key))?;
        Ok(set)
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }

    /// All of them, in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
