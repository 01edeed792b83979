//! Requests that show an assertion in a cookie, and answers that set one.
//!
//! An assertion stands beside its session's own cookie. In the first half of its life a request is known by it, without a
//! store; in the second the cookie is judged as always, which makes another. Where a route asks for more than a string, or
//! the assertion is worth nothing, the cookie is judged as if no assertion had come.

use std::sync::Arc;

use http::Response;
use wirebound::store::StoreError;
use wirebound::{Ending, Named, Refusal, Role, SessionId, Timestamp, Verified, Visit};
use wirebound_assertion::Invalid;

use super::depart::Departure;
use super::identify::Read;
use super::{Access, Gate};
use crate::assertion::{Assertions, For, Known};
use crate::body::Body;
use crate::caches::{is_public, never_public};
use crate::cookies::Shown;
use crate::wired::Wired;

/// What an assertion made of a request.
#[derive(Debug)]
pub(super) enum ByClaim {
    /// It was not asked: the cookie is judged.
    NotAsked,
    /// It is good, and so is the request.
    In(Verified, Visit),
    /// It alone was shown, and is worth nothing.
    Refused(Refusal),
    /// It and the cookie are of two sessions.
    TwoKinds,
}

impl Gate {
    fn cookie_assertions(&self) -> Option<&Arc<Assertions>> {
        self.assertions().filter(|assertions| assertions.cookie)
    }

    /// Whose a request is by the assertion that it shows.
    pub(super) async fn by_claim(
        &self,
        wired: &Wired,
        read: &Read,
        shown: &Shown<'_>,
        now: Timestamp,
    ) -> Result<ByClaim, StoreError> {
        let (Some(assertions), Some(text)) = (self.cookie_assertions(), shown.assertion) else {
            return Ok(ByClaim::NotAsked);
        };
        // Whatever comes from elsewhere is refused in the order of judgement; and what changes something deserves more than a
        // string, where there is more.
        if read.surprise || (shown.session.is_some() && !read.safe) {
            return Ok(ByClaim::NotAsked);
        }
        let known = match known(assertions, wired, text, &read.authority, now) {
            Ok(known) => known,
            Err(_) if shown.session.is_some() => return Ok(ByClaim::NotAsked),
            Err(invalid) => return Ok(ByClaim::Refused(refusal(invalid))),
        };
        if let Some(cookie) = shown.session {
            let beside = self.engine().read_at(cookie, &read.host);
            match beside.map(|presented| presented.session()) {
                Ok(session) if session != known.claimed().issued.session => {
                    // A late answer of the session before may have put it over the newer one's.
                    let over = self
                        .engine()
                        .is_revoked(&known.claimed().issued, now)
                        .await?;
                    return Ok(if over {
                        ByClaim::NotAsked
                    } else {
                        ByClaim::TwoKinds
                    });
                }
                // Above `user` a string counts for nothing, and the app would be told of less than is in force.
                Ok(_) if known.is_half_over(now) || known.claimed().role > Role::USER => {
                    return Ok(ByClaim::NotAsked);
                }
                Ok(_) => {}
                // A made-up cookie is judged as one.
                Err(_) => return Ok(ByClaim::NotAsked),
            }
        }
        let admitted = self
            .engine()
            .admit(&wired.wire, known.claimed(), &read.host, read.need, now)
            .await?;
        Ok(match admitted {
            Ok((verified, visit)) => ByClaim::In(verified, visit),
            Err(_) if shown.session.is_some() => ByClaim::NotAsked,
            Err(refusal) => ByClaim::Refused(refusal),
        })
    }

    /// Whom a request names, proved or not: by its session's cookie, or by an assertion that stands alone.
    pub(super) fn named(
        &self,
        wired: &Wired,
        read: &Read,
        shown: &Shown<'_>,
        now: Timestamp,
    ) -> Named {
        let session = match shown.session {
            Some(text) => {
                let presented = self.engine().read_at(text, &read.host).ok();
                presented.map(|presented| presented.session())
            }
            None => self
                .cookie_assertions()
                .zip(shown.assertion)
                .and_then(|(those, text)| known(those, wired, text, &read.authority, now).ok())
                .map(|known| known.claimed().issued.session),
        };
        session.map_or(Named::Nobody, Named::Session)
    }

    /// The session that an assertion in a cookie is about, if it is good for half of its life yet: then no other is due.
    pub(super) fn is_fresh(
        &self,
        wired: &Wired,
        read: &Read,
        shown: &Shown<'_>,
        now: Timestamp,
    ) -> Option<SessionId> {
        let (assertions, text) = (self.cookie_assertions()?, shown.assertion?);
        let known = known(assertions, wired, text, &read.authority, now).ok()?;
        (!known.is_half_over(now)).then(|| known.claimed().issued.session)
    }

    /// Sets an assertion beside the session's cookie, where one is due and the answer may carry it.
    pub(super) async fn assert(
        &self,
        access: &Access,
        departure: &Departure,
        verified: &Verified,
        response: &mut Response<Body>,
    ) {
        // One is made of what it stands beside, and never of itself.
        let Some(assertions) = self.cookie_assertions().filter(|_| !verified.is_by_claim()) else {
            return;
        };
        let fresh = departure.fresh_assertion == Some(verified.session());
        if fresh || !departure.takes_secret || is_public(response.headers()) {
            return;
        }
        self.set_assertion(assertions, access, verified, response)
            .await;
    }

    /// Beside the cookie of a session that was just made, whatever stood there before.
    pub(super) async fn assert_anew(
        &self,
        access: &Access,
        verified: &Verified,
        response: &mut Response<Body>,
    ) {
        if let Some(assertions) = self.cookie_assertions() {
            self.set_assertion(assertions, access, verified, response)
                .await;
        }
    }

    async fn set_assertion(
        &self,
        assertions: &Assertions,
        access: &Access,
        verified: &Verified,
        response: &mut Response<Body>,
    ) {
        if self.names().sets_assertion(response.headers()) {
            return;
        }
        let now = self.now().unwrap_or_else(|| access.now());
        let made = assertions
            .make(
                self.engine(),
                verified,
                access.authority(),
                For::Browser,
                now,
            )
            .await;
        match made {
            Ok(Some(made)) => {
                // It is good without the other: it goes when that one goes.
                let keep = made.persistent.then(|| made.expires.since(now).as_secs());
                self.names()
                    .set_assertion(response.headers_mut(), &made.text, keep);
                never_public(response.headers_mut());
            }
            Ok(None) => {}
            // The request was answered; the next answer will do.
            Err(error) => tracing::warn!(%error, "no assertion could be made"),
        }
    }
}

/// What a wire showed last is known by its text; anything else is checked.
fn known(
    assertions: &Assertions,
    wired: &Wired,
    text: &[u8],
    authority: &str,
    now: Timestamp,
) -> Result<Arc<Known>, Invalid> {
    if let Some(known) = wired.asserted.load_full()
        && assertions.is_known(&known, text, authority, now)
    {
        return Ok(known);
    }
    let known = Arc::new(assertions.read(text, authority, now)?);
    wired.asserted.store(Some(Arc::clone(&known)));
    Ok(known)
}

/// The signature is looked at before the time: what has run out was ours once.
const fn refusal(invalid: Invalid) -> Refusal {
    match invalid {
        Invalid::Expired => Refusal::SessionExpired(Ending::ExpiredAbsolute),
        Invalid::Oversized
        | Invalid::Malformed
        | Invalid::UnknownKey
        | Invalid::Algorithm
        | Invalid::Signature
        | Invalid::Type
        | Invalid::Claims
        | Invalid::Issuer
        | Invalid::Audience
        | Invalid::TooLong
        | Invalid::NotYet
        | Invalid::Unconfirmed
        | Invalid::Unbound => Refusal::Unauthenticated,
    }
}
