//! Claims of who somebody is, by clients and by apps, in every place where one can stand: nobody becomes anybody.

use std::sync::{Arc, Mutex};

use crate::client::{Ask, Client, Http, OURS, sign_in};
use crate::frames::{DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, fields, frame};
use crate::liar::{Head, Liar, answer};
use crate::process::Gateway;
use crate::raw::say;
use crate::recorder::Recorder;

const ALIASED: &str = r#"
[upstream]
identity_aliases = ["Remote-User", "X-My-User"]
[limits]
header_timeout = "2s"
connection_idle = "2s"
"#;

/// Names that claim an identity or an origin to one app or another.
const CLAIMS: &[&str] = &[
    "wirebound-subject",
    "wirebound-role",
    "wirebound-session",
    "wirebound-strength",
    "wirebound-assertion",
    "wirebound-request",
    "wirebound-login",
    "wirebound-anything",
    "x-wirebound-subject",
    "remote-user",
    "remote-groups",
    "x-my-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-user",
    "x-remote-user",
    "x-webauth-user",
    "x-forwarded-user",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x-real-ip",
    "forwarded",
    "x-original-url",
    "x-rewrite-url",
    "x-amzn-oidc-identity",
    "x-goog-authenticated-user-email",
    "cf-access-authenticated-user-email",
    "x-ms-client-principal-name",
    "tailscale-user-login",
    "ssl-client-s-dn",
    "x-ssl-client-cert",
    "client-cert",
];

fn spelled(name: &str) -> Vec<String> {
    let mixed = name.chars().enumerate();
    let mixed = mixed.map(|(place, c)| {
        if place % 2 == 0 {
            c.to_ascii_uppercase()
        } else {
            c
        }
    });
    let mut all = vec![
        name.to_owned(),
        name.to_ascii_uppercase(),
        mixed.collect(),
        name.replace('-', "_"),
        name.replace('-', "."),
        name.replacen('-', "_", 1),
        name.replace('-', "_").to_ascii_uppercase(),
    ];
    all.dedup();
    all
}

/// Nothing that claims anything has arrived, and what is ours stands exactly once.
fn nobody_was_named(seen: &[crate::recorder::Seen]) {
    for seen in seen {
        for name in [
            "wirebound-subject",
            "wirebound-role",
            "remote-user",
            "x-my-user",
        ] {
            assert_eq!(seen.all(name), [""], "{seen:?}");
        }
        let authority = seen.field("host").unwrap();
        assert_eq!(seen.all("x-forwarded-host"), [authority], "{seen:?}");
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "{seen:?}");
        assert_eq!(seen.all("x-forwarded-proto"), ["https"], "{seen:?}");
        let text = format!("{seen:?}");
        assert!(!text.contains("mallory"), "{text}");
    }
}

#[tokio::test]
async fn no_field_in_any_spelling_names_anybody() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, ALIASED).await;
    let mut sent = 0;
    for http in [Http::One, Http::Two] {
        let stranger = Client::new(&gateway, http);
        for name in CLAIMS.iter().flat_map(|name| spelled(name)) {
            let once = Ask::get("/x").field(&name, "mallory");
            let twice = once.clone().field(&name, "mallory");
            for ask in [once, twice] {
                assert_eq!(stranger.ask(ask).await.body, "read", "{name}");
                sent += 1;
            }
        }
    }
    let seen = node.seen().await;
    assert_eq!(seen.len(), sent);
    nobody_was_named(&seen);
}

#[tokio::test]
async fn a_space_or_a_fold_in_a_field_name_is_no_way_to_spell_it() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, ALIASED).await;
    let authority = gateway.authority();
    for line in [
        "Wirebound Subject: mallory",
        "Wirebound-Subject : mallory",
        "Wirebound-\r\n Subject: mallory",
        "X: x\r\n Wirebound-Subject: mallory",
        "X: x\nWirebound-Subject: mallory",
        "X: x\rWirebound-Subject: mallory",
        "\0Wirebound-Subject: mallory",
        "Wirebound\u{2010}Subject: mallory",
    ] {
        let bytes = format!("GET /x HTTP/1.1\r\nHost: {authority}\r\n{line}\r\n\r\n");
        let said = say(&gateway, bytes.as_bytes()).await;
        assert_eq!(said.statuses(), [400], "{line:?}: {said:?}");
    }
    assert!(node.seen().await.is_empty());
}

#[tokio::test]
async fn hop_by_hop_tricks_and_upgrades_change_nothing_that_the_app_is_told() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, ALIASED).await;
    let authority = gateway.authority();
    let listed = [
        "close, Wirebound-Subject, Wirebound-Role",
        "close, remote-user, x-my-user",
        "close, x-forwarded-for, x-forwarded-host, x-forwarded-proto",
        "close, host, content-length",
        "close, cookie, transfer-encoding",
    ];
    for connection in listed {
        let bytes = format!(
            "POST /x HTTP/1.1\r\nHost: {authority}\r\nConnection: {connection}\r\nWirebound-Subject: mallory\r\n\
             TE: trailers, gzip\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nContent-Length: 5\r\n\r\nhello"
        );
        let said = say(&gateway, bytes.as_bytes()).await;
        assert_eq!(said.statuses(), [200], "{connection}: {said:?}");
    }
    for upgrade in ["h2c", "H2C, websocket2", "HTTP/2.0", "TLS/1.0"] {
        let bytes = format!(
            "GET /x HTTP/1.1\r\nHost: {authority}\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nWirebound-Subject: mallory\r\n\r\n"
        );
        let said = say(&gateway, bytes.as_bytes()).await;
        assert_eq!(said.statuses(), [200], "{upgrade}: {said:?}");
    }
    let seen = node.seen().await;
    assert_eq!(seen.len(), listed.len() + 4);
    nobody_was_named(&seen);
    for seen in &seen {
        assert!(seen.method == "GET" || seen.body == "hello", "{seen:?}");
        for gone in ["upgrade", "http2-settings", "te", "proxy-connection"] {
            assert_eq!(seen.field(gone), None, "{gone}: {seen:?}");
        }
        let connection = seen.field("connection").unwrap_or_default();
        assert!(
            !connection.to_ascii_lowercase().contains("wirebound"),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn trailers_of_a_request_name_nobody() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, ALIASED).await;
    let authority = gateway.authority();
    let trailers = CLAIMS.iter().flat_map(|name| spelled(name));
    let trailers: String = trailers
        .take(60)
        .map(|name| format!("{name}: mallory\r\n"))
        .collect();
    let bytes = format!(
        "POST /x HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nTrailer: Wirebound-Subject\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
    );
    let said = say(&gateway, bytes.as_bytes()).await;
    assert_eq!(said.statuses(), [200], "{said:?}");
    let seen = node.seen().await;
    assert_eq!((seen.len(), seen[0].trailers), (1, 0), "{seen:?}");
    assert_eq!(seen[0].body, "hello");
    nobody_was_named(&seen);
}

#[tokio::test]
async fn trailers_of_an_http_2_request_name_nobody() {
    let node = Recorder::start().await;
    let gateway = Gateway::before(&node.url, ALIASED).await;
    let authority = gateway.authority();
    let head = fields(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/x"),
        ("trailer", "Wirebound-Subject, x-sum"),
    ]);
    let names: Vec<String> = CLAIMS.iter().flat_map(|name| spelled(name)).collect();
    let trailers: Vec<(String, &str)> = names
        .iter()
        .map(|name| (name.to_ascii_lowercase(), "mallory"))
        .take(80)
        .collect();
    let trailers: Vec<(&str, &str)> = trailers
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let mut connection = Frames::open(&gateway).await;
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &head);
    bytes.extend(frame(DATA, 0, 1, b"hello"));
    bytes.extend(frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &fields(&trailers),
    ));
    assert!(connection.write(&bytes).await);
    assert_eq!(connection.fate(1).await, Fate::Answered(200));
    let seen = node.seen().await;
    assert_eq!((seen.len(), seen[0].trailers), (1, 0), "{seen:?}");
    assert_eq!(seen[0].body, "hello");
    nobody_was_named(&seen);
    // A pseudo-field in the trailers is dropped by the parser, where RFC 9113 8.1 would refuse it: it changes nothing.
    let mut connection = Frames::open(&gateway).await;
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &head);
    let path = fields(&[(":path", "/admin")]);
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &path));
    assert!(connection.write(&bytes).await);
    connection.fate(1).await;
    for seen in node.seen().await {
        assert_eq!((seen.url.as_str(), seen.trailers), ("/x", 0), "{seen:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_signs_in_connections_is_refused_and_told_of() {
    let liar = Liar::start(|_| {
        answer(
            "401 Unauthorized",
            "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n",
            "",
        )
    })
    .await;
    let gateway = Gateway::before(&liar.url, "").await;
    for http in [Http::One, Http::Two] {
        let (one, other) = (Client::new(&gateway, http), Client::new(&gateway, http));
        for client in [&one, &other, &one] {
            let answer = client.ask(Ask::get("/x")).await;
            assert_eq!(answer.status, 502, "{answer:?}");
            assert_eq!(answer.field("www-authenticate"), "");
        }
    }
    // No two of them over one connection: nobody goes on where somebody else may have signed in.
    let mut connections: Vec<usize> = liar.heads().iter().map(|head| head.connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), 6, "{connections:?}");
    let told = gateway.events("connection_authentication");
    assert_eq!((told.len(), &told[0]["scheme"]), (6, &"Negotiate".into()));
}

#[tokio::test]
async fn a_websocket_handshake_names_nobody() {
    let liar = Liar::start(|_| answer("403 Forbidden", "", "no")).await;
    let gateway = Gateway::before(&liar.url, ALIASED).await;
    let authority = gateway.authority();
    let mut asked = 0;
    for name in [
        "wirebound-subject",
        "remote-user",
        "x-my-user",
        "x-forwarded-for",
    ] {
        for name in spelled(name) {
            let bytes = format!(
                "GET /ws HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade, {name}\r\nUpgrade: websocket\r\n\
                 Origin: https://{authority}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 {name}: mallory\r\n\r\nGET /end HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
            );
            let said = say(&gateway, bytes.as_bytes()).await;
            assert_eq!(said.statuses()[0], 403, "{said:?}");
            asked += 1;
        }
    }
    let heads = liar.heads();
    let handshakes: Vec<&Head> = heads.iter().filter(|head| head.path() == "/ws").collect();
    assert_eq!(handshakes.len(), asked);
    for head in handshakes {
        assert!(!head.text.contains("mallory"), "{head:?}");
        assert_eq!(head.field("wirebound-subject"), Some(""), "{head:?}");
        assert_eq!(head.field("remote-user"), Some(""), "{head:?}");
        assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"), "{head:?}");
    }
}

#[tokio::test]
async fn a_method_is_what_the_request_line_says() {
    let node = Recorder::start().await;
    let config = "[vouch]\npaths = [\"POST /login\"]\n";
    let gateway = Gateway::before(&node.url, config).await;
    for http in [Http::One, Http::Two] {
        let client = Client::new(&gateway, http);
        for name in [
            "X-HTTP-Method-Override",
            "x_http_method",
            "X-Method-Override",
        ] {
            let ask = Ask::get("/login").field(name, "POST");
            assert_eq!(client.ask(ask).await.body, "read");
        }
        let posted = client.ask(Ask::post("/login", "a=b")).await;
        assert_eq!(posted.body, "read");
    }
    for seen in node.seen().await {
        // Only the one that was really posted may be vouched for.
        let is_post = seen.method == "POST";
        assert_eq!(
            seen.field("wirebound-request").is_some(),
            is_post,
            "{seen:?}"
        );
        assert!(
            !format!("{seen:?}")
                .to_ascii_lowercase()
                .contains("override"),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_waits_for_100_is_judged_before_it_is_sent_for() {
    let node = Recorder::start().await;
    let config =
        "[[routes]]\npath = \"/members\"\nrole = \"user\"\n[limits]\nconnection_idle = \"2s\"\n";
    let gateway = Gateway::before(&node.url, config).await;
    let authority = gateway.authority();
    let ask = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n{body}"
        )
    };
    let refused = say(&gateway, ask("/members", "").as_bytes()).await;
    assert_eq!(refused.statuses(), [401], "{refused:?}");
    let served = say(&gateway, ask("/x", "hello").as_bytes()).await;
    assert_eq!(served.statuses(), [100, 200], "{served:?}");
    let seen = node.seen().await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].field("expect"), None);
}

/// An app that says it before, in and behind its answer, on a path that may not.
#[tokio::test]
async fn hints_and_trailers_of_the_app_name_nobody_and_lead_nowhere() {
    let claims = "Wirebound-Login: mallory\r\nwirebound_role: admin\r\nAlt-Svc: h3=\":443\"\r\n\
                  Set-Cookie: __Host-wirebound=evil; Path=/; Secure\r\nSecure-Session-Registration: (ES256)\r\n";
    let liar = Liar::start(move |head| {
        let nonce = head.field("wirebound-request").unwrap_or("00");
        let claims = format!("Wirebound-Re: {nonce}\r\n{claims}");
        format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n{claims}\r\nHTTP/1.1 102 Processing\r\n{claims}\r\n\
             HTTP/1.1 200 OK\r\n{claims}Trailer: Wirebound-Login\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n{claims}\r\n"
        )
    })
    .await;
    let config = "[limits]\nconnection_idle = \"2s\"\n";
    let gateway = Gateway::before(&liar.url, config).await;
    let authority = gateway.authority();
    let bytes = format!(
        "GET /x HTTP/1.1\r\nHost: {authority}\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n"
    );
    let said = say(&gateway, bytes.as_bytes()).await;
    assert_eq!(said.statuses(), [200], "{said:?}");
    let lower = said.0.to_ascii_lowercase();
    for gone in [
        "wirebound-",
        "wirebound_",
        "alt-svc",
        "evil",
        "mallory",
        "secure-session",
        "early",
    ] {
        assert!(!lower.contains(gone), "{gone}: {said:?}");
    }
    assert!(said.0.contains("hello"));
    let visitor = Client::new(&gateway, Http::Two);
    let answer = visitor.ask(Ask::get("/x")).await;
    assert_eq!(answer.body, "hello");
    assert!(answer.sets(OURS).is_empty(), "{answer:?}");
    for name in answer.headers.keys() {
        assert!(!name.as_str().starts_with("wirebound"), "{answer:?}");
    }
}

/// What an app says to a sign-in, given the nonce of this request and that of an earlier one.
struct Lie {
    what: &'static str,
    says: fn(now: &str, before: &str) -> String,
    status: u16,
}

const LIES: &[Lie] = &[
    Lie {
        what: "no nonce",
        says: |_, _| "Wirebound-Login: mallory\r\n".to_owned(),
        status: 200,
    },
    Lie {
        what: "the nonce of an earlier request",
        says: |_, before| format!("Wirebound-Re: {before}\r\nWirebound-Login: mallory\r\n"),
        status: 200,
    },
    Lie {
        what: "a part of the nonce",
        says: |now, _| {
            format!(
                "Wirebound-Re: {}\r\nWirebound-Login: mallory\r\n",
                &now[..30]
            )
        },
        status: 200,
    },
    Lie {
        what: "the nonce twice",
        says: |now, _| {
            format!("Wirebound-Re: {now}\r\nWirebound-Re: {now}\r\nWirebound-Login: mallory\r\n")
        },
        status: 502,
    },
    Lie {
        what: "the nonce of an earlier request beside the right one",
        says: |now, before| {
            format!("Wirebound-Re: {before}\r\nWirebound-Re: {now}\r\nWirebound-Login: mallory\r\n")
        },
        status: 502,
    },
    Lie {
        what: "two subjects",
        says: |now, _| {
            format!("Wirebound-Re: {now}\r\nWirebound-Login: alice\r\nWirebound-Login: mallory\r\n")
        },
        status: 502,
    },
    Lie {
        what: "two subjects in one line",
        says: |now, _| format!("Wirebound-Re: {now}\r\nWirebound-Login: alice, mallory\r\n"),
        status: 502,
    },
    Lie {
        what: "a role in the subject",
        says: |now, _| format!("Wirebound-Re: {now}\r\nWirebound-Login: mallory; role=admin\r\n"),
        status: 502,
    },
    Lie {
        what: "a broken escape",
        says: |now, _| format!("Wirebound-Re: {now}\r\nWirebound-Login: mallory%0\r\n"),
        status: 502,
    },
    Lie {
        what: "a folded subject",
        says: |now, _| format!("Wirebound-Re: {now}\r\nWirebound-Login: mallory\r\n x\r\n"),
        status: 502,
    },
    Lie {
        what: "an empty subject",
        says: |now, _| format!("Wirebound-Re: {now}\r\nWirebound-Login: \r\n"),
        status: 502,
    },
    Lie {
        what: "a role above the bound",
        says: |now, _| {
            format!("Wirebound-Re: {now}\r\nWirebound-Login: mallory\r\nWirebound-Role: admin\r\n")
        },
        status: 502,
    },
    Lie {
        what: "two roles",
        says: |now, _| {
            format!(
                "Wirebound-Re: {now}\r\nWirebound-Login: mallory\r\nWirebound-Role: user\r\nWirebound-Role: admin\r\n"
            )
        },
        status: 502,
    },
    Lie {
        what: "a sign-in and a sign-out",
        says: |now, _| {
            format!("Wirebound-Re: {now}\r\nWirebound-Login: mallory\r\nWirebound-Logout: all\r\n")
        },
        status: 502,
    },
    Lie {
        what: "an underscore",
        says: |now, _| format!("Wirebound_Re: {now}\r\nWirebound_Login: mallory\r\n"),
        status: 200,
    },
];

#[tokio::test]
async fn no_lie_of_the_app_signs_anybody_in() {
    let nonces: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&nonces);
    let liar = Liar::start(move |head| {
        let mut nonces = kept.lock().unwrap();
        let before = nonces.last().cloned().unwrap_or_default();
        if let Some(now) = head.field("wirebound-request") {
            nonces.push(now.to_owned());
            let number: usize = head.path().rsplit('=').next().unwrap().parse().unwrap();
            return LIES.get(number).map_or_else(
                || answer("200 OK", "", "page"),
                |lie| answer("200 OK", &(lie.says)(now, &before), "page"),
            );
        }
        // Not listed: the app says it all the same, with a nonce that was right once.
        let said = format!("Wirebound-Re: {before}\r\nWirebound-Login: mallory\r\n");
        answer(
            "200 OK",
            &said,
            &format!("subject={}", head.field("wirebound-subject").unwrap()),
        )
    })
    .await;
    let gateway = Gateway::before(&liar.url, "[vouch]\npaths = [\"POST /login\"]\n").await;
    for http in [Http::One, Http::Two] {
        for (number, lie) in LIES.iter().enumerate() {
            let visitor = Client::new(&gateway, http);
            let other = Client::new(&gateway, http);
            let post = |number: usize| Ask::post(&format!("/login?lie={number}"), "a=b");
            // Somebody else's request with a nonce of its own goes before.
            assert_eq!(other.ask(post(LIES.len())).await.status, 200);
            let told = visitor.ask(post(number)).await;
            assert_eq!(told.status, lie.status, "{}: {told:?}", lie.what);
            assert!(told.sets(OURS).is_empty(), "{}: {told:?}", lie.what);
            for client in [&visitor, &other] {
                for path in ["/me", "/login?lie=0", "/login/?lie=0", "/LOGIN?lie=0"] {
                    let page = client.ask(Ask::get(path)).await;
                    assert_eq!(page.body, "subject=", "{}: {page:?}", lie.what);
                    assert!(page.sets(OURS).is_empty(), "{}", lie.what);
                }
            }
        }
    }
    assert!(gateway.events("signed_in").is_empty());
    // A folded field is not even read.
    let refused = LIES
        .iter()
        .filter(|lie| lie.status == 502 && !lie.what.contains("folded"));
    let refused = refused.count();
    assert_eq!(gateway.events("vouching_refused").len(), 2 * refused);
}

#[tokio::test]
async fn line_breaks_in_a_subject_stay_in_the_subject() {
    let liar = Liar::start(|head| match head.field("wirebound-request") {
        Some(nonce) => {
            let said = format!(
                "Wirebound-Re: {nonce}\r\nWirebound-Login: a%0d%0aWirebound-Role:%20admin%00%3b%22%e2%80%a8\r\nLocation: /me\r\n"
            );
            answer("303 See Other", &said.replace("Role:", "Role%3a"), "")
        }
        None => {
            let named = ["wirebound-subject", "wirebound-role", "remote-user"];
            let told = named.map(|name| head.field(name).unwrap_or("-"));
            answer("200 OK", "", &told.join("|"))
        }
    })
    .await;
    let config = format!("[vouch]\npaths = [\"POST /login\"]\n{ALIASED}");
    let gateway = Gateway::before(&liar.url, &config).await;
    for http in [Http::One, Http::Two] {
        let odd = Client::new(&gateway, http);
        let page = odd.follow(sign_in("whoever")).await;
        let name = "a%0D%0AWirebound-Role%3A%20admin%00%3B%22%E2%80%A8";
        assert_eq!(page.body, format!("{name}|user|{name}"));
    }
    // Nor do they break a line of the log.
    for line in gateway.printed() {
        let whole = line.starts_with('{') && line.ends_with('}');
        assert!(
            whole || line.contains("https://") || !line.contains("admin"),
            "{line}"
        );
        assert!(!line.starts_with("Wirebound-Role"), "{line}");
    }
}
