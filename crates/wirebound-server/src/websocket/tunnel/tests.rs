//! The splice, over streams in memory.

use tokio::io::{DuplexStream, duplex};

use wirebound::Ending;

use super::*;
use crate::proxy::Cutter;

struct Rig {
    client: DuplexStream,
    upstream: DuplexStream,
    cutter: Cutter,
    ended: tokio::task::JoinHandle<Ended>,
}

fn rig(patience: Patience) -> Rig {
    let (client, gateway_client) = duplex(256 * 1024);
    let (upstream, gateway_upstream) = duplex(256 * 1024);
    let cutter = Cutter::new();
    let ended = tokio::spawn(splice(
        gateway_client,
        gateway_upstream,
        cutter.cut(),
        patience,
        &|| {},
    ));
    Rig {
        client,
        upstream,
        cutter,
        ended,
    }
}

async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_gets_its_close_code_between_frames() {
    let mut rig = rig(Patience::default());
    rig.upstream.write_all(&[0x82, 3, 1, 2, 3]).await.unwrap();
    let mut first = [0; 5];
    rig.client.read_exact(&mut first).await.unwrap();
    rig.cutter.fire(CloseCode::RoleChanged);
    let got = rest(&mut rig.client).await;
    assert_eq!(got, close(4002, &CloseCode::RoleChanged.reason()));
    drop(rig.client);
    assert_eq!(rig.ended.await.unwrap(), Ended::Cut(CloseCode::RoleChanged));
    assert_eq!(rest(&mut rig.upstream).await, b"");
}

#[tokio::test(start_paused = true)]
async fn a_frame_half_through_is_finished_and_nothing_after_it_passes() {
    let mut rig = rig(Patience::default());
    rig.upstream.write_all(&[0x82, 4, 1, 2]).await.unwrap();
    let mut first = [0; 4];
    rig.client.read_exact(&mut first).await.unwrap();
    rig.cutter.fire(CloseCode::Ended(Ending::Evicted));
    rig.upstream.write_all(&[3, 4, 0x82, 1, 9]).await.unwrap();
    let got = rest(&mut rig.client).await;
    assert_eq!(
        got,
        [
            &[3, 4][..],
            &close(4001, &CloseCode::Ended(Ending::Evicted).reason())
        ]
        .concat()
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_never_ends_is_cut_without_a_code() {
    let mut rig = rig(Patience::default());
    rig.upstream.write_all(&[0x82, 4, 1]).await.unwrap();
    let mut first = [0; 3];
    rig.client.read_exact(&mut first).await.unwrap();
    rig.cutter.fire(CloseCode::Ended(Ending::Evicted));
    assert_eq!(rest(&mut rig.client).await, b"");
    assert_eq!(
        rig.ended.await.unwrap(),
        Ended::Cut(CloseCode::Ended(Ending::Evicted))
    );
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_floods_gets_nothing_past_the_close_frame() {
    let rig = rig(Patience::default());
    let (mut from_upstream, mut flood) = split(rig.upstream);
    let flooding = tokio::spawn(async move {
        let frames = [0x82, 2, 7, 7].repeat(1000);
        while flood.write_all(&frames).await.is_ok() {}
    });
    let (mut reads, _writes) = split(rig.client);
    let mut got = vec![0; 40_000];
    reads.read_exact(&mut got).await.unwrap();
    rig.cutter.fire(CloseCode::Ended(Ending::Theft));
    reads.read_to_end(&mut got).await.unwrap();
    let code = CloseCode::Ended(Ending::Theft);
    let goodbye = close(4001, &code.reason());
    let before = got
        .strip_suffix(&goodbye[..])
        .expect("the last word is ours");
    assert_eq!(before.len() % 4, 0, "between two frames");
    assert!(before.chunks(4).all(|frame| frame == [0x82, 2, 7, 7]));
    assert_eq!(rig.ended.await.unwrap(), Ended::Cut(code));
    flooding.await.unwrap();
    let _nothing = from_upstream.read(&mut [0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_stuck_and_not_waited_for() {
    let mut rig = rig(Patience::default());
    // More than fits between the two, in whole frames.
    let frames = [0x82, 2, 7, 7].repeat(100_000);
    let flooding = tokio::spawn(async move {
        let _full = rig.upstream.write_all(&frames).await;
        rig.upstream
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let fired = tokio::time::Instant::now();
    rig.cutter.fire(CloseCode::RoleChanged);
    let ended = rig.ended.await.unwrap();
    assert_eq!(ended, Ended::Stuck(CloseCode::RoleChanged));
    assert!(
        fired.elapsed() <= Duration::from_secs(1),
        "{:?}",
        fired.elapsed()
    );
    flooding.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_client_says_is_heard_and_what_its_browser_says_is_not() {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    let (mut client, gateway_client) = duplex(1024);
    let (mut upstream, gateway_upstream) = duplex(1024);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    tokio::spawn(async move {
        let spoke = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        let cutter = Cutter::new();
        splice(
            gateway_client,
            gateway_upstream,
            cutter.cut(),
            Patience::default(),
            &spoke,
        )
        .await
    });
    for (opcode, expected) in [(0x8a, 0), (0x81, 1), (0x89, 1), (0x82, 2)] {
        client.write_all(&[opcode, 0x80, 0, 0, 0, 0]).await.unwrap();
        let mut frame = [0; 6];
        upstream.read_exact(&mut frame).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(heard.load(Ordering::SeqCst), expected, "{opcode:x}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_upstreams_own_close_there_is_no_second_one() {
    let mut rig = rig(Patience::default());
    let own = close(1000, "bye");
    rig.upstream.write_all(&own).await.unwrap();
    drop(rig.upstream);
    assert_eq!(rest(&mut rig.client).await, own);
    drop(rig.client);
    assert_eq!(rig.ended.await.unwrap(), Ended::Upstream);
}

#[tokio::test(start_paused = true)]
async fn a_lost_upstream_is_told_to_the_client() {
    let mut rig = rig(Patience::default());
    drop(rig.upstream);
    assert_eq!(
        rest(&mut rig.client).await,
        close(1014, &CloseCode::UpstreamLost.reason())
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_socket_and_speech_keeps_it() {
    let mut rig = rig(Patience {
        idle: Duration::from_secs(60),
        ..Patience::default()
    });
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(50)).await;
        rig.client.write_all(b"x").await.unwrap();
        let mut byte = [0];
        rig.upstream.read_exact(&mut byte).await.unwrap();
    }
    assert!(!rig.ended.is_finished());
    assert_eq!(
        rest(&mut rig.client).await,
        close(1001, &CloseCode::Silent.reason())
    );
    assert_eq!(rig.ended.await.unwrap(), Ended::Idle);
}

#[tokio::test(start_paused = true)]
async fn two_sides_that_both_only_write_do_not_stop_each_other() {
    let rig = rig(Patience::default());
    let (mut client_reads, mut client_writes) = split(rig.client);
    let (mut upstream_reads, mut upstream_writes) = split(rig.upstream);
    let long = [
        &[0x82, 127, 0, 0, 0, 0, 0, 0x20, 0, 0][..],
        &vec![5; 0x20_0000],
    ]
    .concat();
    let (a, b) = (long.clone(), long.clone());
    let one = tokio::spawn(async move { client_writes.write_all(&a).await });
    let two = tokio::spawn(async move { upstream_writes.write_all(&b).await });
    let mut got = vec![0; long.len()];
    upstream_reads.read_exact(&mut got).await.unwrap();
    assert_eq!(got, long);
    client_reads.read_exact(&mut got).await.unwrap();
    assert_eq!(got, long);
    one.await.unwrap().unwrap();
    two.await.unwrap().unwrap();
}
