//! Bytes as they are, over TLS, and whatever comes back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Client, Http};
use crate::process::{Gateway, within};

/// What came back until the gateway closed.
#[derive(Clone, Debug)]
pub(crate) struct Said(pub(crate) String);

impl Said {
    /// The statuses, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let heads = self.0.split("HTTP/1.").skip(1);
        let status = |head: &str| head.get(2..5)?.parse().ok();
        heads.filter_map(status).collect()
    }
}

/// Sends bytes over a connection of its own and reads until the gateway closes it.
pub(crate) async fn say(gateway: &Gateway, bytes: &[u8]) -> Said {
    let mut stream = Client::new(gateway, Http::One).bare().await;
    // It may be closed while we write: what it said is still there to be read.
    drop(stream.write_all(bytes).await);
    drop(stream.flush().await);
    let mut all = Vec::new();
    let what = format!("the end of {:?}", String::from_utf8_lossy(bytes));
    drop(within(&what, stream.read_to_end(&mut all)).await);
    Said(String::from_utf8_lossy(&all).into_owned())
}

/// Does `work` for each item, some at a time, and gives the results in the order of the items.
pub(crate) async fn each<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    F: Future<Output = R>,
{
    use futures_util::StreamExt as _;
    futures_util::stream::iter(items.into_iter().map(work))
        .buffered(24)
        .collect()
        .await
}
