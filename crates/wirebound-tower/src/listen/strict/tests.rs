//! The strict reader against what smuggles, whole and in pieces.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What became of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// What went on to HTTP.
    passed: Vec<u8>,
    fault: Option<Fault>,
    in_body: bool,
    heads: u64,
}

/// Follows `bytes` in pieces of these sizes; every upgrade is answered with `switched`.
fn followed(bytes: &[u8], sizes: &[usize], switched: bool) -> Outcome {
    let mut follower = Follower::new();
    let mut passed = Vec::new();
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (now, later) = rest.split_at(size);
        match follower.follow(now) {
            Found::Order => {
                passed.extend_from_slice(now);
                rest = later;
            }
            Found::Upgrade(place) => {
                passed.extend_from_slice(&now[..place]);
                follower.answered(switched);
                rest = &rest[place..];
            }
            found @ (Found::Head(place, fault) | Found::Body(place, fault)) => {
                passed.extend_from_slice(&now[..place]);

                return Outcome {
                    passed,
                    fault: Some(fault),
                    in_body: matches!(found, Found::Body(..)),
                    heads: follower.heads(),
                };
            }
        }
    }
    Outcome {
        passed,
        fault: None,
        in_body: false,
        heads: follower.heads(),
    }
}

fn whole(text: &str) -> Outcome {
    followed(text.as_bytes(), &[usize::MAX], false)
}

const FAULTY: &[(&str, Fault)] = &[
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", Fault::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", Fault::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\n\n", Fault::BareLf),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::BareLf),
    (
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::BlankLines,
    ),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", Fault::BareCr),
    ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", Fault::BareCr),
    (
        "GET / HTTP/1.1\r\nX: a\rb\r\nHost: a\r\n\r\n",
        Fault::BareCr,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\n\rGET", Fault::BareCr),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        Fault::Control,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n",
        Fault::Control,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        Fault::Control,
    ),
    ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Control),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
        Fault::Control,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        Fault::Fold,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
        Fault::Fold,
    ),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Fault::Fold),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Method),
    ("GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Method),
    ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Method),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Method),
    (
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        Fault::Connect,
    ),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("GET ? HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Fault::Target),
    ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("GET http:/a/ HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target),
    ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Fragment),
    ("GET /?a#x HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Fragment),
    (
        "GET http://a#x HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::Fragment,
    ),
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Fault::NotAscii),
    (
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::UserInfo,
    ),
    (
        "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::HostSyntax,
    ),
    (
        "GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::HostSyntax,
    ),
    (
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::HostsDiffer,
    ),
    (
        "GET http://a/ HTTP/1.1\r\nHost: ab\r\n\r\n",
        Fault::HostsDiffer,
    ),
    (
        "GET http://ab/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::HostsDiffer,
    ),
    ("GET http://a/ HTTP/1.1\r\nX: a\r\n\r\n", Fault::NoHost),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Fault::Version),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Fault::Version),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Fault::Version),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", Fault::Version),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Version),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Fault::Version),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Version),
    ("GET /\r\n", Fault::BareCr),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fault::Target),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Fault::Name),
    ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", Fault::Name),
    ("GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", Fault::Name),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", Fault::Name),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n",
        Fault::Name,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
        Fault::BareCr,
    ),
    ("GET / HTTP/1.1\r\n\r\n", Fault::NoHost),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        Fault::TwoHosts,
    ),
    (
        "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
        Fault::TwoHosts,
    ),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: \t\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", Fault::HostSyntax),
    ("GET / HTTP/1.1\r\nHost: a\u{e9}\r\n\r\n", Fault::HostSyntax),
    (
        "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n",
        Fault::HostSyntax,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4611686018427387904\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        Fault::Length,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        Fault::TwoLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        Fault::TwoLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        Fault::LengthAndCoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        Fault::LengthAndCoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        Fault::Coding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        Fault::Coding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        Fault::Coding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        Fault::Coding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
        Fault::Coding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
        Fault::Coding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n",
        Fault::Control,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        Fault::Control,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        Fault::TwoCodings,
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        Fault::CodingInHttp10,
    ),
];

/// Faults of bodies, behind a head that is in order.
const FAULTY_BODIES: &[(&str, Fault)] = &[
    ("\r\n", Fault::BareCr),
    ("g\r\n", Fault::ChunkSize),
    (" 1\r\na\r\n", Fault::ChunkSize),
    ("1 \r\na\r\n", Fault::ChunkSize),
    ("+1\r\na\r\n", Fault::ChunkSize),
    ("0x1\r\na\r\n", Fault::ChunkSize),
    ("1_0\r\na\r\n", Fault::ChunkSize),
    ("1\na\r\n", Fault::BareLf),
    ("1\ra\r\n", Fault::BareCr),
    ("fffffffffffffffff\r\n", Fault::ChunkSize),
    ("0000000000000001\r\n", Fault::ChunkSize),
    ("1;a=b\r\na\r\n", Fault::ChunkExtension),
    ("1;\na\r\n", Fault::ChunkExtension),
    ("1\r\nab\r\n", Fault::ChunkEnd),
    ("1\r\na\n", Fault::ChunkEnd),
    ("1\r\na\rb", Fault::ChunkEnd),
    ("1\r\na0\r\n\r\n", Fault::ChunkEnd),
    ("1\r\na\r\n\r\n", Fault::BareCr),
    ("0\n\n", Fault::BareLf),
    ("0\r\n\n", Fault::BareLf),
    ("0\r\nX: a\n\r\n", Fault::BareLf),
    ("0\r\n X: a\r\n\r\n", Fault::Fold),
    ("0\r\nX : a\r\n\r\n", Fault::Name),
    ("0\r\nX: a\0\r\n\r\n", Fault::Control),
    ("0\r\nContent-Length: 5\r\n\r\n", Fault::Trailer),
    ("0\r\nHost: b\r\n\r\n", Fault::Trailer),
    ("0\r\ntransfer-encoding: chunked\r\n\r\n", Fault::Trailer),
];

const ORDERLY: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:a:8443 \t\r\n\r\n",
    "GET / HTTP/1.1\r\nHOST: [::1]:8443\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET /a%20b?c=d|{e}&f=\"g\" HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "GET https://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET HTTPS://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t\r\nZ: \u{e9}\t\u{20ac} \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: x\r\nContent-Length-X: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t12 \r\n\r\n\r\n\n\0GET / H\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked \t\r\n\r\n5\r\n\r\n\r\n\n\r\n0\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\n\r\n00A\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn every_leniency_that_smuggles_is_a_fault_before_the_head_is_complete() {
    for (text, fault) in FAULTY {
        let outcome = whole(text);
        assert_eq!(outcome.fault, Some(*fault), "{text:?}");
        assert_eq!(outcome.heads, 0, "{text:?}");
        assert!(!outcome.in_body, "{text:?}");
    }
}

#[test]
fn a_body_with_two_readings_is_never_complete() {
    for (body, fault) in FAULTY_BODIES {
        let text = chunked(body);
        let outcome = whole(&text);
        assert_eq!(outcome.fault, Some(*fault), "{body:?}");
        assert_eq!(outcome.heads, 1, "{body:?}");
        assert!(outcome.in_body, "{body:?}");
    }
    let long = format!("0\r\nX: {}\r\nY: 1\r\n\r\n", "x".repeat(9_000));
    assert_eq!(whole(&chunked(&long)).fault, Some(Fault::Trailer));
}

#[test]
fn what_is_in_order_passes_whole() {
    for text in ORDERLY {
        let outcome = whole(text);
        assert_eq!(outcome.fault, None, "{text:?}");
        assert_eq!(outcome.passed, text.as_bytes());
        let heads = text.matches(" HTTP/1.").count();
        assert_eq!(outcome.heads, u64::try_from(heads).unwrap(), "{text:?}");
    }
}

#[test]
fn a_second_request_is_looked_at_like_the_first() {
    for before in ORDERLY.iter().filter(|text| !text.starts_with('\r')) {
        for (text, fault) in FAULTY {
            let outcome = whole(&format!("{before}{text}"));
            assert_eq!(outcome.fault, Some(*fault), "{before:?} {text:?}");
            assert!(!outcome.in_body);
        }
    }
}

#[test]
fn behind_another_protocol_nothing_is_looked_at() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\0\n\r GET";
    assert_eq!(followed(text.as_bytes(), &[7], true).fault, None);
    assert!(followed(text.as_bytes(), &[7], false).fault.is_some());
}

proptest! {
    /// Where the bytes are split changes nothing: neither what passes nor what is found.
    #[test]
    fn splitting_changes_nothing(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
        sizes in prop::collection::vec(1_usize..40, 1..20),
        switched in any::<bool>(),
        noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let bodies: Vec<String> = FAULTY_BODIES.iter().map(|(body, _)| chunked(body)).collect();
        let all: Vec<&str> = ORDERLY.iter().copied()
            .chain(FAULTY.iter().map(|(text, _)| *text))
            .chain(bodies.iter().map(String::as_str))
            .collect();
        let mut bytes: Vec<u8> = picks.iter()
            .flat_map(|(first, second)| [first, second])
            .flat_map(|pick| pick.get(&all).bytes())
            .collect();
        if let Some((place, byte)) = noise {
            *place.get_mut(&mut bytes) = byte;
        }
        let at_once = followed(&bytes, &[usize::MAX], switched);
        prop_assert_eq!(&followed(&bytes, &sizes, switched), &at_once);
        prop_assert_eq!(&followed(&bytes, &[1], switched), &at_once);
    }
}

/// A stream that yields its pieces one by one, then nothing for ever.
struct Pieces(VecDeque<Vec<u8>>, bool);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(mut piece) => {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
                Poll::Ready(Ok(()))
            }
            None if self.1 => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

/// Reads until nothing comes; the end is `Ready` with nothing read.
fn read(
    strict: &mut Strict,
    io: &mut Pieces,
    turns: &Turns,
    room: usize,
) -> (Vec<u8>, Poll<io::Result<()>>) {
    let mut all = Vec::new();
    loop {
        let mut space = vec![0; room];
        let mut buf = ReadBuf::new(&mut space);
        let polled = strict.poll_read(io, turns, &mut Context::from_waker(Waker::noop()), &mut buf);
        if !matches!(polled, Poll::Ready(Ok(()))) || buf.filled().is_empty() {
            return (all, polled);
        }
        all.extend_from_slice(buf.filled());
    }
}

#[test]
fn a_faulty_head_ends_in_poison_and_then_the_stream_ends() {
    for room in [1, 2, 5, 8192] {
        let good = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let text = format!("{good}GET /2 HTTP/1.1\r\nHost: a\nX: y\r\n\r\nmore");
        let mut io = Pieces([text.into_bytes()].into(), false);
        let (read, end) = read(&mut Strict::new(), &mut io, &Turns::default(), room);
        let expected = format!("{good}GET /2 HTTP/1.1\r\nHost: a\0\r\n\r\n");
        assert_eq!(String::from_utf8(read).unwrap(), expected, "{room}");
        assert!(matches!(end, Poll::Ready(Ok(()))));
    }
}

#[test]
fn a_faulty_body_ends_in_an_error() {
    for room in [1, 8192] {
        let text = chunked("1\r\na\r\n1\r\nab");
        let mut io = Pieces([text.into_bytes()].into(), false);
        let (read, end) = read(&mut Strict::new(), &mut io, &Turns::default(), room);
        assert_eq!(
            String::from_utf8(read).unwrap(),
            chunked("1\r\na\r\n1\r\na")
        );
        assert!(matches!(end, Poll::Ready(Err(_))), "{end:?}");
    }
}

#[test]
fn what_follows_an_upgrade_waits_for_its_answer() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let smuggled = "GET /2 HTTP/1.1\r\nHost: a\n\r\n";
    for (switched, expected) in [
        (true, smuggled),
        (false, "GET /2 HTTP/1.1\r\nHost: a\0\r\n\r\n"),
    ] {
        for pieces in [
            vec![format!("{upgrade}{smuggled}")],
            vec![upgrade.into(), smuggled.into()],
        ] {
            let (turns, mut strict) = (Turns::default(), Strict::new());
            let mut io = Pieces(pieces.into_iter().map(String::into_bytes).collect(), false);
            let (before, end) = read(&mut strict, &mut io, &turns, 10);
            assert_eq!(String::from_utf8(before).unwrap(), upgrade);
            assert!(end.is_pending());
            turns.answered(switched);
            let (behind, _) = read(&mut strict, &mut io, &turns, 10);
            assert_eq!(String::from_utf8(behind).unwrap(), expected);
        }
    }
}

#[test]
fn the_answer_to_an_earlier_request_is_not_the_upgrades() {
    let upgrade =
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let (turns, mut strict) = (Turns::default(), Strict::new());
    let mut io = Pieces([format!("{upgrade}\0\0").into_bytes()].into(), false);
    assert!(read(&mut strict, &mut io, &turns, 99).1.is_pending());
    turns.answered(false);
    assert!(read(&mut strict, &mut io, &turns, 99).1.is_pending());
    turns.answered(true);
    assert_eq!(read(&mut strict, &mut io, &turns, 99).0, b"\0\0");
}

#[test]
fn a_client_that_leaves_before_its_upgrade_is_answered_is_noticed() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let mut io = Pieces([upgrade.as_bytes().to_vec()].into(), true);
    let (_, end) = read(&mut Strict::new(), &mut io, &Turns::default(), 99);
    assert!(matches!(end, Poll::Ready(Ok(()))));
}
