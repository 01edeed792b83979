//! A vault as bytes: what the caller seals and stores.
//!
//! Version 1: `01`, the number of cookies (1 byte), then for each: flags (bit 0 host-only, bit 1 expires),
//! name, value, domain and path, each with its length before it (2 bytes, big-endian), and if it expires,
//! the Unix second (8 bytes, big-endian). An unknown version or flag, a byte too many or too few, a bound
//! that is broken, or one key twice is refused: a vault is read exactly or not at all.

use super::vault::{Cookie, Value, Vault};

/// The only version there is.
const VERSION: u8 = 1;
const HOST_ONLY: u8 = 1;
const EXPIRES: u8 = 2;

/// Why bytes are not a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadForm {
    /// Another version wrote it.
    #[error("the vault has an unknown version")]
    Version,
    /// It ends too early.
    #[error("the vault is cut short")]
    Short,
    /// Something follows it.
    #[error("bytes follow the vault")]
    Trailing,
    /// A flag, a text or a bound is not as it is written.
    #[error("the vault holds what is never written")]
    Content,
}

impl Vault {
    /// The bytes to seal. They hold credentials.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::try_from(self.cookies.len()).unwrap_or(u8::MAX)];
        for cookie in &self.cookies {
            let host_only = if cookie.host_only { HOST_ONLY } else { 0 };
            let expires = if cookie.expires.is_some() { EXPIRES } else { 0 };
            out.push(host_only | expires);
            for text in [
                &cookie.name[..],
                cookie.value.expose(),
                cookie.domain.as_bytes(),
                cookie.path.as_bytes(),
            ] {
                // No text is longer than a cookie, and a cookie has at most 4096 bytes.
                out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend_from_slice(text);
            }
            if let Some(at) = cookie.expires {
                out.extend_from_slice(&at.to_be_bytes());
            }
        }
        out
    }

    /// Reads what [`Vault::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`BadForm`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadForm> {
        let mut rest = bytes;
        let [version] = taken(&mut rest)?;
        if version != VERSION {
            return Err(BadForm::Version);
        }
        let [count] = taken(&mut rest)?;
        let mut vault = Self::default();
        for _ in 0..count {
            let cookie = cookie(&mut rest)?;
            let twice = vault.cookies.iter().any(|old| {
                old.name == cookie.name && old.domain == cookie.domain && old.path == cookie.path
            });
            if twice {
                return Err(BadForm::Content);
            }
            vault.cookies.push(cookie);
        }
        if !rest.is_empty() {
            return Err(BadForm::Trailing);
        }
        vault.bounded().map_err(|_| BadForm::Content)?;
        Ok(vault)
    }
}

fn cookie(rest: &mut &[u8]) -> Result<Cookie, BadForm> {
    let [flags] = taken(rest)?;
    if flags & !(HOST_ONLY | EXPIRES) != 0 {
        return Err(BadForm::Content);
    }
    let name = text(rest)?.to_vec();
    let value = Value::new(text(rest)?);
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| BadForm::Content);
    let domain = utf8(text(rest)?)?;
    let path = utf8(text(rest)?)?;
    let expires = if flags & EXPIRES == 0 {
        None
    } else {
        Some(u64::from_be_bytes(taken(rest)?))
    };
    if name.is_empty() || !path.starts_with('/') {
        return Err(BadForm::Content);
    }
    Ok(Cookie {
        name,
        value,
        domain,
        host_only: flags & HOST_ONLY != 0,
        path,
        expires,
    })
}

fn taken<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadForm> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(BadForm::Short)?;
    *rest = tail;
    Ok(*head)
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadForm> {
    let length = usize::from(u16::from_be_bytes(taken(rest)?));
    let (head, tail) = rest.split_at_checked(length).ok_or(BadForm::Short)?;
    *rest = tail;
    Ok(head)
}
