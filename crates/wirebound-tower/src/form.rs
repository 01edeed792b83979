//! Forms that people post: read to a bound, within a time, and only as `application/x-www-form-urlencoded`.

use core::time::Duration;

use bytes::Buf as _;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode;

/// How long a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// The most fields: a form that a person filled in, or that an identity provider sends.
const MOST_FIELDS: usize = 256;

/// Why a form was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum NotRead {
    /// It is of another type, a `multipart/form-data` with files in it, say.
    Type,
    /// It is too large, or has too many fields.
    TooLarge,
    /// It broke off, took too long, or is not UTF-8.
    Broken,
}

/// Whether a request says that its body is such a form.
#[must_use]
pub fn is_urlencoded(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let first = types.next().and_then(|value| value.to_str().ok());
    let name = first.and_then(|value| value.split(';').next());
    types.next().is_none()
        && name.is_some_and(|name| {
            name.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// The fields of a form, in their order, decoded. Nothing in it is ever logged.
///
/// # Errors
///
/// When it is no such form, larger than `most` bytes, or not to be read.
pub async fn read<B>(
    headers: &HeaderMap,
    body: B,
    most: usize,
) -> Result<Vec<(String, String)>, NotRead>
where
    B: http_body::Body,
{
    if !is_urlencoded(headers) {
        return Err(NotRead::Type);
    }
    let bytes = tokio::time::timeout(PATIENCE, gather(body, most))
        .await
        .map_err(|_| NotRead::Broken)??;
    fields(&bytes)
}

async fn gather<B: http_body::Body>(body: B, most: usize) -> Result<Vec<u8>, NotRead> {
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(NotRead::TooLarge);
    }
    let mut body = core::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = body.as_mut().frame().await {
        let Ok(mut data) = frame.map_err(|_| NotRead::Broken)?.into_data() else {
            continue;
        };
        if bytes.len().saturating_add(data.remaining()) > most {
            return Err(NotRead::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            bytes.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    Ok(bytes)
}

fn fields(bytes: &[u8]) -> Result<Vec<(String, String)>, NotRead> {
    let decoded = |part: &[u8]| {
        let spaced: Vec<u8> = part
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        let text = String::from_utf8(percent_decode(&spaced).collect());
        // HTML has no way to write this character down.
        text.ok().filter(|text| !text.contains('\0'))
    };
    let mut found = Vec::new();
    for pair in bytes
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
    {
        if found.len() >= MOST_FIELDS {
            return Err(NotRead::TooLarge);
        }
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair.split_at(at.unwrap_or(pair.len()));
        let value = value.get(1..).unwrap_or_default();
        let pair = decoded(name).zip(decoded(value)).ok_or(NotRead::Broken)?;
        found.push(pair);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, NotRead> {
        fields(text.as_bytes())
    }

    #[test]
    fn fields_are_decoded_in_their_order() {
        let pairs = [
            ("SAMLResponse", "PD9+/="),
            ("x", "a b\r\n\u{fc}"),
            ("x", ""),
            ("y", ""),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = "SAMLResponse=PD9%2B%2f%3D&&x=a+b%0D%0A%C3%BC&x=&y";
        assert_eq!(read(text).unwrap(), pairs);
    }

    #[test]
    fn what_cannot_be_written_down_again_is_not_read() {
        assert_eq!(read("a=%ff"), Err(NotRead::Broken));
        assert_eq!(read("a=%00"), Err(NotRead::Broken));
        assert_eq!(read(&"a&".repeat(MOST_FIELDS)).unwrap().len(), MOST_FIELDS);
        assert_eq!(read(&"a&".repeat(MOST_FIELDS + 1)), Err(NotRead::TooLarge));
    }

    #[tokio::test]
    async fn only_urlencoded_forms_of_a_bounded_size_are_read() {
        for (kind, size, expected) in [
            ("application/x-www-form-urlencoded", 20, None),
            ("Application/X-WWW-form-urlencoded; charset=utf-8", 20, None),
            (
                "application/x-www-form-urlencoded",
                21,
                Some(NotRead::TooLarge),
            ),
            ("multipart/form-data; boundary=x", 20, Some(NotRead::Type)),
            ("text/plain", 20, Some(NotRead::Type)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            let body = http_body_util::Full::new(bytes::Bytes::from("a".repeat(size)));
            let read = super::read(&headers, body, 20).await;
            assert_eq!(read.err(), expected, "{kind}");
        }
    }
}
