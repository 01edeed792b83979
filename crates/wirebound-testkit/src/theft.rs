//! The theft, for real: every cookie of a signed-in browser is copied to other clients on the same machine.
//!
//! The victim is a real Chromium that goes on working; the thieves are a second Chromium profile, curl, and
//! a raw TLS client that resumes and one that never does. It is done three times: while the victim is
//! connected, after its connections were closed and made again, and after the server was killed and came
//! back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::chromium::{Chromium, Http, Profile, Tab};
use crate::gateway::Event;
use crate::jar::{Cookie, Jar};
use crate::line::{Ending, Line};
use crate::members::Members;
use crate::thief::raw::{RawThief, Tickets};
use crate::thief::{self, AGENT, Target};
use crate::trial::Before;
use crate::trial::front::Front;
use crate::wait;

const HOST: &str = "victim.w.test";
const NAME: &str = "victim-of-a-theft";
const BOUND: Duration = Duration::from_secs(10);

/// How long the victim's next wire is held up.
const HEAD_START: Duration = Duration::from_secs(3);

/// How often each thief tries each time.
const TRIES: usize = 3;

/// What came of a theft.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who was served as the victim, and when. Empty where a copied jar is worth nothing.
    pub served: Vec<String>,
    /// When the victim itself was not served. Empty where it goes on working.
    pub victim_lost: Vec<String>,
    /// Tries of all thieves.
    pub tries: usize,
    /// The thieves' requests that the app took for the victim's; agrees with `served`.
    pub served_by_app: u64,
    /// The whole log of the gateway, for what it says of both sides.
    pub events: Vec<Event>,
}

/// Carries out the theft, victim and thieves over `http`.
///
/// # Errors
/// When a client or a process fails; what the thieves got is no error but the outcome.
pub async fn copy_the_jar(before: &Before, http: Http) -> Result<Outcome> {
    let members = Members::start().await?;
    let mut front = Front::start(before, &members).await?;
    let line = Line::lay(front.address(), Duration::ZERO).await?;
    let browser = Chromium::start(Profile::new(&front.ca(), http).await?).await?;
    let tab = browser.tab().await?;
    let base = format!("https://{HOST}:{}", line.address().port());
    sign_in(&tab, &base).await?;

    let mut outcome = Outcome {
        served: Vec::new(),
        victim_lost: Vec::new(),
        tries: 0,
        served_by_app: 0,
        events: Vec::new(),
    };
    let first = jar(&browser).await?;
    let second = {
        let profile = Profile::new(&front.ca(), http).await?;
        Chromium::start(profile).await?
    };
    for time in ["connected", "resumed", "after a restart"] {
        match time {
            "resumed" => {
                line.end_all(Ending::Fin);
                line.empty(BOUND).await?;
            }
            "after a restart" => {
                front.restart(true).await?;
                line.lead_to(front.address());
            }
            _ => {}
        }
        if time != "connected" {
            look(&mut outcome, &tab, &base, time).await;
        }
        // Both the jar of the first hour and the jar as it is now.
        for (copy, age) in [(jar(&browser).await?, "fresh"), (first.clone(), "old")] {
            let target = Target {
                ca: &front.ca(),
                // The thieves come straight to the server, but name the address that the victim uses.
                server: front.address(),
                http,
                url: &format!("{base}/m/page?thief=1"),
                tries: TRIES,
            };
            for (who, loot) in Box::pin(thief::all(&target, &copy, &second)).await? {
                outcome.tries += 1;
                if loot.tells(NAME) {
                    outcome.served.push(format!("{time}, {age} copy: {who}"));
                }
            }
            look(&mut outcome, &tab, &base, time).await;
        }
    }
    outcome.served_by_app = members.app().counts().thief_served;
    outcome.events = front.events();
    second.close().await?;
    browser.close().await?;
    front.stop().await?;
    Ok(outcome)
}

/// What came of a thief who was quicker than the victim with the hand-over's nonce.
#[derive(Clone, Debug)]
pub struct NonceOutcome {
    /// Whether the thief was served before the victim came; he may be.
    pub thief_before: bool,
    /// Whether the thief was served after the victim came; he must not be.
    pub thief_after: bool,
    /// Whether the victim still has the session; it must have been ended for both.
    pub victim_after: bool,
    /// The whole log of the gateway; a `theft` must be in it.
    pub events: Vec<Event>,
}

/// The victim signs in over a path so slow that a thief on the machine uses the hand-over's nonce first.
///
/// # Errors
/// When no nonce is seen in the jar, or a client or a process fails.
pub async fn take_the_nonce_first(before: &Before, http: Http) -> Result<NonceOutcome> {
    let members = Members::start().await?;
    let mut front = Front::start(before, &members).await?;
    let line = Line::lay(front.address(), Duration::ZERO).await?;
    let browser = Chromium::start(Profile::new(&front.ca(), http).await?).await?;
    let tab = browser.tab().await?;
    let base = format!("https://{HOST}:{}", line.address().port());
    tab.navigate(&format!("{base}/login")).await?;
    // The sign-in goes over the wire that stands; the victim's next one has to wait.
    line.set_delay(HEAD_START);
    let submit = format!(
        "setTimeout(() => {{ document.forms[0].name.value = '{NAME}'; document.forms[0].submit() }}, 10); 0"
    );
    tab.evaluate(&submit).await?;
    let stolen = wait::until("a hand-over's nonce in the jar", HEAD_START, || async {
        let jar = browser.cookies().await?.of_host(HOST);
        Ok(jar.cookies().iter().any(is_nonce).then_some(jar))
    })
    .await?;
    let (ca, server) = (front.ca(), front.address());
    let mut raw = RawThief::new(&ca, server, http, Tickets::Kept, AGENT, stolen)?;
    let url = format!("{base}/m/page?thief=1");
    let thief_before = raw.get(&url).await?.tells(NAME);
    line.set_delay(Duration::ZERO);
    // The victim's own request arrives when its wire does, and leads to some page.
    let arrived = "document.readyState === 'complete' && !location.pathname.startsWith('/login')";
    let came = tab.wait_for(arrived, BOUND).await;
    tab.navigate(&format!("{base}/m/page")).await?;
    let victim_after = tab.evaluate(&mine()).await? == true;
    let mut thief_after = false;
    for _ in 0..TRIES {
        thief_after |= raw.get(&url).await?.tells(NAME);
        raw.hang_up();
    }
    let outcome = NonceOutcome {
        thief_before,
        thief_after,
        victim_after,
        events: front.events(),
    };
    came.with_context(|| format!("{outcome:#?}"))?;
    browser.close().await?;
    front.stop().await?;
    Ok(outcome)
}

fn is_nonce(cookie: &Cookie) -> bool {
    cookie.name.ends_with("wirebound-h")
}

async fn sign_in(tab: &Tab, base: &str) -> Result<()> {
    tab.navigate(&format!("{base}/login")).await?;
    let submit = format!("document.forms[0].name.value = '{NAME}'; document.forms[0].submit()");
    tab.leave_by(&submit).await?;
    tab.wait_for(&mine(), BOUND).await.context("the sign-in")
}

fn mine() -> String {
    format!("document.body && document.body.dataset.user === '{NAME}'")
}

/// The victim's jar, once no nonce of a hand-over is left in it.
async fn jar(browser: &Chromium) -> Result<Jar> {
    wait::until("the hand-over", BOUND, || async {
        let jar = browser.cookies().await?.of_host(HOST);
        let open = jar.cookies().iter().any(is_nonce);
        Ok((!open).then_some(jar))
    })
    .await
}

/// Whether the victim is still served, by a page and by what a page fetches.
async fn look(outcome: &mut Outcome, tab: &Tab, base: &str, when: &str) {
    let served = async {
        tab.navigate(&format!("{base}/m/page")).await?;
        tab.wait_for(&mine(), BOUND).await?;
        let asked = tab.evaluate("burst(4)").await?;
        ensure!(
            asked["refused"].as_array().is_some_and(Vec::is_empty)
                && asked["app"].as_array().is_some_and(Vec::is_empty)
                && asked["broken"].as_array().is_some_and(Vec::is_empty),
            "{asked}"
        );
        Ok(())
    };
    if let Err(error) = served.await {
        outcome.victim_lost.push(format!("{when}: {error:#}"));
    }
}
