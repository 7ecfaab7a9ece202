//! The other members of the group, and how far each of them has come as this node knows.
//!
//! Invariant: at most [`WINDOW_LEVEL`] blocks are on their way to a follower that is level, so that batches form by
//! themselves; one that catches up gets a few more, because what it lacks is batched already.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use io_oi_consensus::{Membership, VoterIndex};
use io_oi_record::evidence::Signed;
use io_oi_record::limits::BLOCKS_IN_FLIGHT_MAX;
use io_oi_record::message::Message;
use io_oi_record::{Epoch, Hash, Nanos, NodeId, Round, Sequence, Vote};

use crate::event::Lane;
use crate::stamp::Ahead;

/// Blocks in flight to a follower that holds everything committed.
const WINDOW_LEVEL: usize = BLOCKS_IN_FLIGHT_MAX;
/// Blocks in flight to a follower that catches up.
const WINDOW_BEHIND: usize = 8;
/// Messages that wait for their turn; more only grow the queue, which the effects drain after every event.
const POSTS_EXPECTED: usize = 32;

/// Another member.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) voter: Option<VoterIndex>,
    /// As a leader: the first sequence that it is to be sent next.
    pub(crate) next: Sequence,
    /// As a leader: the ends of blocks sent and not acknowledged as held.
    pub(crate) in_flight: VecDeque<Sequence>,
    pub(crate) held: Sequence,
    pub(crate) durable: Sequence,
    /// When the newest heartbeat that it acknowledged was sent, on this node's clock.
    pub(crate) confirmed_at: Nanos,
    pub(crate) confirmed_round: Round,
    pub(crate) lag_was_told: bool,
    /// The newest vote that it signed: shown to it when it asks for less than it voted for. [P-44]
    pub(crate) newest_vote: Option<Signed<Vote>>,
    /// Hash of the newest header that it has shown. [P-108]
    pub(crate) shown: Hash,
    /// Headers that it has shown under a signature that was not the leader's.
    pub(crate) false_headers: u32,
    /// The reports told since the last round of telling, a bit each, and those that it keeps. [P-103]
    pub(crate) told: u64,
    pub(crate) keeps: u64,
    /// How its stamps stand to our clock. [P-37]
    pub(crate) ahead: Ahead,
}

impl Peer {
    pub(crate) fn new(node: NodeId, members: &Membership) -> Self {
        Self {
            node,
            voter: members.voter_index(node),
            next: Sequence::NONE,
            in_flight: VecDeque::with_capacity(WINDOW_BEHIND),
            held: Sequence::NONE,
            durable: Sequence::NONE,
            confirmed_at: Nanos::ZERO,
            confirmed_round: Round::NONE,
            lag_was_told: false,
            newest_vote: None,
            shown: Hash::ZERO,
            false_headers: 0,
            told: 0,
            keeps: 0,
            ahead: Ahead::default(),
        }
    }

    /// It has voted.
    pub(crate) fn note_vote(&mut self, vote: &Signed<Vote>) {
        let is_newer = self.newest_vote.is_none_or(|newest| place_of(&newest) < place_of(vote));
        if is_newer {
            self.newest_vote = Some(*vote);
        }
    }

    /// A new epoch of ours: it is sent the first block of it, and asks for what it lacks.
    pub(crate) fn begin_epoch(&mut self, next: Sequence) {
        self.next = next;
        self.in_flight.clear();
        (self.held, self.durable) = (Sequence::NONE, Sequence::NONE);
        (self.confirmed_at, self.confirmed_round) = (Nanos::ZERO, Round::NONE);
    }

    /// It holds the chain through `held`.
    pub(crate) fn note_held(&mut self, held: Sequence) {
        self.held = self.held.max(held);
        while self.in_flight.front().is_some_and(|last| *last <= held) {
            self.in_flight.pop_front();
        }
        self.next = self.next.max(held.next());
    }

    /// It asks for everything behind `after`: whatever was on its way got lost.
    pub(crate) fn restart_after(&mut self, after: Sequence) {
        self.next = after.next();
        self.in_flight.clear();
    }

    /// Whether one more block may be sent to it.
    pub(crate) fn has_window(&self, committed: Sequence) -> bool {
        let window = if self.next > committed { WINDOW_LEVEL } else { WINDOW_BEHIND };
        self.in_flight.len() < window
    }

    /// A block that ends at `last` is on its way to it.
    pub(crate) fn note_sent(&mut self, last: Sequence) {
        self.in_flight.push_back(last);
        self.next = last.next();
    }
}

/// Where a vote stands in the order of all votes of its voter.
pub(crate) fn place_of(vote: &Signed<Vote>) -> (Epoch, Sequence) {
    (vote.statement.epoch, vote.statement.sequence)
}

/// Whom a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    One(NodeId),
    Voters,
    All,
}

impl To {
    fn includes(self, peer: &Peer) -> bool {
        match self {
            To::One(node) => peer.node == node,
            To::Voters => peer.voter.is_some(),
            To::All => true,
        }
    }
}

/// A small message that is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Post {
    pub(crate) to: To,
    pub(crate) lane: Lane,
    pub(crate) epoch: Epoch,
    pub(crate) message: Message<'static>,
}

/// The members beside this node, and what is to be said to them.
pub(crate) struct Peers {
    pub(crate) all: Vec<Peer>,
    posts: VecDeque<Post>,
    /// How many peers the oldest post has been offered to.
    offered: usize,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), posts: VecDeque::with_capacity(POSTS_EXPECTED), offered: 0 }
    }

    /// The members are these from now on; who stays keeps its place.
    pub(crate) fn set(&mut self, own: NodeId, nodes: impl Iterator<Item = NodeId>, members: &Membership) {
        let before = core::mem::take(&mut self.all);
        let mut before: Vec<Option<Peer>> = before.into_iter().map(Some).collect();
        for node in nodes.filter(|node| *node != own) {
            let known = before.iter_mut().find(|peer| peer.as_ref().is_some_and(|peer| peer.node == node));
            let mut peer = known.and_then(Option::take).unwrap_or_else(|| Peer::new(node, members));
            peer.voter = members.voter_index(node);
            self.all.push(peer);
        }
        self.offered = 0;
    }

    pub(crate) fn find(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.all.iter_mut().find(|peer| peer.node == node)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Something is to be said.
    pub(crate) fn post(&mut self, to: To, lane: Lane, epoch: Epoch, message: Message<'static>) {
        if !self.all.is_empty() {
            self.posts.push_back(Post { to, lane, epoch, message });
        }
    }

    /// The next message and its receiver, and whether it is the first of the same bytes.
    pub(crate) fn next_post(&mut self) -> Option<(Post, NodeId)> {
        loop {
            let post = *self.posts.front()?;
            while let Some(peer) = self.all.get(self.offered) {
                self.offered += 1;
                if post.to.includes(peer) {
                    return Some((post, peer.node));
                }
            }
            self.offered = 0;
            self.posts.pop_front();
        }
    }
}
