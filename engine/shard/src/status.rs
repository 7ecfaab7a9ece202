//! What a machine says about itself: to operators on demand, to its node as it happens.
//!
//! Invariant: nothing here decides anything; the words are views of what consensus and the sessions know.

use io_oi_record::{Epoch, Hash, NodeId, Sequence};

pub use io_oi_consensus::Role;

/// Everything about one shard of one node that operators ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What the node is in its group.
    pub role: Role,
    /// The epoch that it follows, stands in or leads.
    pub epoch: Epoch,
    /// Whom it follows; itself when it leads.
    pub leader: Option<NodeId>,
    /// The last sequence that it holds.
    pub tip: Sequence,
    /// Through which sequence everything is committed.
    pub committed: Sequence,
    /// Through which sequence everything is certified.
    pub certified: Sequence,
    /// Why it neither votes nor leads, when it does not.
    pub mute: Option<MuteReason>,
    /// Every member of the group, this node included.
    pub peers: alloc::vec::Vec<PeerStatus>,
    /// The hash over every committed block through that sequence.
    pub state_hash: (Sequence, Hash),
    /// How many keys are convicted by evidence in the log.
    pub evidence_count: u64,
    /// The number of the newest committed governance record.
    pub governance_number: u64,
}

/// One member as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The member.
    pub node: NodeId,
    /// Whether it counts.
    pub is_voter: bool,
    /// Through which sequence it is known to hold the chain durably.
    pub durable: Sequence,
    /// Whether that is (nearly) everything.
    pub is_level: bool,
}

/// Why a node neither votes nor leads. [P-44]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuteReason {
    /// The promise file names an epoch that the log knows nothing of: the disk was rolled back.
    #[error(
        "the log lacks epoch {promised} that this node has promised (it ends at {found}): the disk was restored or \
         cloned; bar this key and add the node anew under another one"
    )]
    PromiseLost {
        /// The promised epoch.
        promised: Epoch,
        /// The highest epoch of the log.
        found: Epoch,
    },
    /// A peer sent a block of this node from an epoch that its log never claimed.
    #[error(
        "a peer holds our own block of epoch {epoch}, which this log never claimed: the disk was restored or cloned; \
         bar this key and add the node anew under another one"
    )]
    NeverClaimed {
        /// Epoch of the block.
        epoch: Epoch,
    },
    /// A peer knows our own vote for a block that we do not hold.
    #[error(
        "a peer holds our own vote for the block at sequence {sequence}, which this log does not hold: the disk was \
         restored or cloned; bar this key and add the node anew under another one"
    )]
    VoteLost {
        /// Last sequence of the block.
        sequence: Sequence,
    },
    /// The key is barred.
    #[error("this node's key is barred by evidence: it may not vote or lead any more")]
    Barred,
}

/// Something that its node should know at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// There is a leader.
    LeaderIs {
        /// Who.
        node: NodeId,
        /// Of which epoch.
        epoch: Epoch,
    },
    /// The leader has not been heard for too long.
    NoLeader,
    /// This node led and does not any more.
    Deposed {
        /// The epoch that it led.
        epoch: Epoch,
    },
    /// A key is convicted.
    EvidenceFound {
        /// Whose.
        accused: NodeId,
        /// The hash of the evidence.
        hash: Hash,
    },
    /// The node neither votes nor leads from now on.
    Mute {
        /// Why.
        reason: MuteReason,
    },
    /// A voter is far behind.
    PeerLagging {
        /// Who.
        node: NodeId,
        /// How many sequences.
        behind: u64,
    },
    /// The members have changed: connections may have to change, too.
    MembersChanged {
        /// The new version of the member list.
        version: u64,
    },
    /// Two nodes have different state at the same sequence: a fault of the program or of memory.
    StateDiffers {
        /// The other node.
        node: NodeId,
        /// Where.
        sequence: Sequence,
    },
}
