//! The thief beside the browser: he holds its whole jar, and tries as long as it works.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use crate::jar::Jar;
use crate::thief::Http;
use crate::thief::raw::{RawThief, Tickets};

/// Between two tries.
const REST: Duration = Duration::from_millis(50);

pub(super) struct Target {
    pub(super) ca: PathBuf,
    pub(super) server: SocketAddr,
    pub(super) http: Http,
    pub(super) agent: String,
    pub(super) jar: Jar,
    pub(super) url: String,
    pub(super) name: String,
}

/// What a thief tried and got.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Requests.
    pub asked: u64,
    /// Those of them that were answered with the victim's name. Must be 0.
    pub served: u64,
    /// Connections made.
    pub connections: u64,
    /// Those of them that resumed TLS.
    pub resumed: u64,
    /// How they were answered, by status; 0 where there was no answer.
    pub statuses: BTreeMap<u16, u64>,
}

impl Tried {
    pub(super) fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.served += other.served;
        self.connections += other.connections;
        self.resumed += other.resumed;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }
}

pub(super) struct Shadow {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Tried>,
}

impl Shadow {
    pub(super) fn begin(target: Target) -> Result<Self> {
        let Target {
            ca,
            server,
            http,
            agent,
            jar,
            url,
            name,
        } = target;
        let mut thief = RawThief::new(&ca, server, http, Tickets::Kept, &agent, jar.clone())?;
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut tried = Tried::default();
            while !*stopped.borrow() {
                // Sometimes he stays on his connection, sometimes he comes back resumed; sometimes he goes
                // on with what he was given, sometimes he begins again with what he stole.
                if tried.asked % 3 == 2 {
                    thief.hang_up();
                }
                if tried.asked % 5 == 4 {
                    thief.jar = jar.clone();
                }
                let got = thief
                    .get(&format!("{url}/m/page?thief={}", tried.asked))
                    .await;
                tried.asked += 1;
                let status = got.as_ref().map_or(0, |loot| loot.status);
                *tried.statuses.entry(status).or_default() += 1;
                tried.served += u64::from(got.is_ok_and(|loot| loot.tells(&name)));
                let _told = tokio::time::timeout(REST, stopped.changed()).await;
            }
            (tried.connections, tried.resumed) = thief.connections();
            tried
        });
        Ok(Self { stop, task })
    }

    pub(super) async fn end(self) -> Result<Tried> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}
