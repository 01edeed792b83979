//! The walk of a member through a real app: sign in one way or another, work for a while, sign out.
//!
//! A step is believed when a new document shows what it must: the page before is marked, so that it cannot stand for the
//! page after. What a step cost is told by the app's own log and, where the browser tells, by its answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::site::Site;
use super::{Kind, PASSWORD, USER};
use crate::chromium::Tab;
use crate::firefox::Firefox;

/// How long a step may take; the machine may be busy.
const BOUND: Duration = Duration::from_secs(25);

/// Pages that a member clicks through.
const CLICKS: usize = 10;

/// Fetches at once, as a page of today sends them.
const FETCHES: usize = 6;

/// Forms that a member posts.
const NOTES: usize = 3;

/// A way to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The app's own form.
    Form,
    /// At the provider, which asks, and leads back by the redirect of its own form: a navigation from elsewhere.
    Provider,
    /// At the provider, which remembers: one chain of redirects from the app to the app.
    Remembered,
    /// By a link in a mail, clicked on another site.
    Link,
    /// By the company's answer, which a page of another site posts to the app by itself.
    Company,
    /// As by [`Self::Provider`], by a browser that holds no cookie and has seen no page of the app before.
    FirstToProvider,
    /// As by [`Self::Company`], by such a browser.
    FirstToCompany,
}

impl Way {
    /// Every way, in the order of a walk: the provider remembers whom it has asked.
    pub const ALL: [Self; 7] = [
        Self::Form,
        Self::Provider,
        Self::Remembered,
        Self::Link,
        Self::Company,
        Self::FirstToProvider,
        Self::FirstToCompany,
    ];

    /// Requests of it that reach the app: each once, whatever the gateway sends the browser round by.
    #[must_use]
    pub fn requests(self) -> usize {
        match self {
            Self::Form => 2,
            Self::Link => 4,
            _ => 3,
        }
    }

    /// Whether it differs from another way by how the visitor comes to it only.
    #[must_use]
    pub fn is_variant(self) -> bool {
        self.is_first() || self == Self::Remembered
    }

    /// The word for it in the app's log.
    fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Provider | Self::Remembered | Self::FirstToProvider => "oidc",
            Self::Link => "link",
            Self::Company | Self::FirstToCompany => "saml",
        }
    }

    /// Whether the app is met here for the first time, and sends the visitor elsewhere at once.
    fn is_first(self) -> bool {
        matches!(self, Self::FirstToProvider | Self::FirstToCompany)
    }
}

/// What a sign-in cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// How the person signed in.
    pub way: Way,
    /// Requests that reached the app.
    pub app: usize,
    /// Answers that the browser got, other sites' included; none where the browser does not tell.
    pub browser: Option<usize>,
    /// From the first click to the members' page.
    pub took: Duration,
}

/// A browser with one tab, as far as a walk needs it.
pub trait Browser {
    /// Loads a page as if its address were typed.
    fn open(&self, url: &str) -> impl Future<Output = Result<()>>;
    /// Evaluates an expression and waits for its promise.
    fn evaluate(&self, expression: &str) -> impl Future<Output = Result<Value>>;
    /// Waits until an expression is true.
    fn wait_for(&self, expression: &str, bound: Duration) -> impl Future<Output = Result<()>>;
    /// Throws away every cookie of these sites.
    fn forget(&self, sites: &[String]) -> impl Future<Output = Result<()>>;
    /// How many answers it got so far, where it tells.
    fn answered(&self) -> Option<usize>;
    /// What got no answer, where it tells.
    fn failures(&self) -> Vec<String>;
}

impl Browser for Tab {
    async fn open(&self, url: &str) -> Result<()> {
        self.navigate(url).await.map(drop)
    }

    async fn evaluate(&self, expression: &str) -> Result<Value> {
        self.evaluate(expression).await
    }

    async fn wait_for(&self, expression: &str, bound: Duration) -> Result<()> {
        self.wait_for(expression, bound).await
    }

    async fn forget(&self, _all: &[String]) -> Result<()> {
        let none = serde_json::json!({});
        self.call("Network.clearBrowserCookies", none)
            .await
            .map(drop)
    }

    fn answered(&self) -> Option<usize> {
        Some(self.answers().len())
    }

    fn failures(&self) -> Vec<String> {
        self.failures()
    }
}

impl Browser for Firefox {
    async fn open(&self, url: &str) -> Result<()> {
        self.navigate(url).await.map(drop)
    }

    async fn evaluate(&self, expression: &str) -> Result<Value> {
        self.evaluate(expression).await
    }

    async fn wait_for(&self, expression: &str, bound: Duration) -> Result<()> {
        self.wait_for(expression, bound).await
    }

    async fn forget(&self, sites: &[String]) -> Result<()> {
        for site in sites {
            self.navigate(site).await?;
            self.forget_cookies().await?;
        }
        Ok(())
    }

    fn answered(&self) -> Option<usize> {
        None
    }

    fn failures(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A person with a browser at a site.
#[derive(Debug)]
pub struct Member<'a, B> {
    /// The browser.
    pub browser: &'a B,
    /// The site.
    pub site: &'a Site,
}

impl<B: Browser> Member<'_, B> {
    /// Signs in; the members' page stands at the end, and the app has signed the person in just once.
    ///
    /// # Errors
    /// When a step leads elsewhere; the text tells what everybody saw.
    pub async fn sign_in(&self, way: Way) -> Result<Cost> {
        if way.is_first() {
            let sites = [
                self.site.provider.inbox(),
                self.site.provider.url(),
                self.site.base(),
            ];
            self.browser.forget(&sites).await?;
        } else {
            self.open("/login", "").await?;
            // A visitor's first requests come several at once. The form that stands must be worth something afterwards.
            self.fetch(None).await?;
        }
        let start = (
            self.site.app.log().len(),
            self.browser.answered(),
            Instant::now(),
        );
        let done = match way {
            Way::Form => self.by_form().await,
            Way::Provider => self.by_provider().await,
            Way::Remembered => self.click("a#oidc", &signed_in("members")).await,
            Way::Link => self.by_link().await,
            Way::Company => self.click("a#saml", &signed_in("members")).await,
            Way::FirstToProvider => {
                let login = format!("{}/login/oidc", self.site.base());
                self.browser.open(&login).await?;
                self.agree().await
            }
            Way::FirstToCompany => {
                let login = format!("{}/login/saml", self.site.base());
                self.browser.open(&login).await?;
                self.arrived(&signed_in("members"), "the company").await
            }
        };
        done.with_context(|| format!("{:?} by {way:?}", self.site.app.kind()))?;
        let took = start.2.elapsed();
        let log = self.site.app.log();
        let since = &log[start.0..];
        let line = format!("SIGNIN {} {USER}", way.word());
        let times = since.iter().filter(|l| **l == line).count();
        ensure!(times == 1, "{line}: {times} times in {since:#?}");
        let asked = since.iter().filter(|l| is_request(l)).count();
        ensure!(
            asked == way.requests(),
            "{way:?}: {asked} requests at the app: {since:#?}"
        );
        let answered = self.browser.answered().zip(start.1);
        Ok(Cost {
            way,
            app: asked,
            browser: answered.map(|(now, before)| now - before),
            took,
        })
    }

    async fn by_form(&self) -> Result<()> {
        let fill = format!(
            "const f = document.querySelector('form#login'); \
             f.username.value = '{USER}'; f.password.value = '{PASSWORD}'; f.submit()"
        );
        self.leave(&fill, &signed_in("members")).await
    }

    async fn by_provider(&self) -> Result<()> {
        self.click("a#oidc", "document.querySelector('form#consent') !== null")
            .await?;
        self.agree().await
    }

    async fn agree(&self) -> Result<()> {
        let agree = "document.querySelector('form#consent button').click()";
        self.leave(agree, &signed_in("members")).await
    }

    async fn by_link(&self) -> Result<()> {
        let ask = format!(
            "const f = document.querySelector('form#mail'); f.username.value = '{USER}'; f.submit()"
        );
        let told = "document.querySelector('.flash')?.innerText === 'look into your mail'";
        self.leave(&ask, told).await?;
        self.browser.open(&self.site.provider.inbox()).await?;
        self.click("a.mail", &signed_in("members")).await
    }

    /// Clicks through pages, fetches in parallel, posts forms: all of it is the person's, and each form arrives once.
    ///
    /// # Errors
    /// When one of these is not so.
    pub async fn work(&self, tag: &str) -> Result<()> {
        for click in 1..=CLICKS {
            let page = format!("members {click}");
            self.click("a#next", &signed_in(&page)).await?;
            if click % 5 == 0 {
                self.fetch(Some(USER)).await?;
            }
        }
        for note in 1..=NOTES {
            let text = format!("{tag}-note-{note}");
            let fill = format!(
                "const f = document.querySelector('form#note'); f.text.value = '{text}'; f.submit()"
            );
            let kept = format!(
                "{} && document.querySelector('#notes').innerText.includes('{text}') \
                 && document.querySelector('.flash').innerText === 'kept: {text}'",
                signed_in("members")
            );
            self.leave(&fill, &kept).await?;
            let line = format!("NOTE {text} {USER}");
            let times = self.site.app.log().iter().filter(|l| **l == line).count();
            ensure!(times == 1, "{line}: {times} times");
        }
        Ok(())
    }

    /// Several fetches at once, as the person or as nobody.
    ///
    /// # Errors
    /// When one is answered otherwise.
    async fn fetch(&self, user: Option<&str>) -> Result<()> {
        let all = format!(
            "Promise.all([...Array({FETCHES}).keys()].map(i => fetch('/api/me?i=' + i)\
             .then(async r => r.status + ' ' + (r.ok ? (await r.json()).user : '-'))))"
        );
        let told = self.browser.evaluate(&all).await?;
        let wanted = user.map_or_else(|| "401 -".to_owned(), |user| format!("200 {user}"));
        let good = told
            .as_array()
            .is_some_and(|a| a.len() == FETCHES && a.iter().all(|one| *one == wanted));
        ensure!(
            good,
            "fetches at once, not all {wanted}: {told}\n{}",
            self.site.told()
        );
        Ok(())
    }

    /// Loads a members' page; it must be the person's.
    ///
    /// # Errors
    /// When it is not.
    pub async fn is_served(&self) -> Result<()> {
        self.open("/members/7", USER).await?;
        self.fetch(Some(USER)).await
    }

    /// Signs out; from then on the person is nobody.
    ///
    /// # Errors
    /// When the app still takes somebody for the person.
    pub async fn sign_out(&self) -> Result<()> {
        let out = "document.querySelector('form#logout').submit()";
        self.leave(
            out,
            "document.body.dataset.page === 'home' && document.body.dataset.user === ''",
        )
        .await?;
        let status = self
            .browser
            .evaluate("fetch('/api/me').then(r => r.status)")
            .await?;
        ensure!(status == 401, "after the sign-out: {status}");
        Ok(())
    }

    async fn open(&self, path: &str, user: &str) -> Result<()> {
        self.browser
            .open(&format!("{}{path}", self.site.base()))
            .await?;
        let there = format!("document.body?.dataset.user === '{user}'");
        self.arrived(&there, path).await
    }

    async fn click(&self, which: &str, there: &str) -> Result<()> {
        let click = format!("document.querySelector('{which}').click()");
        self.leave(&click, there).await
    }

    /// Runs a script that leaves the page, and waits for another one that shows `there`.
    async fn leave(&self, script: &str, there: &str) -> Result<()> {
        // Later than now, or the document would be gone before it could answer.
        let later = format!(
            "(() => {{ window.left = true; setTimeout(() => {{ {script} }}, 10); return 0 }})()"
        );
        self.browser.evaluate(&later).await?;
        self.arrived(&format!("!window.left && ({there})"), script)
            .await
    }

    async fn arrived(&self, there: &str, by: &str) -> Result<()> {
        let there = format!("document.readyState === 'complete' && ({there})");
        let came = self.browser.wait_for(&there, BOUND).await;
        if let Err(error) = came {
            let at = "document.URL + '\\n' + document.documentElement.outerHTML.slice(0, 2000)";
            let seen = self.browser.evaluate(at).await.unwrap_or_default();
            let seen = seen.as_str().unwrap_or_default();
            let told = self.site.told();
            let failed = self.browser.failures();
            return Err(error.context(format!(
                "{by}\nthe browser is at {seen}\nwhat got no answer there: {failed:?}\n{told}"
            )));
        }
        Ok(())
    }
}

/// A members' page of the person.
fn signed_in(page: &str) -> String {
    format!("document.body?.dataset.user === '{USER}' && document.body.dataset.page === '{page}'")
}

/// Whether a line of the app's log is a request's; a browser asks for the icon when it likes.
fn is_request(line: &str) -> bool {
    !line.starts_with("SIGNIN ") && !line.starts_with("NOTE ") && !line.contains("/favicon.ico")
}

/// The names that the browser may hold for the app behind the gateway: ours, and what the app lets scripts read.
#[must_use]
pub fn may_hold(kind: Kind, name: &str) -> bool {
    name.starts_with("__Host-wirebound") || (kind == Kind::Django && name == "csrftoken")
}
