//! Machines: an API key out of a request's head, and never out of its address.
//!
//! A key is shown as `Authorization: Bearer` (RFC 6750 section 2.1) or `X-Api-Key`. What an app takes under these names and
//! is no key of ours is none of our business, and passes.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Uri};
use wirebound::ApiKey;

/// The other field for keys.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How every key of ours begins.
const PREFIX: &[u8] = b"wbk_";

/// More than one key, or the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Several;

/// The one key that a head shows. Believed by nobody.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&[u8]>, Several> {
    let bearer = headers.get_all(AUTHORIZATION).iter();
    let bearer = bearer.filter_map(|value| bearer_token(value.as_bytes()));
    let plain = headers.get_all(X_API_KEY).iter();
    let plain = plain.map(|value| value.as_bytes().trim_ascii());
    let mut ours = bearer
        .chain(plain)
        .filter(|token| token.starts_with(PREFIX));
    match (ours.next(), ours.next()) {
        (_, Some(_)) => Err(Several),
        (one, None) => Ok(one),
    }
}

/// The scheme's name is read in any case (RFC 9110 section 11.1).
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii())
}

/// Takes our keys out of a head that goes on: an app needs none of them.
pub fn remove_keys(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, X_API_KEY] {
        let ours = headers.get_all(&name).iter().any(|value| {
            let value = value.as_bytes();
            let token = bearer_token(value).unwrap_or_else(|| value.trim_ascii());
            token.starts_with(PREFIX)
        });
        if ours {
            headers.remove(name);
        }
    }
}

/// Whether an address carries a key: what stands there ends up in logs, histories and referrers.
pub(crate) fn stands_in(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|target| ApiKey::find_in(target.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn a_key_is_read_from_two_fields_and_what_is_not_ours_is_not_looked_at() {
        for (fields, expected) in [
            (vec![], Ok(None)),
            (vec![("authorization", "Bearer wbk_a")], Ok(Some("wbk_a"))),
            (vec![("authorization", "bEARER  wbk_a ")], Ok(Some("wbk_a"))),
            (vec![("x-api-key", "wbk_a")], Ok(Some("wbk_a"))),
            (vec![("authorization", "Bearer eyJ")], Ok(None)),
            (vec![("authorization", "Basic wbk_a")], Ok(None)),
            (vec![("x-api-key", "sk_live_1")], Ok(None)),
            (
                vec![("authorization", "Bearer eyJ"), ("x-api-key", "wbk_a")],
                Ok(Some("wbk_a")),
            ),
            (
                vec![("authorization", "Bearer wbk_a"), ("x-api-key", "wbk_a")],
                Err(Several),
            ),
        ] {
            let head = head(&fields);
            let read = key(&head).map(|key| key.map(|key| core::str::from_utf8(key).unwrap()));
            assert_eq!(read, expected, "{fields:?}");
        }
        let mut twice = head(&[("x-api-key", "wbk_a")]);
        twice.append(X_API_KEY, HeaderValue::from_static("wbk_b"));
        assert_eq!(key(&twice), Err(Several));
    }

    #[test]
    fn keys_of_ours_do_not_go_on_and_others_do() {
        let mut ours = head(&[("authorization", "Bearer wbk_a"), ("x-api-key", "wbk_b")]);
        remove_keys(&mut ours);
        assert!(ours.is_empty());
        let mut others = head(&[("authorization", "Bearer eyJ"), ("x-api-key", "sk_1")]);
        remove_keys(&mut others);
        assert_eq!(others.len(), 2);
    }
}
