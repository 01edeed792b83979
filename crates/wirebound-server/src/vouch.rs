//! Vouching: the app names a subject itself, in the answer to a request that was marked for it.
//!
//! The gateway believes a response field only on a path and method that the operator listed, and only beside
//! the nonce that this very request carried: a page that lets a user choose a response header, a relay, a
//! CRLF bug elsewhere in the app cannot know it. What is malformed is not guessed at: it is a 502 and an event.

use std::fmt;

use http::{HeaderMap, Method, StatusCode};
use subtle::ConstantTimeEq as _;

/// Bytes of a subject at most, decoded.
pub const SUBJECT_BYTES: usize = 255;

/// The requests whose answers may vouch, and how far.
#[derive(Debug, Clone, Default)]
pub struct Vouching {
    listed: Vec<(Method, String)>,
    roles: Vec<String>,
    max_role: usize,
}

/// Why a vouching configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadVouching {
    /// An entry that is not `METHOD /path`.
    #[error("`{0}` is no vouching path; write it as `POST /login`")]
    Entry(String),
    /// A most powerful role that is not among the roles.
    #[error("the role `{0}` is not known; name one of the roles that are configured")]
    Role(String),
}

impl Vouching {
    /// Reads `METHOD /path` entries. `roles` goes from the weakest to the strongest; `max_role` is one of them.
    ///
    /// # Errors
    ///
    /// When an entry is not a method and an exact path, or `max_role` is not a role.
    pub fn new(entries: &[&str], roles: &[&str], max_role: &str) -> Result<Self, BadVouching> {
        let listed = entries
            .iter()
            .map(|entry| Self::entry(entry))
            .collect::<Result<_, _>>()?;
        let max_role = roles
            .iter()
            .position(|role| *role == max_role)
            .ok_or_else(|| BadVouching::Role(max_role.to_owned()))?;
        Ok(Self {
            listed,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            max_role,
        })
    }

    fn entry(entry: &str) -> Result<(Method, String), BadVouching> {
        let bad = || BadVouching::Entry(entry.to_owned());
        let (method, path) = entry.split_once(' ').ok_or_else(bad)?;
        let known = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        let method = known
            .into_iter()
            .find(|known| known.as_str() == method)
            .ok_or_else(bad)?;
        if !path.starts_with('/')
            || path.contains(['?', '#', '*'])
            || crate::hygiene::one_reading(path).is_err()
        {
            return Err(bad());
        }
        Ok((method, path.to_owned()))
    }

    /// Whether the answer to this request may vouch. The path is compared byte for byte, without its query.
    #[must_use]
    pub fn covers(&self, method: &Method, path: &str) -> bool {
        self.listed
            .iter()
            .any(|(listed, exact)| listed == method && exact == path)
    }

    /// Checks what was read against the most powerful role that may be vouched for.
    ///
    /// # Errors
    ///
    /// When the role is unknown or above the bound.
    pub fn within(&self, vouched: Vouched) -> Result<Vouched, Fault> {
        let role = match &vouched {
            Vouched::Login {
                role: Some(role), ..
            }
            | Vouched::Elevate { role } => role,
            Vouched::Login { role: None, .. } | Vouched::Nothing { .. } | Vouched::Logout(_) => {
                return Ok(vouched);
            }
        };
        match self.roles.iter().position(|known| known == role) {
            Some(rank) if rank <= self.max_role => Ok(vouched),
            Some(_) => Err(Fault::RoleAboveMax),
            None => Err(Fault::RoleUnknown),
        }
    }
}

/// What a request carries so that its answer can vouch: 16 random bytes in hexadecimal.
///
/// It lives as long as the exchange. It is no credential of a client, but it is not printed either.
pub struct Nonce(String);

impl Nonce {
    /// Makes a nonce of fresh random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        use fmt::Write as _;
        let text = random
            .iter()
            .fold(String::with_capacity(32), |mut text, byte| {
                // Writing to a string cannot fail.
                let _infallible = write!(text, "{byte:02x}");
                text
            });
        Self(text)
    }

    /// The value of `Wirebound-Request`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// What an answer vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whatever an app may say must be met by the gateway"
)]
pub enum Vouched {
    /// Nothing that is believed.
    Nothing {
        /// Fields that would have vouched, had they stood where they count. An event when above zero.
        disbelieved: u32,
    },
    /// This subject signed in.
    Login {
        /// Decoded, 1 to 255 bytes.
        subject: Vec<u8>,
        /// Absent: the default role.
        role: Option<String>,
    },
    /// The session's subject proved more: this role from now on.
    Elevate {
        /// The role.
        role: String,
    },
    /// The subject signed out.
    Logout(Reach),
}

/// Which sessions a logout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the three values of the field")]
pub enum Reach {
    /// This one.
    Session,
    /// The subject's others.
    Others,
    /// All of the subject.
    All,
}

/// Why a vouching answer is refused: 502 and an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A field stands twice.
    #[error("{0} stands twice")]
    Twice(&'static str),
    /// A byte that the field may not hold.
    #[error("{0} holds a byte that may not stand there")]
    Bytes(&'static str),
    /// The subject is empty or too long.
    #[error("the subject must have 1 to 255 bytes")]
    SubjectLength,
    /// Fields that contradict each other.
    #[error("the fields contradict each other")]
    Contradiction,
    /// A role that nobody configured.
    #[error("the role is not known")]
    RoleUnknown,
    /// A role above `max_role`.
    #[error("the role is above [vouch] max_role")]
    RoleAboveMax,
}

const RE: &str = "wirebound-re";
const LOGIN: &str = "wirebound-login";
const ROLE: &str = "wirebound-role";
const ELEVATE: &str = "wirebound-elevate";
const LOGOUT: &str = "wirebound-logout";

/// Reads what a final response head vouches for. Trailers and 1xx never come here.
///
/// # Errors
///
/// Only where the nonce is right: the app meant to vouch and did it in a way that could be somebody else's
/// words. Without the nonce nothing is believed and nothing fails.
pub fn read(
    status: StatusCode,
    headers: &HeaderMap,
    nonce: Option<&Nonce>,
) -> Result<Vouched, Fault> {
    let present = |name: &str| headers.get_all(name).iter().count();
    let count = [LOGIN, ROLE, ELEVATE, LOGOUT]
        .iter()
        .map(|name| present(name))
        .fold(0, usize::saturating_add);
    let disbelieved = u32::try_from(count).unwrap_or(u32::MAX);
    let Some(nonce) = nonce else {
        return Ok(Vouched::Nothing { disbelieved });
    };
    let cacheable = status == StatusCode::NOT_MODIFIED || status.is_informational();
    let right = headers
        .get_all(RE)
        .iter()
        .any(|re| bool::from(re.as_bytes().ct_eq(nonce.as_str().as_bytes())));
    if !right || cacheable {
        return Ok(Vouched::Nothing { disbelieved });
    }
    once(headers, RE)?;
    let login = once(headers, LOGIN)?;
    let role = once(headers, ROLE)?
        .map(|value| token(ROLE, value))
        .transpose()?;
    let elevate = once(headers, ELEVATE)?
        .map(|value| token(ELEVATE, value))
        .transpose()?;
    let logout = once(headers, LOGOUT)?;
    match (login, role, elevate, logout) {
        (None, None, None, None) => Ok(Vouched::Nothing { disbelieved: 0 }),
        (Some(login), role, None, None) => Ok(Vouched::Login {
            subject: subject(login)?,
            role,
        }),
        (None, None, Some(role), None) => Ok(Vouched::Elevate { role }),
        (None, None, None, Some(b"session")) => Ok(Vouched::Logout(Reach::Session)),
        (None, None, None, Some(b"others")) => Ok(Vouched::Logout(Reach::Others)),
        (None, None, None, Some(b"all")) => Ok(Vouched::Logout(Reach::All)),
        (None, None, None, Some(_)) => Err(Fault::Bytes(LOGOUT)),
        _ => Err(Fault::Contradiction),
    }
}

fn once<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>, Fault> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (_, Some(_)) => Err(Fault::Twice(name)),
        (line, None) => Ok(line.map(http::HeaderValue::as_bytes)),
    }
}

fn token(name: &'static str, value: &[u8]) -> Result<String, Fault> {
    let plain = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    if value.is_empty() || value.len() > 64 || !value.iter().all(plain) {
        return Err(Fault::Bytes(name));
    }
    String::from_utf8(value.to_vec()).map_err(|_| Fault::Bytes(name))
}

/// Unreserved characters and whole escapes, nothing else (RFC 3986 2.3): `alice; role=admin` is no subject.
fn subject(value: &[u8]) -> Result<Vec<u8>, Fault> {
    if value.len() > SUBJECT_BYTES.saturating_mul(3) {
        return Err(Fault::SubjectLength);
    }
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16))
            .ok_or(Fault::Bytes(LOGIN))
    };
    let mut bytes = value.iter();
    let mut subject = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                let byte = high.saturating_mul(16).saturating_add(low);
                subject.push(u8::try_from(byte).map_err(|_| Fault::Bytes(LOGIN))?);
            }
            b'-' | b'.' | b'_' | b'~' => subject.push(*byte),
            byte if byte.is_ascii_alphanumeric() => subject.push(*byte),
            _ => return Err(Fault::Bytes(LOGIN)),
        }
    }
    if subject.is_empty() || subject.len() > SUBJECT_BYTES {
        return Err(Fault::SubjectLength);
    }
    Ok(subject)
}

#[cfg(test)]
mod tests;
