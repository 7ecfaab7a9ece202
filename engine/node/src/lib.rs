//! The daemon: performs the shard's effects in the real world.
