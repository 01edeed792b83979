//! An upstream that answers with whatever bytes a test makes of a request.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request's head as it arrived, and over which connection.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) connection: usize,
    pub(crate) text: String,
}

impl Head {
    /// The path, with its query.
    pub(crate) fn path(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A response with a body and these field lines.
pub(crate) fn answer(status: &str, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

type Answers = dyn Fn(&Head) -> String + Send + Sync;

/// The upstream. Its answers are written as they are; an empty one closes the connection.
pub(crate) struct Liar {
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<Head>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Liar {
    pub(crate) async fn start(answers: impl Fn(&Head) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads: Arc<Mutex<Vec<Head>>> = Arc::default();
        let answers: Arc<Answers> = Arc::new(answers);
        let kept = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(serve(
                    stream,
                    connection,
                    Arc::clone(&answers),
                    Arc::clone(&kept),
                ));
            }
        });
        Self { url, heads, task }
    }

    pub(crate) fn heads(&self) -> Vec<Head> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    answers: Arc<Answers>,
    heads: Arc<Mutex<Vec<Head>>>,
) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(place) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break place + 4;
            }
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&more[..count]),
            }
        };
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end);
        let head = Head { connection, text };
        let coding = head.field("transfer-encoding");
        let length = head.field("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        let end = loop {
            let last = |part: &[u8]| part == b"0\r\n\r\n";
            let found = match coding {
                Some(_) => bytes.windows(5).position(last).map(|at| at + 5),
                None => Some(length).filter(|length| bytes.len() >= *length),
            };
            if let Some(end) = found {
                break end;
            }
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&more[..count]),
            }
        };
        bytes.drain(..end);
        heads.lock().unwrap().push(head.clone());
        let answer = answers(&head);
        if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
