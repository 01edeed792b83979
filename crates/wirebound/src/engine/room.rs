//! Room under the limits: who must go so that a newcomer may come, in the same commit.
//!
//! One admin session in force per subject, whatever the clock does: an elevation that has lapsed is taken out of its
//! record when another admin comes, so that a clock that goes back does not make two.

use super::{Engine, Held};
use crate::event::Event;
use crate::families::roots;
use crate::identity::{Identity, Listed};
use crate::ids::SessionId;
use crate::policy::OnLimit;
use crate::record::Record;
use crate::role::Role;
use crate::store::{Change, Expect, StoreError};
use crate::time::Timestamp;
use crate::verdict::Ending;
use crate::wire::{Wire, WireCore};

/// Sessions of one identity, whatever their roles: its record lists them all and has room for 255.
const LISTED: usize = 240;

/// What making room takes.
#[derive(Default)]
pub(super) struct Room {
    pub(super) changes: Vec<Change>,
    ended: Vec<(Record, Ending)>,
    lowered: Vec<SessionId>,
    contended: bool,
    /// The admin role was just frozen, for the newcomer too.
    pub(super) demoted: bool,
}

impl Room {
    /// The sessions that the commit changes.
    pub(super) fn touches(&self) -> Vec<SessionId> {
        let ended = self.ended.iter().map(|(record, _)| record.id);
        ended.chain(self.lowered.iter().copied()).collect()
    }
}

impl Engine {
    /// Makes room under the limits. `None`: the policy denies the newcomer.
    pub(super) async fn make_room(
        &self,
        identity: &mut Identity,
        newcomer: &Record,
        wire: &Wire,
        now: Timestamp,
    ) -> Result<Option<Room>, StoreError> {
        let ceiling = identity.ceiling();
        let role = newcomer
            .raised
            .map_or(newcomer.role, |raised| raised.role.max(newcomer.role))
            .min(ceiling);
        let limit = self.policy.limit(role);
        let mut others: Vec<Listed> = identity.sessions.clone();
        others.retain(|listed| listed.id != newcomer.id);
        others.sort_by_key(|listed| listed.created);
        let (peers, rest): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|listed| listed.role_at(ceiling, now) == role);
        let mut over = excess(peers.len(), usize::from(limit.count));
        let mut room = Room::default();
        let mut contests = false;
        for listed in &peers {
            if over == 0 {
                break;
            }
            let Some((held, ending)) = self.departs(identity, listed, now).await? else {
                over = over.saturating_sub(1);
                continue;
            };
            if ending == Ending::Evicted && limit.on_limit == OnLimit::Deny {
                continue;
            }
            contests |= ending == Ending::Evicted
                && role == Role::ADMIN
                && self.is_contest(&held.value, wire);
            self.take_out(identity, &mut room, held, ending, now)
                .await?;
            over = over.saturating_sub(1);
        }
        if over > 0 {
            return Ok(None);
        }
        let mut over = excess(identity.sessions.len(), LISTED);
        for listed in rest.iter().chain(&peers) {
            let still = identity.sessions.iter().any(|other| other.id == listed.id);
            if over == 0 || !still {
                continue;
            }
            over = over.saturating_sub(1);
            if let Some((held, ending)) = self.departs(identity, listed, now).await? {
                self.take_out(identity, &mut room, held, ending, now)
                    .await?;
            }
        }
        if role == Role::ADMIN {
            self.lower_lapsed(identity, &mut room, newcomer.id, now)
                .await?;
        }
        if contests {
            self.note_contest(identity, &mut room, now);
        }
        Ok(Some(room))
    }

    /// The record of a listed session that must go, and how it would end; nothing (and it is struck off the list) if
    /// there is none that anybody could be let in by.
    async fn departs(
        &self,
        identity: &mut Identity,
        listed: &Listed,
        now: Timestamp,
    ) -> Result<Option<(Held<Record>, Ending)>, StoreError> {
        let held = match self.load_record(&listed.id).await {
            // Written under keys that are gone, or by somebody else: nobody is let in by it, so nobody may be kept out.
            Err(error) if error.is_corrupt() => {
                self.forget(listed.id, Ending::Removed);
                None
            }
            found => found?,
        };
        let Some(held) = held else {
            identity.sessions.retain(|other| other.id != listed.id);
            return Ok(None);
        };
        let ending = self.over(&held.value, identity, now);
        Ok(Some((held, ending.unwrap_or(Ending::Evicted))))
    }

    async fn take_out(
        &self,
        identity: &mut Identity,
        room: &mut Room,
        held: Held<Record>,
        ending: Ending,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        identity.sessions.retain(|other| other.id != held.value.id);
        let changes = self.ending_changes(&held, ending, now).await?;
        room.changes.extend(changes);
        room.ended.push((held.value, ending));
        Ok(())
    }

    async fn lower_lapsed(
        &self,
        identity: &mut Identity,
        room: &mut Room,
        newcomer: SessionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for listed in &mut identity.sessions {
            let lapsed = listed
                .raised
                .is_some_and(|(role, until)| role == Role::ADMIN && now >= until);
            if !lapsed || listed.id == newcomer {
                continue;
            }
            listed.raised = None;
            if let Some(held) = self.load_record(&listed.id).await? {
                let mut record = held.value;
                record.raised = None;
                room.changes
                    .push(self.put_record(&record, Expect::At(held.version)));
                room.lowered.push(record.id);
            }
        }
        Ok(())
    }

    /// After the commit: what had to go is gone here as well.
    pub(super) fn made_room(&self, room: &Room, identity: &Identity, wire: &Wire, now: Timestamp) {
        for (record, ending) in &room.ended {
            self.gone(record, *ending, now);
        }
        for session in &room.lowered {
            self.bonds.update(*session, |live| live.raised = None);
        }
        if room.demoted {
            self.spread(identity, now);
        }
        if let (true, Some((last, _))) = (room.contended, room.ended.last()) {
            self.tell(Event::AdminContended {
                subject: identity.subject.clone(),
                newcomer: wire.core.side(),
                holder: super::turn_away::earlier(last),
            });
        }
    }

    /// Whether an eviction counts towards the freeze: not one within the same family, nor of a session that nobody used.
    /// (Who signed in with TLS tickets in hand may be thrown out before a use of it shows in the time.)
    fn is_contest(&self, evicted: &Record, wire: &Wire) -> bool {
        let own: Vec<_> = roots(wire.core.lineage.as_ref()).collect();
        let held_here = |core: &WireCore| {
            core.id == wire.core.id || roots(core.lineage.as_ref()).any(|root| own.contains(&root))
        };
        let same_family = own.iter().any(|root| evicted.origin(root).is_some())
            || self
                .bonds
                .wires(evicted.id)
                .iter()
                .any(|bound| held_here(&bound.wire));
        let last_active = self
            .bonds
            .last_active(evicted.id)
            .unwrap_or_default()
            .max(evicted.seen);
        let used = last_active > evicted.created || !evicted.families.is_empty();
        !same_family && used
    }

    /// One more eviction of this subject's admin; too many within the window freeze the role, and the newcomer's too.
    fn note_contest(&self, identity: &mut Identity, room: &mut Room, now: Timestamp) {
        identity.note_eviction(now);
        let recent = identity
            .evictions
            .iter()
            .filter(|at| now.since(**at) < self.policy.freeze_window)
            .count();
        let freeze_after = usize::from(self.policy.freeze_after);
        if freeze_after > 0 && recent >= freeze_after {
            identity.frozen = true;
            (room.contended, room.demoted) = (true, true);
            // What was issued to the subject as an admin is called back with the role.
            let fallen = self.calls_back(&identity.subject, identity.generation, now);
            self.heard_of(&fallen);
            let puts = fallen.iter().map(|entry| self.put_revoked(entry));
            room.changes.extend(puts);
        }
    }
}

/// How many of `there` must go so that one more is not above `limit`.
const fn excess(there: usize, limit: usize) -> usize {
    there.saturating_add(1).saturating_sub(limit)
}

pub(super) fn listed(record: &Record) -> Listed {
    Listed {
        id: record.id,
        created: record.created,
        absolute: record.absolute,
        role: record.role,
        raised: record.raised.map(|raised| (raised.role, raised.until)),
    }
}
