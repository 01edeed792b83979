//! What a browser does with its connections: one scenario for each habit.

use std::time::Duration;

use anyhow::Result;

use super::client::Client;
use crate::line::{Ending, Line};
use crate::wait;

/// How long the server is away for a browser that sits idle.
const IDLE: Duration = Duration::from_secs(1);

/// Bound for a step that the page shows by its address.
const BOUND: Duration = Duration::from_secs(10);

/// Something that people and pages do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// One page after the sign-in.
    First,
    /// Three pages in turn.
    Nav,
    /// Five tabs at once, with six pictures each.
    Tabs5,
    /// A page of thirty pictures.
    Sub30,
    /// Frames of the same host and of a sibling.
    Iframes,
    /// Fetches with and without credentials, a POST, another host, pictures with `crossorigin`.
    Fetch,
    /// Preconnect, prefetch, preload and what they leave behind.
    Hints,
    /// A service worker through which everything goes.
    ServiceWorker,
    /// A WebSocket.
    Socket,
    /// Six WebSockets at once.
    Socket6,
    /// An event stream.
    Events,
    /// A download.
    Download,
    /// A form that is posted.
    Form,
    /// Back and forward.
    BackForward,
    /// Twelve fetches at once.
    Burst,
    /// Six POSTs at once.
    PostBurst,
    /// An answer that is cut, and a page after it.
    Cut,
    /// A pause without connections, then eight fetches at once.
    Idle,
    /// A restart of the gateway (in turn by SIGTERM and by SIGKILL), a page, eight fetches at once.
    Restart,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::First,
        Self::Nav,
        Self::Tabs5,
        Self::Sub30,
        Self::Iframes,
        Self::Fetch,
        Self::Hints,
        Self::ServiceWorker,
        Self::Socket,
        Self::Socket6,
        Self::Events,
        Self::Download,
        Self::Form,
        Self::BackForward,
        Self::Burst,
        Self::PostBurst,
        Self::Cut,
        Self::Idle,
        Self::Restart,
    ];

    /// Those that find most for their time.
    pub const SHORT: [Self; 7] = [
        Self::First,
        Self::Sub30,
        Self::Fetch,
        Self::Socket,
        Self::Form,
        Self::PostBurst,
        Self::Restart,
    ];

    /// Its name in reports and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Nav => "nav",
            Self::Tabs5 => "tabs5",
            Self::Sub30 => "sub30",
            Self::Iframes => "iframes",
            Self::Fetch => "fetch",
            Self::Hints => "hints",
            Self::ServiceWorker => "sw",
            Self::Socket => "ws",
            Self::Socket6 => "ws6",
            Self::Events => "sse",
            Self::Download => "download",
            Self::Form => "form",
            Self::BackForward => "back",
            Self::Burst => "burst",
            Self::PostBurst => "posts",
            Self::Cut => "cut",
            Self::Idle => "idle",
            Self::Restart => "restart",
        }
    }

    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub(super) async fn act(self, client: &mut Client, line: &Line) -> Result<()> {
        match self {
            Self::First => client.go("/m/page?after=1").await,
            Self::Nav => {
                for number in 0..3 {
                    client.go(&format!("/m/page?n={number}")).await;
                }
            }
            Self::Tabs5 => {
                let paths: Vec<String> = (0..5).map(|t| format!("/m/sub6?t={t}")).collect();
                client.tabs(&paths).await?;
            }
            Self::Sub30 => client.go("/m/sub30").await,
            Self::Iframes => client.go("/m/iframes").await,
            Self::Fetch => page(client, "/m/fetch").await,
            Self::Hints => {
                client.go("/m/hints").await;
                wait::moment(Duration::from_millis(200)).await;
                client.go("/m/page?after=hints").await;
            }
            Self::ServiceWorker => {
                page(client, "/m/sw").await;
                client.go("/m/page?through=worker").await;
            }
            Self::Socket => page(client, "/m/ws").await,
            Self::Socket6 => page(client, "/m/ws6").await,
            Self::Events => page(client, "/m/sse").await,
            Self::Download => client.download("/m/download").await?,
            Self::Form => {
                client.go("/m/form").await;
                client.leave("document.forms[0].submit()").await;
                client
                    .wait_for("location.search.startsWith('?posted=')", BOUND)
                    .await;
            }
            Self::BackForward => {
                client.go("/m/page?b=1").await;
                client.go("/m/page?b=2").await;
                for (step, at) in [("back", "?b=1"), ("forward", "?b=2")] {
                    client.leave(&format!("history.{step}()")).await;
                    client
                        .wait_for(&format!("location.search === '{at}'"), BOUND)
                        .await;
                }
            }
            Self::Burst => client.run("burst(12)").await,
            Self::PostBurst => client.run("posts(6)").await,
            Self::Cut => {
                let cut = "fetch('/m/cut').then(r => r.text()).then(() => true, () => false)";
                let whole = client.evaluate(cut).await?;
                anyhow::ensure!(whole == false, "the app's cut answer came whole");
                client.go("/m/page?after=cut").await;
            }
            Self::Idle => {
                line.end_all(Ending::Fin);
                wait::moment(IDLE).await;
                client.run("burst(8)").await;
            }
            Self::Restart => {
                client.go("/m/page?after=restart").await;
                client.run("burst(8)").await;
            }
        }
        Ok(())
    }
}

async fn page(client: &mut Client, path: &str) {
    client.go(path).await;
    client.done().await;
}
