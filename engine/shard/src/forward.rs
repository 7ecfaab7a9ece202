//! Proposals that wait for a leader: this node's own, on their way to it, and those that others have sent here.
//!
//! Invariant: a proposal submitted here stays in the queue until its record is committed in this node's own log, or the
//! leader has refused it; so a fail-over is a delay and nothing else. The queue is bounded, and a full one is an answer.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use io_oi_record::limits::{FORWARD_BYTES_MAX, PROPOSAL_BYTES_MAX};
use io_oi_record::message::{FORWARD_ENTRY_HEAD_BYTES, Forwarded};
use io_oi_record::{Nanos, NodeId, Proposal, Record, Sequence, SessionId, SessionSequence};

/// Bytes of proposals of others that a leader keeps before they are sequenced; what does not fit is sent again.
const INBOX_BYTES_MAX: usize = 6 * FORWARD_BYTES_MAX;

/// One proposal on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) session: SessionId,
    pub(crate) session_sequence: SessionSequence,
    is_closing: bool,
    /// How many submissions wait for its answer.
    pub(crate) waiters: u32,
    /// Where its record stands in this node's log, not committed yet; none while it has no place.
    placed: Sequence,
    is_sent: bool,
    is_done: bool,
    bytes: usize,
}

/// This node's proposals, oldest first, and their encoded bytes one behind the other.
pub(crate) struct Forwarding {
    entries: VecDeque<Entry>,
    bytes: VecDeque<u8>,
    /// How many are to be sent.
    unsent: usize,
    /// Everything before it has a place: where to look first for the next that gets one.
    unplaced_from: usize,
    pub(crate) sent_at: Nanos,
}

impl Forwarding {
    pub(crate) fn new(has_peers: bool) -> Self {
        let bytes = if has_peers { FORWARD_BYTES_MAX } else { 0 };
        let bytes = VecDeque::with_capacity(bytes);
        Self { entries: VecDeque::new(), bytes, unsent: 0, unplaced_from: 0, sent_at: Nanos::ZERO }
    }

    /// Whether the longest proposal would still fit.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() + FORWARD_ENTRY_HEAD_BYTES + PROPOSAL_BYTES_MAX <= FORWARD_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One more submission of a proposal that is on its way already. Says where its record stands by now, if it is: nowhere
    /// yet, or at a place that is not committed.
    pub(crate) fn join(&mut self, session: SessionId, proposal: &Proposal<'_>) -> Option<Sequence> {
        let wanted = name(session, proposal);
        for entry in self.entries.iter_mut().rev() {
            if !entry.is_done && entry.name() == wanted {
                entry.waiters += 1;
                return Some(entry.placed);
            }
            // Numbers only rise within a session: what is not behind a lower one is nowhere.
            if entry.session == session && !entry.is_closing && entry.session_sequence < wanted.1 {
                return None;
            }
        }
        None
    }

    /// Whether a proposal of this number is on its way.
    pub(crate) fn holds(&self, session: SessionId, session_sequence: SessionSequence) -> bool {
        let is_it = |entry: &Entry| (entry.session, entry.session_sequence) == (session, session_sequence);
        self.entries.iter().any(|entry| !entry.is_done && is_it(entry))
    }

    /// Takes a well-shaped proposal in, behind all others.
    pub(crate) fn push(
        &mut self,
        session: SessionId,
        proposal: &Proposal<'_>,
        waiters: u32,
        scratch: &mut [u8],
    ) {
        let bytes =
            Forwarded::encode_entry(session, proposal, scratch).expect("proposals here are well-shaped");
        self.bytes.extend(&scratch[..bytes]);
        self.unsent += 1;
        self.entries.push_back(entry(session, proposal, waiters, bytes));
    }

    /// Takes records in that lost their place, in front of all others and in their own order: call from the newest on.
    pub(crate) fn push_front(&mut self, record: &Record<'_>, waiters: u32, scratch: &mut [u8]) {
        let proposal = record.proposal();
        let session = record.session;
        let bytes = Forwarded::encode_entry(session, &proposal, scratch).expect("records are well-shaped");
        for byte in scratch[..bytes].iter().rev() {
            self.bytes.push_front(*byte);
        }
        (self.unsent, self.unplaced_from) = (self.unsent + 1, 0);
        self.entries.push_front(entry(session, &proposal, waiters, bytes));
    }

    /// A record of this node's log: says how many submissions here wait for its answer. [P-63]
    pub(crate) fn place(&mut self, record: &Record<'_>) -> u32 {
        if self.entries.is_empty() {
            return 0;
        }
        let wanted = name(record.session, &record.proposal());
        let is_it = |entry: &Entry| !entry.is_done && entry.name() == wanted;
        let behind = self.entries.range(self.unplaced_from..).position(is_it);
        let place = behind.map(|place| place + self.unplaced_from);
        let Some(place) = place.or_else(|| self.entries.iter().position(is_it)) else { return 0 };
        if place == self.unplaced_from {
            self.unplaced_from += 1;
        }
        let entry = &mut self.entries[place];
        self.unsent -= usize::from(entry.is_unsent());
        entry.placed = record.sequence;
        entry.waiters
    }

    /// The record at `sequence` lost its place: its proposal is on its way again. Says whether there is one. [P-67]
    pub(crate) fn displace(&mut self, sequence: Sequence) -> bool {
        let found = self.entries.iter_mut().find(|entry| !entry.is_done && entry.placed == sequence);
        found.is_some_and(|entry| {
            (entry.placed, entry.is_sent) = (Sequence::NONE, false);
            (self.unsent, self.unplaced_from) = (self.unsent + 1, 0);
            true
        })
    }

    /// Everything through `sequence` is committed: those proposals have arrived for good.
    pub(crate) fn settle_through(&mut self, sequence: Sequence) {
        if self.entries.is_empty() {
            return;
        }
        for entry in &mut self.entries {
            if entry.placed > sequence {
                break;
            }
            entry.is_done |= !entry.placed.is_none(); // One declined or lost before it holds nobody up.
        }
        self.drop_done();
    }

    /// The leader refuses this one without a place: how many submissions are owed that answer.
    pub(crate) fn decline(&mut self, session: SessionId, session_sequence: SessionSequence) -> u32 {
        let is_it = |entry: &&mut Entry| {
            !entry.is_done
                && entry.placed.is_none()
                && (entry.session, entry.session_sequence) == (session, session_sequence)
        };
        let Some(entry) = self.entries.iter_mut().find(is_it) else { return 0 };
        self.unsent -= usize::from(entry.is_unsent());
        entry.is_done = true;
        let waiters = entry.waiters;
        self.drop_done();
        waiters
    }

    /// Another leader, or a connection that lost what was under way: all without a place are sent again.
    pub(crate) fn send_again(&mut self) {
        for entry in &mut self.entries {
            entry.is_sent &= !entry.placed.is_none();
        }
        self.unsent = self.entries.iter().filter(|entry| entry.is_unsent()).count();
    }

    /// Whether something is to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Whether something was sent and has no place yet.
    pub(crate) fn has_unplaced(&self) -> bool {
        self.entries.iter().any(|entry| !entry.is_done && entry.placed.is_none())
    }

    /// Copies the oldest unsent entries to `out`, in order, as many as fit and follow each other; they count as sent.
    pub(crate) fn take_unsent(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let mut start = 0;
        for entry in &mut self.entries {
            if entry.is_unsent() && out.len() + entry.bytes <= FORWARD_BYTES_MAX {
                out.extend(self.bytes.range(start..start + entry.bytes));
                entry.is_sent = true;
                self.unsent -= 1;
            } else if entry.is_unsent() {
                return;
            }
            start += entry.bytes;
        }
    }

    /// This node leads now: its oldest proposal without a place is sequenced here. Copied to `out` and taken out.
    pub(crate) fn take_oldest(&mut self, out: &mut Vec<u8>) -> Option<u32> {
        out.clear();
        let mut start = 0;
        for entry in &mut self.entries {
            if !entry.is_done && entry.placed.is_none() {
                out.extend(self.bytes.range(start..start + entry.bytes));
                self.unsent -= usize::from(entry.is_unsent());
                entry.is_done = true;
                let waiters = entry.waiters;
                self.drop_done();
                return Some(waiters);
            }
            start += entry.bytes;
        }
        None
    }

    fn drop_done(&mut self) {
        while let Some(done) = self.entries.pop_front_if(|entry| entry.is_done) {
            self.bytes.drain(..done.bytes);
            self.unplaced_from = self.unplaced_from.saturating_sub(1);
        }
    }
}

impl Entry {
    fn name(&self) -> Name {
        (self.session, self.session_sequence, self.is_closing)
    }

    fn is_unsent(&self) -> bool {
        !self.is_done && !self.is_sent && self.placed.is_none()
    }
}

/// What makes a proposal the same as another: opening and closing have no number of their own.
type Name = (SessionId, SessionSequence, bool);

fn name(session: SessionId, proposal: &Proposal<'_>) -> Name {
    let is_closing = proposal.operation == io_oi_record::Operation::CloseSession;
    let number =
        if proposal.operation.is_counted() { proposal.session_sequence } else { SessionSequence::NONE };
    (session, number, is_closing)
}

fn entry(session: SessionId, proposal: &Proposal<'_>, waiters: u32, bytes: usize) -> Entry {
    let (_, session_sequence, is_closing) = name(session, proposal);
    let placed = Sequence::NONE;
    Entry { session, session_sequence, is_closing, waiters, placed, is_sent: false, is_done: false, bytes }
}

/// What other nodes have sent to this leader, oldest first.
pub(crate) struct Inbox {
    entries: VecDeque<(NodeId, usize)>,
    bytes: VecDeque<u8>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: VecDeque::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in what fits; the rest is sent again by who sent it.
    pub(crate) fn push(&mut self, from: NodeId, forwarded: &Forwarded<'_>) {
        let mut rest = forwarded.as_bytes();
        for (_, proposal) in forwarded.iter() {
            let (entry, behind) = rest.split_at(Forwarded::entry_bytes(&proposal));
            if self.bytes.len() + entry.len() > INBOX_BYTES_MAX {
                return;
            }
            self.bytes.extend(entry);
            self.entries.push_back((from, entry.len()));
            rest = behind;
        }
    }

    /// The oldest entry, copied to `out` and taken out: who sent it.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> Option<NodeId> {
        let (from, bytes) = self.entries.pop_front()?;
        out.clear();
        out.extend(self.bytes.drain(..bytes));
        Some(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_oi_record::{Durability, Operation, Precondition, Verdict};

    const SESSION: SessionId = SessionId { node: io_oi_record::NodeTag(7), boot: 1, counter: 1 };

    fn proposal(number: u64) -> Proposal<'static> {
        Proposal {
            session_sequence: SessionSequence(number),
            operation: Operation::Put,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key: b"key",
            value: b"value",
        }
    }

    fn three_under_way() -> Forwarding {
        let mut forwarding = Forwarding::new(true);
        let mut scratch = alloc::vec![0; FORWARD_ENTRY_HEAD_BYTES + PROPOSAL_BYTES_MAX];
        (1..=3).for_each(|number| forwarding.push(SESSION, &proposal(number), 1, &mut scratch));
        forwarding
    }

    fn place(forwarding: &mut Forwarding, number: u64, sequence: u64) -> u32 {
        let record = Record::of(Sequence(sequence), SESSION, &proposal(number), Verdict::Accept);
        forwarding.place(&record)
    }

    #[test]
    fn what_is_committed_is_settled_although_one_before_it_was_declined() {
        let mut forwarding = three_under_way();
        assert_eq!(place(&mut forwarding, 1, 10), 1);
        assert_eq!(place(&mut forwarding, 3, 11), 1);
        assert_eq!(forwarding.decline(SESSION, SessionSequence(2)), 1);
        forwarding.settle_through(Sequence(11));
        assert!(forwarding.is_empty());
    }

    #[test]
    fn what_is_committed_is_settled_although_one_before_it_was_lost_on_the_way() {
        let mut forwarding = three_under_way();
        place(&mut forwarding, 2, 10);
        forwarding.settle_through(Sequence(10));
        assert_eq!(forwarding.join(SESSION, &proposal(2)), None, "its answer is in the log");
        assert_eq!(forwarding.join(SESSION, &proposal(1)), Some(Sequence::NONE), "it is still on its way");
    }

    #[test]
    fn a_retry_is_told_where_the_record_stands() {
        let mut forwarding = three_under_way();
        place(&mut forwarding, 1, 10);
        assert_eq!(forwarding.join(SESSION, &proposal(1)), Some(Sequence(10)));
    }
}
