//! What the answers of a judge and their fuel may depend on beside its bytes.
//!
//! Invariant: whoever changes how components are sealed, what operators cost or which engine runs them changes a number here,
//! so that a node never judges by other rules than those that an activation in the log names.

use io_oi_record::JudgeVersions;

use crate::seal::SEAL_VERSION;

/// The table of what operators cost, in `engine.rs`.
const COSTS_VERSION: u16 = 1;

/// The engine's version; a test compares it with the one that the workspace is locked to.
const ENGINE_VERSION: [u16; 3] = [48, 0, 8];

/// What this program judges by.
pub const VERSIONS: JudgeVersions =
    JudgeVersions { seal: SEAL_VERSION, costs: COSTS_VERSION, engine: ENGINE_VERSION };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_the_one_that_activations_name() {
        let lock = include_str!("../../../Cargo.lock");
        let entry = lock.split("[[package]]").find(|entry| entry.contains("name = \"wasmtime\"\n"));
        let version = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
        let [major, minor, patch] = ENGINE_VERSION;
        assert_eq!(version, Some(format!("\"{major}.{minor}.{patch}\"").as_str()));
    }
}
