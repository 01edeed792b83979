//! The line against a plain echo server.

use super::*;

const BOUND: Duration = Duration::from_secs(5);

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ended = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn said(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.write_all(b"ping").await?;
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn end(stream: &mut TcpStream) -> std::io::Result<usize> {
    tokio::time::timeout(BOUND, stream.read(&mut [0; 4]))
        .await
        .unwrap()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_connections_are_counted() {
    let line = Line::lay(echo().await, Duration::ZERO).await.unwrap();
    for _ in 0..3 {
        let mut client = TcpStream::connect(line.address()).await.unwrap();
        assert_eq!(said(&mut client).await.unwrap(), b"ping");
    }
    assert_eq!(line.opened(), 3);
}

#[tokio::test]
async fn an_orderly_end_is_read_as_end_of_stream() {
    let line = Line::lay(echo().await, Duration::ZERO).await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    said(&mut client).await.unwrap();
    line.end_all(Ending::Fin);
    assert_eq!(end(&mut client).await.unwrap(), 0);
    line.empty(BOUND).await.unwrap();
}

#[tokio::test]
async fn a_reset_is_read_as_a_reset() {
    let line = Line::lay(echo().await, Duration::ZERO).await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    said(&mut client).await.unwrap();
    line.end_all(Ending::Rst);
    let error = end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    line.empty(BOUND).await.unwrap();
}

#[tokio::test]
async fn a_frozen_connection_stays_open_and_says_nothing() {
    let line = Line::lay(echo().await, Duration::ZERO).await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    said(&mut client).await.unwrap();
    line.freeze_all();
    let silent = tokio::time::timeout(Duration::from_millis(150), said(&mut client)).await;
    assert!(silent.is_err(), "{silent:?}");
    assert_eq!(line.live(), 1);
    let mut other = TcpStream::connect(line.address()).await.unwrap();
    assert_eq!(said(&mut other).await.unwrap(), b"ping");
}

#[tokio::test]
async fn the_delay_passes_before_the_first_byte_and_not_again() {
    let delay = Duration::from_millis(60);
    let line = Line::lay(echo().await, delay).await.unwrap();
    let start = std::time::Instant::now();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    said(&mut client).await.unwrap();
    assert!(start.elapsed() >= delay);
    line.set_delay(Duration::ZERO);
    assert_eq!(said(&mut client).await.unwrap(), b"ping");
}

#[tokio::test]
async fn the_source_port_seen_by_the_server_is_the_lines_own() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let line = Line::lay(listener.local_addr().unwrap(), Duration::ZERO)
        .await
        .unwrap();
    let client = TcpStream::connect(line.address()).await.unwrap();
    let (_kept, peer) = listener.accept().await.unwrap();
    wait::until("the port to be noted", BOUND, || async {
        Ok(line.owns(peer.port()).then_some(()))
    })
    .await
    .unwrap();
    assert!(!line.owns(client.local_addr().unwrap().port()));
}
