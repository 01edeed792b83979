//! Pages of our own, for people: text that is escaped, and markup that stands here.
//!
//! A page of ours stands under the app's own origin, so a hole here would be a hole there. [`Html`] can only be put
//! together from markup of this program and from text that it escapes; the policy that goes with a page lets nothing be
//! loaded, and lets only that script run whose digest is named here.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

/// Markup. Nothing gets in unescaped but what stands in the program's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Markup of the program's own.
    #[must_use]
    pub fn tag(mut self, markup: &'static str) -> Self {
        self.0.push_str(markup);
        self
    }

    /// Text, escaped for an element or a quoted attribute. A parser of HTML would turn a carriage return into a line
    /// feed, so both are written as references.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\r' => self.0.push_str("&#13;"),
                '\n' => self.0.push_str("&#10;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// More of it.
    #[must_use]
    pub fn with(mut self, more: &Self) -> Self {
        self.0.push_str(&more.0);
        self
    }

    /// A paragraph with a link to where one signs in: a path of this origin, or an `https://` address; anything else is
    /// left out.
    #[must_use]
    pub fn sign_in_link(self, url: &str) -> Self {
        if !is_linkable(url) {
            return self;
        }
        self.tag("<p><a href=\"")
            .text(url)
            .tag("\">Sign in</a></p>\n")
    }

    /// A button that leaves the session and leads to where one signs in.
    #[must_use]
    pub fn sign_in_again(self) -> Self {
        self.tag("<form method=\"post\" action=\"/.wirebound/logout\"><button>Sign in again</button></form>\n")
    }

    /// The markup.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_linkable(url: &str) -> bool {
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    let plain = !url
        .chars()
        .any(|letter| letter.is_control() || letter == '\\');
    plain && (is_path || url.starts_with("https://"))
}

/// A script that a page may run, and the digest that lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Script {
    /// Its text.
    pub text: &'static str,
    /// `sha256-` and the digest of the text in base64, as a policy names it (CSP Level 3 section 2.3.1).
    pub digest: &'static str,
}

/// Asks for the page's own address again, fragment and all, as a wish of our own site: `Strict` cookies go with it.
///
/// With another address in place the old one is no jump within the document, which it would be for its fragment. A plain
/// reload would do in Chromium; Firefox takes it for the same arrival from elsewhere. There is no second round, cookies or
/// not: what is asked for from our own site is not met.
pub const ASK_AGAIN: Script = Script {
    text: "const to=location.href;history.replaceState(null,\"\",\"/.wirebound/arrival\");location.replace(to)",
    digest: "sha256-SNUSwyfe68XJgcqdy9FMaXgavPJaDevSujruzYTSiqU=",
};

/// Sends the page's one form. A field named `submit` must not stand in the way.
pub const SUBMIT: Script = Script {
    text: "HTMLFormElement.prototype.submit.call(document.querySelector(\"form\"))",
    digest: "sha256-nBCueJYvOkReVzf6Y0rqz68R6Bj5jBC7cXS5V5jbcR4=",
};

/// A page before it is drawn.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever draws pages reads it")]
pub struct Sheet<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// The machine-readable code; empty for a page that is no refusal.
    pub code: &'a str,
    /// The heading.
    pub title: &'a str,
    /// One sentence below it; may be empty.
    pub text: &'a str,
    /// What else stands on it.
    pub content: Html,
    /// The script it runs, if any. Whoever draws writes it after the content.
    pub script: Option<Script>,
}

/// Draws a whole document.
pub type Draw = fn(&Sheet<'_>) -> String;

/// What a library user gets without asking. The server's pages are nicer.
#[must_use]
pub fn plain(sheet: &Sheet<'_>) -> String {
    let escaped = |text: &str| Html::new().text(text).0;
    let (title, text) = (escaped(sheet.title), escaped(sheet.text));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{text}</p>{}{}</html>",
        sheet.content.as_str(),
        script(sheet)
    )
}

/// The script's element, or nothing.
#[must_use]
pub fn script(sheet: &Sheet<'_>) -> String {
    sheet.script.map_or_else(String::new, |script| {
        format!("<script>{}</script>", script.text)
    })
}

/// How pages are drawn, and what their style needs.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Look {
    /// Draws them.
    pub draw: Draw,
    /// What the policy names as `style-src`: the digest of the one style, or `'none'`.
    pub style: String,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            draw: plain,
            style: String::from("'none'"),
        }
    }
}

impl Look {
    /// The page as an answer: kept by nobody, framed by nobody, with no script but its own.
    ///
    /// Forms are not bound to an address by the policy: browsers hold a form's whole chain of redirects to it, and an app
    /// may well send somebody elsewhere in answer. What a form's `action` is, is the program's.
    #[must_use]
    pub fn page(&self, sheet: &Sheet<'_>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from((self.draw)(sheet)));
        *response.status_mut() = sheet.status;
        let headers = response.headers_mut();
        let script = sheet.script.map_or_else(String::new, |script| {
            format!("script-src '{}'; ", script.digest)
        });
        let policy = format!(
            "default-src 'none'; {script}style-src {}; base-uri 'none'; frame-ancestors 'none'",
            self.style
        );
        // Ours and plain ASCII; without a policy that can be written down there is no page that runs anything.
        let policy = HeaderValue::from_str(&policy)
            .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'; sandbox"));
        for (name, value) in [
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (
                CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            ),
            (CONTENT_SECURITY_POLICY, policy),
            (
                http::header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            (
                http::header::REFERRER_POLICY,
                // `no-referrer` would make a form's `Origin` null, and ours could not be told from elsewhere. But whoever is
                // sent on comes from another site: our page is not where they come from.
                HeaderValue::from_static(if sheet.script == Some(ASK_AGAIN) {
                    "no-referrer"
                } else {
                    "same-origin"
                }),
            ),
        ] {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(text: &str) -> Sheet<'_> {
        Sheet {
            status: StatusCode::FORBIDDEN,
            code: text,
            title: text,
            text,
            content: Html::new().tag("<p>").text(text).tag("</p>"),
            script: None,
        }
    }

    #[test]
    fn nothing_that_is_passed_in_becomes_markup() {
        let html = plain(&sheet("\"><script>alert('1')</script>&"));
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"));
        let lines = Html::new().text("a\r\nb");
        assert_eq!(lines.as_str(), "a&#13;&#10;b");
    }

    #[test]
    fn a_sign_in_link_leads_home_or_to_https_only() {
        for (url, linked) in [
            ("/login", true),
            ("/login?next=\"><script>", true),
            ("https://id.example/start", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("javascript:alert(1)", false),
            ("http://id.example", false),
            ("/a\nb", false),
        ] {
            let html = Html::new().sign_in_link(url);
            assert_eq!(html.as_str().contains("<a href"), linked, "{url}");
            assert!(!html.as_str().contains("<script"), "{url}");
        }
    }

    #[test]
    fn only_the_named_script_runs_and_only_where_there_is_one() {
        let look = Look::default();
        let policy = |script| {
            let page = look.page(&Sheet {
                script,
                ..sheet("x")
            });
            let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            policy.to_owned()
        };
        assert!(!policy(None).contains("script-src"));
        assert!(policy(Some(ASK_AGAIN)).contains(&format!("script-src '{}';", ASK_AGAIN.digest)));
        assert!(!policy(Some(ASK_AGAIN)).contains("unsafe"));
    }

    #[test]
    fn each_script_has_the_digest_that_lets_it_run() {
        for script in [ASK_AGAIN, SUBMIT] {
            assert_eq!(script.digest, format!("sha256-{}", sha256(script.text)));
        }
    }

    fn sha256(text: &str) -> String {
        use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256 as SUITE;
        let hash = SUITE
            .tls13()
            .unwrap()
            .common
            .hash_provider
            .hash(text.as_bytes());
        base64(hash.as_ref())
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let whole = chunk.iter().chain([0, 0].iter()).take(3);
            let number = whole.fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
            for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let at = usize::try_from((number >> shift) & 63).unwrap();
                let letter = if place <= chunk.len() {
                    LETTERS[at]
                } else {
                    b'='
                };
                text.push(char::from(letter));
            }
        }
        text
    }
}
