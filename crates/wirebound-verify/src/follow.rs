//! Following the feed: one connection after the other, for as long as anybody checks.
//!
//! A connection that says nothing whole for a while is given up, be it that bytes still drip. A connection that was merely
//! lost is taken up where it was; after one whose word was worth nothing, everything is asked for again.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use wirebound::Clock;
use wirebound::revocation::feed::{FeedKey, Hearer, Message, NotHeard};

use crate::backoff::Backoff;
use crate::course::{Astray, Course, Told};
use crate::known::Known;
use crate::reach::{Reach, Trouble, is_ok, is_type, show};
use crate::stream::{Event, Parser, TooLong};
use crate::system::Counter;

const PATH: &str = "/.wirebound/feed";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long the feed may go without a whole message; a beat comes every two seconds.
const SILENCE: Duration = Duration::from_secs(5);
/// Entries that are kept at most: about a gigabyte.
const ENTRIES_MOST: usize = 16 * 1024 * 1024;

/// Who follows, and with what.
pub(crate) struct Follower {
    pub(crate) known: Arc<Known>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counter: Counter,
    pub(crate) key: HeaderValue,
    pub(crate) macs: FeedKey,
    /// The longest silence: no more than the lease.
    pub(crate) silence: Duration,
}

impl From<TooLong> for Trouble {
    fn from(_: TooLong) -> Self {
        Self::Oversized
    }
}

impl From<NotHeard> for Trouble {
    fn from(not_heard: NotHeard) -> Self {
        Self::NotHeard(not_heard)
    }
}

impl From<Astray> for Trouble {
    fn from(astray: Astray) -> Self {
        Self::Astray(astray)
    }
}

impl Follower {
    pub(crate) fn silence(lease: Duration) -> Duration {
        SILENCE.min(lease)
    }

    /// Follows until the task that it runs in ends.
    pub(crate) async fn follow(self, tell: impl Fn(Option<Trouble>)) {
        let mut backoff = Backoff::new();
        loop {
            let trouble = self.connection(&mut backoff, &tell).await;
            if is_worthless(trouble) {
                self.known.unsure();
            }
            tell(Some(trouble));
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// One connection, from its beginning to what ends it.
    async fn connection(&self, backoff: &mut Backoff, tell: &impl Fn(Option<Trouble>)) -> Trouble {
        match self.try_connection(backoff, tell).await {
            Ok(()) => Trouble::Ended,
            Err(trouble) => trouble,
        }
    }

    async fn try_connection(
        &self,
        backoff: &mut Backoff,
        tell: &impl Fn(Option<Trouble>),
    ) -> Result<(), Trouble> {
        let place = self.known.place();
        let mut request = self.reach.get(PATH, "text/event-stream");
        show(request.as_mut(), &self.key);
        let from = place.and_then(|place| HeaderValue::from_str(&place.to_string()).ok());
        if let (Some(request), Some(from)) = (request.as_mut(), from) {
            request.headers_mut().insert(LAST_EVENT_ID, from);
        }
        let (head, mut body) = self.reach.open(request).await?.into_parts();
        is_ok(head.status)?;
        is_type(&head.headers, &["text/event-stream"])?;

        let mut hearer = Hearer::new(self.macs.clone());
        let mut course = Course::from(place);
        let mut parser = Parser::default();
        let mut heard = Instant::now();
        loop {
            let until = heard.checked_add(self.silence).unwrap_or(heard);
            let frame = tokio::time::timeout_at(until, body.frame())
                .await
                .map_err(|_| Trouble::Slow)?;
            let Some(frame) = frame else {
                return Ok(());
            };
            let frame = frame.map_err(|_| Trouble::Unreachable)?;
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            parser.push(bytes, |event| {
                let Event { name, id, data } = event;
                let message = hearer.hear(&name, id.as_deref(), &data)?;
                let told = course.hear(&message, ENTRIES_MOST)?;
                heard = Instant::now();
                if self.take(&message, told)? {
                    backoff.reset();
                    tell(None);
                }
                Ok::<(), Trouble>(())
            })?;
        }
    }

    /// Takes up what a message means. True if everything is known now.
    fn take(&self, message: &Message, told: Told) -> Result<bool, Trouble> {
        match told {
            Told::Unsure => self.known.unsure(),
            Told::Entry(entry) => {
                self.known.entry(entry);
                if let Message::Revoked {
                    place: Some(place), ..
                } = message
                {
                    self.known.moved(*place);
                    if self.known.entries() > ENTRIES_MOST {
                        return Err(Astray::TooMany.into());
                    }
                }
            }
            Told::Sure(place, said) => {
                let now = self.clock.now();
                self.known.sure(place, said, now, self.counter.now());
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether what was said cannot be gone on from, as opposed to a connection that was lost.
fn is_worthless(trouble: Trouble) -> bool {
    match trouble {
        Trouble::NotHeard(_) | Trouble::Astray(_) | Trouble::Oversized => true,
        Trouble::Unreachable
        | Trouble::Slow
        | Trouble::Status(_)
        | Trouble::ContentType
        | Trouble::Malformed
        | Trouble::Ended
        | Trouble::Busy => false,
    }
}
