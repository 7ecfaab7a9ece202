//! The log read through the machine into the hot tier, once or more often.
//!
//! Invariant: a machine knows what its log has lost before it reads it, and a hot tier holds everything that the log proves
//! to be committed.

use std::path::Path;
use std::sync::Arc;

use io_oi_cold::{Digester, Directory};
use io_oi_record::limits::{BLOCK_RECORDS_MAX, BLOCKS_IN_FLIGHT_MAX};
use io_oi_record::{Epoch, Sequence, ShardId};
use io_oi_shard::{
    Capacity, Config as MachineConfig, Effect, LogKind, Lost as LostToDamage, Machine, PastLost,
    PublishStage, Timers, Verify,
};
use io_oi_shm::{HashSeed, hot};
use io_oi_wal::{BlockIndex, Damage, Frame, LogIndex, OpenError, Resume, VisitorError, Wal};

use super::archive::{Archive, Base, archive_path};
use super::archivist::Office;
use super::boot::{Boot, BootReason, RecoveryProgress, log_config, seed};
use super::world::{block_index, note_block, stamp};
use crate::config::{Config, ConsensusConfig, VerifySetting};
use crate::directory::Identity;

/// What a log was read into.
pub(super) struct Recovered {
    pub(super) machine: Machine,
    pub(super) hot: hot::Writer,
    pub(super) wal: Wal,
    pub(super) blocks: BlockIndex,
    /// What the archivist goes on with.
    pub(super) office: Office,
    lost: Lost,
}

/// What the log does not say any more, or never did: promises of another place, and what stood behind a damaged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost {
    promised: Epoch,
    damage: Option<LostToDamage>,
}

/// How much a hot tier takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HotRoom {
    entries_max: u64,
    large_bytes_max: u64,
}

impl HotRoom {
    /// A quarter more of what was full, and the name of its setting; none when no setting would help.
    fn enlarged_for(self, full: hot::Full) -> Option<(Self, &'static str)> {
        let quarter_more = |value: u64| value.saturating_add((value / 4).max(1));
        match full {
            hot::Full::Entries { .. } | hot::Full::Neighbourhood => {
                Some((Self { entries_max: quarter_more(self.entries_max), ..self }, "hot.entries_max"))
            }
            hot::Full::Large { .. } => {
                let large_bytes_max = quarter_more(self.large_bytes_max);
                Some((Self { large_bytes_max, ..self }, "hot.large_bytes_max"))
            }
            _ => None,
        }
    }
}

/// Brings machine and hot tier to where the log ends: from the newest checkpoint that this log goes on from, else by reading
/// all of it. [P-72]
///
/// Where an entry or a large value comes to stand depends on what stood there before, which the log does not tell. So a
/// tier that held everything while the node ran may fall short by a little when it is filled anew: it is made larger and
/// the log read again, a few times.
pub(super) fn recover(
    boot: &Boot,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<Recovered, BootReason> {
    let hot = &boot.config.hot;
    let mut room = HotRoom { entries_max: hot.entries_max, large_bytes_max: hot.large_bytes_max };
    let mut lost = Lost { promised: boot.promise.epoch(), damage: None };
    let mut enlargements = 0;
    let mut base = archive(boot).newest(None);
    loop {
        let segment = base.as_ref().map(|(segment, _)| *segment);
        match recover_into(boot, room, lost, base.as_ref(), progress) {
            Ok(recovered) if recovered.lost == lost => return Ok(recovered),
            // Only now is it known what the log has lost; a machine has to know before it reads.
            Ok(recovered) => (lost, base) = (recovered.lost, None),
            Err(BootReason::HotTierTooSmall(full)) if enlargements < ENLARGEMENTS_MAX => {
                room = enlarge(boot.shard, room, full)?;
                enlargements += 1;
            }
            Err(reason @ BootReason::HotTierTooSmall(_)) => return Err(reason), // However it is read.
            Err(reason) => {
                let Some(segment) = segment else { return Err(reason) };
                tracing::warn!(shard = %boot.shard, segment, %reason, "checkpoint not used");
                let mut archive = archive(boot);
                if let BootReason::Checkpoint(_) | BootReason::Log(OpenError::ResumeRefused { .. }) = reason {
                    archive.forget(segment);
                }
                base = archive.newest(Some(segment));
            }
        }
    }
}

fn archive(boot: &Boot) -> Archive {
    Archive {
        shelf: Directory::new(archive_path(&boot.log_path)),
        digester: Digester::new(&boot.identity.secret()),
        log_path: boot.log_path.clone(),
        log_config: log_config(boot.shard, &boot.identity, &boot.config),
    }
}

fn enlarge(shard: ShardId, room: HotRoom, full: hot::Full) -> Result<HotRoom, BootReason> {
    let (room, setting) = room.enlarged_for(full).ok_or(BootReason::HotTierTooSmall(full))?;
    tracing::warn!(
        %shard, setting, entries_max = room.entries_max, large_bytes_max = room.large_bytes_max,
        "the log does not fit the hot tier ({full}); reading it again into a larger one. Raise {setting}."
    );
    Ok(room)
}

/// Reads the log, or what follows a checkpoint, into a hot tier of this size.
fn recover_into(
    boot: &Boot,
    room: HotRoom,
    lost: Lost,
    base: Option<&(u32, Base)>,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<Recovered, BootReason> {
    let mut hot = hot::Writer::create(&hot_config(boot, room)).map_err(BootReason::Segment)?;
    let parts = MachineParts::of(boot, lost);
    let mut machine = Machine::new(parts.config()).map_err(BootReason::Machine)?;
    #[cfg(feature = "planted")]
    plant(&mut machine);
    let mut blocks = block_index();
    let mut archive = archive(boot);
    if let Some((_, base)) = base {
        let genesis = &boot.identity.genesis.genesis;
        let restored = machine.restore(genesis, &base.state);
        restored.map_err(|error| BootReason::Checkpoint(error.to_string()))?;
        blocks = base.blocks.clone();
        let keys = archive.load(base, machine.committed().get(), &mut hot)?;
        tracing::info!(shard = %boot.shard, segment = %base.resume.segment(), keys, "start from a checkpoint");
    }
    let resume = base.map(|(_, base)| &base.resume);
    let (wal, damage) = read_log(boot, &mut machine, &mut hot, &mut blocks, resume, progress)?;
    let office = Office { shard: boot.shard, archive, parts, base: base.map(|(segment, _)| *segment) };
    let lost = damage.map_or(lost, |damage| Lost {
        promised: lost.promised.max(Epoch(damage.highest_epoch)),
        damage: Some(LostToDamage { sequence: Sequence(damage.highest_sequence), mark: damage.mark.0 }),
    });
    Ok(Recovered { machine, hot, wal, blocks, office, lost })
}

/// Opens the log and hands every entry on.
fn read_log(
    boot: &Boot,
    machine: &mut Machine,
    hot: &mut hot::Writer,
    blocks: &mut BlockIndex,
    resume: Option<&Resume>,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<(Wal, Option<Damage>), BootReason> {
    let bytes_max = bytes_of_files(&boot.log_path);
    let mut read = RecoveryProgress { shard: boot.shard, frames: 0, bytes: 0, bytes_max };
    let mut reason = None;
    let config = log_config(boot.shard, &boot.identity, &boot.config);
    let visit = |index: LogIndex, frame: Frame<'_>| -> Result<(), VisitorError> {
        recover_frame(machine, hot, blocks, index, &frame).map_err(|what| {
            let text = what.to_string();
            reason = Some(what);
            text
        })?;
        read.frames += 1;
        read.bytes += frame.bytes.len() as u64;
        if read.frames.is_multiple_of(PROGRESS_EVERY_FRAMES) {
            progress(read);
        }
        Ok(())
    };
    // Alone, nobody has what is lost: then a damaged log is the operator's to restore.
    let has_peers = boot.identity.genesis.genesis.members.len() > 1 || boot.identity.member().is_none();
    let opened = match resume {
        // What is damaged is repaired by a reading of all of it.
        Some(resume) => Wal::open_from(&boot.log_path, config, resume, visit),
        None if boot.config.wal.repair && has_peers => Wal::open_repairing(&boot.log_path, config, visit),
        None => Wal::open(&boot.log_path, config, visit),
    };
    let (wal, recovered) = opened.map_err(|error| reason.take().unwrap_or(BootReason::Log(error)))?;
    progress(RecoveryProgress { bytes_max: read.bytes, ..read });
    let (strategy, because) = (wal.stats().strategy, &wal.stats().strategy_reason);
    tracing::info!(
        shard = %boot.shard, frames = read.frames, bytes = read.bytes, segments = recovered.segments,
        clean = recovered.closed_cleanly, torn_tail = ?recovered.torn_tail, %strategy, because, "log read"
    );
    if let Some(Damage { segment, offset, highest_sequence, frames_lost, set_aside, .. }) = recovered.damage {
        tracing::warn!(
            shard = %boot.shard, %segment, offset, highest_sequence, frames_lost, set_aside,
            "the log was damaged and goes on from before that place: this node catches up from its peers before it votes"
        );
    }
    Ok((wal, recovered.damage))
}

fn recover_frame(
    machine: &mut Machine,
    hot: &mut hot::Writer,
    blocks: &mut BlockIndex,
    at: LogIndex,
    frame: &Frame<'_>,
) -> Result<(), BootReason> {
    let kind = LogKind::from_number(frame.kind.0).ok_or(BootReason::KindUnknown(frame.kind.0))?;
    machine.recover_frame(kind, frame.bytes).map_err(BootReason::Contradiction)?;
    if kind == LogKind::Block {
        note_block(blocks, Sequence(frame.sequence), at, frame.bytes);
    }
    while let Some(effect) = machine.poll_effect() {
        let Effect::Publish { stage: PublishStage::Committed, epoch, time, record } = effect else {
            unreachable!("a machine that reads its log only shows what it proves, not {effect:?}")
        };
        for write in record.writes() {
            hot.publish_committed(write.key, write.value, stamp(epoch, time, &record))
                .map_err(BootReason::HotTierTooSmall)?;
        }
    }
    Ok(())
}

fn hot_config(boot: &Boot, room: HotRoom) -> hot::Config {
    hot::Config {
        entries_max: room.entries_max,
        large_bytes_max: room.large_bytes_max,
        versions_max: VERSIONS_MAX,
        seed: HashSeed::new(boot.identity.genesis.genesis.hash_seed),
        shard: boot.shard.get(),
        incarnation: boot.incarnation,
        preallocate: false,
    }
}

/// What every machine of this shard and start is made of.
pub(super) struct MachineParts {
    shard: ShardId,
    pub(super) identity: Arc<Identity>,
    settings: Arc<Config>,
    seed: u64,
    past_lost: Option<PastLost>,
    lost: Lost,
}

impl MachineParts {
    fn of(boot: &Boot, lost: Lost) -> Self {
        Self {
            shard: boot.shard,
            identity: Arc::clone(&boot.identity),
            settings: Arc::clone(&boot.config),
            seed: seed(boot),
            past_lost: boot.promise.past_lost(),
            lost,
        }
    }

    /// A machine that has read nothing.
    pub(super) fn machine(&self) -> Result<Machine, String> {
        Machine::new(self.config()).map_err(|error| error.to_string())
    }

    fn config(&self) -> MachineConfig<'_> {
        let genesis = &self.identity.genesis.genesis;
        MachineConfig {
            cluster: self.identity.cluster,
            shard: self.shard,
            signer: self.identity.signer(),
            genesis,
            arbitrators: genesis.arbitrators,
            judge_versions: io_oi_arbitrator::VERSIONS,
            boot: self.identity.boot,
            seed: self.seed,
            timers: timers(&self.settings.consensus),
            capacity: Capacity::default(),
            verify: match self.settings.verify {
                VerifySetting::All => Verify::All,
                VerifySetting::Sampled => Verify::Sampled(self.settings.consensus.sampled_one_in),
                VerifySetting::Off => Verify::Off,
            },
            promised: self.lost.promised,
            past_lost: self.past_lost,
            lost: self.lost.damage,
        }
    }
}

/// The fault that the environment names, in builds for tests of the fault model.
#[cfg(feature = "planted")]
fn plant(machine: &mut Machine) {
    use io_oi_shard::Planted;
    let Ok(wanted) = std::env::var("IO_OI_PLANTED") else { return };
    if wanted == super::judges::TAMPERED {
        return tracing::error!(planted = wanted, "this node has a fault planted for a test");
    }
    let planted = Planted::ALL.iter().copied().find(|planted| planted.name() == wanted);
    let planted =
        planted.unwrap_or_else(|| panic!("IO_OI_PLANTED={wanted} names nothing that can be planted"));
    tracing::error!(planted = wanted, "this node has a fault planted for a test");
    machine.plant(planted);
}

fn timers(config: &ConsensusConfig) -> Timers {
    const NS: u64 = 1_000_000;
    Timers {
        heartbeat_ns: config.heartbeat_ms * NS,
        election_ns_min: config.election_ms_min * NS,
        election_ns_max: config.election_ms_max * NS,
        hand_over_ns: config.hand_over_ms * NS,
        ..Timers::default()
    }
}

/// For the progress bar only: an unreadable directory is the log's to complain about.
fn bytes_of_files(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Two versions for each record that can be in flight: one filling block, the pipeline, one being shown; and as many again
/// that an election left undecided.
const VERSIONS_MAX: u32 = (4 * (BLOCKS_IN_FLIGHT_MAX + 2) * BLOCK_RECORDS_MAX) as u32;
const PROGRESS_EVERY_FRAMES: u64 = 256;
/// Each time a quarter more: what still does not fit then was never held by a tier of the configured size.
const ENLARGEMENTS_MAX: u32 = 4;
