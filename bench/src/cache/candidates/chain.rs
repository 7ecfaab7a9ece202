//! Doubly linked lists over one slab of keys.
//!
//! Invariant: a node stands in at most one list, and `at` of a key is its node.

use std::collections::HashMap;

const NONE: u32 = u32::MAX;

/// Keys in lists, with a word that the policy keeps beside each.
#[derive(Debug)]
pub(super) struct Chains<const LISTS: usize> {
    nodes: Vec<Node>,
    free: Vec<u32>,
    lists: [Ends; LISTS],
    at: HashMap<u64, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    key: u64,
    newer: u32,
    older: u32,
    list: u8,
    note: u8,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    newest: u32,
    oldest: u32,
    count: usize,
}

impl<const LISTS: usize> Chains<LISTS> {
    pub(super) fn new() -> Self {
        let empty = Ends { newest: NONE, oldest: NONE, count: 0 };
        Chains { nodes: Vec::new(), free: Vec::new(), lists: [empty; LISTS], at: HashMap::new() }
    }

    /// The list that holds the key.
    pub(super) fn list_of(&self, key: u64) -> Option<usize> {
        self.at.get(&key).map(|&at| self.nodes[at as usize].list.into())
    }

    pub(super) fn count(&self, list: usize) -> usize {
        self.lists[list].count
    }

    pub(super) fn oldest(&self, list: usize) -> Option<u64> {
        let at = self.lists[list].oldest;
        (at != NONE).then(|| self.nodes[at as usize].key)
    }

    /// The key put into the same list just after this one.
    pub(super) fn newer_than(&self, key: u64) -> Option<u64> {
        let at = self.nodes[self.at[&key] as usize].newer;
        (at != NONE).then(|| self.nodes[at as usize].key)
    }

    pub(super) fn note(&self, key: u64) -> u8 {
        self.nodes[self.at[&key] as usize].note
    }

    pub(super) fn set_note(&mut self, key: u64, note: u8) {
        self.nodes[self.at[&key] as usize].note = note;
    }

    /// Puts a key at the newest end of a list, wherever it was before. Its note is 0 when it is new.
    pub(super) fn push(&mut self, list: usize, key: u64) {
        let note = self.at.get(&key).map_or(0, |&at| self.nodes[at as usize].note);
        self.remove(key);
        let older = self.lists[list].newest;
        let node = Node { key, newer: NONE, older, list: list as u8, note };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        if older == NONE {
            self.lists[list].oldest = at;
        } else {
            self.nodes[older as usize].newer = at;
        }
        self.lists[list].newest = at;
        self.lists[list].count += 1;
        self.at.insert(key, at);
    }

    pub(super) fn pop_oldest(&mut self, list: usize) -> Option<u64> {
        let key = self.oldest(list)?;
        self.remove(key);
        Some(key)
    }

    pub(super) fn remove(&mut self, key: u64) {
        let Some(at) = self.at.remove(&key) else { return };
        let Node { newer, older, list, .. } = self.nodes[at as usize];
        let ends = &mut self.lists[list as usize];
        ends.count -= 1;
        if newer == NONE {
            ends.newest = older;
        } else {
            self.nodes[newer as usize].older = older;
        }
        if older == NONE {
            self.lists[list as usize].oldest = newer;
        } else {
            self.nodes[older as usize].newer = newer;
        }
        self.free.push(at);
    }
}
