//! Where WebSocket frames begin and end (RFC 6455 5.2), and the one frame that is ours: Close.
//!
//! The gateway does not take part in a WebSocket. It follows the lengths, so that it can put a Close frame
//! between two of the upstream's frames when the session has ended; the payload is never looked at.

/// Follows one direction of a WebSocket.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    head: Vec<u8>,
    payload: u64,
    closing: bool,
    /// The frame that has begun carries what somebody says, and not a Ping, a Pong or a Close.
    speech: bool,
    spoken: bool,
}

/// A length that no frame has. Nothing can be said about boundaries any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of an impossible length")]
#[non_exhaustive]
pub struct BadFrame;

/// A frame's head with the longest length and a mask.
const LONGEST_HEAD: usize = 14;

impl Frames {
    /// Takes bytes up to the end of the frame that they are in, and says how many those were.
    ///
    /// # Errors
    ///
    /// When a length is impossible.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, BadFrame> {
        let mut taken = 0_usize;
        if self.payload == 0 {
            for byte in bytes {
                self.head.push(*byte);
                taken = taken.saturating_add(1);
                if let Some(payload) = length(&self.head)? {
                    let kind = self.head.first().map_or(0, |first| first & 0x0f);
                    self.closing |= kind == 8;
                    self.speech = kind < 8;
                    self.spoken |= self.speech;
                    self.head.clear();
                    self.payload = payload;
                    break;
                }
            }
        }
        let rest = bytes.len().saturating_sub(taken);
        let payload = usize::try_from(self.payload)
            .unwrap_or(usize::MAX)
            .min(rest);
        self.payload = self
            .payload
            .saturating_sub(u64::try_from(payload).unwrap_or(u64::MAX));
        self.spoken |= self.speech && payload > 0;
        Ok(taken.saturating_add(payload))
    }

    /// Whether something was said since this was asked last: control frames, which browsers answer by themselves, are no
    /// sign of anybody.
    pub fn spoken(&mut self) -> bool {
        core::mem::take(&mut self.spoken)
    }

    /// Takes all of `bytes`, over as many frames as they hold.
    ///
    /// # Errors
    ///
    /// When a length is impossible.
    pub fn take_all(&mut self, mut bytes: &[u8]) -> Result<(), BadFrame> {
        while !bytes.is_empty() {
            let taken = self.take(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// How many of `bytes` belong to the frame that has begun. All of them, where that cannot be said.
    #[must_use]
    pub fn rest(&self, bytes: &[u8]) -> usize {
        self.clone().take(bytes).unwrap_or(bytes.len())
    }

    /// Whether the last byte ended a frame, so that another may begin.
    #[must_use]
    pub fn between(&self) -> bool {
        self.head.is_empty() && self.payload == 0
    }

    /// Whether a Close frame has begun to pass: nothing may follow it (RFC 6455 5.5.1).
    #[must_use]
    pub const fn closing(&self) -> bool {
        self.closing
    }
}

/// The payload's length once the head is whole.
fn length(head: &[u8]) -> Result<Option<u64>, BadFrame> {
    let Some(second) = head.get(1) else {
        return Ok(None);
    };
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0_usize,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let whole = wide.saturating_add(mask).saturating_add(2);
    if head.len() < whole.min(LONGEST_HEAD) {
        return Ok(None);
    }
    let Some(digits) = head.get(2..wide.saturating_add(2)) else {
        return Ok(None);
    };
    let payload = match digits {
        [] => u64::from(second & 0x7f),
        digits => digits
            .iter()
            .fold(0_u64, |length, byte| (length << 8) | u64::from(*byte)),
    };
    // RFC 6455 5.2: the most significant bit must be 0.
    if payload >> 63 == 1 {
        Err(BadFrame)
    } else {
        Ok(Some(payload))
    }
}

/// A server's Close frame: unmasked, with a code and a short reason.
#[must_use]
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let reason = reason.get(..reason.len().min(123)).unwrap_or_default();
    let length = u8::try_from(reason.len().saturating_add(2)).unwrap_or(2);
    let mut frame = vec![0x88, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 => frame.push(mask | u8::try_from(length).unwrap()),
            126..=65535 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    #[test]
    fn an_impossible_length_is_refused() {
        let head = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Frames::default().take_all(&head), Err(BadFrame));
    }

    #[test]
    fn a_pong_is_no_sign_of_anybody_and_a_message_is() {
        let mut frames = Frames::default();
        for (opcode, speech) in [(9, false), (10, false), (8, false), (1, true), (0, true)] {
            frames.take_all(&frame(opcode, true, 5)).unwrap();
            assert_eq!(frames.spoken(), speech, "{opcode}");
            assert!(!frames.spoken(), "said once");
        }
        let long = frame(2, true, 300);
        frames.take_all(&long[..100]).unwrap();
        assert!(frames.spoken());
        frames.take_all(&long[100..200]).unwrap();
        assert!(frames.spoken(), "in the middle of it");
    }

    #[test]
    fn a_close_frame_is_one_frame() {
        let mut frames = Frames::default();
        let bytes = close(4001, "session ended");
        assert_eq!(&bytes[..4], &[0x88, 15, 0x0f, 0xa1]);
        assert_eq!(frames.take(&bytes), Ok(bytes.len()));
        assert!(frames.between() && frames.closing());
    }

    proptest! {
        /// However the bytes are cut, the boundaries are where the frames end.
        #[test]
        fn boundaries_do_not_depend_on_how_bytes_arrive(
            frames in prop::collection::vec(
                (0_u8..3, any::<bool>(), prop_oneof![0_usize..130, 65_530_usize..65_540]), 1..5),
            step in 1_usize..70_000,
        ) {
            let whole: Vec<Vec<u8>> = frames.iter().map(|(o, m, l)| frame(*o, *m, *l)).collect();
            let mut tracker = Frames::default();
            for one in &whole {
                for (at, chunk) in one.chunks(step).enumerate() {
                    prop_assert_eq!(tracker.between(), at == 0);
                    prop_assert_eq!(tracker.take(chunk), Ok(chunk.len()));
                }
                prop_assert!(tracker.between());
            }
            let all = whole.concat();
            let mut tracker = Frames::default();
            prop_assert_eq!(tracker.take(&all), Ok(whole[0].len()));
            let mut tracker = Frames::default();
            for chunk in all.chunks(step) {
                tracker.take_all(chunk).unwrap();
            }
            prop_assert!(tracker.between() && !tracker.closing());
        }
    }
}
