//! What comes over the feed, honest and not.

use std::time::{Duration, Instant};

use wirebound::revocation::feed::{FeedKey, Message, NotHeard, Teller};
use wirebound::revocation::{Revoked, SubjectTag};
use wirebound::{Lifetime, SessionId, Timestamp};
use wirebound_verify::{Astray, Freshness, Refused, Trouble, Unsure, Verifier};

use super::rig::{
    FEED, Feed, Gateway, KEY, OTHER, SESSION, Said, at, entry, is_ready, revoked, token_of, until,
};

const NOT_KNOWN: Refused = Refused::StoreUnavailable(Unsure::NotKnown);
const STALE: Refused = Refused::StoreUnavailable(Unsure::Stale);

fn refused(verifier: &Verifier, token: &str) -> Option<Refused> {
    verifier.try_check(token).err()
}

async fn until_refused(verifier: &Verifier, token: &str, why: Refused) {
    until(why.detail(), || refused(verifier, token) == Some(why)).await;
}

async fn until_taken(verifier: &Verifier, token: &str) {
    until("the token is taken", || refused(verifier, token).is_none()).await;
}

async fn until_trouble(verifier: &Verifier, trouble: Trouble) {
    until(trouble.name(), || {
        verifier.freshness().feed_trouble == Some(trouble)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_taken_before_the_first_snapshot_is_whole() {
    let gateway = Gateway::start().await;
    let verifier = gateway.builder().start().unwrap();
    let token = gateway.token();
    let mut feed = gateway.feed().await;
    assert_eq!(feed.from, None);
    assert_eq!(
        feed.authorization.as_deref(),
        Some(format!("Bearer {KEY}").as_str())
    );
    until("the keys are there", || verifier.freshness().keys).await;
    assert_eq!(refused(&verifier, &token), Some(NOT_KNOWN));

    let now = gateway.clock.at();
    let place = at(5);
    feed.tell(&Message::Snapshot { place, now }).await;
    let other = entry(OTHER);
    feed.tell(&Message::Revoked {
        place: None,
        entry: other,
    })
    .await;
    until("the entry is known", || verifier.freshness().entries == 1).await;
    assert_eq!(refused(&verifier, &token), Some(NOT_KNOWN));

    feed.tell(&Message::Complete {
        place,
        entries: 1,
        now,
    })
    .await;
    is_ready(&verifier).await;
    let checked = verifier.check(&token).await.unwrap();
    assert_eq!(checked.claims.subject.as_bytes(), b"alice \xff");
    assert!(matches!(checked.freshness, Freshness::Fed { .. }));
    let knowledge = verifier.freshness();
    assert_eq!(knowledge.place, Some(place));
    assert_eq!(knowledge.feed_trouble, None);
}

#[tokio::test]
async fn each_kind_of_entry_refuses_what_it_names_and_nothing_else() {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let claims = gateway.claims();
    let mut other = gateway.claims();
    other.session = SessionId::from_bytes([8; 10]);
    other.tag = SubjectTag::from_bytes([8; 16]);
    other.generation = claims.generation + 5_000;
    other.issued = other.issued.plus(5);
    other.not_before = other.issued;
    let (token, other) = (gateway.sign(&claims), gateway.sign(&other));
    let tag = SubjectTag::from_bytes([3; 16]);
    let generation = claims.generation + 1;
    let whats = [
        SESSION,
        token_of(&claims),
        Revoked::Subject { tag, generation },
        Revoked::Before(Timestamp::from_millis(generation)),
    ];
    for what in whats {
        let gateway = &gateway;
        let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
        assert_eq!(refused(&verifier, &token), None, "before {what:?}");
        feed.revoke(1, what).await;
        until_refused(&verifier, &token, Refused::PhantomSession).await;
        assert_eq!(verifier.check(&token).await, Err(Refused::PhantomSession));
        assert_eq!(refused(&verifier, &other), None, "after {what:?}");
    }
    // The same generation is the first that is good again.
    let same = Revoked::Subject {
        tag,
        generation: claims.generation,
    };
    feed.revoke(1, same).await;
    feed.revoke(2, OTHER).await;
    until("both are known", || verifier.freshness().entries == 2).await;
    assert_eq!(refused(&verifier, &token), None);
}

#[tokio::test]
async fn what_is_called_back_is_refused_at_once() {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let mut waits = Vec::new();
    for number in 1..=50 {
        let mut claims = gateway.claims();
        claims.session = SessionId::from_bytes([number; 10]);
        let token = gateway.sign(&claims);
        assert_eq!(refused(&verifier, &token), None);
        let sent = instant();
        feed.revoke(number.into(), Revoked::Session(claims.session))
            .await;
        while refused(&verifier, &token).is_none() {
            assert!(
                sent.elapsed() < Duration::from_secs(5),
                "it is never refused"
            );
            tokio::task::yield_now().await;
        }
        waits.push(sent.elapsed());
    }
    waits.sort();
    println!(
        "from sent to refused over loopback: median {:?}, longest {:?} of {}",
        waits[waits.len() / 2],
        waits[waits.len() - 1],
        waits.len()
    );
}

#[expect(clippy::disallowed_methods, reason = "a figure that is printed")]
fn instant() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_connection_that_is_cut_is_taken_up_where_it_was() {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let token = gateway.token();
    feed.revoke(1, OTHER).await;
    until("one entry", || verifier.freshness().entries == 1).await;
    drop(feed);
    let mut feed = gateway.feed().await;
    assert_eq!(feed.from, Some(at(1).to_string()));
    // What it knows is as old as it is, and not older.
    assert_eq!(refused(&verifier, &token), None);
    feed.revoke(2, SESSION).await;
    feed.beat(2, gateway.clock.at().after(Lifetime::from_millis(1)))
        .await;
    until_refused(&verifier, &token, Refused::PhantomSession).await;
    until("no trouble", || verifier.freshness().feed_trouble.is_none()).await;
}

#[tokio::test]
async fn after_a_place_that_nobody_remembers_nothing_is_taken_until_the_snapshot_is_whole() {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let token = gateway.token();
    let mut banned = gateway.claims();
    banned.session = SessionId::from_bytes([9; 10]);
    let banned = gateway.sign(&banned);
    feed.revoke(1, OTHER).await;
    until_refused(&verifier, &banned, Refused::PhantomSession).await;
    drop(feed);

    let mut feed = gateway.feed().await;
    let now = gateway.clock.at();
    let place = wirebound::revocation::Place { run: 99, number: 0 };
    feed.tell(&Message::Snapshot { place, now }).await;
    until_refused(&verifier, &token, NOT_KNOWN).await;
    // Nothing that was known is forgotten meanwhile.
    assert_eq!(refused(&verifier, &banned), Some(Refused::PhantomSession));
    feed.tell(&Message::Complete {
        place,
        entries: 0,
        now,
    })
    .await;
    until_taken(&verifier, &token).await;
    assert_eq!(refused(&verifier, &banned), Some(Refused::PhantomSession));
}

#[tokio::test]
async fn a_snapshot_that_is_cut_is_worth_nothing() {
    let gateway = Gateway::start().await;
    let verifier = gateway.builder().start().unwrap();
    let token = gateway.token();
    let mut feed = gateway.feed().await;
    let (place, now) = (at(5), gateway.clock.at());
    feed.tell(&Message::Snapshot { place, now }).await;
    drop(feed);
    let mut feed = gateway.feed().await;
    assert_eq!(feed.from, None);
    until("the keys are there", || verifier.freshness().keys).await;
    assert_eq!(refused(&verifier, &token), Some(NOT_KNOWN));
    feed.snapshot(5, &[], now).await;
    until_taken(&verifier, &token).await;
}

/// Says something wrong to a verifier that knows everything. It must not be believed, must not be gone on from, and must
/// be over after one more snapshot.
async fn wrong(say: impl AsyncFnOnce(&mut Feed), trouble: Trouble) {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let token = gateway.token();
    feed.revoke(1, OTHER).await;
    until("the entry is known", || verifier.freshness().entries == 1).await;
    assert_eq!(refused(&verifier, &token), None);
    say(&mut feed).await;
    until_trouble(&verifier, trouble).await;
    assert_eq!(refused(&verifier, &token), Some(NOT_KNOWN), "{trouble:?}");
    feed.left().await;
    let mut feed = gateway.feed().await;
    assert_eq!(feed.from, None, "everything is asked for again");
    assert_eq!(refused(&verifier, &token), Some(NOT_KNOWN));
    feed.snapshot(2, &[], gateway.clock.at().after(Lifetime::from_millis(1)))
        .await;
    until_taken(&verifier, &token).await;
}

#[tokio::test]
async fn a_lost_entry_is_noticed() {
    let gap = Trouble::Astray(Astray::Gap);
    wrong(async |feed| feed.revoke(3, OTHER).await, gap).await;
    // Also where nothing but the beat tells of it.
    wrong(
        async |feed| {
            feed.beat(2, Timestamp::from_millis(super::rig::START + 1))
                .await;
        },
        gap,
    )
    .await;
}

#[tokio::test]
async fn an_old_event_said_again_is_noticed() {
    let replayed = Trouble::Astray(Astray::Replayed);
    wrong(async |feed| feed.revoke(1, OTHER).await, replayed).await;
    wrong(
        async |feed| {
            feed.beat(0, Timestamp::from_millis(super::rig::START))
                .await;
        },
        replayed,
    )
    .await;
}

#[tokio::test]
async fn what_somebody_else_says_is_not_believed() {
    let other = KEY.replace("c000000", "d000000");
    let forged = |key: &str| {
        let mut teller = Teller::new(FeedKey::of_api_key(key).unwrap());
        let mut text = String::new();
        teller.tell(&revoked(2, SESSION), &mut text).unwrap();
        text
    };
    let not_ours = Trouble::NotHeard(NotHeard::Mac);
    wrong(async |feed| feed.raw(forged(&other)).await, not_ours).await;

    // The control: the same words under the right key are believed.
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let token = gateway.token();
    feed.revoke(1, OTHER).await;
    feed.raw(forged(KEY)).await;
    until_refused(&verifier, &token, Refused::PhantomSession).await;
}

#[tokio::test]
async fn what_is_no_message_or_too_long_is_not_gone_on_from() {
    let malformed = Trouble::NotHeard(NotHeard::Malformed);
    wrong(
        async |feed| feed.raw("event: beat\ndata: {}\n\n").await,
        malformed,
    )
    .await;
    let unknown = Trouble::NotHeard(NotHeard::Unknown);
    wrong(async |feed| feed.raw("data: hello\n\n").await, unknown).await;
    let long = Trouble::Oversized;
    wrong(
        async |feed| feed.raw(format!(":{}", "x".repeat(2048))).await,
        long,
    )
    .await;
    let many = "data: xxxxxxxxxxxxxxxx\n".repeat(1000);
    wrong(async |feed| feed.raw(many).await, long).await;
}

#[tokio::test]
async fn comments_and_cut_lines_change_nothing() {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let token = gateway.token();
    let text = feed.written(&revoked(1, SESSION)).replace('\n', "\r\n");
    let (first, second) = text.split_at(text.len() / 2);
    feed.raw(": hello\n\n").await;
    feed.raw(first.to_owned()).await;
    feed.raw(second.to_owned()).await;
    until_refused(&verifier, &token, Refused::PhantomSession).await;
}

#[tokio::test]
async fn a_feed_that_only_drips_is_given_up_and_ages_meanwhile() {
    let gateway = Gateway::start().await;
    let builder = gateway.builder().lease(Duration::from_secs(3));
    let (verifier, mut feed) = gateway.ready(builder).await;
    let token = gateway.token();
    let text = feed.written(&revoked(1, OTHER));
    // A byte at a time, and never the end of the event.
    let dripping = async {
        for byte in text.trim_end().bytes().cycle() {
            if byte != b'\n' {
                feed.raw(vec![byte]).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let next = tokio::select! {
        () = dripping => unreachable!(),
        next = gateway.feed() => next,
    };
    assert_eq!(next.from, Some(at(0).to_string()), "it was lost, not wrong");
    assert_eq!(verifier.freshness().feed_trouble, Some(Trouble::Slow));
    // The test's clock stands still; the age is by the counter, too.
    until_refused(&verifier, &token, STALE).await;
}

#[tokio::test]
async fn beats_that_were_held_back_are_as_old_as_they_say() {
    let gateway = Gateway::start().await;
    let (verifier, mut feed) = gateway.ready(gateway.builder()).await;
    let token = gateway.token();
    let start = gateway.clock.at();
    gateway.clock.set(super::rig::START + 20_000);
    assert_eq!(refused(&verifier, &token), Some(STALE));
    // Somebody between lets through only now what was said then, beat by beat.
    for second in 1..=9 {
        feed.beat(0, start.after(Lifetime::from_secs(second))).await;
    }
    let aged = Lifetime::from_secs(11);
    until("they are heard", || verifier.freshness().age == Some(aged)).await;
    assert_eq!(refused(&verifier, &token), Some(STALE));
    // The control: one of now.
    feed.beat(0, gateway.clock.at()).await;
    until_taken(&verifier, &token).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_answer_is_told_and_tried_again() {
    let gateway = Gateway::start().await;
    let stream = || Said::new("text/event-stream", "");
    gateway.say(
        FEED,
        Said::new("application/problem+json", "{}").status(401),
    );
    let verifier = gateway.builder().start().unwrap();
    until_trouble(&verifier, Trouble::Status(401)).await;
    gateway.say(
        FEED,
        Said::new("application/problem+json", "{}").status(403),
    );
    until_trouble(&verifier, Trouble::Status(403)).await;
    gateway.say(FEED, Said::new("text/html", "a page to sign in at"));
    until_trouble(&verifier, Trouble::ContentType).await;
    drop(gateway.feed().await);
    gateway.say(FEED, stream().status(204));
    until_trouble(&verifier, Trouble::Status(204)).await;
    let token = gateway.token();
    assert_eq!(refused(&verifier, &token), Some(NOT_KNOWN));
    gateway.say(FEED, stream());
    // Feeds with the wrong type were opened meanwhile as well.
    loop {
        let mut feed = gateway.feed().await;
        feed.snapshot(0, &[], gateway.clock.at()).await;
        if !gateway.opened().await && refused(&verifier, &token).is_none() {
            break;
        }
        let taken = async {
            while refused(&verifier, &token).is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = taken => break,
            () = feed.left() => {}
        }
    }
    assert_eq!(verifier.freshness().feed_trouble, None);
}

#[tokio::test]
async fn a_gateway_that_is_away_is_not_stormed() {
    let gateway = Gateway::start().await;
    gateway.say(FEED, Said::new("text/plain", "").status(500));
    let _verifier = gateway.builder().start().unwrap();
    until("a few tries", || gateway.asked(FEED) >= 3).await;
    let began = tokio::time::Instant::now();
    let had = gateway.asked(FEED);
    until("two more", || gateway.asked(FEED) >= had + 2).await;
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "the fourth and the fifth wait are at least 400 and 800 ms, less their jitter"
    );
}

#[tokio::test]
async fn the_feed_is_left_with_the_last_clone() {
    let gateway = Gateway::start().await;
    let (verifier, feed) = gateway.ready(gateway.builder()).await;
    let clone = verifier.clone();
    drop(verifier);
    assert!(clone.check(&gateway.token()).await.is_ok());
    drop(clone);
    // Sooner than a feed that says nothing is given up.
    tokio::time::timeout(Duration::from_secs(3), feed.left())
        .await
        .expect("it is left at once");
}
