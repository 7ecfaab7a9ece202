//! An eye on the log: a device that does not answer is named while it does not.
//!
//! Invariant: one warning for each flush that is slow beyond reason, however long it takes.

use std::time::Duration;

use io_oi_record::ShardId;
use io_oi_wal::Wal;

/// Notices flushes that take too long.
#[derive(Debug, Default)]
pub(super) struct FlushWatch {
    has_warned: bool,
}

impl FlushWatch {
    /// Looks at the batch in flight.
    pub(super) fn look(&mut self, shard: ShardId, wal: &Wal) {
        let in_flight_for = wal.in_flight_for();
        if self.is_news(in_flight_for) {
            tracing::warn!(
                %shard, strategy = %wal.stats().strategy, ?in_flight_for, enter_retries = wal.enter_retries(),
                "the disk has not made a batch of the log durable yet: nothing is answered until it does"
            );
        }
    }

    /// Whether a warning is due: the first look of an episode that finds a flush this old.
    fn is_news(&mut self, in_flight_for: Duration) -> bool {
        let is_slow = in_flight_for > SLOW;
        let had_warned = std::mem::replace(&mut self.has_warned, is_slow);
        is_slow && !had_warned
    }
}

/// No disk in order takes that long.
const SLOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_episode_is_news_once() {
        let mut watch = FlushWatch::default();
        let looks = [0, 900, 1_001, 1_500, 9_000, 3, 0, 1_200, 1_300];
        let news = looks.map(|ms| watch.is_news(Duration::from_millis(ms)));
        assert_eq!(news, [false, false, true, false, false, false, false, true, false]);
    }
}
