//! A run of shared 64-bit atomic words: the only view of shared memory that the rest of the crate has.
//!
//! Invariant: every access is bounds-checked here, and every word is an atomic, so that whatever stands in the
//! memory, and whoever writes it meanwhile, no access is undefined.

#![allow(unsafe_code)]

use crate::sync::AtomicU64;
use std::sync::Arc;

/// A run of 64-bit atomic words; clones share it, the last clone unmaps it.
#[derive(Clone)]
pub struct Region {
    #[cfg(not(loom))]
    words: core::ptr::NonNull<AtomicU64>,
    #[cfg(not(loom))]
    word_count: usize,
    #[cfg(not(loom))]
    owner: Arc<Owner>,
    #[cfg(loom)]
    words: Arc<Vec<AtomicU64>>,
}

/// Who gives the memory back.
#[cfg(not(loom))]
enum Owner {
    /// Zeroed private heap memory, for models and tests.
    Heap { words: *mut [AtomicU64] },
    /// A shared mapping of `bytes` bytes.
    Mapping { address: *mut core::ffi::c_void, bytes: usize, writable: bool },
}

// SAFETY: a region only ever hands out shared references to atomics; the owner only frees them, once, when the
// last clone is gone.
#[cfg(not(loom))]
unsafe impl Send for Region {}
// SAFETY: as above: all access goes through atomics.
#[cfg(not(loom))]
unsafe impl Sync for Region {}

#[cfg(not(loom))]
impl Drop for Owner {
    fn drop(&mut self) {
        match *self {
            // SAFETY: `words` came from `Box::into_raw` in `Region::plain` and is freed here only.
            Owner::Heap { words } => drop(unsafe { Box::from_raw(words) }),
            Owner::Mapping { address, bytes, .. } => {
                // SAFETY: the range was mapped by `Region::mapped`, and no `Region` is left that could touch it.
                let unmapped = unsafe { rustix::mm::munmap(address, bytes) };
                debug_assert!(unmapped.is_ok(), "a mapping of our own must unmap");
            }
        }
    }
}

#[cfg(not(loom))]
impl Region {
    /// Zeroed memory of this process alone, for models and tests.
    pub fn plain(word_count: usize) -> Region {
        let words: Box<[AtomicU64]> = (0..word_count).map(|_| AtomicU64::new(0)).collect();
        let words = Box::into_raw(words);
        // SAFETY: a box is never null.
        let first = unsafe { core::ptr::NonNull::new_unchecked(words.cast::<AtomicU64>()) };
        #[allow(clippy::arc_with_non_send_sync)] // `Region` vouches for both, above.
        Region { words: first, word_count, owner: Arc::new(Owner::Heap { words }) }
    }

    /// Maps the first `bytes` bytes of `file`, shared; `writable` asks for write access too.
    ///
    /// The caller has made sure that the file cannot shrink (sealed), otherwise an access could fault.
    pub(crate) fn mapped(
        file: rustix::fd::BorrowedFd<'_>,
        bytes: usize,
        writable: bool,
    ) -> Result<Region, rustix::io::Errno> {
        use rustix::mm::{Advice, MapFlags, ProtFlags};
        assert!(bytes > 0 && bytes.is_multiple_of(crate::layout::PAGE_BYTES), "segments are whole pages");
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a fresh mapping at an address the kernel chooses aliases nothing of ours.
        let address =
            unsafe { rustix::mm::mmap(core::ptr::null_mut(), bytes, access, MapFlags::SHARED, file, 0)? };
        // SAFETY: advice about our own fresh mapping; it changes no content. Refusal only costs speed.
        let _ = unsafe { rustix::mm::madvise(address, bytes, Advice::LinuxHugepage) };
        let Some(words) = core::ptr::NonNull::new(address.cast::<AtomicU64>()) else {
            return Err(rustix::io::Errno::NOMEM);
        };
        #[allow(clippy::arc_with_non_send_sync)] // `Region` vouches for both, above.
        Ok(Region {
            words,
            word_count: bytes / 8,
            owner: Arc::new(Owner::Mapping { address, bytes, writable }),
        })
    }

    /// Number of words.
    #[inline]
    pub fn word_count(&self) -> usize {
        self.word_count
    }

    /// Whether this mapping may be stored to.
    pub fn is_writable(&self) -> bool {
        !matches!(*self.owner, Owner::Mapping { writable: false, .. })
    }

    #[inline]
    fn all(&self) -> &[AtomicU64] {
        // SAFETY: `words` points to `word_count` words that live as long as the owner, which we hold; any bit
        // pattern is a valid `AtomicU64`, and page or allocator alignment covers its eight bytes. A read-only
        // mapping is only ever loaded from (plain word loads, allowed on read-only memory).
        unsafe { core::slice::from_raw_parts(self.words.as_ptr(), self.word_count) }
    }

    /// Words `at..at + count` as plain bytes, `bytes` long.
    ///
    /// # Safety
    ///
    /// Nobody may store to these words while the slice lives (the hot table's pin protocol).
    pub(crate) unsafe fn frozen_bytes(&self, at: usize, bytes: usize) -> &[u8] {
        let words = self.words(at, bytes.div_ceil(8));
        // SAFETY: the words are in bounds, initialized, and frozen by the caller's promise.
        unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<u8>(), bytes) }
    }
}

#[cfg(loom)]
impl Region {
    /// Zeroed memory under loom's eyes.
    pub fn plain(word_count: usize) -> Region {
        Region { words: Arc::new((0..word_count).map(|_| AtomicU64::new(0)).collect()) }
    }

    /// Number of words.
    pub fn word_count(&self) -> usize {
        self.words.len()
    }

    /// Whether this mapping may be stored to.
    pub fn is_writable(&self) -> bool {
        true
    }

    fn all(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl Region {
    /// Loads word `at`, relaxed.
    ///
    /// # Panics
    ///
    /// When `at` is out of bounds.
    #[inline(always)]
    pub fn load(&self, at: usize) -> u64 {
        self.word(at).load(crate::sync::Ordering::Relaxed)
    }

    /// Stores word `at`, relaxed. For floors and tests: a region of a segment that its owner uses as something else
    /// is only broken by this (typed errors, never undefined behaviour). The memory must be mapped writable.
    ///
    /// # Panics
    ///
    /// When `at` is out of bounds.
    #[inline(always)]
    pub fn store(&self, at: usize, word: u64) {
        assert!(self.is_writable(), "this region is mapped read-only");
        self.word(at).store(word, crate::sync::Ordering::Relaxed);
    }

    /// Word `at`.
    ///
    /// # Panics
    ///
    /// When `at` is out of bounds: our own arithmetic is broken.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        &self.all()[at]
    }

    /// Words `at..at + count`.
    ///
    /// # Panics
    ///
    /// When the range is out of bounds: our own arithmetic is broken.
    #[inline(always)]
    pub(crate) fn words(&self, at: usize, count: usize) -> &[AtomicU64] {
        &self.all()[at..][..count]
    }

    /// `N` words from `at`, as an array.
    ///
    /// # Panics
    ///
    /// When the range is out of bounds: our own arithmetic is broken.
    #[inline(always)]
    pub(crate) fn array<const N: usize>(&self, at: usize) -> &[AtomicU64; N] {
        match self.all()[at..].first_chunk::<N>() {
            Some(words) => words,
            None => panic!("word range out of bounds"),
        }
    }
}

impl core::fmt::Debug for Region {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Region").field("word_count", &self.word_count()).finish()
    }
}

/// Asks the cache for the line that holds this word.
#[inline(always)]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of an address that a reference vouches for is a hint without effect on memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(word).cast::<i8>()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
    let _ = word;
}
