//! Bounds of bodies on their way through: how large an upload may be, how long either side may be silent.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::Body as HttpBody;
use http_body_util::Limited;
use tower_http::timeout::TimeoutBody;
use wirebound_tower::body::{Body, BoxError, watched};

use crate::config;

/// An upload within its bounds.
pub(super) type Upload<B> = Limited<TimeoutBody<B>>;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bodies {
    largest: usize,
    silence: Duration,
    stream_silence: Duration,
}

impl Bodies {
    pub(super) fn of(limits: &config::Limits) -> Self {
        let time = |lifetime: wirebound::Lifetime| Duration::from_millis(lifetime.as_millis());
        Self {
            largest: limits.body_size.as_usize(),
            silence: time(limits.body_idle),
            stream_silence: time(limits.stream_idle),
        }
    }

    /// Whether a request announces more than it may send: answered before the app is bothered.
    pub(super) fn too_long(&self, headers: &HeaderMap) -> bool {
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        announced.is_some_and(|length| length > self.largest)
    }

    /// What was not announced is counted, and cut off at the bound; so is a client that falls silent.
    pub(super) fn upload<B: HttpBody<Data = Bytes>>(&self, body: B) -> Upload<B> {
        Limited::new(TimeoutBody::new(self.silence, body), self.largest)
    }

    /// An app that falls silent in the middle of an answer is cut off; event streams may be silent for longer.
    pub(super) fn download<B>(&self, response: Response<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        let silence = if stream {
            self.stream_silence
        } else {
            self.silence
        };
        response.map(|body| watched(TimeoutBody::new(silence, body), None))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_upload_that_announces_too_much_is_known_by_its_head() {
        let limits = config::Limits {
            body_size: config::Size::parse("1KiB").unwrap(),
            ..config::Limits::default()
        };
        let bodies = Bodies::of(&limits);
        for (length, too_long) in [("1024", false), ("1025", true), ("-1", false), ("x", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
            assert_eq!(bodies.too_long(&headers), too_long, "{length}");
        }
    }
}
