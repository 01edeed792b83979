//! API keys and signing keys as text. A whole key is printed by [`made`] and by nothing else.

use serde_json::json;
use zeroize::Zeroizing;

use super::{Form, date};
use crate::orders::{ApiKeyFacts, Disclosed, SigningKeyFacts};

/// A key that was just made. Its text is not copied into anything that is not wiped.
pub(super) fn made(form: Form, api_key: &Disclosed, key: &ApiKeyFacts) -> Zeroizing<String> {
    let secret = api_key.expose();
    let (before, after) = match form {
        Form::Text => (
            "key       ",
            format!(
                "\n{}the key is shown this once: nothing brings it back\n",
                one(key)
            ),
        ),
        Form::Json => {
            let facts = super::line(&json!(key));
            let fields = facts.strip_prefix('{').unwrap_or_default();
            // Of base62 and underscores, so it needs no escape.
            ("{\n  \"api_key\": \"", format!("\",{fields}"))
        }
    };
    let size = [before, secret, &after].map(str::len);
    let size = size.into_iter().fold(0, usize::saturating_add);
    let mut text = Zeroizing::new(String::with_capacity(size));
    for part in [before, secret, &after] {
        text.push_str(part);
    }
    text
}

pub(super) fn one(key: &ApiKeyFacts) -> String {
    let mut lines = vec![
        ("id", key.id.clone()),
        ("label", key.label.clone()),
        ("owner", key.owner.clone()),
        ("scopes", key.scopes.join(" ")),
        ("created", date(key.created)),
        ("expires", or_never(key.expires)),
    ];
    lines.extend(key.rotated.map(|at| ("rotated", date(at))));
    let until = |at| ("overlap", format!("until {}", date(at)));
    lines.extend(key.overlap_until.map(until));
    lines.extend(key.revoked.map(|at| {
        let by = key.revoked_by.as_deref().unwrap_or_default();
        ("revoked", format!("{} by {by}", date(at)))
    }));
    lines.push(("used", or_never(key.last_used)));
    lines.push(("state", key.state.clone()));
    let lines = lines
        .into_iter()
        .map(|(name, value)| format!("{name:<8}  {value}\n"));
    lines.collect()
}

pub(super) fn head() -> String {
    row(&[
        "id",
        "label",
        "owner",
        "scopes",
        "created",
        "expires",
        "last used",
        "state",
    ])
}

pub(super) fn row_of(key: &ApiKeyFacts) -> String {
    row(&[
        &key.id,
        &key.label,
        &key.owner,
        &key.scopes.join(" "),
        &date(key.created),
        &or_never(key.expires),
        &or_never(key.last_used),
        &key.state,
    ])
}

/// Columns of a fixed width: the first row is printed before the last one is known.
fn row([id, label, owner, scopes, created, expires, used, state]: &[&str; 8]) -> String {
    let line = format!(
        "{id:<12}  {label:<20}  {owner:<20}  {scopes:<20}  {created:<20}  {expires:<20}  {used:<20}  {state}"
    );
    format!("{}\n", line.trim_end())
}

pub(super) fn ring(keys: &[SigningKeyFacts]) -> String {
    let mut text = ring_row(&[
        "kid",
        "algorithm",
        "state",
        "published",
        "signs since",
        "stops",
        "gone",
    ]);
    for key in keys {
        text.push_str(&ring_row(&[
            &key.kid,
            &key.algorithm,
            &key.state,
            &date(key.published),
            &date(key.since),
            &key.stops.map_or_else(String::new, date),
            &key.gone.map_or_else(String::new, date),
        ]));
    }
    text
}

fn ring_row([kid, algorithm, state, published, since, stops, gone]: &[&str; 7]) -> String {
    let line = format!(
        "{kid:<43}  {algorithm:<9}  {state:<9}  {published:<20}  {since:<20}  {stops:<20}  {gone}"
    );
    format!("{}\n", line.trim_end())
}

fn or_never(at: Option<u64>) -> String {
    at.map_or_else(|| "never".to_owned(), date)
}
