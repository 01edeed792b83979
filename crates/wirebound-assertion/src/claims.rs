//! What an assertion says, and how it is written and read: every claim of exactly its type, no other claim, none twice.
//!
//! We are the only issuer, so a claim that is not known is not tolerated: it would mean that somebody reads more into a
//! token than was put there. Reading here checks form only; whether to believe it is for [`crate::check`].

use core::fmt;
use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wirebound::{SessionId, Strength, Subject, Timestamp};

use crate::json::{self, Members};
use crate::keys::is_word;
use crate::names::{self, SubjectTag, TokenId};
use crate::subject::{decode_subject, encode_subject};

/// Longest issuer or audience in bytes.
pub const PARTY_MAX_BYTES: usize = 1024;

/// Longest name of a role in bytes.
pub const ROLE_MAX_BYTES: usize = 64;

/// The largest generation: the largest whole number that every reader of JSON gives back unchanged (RFC 7493 2.2).
pub const GENERATION_MAX: u64 = 9_007_199_254_740_991;

const KEY_MEMBER: &str = "jkt";
const CERTIFICATE_MEMBER: &str = "x5t#S256";

/// What an assertion says. Nothing in it is a secret, but who holds the token is taken for the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a new claim must be given by everybody who issues"
)]
pub struct Claims {
    /// `iss`: who says it. 1 to [`PARTY_MAX_BYTES`] printable ASCII characters without spaces.
    pub issuer: String,
    /// `aud`: to whom, and to nobody else. One, of the form of an issuer.
    pub audience: String,
    /// `sub`: about whom, percent-encoded ([`encode_subject`]).
    pub subject: Subject,
    /// `iat`: when it was said.
    pub issued: Seconds,
    /// `nbf`: from when on it holds; not before it was said.
    pub not_before: Seconds,
    /// `exp`: from when on it holds no more.
    pub expires: Seconds,
    /// `jti`: the name of this one token, by which it can be revoked.
    pub id: TokenId,
    /// `sid`: the session.
    pub session: SessionId,
    /// `role`: the role in force. 1 to [`ROLE_MAX_BYTES`] printable ASCII characters without spaces.
    pub role: String,
    /// `strength`: the proof behind the request.
    pub strength: Strength,
    /// `gen`: the generation of the identity; at most [`GENERATION_MAX`].
    pub generation: u64,
    /// `stg`: the subject's name towards those who follow revocations.
    pub tag: SubjectTag,
    /// `cnf`: the key that must be shown with it (RFC 7800).
    pub confirmation: Option<Confirmation>,
}

/// A moment in whole seconds since 1970-01-01 UTC, up to the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(u64);

impl Seconds {
    /// The last moment that a token may name.
    pub const MAX: Self = Self(253_402_300_799);

    /// From seconds since 1970-01-01 UTC, if that is not beyond [`Seconds::MAX`].
    #[must_use]
    pub fn new(seconds: u64) -> Option<Self> {
        (seconds <= Self::MAX.0).then_some(Self(seconds))
    }

    /// The whole second that a moment lies in.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        Self(moment.as_millis() / 1000).min(Self::MAX)
    }

    /// Seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// So many seconds later, or the end.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds)).min(Self::MAX)
    }

    /// The moment that it begins.
    #[must_use]
    pub const fn begins(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(1000))
    }
}

/// The key that a token is bound to. Whoever shows the token must have shown this key on the same request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new kind must be met by everybody who confirms"
)]
pub enum Confirmation {
    /// `jkt`: the RFC 7638 thumbprint of the key that signs DPoP proofs (RFC 9449 6.1).
    Key([u8; 32]),
    /// `x5t#S256`: the SHA-256 of the client's certificate (RFC 8705 3.1).
    Certificate([u8; 32]),
}

impl Confirmation {
    const fn written(&self) -> (&'static str, &[u8; 32]) {
        match self {
            Self::Key(hash) => (KEY_MEMBER, hash),
            Self::Certificate(hash) => (CERTIFICATE_MEMBER, hash),
        }
    }

    fn read(member: &str, hash: &str) -> Option<Self> {
        match member {
            KEY_MEMBER => names::read(hash).map(Self::Key),
            CERTIFICATE_MEMBER => names::read(hash).map(Self::Certificate),
            _ => None,
        }
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (member, hash) = self.written();
        write!(f, "Confirmation({member} {})", URL_SAFE_NO_PAD.encode(hash))
    }
}

impl Serialize for Confirmation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (member, hash) = self.written();
        let mut object = to.serialize_map(Some(1))?;
        object.serialize_entry(member, &URL_SAFE_NO_PAD.encode(hash))?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Members(members) = Members::<String>::deserialize(from)?;
        let mut members = members.iter();
        match (members.next(), members.next()) {
            (Some((member, hash)), None) => Self::read(member, hash),
            _ => None,
        }
        .ok_or_else(|| D::Error::custom("exactly one confirmation"))
    }
}

/// The claims as they stand in the token, in the order in which we write them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    iat: u64,
    nbf: u64,
    exp: u64,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    #[serde(borrow)]
    sid: Cow<'a, str>,
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    strength: Cow<'a, str>,
    #[serde(rename = "gen")]
    generation: u64,
    #[serde(borrow)]
    stg: Cow<'a, str>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::present"
    )]
    cnf: Option<Confirmation>,
}

impl Claims {
    /// Whether every claim has the form that a reader asks for.
    pub(crate) fn is_well_formed(&self) -> bool {
        is_word(&self.issuer, PARTY_MAX_BYTES)
            && is_word(&self.audience, PARTY_MAX_BYTES)
            && is_word(&self.role, ROLE_MAX_BYTES)
            && self.generation <= GENERATION_MAX
            && self.issued <= self.not_before
            && self.not_before < self.expires
    }

    /// How many seconds it lasts.
    pub(crate) const fn lasts(&self) -> u64 {
        self.expires.0.saturating_sub(self.issued.0)
    }

    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        let written = Written {
            iss: Cow::Borrowed(&self.issuer),
            aud: Cow::Borrowed(&self.audience),
            sub: Cow::Owned(encode_subject(self.subject.as_bytes())),
            iat: self.issued.0,
            nbf: self.not_before.0,
            exp: self.expires.0,
            jti: Cow::Owned(self.id.to_string()),
            sid: Cow::Owned(self.session.to_string()),
            role: Cow::Borrowed(&self.role),
            strength: Cow::Borrowed(self.strength.name()),
            generation: self.generation,
            stg: Cow::Owned(self.tag.to_string()),
            cnf: self.confirmation,
        };
        serde_json::to_vec(&written).ok()
    }

    /// Reads a payload. What comes out is well formed, and no more than that.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let read: Written<'_> = json::object(payload)?;
        let claims = Self {
            issuer: read.iss.into_owned(),
            audience: read.aud.into_owned(),
            subject: decode_subject(&read.sub)?,
            issued: Seconds::new(read.iat)?,
            not_before: Seconds::new(read.nbf)?,
            expires: Seconds::new(read.exp)?,
            id: TokenId::parse(&read.jti)?,
            session: SessionId::parse(&read.sid)?,
            role: read.role.into_owned(),
            strength: strength(&read.strength)?,
            generation: read.generation,
            tag: SubjectTag::parse(&read.stg)?,
            confirmation: read.cnf,
        };
        claims.is_well_formed().then_some(claims)
    }
}

fn strength(name: &str) -> Option<Strength> {
    [
        Strength::Bearer,
        Strength::Ticket,
        Strength::Wire,
        Strength::Device,
    ]
    .into_iter()
    .find(|known| known.name() == name)
}
