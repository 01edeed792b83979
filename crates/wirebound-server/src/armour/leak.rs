//! A vaulted value that shows up in what the browser gets.
//!
//! Armour is worth nothing if the app prints its session id into a page. This looks for it, in the head and
//! in the first 64 KiB of text as it streams by, and says so; it changes nothing and holds nothing back.

use std::collections::VecDeque;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memmem;

use super::vault::{Value, Vault};

/// Shorter values are not looked for: they would be found everywhere.
pub const LEAST: usize = 12;
/// How much of a body is looked at.
pub const WATCHED: usize = 64 * 1024;

/// The name of a vaulted cookie whose value is in a response head.
#[must_use]
pub fn in_head(headers: &HeaderMap, vault: &Vault) -> Option<String> {
    let (name, _) = vault.values().find(|(_, value)| {
        let value = value.expose();
        value.len() >= LEAST
            && headers
                .values()
                .any(|line| memmem::find(line.as_bytes(), value).is_some())
    })?;
    Some(text(name))
}

/// Looks at the chunks of a body.
#[derive(Debug)]
pub struct Watch {
    vault: Arc<Vault>,
    /// Which of its cookies were not found yet.
    needles: Vec<usize>,
    tail: VecDeque<u8>,
    longest: usize,
    left: usize,
}

impl Watch {
    /// A watch for a text body that is not encoded; none where there is nothing to look for.
    #[must_use]
    pub fn new(headers: &HeaderMap, vault: &Arc<Vault>) -> Option<Self> {
        let long = |value: &Value| value.expose().len() >= LEAST;
        let lengths = vault.values().map(|(_, value)| value.expose().len());
        let longest = lengths.max().filter(|longest| *longest >= LEAST)?;
        (is_text(headers) && !headers.contains_key(CONTENT_ENCODING)).then(|| Self {
            vault: Arc::clone(vault),
            needles: vault
                .values()
                .enumerate()
                .filter_map(|(at, (_, value))| long(value).then_some(at))
                .collect(),
            tail: VecDeque::new(),
            longest,
            left: WATCHED,
        })
    }

    /// Looks at the next chunk, and at what lies across the border to the last one. Names a cookie once.
    pub fn look(&mut self, chunk: &[u8]) -> Option<String> {
        let chunk = chunk.get(..chunk.len().min(self.left)).unwrap_or_default();
        if chunk.is_empty() || self.needles.is_empty() {
            return None;
        }
        self.left = self.left.saturating_sub(chunk.len());
        let border = chunk
            .get(..chunk.len().min(self.longest))
            .unwrap_or_default();
        let across: Vec<u8> = if self.tail.is_empty() {
            Vec::new()
        } else {
            let tail = self.tail.iter().copied();
            tail.chain(border.iter().copied()).collect()
        };
        let found = self.needles.iter().position(|at| {
            self.vault.values().nth(*at).is_some_and(|(_, value)| {
                memmem::find(chunk, value.expose()).is_some()
                    || memmem::find(&across, value.expose()).is_some()
            })
        });
        self.tail
            .extend(chunk.iter().skip(chunk.len().saturating_sub(self.longest)));
        let excess = self
            .tail
            .len()
            .saturating_sub(self.longest.saturating_sub(1));
        drop(self.tail.drain(..excess));
        let at = self.needles.swap_remove(found?);
        self.vault.values().nth(at).map(|(name, _)| text(name))
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
    else {
        return true;
    };
    let kind = kind.to_ascii_lowercase();
    kind.starts_with("text/")
        || ["json", "xml", "javascript", "form-urlencoded"]
            .iter()
            .any(|part| kind.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::armour::line;
    use crate::armour::vault::Place;

    fn vault() -> Arc<Vault> {
        let mut vault = Vault::default();
        let lines = vec![
            line::read(b"sessionid=0123456789abcdef; HttpOnly", 0).unwrap(),
            line::read(b"short=abc; HttpOnly", 0).unwrap(),
        ];
        vault.take(lines, &Place::new("a", "/", false, 0)).unwrap();
        Arc::new(vault)
    }

    fn page() -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, "text/html; charset=utf-8".parse().unwrap())])
    }

    #[test]
    fn a_value_is_found_wherever_the_chunks_are_cut() {
        let body = b"<a href=\"/x?s=0123456789abcdef\">abc</a>";
        for size in 1..body.len() {
            let mut watch = Watch::new(&page(), &vault()).unwrap();
            let found: Vec<String> = body
                .chunks(size)
                .filter_map(|chunk| watch.look(chunk))
                .collect();
            assert_eq!(found, ["sessionid"], "chunks of {size}");
        }
    }

    #[test]
    fn only_text_is_looked_at_and_only_its_beginning() {
        let mut image = HeaderMap::new();
        image.insert(CONTENT_TYPE, "image/png".parse().unwrap());
        assert!(Watch::new(&image, &vault()).is_none());
        assert!(Watch::new(&page(), &Arc::default()).is_none());
        let mut watch = Watch::new(&page(), &vault()).unwrap();
        assert_eq!(watch.look(&vec![b'x'; WATCHED]), None);
        assert_eq!(watch.look(b"0123456789abcdef"), None);
    }

    #[test]
    fn a_value_in_the_head_is_found() {
        let mut headers = page();
        assert_eq!(in_head(&headers, &vault()), None);
        headers.insert(
            "location",
            "/a;jsessionid=0123456789abcdef".parse().unwrap(),
        );
        assert_eq!(in_head(&headers, &vault()).as_deref(), Some("sessionid"));
    }
}
