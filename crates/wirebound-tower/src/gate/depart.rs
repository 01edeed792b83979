//! The way out: what the inner service asked for is done, durably, before the response head leaves.

use core::time::Duration;
use std::sync::Arc;

use http::header::LOCATION;
use http::{Response, StatusCode};
use wirebound::engine::{
    Elevate, Guest, Leaving, NotElevated, NotSignedIn, SEALED_LIFE, Scope, SignIn, SignedIn,
};
use wirebound::store::{StoreError, StoreErrorKind};
use wirebound::{Authority, Lifetime, Presented, Refusal, Timestamp, Verified};

use super::identify::Read;
use super::{Access, Gate, Intent, SignInIntent};
use crate::body::{self, Body};
use crate::caches::{is_public, keep_private, never_public};
use crate::cookies::Shown;
use crate::refusal::Asker;
use crate::wired::Wired;

/// What a response still has to carry, decided on the way in.
#[derive(Debug, Default)]
pub(super) struct Departure {
    pub(super) nonce_spent: bool,
    pub(super) clear_echoes: Vec<usize>,
    /// The mark of a bounce came along: it has done its work.
    pub(super) clears_bounce: bool,
    /// A session whose genuine cookie came along without a proof.
    pub(super) older: Option<wirebound::SessionId>,
    pub(super) verified_before: bool,
    /// It offered a cookie of ours, proved or not.
    pub(super) offered: bool,
    pub(super) safe: bool,
    pub(super) person: bool,
    /// Its cookie was of a session that is over, or of none, and no newer one took its place.
    pub(super) dead: bool,
    /// Its answer may carry a secret that nobody asked for.
    pub(super) takes_secret: bool,
    pub(super) get: bool,
    /// The cookie by which it was proved.
    pub(super) presented: Option<Arc<Presented>>,
    /// The session of the assertion that came along, if that is good for a while yet.
    pub(super) fresh_assertion: Option<wirebound::SessionId>,
    /// A machine asked: it gets no session, whatever the app says.
    pub(super) machine: bool,
}

impl Departure {
    pub(super) fn of(read: &Read, shown: &Shown<'_>, asker: Asker) -> Self {
        Self {
            offered: shown.session.is_some(),
            clears_bounce: shown.bounced(),
            safe: read.safe,
            person: asker == Asker::Person,
            takes_secret: read.takes_secret,
            get: read.get,
            ..Self::default()
        }
    }

    pub(super) const fn asker(&self) -> Asker {
        if self.person {
            Asker::Person
        } else {
            Asker::Program
        }
    }

    /// A request with an unproved cookie gets a new one only if it navigates or changes something: an image that lost a
    /// race must not overwrite what the page has won. Where there was nothing to win, a script's request may get one too. One
    /// that offered no cookie gets it whatever it is: the app set its own, a captcha's image say, and it must be kept.
    const fn may_set_session(&self) -> bool {
        let nothing_to_win = !self.offered || (self.dead && self.takes_secret);
        self.verified_before || nothing_to_win || self.person || !self.safe
    }
}

/// Why an intent was not carried out.
enum Failed {
    Refused(Refusal),
    Store(StoreError),
}

impl Failed {
    fn answer(self, access: &Access, asker: Asker) -> Response<Body> {
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Store(error) => {
                tracing::error!(%error, cause = core::error::Error::source(&error).map(tracing::field::display), "cannot sign in or out: answered 503");
                Refusal::StoreUnavailable
            }
        };
        access.refuse(refusal, asker, false).map(body::full)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotSignedIn> for Failed {
    fn from(error: NotSignedIn) -> Self {
        match error {
            NotSignedIn::Blocked => Self::Refused(Refusal::Blocked),
            NotSignedIn::Store(error) => Self::Store(error),
            NotSignedIn::Limit | _ => Self::Refused(Refusal::Forbidden),
        }
    }
}

impl Gate {
    /// Carries out what the inner service intends, and sends the response off.
    pub(super) async fn depart(
        &self,
        access: &Access,
        departure: Departure,
        mut response: Response<Body>,
    ) -> Response<Body> {
        if departure.nonce_spent {
            self.names().clear_hand_over(response.headers_mut());
        }
        self.names()
            .clear_echoes(response.headers_mut(), &departure.clear_echoes);
        if departure.clears_bounce {
            self.names().clear_bounce(response.headers_mut());
        }
        let intent = response.extensions_mut().remove::<Intent>();
        if let Some(intent) = intent.filter(|_| !departure.machine) {
            let done = self
                .carry_out(access, &departure, intent, &mut response)
                .await;
            if let Err(failed) = done {
                return failed.answer(access, departure.asker());
            }
        } else {
            self.replace_sealed(access, &departure, &mut response);
        }
        self.move_on(access, &departure, &mut response).await;
        if let Some(verified) = &access.verified {
            self.assert(access, &departure, verified, &mut response)
                .await;
        }
        if let Some(late) = access.late.get() {
            keep_private(response.headers_mut());
            if !self.names().sets_session(response.headers()) {
                self.names()
                    .set_session(response.headers_mut(), &late.cookie, None);
                never_public(response.headers_mut());
            }
        }
        if departure.verified_before || departure.machine {
            keep_private(response.headers_mut());
        }
        // A cache that kept this answer would set or clear a cookie of ours for everybody.
        if self.names().touches(response.headers()) {
            never_public(response.headers_mut());
        }
        response
    }

    async fn carry_out(
        &self,
        access: &Access,
        departure: &Departure,
        intent: Intent,
        response: &mut Response<Body>,
    ) -> Result<(), Failed> {
        match (intent, access.verified()) {
            // Nothing could be proved over this wire, and each further try would make a session that nobody uses. A person
            // who signs in is told. Everything else goes on without one: an app that hands a cookie to every visitor does
            // so to a program too, and what a program posted was done.
            (Intent::SignIn(_), _) if access.wired().wire.is_shared() => {
                if departure.person && !departure.safe {
                    Err(Failed::Refused(Refusal::SharedWire))
                } else {
                    Ok(())
                }
            }
            (Intent::SignIn(intent), _) if departure.may_set_session() => {
                self.sign_in(access, departure.older, intent, response)
                    .await
            }
            (Intent::Guest(intent), None) if departure.may_set_session() => {
                self.welcome(access, intent, response).await
            }
            (Intent::SignIn(_) | Intent::Guest(_), _) => Ok(()),
            (Intent::Elevate { role, lifetime }, Some(verified)) => {
                self.elevate(access, verified, Elevate { role, lifetime }, response)
                    .await
            }
            (Intent::Renew, Some(verified)) => {
                self.renew(access, departure, verified, false, response)
                    .await
            }
            (Intent::Confirm, Some(verified)) => {
                self.renew(access, departure, verified, true, response)
                    .await
            }
            (Intent::SignOut(scope), Some(verified)) => {
                self.sign_out(access, verified, scope, response).await
            }
            (
                Intent::Elevate { .. } | Intent::Renew | Intent::Confirm | Intent::SignOut(_),
                None,
            ) => Ok(()),
        }
    }

    async fn sign_in(
        &self,
        access: &Access,
        older: Option<wirebound::SessionId>,
        intent: SignInIntent,
        response: &mut Response<Body>,
    ) -> Result<(), Failed> {
        let wired = access.wired();
        let now = self.now().unwrap_or_else(|| access.now());
        let carries = redirects_home(response, access.authority());
        let request = SignIn {
            subject: intent.subject,
            authority: Authority::of(access.authority()),
            role: intent.role,
            persistent: intent.persistent,
            idle: intent.idle,
            absolute: intent.absolute,
            vault: intent.vault,
            carries_hand_over: carries,
            client: access.client.clone(),
        };
        let (engine, on, named) = (
            Arc::clone(self.engine()),
            Arc::clone(wired),
            access.verified().cloned(),
        );
        let signed_in = to_its_end(async move {
            let signed_in = engine
                .sign_in(&on.wire, request, named.as_ref(), now)
                .await?;
            if let Some(older) = older
                && let Err(error) = engine.replace_older(&on.wire, older, now).await
            {
                // Nobody is told that the sign-in failed: it did not.
                tracing::error!(%error, session = %older, "cannot end the older session of a sign-in: it stands until its time is over");
            }
            Ok::<_, NotSignedIn>(signed_in)
        })
        .await??;
        self.give(wired, &signed_in, intent.persistent, now, response);
        self.assert_anew(access, &signed_in.verified, response)
            .await;
        Ok(())
    }

    /// A guest: sealed into his cookie, of which the store knows nothing; taken in at once where that is too long.
    async fn welcome(
        &self,
        access: &Access,
        intent: SignInIntent,
        response: &mut Response<Body>,
    ) -> Result<(), Failed> {
        let now = self.now().unwrap_or_else(|| access.now());
        let guest = Guest {
            subject: intent.subject,
            authority: Authority::of(access.authority()),
            persistent: intent.persistent,
            idle: intent.idle,
            absolute: intent.absolute,
            vault: intent.vault.unwrap_or_default(),
        };
        let sealed = self
            .engine()
            .seal_guest(&guest, now)
            .map_err(|error| StoreError::because(StoreErrorKind::Unavailable, error))?;
        if let Some(cookie) = sealed {
            // Past its life it is good for nothing.
            let longest = SEALED_LIFE.min(guest.absolute.unwrap_or(SEALED_LIFE));
            let keep = intent.persistent.then(|| longest.as_secs());
            self.names()
                .set_session(response.headers_mut(), &cookie, keep);
            never_public(response.headers_mut());
            return Ok(());
        }
        let (engine, on) = (Arc::clone(self.engine()), Arc::clone(access.wired()));
        let client = access.client.clone();
        let signed_in =
            to_its_end(async move { engine.receive_guest(&on.wire, guest, client, now).await })
                .await??;
        self.give(access.wired(), &signed_in, intent.persistent, now, response);
        Ok(())
    }

    /// A guest's sealed cookie has come back: from here on the ordinary one is used.
    fn replace_sealed(
        &self,
        access: &Access,
        departure: &Departure,
        response: &mut Response<Body>,
    ) {
        let sealed = departure
            .presented
            .as_ref()
            .filter(|presented| departure.takes_secret && presented.is_sealed());
        let Some(presented) = sealed else {
            return;
        };
        if is_public(response.headers()) {
            // The next answer will do.
            return;
        }
        let now = self.now().unwrap_or_else(|| access.now());
        if let Some((cookie, keep)) = self.engine().successor(presented, now) {
            let keep = keep.map(Lifetime::as_secs);
            self.names()
                .set_session(response.headers_mut(), &cookie, keep);
            never_public(response.headers_mut());
        }
    }

    /// The session's next ticket, where it is time for one. Chosen now that the head leaves: an answer that took long would
    /// else put an old one over newer ones.
    async fn move_on(&self, access: &Access, departure: &Departure, response: &mut Response<Body>) {
        let headers = response.headers();
        let (Some(verified), Some(presented)) = (&access.verified, &departure.presented) else {
            return;
        };
        if !departure.takes_secret || self.names().sets_session(headers) || is_public(headers) {
            return;
        }
        let leaving = Leaving {
            presented,
            client: &access.client,
            get: departure.get,
            came: access.now(),
        };
        let now = self.now().unwrap_or_else(|| access.now());
        let wire = &access.wired().wire;
        match self.engine().ticket(wire, verified, &leaving, now).await {
            Ok(None) => {}
            Ok(Some((ticket, keep))) => {
                let keep = keep.map(Lifetime::as_secs);
                self.names()
                    .set_session(response.headers_mut(), &ticket, keep);
                never_public(response.headers_mut());
            }
            // The request was answered; the next answer will do.
            Err(error) => tracing::warn!(%error, "no ticket could be made"),
        }
    }

    /// The cookie of a session that just began, and its hand-over.
    fn give(
        &self,
        wired: &Arc<Wired>,
        signed_in: &SignedIn,
        persistent: bool,
        now: Timestamp,
        response: &mut Response<Body>,
    ) {
        let keep = persistent.then(|| signed_in.absolute.since(now).as_secs());
        self.names()
            .set_session(response.headers_mut(), &signed_in.cookie, keep);
        match &signed_in.hand_over {
            Some(nonce) => {
                let seconds = self.engine().policy().hand_over.as_secs();
                self.names()
                    .set_hand_over(response.headers_mut(), nonce, seconds);
                self.grant(wired, now);
                wired.connection.close_after_response();
            }
            // It is offered at the next safe request on this wire, which must live until then.
            None => self.wait_for_the_hand_over(wired, &signed_in.verified, now),
        }
        never_public(response.headers_mut());
    }

    async fn elevate(
        &self,
        access: &Access,
        verified: &Verified,
        elevate: Elevate,
        response: &mut Response<Body>,
    ) -> Result<(), Failed> {
        let now = self.now().unwrap_or_else(|| access.now());
        let (engine, on, who) = (
            Arc::clone(self.engine()),
            Arc::clone(access.wired()),
            verified.clone(),
        );
        let client = access.client.clone();
        let elevated =
            to_its_end(async move { engine.elevate(&on.wire, &who, &client, elevate, now).await });
        match elevated.await? {
            Ok(elevated) => {
                let keep = self.keep(verified, elevated.persistent, now).await?;
                self.names()
                    .set_session(response.headers_mut(), &elevated.cookie, keep);
                // It speaks of the role of before.
                self.names().drop_assertion(response.headers_mut());
                never_public(response.headers_mut());
                Ok(())
            }
            Err(NotElevated::Store(error)) => Err(Failed::Store(error)),
            // The answer passes, nothing is raised; the next need answers `step_up_required`.
            Err(NotElevated::Ignored(_) | _) => Ok(()),
        }
    }

    async fn renew(
        &self,
        access: &Access,
        departure: &Departure,
        verified: &Verified,
        confirmed: bool,
        response: &mut Response<Body>,
    ) -> Result<(), Failed> {
        let now = self.now().unwrap_or_else(|| access.now());
        let (engine, on, who) = (
            Arc::clone(self.engine()),
            Arc::clone(access.wired()),
            verified.clone(),
        );
        let late = || access.late.get().and_then(|late| late.presented.clone());
        let Some(presented) = departure.presented.clone().or_else(late) else {
            return Ok(());
        };
        let (client, get, came) = (access.client.clone(), departure.get, access.now());
        let renewed = to_its_end(async move {
            let leaving = Leaving {
                presented: &presented,
                client: &client,
                get,
                came,
            };
            if confirmed {
                engine.confirm(&on.wire, &who, &leaving, now).await
            } else {
                engine.renew(&on.wire, &who, &leaving, now).await
            }
        })
        .await??;
        if let Some((cookie, persistent)) = renewed {
            let keep = self.keep(verified, persistent, now).await?;
            self.names()
                .set_session(response.headers_mut(), &cookie, keep);
            never_public(response.headers_mut());
        }
        Ok(())
    }

    /// For how long the browser keeps a renewed cookie: never longer than the session may live.
    async fn keep(
        &self,
        verified: &Verified,
        persistent: bool,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        if !persistent {
            return Ok(None);
        }
        let session = self.engine().session(verified.session(), now).await?;
        Ok(session.map(|session| session.absolute_until.since(now).as_secs()))
    }

    /// Until its hand-over a wire that owes one is not closed for being idle: its client has no TLS ticket to come back
    /// with. Not for ever: a client that asks for nothing for this long has to sign in again.
    pub(super) fn wait_for_the_hand_over(
        &self,
        wired: &Wired,
        verified: &Verified,
        now: Timestamp,
    ) {
        const LONGEST: Duration = Duration::from_mins(30);
        let engine = self.engine();
        let owed = engine.hand_over_due(&wired.wire, verified, now).is_some();
        if owed && engine.policy().preset.binds_wires() {
            wired.connection.exempt_from_idle(LONGEST);
        }
    }

    pub(super) async fn sign_out_now(
        &self,
        access: &Access,
        verified: &Verified,
        scope: Scope,
    ) -> Result<usize, StoreError> {
        let now = self.now().unwrap_or_else(|| access.now());
        let (engine, who) = (Arc::clone(self.engine()), verified.clone());
        to_its_end(async move { engine.logout(&who, scope, now).await }).await?
    }

    async fn sign_out(
        &self,
        access: &Access,
        verified: &Verified,
        scope: Scope,
        response: &mut Response<Body>,
    ) -> Result<(), Failed> {
        let ended = self.sign_out_now(access, verified, scope).await?;
        // Where it was over already, the jar may have a newer cookie by now.
        if scope != Scope::Others && ended > 0 {
            self.names().clear_session(response.headers_mut());
            never_public(response.headers_mut());
        }
        Ok(())
    }
}

/// Runs to its end even when the client hangs up meanwhile: a sign-in or a sign-out is done whole or not at all.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work)
        .await
        .map_err(|error| StoreError::because(StoreErrorKind::Unavailable, error))
}

/// Whether an answer brings its client back at once, by GET, to our own authority: then it can carry the hand-over.
fn redirects_home(response: &Response<Body>, authority: &str) -> bool {
    let follows = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER
    );
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    follows
        && location.is_some_and(|location| {
            let absolute = location.strip_prefix("https://");
            let host = absolute.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
            match host {
                Some(host) => host.eq_ignore_ascii_case(authority),
                // A scheme of another kind (`com.example.app:/`), another authority, or what browsers read as one.
                None => {
                    let first = location.split(['/', '?', '#']).next().unwrap_or_default();
                    !location.starts_with("//") && !location.contains('\\') && !first.contains(':')
                }
            }
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn redirect(status: u16, location: &str) -> Response<Body> {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
            .headers_mut()
            .insert(LOCATION, HeaderValue::from_str(location).unwrap());
        response
    }

    #[test]
    fn only_a_redirect_to_our_own_authority_carries_the_hand_over() {
        for (status, location, expected) in [
            (303, "/", true),
            (302, "welcome?x=1", true),
            (302, "https://app.test:8443/", true),
            (302, "https://APP.test:8443", true),
            (307, "/", false),
            (302, "https://app.test/", false),
            (302, "//evil.test/", false),
            (302, "http://app.test:8443/", false),
            (302, "https://app.test:8443.evil.test/", false),
            (302, "com.example.app:/back?code=1", false),
            (302, "mailto:a@b.test", false),
            (302, "/\\\\evil.test/", false),
            (302, "/a?at=12:30", true),
            (200, "/", false),
        ] {
            assert_eq!(
                redirects_home(&redirect(status, location), "app.test:8443"),
                expected,
                "{status} {location}"
            );
        }
    }
}
