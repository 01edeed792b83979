//! The bytes of a row: format 1. What does not read back whole is an error, never a guess.
//!
//! A row holds its own key, version and due moment, so that the index can be rebuilt from rows alone. The
//! checksum finds accidents (a bad sector, a stray write); it is not keyed and stops no attacker. The
//! engine's MAC over key, version and value does that.

use wirebound::Timestamp;
use wirebound::store::{Key, Space, Version};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What the `meta` table says of these bytes.
pub(crate) const FORMAT: u64 = 1;

const CHECKSUM: usize = 8;

/// A row as it was read.
pub(crate) struct Row<'a> {
    pub(crate) key: Key,
    pub(crate) version: Version,
    pub(crate) due: Timestamp,
    pub(crate) value: &'a [u8],
}

/// Writes `checksum | space | name length | name | version | due | value`, integers big-endian.
pub(crate) fn encode(
    number: u64,
    key: &Key,
    version: Version,
    due: Timestamp,
    value: &[u8],
    into: &mut Vec<u8>,
) {
    into.clear();
    into.extend_from_slice(&[0; CHECKSUM]);
    into.push(key.space().number());
    // A key's name is at most 255 bytes long: that is what `Key::new` cuts at.
    into.push(u8::try_from(key.name().len()).unwrap_or(u8::MAX));
    into.extend_from_slice(key.name());
    into.extend_from_slice(&version.as_u64().to_be_bytes());
    into.extend_from_slice(&due.as_millis().to_be_bytes());
    into.extend_from_slice(value);
    if let Some((checksum, body)) = into.split_first_chunk_mut::<CHECKSUM>() {
        *checksum = sum(number, body);
    }
}

/// Reads a row back, or nothing if it is not what was written under this number.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Option<Row<'_>> {
    let (checksum, body) = bytes.split_first_chunk::<CHECKSUM>()?;
    if *checksum != sum(number, body) {
        return None;
    }
    let (&[space, length], rest) = body.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (version, rest) = rest.split_first_chunk()?;
    let (due, value) = rest.split_first_chunk()?;
    Some(Row {
        key: Key::new(Space::from_number(space)?, name),
        version: Version::from_u64(u64::from_be_bytes(*version)),
        due: Timestamp::from_millis(u64::from_be_bytes(*due)),
        value,
    })
}

/// The row's number is part of the sum: a row that turns up under another number is not that row.
fn sum(number: u64, body: &[u8]) -> [u8; CHECKSUM] {
    xxh3_64_with_seed(body, number).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(
            7,
            &Key::new(Space::Vault, name),
            Version::from_u64(3),
            Timestamp::from_millis(9),
            value,
            &mut bytes,
        );
        bytes
    }

    #[test]
    fn the_bytes_of_format_1_are_these() {
        let bytes = row(b"ab", b"cd");
        assert_eq!(
            bytes[8..],
            *b"\x04\x02ab\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x09cd"
        );
        assert_eq!(bytes[..8], [210, 20, 148, 228, 148, 57, 102, 202]);
    }

    #[test]
    fn a_row_reads_back() {
        for name in [&b""[..], &b"n"[..], &[0xff; 255][..]] {
            let bytes = row(name, b"value");
            let read = decode(7, &bytes).unwrap();
            assert_eq!(read.key, Key::new(Space::Vault, name));
            assert_eq!(read.version.as_u64(), 3);
            assert_eq!(read.due.as_millis(), 9);
            assert_eq!(read.value, b"value");
        }
    }

    #[test]
    fn one_wrong_bit_or_another_number_is_not_a_row() {
        let bytes = row(b"name", b"value");
        assert!(decode(8, &bytes).is_none());
        for at in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[at / 8] ^= 1 << (at % 8);
            assert!(decode(7, &wrong).is_none(), "bit {at}");
        }
        for end in 0..bytes.len() {
            assert!(decode(7, &bytes[..end]).is_none(), "cut at {end}");
        }
    }
}
