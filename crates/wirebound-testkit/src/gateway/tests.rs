//! The process handling against a stand-in: a shell script with the gateway's face.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const SCRIPT: &str = r#"#!/bin/sh
trap 'echo "{\"event\":\"stopped\"}" >&2; exit 0' TERM
listen=$3
[ "$listen" = 127.0.0.1:0 ] && listen=127.0.0.1:4711
echo "wirebound: listening on https://$listen"
echo "{\"event\":\"wire_opened\",\"resumed\":true,\"http\":\"2\"}" >&2
echo "{\"level\":\"INFO\",\"fields\":{\"event\":\"session_ended\",\"ending\":\"logout\"}}" >&2
echo "no event: $*" >&2
while :; do sleep 0.05; done
"#;

fn stand_in(script: &str) -> (tempfile::TempDir, Setting) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("wirebound");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let setting = Setting::new(&program, "http://127.0.0.1:1");
    (folder, setting)
}

const BOUND_EVENT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn events_are_read_at_the_top_and_under_fields() {
    let (_folder, setting) = stand_in(SCRIPT);
    let gateway = Gateway::start(setting).await.unwrap();
    assert_eq!(gateway.address().port(), 4711);
    let ended = gateway
        .event("an ending", 0, BOUND_EVENT, |e| e.name == "session_ended")
        .await
        .unwrap();
    assert_eq!(ended.text("ending"), "logout");
    assert_eq!(gateway.count("wire_opened"), 1);
    let tally = tally(&gateway.events());
    assert_eq!(tally["wire_opened resumed=true"], 1);
    assert_eq!(tally["session_ended ending=logout"], 1);
}

#[tokio::test]
async fn it_is_stopped_killed_and_comes_back_on_its_port() {
    let (_folder, setting) = stand_in(SCRIPT);
    let mut gateway = Gateway::start(setting).await.unwrap();
    let address = gateway.address();
    let opened = |e: &Event| e.name == "wire_opened";
    gateway
        .event("the start", 0, BOUND_EVENT, opened)
        .await
        .unwrap();
    gateway.stop().await.unwrap();
    gateway
        .event("the stop", 0, BOUND_EVENT, |e| e.name == "stopped")
        .await
        .unwrap();
    let mark = gateway.mark();
    gateway.start_again().await.unwrap();
    assert_eq!(gateway.address(), address);
    gateway
        .event("the second start", mark, BOUND_EVENT, opened)
        .await
        .unwrap();
    gateway.kill().await.unwrap();
    assert_eq!(
        gateway.count("stopped"),
        1,
        "a killed process says nothing more"
    );
    assert!(gateway.stop().await.is_err());
}

#[tokio::test]
async fn a_gateway_that_does_not_start_shows_what_it_said() {
    let (_folder, setting) =
        stand_in("#!/bin/sh\necho 'no such upstream' >&2; sleep 0.1; exit 2\n");
    let error = format!("{:#}", Gateway::start(setting).await.unwrap_err());
    assert!(error.contains("exit status: 2"), "{error}");
    assert!(error.contains("no such upstream"), "{error}");
}
