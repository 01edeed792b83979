//! JSON objects, read strictly: an object and nothing else, each member once, each of its own type.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

/// Reads bytes as one JSON object, into a type that refuses unknown and repeated members.
///
/// The first character is looked at because a derived reader takes an array for an object as well.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let text = core::str::from_utf8(bytes).ok()?;
    text.trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())?
}

/// Reads a member that may be absent. A `null` is not absence.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Any object, its members each once. (Maps of the library keep the last of two.)
pub(crate) struct Members<T>(pub(crate) BTreeMap<String, T>);

/// What [`Members`] hold where their type is not known.
pub(crate) type Any = Members<Value>;

impl<'de, T: DeserializeOwned> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each<T>(BTreeMap<String, T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for Each<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                mut self,
                mut from: A,
            ) -> Result<Self::Value, A::Error> {
                while let Some((name, value)) = from.next_entry()? {
                    if self.0.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member stands there twice"));
                    }
                }
                Ok(Members(self.0))
            }
        }

        from.deserialize_map(Each(BTreeMap::new()))
    }
}
