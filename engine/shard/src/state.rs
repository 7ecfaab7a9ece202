//! The hash of the replicated state, taken in block by block and compared with the other nodes' at intervals.
//!
//! Invariant: at equal sequence it is equal on every node, because it is folded over the roots of the committed blocks,
//! verdicts included. A node that differs is told of; nobody acts on it, for it is a fault of a program or of memory.
//! [P-107]

use alloc::collections::VecDeque;

use io_oi_record::fields::{FieldError, FieldReader, FieldWriter, field_rule};
use io_oi_record::hash::Domain;
use io_oi_record::limits::MEMBERS_MAX;
use io_oi_record::message::{Message, StateHash};
use io_oi_record::{Hash, Nanos, NodeId, Sequence};

use crate::event::Lane;
use crate::machine::{Machine, Phase};
use crate::peers::To;
use crate::status::Notice;

/// Every node remembers the hash behind the block that reaches each multiple of this.
const EVERY_SEQUENCES: u64 = 256;
/// How many of them: a node may lag by as many intervals and still be compared.
const KEPT: usize = 1024;
/// A node tells the others its newest at most this often.
const TOLD_EVERY_NS: u64 = 100_000_000;

/// What was remembered, and what others say of places that are not reached yet.
pub(crate) struct StateHashes {
    kept: VecDeque<(Sequence, Hash)>,
    ahead: [Option<(NodeId, StateHash)>; MEMBERS_MAX],
    told_at: Nanos,
}

impl StateHashes {
    pub(crate) fn new() -> Self {
        Self { kept: VecDeque::with_capacity(KEPT), ahead: [None; MEMBERS_MAX], told_at: Nanos::ZERO }
    }

    /// Puts what was remembered behind the fields that are there.
    pub(crate) fn write(&self, out: &mut FieldWriter) {
        out.count(self.kept.len());
        for (sequence, hash) in &self.kept {
            out.sequence(*sequence);
            out.raw(&hash.0);
        }
    }

    /// Reads what [`StateHashes::write`] wrote when everything through `committed` was decided.
    pub(crate) fn read(fields: &mut FieldReader<'_>, committed: Sequence) -> Result<Self, FieldError> {
        let kept = fields.list(KEPT, 8 + 32, |fields| Ok((fields.sequence()?, fields.hash()?)))?;
        let rises = kept.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let is_decided = kept.last().is_none_or(|(newest, _)| *newest <= committed);
        field_rule(rises && is_decided, "state hashes are out of order")?;
        let mut hashes = Self::new();
        hashes.kept.extend(kept);
        Ok(hashes)
    }

    /// Remembers the first block end at or behind each multiple; says whether this is one.
    fn keep(&mut self, before: Sequence, reached: Sequence, hash: Hash) -> bool {
        if before.0 / EVERY_SEQUENCES == reached.0 / EVERY_SEQUENCES {
            return false;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((reached, hash));
        true
    }

    fn find(&self, sequence: Sequence) -> Option<Hash> {
        let place = self.kept.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        self.kept.get(place).map(|(_, hash)| *hash)
    }

    /// The newest word of a node about a place further on; it replaces its last one.
    fn wait_for(&mut self, node: NodeId, said: StateHash) {
        let known = self.ahead.iter().position(|word| word.is_some_and(|(by, _)| by == node));
        let Some(place) = known.or_else(|| self.ahead.iter().position(Option::is_none)) else { return };
        self.ahead[place] = Some((node, said));
    }
}

impl Machine {
    /// What is committed and was shown lands: memory, journals and queues let go of it, the state hash takes it in.
    pub(crate) fn settle(&mut self) {
        let mut has_landed = false;
        while let Some(closed) = self.flights.land_before(self.settled.next) {
            self.fold_state(closed.header.last_sequence(), closed.header.root);
            has_landed = true;
        }
        if has_landed {
            self.sessions.settle_through(self.state_hash.0);
            self.forwarding.settle_through(self.state_hash.0);
        }
    }

    /// A committed block with this root lands.
    fn fold_state(&mut self, last: Sequence, root: Hash) {
        let (before, hash) = self.state_hash;
        let folded = Domain::State.hash_parts(&[&hash.0, &root.0]);
        self.state_hash = (last, folded);
        if !self.state_hashes.keep(before, last, folded) {
            return;
        }
        for place in 0..MEMBERS_MAX {
            let Some((node, said)) = self.state_hashes.ahead[place] else { continue };
            if said.sequence <= last {
                self.state_hashes.ahead[place] = None;
                self.compare_state(node, &said);
            }
        }
        self.tell_state(StateHash { sequence: last, hash: folded });
    }

    /// Another node says what its state is. [P-107]
    pub(crate) fn handle_state_hash(&mut self, from: NodeId, said: &StateHash) {
        if said.sequence > self.state_hash.0 {
            self.state_hashes.wait_for(from, *said);
        } else {
            self.compare_state(from, said);
        }
    }

    fn tell_state(&mut self, newest: StateHash) {
        let since = self.now.mono.since(self.state_hashes.told_at);
        if self.phase == Phase::Running && since >= TOLD_EVERY_NS {
            self.state_hashes.told_at = self.now.mono;
            let epoch = self.epoch();
            self.peers.post(To::All, Lane::Urgent, epoch, Message::StateHash(newest));
        }
    }

    fn compare_state(&mut self, node: NodeId, said: &StateHash) {
        let own = self.state_hashes.find(said.sequence);
        if own.is_some_and(|own| own != said.hash) {
            self.notices.push(Notice::StateDiffers { node, sequence: said.sequence });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_keeps_the_same_places_whatever_its_blocks_are_sized() {
        let mut hashes = StateHashes::new();
        let ends = [10, 255, 256, 300, 511, 700, 1024, 1025, 5000];
        let mut before = Sequence::NONE;
        let mut kept = std::vec::Vec::new();
        for end in ends {
            if hashes.keep(before, Sequence(end), Hash([end as u8; 32])) {
                kept.push(end);
            }
            before = Sequence(end);
        }
        assert_eq!(kept, [256, 700, 1024, 5000]);
        assert_eq!(hashes.find(Sequence(700)), Some(Hash([700_u64 as u8; 32])));
        assert_eq!(hashes.find(Sequence(255)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut hashes = StateHashes::new();
        for step in 1..10_000_u64 {
            let (before, reached) = (Sequence((step - 1) * 256), Sequence(step * 256));
            assert!(hashes.keep(before, reached, Hash::ZERO));
            hashes.wait_for(NodeId([step as u8; 32]), StateHash { sequence: reached, hash: Hash::ZERO });
        }
        assert_eq!(hashes.kept.len(), KEPT);
        assert!(hashes.find(Sequence(256)).is_none() && hashes.find(Sequence(9_999 * 256)).is_some());
    }
}
