//! The one proposal between arrival and verdict.
//!
//! Invariant: its bytes are our own copy; whoever lent them may reuse the memory at once.

use alloc::boxed::Box;
use alloc::vec;

use io_oi_record::limits::{EFFECTS_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use io_oi_record::record::RECORD_HEAD_BYTES;
use io_oi_record::{Durability, NodeId, Operation, Precondition, Proposal, SessionId, SessionSequence};

/// Room for one proposal, and where it is on its way.
pub(crate) struct Pending {
    pub(crate) state: State,
    pub(crate) session: SessionId,
    /// The node that sent it here; none when it is this node's own.
    pub(crate) from: Option<NodeId>,
    /// How many submissions of this node wait for its answer.
    pub(crate) waiters: u32,
    session_sequence: SessionSequence,
    operation: Operation,
    precondition: Precondition,
    durability: Durability,
    key_bytes: usize,
    value_bytes: usize,
    payload: Box<[u8]>,
}

/// How far the proposal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    Empty,
    /// It is to be sequenced next.
    Arrived,
    /// The judge has been asked.
    Asked,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Empty,
            session: SessionId::default(),
            from: None,
            waiters: 0,
            session_sequence: SessionSequence::NONE,
            operation: Operation::Put,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key_bytes: 0,
            value_bytes: 0,
            payload: vec![0; KEY_BYTES_MAX + VALUE_BYTES_MAX].into_boxed_slice(),
        }
    }

    /// Takes a copy of a well-shaped proposal that one submission of this node waits for.
    pub(crate) fn fill(&mut self, session: SessionId, proposal: &Proposal<'_>) {
        self.fill_from(None, 1, session, proposal);
    }

    /// Takes a copy of a well-shaped proposal of this node or another.
    pub(crate) fn fill_from(
        &mut self,
        from: Option<NodeId>,
        waiters: u32,
        session: SessionId,
        proposal: &Proposal<'_>,
    ) {
        (self.from, self.waiters) = (from, waiters);
        assert_eq!(self.state, State::Empty, "one proposal at a time: drain the effects before the next");
        self.state = State::Arrived;
        self.session = session;
        self.session_sequence = proposal.session_sequence;
        self.operation = proposal.operation;
        self.precondition = proposal.precondition;
        self.durability = proposal.durability;
        (self.key_bytes, self.value_bytes) = (proposal.key.len(), proposal.value.len());
        let (key, value) = self.payload.split_at_mut(self.key_bytes);
        key.copy_from_slice(proposal.key);
        value[..self.value_bytes].copy_from_slice(proposal.value);
    }

    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    pub(crate) fn proposal(&self) -> Proposal<'_> {
        let (key, value) = self.payload.split_at(self.key_bytes);
        Proposal {
            session_sequence: self.session_sequence,
            operation: self.operation,
            precondition: self.precondition,
            durability: self.durability,
            key,
            value: &value[..self.value_bytes],
        }
    }

    /// Longest record that it can be: what its arbitrator writes with it is not known yet.
    pub(crate) fn record_bytes_max(&self) -> usize {
        let may_write = self.operation.has_key() || self.operation == Operation::Govern;
        let effects_bytes = if may_write { EFFECTS_BYTES_MAX } else { 0 };
        let room = VALUE_BYTES_MAX.max(self.value_bytes);
        RECORD_HEAD_BYTES + self.key_bytes + (self.value_bytes + effects_bytes).min(room)
    }
}
