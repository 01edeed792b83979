//! The list of what is wrong, as the rules fill it.

use wirebound::Lifetime;

use super::super::{ConfigError, Place};
use super::terms::{is_plain_path, role_named};

/// A text as it stands in a TOML file.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<ConfigError>);

impl Findings {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts read better without a borrow at forty calls"
    )]
    pub(super) fn refuse(
        &mut self,
        key: &str,
        value: impl ToString,
        why: impl Into<String>,
        hint: &str,
    ) {
        self.0.push(ConfigError::Refused {
            key: key.to_owned(),
            value: value.to_string(),
            why: why.into(),
            hint: hint.to_owned(),
            place: Place::Default,
        });
    }

    #[expect(clippy::needless_pass_by_value, reason = "as in `refuse`")]
    pub(super) fn not_yet(&mut self, key: &str, value: impl ToString, why: &str, hint: &str) {
        self.0.push(ConfigError::NotYet {
            key: key.to_owned(),
            value: value.to_string(),
            why: why.to_owned(),
            hint: hint.to_owned(),
            place: Place::Default,
        });
    }

    pub(super) fn missing(&mut self, key: &str, why: &str, hint: &str) {
        self.0.push(ConfigError::Missing {
            key: key.to_owned(),
            why: why.to_owned(),
            hint: hint.to_owned(),
        });
    }

    pub(super) fn positive(&mut self, key: &str, value: Lifetime) {
        if value == Lifetime::ZERO {
            self.refuse(
                key,
                "\"0s\"",
                "it would be over before it began",
                "use a length of time such as 30s",
            );
        }
    }

    pub(super) fn role(&mut self, key: &str, name: &str) {
        if role_named(name).is_none() {
            self.not_yet(
                key,
                quoted(name),
                "roles are `guest`, `user` and `admin` so far",
                "use one of these three",
            );
        }
    }

    pub(super) fn path(&mut self, key: &str, path: &str) {
        if !is_plain_path(path) {
            self.refuse(
                key,
                quoted(path),
                "it is no plain path",
                "write it from the root, for example /admin",
            );
        }
    }
}
