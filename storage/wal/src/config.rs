//! What is to be known before a log is opened.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::errors::OpenError;
use crate::limits::{
    BUFFER_BYTES_DEFAULT, FRAME_BYTES_MAX, MARKS_RESERVE_BYTES, PLACES_MAX_DEFAULT, SECTOR_BYTES,
    SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENTS_AHEAD_DEFAULT, SEGMENTS_AHEAD_MAX, buffer_bytes_for,
};

/// How a batch is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One io_uring chain: write, then fdatasync; the poller gives its core away while it waits.
    Linked,
    /// One io_uring write with RWF_DSYNC.
    Fua,
    /// A thread of its own: pwrite, then fdatasync.
    Thread,
    /// In memory, for tests.
    Simulated,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linked => "linked",
            Self::Fua => "fua",
            Self::Thread => "thread",
            Self::Simulated => "simulated",
        })
    }
}

/// Which strategy is wished for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrategyWish {
    /// Measure at boot, with the polling on, and choose by the tail.
    #[default]
    Auto,
    /// Always [`Strategy::Linked`].
    Linked,
    /// Always [`Strategy::Fua`].
    Fua,
    /// Always [`Strategy::Thread`].
    Thread,
}

/// A strategy that does not exist.
#[derive(Clone, Debug, thiserror::Error)]
#[error("there is no log strategy `{0}`; choose auto, linked, fua or thread")]
pub struct UnknownStrategy(String);

impl FromStr for StrategyWish {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        match text {
            "auto" => Ok(Self::Auto),
            "linked" => Ok(Self::Linked),
            "fua" => Ok(Self::Fua),
            "thread" => Ok(Self::Thread),
            other => Err(UnknownStrategy(other.to_owned())),
        }
    }
}

impl fmt::Display for StrategyWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Linked => "linked",
            Self::Fua => "fua",
            Self::Thread => "thread",
        })
    }
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster whose log this is; another cluster's is refused.
    pub cluster: [u8; 32],
    /// The shard whose log this is; another shard's is refused.
    pub shard: u16,
    /// Bytes of each new segment.
    pub segment_bytes: u64,
    /// Segments kept prepared ahead of the active one, at least one.
    pub segments_ahead: usize,
    /// Largest payload of one frame. A log that was made for larger ones is refused.
    pub frame_bytes_max: usize,
    /// Bytes of each of the two buffers: the largest batch.
    pub buffer_bytes: usize,
    /// Places of batches that the log remembers for [`Wal::locate`](crate::Wal::locate), at least 4; all memory for them is
    /// taken at the start.
    pub places_max: usize,
    /// How batches are made durable.
    pub strategy: StrategyWish,
    /// How long to wait until the disk is through with the last write of a process that died. A sick disk takes many seconds
    /// for one flush, and a node that gave up would need somebody to start it again.
    pub lock_wait: Duration,
    /// How long to wait before trying again to prepare a segment when there was no space.
    pub prepare_retry: Duration,
}

impl Config {
    /// The defaults for one shard of one cluster.
    pub fn new(cluster: [u8; 32], shard: u16) -> Self {
        Self {
            cluster,
            shard,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            segments_ahead: SEGMENTS_AHEAD_DEFAULT,
            frame_bytes_max: FRAME_BYTES_MAX,
            buffer_bytes: BUFFER_BYTES_DEFAULT,
            places_max: PLACES_MAX_DEFAULT,
            strategy: StrategyWish::Auto,
            lock_wait: Duration::from_secs(60),
            prepare_retry: Duration::from_millis(250),
        }
    }

    /// Checks every limit and their relations.
    pub fn check(&self) -> Result<(), OpenError> {
        let sector = SECTOR_BYTES as u64;
        let refuse = |text: String| Err(OpenError::Config(text));
        if self.frame_bytes_max > FRAME_BYTES_MAX {
            return refuse(format!(
                "frame_bytes_max is {}, it must be at most {FRAME_BYTES_MAX}",
                self.frame_bytes_max
            ));
        }
        let buffer_bytes_min = buffer_bytes_for(self.frame_bytes_max);
        if !self.buffer_bytes.is_multiple_of(SECTOR_BYTES) || self.buffer_bytes < buffer_bytes_min {
            return refuse(format!(
                "buffer_bytes is {}, it must be a multiple of {SECTOR_BYTES} and at least {buffer_bytes_min}, for one frame of {}",
                self.buffer_bytes, self.frame_bytes_max
            ));
        }
        let segment_bytes_min = self.buffer_bytes as u64 + sector + MARKS_RESERVE_BYTES;
        if !self.segment_bytes.is_multiple_of(sector)
            || !(segment_bytes_min..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
        {
            return refuse(format!(
                "segment_bytes is {}, it must be a multiple of {SECTOR_BYTES} between {segment_bytes_min} and {SEGMENT_BYTES_MAX}",
                self.segment_bytes
            ));
        }
        if !(1..=SEGMENTS_AHEAD_MAX).contains(&self.segments_ahead) {
            return refuse(format!(
                "segments_ahead is {}, it must be 1 to {SEGMENTS_AHEAD_MAX}",
                self.segments_ahead
            ));
        }
        if self.places_max < 4 {
            return refuse(format!("places_max is {}, it must be at least 4", self.places_max));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        Config::new([1; 32], 0).check().unwrap();
    }

    #[test]
    fn each_limit_is_checked_with_a_text_that_names_it() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::new([1; 32], 0);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refused(|c| c.frame_bytes_max += 1).contains("frame_bytes_max"));
        assert!(refused(|c| c.buffer_bytes -= 1).contains("buffer_bytes"));
        assert!(refused(|c| c.buffer_bytes = SECTOR_BYTES).contains("buffer_bytes"));
        assert!(refused(|c| c.segment_bytes += 1).contains("segment_bytes"));
        assert!(refused(|c| c.segment_bytes = 1 << 20).contains("segment_bytes"));
        assert!(refused(|c| c.segments_ahead = 0).contains("segments_ahead"));
        assert!(refused(|c| c.places_max = 3).contains("places_max"));
    }

    #[test]
    fn every_strategy_is_read_back_from_its_name() {
        for wish in [StrategyWish::Auto, StrategyWish::Linked, StrategyWish::Fua, StrategyWish::Thread] {
            assert_eq!(wish.to_string().parse::<StrategyWish>().unwrap(), wish);
        }
        assert!("fast".parse::<StrategyWish>().unwrap_err().to_string().contains("`fast`"));
    }
}
