//! Bounds of bodies on their way through: how large an upload may be, how long either side may be silent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Limited;
use tokio::time::{Sleep, sleep};
use wirebound_tower::body::{Body, BoxError, watched};

use crate::config;

/// An upload within its bounds.
pub(super) type Upload<B> = Limited<Patient<B>>;

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
    pub(super) fn upload<B>(&self, body: B) -> Upload<B>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        Limited::new(Patient::new(body, self.silence), self.largest)
    }

    /// An app that falls silent in the middle of an answer is cut off; event streams may be silent for longer.
    pub(super) fn download<B>(&self, response: Response<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
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
        response.map(|body| watched(Patient::new(body, silence), None))
    }
}

/// A body that may be silent for so long and no longer. What it says of its own length stays said: a request without a
/// body must not be sent on as one with an empty body in chunks.
#[derive(Debug)]
pub(super) struct Patient<B> {
    body: B,
    silence: Duration,
    /// Only while something is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> Patient<B> {
    const fn new(body: B, silence: Duration) -> Self {
        Self {
            body,
            silence,
            waiting: None,
        }
    }
}

/// The other side said nothing for too long in the middle of a body.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {0:?} in the middle of a body")]
pub(super) struct Silent(Duration);

impl<B> HttpBody for Patient<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let silence = self.silence;
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(silence)));
        waiting
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(Silent(silence).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    #[test]
    fn a_body_says_of_its_length_what_it_said_before() {
        let silence = Duration::from_secs(1);
        assert!(Patient::new(Empty::<Bytes>::new(), silence).is_end_stream());
        let full = Patient::new(Full::new(Bytes::from("four")), silence);
        assert!(!full.is_end_stream());
        assert_eq!(full.size_hint().exact(), Some(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_is_an_error_and_one_that_dawdles_is_none() {
        let (say, hear) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
        let hear = Heard(hear);
        let mut body = Patient::new(StreamBody::new(hear), Duration::from_secs(10));
        for _ in 0..3 {
            let said = async {
                sleep(Duration::from_secs(9)).await;
                say.send(Ok(Frame::data(Bytes::from("x")))).await.unwrap();
            };
            let (_, frame) = tokio::join!(said, body.frame());
            assert!(frame.unwrap().is_ok());
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.is::<Silent>(), "{error}");
    }

    struct Heard(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

    impl futures_core::Stream for Heard {
        type Item = Result<Frame<Bytes>, BoxError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.poll_recv(cx)
        }
    }

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
