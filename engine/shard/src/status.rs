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
    /// The disk is not this node's own past. It stays so over restarts.
    #[error(
        "{0}: its disk was restored or cloned, and this key is mute for good. Take the node out (io_oi peer remove) and \
         let it join again in an empty directory, under a new key (io_oi peer add, then io_oi peer promote)"
    )]
    PastLost(PastLost),
    /// The key is barred. The log says so.
    #[error("this node's key is barred by evidence: it may not vote or lead any more")]
    Barred,
}

/// What showed that a disk has lost some of its node's past. [P-44]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastLost {
    /// The promise file named an epoch that the log knew nothing of.
    #[error("this node had promised epoch {promised}, and its log ended at epoch {found}")]
    Promise {
        /// The promised epoch.
        promised: Epoch,
        /// The highest epoch of the log then.
        found: Epoch,
    },
    /// There is a block of this node from an epoch that its log never claimed.
    #[error("this node has signed a block of epoch {epoch}, which its log never claimed")]
    Claim {
        /// Epoch of the block.
        epoch: Epoch,
    },
    /// A peer knows a vote of this node for a block that its log did not hold.
    #[error("this node has voted for the block at sequence {sequence}, which its log did not hold")]
    Vote {
        /// Last sequence of the block.
        sequence: Sequence,
    },
}

/// What became of a component on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is being looked at.
    Pending,
    /// It may judge here.
    Admitted,
    /// It can not be run here, or not by the versions asked for.
    Refused,
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
    /// A component is stored whole and waits to be admitted: [`crate::Machine::next_to_admit`] hands it out.
    ComponentsChanged,
    /// A record was judged by a component that this node cannot run: from here on it shows nothing of what that one judges.
    CannotJudge {
        /// The component.
        component: Hash,
        /// The first such record since this node started.
        sequence: Sequence,
    },
    /// Two nodes have different state at the same sequence: a fault of the program or of memory.
    StateDiffers {
        /// The other node.
        node: NodeId,
        /// Where.
        sequence: Sequence,
    },
}
