//! The write-ahead log: group commit, one flush a batch, recovery.
