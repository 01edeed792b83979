//! The theft at a real app: the whole jar of a member is copied to other clients, while the member is connected, while all
//! connections are gone, and after they were made again.

use std::time::Duration;

use anyhow::Result;

use super::USER;
use super::site::{HOST, Site};
use super::walk::{Browser, Member};
use crate::chromium::{Chromium, Http};
use crate::jar::Jar;
use crate::line::Ending;
use crate::thief::raw::{RawThief, Tickets};
use crate::thief::{self, Target};
use crate::wait;

const BOUND: Duration = Duration::from_secs(10);

/// A browser that has made no connection for so long makes none by itself.
const SETTLED: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Spoils {
    /// Tries of all thieves.
    pub tries: usize,
    /// Who was served as the member, and when.
    pub served: Vec<String>,
    /// The thieves' requests that the app took for the member's.
    pub served_by_app: usize,
    /// When the member itself was not served.
    pub lost: Vec<String>,
}

/// Robs a member who is signed in: the jar is `browser`'s, the member goes on with `member`'s tab.
///
/// # Errors
/// When a client fails; what the thieves got is no error but the spoils.
pub async fn rob<B: Browser>(
    browser: &Chromium,
    member: &Member<'_, B>,
    second: &Chromium,
    http: Http,
) -> Result<Spoils> {
    let site = member.site;
    let mut spoils = Spoils::default();
    for time in ["connected", "away", "back"] {
        if time == "away" {
            leave(site).await?;
        } else if let Err(error) = member.is_served().await {
            spoils.lost.push(format!("{time}: {error:#}"));
        }
        let copy = jar(browser).await?;
        let target = Target {
            ca: &site.ca(),
            server: site.server(),
            http,
            url: &format!("{}/members?thief=1", site.base()),
            tries: 1,
        };
        for (who, loot) in Box::pin(thief::all(&target, &copy, second)).await? {
            spoils.tries += 1;
            if loot.tells(&mark()) {
                spoils.served.push(format!("{time}: {who}"));
            }
        }
    }
    if let Err(error) = member.is_served().await {
        spoils.lost.push(format!("after all: {error:#}"));
    }
    let taken = |line: &&String| line.contains("thief=1") && line.ends_with(USER);
    spoils.served_by_app = site.app.log().iter().filter(taken).count();
    Ok(spoils)
}

/// Ends every connection of the member, those too that a browser makes in advance when it loses one.
async fn leave(site: &Site) -> Result<()> {
    wait::until("the member to be away", BOUND, || async {
        site.line.end_all(Ending::Fin);
        wait::moment(SETTLED).await;
        Ok((site.line.live() == 0).then_some(()))
    })
    .await
}

/// Whether a copy of a jar is worth anything now, to a client that keeps its TLS tickets.
///
/// # Errors
/// When there is no answer.
pub async fn opens(site: &Site, http: Http, copy: &Jar) -> Result<bool> {
    let (ca, server) = (site.ca(), site.server());
    let mut raw = RawThief::new(&ca, server, http, Tickets::Kept, thief::AGENT, copy.clone())?;
    let loot = raw.get(&format!("{}/members?thief=1", site.base())).await?;
    Ok(loot.tells(&mark()))
}

/// What tells on a page that it is the member's.
fn mark() -> String {
    format!("data-user=\"{USER}\"")
}

/// The member's jar, once no nonce of a hand-over is left in it.
async fn jar(browser: &Chromium) -> Result<Jar> {
    wait::until("the hand-over", BOUND, || async {
        let jar = browser.cookies().await?.of_host(HOST);
        let open = jar
            .cookies()
            .iter()
            .any(|c| c.name.ends_with("wirebound-h"));
        Ok((!open).then_some(jar))
    })
    .await
}
