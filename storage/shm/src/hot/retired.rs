//! Blocks that are unlinked but may still be looked at: given back once no pin holds them.
//!
//! Invariant: a block is given back only after a look at all pins that came after its unlinking. A reader announces
//! its pin, fences, and checks that the block is still linked; we unlink, fence, and look at the pins. So either we
//! see the pin, or the reader sees the block gone.
//!
//! Pins are written by clients and may be nonsense. The worst nonsense can do is to hold back as many blocks as the
//! client has pins; when the client goes, so do its pins.

use super::granules::{Granules, block_bytes};
use crate::lane::NodePins;
use crate::layout::lane::PINS;
use crate::sync::{Ordering::SeqCst, fence};

/// The blocks on their way back, and the pins that may hold them.
#[derive(Debug)]
pub(super) struct Retired {
    blocks: Vec<(u32, u32)>,
    /// Bytes in `blocks`.
    bytes: u64,
    pages: Vec<(u64, NodePins)>,
    next_page: u64,
    /// What the pins held at the last look, sorted.
    held: Vec<u64>,
    /// How often a block stayed because of a pin.
    held_back: u64,
}

impl Retired {
    /// Nothing retired, no pins known. Allocates all it will need for `PAGES_FORESEEN` clients.
    pub(super) fn new() -> Retired {
        Retired {
            blocks: Vec::with_capacity(BLOCKS_MIN + PAGES_FORESEEN * (PINS + BLOCKS_PER_PAGE)),
            bytes: 0,
            pages: Vec::with_capacity(PAGES_FORESEEN),
            next_page: 0,
            held: Vec::with_capacity(PAGES_FORESEEN * PINS),
            held_back: 0,
        }
    }

    /// Looks at these pins, too, from now on.
    pub(super) fn add_page(&mut self, pins: NodePins) -> u64 {
        self.next_page += 1;
        self.pages.push((self.next_page, pins));
        self.next_page
    }

    /// Forgets these pins.
    pub(super) fn remove_page(&mut self, page: u64) {
        self.pages.retain(|&(number, _)| number != page);
    }

    /// Takes over a block of `bytes` bytes that was unlinked just now.
    pub(super) fn retire(&mut self, granules: &mut Granules, granule: u32, bytes: usize) {
        if self.pages.is_empty() {
            granules.give_back(granule, bytes); // Copying readers are safe by their slot's lock alone.
            return;
        }
        self.blocks.push((granule, bytes as u32));
        self.bytes += block_bytes(bytes);
        let many_blocks = self.blocks.len() >= BLOCKS_MIN + self.pages.len() * BLOCKS_PER_PAGE;
        if many_blocks || self.bytes > granules.area_bytes() / AREA_SHARE_MAX {
            self.reclaim(granules);
        }
    }

    /// Gives back every block that no pin holds.
    pub(super) fn reclaim(&mut self, granules: &mut Granules) {
        if self.blocks.is_empty() {
            return;
        }
        // Pairs with the fence in `lane::Pin::hold`.
        fence(SeqCst);
        self.held.clear();
        for (_, pins) in &self.pages {
            self.held.extend((0..PINS).map(|index| pins.held(index)).filter(|&held| held != 0));
        }
        self.held.sort_unstable();
        let (held, bytes_left, held_back) = (&self.held, &mut self.bytes, &mut self.held_back);
        self.blocks.retain(|&(granule, bytes)| {
            if held.binary_search(&(u64::from(granule) + 1)).is_ok() {
                *held_back += 1;
                return true;
            }
            granules.give_back(granule, bytes as usize);
            *bytes_left -= block_bytes(bytes as usize);
            false
        });
    }

    /// Blocks waiting.
    pub(super) fn count(&self) -> usize {
        self.blocks.len()
    }

    /// How often a pin has held a block back so far.
    pub(super) fn held_back(&self) -> u64 {
        self.held_back
    }
}

/// Looking at the pins is worth it for so many blocks ...
const BLOCKS_MIN: usize = if cfg!(loom) { 1 } else { 32 };
/// ... and so many more for each client: the look costs eight cache lines per client.
const BLOCKS_PER_PAGE: usize = if cfg!(loom) { 0 } else { 8 };
/// At most one part in so many of the area waits, apart from what pins hold.
const AREA_SHARE_MAX: u64 = 16;
/// More clients than this allocate once when they come.
const PAGES_FORESEEN: usize = if cfg!(loom) { 2 } else { 256 };
