//! The Merkle tree over a block's record hashes: one signature proves every record.
//!
//! Invariant: leaves and inner nodes are hashed under different domains, and an odd node moves up unchanged instead
//! of being paired with itself, so that two different lists never share a root and a path fits one place only.

use crate::hash::Domain;
use crate::ids::Hash;
use crate::limits::{BLOCK_RECORDS_MAX, MERKLE_PATH_MAX};

/// Computes a root leaf by leaf, holding one hash per level and allocating nothing.
#[derive(Debug, Clone)]
pub struct MerkleBuilder {
    /// `peaks[level]` is the root of a complete subtree of 2^level leaves when bit `level` of `count` is set.
    peaks: [Hash; MERKLE_PATH_MAX + 1],
    count: u32,
}

impl Default for MerkleBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl MerkleBuilder {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { peaks: [Hash::ZERO; MERKLE_PATH_MAX + 1], count: 0 }
    }

    /// Adds the next leaf. At most `BLOCK_RECORDS_MAX` of them: more is our own broken promise.
    pub fn push(&mut self, leaf: Hash) {
        assert!((self.count as usize) < BLOCK_RECORDS_MAX, "a block never holds more than BLOCK_RECORDS_MAX");
        let level = self.count.trailing_ones() as usize;
        let peak = self.peaks[..level].iter().fold(leaf, |right, left| inner(left, &right));
        self.peaks[level] = peak;
        self.count += 1;
    }

    /// Leaves so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The root over the leaves so far, `None` without leaves.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        let levels = (0..=MERKLE_PATH_MAX).filter(|level| self.count >> level & 1 == 1);
        levels.map(|level| self.peaks[level]).reduce(|right, left| inner(&left, &right))
    }

    /// Starts over.
    pub const fn clear(&mut self) {
        self.count = 0;
    }
}

/// The root over all leaves, `None` without leaves.
#[must_use]
pub fn root(leaves: impl IntoIterator<Item = Hash>) -> Option<Hash> {
    let mut builder = MerkleBuilder::new();
    leaves.into_iter().for_each(|leaf| builder.push(leaf));
    builder.root()
}

/// The sibling hashes from one leaf up to the root, lowest first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MerklePath {
    siblings: [Hash; MERKLE_PATH_MAX],
    count: u8,
}

impl MerklePath {
    /// The path of a tree's only leaf.
    pub const EMPTY: MerklePath = MerklePath { siblings: [Hash::ZERO; MERKLE_PATH_MAX], count: 0 };

    /// A path from received hashes, `None` when there are more than any path has.
    #[must_use]
    pub fn from_siblings(siblings: &[Hash]) -> Option<MerklePath> {
        let mut path = MerklePath::EMPTY;
        path.siblings.get_mut(..siblings.len())?.copy_from_slice(siblings);
        path.count = siblings.len() as u8;
        Some(path)
    }

    /// The sibling hashes, lowest first.
    #[must_use]
    pub fn siblings(&self) -> &[Hash] {
        &self.siblings[..self.count as usize]
    }

    fn push(&mut self, sibling: Hash) {
        self.siblings[self.count as usize] = sibling;
        self.count += 1;
    }
}

impl core::fmt::Debug for MerklePath {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.siblings()).finish()
    }
}

/// The path of the leaf at `index`, `None` when there is no such leaf or there are too many.
#[must_use]
pub fn path(leaves: &[Hash], index: usize) -> Option<MerklePath> {
    if index >= leaves.len() || leaves.len() > BLOCK_RECORDS_MAX {
        return None;
    }
    let mut path = MerklePath::EMPTY;
    collect_path(leaves, index, &mut path);
    Some(path)
}

/// Whether `leaf` stands at `index` of the `count` leaves under `root`.
#[must_use]
pub fn verify_path(root: &Hash, count: u32, index: u32, leaf: &Hash, path: &MerklePath) -> bool {
    if index >= count || count as usize > BLOCK_RECORDS_MAX {
        return false;
    }
    let mut siblings = path.siblings().iter();
    let (mut node, mut index, mut count) = (*leaf, index, count);
    while count > 1 {
        // The last node of an odd level has no sibling and moves up as it is.
        if index ^ 1 < count {
            let Some(sibling) = siblings.next() else { return false };
            node = if index & 1 == 0 { inner(&node, sibling) } else { inner(sibling, &node) };
        }
        index /= 2;
        count = count.div_ceil(2);
    }
    siblings.next().is_none() && node == *root
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    let mut children = [0; 64];
    children[..32].copy_from_slice(&left.0);
    children[32..].copy_from_slice(&right.0);
    Domain::MerkleInner.hash(&children)
}

/// Splits where the left side is the largest complete tree, walks down to the leaf, and adds siblings on the way up.
fn collect_path(leaves: &[Hash], index: usize, path: &mut MerklePath) {
    if leaves.len() == 1 {
        return;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let sibling = if index < left.len() {
        collect_path(left, index, path);
        right
    } else {
        collect_path(right, index - left.len(), path);
        left
    };
    path.push(root(sibling.iter().copied()).expect("both sides of a split have leaves"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|i| Domain::Record.hash(&(i as u64).to_le_bytes())).collect()
    }

    /// The same tree written the plain way: pair up level by level, an odd node moves up.
    fn root_by_levels(leaves: &[Hash]) -> Hash {
        let mut level = leaves.to_vec();
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| if let [left, right] = pair { inner(left, right) } else { pair[0] })
                .collect();
        }
        level[0]
    }

    #[test]
    fn incremental_root_equals_the_root_by_levels() {
        for count in (1..=130).chain([1000, 4097, BLOCK_RECORDS_MAX]) {
            let leaves = leaves(count);
            assert_eq!(root(leaves.iter().copied()), Some(root_by_levels(&leaves)), "{count} leaves");
        }
        assert_eq!(root([]), None);
    }

    #[test]
    fn every_leaf_has_a_path_that_fits_its_place_only() {
        for count in 1..=33u32 {
            let leaves = leaves(count as usize);
            let root = root(leaves.iter().copied()).expect("has leaves");
            for index in 0..count {
                let leaf = leaves[index as usize];
                let path = path(&leaves, index as usize).expect("leaf exists");
                for other in 0..count + 1 {
                    let fits = verify_path(&root, count, other, &leaf, &path);
                    assert_eq!(fits, other == index, "leaf {index} of {count} at {other}");
                }
            }
        }
    }

    #[test]
    fn a_path_with_anything_changed_fails() {
        let leaves = leaves(11);
        let root = root(leaves.iter().copied()).expect("has leaves");
        for index in 0..11 {
            let path = path(&leaves, index).expect("leaf exists");
            let verify = |path: &MerklePath| verify_path(&root, 11, index as u32, &leaves[index], path);
            assert!(verify(&path));
            for sibling in 0..path.siblings().len() {
                let mut changed = path;
                changed.siblings[sibling].0[31] ^= 1;
                assert!(!verify(&changed), "leaf {index} sibling {sibling}");
            }
            let shorter = MerklePath::from_siblings(&path.siblings()[1..]).expect("fits");
            let mut longer = path;
            longer.push(Hash::ZERO);
            assert!(!verify(&shorter) && !verify(&longer), "leaf {index}");
        }
    }

    #[test]
    fn a_duplicated_last_leaf_changes_the_root() {
        let three = leaves(3);
        let four = [three[0], three[1], three[2], three[2]];
        assert_ne!(root(three), root(four));
    }

    #[test]
    fn an_inner_node_does_not_pass_for_a_leaf() {
        let leaves = leaves(4);
        let root = root(leaves.iter().copied()).expect("has leaves");
        let left = inner(&leaves[0], &leaves[1]);
        let right = inner(&leaves[2], &leaves[3]);
        let path = MerklePath::from_siblings(&[right]).expect("fits");
        assert!(!verify_path(&root, 4, 0, &left, &path));
        // What keeps a two-record block from standing for it: a record never hashes under the inner domain.
        assert_ne!(Domain::Record.hash(&[leaves[0].0, leaves[1].0].concat()), left);
    }

    #[test]
    fn there_is_no_path_beyond_the_leaves_or_the_limit() {
        assert_eq!(path(&leaves(3), 3), None);
        assert_eq!(path(&[], 0), None);
        assert_eq!(path(&leaves(BLOCK_RECORDS_MAX + 1), 0), None);
        assert_eq!(MerklePath::from_siblings(&[Hash::ZERO; MERKLE_PATH_MAX + 1]), None);
        assert!(!verify_path(&Hash::ZERO, u32::MAX, 0, &Hash::ZERO, &MerklePath::EMPTY));
    }
}
