//! Planted secrets: after a whole life of sessions, none is in a log, a body or a file, in any coding.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::header::SET_COOKIE;

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, Seen};
use crate::process::Gateway;

const CONFIG: &str = r#"
[log]
filter = "trace"
[vouch]
paths = ["POST /login", "POST /logout", "POST /sign-in", "POST /elevate"]
max_role = "admin"
[session.max_sessions.user]
max = 1
[[routes]]
path = "/admin"
role = "admin"
"#;

/// Bytes by which a form is looked for first.
const KEY: usize = 12;

/// Every form in which somebody may have written a secret down.
fn forms(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::from([secret.to_vec()]);
    for coding in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        forms.insert(coding.encode(secret).into_bytes());
    }
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.insert(hex.to_uppercase().into_bytes());
    forms.insert(hex.into_bytes());
    let list: Vec<String> = secret.iter().map(u8::to_string).collect();
    forms.insert(list.join(", ").into_bytes());
    forms
}

/// The secrets in what clients were given: the last part of our cookies, and what the coding of that stands for.
fn given(seen: &[Seen]) -> BTreeSet<Vec<u8>> {
    let mut secrets = BTreeSet::new();
    for (headers, _) in seen.iter().flat_map(|seen| seen.lock().unwrap().clone()) {
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap().to_owned();
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                continue;
            }
            assert!(name.starts_with(OURS), "the client was given {line}");
            let secret = value.rsplit('.').next().unwrap();
            if secret.len() < 16 {
                continue;
            }
            secrets.insert(secret.as_bytes().to_vec());
            if let Ok(bytes) = URL_SAFE_NO_PAD.decode(secret) {
                secrets.insert(bytes);
            }
        }
    }
    secrets
}

fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if path.is_file() && !path.ends_with("node.secret") && !path.ends_with("ca.key") {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_a_body_or_a_file_in_any_coding() {
    let app = App::start().await;
    let mut gateway = Gateway::before(&app.url, CONFIG).await;
    gateway.stop().await;
    gateway.identities(&["role", "alice", "admin"]).await;
    gateway.start_again().await;
    let mut seen = Vec::new();
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        for path in [
            "/change",
            "/head",
            "/status/500",
            "/status/404",
            "/admin",
            "/.wirebound/me",
        ] {
            alice.get(path).await;
        }
        alice.ask(Ask::post("/change", "x=1")).await;
        let raised = alice.follow(Ask::post("/elevate", "x=1")).await;
        assert_eq!(raised.body, "app=alice subject=alice role=admin");
        alice.get("/me").await;
        let mut socket = alice.socket("/ws").await;
        socket.echo("hello").await;
        drop(socket);
        // A strange connection of the same jar is asked for an echo, and the jar brings it back.
        let beside = alice.clone().without_tickets();
        beside.ask(Ask::get("/me")).await;
        alice.get("/me").await;
        beside.get("/me").await;
        let thief = alice.thief(&gateway);
        thief.get("/me").await;
        thief.follow(Ask::get("/admin").person()).await;
        let cookie = alice.cookie(OURS).unwrap();
        let twice = format!("{OURS}={cookie}; {OURS}={cookie}");
        alice.ask(Ask::get("/me").cookies(&twice)).await;
        let broken = format!("{OURS}={cookie}x; sid=1");
        alice.follow(Ask::get("/me").cookies(&broken)).await;
        alice
            .ask(Ask::post("/me", "x=1").field("origin", "https://evil.test"))
            .await;
        alice.ask(Ask::post("/sign-in", "name=alice")).await;
        alice.get("/me").await;
        // Evicted, told, signed in once more and out.
        let other = Client::new(&gateway, http);
        other.sign_in("alice").await;
        alice.follow(Ask::get("/admin").person()).await;
        alice.sign_in("alice").await;
        alice.ask(Ask::post("/logout", "x=1")).await;
        other.sign_in("bob").await;
        seen.extend([&alice, &beside, &thief, &other].map(|client| client.seen.clone()));
    }
    let node = std::fs::read_to_string(gateway.data().join("node.secret")).unwrap();
    let live = files_of(&gateway.data());
    let mut ordered = String::new();
    for words in [
        &["identities", "show", "alice"][..],
        &["sessions", "ls"],
        &["sessions", "ls", "--subject", "bob"],
    ] {
        for form in [&[][..], &["--json"]] {
            let (code, said) = gateway.order(&[words, form].concat()).await;
            assert_eq!(code, 0, "{said}");
            assert!(said.contains("alice") || said.contains("bob"), "{said}");
            ordered.push_str(&said);
        }
    }
    gateway.stop().await;

    for name in ["-h=", "-j0="] {
        let named = |headers: &http::HeaderMap| {
            let lines = headers.get_all(SET_COOKIE).iter();
            let mut texts = lines.map(|line| line.to_str().unwrap());
            texts.any(|text| text.starts_with(&format!("{OURS}{name}")))
        };
        let given = |seen: &Seen| seen.lock().unwrap().iter().any(|(head, _)| named(head));
        assert!(seen.iter().any(given), "nobody was given {OURS}{name}");
    }
    let mut secrets = given(&seen);
    let wire = secrets.len();
    for sid in app.secrets() {
        secrets.insert(sid.into_bytes());
    }
    for word in node.split_whitespace().filter(|word| word.len() >= 32) {
        secrets.insert(word.as_bytes().to_vec());
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(word) {
            secrets.insert(bytes);
        }
        let pairs = (0..word.len() / 2).map(|at| u8::from_str_radix(&word[2 * at..2 * at + 2], 16));
        if let Ok(bytes) = pairs.collect::<Result<Vec<u8>, _>>() {
            secrets.insert(bytes);
        }
    }
    assert!(
        wire > 20 && secrets.len() > wire + 8,
        "{wire} of {}",
        secrets.len()
    );

    let mut places = vec![(
        "stdout and stderr".to_owned(),
        gateway.printed().join("\n").into_bytes(),
    )];
    for seen in &seen {
        for (headers, body) in seen.lock().unwrap().iter() {
            let mut headers = headers.clone();
            headers.remove(SET_COOKIE);
            places.push(("a head".to_owned(), format!("{headers:?}").into_bytes()));
            places.push(("a body".to_owned(), body.clone().into_bytes()));
        }
    }
    places.push(("what an operator is shown".to_owned(), ordered.into_bytes()));
    places.extend(live);
    places.extend(files_of(&gateway.data()));
    let lines = gateway.printed().len();
    assert!(lines > 200, "the log is at its loudest: {lines} lines");
    let forms: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let begins: HashSet<&[u8]> = forms.iter().map(|form| &form[..KEY]).collect();
    for (place, bytes) in &places {
        for (at, window) in bytes.windows(KEY).enumerate() {
            let here = &bytes[at..];
            let found = begins.contains(window) && forms.iter().any(|form| here.starts_with(form));
            let said = || String::from_utf8_lossy(&here[..here.len().min(64)]);
            assert!(!found, "{place} holds {:?}", said());
        }
    }
    eprintln!(
        "{} secrets, {} forms, {} places, {lines} lines of log",
        secrets.len(),
        forms.len(),
        places.len()
    );
}

fn files_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    files(folder, &mut all);
    all
}
