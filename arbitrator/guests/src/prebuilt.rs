//! The guests as they ship: components, made of this crate's sources.
//!
//! Invariant: every one is named in `prebuilt/manifest.txt` with its hash; a test of `arbitrator/host` compares, and
//! makes them anew where the pinned compiler is installed.

/// Compiler, linker, the hash of all sources, and the hash of each component.
pub const MANIFEST: &str = include_str!("../prebuilt/manifest.txt");

/// Every standard judge: its name, and the component.
pub const PREBUILT: &[(&str, &[u8])] = &[
    ("accept-all", include_bytes!("../prebuilt/accept-all.wasm")),
    ("last-writer-wins", include_bytes!("../prebuilt/last-writer-wins.wasm")),
    ("risk-limit", include_bytes!("../prebuilt/risk-limit.wasm")),
    ("compare-version", include_bytes!("../prebuilt/compare-version.wasm")),
    ("batch-auction", include_bytes!("../prebuilt/batch-auction.wasm")),
    ("quota", include_bytes!("../prebuilt/quota.wasm")),
];

/// The component of this standard judge.
#[must_use]
pub fn component(name: &str) -> Option<&'static [u8]> {
    PREBUILT.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}
