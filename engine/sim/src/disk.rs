//! The disk of one node: it loses, tears, fails, fills up, and rots.
//!
//! Invariant: what a flush has covered stays, until rot or a rolled-back backup is asked for by name; of what no flush has
//! covered, a power cut keeps any 512 bytes or none, in any order.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use io_oi_wal::{
    BUFFERS, Disk, DiskError, Operation, SECTOR_BYTES, SegmentFile, SegmentHeader, SegmentNumber, Strategy,
    TEAR_BYTES,
};

use crate::random::Random;

/// What stands on a disk for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    segments: BTreeMap<SegmentNumber, Vec<u8>>,
}

#[derive(Debug)]
struct Unflushed {
    segment: SegmentNumber,
    offset: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct State {
    durable: Image,
    unflushed: Vec<Unflushed>,
    random: Random,
    space_bytes: u64,
    fails_next_flush: bool,
    active: SegmentNumber,
    buffer_in_flight: Option<usize>,
    preparing: VecDeque<SegmentHeader>,
    /// A segment that a repair makes, until it takes its place.
    replacement: Option<(SegmentNumber, Vec<u8>)>,
    /// The segment behind which a repair is not through with clearing.
    clearing: Option<SegmentNumber>,
    repairs: u32,
}

/// A handle to one disk. The log has one, the world another.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk {
    state: Rc<RefCell<State>>,
    memory: Vec<Vec<u8>>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub(crate) fn new(random: Random) -> Self {
        let state = State {
            durable: Image::default(),
            unflushed: Vec::new(),
            random,
            space_bytes: u64::MAX,
            fails_next_flush: false,
            active: SegmentNumber(0),
            buffer_in_flight: None,
            preparing: VecDeque::new(),
            replacement: None,
            clearing: None,
            repairs: 0,
        };
        Self { state: Rc::new(RefCell::new(state)), memory: Vec::new() }
    }

    /// The same disk for a log with buffers of this size.
    pub(crate) fn attached(&self, buffer_bytes: usize) -> Self {
        let memory = vec![vec![0; buffer_bytes]; BUFFERS];
        Self { state: Rc::clone(&self.state), memory }
    }

    /// The process died, the machine goes on: everything written stays.
    pub(crate) fn process_died(&self) {
        let mut state = self.state.borrow_mut();
        let unflushed = std::mem::take(&mut state.unflushed);
        unflushed.iter().for_each(|write| state.durable.write(write.segment, write.offset, &write.bytes));
        state.reset();
    }

    /// The power fails: of what was not flushed, any 512 bytes stay or go. Says whether anything was lost.
    pub(crate) fn power_cut(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let unflushed = std::mem::take(&mut state.unflushed);
        let manner = state.random.below(4);
        let mut lost = false;
        for write in unflushed {
            for (number, piece) in write.bytes.chunks(TEAR_BYTES).enumerate() {
                let stays = match manner {
                    0 => false,
                    1 => number % 2 == 0,
                    _ => state.random.chance(500),
                };
                lost |= !stays;
                if stays {
                    state.durable.write(write.segment, write.offset + (number * TEAR_BYTES) as u64, piece);
                }
            }
        }
        state.reset();
        lost
    }

    /// Bytes for all segments together.
    pub(crate) fn set_space(&self, bytes: u64) {
        self.state.borrow_mut().space_bytes = bytes;
    }

    /// Leaves room for nothing new.
    pub(crate) fn fill(&self) {
        let mut state = self.state.borrow_mut();
        state.space_bytes = state.durable.bytes();
    }

    /// The next flush fails.
    pub(crate) fn fail_next_flush(&self) {
        self.state.borrow_mut().fails_next_flush = true;
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mend(&self) {
        self.state.borrow_mut().fails_next_flush = false;
    }

    /// What is durable now.
    pub(crate) fn image(&self) -> Image {
        self.state.borrow().durable.clone()
    }

    /// Puts an old image in place.
    pub(crate) fn restore(&self, image: Image) {
        let mut state = self.state.borrow_mut();
        state.durable = image;
        state.reset();
    }

    /// Flips a bit in a sector of the log that holds something, not in the last ones. Says whether there was one.
    #[expect(dead_code, reason = "rot waits for logs that can be repaired")]
    pub(crate) fn rot(&self, random: &mut Random) -> bool {
        let mut state = self.state.borrow_mut();
        let mut sectors = Vec::new();
        for (number, bytes) in &state.durable.segments {
            let is_used = |sector: &&[u8]| sector.iter().any(|byte| *byte != 0);
            let used = bytes.chunks(SECTOR_BYTES).skip(1).take_while(is_used).count();
            sectors.extend((1..=used).map(|sector| (*number, sector * SECTOR_BYTES)));
        }
        let spared = sectors.len().min(4);
        sectors.truncate(sectors.len() - spared);
        if sectors.is_empty() {
            return false;
        }
        let (number, at) = *random.pick(&sectors);
        let byte = at + random.index(128);
        let bytes = state.durable.segments.get_mut(&number).expect("the segment was just listed");
        bytes[byte] ^= 1 << random.below(8);
        true
    }
}

impl State {
    fn reset(&mut self) {
        self.unflushed.clear();
        self.preparing.clear();
        self.buffer_in_flight = None;
        self.fails_next_flush = false;
    }
}

impl State {
    fn clear(&mut self) {
        if let Some(first) = self.clearing.take() {
            self.durable.segments.retain(|number, _| *number <= first);
        }
    }
}

impl Image {
    fn write(&mut self, segment: SegmentNumber, offset: u64, bytes: &[u8]) {
        // A segment that was removed takes no late bytes.
        if let Some(file) = self.segments.get_mut(&segment) {
            file[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(|file| file.len() as u64).sum()
    }
}

impl Disk for SimulatedDisk {
    fn segments(&mut self) -> Result<Vec<SegmentFile>, DiskError> {
        let mut state = self.state.borrow_mut();
        // A repair that a crash broke off is undone, or finished.
        if state.replacement.take().is_some() {
            state.clearing = None;
        }
        state.clear();
        let file = |(number, bytes): (&SegmentNumber, &Vec<u8>)| SegmentFile {
            number: *number,
            bytes: bytes.len() as u64,
        };
        Ok(state.durable.segments.iter().map(file).collect())
    }

    fn buffer_bytes(&self) -> usize {
        self.memory[0].len()
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        assert_ne!(self.state.borrow().buffer_in_flight, Some(buffer), "this buffer is being written");
        &mut self.memory[buffer]
    }

    fn read(
        &mut self,
        segment: SegmentNumber,
        offset: u64,
        buffer: usize,
        bytes: usize,
    ) -> Result<(), DiskError> {
        let state = self.state.borrow();
        let (start, end) = (offset as usize, offset as usize + bytes);
        self.memory[buffer][..bytes].copy_from_slice(&state.durable.segments[&segment][start..end]);
        for write in state.unflushed.iter().filter(|write| write.segment == segment) {
            let (from, to) = (write.offset as usize, write.offset as usize + write.bytes.len());
            let (low, high) = (from.max(start), to.min(end));
            if low < high {
                let piece = &write.bytes[low - from..high - from];
                self.memory[buffer][low - start..high - start].copy_from_slice(piece);
            }
        }
        Ok(())
    }

    fn read_aside(&mut self, segment: SegmentNumber, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let state = self.state.borrow();
        let Some(file) = state.durable.segments.get(&segment) else {
            return Err(DiskError::new(Operation::Read, segment, io::ErrorKind::NotFound));
        };
        into.copy_from_slice(&file[offset as usize..offset as usize + into.len()]);
        Ok(())
    }

    fn zero(&mut self, segment: SegmentNumber, offset: u64, bytes: u64) -> Result<(), DiskError> {
        let bytes = vec![0; bytes as usize];
        self.state.borrow_mut().unflushed.push(Unflushed { segment, offset, bytes });
        Ok(())
    }

    fn flush(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        let mut state = self.state.borrow_mut();
        if std::mem::take(&mut state.fails_next_flush) {
            return Err(DiskError::new(Operation::Flush, segment, io::Error::other("the disk says no")));
        }
        let writes = std::mem::take(&mut state.unflushed);
        for write in writes {
            if write.segment == segment {
                state.durable.write(segment, write.offset, &write.bytes);
            } else {
                state.unflushed.push(write);
            }
        }
        Ok(())
    }

    fn remove(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.state.borrow_mut().durable.segments.remove(&segment);
        Ok(())
    }

    fn activate(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.state.borrow_mut().active = segment;
        Ok(())
    }

    fn prepare(&mut self, header: SegmentHeader) {
        self.state.borrow_mut().preparing.push_back(header);
    }

    fn poll_prepared(&mut self) -> Option<Result<SegmentNumber, DiskError>> {
        let mut state = self.state.borrow_mut();
        let header = *state.preparing.front()?;
        if state.durable.bytes().saturating_add(header.bytes) > state.space_bytes {
            let full = DiskError::new(Operation::Prepare, header.number, io::ErrorKind::StorageFull);
            return Some(Err(full));
        }
        state.preparing.pop_front();
        let mut file = vec![0; header.bytes as usize];
        file[..SECTOR_BYTES].copy_from_slice(&header.encode()[..]);
        state.durable.segments.insert(header.number, file);
        Some(Ok(header.number))
    }

    fn create_replacement(&mut self, segment: SegmentNumber, bytes: u64) -> Result<(), DiskError> {
        let mut state = self.state.borrow_mut();
        if state.durable.bytes().saturating_add(bytes) > state.space_bytes {
            return Err(DiskError::new(Operation::Prepare, segment, io::ErrorKind::StorageFull));
        }
        state.replacement = Some((segment, vec![0; bytes as usize]));
        Ok(())
    }

    fn write_replacement(&mut self, offset: u64, buffer: usize, bytes: usize) -> Result<(), DiskError> {
        let mut state = self.state.borrow_mut();
        let (_, file) = state.replacement.as_mut().expect("a replacement was made before");
        file[offset as usize..offset as usize + bytes].copy_from_slice(&self.memory[buffer][..bytes]);
        Ok(())
    }

    fn flush_replacement(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn next_aside(&mut self) -> Result<u32, DiskError> {
        Ok(self.state.borrow().repairs + 1)
    }

    fn begin_aside(&mut self, first: SegmentNumber) -> Result<u32, DiskError> {
        let mut state = self.state.borrow_mut();
        state.clearing = Some(first);
        state.repairs += 1;
        Ok(state.repairs)
    }

    /// What is set aside is never read again here.
    fn link_aside(&mut self, _number: u32, _segment: SegmentNumber) -> Result<(), DiskError> {
        Ok(())
    }

    fn commit_replacement(&mut self) -> Result<(), DiskError> {
        let mut state = self.state.borrow_mut();
        let (segment, file) = state.replacement.take().expect("a replacement was made before");
        state.durable.segments.insert(segment, file);
        Ok(())
    }

    fn finish_aside(&mut self, _number: u32) -> Result<(), DiskError> {
        self.state.borrow_mut().clear();
        Ok(())
    }

    fn wait_for_preparation(&mut self) {}

    fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), DiskError> {
        let mut state = self.state.borrow_mut();
        assert!(state.buffer_in_flight.is_none(), "one durable write at a time");
        state.buffer_in_flight = Some(buffer);
        let (segment, bytes) = (state.active, self.memory[buffer][..bytes].to_vec());
        state.unflushed.push(Unflushed { segment, offset, bytes });
        Ok(())
    }

    /// The world asks when the time of the flush has come.
    fn poll(&mut self) -> Result<bool, DiskError> {
        let (segment, in_flight) = {
            let state = self.state.borrow();
            (state.active, state.buffer_in_flight)
        };
        if in_flight.is_none() {
            return Ok(false);
        }
        self.flush(segment)?;
        self.state.borrow_mut().buffer_in_flight = None;
        Ok(true)
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        let state = self.state.borrow();
        Ok(state.space_bytes.saturating_sub(state.durable.bytes()))
    }

    fn nonce(&mut self) -> u64 {
        self.state.borrow_mut().random.next()
    }

    fn strategy(&self) -> (Strategy, &str) {
        (Strategy::Simulated, "simulated")
    }
}
