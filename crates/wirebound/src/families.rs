//! What is known of TLS families while one of their wires lives: who uses them, and whether they are shared.
//!
//! A proxy that re-encrypts chains all its users into one family without adding a header. The signs that give it
//! away are collected here; a family that showed one proves nothing any more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::{Root, Subject};
use crate::wire::Lineage;

#[derive(Debug, Default)]
pub(crate) struct Families(Mutex<HashMap<Root, Known>>);

#[derive(Debug, Default)]
struct Known {
    wires: usize,
    shared: bool,
    client: Option<String>,
    /// The subject served last, and the one before it.
    turns: [Option<Subject>; 2],
}

impl Families {
    fn known(&self) -> MutexGuard<'_, HashMap<Root, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wire of this family was opened; answers whether the family is known to be shared.
    pub(crate) fn came(&self, lineage: Option<&Lineage>) -> bool {
        let mut known = self.known();
        let mut shared = false;
        for root in roots(lineage) {
            let family = known.entry(root).or_default();
            family.wires = family.wires.saturating_add(1);
            shared |= family.shared;
        }
        shared
    }

    /// A wire of this family is gone. What was known of a family goes with its last wire; its mark is in the store.
    pub(crate) fn left(&self, lineage: Option<&Lineage>) {
        let mut known = self.known();
        for root in roots(lineage) {
            if let Some(family) = known.get_mut(&root) {
                family.wires = family.wires.saturating_sub(1);
                if family.wires == 0 {
                    known.remove(&root);
                }
            }
        }
    }

    /// Marks a family; answers whether it was not marked before.
    pub(crate) fn mark(&self, root: Root) -> bool {
        self.known()
            .get_mut(&root)
            .is_some_and(|family| !core::mem::replace(&mut family.shared, true))
    }

    pub(crate) fn is_shared(&self, lineage: Option<&Lineage>) -> bool {
        let known = self.known();
        roots(lineage).any(|root| known.get(&root).is_some_and(|family| family.shared))
    }

    /// Whether the client calls itself what the family's other wires called themselves.
    pub(crate) fn same_client(&self, root: &Root, client: &str) -> bool {
        let mut known = self.known();
        known
            .get_mut(root)
            .is_none_or(|family| family.client.get_or_insert_with(|| client.to_owned()) == client)
    }

    /// Notes whose turn it is; answers whether two subjects take turns (A, B, A).
    pub(crate) fn take_turns(&self, root: &Root, subject: &Subject) -> bool {
        let mut known = self.known();
        let Some(family) = known.get_mut(root) else {
            return false;
        };
        let [last, before] = &mut family.turns;
        if last.as_ref() == Some(subject) {
            return false;
        }
        if before.as_ref() == Some(subject) {
            return true;
        }
        *before = last.replace(subject.clone());
        false
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known().len()
    }
}

pub(crate) fn roots(lineage: Option<&Lineage>) -> impl Iterator<Item = Root> + use<> {
    let (root, also) = lineage.map_or((None, None), |lineage| (Some(lineage.root), lineage.also));
    root.into_iter().chain(also)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn lineage(byte: u8) -> Lineage {
        Lineage {
            root: Root::from_bytes([byte; 16]),
            also: None,
            resumed: true,
            ticketed: true,
            birth: Timestamp::ZERO,
        }
    }

    #[test]
    fn two_subjects_in_turn_give_a_shared_family_away_one_after_the_other_do_not() {
        let families = Families::default();
        let here = lineage(1);
        families.came(Some(&here));
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| Subject::new(name).unwrap());
        for subject in [&a, &a, &b, &b, &c] {
            assert!(!families.take_turns(&here.root, subject));
        }
        assert!(families.take_turns(&here.root, &b), "b, c, b");
    }

    #[test]
    fn a_family_is_forgotten_with_its_last_wire() {
        let families = Families::default();
        let here = lineage(1);
        assert!(!families.came(Some(&here)));
        assert!(families.mark(here.root));
        assert!(!families.mark(here.root), "once");
        assert!(
            families.came(Some(&here)),
            "the second wire inherits the mark"
        );
        families.left(Some(&here));
        assert_eq!(families.len(), 1);
        families.left(Some(&here));
        assert_eq!(families.len(), 0);
    }
}
