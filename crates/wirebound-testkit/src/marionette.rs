//! A client for Marionette, Firefox's own remote control: JSON with a length before it, over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Bound of one command.
const BOUND: Duration = Duration::from_secs(40);

/// Longest message that is believed.
const LONGEST: usize = 64 << 20;

/// The connection to a browser. One command at a time, as the protocol wants it.
#[derive(Debug)]
pub(crate) struct Marionette {
    stream: Mutex<(TcpStream, u64)>,
}

impl Marionette {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        // The browser greets first. While it is starting it may accept and hang up.
        read(&mut stream).await?;
        Ok(Self {
            stream: Mutex::new((stream, 0)),
        })
    }

    /// Sends a command and gives its result.
    pub(crate) async fn call(&self, command: &str, params: Value) -> Result<Value> {
        let mut guard = self.stream.lock().await;
        let (stream, number) = &mut *guard;
        *number += 1;
        let text = json!([0, number, command, params]).to_string();
        let exchange = async {
            stream
                .write_all(format!("{}:{text}", text.len()).as_bytes())
                .await?;
            loop {
                let mut answer = read(stream).await?;
                if answer[0] != 1 || answer[1] != *number {
                    continue;
                }
                if answer[2].is_object() {
                    let told = |key: &str| answer[2][key].as_str().unwrap_or_default().to_owned();
                    bail!("{command}: {}: {}", told("error"), told("message"));
                }
                return Ok(answer[3].take());
            }
        };
        tokio::time::timeout(BOUND, exchange)
            .await
            .with_context(|| format!("{command}: no answer within {BOUND:?}"))?
    }
}

async fn read(stream: &mut TcpStream) -> Result<Value> {
    let mut length = 0_usize;
    loop {
        match stream.read_u8().await? {
            b':' => break,
            digit if digit.is_ascii_digit() => length = length * 10 + usize::from(digit - b'0'),
            other => bail!("no Marionette: byte {other:#x} in a length"),
        }
        ensure!(length <= LONGEST, "a message of {length} bytes");
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}
