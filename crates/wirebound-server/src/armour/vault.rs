//! The vault: one session's jar of the app's own cookies (RFC 6265 5.3 and 5.4), small and bounded.
//!
//! The browser never sees what is in here; a request gets it back only after it proved itself. All the
//! cookies of one response are one batch: they are taken together or not at all, and only the whole batch
//! says whether a first cookie came or the last one went.

use std::fmt;

use zeroize::Zeroize;

use super::line::Line;

/// Cookies in one vault at most.
pub const COOKIES: usize = 16;
/// Bytes of one cookie at most: name, value, domain and path together.
pub const COOKIE_BYTES: usize = 4096;
/// Bytes of all cookies of one vault at most.
pub const VAULT_BYTES: usize = 16 * 1024;

/// A cookie's value. It is a credential: not printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Vec<u8>);

impl Value {
    /// Copies a value.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes. The only way to read them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One cookie in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    pub(super) name: Vec<u8>,
    pub(super) value: Value,
    pub(super) domain: String,
    pub(super) host_only: bool,
    pub(super) path: String,
    pub(super) expires: Option<u64>,
}

impl Cookie {
    fn bytes(&self) -> usize {
        [
            self.name.len(),
            self.value.expose().len(),
            self.domain.len(),
            self.path.len(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    fn same_key(&self, other: &Self) -> bool {
        self.name == other.name && self.domain == other.domain && self.path == other.path
    }

    fn live(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }

    fn fits(&self, host: &str, path: &str) -> bool {
        let domain = if self.host_only {
            self.domain == host
        } else {
            domain_match(host, &self.domain)
        };
        domain && path_match(path, &self.path)
    }
}

/// A session's armoured cookies, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vault {
    pub(super) cookies: Vec<Cookie>,
}

/// A vault that would grow over a bound: a 502 that names the cookie. Nothing of the batch was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMuch {
    /// One cookie is too large.
    #[error("the app's cookie `{0}` has more than {COOKIE_BYTES} bytes")]
    Cookie(String),
    /// Too many cookies.
    #[error("the app's cookie `{0}` is one too many: a session may hold {COOKIES}")]
    Cookies(String),
    /// Too many bytes.
    #[error("the app's cookie `{0}` takes the session's cookies over {VAULT_BYTES} bytes")]
    Bytes(String),
}

/// How long what is in a vault was meant to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a cookie dies with the browser or at a time"
)]
pub enum Life {
    /// Until the browser closes.
    Browser,
    /// Until the last persistent cookie expires, in Unix seconds. Ours may last no longer.
    Until(u64),
}

/// What one response did to a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// Something must be stored: a value, a lifetime, a cookie more or less.
    pub dirty: bool,
    /// A value changed, or a cookie came or was deleted: our secret advances.
    pub changed: bool,
    /// It changed in answer to an unsafe request: our secret is replaced.
    pub after_unsafe: bool,
    /// The vault was empty and is not any more.
    pub first: bool,
    /// The last cookie was deleted and none was set: the session signs out.
    pub gone: bool,
    /// How long the vault's cookies were meant to last, afterwards.
    pub life: Life,
}

/// Where and when a request was made.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Place<'a> {
    /// The host without its port, lower case.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// Whether the request's method is unsafe (RFC 9110 9.2.1).
    pub unsafe_method: bool,
    /// Unix seconds.
    pub now: u64,
}

impl<'a> Place<'a> {
    /// A request to `host` (a port is cut off) for `path`.
    #[must_use]
    pub fn new(authority: &'a str, path: &'a str, unsafe_method: bool, now: u64) -> Self {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        Self {
            host,
            path,
            unsafe_method,
            now,
        }
    }
}

impl Vault {
    /// What a browser sent of its own, whose domain, path and life nobody knows: for this host, all of it, until the browser
    /// closes.
    ///
    /// # Errors
    ///
    /// [`TooMuch`] over a bound.
    pub fn of_claimed(claimed: &[(String, Value)], host: &str) -> Result<Self, TooMuch> {
        let cookie = |(name, value): &(String, Value)| Cookie {
            name: name.clone().into_bytes(),
            value: value.clone(),
            domain: host.to_ascii_lowercase(),
            host_only: true,
            path: "/".to_owned(),
            expires: None,
        };
        let vault = Self {
            cookies: claimed.iter().map(cookie).collect(),
        };
        vault.bounded()?;
        Ok(vault)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// Whether nothing in it has expired.
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        self.cookies.iter().all(|cookie| cookie.live(now))
    }

    /// How many cookies are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cookies.len()
    }

    /// The names in it. They are no secret.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.cookies.iter().map(|cookie| cookie.name.as_slice())
    }

    /// The values in it, for the leak search alone.
    pub(super) fn values(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.cookies
            .iter()
            .map(|cookie| (cookie.name.as_slice(), &cookie.value))
    }

    /// How long its cookies were meant to last.
    #[must_use]
    pub fn life(&self) -> Life {
        self.cookies
            .iter()
            .filter_map(|cookie| cookie.expires)
            .max()
            .map_or(Life::Browser, Life::Until)
    }

    /// The cookies for a request, longest path first, then the oldest (RFC 6265 5.4).
    pub(super) fn matching(&self, place: &Place<'_>) -> Vec<&Cookie> {
        let host = place.host.to_ascii_lowercase();
        let mut found: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.live(place.now) && cookie.fits(&host, place.path))
            .collect();
        // The sort is stable, so equal paths stay in the order in which the cookies came.
        found.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        found
    }

    /// Takes all lines of one response at once.
    ///
    /// A line whose domain does not match the host is ignored, as a browser would.
    ///
    /// # Errors
    ///
    /// [`TooMuch`]; the vault is then as it was.
    pub fn take(&mut self, lines: Vec<Line>, place: &Place<'_>) -> Result<Batch, TooMuch> {
        let before = self.clone();
        let mut after = self.clone();
        after.cookies.retain(|cookie| cookie.live(place.now));
        // A cookie that merely expired is not a change that the app made; it only has to be stored.
        let live = after.clone();
        let mut deleted = false;
        for line in lines {
            let Some(cookie) = cookie(line, place) else {
                continue;
            };
            deleted |= !cookie.live(place.now);
            after.set(cookie, place.now);
        }
        after.bounded()?;
        let changed = !live.values().eq(after.values());
        let batch = Batch {
            dirty: before != after,
            changed,
            after_unsafe: changed && place.unsafe_method,
            first: before.is_empty() && !after.is_empty(),
            gone: deleted && !before.is_empty() && after.is_empty(),
            life: after.life(),
        };
        *self = after;
        Ok(batch)
    }

    /// Replaces in place, so that a cookie keeps its age; what is dead deletes.
    fn set(&mut self, cookie: Cookie, now: u64) {
        let at = self.cookies.iter().position(|old| old.same_key(&cookie));
        match (at, cookie.live(now)) {
            (Some(at), true) => {
                if let Some(old) = self.cookies.get_mut(at) {
                    *old = cookie;
                }
            }
            (Some(at), false) => drop(self.cookies.remove(at)),
            (None, true) => self.cookies.push(cookie),
            (None, false) => {}
        }
    }

    pub(super) fn bounded(&self) -> Result<(), TooMuch> {
        let name = |cookie: &Cookie| {
            String::from_utf8_lossy(&cookie.name)
                .escape_default()
                .to_string()
        };
        let mut bytes = 0_usize;
        for (number, cookie) in self.cookies.iter().enumerate() {
            if cookie.bytes() > COOKIE_BYTES {
                return Err(TooMuch::Cookie(name(cookie).chars().take(64).collect()));
            }
            bytes = bytes.saturating_add(cookie.bytes());
            if number >= COOKIES {
                return Err(TooMuch::Cookies(name(cookie)));
            }
            if bytes > VAULT_BYTES {
                return Err(TooMuch::Bytes(name(cookie)));
            }
        }
        Ok(())
    }
}

fn cookie(line: Line, place: &Place<'_>) -> Option<Cookie> {
    let host = place.host.to_ascii_lowercase();
    let (domain, host_only) = match line.domain {
        None => (host, true),
        Some(domain) if domain_match(&host, &domain) => (domain, false),
        Some(_) => return None,
    };
    let path = line
        .path
        .unwrap_or_else(|| default_path(place.path).to_owned());
    Some(Cookie {
        name: line.name,
        value: line.value,
        domain,
        host_only,
        path,
        expires: line.expires,
    })
}

/// RFC 6265 5.1.3; both in lower case.
pub(super) fn domain_match(host: &str, domain: &str) -> bool {
    host == domain
        || (host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
            && host.parse::<std::net::IpAddr>().is_err())
}

/// RFC 6265 5.1.4: up to, but without, the last slash.
fn default_path(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((head, _)) if head.starts_with('/') => head,
        _ => "/",
    }
}

/// RFC 6265 5.1.4.
fn path_match(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
