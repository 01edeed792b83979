//! A jar of cookies, as a thief carries it off: read from a browser, given to another client.
//!
//! It follows RFC 6265 as far as a client that wants in would: domain, path, Secure and deletion. It
//! keeps no rule that only protects the owner (HttpOnly, SameSite).

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The host, or the domain without a leading dot.
    pub domain: String,
    /// Whether it is sent to that host alone.
    pub host_only: bool,
    /// The path prefix that it is sent to.
    pub path: String,
    /// Whether it is sent over TLS only.
    pub secure: bool,
    /// Whether scripts cannot read it.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`, where it was said.
    pub same_site: Option<String>,
    /// Seconds since 1970; none for a cookie of the browser's session.
    pub expires: Option<i64>,
}

impl Cookie {
    /// Reads a cookie as the DevTools protocol writes it.
    #[must_use]
    pub fn from_cdp(cookie: &Value) -> Option<Self> {
        let domain = cookie["domain"].as_str()?;
        let expires = cookie["expires"]
            .as_f64()
            .filter(|e| *e > 0.0)
            .map(|e| e as i64);
        Some(Self {
            name: cookie["name"].as_str()?.to_owned(),
            value: cookie["value"].as_str()?.to_owned(),
            domain: domain.trim_start_matches('.').to_owned(),
            host_only: !domain.starts_with('.'),
            path: cookie["path"].as_str().unwrap_or("/").to_owned(),
            secure: cookie["secure"].as_bool().unwrap_or(false),
            http_only: cookie["httpOnly"].as_bool().unwrap_or(false),
            same_site: cookie["sameSite"].as_str().map(str::to_owned),
            expires,
        })
    }

    /// Writes it as the DevTools protocol's `CookieParam`.
    #[must_use]
    pub fn to_cdp(&self) -> Value {
        let mut cookie = json!({
            "name": self.name, "value": self.value, "path": self.path,
            "secure": self.secure, "httpOnly": self.http_only,
        });
        // A `domain` would make it a domain cookie, which a `__Host-` name must not be.
        if self.host_only {
            let scheme = if self.secure { "https" } else { "http" };
            cookie["url"] = json!(format!("{scheme}://{}{}", self.domain, self.path));
        } else {
            cookie["domain"] = json!(format!(".{}", self.domain));
        }
        if let Some(same_site) = &self.same_site {
            cookie["sameSite"] = json!(same_site);
        }
        if let Some(expires) = self.expires {
            cookie["expires"] = json!(expires);
        }
        cookie
    }

    /// Reads a cookie as Marionette writes it.
    #[must_use]
    pub fn from_marionette(cookie: &Value) -> Option<Self> {
        let mut read = Self::from_cdp(cookie)?;
        read.expires = cookie["expiry"].as_i64();
        Some(read)
    }

    /// Reads a `Set-Cookie` field; the second value says that it deletes.
    fn from_set_cookie(field: &str, host: &str, now: i64) -> Option<(Self, bool)> {
        let mut parts = field.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let mut cookie = Self {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            domain: host.to_owned(),
            host_only: true,
            path: "/".to_owned(),
            secure: false,
            http_only: false,
            same_site: None,
            expires: None,
        };
        let mut deletes = false;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "domain" if !value.is_empty() => {
                    value.trim_start_matches('.').clone_into(&mut cookie.domain);
                    cookie.host_only = false;
                }
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "samesite" => cookie.same_site = Some(value.to_owned()),
                "max-age" => {
                    let age = value.parse::<i64>().unwrap_or(0);
                    deletes = age <= 0;
                    cookie.expires = Some(now.saturating_add(age));
                }
                // Deletion is written with the year 1970 by everybody; a later date is kept as
                // "of this session", which lasts longer than any test.
                "expires" if value.contains("1970") => deletes = true,
                _ => {}
            }
        }
        Some((cookie, deletes))
    }

    fn is_for(&self, host: &str, path: &str, tls: bool) -> bool {
        let domain = host == self.domain
            || (!self.host_only
                && host
                    .strip_suffix(&self.domain)
                    .is_some_and(|rest| rest.ends_with('.')));
        let below = path.strip_prefix(&self.path).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        });
        domain && below && (tls || !self.secure)
    }
}

/// Cookies of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jar {
    cookies: Vec<Cookie>,
}

impl Jar {
    /// A jar of these cookies.
    #[must_use]
    pub fn new(cookies: Vec<Cookie>) -> Self {
        Self { cookies }
    }

    /// All cookies.
    #[must_use]
    pub fn cookies(&self) -> &[Cookie] {
        &self.cookies
    }

    /// The cookie of this name, if there is one.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Cookie> {
        self.cookies.iter().find(|c| c.name == name)
    }

    /// Only what would be sent to `host`.
    #[must_use]
    pub fn of_host(&self, host: &str) -> Self {
        let fits = |c: &&Cookie| c.is_for(host, &c.path, true);
        Self {
            cookies: self.cookies.iter().filter(fits).cloned().collect(),
        }
    }

    /// The `Cookie` field for a request, or none where no cookie fits.
    #[must_use]
    pub fn field(&self, host: &str, path: &str, tls: bool) -> Option<String> {
        let fit = self.cookies.iter().filter(|c| c.is_for(host, path, tls));
        let text = fit
            .map(|c| format!("{}={}", c.name, c.value))
            .collect::<Vec<_>>()
            .join("; ");
        (!text.is_empty()).then_some(text)
    }

    /// Takes a `Set-Cookie` field from `host`, at `now` (seconds since 1970). What cannot be read is
    /// dropped, as clients do.
    pub fn take(&mut self, field: &str, host: &str, now: i64) {
        let Some((cookie, deletes)) = Cookie::from_set_cookie(field, host, now) else {
            return;
        };
        let same = |c: &Cookie| {
            c.name == cookie.name && c.domain == cookie.domain && c.path == cookie.path
        };
        self.cookies.retain(|c| !same(c));
        if !deletes {
            self.cookies.push(cookie);
        }
    }

    /// The Netscape format, as curl reads it. Field by field: domain, whether hosts below it count,
    /// path, secure, expiry (0: of this session), name, value.
    #[must_use]
    pub fn netscape(&self) -> String {
        let mut text = String::from("# Netscape HTTP Cookie File\n");
        let yes = |b: bool| if b { "TRUE" } else { "FALSE" };
        for c in &self.cookies {
            let mark = if c.http_only { "#HttpOnly_" } else { "" };
            let dot = if c.host_only { "" } else { "." };
            let _written = writeln!(
                text,
                "{mark}{dot}{}\t{}\t{}\t{}\t{}\t{}\t{}",
                c.domain,
                yes(!c.host_only),
                c.path,
                yes(c.secure),
                c.expires.unwrap_or(0),
                c.name,
                c.value
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(fields: &[&str]) -> Jar {
        let mut jar = Jar::default();
        for field in fields {
            jar.take(field, "a.test", 1_000);
        }
        jar
    }

    #[test]
    fn a_cookie_goes_only_where_it_belongs() {
        let jar = taken(&["a=1; Secure; Path=/", "b=2; Domain=.test", "c=3; Path=/x"]);
        assert_eq!(jar.field("a.test", "/", true).as_deref(), Some("a=1; b=2"));
        assert_eq!(jar.field("a.test", "/", false).as_deref(), Some("b=2"));
        assert_eq!(
            jar.field("a.test", "/x/y", false).as_deref(),
            Some("b=2; c=3")
        );
        assert_eq!(jar.field("a.test", "/xy", false).as_deref(), Some("b=2"));
        assert_eq!(jar.field("b.test", "/", true).as_deref(), Some("b=2"));
        assert_eq!(jar.field("best", "/", true), None);
    }

    #[test]
    fn a_cookie_is_replaced_and_deleted_by_its_name() {
        let jar = taken(&["a=1", "a=2"]);
        assert_eq!(jar.field("a.test", "/", true).as_deref(), Some("a=2"));
        assert_eq!(taken(&["a=1", "a=; Max-Age=0"]), Jar::default());
        assert_eq!(
            taken(&["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]),
            Jar::default()
        );
        assert_eq!(taken(&["nonsense"]), Jar::default());
    }

    #[test]
    fn what_the_browser_exports_comes_back_the_same() {
        let jar = taken(&[
            "__Host-a=1; Secure; HttpOnly; Path=/; SameSite=Strict",
            "b=2; Domain=test",
        ]);
        for cookie in jar.cookies() {
            let mut exported = cookie.to_cdp();
            if cookie.host_only {
                exported["domain"] = json!(cookie.domain);
            }
            assert_eq!(Cookie::from_cdp(&exported).as_ref(), Some(cookie));
        }
    }

    #[test]
    fn curl_gets_one_line_a_cookie() {
        let jar = taken(&["a=1; Secure; HttpOnly", "b=2; Domain=test; Max-Age=5"]);
        assert_eq!(
            jar.netscape(),
            "# Netscape HTTP Cookie File\n\
             #HttpOnly_a.test\tFALSE\t/\tTRUE\t0\ta\t1\n\
             .test\tTRUE\t/\tFALSE\t1005\tb\t2\n"
        );
    }
}
