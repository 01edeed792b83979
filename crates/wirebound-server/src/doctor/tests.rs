//! Each finding, good and bad.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::{Setting, Sources, load};
use crate::failure::Exit;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn with(key: &'static str, value: impl Into<toml::Value>) -> Loaded {
    load(Sources::new(
        None,
        &[],
        vec![Setting::new(key, "--test", value)],
    ))
    .unwrap()
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let (good, warning, bad) = (
        Finding::good("a", "x"),
        Finding::warning("b", "x", "y"),
        Finding::bad("c", "x", "y"),
    );
    assert_eq!(exit(&[]), Exit::Done);
    assert_eq!(exit(std::slice::from_ref(&good)), Exit::Done);
    assert_eq!(exit(&[warning.clone(), good.clone()]), Exit::Warnings);
    assert_eq!(exit(&[good, bad, warning]), Exit::Findings);
}

#[test]
fn a_folder_and_its_secret_are_judged_by_mode() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (mode, state) in [
        (0o700, State::Good),
        (0o755, State::Warning),
        (0o777, State::Bad),
    ] {
        set(folder, mode);
        assert_eq!(data_folder(folder).state, state, "{mode:o}");
    }
    assert_eq!(data_folder(&folder.join("missing")).state, State::Good);
    assert_eq!(node_secret(folder).state, State::Good);
    let secret = folder.join(SECRET_FILE);
    fs::write(&secret, "nothing").unwrap();
    set(&secret, 0o600);
    assert!(node_secret(folder).seen.ends_with("is not a node secret"));
    set(&secret, 0o644);
    assert!(node_secret(folder).seen.contains("mode 0644"));
}

#[test]
fn a_clock_that_went_back_is_bad() {
    let parent = tempfile::tempdir().unwrap();
    let file = fs::File::create(parent.path().join("x")).unwrap();
    let at = std::time::UNIX_EPOCH + Duration::from_millis(NOW.as_millis());
    file.set_modified(at).unwrap();
    let judged = |now| wall_clock(now, Lifetime::from_hours(1), Some(parent.path())).state;
    assert_eq!(judged(Some(NOW)), State::Good);
    assert_eq!(judged(Some(NOW.before(Lifetime::from_mins(1)))), State::Bad);
    assert_eq!(judged(None), State::Bad);
}

#[test]
fn a_taken_port_is_bad_unless_a_gateway_runs_on_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let loaded = with("listen.addr", listener.local_addr().unwrap().to_string());
    assert_eq!(port(&loaded, &folder).state, State::Bad);
    let owned = crate::data_dir::DataDir::open(&folder).unwrap();
    let finding = port(&loaded, &folder);
    assert_eq!(finding.state, State::Warning);
    assert!(
        finding
            .seen
            .contains(&format!("process {}", std::process::id())),
        "{finding:?}"
    );
    drop((owned, listener));
    assert_eq!(port(&loaded, &folder).state, State::Good);
}

#[test]
fn an_upstream_is_asked_and_must_speak_http() {
    for (answer, state) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", State::Good),
        ("220 mail.example\r\n", State::Bad),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let loaded = with(
            "upstream.url",
            format!("http://{}", listener.local_addr().unwrap()),
        );
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        assert_eq!(upstream(&loaded).state, state, "{answer}");
        served.join().unwrap();
        assert_eq!(upstream(&loaded).state, State::Bad, "nobody listens now");
    }
    assert_eq!(
        upstream(&with("session.max_wires", 1)).state,
        State::Warning
    );
}

#[test]
fn descriptors_must_do_for_the_connections_allowed() {
    let loaded = with("limits.max_connections", 100);
    for (limit, state) in [
        (Some(100), State::Bad),
        (Some(263), State::Warning),
        (Some(264), State::Good),
        (None, State::Good),
    ] {
        assert_eq!(descriptors(&loaded, limit).state, state, "{limit:?}");
    }
}

#[test]
fn a_chain_out_of_order_is_bad_and_a_whole_one_is_good() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["app.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "app");
    let leaf = params.signed_by(&key, &ours).unwrap();
    let (cert, secret) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&secret, key.serialize_pem()).unwrap();
    let loaded = load(Sources::new(
        None,
        &[],
        vec![
            Setting::new("tls.cert", "--cert", cert.display().to_string()),
            Setting::new("tls.key", "--key", secret.display().to_string()),
        ],
    ))
    .unwrap();
    for (next, state) in [(&ours, State::Good), (&other, State::Bad)] {
        fs::write(&cert, leaf.pem() + &next.pem()).unwrap();
        let finding = certificate(&loaded, folder.path(), Some(NOW));
        assert_eq!(finding.state, state, "{finding:?}");
    }
}

#[test]
fn the_store_is_read_and_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let loaded = with("session.max_wires", 1);
    assert_eq!(store(&loaded, &folder).state, State::Good);
    assert!(!folder.exists());
    let owned = crate::data_dir::DataDir::open(&folder).unwrap();
    let secret = owned.node_secret(&crate::system::SystemEntropy::new());
    let open = RedbStore::open(folder.join("sessions"), Options::default()).unwrap();
    let finding = store(&loaded, &folder);
    assert!(finding.seen.starts_with("in use by process"), "{finding:?}");
    drop((owned, open));
    assert_eq!(store(&loaded, &folder).seen, "it reads well, 0 sessions");
    drop(secret);
    fs::remove_file(folder.join(SECRET_FILE)).unwrap();
    assert!(store(&loaded, &folder).seen.contains("node.secret"));
    assert_eq!(
        store(&with("store.url", "memory:"), &folder).state,
        State::Warning
    );
}

#[test]
fn a_socket_that_cannot_be_made_or_that_nobody_listens_on_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    assert_eq!(orders(&folder).state, State::Good);
    let long = parent.path().join("x".repeat(100));
    let finding = orders(&long);
    assert_eq!(finding.state, State::Warning);
    assert!(finding.seen.contains("at most 107"), "{finding:?}");
    assert!(finding.hint.unwrap().contains("--data-dir"));

    let owned = crate::data_dir::DataDir::open(&folder).unwrap();
    let finding = orders(&folder);
    assert_eq!(finding.state, State::Warning, "held, and no socket");
    assert!(finding.seen.contains("takes none"), "{finding:?}");
    let path = folder.join(SOCKET_FILE);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let finding = orders(&folder);
    assert_eq!(finding.state, State::Good, "{finding:?}");
    assert!(finding.seen.ends_with("takes them"));
    drop(listener);
    assert_eq!(orders(&folder).state, State::Warning, "held, and stale");
    drop(owned);
    assert_eq!(orders(&folder).state, State::Good, "stale is replaced");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    assert_eq!(orders(&folder).state, State::Warning, "in the way");
}
