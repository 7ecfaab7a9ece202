//! What goes in and what comes out: five events, six effects.
//!
//! Invariant: an event is all that the machine ever learns, an effect all that it ever asks for.

use io_oi_record::{
    Epoch, Nanos, NodeId, Operation, Precondition, Proposal, Receipt, Record, Sequence, SessionId,
    SessionSequence, Verdict,
};

/// Something happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A proposal arrived. Only while [`crate::Machine::is_ready`]; answered by exactly one [`Effect::Reply`].
    Submitted {
        /// Who asks: a client through its lane, or the node itself.
        origin: Origin,
        /// The session it belongs to.
        session: SessionId,
        /// The proposal; copied before `handle` returns.
        proposal: Proposal<'a>,
    },
    /// The answer to the last [`Effect::Judge`].
    Judged {
        /// The sequence that the effect named.
        sequence: Sequence,
        /// What the judge said.
        verdict: Verdict,
    },
    /// The log is flushed through this append.
    Durable {
        /// The newest append covered by the flush.
        through: AppendIndex,
    },
    /// A message of another node arrived.
    Received {
        /// Who sent it, as the connection proved.
        from: NodeId,
        /// The message.
        bytes: &'a [u8],
    },
    /// Time went by; asked for with [`Effect::Wake`], harmless at any time.
    Elapsed,
}

impl Event<'static> {
    /// The node opens `session`. Its answer comes under session sequence 0.
    #[must_use]
    pub const fn open_session(session: SessionId) -> Self {
        Self::of_node(session, Operation::OpenSession)
    }

    /// The node closes `session`. Its answer comes under session sequence 0.
    #[must_use]
    pub const fn close_session(session: SessionId) -> Self {
        Self::of_node(session, Operation::CloseSession)
    }

    const fn of_node(session: SessionId, operation: Operation) -> Self {
        let proposal = Proposal {
            session_sequence: SessionSequence::NONE,
            operation,
            precondition: Precondition::None,
            durability: io_oi_record::Durability::DiskQuorum,
            key: &[],
            value: &[],
        };
        Self::Submitted { origin: Origin::Node, session, proposal }
    }
}

/// Who submits a proposal. The lane of a client can never open or close a session, whatever bytes stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Bytes out of a client's lane: may put and delete.
    Client,
    /// The node itself: may open and close sessions, too.
    Node,
}

/// Something to do.
#[derive(Clone, Copy, Debug)]
pub enum Effect<'a> {
    /// Judge this proposal and answer with [`Event::Judged`] before the next effect is polled.
    Judge {
        /// Where the proposal will stand.
        sequence: Sequence,
        /// The epoch of its block.
        epoch: Epoch,
        /// The time of its block.
        time: Nanos,
        /// Who proposed it.
        session: SessionId,
        /// The proposal.
        proposal: Proposal<'a>,
    },
    /// Append this entry to the log; reported by [`Event::Durable`] once flushed.
    Append {
        /// The append's own number, dense from 1 in each boot.
        index: AppendIndex,
        /// What the entry is; [`crate::Machine::recover_frame`] wants it back.
        kind: LogKind,
        /// The epoch it belongs to.
        epoch: Epoch,
        /// The last sequence that it speaks of.
        sequence: Sequence,
        /// The entry.
        bytes: &'a [u8],
    },
    /// Send this message to another node.
    Send {
        /// The receiver.
        to: NodeId,
        /// The message.
        bytes: &'a [u8],
    },
    /// Show this record on this box. Only for accepted records that write a key: a refused one is never shown. [P-66]
    Publish {
        /// Tentative at once, committed when decided.
        stage: PublishStage,
        /// The epoch of its block.
        epoch: Epoch,
        /// The time of its block.
        time: Nanos,
        /// The record.
        record: Record<'a>,
    },
    /// Answer a session.
    Reply {
        /// The session; nobody may be attached to it any more.
        session: SessionId,
        /// The answer.
        receipt: Receipt,
    },
    /// Call with [`Event::Elapsed`] at this time, at the latest a little after.
    Wake {
        /// When.
        at: Nanos,
    },
}

/// How a published record is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishStage {
    /// Visible on this box, not decided yet.
    Tentative,
    /// Decided for ever.
    Committed,
}

/// What a log entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LogKind {
    /// An epoch claim: flushed before the first signature of the epoch.
    Claim = 1,
    /// A block: header and records, not signed.
    Block = 2,
    /// The signature over a block's header; stands behind its block.
    Seal = 3,
}

impl LogKind {
    /// The kind behind a log frame's number, `None` when there is no such kind.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Claim),
            2 => Some(Self::Block),
            3 => Some(Self::Seal),
            _ => None,
        }
    }

    /// Whether a flush should begin right behind an entry of this kind; a seal waits for company.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        !matches!(self, Self::Seal)
    }
}

/// The number of one append; dense from 1 in each boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendIndex(pub u64);
