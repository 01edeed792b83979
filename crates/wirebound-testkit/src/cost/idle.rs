//! What idle connections hold: each makes a full handshake, asks once, and then rests.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use rustls::client::Resumption;

use super::load::{Who, Wire};
use super::report::Idle;
use super::servers::{Kind, Server};
use super::usage::Cores;
use super::{Http, Plan};
use crate::authority::{self, Authority};

/// Handshakes at once.
const AT_ONCE: usize = 100;

pub(super) async fn measure(
    plan: &Plan,
    cores: &Cores,
    authority: &Authority,
    upstream: u16,
    many: usize,
) -> Result<Vec<Idle>> {
    let mut rows = Vec::new();
    for http in [Http::One, Http::Two] {
        for kind in [Kind::Nginx, Kind::Floor, Kind::Gateway] {
            let server = Server::start(kind, plan, cores, authority, upstream).await?;
            let idle = hold(&server, http, many);
            rows.push(idle.await.with_context(|| kind.name())?);
            eprintln!("idle connections: {} over {}", kind.name(), http.name());
        }
    }
    Ok(rows)
}

async fn hold(server: &Server, http: Http, many: usize) -> Result<Idle> {
    let mut tls = authority::client(&server.ca, http.alpn())?;
    tls.resumption = Resumption::disabled();
    let tls = Arc::new(tls);
    let open = || async {
        let mut wire =
            Wire::open(server.address, Arc::clone(&tls), http, None, Who::Nobody).await?;
        wire.exchange().await?;
        anyhow::Ok(wire)
    };
    let mut wires = try_join_all((0..AT_ONCE).map(|_| open())).await?;
    let before = server.usage().resident()?;
    while wires.len() < AT_ONCE + many {
        let next = AT_ONCE.min(AT_ONCE + many - wires.len());
        wires.extend(try_join_all((0..next).map(|_| open())).await?);
    }
    let after = server.usage().resident()?;
    // All are still there: the last look is at the oldest and the youngest.
    for at in [0, wires.len() - 1] {
        wires[at].exchange().await?;
    }
    Ok(Idle {
        server: server.kind.name(),
        http,
        connections: many,
        resident: after,
        each: after.saturating_sub(before) as f64 / many as f64,
    })
}
