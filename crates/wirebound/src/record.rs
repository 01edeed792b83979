//! What the store keeps of a session: the record while it lives, the tombstone after.
//!
//! No secret is in either: of tickets only their positions, of nonces keyed digests.

use crate::codec::{Reader, Writer};
use crate::ids::{Authority, Root, SessionId, Subject};
use crate::keys::Digest;
use crate::role::{Role, Strength};
use crate::sequence::{Holder, Position, Sequence};
use crate::store::{Key, Space};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Ending, Stock};

/// Format of session records.
const SESSION_FORMAT: u8 = 3;
/// Format of tombstones.
const TOMBSTONE_FORMAT: u8 = 2;

/// How many families a session holds.
pub(crate) const ROOTS: usize = 8;
/// A family of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) root: Root,
    pub(crate) origin: Origin,
}

/// What a wire or a family of a session goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The sign-in, or a device proof.
    Trunk,
    /// A ticket that was shown: by this family, or by this client where there was none.
    Graft([u8; 16]),
}

impl Origin {
    pub(crate) const fn stock(self) -> Stock {
        match self {
            Self::Trunk => Stock::Trunk,
            Self::Graft(_) => Stock::Graft,
        }
    }

    /// As whom it shows tickets.
    pub(crate) const fn holder(self) -> Holder {
        match self {
            Self::Trunk => Holder::Trunk,
            Self::Graft(line) => Holder::Line(line),
        }
    }

    fn encode(self, out: &mut Writer) {
        match self {
            Self::Trunk => out.byte(1),
            Self::Graft(line) => {
                out.byte(2);
                out.array(&line);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        match from.byte()? {
            1 => Some(Self::Trunk),
            2 => from.array().map(Self::Graft),
            _ => None,
        }
    }
}

/// A hand-over that was offered.
#[derive(Clone, Debug)]
pub(crate) struct HandOver {
    pub(crate) digest: Digest,
    pub(crate) made: Timestamp,
    pub(crate) hops: u8,
    /// What the wire that offered it goes back to, and so whoever takes it.
    pub(crate) origin: Origin,
    /// The family that spent it.
    pub(crate) spent: Option<Root>,
}

/// A role above the session's own, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) role: Role,
    pub(crate) until: Timestamp,
    /// In force for tickets from here on: what was given out before never carries it.
    pub(crate) from: Position,
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
    pub(crate) sequence: Sequence,
    pub(crate) families: Vec<Family>,
    pub(crate) hand_over: Option<HandOver>,
    /// A wire was attached by a ticket since the trunk was last heard.
    pub(crate) grafted: bool,
    /// Where it was last proved from, for events: address and client, as text.
    pub(crate) last_side: String,
}

impl Record {
    pub(crate) fn key(id: &SessionId) -> Key {
        Key::new(Space::Session, id.as_bytes())
    }

    pub(crate) fn origin(&self, root: &Root) -> Option<Origin> {
        self.families
            .iter()
            .find(|family| family.root == *root)
            .map(|family| family.origin)
    }

    /// Adds a family; of more than eight the oldest goes. A family that is trunk stays trunk.
    pub(crate) fn join(&mut self, root: Root, origin: Origin) -> bool {
        let has = self.origin(&root);
        if has == Some(origin) || has == Some(Origin::Trunk) {
            return false;
        }
        self.families.retain(|family| family.root != root);
        self.families.push(Family { root, origin });
        if self.families.len() > ROOTS {
            // A graft goes before any trunk family: a copied ticket must not push the owner's lineage out.
            let graft = |family: &Family| family.origin != Origin::Trunk;
            let at = self.families.iter().position(graft).unwrap_or(0);
            return self.families.remove(at).root != root;
        }
        true
    }

    /// Whether somebody used it by a ticket, aside of the trunk, since the trunk was last heard.
    pub(crate) fn is_grafted(&self) -> bool {
        self.grafted
            || self.sequence.is_astray()
            || self
                .families
                .iter()
                .any(|family| family.origin != Origin::Trunk)
    }

    /// Every graft is cut off: its families, its nonce, and every ticket given out before.
    pub(crate) fn prune(&mut self, now: Timestamp) -> Position {
        self.families
            .retain(|family| family.origin == Origin::Trunk);
        self.hand_over = self
            .hand_over
            .take()
            .filter(|offer| offer.origin == Origin::Trunk);
        self.grafted = false;
        let before = self.sequence.current();
        let position = self.sequence.renew(Holder::Trunk, now);
        // An elevation that was never taken is not taken by this.
        if self.raised.is_some_and(|raised| before < raised.from) {
            self.raised = None;
        }
        position
    }

    /// Whether the raised role is in force: its ticket, or a later one, was shown.
    pub(crate) fn raised(&self) -> Option<Raised> {
        self.raised
            .filter(|raised| self.sequence.current() >= raised.from)
    }

    /// The role in force at `now` below a ceiling.
    pub(crate) fn role_at(&self, ceiling: Role, now: Timestamp) -> Role {
        self.role_of(self.sequence.current(), ceiling, now)
    }

    /// Whether a ticket carries a raised role: the one that was made for it, or one after that was taken.
    fn carries(&self, shown: Position, raised: &Raised) -> bool {
        let taken = self.sequence.current() >= raised.from;
        shown == raised.from || (taken && shown.n > raised.from.n)
    }

    /// Whether a ticket carries all that the session has.
    pub(crate) fn carries_all(&self, shown: Position) -> bool {
        self.raised()
            .is_none_or(|raised| self.carries(shown, &raised))
    }

    /// The role that a ticket at this position carries.
    pub(crate) fn role_of(&self, shown: Position, ceiling: Role, now: Timestamp) -> Role {
        let raised = self
            .raised
            .filter(|raised| self.carries(shown, raised) && now < raised.until);
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
            raised.from.encode(out);
        });
        self.sequence.encode(&mut out);
        out.list(&self.families, |out, family| {
            out.array(family.root.as_bytes());
            family.origin.encode(out);
        });
        out.option(self.hand_over.as_ref(), |out, hand_over| {
            out.array(hand_over.digest.as_bytes());
            out.time(hand_over.made);
            out.byte(hand_over.hops);
            hand_over.origin.encode(out);
            out.option(hand_over.spent.as_ref(), |out, root| {
                out.array(root.as_bytes());
            });
        });
        out.flag(self.grafted);
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
                    from: Position::decode(from)?,
                })
            })?,
            sequence: Sequence::decode(&mut from)?,
            families: from.list(|from| {
                Some(Family {
                    root: Root::from_bytes(from.array()?),
                    origin: Origin::decode(from)?,
                })
            })?,
            hand_over: from.option(|from| {
                Some(HandOver {
                    digest: Digest::from_bytes(from.array()?),
                    made: from.time()?,
                    hops: from.byte()?,
                    origin: Origin::decode(from)?,
                    spent: from.option(|from| from.array().map(Root::from_bytes))?,
                })
            })?,
            grafted: from.flag()?,
            last_side: from.text()?.to_owned(),
        };
        from.finish()?;
        Some(record)
    }
}

/// What is left of an ended session: that it was, how it ended, and by which tickets its holder is recognised.
#[derive(Clone, Debug)]
pub(crate) struct Tombstone {
    pub(crate) ending: Ending,
    pub(crate) ended: Timestamp,
    pub(crate) epoch: u32,
    /// The ticket that was current: whoever shows it, or a later one, may be told the ending.
    pub(crate) current: Position,
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
        self.current.encode(&mut out);
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
            current: Position::decode(&mut from)?,
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
                from: Position { n: 1, branch: 0 },
            }),
            sequence: Sequence::begin(Holder::Trunk, Timestamp::from_millis(1)),
            families: vec![Family {
                root: Root::from_bytes([8; 16]),
                origin: Origin::Trunk,
            }],
            hand_over: Some(HandOver {
                digest: Digest::from_bytes([9; 32]),
                made: Timestamp::from_millis(4),
                hops: 1,
                origin: Origin::Graft([5; 16]),
                spent: Some(Root::from_bytes([8; 16])),
            }),
            grafted: true,
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
        newer[0] = 4;
        assert!(Record::decode(&newer).is_none(), "unknown version");
    }

    fn rules() -> crate::sequence::Rules {
        crate::sequence::Rules::default()
    }

    #[test]
    fn an_elevation_is_in_force_only_once_its_ticket_was_shown_and_never_for_an_older_one() {
        let mut record = sample();
        let now = Timestamp::from_millis(50);
        let before = record.sequence.offer_new(Holder::Trunk, "", now).unwrap();
        let from = record.sequence.offer_new(Holder::Trunk, "", now).unwrap();
        record.raised = Some(Raised {
            role: Role::ADMIN,
            until: Timestamp::from_millis(99),
            from,
        });
        assert_eq!(record.role_at(Role::ADMIN, now), Role::USER);
        assert_eq!(
            record.role_of(before, Role::ADMIN, now),
            Role::USER,
            "offered before the elevation"
        );
        assert_eq!(record.role_of(from, Role::ADMIN, now), Role::ADMIN);
        let moment = crate::sequence::Moment {
            now,
            window: Lifetime::from_secs(10),
            seen: now,
        };
        record
            .sequence
            .show(from, Holder::Trunk, "", &moment, &rules());
        assert_eq!(record.role_at(Role::ADMIN, now), Role::ADMIN);
        assert_eq!(
            record.role_of(Position::default(), Role::ADMIN, now),
            Role::USER,
            "the old ticket, still good for a window"
        );
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
        let graft = Origin::Graft([3; 16]);
        assert!(!record.join(first, graft));
        assert_eq!(record.origin(&first), Some(Origin::Trunk));
        for byte in 20..28 {
            assert!(record.join(Root::from_bytes([byte; 16]), Origin::Trunk));
        }
        assert_eq!(record.families.len(), ROOTS);
        assert_eq!(record.origin(&first), None);
    }

    #[test]
    fn grafts_push_out_grafts_and_never_the_trunk() {
        let mut record = sample();
        for byte in 20..60 {
            record.join(Root::from_bytes([byte; 16]), Origin::Graft([byte; 16]));
        }
        assert_eq!(record.families.len(), ROOTS);
        let trunk = Root::from_bytes([8; 16]);
        assert_eq!(record.origin(&trunk), Some(Origin::Trunk));
        record.prune(Timestamp::from_millis(9));
        assert_eq!(record.families.len(), 1);
        assert!(!record.is_grafted() && record.hand_over.is_none());
    }
}
