//! Who may attach, and what they may write.
//!
//! Invariant: a client's rights come from its user id as the kernel reports it, never from what it says.

use crate::config::ClientRule;

/// What one client may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Allowed key prefixes; all keys when empty.
    prefixes: Vec<Vec<u8>>,
}

impl Rights {
    /// The rights of a user, `None` when it may not attach at all. A rule of its own binds even the node's user and
    /// root; without one these two may write everything.
    pub(crate) fn of(uid: u32, own_uid: u32, rules: &[ClientRule]) -> Option<Rights> {
        let mut own = rules.iter().filter(|rule| rule.uid == uid).peekable();
        if own.peek().is_none() {
            return (uid == own_uid || uid == ROOT).then(Rights::default);
        }
        let own: Vec<&ClientRule> = own.collect();
        if own.iter().any(|rule| rule.prefixes.is_empty()) {
            return Some(Rights::default());
        }
        let prefixes =
            own.iter().flat_map(|rule| &rule.prefixes).map(|prefix| prefix.clone().into_bytes()).collect();
        Some(Rights { prefixes })
    }

    /// Whether this key may be written.
    #[inline]
    pub(crate) fn allow(&self, key: &[u8]) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// The allowed prefixes; all keys when empty.
    pub(crate) fn prefixes(&self) -> &[Vec<u8>] {
        &self.prefixes
    }
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(uid: u32, prefixes: &[&str]) -> ClientRule {
        ClientRule { uid, prefixes: prefixes.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn strangers_stay_outside() {
        assert_eq!(Rights::of(1001, 1000, &[]), None);
        assert_eq!(Rights::of(1001, 1000, &[rule(1002, &[])]), None);
        assert_eq!(Rights::of(1000, 1000, &[]), Some(Rights::default()));
        assert_eq!(Rights::of(0, 1000, &[]), Some(Rights::default()));
    }

    #[test]
    fn a_rule_bounds_what_may_be_written() {
        let rules = [rule(7, &["ord/"]), rule(7, &["lvl/"]), rule(8, &["x"]), rule(8, &[])];
        let rights = Rights::of(7, 1000, &rules).unwrap();
        assert!(rights.allow(b"ord/1") && rights.allow(b"lvl/2"));
        assert!(!rights.allow(b"or") && !rights.allow(b"x"));
        assert!(Rights::of(8, 1000, &rules).unwrap().allow(b"anything"));
    }

    #[test]
    fn a_rule_binds_even_the_nodes_own_user() {
        assert!(!Rights::of(1000, 1000, &[rule(1000, &["a/"])]).unwrap().allow(b"b/1"));
    }
}
