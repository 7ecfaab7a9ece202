//! The versions of one entry: what is stacked on the committed one, decided, superseded or taken back.
//!
//! Invariant: the slot shows the newest version. While that is tentative, the slot's cell (the anchor) shows the
//! committed one, if there is any, and the tentative versions between the two hang on the anchor in order.

use super::{Source, Writer, large_in_cell, large_in_slot, store_newest};
use crate::hot::cells::{self, Cell, Value, Version};
use crate::hot::slot::{self, COMMITTED, DELETED, Slot};
use crate::hot::{Full, Sequence, Stamp};
use crate::layout::hot::*;
use crate::sync::Ordering::Relaxed;

impl Writer {
    /// Puts a newer tentative version on top of what is there.
    pub(super) fn stack(&mut self, at: usize, value: Option<&[u8]>, stamp: Stamp) -> Result<(), Full> {
        let meta = self.meta(at);
        let mut anchor = slot::cell_of(self.slot(at)[SLOT_LOCK].load(Relaxed));
        let is_committed = meta & COMMITTED != 0;
        let cells_needed = if !is_committed && anchor == 0 { 2 } else { 1 };
        if self.cells.free() < cells_needed {
            return Err(self.versions_full());
        }
        let source = self.source(slot::key_words(meta), value)?;
        let cell = self.cells.take().expect("counted above");
        if anchor == 0 && !is_committed {
            anchor = self.cells.take().expect("counted above");
            self.list(anchor).clear();
            self.cell(anchor)[CELL_FLAGS].store(0, Relaxed);
        }
        let slot = self.slot(at);
        let old = version_in_slot(slot);
        // A reused cell may still be looked at for its former slot, whose lock changed before it was given back.
        if is_committed {
            anchor = cell;
            self.list(anchor).clear();
            cells::store(self.cell(cell), &old, cells::PRESENT);
        } else {
            cells::store(self.cell(cell), &old, 0);
            self.list(anchor).push(cell);
        }
        let locked = slot::lock(slot);
        store_newest(slot, stamp, 0, source);
        slot::unlock(slot, locked, anchor);
        Ok(())
    }

    /// Puts another tentative version in the place of the newest.
    pub(super) fn replace(&mut self, at: usize, value: Option<&[u8]>, stamp: Stamp) -> Result<(), Full> {
        let source = self.source(slot::key_words(self.meta(at)), value)?;
        let slot = self.slot(at);
        let large = large_in_slot(slot);
        let locked = slot::lock(slot);
        store_newest(slot, stamp, 0, source);
        slot::unlock(slot, locked, slot::cell_of(locked));
        self.retire(large);
        Ok(())
    }

    /// Puts a committed version in the place of everything there.
    pub(super) fn supersede(&mut self, at: usize, value: &[u8], stamp: Stamp) -> Result<(), Full> {
        let source = self.source(slot::key_words(self.meta(at)), Some(value))?;
        let slot = self.slot(at);
        let large = large_in_slot(slot);
        let locked = slot::lock(slot);
        let anchor = slot::cell_of(locked);
        store_newest(slot, stamp, COMMITTED, source);
        slot::unlock(slot, locked, 0);
        self.retire(large);
        self.drop_versions(anchor);
        Ok(())
    }

    /// The newest version is decided.
    pub(super) fn commit_newest(&mut self, at: usize, hash: u64) {
        let meta = self.meta(at);
        if meta & DELETED != 0 {
            self.remove(at, hash);
            return;
        }
        let slot = self.slot(at);
        let locked = slot::lock(slot);
        let anchor = slot::cell_of(locked);
        slot[SLOT_META].store(meta | COMMITTED, Relaxed);
        slot::unlock(slot, locked, 0);
        self.drop_versions(anchor);
    }

    /// A version older than the newest, tentative one is decided.
    pub(super) fn commit_older(&mut self, at: usize, value: Option<&[u8]>, stamp: Stamp) -> Result<(), Full> {
        let anchor = slot::cell_of(self.slot(at)[SLOT_LOCK].load(Relaxed));
        if anchor == 0 {
            return self.anchor_first(at, value, stamp);
        }
        let anchored = self.cell(anchor);
        let is_present = anchored[CELL_FLAGS].load(Relaxed) & cells::PRESENT != 0;
        if is_present && slot::load_stamp(anchored).sequence >= stamp.sequence {
            return Ok(());
        }
        let mut oldest = self.list(anchor).oldest();
        while oldest != 0 && self.list(anchor).sequence(oldest) < stamp.sequence {
            // Passed over: it was never decided and never will be.
            self.list(anchor).unlink(oldest);
            self.drop_cell(oldest);
            oldest = self.list(anchor).oldest();
        }
        let is_listed = oldest != 0 && slot::load_stamp(self.cell(oldest)).sequence == stamp.sequence;
        let is_same_record = is_listed && slot::load_stamp(self.cell(oldest)).epoch == stamp.epoch;
        let version = if is_same_record {
            cells::load(self.cell(oldest))
        } else {
            self.version(slot::key_words(self.meta(at)), value, stamp)?
        };
        if is_listed {
            self.list(anchor).unlink(oldest);
            if is_same_record {
                self.cells.give_back(oldest); // Its value moves on.
            } else {
                self.drop_cell(oldest);
            }
        }
        self.set_anchor(at, anchor, &version);
        Ok(())
    }

    /// The first committed version under a tentative one.
    pub(super) fn anchor_first(&mut self, at: usize, value: Option<&[u8]>, stamp: Stamp) -> Result<(), Full> {
        if value.is_none() {
            return Ok(());
        }
        if self.cells.free() == 0 {
            return Err(self.versions_full());
        }
        let version = self.version(slot::key_words(self.meta(at)), value, stamp)?;
        let anchor = self.cells.take().expect("counted above");
        self.list(anchor).clear();
        cells::store(self.cell(anchor), &version, cells::PRESENT);
        let slot = self.slot(at);
        let locked = slot::lock(slot);
        slot::unlock(slot, locked, anchor);
        Ok(())
    }

    /// Changes the committed version under a tentative one.
    pub(super) fn set_anchor(&mut self, at: usize, anchor: Cell, version: &Version) {
        let slot = self.slot(at);
        let large = large_in_cell(self.cell(anchor));
        let is_needed = !version.deleted || self.list(anchor).oldest() != 0;
        let locked = slot::lock(slot);
        if version.deleted {
            self.cell(anchor)[CELL_FLAGS].store(0, Relaxed);
        } else {
            cells::store(self.cell(anchor), version, cells::PRESENT);
        }
        slot::unlock(slot, locked, if is_needed { anchor } else { 0 });
        self.retire(large);
        if !is_needed {
            self.cells.give_back(anchor);
        }
    }

    /// Takes the newest, tentative version off.
    pub(super) fn unstack(&mut self, at: usize, hash: u64) {
        let slot = self.slot(at);
        let anchor = slot::cell_of(slot[SLOT_LOCK].load(Relaxed));
        let is_anchored = anchor != 0 && self.cell(anchor)[CELL_FLAGS].load(Relaxed) & cells::PRESENT != 0;
        let listed = if anchor == 0 { 0 } else { self.list(anchor).newest() };
        if listed == 0 && !is_anchored {
            self.remove(at, hash);
            return;
        }
        let (from, stage) = if listed != 0 { (listed, 0) } else { (anchor, COMMITTED) };
        let version = cells::load(self.cell(from));
        if listed != 0 {
            self.list(anchor).unlink(listed);
        }
        let is_needed = listed != 0 && (is_anchored || self.list(anchor).oldest() != 0);
        let large = large_in_slot(slot);
        let locked = slot::lock(slot);
        store_version(slot, &version, stage);
        slot::unlock(slot, locked, if is_needed { anchor } else { 0 });
        self.retire(large);
        self.cells.give_back(from); // Its value moved into the slot.
        if !is_needed && from != anchor {
            self.cells.give_back(anchor);
        }
    }

    /// Takes a tentative version out that is neither the newest nor decided. Readers never saw the list.
    pub(super) fn discard_between(&mut self, at: usize, sequence: Sequence) -> bool {
        let slot = self.slot(at);
        let anchor = slot::cell_of(slot[SLOT_LOCK].load(Relaxed));
        if anchor == 0 {
            return false;
        }
        let mut cell = self.list(anchor).newest();
        while cell != 0 && self.list(anchor).sequence(cell) != sequence {
            cell = self.list(anchor).older(cell);
        }
        if cell == 0 {
            return false;
        }
        self.list(anchor).unlink(cell);
        self.drop_cell(cell);
        let is_anchored = self.cell(anchor)[CELL_FLAGS].load(Relaxed) & cells::PRESENT != 0;
        if !is_anchored && self.list(anchor).oldest() == 0 {
            let slot = self.slot(at);
            let locked = slot::lock(slot);
            slot::unlock(slot, locked, 0);
            self.cells.give_back(anchor);
        }
        true
    }

    /// A version made of a value, as it would stand in a slot behind so many words of key.
    pub(super) fn version(
        &mut self,
        key_words: usize,
        value: Option<&[u8]>,
        stamp: Stamp,
    ) -> Result<Version, Full> {
        let source = self.source(key_words, value)?;
        let value_bytes = value.map_or(0, <[u8]>::len);
        let value = match source {
            Source::Large { granule, .. } => Value::Large(granule),
            Source::Near(value) => Value::Near(words_from(value)),
            Source::Deletion => Value::Near([0; PAYLOAD_WORDS]),
        };
        Ok(Version { stamp, deleted: matches!(source, Source::Deletion), value_bytes, value })
    }
}

/// Stores a version that stood in a cell into its own, open slot.
fn store_version(slot: &Slot, version: &Version, stage: u64) {
    match version.value {
        _ if version.deleted => store_newest(slot, version.stamp, stage, Source::Deletion),
        Value::Large(granule) => {
            let source = Source::Large { granule, value_bytes: version.value_bytes };
            store_newest(slot, version.stamp, stage, source);
        }
        Value::Near(words) => {
            let mut bytes = [0; PAYLOAD_WORDS * 8];
            for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
            store_newest(slot, version.stamp, stage, Source::Near(&bytes[..version.value_bytes]));
        }
    }
}

/// The newest version of a slot.
fn version_in_slot(slot: &Slot) -> Version {
    let meta = slot[SLOT_META].load(Relaxed);
    let value_bytes = slot::value_bytes(slot);
    let value = match large_in_slot(slot) {
        Some((granule, _)) => Value::Large(granule),
        None => cells::load_near(&slot[SLOT_PAYLOAD + slot::key_words(meta)..], value_bytes),
    };
    Version { stamp: slot::load_stamp(slot), deleted: meta & DELETED != 0, value_bytes, value }
}

fn words_from(value: &[u8]) -> [u64; PAYLOAD_WORDS] {
    let mut bytes = [0; PAYLOAD_WORDS * 8];
    bytes[..value.len()].copy_from_slice(value);
    let mut words = [0; PAYLOAD_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}
