//! The log of a stopped node, read record by record in the order that holds.
//!
//! Invariant: nothing in the directory is changed, no node runs there meanwhile, and a block that another one superseded is
//! not handed out.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use io_oi_node::directory::Directory;
use io_oi_record::{Block, BlockHeader, ClusterId, Hash, Record, ShardId};
use io_oi_shard::LogKind;
use io_oi_wal::{Config, LogReader};

use crate::failure::Failure;
use crate::genesis;

/// One shard's log.
pub(super) struct History {
    log: PathBuf,
    config: Config,
    /// The cluster whose log it is.
    pub(super) cluster: ClusterId,
    /// Held while the log is read: no node starts in between.
    _directory: Directory,
}

impl History {
    /// Of the shard in a node's data directory.
    pub(super) fn open(dir: &Path, shard: u16) -> Result<Self, Failure> {
        let log = dir.join(format!("shard-{shard}"));
        if !log.is_dir() {
            return Err(Failure::with_help(
                format!("{} holds no log of shard {shard}", dir.display()),
                "name the directory that a node was run with (--dir), and one of its shards",
            ));
        }
        let directory = Directory::open(dir).map_err(|error| {
            Failure::with_help(
                error,
                "a log is replayed while no node writes it: stop the node, or copy its directory",
            )
        })?;
        let cluster = genesis::read_complete(&dir.join("genesis"))?.genesis.cluster();
        Ok(Self { log, config: Config::new(cluster.0, ShardId(shard).get()), cluster, _directory: directory })
    }

    /// Hands out every record that holds, with the header of its block.
    pub(super) fn visit(
        &self,
        visitor: &mut dyn FnMut(&BlockHeader, &Record<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut standing = self.standing()?.into_iter().peekable();
        let mut number = 0;
        self.blocks(&mut |block| {
            number += 1;
            if standing.next_if_eq(&(number - 1)).is_none() {
                return Ok(());
            }
            block.records().try_for_each(|record| visitor(&block.header, &record))
        })
    }

    /// The numbers of the blocks that none superseded: each stands on the one before.
    fn standing(&self) -> Result<Vec<u64>, Failure> {
        let mut chain: Vec<(u64, Hash)> = Vec::new();
        let mut number = 0;
        self.blocks(&mut |block| {
            while chain.last().is_some_and(|(_, tip)| *tip != block.header.parent) {
                chain.pop();
            }
            chain.push((number, block.header.hash()));
            number += 1;
            Ok(())
        })?;
        Ok(chain.into_iter().map(|(number, _)| number).collect())
    }

    fn blocks(&self, visitor: &mut dyn FnMut(&Block<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut reader = LogReader::open(&self.log, &self.config).map_err(Failure::other)?;
        let mut visited = Ok(());
        let end = reader.visit_all(&mut |frame| {
            if LogKind::from_number(frame.kind.0) != Some(LogKind::Block) {
                return ControlFlow::Continue(());
            }
            let block = Block::decode(frame.bytes).map_err(|error| {
                Failure::other(format!("the block at sequence {}: {error}", frame.sequence))
            });
            visited = block.and_then(|block| visitor(&block));
            if visited.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        end.map_err(Failure::other)?;
        visited
    }
}
