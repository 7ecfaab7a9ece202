//! The canonical ABI of the contract, byte by byte: how outcomes and manifests stand in a guest's memory.
//!
//! Invariant: host and guest take every offset from here. The component model fixes them (natural alignment, 32-bit
//! pointers, little endian), so a guest made with any other generator of bindings agrees.

/// The version of the WIT package.
pub const CONTRACT_VERSION: (u16, u16, u16) = (0, 1, 0);

/// An outcome: verdict at 0, code at 4, effects (pointer at 8, length at 12).
pub const OUTCOME_BYTES: usize = 16;
/// Where the code stands in an outcome.
pub const OUTCOME_CODE: usize = 4;
/// Where the pointer to the effects stands in an outcome; the length is behind it.
pub const OUTCOME_EFFECTS: usize = 8;

/// A manifest: name (pointer at 0, length at 4), version at 8, reads at 14, limits at 16, 20 and 24, fuel at 32.
pub const MANIFEST_BYTES: usize = 40;
/// Where the three 16-bit numbers of the version stand.
pub const MANIFEST_VERSION: usize = 8;
/// Where the read set stands.
pub const MANIFEST_READS: usize = 14;
/// Where `max-state` stands; `max-proposal` and `max-effects` are behind it.
pub const MANIFEST_LIMITS: usize = 16;
/// Where the fuel stands.
pub const MANIFEST_FUEL: usize = 32;

/// A list in memory: pointer, then length.
pub const LIST_BYTES: usize = 8;

/// Most keys that one plan names.
pub const PLAN_KEYS_MAX: usize = 8;
/// Most proposals of one batch.
pub const BATCH_MAX: usize = 64;
