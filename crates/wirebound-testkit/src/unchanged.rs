//! The walk through a real Django's admin site: sign in, browse, post a form, sign out.
//!
//! The same walk is done with nothing in front of Django, where its own `sessionid` reaches the browser,
//! and behind the gateway, where it must not.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::chromium::{Chromium, Http, Profile, Tab};
use crate::django::Django;
use crate::gateway::{Event, Setting};
use crate::jar::Jar;
use crate::trial::front::Protected;

const BOUND: Duration = Duration::from_secs(10);

/// Django's own cookie, which no browser behind the gateway may see.
pub const COOKIE: &str = "sessionid";

/// What a walk saw.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The jar while the person was signed in.
    pub jar: Jar,
    /// The jar after the sign-out.
    pub jar_after: Jar,
    /// Every header field of every answer that holds the name of Django's cookie: none behind the gateway.
    pub betrayed: Vec<String>,
    /// The versions of HTTP that were spoken.
    pub protocols: Vec<String>,
    /// The gateway's log.
    pub events: Vec<Event>,
}

/// Starts Django and, in front of it, the gateway; walks through the admin site with a real Chromium.
///
/// # Errors
/// When a step of the walk does not lead where it must.
pub async fn behind(program: &Path, http: Http) -> Result<Walk> {
    behind_with(program, http, "", None).await
}

/// The same with a Django and a gateway that their operators have set otherwise.
///
/// # Errors
/// As [`behind`].
pub async fn behind_with(
    program: &Path,
    http: Http,
    settings: &str,
    config: Option<&str>,
) -> Result<Walk> {
    let django = Django::start_with(settings).await?;
    let mut setting = Setting::new(program, &django.url());
    setting.config = config.map(str::to_owned);
    let front = Protected::start(setting).await?;
    let browser = Chromium::start(Profile::new(&front.ca(), http).await?).await?;
    // A name that an untouched Django takes while it is in development.
    let base = format!("https://localhost:{}", front.address().port());
    let mut seen = walk(&browser, &base).await?;
    seen.events = front.events();
    browser.close().await?;
    Ok(seen)
}

/// Walks through the admin site at `base`.
///
/// # Errors
/// When a step of the walk does not lead where it must.
pub async fn walk(browser: &Chromium, base: &str) -> Result<Walk> {
    let tab = browser.tab().await?;
    sign_in(&tab, base).await?;
    let user = tab
        .navigate(&format!("{base}/admin/auth/user/1/change/"))
        .await?;
    ensure!(user.status == 200, "the person's own page: {user:?}");
    post_a_form(&tab, base).await?;
    let jar = browser.cookies().await?;
    sign_out(&tab, base).await?;
    let jar_after = browser.cookies().await?;

    let answers = tab.answers();
    let betrays = |(name, value): &(String, String)| {
        value.contains(COOKIE) && name != "cookie" && name != "vary"
    };
    let fields = answers.iter().flat_map(|a| &a.headers);
    let betrayed = fields
        .filter(|f| betrays(f))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let mut protocols: Vec<String> = answers.iter().map(|a| a.protocol.clone()).collect();
    protocols.sort();
    protocols.dedup();
    Ok(Walk {
        jar,
        jar_after,
        betrayed,
        protocols,
        events: Vec::new(),
    })
}

async fn sign_in(tab: &Tab, base: &str) -> Result<()> {
    let login = tab.navigate(&format!("{base}/admin/")).await?;
    ensure!(login.url.contains("/admin/login/"), "{login:?}");
    let fill = format!(
        "const f = document.forms[0]; f.username.value = '{}'; f.password.value = '{}'; f.submit()",
        Django::USER,
        Django::PASSWORD
    );
    let home = tab.leave_by(&fill).await?;
    ensure!(
        home.status == 200 && home.url == format!("{base}/admin/"),
        "after the sign-in: {home:?}"
    );
    let greeting = format!(
        "document.querySelector('#user-tools').innerText.toLowerCase().includes('{}')",
        Django::USER
    );
    tab.wait_for(&greeting, BOUND).await
}

async fn post_a_form(tab: &Tab, base: &str) -> Result<()> {
    tab.navigate(&format!("{base}/admin/auth/group/add/"))
        .await?;
    let fill = "document.querySelector('#id_name').value = 'wires'; \
                document.querySelector('#group_form').submit()";
    let list = tab.leave_by(fill).await?;
    ensure!(
        list.status == 200 && list.url == format!("{base}/admin/auth/group/"),
        "after the form: {list:?}"
    );
    let there = "document.querySelector('#result_list').innerText.includes('wires')";
    tab.wait_for(there, BOUND).await
}

async fn sign_out(tab: &Tab, base: &str) -> Result<()> {
    let out = tab
        .leave_by("document.querySelector('#logout-form').submit()")
        .await?;
    ensure!(out.status == 200, "the sign-out: {out:?}");
    let back = tab.navigate(&format!("{base}/admin/")).await?;
    ensure!(
        back.url.contains("/admin/login/"),
        "still signed in: {back:?}"
    );
    Ok(())
}
