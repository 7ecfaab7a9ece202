//! The strategy's side: attach, read shared memory, put into a ring.
