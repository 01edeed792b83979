//! A second parser behind the gateway: a real Node server that writes down every request it read to its end.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::process::until;

const PROGRAM: &str = r#"
const http = require('http');
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const server = http.createServer((req, res) => {
  let body = '';
  req.setEncoding('latin1');
  req.on('data', (chunk) => { body += chunk; });
  req.on('end', () => {
    if (!req.complete) return;
    say({ method: req.method, url: req.url, fields: req.rawHeaders, trailers: req.rawTrailers, body });
    res.end('read');
  });
});
server.on('clientError', (error, socket) => { say({ error: String(error.code) }); socket.destroy(); });
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
"#;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) url: String,
    /// Names and values in turn, as they were written.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) trailers: usize,
    pub(crate) body: String,
}

impl Seen {
    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter();
        fields
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

/// The server. Killed when dropped.
pub(crate) struct Recorder {
    pub(crate) url: String,
    said: Arc<Mutex<Vec<Value>>>,
    _child: Child,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let mut child = Command::new("node")
            .args(["-e", PROGRAM])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node cannot be started; run `cargo xtask setup`");
        let said: Arc<Mutex<Vec<Value>>> = Arc::default();
        let out = BufReader::new(child.stdout.take().unwrap());
        let heard = Arc::clone(&said);
        tokio::spawn(async move {
            let mut lines = out.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let value = serde_json::from_str(&line).unwrap();
                heard.lock().unwrap().push(value);
            }
        });
        until("node to listen", || !said.lock().unwrap().is_empty()).await;
        let port = said.lock().unwrap()[0]["port"].as_u64().unwrap();
        Self {
            url: format!("http://127.0.0.1:{port}"),
            said,
            _child: child,
        }
    }

    /// Every request that arrived whole until now.
    pub(crate) async fn seen(&self) -> Vec<Seen> {
        // What it says of this one comes after all else.
        let end = format!("/end-{}", self.said.lock().unwrap().len());
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = format!("GET {end} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(last.as_bytes()).await.unwrap();
        until("node to write down its last", || {
            let said = self.said.lock().unwrap();
            said.iter().any(|value| value["url"] == end.as_str())
        })
        .await;
        let mut seen = self.arrived();
        seen.retain(|seen| !seen.url.starts_with("/end-"));
        seen
    }

    fn arrived(&self) -> Vec<Seen> {
        let said = self.said.lock().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let read = |value: &Value| {
            let fields = value["fields"].as_array()?;
            Some(Seen {
                method: text(&value["method"]),
                url: text(&value["url"]),
                fields: fields
                    .chunks(2)
                    .map(|pair| (text(&pair[0]), text(&pair[1])))
                    .collect(),
                trailers: value["trailers"].as_array()?.len(),
                body: text(&value["body"]),
            })
        };
        said.iter().filter_map(read).collect()
    }

    /// What could not be read as a request: the gateway must never write such a thing. A request that breaks off is none of
    /// it: that is how one is cancelled.
    pub(crate) fn unread(&self) -> Vec<Value> {
        let said = self.said.lock().unwrap();
        let broken = said.iter().filter(|value| {
            let error = value["error"].as_str();
            error.is_some_and(|error| !["HPE_INVALID_EOF_STATE", "ECONNRESET"].contains(&error))
        });
        broken.cloned().collect()
    }
}
