//! The operator's way into a running gateway: a socket in the data folder that takes orders.
//!
//! It is a file of mode 0600 in a folder that belongs to the gateway's user, and whoever connects is asked by the kernel
//! who he is: only that user and root are heard. No listener of the network leads here. One order is one HTTP/1.1 `POST`
//! of JSON, bounded in bytes and time; an error is a problem document. An order that was taken is carried out to its end
//! although its sender hangs up.

use core::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wirebound_tower::refusal::problem;

use crate::orders::{NoOrder, Node, Order, Refused, carry_out};

pub mod client;

/// The socket, in the data folder.
pub const SOCKET_FILE: &str = "control.sock";

/// Where orders are posted.
pub(crate) const ORDERS: &str = "/orders";

/// The longest path of a socket that the system takes (`sun_path`, less the byte that ends it).
pub(crate) const MOST_PATH_BYTES: usize = 107;

/// The largest order.
const MOST_ORDER_BYTES: usize = 16 * 1024;

/// How many may be heard at once. Each holds 16 KiB of order and one reply at most.
const MOST_HEARD: u32 = 8;

/// How long a head, and then an order, may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(5);

/// How long the sender of an order waits for its reply. It is carried out all the same.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a whole connection may last: its arrival, its order, and a reply that is read slowly.
const WHOLE: Duration = Duration::from_secs(90);

/// How long a stop waits for the orders that are being carried out.
const LAST_ORDERS: Duration = Duration::from_secs(5);

/// How long nothing is accepted after a failure to: no descriptors are left, mostly.
const PAUSE: Duration = Duration::from_secs(1);

/// The socket of a running gateway. Its file goes with it.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// The user who is heard, beside root: whoever runs the gateway.
    ours: u32,
    heard: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

/// Why there is no socket. The gateway runs all the same; its operator has to stop it for each order.
#[derive(Debug)]
pub(crate) enum NoSocket {
    TooLong(usize),
    Occupied,
    Failed(io::Error),
}

/// What an order needs.
#[derive(Clone)]
struct Desk {
    node: Arc<Node>,
    working: Arc<Semaphore>,
    by: u32,
    /// Held until the order is carried out, also where nobody waits for it any more.
    heard: Arc<OwnedSemaphorePermit>,
}

impl Control {
    /// Listens in this folder, which the caller owns: what is left of another process there is of one that was killed.
    pub(crate) fn open(folder: &Path) -> Result<Self, NoSocket> {
        let path = folder.join(SOCKET_FILE);
        if let Some(bytes) = too_long(&path) {
            return Err(NoSocket::TooLong(bytes));
        }
        match fs::symlink_metadata(&path) {
            Ok(facts) if facts.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(NoSocket::Occupied),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(io::Error::from)?;
        let address = SocketAddrUnix::new(&path).map_err(io::Error::from)?;
        rustix::net::bind(&socket, &address).map_err(io::Error::from)?;
        // Nobody can connect before `listen`, so nobody ever finds it with another mode.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        rustix::net::listen(&socket, 64).map_err(io::Error::from)?;
        let listener = UnixListener::from_std(socket.into())?;
        let slots = || Arc::new(Semaphore::new(slots(MOST_HEARD)));
        Ok(Self {
            listener,
            path,
            ours: rustix::process::geteuid().as_raw(),
            heard: slots(),
            working: slots(),
        })
    }

    /// Takes orders until it is dropped.
    pub(crate) async fn serve(&self, node: &Arc<Node>) {
        loop {
            let Ok(heard) = Arc::clone(&self.heard).acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an operator's connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(by) = peer(&stream, self.ours) else {
                continue;
            };
            let desk = Desk {
                node: Arc::clone(node),
                working: Arc::clone(&self.working),
                by,
                heard: Arc::new(heard),
            };
            tokio::spawn(hear(stream, desk));
        }
    }

    /// Takes no more orders, and waits a moment for those that are being carried out.
    pub(crate) async fn close(self) {
        let working = Arc::clone(&self.working);
        drop(self);
        let done = timeout(LAST_ORDERS, working.acquire_many(MOST_HEARD)).await;
        if done.is_err() {
            tracing::warn!("the stop did not wait for an order that takes too long");
        }
        // Whoever is connected still may not begin another one.
        working.close();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The folder is still ours. What cannot be removed is replaced at the next start.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

/// How long a path is, if it is too long for a socket.
pub(crate) fn too_long(path: &Path) -> Option<usize> {
    let bytes = path.as_os_str().as_bytes().len();
    (bytes > MOST_PATH_BYTES).then_some(bytes)
}

/// Whether this user may order anything from a gateway of that user. The file's mode says the same; this holds also where
/// the file was opened to others since.
const fn is_heard(peer: u32, ours: u32) -> bool {
    peer == ours || peer == 0
}

/// Who is at the other end, if he is to be heard.
fn peer(stream: &UnixStream, ours: u32) -> Option<u32> {
    match stream.peer_cred() {
        Ok(peer) if is_heard(peer.uid(), ours) => Some(peer.uid()),
        Ok(peer) => {
            tracing::warn!(
                user = peer.uid(),
                "somebody else's user connected to control.sock and was not heard: look at the modes of the data folder"
            );
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the system does not say who connected to control.sock");
            None
        }
    }
}

async fn hear(stream: UnixStream, desk: Desk) {
    let service = service_fn(|request| {
        let desk = desk.clone();
        async move { Ok::<_, core::convert::Infallible>(answer(request, desk).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARRIVAL)
        .max_buf_size(MOST_ORDER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever sends nonsense or hangs up was answered as far as that goes.
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an operator's connection broke off"),
        Err(_) => tracing::debug!("an operator's connection took too long"),
    }
}

async fn answer(request: Request<Incoming>, desk: Desk) -> Response<Full<Bytes>> {
    let mut response = match taken(request).await {
        Ok(order) => carried_out(order, desk).await,
        Err(refused) => refused,
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.map(Full::new)
}

/// The order in a request, or what is answered instead.
async fn taken(request: Request<Incoming>) -> Result<Order, Response<Bytes>> {
    if request.uri().path() != ORDERS {
        return Err(problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing here",
            Some("orders are posted to /orders"),
        ));
    }
    if request.method() != Method::POST {
        let mut response = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "an order is posted",
            Some("orders are posted to /orders"),
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
        return Err(response);
    }
    if request
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        != Some(b"application/json")
    {
        return Err(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "malformed_order",
            "an order is application/json",
            None,
        ));
    }
    let too_large = || {
        problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "order_too_large",
            "an order has at most 16 KiB",
            None,
        )
    };
    let most = u64::try_from(MOST_ORDER_BYTES).unwrap_or(u64::MAX);
    if request.body().size_hint().lower() > most {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), MOST_ORDER_BYTES).collect();
    let bytes = match timeout(ARRIVAL, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(too_large());
        }
        Ok(Err(_)) => return Err(malformed()),
        Err(_) => {
            return Err(problem(
                StatusCode::REQUEST_TIMEOUT,
                "order_too_slow",
                "the order did not arrive in time",
                None,
            ));
        }
    };
    Order::read(&bytes).map_err(|no_order| match no_order {
        NoOrder::Malformed => malformed(),
        NoOrder::Version(_) => problem(
            StatusCode::BAD_REQUEST,
            "other_version",
            "the gateway that runs is of another version than this command",
            Some("use the same wirebound, or restart the gateway with this one"),
        ),
    })
}

fn malformed() -> Response<Bytes> {
    problem(
        StatusCode::BAD_REQUEST,
        "malformed_order",
        "the gateway that runs does not know this order",
        Some("use the same wirebound, or restart the gateway with this one"),
    )
}

async fn carried_out(order: Order, desk: Desk) -> Response<Bytes> {
    let work = tokio::spawn(work(order, desk));
    match timeout(PATIENCE, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "the order failed",
            Some("the gateway's log says why"),
        ),
        Err(_) => problem(
            StatusCode::GATEWAY_TIMEOUT,
            "not_done_yet",
            "the order is still being carried out",
            Some("look again in a moment: wirebound identities show, sessions ls or keys ls"),
        ),
    }
}

/// Runs beside the connection: half an order is never left behind because somebody pressed Ctrl-C.
async fn work(order: Order, desk: Desk) -> Response<Bytes> {
    let Desk {
        node,
        working,
        by,
        heard,
    } = desk;
    let _heard = heard;
    let Ok(_working) = working.acquire().await else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "going_away",
            "the gateway stops",
            Some("once it has stopped, the same command works on its folder"),
        );
    };
    let Some(now) = node.clock.now() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "clock_unavailable",
            "the clock cannot say",
            Some("wirebound doctor"),
        );
    };
    let ((verb, about), only_asks) = (order.label(), order.only_asks());
    match carry_out(&node, order, now).await {
        Ok(reply) => {
            if only_asks {
                tracing::debug!(verb, about, user = by, "an operator asked");
            } else {
                tracing::info!(
                    target: "wirebound::event",
                    event = "order",
                    verb = verb,
                    about = about,
                    by = by,
                );
            }
            let Ok(bytes) = reply.to_bytes() else {
                return problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "failed",
                    "the order was carried out, and its reply cannot be written",
                    None,
                );
            };
            let mut response = Response::new(Bytes::from_owner(bytes));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(refused) => {
            tracing::warn!(verb, about, user = by, error = %refused, "an operator's order was not carried out");
            let title = refused.to_string();
            problem(
                status(&refused),
                refused.code(),
                &title,
                Some(refused.hint()),
            )
        }
    }
}

const fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::NoSession(_) | Refused::NoKey(_) | Refused::NoSigningKey(_) => {
            StatusCode::NOT_FOUND
        }
        Refused::NotMade(_)
        | Refused::NotRotated(_)
        | Refused::NothingIssued
        | Refused::NoRing
        | Refused::NextIsPublished(_)
        | Refused::RingIsFull
        | Refused::Future
        | Refused::Over => StatusCode::CONFLICT,
        Refused::Keys(_) | Refused::Unsure(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn slots(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl NoSocket {
    /// What to do about it.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "name a folder with a shorter path: --data-dir DIR",
            Self::Occupied => "move away what has its name in the data folder",
            Self::Failed(_) => "wirebound doctor",
        }
    }
}

impl fmt::Display for NoSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(
                f,
                "the path of {SOCKET_FILE} would have {bytes} bytes, and a socket's has at most {MOST_PATH_BYTES}"
            ),
            Self::Occupied => write!(f, "{SOCKET_FILE} is there, and is no socket"),
            Self::Failed(error) => write!(f, "{SOCKET_FILE} cannot be made: {error}"),
        }
    }
}

impl From<io::Error> for NoSocket {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests;
