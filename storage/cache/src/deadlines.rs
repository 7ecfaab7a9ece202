//! Who expires when: a heap of entries that have a deadline, which knows the place of each.
//!
//! Invariant: every entry with a deadline stands here once, no entry without; the first has the earliest.

use crate::Nanos;
use crate::order::NONE;

/// Entries with deadlines, earliest first.
#[derive(Debug)]
pub(crate) struct Deadlines {
    heap: Vec<(Nanos, u32)>,
    /// Place of each entry in the heap, or [`NONE`].
    places: Box<[u32]>,
}

impl Deadlines {
    pub(crate) fn new(entries_max: usize) -> Deadlines {
        let places = vec![NONE; entries_max].into_boxed_slice();
        Deadlines { heap: Vec::with_capacity(entries_max), places }
    }

    /// Bytes that each entry may take here.
    pub(crate) const BYTES_PER_ENTRY: usize = size_of::<(Nanos, u32)>() + size_of::<u32>();

    /// Gives an entry this deadline, or none.
    pub(crate) fn set(&mut self, entry: u32, deadline: Option<Nanos>) {
        self.remove(entry);
        let Some(deadline) = deadline else { return };
        self.heap.push((deadline, entry));
        self.rise(self.heap.len() - 1);
    }

    pub(crate) fn remove(&mut self, entry: u32) {
        let place = std::mem::replace(&mut self.places[entry as usize], NONE);
        if place == NONE {
            return;
        }
        let place = place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            let place = self.rise(place);
            self.fall(place);
        }
    }

    pub(crate) fn of(&self, entry: u32) -> Option<Nanos> {
        let place = self.places[entry as usize];
        (place != NONE).then(|| self.heap[place as usize].0)
    }

    /// The earliest deadline and whose it is.
    pub(crate) fn first(&self) -> Option<(Nanos, u32)> {
        self.heap.first().copied()
    }

    /// Moves the entry at a place up to where it belongs, and notes its place.
    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 && self.heap[(place - 1) / 2].0 > self.heap[place].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        self.places[self.heap[place].1 as usize] = place as u32;
        place
    }

    fn fall(&mut self, mut place: usize) {
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.heap.len());
            let Some(child) = children.min_by_key(|&child| self.heap[child].0) else { return };
            if self.heap[child].0 >= self.heap[place].0 {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }

    fn swap(&mut self, left: usize, right: usize) {
        self.heap.swap(left, right);
        for place in [left, right] {
            self.places[self.heap[place].1 as usize] = place as u32;
        }
    }
}
