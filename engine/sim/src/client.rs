//! Clients: what they wish, what they remember, and how they take answers.
//!
//! Invariant: a client makes one write at a time and sends it again under the same number until it is answered, or gives
//! its session up; what it then does not know it never claims to know.

use io_oi_history::{Answer, Call, Condition, OperationId};
use io_oi_record::{
    Durability, Operation, Outcome, Precondition, Receipt, RefusalCode, Sequence, SessionId, SessionSequence,
};

use crate::checkers::is_for_good;
use crate::process::Wish;
use crate::random::Random;

/// What a client does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Write(Wish),
    /// A read under a lease.
    ReadLease(Vec<u8>),
    /// Whatever is committed on its node.
    ReadPlain(Vec<u8>),
    /// Whatever is newest on its node.
    ReadTentative(Vec<u8>),
    /// Close the session in good order.
    Leave,
    /// Go to another node and take the session along.
    Move,
}

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Attached to nothing.
    Away,
    /// Its session is being opened.
    Opening,
    /// Attached; perhaps with a write under way.
    Attached,
}

/// A write under way.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) operation: OperationId,
    pub(crate) wish: Wish,
    pub(crate) sent: u32,
    pub(crate) since: u64,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) node: usize,
    pub(crate) place: Place,
    pub(crate) session: Option<SessionId>,
    pub(crate) pending: Option<Pending>,
    /// When it gives up waiting for what it waits for.
    pub(crate) patience_until: u64,
    /// How often it asked a node that did not know its session.
    pub(crate) strangeness: u32,
    /// Counts its attachments: what it may see of plain reads is per attachment.
    pub(crate) attachments: u64,
    pub(crate) answered: u64,
    /// Counts what it was asked to do; older moments mean nothing.
    pub(crate) turn: u64,
    next_number: u64,
    values: u64,
    random: Random,
    habits: Habits,
}

/// What a client is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) think_ns: u64,
    pub(crate) patience_ns: u64,
    pub(crate) keys: u64,
    pub(crate) stays_per_mille: u64,
}

impl Client {
    pub(crate) fn new(number: u64, node: usize, habits: Habits, random: Random) -> Self {
        Self {
            number,
            node,
            place: Place::Away,
            session: None,
            pending: None,
            patience_until: 0,
            strangeness: 0,
            attachments: 0,
            answered: 0,
            turn: 0,
            next_number: 1,
            values: 0,
            random,
            habits,
        }
    }

    pub(crate) fn think_ns(&mut self) -> u64 {
        self.random.latency(self.habits.think_ns, 20)
    }

    pub(crate) fn patience_ns(&mut self) -> u64 {
        self.random.latency(self.habits.patience_ns, 2)
    }

    /// Whether it tries its node once more rather than another.
    pub(crate) fn stays(&mut self) -> bool {
        self.random.chance(self.habits.stays_per_mille)
    }

    pub(crate) fn another_node(&mut self, count: usize) -> usize {
        self.random.index(count)
    }

    /// A new session starts its numbers anew.
    pub(crate) fn renew(&mut self, session: SessionId) {
        self.session = Some(session);
        self.next_number = 1;
        self.strangeness = 0;
    }

    /// What it does next. `version_of` tells the newest version of a key as its node shows it.
    pub(crate) fn next_deed(&mut self, version_of: impl Fn(&[u8]) -> Option<Sequence>) -> Deed {
        let key = format!("k{}", self.random.below(self.habits.keys)).into_bytes();
        match self.random.below(100) {
            0..62 => Deed::Write(self.next_wish(key, version_of)),
            62..82 => Deed::ReadLease(key),
            82..92 => Deed::ReadPlain(key),
            92..97 => Deed::ReadTentative(key),
            97..98 => Deed::Leave,
            _ => Deed::Move,
        }
    }

    fn next_wish(&mut self, key: Vec<u8>, version_of: impl Fn(&[u8]) -> Option<Sequence>) -> Wish {
        let precondition = match self.random.below(100) {
            0..60 => Precondition::None,
            60..70 => Precondition::Absent,
            _ => match version_of(&key) {
                Some(version) if !self.random.chance(150) => Precondition::SequenceIs(version),
                _ => Precondition::SequenceIs(Sequence(self.random.between(1, 50))),
            },
        };
        let durability = match self.random.below(100) {
            0..8 => Durability::Local,
            8..18 => Durability::MemQuorum,
            18..32 => Durability::Certified,
            _ => Durability::DiskQuorum,
        };
        let operation = if self.random.chance(120) { Operation::Delete } else { Operation::Put };
        self.values += 1;
        let value = match operation {
            Operation::Put => format!("c{}.{}", self.number, self.values).into_bytes(),
            _ => Vec::new(),
        };
        // Numbers grow, and may leave gaps.
        self.next_number += if self.random.chance(30) { 2 } else { 1 };
        let session_sequence = SessionSequence(self.next_number - 1);
        Wish { session_sequence, operation, precondition, durability, key, value }
    }
}

/// A wish as a history knows it.
pub(crate) fn call_of(wish: &Wish) -> Call {
    let only_if = match wish.precondition {
        Precondition::None => Condition::None,
        Precondition::Absent => Condition::Absent,
        Precondition::SequenceIs(sequence) => Condition::VersionIs(sequence.0),
    };
    match wish.operation {
        Operation::Delete => Call::Delete { only_if },
        _ => Call::Put { value: wish.value.clone(), only_if },
    }
}

/// What a receipt tells about a write that was sent so often.
pub(crate) fn answer_of(receipt: &Receipt, sent: u32) -> Answer {
    match receipt.outcome {
        Outcome::Accepted if is_for_good(receipt) => Answer::Accepted { version: Some(receipt.sequence.0) },
        Outcome::Refused(RefusalCode::PreconditionFailed) if is_for_good(receipt) => Answer::Refused,
        Outcome::Refused(RefusalCode::Arbitrator(_) | RefusalCode::ArbitratorDeferred)
            if is_for_good(receipt) =>
        {
            Answer::NoEffect
        }
        // `local` and `mem-quorum` may be lost with the boxes.
        Outcome::Accepted | Outcome::Refused(RefusalCode::PreconditionFailed) => Answer::Unknown,
        // A later number took effect, so this one never will.
        Outcome::Refused(RefusalCode::NotAccepted) => Answer::NoEffect,
        // Refused without a place: certain if this was the only copy.
        Outcome::Refused(RefusalCode::DiskFull | RefusalCode::HotTierFull) if sent == 1 => Answer::NoEffect,
        Outcome::Refused(_) => Answer::Unknown,
    }
}

/// Whether the receipt says that the session is of no use any more.
pub(crate) fn ends_session(receipt: &Receipt) -> bool {
    matches!(
        receipt.outcome,
        Outcome::Refused(
            RefusalCode::SessionUnknown | RefusalCode::SessionExpired | RefusalCode::AnswerForgotten
        )
    )
}

/// Whether the node said "not now" without giving a place.
pub(crate) fn is_not_now(receipt: &Receipt) -> bool {
    receipt.sequence.is_none()
        && matches!(
            receipt.outcome,
            Outcome::Refused(
                RefusalCode::NotLeader
                    | RefusalCode::ShuttingDown
                    | RefusalCode::DiskFull
                    | RefusalCode::HotTierFull
            )
        )
}
