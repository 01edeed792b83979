//! Requests to the gateway: to the one address that the service was given, bounded in time and size.
//!
//! No address ever comes out of a token, a key or an answer: redirects are not followed, and nothing here takes a URL.

use core::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use wirebound::revocation::feed::NotHeard;

use crate::course::Astray;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer's head may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// What is wrong with what the gateway says, or with the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is counted by its name")]
pub enum Trouble {
    /// No connection, or one that broke.
    Unreachable,
    /// It takes too long.
    Slow,
    /// Another status than 200; 401 and 403 are about the API key.
    Status(u16),
    /// Another type of content.
    ContentType,
    /// More than may be.
    Oversized,
    /// Not of the form that it must have.
    Malformed,
    /// Not a message of the feed.
    NotHeard(NotHeard),
    /// The feed's messages do not follow on each other.
    Astray(Astray),
    /// The feed was closed.
    Ended,
    /// More questions are on their way than may be.
    Busy,
}

impl Trouble {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Status(_) => "status",
            Self::ContentType => "content_type",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::NotHeard(_) => "not_heard",
            Self::Astray(_) => "astray",
            Self::Ended => "ended",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str(
                "the gateway cannot be reached; look at its address, its certificate and the network between",
            ),
            Self::Slow => f.write_str("the gateway takes too long"),
            Self::Status(status @ (401 | 403)) => write!(
                f,
                "the gateway does not take the API key ({status}); look at its scope, and whether it was revoked"
            ),
            Self::Status(status) => write!(f, "the gateway answers {status}"),
            Self::ContentType => {
                f.write_str("another type of content; is this the gateway's address?")
            }
            Self::Oversized => f.write_str("an answer is longer than any of the gateway's"),
            Self::Malformed => f.write_str("an answer has not the form that it must have"),
            Self::NotHeard(not_heard) => write!(f, "a message of the feed is {not_heard}"),
            Self::Astray(astray) => write!(f, "the feed went astray: {}", astray.name()),
            Self::Ended => f.write_str("the feed was closed"),
            Self::Busy => f.write_str("too many questions are on their way to the gateway"),
        }
    }
}

/// The way to the gateway.
pub(crate) struct Reach {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    origin: String,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reach({})", self.origin)
    }
}

impl Reach {
    /// To this origin (`https://host[:port]`), over TLS or, on loopback only, without.
    pub(crate) fn new(origin: &str, tls: Option<ClientConfig>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let https = HttpsConnectorBuilder::new();
        let connector = match tls {
            Some(tls) => https.with_tls_config(tls).https_only(),
            // Nobody is trusted, so that the other scheme leads nowhere.
            None => https
                .with_tls_config(
                    ClientConfig::builder()
                        .with_root_certificates(rustls::RootCertStore::empty())
                        .with_no_client_auth(),
                )
                .https_or_http(),
        }
        .enable_http1()
        .wrap_connector(connector);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            origin: origin.to_owned(),
        }
    }

    /// A question about what lies at this path of the gateway.
    pub(crate) fn get(&self, path: &str, accept: &'static str) -> Option<Request<Full<Bytes>>> {
        Request::get(format!("{}{path}", self.origin))
            .header(ACCEPT, accept)
            .body(Full::default())
            .ok()
    }

    /// A form for this path of the gateway.
    pub(crate) fn post(&self, path: &str, form: String) -> Option<Request<Full<Bytes>>> {
        Request::post(format!("{}{path}", self.origin))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .ok()
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// # Errors
    ///
    /// When none comes in time.
    pub(crate) async fn open(
        &self,
        request: Option<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, Trouble> {
        // Made of parts that were looked at when the service started; if it is none, it goes nowhere.
        let request = request.ok_or(Trouble::Malformed)?;
        let answer = tokio::time::timeout(ANSWER, self.client.request(request));
        answer
            .await
            .map_err(|_| Trouble::Slow)?
            .map_err(|_| Trouble::Unreachable)
    }

    /// Sends a request and takes the whole answer, of at most so many bytes.
    ///
    /// # Errors
    ///
    /// When it does not come as a whole in time, or is too long.
    pub(crate) async fn ask(
        &self,
        request: Option<Request<Full<Bytes>>>,
        most: usize,
    ) -> Result<(Parts, Bytes), Trouble> {
        let whole = async {
            let (head, body) = self.open(request).await?.into_parts();
            let body = Limited::new(body, most).collect().await;
            let body = body.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    Trouble::Oversized
                } else {
                    Trouble::Unreachable
                }
            })?;
            Ok((head, body.to_bytes()))
        };
        tokio::time::timeout(ANSWER, whole)
            .await
            .map_err(|_| Trouble::Slow)?
    }
}

/// Refuses every status but 200.
///
/// # Errors
///
/// The status.
pub(crate) fn is_ok(status: StatusCode) -> Result<(), Trouble> {
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(Trouble::Status(status.as_u16()))
    }
}

/// Refuses every type of content but these, parameters aside.
///
/// # Errors
///
/// When it is another, or there is not just one.
pub(crate) fn is_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Trouble> {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Trouble::ContentType);
    };
    let text = field.to_str().map_err(|_| Trouble::ContentType)?;
    let essence = text
        .split_once(';')
        .map_or(text, |(essence, _)| essence)
        .trim();
    types
        .iter()
        .any(|known| known.eq_ignore_ascii_case(essence))
        .then_some(())
        .ok_or(Trouble::ContentType)
}

/// The field that shows an API key. It is marked, so that nothing prints it.
pub(crate) fn bearer(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Shows an API key with a request.
pub(crate) fn show(request: Option<&mut Request<Full<Bytes>>>, key: &HeaderValue) {
    if let Some(request) = request {
        request.headers_mut().insert(AUTHORIZATION, key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_content_is_one_and_the_right_one() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            is_type(&headers, &["text/event-stream"]).is_ok()
        };
        for good in [
            "text/event-stream",
            "Text/Event-Stream ; charset=utf-8",
            "text/event-stream;",
        ] {
            assert!(of(&[good]), "{good}");
        }
        for wrong in [
            &["text/html"][..],
            &[""],
            &[],
            &["text/event-streams"],
            &["text/event-stream, text/html"],
            &["text/event-stream", "text/event-stream"],
        ] {
            assert!(!of(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn an_api_key_does_not_print() {
        let shown = format!("{:?}", bearer("wbk_secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
