//! The feed of what is called back, to services that check assertions by themselves: server-sent events.
//!
//! Who comes with a place that is remembered gets what came since; anybody else a snapshot from the store, and then what
//! came meanwhile. A beat says that everything up to a place was sent, so that silence is noticed. A feed ends when its key
//! does.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body::Frame;
use tokio::sync::mpsc;
use wirebound::revocation::feed::{FeedKey, Message, NotHeard, Teller};
use wirebound::revocation::{Followed, Place};
use wirebound::store::StoreError;
use wirebound::{Timestamp, VerifiedKey};

use super::{Access, Gate};
use crate::body::{self, Body, Fed};
use crate::listen::Connection;
use crate::machine;

/// How often it is said that nothing happened.
const BEAT: Duration = Duration::from_secs(2);
/// How many pieces may wait for a client that reads slowly. One that does not read gets nothing more, and misses beats.
const WAITING: usize = 4;
/// Whoever reads nothing for so long is let go: its key may be none by now.
const READS_WITHIN: Duration = Duration::from_secs(10);
/// What is sent in one piece.
const PIECE: usize = 32 * 1024;

/// Whoever followed is gone, or must be: nothing more is sent.
struct Over;

impl From<NotHeard> for Over {
    fn from(_: NotHeard) -> Self {
        // It cannot stand where it was to be said: whoever follows begins anew.
        Self
    }
}

/// One service that follows.
struct Following {
    gate: Gate,
    key: Arc<VerifiedKey>,
    connection: Arc<Connection>,
    teller: Teller,
    out: String,
    to: mpsc::Sender<Frame<Bytes>>,
}

impl Gate {
    pub(super) fn open_feed(&self, access: &Access, parts: &Parts) -> Option<Response<Body>> {
        let key = access.shared_key()?;
        let text = machine::key(&parts.headers).ok().flatten()?;
        let feed_key = FeedKey::of_api_key(core::str::from_utf8(text).ok()?)?;
        let place = parts.headers.get("last-event-id");
        let place = place.and_then(|value| Place::parse(value.to_str().ok()?));
        let (to, from) = mpsc::channel(WAITING);
        let following = Following {
            gate: self.clone(),
            key,
            connection: Arc::clone(&access.wired().connection),
            teller: Teller::new(feed_key),
            out: String::new(),
            to,
        };
        tokio::spawn(following.follow(place));
        let mut response = Response::new(body::boxed(Fed::new(from)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}

impl Following {
    async fn follow(mut self, place: Option<Place>) {
        // Over: it reads no more, or its key is none any more. Whoever comes back is judged.
        let (Ok(()) | Err(Over)) = self.tell_all(place).await;
    }

    async fn tell_all(&mut self, place: Option<Place>) -> Result<(), Over> {
        let engine = Arc::clone(self.gate.engine());
        let revocations = engine.revocations();
        let mut place = match revocations.since(place) {
            Followed::Since(..) => place.ok_or(Over)?,
            Followed::Anew(from) => self.tell_snapshot(from).await?,
        };
        loop {
            // Before looking, so that nothing falls between.
            let heard = revocations.listen();
            let now = self.now()?;
            self.is_good(now)?;
            let sure = engine.settle_revocations(now).await.is_ok();
            place = self.tell_since(place).await?;
            // A beat says that everything was told. What may have happened without being known here was not.
            if sure {
                self.say(&Message::Beat { place, now })?;
            }
            self.send().await?;
            tokio::select! {
                () = heard.heard() => {}
                () = tokio::time::sleep(BEAT) => {}
                () = self.to.closed() => return Err(Over),
                () = self.connection.hung_up() => return Err(Over),
            }
        }
    }

    fn now(&self) -> Result<Timestamp, Over> {
        self.gate.now().ok_or(Over)
    }

    fn is_good(&self, now: Timestamp) -> Result<(), Over> {
        let good = self.gate.engine().key_stands(&self.key, now);
        // Where the gateway stops, or makes room: whoever follows comes back.
        (good && !self.connection.is_closing())
            .then_some(())
            .ok_or(Over)
    }

    fn say(&mut self, message: &Message) -> Result<(), Over> {
        Ok(self.teller.tell(message, &mut self.out)?)
    }

    async fn send(&mut self) -> Result<(), Over> {
        if self.out.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(core::mem::take(&mut self.out));
        let sent = self.to.send_timeout(Frame::data(piece), READS_WITHIN).await;
        sent.map_err(|_| Over)
    }

    /// Everything that came since a place; the place after it.
    async fn tell_since(&mut self, place: Place) -> Result<Place, Over> {
        let since = self.gate.engine().revocations().since(Some(place));
        let Followed::Since(entries, after) = since else {
            // It fell behind what is remembered: it comes back, and takes a snapshot.
            return Err(Over);
        };
        let mut number = place.number;
        for entry in entries {
            number = number.saturating_add(1);
            let place = Some(Place {
                run: after.run,
                number,
            });
            self.say(&Message::Revoked { place, entry })?;
            if self.out.len() >= PIECE {
                self.send().await?;
            }
        }
        Ok(after)
    }

    /// All that is called back, from the store; the place to go on from.
    async fn tell_snapshot(&mut self, place: Place) -> Result<Place, Over> {
        let now = self.now()?;
        self.say(&Message::Snapshot { place, now })?;
        // What is in doubt is looked up first, and what is on its way to the store is told before what is in it.
        let engine = Arc::clone(self.gate.engine());
        let settled = engine.settle_revocations(now).await;
        settled.map_err(|error| unserved(&error))?;
        let mut entries: u64 = 0;
        for entry in engine.revocations().ahead() {
            entries = entries.saturating_add(1);
            self.say(&Message::Revoked { place: None, entry })?;
        }
        let mut after = None;
        loop {
            self.is_good(self.now()?)?;
            let page = self.page(after, now).await?;
            for entry in page.entries {
                entries = entries.saturating_add(1);
                self.say(&Message::Revoked { place: None, entry })?;
            }
            self.send().await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let now = self.now()?;
        self.say(&Message::Complete {
            place,
            entries,
            now,
        })?;
        self.send().await?;
        Ok(place)
    }

    async fn page(
        &self,
        after: Option<(Timestamp, wirebound::store::Key)>,
        now: Timestamp,
    ) -> Result<wirebound::engine::RevokedPage, Over> {
        let page = self.gate.engine().revoked(after, now).await;
        page.map_err(|error| unserved(&error))
    }
}

fn unserved(error: &StoreError) -> Over {
    tracing::error!(%error, "the feed cannot be served");
    Over
}
