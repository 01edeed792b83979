//! The certificate that clients see, swapped while running when its files change or its end is near.
//!
//! A pair of files that does not fit (a renewal half done, a wrong key) never takes the place of one that
//! works: the old one goes on being served, and the reason is an event.

pub mod facts;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use wirebound::{Clock, Entropy, Timestamp};

use self::facts::CertificateFacts;
use crate::authority::{ChainAndKey, LocalAuthority};
use crate::failure::Failure;

/// The certificate in force and where it comes from. Give it to rustls as its certificate resolver.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<CertifiedKey>,
    facts: ArcSwap<CertificateFacts>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Files {
        cert: PathBuf,
        key: PathBuf,
        seen: Mutex<Seen>,
    },
    Local(LocalAuthority),
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    inode: u64,
    length: u64,
}

type Seen = [Stamp; 2];

/// What a look at the source came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third outcome")]
pub enum Refresh {
    /// The one in force still stands.
    Unchanged,
    /// A new one is in force for new handshakes.
    Renewed,
}

impl Certificates {
    /// From PEM files: the chain, the server's own certificate first, and its private key.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, they do not belong together, or the certificate is over or not begun.
    pub fn from_files(cert: &Path, key: &Path, now: Timestamp) -> Result<Self, Failure> {
        let seen = [stamp(cert), stamp(key)];
        let (certified, facts) = read_files(cert, key, now)?;
        Ok(Self {
            current: ArcSwap::from_pointee(certified),
            facts: ArcSwap::from_pointee(facts),
            source: Source::Files {
                cert: cert.to_owned(),
                key: key.to_owned(),
                seen: Mutex::new(seen),
            },
        })
    }

    /// From the local authority, which renews what it signed.
    ///
    /// # Errors
    ///
    /// When the authority's files do not work.
    pub fn from_authority(
        authority: LocalAuthority,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let (certified, facts) = certify(
            authority.chain_and_key(entropy, now)?,
            "the local certificate",
            now,
        )?;
        Ok(Self {
            current: ArcSwap::from_pointee(certified),
            facts: ArcSwap::from_pointee(facts),
            source: Source::Local(authority),
        })
    }

    /// What the certificate in force says of itself.
    #[must_use]
    pub fn facts(&self) -> Arc<CertificateFacts> {
        self.facts.load_full()
    }

    /// Where the local authority's certificate is, if that is where this comes from.
    #[must_use]
    pub fn ca_path(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Files { .. } => None,
            Source::Local(authority) => Some(authority.ca_path()),
        }
    }

    /// Looks at the source again; to be called every few seconds.
    ///
    /// # Errors
    ///
    /// When what is there now does not work. The certificate in force stays, and the files are tried again
    /// when they change again.
    pub fn refresh(&self, entropy: &dyn Entropy, now: Timestamp) -> Result<Refresh, Failure> {
        let (certified, facts) = match &self.source {
            Source::Files { cert, key, seen } => {
                let fresh = [stamp(cert), stamp(key)];
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if *seen == fresh {
                    return Ok(Refresh::Unchanged);
                }
                *seen = fresh;
                read_files(cert, key, now)?
            }
            Source::Local(authority) => certify(
                authority.chain_and_key(entropy, now)?,
                "the local certificate",
                now,
            )?,
        };
        if certified.cert == self.current.load().cert {
            return Ok(Refresh::Unchanged);
        }
        self.current.store(Arc::new(certified));
        self.facts.store(Arc::new(facts));
        Ok(Refresh::Renewed)
    }

    /// Looks at the source again although it may look unchanged: somebody asked for it.
    ///
    /// # Errors
    ///
    /// As [`Certificates::refresh`].
    pub fn reload(&self, entropy: &dyn Entropy, now: Timestamp) -> Result<Refresh, Failure> {
        if let Source::Files { seen, .. } = &self.source {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
        }
        self.refresh(entropy, now)
    }

    /// Refreshes for as long as it is polled, and says in the log what came of it: at every `asked`, which is answered in
    /// the log in any case, and by itself every few seconds.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point.
    pub async fn keep_fresh(
        &self,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        every: core::time::Duration,
        asked: &mut (impl AskedFor + Send),
    ) {
        loop {
            let was_asked = tokio::select! {
                () = asked.asked() => true,
                () = tokio::time::sleep(every) => false,
            };
            let Some(now) = clock.now() else { continue };
            let refreshed = if was_asked {
                self.reload(entropy, now)
            } else {
                self.refresh(entropy, now)
            };
            match refreshed {
                Ok(Refresh::Unchanged) if was_asked => {
                    tracing::info!("the certificate in force is the one that is there");
                }
                Ok(Refresh::Unchanged) => {}
                Ok(Refresh::Renewed) => tracing::info!(
                    target: "wirebound::event",
                    event = "certificate.renewed",
                    names = self.facts().names.join(","),
                ),
                Err(failure) => tracing::warn!(
                    target: "wirebound::event",
                    event = "certificate.refused",
                    reason = failure.message,
                    hint = failure.hint,
                    "the certificate in force stays",
                ),
            }
        }
    }
}

/// Asks for another look at the certificate, now and then.
pub trait AskedFor {
    /// Resolves at the next time it is asked for. Dropping it loses nothing.
    fn asked(&mut self) -> impl Future<Output = ()> + Send;
}

impl AskedFor for Option<tokio::signal::unix::Signal> {
    async fn asked(&mut self) {
        let heard = match self {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            core::future::pending::<()>().await;
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).map_or_else(
        |_| Stamp::default(),
        |facts| Stamp {
            modified: (facts.mtime(), facts.mtime_nsec()),
            inode: facts.ino(),
            length: facts.len(),
        },
    )
}

fn read_files(
    cert: &Path,
    key: &Path,
    now: Timestamp,
) -> Result<(CertifiedKey, CertificateFacts), Failure> {
    let unreadable = |path: &Path, what: &str, error: &dyn core::fmt::Display| {
        Failure::start(
            format!("{} holds no {what}: {error}", path.display()),
            "both files are PEM; --cert holds the chain, --key its private key",
        )
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(cert, "certificate", &error))?;
    if chain.is_empty() {
        return Err(unreadable(
            cert,
            "certificate",
            &"it has no CERTIFICATE section",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unreadable(key, "private key", &error))?;
    certify(ChainAndKey { chain, key }, &cert.display().to_string(), now)
}

fn certify(
    pair: ChainAndKey,
    what: &str,
    now: Timestamp,
) -> Result<(CertifiedKey, CertificateFacts), Failure> {
    let facts = pair
        .chain
        .first()
        .and_then(CertificateFacts::read)
        .ok_or_else(|| {
            Failure::start(
                format!("{what} is no X.509 certificate"),
                "write it again as PEM",
            )
        })?;
    if facts.not_after <= now {
        return Err(Failure::start(
            format!("{what} is over since {}", facts.not_after_text()),
            "renew it, or leave --cert and --key out for a local one",
        ));
    }
    if facts.not_before > now {
        return Err(Failure::start(
            format!("{what} is not good before {}", facts.not_before_text()),
            "look at this machine's clock: wirebound doctor",
        ));
    }
    let certified = CertifiedKey::from_der(pair.chain, pair.key, &aws_lc_rs::default_provider())
        .map_err(|error| {
            let problem = if matches!(error, rustls::Error::InconsistentKeys(_)) {
                "and its private key do not belong together".to_owned()
            } else {
                format!("cannot be used: {error}")
            };
            Failure::start(
                format!("{what} {problem}"),
                "give the key that the certificate was made for: --key FILE",
            )
        })?;
    Ok((certified, facts))
}

#[cfg(test)]
mod tests;
