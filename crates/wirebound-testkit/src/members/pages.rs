//! The app's pages: one for each thing that browsers do with connections.

use http::request::Parts;

use super::host;

pub(super) const PIXEL: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\
\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

pub(super) const SERVICE_WORKER: &str = "\
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', e => e.waitUntil(clients.claim()));
self.addEventListener('fetch', e => {
  if (e.request.method === 'GET' && !e.request.url.includes('/login')) e.respondWith(fetch(e.request));
});";

/// On every page: `result` is what the trial reads. `refused` takes answers that the gateway made
/// itself, `app` those of the app that are not 200, `broken` what got no answer. A `var`, because a driver
/// that runs beside the page sees only what hangs on the window.
const SCRIPT: &str = "\
var result = { done: false, refused: [], app: [], broken: [], sockets: 0 };
function ask(url, how) {
  return fetch(url, how).then(r => {
    if (r.status !== 200) (r.headers.get('x-members') ? result.app : result.refused).push(r.status);
    return r.text();
  }, e => { result.broken.push(String(e)); });
}
function finish() { result.done = true; return result; }
function all(count, one) {
  result = { done: false, refused: [], app: [], broken: [], sockets: 0 };
  return Promise.all([...Array(count)].map((_, i) => one(i))).then(finish);
}
function burst(count) { return all(count, i => ask('/m/api?d=40&b=' + i)); }
function posts(count) {
  return all(count, () =>
    ask('/m/api?d=40&id=' + crypto.randomUUID(), { method: 'POST', body: 'hello' }));
}
// A WebSocket's handshake cannot follow a redirect: three more tries within two seconds.
function socket(tries = 4) {
  return new Promise(tell => {
    const s = new WebSocket(`wss://${location.host}/m/socket`);
    let open = false;
    s.onopen = () => { open = true; s.send('hello'); };
    s.onmessage = () => { result.sockets++; tell(s); };
    s.onclose = () => {
      if (open) return tell(s);
      if (tries > 1) return setTimeout(() => tell(socket(tries - 1)), 600);
      result.refused.push('socket'); tell(s);
    };
  });
}";

/// The page at `path`, or none.
pub(super) fn html(path: &str, head: &Parts, person: Option<&str>) -> Option<String> {
    let host = host(head);
    let body = match path {
        "/" | "/open/page" => String::new(),
        "/login" => {
            "<form method=post action=/login><input name=name><button>sign in</button></form>"
                .to_owned()
        }
        "/m/page" => pixels(3, ""),
        "/m/sub30" => pixels(30, ""),
        "/m/sub6" => pixels(6, ""),
        "/m/iframes" => frames(&host),
        "/m/fetch" => fetches(&host),
        "/m/hints" => hints(&host),
        "/m/sw" => script(
            "navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)\
             .then(() => ask('/m/api?sw=1')).then(finish, e => { result.broken.push(String(e)); finish(); })",
        ),
        "/m/ws" => script("socket().then(finish)"),
        "/m/ws6" => script("Promise.all([...Array(6)].map(() => socket())).then(finish)"),
        "/m/sse" => script(
            "new EventSource('/m/events').onmessage = m => { if (m.data === '2') finish(); }",
        ),
        "/m/form" => format!(
            "<form method=post action=\"/m/post?id=form-{}\"><input name=a value=1></form>",
            super::random_hex().ok()?
        ),
        _ => return None,
    };
    let name = person.unwrap_or("anonymous");
    Some(format!(
        "<!doctype html><html><head><meta charset=utf-8><title>members</title>\
         <link rel=icon href=\"data:,\"><script>{SCRIPT}</script></head>\
         <body data-user=\"{name}\"><p>You are {name}</p>{body}</body></html>"
    ))
}

fn script(text: &str) -> String {
    format!("<script>{text}</script>")
}

fn pixels(count: usize, attribute: &str) -> String {
    // Of a new name on each page: Firefox asks but once for a picture that is on its way already.
    let page = super::random_hex().unwrap_or_default();
    let one = |k: usize| format!("<img {attribute} src=\"/m/pixel?k={k}&page={page}&d=25\">");
    (0..count).map(one).collect()
}

/// Another host of the same site and the same certificate, where names are made up.
fn sibling(host: &str) -> Option<String> {
    host.contains(".test").then(|| format!("x{host}"))
}

fn frames(host: &str) -> String {
    let other = sibling(host)
        .map(|h| format!("<iframe src=\"https://{h}/open/page\"></iframe>"))
        .unwrap_or_default();
    format!("<iframe src=\"/m/page?frame=1\"></iframe><iframe src=\"/m/sub6\"></iframe>{other}")
}

fn fetches(host: &str) -> String {
    let other = sibling(host)
        .map(|h| {
            format!("fetch('https://{h}/open/api', {{ credentials: 'include' }}).catch(() => 0),")
        })
        .unwrap_or_default();
    let asks = script(&format!(
        "Promise.all([{other} ask('/m/api?c=i&d=20', {{ credentials: 'include' }}),\
         ask('/open/api?c=o&d=20', {{ credentials: 'omit' }}), ask('/m/api?c=s&d=20'),\
         ask('/m/api?id=' + crypto.randomUUID(), {{ method: 'POST', body: 'x' }})]).then(finish)"
    ));
    pixels(4, "crossorigin=anonymous") + &asks
}

fn hints(host: &str) -> String {
    format!(
        "<link rel=preconnect href=\"https://{host}\">\
         <link rel=preconnect crossorigin href=\"https://{host}\">\
         <link rel=dns-prefetch href=\"https://{host}\"><link rel=prefetch href=\"/m/page?pf=1\">\
         <link rel=preload as=image href=\"/m/pixel?pl=1\">\
         <link rel=modulepreload href=\"/open/module.js\">{}",
        pixels(4, "")
    )
}
