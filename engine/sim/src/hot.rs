//! What stands in the hot tier of one node: a committed version of each key, and tentative ones above it.
//!
//! Invariant: tentative versions of a key stand in the order of their sequences above the committed one; a commit takes
//! the oldest, a withdrawal the newest.

use std::collections::{BTreeMap, VecDeque};

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) sequence: u64,
    pub(crate) epoch: u64,
    /// `None` for a removal.
    pub(crate) value: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Entry {
    committed: Option<Version>,
    tentative: VecDeque<Version>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// Showing was asked for out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

impl Hot {
    pub(crate) fn publish_tentative(&mut self, key: &[u8], version: Version) -> Result<(), OutOfOrder> {
        let entry = self.entries.entry(key.to_vec()).or_default();
        let newest = entry.tentative.back().or(entry.committed.as_ref());
        if newest.is_some_and(|newest| newest.sequence >= version.sequence) {
            return Err(OutOfOrder);
        }
        entry.tentative.push_back(version);
        Ok(())
    }

    pub(crate) fn publish_committed(&mut self, key: &[u8], version: Version) -> Result<(), OutOfOrder> {
        let entry = self.entries.entry(key.to_vec()).or_default();
        if entry.committed.as_ref().is_some_and(|older| older.sequence >= version.sequence) {
            return Err(OutOfOrder);
        }
        match entry.tentative.front() {
            Some(oldest) if *oldest == version => drop(entry.tentative.pop_front()),
            Some(oldest) if oldest.sequence <= version.sequence => return Err(OutOfOrder),
            _ => {}
        }
        entry.committed = Some(version);
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, key: &[u8], sequence: u64) -> Result<(), OutOfOrder> {
        let entry = self.entries.get_mut(key).ok_or(OutOfOrder)?;
        match entry.tentative.back() {
            Some(newest) if newest.sequence == sequence => drop(entry.tentative.pop_back()),
            _ => return Err(OutOfOrder),
        }
        Ok(())
    }

    /// The newest version, tentative ones included: what a precondition is held against.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<&Version> {
        let entry = self.entries.get(key)?;
        entry.tentative.back().or(entry.committed.as_ref())
    }

    /// The newest committed version.
    pub(crate) fn committed(&self, key: &[u8]) -> Option<&Version> {
        self.entries.get(key)?.committed.as_ref()
    }
}
