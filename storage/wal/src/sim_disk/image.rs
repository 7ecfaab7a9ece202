//! What stands on a simulated medium, and what a power cut leaves of it.
//!
//! Invariant: bytes that were flushed are whole; of all others any 512 may be there or not, in any order.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use crate::format::SegmentNumber;
use crate::limits::{SECTOR_BYTES, TEAR_BYTES};

/// What stands on the medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Each segment's bytes, by number.
    pub segments: BTreeMap<SegmentNumber, Vec<u8>>,
    /// A segment that is to take another's place and does not have its name yet.
    pub replacement: Option<(SegmentNumber, Vec<u8>)>,
    /// What was set aside, by number.
    pub aside: BTreeMap<u32, Aside>,
    /// Sectors that cannot be read until they are written again.
    pub unreadable: BTreeSet<(SegmentNumber, u64)>,
}

/// Files that a repair took out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// The first segment that was to be replaced or removed.
    pub first: SegmentNumber,
    /// Whether all of them are out of the log.
    pub is_finished: bool,
    /// Their bytes.
    pub files: BTreeMap<SegmentNumber, Vec<u8>>,
}

/// A file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileName {
    /// A segment of the log.
    Segment(SegmentNumber),
    /// The replacement.
    Replacement,
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
        /// The file.
        file: FileName,
        /// Offset of the first byte.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Everything written to the file before is durable.
    Flushed {
        /// The file.
        file: FileName,
    },
    /// A flush failed: what it should have covered is never sure again, whatever a later flush says.
    FlushFailed {
        /// The file.
        file: FileName,
    },
    /// A segment was removed, durably.
    Removed {
        /// The segment.
        segment: SegmentNumber,
    },
    /// A replacement got its own name, durably; its bytes are zeros.
    ReplacementCreated {
        /// The segment that it is to be.
        segment: SegmentNumber,
        /// Bytes of the whole file.
        bytes: u64,
    },
    /// An unfinished replacement was removed, durably.
    ReplacementRemoved,
    /// The replacement took its segment's name, durably.
    ReplacementCommitted,
    /// A place for set-aside files was made, durably.
    AsideBegun {
        /// Its number.
        number: u32,
        /// The first segment that it is for.
        first: SegmentNumber,
    },
    /// A segment's file stands there, too, durably.
    AsideLinked {
        /// Its number.
        number: u32,
        /// The segment.
        segment: SegmentNumber,
    },
    /// It was given up, durably.
    AsideRemoved {
        /// Its number.
        number: u32,
    },
    /// All files that stand there are out of the log, durably.
    AsideFinished {
        /// Its number.
        number: u32,
    },
}

/// A piece of an unflushed write that a power cut keeps or loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its write's place among all that are given.
    pub event: usize,
    /// The file.
    pub file: FileName,
    /// Offset of its first byte; it is [`TEAR_BYTES`] long.
    pub offset: u64,
}

impl Image {
    /// What a power cut after these events leaves. `keep` says for each 512 bytes that were not flushed whether they
    /// reached the medium, in the order in which they were written.
    pub fn after_power_cut(start: &Image, events: &[Event], mut keep: impl FnMut(Fragment) -> bool) -> Self {
        let mut image = start.clone();
        for (at, event) in events.iter().enumerate() {
            let Event::Written { file, offset, bytes } = event else {
                image.apply(event);
                continue;
            };
            let sure = is_flushed(*file, &events[at + 1..]);
            for (number, piece) in bytes.chunks(TEAR_BYTES).enumerate() {
                let offset = offset + (number * TEAR_BYTES) as u64;
                if sure || keep(Fragment { event: at, file: *file, offset }) {
                    image.write(*file, offset, piece);
                }
            }
        }
        image
    }

    /// Flips one bit of a sector that holds something, as chance says; its segment and offset. None on an empty medium.
    pub fn flip_bit(&mut self, random: &mut Random) -> Option<(SegmentNumber, u64)> {
        let (segment, sector) = self.some_sector(random)?;
        let at = sector + random.next() % SECTOR_BYTES as u64;
        self.segments.get_mut(&segment)?[at as usize] ^= 1 << (random.next() % 8);
        Some((segment, at))
    }

    /// Zeroes one sector that holds something, as chance says; its segment and offset. None on an empty medium.
    pub fn zero_sector(&mut self, random: &mut Random) -> Option<(SegmentNumber, u64)> {
        let (segment, sector) = self.some_sector(random)?;
        self.segments.get_mut(&segment)?[sector as usize..][..SECTOR_BYTES].fill(0);
        Some((segment, sector))
    }

    /// Makes one sector that holds something unreadable, as chance says; its segment and offset. None on an empty medium.
    pub fn spoil_sector(&mut self, random: &mut Random) -> Option<(SegmentNumber, u64)> {
        let place = self.some_sector(random)?;
        self.unreadable.insert(place);
        Some(place)
    }

    /// Whether every sector of a range can be read.
    pub(super) fn is_readable(&self, segment: SegmentNumber, offset: u64, bytes: usize) -> bool {
        let end = offset + bytes as u64;
        self.unreadable.range((segment, offset)..(segment, end)).next().is_none()
    }

    fn some_sector(&self, random: &mut Random) -> Option<(SegmentNumber, u64)> {
        let holds = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) != 0;
        let sectors: Vec<_> = self
            .segments
            .iter()
            .flat_map(|(segment, file)| {
                let sectors = file.chunks_exact(SECTOR_BYTES).enumerate();
                sectors
                    .filter(|(_, sector)| holds(sector))
                    .map(|(at, _)| (*segment, (at * SECTOR_BYTES) as u64))
            })
            .collect();
        let count = sectors.len() as u64;
        (count > 0).then(|| sectors[(random.next() % count) as usize])
    }

    pub(super) fn write(&mut self, file: FileName, offset: u64, bytes: &[u8]) {
        if let FileName::Segment(segment) = file
            && !self.unreadable.is_empty()
        {
            let end = offset + bytes.len() as u64;
            self.unreadable.retain(|(of, at)| *of != segment || *at < offset || *at >= end);
        }
        self.file_mut(file)[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn file_mut(&mut self, file: FileName) -> &mut Vec<u8> {
        match file {
            FileName::Segment(segment) => self.segments.get_mut(&segment),
            FileName::Replacement => self.replacement.as_mut().map(|(_, bytes)| bytes),
        }
        .expect("only files that exist are written")
    }

    /// What happens at once and durably: everything but writes.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Created { segment, header, bytes } => {
                let mut file = vec![0; *bytes as usize];
                file[..SECTOR_BYTES].copy_from_slice(&header[..]);
                self.segments.insert(*segment, file);
            }
            Event::Removed { segment } => {
                self.segments.remove(segment);
                self.unreadable.retain(|(of, _)| of != segment);
            }
            Event::ReplacementCreated { segment, bytes } => {
                self.replacement = Some((*segment, vec![0; *bytes as usize]));
            }
            Event::ReplacementRemoved => self.replacement = None,
            Event::ReplacementCommitted => {
                let (segment, file) = self.replacement.take().expect("a replacement was made before");
                self.unreadable.retain(|(of, _)| *of != segment);
                self.segments.insert(segment, file);
            }
            Event::AsideBegun { number, first } => {
                let aside = Aside { first: *first, is_finished: false, files: BTreeMap::new() };
                self.aside.insert(*number, aside);
            }
            Event::AsideLinked { number, segment } => {
                let file = self.segments[segment].clone();
                self.aside.get_mut(number).expect("begun before").files.insert(*segment, file);
            }
            Event::AsideRemoved { number } => {
                self.aside.remove(number);
            }
            Event::AsideFinished { number } => {
                self.aside.get_mut(number).expect("begun before").is_finished = true;
            }
            Event::Written { .. } | Event::Flushed { .. } | Event::FlushFailed { .. } => {}
        }
    }
}

/// Whether the first flush of the file among what follows a write made it durable.
fn is_flushed(file: FileName, later: &[Event]) -> bool {
    later.iter().find_map(|event| match event {
        Event::Flushed { file: of } if *of == file => Some(true),
        Event::FlushFailed { file: of } if *of == file => Some(false),
        // A repair begins anew, or the log goes on without this replacement.
        Event::ReplacementRemoved | Event::ReplacementCommitted if file == FileName::Replacement => {
            Some(false)
        }
        _ => None,
    }) == Some(true)
}
