//! What the node shows of itself, read from shared memory: nothing is asked, nobody is disturbed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use io_oi_record::ShardId;

use crate::Client;

impl Client {
    /// How long ago the shards last gave a sign of life, the most silent one counting. `None` before the first.
    pub fn staleness(&self) -> Option<Duration> {
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let oldest_ns = self.doors.iter().map(|door| door.hot.heartbeat_ns()).min()?;
        (oldest_ns > 0).then(|| Duration::from_nanos(now_ns.saturating_sub(oldest_ns)))
    }

    /// The counters of one shard: label and value. Empty for a shard that does not exist.
    pub fn counters(&self, shard: ShardId) -> impl Iterator<Item = (&str, u64)> {
        self.doors.get(shard.index()).into_iter().flat_map(|door| door.counters.iter())
    }

    /// Keys in the hot tier, over all shards.
    pub fn hot_entries(&self) -> u64 {
        self.doors.iter().map(|door| door.hot.entries()).sum()
    }

    /// Bytes of the hot segments, over all shards.
    pub fn hot_bytes(&self) -> u64 {
        self.doors.iter().map(|door| door.hot.bytes()).sum()
    }

    /// Whether the shard sleeps until a bell rings.
    pub fn is_parked(&self, shard: ShardId) -> bool {
        self.doors.get(shard.index()).is_some_and(|door| door.hot.is_parked())
    }
}
