//! The probe's allocator, which counts: a target that claims to allocate nothing shows it.
//!
//! Invariant: every allocation of a thread raises that thread's count by one, and nothing lowers it.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use mimalloc::MiMalloc;

/// mimalloc, counted by thread.
pub(crate) struct CountingAllocator;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has allocated or grown something.
pub(crate) fn of_this_thread() -> u64 {
    COUNT.with(Cell::get)
}

fn count() {
    // A thread that is ending has no count left, and nobody who would ask for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes on to mimalloc with the same arguments, so its promises are this allocator's; counting touches
// a cell of the thread's own, without allocating.
unsafe impl GlobalAlloc for CountingAllocator {
    // SAFETY: as the trait says; the caller's promise is passed on.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.alloc(layout) }
    }

    // SAFETY: as the trait says; the caller's promise is passed on.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    // SAFETY: as the trait says; the caller's promise is passed on.
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.realloc(old, layout, bytes) }
    }

    // SAFETY: as the trait says; the caller's promise is passed on.
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.dealloc(old, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_counted_on_its_own_thread() {
        let before = of_this_thread();
        let one = std::hint::black_box(Box::new(1));
        assert_eq!(of_this_thread(), before + 1);
        let elsewhere = std::thread::spawn(|| (0..100).map(Box::new).collect::<Vec<_>>());
        drop((one, elsewhere.join()));
        assert!(of_this_thread() < before + 50, "another thread's allocations are not ours");
    }
}
