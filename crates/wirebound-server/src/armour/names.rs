//! Which of an app's cookies are armoured.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::spelling;

/// Which of an app's cookies are armoured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Names {
    /// None.
    Nothing,
    /// Every HttpOnly cookie of the app, and the well-known names of sign-in cookies.
    Auto,
    /// These names; `*` and `?` stand for any letters.
    Listed(GlobSet),
}

/// A name that cannot be armoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no cookie name or pattern; write a name, with * and ? as wildcards, or `auto`"
)]
pub struct BadName {
    name: String,
}

impl Names {
    /// Reads `auto`, or names and patterns. No entry means no armour.
    ///
    /// # Errors
    ///
    /// When an entry cannot be a cookie's name.
    pub fn parse(entries: &[&str]) -> Result<Self, BadName> {
        if entries.is_empty() {
            return Ok(Self::Nothing);
        }
        if entries.contains(&"auto") {
            return Ok(Self::Auto);
        }
        globs(entries).map(Self::Listed)
    }
}

/// Patterns over folded names, so that every spelling of a name meets them.
pub(super) fn globs(entries: &[&str]) -> Result<GlobSet, BadName> {
    let mut set = GlobSetBuilder::new();
    for name in entries {
        let bad = || BadName {
            name: (*name).to_owned(),
        };
        let known = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]={}".contains(&byte);
        if name.is_empty() || !name.bytes().all(known) {
            return Err(bad());
        }
        let glob = GlobBuilder::new(&spelling::fold(name.as_bytes()))
            .build()
            .map_err(|_| bad())?;
        set.add(glob);
    }
    set.build().map_err(|_| BadName {
        name: entries.join(" "),
    })
}

/// Under `auto` these are armoured before the app has ever set them: a copy stolen before the gateway was
/// there, or right after it started, must not pass because nobody has seen the name yet.
pub(super) const WELL_KNOWN: &[&str] = &[
    "sessionid",
    "jsessionid",
    "jsessionidsso",
    "phpsessid",
    "asp.net_sessionid",
    ".aspxauth",
    ".aspnetcore.*",
    "connect.sid",
    "laravel_session",
    "_*_session",
    "session",
    "sid",
    "remember_me",
    "remember-me",
    "remember_token",
    "remember_user_token",
    "remember_web_*",
    "wordpress_logged_in_*",
    "wordpress_sec_*",
    "sess????????????????????????????????",
    "ssess????????????????????????????????",
    "*next-auth.session-token*",
    "*authjs.session-token*",
];
