//! A certificate authority for one test, and servers' certificates made by it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A fresh authority whose certificate lies in a file, as browsers and curl want it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("file", &self.file.path())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes the authority and writes its certificate.
    ///
    /// # Errors
    /// When no key can be made or no temporary file be written.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Wirebound test authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = tempfile::Builder::new()
            .prefix("wirebound-ca-")
            .suffix(".pem")
            .tempfile()?;
        std::fs::write(file.path(), issuer.pem())?;
        Ok(Self { issuer, file })
    }

    /// The certificate's PEM file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// A server's TLS configuration for `names`, TLS 1.3 and 1.2, offering `alpn` in its order.
    ///
    /// # Errors
    /// When a name is no DNS name or address.
    pub fn server(&self, names: &[&str], alpn: &[&[u8]]) -> Result<ServerConfig> {
        let (leaf, key) = self.issue(names)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())?;
        config.alpn_protocols = alpn.iter().map(|a| a.to_vec()).collect();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }

    /// Writes a server's certificate and key for `names` into `folder`, as the gateway's `--cert` and
    /// `--key` want them.
    ///
    /// # Errors
    /// When a name is no DNS name or address, or the files cannot be written.
    pub fn files(&self, names: &[&str], folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let (leaf, key) = self.issue(names)?;
        let (certificate, secret) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&certificate, leaf.pem())?;
        std::fs::write(&secret, key.serialize_pem())?;
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
        Ok((certificate, secret))
    }

    fn issue(&self, names: &[&str]) -> Result<(rcgen::Certificate, KeyPair)> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Wirebound test server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Browsers refuse a server's certificate that is good for years.
        let day = std::time::Duration::from_secs(86_400);
        let now = std::time::SystemTime::now();
        params.not_before = (now - day).into();
        params.not_after = (now + day * 30).into();
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }
}

/// A client's TLS configuration that trusts the authorities in `ca` and nobody else.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn client(ca: &Path, alpn: &[&[u8]]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)
        .with_context(|| format!("the authority's certificate {}", ca.display()))?
    {
        roots.add(certificate?)?;
    }
    anyhow::ensure!(!roots.is_empty(), "{} holds no certificate", ca.display());
    let mut config = ClientConfig::builder()
        .with_root_certificates(Arc::new(roots))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|a| a.to_vec()).collect();
    Ok(config)
}
