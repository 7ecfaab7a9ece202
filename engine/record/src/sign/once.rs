//! Remembers which signatures this thread has made or found right, for simulated clusters: every node of one checks the
//! same signatures on the same thread, and checking them is nearly all that it would do.
//!
//! Invariant: what is remembered was signed here or passed `verify_strict`; what was refused is checked anew each time.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::ids::Signature;

/// Beyond that all is forgotten: a run of a simulator makes less.
const KNOWN_MAX: usize = 1 << 18;

std::thread_local! {
    static KNOWN: RefCell<HashSet<[u8; 32]>> = RefCell::new(HashSet::new());
}

/// This signature of this key over these bytes is right.
pub(super) fn note(key: &[u8; 32], bytes: &[u8], signature: &Signature) {
    let name = name(key, bytes, signature);
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name);
    });
}

/// Whether it was found right before.
pub(super) fn is_known(key: &[u8; 32], bytes: &[u8], signature: &Signature) -> bool {
    let name = name(key, bytes, signature);
    KNOWN.with_borrow(|known| known.contains(&name))
}

fn name(key: &[u8; 32], bytes: &[u8], signature: &Signature) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(&signature.0).update(bytes);
    *hasher.finalize().as_bytes()
}
