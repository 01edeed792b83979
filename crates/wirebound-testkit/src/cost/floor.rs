//! A proxy of nothing but hyper: what a gateway of these parts costs at least.
//!
//! No header is looked at but the hop-by-hop ones that HTTP/1.1 needs gone, nothing is bounded, nobody is identified.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Forward = Client<HttpConnector, Incoming>;

/// Serves on a free loopback port, which it prints, until it is killed.
///
/// # Errors
/// When no port can be had, or the certificate cannot be used.
pub async fn serve(certificate: &Path, key: &Path, upstream: u16) -> Result<()> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Forward = Client::builder(TokioExecutor::new())
        .set_host(false)
        .build(connector);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, client) = (acceptor.clone(), client.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| forward(client.clone(), upstream, request));
            let io = TokioIo::new(stream);
            if two {
                drop(
                    http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await,
                );
            } else {
                drop(http1::Builder::new().serve_connection(io, service).await);
            }
        });
    }
}

async fn forward(
    client: Forward,
    upstream: u16,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let to = format!("127.0.0.1:{upstream}");
    let uri = Uri::builder()
        .scheme("http")
        .authority(to.as_str())
        .path_and_query(path)
        .build()?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(&to)?);
    request.headers_mut().remove(CONNECTION);
    let mut response = client.request(request).await?;
    response.headers_mut().remove(CONNECTION);
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}
