//! The demo's app believes the gateway's fields and nothing else, and vouches only when it was asked.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

struct Running {
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn start() -> Self {
        let (listener, address) = bind().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        drop(runtime.spawn(serve(listener)));
        Self { address, runtime }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let head = head.replace('\n', "\r\n");
        let length = body.len();
        write!(
            stream,
            "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn stop(self) {
        self.runtime.shutdown_background();
    }
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

#[test]
fn a_sign_in_is_vouched_for_beside_the_nonce_and_only_then() {
    let app = Running::start();
    let right = "username=ada&password=correct+horse";
    let answer = app.ask(&format!(
        "POST /login HTTP/1.1\n{FORM}\nWirebound-Request: n1\n\n{right}"
    ));
    for line in [
        "HTTP/1.1 303",
        "location: /",
        "wirebound-re: n1",
        "wirebound-login: ada",
        "wirebound-role: admin",
    ] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    let unasked = app.ask(&format!("POST /login HTTP/1.1\n{FORM}\n\n{right}"));
    assert!(
        unasked.starts_with("HTTP/1.1 303") && !unasked.contains("wirebound-login"),
        "{unasked}"
    );
    let wrong = app.ask(&format!(
        "POST /login HTTP/1.1\n{FORM}\nWirebound-Request: n1\n\nusername=ada&password=x"
    ));
    assert!(
        wrong.starts_with("HTTP/1.1 401") && !wrong.contains("wirebound-"),
        "{wrong}"
    );
    let alice = app.ask(&format!(
        "POST /login HTTP/1.1\n{FORM}\nWirebound-Request: n2\n\nusername=alice&password=correct+horse"
    ));
    assert!(
        alice.contains("wirebound-login: alice") && !alice.contains("wirebound-role"),
        "{alice}"
    );
    app.stop();
}

#[test]
fn a_stranger_is_shown_the_login_and_a_member_the_page() {
    let app = Running::start();
    let stranger = app.ask("GET / HTTP/1.1");
    assert!(
        stranger.starts_with("HTTP/1.1 303") && stranger.contains("location: /login"),
        "{stranger}"
    );
    let member = app.ask("GET / HTTP/1.1\nWirebound-Subject: <b>\nWirebound-Role: user");
    assert!(
        member.starts_with("HTTP/1.1 200")
            && member.contains("&lt;b&gt;")
            && !member.contains("<b><b>"),
        "{member}"
    );
    assert!(
        member.contains("script-src 'self'") && !member.contains("unsafe-inline"),
        "{member}"
    );
    let told = app.ask("GET /members HTTP/1.1\nWirebound-Subject: alice\nWirebound-Role:");
    assert!(
        told.contains(r#""Wirebound-Subject":"alice","Wirebound-Role":null"#),
        "{told}"
    );
    for path in ["/members", "/ticker"] {
        assert!(
            app.ask(&format!("GET {path} HTTP/1.1"))
                .starts_with("HTTP/1.1 401"),
            "{path}"
        );
    }
    let user = app.ask("GET /admin HTTP/1.1\nWirebound-Subject: alice\nWirebound-Role: user");
    assert!(user.starts_with("HTTP/1.1 403"), "{user}");
    let admin = app.ask("GET /admin HTTP/1.1\nWirebound-Subject: ada\nWirebound-Role: admin");
    assert!(admin.starts_with("HTTP/1.1 200"), "{admin}");
    let out = app.ask("POST /logout HTTP/1.1\nWirebound-Request: n3");
    assert!(
        out.contains("wirebound-re: n3") && out.contains("wirebound-logout: session"),
        "{out}"
    );
    app.stop();
}

#[test]
fn the_pages_hold_no_inline_script_or_style() {
    for page in [PAGE, LOGIN, ADMIN] {
        assert!(
            !page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick")
        );
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script src=\"/app.js\" defer></script>")
                .count()
        );
    }
}

#[test]
fn the_demo_runs_on_a_configuration_that_passes_its_own_check() {
    let mut config = Config::default();
    configure(&mut config, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    assert_eq!(config.check(), Ok(()));
}
