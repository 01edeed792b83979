//! Whether a request came from elsewhere: told by what browsers say of themselves, with or without a session.
//!
//! `Sec-Fetch-Site` decides where it is there; else `Origin`. A request with neither is no browser's, and is no cross-site
//! request forgery: there is nobody whose cookies it could ride on. Login CSRF is why it needs no session.

use http::header::ORIGIN;
use http::{HeaderMap, Method};

/// Whether a request that changes something, or opens a WebSocket, came from another origin.
#[must_use]
pub fn is_surprise(method: &Method, headers: &HeaderMap, authority: &str, websocket: bool) -> bool {
    if method.is_safe() && !websocket {
        return false;
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers.get_all("sec-fetch-site").iter().count() > 1
        || headers.get_all(ORIGIN).iter().count() > 1
    {
        return true;
    }
    match text("sec-fetch-site") {
        // A WebSocket of our own page says same-origin too; `none` is the address bar.
        Some("same-origin" | "none") => foreign(text("origin"), authority) == Some(true),
        Some(_) => true,
        None => foreign(text("origin"), authority) == Some(true),
    }
}

/// Whether a request that changes something here comes from our own pages, or from a program. Stricter than
/// [`is_surprise`]: what a browser sends without saying where it comes from is refused too.
#[must_use]
pub fn is_our_own(headers: &HeaderMap, authority: &str) -> bool {
    let one = |name: &str| {
        let mut lines = headers.get_all(name).iter();
        let first = lines.next().map(|value| value.to_str().unwrap_or("?"));
        (first, lines.next().is_none())
    };
    let ((site, site_once), (origin, origin_once)) = (one("sec-fetch-site"), one("origin"));
    if !site_once || !origin_once || foreign(origin, authority) == Some(true) {
        return false;
    }
    match (site, origin) {
        (Some(site), _) => site == "same-origin",
        (None, Some(_)) => true,
        (None, None) => !headers.keys().any(|name| {
            let name = name.as_str();
            name.starts_with("sec-fetch-") || name.starts_with("sec-ch-") || name == "referer"
        }),
    }
}

/// Whether a script of another origin asks, and would read the answer (CORS). Its browser takes a redirect that does not
/// permit this origin for a network error, and only the app knows whom it permits.
#[must_use]
pub fn is_read_elsewhere(headers: &HeaderMap, authority: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match text("sec-fetch-mode") {
        Some(mode) => mode == "cors" && text("sec-fetch-site") != Some("same-origin"),
        None => foreign(text("origin"), authority) == Some(true),
    }
}

/// Whether an `Origin` is another than ours. Its scheme is `https` wherever we stand; loopback may speak `http`.
fn foreign(origin: Option<&str>, authority: &str) -> Option<bool> {
    let origin = origin?;
    let plain = origin
        .strip_prefix("http://")
        .filter(|_| is_loopback(authority));
    let own = origin
        .strip_prefix("https://")
        .or(plain)
        .is_some_and(|host| host.eq_ignore_ascii_case(authority));
    Some(!own)
}

/// Whether nobody on the network can stand in for this authority over plain HTTP.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<core::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surprise(
        method: &Method,
        site: Option<&str>,
        origin: Option<&str>,
        websocket: bool,
    ) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(site) = site {
            headers.insert("sec-fetch-site", site.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        is_surprise(method, &headers, "app.test:8443", websocket)
    }

    #[test]
    fn a_script_of_another_origin_is_told_from_our_own_and_from_whoever_reads_nothing() {
        let own = ("origin", "https://app.test:8443");
        let sister = ("origin", "https://www.app.test");
        let (mode, site) = (
            |mode| ("sec-fetch-mode", mode),
            |site| ("sec-fetch-site", site),
        );
        for (fields, expected) in [
            (vec![], false),
            (vec![mode("cors"), site("same-site"), sister], true),
            (vec![mode("cors"), site("cross-site")], true),
            (vec![mode("cors"), site("same-origin")], false),
            (vec![mode("navigate"), site("cross-site")], false),
            (vec![mode("no-cors"), site("same-site")], false),
            (vec![sister], true),
            (vec![("origin", "null")], true),
            (vec![own], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, value.parse().unwrap());
            }
            let read = is_read_elsewhere(&headers, "app.test:8443");
            assert_eq!(read, expected, "{fields:?}");
        }
    }

    #[test]
    fn what_changes_something_here_comes_from_our_own_pages_or_from_a_program() {
        let own = ("origin", "https://app.test:8443");
        let foreign = ("origin", "https://evil.test");
        let site = |site| ("sec-fetch-site", site);
        for (fields, expected) in [
            (vec![], true),
            (vec![site("same-origin"), own], true),
            (vec![site("same-origin")], true),
            (vec![own], true),
            (vec![site("same-site"), own], false),
            (vec![site("cross-site")], false),
            (vec![site("none")], false),
            (vec![site("same-origin"), foreign], false),
            (vec![foreign], false),
            (vec![("origin", "null")], false),
            (vec![site("same-origin"), site("same-origin")], false),
            (vec![own, own], false),
            (vec![("sec-fetch-mode", "navigate")], false),
            (vec![("sec-ch-ua", "x")], false),
            (vec![("referer", "https://app.test:8443/")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(
                is_our_own(&headers, "app.test:8443"),
                expected,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn the_matrix_of_site_origin_and_method() {
        let own = Some("https://app.test:8443");
        let (get, post) = (Method::GET, Method::POST);
        for (method, site, origin, websocket, expected) in [
            (&get, Some("cross-site"), None, false, false),
            (&post, Some("same-origin"), own, false, false),
            (&post, Some("same-origin"), None, false, false),
            (&post, Some("none"), None, false, false),
            (&post, Some("same-site"), None, false, true),
            (&post, Some("cross-site"), own, false, true),
            (
                &post,
                Some("same-origin"),
                Some("https://evil.test"),
                false,
                true,
            ),
            (&post, None, own, false, false),
            (&post, None, Some("https://app.test"), false, true),
            (
                &post,
                None,
                Some("https://app.test:8443.evil.test"),
                false,
                true,
            ),
            (&post, None, Some("null"), false, true),
            (&post, None, None, false, false),
            (
                &get,
                Some("cross-site"),
                Some("https://evil.test"),
                true,
                true,
            ),
            (&get, None, Some("https://evil.test"), true, true),
            (&get, None, own, true, false),
            (&get, None, None, true, false),
        ] {
            assert_eq!(
                surprise(method, site, origin, websocket),
                expected,
                "{method} {site:?} {origin:?} {websocket}"
            );
        }
    }
}
