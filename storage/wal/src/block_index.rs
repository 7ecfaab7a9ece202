//! Where in the log the chain's block with a given sequence stands.
//!
//! A sequence may stand in the log several times: a later block may take the place of earlier ones that were never decided.
//! The index is told of every block in the order of the log and remembers few of them: one in some 64 KiB of log, and each
//! that took the place of others.
//!
//! Invariant: from the frame that [`BlockIndex::find`] names, the first block whose last sequence is not below the one
//! asked for is the chain's. For between two remembered blocks the others follow each other without gap, except that what
//! was superseded may stand behind them; and a block that supersedes is always remembered, everything above it forgotten.

use crate::format::{FrameKind, LogIndex};
use crate::limits::{INDEX_SPACING_BYTES, SECTOR_BYTES};
use crate::resume::NotAPlace;

/// A sparse index over the blocks of one log. Bounded: when it is full it forgets every second block that it can spare.
#[derive(Clone, Debug)]
pub struct BlockIndex {
    kind: FrameKind,
    entries: Vec<Entry>,
    entries_max: usize,
    /// Bytes of log between two entries, at least.
    spacing_bytes: u64,
    /// Bytes of log since the newest entry.
    bytes_since: u64,
    /// The chain's last sequence.
    tip: u64,
    /// The newest block's frame.
    newest: LogIndex,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    first_sequence: u64,
    index: LogIndex,
    /// It took the place of earlier blocks, or is the first: without it the answer would be wrong.
    is_needed: bool,
}

impl BlockIndex {
    /// An empty index of the frames of this kind, whose frame sequence is the last sequence of their block. All memory for
    /// `entries_max` entries, at least 4, is taken now; more is taken only when so many blocks superseded others.
    pub fn new(kind: FrameKind, entries_max: usize) -> Self {
        let entries_max = entries_max.max(4);
        Self {
            kind,
            entries: Vec::with_capacity(entries_max),
            entries_max,
            spacing_bytes: INDEX_SPACING_BYTES,
            bytes_since: 0,
            tip: 0,
            newest: LogIndex(0),
        }
    }

    /// As bytes, for a file of the caller's own, which checks them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.entries.len() * ENTRY_BYTES);
        let entries_max = self.entries_max as u64;
        for word in [self.spacing_bytes, self.bytes_since, self.tip, self.newest.0, entries_max] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for entry in &self.entries {
            out.extend_from_slice(&entry.first_sequence.to_le_bytes());
            out.extend_from_slice(&entry.index.0.to_le_bytes());
            out.push(u8::from(entry.is_needed));
        }
        out
    }

    /// Reads what [`BlockIndex::encode`] wrote into an index of the frames of this kind.
    pub fn decode(kind: FrameKind, entries_max: usize, bytes: &[u8]) -> Result<Self, NotAPlace> {
        let word =
            |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(NotAPlace)?;
        let mut index = Self::new(kind, entries_max);
        (index.spacing_bytes, index.bytes_since) = (word(head, 0), word(head, 8));
        (index.tip, index.newest) = (word(head, 16), LogIndex(word(head, 24)));
        let entries = rest.chunks_exact(ENTRY_BYTES);
        let is_whole = entries.remainder().is_empty();
        index.entries.extend(entries.map(|entry| Entry {
            first_sequence: word(entry, 0),
            index: LogIndex(word(entry, 8)),
            is_needed: entry[16] != 0,
        }));
        index.entries_max = index.entries_max.max(word(head, 32) as usize);
        if is_whole && index.is_possible() { Ok(index) } else { Err(NotAPlace) }
    }

    fn is_possible(&self) -> bool {
        let rise = self
            .entries
            .windows(2)
            .all(|pair| pair[0].first_sequence < pair[1].first_sequence && pair[0].index < pair[1].index);
        let ends = self
            .entries
            .last()
            .is_none_or(|last| last.first_sequence <= self.tip && last.index <= self.newest);
        let is_empty = self.entries.is_empty();
        rise && ends && self.spacing_bytes > 0 && (!is_empty || self.tip == 0)
    }

    /// Notes the log's next block: its first and last sequence, its frame's number, and its length.
    ///
    /// # Panics
    ///
    /// When the block leaves a gap in the chain, is empty, or is not behind the last one in the log: the caller's order
    /// is broken.
    pub fn note_block(
        &mut self,
        first_sequence: u64,
        last_sequence: u64,
        index: LogIndex,
        block_bytes: usize,
    ) {
        assert!(first_sequence <= last_sequence, "a block holds at least one record");
        assert!(index > self.newest, "blocks are noted in the order of the log");
        let is_first = self.entries.is_empty();
        assert!(
            is_first || first_sequence <= self.tip + 1,
            "a block continues the chain or an earlier place of it"
        );
        let supersedes = !is_first && first_sequence <= self.tip;
        while supersedes && self.entries.last().is_some_and(|entry| entry.first_sequence >= first_sequence) {
            self.entries.pop();
        }
        if is_first || supersedes || self.bytes_since >= self.spacing_bytes {
            self.remember(Entry { first_sequence, index, is_needed: is_first || supersedes });
        }
        // Each block begins a sector of its own when it is flushed alone.
        self.bytes_since += (block_bytes + SECTOR_BYTES) as u64;
        self.tip = last_sequence;
        self.newest = index;
    }

    /// The frame from which on the block with this sequence is to be looked for; none when the chain does not hold it.
    pub fn find(&self, sequence: u64) -> Option<LogIndex> {
        if sequence > self.tip {
            return None;
        }
        let behind = self.entries.partition_point(|entry| entry.first_sequence <= sequence);
        Some(self.entries[behind.checked_sub(1)?].index)
    }

    /// The chain's last sequence, 0 when there is no block.
    pub fn tip(&self) -> u64 {
        self.tip
    }

    /// The kind of the frames that are blocks.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Blocks remembered.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    fn remember(&mut self, entry: Entry) {
        if self.entries.len() >= self.entries_max {
            self.thin();
        }
        self.entries.push(entry);
        self.bytes_since = 0;
    }

    /// Forgets every second entry that can be spared. When too few can, the log has seen thousands of changes of leader:
    /// then it may take more memory.
    fn thin(&mut self) {
        let mut is_spared = false;
        self.entries.retain(|entry| {
            is_spared = !is_spared;
            entry.is_needed || is_spared
        });
        self.spacing_bytes = self.spacing_bytes.saturating_mul(2);
        if self.entries.len() > self.entries_max / 4 * 3 {
            self.entries_max *= 2;
        }
    }
}

const HEAD_BYTES: usize = 40;
const ENTRY_BYTES: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: FrameKind = FrameKind(2);

    #[test]
    fn a_superseded_block_is_never_named() {
        let mut index = BlockIndex::new(BLOCK, 64);
        index.note_block(1, 3, LogIndex(1), 100);
        index.note_block(4, 6, LogIndex(2), 100);
        index.note_block(7, 9, LogIndex(3), 100);
        index.note_block(4, 4, LogIndex(7), 100);
        assert_eq!(index.find(3), Some(LogIndex(1)));
        assert_eq!(index.find(4), Some(LogIndex(7)));
        assert_eq!(
            (index.find(5), index.tip()),
            (None, 4),
            "what was superseded is gone until it is written anew"
        );
        index.note_block(5, 8, LogIndex(9), 100);
        assert_eq!(index.find(8), Some(LogIndex(7)), "from the block that superseded on, the chain is dense");
        assert_eq!((index.find(0), index.find(9)), (None, None));
    }

    #[test]
    fn memory_is_bounded_and_the_bound_gives_way_to_nothing_but_superseding_blocks() {
        let mut index = BlockIndex::new(BLOCK, 16);
        for sequence in 1..=10_000 {
            index.note_block(sequence, sequence, LogIndex(sequence), 60_000);
            assert!(index.entries() <= 16);
        }
        assert!(index.entries() >= 8 && index.find(1) == Some(LogIndex(1)));
        for rewind in 1..=50 {
            index.note_block(10_000 + rewind, 10_000 + rewind, LogIndex(20_000 + 2 * rewind), 10);
            index.note_block(10_000 + rewind, 10_000 + rewind, LogIndex(20_001 + 2 * rewind), 10);
        }
        for rewind in 1..=50 {
            assert_eq!(index.find(10_000 + rewind), Some(LogIndex(20_001 + 2 * rewind)));
        }
    }

    #[test]
    #[should_panic(expected = "continues the chain")]
    fn a_gap_is_a_broken_promise() {
        let mut index = BlockIndex::new(BLOCK, 16);
        index.note_block(1, 1, LogIndex(1), 10);
        index.note_block(3, 3, LogIndex(2), 10);
    }
}
