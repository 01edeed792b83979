//! A machine that is full: connections, files.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::app::App;
use crate::client::{Client, Http};
use crate::process::{Gateway, until};

const VOUCHED: &str = "[vouch]\npaths = [\"POST /login\"]\n";

/// This process holds the other ends.
fn raise_own_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        most >= needed,
        "{needed} files must be open at once: raise the hard limit (ulimit -Hn)"
    );
    let raised = Rlimit {
        current: Some(limit.current.unwrap_or(most).max(needed)),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

async fn is_alice(client: &Client) {
    let body = client.get("/me").await.body;
    assert!(body.starts_with("app=alice subject=alice"), "{body}");
}

#[tokio::test]
async fn at_the_limit_the_longest_idle_connection_gives_way_and_who_works_stays() {
    let config =
        format!("{VOUCHED}[limits]\nmax_connections = 50\nmax_connections_per_address = 1000\n");
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, &config).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Client::new(&gateway, Http::Two).bare().await);
        if idle.len() % 20 == 0 {
            is_alice(&alice).await;
        }
    }
    is_alice(&alice).await;
    let late = Client::new(&gateway, Http::One);
    late.sign_in("late").await;
    is_alice(&alice).await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_do_not_stop_a_signed_in_person() {
    // As many as `limits.max_connections` lets in.
    const MANY: usize = 10_000;
    raise_own_limit(11_000);
    let config = format!("{VOUCHED}[limits]\nmax_connections_per_address = 20000\n");
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, &config).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    let stranger = Client::new(&gateway, Http::One);
    let mut idle = Vec::new();
    while idle.len() < MANY {
        let mut some = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let one = stranger.clone();
            some.spawn(async move { one.bare().await });
        }
        idle.extend(some.join_all().await);
    }
    let began = Instant::now();
    for _ in 0..20 {
        is_alice(&alice).await;
        is_alice(&alice.other_connection()).await;
    }
    let took = began.elapsed();
    eprintln!("beside {MANY} idle connections 40 requests, 20 on new connections, took {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn out_of_files_nobody_connected_is_hurt_and_it_goes_on_when_there_are_some_again() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    is_alice(&alice).await;
    let pid = Pid::from_raw(i32::try_from(gateway.pid()).unwrap()).unwrap();
    let few = Rlimit {
        current: Some(64),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    let mut crowd = Vec::new();
    for _ in 0..120 {
        // The kernel takes them; the gateway cannot.
        crowd.push(
            tokio::net::TcpStream::connect(gateway.address())
                .await
                .unwrap(),
        );
    }
    let said = || {
        let printed = gateway.printed().join("\n");
        printed.contains("cannot accept connections: raise the limit of open files")
    };
    until("the warning", said).await;
    for _ in 0..5 {
        is_alice(&alice).await;
    }
    drop(crowd);
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    is_alice(&alice).await;
    let late = Client::new(&gateway, Http::One);
    late.sign_in("late").await;
}
