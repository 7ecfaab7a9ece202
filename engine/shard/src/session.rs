//! The sessions of one shard: every proposal at most once, the same answer on every retry.
//!
//! Invariant: the table is a function of the log alone. It changes only in [`Sessions::apply`], record by record, so
//! every node that reads the same log has the same table. [P-60..P-66]

use alloc::vec;
use alloc::vec::Vec;

use io_oi_record::limits::{SESSION_WINDOW, SESSIONS_MAX};
use io_oi_record::{
    Durability, Epoch, Nanos, Operation, Record, Sequence, SessionId, SessionSequence, Verdict,
};

use crate::index::SlotIndex;

/// What the log says about one decided proposal; enough to write its receipt again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) session_sequence: SessionSequence,
    pub(crate) sequence: Sequence,
    pub(crate) epoch: Epoch,
    pub(crate) time: Nanos,
    pub(crate) durability: Durability,
    pub(crate) verdict: Verdict,
}

/// What a session sequence means to the table. [P-61]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Never seen and above everything seen: may be sequenced.
    Fresh,
    /// Decided before.
    Answered(Answer),
    /// Passed over: a higher one was decided first.
    PassedOver,
    /// Older than the answers remembered.
    Forgotten,
    /// No such session.
    Unknown,
    /// The session is closed.
    Closed,
}

/// Whether a proposal would be new to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalState {
    /// Never seen: submitting it gives it a place.
    Fresh,
    /// Decided, in flight, or passed over: submitting it gets the one answer that it has.
    Seen,
    /// The session is unknown or closed: submitting it is refused.
    NoSession,
}

/// Whether a shard knows a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Never opened here, or evicted since.
    Unknown,
    /// Open: its proposals are accepted.
    Open,
    /// Closed: nothing is accepted any more.
    Closed,
}

/// All sessions of one shard. Everything is allocated at boot; the memory of a session that never was is not touched.
pub(crate) struct Sessions {
    slots: Vec<Slot>,
    index: SlotIndex,
    /// [`SESSION_WINDOW`] packed answers per slot, a ring each.
    answers: Vec<Packed>,
    last_found: usize,
    evicted_count: u64,
}

/// One session. The answers stand in the table's ring of the same number.
#[derive(Clone, Copy)]
struct Slot {
    id: SessionId,
    opened: Packed,
    closed: Option<Packed>,
    highest: SessionSequence,
    forgotten_through: SessionSequence,
    oldest: usize,
    answer_count: usize,
    last_record: Sequence,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::with_capacity(SESSIONS_MAX),
            index: SlotIndex::new(),
            answers: vec![[0; PACKED_WORDS]; SESSIONS_MAX * SESSION_WINDOW],
            last_found: 0,
            evicted_count: 0,
        }
    }

    /// What the table says about a proposal of `session`, before anything is decided. [P-61]
    pub(crate) fn standing(
        &self,
        session: SessionId,
        operation: Operation,
        session_sequence: SessionSequence,
    ) -> Standing {
        let found = self.find(session);
        match operation {
            Operation::OpenSession => match found.map(|slot| &self.slots[slot]) {
                None => Standing::Fresh,
                Some(slot) if slot.closed.is_some() => Standing::Closed,
                Some(slot) => Standing::Answered(unpack(&slot.opened)),
            },
            Operation::CloseSession => match found.map(|slot| &self.slots[slot]) {
                None => Standing::Unknown,
                Some(Slot { closed: Some(closed), .. }) => Standing::Answered(unpack(closed)),
                Some(_) => Standing::Fresh,
            },
            _ => match found {
                None => Standing::Unknown,
                Some(slot) if self.slots[slot].closed.is_some() => Standing::Closed,
                Some(slot) => self.standing_in(slot, session_sequence),
            },
        }
    }

    /// Takes one record of the log into account. An `Err` means that the log breaks the protocol; a leader's own
    /// records never do, because it asked [`Sessions::standing`] first. [P-60]
    pub(crate) fn apply(&mut self, record: &Record<'_>, epoch: Epoch, time: Nanos) -> Result<(), NotFresh> {
        if record.operation == Operation::StartEpoch {
            return Ok(());
        }
        if self.standing(record.session, record.operation, record.session_sequence) != Standing::Fresh {
            return Err(NotFresh);
        }
        let answer = pack(&Answer {
            session_sequence: record.session_sequence,
            sequence: record.sequence,
            epoch,
            time,
            durability: record.durability,
            verdict: record.verdict,
        });
        match record.operation {
            Operation::OpenSession => self.insert(record.session, answer, record.sequence),
            Operation::CloseSession => {
                let slot = self.known(record.session);
                slot.closed = Some(answer);
                slot.last_record = record.sequence;
            }
            _ => self.remember(record, answer),
        }
        Ok(())
    }

    /// The same as [`Sessions::standing`] of a put or delete, as much of it as others need to know.
    pub(crate) fn proposal_state(
        &self,
        session: SessionId,
        session_sequence: SessionSequence,
    ) -> ProposalState {
        match self.standing(session, Operation::Put, session_sequence) {
            Standing::Fresh => ProposalState::Fresh,
            Standing::Unknown | Standing::Closed => ProposalState::NoSession,
            Standing::Answered(_) | Standing::PassedOver | Standing::Forgotten => ProposalState::Seen,
        }
    }

    pub(crate) fn state(&self, session: SessionId) -> SessionState {
        match self.find(session) {
            None => SessionState::Unknown,
            Some(slot) if self.slots[slot].closed.is_some() => SessionState::Closed,
            Some(_) => SessionState::Open,
        }
    }

    /// The sessions that are open.
    pub(crate) fn open(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.slots.iter().filter(|slot| slot.closed.is_none()).map(|slot| slot.id)
    }

    /// How many sessions are known, open and closed.
    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// How many sessions made room for newer ones.
    pub(crate) fn evicted_count(&self) -> u64 {
        self.evicted_count
    }

    /// The session of the last record comes first: proposals come in runs.
    fn find(&self, session: SessionId) -> Option<usize> {
        if self.slots.get(self.last_found).is_some_and(|slot| slot.id == session) {
            return Some(self.last_found);
        }
        self.index.find(session, |slot| self.slots[slot].id)
    }

    fn known(&mut self, session: SessionId) -> &mut Slot {
        let slot = self.find(session).expect("`standing` found the session");
        &mut self.slots[slot]
    }

    fn standing_in(&self, slot: usize, session_sequence: SessionSequence) -> Standing {
        let session = &self.slots[slot];
        if session_sequence > session.highest {
            return Standing::Fresh;
        }
        if session_sequence <= session.forgotten_through {
            return Standing::Forgotten;
        }
        match self.answer(slot, session_sequence) {
            Some(answer) => Standing::Answered(answer),
            None => Standing::PassedOver,
        }
    }

    /// Binary search in the ring; answers stand in the order of their session sequences.
    fn answer(&self, slot: usize, session_sequence: SessionSequence) -> Option<Answer> {
        let (mut low, mut high) = (0, self.slots[slot].answer_count);
        while low < high {
            let middle = (low + high) / 2;
            let answer = &self.answers[self.place(slot, middle)];
            match answer[0].cmp(&session_sequence.0) {
                core::cmp::Ordering::Equal => return Some(unpack(answer)),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn remember(&mut self, record: &Record<'_>, answer: Packed) {
        let slot = self.find(record.session).expect("`standing` found the session");
        self.last_found = slot;
        let session = &self.slots[slot];
        if session.answer_count == SESSION_WINDOW {
            let oldest = self.answers[self.place(slot, 0)];
            let session = &mut self.slots[slot];
            session.forgotten_through = SessionSequence(oldest[0]);
            session.oldest = (session.oldest + 1) % SESSION_WINDOW;
            session.answer_count -= 1;
        }
        let place = self.place(slot, self.slots[slot].answer_count);
        self.answers[place] = answer;
        let session = &mut self.slots[slot];
        session.answer_count += 1;
        session.highest = record.session_sequence;
        session.last_record = record.sequence;
    }

    fn place(&self, slot: usize, position: usize) -> usize {
        slot * SESSION_WINDOW + (self.slots[slot].oldest + position) % SESSION_WINDOW
    }

    fn insert(&mut self, session: SessionId, opened: Packed, sequence: Sequence) {
        let fresh = Slot {
            id: session,
            opened,
            closed: None,
            highest: SessionSequence::NONE,
            forgotten_through: SessionSequence::NONE,
            oldest: 0,
            answer_count: 0,
            last_record: sequence,
        };
        let slot = if self.slots.len() < SESSIONS_MAX {
            self.slots.push(fresh);
            self.slots.len() - 1
        } else {
            let evicted = self.eldest();
            self.index.remove(self.slots[evicted].id, |slot| self.slots[slot].id);
            self.slots[evicted] = fresh;
            self.evicted_count += 1;
            evicted
        };
        self.index.insert(session, slot);
    }

    /// Who makes room: the closed session whose last record is oldest, else the open one. [P-65]
    fn eldest(&self) -> usize {
        let age = |slot: &Slot| (slot.closed.is_none(), slot.last_record);
        let by_age = (0..self.slots.len()).min_by_key(|slot| age(&self.slots[*slot]));
        by_age.expect("a full table has sessions")
    }
}

/// The log holds a record that its own sessions forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFresh;

/// An answer as plain words: zeroed memory that is never touched costs nothing.
/// Session sequence, sequence, epoch, time, durability (high half) and refusal code (low half, 0 = accepted).
type Packed = [u64; PACKED_WORDS];
const PACKED_WORDS: usize = 5;

fn pack(answer: &Answer) -> Packed {
    let refusal = match answer.verdict {
        Verdict::Accept | Verdict::AcceptWithWrites => 0,
        Verdict::Refuse(code) => code.to_code(),
    };
    let last = (answer.durability as u64) << 32 | u64::from(refusal);
    [answer.session_sequence.0, answer.sequence.0, answer.epoch.0, answer.time.0, last]
}

fn unpack(packed: &Packed) -> Answer {
    let [session_sequence, sequence, epoch, time, last] = *packed;
    let durability = Durability::ALL.into_iter().find(|level| *level as u64 == last >> 32);
    let verdict = match last as u32 {
        0 => Verdict::Accept,
        code => {
            Verdict::Refuse(io_oi_record::RefusalCode::from_code(code).expect("packed from a known code"))
        }
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
