//! Bytes shared between processes: segments, hot table, rings, feed, counters.
