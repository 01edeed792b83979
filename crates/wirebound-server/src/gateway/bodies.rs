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
use tokio::sync::oneshot;
use wirebound_tower::body::{self, Body, BoxError, Ended, Fuse, boxed};
use wirebound_tower::gate::Access;
use wirebound_tower::listen::Connection;
use wirebound_tower::tls::Protocol;

use super::patient::Patient;
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

    /// What was not announced is counted, and cut off at the bound; so is a client that falls silent. The upload ends with
    /// an error once `Kept` is dropped: until then whoever takes it would wait for the client's next piece.
    pub(super) fn upload<B>(&self, body: B, access: &Access) -> (Upload<B>, Kept)
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (kept, wanted) = if body.is_end_stream() {
            (Kept(None), None)
        } else {
            let (say, hear) = oneshot::channel();
            (Kept(Some(say)), Some(hear))
        };
        let heard = Heard {
            body: Some(body),
            wanted,
            silence: self.silence,
            access: access.clone(),
        };
        let upload = Limited::new(Patient::new(self.silence, heard), self.largest);
        (upload, kept)
    }

    /// An app that falls silent in the middle of an answer is cut off; event streams may be silent for longer, and end at
    /// once when the gateway stops: nobody would wait for them to end.
    pub(super) fn download<B>(&self, response: Response<B>, stopping: Cut) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
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

/// Somebody waits for the answer to an upload. Dropping it breaks the upload off.
pub(super) struct Kept(Option<oneshot::Sender<()>>);

impl Kept {
    /// The answer has begun; the rest of the upload goes on beside it.
    pub(super) fn answered(self) {
        if let Some(say) = self.0 {
            say.send(()).unwrap_or_default();
        }
    }
}

/// An upload on its way to the app: each piece of it keeps its session from being idle.
pub(super) struct Heard<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    body: Option<B>,
    wanted: Option<oneshot::Receiver<()>>,
    silence: Duration,
    access: Access,
}

/// Nobody waits for the answer any more.
#[derive(Debug, thiserror::Error)]
#[error("the request was given up")]
struct GivenUp;

impl<B> HttpBody for Heard<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(wanted) = &mut this.wanted
            && let Poll::Ready(said) = Pin::new(wanted).poll(cx)
        {
            this.wanted = None;
            if said.is_err() {
                return Poll::Ready(Some(Err(GivenUp.into())));
            }
        }
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => this.access.touch(),
            None | Some(Err(_)) => this.body = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
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

impl<B> Drop for Heard<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn drop(&mut self) {
        let connection = &self.access.wired().connection;
        // On HTTP/2 the stream is closed behind the answer as RFC 9113 section 8.1 has it (RST_STREAM, NO_ERROR).
        if connection.protocol == Protocol::Http1
            && let Some(body) = self.body.take().filter(|body| !body.is_end_stream())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let body = Patient::new(self.silence, body);
            runtime.spawn(read_away(body, Arc::clone(connection)));
        }
    }
}

/// Reads what is left of an upload, within bounds and unless it falls silent; the connection does not count as idle meanwhile.
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
