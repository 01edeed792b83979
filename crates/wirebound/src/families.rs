//! What is known of TLS families: who uses them, and whether they are shared.
//!
//! A family is known while one of its wires lives, and for a while longer if somebody was proved on it: each hand-over
//! closes the wire that it was signed in on, and whoever comes next must not be taken for the first.
//!
//! A proxy that re-encrypts chains all its users into one family without adding a header. The signs that give it
//! away are collected here; a family that showed one proves nothing any more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use crate::ids::{Root, SessionId, Subject};
use crate::sync::{Mutex, MutexGuard};
use crate::wire::{Lineage, WireCore};

/// How what a request calls its client fits what its family called itself before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks must meet each")]
pub enum Client {
    /// As before.
    Same,
    /// Otherwise: a switched browser, or somebody else. Its family proves nothing for it until it signed in.
    Other,
    /// Two names in turn (A, B, A): two clients.
    InTurn,
}

/// Families without a wire that are remembered; the one that lost its last wire first is forgotten first. (About
/// 300 bytes each.)
const RESTING: usize = if cfg!(loom) { 2 } else { 8192 };

#[derive(Debug, Default)]
pub(crate) struct Families(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Root, Known>,
    /// Families that lost their last wire, each as often as it did.
    resting: VecDeque<Root>,
}

impl Inner {
    /// Keeps a family that nobody is connected to, and forgets the one that rests longest.
    fn rest(&mut self, root: Root) {
        self.resting.push_back(root);
        if self.resting.len() > RESTING
            && let Some(oldest) = self.resting.pop_front()
            && self
                .known
                .get(&oldest)
                .is_some_and(|family| family.wires.is_empty())
        {
            self.known.remove(&oldest);
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    wires: Vec<Arc<WireCore>>,
    shared: bool,
    /// What its clients call themselves.
    client: Option<String>,
    /// Another name that showed up since.
    other: Option<String>,
    /// The session served last, and the one before it; an ended one is struck out.
    turns: [Option<(SessionId, Subject)>; 2],
}

impl Families {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wire of this family was opened; answers whether the family is known to be shared.
    pub(crate) fn came(&self, wire: &Arc<WireCore>) -> bool {
        let known = &mut self.inner().known;
        let mut shared = false;
        for root in roots(wire.lineage.as_ref()) {
            let family = known.entry(root).or_default();
            family.wires.push(Arc::clone(wire));
            shared |= family.shared;
        }
        shared
    }

    /// A wire of this family is gone.
    pub(crate) fn left(&self, wire: &WireCore) {
        let mut inner = self.inner();
        for root in roots(wire.lineage.as_ref()) {
            let Some(family) = inner.known.get_mut(&root) else {
                continue;
            };
            family.wires.retain(|other| other.id != wire.id);
            if !family.wires.is_empty() {
                continue;
            }
            if family.turns.iter().any(Option::is_some) {
                inner.rest(root);
            } else {
                inner.known.remove(&root);
            }
        }
    }

    /// Marks a family; answers all its wires that live now.
    pub(crate) fn mark(&self, root: Root) -> Vec<Arc<WireCore>> {
        let known = &mut self.inner().known;
        let Some(family) = known.get_mut(&root) else {
            return Vec::new();
        };
        family.shared = true;
        family.wires.clone()
    }

    pub(crate) fn is_shared(&self, lineage: Option<&Lineage>) -> bool {
        let known = &self.inner().known;
        roots(lineage).any(|root| known.get(&root).is_some_and(|family| family.shared))
    }

    /// How a client's name fits what the family's wires called themselves.
    pub(crate) fn client(&self, root: &Root, name: &str) -> Client {
        let known = &mut self.inner().known;
        let Some(family) = known.get_mut(root) else {
            return Client::Same;
        };
        let first = family.client.get_or_insert_with(|| name.to_owned());
        if first != name {
            if family.other.as_deref() != Some(name) {
                family.other = Some(name.to_owned());
            }
            for wire in &family.wires {
                wire.look_twice();
            }
            return Client::Other;
        }
        if family.other.is_some() {
            Client::InTurn
        } else {
            Client::Same
        }
    }

    /// Somebody signed in on the family: the name that showed up last is its name from now on.
    pub(crate) fn settle(&self, root: &Root) {
        if let Some(family) = self.inner().known.get_mut(root)
            && let Some(other) = family.other.take()
        {
            family.client = Some(other);
        }
    }

    /// Notes whose turn it is; answers whether two subjects take turns (A, B, A).
    pub(crate) fn take_turns(&self, root: &Root, session: SessionId, subject: &Subject) -> bool {
        let known = &mut self.inner().known;
        let Some(family) = known.get_mut(root) else {
            return false;
        };
        let [last, before] = &mut family.turns;
        let is = |turn: &Option<(SessionId, Subject)>| {
            turn.as_ref().is_some_and(|(_, whose)| whose == subject)
        };
        if is(last) {
            *last = Some((session, subject.clone()));
            return false;
        }
        if last.is_some() && is(before) {
            return true;
        }
        *before = last.replace((session, subject.clone()));
        // Each wire says again whose turn it is, also one that never changed hands itself.
        for wire in &family.wires {
            wire.forget_turn();
        }
        false
    }

    /// A session is over: whoever signs out, lets another sign in and comes back takes no turns.
    pub(crate) fn ended(&self, root: &Root, session: SessionId) {
        if let Some(family) = self.inner().known.get_mut(root) {
            let [last, before] = &mut family.turns;
            before.take_if(|(other, _)| *other == session);
            if last.as_ref().is_some_and(|(other, _)| *other == session) {
                *last = before.take();
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner().known.len()
    }
}

pub(crate) fn roots(lineage: Option<&Lineage>) -> impl Iterator<Item = Root> + use<> {
    let (root, also) = lineage.map_or((None, None), |lineage| (Some(lineage.root), lineage.also));
    root.into_iter().chain(also)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::core_of;

    const HERE: Root = Root::from_bytes([1; 16]);

    fn session(byte: u8) -> SessionId {
        SessionId::from_bytes([byte; 10])
    }

    fn subject(name: &[u8]) -> Subject {
        Subject::new(name).unwrap()
    }

    #[test]
    fn two_subjects_in_turn_give_a_shared_family_away_one_after_the_other_do_not() {
        let families = Families::default();
        families.came(&core_of(1, Some(HERE)));
        let turn = |byte: u8| families.take_turns(&HERE, session(byte), &subject(&[byte]));
        for byte in *b"aabbc" {
            assert!(!turn(byte));
        }
        assert!(turn(b'b'), "b, c, b");
    }

    #[test]
    fn signing_out_and_in_again_as_another_and_back_is_one_person_at_one_machine() {
        let families = Families::default();
        families.came(&core_of(1, Some(HERE)));
        let (alice, bob) = (subject(b"alice"), subject(b"bob"));
        assert!(!families.take_turns(&HERE, session(1), &alice));
        families.ended(&HERE, session(1));
        assert!(!families.take_turns(&HERE, session(2), &bob));
        families.ended(&HERE, session(2));
        assert!(!families.take_turns(&HERE, session(3), &alice));
        assert!(!families.take_turns(&HERE, session(4), &bob));
        assert!(families.take_turns(&HERE, session(3), &alice), "both live");
    }

    #[test]
    fn two_names_in_turn_are_two_clients_and_one_switch_is_none() {
        let families = Families::default();
        families.came(&core_of(1, Some(HERE)));
        let client = |name| families.client(&HERE, name);
        assert_eq!(client("phone"), Client::Same);
        assert_eq!(client("phone"), Client::Same);
        assert_eq!(client("desktop"), Client::Other);
        assert_eq!(client("desktop"), Client::Other, "until it signs in");
        families.settle(&HERE);
        assert_eq!(client("desktop"), Client::Same);
        assert_eq!(client("phone"), Client::Other);
        assert_eq!(client("tablet"), Client::Other);
        assert_eq!(client("desktop"), Client::InTurn);
        assert_eq!(client("desktop"), Client::InTurn);
    }

    #[test]
    fn a_wire_that_never_changes_hands_still_says_whose_turn_it_is() {
        let families = Families::default();
        let (one, two) = (core_of(1, Some(HERE)), core_of(2, Some(HERE)));
        families.came(&one);
        families.came(&two);
        let turn = |core: &WireCore, byte: u8| {
            core.changes_session(session(byte))
                && families.take_turns(&HERE, session(byte), &subject(&[byte]))
        };
        assert!(!turn(&one, b'a'));
        assert!(!turn(&two, b'b'));
        assert!(turn(&one, b'a'), "a, b, a over two wires");
    }

    #[test]
    fn two_subjects_are_told_apart_although_each_comes_over_a_wire_of_its_own() {
        let families = Families::default();
        for (id, byte, turns) in [(1, b'a', false), (2, b'b', false), (3, b'a', true)] {
            let core = core_of(id, Some(HERE));
            families.came(&core);
            let seen = families.take_turns(&HERE, session(byte), &subject(&[byte]));
            assert_eq!(seen, turns, "{id}");
            families.left(&core);
        }
    }

    #[test]
    fn what_rests_is_bounded_and_the_longest_rest_ends_first() {
        let families = Families::default();
        let root = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Root::from_bytes(bytes)
        };
        for number in 0..RESTING + 10 {
            let core = core_of(1, Some(root(number)));
            families.came(&core);
            families.take_turns(&root(number), session(1), &subject(b"a"));
            families.left(&core);
        }
        assert_eq!(families.len(), RESTING);
        let known = &families.inner().known;
        assert!(!known.contains_key(&root(9)) && known.contains_key(&root(10)));
    }

    #[test]
    fn a_family_is_forgotten_with_its_last_wire() {
        let families = Families::default();
        let (one, two) = (core_of(1, Some(HERE)), core_of(2, Some(HERE)));
        assert!(!families.came(&one));
        assert_eq!(families.mark(HERE).len(), 1);
        assert!(families.came(&two), "the second wire inherits the mark");
        families.left(&one);
        assert_eq!(families.len(), 1);
        families.left(&two);
        assert_eq!(families.len(), 0);
    }
}
