//! One `Set-Cookie` line, read as a browser reads it (RFC 6265 5.2 and 5.1.1).
//!
//! It is read by the browser's rules and not by a stricter grammar, because what the app meant is what the
//! browser would have done. A line with a control character is no cookie at all (RFC 6265bis).

use super::vault::Value;

/// What a `Set-Cookie` line says.
#[derive(Debug)]
#[non_exhaustive]
pub struct Line {
    /// The name, never empty.
    pub name: Vec<u8>,
    /// The value, quotes and all.
    pub value: Value,
    /// Lower case, without a leading dot. None: for this host only.
    pub domain: Option<String>,
    /// Only where it begins with `/`.
    pub path: Option<String>,
    /// In Unix seconds; `Max-Age` is heard before `Expires`. None: until the browser closes.
    pub expires: Option<u64>,
    /// Whether scripts are kept from it.
    pub http_only: bool,
}

/// Reads a line at a time `now` in Unix seconds. None where a browser would ignore it.
#[must_use]
pub fn read(line: &[u8], now: u64) -> Option<Line> {
    if line
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return None;
    }
    let mut pieces = line.split(|byte| *byte == b';');
    let (name, value) = halves(pieces.next()?);
    let value = value?;
    if name.is_empty() {
        return None;
    }
    let mut read = Line {
        name: name.to_vec(),
        value: Value::new(value),
        domain: None,
        path: None,
        expires: None,
        http_only: false,
    };
    let (mut max_age, mut expires) = (None, None);
    for piece in pieces {
        let (attribute, value) = halves(piece);
        let value = value.unwrap_or_default();
        match attribute.to_ascii_lowercase().as_slice() {
            b"httponly" => read.http_only = true,
            b"max-age" => max_age = lifetime(value, now).or(max_age),
            b"expires" => expires = date(value).or(expires),
            b"domain" => read.domain = domain(value),
            b"path" => read.path = path(value),
            _ => {}
        }
    }
    read.expires = max_age.or(expires);
    Some(read)
}

fn halves(piece: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut halves = piece.splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default().trim_ascii();
    (name, halves.next().map(<[u8]>::trim_ascii))
}

/// RFC 6265 5.2.2. Zero and below is the beginning of time.
fn lifetime(value: &[u8], now: u64) -> Option<u64> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than a u64 holds is simply very long.
    let seconds = std::str::from_utf8(digits)
        .ok()?
        .parse::<u64>()
        .unwrap_or(u64::MAX);
    Some(if negative || seconds == 0 {
        0
    } else {
        now.saturating_add(seconds)
    })
}

fn domain(value: &[u8]) -> Option<String> {
    let value = value.strip_prefix(b".").unwrap_or(value);
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty()).then(|| text.to_ascii_lowercase())
}

fn path(value: &[u8]) -> Option<String> {
    value
        .starts_with(b"/")
        .then(|| String::from_utf8(value.to_vec()).ok())
        .flatten()
}

/// RFC 6265 5.1.1: whatever order the pieces are in. In Unix seconds; before 1970 is 0.
#[must_use]
pub fn date(value: &[u8]) -> Option<u64> {
    let delimiter =
        |byte: &u8| matches!(byte, b'\t' | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e);
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in value.split(delimiter).filter(|token| !token.is_empty()) {
        if time.is_none() && clock(token).is_some() {
            time = clock(token);
        } else if day.is_none() && number(token, 1, 2).is_some() {
            day = number(token, 1, 2);
        } else if month.is_none() && month_of(token).is_some() {
            month = month_of(token);
        } else if year.is_none() && number(token, 2, 4).is_some() {
            year = number(token, 2, 4);
        }
    }
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let year = match year? {
        short @ 70..=99 => short.saturating_add(1900),
        short @ 0..=69 => short.saturating_add(2000),
        long => long,
    };
    if !(1..=31).contains(&day) || year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let seconds = hour
        .saturating_mul(3600)
        .saturating_add(minute.saturating_mul(60))
        .saturating_add(second);
    let total = days.saturating_mul(86_400).saturating_add(seconds);
    Some(u64::try_from(total).unwrap_or(0))
}

fn clock(token: &[u8]) -> Option<(i64, i64, i64)> {
    let mut fields = token.splitn(3, |byte| *byte == b':');
    let hour = number(fields.next()?, 1, 2)?;
    let minute = number(fields.next()?, 1, 2)?;
    let second = number(fields.next()?, 1, 2)?;
    Some((hour, minute, second))
}

/// `least` to `most` digits, followed by nothing or by what is not a digit.
fn number(token: &[u8], least: usize, most: usize) -> Option<i64> {
    let digits = token
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits < least || digits > most {
        return None;
    }
    std::str::from_utf8(token.get(..digits)?).ok()?.parse().ok()
}

fn month_of(token: &[u8]) -> Option<i64> {
    const MONTHS: [&[u8]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let head = token.get(..3)?.to_ascii_lowercase();
    let index = MONTHS.iter().position(|month| *month == head.as_slice())?;
    i64::try_from(index).ok()?.checked_add(1)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, years beginning in March so that the leap day is last.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month.saturating_sub(3))
    } else {
        (year.saturating_sub(1), month.saturating_add(9))
    };
    let leaps = year
        .div_euclid(4)
        .saturating_sub(year.div_euclid(100))
        .saturating_add(year.div_euclid(400));
    let in_year = month.saturating_mul(153).saturating_add(2).div_euclid(5);
    year.saturating_mul(365)
        .saturating_add(leaps)
        .saturating_add(in_year)
        .saturating_add(day)
        // Days from 0000-03-01 to 1970-01-01, and the first day of a month is day 1.
        .saturating_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_every_shape_that_servers_write() {
        for (text, expect) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 01-Jan-1970 00:00:10 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Tue, 29 Feb 2028 12:00:00 GMT", Some(1_835_438_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Mon, 01 Jan 1900 00:00:00 GMT", Some(0)),
            ("tomorrow", None),
            ("06 Nov 1994", None),
            ("32 Nov 1994 00:00:00", None),
            ("06 Nov 1994 24:00:00", None),
            ("", None),
        ] {
            assert_eq!(date(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn lines_are_read_as_browsers_read_them() {
        let line = read(b" sessionid = \"a=b\" ; HTTPONLY; path=/x; Domain=.App.Example; Max-Age=5; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 100).unwrap();
        assert_eq!(line.name, b"sessionid");
        assert_eq!(line.value.expose(), b"\"a=b\"");
        assert!(line.http_only);
        assert_eq!(line.path.as_deref(), Some("/x"));
        assert_eq!(line.domain.as_deref(), Some("app.example"));
        assert_eq!(line.expires, Some(105));
        assert!(read(b"novalue; HttpOnly", 0).is_none());
        assert!(read(b"=v; HttpOnly", 0).is_none());
        assert!(read(b"a=\x01", 0).is_none());
        let line = read(b"a=; Path=x; Domain=; Max-Age=x", 0).unwrap();
        assert_eq!(
            (line.path, line.domain, line.expires, line.http_only),
            (None, None, None, false)
        );
        assert_eq!(read(b"a=1; Max-Age=-1", 9).unwrap().expires, Some(0));
        assert_eq!(
            read(b"a=1; Max-Age=99999999999999999999999", 9)
                .unwrap()
                .expires,
            Some(u64::MAX)
        );
    }
}
