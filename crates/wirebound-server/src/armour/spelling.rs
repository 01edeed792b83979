//! When two cookie names are one name to some server.
//!
//! PHP reads `my.sid`, `my sid` and `my[sid` as `my_sid`; others decode escapes, ignore case, or drop bytes
//! they do not know. A client's own copy of an armoured cookie must not pass in any of these spellings, so
//! names are compared in the form that all of them share. Folding too much costs a client one cookie of its
//! own; folding too little lets a stolen one through.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The form of a cookie name in which all its spellings are equal.
#[must_use]
pub fn fold(name: &[u8]) -> String {
    if is_plain(name) {
        return fold_bytes(name);
    }
    let mut decoded = name.to_vec();
    // Decoded again while that changes something: whoever decodes twice must not see more than we did.
    for _ in 0..3 {
        let again: Vec<u8> = percent_decode(&decoded).collect();
        if again == decoded {
            break;
        }
        decoded = again;
    }
    let kept: Vec<u8> = decoded
        .into_iter()
        .filter(|byte| byte.is_ascii() && !byte.is_ascii_control())
        .collect();
    fold_bytes(kept.trim_ascii())
}

/// Whether there is nothing to decode, to drop or to trim.
fn is_plain(name: &[u8]) -> bool {
    name.iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'%')
}

fn fold_bytes(name: &[u8]) -> String {
    name.iter()
        .map(|byte| match byte {
            b'.' | b' ' | b'[' | b'-' | b'+' => '_',
            byte => char::from(byte.to_ascii_lowercase()),
        })
        .collect()
}

/// Every folded name that a client's cookie name may stand for: itself, and what PHP sees before a `[`.
pub fn readings(name: &[u8]) -> impl Iterator<Item = String> {
    let decoded: Cow<'_, [u8]> = percent_decode(name).into();
    let array = decoded
        .iter()
        .position(|byte| *byte == b'[')
        .and_then(|at| decoded.get(..at))
        .map(fold);
    std::iter::once(fold(name)).chain(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_spelling_folds_to_one() {
        for name in [
            &b"my_sid"[..],
            b"my.sid",
            b"my sid",
            b"my[sid",
            b"my-sid",
            b"MY_SID",
            b"my%5fsid",
            b"my%255fsid",
            b"my%2Esid",
            b"  my.sid ",
            b"\xe2\x80\x80my_sid",
            b"\xa0my_sid",
            b"my\x00_sid",
        ] {
            assert_eq!(fold(name), "my_sid", "{name:?}");
        }
        assert_eq!(
            readings(b"my.sid[a]").collect::<Vec<_>>(),
            ["my_sid_a]", "my_sid"]
        );
        assert_ne!(fold(b"mysid"), "my_sid");
    }
}
