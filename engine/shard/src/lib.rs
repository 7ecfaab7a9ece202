//! One shard: five events in, six effects out.
