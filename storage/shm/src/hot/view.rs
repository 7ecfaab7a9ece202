//! A stable look at one version of a value.

#![allow(unsafe_code)]

use super::{Found, Stage, Stamp};
use crate::Region;
use crate::lane::Pin;
use crate::layout::hot::PAYLOAD_WORDS;
#[cfg(loom)]
use crate::words::{load_bytes, words_of};

/// One version of a value. A large one stands in shared memory, pinned until the view is dropped; the
/// view keeps that memory mapped, so it may outlive its reader.
#[derive(Debug)]
pub struct View {
    pub(super) found: Found,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A copy.
    Near([u8; PAYLOAD_WORDS * 8]),
    /// The block from word `at` on.
    Pinned { region: Region, at: usize, _pin: Pin },
}

impl View {
    /// The value.
    #[cfg(not(loom))]
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Near(near) => &near[..self.found.value_bytes],
            Content::Pinned { region, at, .. } => {
                // SAFETY: the pin was announced before the block was seen linked, so the writer, which looks at the
                // pins after unlinking and before reuse (fence in `Retired::reclaim`, paired with the one in
                // `Pin::hold`), leaves the block alone until the pin is dropped with this view.
                unsafe { region.frozen_bytes(*at, self.found.value_bytes) }
            }
        }
    }

    /// A copy of the value, loaded word by word under loom's eyes.
    #[cfg(loom)]
    pub fn bytes(&self) -> Vec<u8> {
        match &self.content {
            Content::Near(near) => near[..self.found.value_bytes].to_vec(),
            Content::Pinned { region, at, .. } => {
                let mut out = vec![0; self.found.value_bytes];
                load_bytes(region.words(*at, words_of(out.len())), &mut out);
                out
            }
        }
    }

    /// The record that made this version.
    pub fn stamp(&self) -> Stamp {
        self.found.stamp
    }

    /// How far it had come when the view was taken.
    pub fn stage(&self) -> Stage {
        self.found.stage
    }

    /// Whether the value stands in shared memory and holds a pin.
    pub fn is_pinned(&self) -> bool {
        matches!(self.content, Content::Pinned { .. })
    }
}

#[cfg(not(loom))]
impl core::ops::Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}
