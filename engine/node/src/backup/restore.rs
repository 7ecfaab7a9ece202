//! Making a node's directory of a backup.
//!
//! Invariant: what makes a node has been proven from the genesis on. A node that comes back under its own key can sign
//! nothing in any epoch in which the lost one may have signed.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use io_oi_record::{Epoch, NodeId, SignedGenesis};
use io_oi_shard::{EpochPromise, LogKind};
use io_oi_wal::{Frame, FrameKind};

use super::copy::{Copy, visit};
use super::manifest::{Manifest, ShardContent};
use super::reading::{Reading, is_shared};
use super::unfinished::Unfinished;
use super::{BackupError, Progress};
use crate::directory::{self, Promise, load_genesis, place_boot, place_genesis, place_key};

/// A directory that a node can be started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The node that will run there.
    pub node: NodeId,
    /// What its logs hold.
    pub manifest: Manifest,
}

/// Reads a whole backup, and says what it proves. Changes nothing.
///
/// # Errors
/// It is none, did not end, or does not prove what it says.
pub fn check(backup: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Manifest, BackupError> {
    let (manifest, genesis) = open(backup)?;
    for content in &manifest.shards {
        read_shard(backup, &genesis, content, progress, &mut |_| Ok(()))?;
    }
    Ok(manifest)
}

/// Makes `dir` of the backup, and proves what it copies: a new node with a key of its own, which operators then add to its
/// cluster, or, with `own_key`, the node itself that the backup was taken from.
///
/// A node comes back under its own key only where no quorum is left that could go on without it: what the lost disk said after
/// the backup is forgotten. So it skips 2^24 epochs.
///
/// # Errors
/// As [`check`]; or something is at `dir` already, the key is not the one that belongs there, or the system refuses.
pub fn restore(
    backup: &Path,
    dir: &Path,
    own_key: Option<&Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Restored, BackupError> {
    let (manifest, genesis) = open(backup)?;
    let cluster = manifest.cluster;
    if own_key.is_none() && directory::stands_alone(&genesis.genesis) {
        return Err(BackupError::NeedsItsKey { cluster });
    }
    let place = Unfinished::begin(dir)?;
    let node = place_key(place.beside(), own_key)?;
    if own_key.is_some() && node != manifest.node {
        return Err(BackupError::ForeignKey { given: node, wanted: manifest.node });
    }
    place_genesis(place.beside(), &genesis)?;
    for content in &manifest.shards {
        let mut copy = Copy::begin(place.beside(), cluster, content.shard)?;
        let epoch = read_shard(backup, &genesis, content, progress, &mut |frame| {
            let is_shared = LogKind::from_number(frame.kind.0).is_some_and(is_shared);
            if is_shared || own_key.is_some() { copy.write(frame) } else { Ok(()) }
        })?;
        if own_key.is_some() {
            let promise = EpochPromise {
                cluster,
                shard: content.shard,
                node,
                epoch: Epoch(epoch.get().saturating_add(EPOCHS_SKIPPED)),
                candidate: node,
            };
            close_epochs(place.beside(), &mut copy, &promise)?;
        }
        copy.end()?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    place_boot(place.beside(), u32::try_from(now.as_secs()).unwrap_or(u32::MAX - 1))?;
    place.finish()?;
    Ok(Restored { node, manifest })
}

/// What a node that comes back under its own key never signs in: far more epochs than the lost one can have seen since
/// (an election each second for half a year), far fewer than there are.
const EPOCHS_SKIPPED: u64 = 1 << 24;

/// A durable promise of an epoch, in both its places, closes every epoch up to it.
fn close_epochs(place: &Path, copy: &mut Copy, promise: &EpochPromise) -> Result<(), BackupError> {
    let bytes = promise.encode();
    let frame = Frame {
        kind: FrameKind(LogKind::Grant as u8),
        epoch: promise.epoch.get(),
        sequence: 0,
        bytes: &bytes,
    };
    copy.write(frame)?;
    let path = place.join(format!("promise-{}", promise.shard));
    Ok(Promise::open(path, promise.cluster)?.raise(promise.epoch)?)
}

fn open(backup: &Path) -> Result<(Manifest, SignedGenesis), BackupError> {
    let manifest = Manifest::read(backup)?;
    let genesis = load_genesis(&backup.join("genesis"))?;
    let (named, proven) = (&manifest, &genesis.genesis);
    if named.cluster != proven.cluster() || named.shards.len() != usize::from(proven.shards) {
        return Err(BackupError::Manifest {
            path: backup.to_owned(),
            what: "it speaks of another cluster than the genesis beside it".to_owned(),
        });
    }
    Ok((manifest, genesis))
}

/// Hands out every entry of a shard, and says its highest epoch once the log has proven what the manifest says.
fn read_shard(
    backup: &Path,
    genesis: &SignedGenesis,
    said: &ShardContent,
    progress: &mut dyn FnMut(Progress),
    visitor: &mut dyn FnMut(Frame<'_>) -> Result<(), BackupError>,
) -> Result<Epoch, BackupError> {
    let mut reading = Reading::new(genesis, said.shard)?;
    visit(backup, genesis.genesis.cluster(), said.shard, progress, &mut |frame| {
        reading.see(&frame)?;
        visitor(frame)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let found = reading.content();
    if found.sequence < said.sequence || found.frames < said.frames {
        return Err(BackupError::Short { shard: said.shard, found: found.sequence, wanted: said.sequence });
    }
    if found != *said {
        return Err(BackupError::not_proven(
            said.shard,
            "it is not the log that the backup's own file describes",
        ));
    }
    Ok(reading.epoch())
}
