//! Subjects, sessions and roles as the words that are printed and typed: what one command shows, the next one takes.
//!
//! A subject is bytes. Printable ASCII stands for itself, any other byte is `%XX`, as in every log line; so each
//! subject can be named, and no two by one word.

use core::fmt::Display;

use serde::{Deserialize, Deserializer, Serializer};
use wirebound::{Role, SessionId, Subject};

use crate::config::role_named;

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
    fn what_a_client_calls_itself_moves_no_cursor() {
        let evil = "Mozilla\u{1b}[2J\u{9b}2J\u{202e}\r\n \u{7f}x";
        let shown = harmless(evil);
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(harmless("Mozilla/5.0 (X11)"), "Mozilla/5.0 (X11)");
    }
}
