//! Bodies on their way through: streamed frame by frame, never gathered.
//!
//! An answer's body ends early, with an error, when its session has ended: the client then sees a stream
//! that was cut, not one that was complete. Dropping the body drops the upstream's, and that cancels the
//! request there. Backpressure is the server's: no frame is asked for before the last one was taken.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use wirebound_tower::body::Fuse;

use super::cut::{CloseCode, Cut};
use super::strip;

/// Any error of a client's body.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A client's body on its way to the upstream.
pub type Upload = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Counts what has passed of an upload: while it grows, the upstream is not slow, the client is still sending.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Resolves when nothing has passed for as long as `patience`.
    pub(crate) async fn stalled(&self, patience: Duration) {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            tokio::time::sleep(patience).await;
            if self.0.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// Makes an [`Upload`] of a request's body; fields of ours in its trailers are removed.
pub(crate) fn upload<B>(body: B, progress: Progress) -> Upload
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    use http_body_util::BodyExt as _;
    body.map_frame(move |mut frame| {
        progress.0.fetch_add(1, Ordering::Relaxed);
        if let Some(trailers) = frame.trailers_mut() {
            let _removed = strip::trailers(trailers);
        }
        frame
    })
    .map_err(Into::into)
    .boxed_unsync()
}

/// No body.
pub(crate) fn nothing() -> Upload {
    use http_body_util::BodyExt as _;
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Why an answer's body ended before it was complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The session ended.
    #[error("cut, because the session ended: {}", .0.reason())]
    Cut(CloseCode, #[source] wirebound_tower::body::Ended),
    /// The upstream stopped in the middle of its answer.
    #[error("the upstream broke off in the middle of its answer")]
    Upstream(#[source] hyper::Error),
}

/// Looks at the bytes of a body as they pass.
pub type Observer = Box<dyn FnMut(&[u8]) + Send>;

/// An upstream's body on its way to the client.
pub struct Download {
    upstream: Option<Incoming>,
    cut: Cut,
    /// Made when the body is first waited for, or when the signal has fired: most answers are there at once.
    fuse: Option<Fuse<CloseCode>>,
    observer: Option<Observer>,
}

impl Download {
    pub(crate) fn new(upstream: Incoming, cut: Cut) -> Self {
        Self {
            upstream: Some(upstream),
            cut,
            fuse: None,
            observer: None,
        }
    }

    /// A body with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            upstream: None,
            cut: Cut::never(),
            fuse: None,
            observer: None,
        }
    }

    /// Goes out to its end, whatever becomes of the session: the answer that itself ends it.
    #[must_use]
    pub fn uncut(mut self) -> Self {
        (self.cut, self.fuse) = (Cut::never(), None);
        self
    }

    /// Has `observer` see every chunk before the client does. It cannot change or stop them.
    #[must_use]
    pub fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, Broken>>>;

impl Download {
    /// What the session's end makes of this poll; none where it has not come.
    fn poll_fuse(&mut self, context: &mut Context<'_>) -> Option<Polled> {
        let cut = &self.cut;
        let fuse = self
            .fuse
            .get_or_insert_with(|| Fuse::new(cut.clone().closed()));
        let burning = fuse.poll(context)?;
        Some(burning.map(|code| {
            self.upstream = None;
            Some(Err(Broken::Cut(code, wirebound_tower::body::Ended::new())))
        }))
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        if this.upstream.is_none() {
            return Poll::Ready(None);
        }
        // The end of the session is asked first: a stream that always has something ready must not outrun it.
        let lit = this.fuse.is_some() || this.cut.fired().is_some();
        if lit && let Some(cut) = this.poll_fuse(context) {
            return cut;
        }
        let Some(upstream) = &mut this.upstream else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(upstream).poll_frame(context);
        if polled.is_pending() && !lit {
            // From here on the signal has to wake us.
            return this.poll_fuse(context).unwrap_or(Poll::Pending);
        }
        Poll::Ready(match std::task::ready!(polled) {
            None => {
                this.upstream = None;
                None
            }
            Some(Err(error)) => {
                this.upstream = None;
                Some(Err(Broken::Upstream(error)))
            }
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    let removed = strip::trailers(trailers);
                    if removed.any() {
                        tracing::warn!(
                            ?removed,
                            "fields that an upstream may not send were removed from trailers"
                        );
                    }
                }
                if let (Some(observer), Some(chunk)) = (&mut this.observer, frame.data_ref()) {
                    observer(chunk);
                }
                Some(Ok(frame))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_upload_is_not_a_slow_upstream() {
        let progress = Progress::default();
        let watched = progress.clone();
        let stalled = tokio::spawn(async move { watched.stalled(Duration::from_secs(60)).await });
        for _ in 0..20 {
            tokio::task::yield_now().await;
            progress.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        assert!(!stalled.is_finished());
        let last = tokio::time::Instant::now();
        stalled.await.unwrap();
        assert!(last.elapsed() <= Duration::from_secs(120));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_body_the_upstream_has_its_time_and_no_more() {
        let started = tokio::time::Instant::now();
        Progress::default().stalled(Duration::from_secs(60)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(60));
    }
}
