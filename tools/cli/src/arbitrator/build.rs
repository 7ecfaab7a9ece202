//! `io_oi arbitrator build`: from source to a component and both tiers' verdict on it.
//!
//! Invariant: a component that no tier admits is not written.

use serde_json::Map;

use super::admitted::Examined;
use super::{compiler, file};
use crate::args::arbitrator::Build;
use crate::failure::Failure;
use crate::keys;
use crate::output::Output;

/// Compiles, makes a component, and asks for admission.
pub(super) fn build(output: Output, build: &Build) -> Result<(), Failure> {
    let core = compiler::compile(&build.dir)?;
    let component = io_oi_arbitrator::author::component_of(&core);
    let component = component.map_err(|refusal| super::admitted::refused(&refusal))?;
    let bound = io_oi_arbitrator::limits::GENERAL_COMPONENT_BYTES_MAX as u64;
    let examined = Examined::of(&component, bound);
    let Some(name) = examined.name() else { return examined.say(output, Map::new(), Some(build.tier)) };
    let out = build.out.clone().unwrap_or_else(|| build.dir.join(format!("{name}.wasm")));
    keys::replace(&out, &component)?;
    examined.say(output, Map::from_iter([file(&out)]), Some(build.tier))
}
