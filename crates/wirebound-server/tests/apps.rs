//! Real apps behind the gateway, of which not one line is changed: Django's, a Flask app, an Express app, a PHP app. A member
//! signs in by form, at a provider, by a mailed link and by a company's posted answer, in a real browser; works, is robbed
//! of the whole jar, signs out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says by panicking what is wrong, and by printing what a sign-in cost"
)]

use std::path::Path;

use wirebound::store::{Space, Store as _};
use wirebound_redb::{Options, RedbStore};
use wirebound_testkit::apps::Kind;
use wirebound_testkit::apps::robbery::{Spoils, opens, rob};
use wirebound_testkit::apps::site::{HOST, Site};
use wirebound_testkit::apps::walk::{Cost, Member, Way, may_hold};
use wirebound_testkit::chromium::{Answer, Chromium, Http, Profile};
use wirebound_testkit::firefox::{self, Firefox};
use wirebound_testkit::jar::Jar;
use wirebound_testkit::provider::Provider;
use wirebound_testkit::thief::raw::{RawThief, Tickets};

fn gateway() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_wirebound"))
}

async fn chromium(site: &Site, http: Http) -> Chromium {
    let profile = Profile::new(&site.ca(), http).await.unwrap();
    Chromium::start(profile).await.unwrap()
}

/// Nothing of the app's own session reaches the browser: not in an answer, not in the jar.
fn keeps_its_cookie(kind: Kind, answers: &[Answer], jar: &Jar) {
    let names: Vec<&str> = jar.cookies().iter().map(|c| c.name.as_str()).collect();
    assert!(
        names.iter().all(|name| may_hold(kind, name)),
        "{kind:?}: the jar holds {names:?}"
    );
    assert!(names.contains(&"__Host-wirebound"), "{kind:?}: {names:?}");
    let fields = answers
        .iter()
        .filter(|a| a.url.contains(HOST))
        .flat_map(|a| &a.headers);
    let set = fields
        .filter(|(name, _)| name == "set-cookie")
        .filter_map(|(_, value)| value.split('=').next());
    for name in set {
        assert!(may_hold(kind, name), "{kind:?}: an answer sets {name}");
    }
}

fn print(kind: Kind, costs: &[Cost]) {
    for cost in costs {
        let browser = cost
            .browser
            .map_or_else(|| "-".to_owned(), |n| n.to_string());
        println!(
            "{kind:?} by {:?}: {} requests at the app, {browser} answers in the browser, {:?}",
            cost.way, cost.app, cost.took
        );
    }
}

/// Every way to sign in; after each the member works, is robbed, and signs out.
async fn walk(kind: Kind, http: Http) {
    let site = Site::behind_the_gateway(gateway(), kind).await.unwrap();
    let browser = chromium(&site, http).await;
    let second = chromium(&site, http).await;
    let tab = browser.tab().await.unwrap();
    let member = Member {
        browser: &tab,
        site: &site,
    };
    let mut costs = Vec::new();
    for way in Way::ALL {
        costs.push(member.sign_in(way).await.unwrap());
        member.work(&format!("{way:?}")).await.unwrap();
        let jar = browser.cookies().await.unwrap().of_host(HOST);
        keeps_its_cookie(kind, &tab.answers(), &jar);
        if !way.is_variant() {
            let spoils = rob(&browser, &member, &second, http).await.unwrap();
            worth_nothing(kind, way, &spoils, &site);
        }
        member.sign_out().await.unwrap();
        let still = opens(&site, http, &jar).await.unwrap();
        assert!(!still, "{kind:?} by {way:?}: a copy outlives the sign-out");
        tab.forget_answers();
    }
    print(kind, &costs);
    // A server that is sent a body where the client sent none reads it as the next request.
    let printed = site.app.said();
    assert!(!printed.contains("Bad request"), "{kind:?}: {printed}");
    second.close().await.unwrap();
    browser.close().await.unwrap();
}

fn worth_nothing(kind: Kind, way: Way, spoils: &Spoils, site: &Site) {
    let what = format!("{kind:?} by {way:?}: {spoils:#?}\n");
    assert!(spoils.tries >= 12, "{what}");
    assert!(spoils.served.is_empty(), "{what}{}", site.told());
    assert_eq!(spoils.served_by_app, 0, "{what}{}", site.told());
    assert!(spoils.lost.is_empty(), "{what}{}", site.told());
}

#[tokio::test]
async fn django_behind_the_gateway() {
    walk(Kind::Django, Http::Two).await;
}

#[tokio::test]
async fn flask_behind_the_gateway() {
    walk(Kind::Flask, Http::Two).await;
}

#[tokio::test]
async fn express_behind_the_gateway() {
    walk(Kind::Express, Http::One).await;
}

#[tokio::test]
async fn php_behind_the_gateway() {
    walk(Kind::Php, Http::Two).await;
}

#[tokio::test]
async fn php_that_keeps_its_id_behind_the_gateway() {
    walk(Kind::PhpKeepingItsId, Http::One).await;
}

/// The same walk in a real Firefox, without the thefts.
#[tokio::test]
async fn php_behind_the_gateway_in_firefox() {
    let site = Site::behind_the_gateway(gateway(), Kind::Php)
        .await
        .unwrap();
    let hosts = [HOST, Provider::HOST, Provider::MAIL].map(str::to_owned);
    let profile = firefox::Profile::new(&site.ca(), Http::Two, &hosts)
        .await
        .unwrap();
    let browser = Firefox::start(profile).await.unwrap();
    let member = Member {
        browser: &browser,
        site: &site,
    };
    let mut costs = Vec::new();
    for way in Way::ALL {
        costs.push(member.sign_in(way).await.unwrap());
        member.work(&format!("{way:?}")).await.unwrap();
        keeps_its_cookie(Kind::Php, &[], &browser.cookies().await.unwrap());
        member.sign_out().await.unwrap();
    }
    print(Kind::Php, &costs);
    browser.quit().await.unwrap();
}

/// How many rows of each space are in the store of a stopped gateway, but for the node's own.
async fn rows(data: &Path) -> Vec<(Space, u64)> {
    let store = RedbStore::open(data.join("sessions"), Options::default()).unwrap();
    let mut rows = Vec::new();
    for space in Space::ALL {
        let count = store.count(space).await.unwrap();
        if space != Space::Node && count > 0 {
            rows.push((space, count));
        }
    }
    rows
}

/// PHP hands a session to everybody. Whoever never comes back costs the store nothing; who does has a record.
#[tokio::test]
async fn two_hundred_visitors_who_never_come_back_leave_no_row_in_the_store() {
    let mut site = Site::behind_the_gateway(gateway(), Kind::Php)
        .await
        .unwrap();
    let visitor = |site: &Site| {
        let (ca, server) = (site.ca(), site.server());
        let jar = Jar::default();
        RawThief::new(&ca, server, Http::Two, Tickets::Kept, "a visitor", jar).unwrap()
    };
    let home = format!("{}/", site.base());
    let mut one = visitor(&site);
    for number in 0..200 {
        one = visitor(&site);
        let page = one.get(&home).await.unwrap();
        assert!(page.tells("data-user=\"\""), "visitor {number}: {page:?}");
        assert!(one.jar.named("__Host-wirebound").is_some(), "{:?}", one.jar);
        assert!(one.jar.named("PHPSESSID").is_none(), "{:?}", one.jar);
    }
    let met = site.app.log().iter().filter(|l| *l == "GET / -").count();
    assert_eq!(met, 200);
    let data = site.stop_the_gateway().await.unwrap();
    assert_eq!(rows(&data).await, []);

    site.start_the_gateway_again().await.unwrap();
    let mut back = visitor(&site);
    back.jar = one.jar;
    back.get(&home).await.unwrap();
    let data = site.stop_the_gateway().await.unwrap();
    let sessions = rows(&data).await;
    assert!(sessions.contains(&(Space::Session, 1)), "{sessions:?}");
}

/// The control: with nothing before the app every thief is served.
#[tokio::test]
async fn with_nothing_before_it_the_copied_jar_of_each_app_is_enough() {
    for kind in [Kind::Django, Kind::Flask, Kind::Express, Kind::Php] {
        let site = Site::bare(kind).await.unwrap();
        let browser = chromium(&site, Http::One).await;
        let second = chromium(&site, Http::One).await;
        let tab = browser.tab().await.unwrap();
        let member = Member {
            browser: &tab,
            site: &site,
        };
        let cost = member.sign_in(Way::Form).await.unwrap();
        member.work("bare").await.unwrap();
        let spoils = rob(&browser, &member, &second, Http::One).await.unwrap();
        assert_eq!(spoils.served.len(), spoils.tries, "{kind:?}: {spoils:#?}");
        assert_eq!(spoils.served_by_app, spoils.tries, "{kind:?}: {spoils:#?}");
        print(kind, &[cost]);
        second.close().await.unwrap();
        browser.close().await.unwrap();
    }
}
