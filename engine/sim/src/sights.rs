//! What the runs came to see: a simulator that never meets a case proves nothing about it.
//!
//! Invariant: counting changes nothing; what is counted here must be met by the fixed seeds of the tests.

macro_rules! sights {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A case worth meeting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Sight {
            $($(#[$doc])* $name,)*
        }

        impl Sight {
            /// Every case.
            pub const ALL: &'static [Sight] = &[$(Sight::$name,)*];

            /// As it is printed.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Sight::$name => $text,)* }
            }
        }
    };
}

sights! {
    /// A node began to lead.
    Lead = "a node leads";
    /// A node led in a later epoch than another one before.
    LeaderChange = "the leader changes";
    /// A leader learned that it leads no more.
    Deposed = "a leader is deposed";
    /// A node took blocks back.
    Rewind = "a node takes blocks back";
    /// A tentative value was withdrawn.
    Withdrawal = "a tentative value is withdrawn";
    /// A node read blocks back from its log for a peer.
    CatchUp = "a late node catches up from a log";
    /// A process died.
    Crash = "a process dies";
    /// A process died between two effects of one event.
    CrashBetweenEffects = "a process dies between two effects";
    /// A power cut lost unflushed bytes.
    TornWrite = "a power cut tears a write";
    /// A process stood still.
    Pause = "a process stands still";
    /// Links were cut.
    Partition = "links are cut";
    /// A leader was cut off together with its clients.
    LeaderAlone = "a leader is alone with its clients";
    /// A wall clock was set.
    ClockJump = "a wall clock jumps";
    /// A flush took long.
    SlowFlush = "a flush is slow";
    /// A flush failed.
    FlushFailed = "a flush fails";
    /// A disk was full.
    DiskFull = "a disk is full";
    /// An operator wrote a key himself.
    OperatorWrite = "an operator writes a key";
    /// A judge refused what an operator wrote.
    OperatorRefused = "an operator's write is refused";
    /// An arbitrator was seated, or taken away.
    Seated = "an arbitrator is seated";
    /// An arbitrator refused a proposal.
    ArbitratorRefusal = "an arbitrator refuses";
    /// A proposal was refused because of a full disk.
    DiskFullRefusal = "a proposal is refused for want of disk";
    /// A start went on from a checkpoint instead of the log before it.
    Checkpoint = "a start goes on from a checkpoint";
    /// A damaged log was repaired.
    Repair = "a damaged log is repaired";
    /// What a damaged log had lost was there again.
    WholeAgain = "a repaired log is whole again";
    /// A log was rolled back and its node fell silent.
    Mute = "a rolled-back node falls silent";
    /// A node that had fallen silent was started again.
    MuteAgain = "a silenced node is silent after a restart";
    /// A client sent a proposal again.
    Retry = "a client sends a proposal again";
    /// A client took its session to another node.
    SessionMoved = "a session moves to another node";
    /// A session was opened.
    SessionOpened = "a session is opened";
    /// A session made room for another.
    Eviction = "a session makes room for another";
    /// A condition was not met.
    ConditionFailed = "a condition is not met";
    /// A receipt said `local`.
    LocalReceipt = "a receipt says local";
    /// A receipt said `mem-quorum`.
    MemQuorumReceipt = "a receipt says mem-quorum";
    /// A receipt said `disk-quorum`.
    DiskQuorumReceipt = "a receipt says disk-quorum";
    /// A receipt said `certified`.
    CertifiedReceipt = "a receipt says certified";
    /// A read under a lease.
    LeaseRead = "a value is read under a lease";
    /// A read of a tentative value.
    TentativeRead = "a tentative value is read";
    /// A proposal went to the leader by way of another node.
    Forward = "a proposal is forwarded";
    /// Leadership was handed over as planned.
    HandOver = "leadership is handed over";
    /// A governance record took effect.
    Governance = "a governance record takes effect";
    /// A learner was added.
    LearnerAdded = "a learner joins";
    /// A learner was promoted.
    Promoted = "a learner is promoted";
    /// A member was removed.
    Removed = "a member leaves";
    /// Evidence was found.
    Evidence = "evidence convicts a key";
    /// A leader that signed two headers was convicted everywhere within a round trip.
    ConvictedInTime = "two headers convict within a round trip";
    /// A key was barred.
    Barred = "a key is barred";
}

/// How often each case was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sights {
    counts: Vec<u64>,
}

impl Default for Sights {
    fn default() -> Self {
        Self { counts: vec![0; Sight::ALL.len()] }
    }
}

impl Sights {
    pub(crate) fn see(&mut self, sight: Sight) {
        self.counts[sight as usize] += 1;
    }

    /// How often.
    #[must_use]
    pub fn count(&self, sight: Sight) -> u64 {
        self.counts[sight as usize]
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }
}
