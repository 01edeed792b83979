//! Whoever comes from elsewhere: under `SameSite=Strict` a link from another site arrives without our cookie.
//!
//! A navigation is met with a page that asks for the same address again. That is then a wish of our own site, and the
//! browser sends what it has. It makes `Strict` behave like `Lax` for top-level GETs, no more; towards the app it stays
//! what it was, a request from another site. A form that was posted from elsewhere is posted again by a page of ours, on
//! the exact paths that the operator named and nowhere else: there the app answers for what strangers can make a person
//! post.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Gate;
use super::identify::Read;
use crate::cookies::Shown;
use crate::form::{self, NotRead};
use crate::pages::{ASK_AGAIN, Html, SUBMIT, Sheet};
use crate::refusal::{Asker, Told, tell, wants_page};

/// The largest form that is posted again. Signed assertions with a certificate and attributes are some tens of KiB.
const MOST_FORM: usize = 256 * 1024;

/// What becomes of those who come from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Arrival {
    /// A navigation from another site is bounced, so that it arrives signed in. Only where our cookies are `Strict`.
    pub bounce: bool,
    /// Exact paths where a form posted from another site is posted again from here.
    pub cross_site_post: Vec<String>,
}

impl Default for Arrival {
    fn default() -> Self {
        Self {
            bounce: true,
            cross_site_post: Vec::new(),
        }
    }
}

/// How an arrival is met.
pub(super) enum Met {
    /// With a page that asks again.
    Bounce,
    /// With a page that posts the same form again.
    PostAgain,
}

impl Gate {
    /// Whether this request is an arrival that is met with a page of ours.
    pub(super) fn meets(&self, parts: &Parts, read: &Read, shown: &Shown<'_>) -> Option<Met> {
        // With its cookie, or with the mark, the browser sent all that it has of ours.
        let may_have_more = shown.session.is_none() && !shown.bounced();
        if !(may_have_more || read.surprise) || super::endpoints::is_own(self, parts.uri.path()) {
            return None;
        }
        if read.surprise {
            return self.posts_again(parts, read).then_some(Met::PostAgain);
        }
        let headers = &parts.headers;
        let follows = parts.method == Method::GET && !headers.contains_key(http::header::RANGE);
        (self.0.arrival.bounce
            && self.names().are_strict()
            && follows
            && is_document(headers) == Some(true)
            && is(headers, "sec-fetch-site", "cross-site"))
        .then_some(Met::Bounce)
    }

    /// Whether a form from another site is one that the operator named, sent by a whole window.
    fn posts_again(&self, parts: &Parts, read: &Read) -> bool {
        let (path, headers) = (parts.uri.path(), &parts.headers);
        let listed = &self.0.arrival.cross_site_post;
        parts.method == Method::POST
            && !read.websocket
            && listed.iter().any(|listed| listed == path)
            && is_document(headers).unwrap_or_else(|| wants_page(headers))
    }

    /// The page that asks again. 403: a service worker must not take it for the page that was asked for.
    pub(super) fn bounce(&self) -> Response<Bytes> {
        let mut response = self.answers().look.page(&Sheet {
            status: StatusCode::FORBIDDEN,
            code: "cross_site_arrival",
            title: "One moment",
            text: "You come from another site. If this page stays, please go on by hand.",
            // An empty link leads to this very address, and a click on it is of our own site.
            content: Html::new().tag("<p><a href=\"\">Go on</a></p>\n"),
            script: Some(ASK_AGAIN),
        });
        self.names().set_bounce(response.headers_mut());
        response
    }

    /// The page that posts the same form again, now from our own site, and so with our cookie.
    pub(super) async fn post_again<B>(&self, parts: &Parts, body: B) -> Response<Bytes>
    where
        B: http_body::Body,
    {
        let fields = match form::read(&parts.headers, body, MOST_FORM).await {
            Ok(fields) => fields,
            Err(why) => return tell(&not_posted(why), Asker::Person, self.answers()),
        };
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let mut content = Html::new()
            .tag("<form method=\"post\" accept-charset=\"utf-8\" action=\"")
            .text(target)
            .tag("\">\n");
        for (name, value) in &fields {
            content = content
                .tag("<input type=\"hidden\" name=\"")
                .text(name)
                .tag("\" value=\"")
                .text(value)
                .tag("\">\n");
        }
        self.answers().look.page(&Sheet {
            status: StatusCode::FORBIDDEN,
            code: "cross_site_arrival",
            title: "One moment",
            text: "You come from another site. If this page stays, please go on by hand.",
            content: content.tag("<button>Go on</button></form>\n"),
            script: Some(SUBMIT),
        })
    }
}

/// Who was sent on by our page came from another site, whatever the browser says of the last step.
pub(super) fn tell_whence(parts: &mut Parts) {
    if parts.method == Method::GET && is_document(&parts.headers) == Some(true) {
        let elsewhere = HeaderValue::from_static("cross-site");
        parts.headers.insert("sec-fetch-site", elsewhere);
    }
}

fn not_posted(why: NotRead) -> Told {
    let (status, code, title) = match why {
        NotRead::Type => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "form_type",
            "A form from another site is taken as application/x-www-form-urlencoded only.",
        ),
        NotRead::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "This form is too large.",
        ),
        NotRead::Broken => (
            StatusCode::BAD_REQUEST,
            "malformed",
            "This form cannot be read.",
        ),
    };
    Told {
        status,
        code,
        title,
        detail: None,
        leave: false,
        challenge: None,
    }
}

/// Whether a browser says that it navigates a whole window. `None`: it does not say what it does.
fn is_document(headers: &HeaderMap) -> Option<bool> {
    if !headers.contains_key("sec-fetch-mode") && !headers.contains_key("sec-fetch-dest") {
        return None;
    }
    Some(is(headers, "sec-fetch-mode", "navigate") && is(headers, "sec-fetch-dest", "document"))
}

fn is(headers: &HeaderMap, name: &str, value: &str) -> bool {
    let mut lines = headers.get_all(name).iter();
    lines
        .next()
        .is_some_and(|line| line.as_bytes() == value.as_bytes())
        && lines.next().is_none()
}
