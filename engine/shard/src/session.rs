//! The sessions of one shard: every proposal at most once, the same answer on every retry.
//!
//! Invariant: the table is a function of the log alone. It changes only in [`Sessions::apply`], record by record, so
//! every node that reads the same log has the same table. [P-60..P-66] What is not committed can be taken back, newest
//! first, and leaves nothing behind: not even an eviction.

use alloc::vec::Vec;

use io_oi_record::limits::LIMBO_MAX;
use io_oi_record::{
    Durability, Epoch, Nanos, Operation, Record, Sequence, SessionId, SessionSequence, Verdict,
};

use crate::index::SlotIndex;
use crate::session::floors::Floors;
use crate::session::journal::{Eviction, Journal, Undo};
use crate::session::rings::{Packed, Rings, pack, unpack};

mod fields;
mod floors;
mod journal;
mod rings;
#[cfg(test)]
mod tests;

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
    /// No such session, or none any more.
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
    sessions_max: usize,
    slots: Vec<Slot>,
    /// Slots that hold no session and none in limbo.
    free: Vec<usize>,
    known_count: usize,
    limbo_count: usize,
    index: SlotIndex,
    rings: Rings,
    journal: Journal,
    floors: Floors,
    last_found: usize,
    evicted_count: u64,
    /// The newest epoch in which this leader declined a number. The log knows nothing of that.
    declined_in: Epoch,
    /// Takes every proposal for a new one.
    #[cfg(feature = "planted")]
    pub(crate) forgets: bool,
}

/// One session. The answers stand in the ring of the same number.
#[derive(Clone, Copy)]
struct Slot {
    id: SessionId,
    /// Whether the table knows the session; otherwise it is in limbo or gone.
    is_known: bool,
    opened: Packed,
    closed: Option<Packed>,
    highest: SessionSequence,
    forgotten_through: SessionSequence,
    oldest: usize,
    answer_count: usize,
    last_record: Sequence,
    /// The highest number that was declined in that epoch.
    declined: SessionSequence,
}

impl Sessions {
    /// A table of `sessions_max` sessions with `window` answers each, that can take back `uncommitted_max` records
    /// without allocating.
    pub(crate) fn new(sessions_max: usize, window: usize, uncommitted_max: usize) -> Self {
        assert!(sessions_max >= 1 && window >= 1, "a table has room for a session and its answer");
        let slot_count = sessions_max + LIMBO_MAX;
        Self {
            sessions_max,
            slots: Vec::with_capacity(slot_count),
            free: Vec::with_capacity(slot_count),
            known_count: 0,
            limbo_count: 0,
            index: SlotIndex::new(sessions_max),
            rings: Rings::new(slot_count, window),
            journal: Journal::new(uncommitted_max),
            floors: Floors::new(),
            last_found: 0,
            evicted_count: 0,
            declined_in: Epoch::NONE,
            #[cfg(feature = "planted")]
            forgets: false,
        }
    }

    /// What the table says about a proposal of `session`, before anything is decided. [P-61]
    pub(crate) fn standing(
        &self,
        session: SessionId,
        operation: Operation,
        session_sequence: SessionSequence,
    ) -> Standing {
        if is_sessionless(session, operation) {
            return Standing::Fresh;
        }
        let found = self.find(session);
        match operation {
            Operation::OpenSession => match found.map(|slot| &self.slots[slot]) {
                None if self.floors.is_past(session) => Standing::Unknown,
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
        let counts_for_nobody =
            record.operation == Operation::StartEpoch || is_sessionless(record.session, record.operation);
        if counts_for_nobody {
            self.journal.push(record.sequence, Undo::Nothing);
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
        let undo = match record.operation {
            Operation::OpenSession => self.insert(record.session, answer, record.sequence),
            Operation::CloseSession => self.close(record, answer),
            _ => self.remember(record, answer),
        };
        self.journal.push(record.sequence, undo);
        Ok(())
    }

    /// Takes back the newest record applied. The caller never takes back what is committed. [P-60]
    pub(crate) fn undo_last(&mut self) -> Sequence {
        let (sequence, undo) =
            self.journal.pop().expect("only records that are not committed are taken back");
        match undo {
            Undo::Nothing => {}
            Undo::Open { slot, evicted } => self.take_back_open(slot, evicted),
            Undo::Close { slot, last_record } => {
                let session = &mut self.slots[slot];
                session.closed = None;
                session.last_record = last_record;
            }
            Undo::Answer { slot, highest, last_record, forgotten } => {
                let session = &mut self.slots[slot];
                session.answer_count -= 1;
                session.highest = highest;
                session.last_record = last_record;
                if let Some((forgotten_through, answer)) = forgotten {
                    session.forgotten_through = forgotten_through;
                    session.oldest = self.rings.before(session.oldest);
                    session.answer_count += 1;
                    self.rings.set(slot, session.oldest, answer);
                }
            }
        }
        sequence
    }

    /// Everything through `sequence` is committed: it is never taken back, and evicted sessions are gone for good.
    pub(crate) fn settle_through(&mut self, sequence: Sequence) {
        while let Some(undo) = self.journal.settle_first(sequence) {
            if let Undo::Open { evicted: Some(evicted), .. } = undo {
                self.limbo_count -= 1;
                self.free.push(evicted.slot);
            }
        }
    }

    /// This leader has told another node that `number` gets no place: for the rest of its epoch it gets none. [P-68]
    pub(crate) fn note_declined(&mut self, session: SessionId, number: SessionSequence, epoch: Epoch) {
        if self.declined_in != epoch {
            self.declined_in = epoch;
            self.slots.iter_mut().for_each(|slot| slot.declined = SessionSequence::NONE);
        }
        if let Some(slot) = self.find(session) {
            self.slots[slot].declined = self.slots[slot].declined.max(number);
        }
    }

    /// Whether `number`, or a later one, was declined in this epoch. [P-68]
    pub(crate) fn is_declined(&self, session: SessionId, number: SessionSequence, epoch: Epoch) -> bool {
        self.declined_in == epoch
            && self.find(session).is_some_and(|slot| number <= self.slots[slot].declined)
    }

    /// Whether an open record may be sequenced now: a leader opens no session by an eviction that it could not take
    /// back. [P-65]
    pub(crate) fn has_room_to_open(&self) -> bool {
        self.known_count < self.sessions_max || self.limbo_count < LIMBO_MAX
    }

    /// How many applied records could still be taken back.
    #[cfg(test)]
    pub(crate) fn uncommitted_count(&self) -> usize {
        self.journal.len()
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
        self.slots.iter().filter(|slot| slot.is_known && slot.closed.is_none()).map(|slot| slot.id)
    }

    /// How many sessions are known, open and closed.
    pub(crate) fn count(&self) -> usize {
        self.known_count
    }

    /// How many sessions made room for newer ones.
    pub(crate) fn evicted_count(&self) -> u64 {
        self.evicted_count
    }

    /// The session of the last record comes first: proposals come in runs.
    fn find(&self, session: SessionId) -> Option<usize> {
        if self.slots.get(self.last_found).is_some_and(|slot| slot.is_known && slot.id == session) {
            return Some(self.last_found);
        }
        self.index.find(session, |slot| self.slots[slot].id)
    }

    fn known(&self, session: SessionId) -> usize {
        self.find(session).expect("`standing` found the session")
    }

    fn standing_in(&self, slot: usize, session_sequence: SessionSequence) -> Standing {
        let session = &self.slots[slot];
        #[cfg(feature = "planted")]
        if self.forgets {
            return Standing::Fresh;
        }
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
        let Slot { oldest, answer_count, .. } = self.slots[slot];
        let (mut low, mut high) = (0, answer_count);
        while low < high {
            let middle = (low + high) / 2;
            let answer = self.rings.get(slot, oldest + middle);
            match answer[0].cmp(&session_sequence.0) {
                core::cmp::Ordering::Equal => return Some(unpack(answer)),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn remember(&mut self, record: &Record<'_>, answer: Packed) -> Undo {
        let slot = self.known(record.session);
        self.last_found = slot;
        let session = &mut self.slots[slot];
        let Slot { highest, last_record, forgotten_through, .. } = *session;
        let mut forgotten = None;
        if session.answer_count == self.rings.window() {
            let oldest = *self.rings.get(slot, session.oldest);
            forgotten = Some((forgotten_through, oldest));
            session.forgotten_through = SessionSequence(oldest[0]);
            session.oldest = self.rings.after(session.oldest);
            session.answer_count -= 1;
        }
        self.rings.set(slot, session.oldest + session.answer_count, answer);
        session.answer_count += 1;
        session.highest = record.session_sequence;
        session.last_record = record.sequence;
        Undo::Answer { slot, highest, last_record, forgotten }
    }

    fn close(&mut self, record: &Record<'_>, answer: Packed) -> Undo {
        let slot = self.known(record.session);
        let session = &mut self.slots[slot];
        let last_record = session.last_record;
        session.closed = Some(answer);
        session.last_record = record.sequence;
        Undo::Close { slot, last_record }
    }

    fn insert(&mut self, session: SessionId, opened: Packed, sequence: Sequence) -> Undo {
        let evicted = (self.known_count == self.sessions_max).then(|| self.evict_eldest(sequence));
        let fresh = Slot {
            id: session,
            is_known: true,
            opened,
            closed: None,
            highest: SessionSequence::NONE,
            forgotten_through: SessionSequence::NONE,
            oldest: 0,
            answer_count: 0,
            last_record: sequence,
            declined: SessionSequence::NONE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                self.rings.make_room_for(self.slots.len());
                self.slots.len() - 1
            }
        };
        self.known_count += 1;
        self.index.insert(session, slot);
        Undo::Open { slot, evicted }
    }

    /// Puts a session into limbo: unknown from now on, forgotten once that is committed.
    fn evict_eldest(&mut self, sequence: Sequence) -> Eviction {
        let slot = self.eldest();
        self.forget(slot);
        self.limbo_count += 1;
        self.evicted_count += 1;
        Eviction { slot, raised: self.floors.raise(self.slots[slot].id, sequence) }
    }

    fn take_back_open(&mut self, slot: usize, evicted: Option<Eviction>) {
        self.forget(slot);
        self.free.push(slot);
        if let Some(Eviction { slot: evicted, raised }) = evicted {
            self.floors.lower(raised);
            self.slots[evicted].is_known = true;
            self.known_count += 1;
            self.index.insert(self.slots[evicted].id, evicted);
            self.limbo_count -= 1;
            self.evicted_count -= 1;
        }
    }

    fn forget(&mut self, slot: usize) {
        self.index.remove(self.slots[slot].id, |slot| self.slots[slot].id);
        self.slots[slot].is_known = false;
        self.known_count -= 1;
    }

    /// Who makes room: the closed session whose last record is oldest, else the open one. [P-65]
    fn eldest(&self) -> usize {
        let age = |slot: &Slot| (slot.closed.is_none(), slot.last_record);
        let known = (0..self.slots.len()).filter(|slot| self.slots[*slot].is_known);
        known.min_by_key(|slot| age(&self.slots[*slot])).expect("a full table has sessions")
    }
}

/// An operator's change under a node's own session: its governance number keeps it from happening twice.
fn is_sessionless(session: SessionId, operation: Operation) -> bool {
    operation == Operation::Govern && session.counter == 0
}

/// The log holds a record that its own sessions forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFresh;
