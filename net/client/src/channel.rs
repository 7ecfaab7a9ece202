//! One shard's way in and out: the window of unanswered proposals in front of the present pair of rings.
//!
//! Invariants:
//! - what is in the window is in the ring, or will be before anything newer is;
//! - bytes are copied from the window into the ring, never read back: the node may scribble there.

use io_oi_record::limits::RECEIPT_BYTES;
use io_oi_record::proposal::PROPOSAL_HEAD_BYTES;
use io_oi_record::{Durability, Operation, Precondition, Proposal, Receipt, SessionSequence};
use io_oi_shm::lane::ClientLane;

use crate::window::{Standing, Window, WindowFull};

/// See the head of the file.
pub(crate) struct Channel {
    window: Window<Receipt>,
    lane: Option<ClientLane>,
    pub(crate) receipts: u64,
    pub(crate) receipts_unexpected: u64,
    pub(crate) resubmitted: u64,
}

/// Why a ring cannot be used any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChannelBroken {
    #[error("the receipt ring is corrupt")]
    Corrupt,
    #[error("the node could not read a proposal of this client and closed its ring")]
    Unreadable,
}

/// A proposal that has no session sequence yet.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) operation: Operation,
    pub(crate) precondition: Precondition,
    pub(crate) durability: Durability,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl Channel {
    /// Without rings yet; `copy_bytes` bound the copies of unanswered proposals.
    pub(crate) fn new(copy_bytes: usize) -> Self {
        Self {
            window: Window::new(copy_bytes),
            lane: None,
            receipts: 0,
            receipts_unexpected: 0,
            resubmitted: 0,
        }
    }

    /// Takes a new pair of rings: everything unanswered goes in first, under its old session sequence.
    pub(crate) fn attach(&mut self, lane: ClientLane) {
        self.lane = Some(lane);
        self.window.rewind();
        self.resubmit();
    }

    /// The rings lead nowhere any more. What they hold is in the window, too.
    pub(crate) fn detach(&mut self) {
        // Receipts that the node wrote before it died are answers: taking them now saves a second submission.
        let _ = self.collect(); // A ring that its dying owner left broken holds nothing to be believed.
        self.lane = None;
        self.window.rewind();
    }

    /// Lets go of rings that belong to another process, without touching them.
    pub(crate) fn abandon(&mut self) {
        self.lane = None;
        self.window.rewind();
    }

    /// Hands every proposal without a receipt to `visit`, oldest first, and forgets them all.
    pub(crate) fn give_up(&mut self, mut visit: impl FnMut(&Proposal<'_>)) {
        self.detach();
        while let Some(bytes) = self.window.next_unsent() {
            visit(&Proposal::decode(bytes).expect("the window holds what this client encoded"));
            self.window.note_sent();
        }
    }

    /// Puts one proposal into the window and the ring, or nowhere.
    #[inline]
    pub(crate) fn submit(&mut self, draft: &Draft<'_>) -> Result<SessionSequence, WindowFull> {
        if !self.window.is_sent() && !self.resubmit() {
            return Err(WindowFull);
        }
        let session_sequence = SessionSequence(self.window.next());
        let proposal = Proposal {
            session_sequence,
            operation: draft.operation,
            precondition: draft.precondition,
            durability: draft.durability,
            key: draft.key,
            value: draft.value,
        };
        let bytes = proposal.encoded_bytes();
        let copy = self.window.reserve(bytes)?;
        let written = proposal.encode(copy).expect("the caller checked key and value against the limits");
        assert_eq!(written, bytes, "a proposal is as long as it said");
        let lane = self.lane.as_mut().ok_or(WindowFull)?;
        lane.proposals.push(self.window.reserved(bytes)).map_err(|_| WindowFull)?;
        Ok(SessionSequence(self.window.commit(bytes)))
    }

    /// Tells the node that the session ends, behind everything that was submitted. No answer is waited for, and a
    /// full ring leaves it unsaid: the node forgets silent sessions by itself.
    pub(crate) fn say_goodbye(&mut self) {
        if !self.window.is_sent() && !self.resubmit() {
            return;
        }
        let goodbye = Proposal {
            session_sequence: SessionSequence(self.window.next()),
            operation: Operation::CloseSession,
            precondition: Precondition::None,
            durability: Durability::Local,
            key: &[],
            value: &[],
        };
        let mut bytes = [0; PROPOSAL_HEAD_BYTES];
        if let (Some(lane), Ok(length)) = (self.lane.as_mut(), goodbye.encode(&mut bytes)) {
            let _ = lane.proposals.push(&bytes[..length]);
        }
    }

    /// Sends again what a new ring has not had, as far as it has room. True when all of it is in.
    pub(crate) fn resubmit(&mut self) -> bool {
        let Some(lane) = self.lane.as_mut() else { return self.window.is_sent() };
        while let Some(bytes) = self.window.next_unsent() {
            if lane.proposals.push(bytes).is_err() {
                return false;
            }
            self.window.note_sent();
            self.resubmitted += 1;
        }
        true
    }

    /// Takes every receipt that is there into the window. Gives their number.
    pub(crate) fn collect(&mut self) -> Result<usize, ChannelBroken> {
        let Some(lane) = self.lane.as_mut() else { return Ok(0) };
        let mut bytes = [0; RECEIPT_BYTES];
        let mut count = 0;
        while let Some(length) = lane.receipts.pop(&mut bytes).map_err(|_| ChannelBroken::Corrupt)? {
            let receipt = Receipt::decode(&bytes[..length]).map_err(|_| ChannelBroken::Corrupt)?;
            if receipt.session_sequence.is_none() {
                return Err(ChannelBroken::Unreadable);
            }
            count += 1;
            self.receipts += 1;
            if !self.window.answer(receipt.session_sequence.get(), receipt) {
                self.receipts_unexpected += 1;
            }
        }
        Ok(count)
    }

    /// The receipt of one proposal, once.
    pub(crate) fn take(&mut self, session_sequence: SessionSequence) -> Option<Receipt> {
        self.window.take(session_sequence.get())
    }

    /// The receipt that came first among those not taken yet.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<Receipt> {
        self.window.take_first().map(|(_, receipt)| receipt)
    }

    /// Whether this session sequence has an answer, waits for one, or neither.
    pub(crate) fn standing(&self, session_sequence: SessionSequence) -> Standing {
        self.window.standing(session_sequence.get())
    }

    /// Proposals without a receipt.
    #[inline]
    pub(crate) fn open_count(&self) -> usize {
        self.window.open_count()
    }
}

#[cfg(test)]
mod tests {
    use io_oi_record::limits::PROPOSAL_BYTES_MAX;
    use io_oi_record::{Epoch, Nanos, Outcome, Sequence, Stage};
    use io_oi_shm::lane::{Config, NodeLane};

    use super::*;

    /// The node's end, which answers what it is told to.
    struct Node {
        lane: NodeLane,
        sequence: u64,
    }

    impl Node {
        fn with_ring(proposal_ring_bytes: usize) -> (Node, ClientLane) {
            let config = Config {
                proposal_ring_bytes,
                proposal_frame_bytes_max: PROPOSAL_BYTES_MAX,
                receipt_ring_bytes: 512 * 1024,
                receipt_frame_bytes_max: RECEIPT_BYTES,
                incarnation: 1,
                shard: 0,
            };
            let (lane, fd) = NodeLane::create(&config).unwrap();
            (Node { lane, sequence: 0 }, ClientLane::open(fd).unwrap())
        }

        /// Takes up to `count` proposals from the ring: session sequence and key.
        fn take(&mut self, count: usize) -> Vec<(u64, Vec<u8>)> {
            let mut bytes = vec![0; PROPOSAL_BYTES_MAX];
            let mut taken = Vec::new();
            while taken.len() < count
                && let Some(length) = self.lane.proposals.pop(&mut bytes).unwrap()
            {
                let proposal = Proposal::decode(&bytes[..length]).unwrap();
                taken.push((proposal.session_sequence.get(), proposal.key.to_vec()));
            }
            taken
        }

        fn answer(&mut self, session_sequence: u64) {
            self.sequence += 1;
            let receipt = Receipt {
                session_sequence: SessionSequence(session_sequence),
                sequence: Sequence(self.sequence),
                epoch: Epoch(1),
                time: Nanos(1),
                stage: Stage::Committed,
                durability: Durability::DiskQuorum,
                outcome: Outcome::Accepted,
            };
            self.lane.receipts.push(&receipt.encode()).unwrap();
        }
    }

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Draft<'a> {
        Draft {
            operation: Operation::Put,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key,
            value,
        }
    }

    fn channel(lane: ClientLane) -> Channel {
        let mut channel = Channel::new(1024 * 1024);
        channel.attach(lane);
        channel
    }

    const EVERYTHING: usize = usize::MAX;

    #[test]
    fn a_proposal_reaches_the_node_and_its_receipt_comes_back() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        let session_sequence = channel.submit(&put(b"key", b"value")).unwrap();
        assert_eq!(node.take(EVERYTHING), [(1, b"key".to_vec())]);
        node.answer(1);
        assert_eq!(channel.collect(), Ok(1));
        assert_eq!(channel.take(session_sequence).unwrap().sequence, Sequence(1));
        assert_eq!(channel.open_count(), 0);
    }

    #[test]
    fn after_a_restart_exactly_the_unanswered_come_again_in_order_under_their_old_numbers() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        for key in [b"a", b"b", b"c", b"d", b"e"] {
            channel.submit(&put(key, b"")).unwrap();
        }
        // Two were taken and answered; one answer was read, the other still stands in the ring when the node dies.
        assert_eq!(node.take(3).len(), 3);
        node.answer(2);
        channel.collect().unwrap();
        node.answer(1);
        channel.detach();
        drop(node);
        let (mut node, lane) = Node::with_ring(256 * 1024);
        channel.attach(lane);
        let again = [(3, b"c".to_vec()), (4, b"d".to_vec()), (5, b"e".to_vec())];
        assert_eq!(node.take(EVERYTHING), again);
        assert_eq!(channel.resubmitted, 3);
        assert_eq!(channel.submit(&put(b"f", b"")).unwrap(), SessionSequence(6));
        assert_eq!(node.take(EVERYTHING), [(6, b"f".to_vec())]);
    }

    #[test]
    fn nothing_newer_overtakes_a_resubmission_that_waits_for_room() {
        let (_, lane) = Node::with_ring(1024 * 1024);
        let mut channel = channel(lane);
        let value = vec![7; 60_000];
        for number in 0..10u8 {
            channel.submit(&put(&[number], &value)).unwrap();
        }
        channel.detach();
        let (mut node, lane) = Node::with_ring(256 * 1024); // Room for four of them.
        channel.attach(lane);
        assert_eq!(channel.submit(&put(b"newer", b"")), Err(WindowFull));
        let mut seen = node.take(EVERYTHING);
        assert!(seen.len() < 10, "the ring was meant to be too small: {}", seen.len());
        while !channel.resubmit() {
            seen.extend(node.take(EVERYTHING));
        }
        channel.submit(&put(b"newer", b"")).unwrap();
        seen.extend(node.take(EVERYTHING));
        let order: Vec<u64> = seen.iter().map(|(session_sequence, _)| *session_sequence).collect();
        assert_eq!(order, (1..=11).collect::<Vec<_>>());
    }

    #[test]
    fn a_second_receipt_for_the_same_proposal_is_counted_not_believed() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        let session_sequence = channel.submit(&put(b"key", b"")).unwrap();
        node.answer(1);
        node.answer(1);
        assert_eq!(channel.collect(), Ok(2));
        assert_eq!(channel.receipts_unexpected, 1);
        assert_eq!(channel.take(session_sequence).unwrap().sequence, Sequence(1));
    }

    #[test]
    fn a_full_ring_is_an_answer_and_uses_up_no_number() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        let value = vec![1; 60_000];
        let mut count = 0;
        while channel.submit(&put(b"key", &value)).is_ok() {
            count += 1;
        }
        assert!(count > 1);
        assert_eq!(channel.open_count(), count);
        assert_eq!(node.take(EVERYTHING).len(), count);
        assert_eq!(channel.submit(&put(b"key", &value)), Ok(SessionSequence(count as u64 + 1)));
    }

    #[test]
    fn abandoned_rings_stay_as_they_are_for_whom_they_belong_to() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        channel.submit(&put(b"key", b"")).unwrap();
        node.answer(1);
        let free = node.lane.receipts.free_frames(RECEIPT_BYTES);
        channel.abandon();
        assert_eq!((channel.receipts, channel.open_count()), (0, 1));
        assert_eq!(
            node.lane.receipts.free_frames(RECEIPT_BYTES),
            free,
            "the receipt still stands in the ring"
        );
        assert_eq!(node.take(EVERYTHING), [(1, b"key".to_vec())]);
    }

    #[test]
    fn a_receipt_that_names_no_proposal_ends_the_lane() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        let malformed = Receipt {
            session_sequence: SessionSequence::NONE,
            sequence: Sequence::NONE,
            epoch: Epoch::NONE,
            time: Nanos(1),
            stage: Stage::Submitted,
            durability: Durability::Local,
            outcome: Outcome::Refused(io_oi_record::RefusalCode::Malformed),
        };
        node.lane.receipts.push(&malformed.encode()).unwrap();
        assert_eq!(channel.collect(), Err(ChannelBroken::Unreadable));
    }

    #[test]
    fn garbage_in_the_receipt_ring_ends_the_lane() {
        let (mut node, lane) = Node::with_ring(256 * 1024);
        let mut channel = channel(lane);
        node.lane.receipts.push(&[0xaa; RECEIPT_BYTES]).unwrap();
        assert_eq!(channel.collect(), Err(ChannelBroken::Corrupt));
    }
}
