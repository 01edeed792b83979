//! Bodies on their way to a client: one boxed type, and one that is cut when its session ends.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use wirebound::Cut;

/// Any error.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// The body of every response that leaves the gate.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Bodies up to here are not watched: they are gone before anybody could end their session.
const SMALL: u64 = 64 * 1024;

/// What a cut leaves to the answer's head. A body that breaks off at its first poll takes an unsent head with it, and
/// a browser repeats whatever was reset before an answer's head came, POST included.
const HEAD_FIRST: Duration = Duration::from_millis(20);

/// How long a cut body may still hang in front of a client that does not read.
const STUCK: Duration = Duration::from_secs(2);

/// A signal that cuts a body, though never before the answer's head has had its time to leave.
pub struct Fuse<T> {
    signal: Pin<Box<dyn Future<Output = T> + Send>>,
    lit: Option<Instant>,
    burning: Option<(T, Pin<Box<Sleep>>)>,
}

impl<T: Copy> Fuse<T> {
    /// Cuts when `signal` is done.
    pub fn new(signal: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            signal: Box::pin(signal),
            lit: None,
            burning: None,
        }
    }

    /// Asks before each frame. `None`: go on. `Pending`: no further frame, the head is still leaving. `Ready`: break off.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Option<Poll<T>> {
        let lit = *self.lit.get_or_insert_with(Instant::now);
        if self.burning.is_none()
            && let Poll::Ready(why) = self.signal.as_mut().poll(cx)
        {
            let wait = tokio::time::sleep_until(lit.checked_add(HEAD_FIRST).unwrap_or(lit));
            self.burning = Some((why, Box::pin(wait)));
        }
        let (why, wait) = self.burning.as_mut()?;
        Some(wait.as_mut().poll(cx).map(|()| *why))
    }
}

impl<T> core::fmt::Debug for Fuse<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fuse")
            .field("burning", &self.burning.is_some())
            .finish_non_exhaustive()
    }
}

/// A whole body.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Boxes a body.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that is fed piece by piece, for as long as anybody feeds it.
pub(crate) struct Fed(mpsc::Receiver<Frame<Bytes>>);

impl Fed {
    pub(crate) const fn new(from: mpsc::Receiver<Frame<Bytes>>) -> Self {
        Self(from)
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = core::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Holds something for as long as a body is being sent.
pub(crate) fn holding(body: Body, held: impl Send + 'static) -> Body {
    body.map_frame(move |frame| {
        let _held = &held;
        frame
    })
    .boxed_unsync()
}

/// Whether a body is so small that it is gone before anybody could end its session.
fn is_small(body: &Body) -> bool {
    body.size_hint().upper().is_some_and(|most| most <= SMALL)
}

/// Boxes a body; if it streams, it is cut when the signal that `signal` makes is done, the moment its session ends or its
/// role falls.
///
/// A client that does not read keeps its connection from asking for the next frame, and so from seeing the cut. After
/// two seconds `stuck` is called, which may close the connection.
pub fn watched<B, S>(
    body: B,
    signal: impl FnOnce() -> S,
    stuck: impl FnOnce() + Send + 'static,
) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    S: Future<Output = Cut> + Send + 'static,
{
    let body = boxed(body);
    if is_small(&body) {
        return body;
    }
    let (say, hear) = oneshot::channel();
    let signal = signal();
    let guard = tokio::spawn(async move {
        let cut = signal.await;
        // A body that is gone needs no cut, and has aborted this.
        let _heard = say.send(cut);
        tokio::time::sleep(STUCK).await;
        stuck();
    });
    let cut = async move {
        match hear.await {
            Ok(cut) => cut,
            // Whoever watched is gone without a word: nobody can say that the session lives.
            Err(_) => Cut::RoleChanged,
        }
    };
    Watched {
        body,
        fuse: Fuse::new(cut),
        _guard: Guard(guard),
    }
    .boxed_unsync()
}

/// Ends the watching with the body.
struct Guard(JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watched {
    body: Body,
    fuse: Fuse<Cut>,
    _guard: Guard,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // The end of the session comes before anything that is still to be sent.
        if let Some(burning) = self.fuse.poll(cx) {
            return burning.map(|_| Some(Err(Ended::new().into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads a request's body and throws it away, up to a bound, so that an answer that closes the connection arrives.
pub async fn drain<B>(body: B, most: u64)
where
    B: http_body::Body,
{
    let mut body = core::pin::pin!(body);
    let mut read: u64 = 0;
    while let Some(Ok(frame)) = body.as_mut().frame().await {
        let bytes = frame.data_ref().map_or(0, |data| {
            u64::try_from(bytes::Buf::remaining(data)).unwrap_or(u64::MAX)
        });
        read = read.saturating_add(bytes);
        if read > most {
            return;
        }
    }
}

/// The session ended while an answer was on its way. Over HTTP/2 the stream is reset as CANCEL (RFC 9113 section 7): never as
/// REFUSED_STREAM, which would tell a client to send its request again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended(h2::Error);

impl Ended {
    /// It ended.
    #[must_use]
    pub fn new() -> Self {
        Self(h2::Reason::CANCEL.into())
    }
}

impl Default for Ended {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Display for Ended {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the session ended")
    }
}

impl core::error::Error for Ended {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}
