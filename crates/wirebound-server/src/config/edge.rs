//! The side that clients see: where to listen, with which certificate, and what one client may cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wirebound::Lifetime;

use super::units::{LifetimeText, Size, lifetime};

/// `[listen]`: where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Listen {
    /// Address and port. The default is reachable from this machine only; anything else must also say
    /// its `kind`, because a gateway that mistakes a proxy for a client binds everybody to one connection.
    pub addr: SocketAddr,
    /// `edge`: the peers are the clients themselves, so a connection can prove something. `behind`: the
    /// peers are a proxy, so it cannot. Loopback without a word is `edge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ListenKind>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)),
            kind: None,
        }
    }
}

impl Listen {
    /// The kind in force: loopback without a word is `edge`.
    #[must_use]
    pub const fn kind_in_force(&self) -> ListenKind {
        match self.kind {
            Some(kind) => kind,
            None => ListenKind::Edge,
        }
    }
}

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new kind must be met by every match that decides whether a wire proves"
)]
pub enum ListenKind {
    /// The clients themselves.
    Edge,
    /// A proxy in front of them.
    Behind,
}

/// `[tls]`: the certificate that clients see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Tls {
    /// PEM file with the certificate and its chain, the server's own first. Left out (with `key`), a local
    /// authority is made in the data folder at the first start. A changed file is taken up while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `cert`. Both are given or neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Names and addresses, beside `localhost`, that the local authority's certificate is for. The authority
    /// may sign for these and for loopback only, so a stolen `ca.key` forges nothing else.
    pub names: Vec<String>,
}

/// `[limits]`: what one client may cost before it is turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// From accepting a connection to the end of its TLS handshake. A slow handshake holds a socket and costs its sender nothing.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub handshake_timeout: Lifetime,
    /// From the first byte of a request to the end of its head: what stops a client that sends one byte a minute.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub header_timeout: Lifetime,
    /// The largest request head. Most servers behind a gateway refuse more than 8 to 64 KiB anyway.
    pub header_size: Size,
    /// The most fields in a request head.
    pub header_count: u32,
    /// The largest request body. It is streamed, so this bounds time and the upstream's disk rather than memory here.
    pub body_size: Size,
    /// The longest silence inside a request or response body; a WebSocket or an event stream has its own, `stream_idle`.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub body_idle: Lifetime,
    /// The longest silence on a WebSocket or an event stream, where being silent is normal.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub stream_idle: Lifetime,
    /// How long a connection without a request stays open. Long is good here: while it lives it needs no store
    /// and no handshake to prove itself.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub connection_idle: Lifetime,
    /// The most connections at once. At the limit the longest idle one gives way; if all are busy, the newcomer does.
    pub max_connections: u32,
    /// The most connections at once from one address (one /64 for IPv6).
    pub max_connections_per_address: u32,
    /// The most concurrent requests on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long requests in flight may finish after a stop signal before they are cut.
    #[serde(with = "lifetime")]
    #[schemars(with = "LifetimeText")]
    pub drain_timeout: Lifetime,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Lifetime::from_secs(10),
            header_timeout: Lifetime::from_secs(10),
            header_size: Size::from_kib(64),
            header_count: 100,
            body_size: Size::from_mib(100),
            body_idle: Lifetime::from_mins(1),
            stream_idle: Lifetime::from_hours(1),
            connection_idle: Lifetime::from_mins(5),
            max_connections: 10_000,
            max_connections_per_address: 512,
            max_streams: 128,
            drain_timeout: Lifetime::from_secs(10),
        }
    }
}
