//! `backup.toml`: what a backup holds, for people and for the comparison with what its logs prove.

use std::path::{Path, PathBuf};

use io_oi_record::{ClusterId, Hash, NodeId, Sequence, ShardId};
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::directory::replace;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster.
    pub cluster: ClusterId,
    /// Whose logs were copied.
    pub node: NodeId,
    /// When it was begun, in seconds since the Unix epoch, by the clock of the box where it was taken.
    pub begun_s: u64,
    /// Every shard, in order.
    pub shards: Vec<ShardContent>,
}

/// What is in one shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardContent {
    /// The shard.
    pub shard: ShardId,
    /// Everything through here is proven to be committed.
    pub sequence: Sequence,
    /// Hash of the block that ends there, and so of every block before it.
    pub block: Hash,
    /// Entries of the log.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Manifest {
    pub(super) fn read(backup: &Path) -> Result<Self, BackupError> {
        let path = backup.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BackupError::Unfinished { path });
            }
            Err(error) => return Err(BackupError::io("read", &path, error)),
        };
        Self::parse(&text).map_err(|what| BackupError::Manifest { path, what })
    }

    /// Writes it, flushed; makes the backup one.
    pub(super) fn write(&self, backup: &Path) -> Result<PathBuf, BackupError> {
        let path = backup.join(FILE);
        let shards = self.shards.iter().map(|content| ShardForm {
            shard: content.shard.get(),
            sequence: content.sequence.get(),
            block: content.block.to_string(),
            frames: content.frames,
            bytes: content.bytes,
        });
        let form = Form {
            version: VERSION,
            cluster: self.cluster.to_string(),
            node: self.node.to_string(),
            begun_s: self.begun_s,
            shards: shards.collect(),
        };
        let text = toml::to_string(&form).expect("numbers and hexadecimal digits are TOML");
        replace(&path, text.as_bytes(), 0o644).map_err(|error| BackupError::io("write", &path, error))?;
        Ok(path)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let form: Form = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if form.version != VERSION {
            return Err(format!("it is of version {}, this program reads {VERSION}", form.version));
        }
        let shard = |(index, form): (usize, ShardForm)| {
            if usize::from(form.shard) != index {
                return Err(format!("shard {} stands in the place of shard {index}", form.shard));
            }
            Ok(ShardContent {
                shard: ShardId(form.shard),
                sequence: Sequence(form.sequence),
                block: form.block.parse().map_err(|error| format!("block: {error}"))?,
                frames: form.frames,
                bytes: form.bytes,
            })
        };
        Ok(Self {
            cluster: form.cluster.parse().map_err(|error| format!("cluster: {error}"))?,
            node: form.node.parse().map_err(|error| format!("node: {error}"))?,
            begun_s: form.begun_s,
            shards: form.shards.into_iter().enumerate().map(shard).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    cluster: String,
    node: String,
    begun_s: u64,
    shards: Vec<ShardForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardForm {
    shard: u16,
    sequence: u64,
    block: String,
    frames: u64,
    bytes: u64,
}

const FILE: &str = "backup.toml";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let content = |shard| ShardContent {
            shard: ShardId(shard),
            sequence: Sequence(9),
            block: Hash([3; 32]),
            frames: 12,
            bytes: 4096,
        };
        Manifest {
            cluster: ClusterId([1; 32]),
            node: NodeId([2; 32]),
            begun_s: 1_700_000_000,
            shards: vec![content(0), content(1)],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let path = manifest().write(place.path()).unwrap();
        assert_eq!(Manifest::read(place.path()).unwrap(), manifest());
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, named) in [
            ("version = 1", "version = 2", "version 2"),
            ("shard = 1", "shard = 2", "shard 2"),
            ("frames = 12", "frames = -1", "-1"),
            ("block = \"03", "block = \"0x", "block"),
            ("begun_s", "begun", "unknown field"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = Manifest::read(place.path()).unwrap_err().to_string();
            assert!(error.contains(named), "{error} does not name {named}");
        }
        std::fs::remove_file(path).unwrap();
        assert!(matches!(Manifest::read(place.path()), Err(BackupError::Unfinished { .. })));
    }
}
