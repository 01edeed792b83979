//! The form of a ticket: 32 bytes in which a position stands enciphered.
//!
//! AES-SIV (RFC 5297) under a key of the session: a synthetic IV of 16 bytes over version, session and position, and the
//! position enciphered under it. One computation opens it, whatever its number is; the number does not leak; a changed bit
//! makes it nobody's. Nothing random is in it, so tickets can be made ahead of time, and answers in parallel set the same.
//!
//! The session's key comes from the node secret of an epoch and the session's id: no store holds it.

use aes_siv::KeyInit as _;
use aes_siv::siv::{Aes256Siv, IV_SIZE};
use zeroize::Zeroize as _;

use crate::ids::SessionId;
use crate::secret::{SECRET_BYTES, Secret};
use crate::sequence::Position;

/// Version of the form, in what the synthetic IV covers.
const FORMAT: u8 = 1;
/// Bytes of a position: number, branch, and four that are zero.
const PLAIN: usize = SECRET_BYTES - IV_SIZE;

/// One session's key, as long as it is needed.
pub(crate) struct TicketKey(Aes256Siv);

impl TicketKey {
    /// `node` is the ticket key of the epoch that made the session.
    pub(crate) fn derive(node: &[u8; 32], id: &SessionId) -> Self {
        let mut key = [0; 64];
        blake3::Hasher::new_keyed(node)
            .update(id.as_bytes())
            .finalize_xof()
            .fill(&mut key);
        let siv = Aes256Siv::new(&key.into());
        key.zeroize();
        Self(siv)
    }

    /// The ticket at a position.
    pub(crate) fn seal(mut self, id: &SessionId, position: Position) -> Option<Secret> {
        let mut plain = [0; PLAIN];
        let number = position.n.to_le_bytes();
        let branch = position.branch.to_le_bytes();
        for (to, from) in plain.iter_mut().zip(number.into_iter().chain(branch)) {
            *to = from;
        }
        let iv = self
            .0
            .encrypt_inout_detached(
                [&[FORMAT], id.as_bytes().as_slice()],
                (&mut plain[..]).into(),
            )
            .ok()?;
        let mut ticket = [0; SECRET_BYTES];
        for (to, from) in ticket.iter_mut().zip(iv.iter().chain(&plain)) {
            *to = *from;
        }
        let secret = Secret::from_bytes(ticket);
        ticket.zeroize();
        Some(secret)
    }

    /// The position of a ticket that this key made. The IV is compared in constant time.
    pub(crate) fn open(mut self, id: &SessionId, ticket: &Secret) -> Option<Position> {
        let (iv, sealed) = ticket.expose().split_first_chunk::<IV_SIZE>()?;
        let mut plain: [u8; PLAIN] = sealed.try_into().ok()?;
        self.0
            .decrypt_inout_detached(
                [&[FORMAT], id.as_bytes().as_slice()],
                (&mut plain[..]).into(),
                &(*iv).into(),
            )
            .ok()?;
        let (number, rest) = plain.split_first_chunk::<8>()?;
        let (branch, zero) = rest.split_first_chunk::<4>()?;
        (zero == [0; 4]).then_some(Position {
            n: u64::from_le_bytes(*number),
            branch: u32::from_le_bytes(*branch),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(node: u8, id: SessionId) -> TicketKey {
        TicketKey::derive(&[node; 32], &id)
    }

    const ALICE: SessionId = SessionId::from_bytes([1; 10]);
    const BOB: SessionId = SessionId::from_bytes([2; 10]);

    proptest! {
        #[test]
        fn a_ticket_opens_at_its_position_under_its_session_and_nowhere_else(n: u64, branch: u32) {
            let position = Position { n, branch };
            let ticket = key(7, ALICE).seal(&ALICE, position).unwrap();
            prop_assert_eq!(key(7, ALICE).open(&ALICE, &ticket), Some(position));
            prop_assert_eq!(key(7, BOB).open(&BOB, &ticket), None);
            prop_assert_eq!(key(7, ALICE).open(&BOB, &ticket), None);
            prop_assert_eq!(key(8, ALICE).open(&ALICE, &ticket), None);
        }
    }

    #[test]
    fn a_changed_bit_makes_it_nobodys() {
        let ticket = key(7, ALICE)
            .seal(&ALICE, Position { n: 5, branch: 1 })
            .unwrap();
        for bit in 0..256 {
            let mut bytes = *ticket.expose();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let other = Secret::from_bytes(bytes);
            assert_eq!(key(7, ALICE).open(&ALICE, &other), None, "bit {bit}");
        }
    }

    #[test]
    fn tickets_in_a_row_share_nothing_that_shows() {
        let at = |n| {
            *key(7, ALICE)
                .seal(&ALICE, Position { n, branch: 0 })
                .unwrap()
                .expose()
        };
        let differing = |a: [u8; 32], b: [u8; 32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum::<u32>()
        };
        for n in 0..200 {
            assert!(
                differing(at(n), at(n + 1)) > 70,
                "about half of 256 bits differ"
            );
        }
        assert_eq!(at(3), at(3), "made ahead of time, it is the same");
    }
}
