//! Names of things: sessions, subjects, wires, families. None of them is a secret, none of them proves anything.

use core::fmt::{self, Write as _};
use std::sync::Arc;

/// Bytes in a session id.
pub const SESSION_ID_BYTES: usize = 10;

/// Longest subject in bytes.
pub const SUBJECT_MAX_BYTES: usize = 255;

/// A session's public id: 80 random bits, drawn by the server. Safe to log; proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; SESSION_ID_BYTES]);

impl SessionId {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SESSION_ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SESSION_ID_BYTES] {
        &self.0
    }

    /// Reads the 20 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 20] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; SESSION_ID_BYTES];
        let (pairs, _) = digits.as_chunks::<2>();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    // Digit by digit: a session is named to the app with each request, and the formatting of numbers is slow.
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().try_for_each(|byte| {
        f.write_char(digit(byte >> 4))?;
        f.write_char(digit(byte & 0x0f))
    })
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// Who: an opaque byte string that the app chose, 1 to 255 bytes, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<[u8]>);

impl Subject {
    /// Takes the bytes as they are; nothing is folded, trimmed or normalised.
    ///
    /// # Errors
    ///
    /// When there are none, or more than [`SUBJECT_MAX_BYTES`].
    pub fn new(bytes: &[u8]) -> Result<Self, SubjectError> {
        if bytes.is_empty() || bytes.len() > SUBJECT_MAX_BYTES {
            return Err(SubjectError {
                length: bytes.len(),
            });
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it has the form of a subject that nobody named: `a:` and sixteen random bytes in hexadecimal. Nobody ever
    /// signs in under such a one again.
    pub(crate) fn is_nameless(&self) -> bool {
        self.0
            .strip_prefix(b"a:")
            .is_some_and(|random| random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit))
    }
}

impl fmt::Display for Subject {
    /// Printable ASCII as it is, every other byte as `%XX`: fit for a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'!'..=b'~' if *byte != b'%' => write!(f, "{}", char::from(*byte)),
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({self})")
    }
}

/// A subject of a length that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectError {
    /// How many bytes were offered.
    pub length: usize,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a subject has 1 to {SUBJECT_MAX_BYTES} bytes, not {}",
            self.length
        )
    }
}

impl core::error::Error for SubjectError {}

/// The host a session was made for, lower case, without port and without a trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority(Arc<str>);

impl Authority {
    /// From a host, with or without port: cookies know no ports, so sessions do not either.
    #[must_use]
    pub fn of(host: &str) -> Self {
        let bare = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        Self(
            bare.strip_suffix('.')
                .unwrap_or(bare)
                .to_ascii_lowercase()
                .into(),
        )
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({self})")
    }
}

/// One live connection. Never used twice in a process; a file descriptor is, which is why it cannot be this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(pub(crate) u64);

impl WireId {
    /// The number, for logs.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for WireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Bytes in a family's root.
pub const ROOT_BYTES: usize = 16;

/// The random name of a family: all TLS connections resumed, over any number of steps, from one full handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root([u8; ROOT_BYTES]);

impl Root {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ROOT_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the resumption data of a TLS ticket.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ROOT_BYTES] {
        &self.0
    }
}

impl fmt::Display for Root {
    /// The first four bytes: enough to tell families apart in a log, too little to link visits by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, self.0.get(..4).unwrap_or_default())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_print_and_parse() {
        let id = SessionId::from_bytes([0, 1, 2, 3, 4, 5, 6, 0xfd, 0xfe, 0xff]);
        assert_eq!(id.to_string(), "000102030405 06fdfeff".replace(' ', ""));
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(SessionId::parse("00010203040506FDFEFF"), None);
        assert_eq!(SessionId::parse("0001"), None);
    }

    #[test]
    fn a_subject_is_opaque_and_prints_without_breaking_a_log_line() {
        let subject = Subject::new(b"alice\r\nrole=admin %").unwrap();
        assert_eq!(subject.to_string(), "alice%0D%0Arole=admin%20%25");
        assert!(Subject::new(b"").is_err());
        assert!(Subject::new(&[b'a'; 256]).is_err());
        assert_ne!(
            Subject::new(b"Alice").unwrap(),
            Subject::new(b"alice").unwrap()
        );
    }

    #[test]
    fn an_authority_has_no_port_no_dot_no_case() {
        for host in [
            "App.Example.",
            "app.example:8443",
            "APP.EXAMPLE.:1",
            "app.example",
        ] {
            assert_eq!(Authority::of(host).as_str(), "app.example", "{host}");
        }
        assert_eq!(Authority::of("[::1]:8443").as_str(), "::1");
    }
}
