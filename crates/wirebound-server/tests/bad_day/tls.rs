//! An app that is spoken to over TLS, and one whose certificate says the wrong thing.

use std::path::Path;
use std::process::Stdio;

use http::StatusCode;
use tokio::process::Command;
use wirebound_testkit::authority::Authority;
use wirebound_testkit::haproxy::Haproxy;

use crate::app::App;
use crate::client::{Ask, Client, Http};
use crate::process::{Gateway, within};

/// The app with TLS in front of it: another maker's, not ours.
async fn over_tls(app: &App, authority: &Authority, folder: &Path) -> Haproxy {
    let (cert, key) = authority.files(&["localhost"], folder).unwrap();
    let both = std::fs::read_to_string(cert).unwrap() + &std::fs::read_to_string(key).unwrap();
    let pair = folder.join("both.pem");
    std::fs::write(&pair, both).unwrap();
    let behind = app.url.strip_prefix("http://").unwrap();
    Haproxy::start(&format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend front
  bind LISTEN ssl crt {} alpn h2,http/1.1
  default_backend app
backend app
  server one {behind}
",
        pair.display()
    ))
    .await
    .unwrap()
}

fn config(ca: &Path) -> String {
    format!(
        "[vouch]\npaths = [\"POST /login\"]\n[upstream]\nca = \"{}\"\n",
        ca.display()
    )
}

#[tokio::test]
async fn an_app_over_tls_is_spoken_to_streams_and_websockets_included() {
    let app = App::start().await;
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let tls = over_tls(&app, &authority, folder.path()).await;
    let upstream = format!("https://localhost:{}", tls.address().port());
    let gateway = Gateway::before(&upstream, &config(&authority.file())).await;
    for http in [Http::One, Http::Two] {
        let alice = Client::new(&gateway, http);
        alice.sign_in("alice").await;
        let body = alice.get("/me").await.body;
        assert!(body.starts_with("app=alice subject=alice"), "{body}");
        let posted = alice.ask(Ask::post("/me", "x=1")).await;
        assert!(posted.body.starts_with("app=alice"), "{posted:?}");
        let mut socket = alice.socket("/ws").await;
        socket.echo("over tls").await;
        drop(alice.stream("/stream").await);
    }
}

#[tokio::test]
async fn an_app_whose_certificate_nobody_vouches_for_gets_no_request() {
    let app = App::start().await;
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let tls = over_tls(&app, &authority, folder.path()).await;
    let port = tls.address().port();
    let stranger = Authority::new().unwrap();
    for (upstream, ca, why) in [
        (
            format!("https://localhost:{port}"),
            stranger.file(),
            "invalid peer certificate",
        ),
        (
            format!("https://127.0.0.1:{port}"),
            authority.file(),
            "not valid for name",
        ),
        // Plain HTTP behind an https:// address.
        (
            app.url.replace("http://127.0.0.1", "https://localhost"),
            authority.file(),
            "corrupt",
        ),
    ] {
        let gateway = Gateway::before(&upstream, &config(&ca)).await;
        let client = Client::new(&gateway, Http::One);
        let page = client.ask(Ask::get("/head").person()).await;
        assert_eq!(page.status, StatusCode::BAD_GATEWAY);
        assert!(
            page.body.contains("The app does not answer."),
            "{}",
            page.body
        );
        let printed = gateway.printed().join("\n");
        assert!(printed.contains(why), "{why}: {printed}");
        assert!(
            printed.contains("no connection to the upstream"),
            "{printed}"
        );

        let data = folder.path().join("doctor").display().to_string();
        let ca = ca.display().to_string();
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_wirebound"));
        doctor
            .args(["doctor", "--listen", "127.0.0.1:0", "--data-dir", &data])
            .args(["--upstream", &upstream])
            .env("WIREBOUND_UPSTREAM_CA", &ca)
            .stdin(Stdio::null());
        let done = within("the doctor", doctor.output()).await.unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(said.contains("bad      upstream"), "{said}");
        assert!(said.contains("name in upstream.ca who signed"), "{said}");
    }
    assert!(app.heads().is_empty(), "{:?}", app.heads());
}
