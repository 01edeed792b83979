//! A corpus of requests that two programs read differently. Each is refused, or arrives at a real second parser as exactly
//! one request with the body that its grammar gives it; what was hidden in it never arrives as a request.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::app::App;
use crate::client::{Client, Http};
use crate::process::{Gateway, within};
use crate::raw::{Said, each, say};
use crate::recorder::Recorder;

/// What the grammar of RFC 9110 and 9112, without any leniency, makes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// 400 and closed; nothing arrives.
    Refused,
    /// It arrives with this body. What follows it in the bytes is refused or read as the next request.
    Arrives(String),
}

struct Case {
    name: String,
    bytes: String,
    due: Due,
}

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\nX: x\r\n\r\n";
/// Ends the connection behind what was read whole.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n";

/// Fields that some server reads as `Transfer-Encoding: chunked`, and whether they are it.
const CODINGS: &[(&str, Reading)] = &[
    ("Transfer-Encoding: chunked", Reading::Chunked),
    ("transfer-encoding:chunked", Reading::Chunked),
    ("tRANSFER-eNCODING: CHUNKED", Reading::Chunked),
    ("Transfer-Encoding: chunked ", Reading::Chunked),
    ("Transfer-Encoding:\tchunked\t", Reading::Chunked),
    ("Transfer-Encoding:   chunked", Reading::Chunked),
    ("Transfer-Encoding : chunked", Reading::Faulty),
    ("Transfer-Encoding\t: chunked", Reading::Faulty),
    (" Transfer-Encoding: chunked", Reading::Faulty),
    ("\tTransfer-Encoding: chunked", Reading::Faulty),
    ("Transfer-Encoding: xchunked", Reading::Faulty),
    ("Transfer-Encoding: chunkedx", Reading::Faulty),
    ("Transfer-Encoding: chunk", Reading::Faulty),
    ("Transfer-Encoding: chunked, identity", Reading::Faulty),
    ("Transfer-Encoding: identity, chunked", Reading::Faulty),
    ("Transfer-Encoding: identity", Reading::Faulty),
    ("Transfer-Encoding: gzip, chunked", Reading::Faulty),
    ("Transfer-Encoding: chunked, chunked", Reading::Faulty),
    ("Transfer-Encoding: chunked,", Reading::Faulty),
    ("Transfer-Encoding: ,chunked", Reading::Faulty),
    ("Transfer-Encoding: chunked;q=1", Reading::Faulty),
    ("Transfer-Encoding: \"chunked\"", Reading::Faulty),
    ("Transfer-Encoding: 'chunked'", Reading::Faulty),
    ("Transfer-Encoding:", Reading::Faulty),
    ("Transfer-Encoding:\x0bchunked", Reading::Faulty),
    ("Transfer-Encoding:\x0cchunked", Reading::Faulty),
    ("Transfer-Encoding: chunked\x0b", Reading::Faulty),
    ("Transfer-Encoding: chunked\0", Reading::Faulty),
    ("Transfer-Encoding: chu\0nked", Reading::Faulty),
    ("Transfer-Encoding: \u{a0}chunked", Reading::Faulty),
    ("Transfer-Encoding: chunked\u{85}", Reading::Faulty),
    ("Transfer-Encoding: \u{212a}chun\u{212a}ed", Reading::Faulty),
    ("Transfer-Encoding: \x7fchunked", Reading::Faulty),
    ("Transfer-Encoding\0: chunked", Reading::Faulty),
    ("Transfer-Encoding\u{ff}: chunked", Reading::Faulty),
    ("\0Transfer-Encoding: chunked", Reading::Faulty),
    ("Transfer-Encoding\r\n: chunked", Reading::Faulty),
    ("Transfer-Encoding:\r\n chunked", Reading::Faulty),
    ("Transfer-Encoding:\n chunked", Reading::Faulty),
    ("Transfer-Encoding: chunked\r\n x", Reading::Faulty),
    ("Transfer-Encoding: chunked\nX: x", Reading::Faulty),
    ("X: x\nTransfer-Encoding: chunked", Reading::Faulty),
    ("X: x\rTransfer-Encoding: chunked", Reading::Faulty),
    ("X:\nTransfer-Encoding: chunked", Reading::Faulty),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        Reading::Faulty,
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        Reading::Faulty,
    ),
    (
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        Reading::Faulty,
    ),
    (
        "Transfer-Encoding: x\r\ntransfer-encoding: chunked",
        Reading::Faulty,
    ),
    ("Transfer_Encoding: chunked", Reading::Faulty),
    ("transfer.encoding: chunked", Reading::Faulty),
    ("Content-Encoding: chunked", Reading::None),
    ("X-Transfer-Encoding: chunked", Reading::None),
    ("Transfer-Encodin: chunked", Reading::None),
    ("TransferEncoding: chunked", Reading::None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Chunked,
    None,
    Faulty,
}

/// Values of `Content-Length` for a body of five bytes, and whether they are its length.
const LENGTHS: &[(&str, bool)] = &[
    ("Content-Length: 5", true),
    ("content-length:5", true),
    ("Content-Length:\t5 ", true),
    ("Content-Length: +5", false),
    ("Content-Length: -5", false),
    ("Content-Length: 05", false),
    ("Content-Length: 005", false),
    ("Content-Length: 5,5", false),
    ("Content-Length: 5, 5", false),
    ("Content-Length: 5 5", false),
    ("Content-Length: 5;", false),
    ("Content-Length: 5.0", false),
    ("Content-Length: 5e0", false),
    ("Content-Length: 0x5", false),
    ("Content-Length: 0b101", false),
    ("Content-Length: \"5\"", false),
    ("Content-Length: five", false),
    ("Content-Length: \u{665}", false),
    ("Content-Length:\x0b5", false),
    ("Content-Length: 5\0", false),
    ("Content-Length:", false),
    ("Content-Length: 18446744073709551621", false),
    ("Content-Length: 4294967301", true),
    ("Content-Length: 9999999999999999999999", false),
    ("Content-Length : 5", false),
    ("Content-Length\t: 5", false),
    (" Content-Length: 5", false),
    ("Content-Length:\r\n 5", false),
    ("Content-Length: 5\r\n 5", false),
    ("Content-Length: 5\r\nContent-Length: 5", false),
    ("Content-Length: 5\r\nContent-Length: 0", false),
    ("Content-Length: 0\r\nContent-Length: 5", false),
    ("Content-Length: 5\r\ncontent-length: 6", false),
    ("Content_Length: 5", false),
    ("content.length: 5", false),
    ("X: x\nContent-Length: 5", false),
    ("X: x\rContent-Length: 5", false),
];

/// Lines of a head that are at fault whatever the body is.
const FAULTY_LINES: &[&str] = &[
    "Host: HOST\r\nHost: evil.example",
    "Host: HOST\r\nHost: HOST",
    "Host: evil.example\r\nHost: HOST",
    "Host: HOST\r\nhOST: HOST",
    "Host : HOST",
    " Host: HOST",
    "Host: HOST, evil.example",
    "Host: HOST evil.example",
    "Host: HOST/",
    "Host: HOST/../x",
    "Host: HOST#x",
    "Host: HOST?x",
    "Host: HOST\\x",
    "Host: evil.example@HOST",
    "Host: HOST@evil.example",
    "Host: https://HOST",
    "Host:",
    "Host: :443",
    "Host: HOST\0",
    "Host: HOST\x0b",
    "Host: HOST\n",
    "Host: HOST\r\n .evil.example",
    "Host:\r\n HOST",
    "X-Not-Host: HOST",
    "Host: \u{ff48}OST",
    "Host: HOST%00",
    "Host: HOST;x",
    "Host: HOST\r\nX: a\r\n b",
    "Host: HOST\r\nX: a\r\n\tb",
    "Host: HOST\r\nX: a\r\n \r\n b",
    "Host: HOST\r\nX: a\nY: b",
    "Host: HOST\r\nX: a\rY: b",
    "Host: HOST\r\nX\r\n",
    "Host: HOST\r\nX",
    "Host: HOST\r\n: x",
    "Host: HOST\r\nX y: z",
    "Host: HOST\r\nX(y): z",
    "Host: HOST\r\nX@y: z",
    "Host: HOST\r\nX\u{e9}: z",
    "Host: HOST\r\nX: a\0b",
    "Host: HOST\r\nX: a\x08b",
    "Host: HOST\r\nX: a\x1bb",
    "Host: HOST\r\nX: a\x7fb",
    "Host: HOST\r\n\nX: a",
    "Host: HOST\r\n\rX: a",
];

const FAULTY_REQUEST_LINES: &[&str] = &[
    "GET  /case HTTP/1.1",
    "GET /case  HTTP/1.1",
    " GET /case HTTP/1.1",
    "\tGET /case HTTP/1.1",
    "GET\t/case HTTP/1.1",
    "GET /case\tHTTP/1.1",
    "GET /case HTTP/1.1 ",
    "GET /case HTTP/1.1\t",
    "GET /case HTTP/1.2",
    "GET /case HTTP/1.10",
    "GET /case HTTP/2.0",
    "GET /case HTTP/0.9",
    "GET /case HTTP/01.1",
    "GET /case http/1.1",
    "GET /case HTTPS/1.1",
    "GET /case HTTP/1.1\nX: x",
    "GET /case HTTP/1.1\rX: x",
    "GET /case",
    "GET /case x HTTP/1.1",
    "GET /case\0 HTTP/1.1",
    "GET /case\x0b HTTP/1.1",
    "GET /case#x HTTP/1.1",
    "GET /case?a#x HTTP/1.1",
    "GET /c\u{e4}se HTTP/1.1",
    "GET case HTTP/1.1",
    "GET ?case HTTP/1.1",
    "GET * HTTP/1.1",
    "GET \\case HTTP/1.1",
    "GET http://evil.example/case HTTP/1.1",
    "GET http://evil.example@HOST/case HTTP/1.1",
    "GET http://HOST@evil.example/case HTTP/1.1",
    "GET https:///case HTTP/1.1",
    "GET https:/HOST/case HTTP/1.1",
    "GET //HOST\\case HTTP/1.1\r\nHost: x",
    "GET ftp://HOST/case HTTP/1.1",
    "GET javascript:case HTTP/1.1",
    "CONNECT HOST HTTP/1.1",
    "CONNECT /case HTTP/1.1",
    "OPTIONS *x HTTP/1.1",
    "G(T /case HTTP/1.1",
    "GET\u{a0} /case HTTP/1.1",
    "\r\n\r\nGET /case HTTP/1.1",
    "\nGET /case HTTP/1.1",
    "\0GET /case HTTP/1.1",
    "TRACE /case HTTP/1.1",
    "TRACK /case HTTP/1.1",
];

/// Chunks that say `hello` in a way that some server reads otherwise.
const FAULTY_CHUNKS: &[&str] = &[
    "5;x\r\nhello\r\n0\r\n\r\n",
    "5;x=\"\n\"\r\nhello\r\n0\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5 ;x\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "\t5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloX\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\r\nX: a\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: evil.example\r\n\r\n",
    "5\r\nhello\r\n0\r\n X: a\r\n\r\n",
    "5\r\nhello\r\n0\r\n: a\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffb\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "five\r\nhello\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
];

fn corpus() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, bytes: String, due: Due| {
        cases.push(Case { name, bytes, due });
    };
    let post = "POST /case HTTP/1.1\r\nHost: HOST\r\nX-Case: CASE\r\n";
    for (coding, reading) in CODINGS {
        // Alone: chunks that hide nothing.
        let chunks = "5\r\nhello\r\n0\r\n\r\n";
        let due = match reading {
            Reading::Chunked => Due::Arrives("hello".to_owned()),
            Reading::None => Due::Arrives(String::new()),
            Reading::Faulty => Due::Refused,
        };
        add(
            format!("{coding:?}"),
            format!("{post}{coding}\r\n\r\n{chunks}{LAST}"),
            due,
        );
        // Beside a length that covers what is hidden behind the last chunk, and one that covers only the first size.
        let hiding = format!("0\r\n\r\n{HIDDEN}");
        let due = match reading {
            Reading::Chunked | Reading::Faulty => Due::Refused,
            Reading::None => Due::Arrives(hiding.clone()),
        };
        let length = format!("Content-Length: LENGTH{}", hiding.len());
        for (place, lines) in [
            ("behind", format!("{coding}\r\n{length}")),
            ("before", format!("{length}\r\n{coding}")),
        ] {
            add(
                format!("{coding:?}, a length {place} it"),
                format!("{post}{lines}\r\n\r\n{hiding}{LAST}"),
                due.clone(),
            );
        }
        if *reading != Reading::None {
            let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
            add(
                format!("{coding:?}, a short length"),
                format!("{post}{coding}\r\nContent-Length: 4\r\n\r\n{chunk}{LAST}"),
                Due::Refused,
            );
            add(
                format!("{coding:?} in HTTP/1.0"),
                format!(
                    "POST /case HTTP/1.0\r\nHost: HOST\r\nX-Case: CASE\r\n{coding}\r\n\r\n{chunks}{LAST}"
                ),
                Due::Refused,
            );
        }
    }
    for (length, is_length) in LENGTHS {
        let due = match *is_length {
            true if length.contains("4294967301") => Due::Refused,
            true => Due::Arrives("hello".to_owned()),
            false => Due::Refused,
        };
        add(
            format!("{length:?}"),
            format!("{post}{length}\r\n\r\nhello{LAST}"),
            due,
        );
    }
    for line in FAULTY_LINES {
        add(
            format!("{line:?}"),
            format!("GET /case HTTP/1.1\r\nX-Case: CASE\r\n{line}\r\n\r\n{HIDDEN}"),
            Due::Refused,
        );
    }
    for line in FAULTY_REQUEST_LINES {
        add(
            format!("{line:?}"),
            format!("{line}\r\nHost: HOST\r\nX-Case: CASE\r\n\r\n{HIDDEN}"),
            Due::Refused,
        );
    }
    for chunks in FAULTY_CHUNKS {
        add(
            format!("{chunks:?}"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}"),
            Due::Refused,
        );
    }
    // An upgrade that is not answered as one does not open the way for what was sent behind it (RUSTSEC-2026-0033).
    for upgrade in ["h2c", "websocket", "TLS/1.0", "HTTP/2.0", "x"] {
        let settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        add(
            format!("an upgrade to {upgrade} with more behind it"),
            format!(
                "GET /case HTTP/1.1\r\nHost: HOST\r\nX-Case: CASE\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 Upgrade: {upgrade}\r\n{settings}\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\n\r\n\r\n"
            ),
            match upgrade {
                "websocket" => Due::Refused,
                _ => Due::Arrives(String::new()),
            },
        );
    }
    for (number, case) in cases.iter_mut().enumerate() {
        case.bytes = case.bytes.replace("CASE", &number.to_string());
    }
    cases
}

#[tokio::test]
async fn no_spelling_smuggles_a_request_past_the_gateway() {
    let node = Recorder::start().await;
    let config = "[limits]\nheader_timeout = \"2s\"\nbody_idle = \"2s\"\nbody_size = \"1MiB\"\n";
    let gateway = Gateway::before(&node.url, config).await;
    let cases = corpus();
    assert!(cases.len() >= 200, "{}", cases.len());
    // The name of the host changes how long a hidden request is.
    let authority = gateway.authority();
    let hidden = HIDDEN.matches("HOST").count();
    let grown = |length: usize| length + hidden * authority.len() - hidden * "HOST".len();
    let bytes: Vec<String> = cases
        .iter()
        .map(|case| {
            let mut bytes = case.bytes.clone();
            if let Some((_, tail)) = case.bytes.split_once("LENGTH") {
                let digits: String = tail.chars().take_while(char::is_ascii_digit).collect();
                let length = grown(digits.parse().unwrap());
                bytes = bytes.replace(&format!("LENGTH{digits}"), &length.to_string());
            }
            let short = format!("{:x}\r\nGET", HIDDEN.len());
            bytes = bytes.replace(&short, &format!("{:x}\r\nGET", grown(HIDDEN.len())));
            bytes.replace("HOST", &authority)
        })
        .collect();
    let said = each(bytes, |bytes| {
        let gateway = &gateway;
        async move { say(gateway, &latin1(&bytes)).await }
    })
    .await;
    let seen = node.seen().await;
    assert!(node.unread().is_empty(), "{:?}", node.unread());
    let mut wrong = Vec::new();
    let (mut refused, mut arrived) = (0, 0);
    for ((number, case), said) in cases.iter().enumerate().zip(&said) {
        let number = number.to_string();
        let of_case = |seen: &&crate::recorder::Seen| seen.field("x-case") == Some(&number);
        let whole: Vec<_> = seen.iter().filter(of_case).collect();
        let first = said.statuses().first().copied();
        let fine = match &case.due {
            Due::Refused => {
                refused += 1;
                whole.is_empty() && matches!(first, Some(400 | 413 | 421))
            }
            Due::Arrives(body) => {
                arrived += 1;
                let body = body.replace("HOST", &authority);
                whole.len() == 1 && whole[0].body == body && first == Some(200)
            }
        };
        if !fine {
            wrong.push(format!(
                "{} is due {:?}: {whole:?} {said:?}",
                case.name, case.due
            ));
        }
    }
    let smuggled = seen.iter().filter(|seen| seen.url.contains("smuggled"));
    assert_eq!(smuggled.count(), 0, "{seen:#?}");
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        cases.len()
    );
    eprintln!(
        "{} requests: {refused} refused, {arrived} arrived as one",
        cases.len()
    );
}

/// One byte a character, so that bytes outside ASCII are what they say; further ones as UTF-8.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| match u8::try_from(u32::from(c)) {
            Ok(byte) => vec![byte],
            Err(_) => c.to_string().into_bytes(),
        })
        .collect()
}

#[tokio::test]
async fn what_was_asked_before_a_fault_is_still_answered() {
    let app = App::start().await;
    let gateway = Gateway::before(&app.url, "").await;
    let authority = gateway.authority();
    for (number, fault) in [
        format!("GET /head HTTP/1.1\r\nHost: {authority}\nX: x\r\n\r\n"),
        format!(
            "POST /head HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
    ]
    .iter()
    .enumerate()
    {
        // At once, and with the fault on its own behind a request that is under way.
        for apart in [false, true] {
            let key = format!("{number}-{apart}");
            let good = format!("GET /hold/{key} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            let mut stream = Client::new(&gateway, Http::One).bare().await;
            let first = if apart {
                good
            } else {
                format!("{good}{fault}")
            };
            stream.write_all(first.as_bytes()).await.unwrap();
            app.holds(&key).await;
            if apart {
                stream.write_all(fault.as_bytes()).await.unwrap();
            }
            app.release(&key);
            let mut all = Vec::new();
            drop(within("the end", stream.read_to_end(&mut all)).await);
            let said = Said(String::from_utf8_lossy(&all).into_owned());
            assert_eq!(said.statuses(), [200, 400], "{said:?}");
            assert!(said.0.contains("held"), "{said:?}");
        }
    }
    assert!(app.heads().is_empty());
}
