//! Going on at another node: what a strategy does when its own node stays away.
//!
//! A session belongs to its node. As long as that node may come back, waiting for it is the whole protocol: the client
//! attaches again by itself, and nothing is done twice. A strategy that cannot wait goes on at another node of the
//! cluster as a new session. Then:
//!
//! 1. [`Client::into_unanswered`] ends the old session on this side and hands out every proposal that has no receipt.
//!    The outcome of each is open: it was decided and only the answer is lost, it was not, or it still will be, for a
//!    node that was only cut off keeps what it took and brings it to the next leader when it can.
//! 2. The strategy attaches to another node, and submits again what it still wants, each **with a condition**: a new
//!    key if it is `Expected::Absent`, a change if the key still has the sequence that the strategy saw before it
//!    ([`Client::compare_and_set`]). The quorum decides all of them in one order. Whichever of the two submissions comes
//!    second finds the condition broken and is refused, however late it is: `Accepted` and `PreconditionFailed` both
//!    mean "done once".
//! 3. What was acknowledged to the old session needs nothing: an acknowledgement at `DiskQuorum` holds at every node
//!    and under every later leader. A follower shows it as soon as it has heard of the commit.
//!
//! A proposal that is neither conditional nor harmless when repeated has no safe way to another node; such a one waits
//! for its own.
//!
//! Invariant: a proposal is handed out exactly when no receipt of it was seen.

use io_oi_record::{Durability, Operation, Precondition, ShardId};

use crate::{Client, Ticket};

/// A proposal whose outcome its session never learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What it was known by.
    pub ticket: Ticket,
    /// Put, delete or govern.
    pub operation: Operation,
    /// The condition that it was submitted with.
    pub precondition: Precondition,
    /// How safe its receipt should have been.
    pub durability: Durability,
    /// The key; empty for governance.
    pub key: Vec<u8>,
    /// The value; empty for a delete.
    pub value: Vec<u8>,
}

impl Client {
    /// Ends this client and hands out what has no receipt, in the order of submission per shard. See the head of
    /// [`Unanswered`]'s room for what to do with it: the outcome of each is open.
    #[must_use]
    pub fn into_unanswered(mut self) -> Vec<Unanswered> {
        let mut all = Vec::new();
        for (index, channel) in self.channels.iter_mut().enumerate() {
            let shard = ShardId(index as u16);
            channel.give_up(|proposal| {
                all.push(Unanswered {
                    ticket: Ticket { shard, session_sequence: proposal.session_sequence },
                    operation: proposal.operation,
                    precondition: proposal.precondition,
                    durability: proposal.durability,
                    key: proposal.key.to_vec(),
                    value: proposal.value.to_vec(),
                });
            });
        }
        all
    }
}
