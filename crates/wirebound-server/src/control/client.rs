//! The command's end of the socket: one connection for each order.
//!
//! The command asks the kernel who listens, as the gateway asks who calls: an order is told to nobody but the user whose
//! folder it is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{ORDERS, PATIENCE, SOCKET_FILE, too_long};
use crate::failure::Failure;
use crate::orders::{Order, Reply};

/// The largest reply: a part of a list.
const MOST_REPLY_BYTES: usize = 4 * 1024 * 1024;

/// How much longer than the gateway the command waits.
const MARGIN: Duration = Duration::from_secs(10);

/// Orders to the gateway that runs on a folder.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    owner: u32,
}

/// Why the gateway cannot be reached.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unreached {
    /// It has no socket, and cannot have one there.
    TooLong(usize),
    /// Somebody else's process listens: of this user.
    Foreign(u32),
    /// Nobody listens, or whoever does broke off.
    Failed(io::Error),
}

/// What of a problem document is said again here.
#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: Option<String>,
}

impl Client {
    /// To the gateway that runs on this folder, which belongs to this user. Nothing is sent yet.
    #[must_use]
    pub fn new(folder: &Path, owner: u32) -> Self {
        Self {
            path: folder.join(SOCKET_FILE),
            owner,
        }
    }

    /// Has an order carried out.
    ///
    /// # Errors
    ///
    /// The outer one when nobody was reached, so that nothing was ordered. The inner one is the gateway's refusal, or that
    /// its answer got lost.
    pub async fn carry_out(&self, order: &Order) -> Result<Result<Reply, Failure>, Unreached> {
        let stream = self.connect().await?;
        let answer = timeout(PATIENCE.saturating_add(MARGIN), converse(stream, order));
        Ok(match answer.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => Err(lost(&error.to_string())),
            Err(_) => Err(lost("no answer in time")),
        })
    }

    async fn connect(&self) -> Result<UnixStream, Unreached> {
        if let Some(bytes) = too_long(&self.path) {
            return Err(Unreached::TooLong(bytes));
        }
        let stream = UnixStream::connect(&self.path).await?;
        let listens = stream.peer_cred()?.uid();
        if listens == self.owner || listens == 0 {
            Ok(stream)
        } else {
            Err(Unreached::Foreign(listens))
        }
    }
}

async fn converse(
    stream: UnixStream,
    order: &Order,
) -> Result<Result<Reply, Failure>, Box<dyn core::error::Error + Send + Sync>> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(ORDERS)
        .header(HOST, "wirebound")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(order.to_bytes())))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_REPLY_BYTES);
        let bytes = Zeroizing::new(body.collect().await?.to_bytes().to_vec());
        Ok::<_, Box<dyn core::error::Error + Send + Sync>>((status, bytes))
    };
    let driven = async move {
        // What goes wrong with the connection is said by the answer that does not come.
        drop(connection.await);
        core::future::pending::<core::convert::Infallible>().await
    };
    let (status, bytes) = tokio::select! {
        answer = answered => answer,
        never = driven => match never {},
    }?;
    if status == StatusCode::OK {
        return Ok(Reply::read(&bytes).ok_or_else(|| {
            Failure::failed("what the gateway answered cannot be read")
                .with_hint("use the same wirebound, or restart the gateway with this one")
        }));
    }
    let problem: Problem = serde_json::from_slice(&bytes)?;
    let hint = problem
        .detail
        .unwrap_or_else(|| "the gateway's log may say more".to_owned());
    Ok(Err(Failure::failed(problem.title).with_hint(hint)))
}

fn lost(cause: &str) -> Failure {
    Failure::failed(format!(
        "the order was sent, and its answer is lost ({cause})"
    ))
    .with_hint("it may have been carried out: wirebound identities show, sessions ls or keys ls")
}

impl core::fmt::Display for Unreached {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(
                f,
                "the path of {SOCKET_FILE} would have {bytes} bytes, which is too long for a socket"
            ),
            Self::Foreign(user) => write!(f, "user {user} listens on {SOCKET_FILE}"),
            Self::Failed(error) => write!(f, "{SOCKET_FILE}: {error}"),
        }
    }
}

impl core::error::Error for Unreached {}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}
