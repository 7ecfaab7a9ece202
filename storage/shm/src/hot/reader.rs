//! The reading end: takes no lock, asks nobody, harms nobody.

use super::geometry::Geometry;
use super::slot::{self, COMMITTED, DELETED, FAR_KEY, HOP_BITS, LARGE, OF_KEY, STASHED, Slot};
use super::view::{Content, View};
use super::{Found, ReadError, Stage, cells};
use crate::lane::Pins;
use crate::layout::hot::*;
use crate::layout::{AT_PARKED, KEY_BYTES_MAX};
use crate::region::prefetch;
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
    fence, spin_hint, yield_core,
};
use crate::words::{equal_bytes, load_bytes, words_of};
use crate::{HashSeed, Heartbeat, Kind, OpenError, Region, Segment, hash_key};
#[cfg(not(loom))]
use rustix::fd::OwnedFd;

/// A reading end of a hot table. Cheap to share between threads.
#[derive(Debug)]
pub struct Reader {
    segment: Segment,
    geometry: Geometry,
    seed: HashSeed,
}

impl Reader {
    /// Opens the hot table behind a descriptor from the node, read-only.
    #[cfg(not(loom))]
    pub fn open(file: OwnedFd) -> Result<Reader, OpenError> {
        Reader::over(Segment::open(file, Kind::Hot)?)
    }

    /// Opens a hot table in plain memory of this process, for models.
    pub fn plain(region: Region) -> Result<Reader, OpenError> {
        Reader::over(Segment::open_region(region, Kind::Hot)?)
    }

    /// Copies the newest version of a key's value to the start of `out`: the tentative one while one is pending.
    /// `None` when the key is absent (or its newest version is a deletion).
    ///
    /// # Errors
    ///
    /// [`ReadError::BufferTooSmall`] with the length needed; [`ReadError::Stalled`] when the writer died inside
    /// this very entry.
    #[inline]
    pub fn get(&self, key: &[u8], out: &mut [u8]) -> Result<Option<Found>, ReadError> {
        self.get_hashed(hash_key(&self.seed, key), key, out)
    }

    /// As [`Reader::get`], for a caller that has already hashed the key with [`Reader::seed`]. With any other hash
    /// the key counts as absent.
    ///
    /// # Errors
    ///
    /// As [`Reader::get`].
    #[inline]
    pub fn get_hashed(&self, hash: u64, key: &[u8], out: &mut [u8]) -> Result<Option<Found>, ReadError> {
        self.get_wanted(hash, key, 0, out)
    }

    /// Copies the committed version of a key's value to the start of `out`, whatever is tentative.
    ///
    /// # Errors
    ///
    /// As [`Reader::get`].
    pub fn get_committed(&self, key: &[u8], out: &mut [u8]) -> Result<Option<Found>, ReadError> {
        self.get_committed_hashed(hash_key(&self.seed, key), key, out)
    }

    /// As [`Reader::get_committed`], for a caller that has already hashed the key with [`Reader::seed`].
    ///
    /// # Errors
    ///
    /// As [`Reader::get`].
    pub fn get_committed_hashed(
        &self,
        hash: u64,
        key: &[u8],
        out: &mut [u8],
    ) -> Result<Option<Found>, ReadError> {
        self.get_wanted(hash, key, COMMITTED, out)
    }

    /// As [`Reader::get`], into a vector that is made as long as the value.
    ///
    /// # Errors
    ///
    /// [`ReadError::Stalled`] as [`Reader::get`].
    pub fn get_vec(&self, key: &[u8], out: &mut Vec<u8>) -> Result<Option<Found>, ReadError> {
        with_room(out, |out| self.get(key, out))
    }

    /// As [`Reader::get_committed`], into a vector that is made as long as the value.
    ///
    /// # Errors
    ///
    /// [`ReadError::Stalled`] as [`Reader::get`].
    pub fn get_committed_vec(&self, key: &[u8], out: &mut Vec<u8>) -> Result<Option<Found>, ReadError> {
        with_room(out, |out| self.get_committed(key, out))
    }

    /// The newest version of a key's value without copying a large one: it stays as it is while the view lives,
    /// whatever is written meanwhile. Small values are copied into the view and take no pin.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinsTaken`] when all pins hold views; [`ReadError::Stalled`] as [`Reader::get`].
    pub fn view(&self, key: &[u8], pins: &Pins) -> Result<Option<View>, ReadError> {
        let hash = hash_key(&self.seed, key);
        let found =
            self.search(hash, key, ALL_LINKS, |slot, lock, meta| self.view_newest(slot, lock, meta, pins))?;
        found.unwrap_or(Ok(None))
    }

    /// Calls `visit` with key, value and newest version of every entry whose key starts with `prefix`, in no order.
    /// An entry that is there all the time is visited once; one that comes or goes meanwhile may be missed or, when
    /// it was deleted and put again, visited twice.
    ///
    /// # Errors
    ///
    /// [`ReadError::Stalled`] as [`Reader::get`]; entries visited until then were right.
    pub fn scan(&self, prefix: &[u8], visit: impl FnMut(&[u8], &[u8], &Found)) -> Result<(), ReadError> {
        self.scan_with(self.geometry.all_slots(), prefix, Reader::copy_newest, visit)
    }

    /// As [`Reader::scan`], with committed versions only: what is tentative is not seen, and a key that only a
    /// tentative version has put is left out.
    ///
    /// # Errors
    ///
    /// As [`Reader::scan`].
    pub fn scan_committed(
        &self,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8], &Found),
    ) -> Result<(), ReadError> {
        self.scan_with(self.geometry.all_slots(), prefix, Reader::copy_committed, visit)
    }

    /// As [`Reader::scan_committed`] of all keys, in `count` places of the table from the place `first` on. Entries never
    /// move: a key that is there all the while is met once by whoever goes through all [`Reader::places`], however slowly.
    ///
    /// # Errors
    ///
    /// As [`Reader::scan`].
    pub fn scan_committed_places(
        &self,
        first: u64,
        count: u64,
        visit: impl FnMut(&[u8], &[u8], &Found),
    ) -> Result<(), ReadError> {
        self.scan_with(self.geometry.slots_from(first, count), &[], Reader::copy_committed, visit)
    }

    /// Places of the table, taken or not.
    pub fn places(&self) -> u64 {
        self.geometry.slot_count()
    }

    /// Entries now, tentative deletions included.
    pub fn entries(&self) -> u64 {
        self.region().word(AT_ENTRIES).load(Relaxed)
    }

    /// Bytes of the segment.
    pub fn bytes(&self) -> u64 {
        self.segment.bytes()
    }

    /// When the node last gave a sign of life, nanoseconds since the Unix epoch; 0 before the first.
    #[inline]
    pub fn heartbeat_ns(&self) -> u64 {
        self.segment.heartbeat().last_ns()
    }

    /// The node's sign of life, to keep.
    pub fn heartbeat(&self) -> Heartbeat {
        self.segment.heartbeat()
    }

    /// Incarnation of the node.
    pub fn incarnation(&self) -> u64 {
        self.segment.incarnation()
    }

    /// The shard.
    pub fn shard(&self) -> u16 {
        self.segment.shard()
    }

    /// The hash seed of the table.
    pub fn seed(&self) -> &HashSeed {
        &self.seed
    }

    /// Whether the shard sleeps and wants its bell rung; see [`crate::bell`].
    #[inline]
    pub fn is_parked(&self) -> bool {
        self.region().word(AT_PARKED).load(Relaxed) != 0
    }

    fn over(segment: Segment) -> Result<Reader, OpenError> {
        let (geometry, seed) = Geometry::read(segment.region())?;
        Ok(Reader { segment, geometry, seed })
    }

    #[inline(always)]
    fn region(&self) -> &Region {
        self.segment.region()
    }

    #[inline(always)]
    fn slot(&self, at: usize) -> &Slot {
        self.region().array(at)
    }

    /// Reads the newest version, or with `stage` = [`COMMITTED`] the committed one.
    ///
    /// This is the way of nearly all reads, so it is written for the processor: no address depends on a load before
    /// the slot is known, and the answer is made in registers. Everything unusual goes to [`Reader::get_around`].
    #[inline(always)]
    fn get_wanted(&self, hash: u64, key: &[u8], stage: u64, out: &mut [u8]) -> Answer {
        let (slot, lock, meta) = match self.look_home(hash, key) {
            Home::Tagged { slot, lock, meta } => (slot, lock, meta),
            Home::Linked => return self.get_around(hash, key, stage, LINKS_BEYOND_PAIR, out),
            Home::Absent => return Ok(None),
        };
        let (stamp, value_bytes) = (slot::load_stamp(slot), slot::value_bytes(slot));
        let is_plain = !slot::is_locked(lock)
            && meta & (DELETED | LARGE | FAR_KEY) == 0
            && meta & stage == stage
            && equal_bytes(&slot[SLOT_PAYLOAD..], key);
        if is_plain
            && let Some(out) = out.get_mut(..value_bytes)
            && let Some(words) = slot.get(SLOT_PAYLOAD + words_of(key.len())..)
            && let Some(words) = words.get(..words_of(value_bytes))
        {
            load_bytes(words, out);
            if Self::is_undisturbed(slot, lock) {
                return Ok(Some(Found { value_bytes, stamp, stage: stage_of(meta) }));
            }
        }
        self.get_around(hash, key, stage, ALL_LINKS, out)
    }

    /// As [`Reader::get_wanted`], wherever and whatever the entry is.
    #[inline(never)]
    fn get_around(&self, hash: u64, key: &[u8], stage: u64, links: u64, out: &mut [u8]) -> Answer {
        let found = self.search(hash, key, links, |slot, lock, meta| {
            if stage == COMMITTED {
                return self.copy_committed(slot, lock, meta, out);
            }
            self.copy_newest(slot, lock, meta, out)
        })?;
        found.unwrap_or(Ok(None))
    }

    /// Looks at the two slots at home, in which five of six keys stand.
    #[inline(always)]
    fn look_home(&self, hash: u64, key: &[u8]) -> Home<'_> {
        let home_at = self.geometry.slot_at(self.geometry.home(hash));
        let pair: &[AtomicU64; 2 * SLOT_WORDS] = self.region().array(home_at);
        // The second lines are on their way while both first lines are looked at.
        prefetch(&pair[LINE_2]);
        prefetch(&pair[SLOT_WORDS + LINE_2]);
        if key.len() > KEY_BYTES_MAX {
            return Home::Absent;
        }
        let wanted = slot::key_meta(hash, key);
        // Acquire pairs with the Release in `slot::unlock`: what is loaded below is at least as new. A slot that holds
        // exactly this key under an even, unchanged lock holds its entry, whatever its home links to.
        let lock_0 = pair[SLOT_LOCK].load(Acquire);
        let lock_1 = pair[SLOT_WORDS + SLOT_LOCK].load(Acquire);
        let meta_0 = pair[SLOT_META].load(Relaxed);
        let meta_1 = pair[SLOT_WORDS + SLOT_META].load(Relaxed);
        // Selected by mask: written as conditions, the compiler makes two branches of them, one mispredicted in three.
        let mask = u64::from(meta_0 & OF_KEY == wanted).wrapping_neg();
        let lock = lock_1 ^ ((lock_0 ^ lock_1) & mask);
        let meta = meta_1 ^ ((meta_0 ^ meta_1) & mask);
        let at = SLOT_WORDS & !mask as usize;
        if meta & OF_KEY == wanted {
            let slot = pair[at..].first_chunk().expect("two slots");
            return Home::Tagged { slot, lock, meta };
        }
        if meta_0 & LINKS_BEYOND_PAIR == 0 { Home::Absent } else { Home::Linked }
    }

    /// Finds the key by following `links` of its home, and lets `visit` copy from its slot, again and again until that
    /// was not disturbed. `visit` gets the lock word to check against at the end, and returns `None` when disturbed.
    fn search<T>(
        &self,
        hash: u64,
        key: &[u8],
        links: u64,
        mut visit: impl FnMut(&Slot, u64, u64) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        if key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let home_at = self.geometry.slot_at(self.geometry.home(hash));
        let wanted = slot::key_meta(hash, key);
        let mut patience = Patience::new();
        loop {
            match self.search_once(key, hash, home_at, wanted, links, &mut visit) {
                Seen::Absent => return Ok(None),
                Seen::Present(found) => return Ok(Some(found)),
                Seen::Disturbed => patience.wait()?,
            }
        }
    }

    #[inline(always)]
    fn search_once<T>(
        &self,
        key: &[u8],
        hash: u64,
        home_at: usize,
        wanted: u64,
        links: u64,
        visit: &mut impl FnMut(&Slot, u64, u64) -> Option<T>,
    ) -> Seen<T> {
        // Links are set before their entry appears and cleared after it has gone: the slots alone say what is there.
        // A key that this thread has seen, or knows of otherwise, is linked for it, too.
        let home_meta = self.slot(home_at)[SLOT_META].load(Relaxed) & links;
        let mut hops = home_meta as u32;
        while hops != 0 {
            let hop = hops.trailing_zeros() as usize;
            hops &= hops - 1;
            match self.try_slot(home_at + hop * SLOT_WORDS, key, wanted, visit) {
                Seen::Absent => {}
                answer => return answer,
            }
        }
        if home_meta & STASHED != 0 {
            return self.search_stash(key, hash, wanted, visit);
        }
        Seen::Absent
    }

    #[cold]
    fn search_stash<T>(
        &self,
        key: &[u8],
        hash: u64,
        wanted: u64,
        visit: &mut impl FnMut(&Slot, u64, u64) -> Option<T>,
    ) -> Seen<T> {
        let bucket_at = self.geometry.bucket_at(self.geometry.home(hash));
        for index in 0..HOP_SLOTS {
            match self.try_slot(bucket_at + index * SLOT_WORDS, key, wanted, visit) {
                Seen::Absent => {}
                answer => return answer,
            }
        }
        Seen::Absent
    }

    /// Lets `visit` copy if the key stands in this slot. `Absent` needs no second look at the lock: from before an
    /// entry appears until after it has gone, key and tag stay the same, so if they differ there was a moment, during
    /// this very look, when the key was not here.
    #[inline(always)]
    fn try_slot<T>(
        &self,
        at: usize,
        key: &[u8],
        wanted: u64,
        visit: &mut impl FnMut(&Slot, u64, u64) -> Option<T>,
    ) -> Seen<T> {
        let slot = self.slot(at);
        // Acquire pairs with the Release in `slot::unlock`: what we load below is at least as new.
        let lock = slot[SLOT_LOCK].load(Acquire);
        let meta = slot[SLOT_META].load(Relaxed);
        if meta & OF_KEY != wanted {
            return Seen::Absent;
        }
        if slot::is_locked(lock) {
            return Seen::Disturbed;
        }
        if !slot::holds_key(self.region(), &self.geometry, slot, meta, key) {
            return Seen::Absent;
        }
        match visit(slot, lock, meta) {
            Some(found) => Seen::Present(found),
            None => Seen::Disturbed,
        }
    }

    /// Whether nothing that was loaded of the slot, or of what it links to, was being changed meanwhile.
    #[inline(always)]
    fn is_undisturbed(slot: &Slot, lock: u64) -> bool {
        // Acquire fence pairs with the Release fence in `slot::lock`.
        fence(Acquire);
        slot[SLOT_LOCK].load(Relaxed) == lock
    }

    #[inline(always)]
    fn copy_newest(&self, slot: &Slot, lock: u64, meta: u64, out: &mut [u8]) -> Option<Answer> {
        let (stamp, value_bytes) = (slot::load_stamp(slot), slot::value_bytes(slot));
        let is_deleted = meta & DELETED != 0;
        let fits = value_bytes <= out.len();
        if fits && !is_deleted {
            load_bytes(self.newest_value(slot, meta, value_bytes)?, &mut out[..value_bytes]);
        }
        if !Self::is_undisturbed(slot, lock) {
            return None;
        }
        if is_deleted {
            return Some(Ok(None));
        }
        if !fits {
            return Some(Err(ReadError::BufferTooSmall { value_bytes }));
        }
        Some(Ok(Some(Found { value_bytes, stamp, stage: stage_of(meta) })))
    }

    fn copy_committed(&self, slot: &Slot, lock: u64, meta: u64, out: &mut [u8]) -> Option<Answer> {
        if meta & COMMITTED != 0 {
            return self.copy_newest(slot, lock, meta, out);
        }
        self.copy_anchor(slot, lock, out)
    }

    fn copy_anchor(&self, slot: &Slot, lock: u64, out: &mut [u8]) -> Option<Answer> {
        let Some(cell_at) = self.geometry.cell_at(slot::cell_of(lock)) else {
            return Self::is_undisturbed(slot, lock).then_some(Ok(None));
        };
        let cell = self.slot(cell_at);
        let flags = cell[CELL_FLAGS].load(Relaxed);
        let value_bytes = slot::value_bytes(cell);
        let stamp = slot::load_stamp(cell);
        let is_present = flags & cells::PRESENT != 0;
        let fits = value_bytes <= out.len();
        if fits && is_present {
            let words = if flags & cells::CELL_LARGE != 0 {
                self.large_value(cell, value_bytes)?
            } else {
                cell[SLOT_PAYLOAD..].get(..words_of(value_bytes))?
            };
            load_bytes(words, &mut out[..value_bytes]);
        }
        if !Self::is_undisturbed(slot, lock) {
            return None;
        }
        if !is_present {
            return Some(Ok(None));
        }
        if !fits {
            return Some(Err(ReadError::BufferTooSmall { value_bytes }));
        }
        Some(Ok(Some(Found { value_bytes, stamp, stage: Stage::Committed })))
    }

    fn view_newest(
        &self,
        slot: &Slot,
        lock: u64,
        meta: u64,
        pins: &Pins,
    ) -> Option<Result<Option<View>, ReadError>> {
        let value_bytes = slot::value_bytes(slot);
        let found = Found { value_bytes, stamp: slot::load_stamp(slot), stage: stage_of(meta) };
        if meta & DELETED != 0 {
            return Self::is_undisturbed(slot, lock).then_some(Ok(None));
        }
        if meta & LARGE == 0 {
            let mut near = [0; PAYLOAD_WORDS * 8];
            load_bytes(self.newest_value(slot, meta, value_bytes)?, near.get_mut(..value_bytes)?);
            let view = View { found, content: Content::Near(near) };
            return Self::is_undisturbed(slot, lock).then_some(Ok(Some(view)));
        }
        let Some(pin) = pins.take() else { return Some(Err(ReadError::PinsTaken)) };
        let granule = slot[SLOT_GRANULE].load(Relaxed);
        let at = self.geometry.block_at(granule, value_bytes)?;
        pin.hold(granule as u32);
        // The fence inside `hold` stands before this check: from here on either the block is ours to look at, or
        // the lock says that it was unlinked.
        if !Self::is_undisturbed(slot, lock) {
            return None;
        }
        let content = Content::Pinned { region: self.region().clone(), at, _pin: pin };
        Some(Ok(Some(View { found, content })))
    }

    fn scan_with(
        &self,
        slots: impl Iterator<Item = usize>,
        prefix: &[u8],
        copy: CopyValue,
        mut visit: impl FnMut(&[u8], &[u8], &Found),
    ) -> Result<(), ReadError> {
        let mut key = [0; KEY_BYTES_MAX];
        let mut value = Vec::new();
        for at in slots {
            let mut patience = Patience::new();
            loop {
                match self.copy_entry(self.slot(at), prefix, copy, &mut key, &mut value) {
                    Some(Ok(Some((key_bytes, found)))) => {
                        visit(&key[..key_bytes], &value[..found.value_bytes], &found);
                        break;
                    }
                    Some(Ok(None)) => break,
                    Some(Err(ReadError::BufferTooSmall { value_bytes })) => value.resize(value_bytes, 0),
                    Some(Err(error)) => return Err(error),
                    None => patience.wait()?,
                }
            }
        }
        Ok(())
    }

    /// Copies key and value when an entry with this prefix stands here; `None` when disturbed.
    fn copy_entry(
        &self,
        slot: &Slot,
        prefix: &[u8],
        copy: CopyValue,
        key: &mut [u8; KEY_BYTES_MAX],
        value: &mut [u8],
    ) -> Option<Result<Option<(usize, Found)>, ReadError>> {
        // Acquire pairs with the Release in `slot::unlock`.
        let lock = slot[SLOT_LOCK].load(Acquire);
        let meta = slot[SLOT_META].load(Relaxed);
        if slot::is_locked(lock) {
            return None;
        }
        let key_bytes = slot::key_bytes(meta);
        if meta & slot::OCCUPIED == 0 || key_bytes < prefix.len() {
            return Self::is_undisturbed(slot, lock).then_some(Ok(None));
        }
        let key_words = if meta & slot::FAR_KEY == 0 {
            &slot[SLOT_PAYLOAD..]
        } else {
            let at = self.geometry.block_at(slot[SLOT_PAYLOAD].load(Relaxed), key_bytes)?;
            self.region().words(at, words_of(key_bytes))
        };
        load_bytes(key_words.get(..words_of(key_bytes))?, key.get_mut(..key_bytes)?);
        if !key.starts_with(prefix) {
            return Self::is_undisturbed(slot, lock).then_some(Ok(None));
        }
        // The key is right if the value is: `copy` looks at the same lock word again at its end.
        let answer = copy(self, slot, lock, meta, value)?;
        Some(answer.map(|found| found.map(|found| (key_bytes, found))))
    }

    /// The words of the newest value; `None` when what we loaded cannot be: then it was being changed.
    #[inline(always)]
    fn newest_value<'a>(&'a self, slot: &'a Slot, meta: u64, value_bytes: usize) -> Option<&'a [AtomicU64]> {
        if meta & LARGE != 0 {
            return self.large_value(slot, value_bytes);
        }
        let words = slot.get(SLOT_PAYLOAD + slot::key_words(meta)..)?;
        words.get(..words_of(value_bytes))
    }

    #[inline(never)]
    fn large_value(&self, slot: &Slot, value_bytes: usize) -> Option<&[AtomicU64]> {
        let at = self.geometry.block_at(slot[SLOT_GRANULE].load(Relaxed), value_bytes)?;
        Some(self.region().words(at, words_of(value_bytes)))
    }
}

type Answer = Result<Option<Found>, ReadError>;
type CopyValue = fn(&Reader, &Slot, u64, u64, &mut [u8]) -> Option<Answer>;

/// What the two slots at home say of a key.
enum Home<'a> {
    /// One of them has its tag; with which lock and meta words.
    Tagged { slot: &'a Slot, lock: u64, meta: u64 },
    /// Neither has, but keys of this home stand elsewhere.
    Linked,
    /// Nobody has it.
    Absent,
}

/// Outcome of one look.
enum Seen<T> {
    Absent,
    Present(T),
    Disturbed,
}

#[inline(always)]
fn stage_of(meta: u64) -> Stage {
    if meta & COMMITTED != 0 { Stage::Committed } else { Stage::Tentative }
}

fn with_room(
    out: &mut Vec<u8>,
    mut read: impl FnMut(&mut [u8]) -> Result<Option<Found>, ReadError>,
) -> Result<Option<Found>, ReadError> {
    out.resize(out.capacity(), 0);
    loop {
        match read(out) {
            Err(ReadError::BufferTooSmall { value_bytes }) => out.resize(value_bytes, 0),
            answer => {
                let value_bytes = answer.ok().flatten().map_or(0, |found| found.value_bytes);
                out.truncate(value_bytes);
                return answer;
            }
        }
    }
}

/// How long a reader tries against a writer that is just changing what it reads.
struct Patience {
    tries: u32,
    #[cfg(not(loom))]
    since: Option<std::time::Instant>,
}

impl Patience {
    #[inline(always)]
    fn new() -> Patience {
        Patience {
            tries: 0,
            #[cfg(not(loom))]
            since: None,
        }
    }

    #[cold]
    fn wait(&mut self) -> Result<(), ReadError> {
        self.tries += 1;
        if self.tries < SPINS_MAX {
            spin_hint();
            return Ok(());
        }
        // The writer was preempted inside a change, died there, or changes this entry without pause.
        yield_core();
        #[cfg(not(loom))]
        if self.since.get_or_insert_with(std::time::Instant::now).elapsed() < STALL {
            return Ok(());
        }
        Err(ReadError::Stalled)
    }
}

/// What a home's meta word says of places to look at.
const ALL_LINKS: u64 = HOP_BITS | STASHED;
/// As above, without the home's own two slots.
const LINKS_BEYOND_PAIR: u64 = ALL_LINKS & !3;
/// Word of a slot that stands in its second cache line.
const LINE_2: usize = SLOT_WORDS / 2;
/// A change takes the writer well under a microsecond: so many tries before the core is given away.
const SPINS_MAX: u32 = if cfg!(loom) { 2 } else { 200 };
/// A preempted writer is back after some scheduler ticks of 4 ms; one that is gone so long is dead or stopped.
#[cfg(not(loom))]
const STALL: std::time::Duration = std::time::Duration::from_millis(250);
