//! The gateway's own pages: what a browser's navigation is shown when there is no answer of the app.
//!
//! One function makes them all. No script, nothing from elsewhere, and every text is escaped: a page of ours
//! stands under the app's own origin, so a hole here would be a hole there.

/// The policy, with a gap for the digest of the style.
const POLICY: &str = "default-src 'none'; style-src 'sha256-STYLE'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("pages/page.css");

/// A whole HTML document for this refusal.
///
/// `login_url` becomes a link when it is a path of this origin or an `https://` address; anything else is left out.
#[must_use]
pub fn page(status: u16, code: &str, title: &str, hint: &str, login_url: Option<&str>) -> String {
    let link = login_url
        .filter(|url| is_linkable(url))
        .map_or_else(String::new, |url| {
            format!("\n<p><a href=\"{}\">Sign in</a></p>", escape(url))
        });
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<meta name=\"robots\" content=\"noindex\">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<p class=\"status\"><span>{status}</span> <code>{code}</code></p>
<h1>{title}</h1>
<p>{hint}</p>{link}
</main>
</body>
</html>
",
        code = escape(code),
        title = escape(title),
        hint = escape(hint),
    )
}

/// The policy to send a [`page`] with: nothing may load or run, and the one style is named by its digest.
#[must_use]
pub fn page_csp() -> String {
    POLICY.replace("STYLE", &style_digest())
}

/// Text as HTML, in an element or in a quoted attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

fn is_linkable(url: &str) -> bool {
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    let plain = !url
        .chars()
        .any(|letter| letter.is_control() || letter == '\\');
    plain && (is_path || url.starts_with("https://"))
}

fn style_digest() -> String {
    use base64::Engine as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_passed_in_becomes_markup() {
        let evil = "\"><script>alert('1')</script>&";
        let html = page(403, evil, evil, evil, Some("/login?next=\"><script>"));
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"));
        assert!(html.contains("href=\"/login?next=&quot;&gt;&lt;script&gt;\""));
    }

    #[test]
    fn a_login_link_leads_home_or_to_https_only() {
        for (url, linked) in [
            ("/login", true),
            ("https://id.example/start", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("javascript:alert(1)", false),
            ("http://id.example", false),
            ("/a\nb", false),
        ] {
            assert_eq!(
                page(401, "c", "t", "h", Some(url)).contains("<a href"),
                linked,
                "{url}"
            );
        }
        assert!(!page(401, "c", "t", "h", None).contains("<a "));
    }

    #[test]
    fn the_policy_names_the_one_style() {
        let policy = page_csp();
        assert!(
            !policy.contains("STYLE") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page(404, "c", "t", "h", None).matches("<style>").count(), 1);
    }
}
