//! Where requests go, and how long and how large things may be on that side.

use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};

/// Where requests go: `http://host[:port]`, nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub(super) authority: Authority,
}

/// Why an address cannot be an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUpstream {
    /// No URL at all.
    #[error("`{0}` is not a URL; write it as http://127.0.0.1:3000")]
    Syntax(String),
    /// Another scheme than `http`.
    #[error(
        "`{0}` is not an http:// URL; the gateway speaks plain HTTP/1.1 to an upstream beside it"
    )]
    Scheme(String),
    /// User information, a path or a query.
    #[error("`{0}` has more than a host and a port; write it as http://127.0.0.1:3000")]
    Excess(String),
}

impl Upstream {
    /// Reads an upstream's address.
    ///
    /// # Errors
    ///
    /// When it is not `http://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, BadUpstream> {
        let uri: Uri = text
            .parse()
            .map_err(|_| BadUpstream::Syntax(text.to_owned()))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(BadUpstream::Syntax(text.to_owned()));
        };
        if scheme != Scheme::HTTP {
            return Err(BadUpstream::Scheme(text.to_owned()));
        }
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        if !bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(BadUpstream::Excess(text.to_owned()));
        }
        Ok(Self { authority })
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

/// Bounds of the upstream's side.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// How long a connection to the upstream may take to open. 5 s.
    pub connect: Duration,
    /// How long the upstream may take to its response head once nothing more of the request's body comes (at
    /// most twice as long, counted from the last piece). 60 s, as most servers have it.
    pub head: Duration,
    /// How long an idle upstream connection is kept: 4 s, below the 5 s after which the quickest common app
    /// server (Node) closes, so that a request rarely meets a connection that is just going.
    pub idle: Duration,
    /// Idle upstream connections kept at most. 64.
    pub idle_connections: usize,
    /// Fields in a response head. 100.
    pub fields: usize,
    /// Bytes of a response head. 64 KiB; also the read buffer's bound per upstream connection.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(60),
            idle: Duration::from_secs(4),
            idle_connections: 64,
            fields: 100,
            head_bytes: 64 * 1024,
        }
    }
}
