//! 6. Nothing unflushed is ever acknowledged (the simulated disk drops unflushed writes at a crash).

use std::collections::{BTreeMap, BTreeSet};

use io_oi_record::{BlockHeader, Epoch, Hash, Sequence};

use super::{Finding, Said};
use crate::story::Short;

/// What stands on the disks, as far as others may be told.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Which nodes hold a block durably, a bit each.
    holders: BTreeMap<Hash, u32>,
    /// Which nodes have ever held a block durably and not taken it back.
    once_held: BTreeMap<Hash, u32>,
    /// Nodes whose disk lost what it had, each with the sequence through which it knows that: such a node grants nothing
    /// before it holds all that again, so what it acknowledged before still stands.
    bound: BTreeMap<usize, Sequence>,
    /// Promises flushed to the log and to the promise file: node, epoch, whether it was a claim.
    promises: BTreeSet<(usize, Epoch, bool)>,
}

impl Flushed {
    /// A block became durable on a node.
    pub(super) fn block(&mut self, node: usize, hash: Hash) {
        *self.holders.entry(hash).or_default() |= 1 << node;
        *self.once_held.entry(hash).or_default() |= 1 << node;
    }

    /// A node took a block back.
    pub(super) fn block_taken_back(&mut self, node: usize, hash: Hash) {
        for held in [&mut self.holders, &mut self.once_held] {
            if let Some(holders) = held.get_mut(&hash) {
                *holders &= !(1 << node);
            }
        }
    }

    /// A claim or a grant became durable on a node, its promise file included.
    pub(super) fn promise(&mut self, node: usize, epoch: Epoch, is_claim: bool) {
        self.promises.insert((node, epoch, is_claim));
    }

    /// The disk of a node lost what it had, and the node knows that through `known`.
    pub(super) fn forget(&mut self, node: usize, known: Sequence) {
        self.bound.insert(node, known);
        self.holders.values_mut().for_each(|holders| *holders &= !(1 << node));
    }

    fn holds(&self, node: usize, hash: Hash) -> bool {
        self.holders.get(&hash).is_some_and(|holders| holders & 1 << node != 0)
    }

    /// A node that acknowledges again, or grants, has everything again that it goes by.
    pub(super) fn note_said(&mut self, from: usize, said: &Said) {
        let is_free = match *said {
            Said::Acknowledged { through, .. } => !through.is_none(),
            Said::Granted { voter, .. } => voter == from,
            _ => false,
        };
        if is_free {
            self.bound.remove(&from);
        }
    }

    /// A node says something that only its disk allows it to say.
    pub(super) fn check_said(&self, from: usize, said: &Said) -> Finding {
        match *said {
            Said::Acknowledged { through, hash } if !through.is_none() && !self.holds(from, hash) => {
                Err(format!("n{from} acknowledges {} through {through} before its flush", Short(&hash.0)))
            }
            Said::Voted { voter, sequence, hash, .. } if voter == from && !self.holds(from, hash) => {
                Err(format!("n{from} votes for {} at {sequence} before its flush", Short(&hash.0)))
            }
            Said::Granted { voter, epoch, .. }
                if voter == from && !self.promises.contains(&(from, epoch, false)) =>
            {
                Err(format!("n{from} grants epoch {epoch} before the flush of its promise"))
            }
            Said::Stood { candidate, epoch, .. }
                if candidate == from && !self.promises.contains(&(from, epoch, true)) =>
            {
                Err(format!("n{from} asks for epoch {epoch} before the flush of its claim"))
            }
            Said::Sealed { epoch, is_own: true, .. } if !self.promises.contains(&(from, epoch, true)) => {
                Err(format!("n{from} signs in epoch {epoch} before the flush of its claim"))
            }
            _ => Ok(()),
        }
    }

    /// A block is committed for the first time by anybody: a quorum of the voters holds it. Who does not know yet that the
    /// newest change of the voters is decided counts by those before it; two such quorums always share a voter.
    pub(super) fn check_commit(
        &self,
        node: usize,
        header: &BlockHeader,
        hash: Hash,
        voters: [u32; 2],
    ) -> Finding {
        let holders = self.holders.get(&hash).copied().unwrap_or(0);
        let once_held = self.once_held.get(&hash).copied().unwrap_or(0);
        let bound = self.bound.iter().filter(|(_, known)| **known >= header.last_sequence());
        let holders = bound.fold(holders, |holders, (node, _)| holders | once_held & 1 << node);
        let is_quorum = |voters: u32| 2 * (holders & voters).count_ones() > voters.count_ones();
        if voters.into_iter().any(is_quorum) {
            return Ok(());
        }
        Err(format!(
            "n{node} commits {} through {}, durable at {} of {} voters",
            Short(&hash.0),
            header.last_sequence(),
            (holders & voters[0]).count_ones(),
            voters[0].count_ones()
        ))
    }
}
