//! Armour: the app's own cookies stay in the gateway.
//!
//! On the way back every armoured `Set-Cookie` goes into the session's [`Vault`] and is taken out of what the
//! browser gets. On the way in the `Cookie` field is built anew: a client's own copy of an armoured name never
//! passes, in any spelling that some server reads as that name; what is in the vault is put in its place, and
//! the caller gives a vault only to requests that proved themselves. Sessions, seals and stores are the caller's.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use globset::GlobSet;
use http::HeaderMap;
use http::header::{COOKIE, Entry, HeaderValue, SET_COOKIE};

pub mod form;
pub mod leak;
pub mod line;
pub mod names;
pub mod spelling;
pub mod vault;

pub use form::BadForm;
pub use names::{BadName, Names};
pub use vault::{Batch, Life, Place, TooMuch, Value, Vault};

use line::Line;
use names::{WELL_KNOWN, globs};

/// Names that a gateway remembers at most: of armoured cookies, and of cookies left to browsers.
pub const REMEMBERED: usize = 256;
/// Names of a browser's old copies that one answer expires.
const EXPIRED_AT_ONCE: usize = 8;

/// Something an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// `unarmoured_cookie`: an HttpOnly cookie of the app was left to the browser. Once per name.
    Unarmoured {
        /// Its name.
        name: String,
        /// Whether that is because it is meant for other hosts as well.
        wider_domain: bool,
    },
    /// `armour_leak`: a vaulted value was in a response. Told once per name, see [`Armour::is_first_leak`].
    Leak {
        /// The cookie's name.
        name: String,
    },
    /// The app uses more names than a gateway remembers: armour them by a pattern.
    TooManyNames,
}

/// What became of a request's cookies.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebuilt {
    /// Names that a client sent on its own, to be expired with [`expire`]. At most 8.
    pub stale: Vec<String>,
    /// Pairs that did not pass.
    pub dropped: u32,
}

/// What an answer did to a vault.
#[derive(Debug)]
#[non_exhaustive]
pub struct Taken {
    /// The vault afterwards.
    pub vault: Vault,
    /// What changed.
    pub batch: Batch,
    /// Armoured lines that the browser did not get. Above zero, the answer is no longer cacheable.
    pub removed: u32,
    /// For the operator.
    pub notices: Vec<Notice>,
}

/// One gateway's armour.
#[derive(Debug)]
pub struct Armour {
    names: Names,
    well_known: GlobSet,
    seen: Mutex<HashSet<String>>,
    left: Mutex<HashSet<String>>,
    leaked: Mutex<HashSet<String>>,
}

impl Armour {
    /// An armour over these names.
    #[must_use]
    pub fn new(names: Names) -> Self {
        let well_known = match &names {
            Names::Auto => globs(WELL_KNOWN).unwrap_or_default(),
            Names::Nothing | Names::Listed(_) => GlobSet::empty(),
        };
        Self {
            names,
            well_known,
            seen: Mutex::default(),
            left: Mutex::default(),
            leaked: Mutex::default(),
        }
    }

    /// Whether a leak of this cookie is news: a page that prints it prints it to everybody.
    #[must_use]
    pub fn is_first_leak(&self, name: &str) -> bool {
        let mut leaked = self.leaked.lock().unwrap_or_else(PoisonError::into_inner);
        leaked.len() < REMEMBERED && leaked.insert(name.to_owned())
    }

    /// Folded names that were seen armoured, to be kept over a restart and given to [`Armour::remember`].
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect();
        names.sort_unstable();
        names
    }

    /// Takes names as armoured, up to the bound. Says whether all found room.
    pub fn remember<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        names.into_iter().all(|name| {
            let name = spelling::fold(name.as_bytes());
            if seen.contains(&name) {
                return true;
            }
            seen.len() < REMEMBERED && seen.insert(name)
        })
    }

    /// Whether a name, in whatever spelling, stands for an armoured cookie. For [`crate::hygiene::check`].
    #[must_use]
    pub fn stands_for_armoured(&self, name: &[u8]) -> bool {
        spelling::readings(name).any(|folded| self.armoured(&folded))
    }

    fn armoured(&self, folded: &str) -> bool {
        if matches!(self.names, Names::Nothing) {
            return false;
        }
        let well_known = self.well_known.is_match(folded)
            && !self
                .left
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(folded);
        well_known || self.pinned(folded)
    }

    /// Named by the operator, or armoured once: nothing the app does later undoes that.
    fn pinned(&self, folded: &str) -> bool {
        let listed = matches!(&self.names, Names::Listed(set) if set.is_match(folded));
        listed
            || self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(folded)
    }

    /// Builds the Cookie field of a request anew: our own cookies and every copy of an armoured one go, and
    /// what fits of `vault` is put in front. Give a vault only to a request that proved itself.
    pub fn rebuild(
        &self,
        headers: &mut HeaderMap,
        vault: Option<&Vault>,
        place: &Place<'_>,
    ) -> Rebuilt {
        let mut rebuilt = Rebuilt::default();
        let own = Own::of(vault);
        let mut field: Vec<u8> = Vec::new();
        for cookie in vault.into_iter().flat_map(|vault| vault.matching(place)) {
            join(&mut field, &[&cookie.name, b"=", cookie.value.expose()]);
        }
        for line in headers.get_all(COOKIE) {
            for pair in line
                .as_bytes()
                .split(|byte| *byte == b';')
                .map(<[u8]>::trim_ascii)
            {
                if pair.is_empty() {
                    continue;
                }
                match self.judge(pair, &own) {
                    Pair::Passes => join(&mut field, &[pair]),
                    Pair::Ours => {}
                    Pair::Dropped => rebuilt.dropped = rebuilt.dropped.saturating_add(1),
                    Pair::Stale(name) => {
                        rebuilt.dropped = rebuilt.dropped.saturating_add(1);
                        if rebuilt.stale.len() < EXPIRED_AT_ONCE && !rebuilt.stale.contains(&name) {
                            rebuilt.stale.push(name);
                        }
                    }
                }
            }
        }
        headers.remove(COOKIE);
        if !field.is_empty()
            && let Ok(mut value) = HeaderValue::from_maybe_shared(Bytes::from(field))
        {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        rebuilt
    }

    fn judge(&self, pair: &[u8], own: &Own<'_>) -> Pair {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (
                pair.get(..at).unwrap_or_default(),
                pair.get(at..).unwrap_or_default(),
            ),
            None => (pair, &[][..]),
        };
        let armoured = |name: &[u8]| {
            spelling::readings(name).any(|folded| own.contains(&folded) || self.armoured(&folded))
        };
        let name = name.trim_ascii();
        if crate::proxy::strip::names_ours(name) {
            return Pair::Ours;
        }
        if matches!(self.names, Names::Nothing) {
            return Pair::Passes;
        }
        if armoured(name) {
            return match std::str::from_utf8(name) {
                Ok(name) if is_token(name) => Pair::Stale(name.to_owned()),
                _ => Pair::Dropped,
            };
        }
        let odd = |byte: &u8| byte.is_ascii_control() || *byte == b'"';
        if name.is_empty() || name.starts_with(b"$") || pair.iter().any(odd) {
            return Pair::Dropped;
        }
        // Old parsers take a comma for a semicolon: `a=b,sessionid=c` would be two cookies to them.
        let hidden = value.split(|byte| *byte == b',').skip(1).any(|part| {
            let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
            part.contains(&b'=') && armoured(name.trim_ascii())
        });
        if hidden { Pair::Dropped } else { Pair::Passes }
    }

    /// The armoured cookies that a browser sent on its own, by name, to be taken in. Nothing, where two stand for one name:
    /// which of them the app would have read is a matter of taste.
    #[must_use]
    pub fn claimed(&self, headers: &HeaderMap) -> Vec<(String, Value)> {
        let own = Own::of(None);
        let mut claimed: Vec<(String, Value)> = Vec::new();
        let mut folded = HashSet::new();
        for line in headers.get_all(COOKIE) {
            for pair in line.as_bytes().split(|byte| *byte == b';') {
                let pair = pair.trim_ascii();
                let Pair::Stale(name) = self.judge(pair, &own) else {
                    continue;
                };
                let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
                    continue;
                };
                let value = pair.get(at.saturating_add(1)..).unwrap_or_default();
                if !folded.insert(spelling::fold(name.as_bytes())) {
                    return Vec::new();
                }
                if !value.is_empty() && value.iter().all(u8::is_ascii_graphic) {
                    claimed.push((name, Value::new(value)));
                }
            }
        }
        claimed
    }

    /// Takes the armoured lines of an answer out of its head and into a copy of `vault`.
    ///
    /// The caller drops the result if the session has been replaced or ended since it was read.
    ///
    /// # Errors
    ///
    /// [`TooMuch`] when the vault would grow over a bound: answer 502 and log the text.
    pub fn take(
        &self,
        headers: &mut HeaderMap,
        vault: &Vault,
        place: &Place<'_>,
    ) -> Result<Taken, TooMuch> {
        let own: HashSet<String> = vault.names().map(spelling::fold).collect();
        let (mut armoured, mut notices) = (Vec::new(), Vec::new());
        if let Entry::Occupied(entry) = headers.entry(SET_COOKIE) {
            let lines: Vec<HeaderValue> = entry.remove_entry_mult().1.collect();
            for text in lines {
                match self.sort(&text, &own, place, &mut notices) {
                    Some(line) => armoured.push(line),
                    None => {
                        headers.append(SET_COOKIE, text);
                    }
                }
            }
        }
        let removed = u32::try_from(armoured.len()).unwrap_or(u32::MAX);
        let mut vault = vault.clone();
        let batch = vault.take(armoured, place)?;
        if let Some(name) = leak::in_head(headers, &vault) {
            notices.push(Notice::Leak { name });
        }
        Ok(Taken {
            vault,
            batch,
            removed,
            notices,
        })
    }

    fn sort(
        &self,
        text: &HeaderValue,
        own: &HashSet<String>,
        place: &Place<'_>,
        notices: &mut Vec<Notice>,
    ) -> Option<Line> {
        if matches!(self.names, Names::Nothing) {
            return None;
        }
        let line = line::read(text.as_bytes(), place.now)?;
        let folded = spelling::fold(&line.name);
        // A deletion often leaves HttpOnly out, so a known name is armoured without it.
        let pinned = own.contains(&folded) || self.pinned(&folded);
        let auto = matches!(self.names, Names::Auto)
            && (line.http_only || self.well_known.is_match(&folded));
        let host = place.host.to_ascii_lowercase();
        let wider = line.domain.as_ref().is_some_and(|domain| *domain != host);
        if pinned || (auto && !wider) {
            let name = String::from_utf8_lossy(&line.name);
            if !self.remember([name.as_ref()]) {
                notices.push(Notice::TooManyNames);
            }
            return Some(line);
        }
        // What other hosts rely on stays with the browser, and then its copy must pass, well-known or not.
        if line.http_only || auto {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            if left.len() < REMEMBERED && left.insert(folded) {
                let name = String::from_utf8_lossy(&line.name).into_owned();
                notices.push(Notice::Unarmoured {
                    name,
                    wider_domain: wider,
                });
            }
        }
        None
    }
}

/// The names in a vault, folded when one is first asked for: a request with no cookie but ours asks for none.
struct Own<'v> {
    vault: Option<&'v Vault>,
    folded: OnceCell<HashSet<String>>,
}

impl<'v> Own<'v> {
    const fn of(vault: Option<&'v Vault>) -> Self {
        Self {
            vault,
            folded: OnceCell::new(),
        }
    }

    fn contains(&self, folded: &str) -> bool {
        let names = || self.vault.into_iter().flat_map(Vault::names);
        self.folded
            .get_or_init(|| names().map(spelling::fold).collect())
            .contains(folded)
    }
}

/// Appends one pair to a Cookie field.
fn join(field: &mut Vec<u8>, pair: &[&[u8]]) {
    if !field.is_empty() {
        field.extend_from_slice(b"; ");
    }
    for part in pair {
        field.extend_from_slice(part);
    }
}

enum Pair {
    Passes,
    Ours,
    Dropped,
    Stale(String),
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Adds the lines that make a browser forget its own copies of armoured cookies.
///
/// Which path and domain the copy has is not known; the usual ones are `/` and this host, with and without
/// its sub-domains.
pub fn expire(headers: &mut HeaderMap, stale: &[String], host: &str, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    for name in stale.iter().take(EXPIRED_AT_ONCE) {
        let host_only = format!("{name}=; Path=/; Max-Age=0; HttpOnly{secure}");
        let domain = format!("{name}=; Path=/; Domain={host}; Max-Age=0; HttpOnly{secure}");
        for line in [host_only, domain] {
            if let Ok(line) = HeaderValue::from_str(&line) {
                headers.append(SET_COOKIE, line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
