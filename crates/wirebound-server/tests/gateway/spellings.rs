//! 500 spellings of a path under a rule, before servers that each read paths in their own way: a real Django, Node, PHP and
//! nginx. Whoever asks is nobody; what the server serves of its admin area must have been judged as the admin area.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use wirebound_testkit::django::Django;
use wirebound_testkit::firefox::free_port;

use crate::process::{Gateway, within};
use crate::raw::{each, say};

const RULES: &str = r#"
[[routes]]
path = "/admin"
role = "admin"
strength = "wire"
[[routes]]
path = "/admin/help"
public = true
[limits]
header_timeout = "2s"
connection_idle = "2s"
"#;

/// What the servers below say in their admin area and nowhere else.
const MARK: &str = "THE ADMIN AREA";

/// Reads paths as carelessly as a server can: decodes, cuts parameters, resolves dots, merges slashes, minds no case.
const NODE: &str = r#"
const http = require('http');
const read = (url) => {
  let path = url.replace(/^[a-z]+:\/\/[^/]*/i, '').split(/[?#]/)[0];
  try { path = decodeURIComponent(path); } catch { path = unescape(path); }
  path = path.split(/[?#\0]/)[0].replace(/\\/g, '/').toLowerCase();
  const out = [];
  for (let part of path.split('/')) {
    part = part.split(';')[0];
    if (part === '..') out.pop();
    else if (part.replace(/[. ]+$/, '') !== '') out.push(part.replace(/[. ]+$/, ''));
  }
  return out;
};
const server = http.createServer((req, res) => {
  const [first, second] = read(req.url);
  res.end(first === 'admin' && second !== 'help' ? 'THE ADMIN AREA' : 'public');
});
server.listen(PORT, '127.0.0.1');
"#;

const NGINX: &str = r#"
daemon off;
worker_processes 1;
error_log stderr crit;
pid nginx.pid;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  large_client_header_buffers 4 16k;
  server {
    listen 127.0.0.1:PORT;
    location ~* ^/admin/help { return 200 "public"; }
    location ~* ^/admin(/|$) { return 200 "THE ADMIN AREA"; }
    location / { return 200 "public"; }
  }
}
"#;

/// A server of its own, on a free port. Killed when dropped.
struct Server {
    port: u16,
    _child: Option<Child>,
    _folder: tempfile::TempDir,
    _django: Option<Django>,
}

impl Server {
    async fn start(program: &str, prepare: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        let port = free_port().unwrap();
        let folder = tempfile::Builder::new()
            .prefix("wirebound-paths-")
            .tempdir()
            .unwrap();
        let arguments = prepare(folder.path(), port);
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask setup`"));
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        within(program, listens).await;
        Self {
            port,
            _child: Some(child),
            _folder: folder,
            _django: None,
        }
    }

    async fn node() -> Self {
        let prepare =
            |_: &Path, port: u16| vec!["-e".to_owned(), NODE.replace("PORT", &port.to_string())];
        Self::start("node", prepare).await
    }

    async fn php() -> Self {
        let prepare = |folder: &Path, port: u16| {
            std::fs::create_dir_all(folder.join("admin/secret")).unwrap();
            std::fs::create_dir_all(folder.join("admin/help")).unwrap();
            let admin = format!("<?php echo '{MARK}';");
            for file in ["admin/index.php", "admin/secret/index.php", "admin/x.html"] {
                std::fs::write(folder.join(file), &admin).unwrap();
            }
            for file in ["index.php", "admin/help/index.php"] {
                std::fs::write(folder.join(file), "<?php echo 'public';").unwrap();
            }
            let listen = format!("127.0.0.1:{port}");
            ["-S", &listen, "-t", "."].map(str::to_owned).to_vec()
        };
        Self::start("php", prepare).await
    }

    async fn nginx() -> Self {
        let prepare = |folder: &Path, port: u16| {
            let config = NGINX.replace("PORT", &port.to_string());
            std::fs::write(folder.join("nginx.conf"), config).unwrap();
            let folder = format!("{}/", folder.display());
            ["-p", &folder, "-c", "nginx.conf", "-e", "stderr"]
                .map(str::to_owned)
                .to_vec()
        };
        Self::start("nginx", prepare).await
    }

    async fn django() -> Self {
        let django = Django::start().await.unwrap();
        let port = django.url().rsplit(':').next().unwrap().parse().unwrap();
        Self {
            port,
            _child: None,
            _folder: tempfile::tempdir().unwrap(),
            _django: Some(django),
        }
    }

    /// Asks it without the gateway.
    async fn ask(&self, bytes: &str) -> String {
        let mut all = Vec::new();
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(bytes.as_bytes()).await?;
            stream.read_to_end(&mut all).await
        };
        drop(within("the server itself", asked).await);
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// Whether an answer comes from the admin area.
fn is_admin(answer: &str) -> bool {
    // Django sends nobody to its admin's own login page from anywhere else.
    let sent = answer.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("location:") && line.contains("/admin/")
    });
    answer.contains(MARK) || sent || answer.contains("Django site admin")
}

fn escape(text: &str, pick: impl Fn(usize) -> bool) -> String {
    let spelled = text.bytes().enumerate().map(|(place, byte)| {
        if pick(place) {
            format!("%{byte:02x}")
        } else {
            char::from(byte).to_string()
        }
    });
    spelled.collect()
}

fn spellings() -> Vec<String> {
    let mut cores: Vec<String> = ["admin", "Admin", "ADMIN", "aDmIn", "admi%4e", "%41DMIN"]
        .map(str::to_owned)
        .to_vec();
    for place in 0..5 {
        let one = escape("admin", |at| at == place);
        cores.push(
            escape(&one, |_| false)
                .to_ascii_uppercase()
                .replace("ADMIN", "admin"),
        );
        cores.push(one);
    }
    for core in [
        escape("admin", |_| true),
        escape(&escape("admin", |at| at == 0), |at| at == 0),
        "admin.".to_owned(),
        "admin...".to_owned(),
        "admin%20".to_owned(),
        "admin%2e".to_owned(),
        "admin%00".to_owned(),
        "admin%00.css".to_owned(),
        "admin%0a".to_owned(),
        "admin%09".to_owned(),
        "admin%3f".to_owned(),
        "admin%3f.css".to_owned(),
        "admin%23".to_owned(),
        "admin%3b".to_owned(),
        "admin;x=y".to_owned(),
        "admin;/..".to_owned(),
        "admin\\".to_owned(),
        "admin%5c".to_owned(),
        "admin%2f".to_owned(),
        "adm%C4%B1n".to_owned(),
        "adm%c0%adn".to_owned(),
        "%u0061dmin".to_owned(),
        "%c1%a1dmin".to_owned(),
        "%e1%81%a1dmin".to_owned(),
    ] {
        cores.push(core);
    }
    let prefixes = [
        "/",
        "//",
        "///",
        "/./",
        "/.//",
        "/%2e/",
        "/%2E%2e/",
        "/../",
        "/x/../",
        "/x/..//",
        "/x/%2e%2e/",
        "/x/.%2e/",
        "/x/..%2f",
        "/x%2f..%2f",
        "/x/..;/",
        "/x/..;a=b/",
        "/;/",
        "/;x/",
        "/\\",
        "\\",
        "/%5c",
        "/x\\..\\",
        "/x/..%5c",
        "/%2f",
        "/%2F%2f",
        "/%252f",
        "/x/%252e%252e/",
        "/x/..%252f",
        "/x/%c0%ae%c0%ae/",
        "/x/..%c0%af",
        "/%00/../",
        "/x%00/../",
        "/admin/help/../../",
        "/admin/help/%2e%2e/%2e%2e/",
        "/admin/help/..;/..;/",
        "/admin/help/..\\..\\",
        "/admin/help%2f..%2f..%2f",
        "/x/?/../",
        "/x%3f/../",
        "/x%23/../",
        "https://HOST/",
        "https://HOST//",
        "https://HOST/x/../",
        "HTTPS://HOST/",
    ];
    let suffixes = [
        "",
        "/",
        "//",
        "/.",
        "/./",
        "/..",
        "/../admin",
        "/%2e",
        "/secret",
        "//secret",
        "/%73ecret",
        "/secret/",
        "/SECRET",
        "?",
        "?x=/admin/help",
        "/?help",
        ";",
        ";/",
        "/;",
        "%20",
        "%20/",
        "./",
        ".",
        "%2f",
        "%2fsecret",
        "%5csecret",
        "\\secret",
        "%00",
        "%23",
        "%3f",
        "/help/..",
        "/help/../",
        "/help/../secret",
        "/help%2f..",
        "/help/..;/",
        "/help/%2e%2e/",
        "/x.html",
        "/index.php",
        "/index.php/x",
    ];
    let mut all = BTreeSet::new();
    for core in &cores {
        for prefix in prefixes {
            all.insert(format!("{prefix}{core}"));
            all.insert(format!("{prefix}{core}/secret"));
        }
        for suffix in suffixes {
            all.insert(format!("/{core}{suffix}"));
        }
    }
    for prefix in prefixes {
        for suffix in suffixes {
            all.insert(format!("{prefix}admin{suffix}"));
        }
    }
    all.into_iter().collect()
}

/// Every so-many-th spelling, so that some 500 are left of all kinds.
fn some(all: Vec<String>, kept: usize) -> Vec<String> {
    let step = (all.len() / kept).max(1);
    all.into_iter().step_by(step).collect()
}

async fn no_spelling_gets_in(server: Server, name: &str, kept: usize) {
    let gateway = Gateway::before(&format!("http://127.0.0.1:{}", server.port), RULES).await;
    let authority = gateway.authority();
    let spellings = some(spellings(), kept);
    assert!(spellings.len() >= 500, "{}", spellings.len());
    let request = |target: &str| {
        let target = target.replace("HOST", &authority);
        format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")
    };
    let (gateway, server, request) = (&gateway, &server, &request);
    let answers = each(spellings, |spelling| async move {
        let bytes = request(&spelling);
        let through = say(gateway, bytes.as_bytes()).await;
        let direct = server.ask(&bytes).await;
        (spelling, through, is_admin(&direct))
    })
    .await;
    let mut wrong = Vec::new();
    let (mut judged, mut refused, mut served, mut reaching) = (0, 0, 0, 0);
    for (spelling, said, reaches) in &answers {
        reaching += usize::from(*reaches);
        match said.statuses().first() {
            Some(401) => judged += 1,
            Some(400) => refused += 1,
            _ => served += 1,
        }
        if is_admin(&said.0) || said.statuses().is_empty() {
            wrong.push((spelling, said));
        }
    }
    eprintln!(
        "{name}: {} spellings, of which {reaching} reach its admin area without the gateway; with it {judged} were judged as \
         such, {refused} refused, {served} served as something else",
        answers.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        reaching >= 15,
        "the server does not read spellings: {reaching}"
    );
    assert!(judged >= 15, "{judged}");
}

#[tokio::test]
async fn a_careless_node_serves_no_path_that_was_not_judged() {
    no_spelling_gets_in(Server::node().await, "Node", 700).await;
}

#[tokio::test]
async fn php_serves_no_path_that_was_not_judged() {
    no_spelling_gets_in(Server::php().await, "PHP", 500).await;
}

#[tokio::test]
async fn nginx_serves_no_path_that_was_not_judged() {
    no_spelling_gets_in(Server::nginx().await, "nginx", 700).await;
}

#[tokio::test]
async fn django_serves_no_path_that_was_not_judged() {
    no_spelling_gets_in(Server::django().await, "Django", 500).await;
}
