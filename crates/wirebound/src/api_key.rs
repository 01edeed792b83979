//! The text of an API key, `wbk_<id>_<secret><checksum>`: written once, read strictly.
//!
//! All of it is base62, so that a double click takes it whole and no shell, URL or header changes it. The prefix and the
//! checksum are for scanners of repositories and logs, and for people: a typo is told from a wrong key without a look at
//! any key. Neither is a defence; 256 random bits are. A text that reads is believed by nobody.

use core::fmt;

use zeroize::Zeroizing;

use crate::keys::Digest;
use crate::time::{Entropy, EntropyError};

pub(crate) mod held;
pub(crate) mod record;

/// Version of the form.
const PREFIX: &[u8] = b"wbk_";
/// What stands between id and secret.
const BETWEEN: &[u8] = b"_";
/// Characters of an id: 71 bits, a name and no secret.
const ID_CHARS: usize = 12;
/// Characters of a secret: the fewest of base62 that hold 256 bits.
const SECRET_CHARS: usize = 43;
/// Characters of a checksum: the fewest of base62 that hold 32 bits.
const CHECKSUM_CHARS: usize = 6;
/// All before the checksum.
const SUMMED_CHARS: usize = PREFIX.len() + ID_CHARS + BETWEEN.len() + SECRET_CHARS;
/// Characters of a whole key.
pub const API_KEY_CHARS: usize = SUMMED_CHARS + CHECKSUM_CHARS;

/// The digits, in order of their worth.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Below it lie four times 62 values of a byte; those above would make some digits likelier than others.
const FAIR: u8 = 248;
/// How often randomness is asked for before it counts as failed. A fair source is asked once or twice.
const DRAWS: usize = 64;
/// How often a text may have been percent-encoded and is still searched.
const ENCODINGS: usize = 3;

/// An API key's public name: 12 characters, drawn by the server. Safe to log; proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId([u8; ID_CHARS]);

impl ApiKeyId {
    /// Draws a fresh one.
    pub(crate) fn draw(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        draw(entropy).map(|characters| Self(*characters))
    }

    /// Reads the 12 characters that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let characters: [u8; ID_CHARS] = bytes.try_into().ok()?;
        is_base62(&characters).then_some(Self(characters))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; ID_CHARS] {
        &self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyId({self})")
    }
}

/// A whole API key, to be shown once to whoever asked for it.
///
/// # Security
///
/// Whoever holds this text holds a credential. It does not print, compare or serialise; the store has only a digest.
pub struct ApiKey {
    id: ApiKeyId,
    text: Zeroizing<String>,
}

impl ApiKey {
    /// Draws a fresh secret for the key of this id.
    pub(crate) fn draw(id: ApiKeyId, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let secret = draw::<SECRET_CHARS>(entropy)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(API_KEY_CHARS));
        for part in [PREFIX, id.as_bytes(), BETWEEN, secret.as_slice()] {
            bytes.extend_from_slice(part);
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let mut text = Zeroizing::new(String::with_capacity(API_KEY_CHARS));
        text.extend(bytes.iter().copied().map(char::from));
        Ok(Self { id, text })
    }

    /// Its public name.
    #[must_use]
    pub const fn id(&self) -> ApiKeyId {
        self.id
    }

    /// The text. The only way to read it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    pub(crate) fn digest(&self) -> Option<Digest> {
        Shown::read(self.text.as_bytes()).map(|shown| shown.digest())
    }

    /// Whether a well-formed key stands anywhere in these bytes, as it is or percent-encoded. For what ends up in logs and
    /// histories (a URL): what carries a key there is refused, whether or not the key is good.
    #[must_use]
    pub fn find_in(bytes: &[u8]) -> bool {
        if stands_in(bytes) {
            return true;
        }
        let Some(mut decoded) = percent_decoded(bytes) else {
            return false;
        };
        for _ in 1..ENCODINGS {
            if stands_in(&decoded) {
                return true;
            }
            match percent_decoded(&decoded) {
                Some(again) => decoded = again,
                None => return false,
            }
        }
        stands_in(&decoded)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// A text that reads as an API key. Believed by nobody.
pub(crate) struct Shown<'t> {
    pub(crate) id: ApiKeyId,
    secret: &'t [u8; SECRET_CHARS],
}

impl<'t> Shown<'t> {
    pub(crate) fn read(text: &'t [u8]) -> Option<Self> {
        // The length first: nothing is summed that cannot be a key.
        if text.len() != API_KEY_CHARS {
            return None;
        }
        let (summed, sum) = text.split_at_checked(SUMMED_CHARS)?;
        let rest = summed.strip_prefix(PREFIX)?;
        let (id, rest) = rest.split_at_checked(ID_CHARS)?;
        let secret: &[u8; SECRET_CHARS] = rest.strip_prefix(BETWEEN)?.try_into().ok()?;
        let id = ApiKeyId::from_bytes(id)?;
        // The sum holds nothing that is not in the text itself: what time tells of it, whoever sent it knows.
        (is_base62(secret) && checksum(summed) == sum).then_some(Self { id, secret })
    }

    /// What is kept at rest in the secret's place.
    ///
    /// A fast hash without a salt or a key of the node is enough: the secret is 256 random bits and no password, so there
    /// is nothing to guess and no table to make (OWASP ASVS 6.5.2 asks for a slow, salted hash below 112 bits). It does not depend
    /// on the node secret, because keys outlive its epochs; that nobody writes a digest of his own into the store is the
    /// business of the record's MAC.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("wirebound v1 api key");
        hasher.update(self.id.as_bytes());
        hasher.update(self.secret);
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }
}

fn is_base62(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_alphanumeric)
}

fn digit(worth: u8) -> u8 {
    BASE62.get(usize::from(worth)).copied().unwrap_or(b'0')
}

/// Draws characters, each of the 62 as likely as any other.
fn draw<const N: usize>(entropy: &dyn Entropy) -> Result<Zeroizing<[u8; N]>, EntropyError> {
    let mut characters = Zeroizing::new([0; N]);
    let mut places = characters.iter_mut();
    let mut pool = Zeroizing::new([0; 64]);
    for _ in 0..DRAWS {
        entropy.fill(pool.as_mut_slice())?;
        let fair = pool.iter().filter(|byte| **byte < FAIR);
        // In this order: when the pool runs out, no place is passed over.
        for (byte, place) in fair.zip(places.by_ref()) {
            *place = digit(byte % 62);
        }
        if places.len() == 0 {
            return Ok(characters);
        }
    }
    Err(EntropyError::new())
}

/// CRC-32 (IEEE 802.3) in base62, the digit of most worth first.
fn checksum(summed: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(summed);
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for place in digits.iter_mut().rev() {
        *place = u8::try_from(rest % 62).map_or(b'0', digit);
        rest /= 62;
    }
    digits
}

fn stands_in(bytes: &[u8]) -> bool {
    bytes
        .windows(API_KEY_CHARS)
        .any(|window| window.starts_with(PREFIX) && Shown::read(window).is_some())
}

/// The bytes with each `%XX` taken for the byte it means; nothing if there is none.
fn percent_decoded(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    let mut any = false;
    while let Some((first, after)) = rest.split_first() {
        let meant = match (first, after) {
            (b'%', [high, low, after @ ..]) => nibble(*high)
                .zip(nibble(*low))
                .map(|(high, low)| ((high << 4) | low, after)),
            _ => None,
        };
        let (byte, after) = meant.unwrap_or((*first, after));
        any |= meant.is_some();
        decoded.push(byte);
        rest = after;
    }
    any.then_some(decoded)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|worth| u8::try_from(worth).ok())
}

#[cfg(test)]
#[expect(
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "tests: a wrong step ends the test with its place"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::TestEntropy;

    fn key(seed: u64) -> ApiKey {
        let entropy = TestEntropy::seeded(seed);
        ApiKey::draw(ApiKeyId::draw(&entropy).unwrap(), &entropy).unwrap()
    }

    /// Repeats one byte for ever.
    #[derive(Debug)]
    struct Stuck(u8);

    impl Entropy for Stuck {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    /// Counts up from 0, and so draws each byte equally often.
    #[derive(Debug, Default)]
    struct Counting(std::sync::Mutex<u8>);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            let mut next = self.0.lock().unwrap();
            for byte in bytes {
                *byte = *next;
                *next = next.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn a_key_has_the_form_that_is_written_down_and_reads_back() {
        let key = key(1);
        let text = key.expose();
        assert_eq!(text.len(), 66);
        assert_eq!(text.len(), API_KEY_CHARS);
        assert_eq!(&text[..4], "wbk_");
        assert_eq!(&text[4..16], key.id().to_string());
        assert_eq!(&text[16..17], "_");
        assert!(is_base62(&text.as_bytes()[17..]));
        assert_eq!(ApiKeyId::parse(&text[4..16]), Some(key.id()));
        let shown = Shown::read(text.as_bytes()).unwrap();
        assert_eq!(shown.id, key.id());
        assert_eq!(shown.secret, &text.as_bytes()[17..60]);
        assert!(shown.digest().matches(&key.digest().unwrap()));
    }

    #[test]
    fn the_checksum_is_the_crc_32_that_everybody_has() {
        // The check value of CRC-32/ISO-HDLC: 0xcbf43926 = 3421780262.
        let worth = |digits: [u8; 6]| {
            digits.iter().fold(0u64, |sum, digit| {
                let worth = BASE62.iter().position(|one| one == digit).unwrap();
                sum * 62 + u64::try_from(worth).unwrap()
            })
        };
        assert_eq!(worth(checksum(b"123456789")), 0xcbf4_3926);
        assert_eq!(&checksum(b""), b"000000", "the digits are all there");
    }

    #[test]
    fn a_key_does_not_print() {
        let key = key(2);
        let shown = format!("{key:?} {key:#?}");
        assert_eq!(shown, "ApiKey(..) ApiKey(..)");
    }

    #[test]
    fn another_id_or_another_secret_has_another_digest() {
        let entropy = TestEntropy::seeded(3);
        let ids = [(); 2].map(|()| ApiKeyId::draw(&entropy).unwrap());
        let one = ApiKey::draw(ids[0], &Stuck(7)).unwrap();
        let other_id = ApiKey::draw(ids[1], &Stuck(7)).unwrap();
        let other_secret = ApiKey::draw(ids[0], &Stuck(8)).unwrap();
        assert_eq!(&one.expose()[17..60], &other_id.expose()[17..60]);
        let digest = |key: &ApiKey| key.digest().unwrap();
        assert!(!digest(&one).matches(&digest(&other_id)));
        assert!(!digest(&one).matches(&digest(&other_secret)));
        assert!(digest(&one).matches(&digest(&ApiKey::draw(ids[0], &Stuck(7)).unwrap())));
    }

    #[test]
    fn each_character_is_as_likely_as_any_other_and_a_source_that_is_stuck_makes_no_key() {
        let entropy = Counting::default();
        let mut counts = [0u32; 256];
        // A byte comes up 62 times in 62 * 256; 4 of the bytes make each character.
        for _ in 0..62 {
            let drawn: Zeroizing<[u8; 248]> = draw(&entropy).unwrap();
            for character in drawn.iter() {
                counts[usize::from(*character)] += 1;
            }
            // 248 fair bytes took 3 pools of 64 and most of a fourth: the turn ends where it began.
            assert_eq!(*entropy.0.lock().unwrap(), 0);
        }
        assert!(BASE62.iter().all(|c| counts[usize::from(*c)] == 62 * 4));
        assert_eq!(counts.iter().sum::<u32>(), 62 * 248, "and no other");
        assert!(draw::<1>(&Stuck(FAIR)).is_err());
        assert!(draw::<1>(&Stuck(FAIR - 1)).is_ok());
    }

    #[test]
    fn what_only_looks_like_a_key_is_none() {
        let text = key(4).expose().to_owned();
        for bad in [
            String::new(),
            "wbk_".to_owned(),
            format!("{text} "),
            format!(" {text}"),
            text[..65].to_owned(),
            text[1..].to_owned(),
            format!("{text}0"),
            text.to_uppercase(),
            text.to_lowercase(),
            text.replacen("wbk_", "wbx_", 1),
            text.replace('_', "-"),
            "0".repeat(66),
        ] {
            assert!(Shown::read(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(Shown::read(text.as_bytes()).is_some(), "the control");
    }

    #[test]
    fn a_key_is_found_wherever_it_stands_and_however_it_is_encoded() {
        let key = key(5);
        let text = key.expose();
        let all: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let upper: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for found in [
            text.to_owned(),
            format!("/v1/things?api_key={text}&page=2"),
            format!("/{text}"),
            format!("%20{text}%20"),
            format!("/?key={all}"),
            upper,
            format!("/?key={}", text.replacen('_', "%5F", 1)),
            format!("/?key={}", text.replace('_', "%5f")),
            format!("/?next=%2F%3Fkey%3D{}", text.replace('_', "%255F")),
            format!("/?next={}", text.replace('_', "%25255F")),
            format!("%%%{text}%"),
            format!("wbk_wbk_{text}"),
        ] {
            assert!(ApiKey::find_in(found.as_bytes()), "{found}");
        }
        let mut mistyped = text.to_owned();
        mistyped.pop();
        for clean in [
            "",
            "/?q=wbk_",
            "/%",
            "/%4",
            "%zz%25",
            &format!("/?key={mistyped}"),
            &format!("/?key={mistyped}-"),
        ] {
            assert!(!ApiKey::find_in(clean.as_bytes()), "{clean}");
        }
    }

    proptest! {
        #[test]
        fn any_one_character_changed_is_malformed(seed: u64, at in 0usize..66, other: u8) {
            let key = key(seed);
            let mut text = key.expose().as_bytes().to_vec();
            prop_assert!(Shown::read(&text).is_some());
            prop_assume!(text[at] != other);
            text[at] = other;
            prop_assert!(Shown::read(&text).is_none());
        }

        #[test]
        fn any_two_neighbours_swapped_are_malformed(seed: u64, at in 0usize..65) {
            let key = key(seed);
            let mut text = key.expose().as_bytes().to_vec();
            prop_assume!(text[at] != text[at + 1]);
            text.swap(at, at + 1);
            prop_assert!(Shown::read(&text).is_none());
        }

        #[test]
        fn a_key_is_found_among_any_bytes(
            seed: u64,
            before in proptest::collection::vec(any::<u8>(), 0..40),
            after in proptest::collection::vec(any::<u8>(), 0..40),
            encoded in proptest::collection::vec(any::<bool>(), 66),
        ) {
            let mut bytes = before.clone();
            for (byte, encode) in key(seed).expose().bytes().zip(encoded) {
                if encode {
                    bytes.extend(format!("%{byte:02X}").bytes());
                } else {
                    bytes.push(byte);
                }
            }
            bytes.extend(&after);
            // A "%" at the end of what stands before takes the first characters of the key with it, if they are digits.
            prop_assume!(!before.iter().rev().take(2).any(|byte| *byte == b'%'));
            prop_assert!(ApiKey::find_in(&bytes));
        }

        #[test]
        fn whatever_a_stranger_sends_is_no_key_and_stops_nothing(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Shown::read(&text).is_none());
            prop_assert!(!ApiKey::find_in(&text));
        }
    }
}
