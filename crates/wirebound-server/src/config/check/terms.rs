//! Values of the configuration that have a shape of their own, parsed.

use http::Uri;
use wirebound::Role;

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
