//! Our cookies: their names, how they are read, how they are set and cleared.
//!
//! Names are matched byte by byte: no trimming beyond the one space of the grammar, no folding, no quoting, no
//! `$Version` (RFC 6265 section 4.2.1; the ways around `__Host-` that parsers have opened start there). Two
//! cookies of one of our names are refused: which of them would count is a matter of taste between parsers.

use core::fmt;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use wirebound::{CookieValue, Secret};

/// How many echo nonces a jar may hold.
const ECHOES: usize = 8;

/// How long the mark of a bounce stays: a slow network's reload.
const BOUNCE_SECONDS: u64 = 60;

/// Under which names our cookies go.
#[derive(Clone, Debug)]
pub struct Names {
    session: String,
    hand_over: String,
    echo: String,
    bounce: String,
    assertion: String,
    /// Assertions go out in cookies, and so with the session's.
    asserts: bool,
    secure: bool,
    same_site: &'static str,
}

impl Names {
    /// `__Host-wirebound` and its companions: `Secure`, host-only, for the whole host.
    #[must_use]
    pub fn secure() -> Self {
        Self::prefixed("__Host-wirebound", true)
    }

    /// Without `Secure`, and so without the prefix. For plain HTTP on loopback only.
    #[must_use]
    pub fn insecure_for_loopback() -> Self {
        Self::prefixed("wirebound", false)
    }

    fn prefixed(name: &str, secure: bool) -> Self {
        Self {
            session: name.to_owned(),
            hand_over: format!("{name}-h"),
            echo: format!("{name}-j"),
            bounce: format!("{name}-b"),
            assertion: format!("{name}-assertion"),
            asserts: false,
            secure,
            same_site: "Strict",
        }
    }

    /// `SameSite=Lax` in place of `Strict`: a link from elsewhere arrives signed in.
    #[must_use]
    pub fn lax(mut self) -> Self {
        self.same_site = "Lax";
        self
    }

    /// `SameSite=None`: every site sends the cookie along. The cross-site check is all that is left against forged
    /// requests; for an app that must live in another site's frame.
    #[must_use]
    pub fn dangerously_cross_site(mut self) -> Self {
        self.same_site = "None";
        self
    }

    /// With assertions in a cookie beside the session's.
    pub(crate) fn with_assertions(mut self) -> Self {
        self.asserts = true;
        self
    }

    /// Whether a navigation from elsewhere comes without these cookies.
    #[must_use]
    pub fn are_strict(&self) -> bool {
        self.same_site == "Strict"
    }

    /// The session cookie's name.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Whether a name is one of ours.
    #[must_use]
    pub fn is_ours(&self, name: &[u8]) -> bool {
        name.starts_with(self.session.as_bytes())
    }

    /// Reads our cookies out of a request's `Cookie` fields; the crumbs of HTTP/2 (RFC 9113 section 8.2.3) count as one.
    ///
    /// # Errors
    ///
    /// When one of our names comes twice.
    pub fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Shown<'h>, Twice> {
        let mut shown = Shown::default();
        for field in headers.get_all(COOKIE) {
            for pair in field.as_bytes().split(|byte| *byte == b';') {
                self.read_pair(pair.strip_prefix(b" ").unwrap_or(pair), &mut shown)?;
            }
        }
        Ok(shown)
    }

    fn read_pair<'h>(&self, pair: &'h [u8], shown: &mut Shown<'h>) -> Result<(), Twice> {
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
            return Ok(());
        };
        let (name, value) = pair.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        if name == self.session.as_bytes() {
            once(&mut shown.session, value)
        } else if name == self.hand_over.as_bytes() {
            once(&mut shown.hand_over, value)
        } else if name == self.bounce.as_bytes() {
            once(&mut shown.bounce, value)
        } else if name == self.assertion.as_bytes() {
            once(&mut shown.assertion, value)
        } else if let Some([slot @ b'0'..=b'7']) = name.strip_prefix(self.echo.as_bytes()) {
            let slot = usize::from(slot.saturating_sub(b'0'));
            shown
                .echoes
                .get_mut(slot)
                .map_or(Ok(()), |echo| once(echo, value))
        } else {
            Ok(())
        }
    }

    /// Sets the session cookie; `keep` is for how many seconds, if the browser is to keep it.
    pub fn set_session(&self, headers: &mut HeaderMap, cookie: &CookieValue, keep: Option<u64>) {
        self.set(headers, &self.session, cookie.expose(), keep);
    }

    /// Whether an answer sets or clears the session cookie already.
    pub(crate) fn sets_session(&self, headers: &HeaderMap) -> bool {
        sets(headers, &self.session)
    }

    /// Sets the assertion cookie; `keep` is for how many seconds, if the browser keeps the session's own.
    pub fn set_assertion(&self, headers: &mut HeaderMap, text: &str, keep: Option<u64>) {
        self.set(headers, &self.assertion, text, keep);
    }

    /// Whether an answer sets or clears it already.
    pub(crate) fn sets_assertion(&self, headers: &HeaderMap) -> bool {
        sets(headers, &self.assertion)
    }

    pub(crate) fn clear_assertion(&self, headers: &mut HeaderMap) {
        self.set(headers, &self.assertion, "", Some(0));
    }

    /// Clears what was asserted of the session, where that goes out in cookies.
    pub(crate) fn drop_assertion(&self, headers: &mut HeaderMap) {
        if self.asserts {
            self.clear_assertion(headers);
        }
    }

    /// Whether an answer sets or clears any cookie of ours.
    pub(crate) fn touches(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(SET_COOKIE).iter();
        lines.any(|line| self.is_ours(line.as_bytes()))
    }

    /// Clears the session cookie, and what was asserted of the session.
    pub fn clear_session(&self, headers: &mut HeaderMap) {
        self.set(headers, &self.session, "", Some(0));
        self.drop_assertion(headers);
    }

    /// Puts a hand-over nonce into the jar.
    pub fn set_hand_over(&self, headers: &mut HeaderMap, nonce: &Secret, seconds: u64) {
        self.set(
            headers,
            &self.hand_over,
            &nonce.expose_text(),
            Some(seconds),
        );
    }

    /// Takes it out.
    pub fn clear_hand_over(&self, headers: &mut HeaderMap) {
        self.set(headers, &self.hand_over, "", Some(0));
    }

    /// Puts an echo nonce into the first slot that this jar has free.
    pub fn set_echo(&self, headers: &mut HeaderMap, shown: &Shown<'_>, nonce: &str, seconds: u64) {
        let free = shown.echoes.iter().position(Option::is_none);
        let slot = free.unwrap_or(nonce.len() % ECHOES);
        self.set(
            headers,
            &format!("{}{slot}", self.echo),
            nonce,
            Some(seconds),
        );
    }

    /// Takes the echo nonces that a request brought out of the jar.
    pub fn clear_echoes(&self, headers: &mut HeaderMap, slots: &[usize]) {
        for slot in slots {
            self.set(headers, &format!("{}{slot}", self.echo), "", Some(0));
        }
    }

    /// Marks that a browser is about to come back of its own: it will send what it has of ours. Authenticates nothing.
    pub fn set_bounce(&self, headers: &mut HeaderMap) {
        self.set(headers, &self.bounce, "1", Some(BOUNCE_SECONDS));
    }

    /// Takes the mark away.
    pub fn clear_bounce(&self, headers: &mut HeaderMap) {
        self.set(headers, &self.bounce, "", Some(0));
    }

    fn set(&self, headers: &mut HeaderMap, name: &str, value: &str, max_age: Option<u64>) {
        let secure = if self.secure { "; Secure" } else { "" };
        let keep = max_age
            .map(|seconds| format!("; Max-Age={seconds}"))
            .unwrap_or_default();
        let same_site = self.same_site;
        let text = format!("{name}={value}; Path=/{secure}; HttpOnly; SameSite={same_site}{keep}");
        // Every part is ours and plain ASCII; were it not, setting nothing is the safe end.
        if let Ok(mut line) = HeaderValue::from_str(&text) {
            line.set_sensitive(true);
            headers.append(SET_COOKIE, line);
        }
    }
}

fn sets(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|line| {
        let rest = line.as_bytes().strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"="))
    })
}

fn once<'h>(place: &mut Option<&'h [u8]>, value: &'h [u8]) -> Result<(), Twice> {
    if place.replace(value).is_some() {
        Err(Twice)
    } else {
        Ok(())
    }
}

/// Our cookies as a request shows them. Believed by nobody.
#[derive(Default)]
pub struct Shown<'h> {
    /// The session cookie.
    pub session: Option<&'h [u8]>,
    /// The hand-over nonce.
    pub hand_over: Option<&'h [u8]>,
    /// The assertion.
    pub assertion: Option<&'h [u8]>,
    echoes: [Option<&'h [u8]>; ECHOES],
    bounce: Option<&'h [u8]>,
}

impl<'h> Shown<'h> {
    /// Echo nonces.
    pub fn echoes(&self) -> impl Iterator<Item = &'h [u8]> {
        self.echoes.iter().flatten().copied()
    }

    /// Whether it was sent back here by a page of ours: whatever else the jar has of ours came along too.
    #[must_use]
    pub const fn bounced(&self) -> bool {
        self.bounce.is_some()
    }

    /// In which slots they came.
    #[must_use]
    pub fn echo_slots(&self) -> Vec<usize> {
        self.echoes
            .iter()
            .enumerate()
            .filter_map(|(slot, echo)| echo.map(|_| slot))
            .collect()
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Shown {{ session: {}, hand_over: {}, echoes: {:?} }}",
            self.session.is_some(),
            self.hand_over.is_some(),
            self.echo_slots()
        )
    }
}

/// One of our names came twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Twice;

impl fmt::Display for Twice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of our cookies came twice")
    }
}

impl core::error::Error for Twice {}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn our_cookies_are_found_among_others_and_in_crumbs() {
        let names = Names::secure();
        let headers = headers(&[
            "a=1; __Host-wirebound=S; __Host-wirebound-j3=E",
            "__Host-wirebound-h=N",
        ]);
        let shown = names.read(&headers).unwrap();
        assert_eq!(shown.session, Some(b"S".as_slice()));
        assert_eq!(shown.hand_over, Some(b"N".as_slice()));
        assert_eq!(shown.echo_slots(), [3]);
        assert!(!format!("{shown:?}").contains('S'.to_string().repeat(2).as_str()));
    }

    #[test]
    fn cookie_tossing_and_odd_spellings_are_not_our_cookie() {
        let names = Names::secure();
        for line in [
            "__host-wirebound=S",
            "\t__Host-wirebound=S",
            "  __Host-wirebound=S",
            "__Host-wirebound =S",
            "$Version=1,__Host-wirebound=S",
            "\"__Host-wirebound\"=S",
            "__Host-wirebound",
            "__Host-wirebound-j8=S",
            "=__Host-wirebound=S",
            "wirebound=S",
        ] {
            let headers = headers(&[line]);
            let shown = names.read(&headers).unwrap();
            assert!(
                shown.session.is_none() && shown.echo_slots().is_empty(),
                "{line}"
            );
        }
    }

    #[test]
    fn duplicates_of_our_cookie_are_refused_in_one_line_or_in_crumbs() {
        let names = Names::secure();
        assert_eq!(
            names
                .read(&headers(&["__Host-wirebound=a; __Host-wirebound=b"]))
                .unwrap_err(),
            Twice
        );
        assert_eq!(
            names
                .read(&headers(&["__Host-wirebound=a", "__Host-wirebound=a"]))
                .unwrap_err(),
            Twice
        );
        assert_eq!(
            names
                .read(&headers(&["__Host-wirebound-j1=a; __Host-wirebound-j1=b"]))
                .unwrap_err(),
            Twice
        );
    }

    #[test]
    fn what_we_set_is_host_only_secure_http_only_strict_and_sensitive_also_when_it_clears() {
        let names = Names::secure();
        let mut headers = HeaderMap::new();
        names.set_hand_over(&mut headers, &Secret::from_bytes([1; 32]), 30);
        names.clear_session(&mut headers);
        names.clear_hand_over(&mut headers);
        names.clear_echoes(&mut headers, &[2]);
        names.set_bounce(&mut headers);
        names.clear_bounce(&mut headers);
        for line in headers.get_all(SET_COOKIE) {
            let text = line.to_str().unwrap();
            assert!(text.starts_with("__Host-wirebound"), "{text}");
            for part in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
                assert!(text.contains(part), "{text}");
            }
            assert!(!text.contains("Domain"), "{text}");
            assert!(line.is_sensitive());
        }
        assert!(!format!("{headers:?}").contains("AQEBAQ"));
    }
}
