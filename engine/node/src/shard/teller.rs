//! What the machine notices, told to people: log lines, not too many.
//!
//! Invariant: a change of leader, evidence and muteness are always told; what may repeat is told once a second at most.

use std::time::{Duration, Instant};

use io_oi_record::{Hash, ShardId};
use io_oi_shard::Notice;

use crate::court::Looked;

/// One shard's voice.
#[derive(Debug)]
pub(super) struct Teller {
    shard: ShardId,
    lagging_told: Option<Instant>,
}

impl Teller {
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, lagging_told: None }
    }

    /// Turns a notice into a log line.
    #[cold]
    pub(super) fn tell(&mut self, notice: &Notice) {
        let shard = self.shard;
        match notice {
            Notice::LeaderIs { node, epoch } => {
                tracing::info!(%shard, leader = %node, %epoch, "leader known")
            }
            Notice::NoLeader => tracing::warn!(%shard, "no leader: reads go on, commits wait"),
            Notice::Deposed { epoch } => tracing::warn!(%shard, %epoch, "this node does not lead any more"),
            Notice::EvidenceFound { accused, hash } => {
                tracing::error!(%shard, %accused, evidence = %hash, "a node has lied: its key is barred here")
            }
            Notice::Mute { reason } => {
                tracing::error!(%shard, %reason, "this node neither votes nor leads any more")
            }
            Notice::PeerLagging { node, behind } => {
                if self.may_repeat() {
                    tracing::warn!(%shard, peer = %node, behind, "a voter is behind");
                }
            }
            Notice::MembersChanged { version } => tracing::info!(%shard, version, "the members have changed"),
            Notice::ComponentsChanged => {}
            Notice::CannotJudge { component, sequence } => tracing::error!(
                %shard, %component, %sequence,
                "this node cannot run the component that judges here: it shows nothing of what that one decides; \
                 `arbitrator list` says why, and a start with a program that can run it shows everything again"
            ),
            Notice::StateDiffers { node, sequence } => {
                tracing::error!(%shard, peer = %node, %sequence, "another node has different state: please report this")
            }
        }
    }

    /// What became of a component.
    #[cold]
    pub(super) fn tell_admission(&self, component: Hash, looked: &Looked) {
        let shard = self.shard;
        match looked {
            Ok(admitted) => {
                let (name, tier) = (&admitted.manifest().name, admitted.tier());
                tracing::info!(%shard, %component, name, tier, "component admitted");
            }
            Err(reason) => {
                tracing::warn!(%shard, %component, reason, "component refused: it cannot judge here")
            }
        }
    }

    fn may_repeat(&mut self) -> bool {
        let is_due = self.lagging_told.is_none_or(|told| told.elapsed() >= REPEAT_AFTER);
        if is_due {
            self.lagging_told = Some(Instant::now());
        }
        is_due
    }
}

const REPEAT_AFTER: Duration = Duration::from_secs(1);
