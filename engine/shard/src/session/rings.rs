//! The answers of all sessions: one ring per slot, in one piece of memory that is touched only where it is used.
//!
//! Invariant: a place is always taken modulo the window, so that rings never run into each other.

use alloc::vec;
use alloc::vec::Vec;

use io_oi_record::{Durability, Epoch, Nanos, RefusalCode, Sequence, SessionSequence, Verdict};

use crate::session::Answer;

pub(super) struct Rings {
    window: usize,
    answers: Vec<Packed>,
    /// Rings beyond those of boot: only a log that is read back evicts more than limbo holds.
    more: Vec<Vec<Packed>>,
    boot_count: usize,
}

impl Rings {
    pub(super) fn new(ring_count: usize, window: usize) -> Self {
        let answers = vec![[0; PACKED_WORDS]; ring_count * window];
        Self { window, answers, more: Vec::new(), boot_count: ring_count }
    }

    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Sees to it that there are at least `ring_count` rings.
    pub(super) fn make_room_for(&mut self, ring_count: usize) {
        while self.boot_count + self.more.len() < ring_count {
            self.more.push(vec![[0; PACKED_WORDS]; self.window]);
        }
    }

    pub(super) fn get(&self, ring: usize, place: usize) -> &Packed {
        let place = place % self.window;
        match ring.checked_sub(self.boot_count) {
            None => &self.answers[ring * self.window + place],
            Some(more) => &self.more[more][place],
        }
    }

    pub(super) fn set(&mut self, ring: usize, place: usize, answer: Packed) {
        let place = place % self.window;
        match ring.checked_sub(self.boot_count) {
            None => self.answers[ring * self.window + place] = answer,
            Some(more) => self.more[more][place] = answer,
        }
    }

    pub(super) fn after(&self, place: usize) -> usize {
        (place + 1) % self.window
    }

    pub(super) fn before(&self, place: usize) -> usize {
        (place + self.window - 1) % self.window
    }
}

/// An answer as plain words: zeroed memory that is never touched costs nothing.
/// Session sequence, sequence, epoch, time, durability (high half) and refusal code (low half, 0 = accepted).
pub(super) type Packed = [u64; PACKED_WORDS];
pub(super) const PACKED_WORDS: usize = 5;

pub(super) fn pack(answer: &Answer) -> Packed {
    let refusal = match answer.verdict {
        Verdict::Accept | Verdict::AcceptWithWrites => 0,
        Verdict::Refuse(code) => code.to_code(),
    };
    let last = (answer.durability as u64) << 32 | u64::from(refusal);
    [answer.session_sequence.0, answer.sequence.0, answer.epoch.0, answer.time.0, last]
}

pub(super) fn unpack(packed: &Packed) -> Answer {
    let [session_sequence, sequence, epoch, time, last] = *packed;
    let durability = Durability::ALL.into_iter().find(|level| *level as u64 == last >> 32);
    let verdict = match last as u32 {
        0 => Verdict::Accept,
        code => Verdict::Refuse(RefusalCode::from_code(code).expect("packed from a known code")),
    };
    Answer {
        session_sequence: SessionSequence(session_sequence),
        sequence: Sequence(sequence),
        epoch: Epoch(epoch),
        time: Nanos(time),
        durability: durability.expect("packed from a durability"),
        verdict,
    }
}
