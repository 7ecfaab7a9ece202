//! Taking a backup: the logs of a node copied while it goes on writing them.
//!
//! Invariant: the node is not asked, stopped or slowed but by the reading of its disk; the copy ends with a certificate, so
//! what the newest bytes of a log that is being written are worth does not matter.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use io_oi_record::{ClusterId, NodeId, Sequence, ShardId, SignedGenesis};
use io_oi_shard::LogKind;

use super::copy::{Copy, visit};
use super::manifest::{Manifest, ShardContent};
use super::reading::Reading;
use super::unfinished::Unfinished;
use super::{BackupError, Progress};
use crate::directory::{load_genesis, place_genesis};

/// Copies the logs in `dir`, of node `node`, into a backup that is made at `backup`, and proves what it copies.
///
/// `certified` says for each shard what the running node calls certified: a backup holds at least that. Without it, a log
/// that is damaged in its middle could not be told from one that ends there.
///
/// # Errors
/// Something is at `backup` already, a log is damaged or proves less than `certified`, or the system refuses. Nothing is then at
/// `backup`; only a process that is killed leaves something beside it, which the next attempt removes.
pub fn take(
    dir: &Path,
    node: NodeId,
    certified: &[Sequence],
    backup: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, BackupError> {
    let genesis = load_genesis(&dir.join("genesis"))?;
    let cluster = genesis.genesis.cluster();
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let place = Unfinished::begin(backup)?;
    place_genesis(place.beside(), &genesis)?;
    let shards = (0..genesis.genesis.shards).map(ShardId).zip(certified).map(|(shard, wanted)| {
        copy_through(dir, place.beside(), &genesis, cluster, shard, *wanted, progress)
    });
    let manifest =
        Manifest { cluster, node, begun_s: begun.as_secs(), shards: shards.collect::<Result<_, _>>()? };
    manifest.write(place.beside())?;
    place.finish()?;
    Ok(manifest)
}

/// Copies a shard's log until a certificate proves everything through `wanted`.
fn copy_through(
    dir: &Path,
    place: &Path,
    genesis: &SignedGenesis,
    cluster: ClusterId,
    shard: ShardId,
    wanted: Sequence,
    progress: &mut dyn FnMut(Progress),
) -> Result<ShardContent, BackupError> {
    let mut reading = Reading::new(genesis, shard)?;
    let mut copy = Copy::begin(place, cluster, shard)?;
    let mut copied = 0_u64;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(BETWEEN_ATTEMPTS);
        }
        let mut passed = 0_u64;
        visit(dir, cluster, shard, progress, &mut |frame| {
            passed += 1;
            if passed <= copied {
                return Ok(ControlFlow::Continue(()));
            }
            reading.see(&frame)?;
            copy.write(frame)?;
            copied = passed;
            let may_end = LogKind::from_number(frame.kind.0) == Some(LogKind::Certificate);
            let ends = may_end && reading.proven() >= wanted;
            Ok(if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if reading.proven() >= wanted {
            copy.end()?;
            return Ok(reading.content());
        }
    }
    Err(BackupError::Short { shard, found: reading.proven(), wanted })
}

/// The certificate that the node speaks of may still be on its way into the log.
const ATTEMPTS: u32 = 20;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
