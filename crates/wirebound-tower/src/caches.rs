//! What caches on the way may keep of an answer. What the app said is never weakened.
//!
//! Whether a cache asks us, and what it makes of `Vary`, is its own business; what is personal or secret is therefore said
//! in `Cache-Control`, which every cache reads, and the fields that overrule it are taken away where it matters.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue};

/// What some caches follow in place of `Cache-Control` (RFC 9213, and older fields of single makers).
const OVERRULING: [&str; 5] = [
    "cdn-cache-control",
    "surrogate-control",
    "edge-control",
    "x-accel-expires",
    "x-litespeed-cache-control",
];

/// A session was used for this answer: it is for no shared cache, unless the app called it public.
///
/// An age alone (`max-age=600`) is not enough to share it: what is stored under a Cookie field is served to whoever has a
/// copy of that field, and the connection, which would tell him from its owner, no cache looks at.
pub fn keep_private(headers: &mut HeaderMap) {
    if is_public(headers) {
        return;
    }
    if !is_private(headers) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    vary_by_cookie(headers);
}

/// The app's own cookie was taken out of this answer. With it the answer would have been kept by no cache, whatever else
/// it says; without it it would look like everybody's. Only what the app called public stays so.
pub fn lost_its_cookie(headers: &mut HeaderMap) {
    if !is_public(headers) {
        remove_overruling(headers);
    }
    keep_private(headers);
}

/// A response that carries a secret is kept by nobody but, where the app said `private`, the browser it is for.
pub(crate) fn never_public(headers: &mut HeaderMap) {
    remove_overruling(headers);
    if is_public(headers) || !is_private(headers) {
        // `no-cache` is not enough: what was kept is served again after a 304, its cookie with it.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

fn vary_by_cookie(headers: &mut HeaderMap) {
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

fn remove_overruling(headers: &mut HeaderMap) {
    for name in OVERRULING {
        headers.remove(name);
    }
}

/// For shared caches, by the app's own word.
pub(crate) fn is_public(headers: &HeaderMap) -> bool {
    says(headers, |directive| {
        directive == "public" || directive == "immutable" || directive.starts_with("s-maxage")
    })
}

/// For no shared cache, whole: `private="x-field"` speaks of one field only.
fn is_private(headers: &HeaderMap) -> bool {
    says(headers, |directive| {
        directive == "private" || directive == "no-store"
    })
}

fn says(headers: &HeaderMap, meant: impl Fn(&str) -> bool) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            let text = text.to_ascii_lowercase();
            text.split(',').any(|directive| meant(directive.trim()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(said: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(said));
        headers
    }

    #[test]
    fn a_response_with_a_secret_is_never_left_in_a_shared_cache() {
        for (said, expected) in [
            ("public, max-age=60", "no-store"),
            ("s-maxage=9", "no-store"),
            ("max-age=60", "no-store"),
            ("no-cache", "no-store"),
            ("private=\"x-one\"", "no-store"),
            ("private, s-maxage=9", "no-store"),
            ("Private, max-age=60", "Private, max-age=60"),
            ("no-store", "no-store"),
        ] {
            let mut headers = saying(said);
            headers.insert("x-accel-expires", HeaderValue::from_static("600"));
            headers.insert("cdn-cache-control", HeaderValue::from_static("max-age=600"));
            never_public(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], expected, "{said}");
            assert_eq!(headers.len(), 1, "{headers:?}");
        }
    }

    #[test]
    fn what_the_app_said_of_caches_is_not_weakened() {
        let mut headers = saying("no-store");
        headers.insert(VARY, HeaderValue::from_static("Accept, cookie"));
        keep_private(&mut headers);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn a_public_answer_to_somebody_signed_in_stays_everybodys() {
        let mut headers = saying("public, max-age=60");
        keep_private(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
    }

    #[test]
    fn an_age_alone_shares_nothing_that_a_session_was_used_for() {
        let mut headers = saying("max-age=60");
        keep_private(&mut headers);
        let all: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(all, ["max-age=60", "private"]);
        assert_eq!(headers[VARY], "Cookie");
    }

    #[test]
    fn an_answer_that_lost_its_cookie_is_not_kept_as_if_it_never_had_one() {
        for said in ["max-age=60", "no-cache", "must-revalidate"] {
            let mut headers = saying(said);
            headers.insert("x-accel-expires", HeaderValue::from_static("600"));
            lost_its_cookie(&mut headers);
            let all: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(all, [said, "private"]);
            assert_eq!(headers[VARY], "Cookie");
            assert!(!headers.contains_key("x-accel-expires"));
        }
        let mut headers = HeaderMap::new();
        lost_its_cookie(&mut headers);
        assert_eq!(headers[CACHE_CONTROL], "private");
        let mut headers = saying("public, max-age=60");
        lost_its_cookie(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
