//! Assertions over HTTP: made for requests that were proved, read from a cookie, and the keys that check them published.
//!
//! What is signed is what the engine says at that moment; what a cookie claims is judged by the engine once its signature
//! was found good. A token that was found good is known again on its wire by its text alone, for as long as neither the
//! keys nor what is called back have changed.

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use wirebound::engine::{Claimed, Engine, Issue};
use wirebound::revocation::Issued;
use wirebound::store::{StoreError, StoreErrorKind};
use wirebound::{Authority, Lifetime, Role, Timestamp, Verified};
use wirebound_assertion::{
    Claims, Expected, Invalid, KeySet, LEEWAY, LEEWAY_MAX, LONGEST_LIFE, Ring, Schedule, Seconds,
    check, check_origin, sign,
};

/// For how long what is called back must be remembered: the longest life, and the clocks' differences on both ends.
pub const REMEMBERED: Lifetime = Lifetime::from_secs(LONGEST_LIFE.as_secs().saturating_add(60));

/// The ring of keys, shared by those who sign, check, publish and rotate.
pub struct Keys {
    ring: Mutex<Ring>,
    schedule: Schedule,
    shown: ArcSwap<Shown>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// What the ring shows until its next change.
#[derive(Debug)]
pub struct Shown {
    /// The keys that check.
    pub set: KeySet,
    /// The document that publishes them.
    pub jwks: String,
    /// Names the document, for whoever has it already.
    pub tag: String,
    until: Timestamp,
}

impl Keys {
    /// Over a ring, as it is at this moment.
    #[must_use]
    pub fn new(ring: Ring, schedule: Schedule, now: Timestamp) -> Self {
        let shown = ArcSwap::from_pointee(show(&ring, &schedule, now));
        Self {
            ring: Mutex::new(ring),
            schedule,
            shown,
        }
    }

    /// How keys come and go.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the ring.
    pub fn look<T>(&self, with: impl FnOnce(&Ring) -> T) -> T {
        with(&self.ring())
    }

    /// Puts another ring in the place of this one: the same with a change that is kept already.
    pub fn replace(&self, ring: Ring, now: Timestamp) {
        let shown = show(&ring, &self.schedule, now);
        let mut place = self.ring();
        *place = ring;
        // Under the lock: nobody signs with a key that is not shown yet.
        self.shown.store(Arc::new(shown));
    }

    /// What checks, at this moment.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> Arc<Shown> {
        let shown = self.shown.load_full();
        if now < shown.until {
            return shown;
        }
        let ring = self.ring();
        let shown = Arc::new(show(&ring, &self.schedule, now));
        self.shown.store(Arc::clone(&shown));
        shown
    }
}

fn show(ring: &Ring, schedule: &Schedule, now: Timestamp) -> Shown {
    let jwks = ring.jwks(now).as_json().to_owned();
    let tag = blake3::hash(jwks.as_bytes()).to_hex();
    Shown {
        set: ring.key_set(now),
        tag: format!("\"{}\"", tag.get(..22).unwrap_or_default()),
        jwks,
        // Where a step is overdue, others must not look for it all the time.
        until: ring
            .due(schedule, now)
            .max(now.after(Lifetime::from_secs(1))),
    }
}

/// For whom an assertion is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each has an audience of its own")]
pub enum For {
    /// Ourselves, by way of a cookie.
    Browser,
    /// The app.
    App,
}

/// Who makes assertions, for whom, and for how long.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Assertions {
    /// The keys.
    pub keys: Keys,
    /// `iss`; nothing: `https://` and the authority that was asked for.
    pub issuer: Option<String>,
    /// `aud` of what the app gets; nothing: the issuer.
    pub audience: Option<String>,
    /// How long one is good.
    pub lifetime: Lifetime,
    /// Whether browsers get one.
    pub cookie: bool,
}

/// An assertion that was made.
#[non_exhaustive]
pub struct Made {
    /// The token.
    pub text: String,
    /// What it can be called back by.
    pub issued: Issued,
    /// When half of its life is over: make another then.
    pub renew: Timestamp,
    /// When it runs out.
    pub expires: Timestamp,
    /// Whether the session's own cookie is one that browsers keep.
    pub persistent: bool,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Made({})", self.issued.token)
    }
}

/// One that was found good on a wire.
pub struct Known {
    text: Box<[u8]>,
    keys: Arc<Shown>,
    claimed: Claimed,
    authority: Box<str>,
    from: Timestamp,
    renew: Timestamp,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({})", self.claimed.issued.token)
    }
}

impl Known {
    /// What it claims.
    #[must_use]
    pub const fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    /// Whether half of its life is over.
    #[must_use]
    pub fn is_half_over(&self, now: Timestamp) -> bool {
        now >= self.renew
    }
}

impl Assertions {
    /// Who issues, to somebody who asked this authority.
    #[must_use]
    pub fn issuer(&self, authority: &str) -> String {
        self.issuer
            .clone()
            .unwrap_or_else(|| format!("https://{}", spelled(authority)))
    }

    fn audience(&self, to: For, authority: &str) -> String {
        match to {
            // Cookies know no ports. No service is called so, so what a browser has is good for none.
            For::Browser => format!("wirebound:{}", Authority::of(authority)),
            For::App => self
                .audience
                .clone()
                .unwrap_or_else(|| self.issuer(authority)),
        }
    }

    /// Signs what the engine says of a request that was proved. `None`: nothing is issued for such a session.
    ///
    /// # Errors
    ///
    /// When the store cannot say, or the key fails.
    pub async fn make(
        &self,
        engine: &Engine,
        verified: &Verified,
        authority: &str,
        to: For,
        now: Timestamp,
    ) -> Result<Option<Made>, StoreError> {
        let Some(issue) = engine.issue(verified, now).await? else {
            return Ok(None);
        };
        self.sign(&issue, authority, to, now)
    }

    fn sign(
        &self,
        issue: &Issue,
        authority: &str,
        to: For,
        now: Timestamp,
    ) -> Result<Option<Made>, StoreError> {
        let issued = Seconds::of(issue.issued.at);
        let longest = self.lifetime.min(LONGEST_LIFE);
        let expires = issued
            .plus(longest.as_secs())
            .min(Seconds::of(issue.not_after));
        // It would be over before it arrives.
        if expires.begins() <= now {
            return Ok(None);
        }
        let claims = Claims {
            issuer: self.issuer(authority),
            audience: self.audience(to, authority),
            subject: issue.subject.clone(),
            issued,
            not_before: issued,
            expires,
            id: issue.issued.token,
            session: issue.issued.session,
            role: issue.role.to_string(),
            strength: issue.strength,
            generation: issue.issued.generation,
            tag: issue.issued.subject,
            confirmation: None,
        };
        let signed = self.keys.look(|ring| sign(ring.signing(now), &claims));
        let text = signed
            .map_err(|error| StoreError::because(StoreErrorKind::Unavailable, error.to_string()))?;
        let life = expires.begins().since(issued.begins());
        Ok(Some(Made {
            text,
            issued: issue.issued,
            renew: half(issued.begins(), life),
            expires: expires.begins(),
            persistent: issue.persistent,
        }))
    }

    /// Reads what a browser brought to this authority.
    ///
    /// # Errors
    ///
    /// Why it is not to be believed.
    pub fn read(&self, text: &[u8], authority: &str, now: Timestamp) -> Result<Known, Invalid> {
        let keys = self.keys.shown(now);
        let expected = Expected::new(
            self.issuer(authority),
            self.audience(For::Browser, authority),
        );
        let token = core::str::from_utf8(text).map_err(|_| Invalid::Malformed)?;
        let claims = check(token, &keys.set, &expected, now)?;
        let role = role_of(&claims.role).ok_or(Invalid::Claims)?;
        let (from, expires) = (claims.issued.begins(), claims.expires.begins());
        Ok(Known {
            text: text.into(),
            keys,
            authority: authority.into(),
            from,
            renew: half(from, expires.since(from)),
            claimed: Claimed {
                issued: claims_issued(&claims),
                subject: claims.subject,
                role,
                expires,
                // As the check counts it.
                taken_until: expires.after(LEEWAY),
                authority: Authority::of(authority),
            },
        })
    }

    /// What a token of ours claims, whomever it was made for.
    ///
    /// # Errors
    ///
    /// Why it is not to be believed.
    pub fn claims(&self, token: &str, authority: &str, now: Timestamp) -> Result<Claims, Invalid> {
        let keys = self.keys.shown(now);
        let believed = |to| {
            let expected = Expected::new(self.issuer(authority), self.audience(to, authority));
            check(token, &keys.set, &expected, now)
        };
        match believed(For::App) {
            Err(Invalid::Audience) => believed(For::Browser),
            read => read,
        }
    }

    /// What a token claims that our keys made, under whatever name, as long as somebody may take it yet: for calling it back.
    #[must_use]
    pub fn made_here(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let claims = check_origin(token, &self.keys.shown(now).set).ok()?;
        (now < claims.expires.begins().after(LEEWAY_MAX)).then_some(claims)
    }

    /// Whether this is the very text that was found good, and everything that it was found good by still stands. What was
    /// called back is asked elsewhere.
    #[must_use]
    pub fn is_known(&self, known: &Known, text: &[u8], authority: &str, now: Timestamp) -> bool {
        let same =
            verify_slices_are_equal(&known.text, text).is_ok() && *known.authority == *authority;
        let keys = self.keys.shown(now);
        same && Arc::ptr_eq(&keys, &known.keys)
            && now < known.claimed.taken_until
            && now.after(LEEWAY) >= known.from
    }

    /// For how long the published keys may be kept.
    #[must_use]
    pub fn keys_max_age(&self) -> Lifetime {
        self.keys.schedule.max_age()
    }
}

/// A host as everybody spells it, with the port that was asked for: who a client says that he asked must not depend on how
/// he writes it.
fn spelled(authority: &str) -> String {
    let lower = authority.to_ascii_lowercase();
    match lower.rsplit_once(':') {
        // The last colon of an address in brackets is within them.
        Some((host, port)) if !port.ends_with(']') => {
            format!("{}:{port}", host.strip_suffix('.').unwrap_or(host))
        }
        _ => lower.strip_suffix('.').unwrap_or(&lower).to_owned(),
    }
}

const fn half(from: Timestamp, life: Lifetime) -> Timestamp {
    from.after(Lifetime::from_millis(life.as_millis() / 2))
}

/// By what a token can be called back.
#[must_use]
pub fn claims_issued(claims: &Claims) -> Issued {
    Issued {
        session: claims.session,
        token: claims.id,
        subject: claims.tag,
        generation: claims.generation,
        at: claims.issued.begins(),
    }
}

/// Reads what a role's `Display` writes.
fn role_of(text: &str) -> Option<Role> {
    let named = [Role::GUEST, Role::USER, Role::ADMIN];
    if let Some(role) = named.into_iter().find(|role| role.to_string() == text) {
        return Some(role);
    }
    let role = Role::ranked(text.strip_prefix("role-")?.parse().ok()?);
    (role.to_string() == text).then_some(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_spelled_in_one_way() {
        for (written, expected) in [
            ("App.Test", "app.test"),
            ("app.test.:8443", "app.test:8443"),
            ("app.test.", "app.test"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(spelled(written), expected, "{written}");
        }
    }

    #[test]
    fn a_role_has_one_spelling() {
        for rank in 0..=u8::MAX {
            let role = Role::ranked(rank);
            assert_eq!(role_of(&role.to_string()), Some(role));
        }
        for wrong in ["role-64", "role-007", "role-256", "Admin", ""] {
            assert_eq!(role_of(wrong), None, "{wrong}");
        }
    }
}
