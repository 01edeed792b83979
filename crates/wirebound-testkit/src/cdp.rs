//! A client for the few commands and events of the DevTools protocol that the tests use.
//!
//! JSON over a WebSocket with numbered answers: about two hundred lines. The crates that carry the
//! whole protocol generate hundreds of types, start the browser their own way, and fail on an event
//! that their protocol version does not know; a test of networking needs neither.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

/// Bound of one command.
const BOUND: Duration = Duration::from_secs(30);

/// An answer that a tab received.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of which request, in the browser's own numbering; redirects share one.
    pub request: String,
    /// The request's address.
    pub url: String,
    /// HTTP status; 0 where a WebSocket's handshake failed without one.
    pub status: u16,
    /// `h2`, `http/1.1`, or empty for a WebSocket.
    pub protocol: String,
    /// Every header field as it came over the network, `Set-Cookie` included.
    pub headers: Vec<(String, String)>,
    /// `Document`, `Fetch`, `WebSocket` and so on.
    pub kind: String,
    /// Whether the browser found nothing to say against the TLS that it came over.
    pub secure: bool,
}

/// What was seen on one attached target.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: Vec<Answer>,
    pub(crate) raw: HashMap<String, Vec<Vec<(String, String)>>>,
    pub(crate) documents: HashMap<String, u16>,
    pub(crate) begun: Vec<String>,
    pub(crate) loaded: Vec<String>,
    pub(crate) failures: Vec<(String, String)>,
    pub(crate) main_frame: String,
}

impl Seen {
    /// The answers, each with the header fields of the network where the browser told them.
    pub(crate) fn told(&self) -> Vec<Answer> {
        let mut turn: HashMap<&str, usize> = HashMap::new();
        let with_raw = |answer: &Answer| {
            let mut answer = answer.clone();
            if let Some(all) = self.raw.get(&answer.request)
                && let Some((key, _)) = self.raw.get_key_value(&answer.request)
            {
                let at = turn.entry(key.as_str()).or_default();
                if let Some(headers) = all.get(*at) {
                    answer.headers.clone_from(headers);
                }
                *at += 1;
            }
            answer
        };
        self.answers.iter().map(with_raw).collect()
    }

    fn note(&mut self, method: &str, event: &Value) {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let request = text(&event["requestId"]);
        match method {
            "Network.responseReceived" => {
                let answer = answer(request, &event["response"], text(&event["type"]));
                if answer.kind == "Document" {
                    self.documents
                        .insert(text(&event["loaderId"]), answer.status);
                }
                self.answers.push(answer);
            }
            "Network.requestWillBeSent" if event["redirectResponse"].is_object() => {
                let kind = text(&event["type"]);
                self.answers
                    .push(answer(request, &event["redirectResponse"], kind));
            }
            "Network.responseReceivedExtraInfo" => {
                self.raw
                    .entry(request)
                    .or_default()
                    .push(fields(&event["headers"]));
            }
            "Network.webSocketHandshakeResponseReceived" => {
                self.answers
                    .push(answer(request, &event["response"], "WebSocket".to_owned()));
            }
            "Network.loadingFailed" => self.failures.push((request, text(&event["errorText"]))),
            "Page.lifecycleEvent" if event["frameId"].as_str() == Some(&self.main_frame) => {
                match event["name"].as_str() {
                    Some("init") => self.begun.push(text(&event["loaderId"])),
                    Some("load") => self.loaded.push(text(&event["loaderId"])),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn answer(request: String, response: &Value, kind: String) -> Answer {
    Answer {
        request,
        url: response["url"].as_str().unwrap_or_default().to_owned(),
        status: response["status"]
            .as_u64()
            .and_then(|s| u16::try_from(s).ok())
            .unwrap_or(0),
        protocol: response["protocol"].as_str().unwrap_or_default().to_owned(),
        headers: fields(&response["headers"]),
        kind,
        secure: response["securityState"] == "secure",
    }
}

/// Header fields; several of one name come as one text with line feeds.
fn fields(headers: &Value) -> Vec<(String, String)> {
    let Some(map) = headers.as_object() else {
        return Vec::new();
    };
    let lines = |(name, value): (&String, &Value)| {
        let name = name.to_ascii_lowercase();
        let text = value.as_str().unwrap_or_default();
        text.split('\n')
            .map(|line| (name.clone(), line.to_owned()))
            .collect::<Vec<_>>()
    };
    map.iter().flat_map(lines).collect()
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Result<Value, String>>>,
    seen: HashMap<String, Seen>,
    downloads: BTreeSet<String>,
    ended: bool,
}

/// The connection to a browser.
#[derive(Clone, Debug)]
pub(crate) struct Cdp {
    out: mpsc::UnboundedSender<String>,
    state: Arc<Mutex<State>>,
    number: Arc<AtomicU64>,
}

impl Cdp {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let (socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .context("DevTools socket")?;
        let (mut sink, mut stream) = socket.split();
        let (out, mut orders) = mpsc::unbounded_channel::<String>();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                if sink.send(Message::text(order)).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Text(text) = message
                    && let Ok(value) = serde_json::from_str(text.as_str())
                {
                    receive(&mut shared.lock().unwrap(), value);
                }
            }
            let mut state = shared.lock().unwrap();
            state.ended = true;
            state.waiting.clear();
        });
        Ok(Self {
            out,
            state,
            number: Arc::new(AtomicU64::new(1)),
        })
    }

    /// Sends a command to the browser (`target` none) or to an attached target.
    pub(crate) async fn call(
        &self,
        target: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.state.lock().unwrap();
            if state.ended {
                bail!("{method}: the browser has ended");
            }
            state.waiting.insert(id, tell);
        }
        let mut order = json!({ "id": id, "method": method, "params": params });
        if let Some(target) = target {
            order["sessionId"] = json!(target);
        }
        self.out
            .send(order.to_string())
            .map_err(|_| anyhow!("{method}: the browser has ended"))?;
        match tokio::time::timeout(BOUND, told).await {
            Err(_) => bail!("{method}: no answer within {BOUND:?}"),
            Ok(Err(_)) => bail!("{method}: the browser ended meanwhile"),
            Ok(Ok(Err(error))) => bail!("{method}: {error}"),
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    /// Reads or changes what was seen on a target.
    pub(crate) fn seen<T>(&self, target: &str, read: impl FnOnce(&mut Seen) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        read(state.seen.entry(target.to_owned()).or_default())
    }

    pub(crate) fn forget(&self, target: &str) {
        self.state.lock().unwrap().seen.remove(target);
    }

    /// How many downloads have been completed.
    pub(crate) fn downloads(&self) -> usize {
        self.state.lock().unwrap().downloads.len()
    }
}

fn receive(state: &mut State, mut message: Value) {
    if let Some(id) = message["id"].as_u64() {
        let result = match message["error"]["message"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(message["result"].take()),
        };
        if let Some(tell) = state.waiting.remove(&id) {
            // A caller that stopped waiting does not want to know.
            let _unheard = tell.send(result);
        }
        return;
    }
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    if method == "Browser.downloadProgress" && message["params"]["state"] == "completed" {
        let id = message["params"]["guid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        state.downloads.insert(id);
    }
    if let Some(target) = message["sessionId"].as_str()
        && let Some(seen) = state.seen.get_mut(target)
    {
        seen.note(&method, &message["params"]);
    }
}
