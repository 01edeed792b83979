//! What a configuration must fulfil before a gateway starts on it.
//!
//! A refusal names the key, the value and the way out. Nothing is corrected silently: a value that
//! weakens protection and is quietly replaced teaches nobody.

use http::Uri;
use wirebound::{Lifetime, Role};

use super::units::lifetime_text;
use super::{BoundToIp, Config, ConfigError, ListenKind, Place, Preset, SameSite};

/// Fewer random bytes than this could be guessed by somebody patient.
const LEAST_TOKEN_BYTES: u32 = 32;

/// The most random bytes: the engine's secret is this long.
const MOST_TOKEN_BYTES: u32 = 32;

/// A copied secret must go stale within this.
const MOST_EXPIRY_SECONDS: u64 = 30 * 24 * 3600;

/// Longer than this, a session is an account.
const MOST_ABSOLUTE: Lifetime = Lifetime::from_days(400);

impl Config {
    /// Checks every rule; to be called once, at start-up.
    ///
    /// # Errors
    ///
    /// All that is wrong, not only the first. The place in each is [`Place::Default`];
    /// [`Loaded::check`](super::Loaded::check) fills it in.
    pub fn check(&self) -> Result<(), Vec<ConfigError>> {
        let mut found = Findings::default();
        self.check_listen(&mut found);
        self.check_tls(&mut found);
        self.check_upstream(&mut found);
        self.check_session(&mut found);
        self.check_token(&mut found);
        self.check_armour(&mut found);
        self.check_vouch(&mut found);
        self.check_routes(&mut found);
        self.check_limits(&mut found);
        self.check_store(&mut found);
        if found.0.is_empty() {
            Ok(())
        } else {
            Err(found.0)
        }
    }

    fn check_listen(&self, found: &mut Findings) {
        let Self {
            listen, session, ..
        } = self;
        if !listen.addr.ip().is_loopback() && listen.kind.is_none() {
            found.refuse(
                "listen.addr",
                listen.addr,
                "it is not loopback, so it must be said whether the peers are clients or a proxy",
                "set `listen.kind = \"edge\"` (`--listen-kind edge`) if clients connect directly; behind a proxy \
                 that ends TLS a connection proves nothing",
            );
        }
        if listen.kind == Some(ListenKind::Behind) {
            match session.preset {
                Preset::Strict | Preset::Balanced => found.refuse(
                    "listen.kind",
                    "\"behind\"",
                    "the presets `strict` and `balanced` trust connections, and behind a proxy one connection carries many people",
                    "let clients reach this listener directly (`edge`, with a TCP load balancer if need be)",
                ),
                Preset::Portable | Preset::Bearer => found.not_yet(
                    "listen.kind",
                    "\"behind\"",
                    "the presets that work behind a proxy are not there yet",
                    "let clients reach this listener directly (`edge`)",
                ),
            }
        }
    }

    fn check_tls(&self, found: &mut Findings) {
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => found.missing(
                "tls.key",
                "a certificate needs its private key",
                "add `--key FILE`, or leave both out and a local authority is made",
            ),
            (None, Some(_)) => found.missing(
                "tls.cert",
                "a private key needs its certificate",
                "add `--cert FILE`, or leave both out and a local authority is made",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn check_upstream(&self, found: &mut Findings) {
        if let Some(url) = &self.upstream.url
            && let Err(why) = upstream_authority(url)
        {
            found.refuse(
                "upstream.url",
                quoted(url),
                why,
                "write it as http://HOST:PORT, for example --upstream http://127.0.0.1:3000",
            );
        }
        for (key, value) in [
            ("upstream.connect_timeout", self.upstream.connect_timeout),
            ("upstream.response_timeout", self.upstream.response_timeout),
        ] {
            found.positive(key, value);
        }
    }

    fn check_session(&self, found: &mut Findings) {
        let session = &self.session;
        let preset = match session.preset {
            Preset::Strict => None,
            Preset::Balanced => Some("balanced"),
            Preset::Portable => Some("portable"),
            Preset::Bearer => Some("bearer"),
        };
        if let Some(name) = preset {
            found.not_yet(
                "session.preset",
                quoted(name),
                "only `strict` exists so far",
                "use `--preset strict`, or leave it out",
            );
        }
        for (key, value) in [
            ("session.idle_timeout", session.idle_timeout),
            ("session.absolute_timeout", session.absolute_timeout),
            ("session.identity_lifetime", session.identity_lifetime),
            ("session.admin_role_lifetime", session.admin_role_lifetime),
            ("session.sweep_interval", session.sweep_interval),
            ("session.freeze_window", session.freeze_window),
        ] {
            found.positive(key, value);
        }
        if session.absolute_timeout > MOST_ABSOLUTE {
            found.refuse(
                "session.absolute_timeout",
                quoted(&lifetime_text(session.absolute_timeout)),
                "a session that outlives a year is an account without a login",
                "use 400d or less",
            );
        }
        if session.idle_timeout > session.absolute_timeout {
            found.refuse(
                "session.idle_timeout",
                quoted(&lifetime_text(session.idle_timeout)),
                "it is longer than `session.absolute_timeout`, so it would never apply",
                "make it shorter, or `session.absolute_timeout` longer",
            );
        }
        if session.max_wires == 0 {
            found.refuse(
                "session.max_wires",
                0,
                "a session without a connection cannot be used",
                "use 1 or more",
            );
        }
        for (role, limit) in &session.max_sessions {
            found.role(&format!("session.max_sessions.{role}"), role);
            if limit.max == 0 {
                let key = format!("session.max_sessions.{role}.max");
                found.refuse(
                    &key,
                    0,
                    "nobody could sign in with this role",
                    "use 1 or more",
                );
            }
        }
    }

    fn check_token(&self, found: &mut Findings) {
        let Self {
            session_token: token,
            danger,
            listen,
            ..
        } = self;
        if token.length_bytes < LEAST_TOKEN_BYTES {
            found.refuse(
                "session_token.length_bytes",
                token.length_bytes,
                "fewer than 32 random bytes",
                "use 32, the default",
            );
        }
        if token.length_bytes > MOST_TOKEN_BYTES {
            found.not_yet(
                "session_token.length_bytes",
                token.length_bytes,
                "secrets are 32 bytes long, and nobody can guess those",
                "use 32, the default",
            );
        }
        if token.storage != "httponly_cookie" {
            found.refuse(
                "session_token.storage",
                quoted(&token.storage),
                "what a script can read, an injected script can send away",
                "use `httponly_cookie`, the default",
            );
        }
        if token.expiry_seconds == 0 || token.expiry_seconds > MOST_EXPIRY_SECONDS {
            found.refuse(
                "session_token.expiry_seconds",
                token.expiry_seconds,
                "a copy that lies about must go stale, within 30 days at most",
                "use 3600, the default, or anything from 1 to 2592000",
            );
        }
        if !token.rotation_on_privilege_escalation && !danger.keep_secret_on_privilege_escalation {
            found.refuse(
                "session_token.rotation_on_privilege_escalation",
                false,
                "a secret known before a sign-in would be worth more after it",
                "use `true`, the default, or accept it with `danger.keep_secret_on_privilege_escalation = true`",
            );
        }
        if token.bound_to_ip != BoundToIp::Off {
            let name = match token.bound_to_ip {
                BoundToIp::Off => "off",
                BoundToIp::Log => "log",
                BoundToIp::Prefix => "prefix",
                BoundToIp::Exact => "exact",
            };
            found.not_yet(
                "session_token.bound_to_ip",
                quoted(name),
                "only `off` exists so far; `strict` binds to the connection itself, which is more",
                "use `off`, the default",
            );
        }
        if !token.secure_flag && !listen.addr.ip().is_loopback() {
            found.refuse(
                "session_token.secure_flag",
                false,
                format!(
                    "the listener {} is not loopback, and the cookie would travel in the clear",
                    listen.addr
                ),
                "use `true`, the default, or listen on 127.0.0.1",
            );
        }
        if token.samesite == SameSite::None && !danger.samesite_none {
            found.refuse(
                "session_token.samesite",
                "\"None\"",
                "every site could make the browser send the cookie",
                "use `Strict`, the default, or accept it with `danger.samesite_none = true`",
            );
        }
    }

    fn check_armour(&self, found: &mut Findings) {
        let names = &self.armour.cookies;
        if names.is_auto() && names.iter().count() > 1 {
            let all: Vec<_> = names.iter().collect();
            found.refuse(
                "armour.cookies",
                quoted(&all.join(",")),
                "`auto` already means every HttpOnly cookie",
                "name `auto` alone, or names and globs without it",
            );
        }
        for name in names.iter() {
            if let Err(error) = globset::Glob::new(name) {
                found.refuse(
                    "armour.cookies",
                    quoted(name),
                    error.kind().to_string(),
                    "write a name, or a glob such as `auth_*`",
                );
            } else if name.is_empty()
                || name
                    .bytes()
                    .any(|byte| byte.is_ascii_whitespace() || b"=;,\"".contains(&byte))
            {
                found.refuse(
                    "armour.cookies",
                    quoted(name),
                    "no cookie has such a name",
                    "write the name as it stands before the `=`",
                );
            } else if name.starts_with("__Host-wirebound") {
                found.refuse(
                    "armour.cookies",
                    quoted(name),
                    "it is one of our own cookies",
                    "name cookies of the app",
                );
            }
        }
        if let Some(path) = &self.armour.login.path {
            found.path("armour.login.path", path);
        }
    }

    fn check_vouch(&self, found: &mut Findings) {
        for entry in &self.vouch.paths {
            if VouchPath::parse(entry).is_none() {
                found.refuse(
                    "vouch.paths",
                    quoted(entry),
                    "it is no method and path",
                    "write the method, one space and the exact path, for example `POST /login`",
                );
            }
        }
        found.role("vouch.max_role", &self.vouch.max_role);
        if let Some(url) = &self.login.url {
            let is_path = url.starts_with('/') && !url.starts_with("//") && !url.contains('\\');
            if !is_path && !url.starts_with("https://") {
                found.refuse(
                    "login.url",
                    quoted(url),
                    "it is neither a path nor an https address",
                    "write a path such as /login",
                );
            }
        }
    }

    fn check_routes(&self, found: &mut Findings) {
        for (index, route) in self.routes.iter().enumerate() {
            found.path(&format!("routes[{index}].path"), &route.path);
            if let Some(role) = &route.role {
                found.role(&format!("routes[{index}].role"), role);
            }
            if route.public && (route.role.is_some() || route.strength.is_some()) {
                found.refuse(
                    &format!("routes[{index}].public"),
                    true,
                    "the same route asks for a role or a strength",
                    "drop `public`, or drop `role` and `strength`",
                );
            }
            if self
                .routes
                .iter()
                .take(index)
                .any(|earlier| earlier.path == route.path)
            {
                found.refuse(
                    &format!("routes[{index}].path"),
                    quoted(&route.path),
                    "an earlier route has the same path, and only one can decide",
                    "keep one of the two",
                );
            }
        }
    }

    fn check_limits(&self, found: &mut Findings) {
        let limits = &self.limits;
        for (key, value) in [
            ("limits.handshake_timeout", limits.handshake_timeout),
            ("limits.header_timeout", limits.header_timeout),
            ("limits.body_idle", limits.body_idle),
            ("limits.stream_idle", limits.stream_idle),
            ("limits.connection_idle", limits.connection_idle),
        ] {
            found.positive(key, value);
        }
        for (key, value) in [
            ("limits.header_count", limits.header_count),
            ("limits.max_connections", limits.max_connections),
            (
                "limits.max_connections_per_address",
                limits.max_connections_per_address,
            ),
            ("limits.max_streams", limits.max_streams),
        ] {
            if value == 0 {
                found.refuse(key, 0, "nothing could be served", "use 1 or more");
            }
        }
        // hyper needs 8 KiB to read a head at all.
        if limits.header_size.as_bytes() < 8192 {
            found.refuse(
                "limits.header_size",
                quoted(&limits.header_size.to_string()),
                "ordinary requests would not fit",
                "use 8KiB or more",
            );
        }
    }

    fn check_store(&self, found: &mut Findings) {
        if let Some(url) = &self.store.url {
            match StoreUrl::parse(url) {
                Some(StoreUrl::File(_) | StoreUrl::Memory) => {}
                None if url.starts_with("redis") || url.starts_with("valkey") => found.not_yet(
                    "store.url",
                    quoted(url),
                    "several nodes over Redis or Valkey come later",
                    "use `file:sessions`, the default",
                ),
                None => found.refuse(
                    "store.url",
                    quoted(url),
                    "it is neither `file:PATH` nor `memory:`",
                    "use `file:sessions`, the default",
                ),
            }
        }
        if let Err(error) = self.log.filter.parse::<tracing_subscriber::EnvFilter>() {
            found.refuse(
                "log.filter",
                quoted(&self.log.filter),
                error.to_string(),
                "write a level such as `info`",
            );
        }
    }
}

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

/// `HOST:PORT` of an `http://` address without anything else.
///
/// # Errors
///
/// What is wrong with it.
pub fn upstream_authority(url: &str) -> Result<http::uri::Authority, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no address")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("TLS to the app is not there yet"),
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

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\\*".contains(&byte))
        && !path
            .split('/')
            .any(|segment| segment == "." || segment == "..")
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[derive(Default)]
struct Findings(Vec<ConfigError>);

impl Findings {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts read better without a borrow at forty calls"
    )]
    fn refuse(&mut self, key: &str, value: impl ToString, why: impl Into<String>, hint: &str) {
        self.0.push(ConfigError::Refused {
            key: key.to_owned(),
            value: value.to_string(),
            why: why.into(),
            hint: hint.to_owned(),
            place: Place::Default,
        });
    }

    #[expect(clippy::needless_pass_by_value, reason = "as in `refuse`")]
    fn not_yet(&mut self, key: &str, value: impl ToString, why: &str, hint: &str) {
        self.0.push(ConfigError::NotYet {
            key: key.to_owned(),
            value: value.to_string(),
            why: why.to_owned(),
            hint: hint.to_owned(),
            place: Place::Default,
        });
    }

    fn missing(&mut self, key: &str, why: &str, hint: &str) {
        self.0.push(ConfigError::Missing {
            key: key.to_owned(),
            why: why.to_owned(),
            hint: hint.to_owned(),
        });
    }

    fn positive(&mut self, key: &str, value: Lifetime) {
        if value == Lifetime::ZERO {
            self.refuse(
                key,
                "\"0s\"",
                "it would be over before it began",
                "use a length of time such as 30s",
            );
        }
    }

    fn role(&mut self, key: &str, name: &str) {
        if role_named(name).is_none() {
            self.not_yet(
                key,
                quoted(name),
                "roles are `guest`, `user` and `admin` so far",
                "use one of these three",
            );
        }
    }

    fn path(&mut self, key: &str, path: &str) {
        if !is_plain_path(path) {
            self.refuse(
                key,
                quoted(path),
                "it is no plain path",
                "write it from the root, for example /admin",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use std::path::Path;

    fn problems(text: &str) -> Vec<String> {
        let loaded = load(Sources::new(
            Some((Path::new("w.toml"), text)),
            &[],
            Vec::new(),
        ))
        .unwrap();
        loaded
            .check()
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_default_is_good() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn what_weakens_protection_is_refused_with_key_and_line() {
        for (text, start) in [
            (
                "[session_token]\nlength_bytes = 31",
                "w.toml:2: session_token.length_bytes = 31 is refused",
            ),
            (
                "[session_token]\nlength_bytes = 64",
                "w.toml:2: session_token.length_bytes = 64 is not there yet",
            ),
            (
                "[session_token]\nstorage = \"local_storage\"",
                "w.toml:2: session_token.storage = \"local_storage\" is refused",
            ),
            (
                "[session_token]\nexpiry_seconds = 0",
                "w.toml:2: session_token.expiry_seconds = 0 is refused",
            ),
            (
                "[session_token]\nexpiry_seconds = 2592001",
                "w.toml:2: session_token.expiry_seconds = 2592001 is refused",
            ),
            (
                "[session_token]\nrotation_on_privilege_escalation = false",
                "w.toml:2: session_token.rotation_on_privilege_escalation = false is refused",
            ),
            (
                "[session_token]\nbound_to_ip = \"prefix\"",
                "w.toml:2: session_token.bound_to_ip = \"prefix\" is not there yet",
            ),
            (
                "[session_token]\nsamesite = \"None\"",
                "w.toml:2: session_token.samesite = \"None\" is refused",
            ),
            (
                "[session_token]\nsecure_flag = false\n[listen]\naddr = \"192.0.2.1:443\"\nkind = \"edge\"",
                "w.toml:2: session_token.secure_flag = false is refused",
            ),
            (
                "[listen]\naddr = \"0.0.0.0:443\"",
                "w.toml:2: listen.addr = 0.0.0.0:443 is refused: it is not loopback",
            ),
            (
                "[listen]\nkind = \"behind\"",
                "w.toml:2: listen.kind = \"behind\" is refused: the presets",
            ),
            (
                "[session]\npreset = \"balanced\"",
                "w.toml:2: session.preset = \"balanced\" is not there yet: only `strict`",
            ),
            (
                "[session]\nidle_timeout = \"15d\"",
                "w.toml:2: session.idle_timeout = \"15d\" is refused",
            ),
            (
                "[session]\nidle_timeout = \"0s\"",
                "w.toml:2: session.idle_timeout = \"0s\" is refused",
            ),
            (
                "[session]\nabsolute_timeout = \"500d\"",
                "w.toml:2: session.absolute_timeout = \"500d\" is refused",
            ),
            (
                "[session]\nmax_wires = 0",
                "w.toml:2: session.max_wires = 0 is refused",
            ),
            (
                "[session.max_sessions.admin]\nmax = 0",
                "w.toml:2: session.max_sessions.admin.max = 0 is refused",
            ),
            (
                "[session.max_sessions.root]\nmax = 1",
                "w.toml:1: session.max_sessions.root = \"root\" is not there yet",
            ),
            ("[tls]\ncert = \"a.pem\"", "tls.key is not set"),
            ("[tls]\nkey = \"a.key\"", "tls.cert is not set"),
            (
                "[upstream]\nurl = \"http://a:1/x\"",
                "w.toml:2: upstream.url = \"http://a:1/x\" is refused",
            ),
            (
                "[upstream]\nurl = \"http://u@a:1\"",
                "w.toml:2: upstream.url = \"http://u@a:1\" is refused",
            ),
            (
                "[upstream]\nurl = \"127.0.0.1:3000\"",
                "w.toml:2: upstream.url = ",
            ),
            (
                "[armour]\ncookies = [\"auto\", \"x\"]",
                "w.toml:2: armour.cookies = \"auto,x\" is refused",
            ),
            (
                "[armour]\ncookies = \"a b\"",
                "w.toml:2: armour.cookies = \"a b\" is refused",
            ),
            (
                "[armour]\ncookies = \"[\"",
                "w.toml:2: armour.cookies = \"[\" is refused",
            ),
            (
                "[armour.login]\npath = \"login\"",
                "w.toml:2: armour.login.path = \"login\" is refused",
            ),
            (
                "[vouch]\npaths = [\"/login\"]",
                "w.toml:2: vouch.paths = \"/login\" is refused",
            ),
            (
                "[vouch]\nmax_role = \"god\"",
                "w.toml:2: vouch.max_role = \"god\" is not there yet",
            ),
            (
                "[login]\nurl = \"//evil.example\"",
                "w.toml:2: login.url = \"//evil.example\" is refused",
            ),
            (
                "[[routes]]\npath = \"/a/../b\"",
                "w.toml:2: routes[0].path = \"/a/../b\" is refused",
            ),
            (
                "[[routes]]\npath = \"/a\"\npublic = true\nrole = \"user\"",
                "w.toml:3: routes[0].public = true is refused",
            ),
            (
                "[[routes]]\npath = \"/a\"\n[[routes]]\npath = \"/a\"",
                "w.toml:4: routes[1].path = \"/a\" is refused",
            ),
            (
                "[limits]\nheader_size = \"1KiB\"",
                "w.toml:2: limits.header_size = \"1KiB\" is refused",
            ),
            (
                "[limits]\nmax_streams = 0",
                "w.toml:2: limits.max_streams = 0 is refused",
            ),
            (
                "[store]\nurl = \"redis://a\"",
                "w.toml:2: store.url = \"redis://a\" is not there yet",
            ),
            (
                "[store]\nurl = \"sessions\"",
                "w.toml:2: store.url = \"sessions\" is refused",
            ),
            (
                "[log]\nfilter = \"a=b=c\"",
                "w.toml:2: log.filter = \"a=b=c\" is refused",
            ),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found.first().unwrap().starts_with(start), "{found:?}");
        }
    }

    #[test]
    fn danger_by_name_and_honest_values_pass() {
        for text in [
            "[session_token]\nsamesite = \"None\"\n[danger]\nsamesite_none = true",
            "[session_token]\nrotation_on_privilege_escalation = false\n[danger]\nkeep_secret_on_privilege_escalation = true",
            "[session_token]\nsecure_flag = false",
            "[listen]\naddr = \"0.0.0.0:443\"\nkind = \"edge\"",
            "[upstream]\nurl = \"http://127.0.0.1:3000\"",
            "[upstream]\nurl = \"http://[::1]:3000/\"",
            "[armour]\ncookies = \"auto\"",
            "[armour]\ncookies = [\"sessionid\", \"auth_*\"]",
            "[vouch]\npaths = [\"POST /login\"]\nmax_role = \"admin\"",
            "[store]\nurl = \"memory:\"",
            "[[routes]]\npath = \"/admin\"\nrole = \"admin\"\nstrength = \"wire\"",
        ] {
            assert_eq!(problems(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_store_is_a_file_or_memory() {
        assert_eq!(
            StoreUrl::parse("file:x/y"),
            Some(StoreUrl::File("x/y".into()))
        );
        assert_eq!(
            StoreUrl::parse("file:///x"),
            Some(StoreUrl::File("/x".into()))
        );
        assert_eq!(StoreUrl::parse("memory:"), Some(StoreUrl::Memory));
        assert_eq!(StoreUrl::parse("file:"), None);
    }
}
