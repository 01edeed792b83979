//! An app behind nothing but TLS: the control of every experiment.
//!
//! A copied cookie is enough here. A trial that does not see the thief get in here could not see him get
//! in anywhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::ServerConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::Authority;
use crate::members::App;

/// A TLS listener in front of the app.
#[derive(Debug)]
pub struct Bare {
    authority: Authority,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Bare {
    /// Starts it with a certificate for `names`.
    ///
    /// # Errors
    /// When a name is none or no port can be had.
    pub async fn start(app: &Arc<App>, names: &[&str]) -> Result<Self> {
        let authority = Authority::new()?;
        let config = authority.server(names, &[b"h2", b"http/1.1"])?;
        let app = Arc::clone(app);
        Self::listen(authority, config, move |stream| {
            let app = Arc::clone(&app);
            async move { app.serve(stream).await }
        })
        .await
    }

    /// Starts it in front of a server that speaks HTTP/1.1, whose bytes it passes on as they are.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn before(server: SocketAddr, authority: Authority, names: &[&str]) -> Result<Self> {
        let config = authority.server(names, &[b"http/1.1"])?;
        Self::listen(authority, config, move |mut near| async move {
            if let Ok(mut far) = TcpStream::connect(server).await {
                // How a connection ends is the two sides' business.
                let _ended = copy_bidirectional(&mut near, &mut far).await;
            }
        })
        .await
    }

    async fn listen<F>(
        authority: Authority,
        config: ServerConfig,
        serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = ()> + Send,
    {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, serve) = (acceptor.clone(), serve.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream).await;
                    }
                });
            }
        });
        Ok(Self {
            authority,
            address,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.authority.file()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.task.abort();
    }
}
