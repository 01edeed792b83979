//! Every bound of a listener, in one place, with what it costs at worst.

use std::time::Duration;

use crate::transport::KeepAlive;

/// Bounds of a listener. The defaults suit a public one.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written as `Limits { max_connections: n, ..Limits::default() }`"
)]
pub struct Limits {
    /// Connections that have completed their handshake. At the limit the longest idle one is closed for
    /// a newcomer, who has paid a whole handshake; if none is idle, the newcomer is refused. 10,000.
    pub max_connections: usize,
    /// Handshakes under way. At the limit the oldest gives way: an honest one takes a fraction of a
    /// second, so the oldest is the one that dawdles. 1,000; at worst some 20 kB each.
    pub max_handshakes: usize,
    /// Connections and handshakes of one address (IPv6: one /64). One more is refused. 1,000; behind a
    /// TCP balancer set it to `max_connections`.
    pub max_per_address: usize,
    /// From the accept to the end of the handshake. 10 s.
    pub handshake_timeout: Duration,
    /// Without a request in flight. 75 s.
    pub idle_timeout: Duration,
    /// HTTP/1.1: from the first byte of a request to the end of its head. 10 s.
    pub header_timeout: Duration,
    /// HTTP/1.1: header lines of one request; one more is answered with 431. 100.
    pub max_headers: usize,
    /// Bytes of one request's headers. HTTP/1.1 reads no further, HTTP/2 announces and enforces it. 64 KiB.
    pub max_header_bytes: u32,
    /// HTTP/2 streams of one connection at once. 128.
    pub max_streams: u32,
    /// HTTP/2 streams that the peer has reset and nobody has yet taken off the queue (CVE-2023-44487);
    /// one more ends the connection. 20.
    pub max_pending_resets: usize,
    /// HTTP/2 streams that we had to reset for the peer's errors; one more ends the connection. 100.
    pub max_error_resets: usize,
    /// HTTP/2: bytes of one request body that may wait unread. 256 KiB.
    pub stream_window: u32,
    /// HTTP/2: bytes of all request bodies of a connection that may wait unread. 1 MiB.
    pub connection_window: u32,
    /// HTTP/2: between PINGs. 30 s.
    pub ping_interval: Duration,
    /// HTTP/2: for the answer to one. 10 s.
    pub ping_timeout: Duration,
    /// TCP keep-alive and user timeout.
    pub keep_alive: KeepAlive,
    /// How long `hang_up` waits for a graceful end before it cuts. 5 s.
    pub hang_up_wait: Duration,
    /// How much longer `hang_up` waits while a request has no answer's head yet. 75 s, above the minute that a gateway gives
    /// an app.
    pub answer_wait: Duration,
    /// How long a closed connection goes on reading what the peer still sends, so that a reset does not
    /// destroy the last response. 5 s.
    pub linger_time: Duration,
    /// How many bytes of that are read. 1 MiB.
    pub linger_bytes: usize,
    /// How long a shutdown waits for requests in flight. 20 s.
    pub shutdown_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_handshakes: 1_000,
            max_per_address: 1_000,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            header_timeout: Duration::from_secs(10),
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            max_streams: 128,
            max_pending_resets: 20,
            max_error_resets: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            keep_alive: KeepAlive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(15),
                retries: 4,
                user_timeout: Duration::from_secs(30),
            },
            hang_up_wait: Duration::from_secs(5),
            answer_wait: Duration::from_secs(75),
            linger_time: Duration::from_secs(5),
            linger_bytes: 1024 * 1024,
            shutdown_wait: Duration::from_secs(20),
        }
    }
}
