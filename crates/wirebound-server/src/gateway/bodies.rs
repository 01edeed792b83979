//! Bounds of bodies on their way through: how large an upload may be, how long either side may be silent.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Limited;
use tokio::time::{Instant, Sleep};
use wirebound_tower::body::{Body, BoxError, watched};

use crate::config;

/// An upload within its bounds.
pub(super) type Upload<B> = Limited<Heard<B>>;

/// A body whose sender may be silent for so long. What is known of its length stays known: an app is not sent a body
/// where the client has none, and an answer that is small need not be watched.
#[derive(Debug)]
pub(super) struct Heard<B> {
    body: B,
    silence: Duration,
    /// Made when it is first waited for: most bodies are there at once.
    alarm: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

/// The sender of a body was silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing more came for {0:?}")]
pub(super) struct Silent(Duration);

impl<B> Heard<B> {
    const fn new(silence: Duration, body: B) -> Self {
        Self {
            body,
            silence,
            alarm: None,
            waiting: false,
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let silence = self.silence;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        if !self.waiting {
            self.waiting = true;
            let now = Instant::now();
            alarm
                .as_mut()
                .reset(now.checked_add(silence).unwrap_or(now));
        }
        alarm.as_mut().poll(cx)
    }
}

impl<B> HttpBody for Heard<B>
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
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let silent = Silent(self.silence);
        self.poll_alarm(cx).map(|()| Some(Err(silent.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
        Limited::new(Heard::new(self.silence, body), self.largest)
    }

    /// An app that falls silent in the middle of an answer is cut off; event streams may be silent for longer.
    pub(super) fn download<B>(&self, response: Response<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
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
        response.map(|body| watched(Heard::new(silence, body), None))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    fn bodies() -> Bodies {
        Bodies {
            largest: 1024,
            silence: SILENCE,
            stream_silence: SILENCE,
        }
    }

    #[test]
    fn a_request_without_a_body_has_none_at_the_app_either() {
        let upload = bodies().upload(Empty::<Bytes>::new());
        assert!(upload.is_end_stream());
        assert_eq!(upload.size_hint().exact(), Some(0));
    }

    #[test]
    fn an_answer_of_known_length_keeps_it() {
        let response = Response::new(Full::new(Bytes::from_static(b"abc")));
        let response = bodies().download(response);
        assert_eq!(response.body().size_hint().exact(), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_falls_silent_is_cut_off_and_who_is_slow_is_not() {
        let (slow, silent) = (SILENCE / 2, SILENCE * 2);
        let pieces = futures_util::stream::unfold(0, move |piece| async move {
            tokio::time::sleep(if piece < 4 { slow } else { silent }).await;
            let frame = Frame::data(Bytes::from_static(b"x"));
            Some((Ok::<_, BoxError>(frame), piece + 1))
        });
        let mut body = Heard::new(SILENCE, StreamBody::new(Box::pin(pieces)));
        let start = Instant::now();
        for _ in 0..4 {
            body.frame().await.unwrap().unwrap();
        }
        let end = body.frame().await.unwrap().unwrap_err();
        assert!(end.downcast_ref::<Silent>().is_some());
        assert_eq!(start.elapsed(), slow * 4 + SILENCE);
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
