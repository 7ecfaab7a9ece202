//! The writing end: the shard's thread, alone.
//!
//! Invariant: blocks and cells are filled before a slot links to them and given back after its lock has changed;
//! a change of a slot happens between `slot::lock` and `slot::unlock`, and nothing in between can fail.

mod versions;

use super::cells::{self, Cell, Cells, List};
use super::geometry::Geometry;
use super::granules::{Granules, block_bytes};
use super::retired::Retired;
use super::slot::{
    self, COMMITTED, DELETED, EPOCH_MAX, FAR_KEY, HOP_BITS, LARGE, OCCUPIED, OF_HOME, OF_KEY, STASHED, Slot,
};
use super::{Config, Full, Newest, Sequence, Stage, Stamp};
use crate::lane::NodePins;
use crate::layout::hot::*;
use crate::layout::{AT_PARKED, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::sync::{
    Ordering::{Relaxed, SeqCst},
    fence,
};
use crate::words::{load_bytes, store_bytes, words_of};
use crate::{CreateError, HashSeed, Kind, Region, Segment, SegmentConfig, hash_key};
use rustix::fd::BorrowedFd;

/// The writing end of a hot table.
#[derive(Debug)]
pub struct Writer {
    segment: Segment,
    geometry: Geometry,
    seed: HashSeed,
    granules: Granules,
    retired: Retired,
    cells: Cells,
    entries: u64,
    stashed: u64,
}

/// Names one client's pins for [`Writer::remove_pins`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PinsHandle(u64);

/// What a hot table holds and takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys now, tentative deletions included.
    pub entries: u64,
    /// Keys promised.
    pub entries_max: u64,
    /// Keys that stand in the stash.
    pub stashed: u64,
    /// Cells for older versions in use.
    pub versions_used: u64,
    /// Cells for older versions.
    pub versions_max: u64,
    /// Bytes of blocks taken for large values and long keys, waiting ones included.
    pub large_used_bytes: u64,
    /// Bytes of the large-value area.
    pub large_bytes_max: u64,
    /// Blocks unlinked and waiting until no pin holds them.
    pub blocks_waiting: u64,
    /// How often a pin has held a block back.
    pub blocks_held_back: u64,
    /// Bytes of the whole segment.
    pub segment_bytes: u64,
}

/// A value that is about to become a slot's newest version.
#[derive(Clone, Copy)]
enum Source<'a> {
    Deletion,
    Near(&'a [u8]),
    Large { granule: u32, value_bytes: usize },
}

impl Writer {
    /// Makes an empty hot table.
    #[cfg(not(loom))]
    pub fn create(config: &Config) -> Result<Writer, CreateError> {
        let geometry = Geometry::plan(config)?;
        let segment = Segment::create(&segment_config(config), geometry.bytes())?;
        Ok(Writer::over(segment, geometry, config))
    }

    /// Makes an empty hot table in plain memory of this process, for models, and the region for its readers.
    pub fn plain(config: &Config) -> Result<(Writer, Region), CreateError> {
        let geometry = Geometry::plan(config)?;
        let segment = Segment::plain(&segment_config(config), geometry.bytes());
        let region = segment.region().clone();
        Ok((Writer::over(segment, geometry, config), region))
    }

    /// The descriptor to hand to readers.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.segment.fd()
    }

    /// Whether a put of this key with a value of so many bytes fits. Some room is kept for records that are already
    /// on their way, so asking once before sequencing is enough.
    pub fn room_for(&mut self, key: &[u8], value_bytes: usize) -> Result<(), Full> {
        if self.cells.free() < CELLS_PER_RECORD {
            return Err(self.versions_full());
        }
        let hash = hash_key(&self.seed, key);
        let key_words = if slot::is_far_key(key.len()) { 1 } else { words_of(key.len()) };
        let mut blocks = [None; 2];
        if slot::is_large(key_words, value_bytes) {
            blocks[0] = Some(value_bytes);
        }
        if self.find(hash, key).is_none() {
            if self.entries >= self.geometry.entries_max {
                let entries_max = self.geometry.entries_max;
                return Err(Full::Entries { entries: self.entries, entries_max });
            }
            self.free_slot(hash).ok_or(Full::Neighbourhood)?;
            if slot::is_far_key(key.len()) {
                blocks[1] = Some(key.len());
            }
        }
        self.room_for_blocks(blocks.into_iter().flatten())
    }

    /// Whether all of these writes fit at once: each a key that stands in no other of them, and its value or a removal. What
    /// [`Writer::room_for`] says of each alone is not enough, since they may want the same last place.
    pub fn room_for_all<'a>(
        &mut self,
        writes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) -> Result<(), Full> {
        let count = writes.clone().count();
        if self.cells.free() < count * CELLS_PER_RECORD {
            return Err(self.versions_full());
        }
        let is_new = |writer: &Writer, key: &[u8]| writer.find(hash_key(&writer.seed, key), key).is_none();
        let new = writes.clone().filter(|(key, value)| value.is_some() && is_new(self, key)).count();
        if self.entries + new as u64 > self.geometry.entries_max {
            return Err(Full::Entries { entries: self.entries, entries_max: self.geometry.entries_max });
        }
        let mut large_bytes = 0;
        for (key, value) in writes {
            self.room_for(key, value.map_or(0, <[u8]>::len))?;
            if value.is_some() && !self.has_free_slots(hash_key(&self.seed, key), key, new) {
                return Err(Full::Neighbourhood);
            }
            large_bytes += blocks_of(key, value);
        }
        let room = self.granules.area_bytes() - self.granules.area_bytes() / LARGE_SHARE_KEPT;
        let fits = large_bytes == 0 || self.granules.used_bytes() + large_bytes <= room;
        if fits { Ok(()) } else { Err(self.large_full(large_bytes)) }
    }

    /// Whether a key has a place already, or so many free ones within its reach that others may take all but one.
    fn has_free_slots(&self, hash: u64, key: &[u8], wanted: usize) -> bool {
        if wanted < 2 || self.find(hash, key).is_some() {
            return true; // `room_for` has looked.
        }
        let home_at = self.home_at(hash);
        let near = (0..HOP_SLOTS).map(|hop| home_at + hop * SLOT_WORDS);
        near.chain(self.bucket(hash)).filter(|&at| self.meta(at) & OCCUPIED == 0).take(wanted).count()
            == wanted
    }

    /// Copies the newest value of a key, tentative or not, to the front of `out`: its bytes and its stamp. `Ok(None)` when the
    /// key does not exist, the length alone as an error when it is longer than `out`.
    pub fn read_newest(&self, key: &[u8], out: &mut [u8]) -> Result<Option<(usize, Stamp)>, usize> {
        let Some(at) = self.find(hash_key(&self.seed, key), key) else { return Ok(None) };
        let slot = self.slot(at);
        let meta = self.meta(at);
        if meta & DELETED != 0 {
            return Ok(None);
        }
        let bytes = slot::value_bytes(slot);
        let Some(out) = out.get_mut(..bytes) else { return Err(bytes) };
        match large_in_slot(slot) {
            Some((granule, _)) => load_bytes(self.block(granule, bytes), out),
            None => load_bytes(&slot[SLOT_PAYLOAD + slot::key_words(meta)..], out),
        }
        Ok(Some((bytes, slot::load_stamp(slot))))
    }

    /// Shows a version that is not decided yet. `None` as value is a deletion. The committed version stays readable
    /// beside it. A version that is not newer than the key's newest changes nothing, except that one with the same
    /// sequence and another epoch takes its place.
    ///
    /// # Panics
    ///
    /// When key, value or epoch are larger than the layout allows, or the key is empty.
    pub fn publish_tentative(&mut self, key: &[u8], value: Option<&[u8]>, stamp: Stamp) -> Result<(), Full> {
        check(key, value, stamp);
        let hash = hash_key(&self.seed, key);
        let Some(at) = self.find(hash, key) else {
            return match value {
                Some(value) => self.insert(hash, key, value, stamp, 0),
                None => Ok(()), // Absent before, absent after.
            };
        };
        let meta = self.meta(at);
        let newest = slot::load_stamp(self.slot(at));
        if stamp.sequence < newest.sequence || stamp == newest {
            return Ok(());
        }
        if stamp.sequence == newest.sequence {
            return if meta & COMMITTED != 0 { Ok(()) } else { self.replace(at, value, stamp) };
        }
        self.stack(at, value, stamp)
    }

    /// Shows a decided version. When the newest version is the same record's tentative one, only its stage changes.
    /// Newer tentative versions stay. `None` as value is a deletion, after which the memory is free again. A version
    /// that is not newer than the committed one changes nothing.
    ///
    /// # Panics
    ///
    /// When key, value or epoch are larger than the layout allows, or the key is empty.
    pub fn publish_committed(&mut self, key: &[u8], value: Option<&[u8]>, stamp: Stamp) -> Result<(), Full> {
        check(key, value, stamp);
        let hash = hash_key(&self.seed, key);
        let Some(at) = self.find(hash, key) else {
            return match value {
                Some(value) => self.insert(hash, key, value, stamp, COMMITTED),
                None => Ok(()),
            };
        };
        let meta = self.meta(at);
        let newest = slot::load_stamp(self.slot(at));
        if stamp.sequence < newest.sequence {
            return if meta & COMMITTED != 0 { Ok(()) } else { self.commit_older(at, value, stamp) };
        }
        if stamp.sequence == newest.sequence && meta & COMMITTED != 0 {
            return Ok(());
        }
        let is_same_record = stamp.sequence == newest.sequence && stamp.epoch == newest.epoch;
        if is_same_record {
            self.commit_newest(at, hash);
            return Ok(());
        }
        match value {
            Some(value) => self.supersede(at, value, stamp),
            None => {
                self.remove(at, hash);
                Ok(())
            }
        }
    }

    /// The key's newest version; `None` when the key is absent.
    pub fn newest(&self, key: &[u8]) -> Option<Newest> {
        let at = self.find(hash_key(&self.seed, key), key)?;
        Some(newest_of(self.slot(at)))
    }

    /// Takes back the tentative version of this sequence: what was there before it shows again. Whether there was
    /// such a version.
    pub fn discard_tentative(&mut self, key: &[u8], sequence: Sequence) -> bool {
        let hash = hash_key(&self.seed, key);
        let Some(at) = self.find(hash, key) else { return false };
        if self.meta(at) & COMMITTED != 0 {
            return false;
        }
        if slot::load_stamp(self.slot(at)).sequence == sequence {
            self.unstack(at, hash);
            return true;
        }
        self.discard_between(at, sequence)
    }

    /// Calls `visit` with key, newest version and value length of every entry, in no order.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &Newest, usize)) {
        let mut key = [0; KEY_BYTES_MAX];
        for at in self.geometry.all_slots() {
            if self.meta(at) & OCCUPIED != 0 {
                let key_bytes = self.load_key(at, &mut key);
                let slot = self.slot(at);
                visit(&key[..key_bytes], &newest_of(slot), slot::value_bytes(slot));
            }
        }
    }

    /// Keys now, tentative deletions included.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What the table holds and takes.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.entries,
            entries_max: self.geometry.entries_max,
            stashed: self.stashed,
            versions_used: self.cells.used() as u64,
            versions_max: self.geometry.cells,
            large_used_bytes: self.granules.used_bytes(),
            large_bytes_max: self.granules.area_bytes(),
            blocks_waiting: self.retired.count() as u64,
            blocks_held_back: self.retired.held_back(),
            segment_bytes: self.segment.bytes(),
        }
    }

    /// Gives a sign of life.
    #[inline]
    pub fn beat(&self, now_ns: u64) {
        self.segment.heartbeat().beat(now_ns);
    }

    /// Says that the shard is about to sleep, or is awake. After `true` the rings must be looked at once more
    /// before sleeping; see [`crate::bell`].
    pub fn set_parked(&self, parked: bool) {
        self.region().word(AT_PARKED).store(u64::from(parked), Relaxed);
        // Pairs with the fence in `bell::must_ring`: our next look at the rings comes after the store.
        fence(SeqCst);
    }

    /// From now on blocks that these pins hold are not reused.
    pub fn add_pins(&mut self, pins: NodePins) -> PinsHandle {
        PinsHandle(self.retired.add_page(pins))
    }

    /// Forgets the pins of a client that is gone: what they held is free again.
    pub fn remove_pins(&mut self, pins: PinsHandle) {
        self.retired.remove_page(pins.0);
        self.retired.reclaim(&mut self.granules);
    }

    fn over(segment: Segment, geometry: Geometry, config: &Config) -> Writer {
        geometry.write(segment.region(), &config.seed);
        segment.finish();
        Writer {
            segment,
            geometry,
            seed: config.seed,
            granules: Granules::new(geometry.granules),
            retired: Retired::new(),
            cells: Cells::new(&geometry),
            entries: 0,
            stashed: 0,
        }
    }
}

/// Finding keys and places.
impl Writer {
    #[inline(always)]
    fn region(&self) -> &Region {
        self.segment.region()
    }

    #[inline(always)]
    fn slot(&self, at: usize) -> &Slot {
        self.region().array(at)
    }

    #[inline(always)]
    fn meta(&self, at: usize) -> u64 {
        self.slot(at)[SLOT_META].load(Relaxed)
    }

    fn home_at(&self, hash: u64) -> usize {
        self.geometry.slot_at(self.geometry.home(hash))
    }

    fn bucket(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let at = self.geometry.bucket_at(self.geometry.home(hash));
        (0..HOP_SLOTS).map(move |index| at + index * SLOT_WORDS)
    }

    /// The slot in which the key stands.
    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let wanted = slot::key_meta(hash, key);
        let is_here = |at: usize| {
            let meta = self.meta(at);
            meta & OF_KEY == wanted
                && slot::holds_key(self.region(), &self.geometry, self.slot(at), meta, key)
        };
        let home_at = self.home_at(hash);
        let home_meta = self.meta(home_at);
        let mut hops = home_meta as u32;
        while hops != 0 {
            let at = home_at + hops.trailing_zeros() as usize * SLOT_WORDS;
            hops &= hops - 1;
            if is_here(at) {
                return Some(at);
            }
        }
        if home_meta & STASHED == 0 {
            return None;
        }
        self.bucket(hash).find(|&at| is_here(at))
    }

    /// A free slot for a key of this hash, the nearest to its home.
    fn free_slot(&self, hash: u64) -> Option<usize> {
        let home_at = self.home_at(hash);
        let near = (0..HOP_SLOTS).map(|hop| home_at + hop * SLOT_WORDS);
        near.chain(self.bucket(hash)).find(|&at| self.meta(at) & OCCUPIED == 0)
    }

    /// The bit or flag by which the home of a hash links to the slot at `at`.
    fn link_of(&self, hash: u64, at: usize) -> u64 {
        if at >= self.geometry.stash_at {
            return STASHED;
        }
        1 << ((at - self.home_at(hash)) / SLOT_WORDS)
    }

    /// Copies out the key that stands at `at`; its length.
    fn load_key(&self, at: usize, key: &mut [u8; KEY_BYTES_MAX]) -> usize {
        let meta = self.meta(at);
        let key_bytes = slot::key_bytes(meta);
        let slot = self.slot(at);
        if meta & FAR_KEY == 0 {
            load_bytes(&slot[SLOT_PAYLOAD..], &mut key[..key_bytes]);
        } else {
            let granule = slot[SLOT_PAYLOAD].load(Relaxed) as u32;
            load_bytes(self.block(granule, key_bytes), &mut key[..key_bytes]);
        }
        key_bytes
    }

    fn block(&self, granule: u32, bytes: usize) -> &[crate::sync::AtomicU64] {
        let at = self.geometry.block_at(granule.into(), bytes);
        self.region().words(at.expect("blocks we took lie in the area"), words_of(bytes))
    }
}

/// Room.
impl Writer {
    fn room_for_blocks(&mut self, blocks: impl Iterator<Item = usize> + Clone) -> Result<(), Full> {
        let needed: u64 = blocks.clone().map(block_bytes).sum();
        if needed == 0 {
            return Ok(());
        }
        let room = self.granules.area_bytes() - self.granules.area_bytes() / LARGE_SHARE_KEPT;
        let fits = |granules: &Granules| {
            granules.used_bytes() + needed <= room && blocks.clone().all(|bytes| granules.has(bytes))
        };
        if !fits(&self.granules) {
            self.retired.reclaim(&mut self.granules);
        }
        if fits(&self.granules) { Ok(()) } else { Err(self.large_full(needed)) }
    }

    /// Takes a block and fills it.
    fn fill_block(&mut self, bytes: &[u8]) -> Result<u32, Full> {
        let granule = match self.granules.take(bytes.len()) {
            Some(granule) => granule,
            None => {
                self.retired.reclaim(&mut self.granules);
                self.granules.take(bytes.len()).ok_or(self.large_full(block_bytes(bytes.len())))?
            }
        };
        store_bytes(self.block(granule, bytes.len()), bytes);
        self.show_large_used();
        Ok(granule)
    }

    /// The value as it will stand in a slot behind so many words of key.
    fn source<'a>(&mut self, key_words: usize, value: Option<&'a [u8]>) -> Result<Source<'a>, Full> {
        match value {
            None => Ok(Source::Deletion),
            Some(value) if slot::is_large(key_words, value.len()) => {
                Ok(Source::Large { granule: self.fill_block(value)?, value_bytes: value.len() })
            }
            Some(value) => Ok(Source::Near(value)),
        }
    }

    fn retire(&mut self, large: Option<(u32, usize)>) {
        if let Some((granule, value_bytes)) = large {
            self.retired.retire(&mut self.granules, granule, value_bytes);
            self.show_large_used();
        }
    }

    /// Gives back an anchor and all versions that hang on it. The slot's lock has changed since.
    fn drop_versions(&mut self, anchor: Cell) {
        if anchor == 0 {
            return;
        }
        let mut cell = self.list(anchor).newest();
        while cell != 0 {
            let older = self.list(anchor).older(cell);
            self.drop_cell(cell);
            cell = older;
        }
        self.drop_cell(anchor);
    }

    fn drop_cell(&mut self, cell: Cell) {
        let large = large_in_cell(self.cell(cell));
        self.cells.give_back(cell);
        self.retire(large);
    }

    fn cell(&self, cell: Cell) -> &Slot {
        cells::words(self.region(), &self.geometry, cell)
    }

    fn list(&self, anchor: Cell) -> List<'_> {
        List { region: self.region(), geometry: &self.geometry, anchor }
    }

    fn show_entries(&self) {
        self.region().word(AT_ENTRIES).store(self.entries, Relaxed);
    }

    fn show_large_used(&self) {
        self.region().word(AT_LARGE_USED_BYTES).store(self.granules.used_bytes(), Relaxed);
    }

    fn versions_full(&self) -> Full {
        Full::Versions { versions_max: self.geometry.cells as u32 }
    }

    fn large_full(&self, bytes: u64) -> Full {
        let (used_bytes, area_bytes) = (self.granules.used_bytes(), self.granules.area_bytes());
        Full::Large { bytes, used_bytes, area_bytes }
    }
}

/// Changes of entries.
impl Writer {
    /// A new entry.
    fn insert(&mut self, hash: u64, key: &[u8], value: &[u8], stamp: Stamp, stage: u64) -> Result<(), Full> {
        let at = self.free_slot(hash).ok_or(Full::Neighbourhood)?;
        let mut meta = slot::key_meta(hash, key);
        let mut key_granule = None;
        if slot::is_far_key(key.len()) {
            meta |= FAR_KEY;
            key_granule = Some(self.fill_block(key)?);
        }
        let source = match self.source(slot::key_words(meta), Some(value)) {
            Ok(source) => source,
            Err(full) => {
                if let Some(granule) = key_granule {
                    self.granules.give_back(granule, key.len()); // Never linked: nobody can be looking.
                }
                return Err(full);
            }
        };
        let home_at = self.home_at(hash);
        let link = self.link_of(hash, at);
        // The way to the slot first, then the entry: whoever has seen the entry once finds the way again.
        self.relink(home_at, |of_home| of_home | link);
        let slot = self.slot(at);
        let locked = slot::lock(slot);
        let of_home = slot[SLOT_META].load(Relaxed) & OF_HOME;
        slot[SLOT_META].store(of_home | meta, Relaxed);
        match key_granule {
            Some(granule) => slot[SLOT_PAYLOAD].store(granule.into(), Relaxed),
            None => store_bytes(&slot[SLOT_PAYLOAD..], key),
        }
        store_newest(slot, stamp, stage, source);
        slot::unlock(slot, locked, 0);
        self.stashed += u64::from(link == STASHED);
        self.entries += 1;
        self.show_entries();
        Ok(())
    }

    /// Changes what a home links to. That says nothing of the entry in the home's own slot, so its lock stays as it
    /// is: one word changes in one step.
    fn relink(&self, home_at: usize, change: impl FnOnce(u64) -> u64) {
        let meta = &self.slot(home_at)[SLOT_META];
        meta.store(change(meta.load(Relaxed)), Relaxed);
    }

    /// Removes an entry with all of its versions.
    fn remove(&mut self, at: usize, hash: u64) {
        let home_at = self.home_at(hash);
        let mut link = self.link_of(hash, at);
        self.stashed -= u64::from(link == STASHED);
        if link == STASHED && self.is_home_stashed_without(home_at, hash, at) {
            link = 0;
        }
        let slot = self.slot(at);
        let meta = slot[SLOT_META].load(Relaxed);
        let large = large_in_slot(slot);
        let locked = slot::lock(slot);
        let anchor = slot::cell_of(locked);
        slot[SLOT_META].store(meta & OF_HOME, Relaxed);
        slot::unlock(slot, locked, 0);
        self.relink(home_at, |of_home| of_home & !link); // The entry first, then the way to it.
        if meta & FAR_KEY != 0 {
            // Keys are never pinned: readers that compare this one now are turned back by the lock.
            let granule = self.slot(at)[SLOT_PAYLOAD].load(Relaxed) as u32;
            self.granules.give_back(granule, slot::key_bytes(meta));
        }
        self.retire(large);
        self.drop_versions(anchor);
        self.entries -= 1;
        self.show_entries();
        self.show_large_used();
    }

    /// Whether another key than the one at `at` of this home stands in the stash.
    fn is_home_stashed_without(&self, home_at: usize, hash: u64, at: usize) -> bool {
        let mut key = [0; KEY_BYTES_MAX];
        let mut others = self.bucket(hash).filter(|&other| other != at && self.meta(other) & OCCUPIED != 0);
        others.any(|other| {
            let key_bytes = self.load_key(other, &mut key);
            self.home_at(hash_key(&self.seed, &key[..key_bytes])) == home_at
        })
    }
}

/// Most bytes of blocks of the large-value area that a write takes.
fn blocks_of(key: &[u8], value: Option<&[u8]>) -> u64 {
    let is_far = slot::is_far_key(key.len());
    let key_words = if is_far { 1 } else { words_of(key.len()) };
    let value_bytes = value.map_or(0, <[u8]>::len);
    let of_value = if slot::is_large(key_words, value_bytes) { block_bytes(value_bytes) } else { 0 };
    of_value + if is_far { block_bytes(key.len()) } else { 0 }
}

/// Stores the newest version into an open slot whose key already stands there.
#[inline]
fn store_newest(slot: &Slot, stamp: Stamp, stage: u64, source: Source<'_>) {
    let meta = slot[SLOT_META].load(Relaxed) & (OF_HOME | OF_KEY | FAR_KEY) | stage;
    let value_at = SLOT_PAYLOAD + slot::key_words(meta);
    let (flags, value_bytes) = match source {
        Source::Deletion => (DELETED, 0),
        Source::Near(value) => {
            store_bytes(&slot[value_at..], value);
            (0, value.len())
        }
        Source::Large { granule, value_bytes } => {
            slot[SLOT_GRANULE].store(granule.into(), Relaxed);
            (LARGE, value_bytes)
        }
    };
    slot[SLOT_META].store(meta | flags, Relaxed);
    slot[SLOT_SEQUENCE].store(stamp.sequence.0, Relaxed);
    slot[SLOT_EPOCH_AND_LENGTH].store(slot::epoch_and_length(stamp.epoch, value_bytes), Relaxed);
    slot[SLOT_TIME].store(stamp.time_ns, Relaxed);
}

fn newest_of(slot: &Slot) -> Newest {
    let meta = slot[SLOT_META].load(Relaxed);
    let stage = if meta & COMMITTED != 0 { Stage::Committed } else { Stage::Tentative };
    Newest { stamp: slot::load_stamp(slot), stage, deleted: meta & DELETED != 0 }
}

fn large_in_slot(slot: &Slot) -> Option<(u32, usize)> {
    let is_large = slot[SLOT_META].load(Relaxed) & LARGE != 0;
    is_large.then(|| (slot[SLOT_GRANULE].load(Relaxed) as u32, slot::value_bytes(slot)))
}

fn large_in_cell(cell: &Slot) -> Option<(u32, usize)> {
    let is_large = cell[CELL_FLAGS].load(Relaxed) & cells::CELL_LARGE != 0;
    is_large.then(|| (cell[SLOT_GRANULE].load(Relaxed) as u32, slot::value_bytes(cell)))
}

/// What would break the layout stops us here, before any slot is open.
fn check(key: &[u8], value: Option<&[u8]>, stamp: Stamp) {
    assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "keys have 1 to {KEY_BYTES_MAX} bytes");
    let value_bytes = value.map_or(0, <[u8]>::len);
    assert!(value_bytes <= VALUE_BYTES_MAX, "values have at most {VALUE_BYTES_MAX} bytes");
    assert!(stamp.epoch <= EPOCH_MAX, "epochs have at most 39 bits");
}

fn segment_config(config: &Config) -> SegmentConfig {
    let Config { incarnation, shard, preallocate, .. } = *config;
    SegmentConfig { kind: Kind::Hot, incarnation, shard, preallocate }
}

/// A record needs a cell for the version below it and one to anchor the list.
const CELLS_PER_RECORD: usize = 2;
/// One part in so many of the large-value area is kept for records that are already on their way.
const LARGE_SHARE_KEPT: u64 = 8;
const _: () = assert!(HOP_BITS.count_ones() as usize >= HOP_SLOTS);
