//! A client's own way into one shard: proposal ring, receipt ring and pins, in one private writable segment.
//!
//! Invariant: the node keeps the geometry it chose in private memory and never reads it back, so a client that
//! scribbles over its lane hurts nobody but itself.

use crate::layout::{self, HEADER_WORDS, lane as at};
use crate::ring::{Consumer, Place, Producer};
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use crate::{CreateError, Kind, OpenError, Region, Segment, SegmentConfig};
#[cfg(not(loom))]
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// Sizes of a lane.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of the proposal ring, a power of two.
    pub proposal_ring_bytes: usize,
    /// Longest proposal frame in bytes.
    pub proposal_frame_bytes_max: usize,
    /// Bytes of the receipt ring, a power of two.
    pub receipt_ring_bytes: usize,
    /// Longest receipt frame in bytes.
    pub receipt_frame_bytes_max: usize,
    /// Incarnation of the node.
    pub incarnation: u64,
    /// The shard behind this lane.
    pub shard: u16,
}

impl Config {
    fn segment_bytes(&self) -> u64 {
        ((HEADER_WORDS * 8) + self.proposal_ring_bytes + self.receipt_ring_bytes) as u64
    }

    fn segment(&self) -> SegmentConfig {
        let Config { incarnation, shard, .. } = *self;
        SegmentConfig { kind: Kind::Lane, incarnation, shard, preallocate: false }
    }

    fn proposals(&self) -> Place {
        Place {
            control_at: at::AT_PROPOSAL_CONTROL,
            data_at: at::AT_DATA,
            capacity_words: self.proposal_ring_bytes / 8,
            frame_bytes_max: self.proposal_frame_bytes_max,
        }
    }

    fn receipts(&self) -> Place {
        Place {
            control_at: at::AT_RECEIPT_CONTROL,
            data_at: at::AT_DATA + self.proposal_ring_bytes / 8,
            capacity_words: self.receipt_ring_bytes / 8,
            frame_bytes_max: self.receipt_frame_bytes_max,
        }
    }

    fn check(&self) -> Result<(), CreateError> {
        let rings = [
            ("proposal_ring_bytes", self.proposal_ring_bytes, self.proposal_frame_bytes_max),
            ("receipt_ring_bytes", self.receipt_ring_bytes, self.receipt_frame_bytes_max),
        ];
        for (what, ring_bytes, frame_bytes_max) in rings {
            let possible = ring_bytes.is_power_of_two()
                && (64..=RING_BYTES_MAX).contains(&ring_bytes)
                && frame_bytes_max.next_multiple_of(8) + 8 <= ring_bytes;
            if !possible {
                let allowed = "a power of two from 64 bytes to 1 GiB that holds the longest frame";
                return Err(CreateError::Config { what, value: ring_bytes as u64, allowed });
            }
        }
        Ok(())
    }
}

/// The node's end of a lane.
#[derive(Debug)]
pub struct NodeLane {
    /// Proposals from the client.
    pub proposals: Consumer,
    /// Receipts to the client.
    pub receipts: Producer,
    /// What the client has pinned; give it to [`crate::hot::Writer::add_pins`].
    pub pins: NodePins,
}

impl NodeLane {
    /// Makes a lane and the descriptor to hand to the client.
    #[cfg(not(loom))]
    pub fn create(config: &Config) -> Result<(NodeLane, OwnedFd), CreateError> {
        config.check()?;
        let segment = Segment::create(&config.segment(), config.segment_bytes())?;
        let lane = NodeLane::over(&segment, config);
        let handed_out = segment.fd().try_clone_to_owned().map_err(|source| CreateError::Kernel {
            step: "dup",
            bytes: segment.bytes(),
            source,
        })?;
        Ok((lane, handed_out))
    }

    /// Makes a lane in plain memory of this process, for models.
    pub fn plain(config: &Config) -> Result<(NodeLane, Region), CreateError> {
        config.check()?;
        let segment = Segment::plain(&config.segment(), config.segment_bytes());
        let region = segment.region().clone();
        Ok((NodeLane::over(&segment, config), region))
    }

    fn over(segment: &Segment, config: &Config) -> NodeLane {
        let region = segment.region();
        let geometry = [
            (at::AT_PROPOSAL_BYTES, config.proposal_ring_bytes),
            (at::AT_RECEIPT_BYTES, config.receipt_ring_bytes),
            (at::AT_PROPOSAL_FRAME_BYTES_MAX, config.proposal_frame_bytes_max),
            (at::AT_RECEIPT_FRAME_BYTES_MAX, config.receipt_frame_bytes_max),
        ];
        for (at, value) in geometry {
            region.word(at).store(value as u64, Relaxed);
        }
        segment.finish();
        NodeLane {
            proposals: Consumer::new(region.clone(), config.proposals()),
            receipts: Producer::new(region.clone(), config.receipts()),
            pins: NodePins { region: region.clone() },
        }
    }
}

/// The client's end of a lane.
#[derive(Debug)]
pub struct ClientLane {
    /// Proposals to the node.
    pub proposals: Producer,
    /// Receipts from the node.
    pub receipts: Consumer,
    /// Pins for [`crate::hot::Reader::view`].
    pub pins: Pins,
    segment: Segment,
}

impl ClientLane {
    /// Opens the lane behind a descriptor from the node.
    #[cfg(not(loom))]
    pub fn open(file: OwnedFd) -> Result<ClientLane, OpenError> {
        ClientLane::over(Segment::open(file, Kind::Lane)?)
    }

    /// Opens a lane in plain memory of this process, for models.
    pub fn plain(region: Region) -> Result<ClientLane, OpenError> {
        ClientLane::over(Segment::open_region(region, Kind::Lane)?)
    }

    /// Incarnation of the node that made this lane.
    pub fn incarnation(&self) -> u64 {
        self.segment.incarnation()
    }

    /// The shard behind this lane.
    pub fn shard(&self) -> u16 {
        self.segment.shard()
    }

    fn over(segment: Segment) -> Result<ClientLane, OpenError> {
        let region = segment.region().clone();
        let size = |at: usize, what: &'static str| {
            let value = region.word(at).load(Relaxed);
            match usize::try_from(value) {
                Ok(bytes) if bytes <= RING_BYTES_MAX => Ok(bytes),
                _ => Err(OpenError::WrongGeometry { what, value }),
            }
        };
        let config = Config {
            proposal_ring_bytes: size(at::AT_PROPOSAL_BYTES, "proposal ring bytes")?,
            receipt_ring_bytes: size(at::AT_RECEIPT_BYTES, "receipt ring bytes")?,
            proposal_frame_bytes_max: size(at::AT_PROPOSAL_FRAME_BYTES_MAX, "proposal frame bytes")?,
            receipt_frame_bytes_max: size(at::AT_RECEIPT_FRAME_BYTES_MAX, "receipt frame bytes")?,
            incarnation: segment.incarnation(),
            shard: segment.shard(),
        };
        let rings = [("proposal ring", config.proposals()), ("receipt ring", config.receipts())];
        for (what, place) in rings {
            if !place.fits(&region) {
                return Err(OpenError::WrongGeometry { what, value: place.capacity_words as u64 * 8 });
            }
        }
        Ok(ClientLane {
            proposals: Producer::new(region.clone(), config.proposals()),
            receipts: Consumer::new(region.clone(), config.receipts()),
            pins: Pins { region, used: Arc::new(AtomicU64::new(0)), owner_process: std::process::id() },
            segment,
        })
    }
}

/// The node's read-only view of a client's pins.
#[derive(Clone, Debug)]
pub struct NodePins {
    region: Region,
}

impl NodePins {
    /// What pin `index` holds: granule + 1, or 0. Whatever stands there may be nonsense.
    pub(crate) fn held(&self, index: usize) -> u64 {
        // Acquire pairs with the Releases in `Pin`: looks at whatever was pinned here before are over.
        self.region.word(at::AT_PINS + index).load(Acquire)
    }
}

/// The client's pins: each keeps one large value from being reused while it is looked at.
#[derive(Clone, Debug)]
pub struct Pins {
    region: Region,
    /// Which pins are taken, one bit each; private to this process.
    used: Arc<AtomicU64>,
    /// The process that opened the lane. A forked child has copies of everything here, and the pins are not its own.
    owner_process: u32,
}

impl Pins {
    /// Takes a free pin, if there is one.
    pub(crate) fn take(&self) -> Option<Pin> {
        let all = if at::PINS == 64 { u64::MAX } else { (1 << at::PINS) - 1 };
        let mut used = self.used.load(Relaxed);
        loop {
            let free = !used & all;
            if free == 0 {
                return None;
            }
            let bit = free & free.wrapping_neg();
            // Acquire pairs with the Release in `Pin::drop`: the pin's last user is done with its word.
            match self.used.compare_exchange_weak(used, used | bit, Acquire, Relaxed) {
                Ok(_) => return Some(Pin { pins: self.clone(), index: bit.trailing_zeros() as usize }),
                Err(now) => used = now,
            }
        }
    }
}

/// One taken pin; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    index: usize,
}

impl Pin {
    /// Announces that the block at `granule` is about to be used. The caller must check afterwards that the block
    /// is still linked: only then is it safe.
    pub(crate) fn hold(&self, granule: u32) {
        self.pins.region.word(at::AT_PINS + self.index).store(u64::from(granule) + 1, Release);
        // Pairs with the fence in `hot::retired`: either the writer sees this pin, or our check of the slot's lock
        // after this fence sees that the block was unlinked.
        fence(SeqCst);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if std::process::id() != self.pins.owner_process {
            return; // The parent may still look at what it pinned.
        }
        // Release: our loads of the pinned words are over before the writer may see the pin gone.
        self.pins.region.word(at::AT_PINS + self.index).store(0, Release);
        self.pins.used.fetch_and(!(1 << self.index), Release);
    }
}

/// Larger rings would only hide a consumer that has stopped.
const RING_BYTES_MAX: usize = 1 << 30;

const _: () = assert!(at::PINS <= 64 && at::AT_PINS + at::PINS <= layout::HEADER_WORDS);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_lets_no_pin_of_its_parent_go() {
        let config = Config {
            proposal_ring_bytes: 64,
            proposal_frame_bytes_max: 8,
            receipt_ring_bytes: 64,
            receipt_frame_bytes_max: 8,
            incarnation: 1,
            shard: 0,
        };
        let (node, file) = NodeLane::create(&config).unwrap();
        let mut pins = ClientLane::open(file).unwrap().pins;
        let own = pins.take().unwrap();
        own.hold(4);
        pins.owner_process = 0; // As a child sees them: opened by another process.
        let inherited = pins.take().unwrap();
        inherited.hold(5);
        drop((own, inherited));
        assert_eq!((node.pins.held(0), node.pins.held(1)), (0, 6));
    }
}
