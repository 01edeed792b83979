//! Certificate files are taken up when they fit, and never when they do not.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::system::SystemEntropy;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn write(&self, name: &str, until: i32) -> KeyPair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        fs::write(self.cert(), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(self.key(), key.serialize_pem()).unwrap();
        key
    }

    fn open(&self) -> Result<Certificates, Failure> {
        Certificates::from_files(&self.cert(), &self.key(), NOW)
    }
}

#[test]
fn a_changed_pair_is_taken_up_and_a_misfit_is_not() {
    let files = Files::new();
    files.write("one.test", 2035);
    let certificates = files.open().unwrap();
    let refresh = || certificates.refresh(&SystemEntropy::new(), NOW);
    assert_eq!(certificates.facts().names, ["one.test"]);
    assert_eq!(refresh(), Ok(Refresh::Unchanged));

    files.write("two.test", 2035);
    assert_eq!(refresh(), Ok(Refresh::Renewed));
    assert_eq!(certificates.facts().names, ["two.test"]);

    let other = KeyPair::generate().unwrap();
    fs::write(files.key(), other.serialize_pem() + "\n").unwrap();
    let failure = refresh().unwrap_err();
    assert!(
        failure
            .message
            .ends_with("and its private key do not belong together"),
        "{failure}"
    );
    assert_eq!(
        certificates.facts().names,
        ["two.test"],
        "the old one goes on"
    );

    fs::remove_file(files.cert()).unwrap();
    refresh().unwrap_err();
    assert_eq!(certificates.facts().names, ["two.test"]);

    files.write("three.test", 2035);
    assert_eq!(refresh(), Ok(Refresh::Renewed));
    assert_eq!(certificates.facts().names, ["three.test"]);
}

#[test]
fn what_cannot_serve_is_refused_with_its_reason() {
    let files = Files::new();
    assert!(
        files
            .open()
            .unwrap_err()
            .message
            .contains("cert.pem holds no certificate")
    );
    files.write("old.test", 2021);
    assert!(
        files
            .open()
            .unwrap_err()
            .message
            .ends_with("is over since 2021-01-01T00:00:00Z")
    );
    files.write("one.test", 2035);
    fs::write(files.key(), "nothing").unwrap();
    assert!(
        files
            .open()
            .unwrap_err()
            .message
            .contains("key.pem holds no private key")
    );
    fs::write(files.cert(), "nothing").unwrap();
    assert!(
        files
            .open()
            .unwrap_err()
            .message
            .contains("cert.pem holds no certificate")
    );
}
