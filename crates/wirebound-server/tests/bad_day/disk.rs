//! A disk that is full.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use http::StatusCode;

use crate::app::App;
use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::process::Gateway;

const VOUCHED: &str = "[vouch]\npaths = [\"POST /login\", \"POST /logout\"]\n";

/// A small file system in memory; taken away when dropped.
struct Small(PathBuf);

impl Small {
    /// Mounts it. It needs root: where the tests have none, they say so by failing.
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir(&at).unwrap();
        let done = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=700"),
                "wirebound-test",
            ])
            .arg(&at)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "a full disk is tried on a small tmpfs, which needs root: {done:?}"
        );
        Self(at)
    }

    /// Fills what is left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        let block = [1_u8; 4096];
        while filler.write_all(&block).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the gateway may still be ending.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn on_a_full_disk_what_needs_a_write_is_503_the_connected_go_on_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let small = Small::mount(folder.path().join("data"), "6m");
    let app = App::start().await;
    let mut gateway = Gateway::with(folder, &app.url, VOUCHED, &[]).await;
    let alice = Client::new(&gateway, Http::Two);
    let carol = Client::new(&gateway, Http::One);
    alice.sign_in("alice").await;
    carol.sign_in("carol").await;
    small.fill();

    // New sign-ins are refused, more than the room that was left in the store's file.
    let (mut signed_in, mut refused) = (Vec::new(), 0);
    for number in 0..4_000 {
        let name = format!("bob{number}");
        let bob = Client::new(&gateway, Http::One);
        let answer = bob.ask(sign_in(&name)).await;
        match answer.status {
            StatusCode::SEE_OTHER => signed_in.push((name, bob)),
            status => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
                assert_eq!(answer.field("retry-after"), "2");
                assert!(
                    answer.body.contains("store_unavailable")
                        || answer.body.contains("You are still signed in")
                );
                assert!(answer.sets(OURS).is_empty(), "{answer:?}");
                refused += 1;
            }
        }
        if refused >= 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk never was full");
    eprintln!("{} signed in before the disk was full", signed_in.len());

    // Who is connected goes on; a sign-out is done or not, and never half pretended.
    for _ in 0..5 {
        assert!(
            alice
                .get("/me")
                .await
                .body
                .starts_with("app=alice subject=alice")
        );
        assert!(
            carol
                .get("/me")
                .await
                .body
                .starts_with("app=carol subject=carol")
        );
    }
    // The app gave another cookie, and sooner or later it cannot be kept.
    let mut tries = 0;
    let changed = loop {
        let changed = alice.ask(Ask::post("/change", "x=1")).await;
        if changed.status != StatusCode::OK {
            break changed;
        }
        tries += 1;
        assert!(tries < 4_000, "the disk never was full");
    };
    assert_eq!(
        changed.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{changed:?}"
    );
    assert_eq!(changed.field("retry-after"), "2");
    assert_eq!(changed.field("wirebound-reason"), "store_unavailable");
    let out = carol.ask(Ask::post("/.wirebound/logout", "")).await;
    let carol_is = match out.status {
        StatusCode::NO_CONTENT => "nobody",
        status => {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{out:?}");
            "carol"
        }
    };
    assert_eq!(out.clears(), carol_is == "nobody", "{out:?}");
    let printed = gateway.printed().join("\n");
    assert!(printed.contains("answered 503"), "{printed}");

    // There is room again: all goes on without a restart.
    small.make_room();
    let dora = Client::new(&gateway, Http::Two);
    dora.sign_in("dora").await;
    assert!(
        dora.get("/me")
            .await
            .body
            .starts_with("app=dora subject=dora")
    );
    assert!(
        alice
            .get("/me")
            .await
            .body
            .starts_with("app=alice subject=alice")
    );
    assert!(
        carol
            .get("/me")
            .await
            .body
            .starts_with(&format!("app={carol_is} "))
    );

    // And after one, everybody who was told to be signed in is.
    gateway.stop().await;
    gateway.start_again().await;
    for (name, client) in [("alice", &alice), ("dora", &dora), (carol_is, &carol)] {
        let body = client.get("/me").await.body;
        assert!(body.starts_with(&format!("app={name} ")), "{name}: {body}");
    }
    // Before the small disk goes.
    drop(gateway);
    drop(small);
}
