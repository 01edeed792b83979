//! What a configuration must fulfil before a gateway starts on it.
//!
//! A refusal names the key, the value and the way out. Nothing is corrected silently: a value that
//! weakens protection and is quietly replaced teaches nobody.

mod assertion;
mod findings;
mod terms;

use wirebound::{Control, Lifetime};

use self::findings::{Findings, quoted};
pub use self::terms::{
    StoreUrl, VouchPath, identity_aliases, moment, role_named, upstream_authority,
};

use super::units::lifetime_text;
use super::{BoundToIp, Config, ConfigError, ListenKind, Preset, SameSite};

/// Fewer random bytes than this could be guessed by somebody patient.
const LEAST_TOKEN_BYTES: u32 = 32;

/// The most random bytes: the engine's secret is this long.
const MOST_TOKEN_BYTES: u32 = 32;

/// A copied secret must go stale within this.
const MOST_EXPIRY_SECONDS: u64 = 30 * 24 * 3600;

/// Fewer guests than one browser with many tabs may make.
const FEWEST_GUESTS: u32 = 16;
/// The longest that a superseded ticket is good.
const LEAST_ADVANCE: Lifetime = Lifetime::from_secs(30);
/// Longer than this, a session is an account.
const MOST_ABSOLUTE: Lifetime = Lifetime::from_days(400);

impl Config {
    /// Checks every rule; to be called once, at start-up.
    ///
    /// # Errors
    ///
    /// All that is wrong, not only the first. The place in each is [`Place::Default`](super::Place::Default);
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
        self.check_assertion(&mut found);
        self.check_arrival(&mut found);
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
                    "let clients reach this listener directly (`edge`, with a TCP load balancer if need be), or use \
                     `--preset portable`",
                ),
                Preset::Portable | Preset::Bearer => {}
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
        let over_tls = self
            .upstream
            .url
            .as_deref()
            .is_some_and(|url| url.starts_with("https://"));
        if let Some(ca) = self.upstream.ca.as_deref().filter(|_| !over_tls) {
            found.refuse(
                "upstream.ca",
                quoted(&ca.display().to_string()),
                "upstream.url is not https://, so nobody's word is asked for",
                "write upstream.url as https://HOST:PORT, or leave upstream.ca out",
            );
        }
        if let Err(why) = identity_aliases(&self.upstream.identity_aliases) {
            found.refuse(
                "upstream.identity_aliases",
                quoted(&self.upstream.identity_aliases.join(",")),
                why,
                "name fields such as `Remote-User` or `X-Auth-Request-User`",
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
        if session.advance_interval < LEAST_ADVANCE {
            found.refuse(
                "session.advance_interval",
                quoted(&lifetime_text(session.advance_interval)),
                "a ticket is good for up to 30s after it was superseded; faster, several would be on their way at once",
                "use 30s or more, or `session.advance = \"get\"`",
            );
        }
        if ![401, 404].contains(&session.out_of_sequence_status) {
            found.refuse(
                "session.out_of_sequence_status",
                session.out_of_sequence_status,
                "it is none of the two answers that tell nothing",
                "use 404, the default, or 401",
            );
        }
        for name in &session.shadow {
            if !Control::ALL.iter().any(|control| control.name() == name) {
                let known = Control::ALL.map(Control::name).join("`, `");
                found.refuse(
                    "session.shadow",
                    quoted(name),
                    "there is no such control",
                    &format!("use any of `{known}`"),
                );
            }
        }
        for (key, value) in [
            ("session.idle_timeout", session.idle()),
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
        if session.idle() > session.absolute_timeout {
            found.refuse(
                "session.idle_timeout",
                quoted(&lifetime_text(session.idle())),
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
        if token.bound_to_ip != BoundToIp::Off && listen.kind == Some(ListenKind::Behind) {
            found.refuse(
                "session_token.bound_to_ip",
                "on a listener behind a proxy",
                "the address that it would hold is the proxy's",
                "leave it `off`, the default",
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
        if !token.rotation_on_privilege_escalation && danger.keep_secret_on_privilege_escalation {
            found.not_yet(
                "session_token.rotation_on_privilege_escalation",
                false,
                "an elevated role is in force once its new secret is shown; one that stays would raise every copy of it as well",
                "use `true`, the default",
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
        if self.armour.max_guests < FEWEST_GUESTS {
            found.refuse(
                "armour.max_guests",
                self.armour.max_guests,
                "a handful of visitors would displace each other",
                "use 16 or more; the default is 100000",
            );
        }
        found.positive("armour.guest_idle", self.armour.guest_idle);
        if let Some(text) = &self.armour.import_until {
            if moment(text).is_none() {
                found.refuse(
                    "armour.import_until",
                    quoted(text),
                    "it is no date and no moment as RFC 3339 writes them",
                    "write for example 2027-01-31 or 2027-01-31T18:00:00Z",
                );
            } else if names.is_empty() {
                found.refuse(
                    "armour.import_until",
                    quoted(text),
                    "no cookie is armoured, so none could be taken in",
                    "add `--armour auto`, or leave it out",
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

    fn check_arrival(&self, found: &mut Findings) {
        for path in &self.arrival.cross_site_post {
            found.path("arrival.cross_site_post", path);
            if path.starts_with("/.wirebound/") {
                found.refuse(
                    "arrival.cross_site_post",
                    quoted(path),
                    "nobody else's form may reach the gateway's own pages",
                    "name paths of the app",
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
            if let Some(scope) = &route.scope {
                let key = format!("routes[{index}].scope");
                if wirebound::KeyScopes::new([scope]).is_err() {
                    found.refuse(
                        &key,
                        quoted(scope),
                        "it is no scope: 1 to 64 of a-z, 0-9, `.`, `_`, `:` and `-`",
                        "write for example `orders:read`",
                    );
                }
                if route.public || route.role.is_some() || route.strength.is_some() {
                    found.refuse(
                        &key,
                        quoted(scope),
                        "the same route asks for a session, or for nothing; a key is never taken for a session",
                        "give machines a path of their own",
                    );
                }
            }
            if route.public && (route.role.is_some() || route.strength.is_some()) {
                found.refuse(
                    &format!("routes[{index}].public"),
                    true,
                    "the same route asks for a role or a strength",
                    "drop `public`, or drop `role` and `strength`",
                );
            }
            if route.title.is_some() && !route.listed {
                found.refuse(
                    &format!("routes[{index}].title"),
                    quoted(route.title.as_deref().unwrap_or_default()),
                    "the route is not listed, so nobody would see it",
                    "add `listed = true`, or drop `title`",
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

#[cfg(test)]
mod tests;
