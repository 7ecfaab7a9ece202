//! A disk in memory that can remember every write and flush, and can lose power after any of them.
//!
//! Invariant: everything it does follows from its seed and from what is asked of it; time and threads play no part.
//! What a power cut leaves is what real disks promise, and nothing more: writes that were flushed are whole, of all others
//! any 512 bytes may be there or not, in any order.

mod image;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

pub use image::{Aside, Event, FileName, Fragment, Image};

use crate::config::Strategy;
use crate::disk::{Disk, DiskError, Operation, SegmentFile};
use crate::format::{SegmentHeader, SegmentNumber};
use crate::limits::{BUFFERS, SECTOR_BYTES, TEAR_BYTES};

/// How a simulated disk behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything left to chance follows from it.
    pub seed: u64,
    /// Bytes of each buffer; the same as the log's configuration says.
    pub buffer_bytes: usize,
    /// A write or preparation takes up to this many polls.
    pub polls_max: u64,
    /// Bytes for all segments together.
    pub space_bytes: u64,
    /// The operation of this number fails, counted from 0; all later ones succeed.
    pub fail_at: Option<u64>,
    /// Whether everything that happens is remembered, for [`SimDisk::history`]. A simulator that only cuts the power
    /// ([`SimDisk::power_cut`]) does without, and is faster.
    pub history: bool,
}

impl Options {
    /// A fast disk with endless space and no faults, that remembers everything.
    pub fn new(seed: u64, buffer_bytes: usize) -> Self {
        Self { seed, buffer_bytes, polls_max: 0, space_bytes: u64::MAX, fail_at: None, history: true }
    }
}

/// A handle to one simulated disk; clones share it, so that a test can look at the medium after the log is gone.
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    buffers: [Vec<u8>; BUFFERS],
    buffer_bytes: usize,
}

impl Clone for SimDisk {
    /// Another handle; its buffers are its own, and made when they are used.
    fn clone(&self) -> Self {
        Self { world: Arc::clone(&self.world), buffers: Default::default(), buffer_bytes: self.buffer_bytes }
    }
}

struct World {
    options: Options,
    random: Random,
    start: Image,
    live: Image,
    history: Vec<Event>,
    /// Writes that no flush has covered.
    unsure: Vec<Unsure>,
    /// Memory of earlier ones.
    spare: Vec<Unsure>,
    operations: u64,
    active: SegmentNumber,
    in_flight: Option<u64>,
    is_held: bool,
    fails_flush: bool,
    preparing: VecDeque<(u64, SegmentHeader)>,
    buffer_in_flight: Option<usize>,
}

/// A write that a power cut may lose.
struct Unsure {
    file: FileName,
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
    /// Its flush failed: no later one makes it sure.
    is_doomed: bool,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(options: Options) -> Self {
        Self::from_image(Image::default(), options)
    }

    /// A disk on which this stands, durably.
    pub fn from_image(image: Image, options: Options) -> Self {
        let buffer_bytes = options.buffer_bytes;
        let world = World {
            random: Random(options.seed),
            start: if options.history { image.clone() } else { Image::default() },
            live: image,
            history: Vec::new(),
            unsure: Vec::new(),
            spare: Vec::new(),
            operations: 0,
            active: SegmentNumber(0),
            in_flight: None,
            is_held: false,
            fails_flush: false,
            preparing: VecDeque::new(),
            buffer_in_flight: None,
            options,
        };
        Self { world: Arc::new(Mutex::new(world)), buffers: Default::default(), buffer_bytes }
    }

    /// What stood on it at the start, if it remembers.
    pub fn start(&self) -> Image {
        self.world().start.clone()
    }

    /// What an orderly shutdown leaves, or the death of a process: every write, flushed or not.
    pub fn image(&self) -> Image {
        self.world().live.clone()
    }

    /// Everything that happened, in order, if it remembers.
    pub fn history(&self) -> Vec<Event> {
        self.world().history.clone()
    }

    /// Events so far, if it remembers.
    pub fn events(&self) -> usize {
        self.world().history.len()
    }

    /// Operations so far that could have failed.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Changes the space for all segments together.
    pub fn set_space_bytes(&self, bytes: u64) {
        self.world().options.space_bytes = bytes;
    }

    /// The operation of this number, see [`SimDisk::operations`], will fail.
    pub fn set_fail_at(&self, operation: Option<u64>) {
        self.world().options.fail_at = operation;
    }

    /// Whether the next flush, and no other operation, fails.
    pub fn set_fail_flush(&self, fails: bool) {
        self.world().fails_flush = fails;
    }

    /// While it is held, no write that is submitted becomes durable: a flush takes as long as the caller says.
    pub fn hold(&self, is_held: bool) {
        self.world().is_held = is_held;
    }

    /// Whether a write is on its way.
    pub fn is_writing(&self) -> bool {
        self.world().in_flight.is_some()
    }

    /// Cuts the power now: takes everything off this disk, which is of no use any more, and says what is left. `keep` is
    /// asked for each 512 bytes that were not flushed whether they reached the medium.
    pub fn power_cut(&self, mut keep: impl FnMut(Fragment) -> bool) -> Image {
        let mut world = self.world();
        let mut image = std::mem::take(&mut world.live);
        let unsure = std::mem::take(&mut world.unsure);
        for write in unsure.iter().rev() {
            image.write(write.file, write.offset, &write.before);
        }
        for (event, write) in unsure.iter().enumerate() {
            for (number, piece) in write.after.chunks(TEAR_BYTES).enumerate() {
                let offset = write.offset + (number * TEAR_BYTES) as u64;
                if keep(Fragment { event, file: write.file, offset }) {
                    image.write(write.file, offset, piece);
                }
            }
        }
        image
    }

    /// Puts other bytes in the place of what stands on it: damage, or an earlier state. The log that has it open keeps
    /// what it knows.
    pub fn set_image(&self, image: Image) {
        let mut world = self.world();
        world.live = image;
        world.unsure.clear();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("a simulated disk never panics while it is held")
    }

    fn filled(&mut self, buffer: usize) -> &mut Vec<u8> {
        let buffer = &mut self.buffers[buffer];
        if buffer.is_empty() {
            *buffer = vec![0; self.buffer_bytes];
        }
        buffer
    }
}

impl World {
    /// Counts one operation, or fails it.
    fn attempt(
        &mut self,
        operation: Operation,
        segment: impl Into<Option<SegmentNumber>>,
    ) -> Result<(), DiskError> {
        let number = self.operations;
        self.operations += 1;
        if self.options.fail_at == Some(number) {
            return Err(DiskError::new(operation, segment, io::Error::other("injected fault")));
        }
        Ok(())
    }

    fn check_readable(&self, segment: SegmentNumber, offset: u64, bytes: usize) -> Result<(), DiskError> {
        if self.live.is_readable(segment, offset, bytes) {
            return Ok(());
        }
        Err(DiskError::new(Operation::Read, segment, io::Error::other("unreadable sector")))
    }

    fn write(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let failed = self.attempt(Operation::Write, segment_of(file));
        // A write that fails may still have reached the medium, in part: the power cut decides.
        let place = &self.live.file_mut(file)[offset as usize..offset as usize + bytes.len()];
        let mut unsure = self.spare.pop().unwrap_or(Unsure {
            file,
            offset,
            before: Vec::new(),
            after: Vec::new(),
            is_doomed: false,
        });
        (unsure.file, unsure.offset, unsure.is_doomed) = (file, offset, failed.is_err());
        unsure.before.extend_from_slice(place);
        unsure.after.extend_from_slice(bytes);
        self.unsure.push(unsure);
        self.live.write(file, offset, bytes);
        if self.options.history {
            self.history.push(Event::Written { file, offset, bytes: bytes.to_vec() });
        }
        if failed.is_err() {
            self.remember(Event::FlushFailed { file });
        }
        failed
    }

    fn flush(&mut self, file: FileName) -> Result<(), DiskError> {
        let failed = if std::mem::take(&mut self.fails_flush) {
            Err(DiskError::new(Operation::Flush, segment_of(file), io::Error::other("injected fault")))
        } else {
            self.attempt(Operation::Flush, segment_of(file))
        };
        let mut at = 0;
        while at < self.unsure.len() {
            let write = &mut self.unsure[at];
            if write.file != file || write.is_doomed {
                at += 1;
            } else if failed.is_err() {
                write.is_doomed = true;
            } else {
                let mut sure = self.unsure.remove(at);
                sure.before.clear();
                sure.after.clear();
                self.spare.push(sure);
            }
        }
        self.remember(if failed.is_err() { Event::FlushFailed { file } } else { Event::Flushed { file } });
        failed
    }

    /// What happens at once and durably.
    fn happen(
        &mut self,
        operation: Operation,
        segment: impl Into<Option<SegmentNumber>>,
        event: Event,
    ) -> Result<(), DiskError> {
        self.attempt(operation, segment)?;
        if matches!(event, Event::ReplacementRemoved | Event::ReplacementCommitted) {
            self.unsure.retain(|write| write.file != FileName::Replacement);
        }
        self.live.apply(&event);
        self.remember(event);
        Ok(())
    }

    fn remember(&mut self, event: Event) {
        if self.options.history {
            self.history.push(event);
        }
    }

    fn some_polls(&mut self) -> u64 {
        match self.options.polls_max {
            0 => 0,
            max => self.random.next() % (max + 1),
        }
    }

    fn used_bytes(&self) -> u64 {
        self.live.segments.values().map(|bytes| bytes.len() as u64).sum()
    }

    fn has_room(&self, segment: SegmentNumber, bytes: u64) -> Result<(), DiskError> {
        if self.used_bytes().saturating_add(bytes) > self.options.space_bytes {
            return Err(DiskError::new(Operation::Prepare, segment, io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn unfinished_aside(&self) -> Option<(u32, SegmentNumber)> {
        let unfinished = self.live.aside.iter().find(|(_, aside)| !aside.is_finished);
        unfinished.map(|(number, aside)| (*number, aside.first))
    }

    fn replacement(&self) -> SegmentNumber {
        self.live.replacement.as_ref().expect("a replacement was made before").0
    }
}

fn segment_of(file: FileName) -> Option<SegmentNumber> {
    match file {
        FileName::Segment(segment) => Some(segment),
        FileName::Replacement => None,
    }
}

impl Disk for SimDisk {
    fn segments(&mut self) -> Result<Vec<SegmentFile>, DiskError> {
        repair_leftovers(self)?;
        let world = self.world();
        let list = world.live.segments.iter();
        Ok(list.map(|(number, bytes)| SegmentFile { number: *number, bytes: bytes.len() as u64 }).collect())
    }

    fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        assert_ne!(self.world().buffer_in_flight, Some(buffer), "this buffer is being written");
        self.filled(buffer)
    }

    fn read(
        &mut self,
        segment: SegmentNumber,
        offset: u64,
        buffer: usize,
        bytes: usize,
    ) -> Result<(), DiskError> {
        self.filled(buffer);
        let mut world = self.world.lock().expect("a simulated disk never panics while it is held");
        world.attempt(Operation::Read, segment)?;
        world.check_readable(segment, offset, bytes)?;
        let file = &world.live.segments[&segment];
        self.buffers[buffer][..bytes].copy_from_slice(&file[offset as usize..offset as usize + bytes]);
        Ok(())
    }

    fn read_aside(&mut self, segment: SegmentNumber, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let mut world = self.world();
        world.attempt(Operation::Read, segment)?;
        world.check_readable(segment, offset, into.len())?;
        let missing = || DiskError::new(Operation::Read, segment, io::ErrorKind::NotFound);
        let file = world.live.segments.get(&segment).ok_or_else(missing)?;
        let short = || DiskError::new(Operation::Read, segment, io::ErrorKind::UnexpectedEof);
        into.copy_from_slice(file.get(offset as usize..offset as usize + into.len()).ok_or_else(short)?);
        Ok(())
    }

    fn zero(&mut self, segment: SegmentNumber, offset: u64, bytes: u64) -> Result<(), DiskError> {
        self.world().write(FileName::Segment(segment), offset, &vec![0; bytes as usize])
    }

    fn flush(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.world().flush(FileName::Segment(segment))
    }

    fn remove(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.world().happen(Operation::Write, segment, Event::Removed { segment })
    }

    fn activate(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        let mut world = self.world();
        world.attempt(Operation::Open, segment)?;
        world.active = segment;
        Ok(())
    }

    fn prepare(&mut self, header: SegmentHeader) {
        let mut world = self.world();
        let polls = world.some_polls();
        world.preparing.push_back((polls, header));
    }

    fn poll_prepared(&mut self) -> Option<Result<SegmentNumber, DiskError>> {
        let mut world = self.world();
        let (polls, header) = world.preparing.front_mut()?;
        if *polls > 0 {
            *polls -= 1;
            return None;
        }
        let (segment, bytes, header) = (header.number, header.bytes, header.encode());
        let made = world.has_room(segment, bytes);
        let event = Event::Created { segment, header, bytes };
        let made = made.and_then(|()| world.happen(Operation::Prepare, segment, event));
        if made.is_ok() {
            world.preparing.pop_front();
        }
        Some(made.map(|()| segment))
    }

    fn wait_for_preparation(&mut self) {}

    fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), DiskError> {
        self.filled(buffer);
        let mut world = self.world.lock().expect("a simulated disk never panics while it is held");
        assert!(world.in_flight.is_none(), "one durable write at a time");
        assert!((offset as usize + bytes).is_multiple_of(SECTOR_BYTES) && bytes.is_multiple_of(SECTOR_BYTES));
        let active = FileName::Segment(world.active);
        world.write(active, offset, &self.buffers[buffer][..bytes])?;
        let polls = world.some_polls();
        world.in_flight = Some(polls);
        world.buffer_in_flight = Some(buffer);
        Ok(())
    }

    fn poll(&mut self) -> Result<bool, DiskError> {
        let mut world = self.world();
        let is_held = world.is_held;
        let Some(polls) = &mut world.in_flight else { return Ok(false) };
        if is_held || *polls > 0 {
            *polls = polls.saturating_sub(1);
            return Ok(false);
        }
        world.in_flight = None;
        world.buffer_in_flight = None;
        let active = FileName::Segment(world.active);
        world.flush(active).map(|()| true)
    }

    fn create_replacement(&mut self, segment: SegmentNumber, bytes: u64) -> Result<(), DiskError> {
        let mut world = self.world();
        world.has_room(segment, bytes)?;
        world.happen(Operation::Prepare, segment, Event::ReplacementCreated { segment, bytes })
    }

    fn write_replacement(&mut self, offset: u64, buffer: usize, bytes: usize) -> Result<(), DiskError> {
        self.filled(buffer);
        let mut world = self.world.lock().expect("a simulated disk never panics while it is held");
        world.write(FileName::Replacement, offset, &self.buffers[buffer][..bytes])
    }

    fn flush_replacement(&mut self) -> Result<(), DiskError> {
        self.world().flush(FileName::Replacement)
    }

    fn next_aside(&mut self) -> Result<u32, DiskError> {
        Ok(self.world().live.aside.last_key_value().map_or(1, |(number, _)| number + 1))
    }

    fn begin_aside(&mut self, first: SegmentNumber) -> Result<u32, DiskError> {
        let number = self.next_aside()?;
        let mut world = self.world();
        world.happen(Operation::Write, None, Event::AsideBegun { number, first })?;
        Ok(number)
    }

    fn link_aside(&mut self, number: u32, segment: SegmentNumber) -> Result<(), DiskError> {
        self.world().happen(Operation::Write, segment, Event::AsideLinked { number, segment })
    }

    fn commit_replacement(&mut self) -> Result<(), DiskError> {
        let mut world = self.world();
        let segment = world.replacement();
        world.happen(Operation::Write, segment, Event::ReplacementCommitted)
    }

    fn finish_aside(&mut self, number: u32) -> Result<(), DiskError> {
        let mut world = self.world();
        let first = world.live.aside[&number].first;
        while let Some((&last, _)) = world.live.segments.range(first.next()..).next_back() {
            world.happen(Operation::Write, last, Event::Removed { segment: last })?;
        }
        world.happen(Operation::Write, None, Event::AsideFinished { number })
    }

    fn free_bytes(&mut self) -> Result<u64, DiskError> {
        let world = self.world();
        Ok(world.options.space_bytes.saturating_sub(world.used_bytes()))
    }

    fn nonce(&mut self) -> u64 {
        self.world().random.next()
    }

    fn strategy(&self) -> (Strategy, &str) {
        (Strategy::Simulated, "simulated")
    }
}

/// As a directory does it: a repair that was not committed is undone, one that was is finished.
fn repair_leftovers(disk: &mut SimDisk) -> Result<(), DiskError> {
    let (unfinished, has_replacement) = {
        let world = disk.world();
        (world.unfinished_aside(), world.live.replacement.is_some())
    };
    match unfinished {
        Some((number, _)) if has_replacement => {
            disk.world().happen(Operation::Write, None, Event::AsideRemoved { number })?;
        }
        Some((number, _)) => disk.finish_aside(number)?,
        None => {}
    }
    if has_replacement {
        disk.world().happen(Operation::Write, None, Event::ReplacementRemoved)?;
    }
    Ok(())
}

/// A small generator whose numbers follow from its seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it has no end, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
