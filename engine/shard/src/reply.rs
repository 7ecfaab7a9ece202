//! Who is owed an answer, and when it is due.
//!
//! Invariant: a record's answer is a function of the log alone: a retry gets the same receipt as the first. [P-62]

use alloc::collections::VecDeque;

use io_oi_record::limits::BLOCK_RECORDS_MAX;
use io_oi_record::{Durability, Nanos, Outcome, Receipt, RefusalCode, Sequence, SessionId, Stage, Verdict};
use io_oi_record::{Epoch, SessionSequence};

use crate::flight::{Flight, Flights};
use crate::session::Answer;

/// Most records that wait for their certificate; the machine takes no more proposals beyond.
const CERTIFIED_WAITING_MAX: usize = 2 * BLOCK_RECORDS_MAX;

impl Answer {
    /// The answer to the record at `sequence` of an unfinished block.
    pub(crate) fn of(flight: &Flight, sequence: Sequence) -> Self {
        let note = flight.note(sequence);
        Self {
            session_sequence: note.session_sequence,
            sequence,
            epoch: flight.epoch,
            time: flight.time,
            durability: note.durability,
            verdict: note.verdict,
        }
    }

    /// The receipt, once the durability asked for is reached. [P-54]
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt {
            session_sequence: self.session_sequence,
            sequence: self.sequence,
            epoch: self.epoch,
            time: self.time,
            stage: match self.durability {
                Durability::Local => Stage::Judged,
                Durability::MemQuorum => Stage::Replicated,
                Durability::DiskQuorum | Durability::Certified => Stage::Committed,
            },
            durability: self.durability,
            outcome: match self.verdict {
                Verdict::Accept | Verdict::AcceptWithWrites => Outcome::Accepted,
                Verdict::Refuse(code) => Outcome::Refused(code),
            },
        }
    }
}

/// The receipt of a proposal that got no place in the order.
pub(crate) fn refusal(session_sequence: SessionSequence, now: Nanos, code: RefusalCode) -> Receipt {
    Receipt {
        session_sequence,
        sequence: Sequence::NONE,
        epoch: Epoch::NONE,
        time: now,
        stage: Stage::Submitted,
        durability: Durability::Local,
        outcome: Outcome::Refused(code),
    }
}

/// One walk over the records in order: shows each, then answers everyone who waits at this level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    level: Durability,
    shows: bool,
    pub(crate) next: Sequence,
    is_shown: bool,
    replied: u32,
}

/// What a walk met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met {
    /// This record is to be shown.
    Show(Sequence),
    /// Somebody waits for the answer to this record.
    Answer(Sequence),
    /// Walked past a record whose proposers wait for more than this level.
    Passed(Sequence),
}

impl Cursor {
    /// A walk at `level`, from the first record on.
    pub(crate) fn new(level: Durability, shows: bool) -> Self {
        Self { level, shows, next: Sequence::FIRST, is_shown: false, replied: 0 }
    }

    /// Leaves everything before `next` out.
    pub(crate) fn skip_to(&mut self, next: Sequence) {
        *self = Self { next, ..Self::new(self.level, self.shows) };
    }

    /// Whether the next record was shown, but not everybody who waits for it was answered yet.
    pub(crate) fn is_showing(&self) -> bool {
        self.is_shown
    }

    /// Whether the answers for `sequence` at this level are given.
    pub(crate) fn is_past(&self, sequence: Sequence) -> bool {
        self.next > sequence
    }

    /// The next thing on the way to `through`.
    pub(crate) fn walk(&mut self, flights: &Flights, through: Sequence) -> Option<Met> {
        while self.next <= through {
            let flight = flights.holding(self.next).expect("a record stays until every walk has passed it");
            let (sequence, note) = (self.next, flight.note(self.next));
            if self.shows && !self.is_shown {
                self.is_shown = true;
                if note.is_shown {
                    return Some(Met::Show(sequence));
                }
            }
            if note.durability == self.level && self.replied < note.waiters {
                self.replied += 1;
                return Some(Met::Answer(sequence));
            }
            self.skip_to(sequence.next());
            if note.durability > self.level && note.waiters > 0 {
                return Some(Met::Passed(sequence));
            }
        }
        None
    }
}

/// Committed records whose proposers wait for the certificate.
pub(crate) struct Certifying {
    waiting: VecDeque<Waiting>,
    outstanding: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    session: SessionId,
    answer: Answer,
    waiters: u32,
}

impl Certifying {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(CERTIFIED_WAITING_MAX), outstanding: 0 }
    }

    /// A record that asks for a certificate got its place.
    pub(crate) fn expect_one(&mut self) {
        self.outstanding += 1;
    }

    /// Such a record lost its place.
    pub(crate) fn give_up_one(&mut self) {
        self.outstanding -= 1;
    }

    /// Whether one more such record may get its place.
    pub(crate) fn has_room(&self) -> bool {
        self.outstanding < CERTIFIED_WAITING_MAX
    }

    /// Whether anybody waits for a seal to reach the disk.
    pub(crate) fn is_urgent(&self) -> bool {
        self.outstanding > 0
    }

    /// The record is committed; its proposers wait here from now on.
    pub(crate) fn push(&mut self, session: SessionId, answer: Answer, waiters: u32) {
        self.waiting.push_back(Waiting { session, answer, waiters });
    }

    /// A retry joins those who wait for `sequence`. Says whether there is anybody to join.
    pub(crate) fn join(&mut self, sequence: Sequence) -> bool {
        let found = self.waiting.iter_mut().find(|waiting| waiting.answer.sequence == sequence);
        let is_found = found.is_some();
        if let Some(waiting) = found {
            waiting.waiters += 1;
        }
        is_found
    }

    /// The next answer that the certificate through `through` allows.
    pub(crate) fn pop(&mut self, through: Sequence) -> Option<(SessionId, Answer)> {
        let oldest = self.waiting.front_mut().filter(|oldest| oldest.answer.sequence <= through)?;
        let reply = (oldest.session, oldest.answer);
        oldest.waiters -= 1;
        if oldest.waiters == 0 {
            self.waiting.pop_front();
            self.outstanding -= 1;
        }
        Some(reply)
    }
}
