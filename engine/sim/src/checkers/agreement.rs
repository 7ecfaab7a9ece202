//! 1. No two nodes commit different blocks at one (shard, sequence).

use io_oi_record::{BlockHeader, Hash};

use super::Finding;
use crate::oracle::Truth;
use crate::story::Short;

/// A node commits this block: is it the decided one, or, at the end of what is decided, may it become so?
pub(super) fn check(truth: &Truth, node: usize, header: &BlockHeader, hash: Hash) -> Finding {
    let first = header.first_sequence;
    if first <= truth.through() {
        let decided = truth.block_at(first).expect("what is decided stands in blocks");
        if decided.hash == hash {
            return Ok(());
        }
        return Err(format!(
            "n{node} commits block {} (epoch {}) at sequence {first}, decided was {} (epoch {})",
            Short(&hash.0),
            header.epoch,
            Short(&decided.hash.0),
            decided.epoch
        ));
    }
    if first != truth.through().next() {
        return Err(format!("n{node} commits sequence {first}, {} is next", truth.through().next()));
    }
    let parent = truth.newest_block().map_or(Hash::ZERO, |block| block.hash);
    if header.parent != parent {
        return Err(format!(
            "n{node} commits a block at sequence {first} on {}, decided before it was {}",
            Short(&header.parent.0),
            Short(&parent.0)
        ));
    }
    Ok(())
}
