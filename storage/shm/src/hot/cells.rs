//! Older versions of keys whose newest version is tentative.
//!
//! A slot that has a version cell shows readers the committed version there: the *anchor*. Tentative versions
//! between that and the newest are known to the writer alone; they hang on the anchor, oldest first, so that
//! committing in order, and discarding in reverse order, each take one step.

use super::geometry::Geometry;
use super::slot::{self, Slot};
use super::{Sequence, Stamp};
use crate::Region;
use crate::layout::hot::*;
use crate::sync::Ordering::Relaxed;
use crate::words::words_of;

/// Cell flag: a committed version stands here.
pub(super) const PRESENT: u64 = 1;
/// Cell flag: its value stands in the large-value area.
pub(super) const CELL_LARGE: u64 = 2;
/// Cell flag (writer's lists only): a deletion.
pub(super) const CELL_DELETED: u64 = 4;

/// One version of a key, out of its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) stamp: Stamp,
    pub(super) deleted: bool,
    pub(super) value_bytes: usize,
    pub(super) value: Value,
}

/// Where a version's value stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// Here.
    Near([u64; PAYLOAD_WORDS]),
    /// In the block at this granule.
    Large(u32),
}

/// Number of a cell; 0 is none.
pub(super) type Cell = u64;

/// The cells and which of them are free.
#[derive(Debug)]
pub(super) struct Cells {
    free: Vec<u32>,
    total: usize,
}

impl Cells {
    /// All cells free.
    pub(super) fn new(geometry: &Geometry) -> Cells {
        let total = geometry.cells as u32;
        Cells { free: (1..=total).rev().collect(), total: total as usize }
    }

    /// Takes a cell.
    pub(super) fn take(&mut self) -> Option<Cell> {
        self.free.pop().map(u64::from)
    }

    /// Gives a cell back.
    pub(super) fn give_back(&mut self, cell: Cell) {
        debug_assert!(self.free.len() < self.total, "a cell is given back once");
        self.free.push(cell as u32);
    }

    /// Cells taken.
    pub(super) fn used(&self) -> usize {
        self.total - self.free.len()
    }

    /// Cells free.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }
}

/// The words of a cell.
///
/// # Panics
///
/// When there is no such cell: the writer's own lists are broken.
pub(super) fn words<'a>(region: &'a Region, geometry: &Geometry, cell: Cell) -> &'a Slot {
    region.array(geometry.cell_at(cell).expect("the writer's cell lists name real cells"))
}

/// Stores a version in a cell. `flags` are added to those that the version itself has.
pub(super) fn store(words: &Slot, version: &Version, flags: u64) {
    let mut flags = flags;
    words[SLOT_SEQUENCE].store(version.stamp.sequence.0, Relaxed);
    let packed = slot::epoch_and_length(version.stamp.epoch, version.value_bytes);
    words[SLOT_EPOCH_AND_LENGTH].store(packed, Relaxed);
    words[SLOT_TIME].store(version.stamp.time_ns, Relaxed);
    if version.deleted {
        flags |= CELL_DELETED;
    }
    match &version.value {
        Value::Near(value) => {
            for (word, value) in words[SLOT_PAYLOAD..].iter().zip(&value[..words_of(version.value_bytes)]) {
                word.store(*value, Relaxed);
            }
        }
        Value::Large(granule) => {
            flags |= CELL_LARGE;
            words[SLOT_GRANULE].store(u64::from(*granule), Relaxed);
        }
    }
    words[CELL_FLAGS].store(flags, Relaxed);
}

/// The version in a cell.
pub(super) fn load(words: &Slot) -> Version {
    let flags = words[CELL_FLAGS].load(Relaxed);
    let value_bytes = slot::value_bytes(words);
    let value = if flags & CELL_LARGE != 0 {
        Value::Large(words[SLOT_GRANULE].load(Relaxed) as u32)
    } else {
        load_near(&words[SLOT_PAYLOAD..], value_bytes)
    };
    Version { stamp: slot::load_stamp(words), deleted: flags & CELL_DELETED != 0, value_bytes, value }
}

/// A value out of the payload words.
pub(super) fn load_near(words: &[crate::sync::AtomicU64], value_bytes: usize) -> Value {
    let mut value = [0; PAYLOAD_WORDS];
    for (value, word) in value.iter_mut().zip(&words[..words_of(value_bytes)]) {
        *value = word.load(Relaxed);
    }
    Value::Near(value)
}

/// The writer's list of tentative versions, oldest first, between the anchor and the newest.
pub(super) struct List<'a> {
    pub(super) region: &'a Region,
    pub(super) geometry: &'a Geometry,
    pub(super) anchor: Cell,
}

impl List<'_> {
    /// The oldest version in the list; 0 when it is empty.
    pub(super) fn oldest(&self) -> Cell {
        self.links(self.anchor).0
    }

    /// The newest version in the list; 0 when it is empty.
    pub(super) fn newest(&self) -> Cell {
        self.links(self.anchor).1
    }

    /// Sequence of a version in the list.
    pub(super) fn sequence(&self, cell: Cell) -> Sequence {
        Sequence(words(self.region, self.geometry, cell)[SLOT_SEQUENCE].load(Relaxed))
    }

    /// The version before `cell` (older), 0 when it is the oldest.
    pub(super) fn older(&self, cell: Cell) -> Cell {
        self.links(cell).0
    }

    /// Empties the anchor's links.
    pub(super) fn clear(&self) {
        self.set_links(self.anchor, (0, 0));
    }

    /// Adds a version at the newest end.
    pub(super) fn push(&self, cell: Cell) {
        let (oldest, newest) = self.links(self.anchor);
        self.set_links(cell, (newest, 0));
        if newest == 0 {
            self.set_links(self.anchor, (cell, cell));
        } else {
            self.set_links(newest, (self.older(newest), cell));
            self.set_links(self.anchor, (oldest, cell));
        }
    }

    /// Takes a version out.
    pub(super) fn unlink(&self, cell: Cell) {
        let (older, newer) = self.links(cell);
        let (oldest, newest) = self.links(self.anchor);
        if older != 0 {
            self.set_links(older, (self.older(older), newer));
        }
        if newer != 0 {
            self.set_links(newer, (older, self.links(newer).1));
        }
        let oldest = if oldest == cell { newer } else { oldest };
        let newest = if newest == cell { older } else { newest };
        self.set_links(self.anchor, (oldest, newest));
    }

    fn links(&self, cell: Cell) -> (Cell, Cell) {
        let links = words(self.region, self.geometry, cell)[CELL_LINKS].load(Relaxed);
        (links & 0xffff_ffff, links >> 32)
    }

    fn set_links(&self, cell: Cell, (first, second): (Cell, Cell)) {
        words(self.region, self.geometry, cell)[CELL_LINKS].store(first | second << 32, Relaxed);
    }
}
