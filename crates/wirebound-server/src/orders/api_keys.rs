//! API keys: what machines show. (The keys that sign are another thing, and in `signing_keys`.)

use serde::{Deserialize, Serialize};
use wirebound::engine::{Engine, NewKey, NewlyMade, NotRotated};
use wirebound::{ApiKeyId, KeyLabel, KeyScopes, Lifetime, RevokedBy, Subject, Timestamp};
use zeroize::Zeroizing;

use super::{ApiKeyFacts, Disclosed, PAGE, Refused, Reply, words};

/// Where a walk over all API keys stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyPlace {
    pub(super) created: u64,
    #[serde(with = "words")]
    pub(super) id: ApiKeyId,
}

pub(super) async fn create(
    engine: &Engine,
    owner: Subject,
    label: KeyLabel,
    scopes: KeyScopes,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<Reply, Refused> {
    let new = NewKey {
        label,
        owner,
        scopes,
        expires,
    };
    Ok(made(&engine.create_key(new, now).await?))
}

/// Oldest first, so that a key that is made meanwhile is met at the end.
pub(super) fn list(engine: &Engine, after: Option<KeyPlace>, now: Timestamp) -> Reply {
    let all = engine.api_keys(now);
    let place = |created: Timestamp, id| (created.as_millis(), id);
    let begin = all.partition_point(|key| {
        after.is_some_and(|after| place(key.created, key.id) <= (after.created, after.id))
    });
    let rest = all.get(begin..).unwrap_or_default();
    let part = rest.get(..PAGE).unwrap_or(rest);
    let next = part.last().filter(|_| part.len() < rest.len());
    Reply::ApiKeys {
        keys: part.iter().map(ApiKeyFacts::of).collect(),
        next: next.map(|key| KeyPlace {
            created: key.created.as_millis(),
            id: key.id,
        }),
    }
}

pub(super) fn show(engine: &Engine, id: ApiKeyId, now: Timestamp) -> Result<Reply, Refused> {
    let key = engine.api_key(id, now).ok_or(Refused::NoKey(id))?;
    Ok(Reply::ApiKey {
        key: ApiKeyFacts::of(&key),
    })
}

pub(super) async fn rotate(
    engine: &Engine,
    id: ApiKeyId,
    overlap: Lifetime,
    now: Timestamp,
) -> Result<Reply, Refused> {
    let rotated = engine.rotate_key(id, overlap, now).await;
    rotated.map(|key| made(&key)).map_err(|error| match error {
        NotRotated::Unknown => Refused::NoKey(id),
        NotRotated::Store(error) => Refused::Unsure(error),
        error @ (NotRotated::Revoked | NotRotated::Expired | _) => Refused::NotRotated(error),
    })
}

/// A key that is revoked already stays as it is, and is shown: what was ordered is so.
pub(super) async fn revoke(
    engine: &Engine,
    id: ApiKeyId,
    leaked: bool,
    now: Timestamp,
) -> Result<Reply, Refused> {
    let by = if leaked {
        RevokedBy::Leak
    } else {
        RevokedBy::Operator
    };
    engine.revoke_key(id, by, now).await?;
    show(engine, id, now)
}

fn made(new: &NewlyMade) -> Reply {
    Reply::KeyMade {
        api_key: Disclosed::new(Zeroizing::new(new.key.expose().to_owned())),
        key: ApiKeyFacts::of(&new.summary),
    }
}
