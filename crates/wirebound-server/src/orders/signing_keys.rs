//! The ring of keys that sign assertions. An order changes what is kept; a gateway that runs takes it up from there.

use wirebound::Timestamp;
use wirebound::store::{StoreError, StoreErrorKind};
use wirebound_assertion::{KEYS_MAX, Kid, NotRetired, Ring, Schedule, SigningKey};

use super::{Node, Refused, Reply, SigningKeyFacts};
use crate::gateway::signing::{self, Kept};

/// How often a ring is read again because somebody else kept one meanwhile.
const TRIES: usize = 8;

pub(super) async fn list(node: &Node, now: Timestamp) -> Result<Reply, Refused> {
    let kept = kept(node).await?;
    Ok(listed(&kept.ring, now))
}

/// Publishes the next key at once. It signs once everybody could fetch it.
pub(super) async fn rotate(node: &Node, now: Timestamp) -> Result<Reply, Refused> {
    change(node, now, |ring, schedule| {
        let before = ring.list(now);
        ring.rotate_now(schedule, now, || make(node))?;
        let after = ring.list(now);
        let is_new = |kid: &Kid| before.iter().all(|key| key.kid != *kid);
        match after.last() {
            Some(newest) if is_new(&newest.kid) => Ok(()),
            Some(newest) if now < newest.since => Err(Refused::NextIsPublished(newest.since)),
            Some(_) | None if before.len() >= KEYS_MAX => Err(Refused::RingIsFull),
            Some(_) | None => Err(Refused::Keys(signing::no_other())),
        }
    })
    .await
}

/// Takes a key out at once. Where it was the one that signs, the next one does from now on.
pub(super) async fn retire(node: &Node, kid: &Kid, now: Timestamp) -> Result<Reply, Refused> {
    change(node, now, |ring, schedule| {
        let retired = ring.retire_now(kid.as_str(), schedule, now, || make(node));
        retired.map_err(|why| match why {
            NotRetired::Unknown => Refused::NoSigningKey(kid.clone()),
            NotRetired::Make(refused) => refused,
            NotRetired::SameKey | _ => Refused::Keys(signing::no_other()),
        })
    })
    .await
}

async fn change(
    node: &Node,
    now: Timestamp,
    change: impl Fn(&mut Ring, &Schedule) -> Result<(), Refused>,
) -> Result<Reply, Refused> {
    for _ in 0..TRIES {
        let kept = kept(node).await?;
        let schedule = signing::schedule(&node.assertion).map_err(Refused::Keys)?;
        let mut ring = kept.ring.clone();
        change(&mut ring, &schedule)?;
        if signing::keep(&node.engine, &ring, Some(&kept)).await? {
            return Ok(listed(&ring, now));
        }
    }
    let lost = "somebody else changes the keys all the time";
    Err(StoreError::because(StoreErrorKind::Unavailable, lost).into())
}

async fn kept(node: &Node) -> Result<Kept, Refused> {
    // By the words of the configuration: schedule and algorithm are nowhere else.
    if !node.assertion.is_issued() {
        return Err(Refused::NothingIssued);
    }
    let kept = signing::kept(&node.engine).await.map_err(Refused::Keys)?;
    kept.ok_or(Refused::NoRing)
}

fn make(node: &Node) -> Result<SigningKey, Refused> {
    SigningKey::generate(signing::algorithm(&node.assertion), node.entropy.as_ref())
        .map_err(|error| Refused::Keys(signing::unmade(&error)))
}

fn listed(ring: &Ring, now: Timestamp) -> Reply {
    Reply::SigningKeys {
        keys: ring.list(now).iter().map(SigningKeyFacts::of).collect(),
    }
}
