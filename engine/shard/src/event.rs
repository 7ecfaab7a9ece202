//! What goes in and what comes out: the events and the effects.
//!
//! Invariant: an event is all that the machine ever learns, an effect all that it ever asks for.

use io_oi_consensus::Seating;
use io_oi_record::{
    Effects, Epoch, Hash, Nanos, NodeId, Operation, Precondition, Proposal, Receipt, Record, RefusalCode,
    Sequence, SessionId, SessionSequence, Verdict,
};

use crate::status::PastLost;

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
        /// What it wrote together with it: there exactly with [`Verdict::AcceptWithWrites`].
        effects: Effects<'a>,
    },
    /// The world refuses the proposal of the last [`Effect::Judge`] without a place: no room, shutting down. Never for
    /// one of a follower's, which has its place already.
    Declined {
        /// The sequence that the effect named.
        sequence: Sequence,
        /// Why.
        code: RefusalCode,
    },
    /// The answer to [`crate::Machine::next_to_admit`].
    Admitted {
        /// The component.
        component: Hash,
        /// Whether it may judge here.
        is_admitted: bool,
    },
    /// The log is flushed through this append; for a claim or a grant, the promise file is replaced, too.
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
    /// The answer to an [`Effect::Fetch`], any time later.
    Fetched {
        /// The sequence asked for.
        sequence: Sequence,
        /// The encoded block of the chain that holds it; `None` when the log does not have it.
        bytes: Option<&'a [u8]>,
    },
    /// Time went by; asked for with [`Effect::Wake`], harmless at any time.
    Elapsed,
    /// The answer to [`Effect::KeepMute`]: it is durable.
    MuteKept,
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
    /// Judge this proposal and answer with [`Event::Judged`] (or [`Event::Declined`]) before the next effect is polled.
    Judge {
        /// Where the proposal will stand.
        sequence: Sequence,
        /// The epoch of its block.
        epoch: Epoch,
        /// The time of its block.
        time: Nanos,
        /// As [`crate::hearing::seed_of`] makes it, for a judge to be told; 0 while nobody was ever seated in the shard.
        seed: u64,
        /// Who proposed it.
        session: SessionId,
        /// The proposal: a put or a delete.
        proposal: Proposal<'a>,
        /// Whether an operator has signed it: its judge is told. It stands in the log of every shard; one that does not hold
        /// its key answers [`RefusalCode::WrongShard`] as the verdict.
        is_operator: bool,
        /// Which arbitrators decide which keys at this place; the judge of this key is admitted here.
        seating: Seating<'a>,
        /// Where it comes from.
        origin: JudgeOrigin,
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
        /// Which stream it belongs on.
        lane: Lane,
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
    /// Call with [`Event::Elapsed`] at this time of the monotonic clock, at the latest a little after.
    Wake {
        /// When.
        at: Nanos,
    },
    /// Read the block of the chain that holds this sequence back from the log; answered by [`Event::Fetched`].
    Fetch {
        /// The sequence.
        sequence: Sequence,
    },
    /// Make it durable in the promise file that this node is mute for good; answered by [`Event::MuteKept`]. Until then the
    /// machine takes no further part. [P-44]
    KeepMute {
        /// What every later boot has to know: [`crate::Config::past_lost`].
        past_lost: PastLost,
    },
}

/// Where a proposal to be judged comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgeOrigin {
    /// This node's own client; admission is done.
    Local,
    /// Another node's client; room on this node is still to be looked at.
    Forwarded,
    /// A leader's block: the verdict is checked, and cannot be declined.
    Follower,
}

/// Which stream a message belongs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Small and never behind bulk: seals, acknowledgements, votes, heartbeats.
    Urgent,
    /// Blocks and proposals.
    Bulk,
}

/// How a published record is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishStage {
    /// Visible on this box, not decided yet.
    Tentative,
    /// Decided for ever.
    Committed,
    /// Shown as tentative before, and superseded by another history: newest first.
    Withdrawn,
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
    /// A promise of an epoch to a candidate: flushed before the grant is sent.
    Grant = 4,
    /// The signed votes of a quorum over a block's header.
    Certificate = 5,
    /// Two statements that no honest node can both have made.
    Evidence = 6,
    /// A damaged log is whole again. [P-46]
    Whole = 7,
}

impl LogKind {
    /// The kind behind a log frame's number, `None` when there is no such kind.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Claim),
            2 => Some(Self::Block),
            3 => Some(Self::Seal),
            4 => Some(Self::Grant),
            5 => Some(Self::Certificate),
            6 => Some(Self::Evidence),
            7 => Some(Self::Whole),
            _ => None,
        }
    }

    /// Whether a flush should begin right behind an entry of this kind; seals and certificates wait for company.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        !matches!(self, Self::Seal | Self::Certificate)
    }

    /// Whether the promise file is replaced before this entry is reported durable.
    #[must_use]
    pub const fn is_promise(self) -> bool {
        matches!(self, Self::Claim | Self::Grant)
    }
}

/// The number of one append; dense from 1 in each boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendIndex(pub u64);
