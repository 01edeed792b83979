//! Lengths of time and sizes as people write them: `5m`, `1h30m`, `14d`, `64 KiB`.
//!
//! Each value has one printed form, and the printed form parses back to the same value.

use core::fmt;
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wirebound::Lifetime;

/// Serialises a [`Lifetime`] as text with units; for `#[serde(with = "units::lifetime")]`.
pub(crate) mod lifetime {
    use super::{Deserialize, Deserializer, Lifetime, Serializer, lifetime_text, parse_lifetime};

    pub(crate) fn serialize<S: Serializer>(value: &Lifetime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&lifetime_text(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Lifetime, D::Error> {
        let text = String::deserialize(from)?;
        parse_lifetime(&text).map_err(serde::de::Error::custom)
    }
}

/// As [`lifetime`], for a length of time that may be left out.
pub(crate) mod maybe_lifetime {
    use super::{Deserialize, Deserializer, Lifetime, Serializer, lifetime, parse_lifetime};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Lifetime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => lifetime::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Lifetime>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| parse_lifetime(&text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

/// Stands for a length of time in the schema.
#[derive(Debug)]
pub(crate) enum LifetimeText {}

impl JsonSchema for LifetimeText {
    fn schema_name() -> Cow<'static, str> {
        "duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "duration",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        })
    }
}

const MILLIS_PER_UNIT: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `5m`, `1h30m`, `250ms`; a bare number is refused, because nobody agrees on its unit.
///
/// # Errors
///
/// When a number lacks its unit, a unit is unknown, or the sum does not fit.
pub fn parse_lifetime(text: &str) -> Result<Lifetime, UnitError> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(UnitError::new(
            text,
            "a length of time such as 30s, 5m, 1h or 14d",
        ));
    }
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)
            .ok_or_else(|| UnitError::new(text, "a length of time such as 30s, 5m, 1h or 14d"))?;
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(letters).unwrap_or((after, ""));
        let factor = MILLIS_PER_UNIT
            .iter()
            .find_map(|(name, factor)| (*name == unit).then_some(*factor))
            .ok_or_else(|| UnitError::new(text, "a unit (ms, s, m, h or d) after each number"))?;
        millis = number
            .checked_mul(factor)
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(|| UnitError::new(text, "less than 500 million years"))?;
        rest = next.trim_start();
    }
    Ok(Lifetime::from_millis(millis))
}

/// The one printed form: the largest units first, zero parts left out.
#[must_use]
pub fn lifetime_text(value: Lifetime) -> String {
    let mut left = value.as_millis();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, factor) in MILLIS_PER_UNIT {
        let count = left.checked_div(factor).unwrap_or(0);
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
            left = left.saturating_sub(count.saturating_mul(factor));
        }
    }
    text
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

const BYTES_PER_UNIT: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Size {
    /// From bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From units of 1024 bytes.
    #[must_use]
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1024))
    }

    /// From units of 1024 x 1024 bytes.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self::from_kib(mib.saturating_mul(1024))
    }

    /// In bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// In bytes, as the platform counts memory; the largest `usize` if it does not fit.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads `64KiB`, `10 MB`, `512 B`.
    ///
    /// # Errors
    ///
    /// When the number lacks its unit, the unit is unknown, or the product does not fit.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = leading_number(text.trim())
            .ok_or_else(|| UnitError::new(text, "a size such as 64KiB or 10MiB"))?;
        let unit = unit.trim_start();
        BYTES_PER_UNIT
            .iter()
            .find_map(|(name, factor)| name.eq_ignore_ascii_case(unit).then_some(*factor))
            .and_then(|factor| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| UnitError::new(text, "a size such as 64KiB or 10MiB"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in BYTES_PER_UNIT {
            if self.0 != 0 && self.0.checked_rem(factor) == Some(0) {
                return write!(f, "{}{name}", self.0.checked_div(factor).unwrap_or(0));
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "size",
            "pattern": "^[0-9]+ ?(B|kB|KiB|MB|MiB|GB|GiB)$",
        })
    }
}

/// A text that was no length of time or no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

impl UnitError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            expected,
        }
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` was given; what is needed is {}",
            self.text, self.expected
        )
    }
}

impl core::error::Error for UnitError {}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_one_printed_form() {
        for (text, millis, printed) in [
            ("5m", 300_000, "5m"),
            ("90s", 90_000, "1m30s"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("14d", 1_209_600_000, "14d"),
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
        ] {
            let value = parse_lifetime(text).unwrap();
            assert_eq!(value, Lifetime::from_millis(millis), "{text}");
            assert_eq!(lifetime_text(value), printed);
            assert_eq!(parse_lifetime(printed).unwrap(), value);
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "5 minutes",
            "-5m",
            "1.5h",
            "5m3",
            "99999999999999999999s",
            "999999999999999d",
        ] {
            assert!(parse_lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_has_one_printed_form() {
        for (text, bytes, printed) in [
            ("64KiB", 65_536, "64KiB"),
            ("64 kib", 65_536, "64KiB"),
            ("10MB", 10_000_000, "10MB"),
            ("2048KiB", 2 << 20, "2MiB"),
            ("17B", 17, "17B"),
            ("0B", 0, "0B"),
        ] {
            let size = Size::parse(text).unwrap();
            assert_eq!(size, Size::from_bytes(bytes), "{text}");
            assert_eq!(size.to_string(), printed);
            assert_eq!(Size::parse(printed).unwrap(), size);
        }
        for text in ["", "64", "KiB", "64 parsecs", "-1B", "99999999999GiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }
}
