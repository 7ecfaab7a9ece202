//! The blocks that are not done yet: one filling, some in flight, some recovered and not yet committed.
//!
//! Invariant: a block's memory is given back only after its last committed record was shown and answered; the pool is
//! allocated at boot and never grows. Every record of an unfinished block has exactly one note.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use io_oi_record::limits::{BLOCK_RECORDS_MAX, BLOCKS_IN_FLIGHT_MAX};
use io_oi_record::{
    Block, BlockBuilder, BlockHeader, Durability, Epoch, HeaderParts, Nanos, Record, Sequence, SessionId,
    SessionSequence, Verdict,
};

/// One filling, the pipeline, and one whose committed records are being shown while the next is filled.
const POOL_BLOCKS: usize = BLOCKS_IN_FLIGHT_MAX + 2;

/// What has to be remembered about one record until it is committed and answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) session: SessionId,
    pub(crate) session_sequence: SessionSequence,
    pub(crate) verdict: Verdict,
    pub(crate) durability: Durability,
    /// How many submissions wait for this record's answer: the first and its retries. [P-63]
    pub(crate) waiters: u32,
    /// Whether it writes a key: accepted, and a put or a delete.
    pub(crate) is_shown: bool,
    start: u32,
    bytes: u32,
}

/// One unfinished block.
pub(crate) struct Flight {
    pub(crate) first_sequence: Sequence,
    pub(crate) epoch: Epoch,
    pub(crate) time: Nanos,
    body: Body,
    notes: Vec<Note>,
}

enum Body {
    /// Built by this machine, in memory of the pool.
    Pooled(Box<BlockBuilder>),
    /// Read from the log at boot.
    Recovered(Vec<u8>),
}

impl Flight {
    fn pooled() -> Self {
        Self {
            first_sequence: Sequence::NONE,
            epoch: Epoch::NONE,
            time: Nanos::ZERO,
            body: Body::Pooled(Box::new(BlockBuilder::new())),
            notes: Vec::with_capacity(BLOCK_RECORDS_MAX),
        }
    }

    /// A block of the log; nobody waits for its answers in this boot.
    pub(crate) fn recovered(block: &Block<'_>) -> Self {
        let mut start = 0;
        let notes = block.records().map(|record| {
            let note = Note::of(&record, 0, start);
            start += note.bytes;
            note
        });
        Self {
            first_sequence: block.header.first_sequence,
            epoch: block.header.epoch,
            time: block.header.time,
            notes: notes.collect(),
            body: Body::Recovered(block.records_bytes().to_vec()),
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
        matches!(&self.body, Body::Pooled(builder) if builder.has_room_for(record_bytes))
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
        self.builder().seal(parts)
    }

    /// The whole encoded block, once sealed.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Pooled(builder) => builder.bytes(),
            Body::Recovered(_) => unreachable!("a recovered block is never appended again"),
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
            Body::Pooled(builder) => builder.records_bytes(),
            Body::Recovered(records) => records,
        };
        let bytes = &records[note.start as usize..][..note.bytes as usize];
        Record::decode(bytes).expect("we wrote or checked this record ourselves")
    }

    fn holds(&self, sequence: Sequence) -> bool {
        self.first_sequence <= sequence && sequence < self.next_sequence()
    }

    fn builder(&mut self) -> &mut BlockBuilder {
        match &mut self.body {
            Body::Pooled(builder) => builder,
            Body::Recovered(_) => unreachable!("a recovered block takes no more records"),
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
            is_shown: record.operation.has_key() && record.verdict.is_accepted(),
            start,
            bytes: record.encoded_bytes() as u32,
        }
    }
}

/// All unfinished blocks of a shard, in order; the filling one behind them.
pub(crate) struct Flights {
    flying: VecDeque<Flight>,
    filling: Flight,
    spare: Vec<Flight>,
}

impl Flights {
    pub(crate) fn new() -> Self {
        let spare = (1..POOL_BLOCKS).map(|_| Flight::pooled()).collect();
        Self { flying: VecDeque::with_capacity(2 * POOL_BLOCKS), filling: Flight::pooled(), spare }
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
        !self.spare.is_empty()
    }

    /// The filling block is sealed: it flies, and an empty one takes its place.
    pub(crate) fn launch(&mut self) {
        let empty = self.spare.pop().expect("a block is sealed only while a spare is left");
        self.flying.push_back(core::mem::replace(&mut self.filling, empty));
    }

    /// A block of the log flies until its commit is known.
    pub(crate) fn push_recovered(&mut self, flight: Flight) {
        self.flying.push_back(flight);
    }

    /// Whether no block is unfinished.
    pub(crate) fn is_empty(&self) -> bool {
        self.flying.is_empty() && self.filling.is_empty()
    }

    /// The newest flying block.
    pub(crate) fn newest(&self) -> &Flight {
        self.flying.back().expect("a block was launched just now")
    }

    /// The oldest flying block is done when `next` is behind its last record: gives its memory back.
    pub(crate) fn land_before(&mut self, next: Sequence) {
        while self.flying.front().is_some_and(|flight| flight.next_sequence() <= next) {
            let Some(mut flight) = self.flying.pop_front() else { return };
            if let Body::Pooled(builder) = &mut flight.body {
                builder.clear();
                flight.notes.clear();
                self.spare.push(flight);
            }
        }
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
}
