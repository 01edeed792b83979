//! The questions to Linux' `sock_diag`: how long has this TCP connection's peer been silent, and how far away is it?
//!
//! Request and answer are encoded by hand (`linux/inet_diag.h`, `linux/tcp.h`): the crates that offer
//! `TCP_INFO` need unsafe code or bindgen. An exact pair of addresses is looked up, never a dump, so it costs the
//! same with one connection as with a million, and needs no privilege.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What the kernel says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Since the last acknowledgement or data of the peer.
    pub(super) silence: Duration,
    /// The smoothed time of a round trip and four times its variance, as RFC 6298 section 2 waits for an answer.
    pub(super) trip: Option<Duration>,
}

#[cfg(not(target_os = "linux"))]
pub(super) fn look(_local: SocketAddr, _peer: SocketAddr) -> io::Result<Option<Heard>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks the kernel; nothing if it knows no such connection any more.
#[cfg(target_os = "linux")]
pub(super) fn look(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Heard>> {
    use socket2::{Domain, Protocol, Socket, Type};
    use std::io::Read as _;

    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;

    let socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    // The kernel answers within the send; if it has not, there is no answer to wait for.
    socket.set_nonblocking(true)?;
    socket.send(&request(local, peer))?;
    let mut answer = [0; 4096];
    let length = (&socket).read(&mut answer)?;
    read(answer.get(..length).unwrap_or_default())
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
const ENOENT: i32 = 2;
const NLMSG_HEADER: usize = 16;
const DIAG_REQUEST: usize = 56;
const DIAG_ANSWER: usize = 72;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
const RTT: usize = 68;
const RTT_VARIANCE: usize = 72;
/// TCP_ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: states with a peer.
const WITH_PEER: [u8; 6] = [1, 4, 5, 8, 9, 11];

fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    // A dual-stack socket shows IPv4 peers as mapped; the kernel finds it under its IPv4 addresses.
    let (local_ip, peer_ip) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let family: u8 = if local_ip.is_ipv4() { 2 } else { 10 };
    let length = u32::try_from(NLMSG_HEADER + DIAG_REQUEST).unwrap_or_default();
    let mut out = Vec::with_capacity(NLMSG_HEADER + DIAG_REQUEST);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    out.extend_from_slice(&u32::MAX.to_ne_bytes());
    out.extend_from_slice(&local.port().to_be_bytes());
    out.extend_from_slice(&peer.port().to_be_bytes());
    for ip in [local_ip, peer_ip] {
        match ip {
            std::net::IpAddr::V4(v4) => {
                out.extend_from_slice(&v4.octets());
                out.extend_from_slice(&[0; 12]);
            }
            std::net::IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    // Any interface but for link-local addresses, which are found by theirs.
    let scope = match local {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    out.extend_from_slice(&scope.to_ne_bytes());
    out.extend_from_slice(&[0xff; 8]);
    out
}

fn read(answer: &[u8]) -> io::Result<Option<Heard>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    match u16_at(answer, 4).ok_or_else(malformed)? {
        NLMSG_ERROR => {
            let code = u32_at(answer, NLMSG_HEADER).ok_or_else(malformed)?;
            let errno = code.cast_signed().checked_neg().ok_or_else(malformed)?;
            if errno == ENOENT {
                return Ok(None);
            }
            return Err(io::Error::from_raw_os_error(errno));
        }
        SOCK_DIAG_BY_FAMILY => {}
        _ => return Err(malformed()),
    }
    let state = answer.get(NLMSG_HEADER + 1).ok_or_else(malformed)?;
    if !WITH_PEER.contains(state) {
        return Ok(None);
    }
    let mut rest = answer
        .get(NLMSG_HEADER + DIAG_ANSWER..)
        .ok_or_else(malformed)?;
    loop {
        let length = usize::from(u16_at(rest, 0).ok_or_else(malformed)?);
        let kind = u16_at(rest, 2).ok_or_else(malformed)?;
        if kind == INET_DIAG_INFO {
            let info = rest.get(4..length).ok_or_else(malformed)?;
            let data = u32_at(info, LAST_DATA_RECV).ok_or_else(malformed)?;
            let ack = u32_at(info, LAST_ACK_RECV).ok_or_else(malformed)?;
            let silence = Duration::from_millis(u64::from(data.min(ack)));
            let micros = |at| u32_at(info, at).map(|micros| Duration::from_micros(micros.into()));
            let trip = micros(RTT)
                .zip(micros(RTT_VARIANCE))
                .map(|(smoothed, variance)| smoothed.saturating_add(variance.saturating_mul(4)));
            return Ok(Some(Heard { silence, trip }));
        }
        let step = length.next_multiple_of(4).max(4);
        rest = rest.get(step..).ok_or_else(malformed)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_knows_a_live_connection_and_forgets_a_closed_one() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(bind).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let local = server.local_addr().unwrap();
            let heard = look(local, peer).unwrap().unwrap();
            assert!(heard.silence < Duration::from_secs(5), "{heard:?}");
            let trip = heard.trip.unwrap();
            assert!(
                trip > Duration::ZERO && trip < Duration::from_secs(5),
                "{heard:?}"
            );
            // A reset leaves nothing behind on either side.
            socket2::SockRef::from(&client)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(client);
            drop(server);
            assert_eq!(look(local, peer).unwrap(), None);
        }
    }

    #[test]
    fn a_cut_answer_is_an_error_and_never_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut whole = vec![0; NLMSG_HEADER + DIAG_ANSWER];
        whole[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        whole[NLMSG_HEADER + 1] = 1;
        whole.extend_from_slice(&64_u16.to_ne_bytes());
        whole.extend_from_slice(&INET_DIAG_INFO.to_ne_bytes());
        whole.extend_from_slice(&[0; 60]);
        assert!(read(&whole).unwrap().is_some());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }
}
