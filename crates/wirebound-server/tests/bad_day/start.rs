//! What keeps a gateway from starting: said with the way out, and nothing touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::process::Command;

use crate::app::App;
use crate::client::{Client, Http};
use crate::process::{Gateway, within};

const VOUCHED: &str = "[vouch]\npaths = [\"POST /login\"]\n";

/// Runs `wirebound` to its end; answers its exit code and what it said.
async fn run(words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirebound"));
    let done = command
        .args(words)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = within("an end", done).await.unwrap();
    let said = String::from_utf8([done.stderr, done.stdout].concat()).unwrap();
    (done.status.code().unwrap(), said)
}

async fn serve(data: &Path, more: &[&str]) -> (i32, String) {
    let data = data.display().to_string();
    let words = [
        "serve",
        "--upstream",
        "http://127.0.0.1:9",
        "--data-dir",
        &data,
    ];
    let listen: &[&str] = if more.contains(&"--listen") {
        &[]
    } else {
        &["--listen", "127.0.0.1:0"]
    };
    run(&[&words[..], listen, more].concat()).await
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_damaged_store_is_refused_with_the_way_out_and_left_as_it_is() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    let alice = Client::new(&gateway, Http::Two);
    alice.sign_in("alice").await;
    gateway.stop().await;
    let file = gateway.data().join("sessions/store.redb");
    let sound = fs::read(&file).unwrap();

    let mut torn = sound.clone();
    for page in torn.chunks_mut(4096).skip(1) {
        page[7] ^= 0x40;
        page[100] ^= 1;
    }
    let mut header = sound.clone();
    header[0] ^= 0xff;
    let damages: [(&str, Vec<u8>); 6] = [
        ("bits that fell over in each page", torn),
        ("a header that is none", header),
        ("the first half", sound[..sound.len() / 2].to_vec()),
        ("one byte less", sound[..sound.len() - 1].to_vec()),
        ("nothing at all", Vec::new()),
        ("a text", b"PRAGMA journal_mode = WAL;".to_vec()),
    ];
    for (what, damage) in damages {
        fs::write(&file, &damage).unwrap();
        let before = files(&gateway.data());
        let (code, said) = serve(&gateway.data(), &[]).await;
        assert_eq!(code, 4, "{what}: {said}");
        for text in [
            "is damaged",
            "was left untouched",
            "put a sound copy in its place, or move it away",
            "everybody signs in anew",
            "hint: wirebound doctor --data-dir ",
        ] {
            assert!(said.contains(text), "{what}: {said}");
        }
        let data = gateway.data().display().to_string();
        let (code, said) = run(&["doctor", "--data-dir", &data, "--listen", "127.0.0.1:0"]).await;
        assert_eq!(code, 6, "{what}: {said}");
        assert!(said.contains("bad      store"), "{what}: {said}");
        assert!(
            files(&gateway.data()) == before,
            "{what}: something was changed"
        );
    }
    // The sound copy is put in its place: nothing was lost.
    fs::write(&file, &sound).unwrap();
    gateway.start_again().await;
    let body = alice.get("/me").await.body;
    assert!(body.starts_with("app=alice subject=alice"), "{body}");
}

#[tokio::test]
async fn a_store_that_another_gateway_uses_is_refused_by_name() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, VOUCHED).await;
    let (code, said) = serve(&gateway.data(), &[]).await;
    assert_eq!(code, 4, "{said}");
    let expected = format!("is in use by process {}", gateway.pid());
    assert!(said.contains(&expected), "{said}");
    assert!(
        said.contains("hint: stop that one, or give this one a folder of its own"),
        "{said}"
    );
    // With a data folder of its own, but that store.
    let other = tempfile::tempdir().unwrap();
    let store = format!("file:{}", gateway.data().join("sessions").display());
    fs::copy(
        gateway.data().join("node.secret"),
        other.path().join("node.secret"),
    )
    .unwrap();
    let (code, said) = serve(other.path(), &["--store", &store]).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("another process holds the store"), "{said}");
    let alice = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
}

#[tokio::test]
async fn a_node_secret_that_is_gone_or_was_read_by_others_is_refused_and_not_made_anew() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, VOUCHED).await;
    gateway.stop().await;
    let secret = gateway.data().join("node.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = serve(&gateway.data(), &[]).await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("has mode 0644, so others may have read it"),
        "{said}"
    );
    let kept = fs::read(&secret).unwrap();
    fs::remove_file(&secret).unwrap();
    let (code, said) = serve(&gateway.data(), &[]).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("node.secret is gone"), "{said}");
    assert!(said.contains("put it back from the backup"), "{said}");
    assert!(!secret.exists());
    fs::write(&secret, kept).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    gateway.start_again().await;
}

/// A certificate for `localhost` between these years, with its key.
fn certificate(folder: &Path, name: &str, from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let (cert, secret) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&secret, key.serialize_pem()).unwrap();
    (cert.display().to_string(), secret.display().to_string())
}

#[tokio::test]
async fn a_certificate_that_is_over_early_or_a_strangers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (cert, key) = certificate(folder.path(), "localhost", 2020, 2021);
    let files = ["--cert", &cert, "--key", &key];
    let (code, said) = serve(&data, &files).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("is over since 2021-01-01"), "{said}");
    assert!(said.contains("hint: renew it"), "{said}");

    certificate(folder.path(), "localhost", 2090, 2099);
    let (code, said) = serve(&data, &files).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("is not good before 2090-01-01"), "{said}");
    assert!(said.contains("clock"), "{said}");

    certificate(folder.path(), "localhost", 2020, 2099);
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let (code, said) = serve(&data, &files).await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("and its private key do not belong together"),
        "{said}"
    );

    fs::remove_file(&key).unwrap();
    let (code, said) = serve(&data, &files).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("holds no private key"), "{said}");
    let data = data.display().to_string();
    let (code, said) = run(&[&["doctor", "--data-dir", &data][..], &files].concat()).await;
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("bad      certificate"), "{said}");
}

#[tokio::test]
async fn a_port_in_use_a_folder_that_is_none_and_a_folder_for_everybody_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let (code, said) = serve(&data, &["--listen", &address]).await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains(&format!("{address} is taken by another program")),
        "{said}"
    );
    assert!(
        said.contains("hint: --listen 127.0.0.1:0 takes a free port"),
        "{said}"
    );

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, said) = serve(&file.join("data"), &[]).await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("cannot be made") && said.contains("--data-dir DIR"),
        "{said}"
    );

    use std::os::unix::fs::PermissionsExt as _;
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let (code, said) = serve(&open, &[]).await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("has mode 0777, so others may put files into it"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
}

#[tokio::test]
async fn a_certificate_is_taken_up_on_sighup_and_a_bad_one_is_not_while_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_owned();
    let (cert, key) = certificate(&at, "localhost", 2020, 2098);
    let app = App::start().await;
    let gateway = Gateway::with(folder, &app.url, VOUCHED, &["--cert", &cert, "--key", &key]).await;
    let served = || async {
        let stream = Client::trusting(&gateway, &at.join("cert.pem"), Http::One);
        stream.served_certificate().await
    };
    let alice = Client::trusting(&gateway, &at.join("cert.pem"), Http::One);
    alice.sign_in("alice").await;
    assert!(alice.is_connected().await);
    let first = served().await.unwrap();

    // A key that does not fit: the old one stays, and the operator is told.
    let good = fs::read(&key).unwrap();
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    gateway.reload();
    crate::process::until("the refusal", || {
        !gateway.events("certificate.refused").is_empty()
    })
    .await;
    let reason = gateway.events("certificate.refused")[0]["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains("do not belong together"),
        "{reason}"
    );
    assert_eq!(served().await.unwrap(), first);
    fs::write(&key, good).unwrap();

    // A new pair that fits.
    certificate(&at, "localhost", 2021, 2099);
    gateway.reload();
    crate::process::until("the renewal", || {
        !gateway.events("certificate.renewed").is_empty()
    })
    .await;
    assert_ne!(served().await.unwrap(), first);

    // Whoever was connected still is, on the same connection.
    assert!(alice.is_connected().await);
    assert!(alice.get("/me").await.body.starts_with("app=alice"));
    let opened = gateway.events("wire.opened").len();
    assert!(alice.get("/me").await.body.starts_with("app=alice"));
    assert_eq!(gateway.events("wire.opened").len(), opened);
}
