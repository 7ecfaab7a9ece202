//! The shard's time: read at most once per turn, and only by a turn that needs it.

use std::time::{SystemTime, UNIX_EPOCH};

use io_oi_record::Nanos;

/// Wall time, remembered for one turn.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    read: Option<Nanos>,
}

impl Clock {
    /// A new turn begins: the next look reads the system's clock again.
    pub(crate) fn turn(&mut self) {
        self.read = None;
    }

    /// Nanoseconds since the Unix epoch, the same during one turn.
    pub(crate) fn now(&mut self) -> Nanos {
        *self.read.get_or_insert_with(wall_time)
    }

    /// Whether this turn has looked already, so that another look costs nothing.
    pub(crate) fn is_read(&self) -> bool {
        self.read.is_some()
    }
}

/// Nanoseconds since the Unix epoch; 0 for a clock set before it.
pub(crate) fn wall_time() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
