//! Subjects, sessions, roles, keys and moments as the words that are printed and typed: what one command shows, the next one takes.
//!
//! A subject is bytes. Printable ASCII stands for itself, any other byte is `%XX`, as in every log line; so each
//! subject can be named, and no two by one word.

use core::fmt::Display;

use serde::{Deserialize, Deserializer, Serializer};
use wirebound::revocation::TokenId;
use wirebound::{ApiKeyId, KeyLabel, KeyScopes, Lifetime, Role, SessionId, Subject, Timestamp};
use wirebound_assertion::Kid;

use crate::certificates::facts::date_text;
use crate::config::{lifetime_text, moment, parse_lifetime, role_named};

/// What is named by a word.
pub trait Word: Display + Sized {
    /// What this word names.
    ///
    /// # Errors
    ///
    /// What is wrong with the word, for whoever typed it.
    fn read(word: &str) -> Result<Self, String>;
}

impl Word for Subject {
    fn read(word: &str) -> Result<Self, String> {
        let bytes = decoded(word.as_bytes())
            .ok_or("a % is written %25, and stands for a byte before two hexadecimal digits")?;
        Self::new(&bytes).map_err(|error| error.to_string())
    }
}

impl Word for SessionId {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| "an id has 20 digits out of 0-9 and a-f".to_owned())
    }
}

impl Word for Role {
    fn read(word: &str) -> Result<Self, String> {
        role_named(word).ok_or_else(|| "there is guest, user and admin".to_owned())
    }
}

impl Word for ApiKeyId {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| {
            "an API key's id has 12 letters and digits: those behind wbk_, without the secret"
                .to_owned()
        })
    }
}

impl Word for KeyLabel {
    fn read(word: &str) -> Result<Self, String> {
        Self::new(word).map_err(|error| error.to_string())
    }
}

impl Word for KeyScopes {
    fn read(word: &str) -> Result<Self, String> {
        Self::new(word.split(' ')).map_err(|error| error.to_string())
    }
}

impl Word for Kid {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| {
            "a signing key's name has 1 to 128 printable characters and no space".to_owned()
        })
    }
}

impl Word for TokenId {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| {
            "a token's id is its jti, of 22 letters, digits, - and _; not the token".to_owned()
        })
    }
}

/// When something is over: in a while, or at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are no others")]
pub enum Due {
    /// So long after the order is carried out.
    In(Lifetime),
    /// At this moment.
    At(Timestamp),
}

impl Due {
    /// The moment, as it is now.
    #[must_use]
    pub const fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(lifetime) => now.after(lifetime),
            Self::At(moment) => moment,
        }
    }
}

impl Display for Due {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::In(lifetime) => f.write_str(&lifetime_text(*lifetime)),
            Self::At(moment) => f.write_str(&date_text(*moment)),
        }
    }
}

impl Word for Due {
    fn read(word: &str) -> Result<Self, String> {
        if let Some(moment) = moment(word) {
            return Ok(Self::At(moment));
        }
        parse_lifetime(word).map(Self::In).map_err(|_| {
            "write a length of time as 90d, a day as 2027-01-31, or a moment as 2027-01-31T18:00:00Z"
                .to_owned()
        })
    }
}

/// For serde: a word that may be left out.
pub(super) mod maybe {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Word;

    pub(in crate::orders) fn serialize<T: Word, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(in crate::orders) fn deserialize<'a, T: Word, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let word = Option::<String>::deserialize(from)?;
        let value = word.map(|word| T::read(&word).map_err(serde::de::Error::custom));
        value.transpose()
    }
}

/// For serde: as its word.
///
/// # Errors
///
/// When the writer fails.
pub fn serialize<T: Word, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// For serde: from its word.
///
/// # Errors
///
/// When it is no such word.
pub fn deserialize<'a, T: Word, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
    let word = String::deserialize(from)?;
    T::read(&word).map_err(serde::de::Error::custom)
}

fn decoded(word: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let ([high, low], behind) = behind.split_first_chunk()?;
            let byte = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
            bytes.push(u8::try_from(byte).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    Some(bytes)
}

/// Text from strangers (a User-Agent) for a terminal: what would move the cursor or hide something is spelled out.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ' '..='~') {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_default());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_can_be_typed_as_it_is_printed() {
        for bytes in [
            &b"ada"[..],
            b"a da",
            b"100%",
            b"%41",
            b"\xff\x00\n",
            "\u{e4}".as_bytes(),
        ] {
            let subject = Subject::new(bytes).unwrap();
            assert_eq!(Subject::read(&subject.to_string()), Ok(subject.clone()));
        }
        // What needs no escape may still be typed plainly.
        assert_eq!(Subject::read("a da").unwrap().as_bytes(), b"a da");
        for bad in ["", "100%", "%", "%4", "%zz", "%+1", &"x".repeat(256)] {
            assert!(Subject::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_typed_in_two_ways_and_read_in_one() {
        let now = Timestamp::from_millis(5_000);
        for (word, at) in [
            ("90d", now.after(Lifetime::from_days(90))),
            ("1h30m", now.after(Lifetime::from_mins(90))),
            ("1970-01-31", Timestamp::from_millis(30 * 86_400_000)),
            ("1970-01-01T02:00:00+02:00", Timestamp::ZERO),
        ] {
            let due = Due::read(word).unwrap();
            assert_eq!(due.from(now), at, "{word}");
            assert_eq!(Due::read(&due.to_string()), Ok(due), "{word}");
        }
        for bad in ["", "90", "soon", "2027-02-30", "2027-01-31T25:00:00Z"] {
            assert!(Due::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_whole_key_is_no_id_and_a_token_is_no_jti() {
        assert!(ApiKeyId::read("0123456789AB").is_ok());
        assert!(ApiKeyId::read("wbk_0123456789AB").is_err());
        assert!(TokenId::read(&TokenId::from_bytes([255; 16]).to_string()).is_ok());
        assert!(TokenId::read("eyJhbGciOiJFZERTQSJ9.e30.c2ln").is_err());
        assert!(KeyScopes::read("b a").is_ok_and(|scopes| scopes.to_string() == "a b"));
        assert!(KeyScopes::read("a  b").is_err());
    }

    #[test]
    fn what_a_client_calls_itself_moves_no_cursor() {
        let evil = "Mozilla\u{1b}[2J\u{9b}2J\u{202e}\r\n \u{7f}x";
        let shown = harmless(evil);
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(harmless("Mozilla/5.0 (X11)"), "Mozilla/5.0 (X11)");
    }
}
