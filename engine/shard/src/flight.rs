//! The blocks that are not done yet: one filling, some in flight, some recovered or followed and not yet committed.
//!
//! Invariant: a block's memory is given back only after its last committed record was shown and answered; the pool is
//! allocated at boot and grows only when an election leaves more behind than a pipeline. Every record of an unfinished
//! block has exactly one note.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use io_oi_record::limits::BLOCKS_IN_FLIGHT_MAX;
use io_oi_record::{
    Block, BlockBuilder, BlockHeader, Durability, Epoch, HEADER_BYTES, Hash, HeaderParts, Nanos, Record,
    Sequence, SessionId, SessionSequence, Signature, Verdict,
};

use crate::config::Capacity;

/// One filling, the pipeline, and one whose committed records are being shown while the next is filled.
const POOL_BLOCKS: usize = BLOCKS_IN_FLIGHT_MAX + 2;

/// Finished blocks that a group of several keeps, so that a follower a little behind is served from memory.
const LANDED_KEPT: usize = 4;

/// What has to be remembered about one record until it is committed and answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) session: SessionId,
    pub(crate) session_sequence: SessionSequence,
    pub(crate) verdict: Verdict,
    pub(crate) durability: Durability,
    /// How many submissions wait for this record's answer: the first and its retries. [P-63]
    pub(crate) waiters: u32,
    /// Whether it writes a key: accepted, and a put, a delete, or an operator's write.
    pub(crate) is_shown: bool,
    start: u32,
    bytes: u32,
}

/// The header of a whole block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) header: BlockHeader,
    pub(crate) hash: Hash,
    /// The leader's signature over the header, once it is known and checked.
    pub(crate) signature: Option<Signature>,
}

/// One unfinished block.
pub(crate) struct Flight {
    pub(crate) first_sequence: Sequence,
    pub(crate) epoch: Epoch,
    pub(crate) time: Nanos,
    pub(crate) closed: Option<Closed>,
    /// Whether a leader sent it: its verdicts are checked before it is shown.
    pub(crate) is_followed: bool,
    body: Body,
    notes: Vec<Note>,
}

enum Body {
    /// Built by this machine, in memory of the pool.
    Built(Box<BlockBuilder>),
    /// Read from the log at boot, or sent by a leader: the whole encoded block.
    Copied(Vec<u8>),
}

impl Flight {
    fn of(body: Body, records_max: usize) -> Self {
        Self {
            first_sequence: Sequence::NONE,
            epoch: Epoch::NONE,
            time: Nanos::ZERO,
            closed: None,
            is_followed: false,
            body,
            notes: Vec::with_capacity(records_max),
        }
    }

    fn built(capacity: &Capacity) -> Self {
        let builder = BlockBuilder::with_limits(capacity.block_bytes_max, capacity.block_records_max);
        Self::of(Body::Built(Box::new(builder)), capacity.block_records_max)
    }

    fn fill_copy(&mut self, block: &Block<'_>, bytes: &[u8], hash: Hash, is_followed: bool) {
        let Body::Copied(copy) = &mut self.body else { unreachable!("a copy is made in memory for copies") };
        copy.clear();
        copy.extend_from_slice(bytes);
        let header = block.header;
        (self.first_sequence, self.epoch, self.time) = (header.first_sequence, header.epoch, header.time);
        self.closed = Some(Closed { header, hash, signature: None });
        self.is_followed = is_followed;
        let mut start = 0;
        for record in block.records() {
            let note = Note::of(&record, 0, start);
            start += note.bytes;
            self.notes.push(note);
        }
    }

    /// Begins an empty block: its epoch and time are fixed from here on.
    pub(crate) fn open(&mut self, first_sequence: Sequence, epoch: Epoch, time: Nanos) {
        assert!(self.is_empty(), "a block is opened once");
        (self.first_sequence, self.epoch, self.time) = (first_sequence, epoch, time);
    }

    /// Adds a record that fits.
    pub(crate) fn push(&mut self, record: &Record<'_>, waiters: u32) {
        let builder = self.builder();
        let start = builder.records_bytes().len() as u32;
        builder.push(record).expect("room was made before the record was sequenced");
        self.notes.push(Note::of(record, waiters, start));
    }

    pub(crate) fn has_room_for(&self, record_bytes: usize) -> bool {
        matches!(&self.body, Body::Built(builder) if builder.has_room_for(record_bytes))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    pub(crate) fn record_count(&self) -> usize {
        self.notes.len()
    }

    /// The sequence behind the last record.
    pub(crate) fn next_sequence(&self) -> Sequence {
        Sequence(self.first_sequence.0 + self.notes.len() as u64)
    }

    pub(crate) fn seal(&mut self, parts: HeaderParts) -> BlockHeader {
        let header = self.builder().seal(parts);
        self.closed = Some(Closed { header, hash: Hash::ZERO, signature: None });
        header
    }

    /// The whole encoded block, once it has a header.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Built(builder) => builder.bytes(),
            Body::Copied(bytes) => bytes,
        }
    }

    pub(crate) fn note(&self, sequence: Sequence) -> &Note {
        &self.notes[(sequence.0 - self.first_sequence.0) as usize]
    }

    pub(crate) fn note_mut(&mut self, sequence: Sequence) -> &mut Note {
        &mut self.notes[(sequence.0 - self.first_sequence.0) as usize]
    }

    /// The record at `sequence`, read from the block's own bytes.
    pub(crate) fn record(&self, sequence: Sequence) -> Record<'_> {
        let note = self.note(sequence);
        let records = match &self.body {
            Body::Built(builder) => builder.records_bytes(),
            Body::Copied(bytes) => &bytes[HEADER_BYTES..],
        };
        let bytes = &records[note.start as usize..][..note.bytes as usize];
        Record::decode(bytes).expect("we wrote or checked this record ourselves")
    }

    pub(crate) fn holds(&self, sequence: Sequence) -> bool {
        self.first_sequence <= sequence && sequence < self.next_sequence()
    }

    fn builder(&mut self) -> &mut BlockBuilder {
        match &mut self.body {
            Body::Built(builder) => builder,
            Body::Copied(_) => unreachable!("a copied block takes no more records"),
        }
    }
}

impl Note {
    fn of(record: &Record<'_>, waiters: u32, start: u32) -> Self {
        Self {
            session: record.session,
            session_sequence: record.session_sequence,
            verdict: record.verdict,
            durability: record.durability,
            waiters,
            is_shown: record.operation.has_key() && record.verdict.is_accepted()
                || !record.effects.is_empty(),
            start,
            bytes: record.encoded_bytes() as u32,
        }
    }
}

/// All unfinished blocks of a shard, in order; the filling one behind them.
pub(crate) struct Flights {
    flying: VecDeque<Flight>,
    filling: Flight,
    /// More records are at hand for it.
    pub(crate) is_gathering: bool,
    /// Finished and kept for followers that are a little behind, oldest first.
    landed: VecDeque<Flight>,
    landed_max: usize,
    spare: Vec<Flight>,
    spare_copies: Vec<Flight>,
    capacity: Capacity,
}

impl Flights {
    /// Memory for a group of one, or of several.
    pub(crate) fn new(capacity: Capacity, has_peers: bool) -> Self {
        let spare = (1..POOL_BLOCKS).map(|_| Flight::built(&capacity)).collect();
        let copy = || {
            let bytes = Vec::with_capacity(capacity.block_bytes_max);
            Flight::of(Body::Copied(bytes), capacity.block_records_max)
        };
        let copies = if has_peers { POOL_BLOCKS } else { 0 };
        let landed_max = if has_peers { LANDED_KEPT } else { 0 };
        Self {
            flying: VecDeque::with_capacity(2 * POOL_BLOCKS),
            filling: Flight::built(&capacity),
            is_gathering: false,
            landed: VecDeque::with_capacity(2 * POOL_BLOCKS),
            landed_max,
            spare,
            spare_copies: (0..copies).map(|_| copy()).collect(),
            capacity,
        }
    }

    /// Peers have come: finished blocks are kept for them from now on.
    pub(crate) fn keep_landed(&mut self) {
        self.landed_max = LANDED_KEPT;
    }

    /// The block that takes records.
    pub(crate) fn filling(&mut self) -> &mut Flight {
        &mut self.filling
    }

    /// The block that takes records, to look at.
    pub(crate) fn filled(&self) -> &Flight {
        &self.filling
    }

    /// Whether the filling block may be replaced by an empty one.
    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty() || self.landed.iter().any(|flight| matches!(flight.body, Body::Built(_)))
    }

    /// A new epoch begins: blocks that this node built in epochs that committed nothing may fly still, and must not hold up
    /// the one that will commit them. Allocates in an election only.
    pub(crate) fn make_room(&mut self) {
        if !self.has_spare() {
            self.spare.push(Flight::built(&self.capacity));
        }
    }

    /// The filling block has its header: it flies, and an empty one takes its place.
    pub(crate) fn launch(&mut self, hash: Hash) {
        while self.spare.is_empty() {
            let oldest = self.landed.pop_front().expect("a block is sealed only while a spare is left");
            self.recycle(oldest);
        }
        let empty = self.spare.pop().expect("one was just given back");
        let mut full = core::mem::replace(&mut self.filling, empty);
        full.closed.as_mut().expect("a block flies with its header").hash = hash;
        self.flying.push_back(full);
    }

    /// A block of the log, or of a leader, flies until its commit is known.
    pub(crate) fn push_copy(&mut self, block: &Block<'_>, bytes: &[u8], hash: Hash, is_followed: bool) {
        let fresh = || Flight::of(Body::Copied(Vec::with_capacity(bytes.len())), 0);
        let mut flight = self.spare_copies.pop().unwrap_or_else(fresh);
        flight.fill_copy(block, bytes, hash, is_followed);
        self.flying.push_back(flight);
    }

    /// The blocks that are not done, oldest first, without the filling one.
    pub(crate) fn flying(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.flying.iter()
    }

    /// Whether no block is unfinished.
    pub(crate) fn is_empty(&self) -> bool {
        self.flying.is_empty() && self.filling.is_empty()
    }

    /// The flying block that ends at `last`.
    pub(crate) fn ending_at(&self, last: Sequence) -> Option<&Flight> {
        self.flying.iter().rev().find(|flight| flight.next_sequence() == last.next())
    }

    /// The newest flying block when it lies behind `last` entirely: taken out, because its history is given up.
    pub(crate) fn pop_behind(&mut self, last: Sequence) -> Option<Flight> {
        if !self.filling.is_empty() && self.filling.first_sequence > last {
            let empty = self.spare.pop().unwrap_or_else(|| Flight::built(&self.capacity));
            return Some(core::mem::replace(&mut self.filling, empty));
        }
        self.flying.pop_back_if(|flight| flight.first_sequence > last)
    }

    /// Gives a block's memory back to the pool it came from.
    pub(crate) fn recycle(&mut self, mut flight: Flight) {
        (flight.closed, flight.is_followed) = (None, false);
        flight.notes.clear();
        match &mut flight.body {
            Body::Built(builder) => {
                builder.clear();
                self.spare.push(flight);
            }
            Body::Copied(_) if self.spare_copies.len() < POOL_BLOCKS && self.landed_max > 0 => {
                self.spare_copies.push(flight);
            }
            Body::Copied(_) => {}
        }
    }

    /// The oldest flying block when `next` is behind its last record: it is done. What is kept of it is its bytes.
    pub(crate) fn land_before(&mut self, next: Sequence) -> Option<Closed> {
        let oldest = self.flying.pop_front_if(|flight| flight.next_sequence() <= next)?;
        let closed = oldest.closed;
        self.landed.push_back(oldest);
        if self.landed.len() > self.landed_max {
            let given_back = self.landed.pop_front().expect("one was just pushed");
            self.recycle(given_back);
        }
        closed
    }

    /// The unfinished block that holds `sequence`.
    pub(crate) fn holding(&self, sequence: Sequence) -> Option<&Flight> {
        if self.filling.holds(sequence) {
            return Some(&self.filling);
        }
        self.flying.iter().find(|flight| flight.holds(sequence))
    }

    /// The unfinished block that holds `sequence`, to change.
    pub(crate) fn holding_mut(&mut self, sequence: Sequence) -> Option<&mut Flight> {
        if self.filling.holds(sequence) {
            return Some(&mut self.filling);
        }
        self.flying.iter_mut().find(|flight| flight.holds(sequence))
    }

    /// The whole block that holds `sequence`, unfinished or finished and kept.
    pub(crate) fn whole_holding(&self, sequence: Sequence) -> Option<&Flight> {
        let found = self.flying.iter().find(|flight| flight.holds(sequence));
        found.or_else(|| self.landed.iter().find(|flight| flight.holds(sequence)))
    }

    /// The whole block with this header, to note its signature.
    pub(crate) fn whole_mut(&mut self, hash: Hash) -> Option<&mut Closed> {
        let all = self.flying.iter_mut().rev().chain(self.landed.iter_mut().rev());
        all.filter_map(|flight| flight.closed.as_mut()).find(|closed| closed.hash == hash)
    }
}
