//! The local authority: a certificate for this machine without asking anybody.
//!
//! It is made at the first start. Whoever trusts it trusts whoever reads `ca.key`; so the authority is
//! constrained to loopback and the names it was made for, and a stolen key forges no other site.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use wirebound::{Entropy, Lifetime, Timestamp};

use crate::certificates::facts::CertificateFacts;
use crate::data_dir::{DataDir, Unread, read_private, replace};
use crate::failure::Failure;

/// The authority's certificate, in the data folder.
pub const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const LEAF_FILE: &str = "leaf.pem";
const LEAF_KEY_FILE: &str = "leaf.key";

/// People have to trust it by hand, so it lives long.
const CA_LIFETIME: Lifetime = Lifetime::from_days(3650);

/// Nobody has to do anything when it is renewed, so it lives short.
const LEAF_LIFETIME: Lifetime = Lifetime::from_days(90);

/// A certificate is renewed when less than this is left.
const RENEW_BEFORE: Lifetime = Lifetime::from_days(30);

/// For clients whose clock is behind.
const BACKDATED: Lifetime = Lifetime::from_days(1);

/// The names that every certificate of the local authority is for.
///
/// `*.localhost` is not among them: webpki and NSS take a wildcard only above two labels, and refuse the whole
/// certificate otherwise. Any name below `localhost` can be added without a new authority.
const LOOPBACK_NAMES: [&str; 5] = [
    "localhost",
    "wirebound.localhost",
    "*.wirebound.localhost",
    "127.0.0.1",
    "::1",
];

/// The local authority of one data folder.
#[derive(Debug)]
pub struct LocalAuthority {
    folder: PathBuf,
    names: Vec<String>,
}

/// A chain and its key, as PEM was read.
#[derive(Debug)]
pub(crate) struct ChainAndKey {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl LocalAuthority {
    /// The authority of this folder, made if it is not there, for loopback and these names.
    ///
    /// # Errors
    ///
    /// When a file is unreadable, somebody else could read a key, a name is none, or an existing authority
    /// may not sign for one of the names.
    pub fn open(
        dir: &DataDir,
        names: &[String],
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let mut all: Vec<String> = LOOPBACK_NAMES.map(str::to_owned).to_vec();
        all.extend(
            names
                .iter()
                .filter(|name| !LOOPBACK_NAMES.contains(&name.as_str()))
                .cloned(),
        );
        let authority = Self {
            folder: dir.path().to_owned(),
            names: all,
        };
        authority.ensure_ca(entropy, now)?;
        authority.chain_and_key(entropy, now)?;
        Ok(authority)
    }

    /// Where the certificate to trust is.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.folder.join(CA_FILE)
    }

    /// The leaf's chain and key; a new one if the old one is missing, ends soon, is for other names or of
    /// another authority.
    pub(crate) fn chain_and_key(
        &self,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<ChainAndKey, Failure> {
        if let Some(kept) = self.kept_leaf(now)? {
            return Ok(kept);
        }
        let leaf_key = generate()?;
        let params = self.leaf_params(entropy, now)?;
        let ca_pem = self.read_ca()?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, self.read_ca_key()?)
            .map_err(|error| self.broken(&error.to_string()))?;
        let leaf = params
            .signed_by(&leaf_key, &issuer)
            .map_err(|error| self.broken(&error.to_string()))?;
        let chain = format!("{}{ca_pem}", leaf.pem());
        self.write(LEAF_KEY_FILE, leaf_key.serialize_pem().as_bytes(), 0o600)?;
        self.write(LEAF_FILE, chain.as_bytes(), 0o644)?;
        self.kept_leaf(now)?
            .ok_or_else(|| self.broken("what it signed does not verify"))
    }

    fn ensure_ca(&self, entropy: &dyn Entropy, now: Timestamp) -> Result<(), Failure> {
        if !self.ca_path().exists() {
            return self.make_ca(entropy, now);
        }
        let facts = self.ca_facts()?;
        self.read_ca_key()?;
        if facts.not_after < now.after(RENEW_BEFORE) {
            return Err(Failure::start(
                format!(
                    "the local authority {} ends within 30 days",
                    self.ca_path().display()
                ),
                format!(
                    "remove {} and trust the new one: --print-ca",
                    self.ca_path().display()
                ),
            ));
        }
        let foreign = self.names.iter().find(|name| !facts.permits(name));
        foreign.map_or(Ok(()), |name| {
            Err(Failure::start(
                format!(
                    "the local authority {} may not sign for `{name}`",
                    self.ca_path().display()
                ),
                format!(
                    "remove {} and trust the new one (--print-ca), or drop the name",
                    self.ca_path().display()
                ),
            ))
        })
    }

    fn make_ca(&self, entropy: &dyn Entropy, now: Timestamp) -> Result<(), Failure> {
        let key = generate()?;
        let mut params = CertificateParams::default();
        let mut serial = [0; 4];
        entropy
            .fill(&mut serial)
            .map_err(|error| self.broken(&error.to_string()))?;
        // A name of its own: two authorities of one name and different keys confuse certificate stores.
        let label = serial.map(|byte| format!("{byte:02x}")).concat();
        params.distinguished_name = named(&format!("Wirebound local authority {label}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: self
                .names
                .iter()
                .filter_map(|name| subtree(name))
                .chain(loopback_nets())
                .collect(),
            excluded_subtrees: Vec::new(),
        });
        params.not_before = date(now.before(BACKDATED));
        params.not_after = date(now.after(CA_LIFETIME));
        let ca = params
            .self_signed(&key)
            .map_err(|error| self.broken(&error.to_string()))?;
        self.write(CA_KEY_FILE, key.serialize_pem().as_bytes(), 0o600)?;
        self.write(CA_FILE, ca.pem().as_bytes(), 0o644)
    }

    fn leaf_params(
        &self,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<CertificateParams, Failure> {
        let mut params = CertificateParams::new(self.names.clone()).map_err(|error| {
            Failure::config(
                format!("tls.names holds a name that no certificate can carry: {error}"),
                "write host names or addresses, without scheme and port",
            )
        })?;
        let mut serial = [0; 16];
        entropy
            .fill(&mut serial)
            .map_err(|error| self.broken(&error.to_string()))?;
        // Positive, and never all zero in front (RFC 5280, section 4.1.2.2).
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x3f) | 0x40;
        }
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        params.distinguished_name = named("localhost");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date(now.before(BACKDATED));
        params.not_after = date(now.after(LEAF_LIFETIME));
        Ok(params)
    }

    /// The leaf on disk, if it still serves.
    fn kept_leaf(&self, now: Timestamp) -> Result<Option<ChainAndKey>, Failure> {
        let key = match read_private(&self.folder.join(LEAF_KEY_FILE)) {
            Ok(text) => text,
            Err(Unread::Missing) => return Ok(None),
            Err(other) => return Err(self.unreadable(LEAF_KEY_FILE, &other.to_string())),
        };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(self.folder.join(LEAF_FILE)).and_then(Iterator::collect);
        let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(key.as_bytes())) else {
            return Ok(None);
        };
        let serves = chain.first().is_some_and(|leaf| {
            let ca = self.ca_facts().ok();
            CertificateFacts::read(leaf).is_some_and(|facts| {
                let same_names = self.names.iter().all(|name| facts.covers(name));
                same_names
                    && facts.names.len() == self.names.len()
                    && facts.not_after > now.after(RENEW_BEFORE)
                    && facts.not_before <= now
                    && ca.is_some_and(|ca| facts.is_signed_by(leaf, &ca))
            })
        });
        // A process that was killed between the two files leaves a pair that does not fit.
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let fits = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).is_ok();
        Ok((serves && fits).then_some(ChainAndKey { chain, key }))
    }

    fn ca_facts(&self) -> Result<CertificateFacts, Failure> {
        let ca = CertificateDer::from_pem_file(self.ca_path())
            .map_err(|error| self.broken(&error.to_string()))?;
        CertificateFacts::read(&ca).ok_or_else(|| self.broken("it is no certificate"))
    }

    fn read_ca(&self) -> Result<String, Failure> {
        std::fs::read_to_string(self.ca_path()).map_err(|error| self.broken(&error.to_string()))
    }

    fn read_ca_key(&self) -> Result<KeyPair, Failure> {
        let text = read_private(&self.folder.join(CA_KEY_FILE))
            .map_err(|problem| self.unreadable(CA_KEY_FILE, &problem.to_string()))?;
        KeyPair::from_pem(&text).map_err(|error| self.unreadable(CA_KEY_FILE, &error.to_string()))
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Failure> {
        let path = self.folder.join(name);
        replace(&path, bytes, mode).map_err(|error| {
            Failure::start(
                format!("{} cannot be written: {error}", path.display()),
                "look at free space and permissions: wirebound doctor",
            )
        })
    }

    fn unreadable(&self, name: &str, problem: &str) -> Failure {
        let path = self.folder.join(name);
        Failure::start(
            format!("{} {problem}", path.display()),
            format!(
                "remove {} to start over, and trust the new authority: --print-ca",
                self.ca_path().display()
            ),
        )
    }

    fn broken(&self, problem: &str) -> Failure {
        Failure::start(
            format!(
                "the local authority {} does not work: {problem}",
                self.ca_path().display()
            ),
            format!(
                "remove {} to start over, and trust the new one: --print-ca",
                self.ca_path().display()
            ),
        )
    }
}

/// How to make browsers and tools trust the authority at this path, for a gateway at `host` (with its port).
#[must_use]
pub fn trust_instructions(ca: &Path, host: &str) -> String {
    let ca = ca.display();
    format!(
        "The local authority's certificate:
  {ca}

It can sign for loopback and the names it was made for, nothing else. To trust it:
  curl       curl --cacert {ca} https://{host}/
  Debian     sudo cp {ca} /usr/local/share/ca-certificates/wirebound.crt && sudo update-ca-certificates
  macOS      security add-trusted-cert -k ~/Library/Keychains/login.keychain-db {ca}
  Chromium   (Linux) certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n wirebound -i {ca}
             or Settings, Privacy and security, Security, Manage certificates, Authorities, Import
  Firefox    Settings, Privacy & Security, View Certificates, Authorities, Import
To stop trusting it, remove it in the same place.
"
    )
}

fn generate() -> Result<KeyPair, Failure> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|error| Failure::start(format!("no key can be made: {error}"), "wirebound doctor"))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// What the authority must be allowed for this name; loopback is allowed as a whole anyway.
fn subtree(name: &str) -> Option<GeneralSubtree> {
    match name.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => None,
        Ok(IpAddr::V4(address)) => Some(GeneralSubtree::IpAddress(CidrSubnet::V4(
            address.octets(),
            [0xff; 4],
        ))),
        Ok(IpAddr::V6(address)) => Some(GeneralSubtree::IpAddress(CidrSubnet::V6(
            address.octets(),
            [0xff; 16],
        ))),
        Err(_) if name.starts_with("*.") => None,
        Err(_) => Some(GeneralSubtree::DnsName(name.to_owned())),
    }
}

fn loopback_nets() -> [GeneralSubtree; 2] {
    let one = std::net::Ipv6Addr::LOCALHOST.octets();
    [
        GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [0xff, 0, 0, 0])),
        GeneralSubtree::IpAddress(CidrSubnet::V6(one, [0xff; 16])),
    ]
}

fn date(at: Timestamp) -> OffsetDateTime {
    let seconds = at
        .as_millis()
        .checked_div(1000)
        .and_then(|seconds| i64::try_from(seconds).ok());
    seconds
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
