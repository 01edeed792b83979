//! A subject as text, in a token as in a field: percent-encoded, with one spelling for each.

use wirebound::Subject;

/// A subject as it stands in a token or a field: everything but unreserved characters is percent-encoded (RFC 3986 2.3).
#[must_use]
pub fn encode_subject(subject: &[u8]) -> String {
    let mut text = String::with_capacity(subject.len());
    let digit = |half: u8| {
        char::from_digit(u32::from(half), 16)
            .unwrap_or('0')
            .to_ascii_uppercase()
    };
    for byte in subject {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            _ => text.extend(['%', digit(byte >> 4), digit(byte & 0x0f)]),
        }
    }
    text
}

/// Reads what [`encode_subject`] writes. Another spelling of the same bytes is none: two texts must not be one subject.
#[must_use]
pub fn decode_subject(text: &str) -> Option<Subject> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next()?)? << 4) | digit(rest.next()?)?,
            plain => plain,
        });
    }
    let subject = Subject::new(&bytes).ok()?;
    (encode_subject(&bytes) == text).then_some(subject)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_subject_has_one_spelling() {
        assert_eq!(encode_subject(b"a:b c/\xff~"), "a%3Ab%20c%2F%FF~");
        for bad in [
            "", "%", "%4", "%zz", "%3a", "%41", "a b", "a:b", "\u{e4}", "%+1",
        ] {
            assert_eq!(decode_subject(bad), None, "{bad:?}");
        }
        assert_eq!(decode_subject(&"a".repeat(256)), None);
        assert!(decode_subject(&"%00".repeat(255)).is_some());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..=255)) {
            let subject = decode_subject(&encode_subject(&bytes));
            prop_assert_eq!(subject.as_ref().map(Subject::as_bytes), Some(bytes.as_slice()));
        }
    }
}
