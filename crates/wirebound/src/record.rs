//! What the store keeps of a session: the record while it lives, the tombstone after.
//!
//! No secret is in either, only keyed digests; no method prints one.

use crate::codec::{Reader, Writer};
use crate::ids::{Authority, Root, SessionId, Subject};
use crate::keys::Digest;
use crate::role::{Role, Strength};
use crate::store::{Key, Space};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Ending, Stock};

/// Format of session records.
const SESSION_FORMAT: u8 = 1;
/// Format of tombstones.
const TOMBSTONE_FORMAT: u8 = 1;

/// How many families a session holds.
pub(crate) const ROOTS: usize = 8;
/// How many digests of secrets a session holds: the current one, offers, older ones.
pub(crate) const SECRETS: usize = 6;

/// What a secret is to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretState {
    /// The one to show.
    Current,
    /// Given out, not yet shown.
    Offered,
    /// Replaced, but genuine.
    Old,
}

#[derive(Clone, Debug)]
pub(crate) struct SecretEntry {
    pub(crate) digest: Digest,
    pub(crate) state: SecretState,
}

/// A family of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) root: Root,
    pub(crate) stock: Stock,
}

/// A hand-over that was offered.
#[derive(Clone, Debug)]
pub(crate) struct HandOver {
    pub(crate) digest: Digest,
    pub(crate) made: Timestamp,
    pub(crate) hops: u8,
    /// The family that spent it.
    pub(crate) spent: Option<Root>,
}

/// A role above the session's own, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) role: Role,
    pub(crate) until: Timestamp,
    /// In force once the offered secret was shown.
    pub(crate) acknowledged: bool,
}

/// What a session lives on, and whether anybody signed in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Requests, after a sign-in.
    Http,
    /// One raw socket.
    Raw,
    /// Requests of a guest: the app gave a cookie, and nothing looks like a sign-in yet.
    Guest,
    /// Requests of somebody whose cookie of the app was taken in from a browser: strength `bearer`, whatever wire.
    Imported,
}

impl Carrier {
    /// Nobody is known to have signed in: counted, capped, and first to go.
    pub(crate) const fn is_unsigned(self) -> bool {
        matches!(self, Self::Guest)
    }

    /// The most that a wire of such a session proves.
    pub(crate) const fn most(self) -> Strength {
        match self {
            Self::Imported => Strength::Bearer,
            Self::Http | Self::Raw | Self::Guest => Strength::Device,
        }
    }
}

/// A live session as it stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: SessionId,
    pub(crate) epoch: u32,
    pub(crate) subject: Subject,
    pub(crate) authority: Authority,
    pub(crate) carrier: Carrier,
    /// The browser was told to keep the cookie.
    pub(crate) persistent: bool,
    /// The identity's generation at sign-in.
    pub(crate) generation: u64,
    pub(crate) created: Timestamp,
    pub(crate) absolute: Timestamp,
    pub(crate) idle: Lifetime,
    pub(crate) seen: Timestamp,
    pub(crate) role: Role,
    pub(crate) raised: Option<Raised>,
    pub(crate) secrets: Vec<SecretEntry>,
    pub(crate) families: Vec<Family>,
    pub(crate) hand_over: Option<HandOver>,
    /// Where it was last proved from, for events: address and client, as text.
    pub(crate) last_side: String,
}

impl Record {
    pub(crate) fn key(id: &SessionId) -> Key {
        Key::new(Space::Session, id.as_bytes())
    }

    pub(crate) fn secret(&self, digest: &Digest) -> Option<SecretState> {
        // Every digest is compared, so that time does not tell which one matched.
        let mut found = None;
        for entry in &self.secrets {
            if entry.digest.matches(digest) {
                found = Some(entry.state);
            }
        }
        found
    }

    pub(crate) fn current(&self) -> Option<&Digest> {
        self.secrets
            .iter()
            .find(|entry| entry.state == SecretState::Current)
            .map(|entry| &entry.digest)
    }

    /// Offers a new secret; offers and older ones beyond the bound are forgotten, oldest first.
    ///
    /// An offer that was never shown stays genuine, but acknowledges nothing any more: it was not made for the elevation
    /// that stands now.
    pub(crate) fn offer(&mut self, digest: Digest) {
        for entry in &mut self.secrets {
            if entry.state == SecretState::Offered {
                entry.state = SecretState::Old;
            }
        }
        self.secrets.push(SecretEntry {
            digest,
            state: SecretState::Offered,
        });
        while self.secrets.len() > SECRETS {
            let oldest = self
                .secrets
                .iter()
                .position(|entry| entry.state != SecretState::Current);
            match oldest {
                Some(at) => drop(self.secrets.remove(at)),
                None => break,
            }
        }
    }

    /// An offered secret was shown: it is current now, what was current is old, an elevation is in force.
    pub(crate) fn acknowledge(&mut self, digest: &Digest) {
        for entry in &mut self.secrets {
            if entry.digest.matches(digest) {
                entry.state = SecretState::Current;
            } else if entry.state == SecretState::Current {
                entry.state = SecretState::Old;
            }
        }
        if let Some(raised) = &mut self.raised {
            raised.acknowledged = true;
        }
    }

    pub(crate) fn stock(&self, root: &Root) -> Option<Stock> {
        self.families
            .iter()
            .find(|family| family.root == *root)
            .map(|family| family.stock)
    }

    /// Adds a family; of more than eight the oldest goes. A family that is trunk stays trunk.
    pub(crate) fn join(&mut self, root: Root, stock: Stock) -> bool {
        if self.stock(&root).is_some_and(|has| has >= stock) {
            return false;
        }
        self.families.retain(|family| family.root != root);
        self.families.push(Family { root, stock });
        if self.families.len() > ROOTS {
            self.families.remove(0);
        }
        true
    }

    /// The role in force at `now` below a ceiling.
    pub(crate) fn role_at(&self, ceiling: Role, now: Timestamp) -> Role {
        let raised = self
            .raised
            .filter(|raised| raised.acknowledged && now < raised.until);
        ceiling.min(raised.map_or(self.role, |raised| raised.role.max(self.role)))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_version(SESSION_FORMAT);
        out.array(self.id.as_bytes());
        out.number(u64::from(self.epoch));
        out.bytes(self.subject.as_bytes());
        out.bytes(self.authority.as_str().as_bytes());
        out.byte(match self.carrier {
            Carrier::Http => 1,
            Carrier::Raw => 2,
            Carrier::Guest => 3,
            Carrier::Imported => 4,
        });
        out.flag(self.persistent);
        out.number(self.generation);
        out.time(self.created);
        out.time(self.absolute);
        out.number(self.idle.as_millis());
        out.time(self.seen);
        out.byte(self.role.rank());
        out.option(self.raised.as_ref(), |out, raised| {
            out.byte(raised.role.rank());
            out.time(raised.until);
            out.flag(raised.acknowledged);
        });
        out.list(&self.secrets, |out, entry| {
            out.array(entry.digest.as_bytes());
            out.byte(match entry.state {
                SecretState::Current => 1,
                SecretState::Offered => 2,
                SecretState::Old => 3,
            });
        });
        out.list(&self.families, |out, family| {
            out.array(family.root.as_bytes());
            out.flag(family.stock == Stock::Trunk);
        });
        out.option(self.hand_over.as_ref(), |out, hand_over| {
            out.array(hand_over.digest.as_bytes());
            out.time(hand_over.made);
            out.byte(hand_over.hops);
            out.option(hand_over.spent.as_ref(), |out, root| {
                out.array(root.as_bytes());
            });
        });
        out.bytes(self.last_side.as_bytes());
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        if from.byte()? != SESSION_FORMAT {
            return None;
        }
        let record = Self {
            id: SessionId::from_bytes(from.array()?),
            epoch: u32::try_from(from.number()?).ok()?,
            subject: Subject::new(from.bytes()?).ok()?,
            authority: Authority::of(from.text()?),
            carrier: match from.byte()? {
                1 => Carrier::Http,
                2 => Carrier::Raw,
                3 => Carrier::Guest,
                4 => Carrier::Imported,
                _ => return None,
            },
            persistent: from.flag()?,
            generation: from.number()?,
            created: from.time()?,
            absolute: from.time()?,
            idle: Lifetime::from_millis(from.number()?),
            seen: from.time()?,
            role: Role::ranked(from.byte()?),
            raised: from.option(|from| {
                Some(Raised {
                    role: Role::ranked(from.byte()?),
                    until: from.time()?,
                    acknowledged: from.flag()?,
                })
            })?,
            secrets: from.list(|from| {
                Some(SecretEntry {
                    digest: Digest::from_bytes(from.array()?),
                    state: match from.byte()? {
                        1 => SecretState::Current,
                        2 => SecretState::Offered,
                        3 => SecretState::Old,
                        _ => return None,
                    },
                })
            })?,
            families: from.list(|from| {
                Some(Family {
                    root: Root::from_bytes(from.array()?),
                    stock: if from.flag()? {
                        Stock::Trunk
                    } else {
                        Stock::Graft
                    },
                })
            })?,
            hand_over: from.option(|from| {
                Some(HandOver {
                    digest: Digest::from_bytes(from.array()?),
                    made: from.time()?,
                    hops: from.byte()?,
                    spent: from.option(|from| from.array().map(Root::from_bytes))?,
                })
            })?,
            last_side: from.text()?.to_owned(),
        };
        from.finish()?;
        Some(record)
    }
}

/// What is left of an ended session: that it was, how it ended, and by which digest its holder is recognised.
#[derive(Clone, Debug)]
pub(crate) struct Tombstone {
    pub(crate) ending: Ending,
    pub(crate) ended: Timestamp,
    pub(crate) epoch: u32,
    /// The keyed digest of the secret that was current: whoever shows that secret may be told the ending.
    pub(crate) digest: Option<Digest>,
}

impl Tombstone {
    pub(crate) fn key(id: &SessionId) -> Key {
        Key::new(Space::Tombstone, id.as_bytes())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_version(TOMBSTONE_FORMAT);
        out.byte(self.ending.number());
        out.time(self.ended);
        out.number(u64::from(self.epoch));
        out.option(self.digest.as_ref(), |out, digest| {
            out.array(digest.as_bytes());
        });
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        if from.byte()? != TOMBSTONE_FORMAT {
            return None;
        }
        let tombstone = Self {
            ending: Ending::from_number(from.byte()?)?,
            ended: from.time()?,
            epoch: u32::try_from(from.number()?).ok()?,
            digest: from.option(|from| from.array().map(Digest::from_bytes))?,
        };
        from.finish()?;
        Some(tombstone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample() -> Record {
        Record {
            id: SessionId::from_bytes([1; 10]),
            epoch: 3,
            subject: Subject::new(b"alice").unwrap(),
            authority: Authority::of("app.test"),
            carrier: Carrier::Http,
            persistent: true,
            generation: 9,
            created: Timestamp::from_millis(1),
            absolute: Timestamp::from_millis(1_000_000),
            idle: Lifetime::from_secs(60),
            seen: Timestamp::from_millis(5),
            role: Role::USER,
            raised: Some(Raised {
                role: Role::ADMIN,
                until: Timestamp::from_millis(99),
                acknowledged: false,
            }),
            secrets: vec![SecretEntry {
                digest: Digest::from_bytes([7; 32]),
                state: SecretState::Current,
            }],
            families: vec![Family {
                root: Root::from_bytes([8; 16]),
                stock: Stock::Trunk,
            }],
            hand_over: Some(HandOver {
                digest: Digest::from_bytes([9; 32]),
                made: Timestamp::from_millis(4),
                hops: 1,
                spent: Some(Root::from_bytes([8; 16])),
            }),
            last_side: "127.0.0.1".into(),
        }
    }

    #[test]
    fn records_round_trip_and_nothing_else_reads() {
        let record = sample();
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes).unwrap().encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(Record::decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Record::decode(&longer).is_none(), "trailing bytes");
        let mut newer = bytes;
        newer[0] = 2;
        assert!(Record::decode(&newer).is_none(), "unknown version");
    }

    #[test]
    fn an_elevation_is_in_force_only_once_its_secret_was_shown() {
        let mut record = sample();
        let now = Timestamp::from_millis(50);
        assert_eq!(record.role_at(Role::ADMIN, now), Role::USER);
        let offered = Digest::from_bytes([1; 32]);
        record.offer(offered);
        assert_eq!(record.secret(&offered), Some(SecretState::Offered));
        record.acknowledge(&offered);
        assert_eq!(record.secret(&offered), Some(SecretState::Current));
        assert_eq!(
            record.secret(&Digest::from_bytes([7; 32])),
            Some(SecretState::Old)
        );
        assert_eq!(record.role_at(Role::ADMIN, now), Role::ADMIN);
        assert_eq!(
            record.role_at(Role::USER, now),
            Role::USER,
            "never above the ceiling"
        );
        assert_eq!(
            record.role_at(Role::ADMIN, Timestamp::from_millis(99)),
            Role::USER,
            "over at the moment"
        );
    }

    #[test]
    fn a_session_holds_its_eight_newest_families_and_a_trunk_stays_a_trunk() {
        let mut record = sample();
        let first = Root::from_bytes([8; 16]);
        assert!(!record.join(first, Stock::Graft));
        assert_eq!(record.stock(&first), Some(Stock::Trunk));
        for byte in 20..28 {
            assert!(record.join(Root::from_bytes([byte; 16]), Stock::Trunk));
        }
        assert_eq!(record.families.len(), ROOTS);
        assert_eq!(record.stock(&first), None);
    }

    #[test]
    fn offers_are_bounded_and_never_push_out_the_current_secret() {
        let mut record = sample();
        for byte in 100..120 {
            record.offer(Digest::from_bytes([byte; 32]));
        }
        assert_eq!(record.secrets.len(), SECRETS);
        assert!(record.current().is_some());
    }
}
