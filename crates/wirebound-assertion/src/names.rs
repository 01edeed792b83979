//! Names that revocation goes by, and how bytes are spelled: in base64url, with one spelling for each.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use wirebound::revocation::{SubjectTag, TokenId};

/// Exactly `N` bytes, written in base64url without padding and without stray bits in the last character.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (written == N).then_some(bytes)
}

/// Bytes in the spelling that [`read`] takes.
pub(crate) fn write(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let id = TokenId::from_bytes([0xff; 16]);
        let text = id.to_string();
        assert_eq!(text, "_____________________w");
        assert_eq!(TokenId::parse(&text), Some(id));
        assert_eq!(
            SubjectTag::parse(&text),
            Some(SubjectTag::from_bytes([0xff; 16]))
        );
        for bad in [
            "",
            "_____________________w==",
            // Four bits of the last character are spare: this would be the same bytes.
            "_____________________x",
            "/////////////////////w",
            "____________________w",
            "______________________w",
            " ____________________w",
        ] {
            assert_eq!(TokenId::parse(bad), None, "{bad:?}");
        }
    }
}
