//! Requests that show an API key, and what there is for machines under `/.wirebound/`: introspection (RFC 7662),
//! revocation (RFC 7009) and the feed.
//!
//! A key is no session and a session is no key: where one is asked for, the other counts as none.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use wirebound::store::StoreError;
use wirebound::{Cut, Ending, KeyRefusal, Named, Refusal, Timestamp, VerifiedKey};
use wirebound_assertion::{Claims, LEEWAY, encode_subject};

use super::depart::to_its_end;
use super::identify::Read;
use super::sessions::document;
use super::{Access, Gate};
use crate::assertion::{Assertions, REMEMBERED, claims_issued};
use crate::body::{self, Body};
use crate::form;
use crate::refusal::Asker;
use crate::wired::Wired;

/// The scope that introspection asks for.
const INTROSPECT: &str = "introspect";
/// The scope that revocation asks for.
const REVOKE: &str = "revoke";
/// The scope that the feed asks for.
const FEED: &str = "feed";

/// A token and its hint are no longer than this.
const MOST_FORM: usize = 16 * 1024;
/// How often what streams to a machine is held against its key.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of a key that a request shows.
pub(super) enum ByKey {
    /// It is good for what is asked.
    In(Arc<VerifiedKey>),
    /// It is not, or there is none where one is asked for. A key that was good is named.
    Refused(Refusal, Named),
}

impl Gate {
    /// Judges a request that shows a key, or comes where one is asked for.
    pub(super) async fn by_key(
        &self,
        wired: &Wired,
        read: &Read,
        key: Option<&[u8]>,
        scopes: &[Arc<str>],
        now: Timestamp,
    ) -> Result<ByKey, StoreError> {
        let Some(text) = key else {
            return Ok(ByKey::Refused(Refusal::KeyMissing, Named::Nobody));
        };
        let mut checked = self.engine().check_key(text, now);
        if matches!(checked, Err(KeyRefusal::Unsure)) {
            self.engine().settle_keys(now).await?;
            checked = self.engine().check_key(text, now);
        }
        let key = match checked {
            Ok(key) => key,
            Err(KeyRefusal::Unsure) => {
                return Ok(ByKey::Refused(Refusal::StoreUnavailable, Named::Nobody));
            }
            Err(refusal) => {
                let side = wired.wire.side();
                self.engine().tell_key_refused(text, refusal, side, now);
                return Ok(ByKey::Refused(Refusal::KeyRefused, Named::Nobody));
            }
        };
        let named = Named::Key(key.id());
        // A session is asked for.
        if !read.need.is_nothing() {
            return Ok(ByKey::Refused(Refusal::KeyRefused, named));
        }
        if !scopes.iter().all(|scope| key.scopes().has(scope)) {
            return Ok(ByKey::Refused(Refusal::InsufficientScope, named));
        }
        Ok(ByKey::In(Arc::new(key)))
    }

    /// Waits until what is sent to a machine must stop: its key is not good any more, or it was given a new secret in place
    /// of the one that was shown.
    pub async fn key_gone(&self, key: &VerifiedKey) -> Cut {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(now) = self.now() else {
                return Cut::RoleChanged;
            };
            if !self.engine().key_stands(key, now) {
                return Cut::Ended(Ending::Revoked);
            }
        }
    }

    /// The key of a request for what is for machines alone; or what it is answered instead.
    fn machine<'a>(access: &'a Access, scope: &str) -> Result<&'a VerifiedKey, Refusal> {
        match access.key() {
            Some(key) if key.scopes().has(scope) => Ok(key),
            Some(_) => Err(Refusal::InsufficientScope),
            None => Err(Refusal::KeyMissing),
        }
    }

    /// RFC 7662: whether a token is good, and what it says.
    pub(super) async fn introspect<B: http_body::Body>(
        &self,
        access: &Access,
        parts: &Parts,
        body: B,
    ) -> Result<Response<Bytes>, StoreError> {
        if let Err(refused) = Self::machine(access, INTROSPECT) {
            return Ok(access.refuse(refused, Asker::Program, false));
        }
        let Some(token) = token(&parts.headers, body).await else {
            return Ok(access.refuse(Refusal::Malformed, Asker::Program, false));
        };
        let now = access.now();
        let known = match self.engine().inspect_key(token.as_bytes(), now) {
            Ok(key) => Some(self.of_key(&key, now)),
            Err(KeyRefusal::Unsure) => {
                return Ok(access.refuse(Refusal::StoreUnavailable, Asker::Program, false));
            }
            Err(_) => self.of_assertion(&token, access.authority(), now).await?,
        };
        Ok(document(
            &known.unwrap_or_else(|| json!({ "active": false })),
        ))
    }

    fn of_key(&self, key: &VerifiedKey, now: Timestamp) -> Value {
        let expires = self
            .engine()
            .api_key(key.id(), now)
            .and_then(|key| key.expires);
        let mut known = json!({
            "active": true,
            "token_type": "api_key",
            "client_id": key.id().to_string(),
            "username": key.label().as_str(),
            "sub": encode_subject(key.owner().as_bytes()),
            "scope": key.scopes().iter().collect::<Vec<_>>().join(" "),
        });
        if let (Some(expires), Some(known)) = (expires, known.as_object_mut()) {
            let seconds = expires.as_millis() / 1000;
            known.insert("exp".to_owned(), seconds.into());
        }
        known
    }

    /// Unlike whoever checks by himself, this asks the store whether the session stands.
    async fn of_assertion(
        &self,
        token: &str,
        authority: &str,
        now: Timestamp,
    ) -> Result<Option<Value>, StoreError> {
        let Some(claims) = self.believed(token, authority, now) else {
            return Ok(None);
        };
        let issued = claims_issued(&claims);
        let taken_until = claims.expires.begins().after(LEEWAY);
        if self.engine().revocations().has_forgotten(taken_until) {
            return Ok(None);
        }
        let stands = !self.engine().is_revoked(&issued, now).await?
            && self.engine().session(claims.session, now).await?.is_some();
        Ok(stands.then(|| said(&claims)))
    }

    fn believed(&self, token: &str, authority: &str, now: Timestamp) -> Option<Claims> {
        let assertions: &Arc<Assertions> = self.assertions()?;
        assertions.claims(token, authority, now).ok()
    }

    /// RFC 7009: calls back the token that is shown, whichever of our names it was made under. One that is none of ours, or is
    /// dead for good, is answered with 200 all the same; that nothing was called back is said.
    pub(super) async fn revoke<B: http_body::Body>(
        &self,
        access: &Access,
        parts: &Parts,
        body: B,
    ) -> Result<Response<Bytes>, StoreError> {
        if let Err(refused) = Self::machine(access, REVOKE) {
            return Ok(access.refuse(refused, Asker::Program, false));
        }
        let Some(token) = token(&parts.headers, body).await else {
            return Ok(access.refuse(Refusal::Malformed, Asker::Program, false));
        };
        let now = access.now();
        let engine = Arc::clone(self.engine());
        let made_here = |assertions: &Arc<Assertions>| assertions.made_here(&token, now);
        let claims = self.assertions().and_then(made_here);
        let called_back = to_its_end(async move {
            match claims {
                Some(claims) => {
                    let until = claims.expires.begins().after(REMEMBERED);
                    engine.revoke_token(claims.id, until).await.map(|_| true)
                }
                None => engine.revoke_shown_key(token.as_bytes(), now).await,
            }
        })
        .await??;
        if !called_back {
            return Ok(document(&json!({ "revoked": false })));
        }
        // What it is worth: when it was durable, and how many nodes act on it.
        let durable = self.now().unwrap_or(now).as_millis();
        Ok(document(
            &json!({ "revoked": true, "durable_at": durable, "nodes": 1 }),
        ))
    }

    /// The keys that check assertions (RFC 7517), for everybody.
    pub(super) fn jwks(&self, access: &Access, headers: &HeaderMap) -> Response<Bytes> {
        let Some(assertions) = self.assertions() else {
            return super::endpoints::status(StatusCode::NOT_FOUND);
        };
        let shown = assertions.keys.shown(access.now());
        let held = headers.get_all(IF_NONE_MATCH).iter();
        let mut held = held.filter_map(|value| value.to_str().ok());
        let same = held.any(|value| value.split(',').any(|tag| tag.trim() == shown.tag));
        let body = if same {
            Bytes::new()
        } else {
            Bytes::from(shown.jwks.clone())
        };
        let mut response = Response::new(body);
        if same {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        let age = assertions.keys_max_age().as_secs();
        for (name, value) in [
            (CACHE_CONTROL, format!("public, max-age={age}")),
            (ETAG, shown.tag.clone()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/jwk-set+json"),
        );
        response
    }

    /// A feed of what is called back.
    pub(super) fn feed(&self, access: &Access, parts: &Parts) -> Response<Body> {
        let refused = |response: Response<Bytes>| response.map(body::full);
        match Self::machine(access, FEED) {
            Err(refusal) => refused(access.refuse(refusal, Asker::Program, false)),
            Ok(_) if self.assertions().is_none() => {
                refused(super::endpoints::status(StatusCode::NOT_FOUND))
            }
            Ok(_) => match self.open_feed(access, parts) {
                Some(response) => response,
                None => refused(access.refuse(Refusal::KeyRefused, Asker::Program, false)),
            },
        }
    }
}

/// The one token that a form names.
async fn token<B: http_body::Body>(headers: &HeaderMap, body: B) -> Option<String> {
    let fields = form::read(headers, body, MOST_FORM).await.ok()?;
    let mut named = fields.into_iter().filter(|(name, _)| name == "token");
    let (_, token) = named.next()?;
    named.next().is_none().then_some(token)
}

fn said(claims: &Claims) -> Value {
    json!({
        "active": true,
        "token_type": "assertion",
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": encode_subject(claims.subject.as_bytes()),
        "iat": claims.issued.as_u64(),
        "nbf": claims.not_before.as_u64(),
        "exp": claims.expires.as_u64(),
        "jti": claims.id.to_string(),
        "sid": claims.session.to_string(),
        "role": claims.role,
        "strength": claims.strength.name(),
    })
}
