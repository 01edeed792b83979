//! The real Django of the kit, asked directly: what the gateway's tests put behind it does work alone, and
//! the walk sees Django's cookie where nothing hides it.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use wirebound_testkit::authority::Authority;
use wirebound_testkit::chromium::{Chromium, Http, Profile};
use wirebound_testkit::django::Django;
use wirebound_testkit::unchanged;

#[tokio::test]
async fn the_walk_sees_djangos_own_cookie_where_nothing_hides_it() {
    let django = Django::start().await.unwrap();
    let authority = Authority::new().unwrap();
    let profile = Profile::new(&authority.file(), Http::Two).await.unwrap();
    let browser = Chromium::start(profile).await.unwrap();
    let seen = unchanged::walk(&browser, &django.url()).await.unwrap();
    assert!(seen.jar.named(unchanged::COOKIE).unwrap().http_only);
    assert!(seen.jar_after.named(unchanged::COOKIE).is_none());
    assert!(!seen.betrayed.is_empty());
    assert_eq!(seen.protocols, ["http/1.1"]);
    assert!(
        django.log().contains("POST /admin/auth/group/add/"),
        "{}",
        django.log()
    );
    browser.close().await.unwrap();
    django.stop().await.unwrap();
}
