//! A disk in memory that remembers every write and flush, and can lose power after any of them.
//!
//! Invariant: everything it does follows from its seed and from what is asked of it; time and threads play no part.
//! What a power cut leaves is what real disks promise, and nothing more: writes that were flushed are whole, of all others
//! any 512 bytes may be there or not, in any order.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

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
}

impl Options {
    /// A fast disk with endless space and no faults.
    pub fn new(seed: u64, buffer_bytes: usize) -> Self {
        Self { seed, buffer_bytes, polls_max: 0, space_bytes: u64::MAX, fail_at: None }
    }
}

/// Something that happened to the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A prepared segment got its name, durably.
    Created {
        /// Its number.
        segment: SegmentNumber,
        /// Its first sector.
        header: Box<[u8; SECTOR_BYTES]>,
        /// Bytes of the whole file.
        bytes: u64,
    },
    /// Bytes were handed over, not yet durable.
    Written {
        /// The segment.
        segment: SegmentNumber,
        /// Offset of the first byte.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Everything written to the segment before is durable.
    Flushed {
        /// The segment.
        segment: SegmentNumber,
    },
    /// A flush failed: what it should have covered is never sure again, whatever a later flush says.
    FlushFailed {
        /// The segment.
        segment: SegmentNumber,
    },
    /// A segment was removed, durably.
    Removed {
        /// The segment.
        segment: SegmentNumber,
    },
}

/// What stands on the medium: each segment's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// By number.
    pub segments: BTreeMap<SegmentNumber, Vec<u8>>,
}

/// A piece of an unflushed write that a power cut keeps or loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its event's place in the history.
    pub event: usize,
    /// The segment.
    pub segment: SegmentNumber,
    /// Offset of its first byte; it is [`TEAR_BYTES`] long.
    pub offset: u64,
}

impl Image {
    /// What a power cut after these events leaves. `keep` says for each 512 bytes that were not flushed whether they
    /// reached the medium, in the order in which they were written.
    pub fn after_power_cut(start: &Image, events: &[Event], mut keep: impl FnMut(Fragment) -> bool) -> Self {
        let mut image = start.clone();
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Created { segment, header, bytes } => {
                    image.segments.insert(*segment, new_segment(header, *bytes));
                }
                Event::Written { segment, offset, bytes } => {
                    let sure = is_flushed(*segment, &events[at + 1..]);
                    for (number, piece) in bytes.chunks(TEAR_BYTES).enumerate() {
                        let offset = offset + (number * TEAR_BYTES) as u64;
                        if sure || keep(Fragment { event: at, segment: *segment, offset }) {
                            image.write(*segment, offset, piece);
                        }
                    }
                }
                Event::Removed { segment } => {
                    image.segments.remove(segment);
                }
                Event::Flushed { .. } | Event::FlushFailed { .. } => {}
            }
        }
        image
    }

    fn write(&mut self, segment: SegmentNumber, offset: u64, bytes: &[u8]) {
        let file = self.segments.get_mut(&segment).expect("only segments that exist are written");
        file[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }
}

/// A handle to one simulated disk; clones share it, so that a test can look at the medium after the log is gone.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    buffers: Vec<Vec<u8>>,
}

struct World {
    options: Options,
    random: Random,
    start: Image,
    live: Image,
    history: Vec<Event>,
    operations: u64,
    active: SegmentNumber,
    in_flight: Option<u64>,
    preparing: VecDeque<(u64, SegmentHeader)>,
    buffer_in_flight: Option<usize>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(options: Options) -> Self {
        Self::from_image(Image::default(), options)
    }

    /// A disk on which this stands, durably.
    pub fn from_image(image: Image, options: Options) -> Self {
        let buffers = vec![vec![0; options.buffer_bytes]; BUFFERS];
        let world = World {
            random: Random(options.seed),
            start: image.clone(),
            live: image,
            history: Vec::new(),
            operations: 0,
            active: SegmentNumber(0),
            in_flight: None,
            preparing: VecDeque::new(),
            buffer_in_flight: None,
            options,
        };
        Self { world: Arc::new(Mutex::new(world)), buffers }
    }

    /// What stood on it at the start.
    pub fn start(&self) -> Image {
        self.world().start.clone()
    }

    /// What an orderly shutdown leaves: every write, flushed or not.
    pub fn image(&self) -> Image {
        self.world().live.clone()
    }

    /// Everything that happened, in order.
    pub fn history(&self) -> Vec<Event> {
        self.world().history.clone()
    }

    /// Events so far.
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

    /// Puts other bytes in the place of what stands on it: damage, or an earlier state. The log that has it open keeps
    /// what it knows.
    pub fn set_image(&self, image: Image) {
        self.world().live = image;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("a simulated disk never panics while it is held")
    }
}

impl World {
    /// Counts one operation, or fails it.
    fn attempt(&mut self, operation: Operation, segment: SegmentNumber) -> Result<(), DiskError> {
        let number = self.operations;
        self.operations += 1;
        if self.options.fail_at == Some(number) {
            return Err(DiskError::new(operation, segment, io::Error::other("injected fault")));
        }
        Ok(())
    }

    fn write(&mut self, segment: SegmentNumber, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let failed = self.attempt(Operation::Write, segment);
        // A write that fails may still have reached the medium, in part: the power cut decides.
        self.live.write(segment, offset, bytes);
        self.history.push(Event::Written { segment, offset, bytes: bytes.to_vec() });
        if failed.is_err() {
            self.history.push(Event::FlushFailed { segment });
        }
        failed
    }

    fn flush(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        let failed = self.attempt(Operation::Flush, segment);
        let event = if failed.is_err() { Event::FlushFailed { segment } } else { Event::Flushed { segment } };
        self.history.push(event);
        failed
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
}

impl Disk for SimDisk {
    fn segments(&mut self) -> Result<Vec<SegmentFile>, DiskError> {
        let list = |(number, bytes): (&SegmentNumber, &Vec<u8>)| SegmentFile {
            number: *number,
            bytes: bytes.len() as u64,
        };
        Ok(self.world().live.segments.iter().map(list).collect())
    }

    fn buffer_bytes(&self) -> usize {
        self.world().options.buffer_bytes
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        assert_ne!(self.world().buffer_in_flight, Some(buffer), "this buffer is being written");
        &mut self.buffers[buffer]
    }

    fn read(
        &mut self,
        segment: SegmentNumber,
        offset: u64,
        buffer: usize,
        bytes: usize,
    ) -> Result<(), DiskError> {
        let mut world = self.world.lock().expect("a simulated disk never panics while it is held");
        world.attempt(Operation::Read, segment)?;
        let file = &world.live.segments[&segment];
        self.buffers[buffer][..bytes].copy_from_slice(&file[offset as usize..offset as usize + bytes]);
        Ok(())
    }

    fn read_aside(&mut self, segment: SegmentNumber, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let mut world = self.world();
        world.attempt(Operation::Read, segment)?;
        let missing = || DiskError::new(Operation::Read, segment, io::ErrorKind::NotFound);
        let file = world.live.segments.get(&segment).ok_or_else(missing)?;
        let short = || DiskError::new(Operation::Read, segment, io::ErrorKind::UnexpectedEof);
        into.copy_from_slice(file.get(offset as usize..offset as usize + into.len()).ok_or_else(short)?);
        Ok(())
    }

    fn zero(&mut self, segment: SegmentNumber, offset: u64, bytes: u64) -> Result<(), DiskError> {
        self.world().write(segment, offset, &vec![0; bytes as usize])
    }

    fn flush(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        self.world().flush(segment)
    }

    fn remove(&mut self, segment: SegmentNumber) -> Result<(), DiskError> {
        let mut world = self.world();
        world.attempt(Operation::Write, segment)?;
        world.live.segments.remove(&segment);
        world.history.push(Event::Removed { segment });
        Ok(())
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
        if let Err(error) = world.attempt(Operation::Prepare, segment) {
            return Some(Err(error));
        }
        if world.used_bytes().saturating_add(bytes) > world.options.space_bytes {
            return Some(Err(DiskError::new(Operation::Prepare, segment, io::ErrorKind::StorageFull)));
        }
        world.live.segments.insert(segment, new_segment(&header, bytes));
        world.history.push(Event::Created { segment, header, bytes });
        world.preparing.pop_front();
        Some(Ok(segment))
    }

    fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), DiskError> {
        let mut world = self.world.lock().expect("a simulated disk never panics while it is held");
        assert!(world.in_flight.is_none(), "one durable write at a time");
        assert!((offset as usize + bytes).is_multiple_of(SECTOR_BYTES) && bytes.is_multiple_of(SECTOR_BYTES));
        let active = world.active;
        world.write(active, offset, &self.buffers[buffer][..bytes])?;
        let polls = world.some_polls();
        world.in_flight = Some(polls);
        world.buffer_in_flight = Some(buffer);
        Ok(())
    }

    fn poll(&mut self) -> Result<bool, DiskError> {
        let mut world = self.world();
        let Some(polls) = &mut world.in_flight else { return Ok(false) };
        if *polls > 0 {
            *polls -= 1;
            return Ok(false);
        }
        world.in_flight = None;
        world.buffer_in_flight = None;
        let active = world.active;
        world.flush(active).map(|()| true)
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

fn new_segment(header: &[u8; SECTOR_BYTES], bytes: u64) -> Vec<u8> {
    let mut file = vec![0; bytes as usize];
    file[..SECTOR_BYTES].copy_from_slice(header);
    file
}

/// Whether the first flush of the segment among what follows a write made it durable.
fn is_flushed(segment: SegmentNumber, later: &[Event]) -> bool {
    later.iter().find_map(|event| match event {
        Event::Flushed { segment: of } if *of == segment => Some(true),
        Event::FlushFailed { segment: of } if *of == segment => Some(false),
        _ => None,
    }) == Some(true)
}
