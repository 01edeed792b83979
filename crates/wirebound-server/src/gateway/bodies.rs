//! Bounds of bodies on their way through: how large an upload may be, how long either side may be silent, and what
//! becomes of an upload whose request was answered early.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Limited;
use tokio::time::{Instant, Sleep};
use wirebound_tower::body::{self, Body, BoxError, Ended, Fuse, boxed};
use wirebound_tower::gate::Access;
use wirebound_tower::listen::Connection;
use wirebound_tower::tls::Protocol;

use crate::config;
use crate::proxy::{CloseCode, Cut};

/// An upload within its bounds.
pub(super) type Upload<B> = Limited<Patient<Heard<B>>>;

/// How much of an upload is read away after its request was answered, and for how long: an HTTP/1.1 browser reads no
/// answer before it has sent everything, and if it is cut off it sends the request again.
const READ_AWAY: u64 = 64 * 1024 * 1024;
const READ_AWAY_TIME: Duration = Duration::from_secs(30);

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
    pub(super) fn upload<B>(&self, body: B, access: &Access) -> Upload<B>
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    {
        let heard = Heard {
            body: Some(body),
            access: access.clone(),
        };
        Limited::new(Patient::new(self.silence, heard), self.largest)
    }

    /// An app that falls silent in the middle of an answer is cut off; event streams may be silent for longer, and end at
    /// once when the gateway stops: nobody would wait for them to end.
    pub(super) fn download<B>(&self, response: Response<B>, stopping: Cut) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if !stream {
            return response.map(|body| boxed(Patient::new(self.silence, body)));
        }
        response.map(|body| {
            boxed(UntilTheStop {
                body: boxed(Patient::new(self.stream_silence, body)),
                fuse: Fuse::new(stopping.closed()),
            })
        })
    }
}

/// A body whose sender may be silent for so long. What is known of its length stays known: an app is sent no body where
/// the client has none, and an answer that is small need not be watched.
#[derive(Debug)]
pub(super) struct Patient<B> {
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

impl<B> Patient<B> {
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

/// An upload on its way to the app: each piece of it keeps its session from being idle.
pub(super) struct Heard<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> {
    body: Option<B>,
    access: Access,
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> HttpBody for Heard<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.access.touch(),
            None | Some(Err(_)) => self.body = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> Drop for Heard<B> {
    fn drop(&mut self) {
        let connection = &self.access.wired().connection;
        // On HTTP/2 the stream is closed behind the answer as RFC 9113 section 8.1 has it (RST_STREAM, NO_ERROR).
        if connection.protocol == Protocol::Http1
            && let Some(body) = self.body.take().filter(|body| !body.is_end_stream())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(read_away(body, Arc::clone(connection)));
        }
    }
}

/// Reads what is left of an upload, within bounds; the connection does not count as idle meanwhile.
async fn read_away<B: HttpBody<Data = Bytes>>(body: B, connection: Arc<Connection>) {
    let busy = connection.hold();
    drop(tokio::time::timeout(READ_AWAY_TIME, body::drain(body, READ_AWAY)).await);
    drop(busy);
}

/// A stream of events, which ends when the gateway stops.
struct UntilTheStop {
    body: Body,
    fuse: Fuse<CloseCode>,
}

impl HttpBody for UntilTheStop {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(burning) = self.fuse.poll(cx) {
            return burning.map(|_| Some(Err(Ended::new().into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
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

    const SILENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_body_keeps_what_is_known_of_its_length() {
        let none = Patient::new(SILENCE, Empty::<Bytes>::new());
        assert!(
            none.is_end_stream(),
            "an app is sent no body where there is none"
        );
        let some = Patient::new(SILENCE, Full::new(Bytes::from_static(b"abc")));
        assert_eq!(some.size_hint().exact(), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_falls_silent_is_cut_off_and_who_is_slow_is_not() {
        let (slow, silent) = (SILENCE / 2, SILENCE * 2);
        let pieces = futures_util::stream::unfold(0, move |piece| async move {
            tokio::time::sleep(if piece < 4 { slow } else { silent }).await;
            let frame = Frame::data(Bytes::from_static(b"x"));
            Some((Ok::<_, BoxError>(frame), piece + 1))
        });
        let mut body = Patient::new(SILENCE, StreamBody::new(Box::pin(pieces)));
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
