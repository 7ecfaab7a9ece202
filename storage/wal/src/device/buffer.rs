//! Memory that the kernel may read from while we do something else.
//!
//! Invariant: the memory is aligned to a sector, is initialized, never moves, and lives until the value is dropped.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::limits::SECTOR_BYTES;

/// Zeroed bytes at a sector-aligned address that stays the same when the value moves.
pub(crate) struct AlignedBuffer {
    start: NonNull<u8>,
    bytes: usize,
}

impl AlignedBuffer {
    /// A buffer of a whole number of sectors, at least one.
    pub(crate) fn new(bytes: usize) -> Self {
        let layout = layout(bytes);
        // SAFETY: `layout` asserts that the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `new` allocated and zeroed that many bytes, and `drop` alone frees them; a shared borrow of the
        // buffer excludes the exclusive one below.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive borrow of the buffer is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout and freed nowhere else.
        unsafe { dealloc(self.start.as_ptr(), layout(self.bytes)) };
    }
}

// SAFETY: the buffer owns its memory alone, as a `Box<[u8]>` does; which thread frees it does not matter.
unsafe impl Send for AlignedBuffer {}

fn layout(bytes: usize) -> Layout {
    assert!(bytes > 0 && bytes.is_multiple_of(SECTOR_BYTES), "a buffer is a whole number of sectors");
    Layout::from_size_align(bytes, SECTOR_BYTES).expect("a buffer is far smaller than the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_zeroed_and_keeps_its_place_when_moved() {
        let mut buffer = AlignedBuffer::new(3 * SECTOR_BYTES);
        assert_eq!(buffer.bytes().as_ptr() as usize % SECTOR_BYTES, 0);
        assert!(buffer.bytes().iter().all(|byte| *byte == 0));
        buffer.bytes_mut()[5] = 7;
        let before = buffer.bytes().as_ptr();
        let moved = Box::new(buffer);
        assert_eq!(moved.bytes().as_ptr(), before);
        assert_eq!((moved.bytes()[5], moved.len()), (7, 3 * SECTOR_BYTES));
    }
}
