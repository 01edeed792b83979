//! How the gateway's own pages look: what a browser's navigation is shown when there is no answer of the app.
//!
//! What stands on them is put together in the tower crate, escaped; here is one frame and one style for all of them.

use wirebound_tower::pages::{Look, Sheet, script};

const STYLE: &str = include_str!("pages/page.css");

/// The frame, and the digest that the policy lets its one style pass by.
#[must_use]
pub fn look() -> Look {
    Look {
        draw,
        style: format!("'sha256-{}'", style_digest()),
    }
}

/// A whole HTML document.
#[must_use]
pub fn draw(sheet: &Sheet<'_>) -> String {
    let mut body = String::new();
    let status = sheet.status.as_u16();
    if !sheet.code.is_empty() {
        let code = escape(sheet.code);
        body.push_str(&format!(
            "<p class=\"status\"><span>{status}</span> <code>{code}</code></p>\n"
        ));
    }
    let title = escape(sheet.title);
    body.push_str(&format!("<h1>{title}</h1>\n"));
    if !sheet.text.is_empty() {
        body.push_str(&format!("<p>{}</p>\n", escape(sheet.text)));
    }
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
{body}{content}</main>
{script}</body>
</html>
",
        content = sheet.content.as_str(),
        script = script(sheet),
    )
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

fn style_digest() -> String {
    use base64::Engine as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use wirebound_tower::pages::{ASK_AGAIN, Html};

    use super::*;

    fn sheet(text: &str) -> Sheet<'_> {
        Sheet {
            status: StatusCode::NOT_FOUND,
            code: text,
            title: text,
            text,
            content: Html::new(),
            script: None,
        }
    }

    #[test]
    fn nothing_that_is_passed_in_becomes_markup() {
        let html = draw(&sheet("\"><script>alert('1')</script>&"));
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;"));
    }

    #[test]
    fn a_page_runs_its_own_script_and_no_other() {
        let scripted = Sheet {
            script: Some(ASK_AGAIN),
            ..sheet("x")
        };
        let html = draw(&scripted);
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains(&format!("<script>{}</script>", ASK_AGAIN.text)));
    }

    #[test]
    fn the_policy_names_the_one_style() {
        let style = look().style;
        assert!(
            style.starts_with("'sha256-") && !style.contains("unsafe"),
            "{style}"
        );
        assert_eq!(draw(&sheet("x")).matches("<style>").count(), 1);
    }
}
