//! The local authority signs for what it is for, and for nothing else.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;
use crate::system::SystemEntropy;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn folder() -> (tempfile::TempDir, DataDir) {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(&parent.path().join("data")).unwrap();
    (parent, dir)
}

fn open(dir: &DataDir, names: &[&str], now: Timestamp) -> Result<LocalAuthority, Failure> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    LocalAuthority::open(dir, &names, &SystemEntropy::new(), now)
}

fn accepts(
    authority: &LocalAuthority,
    chain: &[CertificateDer<'_>],
    name: &str,
    now: Timestamp,
) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority.ca_path()).unwrap())
        .unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .build()
            .unwrap();
    let at = UnixTime::since_unix_epoch(core::time::Duration::from_millis(now.as_millis()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(
            chain.first().unwrap(),
            chain.get(1..).unwrap(),
            &name,
            &[],
            at,
        )
        .is_ok()
}

#[test]
fn a_client_that_trusts_it_accepts_loopback_and_the_names_given() {
    let (_parent, dir) = folder();
    let authority = open(&dir, &["app.test", "192.0.2.7"], NOW).unwrap();
    let pair = authority.chain_and_key(&SystemEntropy::new(), NOW).unwrap();
    for name in [
        "localhost",
        "a.wirebound.localhost",
        "127.0.0.1",
        "::1",
        "app.test",
        "192.0.2.7",
    ] {
        assert!(accepts(&authority, &pair.chain, name, NOW), "{name}");
    }
    for name in ["example.com", "other.test", "192.0.2.8"] {
        assert!(!accepts(&authority, &pair.chain, name, NOW), "{name}");
    }
    for name in [CA_KEY_FILE, LEAF_KEY_FILE] {
        assert_eq!(
            std::fs::metadata(dir.path().join(name)).unwrap().mode() & 0o7777,
            0o600,
            "{name}"
        );
    }
}

#[test]
fn a_stolen_key_of_it_forges_no_other_site() {
    let (_parent, dir) = folder();
    let authority = open(&dir, &[], NOW).unwrap();
    let issuer = Issuer::from_ca_cert_pem(
        &authority.read_ca().unwrap(),
        authority.read_ca_key().unwrap(),
    )
    .unwrap();
    let key = generate().unwrap();
    for (name, fine) in [
        ("localhost", true),
        ("bank.example", false),
        ("10.0.0.1", false),
    ] {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date(NOW.before(BACKDATED));
        params.not_after = date(NOW.after(LEAF_LIFETIME));
        let forged = params.signed_by(&key, &issuer).unwrap();
        assert_eq!(
            accepts(&authority, &[forged.der().clone()], name, NOW),
            fine,
            "{name}"
        );
    }
}

#[test]
fn the_leaf_is_kept_until_it_nears_its_end_or_the_names_change() {
    let (_parent, dir) = folder();
    let leaf = |authority: &LocalAuthority, now| {
        authority
            .chain_and_key(&SystemEntropy::new(), now)
            .unwrap()
            .chain
            .first()
            .unwrap()
            .clone()
    };
    let authority = open(&dir, &["app.test"], NOW).unwrap();
    let first = leaf(&authority, NOW);
    assert_eq!(
        first,
        leaf(
            &open(&dir, &["app.test"], NOW).unwrap(),
            NOW.after(Lifetime::from_days(59))
        )
    );
    let later = NOW.after(Lifetime::from_days(61));
    let second = leaf(&authority, later);
    assert_ne!(first, second);
    assert!(accepts(
        &authority,
        std::slice::from_ref(&second),
        "localhost",
        later
    ));
    assert_ne!(second, leaf(&open(&dir, &[], later).unwrap(), later));
}

#[test]
fn a_new_name_beyond_its_constraints_needs_a_new_authority() {
    let (_parent, dir) = folder();
    open(&dir, &[], NOW).unwrap();
    let failure = open(&dir, &["app.test"], NOW).unwrap_err();
    assert!(
        failure.message.ends_with("may not sign for `app.test`"),
        "{failure}"
    );
    std::fs::remove_file(dir.path().join(CA_FILE)).unwrap();
    let authority = open(&dir, &["app.test"], NOW).unwrap();
    let pair = authority.chain_and_key(&SystemEntropy::new(), NOW).unwrap();
    assert!(
        accepts(&authority, &pair.chain, "app.test", NOW),
        "the leaf of the old authority is gone"
    );
}

#[test]
fn a_renewal_that_was_cut_in_half_is_done_again() {
    let (_parent, dir) = folder();
    let authority = open(&dir, &[], NOW).unwrap();
    replace(
        &dir.path().join(LEAF_KEY_FILE),
        generate().unwrap().serialize_pem().as_bytes(),
        0o600,
    )
    .unwrap();
    let pair = authority.chain_and_key(&SystemEntropy::new(), NOW).unwrap();
    assert!(CertifiedKey::from_der(pair.chain, pair.key, &default_provider()).is_ok());
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let (_parent, dir) = folder();
    open(&dir, &[], NOW).unwrap();
    let key = dir.path().join(CA_KEY_FILE);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let failure = open(&dir, &[], NOW).unwrap_err();
    assert!(
        failure.message.contains("ca.key has mode 0640"),
        "{failure}"
    );
}

#[test]
fn an_authority_near_its_end_is_not_used_in_silence() {
    let (_parent, dir) = folder();
    open(&dir, &[], NOW).unwrap();
    let failure = open(&dir, &[], NOW.after(Lifetime::from_days(3640))).unwrap_err();
    assert!(
        failure.message.ends_with("ends within 30 days"),
        "{failure}"
    );
}

#[test]
fn a_new_name_below_localhost_needs_no_new_authority() {
    let (_parent, dir) = folder();
    open(&dir, &[], NOW).unwrap();
    let authority = open(&dir, &["app.localhost"], NOW).unwrap();
    let pair = authority.chain_and_key(&SystemEntropy::new(), NOW).unwrap();
    assert!(accepts(&authority, &pair.chain, "app.localhost", NOW));
}

#[test]
fn a_handshake_is_shown_the_certificate_in_force() {
    use wirebound::Clock as _;

    let (_parent, dir) = folder();
    let now = crate::system::SystemClock::new().now().unwrap();
    let authority = open(&dir, &[], now).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority.ca_path()).unwrap())
        .unwrap();
    let entropy = SystemEntropy::new();
    let certificates = Arc::new(
        crate::certificates::Certificates::from_authority(authority, &entropy, now).unwrap(),
    );
    let provider = Arc::new(default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    for _ in 0..10 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        server.read_tls(&mut flight.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        let mut flight = flight.as_slice();
        while !flight.is_empty() {
            client.read_tls(&mut flight).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
}
