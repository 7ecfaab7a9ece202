//! One shard as this client sees it: its read-only segments, its private lane, its bell.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use io_oi_record::ShardId;
use io_oi_record::limits::{PROPOSAL_BYTES_MAX, RECEIPT_BYTES};
use io_oi_shm::bell::Bell;
use io_oi_shm::lane::{ClientLane, Pins};
use io_oi_shm::{HashSeed, counters, feed, hot};

use crate::AttachError;
use crate::socket::DESCRIPTORS;

/// What came through one shard's door, opened and checked.
pub(crate) struct Door {
    /// Shared with every view: a view keeps its mapping alive after a re-attach.
    pub(crate) hot: Arc<hot::Reader>,
    /// Opened anew by every subscription, which has its own place in the feed.
    pub(crate) feed: OwnedFd,
    pub(crate) counters: counters::Reader,
    /// For views; they are good even when the lane leads nowhere any more.
    pub(crate) pins: Pins,
    /// Moves into the shard's channel.
    pub(crate) lane: Option<ClientLane>,
    pub(crate) bell: Bell,
}

impl Door {
    /// Opens the five descriptors of a shard, in the order that the handshake fixes.
    pub(crate) fn open(
        shard: ShardId,
        incarnation: u64,
        seed: &HashSeed,
        descriptors: [OwnedFd; DESCRIPTORS],
    ) -> Result<Self, AttachError> {
        let [hot, feed, counters, lane, bell] = descriptors;
        let unusable =
            |segment: &'static str| move |reason: String| AttachError::Segment { shard, segment, reason };
        let hot = hot::Reader::open(hot).map_err(|error| unusable("hot")(error.to_string()))?;
        let found = (hot.shard(), hot.incarnation());
        if found != (shard.get(), incarnation) {
            let reason = format!("it is of shard {} and another boot of the node, or mixed up", found.0);
            return Err(unusable("hot")(reason));
        }
        if hot.seed() != seed {
            return Err(unusable("hot")("its keys are hashed with another seed".to_owned()));
        }
        // Opened once here for the check only: a subscription must not be the first to find it broken.
        open_feed(&feed).map_err(unusable("feed"))?;
        let counters =
            counters::Reader::open(counters).map_err(|error| unusable("counters")(error.to_string()))?;
        let lane = ClientLane::open(lane).map_err(|error| unusable("lane")(error.to_string()))?;
        check_lane(&lane).map_err(unusable("lane"))?;
        let pins = lane.pins.clone();
        Ok(Self { hot: Arc::new(hot), feed, counters, pins, lane: Some(lane), bell: Bell::from_fd(bell) })
    }
}

/// Every proposal must fit in, and every receipt into its buffer.
fn check_lane(lane: &ClientLane) -> Result<(), String> {
    if lane.proposals.frame_bytes_max() < PROPOSAL_BYTES_MAX {
        return Err(format!("its ring takes only {} bytes at once", lane.proposals.frame_bytes_max()));
    }
    if lane.receipts.frame_bytes_max() != RECEIPT_BYTES {
        return Err(format!("its receipts have up to {} bytes", lane.receipts.frame_bytes_max()));
    }
    Ok(())
}

/// A new place in the feed of a shard.
pub(crate) fn open_feed(feed: &OwnedFd) -> Result<feed::Reader, String> {
    let feed = feed.try_clone().map_err(|error| error.to_string())?;
    feed::Reader::open(feed).map_err(|error| error.to_string())
}
