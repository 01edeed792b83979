//! A body whose sender may be silent for so long and no longer.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wirebound_tower::body::BoxError;

/// A body whose sender may be silent for so long. What is known of its length stays known: an app is not sent a body
/// where the client has none, and an answer that is small need not be watched.
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
    pub(super) const fn new(silence: Duration, body: B) -> Self {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_body_says_of_its_length_what_it_said_before() {
        let none = Patient::new(SILENCE, Empty::<Bytes>::new());
        assert!(none.is_end_stream());
        assert_eq!(none.size_hint().exact(), Some(0));
        let full = Patient::new(SILENCE, Full::new(Bytes::from_static(b"four")));
        assert!(!full.is_end_stream());
        assert_eq!(full.size_hint().exact(), Some(4));
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
}
