//! What one client may see of plain reads: versions of a key never go back.
//!
//! Invariant: a view that is older than one the same client had of the same key is a violation, whatever time went by.

use std::collections::BTreeMap;

/// One plain read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Who read, in one unbroken session with one node.
    pub session: u64,
    /// When, for the message.
    pub time_ns: u64,
    /// The key.
    pub key: Vec<u8>,
    /// The version found; 0 when there was none and none was ever removed.
    pub version: u64,
}

/// A client saw an older version after a newer one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "session {} read version {} of {} at {} after it had read version {newest}",
    view.session, view.version, view.key.escape_ascii(), view.time_ns
)]
pub struct WentBack {
    /// The read that went back.
    pub view: View,
    /// What the session had seen before.
    pub newest: u64,
}

/// Judges views in the order in which they were had.
pub fn check<'a>(views: impl IntoIterator<Item = &'a View>) -> Result<usize, WentBack> {
    let mut newest: BTreeMap<(u64, &[u8]), u64> = BTreeMap::new();
    let mut count = 0;
    for view in views {
        let seen = newest.entry((view.session, &view.key)).or_default();
        if view.version < *seen {
            return Err(WentBack { view: view.clone(), newest: *seen });
        }
        *seen = view.version;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(session: u64, key: &[u8], version: u64) -> View {
        View { session, time_ns: 0, key: key.to_vec(), version }
    }

    #[test]
    fn a_session_that_goes_back_is_found_and_others_do_not_matter() {
        let fine = [view(1, b"a", 3), view(2, b"a", 2), view(1, b"b", 1), view(1, b"a", 3), view(2, b"a", 9)];
        assert_eq!(check(&fine), Ok(5));
        let back = [view(1, b"a", 3), view(1, b"a", 2)];
        assert_eq!(check(&back), Err(WentBack { view: view(1, b"a", 2), newest: 3 }));
    }
}
