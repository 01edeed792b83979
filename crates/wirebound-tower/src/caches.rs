//! What caches on the way may keep of an answer. What the app said is never weakened.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue};

/// What a session was used for is not for shared caches. What the app said is never weakened.
pub fn keep_private(headers: &mut HeaderMap) {
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    let varies = headers.get_all(VARY).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|name| {
                matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("cookie")
            })
        })
    });
    if !varies {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

/// Whether the app said that a cache may give an answer to anybody.
pub(crate) fn is_public(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            let text = text.to_ascii_lowercase();
            ["public", "s-maxage", "immutable"]
                .iter()
                .any(|word| text.contains(word))
        })
    })
}

/// A response that carries a secret is kept by nobody.
pub(crate) fn never_public(headers: &mut HeaderMap) {
    if is_public(headers) || !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_with_a_secret_is_never_left_in_a_shared_cache() {
        for (said, expected) in [
            ("public, max-age=60", "no-store"),
            ("s-maxage=9", "no-store"),
            ("no-cache", "no-cache"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(said));
            never_public(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], expected);
        }
    }

    #[test]
    fn what_the_app_said_of_caches_is_not_weakened() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Accept, cookie"));
        keep_private(&mut headers);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
    }
}
