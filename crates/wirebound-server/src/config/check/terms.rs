//! Values of the configuration that have a shape of their own, parsed.

use http::Uri;
use wirebound::{Role, Timestamp};

use crate::armour::line::days_since_1970;

/// Where sessions are kept, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new store must be opened by every match"
)]
pub enum StoreUrl {
    /// The embedded store; relative to the data folder.
    File(std::path::PathBuf),
    /// Nothing survives the process.
    Memory,
}

impl StoreUrl {
    /// Reads `file:PATH` or `memory:`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        if url == "memory:" {
            return Some(Self::Memory);
        }
        let path = url.strip_prefix("file:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        (!path.is_empty()).then(|| Self::File(path.into()))
    }
}

/// One of `vouch.paths`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VouchPath {
    /// The method, exactly.
    pub method: http::Method,
    /// The path, exactly.
    pub path: String,
}

impl VouchPath {
    /// Reads `POST /login`.
    #[must_use]
    pub fn parse(entry: &str) -> Option<Self> {
        let (method, path) = entry.split_once(' ')?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        is_plain_path(path).then_some(Self {
            method: method.parse().ok()?,
            path: path.to_owned(),
        })
    }
}

/// The moment that RFC 3339 writes as a date (its first moment, UTC) or as a date and a time with its offset.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse().ok()).flatten()
    };
    let is = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let days = days_since_1970(year, month, day);
    // A day that the month does not have would be read as one of the next.
    let next = if month == 12 {
        days_since_1970(year.saturating_add(1), 1, 1)
    } else {
        days_since_1970(year, month.saturating_add(1), 1)
    };
    if !is(4, b'-') || !is(7, b'-') || !(1..=12).contains(&month) || day < 1 || days >= next {
        return None;
    }
    let mut seconds = days.saturating_mul(86_400);
    if text.len() > 10 {
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
        if !separated || !is(13, b':') || !is(16, b':') || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let rest = text.get(19..)?;
        let rest = match rest.strip_prefix('.') {
            // A part of a second is nothing here.
            Some(part) if part.starts_with(|c: char| c.is_ascii_digit()) => {
                part.trim_start_matches(|c: char| c.is_ascii_digit())
            }
            Some(_) => return None,
            None => rest,
        };
        seconds = seconds
            .saturating_add(hour.saturating_mul(3600))
            .saturating_add(minute.saturating_mul(60))
            .saturating_add(second)
            .saturating_sub(offset(rest)?);
    }
    let millis = u64::try_from(seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis))
}

/// The seconds that a local time is ahead of UTC: `Z`, `+02:00`.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |digits: &str| -> Option<i64> {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let ahead = hours
        .saturating_mul(3600)
        .saturating_add(minutes.saturating_mul(60));
    (hours < 24 && minutes < 60).then(|| ahead.saturating_mul(sign))
}

/// Fields of a request that are somebody else's to set: as an identity they would break the exchange, or be removed again.
const NO_ALIASES: [&str; 17] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Names of fields that carry the subject beside `Wirebound-Subject`.
///
/// # Errors
///
/// The first name that is no field name, or is a field with a meaning of its own.
pub fn identity_aliases(names: &[String]) -> Result<std::sync::Arc<[http::HeaderName]>, String> {
    names
        .iter()
        .map(|name| {
            let parsed: http::HeaderName = name
                .parse()
                .map_err(|_| format!("`{name}` is no field name"))?;
            let folded = crate::proxy::strip::fold(parsed.as_str());
            let taken = NO_ALIASES.contains(&&*folded)
                || ["wirebound", "x-forwarded", "proxy-", "sec-"]
                    .iter()
                    .any(|prefix| folded.starts_with(prefix));
            if taken {
                return Err(format!("`{name}` has a meaning of its own"));
            }
            Ok(parsed)
        })
        .collect()
}

/// The role of this name; named roles between the three fixed ones are not there yet.
#[must_use]
pub fn role_named(name: &str) -> Option<Role> {
    match name {
        "guest" => Some(Role::GUEST),
        "user" => Some(Role::USER),
        "admin" => Some(Role::ADMIN),
        _ => None,
    }
}

/// `HOST:PORT` of an `http://` or `https://` address without anything else.
///
/// # Errors
///
/// What is wrong with it.
pub fn upstream_authority(url: &str) -> Result<http::uri::Authority, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no address")?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("it does not begin with http://"),
    }
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.as_str().contains('@') {
        return Err("it carries a user name, which would end up in logs");
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("it carries a path, and the client's path goes through unchanged");
    }
    Ok(authority.clone())
}

/// Whether this is a path from the root without query, escape tricks or dot segments.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\\*".contains(&byte))
        && !path
            .split('/')
            .any(|segment| segment == "." || segment == "..")
}
