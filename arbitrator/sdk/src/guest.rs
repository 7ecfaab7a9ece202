//! The guest's side of the canonical ABI: where arguments arrive and answers stand.
//!
//! Invariant: one call at a time, on one thread, and the host puts memory back to its first state behind every call;
//! so each static here is written by one call alone, and pointers that the host hands in are regions of the arena
//! that nobody else holds.

#![allow(unsafe_code)]

use core::cell::{Cell, UnsafeCell};

use crate::abi::{
    BATCH_MAX, LIST_BYTES, MANIFEST_BYTES, MANIFEST_FUEL, MANIFEST_LIMITS, MANIFEST_READS, MANIFEST_VERSION,
    OUTCOME_BYTES, OUTCOME_CODE, OUTCOME_EFFECTS, PLAN_KEYS_MAX,
};
use crate::batch::{Batch, BatchArbitrator, Outcomes};
use crate::cells::Effects;
use crate::contract::{Arbitrator, Context, Decision, Keys, Manifest, Plan};

/// The world `arbitrator` as tools for components read it out of a core module.
pub const ARBITRATOR_TYPE: [u8; include_bytes!("arbitrator.component-type").len()] =
    *include_bytes!("arbitrator.component-type");
/// The world `planning-arbitrator`.
pub const PLANNING_ARBITRATOR_TYPE: [u8; include_bytes!("planning-arbitrator.component-type").len()] =
    *include_bytes!("planning-arbitrator.component-type");
/// The world `batch-arbitrator`.
pub const BATCH_ARBITRATOR_TYPE: [u8; include_bytes!("batch-arbitrator.component-type").len()] =
    *include_bytes!("batch-arbitrator.component-type");

/// Bytes of the arena: both arguments, each aligned, and the lists of a batch.
#[must_use]
pub const fn arena_bytes(manifest: &Manifest) -> usize {
    manifest.max_state as usize + manifest.max_proposal as usize + BATCH_MAX * LIST_BYTES + 64
}

/// Where the host puts the arguments.
#[repr(C, align(8))]
pub struct Arena<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    next: Cell<usize>,
}

// SAFETY: a guest has one thread.
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

impl<const BYTES: usize> Arena<BYTES> {
    /// All of it is free.
    #[must_use]
    pub const fn new() -> Self {
        Arena { bytes: UnsafeCell::new([0; BYTES]), next: Cell::new(0) }
    }

    /// Hands out the next bytes; ends the call when there are too few.
    pub fn realloc(&self, old: *mut u8, old_bytes: usize, align: usize, bytes: usize) -> *mut u8 {
        let align = if align.is_power_of_two() { align } else { 1 };
        let begin = self.next.get().checked_next_multiple_of(align);
        let end = begin.and_then(|begin| begin.checked_add(bytes));
        let (Some(begin), Some(end)) = (begin, end) else { core::arch::wasm32::unreachable() };
        if end > BYTES {
            core::arch::wasm32::unreachable()
        }
        self.next.set(end);
        // SAFETY: `begin <= end <= BYTES`, so the pointer stays inside the arena.
        let place = unsafe { self.bytes.get().cast::<u8>().add(begin) };
        if old_bytes > 0 {
            // SAFETY: the host grows a region that it got here; the new one is fresh, so they do not overlap.
            unsafe { core::ptr::copy_nonoverlapping(old, place, old_bytes.min(bytes)) };
        }
        place
    }
}

/// Where answers stand until the host has read them.
#[repr(C, align(8))]
pub struct Room<const EFFECTS: usize> {
    effects: UnsafeCell<[u8; EFFECTS]>,
}

// SAFETY: a guest has one thread.
unsafe impl<const EFFECTS: usize> Sync for Room<EFFECTS> {}

impl<const EFFECTS: usize> Room<EFFECTS> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Room { effects: UnsafeCell::new([0; EFFECTS]) }
    }
}

#[repr(C, align(8))]
struct Answer<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: a guest has one thread.
unsafe impl<const BYTES: usize> Sync for Answer<BYTES> {}

static OUTCOME: Answer<OUTCOME_BYTES> = Answer(UnsafeCell::new([0; OUTCOME_BYTES]));
static MANIFEST: Answer<MANIFEST_BYTES> = Answer(UnsafeCell::new([0; MANIFEST_BYTES]));
static LIST: Answer<LIST_BYTES> = Answer(UnsafeCell::new([0; LIST_BYTES]));
static KEYS: Answer<{ PLAN_KEYS_MAX * LIST_BYTES }> =
    Answer(UnsafeCell::new([0; PLAN_KEYS_MAX * LIST_BYTES]));

/// `describe`.
pub fn describe(manifest: &Manifest) -> *const u8 {
    // SAFETY: one call at a time.
    let out = unsafe { &mut *MANIFEST.0.get() };
    put_list(out, 0, manifest.name.as_ptr(), manifest.name.len());
    let (major, minor, patch) = manifest.version;
    for (index, number) in [major, minor, patch].into_iter().enumerate() {
        let at = MANIFEST_VERSION + 2 * index;
        out[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    out[MANIFEST_READS] = manifest.reads as u8;
    let limits = [manifest.max_state, manifest.max_proposal, manifest.max_effects];
    for (index, limit) in limits.into_iter().enumerate() {
        put_u32(out, MANIFEST_LIMITS + 4 * index, limit);
    }
    out[MANIFEST_FUEL..].copy_from_slice(&manifest.fuel.to_le_bytes());
    out.as_ptr()
}

/// `decide`.
pub fn decide<A: Arbitrator, const EFFECTS: usize>(
    context: &Context,
    state: (*const u8, usize),
    proposal: (*const u8, usize),
    room: &'static Room<EFFECTS>,
) -> *const u8 {
    // SAFETY: the host hands in regions that it filled; one call at a time writes the room.
    let (state, proposal, bytes) = unsafe { (slice(state), slice(proposal), &mut *room.effects.get()) };
    let mut effects = Effects::new(bytes);
    let decision = A::decide(context, state, proposal, &mut effects);
    // SAFETY: one call at a time.
    let out = unsafe { &mut *OUTCOME.0.get() };
    put_outcome(out, 0, decision, effects.as_slice());
    out.as_ptr()
}

/// `plan`.
pub fn plan<P: Plan>(proposal: *const u8, bytes: usize) -> *const u8 {
    // SAFETY: the host hands in a region that it filled.
    let proposal: &'static [u8] = unsafe { slice((proposal, bytes)) };
    let mut keys = Keys::default();
    P::plan(proposal, &mut keys);
    // SAFETY: one call at a time.
    let (lists, out) = unsafe { (&mut *KEYS.0.get(), &mut *LIST.0.get()) };
    for (index, key) in keys.as_slice().iter().enumerate() {
        put_list(lists, index * LIST_BYTES, key.as_ptr(), key.len());
    }
    put_list(out, 0, lists.as_ptr(), keys.as_slice().len());
    out.as_ptr()
}

/// `decide-batch`.
pub fn decide_batch<A: BatchArbitrator, const EFFECTS: usize>(
    context: &Context,
    state: (*const u8, usize),
    proposals: (*const u8, usize),
    room: &'static Room<EFFECTS>,
) -> *const u8 {
    static OUTCOMES: Answer<{ BATCH_MAX * OUTCOME_BYTES }> =
        Answer(UnsafeCell::new([0; BATCH_MAX * OUTCOME_BYTES]));
    // SAFETY: the host hands in regions that it filled; one call at a time writes the room.
    let (state, bytes) = unsafe { (slice(state), &mut *room.effects.get()) };
    let mut batch = [&[][..]; BATCH_MAX];
    let count = proposals.1.min(BATCH_MAX);
    for (index, place) in batch.iter_mut().enumerate().take(count) {
        // SAFETY: the list holds that many pairs of pointer and length, each a region that the host filled.
        *place = unsafe { slice(proposals.0.cast::<(*const u8, usize)>().add(index).read()) };
    }
    let mut outcomes = Outcomes::new(bytes);
    A::decide_batch(context, state, &Batch::new(&batch[..count]), &mut outcomes);
    // SAFETY: one call at a time.
    let (lists, out) = unsafe { (&mut *OUTCOMES.0.get(), &mut *LIST.0.get()) };
    for (index, (decision, effects)) in outcomes.iter().enumerate() {
        put_outcome(lists, index * OUTCOME_BYTES, decision, effects);
    }
    put_list(out, 0, lists.as_ptr(), outcomes.count());
    out.as_ptr()
}

fn put_outcome(out: &mut [u8], at: usize, decision: Decision, effects: &[u8]) {
    out[at] = decision.verdict as u8;
    put_u32(out, at + OUTCOME_CODE, decision.code);
    put_list(out, at + OUTCOME_EFFECTS, effects.as_ptr(), effects.len());
}

fn put_list(out: &mut [u8], at: usize, pointer: *const u8, length: usize) {
    put_u32(out, at, pointer as u32);
    put_u32(out, at + 4, length as u32);
}

fn put_u32(out: &mut [u8], at: usize, number: u32) {
    out[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// # Safety
///
/// The region is readable and nobody writes it during the call. An empty one may have any pointer.
unsafe fn slice(region: (*const u8, usize)) -> &'static [u8] {
    if region.1 == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(region.0, region.1) }
}
