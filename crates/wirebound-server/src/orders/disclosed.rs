//! A secret that is shown once to the operator who asked for it: the text of a key that was just made.
//!
//! It crosses the socket inside a reply and is printed by the command; nothing else may show it. A field of this type
//! says `#[serde(with = "Disclosed")]`, so that whatever serialises it was written to do so.

use core::fmt;

use serde::{Deserialize as _, Deserializer, Serializer};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A secret on its way to the one operator who asked.
///
/// # Security
///
/// Whoever reads the text holds a credential. [`Disclosed::expose`] and the writing of a reply are the readers.
pub struct Disclosed(Zeroizing<String>);

impl Disclosed {
    /// Takes the text.
    #[must_use]
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// For serde, as a field of a reply.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.expose())
    }

    /// For serde, as a field of a reply.
    ///
    /// # Errors
    ///
    /// When it is no text.
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disclosed(..)")
    }
}

impl PartialEq for Disclosed {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Disclosed {}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Made {
        #[serde(with = "Disclosed")]
        secret: Disclosed,
    }

    #[test]
    fn a_new_secret_crosses_the_socket_and_prints_nowhere() {
        let planted = "wbk_planted_0123456789";
        let made = Made {
            secret: Disclosed::new(Zeroizing::new(planted.to_owned())),
        };
        let bytes = serde_json::to_vec(&made).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains(planted), "control");
        assert_eq!(serde_json::from_slice::<Made>(&bytes).unwrap(), made);
        assert!(!format!("{made:?}{made:#?}").contains("planted"));
    }
}
