//! HTTP/2 frame by frame, written by hand: what no client library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Http};
use crate::process::{Gateway, within};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// One frame as it goes over the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header list, uncompressed: literals without indexing, with new names (RFC 7541 6.2.2).
pub(crate) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in list {
        bytes.push(0);
        for text in [name, value] {
            let length = text.len();
            if length < 127 {
                bytes.push(u8::try_from(length).unwrap());
            } else {
                let mut rest = length - 127;
                bytes.push(127);
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered(u16),
    Reset,
    GoneAway,
    Closed,
}

/// One connection, its preface and settings sent.
pub(crate) struct Frames(pub(crate) TlsStream<TcpStream>);

impl Frames {
    pub(crate) async fn open(gateway: &Gateway) -> Self {
        let mut stream = Client::new(gateway, Http::Two).bare().await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        Self(stream)
    }

    /// Writes as much as is taken; `false` if the gateway has closed, or takes no more.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        let bound = Duration::from_secs(5);
        matches!(tokio::time::timeout(bound, written).await, Ok(Ok(())))
    }

    /// The next frame: kind, flags, stream, payload.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], stream, payload))
    }

    /// Reads until it is known what became of a stream.
    pub(crate) async fn fate(&mut self, of: u32) -> Fate {
        let read = async {
            loop {
                let Some((kind, flags, stream, payload)) = self.next().await else {
                    return Fate::Closed;
                };
                match kind {
                    HEADERS if stream == of => return Fate::Answered(status(&payload)),
                    RST_STREAM if stream == of => return Fate::Reset,
                    GOAWAY => return Fate::GoneAway,
                    SETTINGS if flags & ACK == 0 => {
                        self.write(&frame(SETTINGS, ACK, 0, &[])).await;
                    }
                    _ => {}
                }
            }
        };
        within("the fate of a stream", read).await
    }
}

/// The status at the beginning of a header block: indexed, or a literal with the name's index 8 (RFC 7541, appendix A).
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [_, 3, a, b, c, ..] => String::from_utf8_lossy(&[*a, *b, *c]).parse().unwrap_or(0),
        // Huffman-coded digits: two bytes hold them; the first tells the class.
        [_, 0x82, ..] => 1,
        _ => 0,
    }
}
