//! The disk of one node: it loses, tears, fails, fills up, and rots.
//!
//! Invariant: what a flush has covered stays, until rot or an old copy is asked for by name; of what no flush has covered, a
//! power cut keeps any 512 bytes or none, in any order.

use io_oi_wal::sim_disk::{Image, Options, SimDisk};
use io_oi_wal::{SECTOR_BYTES, TEAR_BYTES};

use crate::random::Random;

/// One disk, whatever process has its log open.
pub(crate) struct Medium {
    disk: SimDisk,
    random: Random,
    buffer_bytes: usize,
    is_full: bool,
}

/// Sectors at the end of a log that rot spares: a bad place that no later batch proves to be one is a torn tail, by the
/// log's own assumption about the medium.
const SPARED_SECTORS: usize = 8;

impl Medium {
    /// An empty disk for logs with buffers of this size.
    pub(crate) fn new(buffer_bytes: usize, mut random: Random) -> Self {
        let disk = disk_with(Image::default(), buffer_bytes, &mut random);
        Self { disk, random, buffer_bytes, is_full: false }
    }

    /// A handle for a log.
    pub(crate) fn attach(&self) -> SimDisk {
        self.disk.clone()
    }

    /// The process died, the machine goes on: everything written stays.
    pub(crate) fn process_died(&mut self) {
        let image = self.disk.power_cut(|_| true);
        self.put(image);
    }

    /// The power fails: of what was not flushed, any 512 bytes stay or go. Says whether anything was lost.
    pub(crate) fn power_cut(&mut self) -> bool {
        let manner = self.random.below(4);
        let mut lost = false;
        let random = &mut self.random;
        let image = self.disk.power_cut(|fragment| {
            let stays = match manner {
                0 => false,
                1 => (fragment.offset / TEAR_BYTES as u64).is_multiple_of(2),
                _ => random.chance(500),
            };
            lost |= !stays;
            stays
        });
        self.put(image);
        lost
    }

    fn put(&mut self, image: Image) {
        self.disk = disk_with(image, self.buffer_bytes, &mut self.random);
        if self.is_full {
            self.fill();
        }
    }

    /// Leaves room for nothing new.
    pub(crate) fn fill(&mut self) {
        self.is_full = true;
        self.disk.set_space_bytes(0);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The next flush fails.
    pub(crate) fn fail_next_flush(&self) {
        self.disk.set_fail_flush(true);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mend(&mut self) {
        self.is_full = false;
        self.disk.set_space_bytes(u64::MAX);
        self.disk.set_fail_flush(false);
    }

    /// What stands on it.
    pub(crate) fn image(&self) -> Image {
        self.disk.image()
    }

    /// Puts an old image in place, while nobody has the log open.
    pub(crate) fn restore(&mut self, image: Image) {
        self.put(image);
    }

    /// Flips a bit in a sector of the log that holds something. Says whether there was one. Nobody has the log open.
    pub(crate) fn rot(&mut self) -> bool {
        let mut image = self.disk.image();
        let mut sectors = Vec::new();
        for (number, bytes) in &image.segments {
            let is_used = |sector: &&[u8]| sector.iter().any(|byte| *byte != 0);
            let used = bytes.chunks(SECTOR_BYTES).skip(1).take_while(is_used).count();
            sectors.extend((1..=used).map(|sector| (*number, sector * SECTOR_BYTES)));
        }
        sectors.truncate(sectors.len().saturating_sub(SPARED_SECTORS));
        if sectors.is_empty() {
            return false;
        }
        let (number, at) = *self.random.pick(&sectors);
        let byte = at + self.random.index(256);
        let bit = self.random.below(8);
        image.segments.get_mut(&number).expect("the segment was just listed")[byte] ^= 1 << bit;
        self.put(image);
        true
    }
}

fn disk_with(image: Image, buffer_bytes: usize, random: &mut Random) -> SimDisk {
    let options = Options { history: false, ..Options::new(random.next(), buffer_bytes) };
    SimDisk::from_image(image, options)
}
