//! What servers make of one path. Rules are judged on all of it, so that no spelling finds a server that serves what a
//! rule protects while the rule did not see it.
//!
//! Ambiguous paths are refused before (`hygiene.rs`). What is left has an honest use in one app and is a way around a rule
//! in another: an escaped letter (`/%61dmin`), capitals where the app does not care for them (`/Admin`), a dot or a space
//! at a segment's end, which some file systems drop, and an escaped `?` or `#`, at which a server that decodes first cuts.

use percent_encoding::percent_decode_str;

/// A path as the most careless server reads it: decoded, without regard to case, without white space around segments and dots
/// behind them. What rules are written on is folded the same way.
#[must_use]
pub fn careless(path: &str) -> String {
    fold(&percent_decode_str(path).decode_utf8_lossy())
}

/// The further readings of a path, where there are any.
///
/// `None`: every server reads it as it stands.
#[must_use]
pub fn further(path: &str) -> Option<Further> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/-_~.".contains(&byte);
    if path.bytes().all(plain) && !path.contains("./") && !path.ends_with('.') {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let cut = decoded
        .split(['?', '#'])
        .next()
        .filter(|cut| cut.len() < decoded.len())
        .map(fold);
    Some(Further {
        whole: fold(&decoded),
        cut,
    })
}

/// Further readings of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Further {
    /// As [`careless`] has it.
    pub whole: String,
    /// What stands before an escaped `?` or `#`.
    pub cut: Option<String>,
}

impl Further {
    /// Each of them.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        core::iter::once(self.whole.as_str()).chain(self.cut.as_deref())
    }
}

fn fold(path: &str) -> String {
    // Capitals first: the dotless i and the long s have ASCII letters as their capitals.
    let folded: String = path
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        // What is left of a capital I with a dot.
        .filter(|c| *c != '\u{307}')
        .collect();
    let segments: Vec<&str> = folded
        .split('/')
        .map(|segment| {
            let dropped = |c: char| c == '.' || c.is_whitespace();
            segment.trim_start().trim_end_matches(dropped)
        })
        .collect();
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_has_one_reading() {
        for path in ["/", "/admin", "/admin/", "/a-b_c~d/app.min.js", "/v1.2/x"] {
            assert_eq!(further(path), None, "{path}");
            assert_eq!(careless(path), path);
        }
    }

    #[test]
    fn every_spelling_of_one_path_has_one_careless_reading() {
        for path in [
            "/%61dmin",
            "/%61%64%6d%69%6E",
            "/Admin",
            "/ADMIN",
            "/%41dmin",
            "/admin.",
            "/admin...",
            "/admin%20",
            "/admin%20.",
            "/%20admin",
            "/admin%C2%A0",
            "/adm\u{131}n",
            "/adm%C4%B1n",
            "/adm%C4%B0n",
        ] {
            assert!(further(path).is_some(), "{path}");
            assert_eq!(careless(path), "/admin", "{path}");
        }
        assert_eq!(careless("/admin%20/users."), "/admin/users");
    }

    #[test]
    fn an_escaped_question_mark_ends_one_of_the_readings() {
        for path in ["/admin%3Fx", "/admin%23x", "/Admin%3f.css"] {
            let further = further(path).unwrap();
            assert!(further.each().any(|read| read == "/admin"), "{path}");
        }
    }
}
