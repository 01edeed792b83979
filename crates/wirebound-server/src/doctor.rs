//! `doctor`: what a gateway here would stumble over, before it does.
//!
//! It only looks: it makes no keys, takes no lock for longer than the look, and changes nothing.

mod finding;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use wirebound::{Clock as _, Lifetime, Timestamp};
use wirebound_redb::{OpenError, Options, RedbStore};

pub use self::finding::{Finding, State, exit, json, table};
use crate::certificates::Certificates;
use crate::certificates::facts::{CertificateFacts, date_text};
use crate::config::{Config, Loaded, lifetime_text, upstream_authority};
use crate::control::{NoSocket, SOCKET_FILE, too_long};
use crate::data_dir::{LOCK_FILE, NodeSecret, SECRET_FILE, Unread, read_private};
use crate::gateway;
use crate::proxy::Upstream;
use crate::serve;
use crate::system::SystemClock;

/// A certificate with less than this left wants a look.
const SOON: Lifetime = Lifetime::from_days(14);

/// Free space below which sessions may soon not be kept, and below which they are not.
const LOW_MIB: u64 = 256;
const BAD_MIB: u64 = 16;

/// How long the upstream may take to answer the doctor.
const PATIENCE: Duration = Duration::from_secs(3);

/// Descriptors beside those of connections: store, log, listener, certificate files.
const OTHER_DESCRIPTORS: u64 = 64;

/// Looks at everything.
#[must_use]
pub fn examine(loaded: &Loaded, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = vec![configuration(loaded)];
    let clock = SystemClock::new();
    let now = clock.now();
    match serve::folder(&loaded.config, variable) {
        Ok(folder) => {
            findings.push(data_folder(&folder));
            findings.push(node_secret(&folder));
            findings.push(store(loaded, &folder));
            findings.push(space(loaded, &folder));
            findings.push(wall_clock(now, clock.uptime(), Some(&folder)));
            findings.push(certificate(loaded, &folder, now));
            findings.push(port(loaded, &folder));
            findings.push(orders(&folder));
        }
        Err(failure) => {
            findings.push(Finding::bad(
                "data folder",
                failure.message,
                failure.hint.unwrap_or_default(),
            ));
            findings.push(wall_clock(now, clock.uptime(), None));
        }
    }
    findings.push(upstream(loaded));
    findings.push(descriptors(loaded, getrlimit(Resource::Nofile).maximum));
    findings
}

fn configuration(loaded: &Loaded) -> Finding {
    match loaded.check() {
        Ok(()) => Finding::good("configuration", "every rule is kept"),
        Err(errors) => {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            let more = errors.len().saturating_sub(1);
            let seen = if more == 0 {
                first
            } else {
                format!("{first}, and {more} more")
            };
            Finding::bad("configuration", seen, "wirebound config check")
        }
    }
}

fn data_folder(folder: &Path) -> Finding {
    const ABOUT: &str = "data folder";
    let shown = folder.display();
    let facts = match fs::metadata(folder) {
        Ok(facts) => facts,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::good(ABOUT, format!("{shown} is made at the first start"));
        }
        Err(error) => {
            return Finding::bad(
                ABOUT,
                format!("{shown}: {error}"),
                "name another one: --data-dir DIR",
            );
        }
    };
    let mode = facts.mode() & 0o7777;
    let (owner, ours) = (facts.uid(), rustix::process::geteuid().as_raw());
    if owner != ours {
        return Finding::bad(
            ABOUT,
            format!("{shown} belongs to user {owner}, and this is user {ours}"),
            format!("run as the user that runs the gateway, or chown -R {ours} {shown}"),
        );
    }
    let probe = folder.join(format!("doctor.{}.new", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe);
    match written.and_then(|_| fs::remove_file(&probe)) {
        Err(error) => Finding::bad(
            ABOUT,
            format!("{shown} cannot be written: {error}"),
            "name another one: --data-dir DIR",
        ),
        Ok(()) if mode & 0o022 != 0 => Finding::bad(
            ABOUT,
            format!("{shown} has mode {mode:04o}, others may write"),
            format!("chmod 700 {shown}"),
        ),
        Ok(()) if mode & 0o055 != 0 => Finding::warning(
            ABOUT,
            format!("{shown} has mode {mode:04o}, others may look"),
            format!("chmod 700 {shown}"),
        ),
        Ok(()) => Finding::good(ABOUT, format!("{shown}, mode {mode:04o}, writable")),
    }
}

fn node_secret(folder: &Path) -> Finding {
    const ABOUT: &str = "node secret";
    let path = folder.join(SECRET_FILE);
    match read_private(&path).map(|text| NodeSecret::parse(&text)) {
        Err(Unread::Missing) => Finding::good(ABOUT, "is made at the first start"),
        Err(problem) => Finding::bad(
            ABOUT,
            format!("{} {problem}", path.display()),
            "chmod 600 it if nobody else could read it, else remove it and everybody signs in again",
        ),
        Ok(None) => Finding::bad(
            ABOUT,
            format!("{} is not a node secret", path.display()),
            "put it back from a backup, or remove it and everybody signs in again",
        ),
        Ok(Some(secret)) => {
            let epoch = secret.current().map_or(0, |(epoch, _)| epoch);
            Finding::good(ABOUT, format!("mode 0600, epoch {epoch}"))
        }
    }
}

/// Reads the whole store as a start would, and changes nothing.
fn store(loaded: &Loaded, folder: &Path) -> Finding {
    const ABOUT: &str = "store";
    let Some(store) = gateway::store_folder(&loaded.config, folder) else {
        return Finding::warning(
            ABOUT,
            "it is in memory: everybody signs in again after a restart",
            "--store file:sessions",
        );
    };
    match RedbStore::look(&store, Options::default()) {
        Ok(None) => Finding::good(ABOUT, "is made at the first start"),
        Ok(Some(_)) if !folder.join(SECRET_FILE).exists() => Finding::bad(
            ABOUT,
            "there is a store, but node.secret, under which it was written, is gone",
            "put node.secret back from the backup; or move the store away, and everybody signs in anew",
        ),
        Ok(Some(sessions)) => Finding::good(ABOUT, format!("it reads well, {sessions} sessions")),
        Err(OpenError::Locked { .. }) => match owner(folder) {
            Some(owner) => Finding::good(ABOUT, format!("in use by process {owner}")),
            None => Finding::bad(
                ABOUT,
                format!("{} is in use by another process", store.display()),
                "stop that one, or name another folder: --store file:sessions",
            ),
        },
        Err(error) => Finding::bad(
            ABOUT,
            error.to_string(),
            "the text says what to do; a copy of the folder first",
        ),
    }
}

/// Room for the store to grow. A full disk refuses sign-ins, and loses nothing.
fn space(loaded: &Loaded, folder: &Path) -> Finding {
    const ABOUT: &str = "space";
    let place = gateway::store_folder(&loaded.config, folder).unwrap_or_else(|| folder.to_owned());
    let Some(facts) = place.ancestors().find_map(|place| statvfs(place).ok()) else {
        return Finding::warning(
            ABOUT,
            "cannot be told",
            "df says how much room the disk has",
        );
    };
    let mib = facts.f_bavail.saturating_mul(facts.f_frsize) >> 20;
    let hint = "make room, or name another folder: --data-dir DIR";
    let seen = format!("{mib} MiB are free");
    match mib {
        0..BAD_MIB => Finding::bad(
            ABOUT,
            format!("{seen}: sign-ins will be answered 503"),
            hint,
        ),
        BAD_MIB..LOW_MIB => Finding::warning(ABOUT, seen, hint),
        LOW_MIB.. => Finding::good(ABOUT, seen),
    }
}

fn wall_clock(now: Option<Timestamp>, uptime: Lifetime, folder: Option<&Path>) -> Finding {
    const ABOUT: &str = "clock";
    const SET_IT: &str = "timedatectl set-ntp true, and look again";
    let Some(now) = now else {
        return Finding::bad(ABOUT, "it has never been set", SET_IT);
    };
    if let Some((name, at)) = folder
        .and_then(newest)
        .filter(|(_, at)| *at > now.after(Lifetime::from_secs(2)))
    {
        return Finding::bad(
            ABOUT,
            format!(
                "it is {}, but {name} was written at {}: it has gone back",
                date_text(now),
                date_text(at)
            ),
            SET_IT,
        );
    }
    Finding::good(
        ABOUT,
        format!(
            "{}, up for {}",
            date_text(now),
            lifetime_text(Lifetime::from_secs(uptime.as_secs()))
        ),
    )
}

/// The file of the folder that was written last.
fn newest(folder: &Path) -> Option<(String, Timestamp)> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let seconds = u64::try_from(entry.metadata().ok()?.mtime()).ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((name, Timestamp::from_millis(seconds.saturating_mul(1000))))
        })
        .max_by_key(|(_, at)| *at)
}

fn certificate(loaded: &Loaded, folder: &Path, now: Option<Timestamp>) -> Finding {
    const ABOUT: &str = "certificate";
    let Some(now) = now else {
        return Finding::warning(ABOUT, "cannot be judged without a clock", "set the clock");
    };
    let facts = match (&loaded.config.tls.cert, &loaded.config.tls.key) {
        (Some(cert), Some(key)) => match Certificates::from_files(cert, key, now) {
            Ok(certificates) => certificates.facts().as_ref().clone(),
            Err(failure) => {
                return Finding::bad(ABOUT, failure.message, failure.hint.unwrap_or_default());
            }
        },
        _ => match CertificateDer::from_pem_file(folder.join("leaf.pem"))
            .ok()
            .as_ref()
            .and_then(CertificateFacts::read)
        {
            Some(facts) => facts,
            None => return Finding::good(ABOUT, "a local authority is made at the first start"),
        },
    };
    let about = format!(
        "for {}, until {}",
        facts.names.join(" "),
        facts.not_after_text()
    );
    if let Some((one, next)) = loaded.config.tls.cert.as_deref().and_then(broken_chain) {
        return Finding::bad(
            ABOUT,
            format!("{about}; in its chain, {one} is not signed by what follows, {next}"),
            "write the server's own certificate first, then each one that signed the one before",
        );
    }
    let local = loaded.config.tls.cert.is_none();
    if facts.not_after <= now && !local {
        return Finding::bad(
            ABOUT,
            about,
            "renew it; the files are taken up while running",
        );
    }
    if facts.not_after < now.after(SOON) && !local {
        return Finding::warning(
            ABOUT,
            about,
            "renew it; the files are taken up while running",
        );
    }
    if facts.names.is_empty() {
        return Finding::bad(
            ABOUT,
            "it is for no name, and no browser accepts that",
            "make one with a subjectAltName",
        );
    }
    if facts.issuer == facts.subject {
        return Finding::warning(
            ABOUT,
            format!("{about}; it signed itself, so browsers warn"),
            "leave --cert and --key out for a local authority",
        );
    }
    Finding::good(ABOUT, about)
}

/// Two neighbours of a certificate file of which the second did not sign the first, by their names. Browsers that do not
/// happen to know the missing one refuse such a chain.
fn broken_chain(cert: &Path) -> Option<(String, String)> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .ok()?
        .filter_map(|der| CertificateFacts::read(&der.ok()?))
        .collect();
    chain.windows(2).find_map(|pair| match pair {
        [one, next] if one.issuer != next.subject => {
            Some((one.subject.clone(), next.subject.clone()))
        }
        _ => None,
    })
}

fn port(loaded: &Loaded, folder: &Path) -> Finding {
    const ABOUT: &str = "port";
    let address = loaded.config.listen.addr;
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(ABOUT, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => match owner(folder) {
            Some(owner) => Finding::warning(
                ABOUT,
                format!("{address} is taken, and process {owner} runs on this data folder"),
                "if that is the gateway, all is well",
            ),
            None => Finding::bad(
                ABOUT,
                format!("{address} is taken by another program"),
                "ss -ltnp tells by whom; --listen ADDR",
            ),
        },
        Err(error) => Finding::bad(
            ABOUT,
            format!("{address}: {error}"),
            "--listen ADDR of this machine",
        ),
    }
}

/// Whether an operator can reach the gateway while it runs.
fn orders(folder: &Path) -> Finding {
    const ABOUT: &str = "orders";
    let path = folder.join(SOCKET_FILE);
    let occupied = fs::symlink_metadata(&path).is_ok_and(|facts| !facts.file_type().is_socket());
    let problem = too_long(&path)
        .map(NoSocket::TooLong)
        .or_else(|| occupied.then_some(NoSocket::Occupied));
    if let Some(problem) = problem {
        return Finding::warning(
            ABOUT,
            format!("none can be given while the gateway runs: {problem}"),
            problem.hint(),
        );
    }
    let Some(owner) = owner(folder) else {
        return Finding::good(ABOUT, format!("{SOCKET_FILE} is made at the start"));
    };
    match UnixStream::connect(&path) {
        Ok(_) => Finding::good(ABOUT, format!("process {owner} takes them")),
        Err(error) => Finding::warning(
            ABOUT,
            format!("process {owner} takes none: {error}"),
            "if it is a gateway that runs for a while already, restart it",
        ),
    }
}

/// The process that owns the folder now, if one does.
fn owner(folder: &Path) -> Option<String> {
    let file = fs::OpenOptions::new()
        .read(true)
        .open(folder.join(LOCK_FILE))
        .ok()?;
    let free = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok();
    if free {
        return None;
    }
    fs::read_to_string(folder.join(LOCK_FILE)).ok()
}

fn upstream(loaded: &Loaded) -> Finding {
    const ABOUT: &str = "upstream";
    let Some(url) = &loaded.config.upstream.url else {
        return Finding::warning(
            ABOUT,
            "none is named",
            "--upstream http://127.0.0.1:3000, or run the demo",
        );
    };
    let hint = "start the app, or name it: --upstream http://HOST:PORT";
    let authority = match upstream_authority(url) {
        Ok(authority) => authority,
        Err(why) => return Finding::bad(ABOUT, format!("{url}: {why}"), hint),
    };
    let upstream = Upstream::parse(url)
        .and_then(|upstream| upstream.trusting(loaded.config.upstream.ca.as_deref()));
    let upstream = match upstream {
        Ok(upstream) => upstream,
        Err(why) => return Finding::bad(ABOUT, why.to_string(), "wirebound config check"),
    };
    let tls = upstream.is_tls().then(|| upstream.tls());
    match ask_head(&authority, tls) {
        Ok(status) => Finding::good(ABOUT, format!("{url} answers: {status}")),
        Err(problem) if upstream.is_tls() => Finding::bad(
            ABOUT,
            format!("{url}: {problem}"),
            "start the app; name in upstream.ca who signed its certificate, and in upstream.url the host that it is for",
        ),
        Err(problem) => Finding::bad(ABOUT, format!("{url}: {problem}"), hint),
    }
}

/// The status line of a HEAD request.
fn ask_head(
    authority: &http::uri::Authority,
    tls: Option<Arc<ClientConfig>>,
) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let bare = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let port = authority
        .port_u16()
        .unwrap_or_else(|| if tls.is_some() { 443 } else { 80 });
    let address = (bare, port)
        .to_socket_addrs()
        .map_err(text)?
        .next()
        .ok_or("no such host")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    match tls {
        None => converse(&mut stream, authority),
        Some(config) => {
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
            let session = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
            converse(&mut StreamOwned::new(session, stream), authority)
        }
    }
}

fn converse(
    stream: &mut (impl Read + Write),
    authority: &http::uri::Authority,
) -> Result<String, String> {
    write!(
        stream,
        "HEAD / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )
    .and_then(|()| stream.flush())
    .map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    stream.take(256).read_to_end(&mut head).or_else(|error| {
        if head.is_empty() {
            Err(error.to_string())
        } else {
            Ok(0)
        }
    })?;
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    if line.starts_with("HTTP/1.") {
        Ok(line.to_owned())
    } else {
        Err("something listens there, but it does not speak HTTP".to_owned())
    }
}

/// Each connection of a client may need one to the upstream.
pub(crate) fn descriptors_needed(config: &Config) -> u64 {
    u64::from(config.limits.max_connections)
        .saturating_mul(2)
        .saturating_add(OTHER_DESCRIPTORS)
}

/// The gateway asks for what it needs, up to the hard limit.
fn descriptors(loaded: &Loaded, limit: Option<u64>) -> Finding {
    const ABOUT: &str = "descriptors";
    let needed = descriptors_needed(&loaded.config);
    match limit {
        Some(limit) if limit < 256 => Finding::bad(
            ABOUT,
            format!("{limit} files may be open"),
            format!("ulimit -Hn {needed}, or LimitNOFILE={needed} of its service"),
        ),
        Some(limit) if limit < needed => Finding::warning(
            ABOUT,
            format!("{limit} files may be open, {needed} are needed for limits.max_connections"),
            format!("ulimit -Hn {needed}, or lower limits.max_connections"),
        ),
        Some(limit) => Finding::good(
            ABOUT,
            format!("{limit} files may be open, {needed} are needed"),
        ),
        None => Finding::good(ABOUT, "any number of files may be open"),
    }
}

#[cfg(test)]
mod tests;
