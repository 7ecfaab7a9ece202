//! A log written anew, entry by entry.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use io_oi_record::{ClusterId, ShardId};
use io_oi_wal::{AppendError, Config, Frame, LogReader, Wal, create_directory};

use super::{BackupError, Progress};

/// The log that is being written.
pub(super) struct Copy {
    wal: Wal,
    shard: ShardId,
}

impl Copy {
    /// In the directory of a shard that has none yet.
    pub(super) fn begin(dir: &Path, cluster: ClusterId, shard: ShardId) -> Result<Self, BackupError> {
        let path = shard_path(dir, shard);
        create_directory(&path).map_err(|error| BackupError::io("create", &path, error))?;
        let opened = Wal::open(&path, config(cluster, shard), |_, _| Ok(()));
        let (wal, _) = opened.map_err(|error| BackupError::Open { shard, error })?;
        Ok(Self { wal, shard })
    }

    /// Takes one entry; waits for the disk.
    pub(super) fn write(&mut self, frame: Frame<'_>) -> Result<(), BackupError> {
        let shard = self.shard;
        let failed = |error| BackupError::Write { shard, error };
        let mut full_since = None;
        loop {
            match self.wal.append(frame) {
                Ok(_) => return Ok(()),
                Err(AppendError::BatchFull) => {}
                Err(AppendError::LogFull) => {
                    let since = *full_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SEGMENT_PATIENCE {
                        return Err(BackupError::DiskFull { shard });
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(AppendError::Failed(error)) => return Err(failed(error)),
                Err(error) => return Err(BackupError::not_proven(shard, error)),
            }
            self.wal.submit();
            self.wal.poll().map_err(failed)?;
        }
    }

    /// Everything is on disk when it returns.
    pub(super) fn end(self) -> Result<(), BackupError> {
        let shard = self.shard;
        self.wal.close().map_err(|error| BackupError::Write { shard, error })
    }
}

/// Reads a shard's log from its first entry until the visitor breaks off or the whole entries end.
pub(super) fn visit(
    dir: &Path,
    cluster: ClusterId,
    shard: ShardId,
    progress: &mut dyn FnMut(Progress),
    visitor: &mut dyn FnMut(Frame<'_>) -> Result<ControlFlow<()>, BackupError>,
) -> Result<(), BackupError> {
    let path = shard_path(dir, shard);
    let bytes_max = bytes_of_files(&path);
    let unread = |error| BackupError::Read { shard, error };
    let mut reader = LogReader::open(&path, &config(cluster, shard)).map_err(unread)?;
    let (mut frames, mut bytes, mut visited) = (0_u64, 0, Ok(()));
    let end = reader.visit_all(&mut |frame| {
        frames += 1;
        bytes += frame.bytes.len() as u64;
        if frames.is_multiple_of(PROGRESS_EVERY_FRAMES) {
            progress(Progress { shard, bytes, bytes_max });
        }
        visitor(frame).unwrap_or_else(|error| {
            visited = Err(error);
            ControlFlow::Break(())
        })
    });
    end.map_err(unread)?;
    visited
}

fn shard_path(dir: &Path, shard: ShardId) -> PathBuf {
    dir.join(format!("shard-{shard}"))
}

fn config(cluster: ClusterId, shard: ShardId) -> Config {
    Config { segment_bytes: SEGMENT_BYTES, ..Config::new(cluster.0, shard.get()) }
}

fn bytes_of_files(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Some are always prepared ahead: a copy of a small log shall be small.
const SEGMENT_BYTES: u64 = 8 << 20;
const PROGRESS_EVERY_FRAMES: u64 = 256;
/// Preparing a segment takes a fraction of a second; the log tries again by itself when there was no space.
const SEGMENT_PATIENCE: Duration = Duration::from_secs(10);
