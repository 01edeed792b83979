//! What a certificate says of itself: names, dates, who signed it. Says nothing about trust.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wirebound::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// DNS names and addresses it is for.
    pub names: Vec<String>,
    /// Good from.
    pub not_before: Timestamp,
    /// Good until.
    pub not_after: Timestamp,
    /// Who signed it.
    pub issuer: String,
    /// Whom it is of.
    pub subject: String,
    permitted: Option<Vec<Permitted>>,
    der: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Permitted {
    Name(String),
    Net(Vec<u8>),
}

impl CertificateFacts {
    /// Reads a certificate; nothing if it is none.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate
            .subject_alternative_name()
            .ok()?
            .map(|extension| {
                extension
                    .value
                    .general_names
                    .iter()
                    .filter_map(name_text)
                    .collect()
            })
            .unwrap_or_default();
        let permitted = certificate.name_constraints().ok()?.and_then(|extension| {
            let subtrees = extension.value.permitted_subtrees.as_ref()?;
            Some(
                subtrees
                    .iter()
                    .filter_map(|subtree| permitted(&subtree.base))
                    .collect(),
            )
        });
        Some(Self {
            names,
            not_before: timestamp(certificate.validity().not_before.timestamp()),
            not_after: timestamp(certificate.validity().not_after.timestamp()),
            issuer: certificate.issuer().to_string(),
            subject: certificate.subject().to_string(),
            permitted,
            der: der.to_vec(),
        })
    }

    /// Whether it is for this name, wildcards taken literally or for one label (RFC 6125, section 6.4.3).
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            own.eq_ignore_ascii_case(name)
                || own.strip_prefix("*.").is_some_and(|parent| {
                    name.split_once('.').is_some_and(|(label, rest)| {
                        !label.is_empty() && label != "*" && rest.eq_ignore_ascii_case(parent)
                    })
                })
        })
    }

    /// Whether, as an authority, it may sign for this name; one without constraints may sign for all.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        let Some(permitted) = &self.permitted else {
            return true;
        };
        let address = name.parse::<IpAddr>().ok();
        let bare = name.strip_prefix("*.").unwrap_or(name);
        permitted.iter().any(|subtree| match (subtree, address) {
            (Permitted::Net(net), Some(address)) => in_net(net, address),
            (Permitted::Name(parent), None) => {
                bare.eq_ignore_ascii_case(parent)
                    || bare
                        .to_ascii_lowercase()
                        .ends_with(&format!(".{}", parent.to_ascii_lowercase()))
            }
            (Permitted::Net(_), None) | (Permitted::Name(_), Some(_)) => false,
        })
    }

    /// Whether this authority's key made the signature on the certificate.
    #[must_use]
    pub fn is_signed_by(&self, own: &CertificateDer<'_>, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, authority))) = (
            X509Certificate::from_der(own),
            X509Certificate::from_der(&authority.der),
        ) else {
            return false;
        };
        own.verify_signature(Some(authority.public_key())).is_ok()
    }

    /// The end, as RFC 3339.
    #[must_use]
    pub fn not_after_text(&self) -> String {
        date_text(self.not_after)
    }

    /// The beginning, as RFC 3339.
    #[must_use]
    pub fn not_before_text(&self) -> String {
        date_text(self.not_before)
    }
}

/// A moment as RFC 3339, in UTC and whole seconds.
pub(crate) fn date_text(at: Timestamp) -> String {
    let seconds = at
        .as_millis()
        .checked_div(1000)
        .and_then(|seconds| i64::try_from(seconds).ok());
    seconds
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| "a time beyond the calendar".to_owned())
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other kinds of names are for no server"
)]
fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other kinds of names are for no server"
)]
fn permitted(name: &GeneralName<'_>) -> Option<Permitted> {
    match name {
        GeneralName::DNSName(name) => {
            Some(Permitted::Name((*name).trim_start_matches('.').to_owned()))
        }
        GeneralName::IPAddress(bytes) => Some(Permitted::Net(bytes.to_vec())),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// Whether the address is in this net: address bytes, then mask bytes (RFC 5280, section 4.2.1.10).
fn in_net(net: &[u8], address: IpAddr) -> bool {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let Some((base, mask)) = net.split_at_checked(bytes.len()) else {
        return false;
    };
    mask.len() == bytes.len()
        && bytes
            .iter()
            .zip(base)
            .zip(mask)
            .all(|((byte, base), mask)| byte & mask == base & mask)
}
