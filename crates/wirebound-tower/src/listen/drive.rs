//! The life of one connection after its handshake: HTTP until it ends or is told to, then a close that
//! does not destroy the last response.
//!
//! The version is ALPN's, not guessed from the first bytes: a connection that sends nothing never waits
//! unseen in a guess. hyper's own head timeout would also run between requests, so ours is used instead.

use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};
use tower_service::Service;

use super::Limits;
use super::connection::{Connection, Order};
use super::counted::Counted;
use super::wire::Wire;
use crate::tls::Protocol;

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// An HTTP connection of either version.
pub(super) trait Http: Future<Output = hyper::Result<()>> + Send {
    fn close(self: Pin<&mut Self>);
}

impl<S, B> Http for http1::UpgradeableConnection<TokioIo<Wire>, S>
where
    Self: Future<Output = hyper::Result<()>> + Send,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> Http for http2::Connection<TokioIo<Wire>, S, TokioExecutor>
where
    Self: Future<Output = hyper::Result<()>> + Send,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Puts HTTP on a wire.
pub(super) fn http<S, B>(wire: Wire, service: Counted<S>, limits: &Limits) -> Pin<Box<dyn Http>>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let io = TokioIo::new(wire);
    match service.connection.protocol {
        Protocol::Http1 => Box::pin(
            http1_settings(limits)
                .serve_connection(io, service)
                .with_upgrades(),
        ),
        Protocol::Http2 => Box::pin(http2_settings(limits).serve_connection(io, service)),
    }
}

fn http1_settings(limits: &Limits) -> http1::Builder {
    // hyper panics below this much.
    const LEAST_BUFFER: usize = 8192;
    let bytes = usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_header_size(bytes)
        .max_buf_size(bytes.max(LEAST_BUFFER));
    http
}

fn http2_settings(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_pending_accept_reset_streams(limits.max_pending_resets)
        .max_local_error_reset_streams(limits.max_error_resets)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    http
}

/// How often a connection that is to be cut is asked whether its last request was answered.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How serving came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// HTTP is done, or has handed the wire to an upgrade.
    Done,
    /// A bound was overrun.
    Cut,
    /// Told to reset.
    Reset,
}

/// Serves until the end, then closes the socket.
pub(super) async fn drive(
    http: Pin<Box<dyn Http>>,
    mut gone: oneshot::Receiver<()>,
    connection: &Connection,
    tcp: Arc<TcpStream>,
    limits: &Limits,
) {
    let mut end = serve(http, connection, limits).await;
    if end == End::Done {
        end = upgraded(&mut gone, connection, limits).await;
    }
    connection.orders().closing.send_replace(true);
    connection.orders().ended.send_replace(true);
    match end {
        End::Done => linger(&tcp, connection, limits).await,
        End::Cut => drop(SockRef::from(&*tcp).shutdown(Shutdown::Both)),
        End::Reset => {
            let socket = SockRef::from(&*tcp);
            drop(socket.set_linger(Some(Duration::ZERO)));
            // The reset is sent when the last handle is dropped. An upgrade may hold one for long.
            if gone.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                drop(socket.shutdown(Shutdown::Both));
            }
        }
    }
}

/// Runs HTTP under orders and timeouts. Dropping `http` at the end drops the service.
async fn serve(mut http: Pin<Box<dyn Http>>, connection: &Connection, limits: &Limits) -> End {
    let mut known = Order::Serve;
    let mut cut_at = None;
    let mut patience_until = None;
    let mut armed = next_deadline(connection, limits, known, cut_at);
    let mut timer = core::pin::pin!(sleep_until(armed));
    loop {
        let step = tokio::select! {
            biased;
            order = connection.orders().above(known) => Step::Ordered(order),
            step = core::future::poll_fn(|cx| {
                // An error is the peer's, and said to nobody: what was in flight has seen it itself.
                if http.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Step::Finished);
                }
                // Polling may have brought the deadline forward: a head has begun to arrive. With a request in flight the
                // deadline only moves away, and the time need not be asked for.
                if connection.pulse().is_quiet()
                    && next_deadline(connection, limits, known, cut_at) < armed
                {
                    return Poll::Ready(Step::Rearm);
                }
                Poll::Pending
            }) => step,
            () = timer.as_mut() => Step::TimedOut,
        };
        match step {
            Step::Finished => return End::Done,
            Step::Rearm => {}
            Step::Ordered(Order::Reset) => return End::Reset,
            Step::Ordered(order) => {
                close_once(http.as_mut(), connection, known);
                known = order;
                if order >= Order::HangUp {
                    cut_at = Instant::now().checked_add(limits.hang_up_wait);
                    patience_until = cut_at.and_then(|at| at.checked_add(limits.answer_wait));
                }
            }
            Step::TimedOut => match overrun(connection, limits, known, cut_at) {
                Overrun::Nothing => {}
                Overrun::Idle => {
                    close_once(http.as_mut(), connection, known);
                    connection.orders().raise(Order::CloseAfterResponse);
                    known = Order::CloseAfterResponse;
                    cut_at = Instant::now().checked_add(limits.hang_up_wait);
                }
                // Cut now, a browser would send it again, a POST as well.
                Overrun::Cut
                    if connection.pulse().owes_an_answer()
                        && patience_until.is_some_and(|until| Instant::now() < until) =>
                {
                    cut_at = Instant::now().checked_add(LOOK_AGAIN);
                }
                Overrun::Cut => return End::Cut,
            },
        }
        armed = next_deadline(connection, limits, known, cut_at);
        timer.as_mut().reset(armed);
    }
}

enum Step {
    Finished,
    Rearm,
    Ordered(Order),
    TimedOut,
}

fn close_once(http: Pin<&mut dyn Http>, connection: &Connection, known: Order) {
    if known == Order::Serve {
        http.close();
        connection.orders().closing.send_replace(true);
    }
}

enum Overrun {
    Nothing,
    Idle,
    Cut,
}

fn overrun(
    connection: &Connection,
    limits: &Limits,
    known: Order,
    cut_at: Option<Instant>,
) -> Overrun {
    let now = Instant::now();
    let pulse = connection.pulse();
    let since = |then: Instant| now.saturating_duration_since(then);
    if cut_at.is_some_and(|at| now >= at) {
        return Overrun::Cut;
    }
    if !pulse.is_quiet() {
        return Overrun::Nothing;
    }
    if connection.protocol == Protocol::Http1
        && pulse
            .head_since()
            .is_some_and(|began| since(began) >= limits.header_timeout)
    {
        return Overrun::Cut;
    }
    if known > Order::Serve {
        // Everything is answered and the peer does not take the goodbye.
        if since(pulse.last_active()) >= limits.hang_up_wait {
            return Overrun::Cut;
        }
        return Overrun::Nothing;
    }
    if pulse.is_idle() && since(pulse.last_active()) >= limits.idle_timeout {
        return Overrun::Idle;
    }
    Overrun::Nothing
}

/// The next moment at which [`overrun`] may say something. While there is something in flight that is a
/// whole idle time away: whoever ends it does not wake us.
fn next_deadline(
    connection: &Connection,
    limits: &Limits,
    known: Order,
    cut_at: Option<Instant>,
) -> Instant {
    let now = Instant::now();
    let pulse = connection.pulse();
    let patience = if known > Order::Serve {
        limits.hang_up_wait
    } else {
        limits.idle_timeout
    };
    let from = if pulse.is_quiet() {
        pulse.last_active()
    } else {
        now
    };
    let head = pulse
        .head_since()
        .filter(|_| connection.protocol == Protocol::Http1 && pulse.is_quiet())
        .and_then(|began| began.checked_add(limits.header_timeout));
    let usual = from.checked_add(patience).filter(|at| *at > now);
    let later = now.checked_add(patience);
    [usual.or(later), head, cut_at]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now)
}

/// HTTP is done. If it handed the wire to an upgrade, waits until that has dropped it.
async fn upgraded(
    gone: &mut oneshot::Receiver<()>,
    connection: &Connection,
    limits: &Limits,
) -> End {
    let known = tokio::select! {
        biased;
        _ = &mut *gone => return End::Done,
        order = connection.orders().above(Order::CloseAfterResponse) => order,
    };
    if known == Order::Reset {
        return End::Reset;
    }
    let until = Instant::now().checked_add(limits.hang_up_wait);
    match until {
        Some(until) => tokio::select! {
            biased;
            _ = gone => End::Done,
            _ = connection.orders().above(Order::HangUp) => End::Reset,
            () = sleep_until(until) => End::Cut,
        },
        None => End::Cut,
    }
}

/// Reads away what the peer still sends, bounded in bytes and time.
///
/// Closing a socket with unread data sends a reset, and a reset makes the peer's kernel throw away what it had received and
/// its program had not yet read: the response (RFC 9112 section 9.6).
async fn linger(tcp: &TcpStream, connection: &Connection, limits: &Limits) {
    if SockRef::from(tcp).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let Some(until) = Instant::now().checked_add(limits.linger_time) else {
        return;
    };
    let reading = async {
        let mut left = limits.linger_bytes;
        let mut scrap = vec![0; 16 * 1024];
        while left > 0 && tcp.readable().await.is_ok() {
            match tcp.try_read(&mut scrap) {
                Ok(0) => return,
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let told = connection.orders().above(Order::HangUp);
    drop(
        timeout_at(until, async {
            tokio::select! {
                () = reading => {}
                _ = told => {}
            }
        })
        .await,
    );
}
