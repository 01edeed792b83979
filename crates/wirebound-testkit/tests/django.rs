//! The real Django of the kit, asked directly: what the gateway's tests put behind it does work alone.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

use std::time::Duration;

use wirebound_testkit::authority::Authority;
use wirebound_testkit::chromium::{Chromium, Http, Profile};
use wirebound_testkit::django::Django;

#[tokio::test]
async fn the_admin_site_signs_its_superuser_in_by_its_own_cookie() {
    let django = Django::start().await.unwrap();
    let authority = Authority::new().unwrap();
    let profile = Profile::new(&authority.file(), Http::Two).await.unwrap();
    let browser = Chromium::start(profile).await.unwrap();
    let tab = browser.tab().await.unwrap();

    let login = tab
        .navigate(&format!("{}/admin/", django.url()))
        .await
        .unwrap();
    assert!(login.url.contains("/admin/login/"), "{login:?}");
    let fill = format!(
        "document.forms[0].username.value = '{}'; document.forms[0].password.value = '{}'; \
         document.forms[0].submit()",
        Django::USER,
        Django::PASSWORD
    );
    let home = tab.leave_by(&fill).await.unwrap();
    assert_eq!(
        (home.status, home.url),
        (200, format!("{}/admin/", django.url()))
    );
    let greeting =
        "document.querySelector('#user-tools').innerText.toLowerCase().includes('alice')";
    tab.wait_for(greeting, Duration::from_secs(5))
        .await
        .unwrap();

    let jar = browser.cookies().await.unwrap();
    assert!(jar.named("sessionid").unwrap().http_only);
    let fields = tab.answers().into_iter().flat_map(|a| a.headers);
    let set = fields.filter(|(n, v)| n == "set-cookie" && v.starts_with("sessionid="));
    assert_eq!(set.count(), 1, "the driver sees what the app sets");
    assert!(
        django.log().contains("POST /admin/login/"),
        "{}",
        django.log()
    );
    browser.close().await.unwrap();
    django.stop().await.unwrap();
}
