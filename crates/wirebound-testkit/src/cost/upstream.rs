//! The app behind every server: a sign-in and one small answer, as cheap as can be.
//!
//! `POST /login` gives a session as most frameworks do (an HttpOnly cookie and a redirect); everything else answers 44
//! bytes of JSON that say whether the request was a member's.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a member is answered.
pub const MEMBER: &[u8] = br#"{"who": "a member", "shown": "in the cookie"}"#;
/// What everybody else is answered.
pub const NOBODY: &[u8] = br#"{"who": "nobody .", "shown": "in the cookie"}"#;
/// The app's session cookie.
pub const COOKIE: &str = "sessionid";

/// The running app. Ends with the runtime that it was started on.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let members = Members::default();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let members = Arc::clone(&members);
                // A connection that breaks off is the peer's.
                tokio::spawn(async move { drop(serve(stream, &members).await) });
            }
        });
        Ok(Self { address })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

type Members = Arc<Mutex<HashSet<Vec<u8>>>>;

async fn serve(mut stream: TcpStream, members: &Members) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut had = Vec::with_capacity(4096);
    let mut answer = Vec::with_capacity(512);
    loop {
        let Some(end) = find(&had, b"\r\n\r\n") else {
            if stream.read_buf(&mut had).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let whole = end + 4 + length(&had[..end]);
        while had.len() < whole {
            if stream.read_buf(&mut had).await? == 0 {
                return Ok(());
            }
        }
        answer.clear();
        if had.starts_with(b"POST /login") {
            let name = format!("{:032x}", rand_id());
            members.lock().unwrap().insert(name.clone().into_bytes());
            answer.extend_from_slice(
                format!(
                    "HTTP/1.1 303 See Other\r\nlocation: /\r\nset-cookie: {COOKIE}={name}; HttpOnly; Path=/\r\n\
                     content-length: 0\r\n\r\n"
                )
                .as_bytes(),
            );
        } else {
            let body = if is_member(&had[..end], members) {
                MEMBER
            } else {
                NOBODY
            };
            answer.extend_from_slice(
                b"HTTP/1.1 200 OK\r\nserver: app\r\ncontent-type: application/json\r\ncontent-length: ",
            );
            answer.extend_from_slice(body.len().to_string().as_bytes());
            answer.extend_from_slice(b"\r\n\r\n");
            answer.extend_from_slice(body);
        }
        stream.write_all(&answer).await?;
        had.drain(..whole);
    }
}

/// A member's cookie, or a name that a trusted server in front has set.
fn is_member(head: &[u8], members: &Members) -> bool {
    field(head, b"cookie")
        .and_then(|field| {
            let at = find(field, b"sessionid=")? + b"sessionid=".len();
            field.get(at..at + 32)
        })
        .is_some_and(|value| members.lock().unwrap().contains(value))
        || field(head, b"x-user").is_some_and(|name| !name.is_empty())
}

/// How long the body is. In chunks only an empty one is read: nothing here sends another.
fn length(head: &[u8]) -> usize {
    if field(head, b"transfer-encoding").is_some() {
        return b"0\r\n\r\n".len();
    }
    field(head, b"content-length")
        .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
        .unwrap_or(0)
}

/// The value of a field in a head.
pub(super) fn field<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (is, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        is.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Where `needle` begins.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|part| part == needle)
}

/// Unguessable enough for a server that lives for minutes and listens on loopback.
fn rand_id() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || u128::from(RandomState::new().hash_one(0));
    (half() << 64) | half()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cookie_that_was_given_out_makes_a_member() {
        let members = Members::default();
        let name = "0123456789abcdef0123456789abcdef";
        members.lock().unwrap().insert(name.as_bytes().to_vec());
        let head = |line: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{line}");
        for (line, member) in [
            (format!("Cookie: a=1; sessionid={name}"), true),
            (
                format!("cookie: sessionid={}", name.replace('0', "1")),
                false,
            ),
            ("cookie: a=1".to_owned(), false),
            ("x-user: alice".to_owned(), true),
            ("x-user:".to_owned(), false),
        ] {
            assert_eq!(
                is_member(head(&line).as_bytes(), &members),
                member,
                "{line}"
            );
        }
        assert_eq!(length(head("Content-Length: 7").as_bytes()), 7);
    }
}
