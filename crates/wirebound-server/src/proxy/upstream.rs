//! Where requests go, and how long and how large things may be on that side.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Where requests go: `http://host[:port]` or `https://host[:port]`, nothing behind it.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) tls: Arc<ClientConfig>,
}

/// Why an address cannot be an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUpstream {
    /// No URL at all.
    #[error("`{0}` is not a URL; write it as http://127.0.0.1:3000")]
    Syntax(String),
    /// Another scheme than `http` and `https`.
    #[error(
        "`{0}` is neither an http:// nor an https:// URL; the gateway speaks HTTP/1.1 to the app"
    )]
    Scheme(String),
    /// User information, a path or a query.
    #[error("`{0}` has more than a host and a port; write it as http://127.0.0.1:3000")]
    Excess(String),
    /// The authorities that may vouch for it cannot be read.
    #[error("{0}")]
    Roots(String),
}

impl Upstream {
    /// Reads an upstream's address. Nobody vouches for one over TLS yet, and no connection to it is made:
    /// [`Upstream::trusting`].
    ///
    /// # Errors
    ///
    /// When it is not `http://host[:port]` or `https://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, BadUpstream> {
        let uri: Uri = text
            .parse()
            .map_err(|_| BadUpstream::Syntax(text.to_owned()))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(BadUpstream::Syntax(text.to_owned()));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(BadUpstream::Scheme(text.to_owned()));
        }
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        if !bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(BadUpstream::Excess(text.to_owned()));
        }
        Ok(Self {
            scheme,
            authority,
            tls: Arc::new(client(RootCertStore::empty())?),
        })
    }

    /// Has the authorities in this PEM file vouch for an upstream over TLS, or without one those of the system. The name
    /// that the certificate must be for is the host of the address.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn trusting(mut self, ca: Option<&Path>) -> Result<Self, BadUpstream> {
        if self.is_tls() {
            self.tls = Arc::new(client(roots(ca)?)?);
        }
        Ok(self)
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// How it is spoken to, for whoever does it by other means.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }
}

/// HTTP/1.1 over TLS 1.3 or 1.2, no client certificate.
fn client(roots: RootCertStore) -> Result<ClientConfig, BadUpstream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadUpstream::Roots(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, BadUpstream> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = "the system has no authorities that could vouch for the app: name its own in upstream.ca";
            return Err(BadUpstream::Roots(why.to_owned()));
        }
        return Ok(roots);
    };
    let bad = |problem: String| {
        BadUpstream::Roots(format!(
            "upstream.ca = {}: {problem}; it is a PEM file with the authority that signed the app's certificate",
            ca.display()
        ))
    };
    let read = CertificateDer::pem_file_iter(ca).map_err(|error| bad(error.to_string()))?;
    for certificate in read {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(roots)
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
